"""Risk: the state machine is green because it cannot be red.

Each build below leaves out one step of undoing; the state machine must notice.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vecsql

ROOT = Path(__file__).resolve().parent.parent
COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")

STEPS = {
    "discarded edits stay in memory": ("ext/txn.c", "            v->stale = 1;\n", ""),
    "a savepoint does not flush": (
        "ext/entry.c",
        "return t->index->writing ? SQLITE_OK : vsx_explain(t, vsx_flush(t->index, 0, n));",
        "(void)t;\n    (void)n;\n    return SQLITE_OK;",
    ),
    "ROLLBACK TO is ignored": ("ext/entry.c", "if (!index->writing) {", "if (index == NULL) {"),
}


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="needs a C compiler")
@pytest.mark.parametrize("step", STEPS)
def test_the_state_machine_is_red_when_an_undo_step_is_left_out(tmp_path, step):
    file, old, new = STEPS[step]
    for folder in ("csrc", "ext"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    source = (tmp_path / file).read_text(encoding="utf-8")
    assert source.count(old) == 1, "the step has moved: adapt this test"
    (tmp_path / file).write_text(source.replace(old, new), encoding="utf-8")
    site = tmp_path / "site"
    package = Path(vecsql.__file__).parent
    shutil.copytree(package, site / "vecsql", ignore=shutil.ignore_patterns("__pycache__"))
    sources = sorted(str(p) for f in ("csrc", "ext") for p in (tmp_path / f).glob("*.c"))
    flags = ["-std=gnu11", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off"]
    library = str(site / "vecsql" / Path(vecsql.loadable_path()).name)
    subprocess.run([str(COMPILER), *flags, *sources, "-o", library, "-lm"], check=True)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not slow",
         str(ROOT / "tests" / "test_state_machine.py")],
        env={**os.environ, "PYTHONPATH": str(site), "VECSQL_NO_SHRINK": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )  # fmt: skip
    assert run.returncode == 1, run.stdout[-3000:]
