# shellcheck shell=bash
# no-root-{initramfs-tools,dracut}.efi: a distribution's own initrds, with no disk to find
# the root on that the command line names.

initrd_makers=(initramfs-tools dracut)
no_root_suite=bookworm

no_root_cmdline="console=ttyS0 root=UUID=6d1f5ad3-4a3c-4f0e-9d0f-2f3f0c1f7b11 ro"

build_no_root() {
    local maker
    need kernels:6.1
    need tools
    for maker in ${1:-"${initrd_makers[@]}"}; do
        case " ${initrd_makers[*]} " in
        *" $maker "*) ;;
        *) die "no maker of initrds '$maker'" "there are: ${initrd_makers[*]}" 64 ;;
        esac
        # shellcheck disable=SC2046 # words
        lock_packages "$no_root_suite" "no-root-$maker" closure_of '?essential' $(packages_of "$maker")
        make_product "no-root/$maker.initrd" recipe:no-root "file:$lock" product:kernels/6.1 -- \
            initrd_in_root "$maker" "$lock"
        make_product "no-root-$maker.efi" recipe:no-root "product:no-root/$maker.initrd" product:tools -- \
            uki ukify 6.1 "$out/no-root/$maker.initrd" "$no_root_cmdline $(words_of "$maker")"
    done
}

packages_of() {
    local kernel
    kernel=linux-image-$(<"$out/kernels/6.1/release")
    case $1 in
    initramfs-tools) echo initramfs-tools busybox zstd "$kernel" ;;
    # Without systemd in the root it would make an initrd of another kind.
    dracut) echo dracut systemd mount zstd "$kernel" ;;
    esac
}

words_of() {
    case $1 in
    initramfs-tools) echo rootdelay=3 ;;
    dracut) echo rd.retry=3 rd.timeout=10 rd.shell=1 ;;
    esac
}

# A resolver: packages and what they depend on.
closure_of() {
    local suite=${*: -1}
    suite_apt "$suite" apt-get install --simulate --no-install-recommends "${@:1:$#-1}" |
        sed -nE 's/^Inst ([^ ]+) .*/\1/p' | LC_ALL=C sort
}

# initrd_in_root MAKER LOCK FILE: made by MAKER in a root of its own, of unpacked packages.
initrd_in_root() {
    local maker=$1 lock=$2 file=$3 root=$work/root release
    release=$(<"$out/kernels/6.1/release")
    rm -rf "$root"
    unpack_packages "$no_root_suite" "$lock" "$root"
    usable_root "$root"
    in_root "$root" depmod "$release"
    # shellcheck disable=SC2046 # words
    in_root "$root" $(command_of "$maker") /initrd "$release" >"$work/maker.log" 2>&1 || {
        cat "$work/maker.log" >&2
        die "$maker could not make an initrd"
    }
    mv "$root/initrd" "$file"
    chmod 644 "$file"
    rm -rf "$root"
}

command_of() {
    case $1 in
    initramfs-tools) echo mkinitramfs -o ;;
    dracut) echo dracut --no-hostonly --reproducible --force ;;
    esac
}

# usable_root FOLDER: does what the packages' scripts would, as far as the makers need it.
usable_root() {
    local root=$1 folder
    # /usr merged, as on every Debian of today.
    for folder in bin sbin lib lib64; do
        mkdir -p "$root/usr/$folder"
        cp -a "$root/$folder/." "$root/usr/$folder/"
        rm -r "${root:?}/$folder"
        ln -s "usr/$folder" "$root/$folder"
    done
    ln -sf mawk "$root/usr/bin/awk"
    cp "$root/usr/share/base-passwd/passwd.master" "$root/etc/passwd"
    cp "$root/usr/share/base-passwd/group.master" "$root/etc/group"
    : >"$root/etc/fstab"
    mkdir -p "$root"/{dev,proc,sys,tmp,var/tmp}
}

# in_root FOLDER COMMAND...: in namespaces of its own, so that nothing is left mounted, and
# that one need not be root where the kernel lets others have namespaces.
in_root() {
    local root=$1 options=(--mount --pid --fork --kill-child)
    shift
    want unshare chroot
    [ "$(id -u)" = 0 ] || options+=(--map-root-user)
    unshare "${options[@]}" true ||
        die "no namespaces for a root of its own" \
            "be root, or allow others user namespaces: sysctl kernel.unprivileged_userns_clone=1"
    # shellcheck disable=SC2016 # for the inner shell
    unshare "${options[@]}" sh -euc '
        root=$1
        shift
        mount --rbind /dev "$root/dev"
        mount -t proc proc "$root/proc"
        mount -t sysfs sys "$root/sys" || mount --rbind /sys "$root/sys"
        exec env -i PATH=/usr/sbin:/usr/bin LC_ALL=C TMPDIR=/tmp SOURCE_DATE_EPOCH=0 chroot "$root" "$@"' sh "$root" "$@"
}
