"""Mutants: small mistakes put into the code, each of which its own test must notice.

    python tests/mutants/run.py [-j N] [NAME...]

A mutant (mutants.py) is one replacement in one file and the test that must fail on it, or not end:

    test_disk                            a C test
    fault_damage  fault_oom:full:insert  a fault harness, quick, or with arguments
    pytest:tests/test_x.py::test_y       Python tests, against an extension with the mutant in it

Each of N workers (one for a core) has a copy of the sources, in which only what a mutant changes is
compiled anew. Prints the survivors; the exit status is their number. Where the code has moved, the
mutant is stale and counts as a survivor: adapt it. Needs cmake, ninja and the installed package.
"""

from __future__ import annotations

import argparse
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from mutants import CONTROL, MUTANTS, Mutant

import vecsql

ROOT = Path(__file__).resolve().parent.parent.parent
COPIED = (
    *("csrc", "ext", "third_party", "tests/c", "tests/faults"),
    *("CMakeLists.txt", "vecsql/__init__.py"),
)
LONGEST = "60"  # seconds of CPU time of a test; without a mutant none takes half of it


def run(*command: object, env: dict[str, str] | None = None, cwd: Path | None = None) -> bool:
    limited = ["sh", "-c", f'ulimit -t {LONGEST}; exec "$@"', "sh", *map(str, command)]
    done = subprocess.run(limited, capture_output=True, check=False, env=env, cwd=cwd)
    return done.returncode == 0


class Tree:
    """A copy of the sources, built in the way that its tests need."""

    def __init__(self, root: Path) -> None:
        self.root, self.build = root, root / "build"
        for part in COPIED:
            (root / part).parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, root / part)
        options = ["-G", "Ninja", "-DVECSQL_TESTS=ON", "-DVECSQL_PYTHON=OFF"]
        options.append("-DCMAKE_C_FLAGS_RELEASE=-O1")
        configure = ["cmake", "-S", str(root), "-B", str(self.build), *options]
        subprocess.run(configure, check=True, capture_output=True)
        self.site = root / "site"

    def make(self, target: str) -> bool:
        return run("cmake", "--build", self.build, "--target", target)

    def passes(self, killer: str) -> bool:
        """Builds what the test needs and runs it."""
        kind, *arguments = killer.split(":", 1)
        target = "vecsql" if kind == "pytest" else kind
        if not self.make(target):
            raise RuntimeError(f"{target} cannot be built")
        if kind == "pytest":
            return self.python_test_passes(arguments[0])
        if kind.startswith("test_"):
            return run(self.build / kind)
        arguments = arguments[0].split(":", 1) if arguments else ["quick"]
        return run(self.build / "tests" / "faults" / kind, *arguments)

    def python_test_passes(self, test: str) -> bool:
        if not self.site.exists():
            package = Path(vecsql.__file__).parent
            shutil.copytree(package, self.site / "vecsql")
        library = Path(vecsql.loadable_path()).name
        built = next(self.build.glob(f"vecsql{Path(library).suffix}"))
        shutil.copy(built, self.site / "vecsql" / library)
        options = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", "--every-case"]
        environment = {**os.environ, "PYTHONPATH": str(self.site)}
        pytest = (sys.executable, "-m", "pytest", *options, ROOT / test)
        return run(*pytest, env=environment, cwd=self.site)

    def why_alive(self, mutant: Mutant) -> str:
        """What is wrong with a mutant; "" if it is dead, as it should be."""
        file = self.root / mutant.file
        source = file.read_text(encoding="utf-8")
        if source.count(mutant.old) != 1:
            return "stale: the code has moved"
        file.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
        try:
            passed = self.passes(mutant.killer)
        except RuntimeError as error:
            return str(error)
        finally:
            file.write_text(source, encoding="utf-8")
        if mutant == CONTROL:
            return "" if passed else "died, though it must not"
        return f"{mutant.killer} passes" if passed else ""


def work(root: Path, jobs: queue.Queue[tuple[str, Mutant | None]], bad: list[str]) -> None:
    tree = Tree(root)
    while True:
        try:
            killer, mutant = jobs.get_nowait()
        except queue.Empty:
            return
        started = time.monotonic()
        if mutant is None:
            name, why = killer, "" if tree.passes(killer) else "fails without a mutant"
        else:
            name, why = mutant.name, tree.why_alive(mutant)
        verdict = "BAD" if why else "sound" if mutant is None else "dead"
        print(f"{verdict:5} {time.monotonic() - started:5.1f} s  {name}  {why}", flush=True)
        if why:
            bad.append(name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-j", type=int, default=os.cpu_count() or 1)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    chosen = [m for m in MUTANTS if not arguments.names or m.name in arguments.names]
    jobs: queue.Queue[tuple[str, Mutant | None]] = queue.Queue()
    bad: list[str] = []
    for killer in sorted({m.killer for m in chosen}):
        jobs.put((killer, None))
    for mutant in chosen:
        jobs.put((mutant.killer, mutant))
    with tempfile.TemporaryDirectory(prefix="vecsql-mutants-") as name:
        trees = [Path(name) / str(i) for i in range(arguments.j)]
        threads = [threading.Thread(target=work, args=(t, jobs, bad)) for t in trees]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for name in bad:
        print(f"BAD: {name}")
    print(f"{len(chosen)} mutants, {len(bad)} alive, stale or without a sound test")
    return len(bad)


if __name__ == "__main__":
    sys.exit(main())
