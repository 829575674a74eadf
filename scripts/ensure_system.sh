#!/bin/sh
# Makes sure of the system parts that no wheel can bring: a C compiler, SQLite's header, Python's
# header and venv. Installs what is missing with the system's package manager where that needs no
# password (root, sudo -n, or Homebrew); otherwise says what to type and fails.
#
#   scripts/ensure_system.sh [PYTHON]
set -eu

python=${1:-python3}

say() { printf '%s\n' "vecsql: $*" >&2; }

command -v "$python" >/dev/null 2>&1 || {
    say "no '$python' found: install Python 3.10 or newer, or name it: make PYTHON=..."
    exit 1
}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
    say "$("$python" -V 2>&1) is too old: Python 3.10 or newer is needed (make PYTHON=python3.11)"
    exit 1
}

have_compiler() { command -v "${CC:-cc}" || command -v gcc || command -v clang; }
have_header() { # compiles, so that the compiler's own search path counts
    for dir in "" ${SQLITE3_INCLUDE_DIR:-} /opt/homebrew/opt/sqlite/include /usr/local/opt/sqlite/include; do
        printf '#include <%s>\n' "$1" | "$(have_compiler)" ${dir:+-I"$dir"} -E -x c - && return 0
    done
    return 1
}
have_python_header() {
    [ -f "$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]
}
have_venv() { "$python" -c 'import ensurepip, venv'; }

missing() { # the names of our parts that are not there
    have_compiler >/dev/null 2>&1 || { echo compiler; echo libc; }
    ! have_compiler >/dev/null 2>&1 || have_header stdio.h >/dev/null 2>&1 || echo libc
    have_header sqlite3ext.h >/dev/null 2>&1 || echo sqlite
    have_python_header >/dev/null 2>&1 || echo python-dev
    have_venv >/dev/null 2>&1 || echo python-venv
}

parts=$(missing)
[ -n "$parts" ] || exit 0

if command -v apt-get >/dev/null 2>&1; then
    update="apt-get update -q" install="apt-get install -q -y --no-install-recommends"
    names="compiler=gcc libc=libc6-dev sqlite=libsqlite3-dev python-dev=python3-dev python-venv=python3-venv"
elif command -v dnf >/dev/null 2>&1; then
    update=true install="dnf install -q -y"
    names="compiler=gcc libc=glibc-devel sqlite=sqlite-devel python-dev=python3-devel python-venv=python3-libs"
elif command -v apk >/dev/null 2>&1; then
    update=true install="apk add --no-cache"
    names="compiler=gcc libc=musl-dev sqlite=sqlite-dev python-dev=python3-dev python-venv=python3"
elif command -v brew >/dev/null 2>&1; then
    update=true install="brew install"
    names="compiler=llvm libc=llvm sqlite=sqlite python-dev=python python-venv=python"
else
    say "missing: $(echo $parts). Install them with your package manager: a C compiler with its"
    say "library headers, SQLite's development files (sqlite3ext.h), Python's headers and venv."
    exit 1
fi

packages=
for part in $parts; do
    for pair in $names; do
        [ "${pair%%=*}" != "$part" ] || packages="$packages ${pair#*=}"
    done
done

if [ "${install%% *}" = brew ] || [ "$(id -u)" = 0 ]; then
    as= hint=$install
elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
    as="sudo -n" hint="sudo $install"
else
    say "missing system packages; type:  sudo $install$packages"
    exit 1
fi

say "installing$packages"
# Output goes to stderr: it is only of interest when it fails.
{ $as env DEBIAN_FRONTEND=noninteractive $update &&
    $as env DEBIAN_FRONTEND=noninteractive $install $packages; } >&2 </dev/null || {
    say "that failed; try it by hand:  $hint$packages"
    exit 1
}

parts=$(missing)
[ -z "$parts" ] || {
    say "still missing for $(command -v "$python"): $(echo $parts)."
    say "If this Python is not the system's, install its own development files and venv."
    exit 1
}
