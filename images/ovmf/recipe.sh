# shellcheck shell=bash
# ovmf/{code,variables}.fd: Debian trixie's UEFI firmware for virtual machines.

build_ovmf() {
    lock_packages trixie ovmf just ovmf
    make_product ovmf recipe:ovmf "file:$lock" -- ovmf_files "$lock"
}

# The build without Secure Boot, which needs no system management mode.
ovmf_files() {
    local lock=$1 folder=$2 tree=$work/tree
    rm -rf "$tree"
    unpack_packages trixie "$lock" "$tree"
    mkdir "$folder"
    cp "$tree/usr/share/OVMF/OVMF_CODE_4M.fd" "$folder/code.fd"
    cp "$tree/usr/share/OVMF/OVMF_VARS_4M.fd" "$folder/variables.fd"
    rm -rf "$tree"
}
