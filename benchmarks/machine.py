"""The machine that measures: what it is, and one CPU of it for the benchmark."""

from __future__ import annotations

import os
import platform
import subprocess
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent


def pin() -> int | None:
    """Pins this process to the last CPU it may use; None where that is impossible."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    cpu = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    return cpu


def cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(REPO), *words], capture_output=True, text=True)


def commit() -> str:
    """The commit of the sources, "-dirty" behind it if one of them was changed.

    Results, and the pages that are made of them, are no sources.
    """
    try:
        name = git("rev-parse", "--short", "HEAD")
        made = [f":!{path}" for path in ("benchmarks/results", "docs", "README.md")]
        changed = git("diff", "--quiet", "HEAD", "--", ".", *made)
    except OSError:
        return "?"
    return name.stdout.strip() + "-dirty" * changed.returncode if name.returncode == 0 else "?"


COMMIT = commit()  # when the program begins: a run can take an hour


def machine() -> dict[str, object]:
    return {
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": COMMIT,
    }
