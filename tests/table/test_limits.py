"""Risk: the smallest, the largest and the most equal of everything."""

from __future__ import annotations

import itertools
import json

import apsw
import numpy as np
import pytest

from tests.support.oracle import connect

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


# --- SQLite's own limits --------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [700, 5000, 20_000])
@pytest.mark.parametrize("kind", ["", "codec=none", "codec=pq", "index=flat"])
@pytest.mark.parametrize("inner", [False, True], ids=["one flush", "a savepoint"])
def test_a_limit_on_lengths_fits_or_fails(tmp_path, kind, limit, inner):
    """A log row of more than the limit becomes pages; what still does not fit fails whole."""
    setup = connect(tmp_path / "t.db")
    setup.execute(f"CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[64] {kind})")
    setup.execute("CREATE TABLE other(a)")
    rng = np.random.default_rng(limit)
    db, committed, outcomes = connect(tmp_path / "t.db"), 0, []
    db.limit(apsw.SQLITE_LIMIT_LENGTH, limit)
    for n in (1, 10, 100, 3, 300):
        rows = [(v.tobytes(),) for v in rng.normal(size=(n, 64)).astype("<f4")]
        db.execute("BEGIN; INSERT INTO other VALUES(1)")
        try:
            db.executemany("INSERT INTO t(e) VALUES(?)", rows[: n // 2])
            if inner:
                db.execute("SAVEPOINT s")
            db.executemany("INSERT INTO t(e) VALUES(?)", rows[n // 2 :])
            db.execute("COMMIT")
            committed += n
        except apsw.TooBigError:
            if db.in_transaction:
                db.execute("ROLLBACK")
        outcomes.append(committed)
        fresh = connect(tmp_path / "t.db")
        fresh.execute("INSERT INTO t(t) VALUES('integrity-check')")
        found = fresh.execute("SELECT rowid FROM t WHERE e MATCH ? AND k = 1000", rows[0])
        assert len(found.fetchall()) == committed
        fresh.close()
    print(outcomes)
    if limit == 20_000 and kind != "codec=pq":  # whose codebook is longer
        assert committed == 414, "more edits than a log row may hold become pages"


def test_a_row_that_is_too_long_is_no_table_that_is_used_up(db):
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[245], tag TEXT)")
    db.limit(apsw.SQLITE_LIMIT_LENGTH, 1000)
    sql = "INSERT INTO t(e, tag) VALUES(vec_f32(zeroblob(980)), ?)"
    for begin in ("", "BEGIN"):
        db.execute(begin)
        with pytest.raises(apsw.TooBigError, match=r"main\.t: string or blob too big"):
            db.execute(sql, ("x" * 100,))
    db.execute("COMMIT")
    db.limit(apsw.SQLITE_LIMIT_LENGTH, 3000)
    db.execute(sql, ("x" * 100,))
    db.execute("INSERT INTO t(t) VALUES('integrity-check')")


@pytest.mark.parametrize("command", ["rebuild", "optimize"])
def test_what_follows_a_command_that_failed_half_way_says_so_and_what_to_do(db, command):
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[4])")
    rows = [(i, f"[{i},{i % 3},{i % 7},1]") for i in range(60)]
    db.execute("BEGIN")
    db.executemany("INSERT INTO t VALUES(?, ?)", rows)
    db.execute("COMMIT; BEGIN")
    before = db.limit(apsw.SQLITE_LIMIT_LENGTH, 3000)
    with pytest.raises(apsw.TooBigError, match=r"^main\.t: string or blob too big"):
        db.execute("INSERT INTO t(t) VALUES(?)", (command,))
    db.limit(apsw.SQLITE_LIMIT_LENGTH, before)
    for sql in (
        "SELECT id FROM t WHERE e MATCH '[0,0,0,0]' AND k = 1",
        "SELECT vecsql_search('t', 'e', vec_f32('[0,0,0,0]'), 1)",
        "SELECT * FROM vecsql_recall('t', 'e')",
        "INSERT INTO t VALUES(500, '[1,1,1,1]')",
    ):
        with pytest.raises(apsw.TooBigError, match=r"half way \(string or.*ROLLBACK.*'rebuild'"):
            db.execute(sql).fetchall()
    db.execute("INSERT INTO t(t) VALUES('rebuild'); COMMIT")
    db.execute("INSERT INTO t(t) VALUES('integrity-check')")


@pytest.mark.parametrize("ef", [100_000, 100_001, 10**9, 2**31, 2**63 - 1, 1e9])
def test_a_beam_wider_than_the_table_is_an_exact_search(db, ef):
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2])")
    db.execute("INSERT INTO t(e) VALUES('[1,2]'), ('[3,4]'), ('[0,1]')")
    sql = "SELECT rowid FROM t WHERE e MATCH '[0,0]' AND k = 2 AND ef_search = ?"
    assert db.execute(sql, (ef,)).fetchall() == [(3,), (1,)]


@pytest.mark.parametrize("ef", ["0", "-1", "100001", "1000000000", "9223372036854775807", "1e9"])
def test_an_absurd_ef_search_of_a_table_is_an_error(db, ef):
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2])")
    for sql in (
        f"INSERT INTO t(t) VALUES('ef_search={ef}')",
        f"CREATE VIRTUAL TABLE u USING vecsql(e FLOAT[2] ef_search={ef})",
    ):
        with pytest.raises(apsw.SQLError, match=r"ef_search.*1 to 100000|expected option"):
            db.execute(sql)
    with pytest.raises(apsw.SQLError, match="ef_search must be at least 1, got 0"):
        db.execute(
            "SELECT rowid FROM t WHERE e MATCH '[0,0]' AND k = 1 AND ef_search = 0"
        ).fetchall()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        (option, value)
        for option in ("m", "ef_construction", "ef_search", "pq_m")
        for value in ("0", "-1", "4294967312", "1000000000", "99999999999999999999", "x", "2.5")
    ],
)
def test_an_absurd_option_is_an_error_that_says_what_fits(db, option, value):
    with pytest.raises(apsw.SQLError, match=rf"column e: ({option} must be|expected option)"):
        db.execute(f"CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[8] {option}={value})")
    assert db.execute("SELECT count(*) FROM sqlite_schema").get == 0
