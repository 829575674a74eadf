"""Risk: connections of one process that share pages see each other's rows, or another file's."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

import vecsql
from tests.support.oracle import (
    Peer,
    check,
    check_here,
    command,
    connect,
    drop,
    knn,
    new_file,
    point,
    points,
    put,
    same_answer,
)

CONNECTIONS = 8


def figures(conn: apsw.Connection, table: str = "t", schema: str = "main") -> dict[str, Any]:
    sql = "SELECT name, value FROM vecsql_stats(?, ?)"
    return dict(conn.execute(sql, (table, schema)))


def shares_all(conn: apsw.Connection, table: str = "t", schema: str = "main") -> bool:
    now = figures(conn, table, schema)
    return 0 < now["resident_bytes"] == now["shared_bytes"]


def many(path: Path, n: int = 2000) -> dict[int, np.ndarray | None]:
    """A file of some hundred pages, in none of which anybody is."""
    conn = new_file(path, "wal", [])
    with conn:
        put(conn, range(n))
    conn.close()
    return points(range(n))


def opened(path: Path, count: int = CONNECTIONS) -> list[apsw.Connection]:
    conns = [connect(path) for _ in range(count)]
    for conn in conns:
        command(conn, "warm")
    return conns


def close(conns: list[apsw.Connection]) -> None:
    for conn in conns:
        conn.close()


# --- one copy -------------------------------------------------------------------------------------


def test_eight_connections_hold_one_copy(path):
    rows = many(path)
    conns = opened(path)
    assert all(shares_all(conn) for conn in conns)
    assert {figures(conn)["shared_by"] for conn in conns} == {CONNECTIONS}
    for conn in conns:
        same_answer(knn(conn, point(7), 5), rows, point(7), 5)
    close(conns[1:])
    assert figures(conns[0])["shared_by"] == 1
    check(conns[0], rows)
    close(conns[:1])


def test_another_connection_takes_next_to_no_memory_of_its_own(path):
    many(path, 4000)
    first = opened(path, 1)
    before = apsw.memory_used()
    more = opened(path, 1)
    held = figures(first[0])["resident_bytes"]
    assert held > 500_000
    for conn in (*first, *more):  # SQLite's pages are not ours
        conn.execute("PRAGMA shrink_memory")
    assert apsw.memory_used() - before < held / 4
    close(first + more)


def test_a_database_without_a_file_shares_nothing():
    conn = connect(":memory:")
    conn.execute("CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, embedding FLOAT[3])")
    conn.execute("CREATE VIRTUAL TABLE temp.u USING vecsql(embedding FLOAT[3])")
    with conn:
        conn.execute("INSERT INTO u(embedding) VALUES('[1,2,3]')")
        conn.executemany("INSERT INTO t(embedding) VALUES(?)", [("[1,2,3]",)] * 10)
    for table, schema in (("t", "main"), ("u", "temp")):
        command(conn, "optimize", f"{schema}.{table}")
        now = figures(conn, table, schema)
        assert now["resident_bytes"] > 0 == now["shared_bytes"]
        assert now["shared_by"] == 1
    conn.close()


def test_one_file_attached_twice_is_shared_by_both_names(path):
    rows = many(path, 300)
    conn = connect(":memory:")
    for name in ("a", "b"):
        conn.execute(f"ATTACH '{path}' AS {name}")
        command(conn, "warm", f"{name}.t")
    for name in ("a", "b"):
        assert shares_all(conn, "t", name)
        assert figures(conn, "t", name)["shared_by"] == 2
        same_answer(knn(conn, point(5), 9, table=f"{name}.t"), rows, point(5), 9)
    put(conn, [1000], table="a.t")
    rows |= points([1000])
    for name in ("a", "b"):
        same_answer(knn(conn, point(1000), 9, table=f"{name}.t"), rows, point(1000), 9)
    conn.execute("DETACH a")
    same_answer(knn(conn, point(1000), 9, table="b.t"), rows, point(1000), 9)
    conn.close()


# --- what others do -------------------------------------------------------------------------------


def test_uncommitted_rows_are_seen_by_their_connection_only(path):
    rows = many(path, 300)
    conns = opened(path, 3)
    conns[0].execute("BEGIN")
    put(conns[0], range(1000, 1020))
    drop(conns[0], range(10))
    conns[0].execute("SAVEPOINT s")
    for conn in conns[1:]:
        check_here(conn, rows)
    conns[0].execute("ROLLBACK")
    check(conns[0], rows)
    for conn in conns[1:]:
        check_here(conn, rows)
    close(conns)


def test_a_version_that_was_rolled_back_and_written_anew_is_another(path):
    rows = many(path, 300)
    conns = opened(path, 3)
    for version in range(1, 4):  # the same rowids, the same ver, other vectors
        conns[0].execute("BEGIN")
        put(conns[0], range(1000, 1010), version)
        conns[0].execute("SAVEPOINT s")
        same_answer(
            knn(conns[0], point(3), 4), rows | points(range(1000, 1010), version), point(3), 4
        )
        conns[0].execute("ROLLBACK")
        with conns[1]:
            put(conns[1], range(1000, 1010), version + 10)
        rows |= points(range(1000, 1010), version + 10)
        for conn in conns:
            check_here(conn, rows)
        drop(conns[2], range(1000, 1010))
        rows = {i: v for i, v in rows.items() if i < 1000}
    close(conns)


@pytest.mark.slow
def test_readers_of_many_commits_go_on_sharing(path):
    rows = many(path)
    conns = opened(path)
    for i in range(20):
        put(conns[0], [5000 + i])
        rows |= points([5000 + i])
        for conn in conns[1:]:
            same_answer(knn(conn, point(i), 3), rows, point(i), 3)
    assert all(shares_all(conn) for conn in conns[1:])
    assert not shares_all(conns[0])  # what it wrote is its own
    command(conns[1], "optimize")
    for conn in conns:
        same_answer(knn(conn, point(5), 3), rows, point(5), 3)
        assert shares_all(conn)
        check_here(conn, rows)
    close(conns)


@pytest.mark.parametrize("what", ["rebuild", "optimize", "VACUUM", "DROP"])
def test_what_one_does_to_all_pages_is_seen_by_all(path, what):
    rows = many(path, 300)
    conns = opened(path, 3)
    put(conns[2], [1000])
    rows |= points([1000])
    if what == "VACUUM":
        conns[0].execute("VACUUM")
    elif what == "DROP":
        with conns[0]:
            conns[0].execute("DROP TABLE t")
            conns[0].execute(
                "CREATE VIRTUAL TABLE t USING vecsql"
                "(id INTEGER PRIMARY KEY, embedding FLOAT[3] m=4 ef_construction=20, tag TEXT)"
            )
            put(conns[0], range(50), 3)
        rows = points(range(50), 3)
    else:
        command(conns[0], what)
    for conn in conns:
        check_here(conn, rows)
    drop(conns[1], [5])
    del rows[5]
    for conn in conns:
        check_here(conn, rows)
    close(conns)


# --- another file ---------------------------------------------------------------------------------


@pytest.mark.parametrize("folded", [True, False], ids=["pages", "log"])
def test_a_file_in_the_place_of_another_is_read_as_it_is(tmp_path, folded):
    """The same statements but for the vectors: every version is the same, with the log every
    key too. Who has the old file open keeps its pages in the page cache."""
    path, other = tmp_path / "a.db", tmp_path / "b.db"
    for version, at in ((0, path), (1, other)):
        conn = new_file(at, "delete", [])
        with conn:
            put(conn, range(300), version)
        if folded:
            command(conn, "optimize")
        conn.close()
    old = opened(path, 2)
    for conn in old:
        same_answer(knn(conn, point(3), 5), points(range(300)), point(3), 5)
    other.replace(path)
    new = opened(path, 2)
    for conn in new:
        check(conn, points(range(300), 1))
    put(new[0], [1000])
    check(new[1], points(range(300), 1) | points([1000]))
    for conn in old:
        same_answer(knn(conn, point(3), 5), points(range(300)), point(3), 5)
    close(old + new)


def test_a_damaged_copy_harms_nobody_who_has_read_the_sound_file(tmp_path):
    path, bad = tmp_path / "a.db", tmp_path / "bad.db"
    rows = many(path, 300)
    conn = connect(path)
    conn.execute("PRAGMA journal_mode = delete")
    command(conn, "optimize")
    conn.close()
    shutil.copy(path, bad)
    raw = apsw.Connection(str(bad))
    blobs = raw.execute("SELECT page, data FROM t_pages0").fetchall()
    for page, data in blobs:
        damaged = data[:-3] + bytes(b ^ 0x55 for b in data[-3:])
        raw.execute("UPDATE t_pages0 SET data = ? WHERE page = ?", (damaged, page))
    raw.close()
    old = opened(path, 2)
    bad.replace(path)
    new = connect(path)
    with pytest.raises(apsw.CorruptError):
        command(new, "warm")
    for conn in old:
        same_answer(knn(conn, point(3), 5), rows, point(3), 5)
    new.close()
    close(old)


# --- threads and processes ------------------------------------------------------------------------


def test_connections_open_search_and_close_in_threads(path):
    rows = many(path, 600)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                conn = connect(path, busy=10000)
                command(conn, "warm")
                query = point(number * 10 + turn)
                same_answer(knn(conn, query, 6), rows, query, 6)
                conn.close()
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]


def test_a_connection_closed_by_another_thread_leaves_the_others_their_pages(path):
    rows = many(path, 300)
    conns = opened(path, 3)
    thread = threading.Thread(target=conns[0].close)
    thread.start()
    thread.join()
    for conn in conns[1:]:
        check(conn, rows)
    close(conns[1:])


def test_a_process_beside_shares_nothing_and_sees_the_same(path):
    rows = many(path, 300)
    conns = opened(path, 2)
    with Peer(path) as peer:
        peer("command(conn, 'warm'); put(conn, [1000]); drop(conn, [1])")
        rows = {i: v for i, v in rows.items() if i != 1} | points([1000])
        for conn in conns:
            check(conn, rows)
            assert shares_all(conn)
    close(conns)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_of_a_fork_opens_connections_of_its_own(path):
    rows = many(path, 300)
    conns = opened(path, 2)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            conn = connect(path)
            same_answer(knn(conn, point(3), 5), rows, point(3), 5)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    for conn in conns:
        check(conn, rows)
    close(conns)


def test_both_drivers_of_one_process_read_a_file(path):
    """Two SQLite libraries: two copies of ours, two page caches."""
    rows = many(path, 200)
    copy = path.with_name("copy.db")
    shutil.copy(path, copy)
    one = opened(path, 1)[0]
    two = vecsql.connect(copy, driver="sqlite3")
    sql = "SELECT value FROM vecsql_stats('t') WHERE name = 'shared_by'"
    assert two.execute(sql).fetchall() == [(1,)]
    assert one.execute(sql).fetchall() == [(1,)]
    check(one, rows)
    two.close()
    one.close()
