# shellcheck shell=bash
# no-initrd-{6.1,6.12,7}.efi: a kernel with nowhere to go. It panics.

build_no_initrd() {
    local kernel
    source_recipe kernels
    need tools
    for kernel in ${1:-"${kernels[@]}"}; do
        need "kernels:$kernel"
        make_product "no-initrd-$kernel.efi" recipe:no-initrd "product:kernels/$kernel" product:tools -- \
            uki ukify "$kernel" "" "panic=-1 console=ttyS0"
    done
}
