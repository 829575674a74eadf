#!/bin/sh
# Builds the last commit twice and compares the bytes of the source archive and of the wheel: from
# two clones whose directories, file modes and time zones differ, with the same compiler, Python and
# build tools. Prints the SHA-256 of each file and how often it came out.
#
#   scripts/reproducible.sh PYTHON
set -eu
python=$1
case $python in /*) ;; *) python=$PWD/$python ;; esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

build() { # CLONE MASK ZONE
    (umask "$2" && git clone --quiet . "$work/$1")
    (cd "$work/$1" && TZ=$3 sh scripts/wheel.sh "$python" dist)
    (cd "$work/$1/dist" && sha256sum vecsql-*) >>"$work/sums"
}

build one 022 UTC
build another/deeper/place 077 Asia/Tokyo
sort "$work/sums" | uniq -c
[ "$(sort -u "$work/sums" | wc -l)" -eq 2 ] || {
    echo "the builds differ" >&2
    exit 1
}
