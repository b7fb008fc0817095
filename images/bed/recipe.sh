# shellcheck shell=bash
# bed/{vmlinux,initrd}: what tests/bed/bed boots. Debian's generic kernel, since the
# cloud flavour has no 9p.

# In the order of their dependencies: insmod knows none.
bed_modules=(
    virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci
    netfs fscache 9pnet 9pnet_virtio 9p virtio_console
    irqbypass kvm ccp kvm-amd
    tun
)

build_bed() {
    need tools
    lock_packages bookworm linux-generic kernel_of linux-image-amd64
    make_product bed recipe:bed "file:$lock" product:tools -- bed_files "$lock"
}

bed_files() {
    local lock=$1 folder=$2 kernel=$work/kernel root=$work/tree
    rm -rf "$kernel" "$root"
    unpack_packages bookworm "$lock" "$kernel"
    mkdir "$folder"
    unpacked_kernel "$kernel"/boot/vmlinuz-* >"$folder/vmlinux"
    busybox_tree "$root" "$recipes/bed/init" mount mkdir mkfifo cat cp insmod usleep ifconfig \
        hostname switch_root poweroff sync umount
    install -m 755 "$recipes/bed/supervise" "$root/supervise"
    bed_module_files "$kernel/lib/modules" "$root/modules"
    # Not packed: unpacking would cost the emulated machine more than reading.
    pack_cpio "$root" "$folder/initrd"
    rm -rf "$kernel"
}

# unpacked_kernel VMLINUZ: the ELF file inside, by the fields of its setup header
# (Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length).
# QEMU enters it through its PVH note. Debian packs the generic kernel with xz, and
# an emulated machine takes 7 s to unpack it.
unpacked_kernel() {
    local vmlinuz=$1 start length
    want od xz
    start=$((($(field_of "$vmlinuz" 0x1f1 1) + 1) * 512 + $(field_of "$vmlinuz" 0x248 4)))
    # Four bytes after the xz stream hold the size of what it unpacks to.
    length=$(($(field_of "$vmlinuz" 0x24c 4) - 4))
    dd if="$vmlinuz" bs=1M iflag=skip_bytes,count_bytes skip="$start" count="$length" status=none |
        xz --decompress ||
        die "the kernel in $(basename "$vmlinuz") is not packed with xz" "mend unpacked_kernel in images/bed/recipe.sh"
}

field_of() {
    od --address-radix=n --format="u$3" --skip-bytes="$(($2))" --read-bytes="$3" "$1" | tr -d ' '
}

# Numbered, so that the shell's own order is the order to load them in.
bed_module_files() {
    local from=$1 to=$2 module file number=10
    want objcopy
    mkdir "$to"
    for module in "${bed_modules[@]}"; do
        file=$(find "$from" -name "$module.ko" | sed -n 1p)
        [ -n "$file" ] || die "the bed's kernel has no module $module.ko" "mend bed_modules in images/bed/recipe.sh"
        # What goes with it, the signature too, is only work for an emulated machine:
        # checking and parsing it would take as long as half of the loading.
        objcopy --strip-debug --remove-section=.BTF "$file" "$to/$number-$module.ko"
        number=$((number + 1))
    done
}
