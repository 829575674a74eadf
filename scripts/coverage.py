"""Line and branch coverage of csrc and ext (gcov) by the C tests, the quick fault runs and the
quick tier of the Python tests, all together.

    python scripts/coverage.py [--missing] [--report]

Prints a line for each file and the sums; with --missing the lines that nothing reached, too; with
--report it runs nothing and reads what the last run has left in build/coverage. Needs cmake, ninja,
gcov and the installed package.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import vecsql

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "coverage"

# file -> line -> (times executed, [times taken of each branch])
Counts = dict[str, dict[int, tuple[int, list[int]]]]


def build_and_run() -> None:
    options = ["-G", "Ninja", "-DVECSQL_TESTS=ON", "-DVECSQL_PYTHON=OFF"]
    flags = ["-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_C_FLAGS=--coverage -O0"]
    subprocess.run(["cmake", "-S", ROOT, "-B", BUILD, *options, *flags], check=True)
    subprocess.run(["cmake", "--build", BUILD], check=True)
    for old in BUILD.rglob("*.gcda"):
        old.unlink()
    subprocess.run(["ctest", "--test-dir", BUILD, "-LE", "slow", "-j", "2"], check=False)
    site = BUILD / "site"
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(Path(vecsql.__file__).parent, site / "vecsql")
    library = Path(vecsql.loadable_path()).name
    shutil.copy(BUILD / library, site / "vecsql" / library)
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    subprocess.run([*command, ROOT / "tests"], cwd=site, env=environment, check=False)


def read() -> Counts:
    """All objects together: a source is compiled into several programs."""
    counts: Counts = defaultdict(dict)
    for data in BUILD.rglob("*.gcda"):
        command = ["gcov", "--json-format", "--branch-probabilities", "--stdout", data]
        run = subprocess.run(command, cwd=BUILD, capture_output=True, text=True, check=True)
        for text in run.stdout.splitlines():
            for file in json.loads(text)["files"]:
                path = Path(BUILD, file["file"]).resolve()
                if {ROOT / "csrc", ROOT / "ext"} & set(path.parents):
                    add(counts[str(path.relative_to(ROOT))], file["lines"])
    return counts


def add(known: dict[int, tuple[int, list[int]]], lines: list[dict]) -> None:
    for line in lines:
        taken = [branch["count"] for branch in line["branches"]]
        number = line["line_number"]
        count, before = known.get(number, (0, [0] * len(taken)))
        if len(before) != len(taken):  # a header's function, inlined differently
            taken = before if len(before) > len(taken) else taken
        else:
            taken = [a + b for a, b in zip(before, taken, strict=True)]
        known[number] = (count + line["count"], taken)


def share(part: int, whole: int) -> str:
    return f"{100 * part / max(whole, 1):6.2f} % of {whole:5}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--missing", action="store_true")
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    if not arguments.report:
        build_and_run()
    sums = [0, 0, 0, 0]
    for name, lines in sorted(read().items()):
        branches = [taken for _, all_of_line in lines.values() for taken in all_of_line]
        reached = sum(count > 0 for count, _ in lines.values())
        taken = sum(count > 0 for count in branches)
        for i, value in enumerate((reached, len(lines), taken, len(branches))):
            sums[i] += value
        print(f"{name:30} lines {share(reached, len(lines))}", end="  ")
        print(f"branches {share(taken, len(branches))}")
        missed = [number for number, (count, _) in sorted(lines.items()) if count == 0]
        if arguments.missing and missed:
            print("   ", *missed)
    print(f"{'all':30} lines {share(*sums[:2])}  branches {share(*sums[2:])}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
