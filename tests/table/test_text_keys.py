"""Risk: a row with a TEXT key is found under another key, twice, or not at all."""

from __future__ import annotations

import random
from typing import Any

import apsw
import numpy as np
import pytest

from tests.support.oracle import connect

DIM = 4


@pytest.fixture
def conn(tmp_path):
    c = connect(tmp_path / "a.db")
    c.execute(
        "CREATE VIRTUAL TABLE t USING vecsql(id TEXT PRIMARY KEY, e float[4] m=4, n INTEGER, "
        "b bit[8])"
    )
    yield c
    c.close()


def vector(i: int) -> bytes:
    return np.random.default_rng(i).integers(-9, 10, DIM).astype("<f4").tobytes()


def put(conn: apsw.Connection, *keys: str, verb: str = "INSERT") -> None:
    for i, key in enumerate(keys):
        sql = f"{verb} INTO t(id, e, n, b) VALUES(?, ?, ?, vec_bit(?))"
        conn.execute(sql, (key, vector(i), i, bytes([i])))


def ids(conn: apsw.Connection, where: str = "true") -> list[str]:
    return [i for (i,) in conn.execute(f"SELECT id FROM t WHERE {where} ORDER BY id")]


def sound(conn: apsw.Connection) -> None:
    assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def plan(conn: apsw.Connection, sql: str) -> str:
    return conn.execute("EXPLAIN QUERY PLAN " + sql).fetchall()[0][3]


def test_the_key_is_returned_by_every_kind_of_query(conn):
    put(conn, "anna", "bob", "chris")
    assert conn.execute("SELECT id, n FROM t").fetchall() == [
        ("anna", 0), ("bob", 1), ("chris", 2)
    ]  # fmt: skip
    nearest = "SELECT id, distance FROM t WHERE e MATCH ? AND k = 1"
    assert conn.execute(nearest, (vector(1),)).fetchall() == [("bob", 0)]
    stream = "SELECT id FROM t WHERE b MATCH vec_bit(x'02') ORDER BY distance LIMIT 1"
    assert conn.execute(stream).fetchall() == [("chris",)]
    assert conn.execute("SELECT typeof(rowid) FROM t LIMIT 1").fetchall() == [("integer",)]


@pytest.mark.parametrize("key", ["", "O'Brien", "ключ", "a\0b", "1", "x" * 5000, '"', "%"])
def test_any_text_is_a_key(conn, key):
    put(conn, key, "other")
    assert conn.execute("SELECT n FROM t WHERE id = ?", (key,)).fetchall() == [(0,)]
    conn.execute("UPDATE t SET n = 7 WHERE id = ?", (key,))
    conn.execute("DELETE FROM t WHERE id = ?", (key,))
    assert ids(conn) == ["other"]
    sound(conn)


def test_a_lookup_by_key_uses_the_unique_index(conn):
    put(conn, *(f"k{i}" for i in range(100)))
    for where in ("id = 'k7'", "id IN ('k7', 'k8')", "id BETWEEN 'k7' AND 'k79'"):
        assert " c1" in plan(conn, f"SELECT n FROM t WHERE {where}")
    assert ids(conn, "id IN ('k7', 'k8', 'nobody')") == ["k7", "k8"]
    assert ids(conn, "id > 'k97' OR id = 'k0'") == ["k0", "k98", "k99"]
    # a point: SQLite looks each one up in a join instead of scanning for it
    rows = conn.execute(
        "WITH w(id) AS (VALUES ('k3'), ('none'), ('k4')) "
        "SELECT t.n FROM w CROSS JOIN t ON t.id = w.id"
    ).fetchall()
    assert rows == [(3,), (4,)]


def test_the_key_filters_a_search(conn):
    put(conn, *(f"k{i}" for i in range(50)))
    sql = "SELECT id FROM t WHERE e MATCH ? AND id IN ({}) AND k = 5"
    assert sorted(conn.execute(sql.format("'k9', 'k30', 'nobody'"), (vector(3),))) == [
        ("k30",), ("k9",)
    ]  # fmt: skip
    conn.execute("CREATE TABLE chosen AS SELECT 'k4' AS id UNION SELECT 'k44'")
    rows = conn.execute(sql.format("SELECT id FROM chosen"), (vector(3),)).fetchall()
    assert sorted(rows) == [("k4",), ("k44",)]
    rows = conn.execute("SELECT id FROM t WHERE e MATCH ? AND id = 'k5' AND k = 3", (vector(3),))
    assert rows.fetchall() == [("k5",)]


def test_a_second_row_with_the_key_is_refused(conn):
    put(conn, "a", "b")
    with pytest.raises(apsw.ConstraintError, match=r"UNIQUE constraint failed: t\.id"):
        put(conn, "a")
    with pytest.raises(apsw.ConstraintError, match=r"UNIQUE constraint failed: t\.id"):
        conn.execute("UPDATE t SET id = 'b' WHERE id = 'a'")
    conn.execute("UPDATE t SET id = 'a' WHERE id = 'a'")
    assert ids(conn) == ["a", "b"]
    sound(conn)


@pytest.mark.parametrize("key", [None, 1, 1.5, b"a"])
def test_a_key_is_text(conn, key):
    with pytest.raises(apsw.MismatchError, match=r"t\.id: expected a TEXT key, got"):
        put(conn, key)
    put(conn, "a")
    with pytest.raises(apsw.MismatchError, match=r"t\.id: expected a TEXT key, got"):
        conn.execute("UPDATE t SET id = ?", (key,))
    assert ids(conn) == ["a"]


def test_rowids_are_not_the_users(conn):
    put(conn, "a")
    for sql in ("INSERT INTO t(rowid, id) VALUES(9, 'b')", "UPDATE t SET rowid = 9"):
        with pytest.raises(apsw.MismatchError, match=r"t\.rowid: a table with a TEXT key"):
            conn.execute(sql)


def test_replace_takes_the_whole_place_of_a_row(conn):
    put(conn, "a", "b", "c")
    conn.execute("REPLACE INTO t(id, e) VALUES('b', ?)", (vector(77),))
    assert conn.execute("SELECT id, e, n, b FROM t WHERE id = 'b'").fetchall() == [
        ("b", vector(77), None, None)
    ]
    assert len(conn.execute("SELECT id FROM t WHERE b MATCH vec_bit(x'00')").fetchall()) == 2
    assert len(conn.execute("SELECT id FROM t WHERE e MATCH '[0,0,0,0]'").fetchall()) == 3
    sound(conn)


def test_update_or_replace_removes_the_row_in_the_way_and_no_other(conn):
    put(conn, "a", "b", "c")
    conn.execute("UPDATE OR REPLACE t SET id = 'b' WHERE id = 'a'")
    assert conn.execute("SELECT id, n FROM t ORDER BY id").fetchall() == [("b", 0), ("c", 2)]
    sound(conn)


def test_a_row_that_the_statement_replaced_is_not_updated_any_more(conn):
    put(conn, "a", "b", "c")
    conn.execute(
        "UPDATE OR REPLACE t SET id = CASE id WHEN 'a' THEN 'b' WHEN 'b' THEN 'x' ELSE id END, "
        "e = '[1,2,3,4]'"
    )
    assert conn.execute("SELECT id, n FROM t ORDER BY id").fetchall() == [("b", 0), ("c", 2)]
    sound(conn)


def test_a_collation_decides_what_is_the_same_key(conn):
    conn.execute(
        "CREATE VIRTUAL TABLE u USING vecsql(id TEXT COLLATE NOCASE PRIMARY KEY, e float[1])"
    )
    conn.execute("INSERT INTO u VALUES('Anna', '[1]')")
    with pytest.raises(apsw.ConstraintError):
        conn.execute("INSERT INTO u VALUES('ANNA', '[2]')")
    assert conn.execute("SELECT id FROM u WHERE id = 'anna'").fetchall() == [("Anna",)]
    assert conn.execute("SELECT id FROM u WHERE id = 'anna' COLLATE BINARY").fetchall() == []


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("id REAL PRIMARY KEY, e float[1]", "a PRIMARY KEY must be INTEGER or TEXT, not 'REAL'"),
        ("id TEXT PRIMARY KEY, i INTEGER PRIMARY KEY, e float[1]", "is a PRIMARY KEY already"),
        ("i INTEGER PRIMARY KEY, id TEXT PRIMARY KEY, e float[1]", "is a PRIMARY KEY already"),
        ("id TEXT PRIMARY KEY, j TEXT PRIMARY KEY, e float[1]", "is a PRIMARY KEY already"),
    ],
)  # fmt: skip
def test_a_declaration_has_one_key(conn, definition, message):
    with pytest.raises(apsw.SQLError, match=message):
        conn.execute(f"CREATE VIRTUAL TABLE u USING vecsql({definition})")


def test_rollbacks_take_keys_back(conn):
    put(conn, "a", "b")
    conn.execute("BEGIN; SAVEPOINT s")
    conn.execute("UPDATE t SET id = 'z' WHERE id = 'a'")
    conn.execute("REPLACE INTO t(id, e) VALUES('b', '[1,2,3,4]')")
    assert ids(conn) == ["b", "z"]
    conn.execute("ROLLBACK TO s")
    assert ids(conn) == ["a", "b"]
    put(conn, "c")
    conn.execute("ROLLBACK")
    assert ids(conn) == ["a", "b"]
    sound(conn)


def test_keys_survive_renaming_vacuum_and_reopening(conn, tmp_path):
    put(conn, "a", "b", "c")
    conn.execute("DELETE FROM t WHERE id = 'b'")
    conn.execute("ALTER TABLE t RENAME TO u")
    conn.execute("VACUUM")
    with pytest.raises(apsw.ConstraintError, match=r"u\.id"):
        conn.execute("INSERT INTO u(id) VALUES('c')")
    other = connect(tmp_path / "a.db")
    assert other.execute("SELECT id, n FROM u").fetchall() == [("a", 0), ("c", 2)]
    other.execute("INSERT INTO u(u) VALUES('rebuild')")
    assert other.execute("SELECT id FROM u WHERE e MATCH ? AND k = 1", (vector(2),)).fetchall() == [
        ("c",)
    ]
    sound(other)


# ---- against an ordinary table -----------------------------------------------------------------

VERBS = ["ABORT", "FAIL", "IGNORE", "REPLACE", "ROLLBACK"]


def statement(rng: random.Random) -> tuple[str, tuple[Any, ...]]:
    def key() -> str:
        return f"k{rng.randrange(12)}"

    verb, v, n = rng.choice(VERBS), vector(rng.randrange(40)), rng.randrange(20)
    choice = rng.randrange(10)
    if choice < 4:
        return f"INSERT OR {verb} INTO t(id, e, n) VALUES(?, ?, ?)", (key(), v, n)
    if choice == 4:
        return f"INSERT OR {verb} INTO t(id, e, n) VALUES(?, ?, 1), (?, ?, 2), (?, NULL, 3)", (
            key(), v, key(), v, key(),
        )  # fmt: skip
    if choice == 5:
        return f"UPDATE OR {verb} t SET id = ? WHERE id = ?", (key(), key())
    if choice == 6:
        return f"UPDATE OR {verb} t SET id = 'k' || (n % 12), e = ? WHERE n < ?", (v, n)
    if choice == 7:
        return "UPDATE t SET e = ?, n = n + 1 WHERE id IN (?, ?)", (v, key(), key())
    if choice == 8:
        return "DELETE FROM t WHERE id = ?", (key(),)
    return f"UPDATE OR {verb} t SET id = id || '' WHERE n > ?", (n,)


def run(conn: apsw.Connection, sql: str, args: tuple[Any, ...]) -> str | None:
    try:
        conn.execute(sql, args)
    except apsw.ConstraintError:
        return "constraint"
    return None


@pytest.mark.parametrize("seed", range(8))
def test_random_statements_do_what_they_do_to_an_ordinary_table(conn, seed):
    rng = random.Random(seed)
    plain = apsw.Connection(":memory:")
    plain.execute("CREATE TABLE t(id TEXT PRIMARY KEY, e, n INTEGER)")
    for step in range(150):
        if rng.random() < 0.15:
            word = "COMMIT" if conn.in_transaction else "BEGIN"
            assert conn.in_transaction == plain.in_transaction
            conn.execute(word)
            plain.execute(word)
        sql, args = statement(rng)
        assert run(conn, sql, args) == run(plain, sql, args), (step, sql, args)
        query = "SELECT id, e, n FROM t ORDER BY id"
        assert conn.execute(query).fetchall() == plain.execute(query).fetchall(), (step, sql, args)
        if step % 10 == 0:
            want = plain.execute("SELECT id FROM t WHERE e IS NOT NULL ORDER BY id").fetchall()
            got = conn.execute("SELECT id FROM t WHERE e MATCH '[0,0,0,0]'").fetchall()
            assert sorted(got) == want
            sound(conn)
