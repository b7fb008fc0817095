# shellcheck shell=bash
# Products: when to make one, and how to put it in place whole or not at all.

work=

take_lock() {
    want flock sha256sum
    mkdir -p "$out"
    exec 9>"$out/.lock"
    flock --nonblock 9 || {
        say "waiting for another images/build in $out"
        flock 9
    }
    # Under the lock nobody else works here, so these are from a killed run.
    rm -rf "$out"/.work.*
    work=$(mktemp -d "$out/.work.XXXXXX")
}

clean_up() {
    [ -z "$work" ] || rm -rf "$work"
}

# need NAME[:PART]: NAME's recipe has run for PART, or for the whole.
declare -A needed=()
need() {
    local name=${1%%:*} part=
    [ "$name" = "$1" ] || part=${1#*:}
    [ -z "${needed[$1]-}" ] || return 0
    source_recipe "$name"
    "build_${name//-/_}" "$part"
    needed[$1]=yes
}

# source_recipe NAME: NAME's functions and lists, without building anything.
source_recipe() {
    case $1 in
    '' | *[!a-z-]*) no_recipe "$1" ;;
    esac
    [ -f "$recipes/$1/recipe.sh" ] || no_recipe "$1"
    # shellcheck source=/dev/null
    source "$recipes/$1/recipe.sh"
}

no_recipe() {
    die "no recipe for '$1'" "images/build --help lists the names" 64
}

# make_product PRODUCT INPUT... -- RULE [ARG...]
#
# PRODUCT is a file or a folder under target/images. RULE is called with its
# ARGs and, last, the path to write. It is called only if the stamp that the
# last build left differs from what the inputs give now. An INPUT is
#   recipe:NAME    the files of images/NAME
#   product:NAME   another product, by its own stamp
#   file:PATH      a file, by its contents
#   text:WORDS     the words
# The library is an input of every product.
make_product() {
    local product=$1 inputs=()
    shift
    while [ "$1" != -- ]; do
        inputs+=("$1")
        shift
    done
    shift
    local stamp=$out/.stamps/$product key
    key=$(key_of recipe:lib "${inputs[@]}")
    if [ -e "$out/$product" ] && [ -f "$stamp" ] && [ "$(<"$stamp")" = "$key" ]; then
        return
    fi
    say "making $product"
    rm -rf "$work/product"
    "$@" "$work/product"
    put_in_place "$work/product" "$product"
    mkdir -p "$(dirname "$stamp")"
    echo "$key" >"$work/stamp"
    mv "$work/stamp" "$stamp"
}

# The stamp goes first and comes back last, so that a product found with its
# stamp is a whole one. A file is replaced by one rename; a folder can't be.
put_in_place() {
    local new=$1 product=$2
    rm -f "$out/.stamps/$product"
    mkdir -p "$(dirname "$out/$product")"
    if [ -d "$new" ] && [ -e "$out/$product" ]; then
        rm -rf "$work/old"
        mv "$out/$product" "$work/old"
    fi
    mv -T "$new" "$out/$product"
}

key_of() {
    local input
    for input in "$@"; do
        echo "$input"
        case $input in
        recipe:*) recipe_contents "$recipes/${input#*:}" ;;
        product:*) cat "$out/.stamps/${input#*:}" ;;
        file:*) cat "${input#*:}" ;;
        text:*) ;;
        *) die "a recipe names an input '$input', of a kind that doesn't exist" ;;
        esac
    done | sha256sum | cut -d ' ' -f 1
}

recipe_contents() {
    local file
    for file in "$1"/*; do
        case $file in
        *.md) ;;
        *) echo "${file##*/}" && cat "$file" ;;
        esac
    done
}
