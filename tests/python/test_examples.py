"""Risk: an example in a docstring does not run, or does not give what it shows."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import vecsql

PACKAGE = Path(vecsql.__file__).parent
MODULES = [
    ".".join(("vecsql", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_run(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
