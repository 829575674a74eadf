"""Builds the extension from the source tree with one change, in a copy of the installed package."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import vecsql
from tests.support.paths import ROOT

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")


def patched_package(directory: Path, file: str, old: str, new: str) -> Path:
    """A directory for PYTHONPATH whose vecsql has `new` in the place of `old` in one C file."""
    for folder in ("csrc", "ext"):
        shutil.copytree(ROOT / folder, directory / folder)
    source = (directory / file).read_text(encoding="utf-8")
    assert source.count(old) == 1, "the code has moved: adapt this test"
    (directory / file).write_text(source.replace(old, new), encoding="utf-8")
    site = directory / "site"
    package = Path(vecsql.__file__).parent
    shutil.copytree(package, site / "vecsql", ignore=shutil.ignore_patterns("__pycache__"))
    sources = sorted(str(p) for f in ("csrc", "ext") for p in (directory / f).rglob("*.c"))
    flags = ["-std=gnu11", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off"]
    flags.append(f"-I{directory}")
    library = str(site / "vecsql" / Path(vecsql.loadable_path()).name)
    subprocess.run([str(COMPILER), *flags, *sources, "-o", library, "-lm"], check=True)
    return site
