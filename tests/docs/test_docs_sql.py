"""Risk: docs/reference/sql.md says what is not so, or does not say what there is."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator

import apsw
import pytest

from tests.support.oracle import connect
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "reference" / "sql.md"


def sections() -> Iterator[tuple[str, str]]:
    """(title, SQL of its blocks) of every section: one database each."""
    for part in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]:
        title, _, body = part.partition("\n")
        blocks = re.findall(r"^```sql\n(.*?)^```", body, flags=re.M | re.S)
        if blocks:
            yield title, "".join(blocks)


def parsed(sql: str) -> Iterator[tuple[str, list[str]]]:
    """(statement, the lines of comment right behind it)."""
    statement, shown, done = "", [], False
    for line in sql.splitlines():
        if done and line.startswith("-- "):
            shown.append(line[3:])
            continue
        if done and not line.strip():
            continue
        if done:
            yield statement, shown
            statement, shown, done = "", [], False
        statement += line + "\n"
        done = sqlite3.complete_statement(statement)
    if statement.strip():
        yield statement, shown


def shown_value(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def answer(conn: apsw.Connection, statement: str) -> list[str]:
    try:
        rows = conn.execute(statement).fetchall()
    except apsw.Error as e:
        return [f"error: {e}"]
    return ["|".join(map(shown_value, row)) for row in rows]


@pytest.mark.parametrize(("title", "sql"), list(sections()), ids=[t for t, _ in sections()])
def test_every_example_gives_what_it_shows(tmp_path, title, sql):
    conn = connect(tmp_path / "a.db")
    n = 0
    for statement, shown in parsed(sql):
        assert answer(conn, statement) == shown, statement
        n += 1
    assert n > 0
    conn.close()


def test_a_wrong_example_would_be_found(tmp_path):
    conn = connect(tmp_path / "a.db")
    pairs = list(parsed("SELECT 1,\n  2.5;\n-- 1|2.5\n\nSELECT absent;\n-- error: x\nSELECT 3;\n"))
    assert [len(shown) for _, shown in pairs] == [1, 1, 0]
    assert answer(conn, pairs[0][0]) == pairs[0][1]
    assert answer(conn, pairs[1][0]) == ["error: no such column: absent"] != pairs[1][1]
    assert answer(conn, pairs[2][0]) == ["3"] != pairs[2][1]


# ---- nothing is undocumented -----------------------------------------------------------------


def source(name: str) -> str:
    (path,) = (ROOT / "ext").rglob(name)
    return path.read_text(encoding="utf-8")


def headings() -> str:
    """Everything in code font: a word in passing is no documentation."""
    text = PAGE.read_text(encoding="utf-8")
    return " ".join(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.S)))


def documented(name: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", headings(), re.I) is not None


def test_every_function_is_documented():
    conn = connect(":memory:")
    plain = apsw.Connection(":memory:")
    sql = "SELECT DISTINCT name FROM pragma_{0}_list"
    for kind in ("function", "module"):
        ours = set(conn.execute(sql.format(kind))) - set(plain.execute(sql.format(kind)))
        names = {name for (name,) in ours}
        assert len(names) >= (20 if kind == "function" else 3)
        missing = sorted(name for name in names if not documented(name))
        assert not missing, f"docs/reference/sql.md does not name the {kind}s {missing}"


def test_every_option_of_a_table_is_documented():
    text = source("schema.c")
    words = set(re.findall(r'token_is\((?:t|key), "(\w+)"\)', text))
    for names in re.findall(r"(?:_names|aliases)\[\] = \{(.*?)\};", text, flags=re.S):
        words |= set(re.findall(r'"(\w+)"', names))
    assert {"distance_metric", "content", "jaccard", "float16", "ef_search"} <= words
    missing = sorted(w for w in words - {"vecsql_sync", "vecsql_replaced"} if not documented(w))
    assert not missing, f"docs/reference/sql.md does not name {missing}"


def test_every_command_is_documented():
    text = source("command.c")
    words = re.findall(r'strn?cmp\(text, "([\w-]+)', text)
    assert {"rebuild", "optimize", "integrity-check", "ef_search"} <= set(words)
    missing = sorted(w for w in set(words) if not documented(w))
    assert not missing, f"docs/reference/sql.md does not name the commands {missing}"


def test_every_column_that_a_table_hides_is_documented():
    conn = connect(":memory:")
    conn.execute("CREATE VIRTUAL TABLE t USING vecsql(e float[1])")
    hidden = [r[1] for r in conn.execute("PRAGMA table_xinfo(t)") if r[6] == 1 and r[1] != "t"]
    assert hidden == ["distance", "k", "ef_search", "exact"]
    assert all(documented(name) for name in hidden)


def test_every_figure_of_stats_is_documented():
    conn = connect(":memory:")
    conn.execute("CREATE VIRTUAL TABLE t USING vecsql(e float[1])")
    names = [n for (n,) in conn.execute("SELECT name FROM vecsql_stats('t')")]
    missing = [n for n in names if not documented(n)]
    assert not missing, f"docs/reference/sql.md does not name the figures {missing}"
