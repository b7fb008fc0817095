# shellcheck shell=bash
# Debian packages of any suite, fetched by apt with its signatures checked, while
# the machine's own apt is neither asked for root nor changed.
#
# Each suite has an apt of its own under target/images/cache/debian/SUITE. Which
# packages a recipe takes is settled once and kept in a lock file there, with
# each package's SHA-256 from the signed index, so that later builds agree with
# the first, need no network, and see a damaged file.

# The archive's address as the machine itself has it. apt does the reading, so
# that sources.list and deb822 files are all one.
debian_mirror() {
    local mirror=${UKIVM_DEBIAN_MIRROR-}
    [ -n "$mirror" ] || mirror=$(index_targets 'Origin: Debian' 'Label: Debian')
    # Origin and Label are known only after an apt-get update.
    [ -n "$mirror" ] || mirror=$(index_targets)
    [ -n "$mirror" ] ||
        die "apt's sources name no Debian mirror (a bookworm or trixie suite with component main)" \
            "give one: UKIVM_DEBIAN_MIRROR=ADDRESS images/build …"
    echo "$mirror"
}

index_targets() {
    # shellcheck disable=SC2016 # apt expands these
    apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' "$@" |
        sed -nE 's/^(bookworm|trixie|oldstable|stable) main //p' | sed -n 1p
}

debian_keyring() {
    local keyring
    for keyring in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
        [ ! -r "$keyring" ] || { echo "$keyring" && return; }
    done
    die "Debian's archive keys are not in /usr/share/keyrings" "apt-get install debian-archive-keyring"
}

# suite_apt SUITE PROGRAM ARG...: an apt program that knows only SUITE. The
# machine's apt.conf stays in force, since it may name a proxy, but for what container
# images do to save space: without the two caches every call takes seconds.
suite_apt() {
    local home=$cache/debian/$1 program=$2
    shift 2
    "$program" \
        -o Dir::State="$home/state" -o Dir::State::status="$home/status" \
        -o Dir::Cache="$home/cache" \
        -o Dir::Cache::pkgcache=pkgcache.bin -o Dir::Cache::srcpkgcache=srcpkgcache.bin \
        -o Dir::Etc::SourceList="$home/sources.list" -o Dir::Etc::SourceParts="$home/none" \
        -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts="$home/none" \
        -o APT::Architecture=amd64 -o APT::Architectures=amd64 \
        -o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::Retries=3 \
        -o APT::Update::Error-Mode=any -o quiet=2 "$@"
}

# Reads SUITE's index, once a run. apt refuses one that isn't signed by Debian.
declare -A updated=()
update_suite() {
    local suite=$1 home=$cache/debian/$1 mirror keyring
    [ -z "${updated[$suite]-}" ] || return 0
    want apt-get dpkg-deb
    mirror=$(debian_mirror)
    keyring=$(debian_keyring)
    mkdir -p "$home/state/lists/partial" "$home/cache/archives/partial" "$home/none"
    : >"$home/status"
    echo "deb [arch=amd64 target=Packages signed-by=$keyring] $mirror $suite main" >"$home/sources.list"
    say "reading the index of Debian $suite at $mirror"
    suite_apt "$suite" apt-get update >&2 ||
        die "no index of Debian $suite with a good signature at $mirror" \
            "is the mirror reachable? is debian-archive-keyring up to date (it must know trixie)?"
    updated[$suite]=yes
}

# lock_packages SUITE LABEL RESOLVER ARG...: sets $lock to a file with a line
# "package version sha256" for each package that RESOLVER names.
lock_packages() {
    local suite=$1 label=$2
    shift 2
    lock=$cache/debian/$suite/$label.lock
    if [ -s "$lock" ] && { [ "$refresh" = no ] || [ -n "${updated[$suite:$label]-}" ]; }; then
        return
    fi
    update_suite "$suite"
    "$@" "$suite" >"$work/packages"
    local package
    while read -r package; do
        package_line "$suite" "$package"
    done <"$work/packages" >"$work/lock"
    mv "$work/lock" "$lock"
    updated[$suite:$label]=yes
}

# A resolver: the packages themselves, without what they depend on.
just() {
    local suite=${*: -1}
    printf '%s\n' "${@:1:$#-1}"
}

# A resolver: what the metapackage META stands for. Before 6.19 or so a kernel
# is one package, linux-image; since then linux-image itself depends on
# linux-binary (vmlinuz), linux-base (config) and, not wanted here, linux-modules.
kernel_of() {
    local meta=$1 suite=$2 image
    image=$(depends "$suite" "$meta" | sed -n '/^linux-image-/p')
    [ -n "$image" ] || die "$meta of Debian $suite depends on no linux-image package"
    echo "$image"
    depends "$suite" "$image" | sed -nE '/^linux-(base|binary)-[0-9]/p'
}

depends() {
    field "$1" "$2" Depends | tr ',' '\n' | sed -E 's/^ *([^ :]+).*/\1/'
}

field() {
    suite_apt "$1" apt-cache show --no-all-versions "$2" | sed -n "s/^$3: //p"
}

package_line() {
    local suite=$1 package=$2 version sha256
    version=$(field "$suite" "$package" Version)
    sha256=$(field "$suite" "$package" SHA256)
    [ ${#sha256} = 64 ] || die "Debian $suite has no package $package (or its index no SHA-256 for it)"
    echo "$package $version $sha256"
}

# unpack_packages SUITE LOCK FOLDER: unpacks every package of LOCK into FOLDER.
unpack_packages() {
    local suite=$1 lock=$2 folder=$3 package version sha256
    mkdir -p "$folder"
    while read -r package version sha256; do
        fetch "$suite" "$package" "$version" "$sha256"
        dpkg-deb -x "$(cached_deb "$sha256" "$package")" "$folder"
    done <"$lock"
}

cached_deb() {
    echo "$cache/debian/packages/${1:0:16}-$2.deb"
}

# Fetches a package unless the cache has it, byte for byte.
fetch() {
    local suite=$1 package=$2 version=$3 sha256=$4 deb
    deb=$(cached_deb "$sha256" "$package")
    if [ -f "$deb" ]; then
        ! has_sha256 "$deb" "$sha256" || return 0
        say "$deb is damaged: fetching it again"
    fi
    say "fetching $package $version of Debian $suite"
    rm -rf "$work/fetch"
    mkdir -p "$work/fetch" "${deb%/*}"
    (cd "$work/fetch" && suite_apt "$suite" apt-get download "$package=$version" >&2) ||
        die "could not fetch $package $version of Debian $suite" \
            "the archive may have a newer version by now: images/build --refresh NAME"
    has_sha256 "$work"/fetch/*.deb "$sha256" ||
        die "$package $version as fetched hasn't the SHA-256 that was recorded for it, $sha256" \
            "images/build --refresh NAME"
    mv "$work"/fetch/*.deb "$deb"
}

has_sha256() {
    echo "$2  $1" | sha256sum --check --status
}
