# shellcheck shell=bash
# features/NAME.efi: UKIs by the newest ukify, each with something that a UKI can have.

features=(
    plain profiles addons extras signed pcrsig ucode no-cmdline no-initrd linux-only
    odd-cmdline astral objcopy
)
# The one that boots fastest.
features_kernel=6.1
features_cmdline="console=ttyS0 quiet panic=-1"
features_parts=$out/features/parts
pcr_signed=(
    "--pcr-private-key=$features_parts/pcr.key"
    "--pcr-public-key=$features_parts/pcr.pem"
    "--pcr-banks=sha256,sha384"
)

build_features() {
    local name
    for name in ${1:-"${features[@]}"}; do
        case " ${features[*]} " in
        *" $name "*) ;;
        *) die "no image '$name' of features" "there are: ${features[*]}" 64 ;;
        esac
        need "kernels:$features_kernel"
        need tools
        need tools-sid
        make_product features/parts recipe:features recipe:initrds product:tools -- feature_parts
        feature "$name"
    done
}

# feature NAME: the image, and the folder of what belongs to it if it has one.
feature() {
    local inputs=(recipe:features product:features/parts product:tools product:tools-sid)
    inputs+=("product:kernels/$features_kernel")
    make_product "features/$1.efi" "${inputs[@]}" -- "make_${1//-/_}"
    case $1 in
    addons | extras) make_product "features/$1.efi.extra.d" "${inputs[@]}" -- "make_beside_$1" ;;
    esac
}

# Keys that are thrown away with target/, and what else the images are made of.
feature_parts() {
    local folder=$1
    want openssl
    mkdir "$folder"
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=ukivm test: worthless" \
        -keyout "$folder/signer.key" -out "$folder/signer.pem" 2>"$work/openssl.log" ||
        die "openssl made no key: $(<"$work/openssl.log")"
    openssl genrsa -out "$folder/pcr.key" 2048 2>"$work/openssl.log"
    openssl rsa -in "$folder/pcr.key" -pubout -out "$folder/pcr.pem" 2>"$work/openssl.log"
    os_release "$features_kernel" >"$folder/osrel"
    : >"$folder/empty"
    test_initrd_with "$folder/initrd" /etc/initrd "of the UKI"
    test_initrd_with "$folder/initrd-of-profile" /etc/initrd "of a profile"
    cpio_with "$folder/initrd-of-addon" /etc/initrd "of an addon"
    # Not for any processor, so none will load it. A file of a later archive
    # replaces that of an earlier one, so that its content shows their order.
    local whose
    for whose in uki profile addon other-addon; do
        cpio_with "$folder/ucode-of-$whose" /kernel/x86/microcode/NoProcessor.bin "of $whose"
    done
}

# test_initrd_with FILE NAME CONTENT: the test initrd that tells of its files.
test_initrd_with() {
    source_recipe initrds
    test_tree "$work/tree" cpio
    touch "$work/tree/etc/tell-files"
    echo "$3" >"$work/tree$2"
    pack_cpio "$work/tree" "$1"
}

cpio_with() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree${2%/*}"
    echo "$3" >"$work/tree$2"
    pack_cpio "$work/tree" "$1"
}

# sid_ukify FILE OPTION...
sid_ukify() {
    local file=$1 tools=$out/tools-sid
    shift
    "$tools/ukify" build --tools="$tools" "$@" --output="$file" >"$work/ukify.log" 2>&1 || {
        cat "$work/ukify.log" >&2
        die "ukify of Debian sid could not make that: $*"
    }
    chmod 644 "$file"
}

# with_kernel FILE OPTION...: what all have in common.
with_kernel() {
    local file=$1 release
    shift
    release=$(<"$out/kernels/$features_kernel/release")
    sid_ukify "$file" --stub="$out/tools-sid/linuxx64.efi.stub" --hwids= \
        --linux="$out/kernels/$features_kernel/vmlinuz" --uname="$release" "$@"
}

with_initrd() {
    local file=$1
    shift
    with_kernel "$file" --os-release=@"$features_parts/osrel" --initrd="$features_parts/initrd" "$@"
}

with_both() {
    local file=$1
    shift
    with_initrd "$file" --cmdline="$features_cmdline" "$@"
}

# without_kernel FILE OPTION...: an addon, or a profile to be joined.
without_kernel() {
    local file=$1
    shift
    sid_ukify "$file" --stub="$out/tools-sid/addonx64.efi.stub" "$@"
}


make_plain() { with_both "$1"; }
make_addons() { with_both "$1" --microcode="$features_parts/ucode-of-uki"; }
make_extras() { with_both "$1"; }
make_pcrsig() { with_both "$1" "${pcr_signed[@]}"; }
make_ucode() { with_both "$1" --microcode="$features_parts/ucode-of-uki"; }
make_no_cmdline() { with_initrd "$1"; }
make_linux_only() { with_kernel "$1" --os-release=; }

make_no_initrd() {
    with_kernel "$1" --os-release=@"$features_parts/osrel" --cmdline="console=ttyS0 panic=-1 ukivm.image=no-initrd"
}

make_signed() {
    want sbsign
    with_both "$1" --signtool=sbsign --no-sign-kernel \
        --secureboot-private-key="$features_parts/signer.key" --secureboot-certificate="$features_parts/signer.pem"
}

# Each profile with .pcrsig of its own: 0 is the base, 1 replaces two sections, 2
# masks two, 3 replaces the initrd and the microcode.
make_profiles() {
    local file=$1 folder=$work/profiles
    rm -rf "$folder"
    mkdir "$folder"
    without_kernel "$folder/words.efi" --profile=$'ID=words\nTITLE="Other words"' \
        --cmdline="$features_cmdline ukivm.profile=words" --os-release=$'ID=ukivm-words\nNAME=words'
    without_kernel "$folder/masks.efi" --profile=$'ID=masks' \
        --cmdline=@"$features_parts/empty" --section=.ucode:@"$features_parts/empty"
    without_kernel "$folder/initrd.efi" --profile=$'ID=initrd\nTITLE="Another initrd"' \
        --initrd="$features_parts/initrd-of-profile" --microcode="$features_parts/ucode-of-profile"
    with_both "$file" --microcode="$features_parts/ucode-of-uki" --profile=$'ID=main\nTITLE="The system"' \
        --join-profile="$folder/words.efi" --join-profile="$folder/masks.efi" \
        --join-profile="$folder/initrd.efi" "${pcr_signed[@]}"
}

# Blanks of all kinds, controls, runs of them, letters of two and three bytes in
# UTF-8, an end in blanks and a newline, and what follows the first NUL.
make_odd_cmdline() {
    printf ' \t console=ttyS0\tquiet  \001 panic=-1 \177ukivm.image=öd€ \n\t\0behind the NUL\n' >"$work/cmdline"
    with_initrd "$1" --cmdline=@"$work/cmdline"
}

# A letter past U+FFFF.
make_astral() {
    with_initrd "$1" --cmdline="$features_cmdline ukivm.image=astr𝒶l"
}

# By the stub of trixie, as before there was ukify.
make_objcopy() {
    uki objcopy "$features_kernel" "$features_parts/initrd" "$features_cmdline" "$1"
}

# In the order of their names: capitals precede small letters, digits both.
make_beside_addons() {
    local folder=$1 release
    release=$(<"$out/kernels/$features_kernel/release")
    mkdir "$folder"
    without_kernel "$folder/10-words.addon.efi" --cmdline="addon.words=10"
    without_kernel "$folder/20-initrd.addon.efi" --initrd="$features_parts/initrd-of-addon"
    without_kernel "$folder/30-ucode.addon.efi" --microcode="$features_parts/ucode-of-addon"
    without_kernel "$folder/31-ucode.addon.efi" --microcode="$features_parts/ucode-of-other-addon"
    without_kernel "$folder/40-this-kernel.addon.efi" --uname="$release" --cmdline="addon.this-kernel=40"
    without_kernel "$folder/50-other-kernel.addon.efi" --uname=5.10.0 --cmdline="addon.other-kernel=50"
    without_kernel "$folder/60-prefix.addon.efi" --uname="${release%%-*}" --cmdline="addon.prefix=60"
    without_kernel "$folder/A.ADDON.EFI" --cmdline="addon.capitals=A"
    without_kernel "$folder/no-addon.efi" --cmdline="addon.no-addon"
}

# Nobody decrypts the credentials or mounts the extensions.
make_beside_extras() {
    mkdir "$1"
    echo "not encrypted" >"$1/b.cred"
    printf '\0\1\2' >"$1/a.cred"
    echo "no credential" >"$1/a.txt"
    echo "no system extension" >"$1/test.raw"
    echo "no configuration extension" >"$1/test.confext.raw"
}
