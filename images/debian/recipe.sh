# shellcheck shell=bash
# debian/{disk.raw,initramfs-tools.efi,dracut.efi,initrd.efi}: Debian with systemd, on a disk
# with UKIs as its own tools make their initrds, and whole in an initrd.

debian_suite=trixie
debian_kernel=6.12
debian_makers=(initramfs-tools dracut)
# Fixed, so that the same packages give the same disk.
debian_uuid=8f1a6bd2-94c1-4d0b-8f55-7c3f0a6d1e90
debian_hash_seed=1c9f2a3e-0d4b-4f65-a7c8-b9d0e1f2a3b4
debian_disk_size=1G

# What a guest under slow emulation can do without: audit's messages, a guess at the terminal's
# size, and a prompt in the midst of what the report tells.
debian_cmdline="console=ttyS0 quiet panic=-1 audit=0 systemd.show_status=no systemd.getty_auto=no"
debian_cmdline+=" systemd.condition_needs_update=no TERM=dumb systemd.tty.term.console=dumb"

build_debian() {
    local maker
    need "kernels:$debian_kernel"
    need tools
    source_recipe no-root
    for maker in ${1:-disk "${debian_makers[@]}" initrd}; do
        case $maker in
        disk) debian_system ;;
        initrd) debian_system && debian_uki initrd "$debian_cmdline" ;;
        initramfs-tools | dracut)
            debian_initrd_by "$maker"
            debian_uki "$maker" "$debian_cmdline root=UUID=$debian_uuid rw"
            ;;
        *) die "no part '$maker' of debian" "there are: disk ${debian_makers[*]} initrd" 64 ;;
        esac
    done
}

debian_uki() {
    make_product "debian/$1.efi" recipe:debian "product:debian/$1.cpio.zst" product:tools -- \
        uki ukify "$debian_kernel" "$out/debian/$1.cpio.zst" "$2"
}

# debian_packages PACKAGE...: locks them, what they depend on, and the kernel with its modules.
debian_packages() {
    local label=$1
    shift
    lock_packages "$debian_suite" "debian-$label" closure_of '?essential' \
        "linux-image-$(<"$out/kernels/$debian_kernel/release")" "$@"
}

# The same system on a disk and as an initrd.
debian_system() {
    debian_packages system passwd login systemd-sysv udev dbus libpam-systemd kmod mount iproute2 busybox
    make_product debian/initrd.cpio.zst recipe:debian recipe:no-root "file:$lock" \
        "product:kernels/$debian_kernel" -- debian_files initrd "$lock"
    make_product debian/disk.raw recipe:debian recipe:no-root "file:$lock" \
        "product:kernels/$debian_kernel" -- debian_files disk "$lock"
}

# debian_files KIND LOCK FILE
debian_files() {
    local kind=$1 lock=$2 file=$3 root=$work/system
    # Both are made of one root, one after the other.
    [ -d "$root" ] || debian_root "$lock" "$root"
    "debian_as_$kind" "$root" "$file"
}

debian_root() {
    local lock=$1 root=$2 release
    release=$(<"$out/kernels/$debian_kernel/release")
    unpack_packages "$debian_suite" "$lock" "$root"
    rm -rf "${root:?}"/usr/share/{doc,man,locale,info,lintian,zoneinfo} "${root:?}"/boot/*
    debian_configure "$root"
    in_root "$root" ldconfig
    in_root "$root" depmod "$release"
    in_root "$root" systemd-sysusers
    in_root "$root" systemctl --quiet set-default multi-user.target
    in_root "$root" systemctl --quiet enable systemd-networkd ukivm-report
    in_root "$root" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer \
        dpkg-db-backup.timer e2scrub_all.timer fstrim.timer systemd-networkd-wait-online
    # What was mounted there was in another namespace.
    rm -rf "${root:?}"/var/log/* "${root:?}"/tmp/*
}

# What the packages' scripts would do, as far as it is needed, and the system's own files.
debian_configure() {
    local root=$1
    ln -sf mawk "$root/usr/bin/awk"
    cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
    cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
    # systemd-firstboot sets a password in the place of this word, and of nothing else.
    sed -E 's/^([^:]+):.*/\1:!*:19000::::::/; s/^root:!\*/root:!unprovisioned/' "$root/etc/passwd" \
        >"$root/etc/shadow"
    sed -i -E 's/^([^:]+):\*:/\1:x:/' "$root/etc/passwd"
    chmod 600 "$root/etc/shadow"
    debian_pam "$root/etc/pam.d"
    : >"$root/etc/fstab"
    : >"$root/etc/resolv.conf"
    echo uninitialized >"$root/etc/machine-id"
    echo LANG=C.UTF-8 >"$root/etc/locale.conf"
    install -D -m 644 "$recipes/debian/ukivm-report.service" \
        "$root/etc/systemd/system/ukivm-report.service"
    install -D -m 755 "$recipes/debian/report" "$root/usr/local/sbin/ukivm-report"
    want as ld
    as --64 "$recipes/initrds/outb.s" -o "$work/outb.o"
    ld -static -s -o "$root/usr/local/sbin/outb" "$work/outb.o"
    install -D -m 644 "$recipes/debian/firstboot.conf" \
        "$root/etc/systemd/system/systemd-firstboot.service.d/ukivm.conf"
    install -D -m 644 "$recipes/debian/any.network" "$root/etc/systemd/network/any.network"
    mkdir -p "$root"/{dev,proc,sys,run,tmp,var/tmp,root}
    chmod 700 "$root/root"
    chmod 1777 "$root/tmp" "$root/var/tmp"
}

# What pam-auth-update would write: passwords by /etc/shadow, sessions by logind.
debian_pam() {
    echo 'auth required pam_unix.so' >"$1/common-auth"
    echo 'account required pam_unix.so' >"$1/common-account"
    echo 'password required pam_unix.so yescrypt' >"$1/common-password"
    printf '%s\n' 'session required pam_unix.so' 'session optional pam_systemd.so' \
        >"$1/common-session"
    echo 'session required pam_unix.so' >"$1/common-session-noninteractive"
}

# debian_as_disk FOLDER FILE: a file system and nothing around it. Made without mounting anything;
# whoever is not root is root of a namespace, so that the files are root's.
debian_as_disk() {
    local root=$1 file=$2 run=()
    want mkfs.ext4
    [ "$(id -u)" = 0 ] || run=(unshare --map-root-user)
    rm -f "$root/init"
    find "$root" -exec touch --no-dereference --date=@0 {} +
    truncate --size="$debian_disk_size" "$file"
    E2FSPROGS_FAKE_TIME=1 "${run[@]}" mkfs.ext4 -q -d "$root" -L debian -U "$debian_uuid" \
        -E "hash_seed=$debian_hash_seed,root_owner=0:0" -m 0 "$file"
}

# Systemd as /init of an initrd that is no initrd: it stays there.
debian_as_initrd() {
    local root=$1 file=$2
    ln -sf usr/lib/systemd/systemd "$root/init"
    pack_cpio "$root" "$work/system.cpio"
    zstd -3 -T0 --quiet <"$work/system.cpio" >"$file"
    rm "$work/system.cpio"
}

# debian_initrd_by MAKER: made by MAKER in a root of its own.
debian_initrd_by() {
    local maker=$1 packages
    case $maker in
    initramfs-tools) packages=(initramfs-tools busybox zstd) ;;
    # With systemd in the root it makes an initrd with systemd, as distributions do.
    dracut) packages=(dracut systemd-sysv udev kmod mount zstd) ;;
    esac
    debian_packages "$maker" "${packages[@]}"
    make_product "debian/$maker.cpio.zst" recipe:debian recipe:no-root "file:$lock" \
        "product:kernels/$debian_kernel" -- debian_made_initrd "$maker" "$lock"
}

# debian_made_initrd MAKER LOCK FILE
debian_made_initrd() {
    local maker=$1 lock=$2 file=$3 root=$work/root release command
    release=$(<"$out/kernels/$debian_kernel/release")
    rm -rf "$root"
    unpack_packages "$debian_suite" "$lock" "$root"
    debian_configure "$root"
    # By its cache dracut finds libkmod, which udev loads by name: without it, no modules.
    in_root "$root" ldconfig
    in_root "$root" depmod "$release"
    case $maker in
    initramfs-tools) command=(mkinitramfs -o) ;;
    dracut) command=(dracut --no-hostonly --reproducible --zstd --force) ;;
    esac
    in_root "$root" "${command[@]}" /made "$release" >"$work/maker.log" 2>&1 || {
        cat "$work/maker.log" >&2
        die "$maker could not make an initrd"
    }
    mv "$root/made" "$file"
    chmod 644 "$file"
    rm -rf "$root"
}
