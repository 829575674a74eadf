"""Risk: docs/reference/python.md shows what does not run, or another result; a name is missing."""

from __future__ import annotations

import re

import vecsql
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "reference" / "python.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
SHOWN = re.compile(r"^(.*?)\s+# -> (.*)$")


def statements(block: str) -> list[tuple[str, str | None]]:
    """The statements of a block, each with the result that its comment shows."""
    found: list[tuple[str, str | None]] = []
    pending: list[str] = []
    for line in block.splitlines():
        shown = SHOWN.match(line)
        pending.append(shown[1] if shown else line)
        if shown:
            # the expression began at the last line that is not indented
            start = max(i for i, text in enumerate(pending) if text and not text[0].isspace())
            found += [("\n".join(pending[:start]), None), ("\n".join(pending[start:]), shown[2])]
            pending = []
    return [*found, ("\n".join(pending), None)]


def test_every_block_runs_and_gives_what_it_shows(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "example"}
    checked = 0
    for block in BLOCKS:
        for code, expected in statements(block):
            if expected is None:
                exec(code, names)
            else:
                assert repr(eval(code, names)) == expected, code
                checked += 1
    assert checked > 30
    printed = capsys.readouterr().out
    for line in re.findall(r"print\(.*#\s+(.*)$", TEXT, re.MULTILINE):
        assert line in printed


def test_every_public_name_is_on_the_page():
    words = set(re.findall(r"\w+", TEXT))
    assert [name for name in vecsql.__all__ if name not in words] == []
