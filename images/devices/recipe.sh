# shellcheck shell=bash
# devices-KERNEL.efi: tells of its devices, and does with them what a file /do asks for.

# In the order in which they are loaded; virtio_pci is part of the kernel.
device_modules=(
    drivers/block/virtio_blk
    drivers/char/hw_random/virtio-rng
    net/core/failover
    drivers/net/net_failover
    drivers/net/virtio_net
    net/vmw_vsock/vsock
    net/vmw_vsock/vmw_vsock_virtio_transport_common
    net/vmw_vsock/vmw_vsock_virtio_transport
)
device_programs=(insmod ls wc mount umount dd cat cmp sha256sum sync mke2fs mkdir rm blkdiscard
    ip udhcpc wget nc stty sleep poweroff reboot head tail od grep)

build_devices() {
    local kernel
    for kernel in ${1:-6.12}; do
        need "kernels:$kernel"
        need tools
        lock_packages "$(kernel_suite "$kernel")" linux-cloud kernel_of linux-image-cloud-amd64
        make_product "devices-$kernel.efi" recipe:devices "product:kernels/$kernel" product:tools -- \
            devices_uki "$kernel" "$lock"
    done
}

# devices_uki KERNEL LOCK FILE
devices_uki() {
    local kernel=$1 lock=$2 file=$3 tree=$work/tree packages=$work/packages-tree
    rm -rf "$tree" "$packages"
    busybox_tree "$tree" "$recipes/devices/init" "${device_programs[@]}"
    unpack_packages "$(kernel_suite "$kernel")" "$lock" "$packages"
    copy_modules "$packages" "$(<"$out/kernels/$kernel/release")" "$tree/lib/modules"
    rm -rf "$packages"
    pack_cpio "$tree" "$work/devices.cpio"
    compress zstd "$work/devices.cpio" "$work/devices.initrd"
    uki ukify "$kernel" "$work/devices.initrd" "console=ttyS0 quiet panic=-1" "$file"
}

# copy_modules PACKAGES RELEASE FOLDER: unpacked, since insmod wants them so.
copy_modules() {
    local packages=$1 release=$2 folder=$3 module name from
    mkdir -p "$folder"
    for module in "${device_modules[@]}"; do
        name=${module##*/}
        for from in "$packages"{,/usr}/lib/modules/"$release/kernel/$module".ko{,.xz}; do
            [ -f "$from" ] || continue
            case $from in
            *.xz) want xz && xz --decompress --stdout "$from" >"$folder/$name.ko" ;;
            *) cp "$from" "$folder/$name.ko" ;;
            esac
            echo "$name" >>"$folder/order"
        done
        [ -f "$folder/$name.ko" ] ||
            die "the kernel's packages have no module $module" "Debian may have moved it: mend images/devices/recipe.sh"
    done
}
