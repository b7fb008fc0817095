# shellcheck shell=bash
# initrds/test.{cpio,gzip,xz,zstd,lz4}: one and the same initrd, packed five ways.

build_initrds() {
    need tools
    local compression
    for compression in ${1:-"${compressions[@]}"}; do
        case " ${compressions[*]} " in
        *" $compression "*) ;;
        *) die "no compression '$compression'" "there are: ${compressions[*]}" 64 ;;
        esac
        make_product "initrds/test.$compression" recipe:initrds product:tools -- test_initrd "$compression"
    done
}

# test_initrd COMPRESSION FILE: /etc/compression tells the guest how its initrd was packed.
test_initrd() {
    test_tree "$work/tree" "$1"
    pack_cpio "$work/tree" "$work/test.cpio"
    compress "$1" "$work/test.cpio" "$2"
}

# test_tree FOLDER COMPRESSION: the tree of an initrd; with a file etc/tell-files in
# it as well, init tells of every file.
test_tree() {
    rm -rf "$1"
    busybox_tree "$1" "$recipes/initrds/init" mount uname nproc find stat sha256sum stty sleep poweroff reboot halt
    echo "$2" >"$1/etc/compression"
    want as ld
    as --64 "$recipes/initrds/outb.s" -o "$work/outb.o"
    ld -static -s -o "$1/bin/outb" "$work/outb.o"
}
