#!/bin/sh
# Checks a built wheel: its tag, its size, and in an empty environment that it works with the
# drivers it is made for (scripts/wheel_check.py) and that its command runs.
#
#   scripts/wheel_check.sh PYTHON DIST
set -eu
python=$1 dist=$(cd "$2" && pwd)
source=$(cd "$(dirname "$0")" && pwd)
wheel=$(echo "$dist"/vecsql-*.whl)
limit=8000000
size=$(wc -c <"$wheel")
echo "$(basename "$wheel"): $size bytes"
[ "$size" -lt $limit ] || { echo "larger than $limit bytes" >&2; exit 1; }
drivers="sqlite3 apsw" extra=
if [ "$(uname)" = Linux ]; then
    case $wheel in *-cp310-abi3-manylinux_*) ;; *) echo "not a manylinux wheel" >&2; exit 1 ;; esac
    [ "$(uname -m)" != x86_64 ] || { drivers="$drivers pysqlite3" extra=pysqlite3-binary; }
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" --disable-pip-version-check --quiet install "$wheel" $extra
cd "$work"
venv/bin/python "$source/wheel_check.py" $drivers
venv/bin/vecsql --help >/dev/null
venv/bin/pip check
