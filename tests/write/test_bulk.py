"""Risk: rows linked many at a time differ by the number of threads, are lost by a rollback, an
interrupt or a kill in the middle of it, or are worse found than rows that came one by one."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import apsw
import numpy as np
import pytest

import vecsql
from tests.support.oracle import connect

DIMS = 8
INSERT = "INSERT INTO t(id, embedding) VALUES(?, ?)"


def vectors(n: int, seed: int = 1) -> np.ndarray:
    """Clusters that come one after the other: sorted input."""
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.normal(size=(n // 100 + 1, DIMS)), 100, axis=0)[:n]
    return (centres + 0.4 * rng.normal(size=(n, DIMS))).astype("<f4")


def rows(array: np.ndarray, first: int = 0):
    return ((first + i, row.tobytes()) for i, row in enumerate(array))


def new(path: Path | str, extra: str = "m=8 ef_construction=60") -> apsw.Connection:
    conn = connect(path)
    conn.execute(
        "CREATE VIRTUAL TABLE t USING "
        f"vecsql(id INTEGER PRIMARY KEY, embedding FLOAT[{DIMS}] {extra})"
    )
    return conn


def command(conn: apsw.Connection, text: str) -> None:
    conn.execute("INSERT INTO t(t) VALUES(?)", (text,))


def shadow(conn: apsw.Connection) -> dict[str, list]:
    names = ("t_config", "t_rows", "t_map0", "t_pages0", "t_log0")
    return {n: conn.execute(f"SELECT * FROM {n}").fetchall() for n in names}


def sound(conn: apsw.Connection) -> bool:
    return conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def nearest(conn: apsw.Connection, query: np.ndarray, k: int, more: str = "") -> list[int]:
    sql = f"SELECT id FROM t WHERE embedding MATCH ? AND k = ? {more}"
    return [i for (i,) in conn.execute(sql, (query.tobytes(), k))]


def recall(conn: apsw.Connection, queries: np.ndarray, ef: int) -> float:
    found = 0
    for q in queries:
        truth = set(nearest(conn, q, 10, "AND exact = 1"))
        found += len(truth & set(nearest(conn, q, 10, f"AND ef_search = {ef}")))
    return found / (10 * len(queries))


# --- the same bytes


@pytest.mark.parametrize("kind", ["hnsw", "flat"])
def test_the_number_of_threads_changes_no_byte_of_the_file(tmp_path, kind):
    base = vectors(4000)
    files = []
    for threads in (1, 2, 5):
        conn = new(tmp_path / f"{threads}.db", f"m=8 ef_construction=60 index={kind}")
        command(conn, f"threads={threads}")
        with conn:
            conn.executemany(INSERT, rows(base[:2500]))
        with conn:
            conn.executemany(INSERT, rows(base[2500:], 2500))
            conn.execute("DELETE FROM t WHERE id % 11 = 0")
        command(conn, "rebuild")
        files.append(shadow(conn))
        conn.close()
    assert files[0] == files[1] == files[2]


def test_savepoints_and_queries_between_the_rows_change_no_link(tmp_path):
    base = vectors(1500)
    plain, busy = new(tmp_path / "plain.db"), new(tmp_path / "busy.db")
    with plain:
        plain.executemany(INSERT, rows(base))
    busy.execute("BEGIN")
    for i, row in enumerate(base):
        busy.execute(INSERT, (i, row.tobytes()))
        if i % 7 == 0:
            busy.execute("SAVEPOINT s; RELEASE s")
            nearest(busy, row, 3)
    busy.execute("COMMIT")
    for conn in (plain, busy):
        command(conn, "optimize")
    without_ver = "SELECT page, substr(data, 17) FROM t_pages0 ORDER BY page"
    assert plain.execute(without_ver).fetchall() == busy.execute(without_ver).fetchall()


def test_a_statement_of_many_rows_is_the_same_as_many_statements(tmp_path):
    base = vectors(1500)
    one, many = new(tmp_path / "one.db"), new(tmp_path / "many.db")
    with many:
        many.executemany(INSERT, rows(base))
    one.execute("CREATE TEMP TABLE source(id INTEGER PRIMARY KEY, v)")
    one.executemany("INSERT INTO source VALUES(?, ?)", rows(base))
    one.execute("INSERT INTO t(id, embedding) SELECT id, v FROM source")
    assert shadow(one) == shadow(many)


# --- as good


@pytest.mark.slow
def test_rows_of_one_transaction_are_found_as_well_as_rows_that_came_one_by_one(tmp_path):
    base, queries = np.split(vectors(6300)[np.random.default_rng(2).permutation(6300)], [6000])
    singly, at_once = new(tmp_path / "singly.db"), new(tmp_path / "at_once.db")
    singly.execute("PRAGMA synchronous = OFF")
    singly.executemany(INSERT, rows(base))
    with at_once:
        at_once.executemany(INSERT, rows(base))
    one, many = (recall(conn, queries, 16) for conn in (singly, at_once))
    print(f"recall@10: {one:.4f} and {many:.4f}")
    assert one > 0.9
    assert many > one - 0.005


# --- in the middle


def test_rows_are_found_before_they_are_linked(tmp_path):
    conn, base = new(tmp_path / "a.db"), vectors(3000)
    with conn:
        conn.executemany(INSERT, rows(base[:2000]))
        for i in range(2000, 3000):
            conn.execute(INSERT, (i, base[i].tobytes()))
            assert nearest(conn, base[i], 1, "AND ef_search = 10") == [i]
    assert sound(conn)


def test_a_rollback_to_a_savepoint_among_waiting_rows_restores_them(tmp_path):
    conn, base = new(tmp_path / "a.db"), vectors(2600)
    with conn:
        conn.executemany(INSERT, rows(base[:500]))
    conn.execute("BEGIN")
    conn.executemany(INSERT, rows(base[500:900], 500))
    conn.execute("SAVEPOINT s")
    conn.executemany(INSERT, rows(base[900:], 900))  # more than may wait: some are linked
    conn.execute("DELETE FROM t WHERE id BETWEEN 600 AND 700")
    conn.execute("ROLLBACK TO s")
    assert len(nearest(conn, base[0], 5000)) == 900
    conn.execute("COMMIT")  # nothing was changed since the savepoint; rows still wait
    assert sound(conn)
    again = connect(tmp_path / "a.db")
    assert nearest(again, base[650], 1) == [650]
    assert len(nearest(again, base[0], 5000)) == 900
    assert again.execute("SELECT count(*) FROM t_pages0 WHERE page >> 32 = 3").fetchall()
    flags = {
        f for (f,) in again.execute("SELECT value FROM vecsql_stats('t') WHERE name = 'seeds'")
    }
    assert not flags or max(flags) < 10


@pytest.mark.parametrize("n", [1, 400])
def test_a_rename_that_was_rolled_back_does_not_hinder_the_commit(tmp_path, n):
    conn, base = new(tmp_path / "a.db"), vectors(900)
    with conn:
        conn.executemany(INSERT, rows(base[:100]))
    conn.execute("BEGIN")
    conn.executemany(INSERT, rows(base[100 : 100 + n], 100))
    conn.execute("SAVEPOINT r; ALTER TABLE t RENAME TO u; ROLLBACK TO r; RELEASE r")
    conn.execute("COMMIT")
    assert sound(conn)
    assert nearest(conn, base[100], 1) == [100]
    conn.execute(INSERT, (5000, base[800].tobytes()))
    assert sound(conn)
    seeds = "SELECT value FROM vecsql_stats('t') WHERE name = 'seeds'"
    assert conn.execute(seeds).fetchone()[0] < 10
    assert len(nearest(conn, base[0], 5000)) == 101 + n


def test_deleting_rows_that_wait_leaves_the_others(tmp_path):
    conn, base = new(tmp_path / "a.db"), vectors(900)
    with conn:
        conn.executemany(INSERT, rows(base))
        conn.execute("DELETE FROM t WHERE id % 3 = 0")
        conn.execute("UPDATE t SET embedding = ? WHERE id = 1", (base[0].tobytes(),))
    assert sound(conn)
    assert nearest(conn, base[0], 1) == [1]
    assert len(nearest(conn, base[0], 900)) == 600


# --- progress and interrupts


def test_progress_counts_up_to_the_number_of_rows(tmp_path):
    conn, calls = new(tmp_path / "a.db"), []
    conn.create_scalar_function("report", lambda *args: calls.append(args), 3)
    command(conn, "progress=report")
    with conn:
        conn.executemany(INSERT, rows(vectors(900)))
    assert {name for name, _, _ in calls} == {"t"}
    assert [done for _, done, _ in calls] == sorted(done for _, done, _ in calls)
    assert calls[-1] == ("t", 899, 899)  # the first row of a table waits for nobody
    calls.clear()
    command(conn, "progress=")
    conn.execute(INSERT, (5000, vectors(1).tobytes()))
    assert calls == []


def test_a_progress_function_that_fails_stops_the_commit_and_loses_nothing_else(tmp_path):
    conn, base = new(tmp_path / "a.db"), vectors(1200)
    with conn:
        conn.executemany(INSERT, rows(base[:300]))
    before = shadow(conn)

    def fail(table, done, total):
        raise ZeroDivisionError(f"{done} of {total}")

    conn.create_scalar_function("report", fail, 3)
    command(conn, "progress=report")
    conn.execute("BEGIN")
    conn.executemany(INSERT, rows(base[300:], 300))
    with pytest.raises(ZeroDivisionError, match="1 of 900"):
        conn.execute("COMMIT")
    if not conn.get_autocommit():
        conn.execute("ROLLBACK")
    command(conn, "progress=")
    assert shadow(conn) == before
    assert sound(conn)
    assert len(nearest(conn, base[0], 5000)) == 300


def test_a_progress_function_cannot_change_the_table(tmp_path):
    conn, base, seen = new(tmp_path / "a.db"), vectors(400), []

    def meddle(table, done, total):
        with pytest.raises(apsw.LockedError):
            conn.execute("DELETE FROM t")
        seen.append(nearest(conn, base[0], 1))  # asking is allowed

    conn.create_scalar_function("report", meddle, 3)
    command(conn, "progress=report")
    with conn:
        conn.executemany(INSERT, rows(base))
    assert seen
    assert all(s == [0] for s in seen)
    assert sound(conn)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("how", ["commit", "rebuild", "optimize"])
def test_an_interrupt_at_any_step_loses_the_transaction_and_nothing_else(tmp_path, how, threads):
    conn, base = new(tmp_path / "a.db"), vectors(1200)
    command(conn, f"threads={threads}")
    with conn:
        conn.executemany(INSERT, rows(base[:600]))
    if how == "optimize":
        conn.execute("DELETE FROM t WHERE id % 3 = 0")
    before, interrupts, step = shadow(conn), 0, 1
    left = [0]

    def handler() -> bool:
        left[0] -= 1
        return left[0] < 0

    while True:
        conn.execute("BEGIN")
        if how == "commit":
            conn.executemany(INSERT, rows(base[600:], 600))
        left[0] = step
        conn.set_progress_handler(handler, 20)
        try:
            if how == "commit":
                conn.execute("COMMIT")
            else:
                command(conn, how)
            done = True
        except apsw.InterruptError:
            done = False
        conn.set_progress_handler(None)
        if done:
            break
        interrupts += 1
        if not conn.get_autocommit():
            conn.execute("ROLLBACK")
        assert shadow(conn) == before
        step += 1 + step // 3
    if not conn.get_autocommit():
        conn.execute("COMMIT")
    assert interrupts > 3
    assert sound(conn)
    conn.close()
    assert sound(connect(tmp_path / "a.db"))


def test_sqlite3_interrupt_reaches_a_bulk_insert(tmp_path):
    conn, base = new(tmp_path / "a.db"), vectors(3000)
    conn.create_scalar_function("report", lambda *args: conn.interrupt(), 3)
    command(conn, "progress=report")
    conn.execute("BEGIN")
    with pytest.raises(apsw.InterruptError):
        conn.executemany(INSERT, rows(base))
    if not conn.get_autocommit():
        conn.execute("ROLLBACK")
    assert nearest(conn, base[0], 10) == []
    assert sound(conn)


def test_the_oldest_library_at_hand_is_interrupted_too(tmp_path):
    """Before 3.41 nobody tells an extension that it is interrupted."""
    db = vecsql.connect(tmp_path / "a.db", driver="sqlite3", isolation_level=None)
    print(sqlite3.sqlite_version)
    db.execute(
        f"CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, embedding FLOAT[{DIMS}])"
    )
    db.execute("BEGIN")
    db.executemany(INSERT, rows(vectors(1500)))
    count = [0]

    def handler() -> int:
        count[0] += 1
        return count[0] > 20

    db.set_progress_handler(handler, 100)
    with pytest.raises(db.OperationalError if hasattr(db, "OperationalError") else Exception):
        db.execute("COMMIT")
    db.set_progress_handler(None, 0)
    if db.in_transaction:
        db.execute("ROLLBACK")
    assert db.execute("SELECT count(*) FROM t").fetchall() == [(0,)]


# --- kill

KILLED = """
import os, sys
import apsw, numpy as np
import vecsql
conn = vecsql.connect(sys.argv[1], driver="apsw")
def report(table, done, total):
    if done >= int(sys.argv[2]):
        os._exit(9)
conn.create_scalar_function("report", report, 3)
conn.execute("INSERT INTO t(t) VALUES('progress=report')")
base = np.frombuffer(open(sys.argv[3], "rb").read(), "<f4").reshape(-1, 8)
with conn:
    conn.executemany("INSERT INTO t(id, embedding) VALUES(?, ?)",
                     ((i, r.tobytes()) for i, r in enumerate(base, 600)))
"""


@pytest.mark.parametrize("done", [1, 400, 900])
def test_a_process_that_dies_while_it_links_leaves_what_was_committed(tmp_path, done):
    path, base = tmp_path / "a.db", vectors(2600)
    conn = new(path)
    with conn:
        conn.executemany(INSERT, rows(base[:600]))
    before = shadow(conn)
    conn.close()
    (tmp_path / "base").write_bytes(base[600:].tobytes())
    args = [sys.executable, "-c", KILLED, str(path), str(done), str(tmp_path / "base")]
    assert subprocess.run(args, check=False, cwd=tmp_path).returncode == 9
    conn = connect(path)
    assert shadow(conn) == before
    assert sound(conn)


# --- commands


def test_warm_loads_the_index_and_changes_nothing(tmp_path):
    conn, base = new(tmp_path / "a.db"), vectors(600)
    with conn:
        conn.executemany(INSERT, rows(base))
    before = shadow(conn)
    conn.close()
    conn = connect(tmp_path / "a.db")
    command(conn, "warm")
    assert shadow(conn) == before
    assert nearest(conn, base[3], 1) == [3]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("threads=0", "t: threads must be from 1 to 64, not '0'"),
        ("threads=x", "t: threads must be from 1 to 64, not 'x'"),
        ("threads=65", "not '65'"),
        ("progress=nothing_like_it", "no function nothing_like_it"),
        ("linger", "unknown command 'linger'"),
    ],
)
def test_a_command_that_makes_no_sense_says_what_would(tmp_path, text, message):
    with pytest.raises(apsw.SQLError, match=message):
        command(new(tmp_path / "a.db"), text)
