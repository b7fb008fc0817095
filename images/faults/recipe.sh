# shellcheck shell=bash
# faults/FAULT.efi: guests that go wrong, each in its own way, over Debian's 6.1 cloud
# kernel, which boots fastest.

# fault|initrd|kernel|command line. Where it names no panic=, the kernel stays where it
# panicked. Those that end by silence are loud before, so that no pause in a slow boot is
# taken for it; and a console that is quiet does not show a WARN at all.
faults_table='
init-killed|common|6.1|console=ttyS0 quiet
init-exits|common|6.1|console=ttyS0 quiet
init-missing|no-init|6.1|console=ttyS0 quiet
init-unusable|no-interpreter|6.1|console=ttyS0 quiet
root-missing||6.1|console=ttyS0 root=/dev/vda1 ro quiet
sysrq-crash|common|6.1|console=ttyS0 quiet
oops-panics|common|6.1|console=ttyS0 quiet panic=-1
panic-after-proof|common|6.1|console=ttyS0 quiet panic=-1
oops|common|6.1|console=ttyS0 quiet
general-protection|common|6.1|console=ttyS0 quiet
bug|common|6.1|console=ttyS0 quiet
warning|common|6.1|console=ttyS0
soft-lockup|common|6.1|console=ttyS0
rcu-stall|common|6.1|console=ttyS0 nowatchdog rcupdate.rcu_cpu_stall_timeout=3
hung-task|common|6.1|console=ttyS0
hang-spinning|common|6.1|console=ttyS0
hang-halted|common|6.1|console=ttyS0
user-space-sleeps|common|6.1|console=ttyS0
user-space-spins|common|6.1|console=ttyS0
talks-on|common|6.1|console=ttyS0 quiet
no-console|common|6.1|quiet
console-elsewhere|common|6.1|console=ttyS3
console-of-a-hypervisor|common|6.1|console=hvc0
reboots|common|6.1|console=ttyS0 quiet
triple-fault|common|6.1|console=ttyS0 quiet reboot=triple
initrd-eats-memory|big|6.1|console=ttyS0 quiet root=/dev/vda1
initrd-too-big|big|6.1|console=ttyS0 quiet
initrd-truncated|truncated|6.1|console=ttyS0 quiet
kernel-corrupt|common|corrupt|console=uart,io,0x3f8
kernel-corrupt-in-silence|common|corrupt|console=ttyS0
powers-off|common|6.1|console=ttyS0 quiet
binary|common|6.1|console=ttyS0 quiet
flood|common|6.1|console=ttyS0 quiet
status|common|6.1|console=ttyS0 quiet
none|common|6.1|console=ttyS0 quiet
'

build_faults() {
    local fault initrd kernel cmdline found=no
    need kernels:6.1
    need tools
    corrupt_kernel
    fault_initrds
    while IFS='|' read -r fault initrd kernel cmdline; do
        [ "${1:-$fault}" = "$fault" ] || continue
        found=yes
        make_product "faults/$fault.efi" "text:$fault $initrd $cmdline" "product:kernels/$kernel" \
            product:faults/initrds product:tools -- \
            uki ukify "$kernel" "${initrd:+$out/faults/initrds/$initrd}" "$cmdline${initrd:+ ukivm.fault=$fault}"
    done < <(sed /^$/d <<<"$faults_table")
    [ "$found" = yes ] || die "no fault '$1'" "images/faults/README.md lists them" 64
}

# kernels/corrupt: 6.12, which unlike 6.1 is packed with a checksum (zstd), and 4 KiB of
# noise in the middle of what is packed.
corrupt_kernel() {
    need kernels:6.12
    make_product kernels/corrupt recipe:faults product:kernels/6.12 -- corrupt_kernel_files
}

corrupt_kernel_files() {
    local folder=$1 middle
    cp -r "$out/kernels/6.12" "$folder"
    middle=$(($(stat -c %s "$folder/vmlinuz") / 2))
    noise corrupt 4096 | dd of="$folder/vmlinuz" bs=4096 seek="$middle" oflag=seek_bytes conv=notrunc status=none
}

fault_initrds() {
    lock_packages "$(kernel_suite 6.1)" linux-cloud kernel_of linux-image-cloud-amd64
    make_product faults/initrds recipe:faults "file:$lock" product:tools -- fault_initrd_files "$lock"
}

# fault_initrd_files LOCK FOLDER
fault_initrd_files() {
    local lock=$1 folder=$2 tree=$work/tree
    rm -rf "$tree"
    mkdir "$folder"
    fault_tree "$lock" "$tree"
    pack_initrd "$tree" "$folder/common"
    # As from a download that broke off.
    head --bytes="$(($(stat -c %s "$folder/common") * 6 / 10))" "$folder/common" >"$folder/truncated"

    # Next to nothing packed, and 192 MiB unpacked.
    head --bytes=192M /dev/zero >"$tree/etc/zeros"
    pack_initrd "$tree" "$folder/big"
    rm "$tree/etc/zeros"

    sed -i '1s/.*/#!\/bin\/no-such-interpreter/' "$tree/init"
    # The kernel's own choices, where /init can't be run, are sbin/init and bin/sh.
    mv "$tree/bin/sh" "$tree/bin/ash"
    pack_initrd "$tree" "$folder/no-interpreter"
    rm "$tree/init"
    pack_initrd "$tree" "$folder/no-init"
}

pack_initrd() {
    pack_cpio "$1" "$work/initrd.cpio"
    compress zstd "$work/initrd.cpio" "$2"
}

# fault_tree LOCK FOLDER
fault_tree() {
    local lock=$1 tree=$2 module
    want as ld
    busybox_tree "$tree" "$recipes/faults/init" mount insmod sleep poweroff reboot
    program "$recipes/initrds/outb.s" "$tree/bin/outb"
    program "$recipes/faults/die.s" "$tree/bin/die"
    like_debian_s "$lock" "$work/module"
    mkdir "$tree/modules"
    for module in "${fault_modules[@]}"; do
        fault_module "$module" "$tree/modules/$module.ko"
    done
}

# program SOURCE FILE
program() {
    as --64 "$1" -o "$work/program.o"
    ld -static -s -o "$2" "$work/program.o"
}

fault_modules=(oops general-protection bug warning hang-spinning hang-halted lockup rcu-stall hung-task)

# fault_module NAME FILE
fault_module() {
    (cd "$work/module" && as --64 --defsym "${1//-/_}=1" --defsym "SIZE=$((0x$(<size)))" \
        --defsym "INIT=$((0x$(<init)))" "$recipes/faults/module.s" -o "$2")
}

# like_debian_s LOCK FOLDER: what the kernel checks of a module, as one of Debian's has it. This
# one imports what module.s does, and so has the versions of that too.
like_debian_s() {
    local lock=$1 folder=$2 kernel=$work/kernel module
    rm -rf "$kernel" "$folder"
    mkdir "$folder"
    unpack_packages "$(kernel_suite 6.1)" "$lock" "$kernel"
    module=$(find "$kernel" -name sd_mod.ko)
    [ -n "$module" ] || die "the kernel's package has no module sd_mod.ko" "mend images/faults/recipe.sh"
    readelf --wide --section-headers "$module" |
        sed -nE 's/.* \.gnu\.linkonce\.this_module +PROGBITS +[0-9a-f]+ [0-9a-f]+ ([0-9a-f]+) .*/\1/p' >"$folder/size"
    readelf --wide --relocs "$module" |
        awk '/^Relocation/ { here = /this_module/ } here && $5 == "init_module" { print $1 }' >"$folder/init"
    objcopy --dump-section __versions="$folder/versions" --dump-section .modinfo="$folder/modinfo" \
        "$module" "$work/copy.ko"
    tr '\0' '\n' <"$folder/modinfo" | sed -n 's/^vermagic=.*/.asciz "&"/p' >"$folder/vermagic.inc"
    rm -rf "$kernel"
}
