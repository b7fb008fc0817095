# shellcheck shell=bash
# Unified Kernel Images out of their parts, by either of the two tools that people use.

makers=(ukify objcopy)

# uki MAKER KERNEL INITRD CMDLINE FILE: INITRD may be empty: then there is no
# section for it.
uki() {
    local maker=$1 kernel=$2 initrd=$3 cmdline=$4 file=$5
    local parts=$work/uki
    rm -rf "$parts"
    mkdir "$parts"
    printf %s "$cmdline" >"$parts/cmdline"
    printf %s "$(<"$out/kernels/$kernel/release")" >"$parts/uname"
    os_release "$kernel" >"$parts/osrel"
    "uki_by_$maker" "$out/kernels/$kernel/vmlinuz" "$initrd" "$parts" "$file"
}

os_release() {
    cat <<END
ID=ukivm-test
NAME="ukivm test image"
PRETTY_NAME="ukivm test image with Debian's Linux $1"
VERSION_ID=$1
END
}

uki_by_ukify() {
    local vmlinuz=$1 initrd=$2 parts=$3 file=$4
    "$out/tools/ukify" build --stub="$out/tools/linuxx64.efi.stub" \
        --linux="$vmlinuz" ${initrd:+--initrd="$initrd"} \
        --cmdline=@"$parts/cmdline" --os-release=@"$parts/osrel" --uname="$(<"$parts/uname")" \
        --output="$file" >"$work/ukify.log" 2>&1 || {
        cat "$work/ukify.log" >&2
        die "ukify could not make $(basename "$file")"
    }
}

# As systemd's documentation had it before there was ukify: sections appended to
# the stub, each at the next free page of its address space.
uki_by_objcopy() {
    local vmlinuz=$1 initrd=$2 parts=$3 file=$4
    want objcopy objdump
    local stub=$out/tools/linuxx64.efi.stub options=() next name from
    next=$(end_of_sections "$stub")
    while read -r name from; do
        [ -n "$from" ] || continue
        options+=(--add-section "$name=$from" --change-section-vma "$name=$next")
        next=$(page_up $((next + $(stat -c %s "$from"))))
    done <<END
.osrel $parts/osrel
.uname $parts/uname
.cmdline $parts/cmdline
.initrd $initrd
.linux $vmlinuz
END
    objcopy "${options[@]}" "$stub" "$file"
    chmod 644 "$file"
}

# objdump's columns: index, name, size, virtual address, …, all hexadecimal.
end_of_sections() {
    local size address end=0
    while read -r size address; do
        [ $((0x$address + 0x$size)) -le "$end" ] || end=$((0x$address + 0x$size))
    done < <(objdump -h "$1" | awk '$1 ~ /^[0-9]+$/ { print $3, $4 }')
    page_up "$end"
}

page_up() {
    echo $((($1 + 4095) / 4096 * 4096))
}
