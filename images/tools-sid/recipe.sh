# shellcheck shell=bash
# tools-sid: ukify, systemd-stub and systemd-measure of Debian sid, the newest there are.

build_tools_sid() {
    source_recipe tools
    lock_packages sid tools just systemd-ukify python3-pefile systemd-boot-efi
    local ukify=$lock
    lock_packages sid systemd-measure with_libraries systemd-tpm
    make_product tools-sid recipe:tools recipe:tools-sid "file:$ukify" "file:$lock" -- \
        sid_tool_files "$ukify" "$lock"
}

# A resolver: the packages, and every library that they need, directly or not.
with_libraries() {
    local suite=${*: -1}
    just "$@"
    suite_apt "$suite" apt-get install --simulate --no-install-recommends "${@:1:$#-1}" |
        sed -nE 's/^Inst (lib[^ ]+) .*/\1/p'
}

sid_tool_files() {
    local ukify=$1 measure=$2 folder=$3 tree=$work/tree
    rm -rf "$tree"
    unpack_packages sid "$ukify" "$tree"
    ukify_files "$tree" "$folder"
    cp "$tree/usr/lib/systemd/boot/efi/addonx64.efi.stub" "$folder"
    rm -rf "$tree"
    unpack_packages sid "$measure" "$tree"
    systemd_measure_files "$tree" "$folder"
    rm -rf "$tree"
}

# Sid's libraries are newer than the machine's, so they have a folder of their
# own, and systemd-measure is run by the dynamic linker among them. Some it loads only
# when it signs, and so no list of what the program names is enough.
systemd_measure_files() {
    local tree=$1 folder=$2 program libraries
    program=$(first_file "$tree"/usr/{lib/systemd,bin}/systemd-measure)
    libraries=$tree/usr/lib/x86_64-linux-gnu
    mkdir -p "$folder/measure/lib"
    cp "$program" "$folder/measure"
    find "$libraries" "$libraries/systemd" -maxdepth 1 -name '*.so*' -exec cp -P {} "$folder/measure/lib" \;
    install -m 755 "$recipes/tools-sid/systemd-measure" "$folder/systemd-measure"
    "$folder/systemd-measure" --version >&2
}
