# shellcheck shell=bash
# kernels/{6.1,6.12,7}: Debian's cloud kernels, the ones that distribution cloud images boot.

kernels=(6.1 6.12 7)

kernel_suite() {
    case $1 in
    6.1) echo bookworm ;;
    6.12) echo trixie ;;
    7) echo trixie-backports ;;
    *) die "no kernel '$1'" "there are: ${kernels[*]}" 64 ;;
    esac
}

build_kernels() {
    local kernel
    for kernel in ${1:-"${kernels[@]}"}; do
        make_kernel "$kernel"
    done
}

make_kernel() {
    local kernel=$1 suite
    suite=$(kernel_suite "$kernel")
    lock_packages "$suite" linux-cloud kernel_of linux-image-cloud-amd64
    make_product "kernels/$kernel" recipe:kernels "file:$lock" -- kernel_files "$suite" "$lock"
}

# kernel_files SUITE LOCK FOLDER: /boot/vmlinuz-RELEASE and config-RELEASE, or
# in newer packages vmlinuz and config in /usr/lib/modules/RELEASE.
kernel_files() {
    local suite=$1 lock=$2 folder=$3 tree=$work/tree release
    rm -rf "$tree"
    unpack_packages "$suite" "$lock" "$tree"
    release=$(sed -nE 's/^linux-image-([^ ]+) .*/\1/p' "$lock")
    mkdir "$folder"
    copy_first "$folder/vmlinuz" "$tree/boot/vmlinuz-$release" "$tree/usr/lib/modules/$release/vmlinuz"
    copy_first "$folder/config" "$tree/boot/config-$release" "$tree/usr/lib/modules/$release/config"
    echo "$release" >"$folder/release"
    rm -rf "$tree"
}

# copy_first TO FROM...: the first FROM that exists.
copy_first() {
    local to=$1 from
    shift
    for from in "$@"; do
        [ ! -f "$from" ] || { cp "$from" "$to" && return; }
    done
    die "the kernel's packages have neither ${*#"$work"/tree}" "Debian may have moved it: mend images/kernels/recipe.sh"
}
