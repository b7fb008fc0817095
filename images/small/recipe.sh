# shellcheck shell=bash
# small.efi: a UKI of 15 MiB, about what a kernel and a lean initrd come to.

build_small() {
    need kernels:6.12
    # What the file's size comes to without padding: the kernel; stub and headers
    # are 0.1 MiB.
    local room=$((15 * 1024 * 1024 - $(stat -c %s "$out/kernels/6.12/vmlinuz") - 100 * 1024))
    padded_product small.efi recipe:small "$room"
}

# padded_product PRODUCT RECIPE BYTES: the test initrd and noise, uncompressed,
# BYTES in all, with the demo's kernel.
padded_product() {
    need kernels:6.12
    need initrds:cpio
    make_product "$1" recipe:small "$2" product:kernels/6.12 product:initrds/test.cpio product:tools -- \
        padded_uki "$3"
}

padded_uki() {
    local bytes=$1 file=$2 bare room
    bare=$(stat -c %s "$out/initrds/test.cpio")
    # The archive's name and header of the one file more: under 1 KiB, with its padding.
    room=$((bytes - bare - 1024))
    [ "$room" -gt 0 ] || die "no room for padding: kernel and initrd fill the wanted size already"
    test_tree "$work/tree" cpio
    noise ukivm "$room" >"$work/tree/padding"
    pack_cpio "$work/tree" "$work/padded.cpio"
    uki ukify 6.12 "$work/padded.cpio" "console=ttyS0 quiet panic=-1" "$file"
}
