#!/bin/sh
# Runs make targets one after another, prints the name and the time of each, stops at the first that fails, and ends
# with one summary line. Called by `make test`: tools/steps.sh MAKE TITLE TARGET...
set -eu
make=$1
title=$2
shift 2
began=$(date +%s)
times=""
for step in "$@"; do
    printf '\n== %s\n' "$step"
    started=$(date +%s)
    if ! "$make" --no-print-directory "$step"; then
        printf '\n%s: FAILED at "%s" after %s s (again: make %s)\n' "$title" "$step" "$(($(date +%s) - started))" "$step"
        exit 1
    fi
    took=$(($(date +%s) - started))
    printf -- '-- %s: ok, %s s\n' "$step" "$took"
    times="$times $step ${took}s,"
done
printf '\n%s: passed, %s steps in %s s (%s)\n' "$title" "$#" "$(($(date +%s) - began))" "$(echo "$times" | sed 's/^ //; s/,$//')"
