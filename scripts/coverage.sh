#!/bin/sh
# Line coverage of csrc and ext by the C tests and the quick fault runs (gcov). Prints one line for
# each file and the sum.
#
#   scripts/coverage.sh [DIRECTORY OF cmake, ninja AND ctest]
set -eu
[ $# -eq 0 ] || PATH="$(cd "$1" && pwd):$PATH"
build=build/coverage
cmake -S . -B $build -G Ninja -DVECSQL_TESTS=ON -DVECSQL_PYTHON=OFF -DCMAKE_BUILD_TYPE=Debug \
    -DCMAKE_C_FLAGS="--coverage -O0" >/dev/null
cmake --build $build >/dev/null
find $build -name '*.gcda' -delete
ctest --test-dir $build -LE slow -j 2 >/dev/null
find $build/CMakeFiles/vecsql_core.dir $build/tests/faults/CMakeFiles/faults.dir -name '*.gcda' \
    -exec gcov -n {} + 2>/dev/null | awk '
    /^File/ { file = $2; gsub(/\047/, "", file) }
    /^Lines executed/ && file ~ /(csrc|ext)\/[a-z0-9_]*\.c$/ {
        sub(/^.*executed:/, ""); split($0, part, /% of /)
        sub(/^.*\/(csrc|ext)\//, "&", file); n = split(file, path, "/")
        printf "%-28s %6.2f %% of %5d\n", path[n - 1] "/" path[n], part[1], part[2]
        hit += part[1] * part[2] / 100; all += part[2]; file = ""
    }
    END { printf "%-28s %6.2f %% of %5d lines\n", "all", 100 * hit / all, all }'
