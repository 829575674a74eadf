"""Risk: vecsql_stats, the log and the pages tell of another index than the one that is there."""

from __future__ import annotations

import apsw
import numpy as np
import pytest

import vecsql


@pytest.fixture
def db():
    conn = vecsql.connect(":memory:", driver="apsw")
    conn.execute(
        "CREATE VIRTUAL TABLE t USING vecsql(a FLOAT[4] m=8, "
        "b FLOAT[2] distance_metric=cosine index=flat)"
    )
    rng = np.random.default_rng(1)
    with conn:
        for i in range(100):
            b = None if i % 2 else rng.normal(size=2).astype("<f4").tobytes()
            conn.execute(
                "INSERT INTO t(rowid, a, b) VALUES(?, ?, ?)",
                (i, rng.normal(size=4).astype("<f4").tobytes(), b),
            )
    return conn


def stats(db, vector: str = "a") -> dict[str, object]:
    sql = "SELECT name, value FROM vecsql_stats('t') WHERE vector = ?"
    return dict(db.execute(sql, (vector,)).fetchall())


def test_figures_agree_with_the_table(db):
    a, b = stats(db), stats(db, "b")
    assert (a["index"], a["codec"], a["distance_metric"]) == ("hnsw", "none", "l2")
    assert (b["index"], b["codec"], b["distance_metric"]) == ("flat", "none", "cosine")
    assert (a["dims"], a["m"], a["rows"]) == (4, 8, 100)
    assert (b["dims"], b["rows"]) == (2, 50)
    assert a["ef_search"] == 64
    assert a["log_rows"] == db.execute("SELECT count(*) FROM t_log0").fetchall()[0][0] == 1
    assert a["pages"] == 0
    db.execute("DELETE FROM t WHERE rowid < 10")
    assert (stats(db)["rows"], stats(db, "b")["rows"]) == (90, 45)


def test_optimizing_writes_the_log_into_pages_and_takes_out_the_dead(db):
    db.execute("DELETE FROM t WHERE rowid < 5")
    db.execute("INSERT INTO t(t) VALUES('optimize')")
    figures = stats(db)
    pages = db.execute("SELECT count(*), sum(length(data)) FROM t_pages0").fetchall()[0]
    assert (figures["pages"], figures["page_bytes"]) == pages
    assert figures["pages"] > 0
    assert figures["deleted"] == 0
    assert figures["folded_version"] == figures["version"]


def test_ef_search_is_kept_in_the_file_and_seen_by_others(tmp_path):
    path = str(tmp_path / "t.db")
    one, two = (vecsql.connect(path, driver="apsw") for _ in range(2))
    one.execute("CREATE VIRTUAL TABLE t USING vecsql(a FLOAT[4] ef_search=20)")
    assert stats(two)["ef_search"] == 20
    one.execute("INSERT INTO t(t) VALUES('ef_search=128')")
    assert stats(two)["ef_search"] == 128
    one.execute("INSERT INTO t(t) VALUES('rebuild')")
    assert stats(vecsql.connect(path, driver="apsw"))["ef_search"] == 128


def test_quick_check_finds_a_damaged_page_and_leaves_rows_to_the_full_check(db):
    db.execute("INSERT INTO t(t) VALUES('optimize')")
    db.execute("DELETE FROM t_map0 WHERE rowid = 3")
    assert db.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    full = db.execute("PRAGMA integrity_check").fetchall()
    assert full == [("main.t.a: row 3: its vector is not in the index",)]
    db.execute("UPDATE t_pages0 SET data = zeroblob(length(data)) WHERE page = 0")
    quick = db.execute("PRAGMA quick_check").fetchall()
    assert quick == [("main.t.a: node page 0 is missing or damaged",)]


def test_a_table_of_an_attached_file_is_named_by_its_schema(db, tmp_path):
    db.execute("ATTACH ? AS other", (str(tmp_path / "o.db"),))
    db.execute("CREATE VIRTUAL TABLE other.v USING vecsql(a FLOAT[4])")
    rows = db.execute("SELECT value FROM vecsql_stats('v', 'other') WHERE name = 'rows'")
    assert rows.fetchall() == [(0,)]
    with pytest.raises(apsw.SQLError, match="no vecsql table v"):
        db.execute("SELECT * FROM vecsql_stats('v')").fetchall()


def test_recall_estimate_is_of_the_index_and_of_its_ef_search():
    conn = vecsql.connect(":memory:", driver="apsw")
    conn.execute(
        "CREATE VIRTUAL TABLE t USING vecsql(a FLOAT[24] m=4 ef_construction=8 ef_search=10)"
    )
    estimate = "SELECT value FROM vecsql_stats('t') WHERE name = 'recall_estimate'"
    assert conn.execute(estimate).fetchall() == [(None,)]
    x = np.random.default_rng(5).normal(size=(6000, 24)).astype("<f4")
    with conn:
        conn.executemany("INSERT INTO t(a) VALUES(?)", ((row.tobytes(),) for row in x))
    low = conn.execute(estimate).fetchall()[0][0]
    conn.execute("INSERT INTO t(t) VALUES('ef_search=1000')")
    high = conn.execute(estimate).fetchall()[0][0]
    assert 0 < low < 0.9 < high <= 1


def test_codec_and_model_are_told():
    db = vecsql.connect(":memory:")
    vecsql.create_table(db, "t", {"body": str}, text="body")
    vecsql.insert(db, "t", [{"body": f"text number {i}"} for i in range(300)])
    sql = "SELECT name, value FROM vecsql_stats('t_embedding')"
    figures = dict(db.execute(sql).fetchall())
    assert figures["model"] == "vecsql-static-en-256"
    assert figures["codec_epoch"] >= 1
    assert figures["nav_bits"] == 8  # so few rows are scanned
