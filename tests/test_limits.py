"""Risk: the smallest, the largest and the most equal of everything."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from tests.oracle import connect

EXTREME = [-(2**63), -1, 0, 1, 2**31 - 1, 2**31, 2**53 + 1, 2**63 - 1]


@pytest.fixture
def db():
    conn = connect(":memory:")
    yield conn
    conn.close()


@pytest.mark.parametrize("dims", [1, 2, 3, 31, 63, 64, 65, 1023, 4096, 65535, 65536])
@pytest.mark.parametrize("index", ["hnsw", "flat"])
def test_every_number_of_dimensions(db, dims, index):
    db.execute(f"CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[{dims}] index={index} m=4)")
    rng = np.random.default_rng(dims)
    rows = rng.normal(size=(12, dims)).astype("<f4")
    db.executemany(
        "INSERT INTO t(rowid, e) VALUES(?, ?)", [(i, v.tobytes()) for i, v in enumerate(rows)]
    )
    far = np.linalg.norm(rows.astype(float) - rows[5], axis=1)
    for extra in ("", " AND exact = 1"):
        sql = f"SELECT rowid, distance FROM t WHERE e MATCH ? AND k = 12{extra}"
        got = db.execute(sql, (rows[5].tobytes(),)).fetchall()
        assert [i for i, _ in got] == np.argsort(far, kind="stable").tolist()
        assert [d for _, d in got] == pytest.approx(np.sort(far), rel=1e-4, abs=1e-5)
    db.execute("DELETE FROM t WHERE rowid < 6")
    db.execute("INSERT INTO t(t) VALUES('optimize')")
    db.execute("INSERT INTO t(t) VALUES('integrity-check')")


@pytest.mark.parametrize("index", ["hnsw", "flat"])
@pytest.mark.parametrize("n", [0, 1, 2, 17])
def test_every_k_of_every_small_table(db, n, index):
    db.execute(f"CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2] index={index} m=4)")
    db.executemany(
        "INSERT INTO t(rowid, e) VALUES(?, ?)", [(i, json.dumps([i, 0])) for i in range(n)]
    )
    for k in (0, 1, n, n + 1, 2**31, 2**62):
        for extra in ("", " AND exact = 1", " AND rowid >= 0"):
            sql = f"SELECT rowid FROM t WHERE e MATCH '[0, 0]' AND k = ?{extra}"
            assert [i for (i,) in db.execute(sql, (k,))] == list(range(min(k, n)))
    sql = "SELECT count(*) FROM t WHERE e MATCH '[0, 0]'"
    assert db.execute(sql).get == n
    for command in ("optimize", "rebuild", "integrity-check"):
        db.execute("INSERT INTO t(t) VALUES(?)", (command,))


@pytest.mark.parametrize("metric", ["l2", "cosine", "dot", "l1"])
@pytest.mark.parametrize("vector", ["[0, 0, 0]", "[1, 2, 3]"])
def test_ten_thousand_equal_vectors(db, vector, metric):
    db.execute(f"CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[3] distance_metric={metric})")
    db.execute(
        "INSERT INTO t(rowid, e) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        f"WHERE i < 10000) SELECT i, '{vector}' FROM n"
    )
    for k in (1, 10, 9999, 10001):
        sql = "SELECT rowid, distance FROM t WHERE e MATCH '[1, 2, 3]' AND k = ?"
        got = db.execute(sql, (k,)).fetchall()
        assert len({i for i, _ in got}) == min(k, 10000)
        assert len({d for _, d in got}) == 1
    db.execute("DELETE FROM t WHERE rowid % 3 > 0")
    db.execute("INSERT INTO t(t) VALUES('integrity-check')")
    assert db.execute("SELECT count(*) FROM t WHERE e MATCH '[1,2,3]'").get == 3333


def test_extreme_rowids(db):
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2], a INTEGER)")
    for n, i in enumerate(EXTREME):
        db.execute("INSERT INTO t(rowid, e, a) VALUES(?, ?, ?)", (i, json.dumps([n, 0]), i))
    sql = "SELECT rowid, a FROM t WHERE e MATCH '[0, 0]' AND k = 20"
    assert db.execute(sql).fetchall() == [(i, i) for i in EXTREME]
    for low, high in itertools.combinations(EXTREME, 2):
        sql = "SELECT rowid FROM t WHERE e MATCH '[0, 0]' AND k = 20 AND rowid BETWEEN ? AND ?"
        want = [i for i in EXTREME if low <= i <= high]
        assert [i for (i,) in db.execute(sql, (low, high))] == want
    with pytest.raises(Exception, match=r"full|rowid"):
        db.execute("INSERT INTO t(e) VALUES('[1, 1]')")
    for i in EXTREME[::2]:
        db.execute("DELETE FROM t WHERE rowid = ?", (i,))
    db.execute("INSERT INTO t(t) VALUES('integrity-check')")
    assert sorted(i for (i,) in db.execute("SELECT rowid FROM t")) == sorted(EXTREME[1::2])


def test_a_deep_offset(db):
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[1] m=4)")
    db.executemany(
        "INSERT INTO t(rowid, e) VALUES(?, ?)", [(i, json.dumps([i])) for i in range(2000)]
    )
    for offset in (0, 10, 1990, 1999, 2000, 10**12):
        sql = "SELECT rowid FROM t WHERE e MATCH '[0]' ORDER BY distance LIMIT 5 OFFSET ?"
        got = [i for (i,) in db.execute(sql, (offset,))]
        assert got == list(range(2000))[offset : offset + 5]
