"""Risk: a statement that people seldom write gets other rows than from an ordinary table, stops a
transaction, or takes for ever."""

from __future__ import annotations

import apsw
import pytest

import vecsql
from tests.support.thirty_rows import ids, intact, thirty_rows


@pytest.fixture
def db():
    return thirty_rows()


@pytest.mark.parametrize(
    "constraint", ["UNIQUE", "NOT NULL", "CHECK (1)", "DEFAULT 3", "COLLATE", "HIDDEN"]
)
def test_a_constraint_on_a_column_is_refused(constraint):
    conn = vecsql.connect(":memory:", driver="apsw")
    with pytest.raises(apsw.SQLError, match="slug"):
        conn.execute(f"CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2], slug TEXT {constraint})")


def test_two_sets_of_rowids_are_intersected(db):
    got = ids(db, "e MATCH '[1,1]' AND k = 9 AND rowid IN (1,2,3) AND rowid IN (3,4,5)")
    assert got == [3]


def test_an_or_of_rowids_keeps_the_match(db):
    got = ids(db, "e MATCH '[1,1]' AND (rowid = 1 OR rowid = 5) ORDER BY distance")
    assert got == [1, 5]


def test_counting_a_whole_stream_takes_one_sort(db):
    rows = [(f"[{i % 97},{i}]",) for i in range(30000)]
    flat = "CREATE VIRTUAL TABLE big USING vecsql(e FLOAT[2] index=flat)"
    db.execute(flat)
    with db:
        db.executemany("INSERT INTO big(e) VALUES(?)", rows)
    got = db.execute("SELECT count(*), sum(distance < 1e9) FROM big WHERE e MATCH '[1,1]'")
    assert got.fetchall() == [(30000, 30000)]


def test_an_in_of_very_many_values_filters(db):
    db.execute("CREATE TABLE w(x)")
    db.executemany("INSERT INTO w VALUES(?)", [(f"c{i}",) for i in range(2, 40000)])
    got = ids(db, "e MATCH '[1,1]' AND cat IN (SELECT x FROM w) AND k = 3")
    assert got == [2, 3, 4]


@pytest.mark.parametrize("metric", ["l2", "dot", "cosine"])
@pytest.mark.parametrize("index", ["hnsw", "flat"])
def test_squares_that_overflow_float32_keep_the_right_order(metric, index):
    conn = vecsql.connect(":memory:", driver="apsw")
    conn.execute(
        f"CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2] distance_metric={metric} index={index})"
    )
    for i in range(1, 101):
        conn.execute("INSERT INTO t(rowid, e) VALUES(?, ?)", (i, f"[{i}e20, {-(i % 7)}e20]"))
    walk, scan = (
        conn.execute(
            "SELECT rowid, distance FROM t WHERE e MATCH '[50e20, 1e20]' AND k = 5 AND exact = ?",
            (exact,),
        ).fetchall()
        for exact in (0, 1)
    )
    assert [d for _, d in walk] == pytest.approx([d for _, d in scan])
    assert intact(conn)


def test_a_renamed_table_leaves_its_name_free(db):
    db.execute("ALTER TABLE t RENAME TO u")
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2], cat TEXT indexed)")
    db.execute("DROP TABLE u; DROP TABLE t")
    assert db.execute("SELECT count(*) FROM sqlite_schema").fetchall() == [(0,)]


def test_the_highest_rowid_stops_an_insert_and_not_the_transaction(db):
    db.execute("INSERT INTO t(rowid, e) VALUES(9223372036854775807, '[1,2]')")
    db.execute("CREATE TABLE p(x); BEGIN; INSERT INTO p VALUES(1)")
    with pytest.raises(apsw.SQLError, match="no rowid is left"):
        db.execute("INSERT INTO t(e) VALUES('[1,2]')")
    db.execute("COMMIT")
    assert db.execute("SELECT count(*) FROM p").fetchall() == [(1,)]


def test_keys_compare_as_in_a_table(db):
    assert ids(db, "rowid = 5.0") == [5]
    assert ids(db, "rowid = '5'") == [5]
    assert ids(db, "rowid = 5.5") == []
    assert ids(db, "e MATCH '[1,1]' AND k = 9 AND rowid IN (5.0, 6.5, 'x')") == [5]
    db.execute("INSERT INTO t(rowid, e) VALUES(70.0, '[1,2]')")
    for bad in ("'abc'", "NULL", "7.5"):
        with pytest.raises(apsw.Error, match="rowid"):
            db.execute(f"UPDATE t SET rowid = {bad} WHERE rowid = 70")
    assert ids(db, "rowid = 70") == [70]
