#!/bin/sh
# Writes requirements/*.txt from pyproject.toml and requirements/*.in: names, versions and hashes, no addresses.
#   tools/lock.sh            write what changed (`make lock`; `UPGRADE=1 make lock` takes the newest versions)
#   tools/lock.sh --check    write nothing, exit 1 and show the difference if there is one (`make lock-check`)
# Versions that still fit stay. The development lock is resolved first and constrains the others, so that a package
# has one version in all of them.
set -eu
uv=${UV:-.tools/bin/uv}
locks=${LOCKS:-requirements}
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT
cp "$locks"/*.txt "$new" 2>/dev/null || true

compile() { # name, then what to resolve
    name=$1
    shift
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
        --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
        ${UPGRADE:+--upgrade} --output-file "$new/$name.txt" "$@" >/dev/null
}

compile bootstrap requirements/bootstrap.in
compile build requirements/build.in
compile dev pyproject.toml requirements/local.in --all-extras --group dev
for extra in operator ingest worker ocr query tracing; do
    compile "$extra" pyproject.toml --extra "$extra" --constraints "$new/dev.txt"
done
compile local pyproject.toml requirements/local.in --extra local --constraints "$new/dev.txt"

changed=0
for lock in "$new"/*.txt; do
    name=${lock##*/}
    if cmp -s "$lock" "$locks/$name"; then
        continue
    fi
    changed=$((changed + 1))
    if [ "${1:-}" = --check ]; then
        diff -u "$locks/$name" "$lock" || true
    else
        cp "$lock" "$locks/$name" # a lock that says the same keeps its time, or make would install again
        echo "lock: $locks/$name: $(grep -c '==' "$lock") packages"
    fi
done
if [ "$changed" -eq 0 ]; then
    echo "lock: $locks is up to date"
elif [ "${1:-}" = --check ]; then
    echo "lock: $changed files of $locks are out of date; run make lock" >&2
    exit 1
fi
