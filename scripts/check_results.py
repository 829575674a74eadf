"""Fails where C code of the extension ignores the result of a call that can fail.

    python scripts/check_results.py [FILE...]

A bind that fails leaves NULL in a statement, which then writes NULL and succeeds. So the results
of sqlite3_bind_*, _exec, _step, _prepare* and of our own wrappers must go into an expression, as
VSX_TRY(...) is one; a cast to void is no excuse. What a loop does with sqlite3_step is found by
finalize and reset.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

CALLS = (
    r"sqlite3_(?:bind_(?!parameter_)\w+|exec|step|prepare\w*|blob_(?!close|bytes)\w+"
    r"|declare_vtab|vtab_config|create_\w+|table_column_metadata|file_control)"
    r"|vsx_(?:exec|stmt|row_stmt|step_with|number|ask_\w+|write|write_after|refresh|mark|flush"
    r"|checkpoint|link|link_all)"
)
# A call that begins a statement: after ; { } : or else, do, or the ) of an if or a loop.
IGNORED = re.compile(rf"(?:[;{{}}:]|\belse|\bdo|\))\s*(?:\(void\)\s*)?({CALLS})\(")
COMMENT = re.compile(r"/\*.*?\*/|\"(?:\\.|[^\"\\])*\"|#[^\n]*", re.DOTALL)
# After a ) the call is a statement only if the ) ends a condition, and no type of a cast.
CONDITION = re.compile(r"\b(?:if|while|for)\s*\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)$")


def blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", " ", match[0])


def ignored(source: str) -> list[tuple[int, str]]:
    """(line, function) of each call whose result nobody looks at."""
    code = COMMENT.sub(blank, source)
    found = []
    for match in IGNORED.finditer(code):
        before = code[: match.start() + 1]
        if code[match.start()] == ")" and not CONDITION.search(before):
            continue
        if code[match.start()] == ":" and "?" in before[before.rfind(";") + 1 :]:
            continue
        found.append((code.count("\n", 0, match.start(1)) + 1, match[1]))
    return found


def main(paths: list[str]) -> int:
    files = [Path(p) for p in paths] or sorted(Path("ext").rglob("*.c"))
    failures = 0
    for path in files:
        for line, call in ignored(path.read_text(encoding="utf-8")):
            print(f"{path}:{line}: the result of {call} is ignored")
            failures += 1
    return failures != 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
