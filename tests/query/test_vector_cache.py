"""Risk: a search takes the distance of a row from a vector in memory that is not the row's: of a
transaction that was rolled back, of another history of the file, of a node that was used again."""

from __future__ import annotations

import random

import apsw
import numpy as np
import pytest

import vecsql
from tests.support.oracle import (
    CREATE,
    check_answers,
    command,
    connect,
    drop,
    knn,
    point,
    points,
    put,
)

ROWS = range(60)


def cached(path, mib=1):
    conn = connect(path)
    if not list(conn.execute("SELECT 1 FROM sqlite_schema WHERE name = 't'")):
        conn.execute(CREATE.format(table="t"))
        put(conn, ROWS)
    command(conn, f"vector_cache={mib}")
    return conn


def stat(conn, name, table="t"):
    return next(conn.execute(f"SELECT value FROM vecsql_stats('{table}') WHERE name = ?", [name]))[
        0
    ]


def fill(conn):
    """Has the vectors of all rows in the cache; returns how many rows were read for it."""
    knn(conn, np.zeros(3), 1000)
    return stat(conn, "last_query_reads")


# --- what it does ---------------------------------------------------------------------------------


def test_a_second_search_reads_no_rows():
    conn = cached(":memory:")
    assert fill(conn) == len(ROWS)
    assert fill(conn) == 0
    check_answers(conn, points(ROWS))


def test_vectors_are_kept_without_being_asked_for():
    conn = connect(":memory:")
    conn.execute(CREATE.format(table="t"))
    put(conn, ROWS)
    assert fill(conn) == len(ROWS)
    assert fill(conn) == 0
    assert 0 < stat(conn, "vector_cache_bytes") < 100_000


def test_one_search_of_a_large_table_takes_memory_for_what_it_read():
    conn, n = connect(":memory:"), 20_000
    conn.execute("CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[2])")
    rows = np.random.default_rng(1).normal(size=(n, 2)).astype(np.float32)
    with conn:
        conn.executemany("INSERT INTO t VALUES(?, ?)", enumerate(r.tobytes() for r in rows))
    list(conn.execute("SELECT id FROM t WHERE e MATCH '[0,0]' AND k = 3"))
    assert 0 < stat(conn, "vector_cache_bytes") < n * 8


def test_auto_is_the_default_again():
    conn = cached(":memory:", mib=0)
    assert fill(conn) == fill(conn) == len(ROWS)
    command(conn, "vector_cache=auto")
    assert fill(conn) == len(ROWS)
    assert fill(conn) == 0


def test_zero_keeps_nothing():
    conn = cached(":memory:", mib=0)
    assert fill(conn) == fill(conn) == len(ROWS)
    assert stat(conn, "vector_cache_bytes") == 0


def test_zero_gives_the_memory_back():
    conn = cached(":memory:")
    fill(conn)
    assert stat(conn, "vector_cache_bytes") > len(ROWS) * 12
    command(conn, "vector_cache=0")
    fill(conn)
    assert stat(conn, "vector_cache_bytes") == 0


@pytest.mark.parametrize("text", ["", "x", "-1", "1MB", "99999999"])
def test_a_size_that_is_none_is_refused(text):
    conn = cached(":memory:")
    with pytest.raises(apsw.SQLError, match="t: vector_cache must be 'auto' or a number of MiB"):
        command(conn, f"vector_cache={text}")
    assert fill(conn) == len(ROWS)
    assert fill(conn) == 0


def test_it_stays_below_its_limit_and_right_when_rows_share_places():
    conn, dims = connect(":memory:"), 4096
    conn.execute(
        f"CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[{dims}] codec=sq8)"
    )
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(200, dims)).astype(np.float32)
    conn.executemany("INSERT INTO t VALUES(?, ?)", enumerate(r.tobytes() for r in rows))
    command(conn, "vector_cache=1")
    for query in rows[::20]:
        found = conn.execute(
            "SELECT id, distance FROM t WHERE e MATCH ? AND k = 50", [vecsql.f32(query)]
        )
        for i, distance in found:
            assert distance == pytest.approx(np.linalg.norm(rows[i] - query), rel=1e-5, abs=1e-5)
    assert 500_000 < stat(conn, "vector_cache_bytes") <= 1 << 20


def test_many_queries_in_one_call_find_the_same():
    plain, conn = cached(":memory:", mib=0), cached(":memory:")
    queries = np.concatenate([point(i, 9) for i in range(50)]).tobytes()
    sql = "SELECT vecsql_search('t', NULL, ?, 7)"
    want = plain.execute(sql, [queries]).fetchone()
    for _ in range(3):
        assert conn.execute(sql, [queries]).fetchone() == want


# --- what it must not do --------------------------------------------------------------------------


def test_rows_of_an_open_write_transaction_are_not_kept():
    conn = cached(":memory:")
    fill(conn)
    conn.execute("BEGIN")
    put(conn, [100])
    assert fill(conn) == fill(conn) == 1  # that one only
    conn.execute("ROLLBACK")
    put(conn, [100], version=1)  # the node and the seq of the row that was rolled back
    check_answers(conn, points(ROWS) | points([100], 1))


def test_rows_of_a_savepoint_that_was_rolled_back_are_not_found():
    conn = cached(":memory:")
    for version in range(3):
        conn.execute("SAVEPOINT s")
        put(conn, [100], version)
        check_answers(conn, points(ROWS) | points([100], version))
        conn.execute("ROLLBACK TO s; RELEASE s")
        check_answers(conn, points(ROWS))


@pytest.mark.parametrize("by_another", [False, True])
def test_a_copy_that_was_restored_and_went_on_is_another_history(tmp_path, by_another):
    conn, copy = cached(tmp_path / "a.db"), apsw.Connection(str(tmp_path / "copy.db"))
    to = connect(tmp_path / "a.db") if by_another else conn
    fill(conn)
    with copy.backup("main", conn, "main") as backup:
        backup.step()
    put(to, [100])
    check_answers(conn, points(ROWS) | points([100]))
    with to.backup("main", copy, "main") as backup:
        backup.step()
    check_answers(conn, points(ROWS))
    put(to, [100], version=1)
    check_answers(conn, points(ROWS) | points([100], 1))


def test_a_rebuild_counts_anew():
    conn = cached(":memory:")
    fill(conn)
    drop(conn, range(0, 60, 2))
    command(conn, "rebuild")
    put(conn, range(100, 130))
    check_answers(conn, points(range(1, 60, 2)) | points(range(100, 130)))


def test_a_rebuild_by_another_connection_counts_anew(tmp_path):
    conn, other = cached(tmp_path / "a.db"), connect(tmp_path / "a.db")
    fill(conn)
    drop(other, range(0, 60, 2))
    command(other, "rebuild")
    put(other, range(100, 130))
    check_answers(conn, points(range(1, 60, 2)) | points(range(100, 130)))


def content_table(path=":memory:"):
    conn = connect(path)
    conn.execute("CREATE TABLE c(id INTEGER PRIMARY KEY, embedding BLOB)")
    conn.execute("CREATE VIRTUAL TABLE t USING vecsql(content=c, embedding FLOAT[3])")
    conn.executemany("INSERT INTO c VALUES(?, ?)", [(i, vecsql.f32(point(i))) for i in ROWS])
    return conn


def distances(conn):
    sql = "SELECT rowid, distance FROM t WHERE embedding MATCH '[0,0,0]' AND k = 1000"
    return dict(conn.execute(sql))


def lengths():
    return {i: pytest.approx(float(np.linalg.norm(point(i))), rel=1e-6) for i in ROWS}


def untold(conn, sql):
    """Runs a statement whose changes no trigger tells to the index."""
    conn.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
    conn.execute(sql)
    conn.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 1)


CHANGED = point(5) * np.float32(1.001)  # its code stays
UNTOLD = f"UPDATE c SET embedding = x'{vecsql.f32(CHANGED).hex()}' WHERE id = 5"


def test_a_second_search_of_a_content_table_reads_no_rows():
    conn = content_table()
    assert distances(conn) == distances(conn) == lengths()
    assert stat(conn, "last_query_reads") == 0
    conn.execute("UPDATE c SET embedding = embedding WHERE id = 5")
    assert distances(conn) == lengths()
    assert stat(conn, "last_query_reads") == len(ROWS)


@pytest.mark.parametrize("by", ["this connection", "another"])
@pytest.mark.parametrize("how", ["alone", "in a transaction", "rolled back"])
def test_a_content_table_that_changed_untold_is_read_anew(tmp_path, by, how):
    conn = content_table(tmp_path / "a.db")
    on = conn if by == "this connection" else connect(tmp_path / "a.db")
    was = distances(conn)
    assert was == distances(conn) == lengths()
    assert np.linalg.norm(CHANGED) > 1.0005 * was[5]
    changed = {**was, 5: float(np.linalg.norm(CHANGED))}
    on.execute("BEGIN" if how != "alone" else "")
    untold(on, UNTOLD)
    assert distances(on) == pytest.approx(changed, rel=1e-7)
    on.execute({"alone": "", "in a transaction": "COMMIT", "rolled back": "ROLLBACK"}[how])
    want = was if how == "rolled back" else changed
    for _ in range(2):
        assert distances(conn) == pytest.approx(want, rel=1e-7)


@pytest.mark.parametrize("seed", range(6))
def test_answers_stay_right_whatever_happens_to_the_rows(tmp_path, seed):
    rng = random.Random(seed)
    print("seed", seed)
    conn, other = cached(tmp_path / "a.db"), connect(tmp_path / "a.db")
    rows, version = points(ROWS), 0

    def change(on, rows):
        nonlocal version
        version += 1
        some = rng.sample(sorted(rows), min(len(rows), 3))
        kind = rng.choice(["new", "again", "update", "delete", "rebuild", "optimize"])
        if kind == "new":
            ids = [max(rows, default=0) + n for n in (1, 2)]
            put(on, ids, version)
            return rows | points(ids, version)
        if kind == "again":
            drop(on, some)
            put(on, some, version)
            return rows | points(some, version)
        if kind == "update":
            for i in some:
                vector = vecsql.f32(point(i, version))
                on.execute("UPDATE t SET embedding = ? WHERE id = ?", (vector, i))
            return rows | points(some, version)
        if kind == "delete":
            drop(on, some)
            return {i: v for i, v in rows.items() if i not in some}
        command(on, kind)
        return rows

    for _ in range(60):
        on, end = rng.choice([conn, other]), rng.choice(["", "COMMIT", "ROLLBACK"])
        if end:
            on.execute("BEGIN IMMEDIATE")
        after = change(on, rows)
        if on is conn:
            check_answers(conn, after)
        if end:
            after = change(on, after)
            on.execute(end)
        rows = rows if end == "ROLLBACK" else after
        check_answers(conn, rows)
    assert fill(conn) <= len(rows)
    assert fill(conn) == 0


def nearest(conn, extra=""):
    sql = f"SELECT id, distance FROM t WHERE embedding MATCH '[0,0,0]' AND k = 9{extra}"
    return list(conn.execute(sql))


KINDS = ["m=4", "codec=none m=4", "codec=pq pq_m=3 m=4", "index=flat", "index=flat codec=none"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by", ["this connection", "another"])
@pytest.mark.parametrize("way", ["rows", "all rows", "one transaction", "replace", "update"])
def test_a_table_that_was_emptied_and_filled_again_has_new_vectors(tmp_path, kind, by, way):
    conn = connect(tmp_path / "a.db")
    conn.execute(
        f"CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, embedding FLOAT[3] {kind})"
    )
    command(conn, "vector_cache=1")
    on = conn if by == "this connection" else connect(tmp_path / "a.db")
    on.execute("INSERT INTO t VALUES(1, '[100,0,0]'), (2, '[200,0,0]')")
    assert nearest(conn) == [(1, 100.0), (2, 200.0)]
    for step in range(1, 4):
        new = [(1, float(3 * step)), (2, float(3 * step + 1))]
        rows = ", ".join(f"({i}, '[{x:g},0,0]')" for i, x in new)
        if way == "one transaction":
            on.execute(f"BEGIN; DELETE FROM t; INSERT INTO t VALUES{rows}; COMMIT")
        elif way == "replace":
            on.execute(f"REPLACE INTO t VALUES{rows}")
        elif way == "update":
            for i, x in new:
                on.execute("UPDATE t SET embedding = ? WHERE id = ?", (f"[{x},0,0]", i))
        else:
            for i in (1, 2) if way == "rows" else ():
                on.execute("DELETE FROM t WHERE id = ?", (i,))
            on.execute("DELETE FROM t")
            on.execute(f"INSERT INTO t VALUES{rows}")
        assert nearest(conn) == nearest(conn, " AND exact = 1") == new
        assert stat(conn, "last_query_reads") == 0


def test_a_table_made_anew_with_vectors_of_the_same_codes_has_its_own(tmp_path):
    """Stamps are hashes of codes: both tables have the same one, and the vectors differ."""
    conn, other = connect(tmp_path / "a.db"), connect(tmp_path / "a.db")
    stamps = []
    for middle in (1.0, 1.0001):
        other.execute("DROP TABLE IF EXISTS t")
        other.execute(
            "CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[3] codec=sq8)"
        )
        rows = [(1, [0, 0, 0]), (2, [9, 9, 9]), (3, [9, 0, 0]), (4, [0, 9, 9]), (5, [middle, 2, 3])]
        other.executemany("INSERT INTO t VALUES(?, ?)", [(i, vecsql.f32(v)) for i, v in rows])
        command(conn, "vector_cache=1")
        list(conn.execute("SELECT distance FROM t WHERE e MATCH '[0,0,0]' AND k = 9"))
        stamps.append(stat(conn, "stamp"))
        found = list(conn.execute("SELECT distance FROM t WHERE e MATCH '[1,2,3]' AND k = 1"))
        assert found == [(pytest.approx(abs(middle - 1), abs=1e-6),)]
    assert stamps[0] == stamps[1], "choose vectors whose codes are the same"
