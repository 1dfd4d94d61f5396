#!/bin/sh
# Makes one of the repository's virtual environments; called by the Makefile, each time with a stamp behind it.
#   tools/setup.sh bootstrap DIR         the installer (uv), fetched by pip and checked against its hash
#   tools/setup.sh packages DIR LOCK     exactly what LOCK names, checked against its hashes
#   tools/setup.sh project DIR           this repository, editable, without its dependencies
# POSIX sh: it runs before anything of ours is installed.
set -eu

fail() { # what went wrong, cause, next step
    printf 'setup: %s\n  cause: %s\n  next:  %s\n' "$1" "$2" "$3" >&2
    exit 2
}

newer_than_3_10() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        newer_than_3_10 "$PYTHON" || fail "PYTHON=$PYTHON cannot be used" \
            "it is not there, or it is older than 3.11" "set PYTHON to a Python 3.11 or newer"
        echo "$PYTHON"
        return
    fi
    for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
        if newer_than_3_10 "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or newer was found" \
        "python3 is $(python3 --version 2>/dev/null || echo missing), and there is no python3.11 to python3.14" \
        "install one (Debian 12, Ubuntu 24.04: apt-get install python3 python3-venv) or set PYTHON=/path/to/python3"
}

make_venv() { # directory, then options of venv
    dir=$1
    shift
    if [ -x "$dir/bin/python" ] && newer_than_3_10 "$dir/bin/python"; then
        return
    fi
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$python cannot make a virtual environment" \
        "its modules venv and ensurepip are missing (Debian and Ubuntu package them separately)" \
        "apt-get install python3-venv, then run make again"
    "$python" -m venv --clear "$@" "$dir"
}

index_settings() { # uv reads none of pip's settings: hand over what this machine has configured
    if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
        index=${PIP_INDEX_URL:-$(.tools/bin/pip config get global.index-url 2>/dev/null || true)}
        [ -z "$index" ] || export UV_DEFAULT_INDEX="$index"
    fi
    [ -n "${SSL_CERT_FILE:-}" ] || [ -z "${PIP_CERT:-}" ] || export SSL_CERT_FILE="$PIP_CERT"
    export UV_HTTP_TIMEOUT="${UV_HTTP_TIMEOUT:-180}"
}

unreachable() {
    fail "$1 could not be installed" "see the lines above; most often the package index cannot be reached" \
        "check the network (behind a proxy: HTTPS_PROXY; with a mirror: PIP_INDEX_URL), then run make again"
}

task=$1
dir=$2
case $task in
bootstrap)
    make_venv "$dir"
    echo "setup: fetching the installer (uv, 20 MB)"
    "$dir/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --requirement requirements/bootstrap.txt || unreachable "the installer"
    ;;
packages)
    make_venv "$dir" --without-pip
    echo "setup: installing $(grep -c '==' "$3") pinned packages of $3 into $dir"
    index_settings
    .tools/bin/uv pip sync --quiet --compile-bytecode --python "$dir/bin/python" --require-hashes "$3" || unreachable "$3"
    ;;
project)
    index_settings
    .tools/bin/uv pip install --quiet --python "$dir/bin/python" --no-deps \
        --build-constraints requirements/build.txt --editable . || fail "lectern itself could not be installed" \
        "see the lines above: pyproject.toml names a file that is not there, or the build backend cannot be fetched" \
        "repair what they name, or check the network as for every package, then run make again"
    ;;
*)
    fail "unknown task $task" "tools/setup.sh was called by hand" "run make setup"
    ;;
esac
