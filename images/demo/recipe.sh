# shellcheck shell=bash
# demo.efi: what `ukivm run` is shown with.

demo_cmdline="console=ttyS0 quiet panic=-1"

build_demo() {
    need kernels:6.12
    need tools
    make_product demo.efi recipe:demo product:kernels/6.12 product:tools -- demo_uki
}

demo_uki() {
    local file=$1
    rm -rf "$work/tree"
    busybox_tree "$work/tree" "$recipes/demo/init" mount uname cat poweroff
    pack_cpio "$work/tree" "$work/demo.cpio"
    compress zstd "$work/demo.cpio" "$work/demo.initrd"
    uki ukify 6.12 "$work/demo.initrd" "$demo_cmdline" "$file"
}
