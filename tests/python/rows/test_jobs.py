"""Risk: a job that an older version left half done begins anew, so its rows come twice, or the
record of a job is lost on its way to the table that all jobs share."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

import vecsql
from tests.support.paths import DATA
from vecsql._files.read import open_source
from vecsql._rows.imports import import_records

GOLDEN = DATA / "interrupted_0_1_0.db"
OLD = ("vecsql_imports", "vecsql_jobs")


def write_csv(path, n):
    """The file whose import data/make_interrupted.py cut off, or let end."""
    lines = [f'note {i},"[{i}.0, 1.0]"\n' for i in range(n)]
    path.write_bytes(("title,embedding\n" + "".join(lines)).encode())
    return path


@pytest.fixture
def left(tmp_path):
    """A file that version 0.1.0 left half done, and the sources of its imports."""
    path = Path(shutil.copy(GOLDEN, tmp_path / "a.db"))
    sources = {
        "notes": write_csv(tmp_path / "interrupted_0_1_0.csv", 14),
        "done": write_csv(tmp_path / "finished_0_1_0.csv", 6),
    }
    conn = sqlite3.connect(path)
    for table, source in sources.items():  # it was imported from another folder
        conn.execute(
            "UPDATE vecsql_imports SET source = ? WHERE tbl = ?", (str(source.resolve()), table)
        )
    conn.commit()
    conn.close()
    return path, sources


def tables(conn):
    names = conn.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    return {name for (name,) in names}


def titles(conn, table):
    return [t for (t,) in conn.execute(f"SELECT title FROM {table} ORDER BY rowid").fetchall()]


def batch_of(i):
    return {"title": f"row {i}", "embedding": [float(i), 1.0]}


def test_an_import_that_version_0_1_0_left_half_done_goes_on(left, driver):
    path, sources = left
    db = vecsql.connect(path, driver=driver)
    done = import_records(db, "notes", open_source(sources["notes"]), no_id=True, batch=4)
    assert (done.resumed, done.added) == (8, 6)
    assert titles(db, "notes") == [f"note {i}" for i in range(14)]
    found = db.execute(
        "SELECT tbl, kind, name, done, finished FROM vecsql_progress ORDER BY tbl"
    ).fetchall()
    assert found == [
        ("bulk", "rows", "nightly", 8, 0),
        ("done", "file", str(sources["done"].resolve()), 6, 1),
        ("notes", "file", str(sources["notes"].resolve()), 14, 1),
    ]
    assert not tables(db) & set(OLD)
    db.close()


def test_a_bulk_insert_that_version_0_1_0_left_half_done_goes_on(left, driver):
    path, sources = left
    db = vecsql.connect(path, driver=driver)
    rows = [batch_of(i) for i in range(12)]
    assert vecsql.bulk_insert(db, "bulk", rows, batch=4, job="nightly") == 4
    assert titles(db, "bulk") == [f"row {i}" for i in range(12)]
    assert not tables(db) & set(OLD)
    assert import_records(db, "notes", open_source(sources["notes"]), no_id=True).resumed == 8
    db.close()


def test_a_finished_import_of_version_0_1_0_is_known_in_a_file_that_cannot_be_written(left):
    path, sources = left
    db = vecsql.connect(f"file:{path}?mode=ro", uri=True)
    done = import_records(db, "done", open_source(sources["done"]), no_id=True)
    assert done.complete
    assert done.resumed == 6
    assert set(OLD) <= tables(db)
    db.close()


def test_a_batch_that_is_rolled_back_leaves_the_old_tables(left):
    path, _ = left
    db = vecsql.connect(path)
    before = contents(db)
    db.execute("BEGIN")
    assert vecsql.bulk_insert(db, "bulk", map(batch_of, range(12)), job="nightly") == 4
    assert not tables(db) & set(OLD)
    db.rollback()
    assert contents(db) == before
    db.close()


def contents(db):
    return {name: db.execute(f"SELECT * FROM {name}").fetchall() for name in OLD}


def test_rows_may_come_from_a_query_of_the_connection_that_takes_over(left, driver):
    path, _ = left
    db = vecsql.connect(path, driver=driver)
    db.execute("CREATE TABLE origin(title)")
    for i in range(12):
        db.execute("INSERT INTO origin VALUES(?)", (f"row {i}",))
    if db.in_transaction:
        db.commit()
    found = db.execute("SELECT title FROM origin ORDER BY rowid")
    rows = ({"title": t, "embedding": [1.0, 0.0]} for (t,) in found)
    assert vecsql.bulk_insert(db, "bulk", rows, batch=2, job="nightly") == 4
    assert titles(db, "bulk") == [f"row {i}" for i in range(12)]
    assert vecsql.bulk_insert(db, "bulk", [batch_of(i) for i in range(13)], job="nightly") == 1
    assert not tables(db) & set(OLD), "the tables go when no query holds them"
    db.close()


@pytest.mark.parametrize(("table", "job"), [("a", "b: c"), ("a: b", "c"), ("Ärger", "x")])
def test_names_that_version_0_1_0_wrote_into_one_are_told_apart(table, job):
    db = vecsql.connect(":memory:")
    for name in ("a", "a: b", "Ärger"):
        vecsql.create_table(db, name, {"title": str}, dim=2)
        vecsql.insert(db, name, batch_of(0))
    db.execute("CREATE TABLE vecsql_jobs(name TEXT PRIMARY KEY, done INTEGER) WITHOUT ROWID")
    db.execute("INSERT INTO vecsql_jobs VALUES(?, 1)", (f"{table.lower()}: {job}",))
    db.commit()
    assert vecsql.bulk_insert(db, table, [batch_of(0), batch_of(1)], job=job) == 1
    assert vecsql.bulk_insert(db, table, [batch_of(0), batch_of(1)], job="other") == 2


def test_an_import_commits_where_an_earlier_one_is_on_record(tmp_path, driver):
    db = vecsql.connect(tmp_path / "a.db", driver=driver)
    for table in ("first", "second"):
        path = write_csv(tmp_path / f"{table}.csv", 3)
        import_records(db, table, open_source(path), no_id=True)
        assert not db.in_transaction
    db.close()


def test_a_job_and_a_file_of_one_name_are_two(tmp_path):
    db = vecsql.connect(":memory:")
    path = write_csv(tmp_path / "a.csv", 3)
    import_records(db, "notes", open_source(path), no_id=True)
    rows = [{"title": "x", "embedding": [1.0, 0.0]}] * 5
    assert vecsql.bulk_insert(db, "notes", rows, job=str(path.resolve())) == 5
    assert import_records(db, "notes", open_source(path), no_id=True).complete
