"""Risk: an example in a docstring does not run, or does not give what it shows."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

import vecsql

README = Path(__file__).resolve().parent.parent / "README.md"

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


def blocks(path: Path, language: str) -> list[str]:
    """The fenced code blocks of a Markdown file in one language."""
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def test_the_first_example_of_the_readme_runs_and_finds_the_right_rows(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    exec(blocks(README, "python")[0], {})
    assert "night train" in capsys.readouterr().out.splitlines()[0]


def test_the_sql_of_the_readme_runs():
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute("CREATE TABLE docs(id INTEGER PRIMARY KEY, title TEXT, author TEXT)")
    query = np.zeros(384, np.float32).tobytes()
    for statement in blocks(README, "sql")[0].split(";\n"):
        db.execute(statement, {"q": query} if ":q" in statement else None).fetchall()
