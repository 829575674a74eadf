"""Risk: a vec0 declaration that sqlite-vec takes is refused, or read as something else.

sqlite-vec 0.1.9 itself is the oracle: it gets the same statement.
"""

from __future__ import annotations

import apsw
import pytest

from tests.support.vec0_definitions import ACCEPTED
from tests.support.vec0_pair import Pair, ours, theirs

REFUSED = [
    "",
    "m text",
    "id integer primary key",
    '"e" float[4]',
    "_e float[4]",
    "é float[4]",
    "e float[4], m real",
    "e float[4], m",
    "e float[4], m.x text",
    "e float[4], 'm' text",
    "e float[4], x int8",
    "e float[4], foo bar baz",
    "e float[4], nope=1",
    "e float[4], a=b=c",
    "e float[4], chunk_size=0",
    "e float[4], chunk_size=7",
    "e float[4], chunk_size=x",
    "e float[4], chunk_size=4104",
    "e float[4], chunk_size=1024 x",
    "e float[0]",
    "e float[-1]",
    "e float[a]",
    "e float[]",
    "e float[4.5]",
    "e float[8193]",
    "e float[4] distance_metric=dot",
    "e float[4] distance_metric",
    "e float[4] distance_metric=",
    "e float[4] foo=1",
    "e bit[8] distance_metric=l2",
    "e float[4], id text primary key, id2 integer primary key",
    "e float[4], id real primary key",
    "e float[4], g real partition key",
    "e float[4], +x",
    "e float[4], +x real",
    "e float[4], distance text",
    "e float[4], k text",
    "e float[4], e text",
    "e float[4], rowid text",
    "e float[4], m text, M text",
    ", ".join(f"e{i} float[2]" for i in range(17)),
    "e float[2], " + ", ".join(f"m{i} text" for i in range(17)),
    "e float[2], " + ", ".join(f"+m{i} text" for i in range(17)),
    "e float[2], " + ", ".join(f"m{i} text partition key" for i in range(5)),
]


@pytest.fixture
def pair():
    p = Pair()
    yield p
    p.close()


@pytest.mark.parametrize("definition", ACCEPTED)
def test_what_sqlite_vec_accepts_has_the_same_columns(pair, definition):
    pair.same(f"CREATE VIRTUAL TABLE t USING vec0({definition})")
    pair.same(
        "SELECT cid, name, type, dflt_value, hidden FROM pragma_table_xinfo('t') "
        "WHERE hidden = 0 OR name IN ('distance', 'k')"
    )
    pair.same("SELECT * FROM t")
    pair.same("DROP TABLE t")


@pytest.mark.parametrize("definition", REFUSED)
def test_what_sqlite_vec_refuses_is_refused_in_its_words(pair, definition):
    assert "vec0 constructor error" in pair.fails(
        f"CREATE VIRTUAL TABLE t USING vec0({definition})"
    )
    pair.same("SELECT count(*) FROM sqlite_schema")


def test_a_column_named_like_the_table_is_a_column(pair):
    pair.same("CREATE VIRTUAL TABLE e USING vec0(e float[2], exact integer)")
    pair.same("INSERT INTO e(rowid, e, exact) VALUES (1, '[1, 2]', 5)")
    pair.same("SELECT * FROM e WHERE e MATCH '[0, 0]' AND k = 3 AND exact = 5")


@pytest.mark.parametrize("name", ["exact", "k", "distance", "ef_search"])
def test_a_table_may_have_the_name_of_a_hidden_column(pair, name):
    pair.same(f"CREATE VIRTUAL TABLE {name} USING vec0(e float[2])")
    pair.same(f"INSERT INTO {name}(e) VALUES ('[1, 2]')")
    pair.same(f"SELECT * FROM {name} WHERE e MATCH '[0, 0]' AND k = 3")


def test_options_of_ours_are_taken_besides():
    db = ours()
    db.execute(
        "CREATE VIRTUAL TABLE t USING vec0(e float[2] index=flat distance_metric=l2 codec=none)"
    )
    db.execute("CREATE VIRTUAL TABLE u USING vec0(e float[2] m=8 ef_construction=50 ef_search=20)")
    stored = [v for (v,) in db.execute("SELECT value FROM t_config WHERE key = 'vector0'")]
    assert "index=flat" in stored[0]
    with pytest.raises(apsw.SQLError, match=r"vec0 constructor error: table v: .*index must be"):
        db.execute("CREATE VIRTUAL TABLE v USING vec0(e float[2] index=tree)")


def kinds(db, table: str) -> list[tuple[str, str]]:
    sql = f"SELECT vector, value FROM vecsql_stats('{table}') WHERE name = 'index'"
    return db.execute(sql).fetchall()


def test_a_table_has_no_graph_unless_a_column_asks_for_one():
    db = ours()
    db.execute("CREATE VIRTUAL TABLE t USING vec0(a float[2], b float[2] index=hnsw m=8)")
    assert kinds(db, "t") == [("a", "flat"), ("b", "hnsw")]


def test_a_table_keeps_the_index_that_it_was_made_with(tmp_path):
    """Of a version whose default was a graph: the declaration does not say so, %_config does."""
    path = str(tmp_path / "old.db")
    db = ours(path)
    db.execute("CREATE VIRTUAL TABLE t USING vec0(e float[2] index=hnsw)")
    db.execute("INSERT INTO t(e) VALUES ('[1, 2]'), ('[3, 4]')")
    db.execute("PRAGMA writable_schema = ON")
    db.execute("UPDATE sqlite_schema SET sql = replace(sql, ' index=hnsw', '')")
    db.close()
    db = ours(path)
    assert "index" not in db.execute("SELECT sql FROM sqlite_schema WHERE name = 't'").fetchone()[0]
    for command in ("rebuild", "optimize"):
        assert kinds(db, "t") == [("e", "hnsw")]
        db.execute(f"INSERT INTO t(t) VALUES ('{command}')")
    assert db.execute("SELECT rowid FROM t WHERE e MATCH '[3, 4]' AND k = 1").fetchall() == [(2,)]
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()


def test_a_table_of_sqlite_vec_is_refused_and_left_as_it_is(tmp_path):
    path = str(tmp_path / "theirs.db")
    other = theirs(path)
    other.execute("CREATE VIRTUAL TABLE t USING vec0(e float[2])")
    other.execute("INSERT INTO t(rowid, e) VALUES (1, '[1, 2]')")
    dump = other.execute("SELECT * FROM sqlite_schema").fetchall()
    other.close()
    db = ours(path)
    for sql in ("SELECT * FROM t", "INSERT INTO t(e) VALUES ('[3, 4]')", "DROP TABLE t"):
        with pytest.raises(apsw.SQLError, match=r"made by sqlite-vec.*vecsql import"):
            db.execute(sql)
    db.close()
    other = theirs(path)
    assert other.execute("SELECT * FROM sqlite_schema").fetchall() == dump
    assert other.execute("SELECT count(*) FROM t").fetchall() == [(1,)]
    other.close()


def test_a_table_goes_on_after_reopening_renaming_and_vacuum(tmp_path):
    path = str(tmp_path / "ours.db")
    db = ours(path)
    db.execute("CREATE VIRTUAL TABLE t USING vec0(id integer primary key, e float[2], m text)")
    db.execute("INSERT INTO t VALUES (5, '[1, 2]', 'a'), (7, '[3, 4]', 'b')")
    db.execute("ALTER TABLE t RENAME TO u")
    db.close()
    db = ours(path)
    db.execute("DELETE FROM u WHERE id = 7")
    db.execute("VACUUM")
    db.execute("INSERT INTO u(e, m) VALUES ('[3, 4]', 'c')")
    assert db.execute("SELECT id, m FROM u WHERE e MATCH '[3, 4]' AND k = 5").fetchall() == [
        (8, "c"),  # never 7 again: sqlite-vec's keys are AUTOINCREMENT
        (5, "a"),
    ]
    db.close()


def test_difference_a_bit_vector_has_whole_bytes(pair):
    a, b = pair.differ("CREATE VIRTUAL TABLE t USING vec0(e bit[7])")
    assert "expected bit[n] with n a multiple of 8, not 7" in a.error
    assert not b.error


def test_difference_float16_has_two_bytes_an_element(pair):
    pair.same("CREATE VIRTUAL TABLE t USING vec0(e float16[2])")
    pair.same("INSERT INTO t(e) VALUES ('[1, 2]'), (vec_f32('[3, 4]'))")
    a, b = pair.differ("SELECT length(e) FROM t")
    assert (a.rows, b.rows) == (((4,), (4,)), ((8,), (8,)))
    pair.same("SELECT rowid, distance, vec_to_json(e) FROM t WHERE e MATCH '[1, 1]' AND k = 2")
