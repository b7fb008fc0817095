# shellcheck shell=bash
# microvm.efi and microvm/{vmlinuz,config,release}: Debian's kernel source, configured for
# a guest of ukivm and nothing else. Built here, which takes minutes.

microvm_suite=bookworm
microvm_source=linux-source-6.1

build_microvm() {
    need initrds:zstd
    need tools
    lock_packages "$microvm_suite" "$microvm_source" just "$microvm_source"
    make_product microvm recipe:microvm "file:$lock" -- microvm_kernel "$lock"
    make_product microvm.efi recipe:microvm product:microvm product:initrds/test.zstd product:tools -- \
        microvm_uki
}

# microvm_kernel LOCK FOLDER
microvm_kernel() {
    local lock=$1 folder=$2 source=$work/linux
    # Not of images/deps: no other recipe compiles a kernel.
    local hint='apt-get install gcc make flex bison bc libelf-dev'
    want gcc make flex bison bc
    [ -f /usr/include/libelf.h ] || die "libelf's headers are missing" "$hint"
    rm -rf "$work/package" "$source"
    unpack_packages "$microvm_suite" "$lock" "$work/package"
    mkdir "$source"
    tar --extract --file="$work/package/usr/src/$microvm_source.tar.xz" --directory="$source" --strip-components=1
    microvm_make KCONFIG_ALLCONFIG="$recipes/microvm/config" allnoconfig
    all_wanted "$recipes/microvm/config" "$source/.config"
    microvm_make bzImage
    mkdir "$folder"
    cp "$source/arch/x86/boot/bzImage" "$folder/vmlinuz"
    cp "$source/.config" "$folder/config"
    cp "$source/include/config/kernel.release" "$folder/release"
    rm -rf "$source" "$work/package"
}

# The same bytes from the same source and compiler; in the background of whatever else
# the machine does. Documentation/kbuild/reproducible-builds.rst.
microvm_make() {
    nice -n 19 make --silent --directory="$work/linux" --jobs="$(nproc)" ARCH=x86_64 LOCALVERSION=-microvm \
        KBUILD_BUILD_TIMESTAMP='1970-01-01 00:00:00 UTC' KBUILD_BUILD_USER=ukivm KBUILD_BUILD_HOST=ukivm \
        KBUILD_BUILD_VERSION=1 "$@" >"$work/make.log" 2>&1 || {
        tail -n 20 "$work/make.log" >&2
        die "the kernel could not be built"
    }
}

# all_wanted FRAGMENT CONFIG: a symbol that depends on something else is dropped in silence.
all_wanted() {
    local line
    while read -r line; do
        case $line in
        '' | '#'*) continue ;;
        esac
        grep --quiet --line-regexp --fixed-strings "$line" "$2" ||
            die "the kernel's configuration has no $line" "it may need another symbol: mend images/microvm/config"
    done <"$1"
}

microvm_uki() {
    local parts=$work/uki
    rm -rf "$parts"
    mkdir "$parts"
    printf %s 'console=ttyS0 quiet panic=-1' >"$parts/cmdline"
    printf %s "$(<"$out/microvm/release")" >"$parts/uname"
    os_release "$(<"$out/microvm/release")" >"$parts/osrel"
    uki_by_ukify "$out/microvm/vmlinuz" "$out/initrds/test.zstd" "$parts" "$1"
}
