# Risk: a connection answers from what it remembers instead of from what others have committed.
from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from tests.support.oracle import (
    START,
    Peer,
    check,
    check_here,
    command,
    connect,
    contents,
    drop,
    new_file,
    point,
    points,
    put,
)


@pytest.fixture
def one(path: Path, journal: str) -> Iterator[apsw.Connection]:
    conn = new_file(path, journal)
    yield conn
    conn.close()


@pytest.fixture
def two(one: apsw.Connection, path: Path) -> Iterator[apsw.Connection]:
    """Another connection, which has read everything."""
    conn = connect(path)
    check(conn, START)
    yield conn
    conn.close()


@pytest.fixture(params=["connection", "process"])
def other(
    request: pytest.FixtureRequest, two: apsw.Connection, path: Path
) -> Iterator[Callable[[str], None]]:
    """Runs source against `conn`: another connection of this process, or another process."""
    if request.param == "process":
        with Peer(path) as peer:
            peer("contents(conn); knn(conn, point(1), 5)")
            yield peer
    else:
        names: dict[str, Any] = {
            "conn": two,
            "put": put,
            "drop": drop,
            "command": command,
            "np": np,
            "check": check,
            "points": points,
            "contents": contents,
        }
        yield lambda source: exec(source, names)


@contextlib.contextmanager
def statements(conn: apsw.Connection) -> Iterator[list[str]]:
    """The nested statements that run meanwhile."""
    seen: list[str] = []
    conn.trace_v2(apsw.SQLITE_TRACE_STMT, lambda event: seen.append(event["sql"]))
    yield seen
    conn.trace_v2(0, None)


def log_rows(conn: apsw.Connection) -> list[tuple[int, bool]]:
    """(ver, has edits) of the log."""
    sql = "SELECT ver, edits IS NOT NULL FROM t_log0 ORDER BY ver"
    return [(ver, bool(has)) for ver, has in conn.execute(sql)]


# --- what another has committed -------------------------------------------------------------------


def test_a_commit_is_seen_and_can_be_built_upon(one, other):
    rows = dict(START)
    for i in range(6):
        other(f"put(conn, [{100 + i}]); drop(conn, [{i}])")
        rows = {k: v for k, v in rows.items() if k != i} | points([100 + i])
        check(one, rows)
        put(one, [200 + i])
        rows |= points([200 + i])
    other(f"check(conn, contents(conn)); assert sorted(contents(conn)) == {sorted(rows)}")
    check(one, rows)


def test_many_commits_at_once_are_seen(one, other):
    other("for i in range(40): put(conn, [100 + i])")
    check(one, START | points(range(100, 140)))


def test_what_another_rolls_back_is_never_seen(one, other):
    other("conn.execute('BEGIN; SAVEPOINT s'); put(conn, [100]); conn.execute('ROLLBACK')")
    check(one, START)
    put(one, [100], 1)
    other("put(conn, [101])")
    check(one, START | points([100], 1) | points([101]))


def test_uncommitted_changes_are_not_seen_in_wal(path):
    one = new_file(path)
    with Peer(path) as peer:
        peer("conn.execute('BEGIN'); put(conn, [100]); conn.execute('SAVEPOINT s')")
        check(one, START)
        peer("command(conn, 'optimize')")
        check(one, START)
        peer("conn.execute('COMMIT')")
        check(one, START | points([100]))
    one.close()


def test_the_log_is_replayed_and_no_page_is_read_again(one, two):
    check(one, START)
    put(two, range(100, 105))
    drop(two, [3])
    rows = {i: v for i, v in START.items() if i != 3} | points(range(100, 105))
    with statements(one) as seen:
        assert len(contents(one)) == len(rows)
        sql = "SELECT rowid FROM t WHERE embedding MATCH '[0,0,0]' AND k = 5"
        one.execute(sql).fetchall()
    assert any("t_log0" in s for s in seen)
    assert not any("t_pages0" in s for s in seen)
    check(one, rows)


def test_no_log_is_read_when_nothing_changed(one):
    check(one, START)
    sql = "SELECT rowid FROM t WHERE embedding MATCH '[0,0,0]' AND k = 5"
    with statements(one) as seen:
        one.execute(sql).fetchall()
    assert not any("edits" in s or "t_pages0" in s for s in seen)


# --- what another does to the file ----------------------------------------------------------------


@pytest.mark.parametrize("what", ["optimize", "rebuild"])
def test_the_other_folds_or_rebuilds(one, other, what):
    other(f"put(conn, [100]); command(conn, '{what}')")
    check(one, START | points([100]))
    other("put(conn, [101])")
    check(one, START | points([100, 101]))
    put(one, [102])
    other(f"drop(conn, [1]); command(conn, '{what}'); put(conn, [103])")
    rows = {i: v for i, v in START.items() if i != 1} | points([100, 101, 102, 103])
    check(one, rows)
    command(one, "optimize")
    check(one, rows)


def test_a_fold_without_a_change_is_noticed(one, other):
    """ver and stamp stay: only the place of the edits moves."""
    check(one, START)
    other("command(conn, 'optimize')")
    put(one, [100])
    check(one, START | points([100]))
    command(one, "optimize")
    check(one, START | points([100]))


@pytest.mark.parametrize("commits", [30, 300])
def test_a_fold_by_another_after_our_rollback(one, other, commits):
    """The rollback leads back to a remembered state, which knows nothing of the checkpoint; the log
    that led there is trimmed by then if it was long."""
    put(one, range(1000, 1000 + commits))
    rows = START | points(range(1000, 1000 + commits))
    one.execute("BEGIN")
    put(one, [100])
    one.execute("SAVEPOINT s")
    put(one, [101])
    one.execute("ROLLBACK")
    other("command(conn, 'optimize')")
    put(one, [102])
    check(one, rows | points([102]))
    other("put(conn, [103])")
    check(one, rows | points([102, 103]))
    command(one, "optimize")
    check(one, rows | points([102, 103]))


def test_a_connection_that_was_behind_by_more_than_the_kept_log(one, other):
    check(one, START)
    other("[put(conn, [1000 + i]) for i in range(300)]; command(conn, 'optimize')")
    assert len(log_rows(one)) <= 257
    check(one, START | points(range(1000, 1300)))
    other("put(conn, [100])")
    check(one, START | points(range(1000, 1300)) | points([100]))


def test_a_commit_too_big_for_the_log(one, other):
    check(one, START)
    other("conn.execute('BEGIN'); put(conn, range(1000, 6000)); conn.execute('COMMIT')")
    assert log_rows(one)[-1][1] is False  # pages, no edits
    rows = START | points(range(1000, 6000))
    assert sorted(contents(one)) == sorted(rows)
    assert one.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    other("conn.execute('DELETE FROM t WHERE id >= 1010')")
    check(one, START | points(range(1000, 1010)))


def test_the_log_folds_itself_under_both_connections(one, two):
    """Commits from both sides until the log was checkpointed several times."""
    rows, folds, before = dict(START), 0, [(None,)]
    rng = np.random.default_rng(7)
    for i in range(3000):
        conn = (one, two)[int(rng.integers(2))]
        rowid = int(rng.integers(200))
        if rowid in rows:
            drop(conn, [rowid])
            del rows[rowid]
        else:
            put(conn, [rowid], i)
            rows[rowid] = point(rowid, i)
        pages = one.execute("SELECT max(ver) FROM t_pages0").fetchall()
        folds += pages != before
        before = pages
    print("seed 7, folds", folds)
    assert folds >= 2
    check(one, rows)
    check(two, rows)


@pytest.mark.parametrize("what", ["VACUUM", "ANALYZE", "ALTER TABLE other ADD COLUMN b"])
def test_the_schema_changes_elsewhere_while_we_are_behind(one, other, what):
    check(one, START)
    other(f"put(conn, [100]); conn.execute('{what}'); put(conn, [101])")
    check(one, START | points([100, 101]))
    put(one, [102])
    other("put(conn, [103])")
    check(one, START | points([100, 101, 102, 103]))


def test_a_connection_that_has_loaded_only_some_pages_follows(path, journal):
    one = new_file(path, journal, range(400))
    command(one, "optimize")
    two = connect(path)
    two.execute("SELECT rowid FROM t WHERE embedding MATCH '[0,0,0]' AND exact = 1 AND k = 3")
    drop(two, [7])  # loads its neighbourhood
    for i in range(30):
        put(one, [1000 + i])
        drop(one, [10 + i])
        if i % 10 == 0:
            command(one, "optimize")
        put(two, [2000 + i])
    kept = [i for i in range(400) if i != 7 and not 10 <= i < 40]
    rows = points([*kept, *range(1000, 1030), *range(2000, 2030)])
    check(two, rows)
    check(one, rows)
    one.close()
    two.close()


# --- snapshots ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "then",
    [
        "put(conn, [101])",
        "[put(conn, [1000 + i]) for i in range(300)]",
        "command(conn, 'optimize')",
        "put(conn, [101]); command(conn, 'optimize'); put(conn, [102])",
        "command(conn, 'rebuild')",
        "conn.execute('DELETE FROM t')",
        "conn.execute('BEGIN'); put(conn, range(1000, 5000)); conn.execute('COMMIT')",
        "conn.execute('DROP TABLE t')",
    ],
)
@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
def test_a_reader_in_a_transaction_keeps_its_snapshot(path, then, warm):
    one = new_file(path)
    command(one, "optimize")
    put(one, [100])
    rows = START | points([100])
    reader = connect(path)
    if warm:
        check(reader, rows)
    reader.execute("BEGIN; SELECT count(*) FROM other").fetchall()
    with Peer(path) as peer:
        peer(then)
        check_here(reader, rows)
        peer("put(conn, [103])" if "DROP" not in then else "conn.execute('CREATE TABLE x(a)')")
        check_here(reader, rows)
    reader.execute("COMMIT")
    if "DROP" in then:
        with pytest.raises(apsw.SQLError):
            contents(reader)
    else:
        check(reader, contents(one))
        assert 103 in contents(reader)
    reader.close()
    one.close()


def test_a_stale_snapshot_cannot_write_and_recovers(path):
    one, two = new_file(path), connect(path)
    two.execute("BEGIN")
    check(two, START)
    put(one, [100])
    for _ in range(2):
        with pytest.raises(apsw.BusyError):
            put(two, [101])
        check(two, START)
    two.execute("ROLLBACK")
    put(two, [101])
    check(two, START | points([100, 101]))
    one.close()
    two.close()


def test_a_writer_that_is_locked_out_changes_nothing(one, two):
    one.execute("BEGIN IMMEDIATE")
    put(one, [100])
    for _ in range(2):
        with pytest.raises(apsw.BusyError):
            put(two, [101])
        with pytest.raises(apsw.BusyError):
            command(two, "optimize")
    one.execute("COMMIT")
    check(two, START | points([100]))
    put(two, [101])
    check(one, START | points([100, 101]))


def test_statements_of_three_connections_interleave(one, two, path):
    third = connect(path)
    conns = [one, two, third]
    rows = dict(START)
    rng = np.random.default_rng(11)
    print("seed 11")
    for i in range(200):
        conn = conns[int(rng.integers(3))]
        end = ["COMMIT", "COMMIT", "ROLLBACK"][int(rng.integers(3))]
        conn.execute("BEGIN IMMEDIATE")
        new = dict(rows)
        for rowid in rng.integers(40, size=int(rng.integers(1, 4))).tolist():
            if rowid in new:
                drop(conn, [rowid])
                del new[rowid]
            else:
                put(conn, [rowid], i)
                new[rowid] = point(rowid, i)
            if rng.random() < 0.3:
                conn.execute("SAVEPOINT s")
        conn.execute(end)
        rows = new if end == "COMMIT" else rows
        if i % 23 == 0:
            command(conns[int(rng.integers(3))], "optimize")
        if i % 10 == 0:
            check(conns[int(rng.integers(3))], rows)
    for conn in conns:
        check(conn, rows)
    third.close()
