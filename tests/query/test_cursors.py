# Risk: an open cursor gives a row twice, a deleted row, or an old snapshot's page.
from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from tests.support.oracle import (
    check,
    command,
    connect,
    contents,
    drop,
    move,
    new_file,
    point,
    points,
    put,
    same_answer,
    without,
)

# --- open cursors ---------------------------------------------------------------------------------

MANY = points(range(300))
STREAM = "SELECT id, distance FROM t WHERE embedding MATCH '[0,0,0]'"


@pytest.fixture
def many(path: Path, journal: str) -> Iterator[apsw.Connection]:
    """300 rows: a stream comes in several batches."""
    c = new_file(path, journal, range(300))
    yield c
    c.close()


def finish(cursor: Any, got: list[tuple[int, float]]) -> bool:
    """Reads to the end; False if SQLite ended the statement itself."""
    try:
        got += cursor.fetchall()
    except apsw.AbortError:
        return False
    return True


def test_a_stream_across_own_writes_gives_each_remaining_row_once(many):
    cursor = many.execute(STREAM)
    got = [next(cursor) for _ in range(10)]
    gone = [i for i in range(100) if i not in dict(got)]
    drop(many, gone)
    put(many, range(1000, 1020))
    move(many, range(200, 210))
    assert finish(cursor, got)
    ids = [i for i, _ in got]
    assert len(set(ids)) == len(ids)
    assert set(range(100, 200)) <= set(ids)
    assert set(range(210, 300)) <= set(ids)
    rows = without(MANY, *gone) | points(range(1000, 1020)) | points(range(200, 210), 1)
    for i, d in got[16:]:  # beyond the batch that was read before the writes
        assert i in rows
        assert any(np.isclose(d, np.linalg.norm(p), rtol=1e-5) for p in (rows[i], point(i)))
    check(many, rows)


@pytest.mark.parametrize("sql", [STREAM, STREAM + " AND k = 50", "SELECT id, tag FROM t"])
def test_a_cursor_across_the_deletion_of_all_rows_ends(many, sql):
    cursor = many.execute(sql)
    next(cursor)
    many.execute("DELETE FROM t")
    assert finish(cursor, [])
    check(many, {})
    put(many, range(5))
    check(many, points(range(5)))


def test_a_cursor_with_k_is_not_touched_by_own_writes(many):
    cursor = many.execute(STREAM + " AND k = 50")
    got = [next(cursor)]
    many.execute("BEGIN")
    put(many, range(1000, 1050), 3)
    assert finish(cursor, got)
    same_answer(got, MANY, np.zeros(3), 50)
    many.execute("ROLLBACK")
    check(many, MANY)


@pytest.mark.parametrize("sql", [STREAM, STREAM + " AND k = 200", "SELECT id, tag FROM t"])
@pytest.mark.parametrize("ddl", [False, True], ids=["", "with DDL"])
def test_a_cursor_across_rollback_never_gives_a_row_twice(many, sql, ddl):
    many.execute("BEGIN")
    put(many, range(1000, 1100))
    cursor = many.execute(sql)
    got = [next(cursor) for _ in range(10)]
    drop(many, range(50))
    if ddl:
        many.execute("CREATE TABLE made(a)")
    many.execute("ROLLBACK")
    finish(cursor, got)
    ids = [row[0] for row in got]
    assert len(set(ids)) == len(ids)
    check(many, MANY)


def test_a_cursor_across_rollback_to(many):
    many.execute("BEGIN; SAVEPOINT s")
    put(many, range(1000, 1100))
    cursor = many.execute(STREAM)
    got = [next(cursor) for _ in range(10)]
    with contextlib.suppress(apsw.AbortError):
        many.execute("ROLLBACK TO s")
    finish(cursor, got)
    ids = [i for i, _ in got]
    assert len(set(ids)) == len(ids)
    many.execute("ROLLBACK")
    check(many, MANY)


def test_a_stream_keeps_its_snapshot_across_the_commit_of_another_connection(path):
    many, second = new_file(path, "wal", range(300)), connect(path)
    cursor = many.execute(STREAM)
    got = [next(cursor) for _ in range(10)]
    second.execute("DELETE FROM t WHERE id % 2")
    command(second, "optimize")
    assert finish(cursor, got)
    got.sort(key=lambda row: row[1])  # late rows come last
    same_answer(got, MANY, np.zeros(3), 300)
    check(many, {i: v for i, v in MANY.items() if i % 2 == 0})
    many.close()
    second.close()


def test_insert_from_a_query_of_the_same_table(many):
    many.execute(
        "INSERT INTO t(id, embedding) SELECT id + 1000, embedding FROM t"
        " WHERE embedding MATCH '[0,0,0]' AND k = 40"
    )
    rows = contents(many)
    assert len(rows) == 340
    assert all(np.array_equal(v, rows[i % 1000]) for i, v in rows.items())
    check(many, rows)


def test_delete_what_a_stream_finds(many):
    many.execute(
        "DELETE FROM t WHERE rowid IN (SELECT rowid FROM t"
        " WHERE embedding MATCH '[0,0,0]' ORDER BY distance LIMIT 100)"
    )
    rows = contents(many)
    assert len(rows) == 200
    nearest = np.sort([np.linalg.norm(v) for v in MANY.values()])[:100]
    assert min(np.linalg.norm(v) for v in rows.values()) >= nearest[-1] - 1e-6
    check(many, rows)
