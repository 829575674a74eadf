#!/bin/sh
# Runs Python tests on a package built with AddressSanitizer and UndefinedBehaviorSanitizer, and with
# assertions. Buffers that Python hands over come from malloc, so that reading past them is seen too.
#
#   scripts/sanitized.sh PYTHON [PYTEST ARGUMENTS]
#
# Without arguments: the files that exercise the C code, in two processes, some four minutes. Left out
# is what runs no C of ours (models, chunks, command line, docs) or only what the rest runs too.
set -eu
python=$1
shift
case $python in /*) ;; *) python=$PWD/$python ;; esac
site=$PWD/build/sanitized
cc=${CC:-cc}
libasan=$("$cc" -print-file-name=libasan.so)
[ -e "$libasan" ] || {
    echo "sanitized: $cc has no libasan.so; skipped" >&2
    exit 0
}
rm -rf "$site"
"$python" -m pip --disable-pip-version-check --quiet install --no-build-isolation --no-deps \
    --target "$site" --config-settings=build-dir=build/sanitized-build \
    --config-settings=cmake.build-type=Debug \
    --config-settings='cmake.define.CMAKE_C_FLAGS_DEBUG=-O1 -g' \
    --config-settings=cmake.define.VECSQL_SANITIZE=address,undefined .

# libstdc++ and libcrypt: their functions are intercepted, so they must be there from the start.
preload=$libasan
for library in libstdc++.so libcrypt.so.1; do
    path=$("$cc" -print-file-name=$library)
    [ ! -e "$path" ] || preload=$preload:$path
done
export LD_PRELOAD="$preload" PYTHONPATH="$site" PYTHONMALLOC=malloc
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1

# What is tested must be what was just built, and an overrun must be seen: reads past 12 bytes.
(cd "$site/.." && "$python" - "$site") <<'EOF'
import subprocess, sys
import vecsql
path = vecsql.loadable_path()
assert path.startswith(sys.argv[1]), path
overrun = "import ctypes; ctypes.string_at(ctypes.create_string_buffer(12), 4096)"
done = subprocess.run([sys.executable, "-c", overrun], capture_output=True, text=True)
assert "AddressSanitizer: heap-buffer-overflow" in done.stderr, done.stderr
with open(path, "rb") as f:
    assert b"__asan_report_load" in f.read(), "not instrumented"
EOF

run() { # ARGUMENTS
    "$(dirname "$python")/pytest" -q -m "not slow" --every-case -p no:cacheprovider "$@"
}

files() { # NAMES
    for name in "$@"; do find tests -name "test_$name.py" | grep . || echo "tests/missing/test_$name.py"; done
}

if [ $# -gt 0 ]; then
    run "$@"
    exit
fi
log=$site/other.log
run $(files answers content cursors dbapi element_types files format interrupt load multiconnection plans \
    queries broken_tables odd_statements search_many sharing stats vec0 vec0_queries vec0_rows writes) >"$log" 2>&1 &
failed=0
run $(files bulk core damage dml embed errors filters functions index limits pq random_tables schema_changes \
    security small_tables sq8 state_machine text_keys transactions vec0_random vec0_schema \
    vector_cache) \
    -k "not ten_thousand_equal" || failed=1
wait $! || failed=1
cat "$log"
exit $failed
