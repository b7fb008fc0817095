# shellcheck shell=bash
# tools: ukify, systemd-stub and a static busybox of Debian trixie.

build_tools() {
    lock_packages trixie tools just systemd-ukify python3-pefile systemd-boot-efi busybox-static
    make_product tools recipe:tools "file:$lock" -- tool_files "$lock"
}

tool_files() {
    local lock=$1 folder=$2 tree=$work/tree
    rm -rf "$tree"
    unpack_packages trixie "$lock" "$tree"
    ukify_files "$tree" "$folder"
    cp "$(first_file "$tree"/{usr/,}bin/busybox)" "$folder/busybox"
    rm -rf "$tree"
}

# ukify_files TREE FOLDER: ukify and systemd-stub, from the packages unpacked in TREE.
ukify_files() {
    local tree=$1 folder=$2
    want_debian_python
    mkdir -p "$folder/python"
    cp "$tree/usr/lib/systemd/ukify" "$folder/python/ukify.py"
    cp "$tree"/usr/lib/python3/dist-packages/{pefile,ordlookup}* -r "$folder/python"
    cp "$tree/usr/lib/systemd/boot/efi/linuxx64.efi.stub" "$folder"
    install -m 755 "$recipes/tools/ukify" "$folder/ukify"
    "$folder/ukify" --version >&2
}

first_file() {
    local file
    for file in "$@"; do
        [ ! -f "$file" ] || { echo "$file" && return; }
    done
    die "the packages have none of ${*#"$work"/tree}" "Debian may have moved it: mend the recipe"
}

want_debian_python() {
    [ -x /usr/bin/python3 ] || die "/usr/bin/python3 is not installed; ukify needs it" "images/deps installs it"
}
