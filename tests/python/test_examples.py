"""Risk: an example in a docstring does not run, or does not give what it shows."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path
from types import ModuleType

import pytest

import vecsql

PACKAGE = Path(vecsql.__file__).parent
MODULES = [
    ".".join(("vecsql", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


def examples(module: ModuleType) -> list[doctest.DocTest]:
    """Those of the module, and of its classes that go under the name of the package."""
    finder = doctest.DocTestFinder()
    found = finder.find(module)
    for thing in vars(module).values():
        if isinstance(thing, type) and thing.__module__ == "vecsql":
            found += finder.find(thing, thing.__name__, module=False, globs={})
    return found


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_run(name):
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for example in examples(importlib.import_module(name)):
        runner.run(example)
    assert runner.tries > 0
    assert runner.failures == 0
