"""Risk: the state machine is green because it cannot be red.

Each build below leaves out one step of undoing; the state machine must notice.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.support.patched import needs_compiler, patched_package
from tests.support.paths import ROOT

STEPS = {
    "discarded edits stay in memory": (
        "ext/txn/txn.c",
        "        v->stale = 1;\n        vs_forget(v->graph);\n        vsx_rowmap_clear(v->map);\n",
        "",
    ),
    "a savepoint does not flush": (
        "ext/entry.c",
        "return t->index->writing ? SQLITE_OK : vsx_explain(t, vsx_flush(t->index, 0));",
        "(void)t;\n    return SQLITE_OK;",
    ),
}


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("step", STEPS)
def test_the_state_machine_is_red_when_an_undo_step_is_left_out(tmp_path, step):
    site = patched_package(tmp_path, *STEPS[step])
    machine = ROOT / "tests" / "table" / "test_state_machine.py"
    pytest_args = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", str(machine)]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *pytest_args],
        env={**os.environ, "PYTHONPATH": str(site), "VECSQL_NO_SHRINK": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 1, run.stdout[-3000:]
