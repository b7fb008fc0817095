# shellcheck shell=bash
# Initial RAM disks: the same bytes from the same files on any machine.

# busybox_tree FOLDER INIT APPLET...: a root with busybox, INIT as its /init and
# links for the APPLETs that INIT calls.
busybox_tree() {
    local folder=$1 init=$2 applet
    shift 2
    mkdir -p "$folder"/{bin,dev,proc,sys,etc,tmp}
    cp "$out/tools/busybox" "$folder/bin/busybox"
    install -m 755 "$init" "$folder/init"
    for applet in sh "$@"; do
        ln -s busybox "$folder/bin/$applet"
    done
}

# pack_cpio FOLDER FILE: FOLDER as the "newc" archive that Linux unpacks
# (Documentation/driver-api/early-userspace/buffer-format.rst). Names sorted, times
# and owners fixed, so that an unchanged recipe gives unchanged bytes.
pack_cpio() {
    local folder=$1 file=$2
    want cpio
    find "$folder" -exec touch --no-dereference --date=@0 {} +
    (cd "$folder" && find . -mindepth 1 -print0 | LC_ALL=C sort -z |
        cpio --create --null --quiet --reproducible --format=newc --owner=0:0) >"$file"
}

compressions=(cpio gzip xz zstd lz4)

# compress COMPRESSION FROM TO. Linux's xz has no CRC64 (Documentation/staging/xz.rst)
# and its lz4 reads only the legacy frame (lib/decompress_unlz4.c).
compress() {
    local compression=$1 from=$2 to=$3
    case $compression in
    cpio) cp "$from" "$to" ;;
    gzip) want gzip && gzip -9 --no-name <"$from" >"$to" ;;
    xz) want xz && xz --check=crc32 --lzma2=dict=1MiB <"$from" >"$to" ;;
    zstd) want zstd && zstd -19 --quiet <"$from" >"$to" ;;
    lz4) want lz4 && lz4 -9 -l --quiet <"$from" >"$to" ;;
    esac
}

# noise SEED BYTES: bytes that no compressor shrinks and every machine repeats:
# SHAKE128 of SEED.
noise() {
    /usr/bin/python3 -c '
import hashlib, sys
sys.stdout.buffer.write(hashlib.shake_128(sys.argv[1].encode()).digest(int(sys.argv[2])))' "$1" "$2"
}
