# shellcheck shell=bash
# What images/build tells the person who runs it, all on stderr.

say() {
    echo "images: $*" >&2
}

# die WHAT [HINT [STATUS]]: what was found and wanted; how to mend it.
die() {
    echo "images: error: $1" >&2
    [ -z "${2-}" ] || echo "images: hint: $2" >&2
    exit "${3-1}"
}

# want PROGRAM...: each is there, or the build ends with the way to get it, $hint if that is set.
want() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null ||
            die "$program is not installed" "${hint:-images/deps installs all that the recipes need}"
    done
}
