"""Fuzzing with libFuzzer: finds new inputs, and keeps those that reach new code.

    python tests/faults/fuzz.py [--seconds N] [TARGET...]

Builds fuzz.c with clang, ASan and UBSan; unpacks the corpus, runs libFuzzer on each target for N
seconds of CPU time (1800), reduces what it found to the inputs that add coverage (-merge=1) and
packs them again, for `fault_fuzz`, which replays them without clang. A crash leaves a file in
build/fuzz.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import re
import resource
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CORPUS = Path(__file__).resolve().parent / "corpus"
BUILD = ROOT / "build" / "fuzz"
TARGETS = ("disk", "vector", "create", "script", "operations")
MAX_LEN = 600
HANG = 600  # seconds of one input; on the wall clock, and fuzzers wait their turn
FLAGS = [
    "-std=gnu11",
    "-O1",
    "-g",
    "-ffp-contract=off",
    "-fsanitize=fuzzer,address,undefined",
    "-fno-sanitize-recover=undefined",
    "-DLIBFUZZER",
    "-DVECSQL_ASSERTIONS",
    '-DVECSQL_VERSION="fuzz"',
    "-I.",
]


def build() -> Path:
    ours = ("fuzz", "memfs", "fixture", "cases")
    sources = [ROOT / "tests" / "faults" / f"{name}.c" for name in ours]
    sources += [*(ROOT / "csrc").rglob("*.c"), *(ROOT / "ext").rglob("*.c")]
    program = BUILD / "fuzz"
    BUILD.mkdir(parents=True, exist_ok=True)
    link = ["-lsqlite3", "-lm", "-lpthread", "-o", program]
    subprocess.run(["clang", *FLAGS, *sources, *link], cwd=ROOT, check=True)
    return program


def unpack(target: str, folder: Path) -> int:
    """Writes each input of the pack into a file, named as libFuzzer does."""
    folder.mkdir(parents=True, exist_ok=True)
    pack, at, n = (CORPUS / f"{target}.pack").read_bytes(), 0, 0
    while at < len(pack):
        size = int.from_bytes(pack[at : at + 2], "little")
        data = pack[at + 2 : at + 2 + size]
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)
        at, n = at + 2 + size, n + 1
    return n


def pack(target: str, folder: Path) -> int:
    inputs = sorted((file.read_bytes() for file in folder.iterdir()), key=lambda d: (len(d), d))
    inputs = [data for data in inputs if 0 < len(data) <= MAX_LEN]
    packed = b"".join(len(data).to_bytes(2, "little") + data for data in inputs)
    (CORPUS / f"{target}.pack").write_bytes(packed)
    return len(inputs)


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def fuzz(command: list[str | Path], environment: dict[str, str], seconds: int, log: Path) -> int:
    """libFuzzer counts time on the wall clock: it runs until its CPU time is N seconds.

    What a run found is in the folder of inputs, where the next run takes it up.
    """
    end, status = cpu_seconds() + seconds, 0
    with log.open("w", encoding="utf-8") as to:
        while status == 0 and cpu_seconds() < end:
            left = f"-max_total_time={math.ceil(end - cpu_seconds())}"
            status = subprocess.run(
                [*command, left], env=environment, stderr=to, check=False
            ).returncode
    return status


def run(program: Path, target: str, seconds: int) -> bool:
    """Fuzzes one target; whether nothing was found."""
    found, least = BUILD / target, BUILD / f"{target}.min"
    for folder in (found, least):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    before = unpack(target, found)
    options = [f"-timeout={HANG}", f"-max_len={MAX_LEN}", f"-artifact_prefix={BUILD}/{target}-"]
    words = CORPUS / f"{target}.dict"
    if words.exists():
        options.append(f"-dict={words}")
    environment = dict(os.environ, FUZZ_TARGET=target)
    log, started = BUILD / f"{target}.log", cpu_seconds()
    command = [program, "-print_final_stats=1", *options, found]
    status, text = fuzz(command, environment, seconds, log), log.read_text(errors="replace")
    inputs = sum(map(int, re.findall(r"stat::number_of_executed_units:\s+(\d+)", text)))
    spent = round(cpu_seconds() - started)
    print(f"{target}: {inputs} inputs in {spent} s of CPU time, status {status}", flush=True)
    if status != 0:
        print(text[-4000:])
        return False
    merge = [program, "-merge=1", *options, least, found]
    subprocess.run(merge, env=environment, stderr=subprocess.DEVNULL, check=True)
    print(f"{target}: corpus {before} -> {pack(target, least)} inputs", flush=True)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=1800)
    parser.add_argument("targets", nargs="*", default=TARGETS)
    arguments = parser.parse_args()
    program = build()
    return sum(not run(program, target, arguments.seconds) for target in arguments.targets)


if __name__ == "__main__":
    sys.exit(main())
