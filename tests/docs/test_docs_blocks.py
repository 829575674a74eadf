"""Risk: a block of the README or of a page is run by no test; those of the README do not run."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

import vecsql
from tests.docs import test_docs, test_docs_python, test_docs_sql
from tests.docs.test_docs import blocks, run_shell
from tests.support.paths import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text("utf-8")
MIGRATION = (ROOT / "docs" / "howto" / "sqlite-vec.md").read_text("utf-8")

# What tests run of each page: the tests take it from these same places.
RUN = {
    "README.md": blocks(README, "(?:python|sql|sh)"),
    "docs/reference/cli.md": blocks(test_docs.CLI, "(?:csv|console)"),
    "docs/reference/python.md": test_docs_python.BLOCKS,
    "docs/reference/sql.md": [sql for _, sql in test_docs_sql.sections()],
    "docs/howto/sqlite-vec.md": blocks(MIGRATION, "(?:python|sh)"),
    "docs/tutorial.md": test_docs.RECIPES["tutorial.md", ""],
}
for (page, _), code in test_docs.RECIPES.items():
    RUN.setdefault(f"docs/howto/{page}", []).extend(code)
# (page, first line) -> why nobody runs it.
NOT_RUN: dict[tuple[str, str], str] = {}


def fences(text: str) -> list[tuple[str, str]]:
    """(language, code) of every fenced block."""
    lines, found, begin = text.splitlines(), [], None
    for i, line in enumerate(lines):
        if line.lstrip().startswith("```"):
            if begin is None:
                begin = i
            else:
                language = lines[begin].strip().removeprefix("```")
                found.append((language, "\n".join(lines[begin + 1 : i]) + "\n"))
                begin = None
    assert begin is None, "a block does not end"
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_block_is_run_by_a_test_or_listed_with_a_reason(page):
    name = page.relative_to(ROOT).as_posix()
    for language, code in fences(page.read_text("utf-8")):
        listed = (name, code.partition("\n")[0]) in NOT_RUN
        run = any(code in other for other in RUN.get(name, []))
        assert language, f"{name}: a block in no language: {code}"
        assert run != listed, f"{name}: is this block run? {code}"


def test_a_block_that_nobody_runs_would_be_found():
    found = fences("text\n```sh\nrm\n```\n\n  ```\n  x\n  ```\n")
    assert found == [("sh", "rm\n"), ("", "  x\n")]
    assert not any("rm\n" in code for codes in RUN.values() for code in codes)


# --- the README ----------------------------------------------------------------------------------


def test_the_example_of_the_readme_runs_twice_and_finds_the_right_rows(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (example,) = blocks(README, "python")
    for _ in range(2):
        names = {}
        exec(example, names)
        assert "night train" in capsys.readouterr().out.splitlines()[0]
        assert "the last ferry to Oslo" in [body for body, _ in names["rows"]]
        names["db"].close()


def test_the_ways_to_load_that_the_readme_names(tmp_path):
    conn = sqlite3.connect(":memory:")
    if not hasattr(conn, "enable_load_extension"):
        conn = vecsql.connect(":memory:", driver="apsw")
    assert "`vecsql.load(conn)`" in README
    vecsql.load(conn)
    conn.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2])")
    conn.close()
    assert "`vecsql.loadable_path()`" in README
    assert Path(vecsql.loadable_path()).exists()


def test_the_shell_commands_of_the_readme_run_twice_and_find_the_right_row(tmp_path):
    (tmp_path / "notes.csv").write_text(
        "body,author\nthe night train to Hamburg,ann\nbread with rye,ann\na railway map,bob\n"
    )
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "ferries.md").write_text("The last ferry leaves at noon.")
    (script,) = blocks(README, "sh")
    for added in ("1 documents added", "1 unchanged"):
        out, _ = run_shell("set -e\n" + script, tmp_path)
        assert any(added in line for line in out)
        found = [line for line in out[1:] if "ann" in line or "bob" in line]
        assert len(found) == 2
        assert "night train" in found[0]


def test_the_sql_of_the_readme_runs_twice():
    db = vecsql.connect(":memory:", driver="apsw")
    (sql,) = blocks(README, "sql")
    for query in (np.ones(384, np.float32).tobytes(), str([0.5] * 384)):
        for statement in sql.split(";\n"):
            db.execute(statement, {"q": query} if ":q" in statement else None).fetchall()
    assert db.execute("SELECT count(*) FROM docs_vec").fetchall() == [(1,)]


def test_what_the_readme_says_of_k_and_limit():
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[1], a INTEGER)")
    db.executemany("INSERT INTO t VALUES (?, ?)", [(f"[{i}]", i) for i in range(50)])
    either = "SELECT a FROM t WHERE e MATCH '[0]' AND (a = 3 OR a > 45)"
    assert db.execute(f"{either} ORDER BY distance LIMIT 4").fetchall() == [
        (3,),
        (46,),
        (47,),
        (48,),
    ]
    assert db.execute(f"{either} AND k = 4").fetchall() == [(3,)]
    assert "fewer than n rows may remain" in " ".join(README.split())


# --- from sqlite-vec -----------------------------------------------------------------------------


def vec0_file(path):
    """A file that sqlite-vec made."""
    apsw, sqlite_vec = pytest.importorskip("apsw"), pytest.importorskip("sqlite_vec")
    conn = apsw.Connection(str(path))
    conn.enable_load_extension(True)
    conn.load_extension(sqlite_vec.loadable_path())
    conn.execute("CREATE VIRTUAL TABLE items USING vec0(id INTEGER PRIMARY KEY, e FLOAT[2])")
    conn.execute("INSERT INTO items VALUES(1, '[1, 0]'), (2, '[0, 1]')")
    return conn, sqlite_vec


def test_the_change_from_sqlite_vec_is_one_line(tmp_path):
    conn, sqlite_vec = vec0_file(tmp_path / "a.db")
    conn.close()
    before, after, _ = blocks(MIGRATION, "python")[0].split("\n")
    answers = []
    for line in (before, after):
        conn = pytest.importorskip("apsw").Connection(":memory:")
        conn.enable_load_extension(True)
        exec(line, {"sqlite_vec": sqlite_vec, "vecsql": vecsql, "conn": conn})
        conn.execute("CREATE VIRTUAL TABLE t USING vec0(e FLOAT[2])")
        conn.execute("INSERT INTO t(rowid, e) VALUES(1, '[1, 0]'), (2, '[0, 1]')")
        knn = "SELECT rowid, round(distance, 5) FROM t WHERE e MATCH '[0, 1]' AND k = 2"
        answers.append(conn.execute(knn).fetchall())
        conn.close()
    assert answers[0] == answers[1] != []


def test_the_commands_read_what_sqlite_vec_made(tmp_path):
    for name in ("old.db", "app.db"):
        vec0_file(tmp_path / name)[0].close()
    (script,) = blocks(MIGRATION, "sh")
    run_shell("set -e\n" + script, tmp_path)
    for name, table in (("new.db", "items"), ("new2.db", "items"), ("app.db", "items_v")):
        conn = vecsql.connect(tmp_path / name, driver="apsw", vec0=True)
        assert conn.execute(f"SELECT id FROM {table} ORDER BY id").fetchall() == [(1,), (2,)]
        conn.close()
