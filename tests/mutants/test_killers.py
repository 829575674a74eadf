"""Risk: a mutant names a test that is gone, so it would count as caught by a command that fails."""

from __future__ import annotations

import importlib.util
import re

import pytest

from tests.support.paths import ROOT

_spec = importlib.util.spec_from_file_location("mutants", ROOT / "tests" / "mutants" / "mutants.py")
_mutants = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_mutants)


def is_there(killer: str) -> bool:
    if not killer.startswith("pytest:"):
        name = killer.partition(":")[0]
        folder, file = ("c", name) if name.startswith("test_") else ("faults", name[6:])
        return (ROOT / "tests" / folder / f"{file}.c").is_file()
    for place in killer.removeprefix("pytest:").split():
        path, _, function = place.partition("::")
        file = ROOT / path
        if not file.is_file():
            return False
        name = function.partition("[")[0]
        if name and not re.search(rf"^ *def {name}\(", file.read_text("utf-8"), re.MULTILINE):
            return False
    return True


def test_every_killer_of_a_mutant_is_there():
    gone = {m.killer for m in [*_mutants.MUTANTS, _mutants.CONTROL] if not is_there(m.killer)}
    assert not gone


@pytest.mark.parametrize(
    "killer",
    [
        "test_no_such_program",
        "fault_none:full",
        "pytest:tests/query/test_gone.py",
        "pytest:tests/query/test_plans.py::test_gone",
    ],
)
def test_a_killer_that_is_gone_would_be_found(killer):
    assert not is_there(killer)
