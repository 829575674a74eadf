"""Risk: an example in a docstring does not run, or does not give what it shows."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = ["vecsql", "vecsql._convert", "vecsql._embed", "vecsql._load"]


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_run(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
