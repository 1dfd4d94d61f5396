#!/bin/sh
# Builds the four images from this checkout: operator, worker, ingest, query (images/Containerfile).
#   tools/images.sh [NAME...]      those that are named, or all
# Settings from the environment:
#   BUILDER    how buildah is called                         default: buildah
#   REGISTRY   what the names begin with                     default: localhost
#   TAG        their tag                                     default: the version in pyproject.toml
#   BASE       the base image; name it by digest where it matters
#   PULL       missing | never: whether the base may be fetched          default: missing
#   ARCHIVES   a directory: each image is written there as an OCI archive, lectern-NAME.tar
#   OCR_LANGUAGES  what the worker can read in pictures, for instance "eng deu": Tesseract's data      default: none
#   APT_SOURCES    a file NAME.sources or NAME.list: where the build's packages come from    default: as the base says
# How pip and apt reach the network on this machine (index, proxies, certificate) is lent to the build in /mnt and stays
# out of the images.
set -eu
cd "$(dirname "$0")/.."

fail() { # what went wrong, cause, next step
    printf 'images: %s\n  cause: %s\n  next:  %s\n' "$1" "$2" "$3" >&2
    exit 2
}

builder=${BUILDER:-buildah}
registry=${REGISTRY:-localhost}
tag=${TAG:-$(sed -n 's/^version = "\([^"]*\)".*/\1/p' pyproject.toml)}
command -v "${builder%% *}" >/dev/null 2>&1 || fail "${builder%% *} is not there" \
    "the images are built with buildah" "install it (Debian, Ubuntu: apt-get install buildah) or set BUILDER"
[ -n "$tag" ] || fail "there is no tag" "pyproject.toml has no version" "set TAG"

lent=$(mktemp -d)
trap 'rm -rf "$lent"' EXIT
{
    printf '[global]\ndisable-pip-version-check = true\nroot-user-action = ignore\n'
    printf 'timeout = %s\n' "${PIP_DEFAULT_TIMEOUT:-60}"
    [ -z "${PIP_INDEX_URL:-}" ] || printf 'index-url = %s\n' "$PIP_INDEX_URL"
    [ -z "${PIP_CERT:-}" ] || printf 'cert = /mnt/ca.crt\n'
} >"$lent/pip.conf"
{
    ! command -v apt-config >/dev/null 2>&1 || apt-config dump |
        grep -E '^Acquire::((https?|ftp)::(Proxy|Timeout)|Retries|Check-)' || true # none is as good
    [ -z "${PIP_CERT:-}" ] || printf 'Acquire::https::CAInfo "/mnt/ca.crt";\n'
    [ -z "${APT_SOURCES:-}" ] ||
        printf 'Dir::Etc::sourcelist "/dev/null";\nDir::Etc::sourceparts "/mnt/apt.sources.d";\n'
} >"$lent/apt.conf"
[ -z "${PIP_CERT:-}" ] || cp "$PIP_CERT" "$lent/ca.crt"
if [ -n "${APT_SOURCES:-}" ]; then
    mkdir "$lent/apt.sources.d"
    cp "$APT_SOURCES" "$lent/apt.sources.d/" || fail "APT_SOURCES cannot be read" "see the line above" "correct it"
fi
chmod -R a+rX "$lent" # apt reads as a user of its own
set -- "${@:-operator worker ingest query}"
case ${PULL:-missing} in
never) pull=--pull-never ;;
missing) pull=--pull ;;
*) fail "PULL=$PULL" "only missing and never are known" "set one of them" ;;
esac

for name in $*; do
    case $name in
    operator | worker | ingest | query) ;;
    *) fail "there is no image $name" "it is none of operator, worker, ingest, query" "name one of them" ;;
    esac
    image=$registry/lectern-$name:$tag
    # shellcheck disable=SC2086 -- words of a command line
    $builder bud --quiet --layers $pull --isolation chroot --network host --volume "$lent:/mnt:ro" \
        ${BASE:+--build-arg PYTHON=$BASE} --build-arg "RUNTIME=$name" \
        --build-arg "OCR_LANGUAGES=${OCR_LANGUAGES:-}" --target "$name" \
        --ignorefile images/Containerfile.dockerignore --file images/Containerfile --tag "$image" . >/dev/null ||
        fail "$image could not be built" "see the lines above" \
            "where something could not be fetched, check the network or set BASE, PIP_INDEX_URL, PIP_CERT, APT_SOURCES"
    echo "images: $image"
    if [ -n "${ARCHIVES:-}" ]; then
        mkdir -p "$ARCHIVES"
        rm -f "$ARCHIVES/lectern-$name.tar" # buildah does not write over an archive
        $builder push --quiet "$image" "oci-archive:$ARCHIVES/lectern-$name.tar:$image"
    fi
done
