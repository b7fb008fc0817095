# shellcheck shell=bash
# corpus/KERNEL-COMPRESSION-MAKER.efi: real UKIs, every way that matters to a loader.

build_corpus() {
    local name
    # The factors' values are their recipes' own.
    source_recipe kernels
    for name in $(corpus_names "$1"); do
        corpus_image "$name"
    done
}

corpus_names() {
    case $1 in
    '') all_names ;;
    pairwise) pairwise_names ;;
    *)
        all_names | grep -qxF -e "$1" ||
            die "no image '$1' in the corpus" "names are KERNEL-COMPRESSION-MAKER, such as 6.12-zstd-ukify" 64
        echo "$1"
        ;;
    esac
}

all_names() {
    local kernel compression maker
    for kernel in "${kernels[@]}"; do
        for compression in "${compressions[@]}"; do
            for maker in "${makers[@]}"; do
                echo "$kernel-$compression-$maker"
            done
        done
    done
}

# Every kernel with every compression needs 15 images, and no fewer will do. The
# maker alternates like the colours of a chessboard: so every row and every
# column, having two fields at least, has both.
pairwise_names() {
    local k c
    for k in "${!kernels[@]}"; do
        for c in "${!compressions[@]}"; do
            echo "${kernels[k]}-${compressions[c]}-${makers[(k + c) % 2]}"
        done
    done
}

corpus_image() {
    local name=$1 kernel compression maker
    IFS=- read -r kernel compression maker <<<"$name"
    need "kernels:$kernel"
    need "initrds:$compression"
    make_product "corpus/$name.efi" recipe:corpus \
        "product:kernels/$kernel" "product:initrds/test.$compression" product:tools -- \
        uki "$maker" "$kernel" "$out/initrds/test.$compression" "console=ttyS0 quiet panic=-1 ukivm.image=$name"
}
