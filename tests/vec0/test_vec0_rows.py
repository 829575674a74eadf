"""Risk: vec0 refuses what sqlite-vec stores, stores what it refuses, or says it in other words.

Also every difference that docs/howto/sqlite-vec.md lists for INSERT, UPDATE and DELETE: sqlite-vec
is shown to do it one way, vecsql the other.
"""

from __future__ import annotations

import pytest

from tests.support.vec0_pair import Pair

COLUMNS = "e float[2], l text, y integer, f float, b boolean, p integer partition key, +x text"


@pytest.fixture
def pair():
    p = Pair()
    p.same(f"CREATE VIRTUAL TABLE a USING vec0({COLUMNS})")
    p.same("CREATE VIRTUAL TABLE i USING vec0(id integer primary key, e float[2], m integer)")
    p.same("INSERT INTO a VALUES (1, '[1, 1]', 't', 1, 1.5, 1, 7, 'x')")
    p.same("INSERT INTO a VALUES (2, '[2, 2]', 'u', 2, 2.5, 0, NULL, NULL)")
    for n in range(5):
        p.same("INSERT INTO i VALUES (?, ?, ?)", (n, f"[{n}, {n}]", n * n))
    yield p
    p.close()


GOOD = {"e": "'[1, 1]'", "l": "'t'", "y": "1", "f": "1.5", "b": "1", "p": "7", "x": "'x'"}


def insert(**values: str) -> str:
    row = GOOD | values
    return f"INSERT INTO a({', '.join(row)}) VALUES ({', '.join(row.values())})"


@pytest.mark.parametrize(
    "values",
    [
        {"e": "NULL"},
        {"e": "5"},
        {"e": "1.5"},
        {"e": "'[1]'"},
        {"e": "'[1, 2, 3]'"},
        {"e": "'[]'"},
        {"e": "''"},
        {"e": "'x'"},
        {"e": "x''"},
        {"e": "x'00'"},
        {"e": "zeroblob(12)"},
        {"e": "vec_bit(x'00')"},
        {"e": "vec_int8('[1, 2]')"},
        {"l": "5"},
        {"l": "NULL"},
        {"l": "x'00'"},
        {"y": "'1'"},
        {"y": "1.0"},
        {"y": "NULL"},
        {"f": "1"},
        {"f": "'1.5'"},
        {"f": "NULL"},
        {"b": "2"},
        {"b": "-1"},
        {"b": "1.0"},
        {"b": "NULL"},
        {"p": "'a'"},
        {"p": "1.5"},
        {"p": "x'00'"},
        {"x": "5"},
        {"x": "x'00'"},
        {"x": "1.5"},
        {"distance": "5"},
        {"k": "5"},
        {"rowid": "1"},
        {"rowid": "'x'"},
        {"rowid": "2.0"},
        {"rowid": "x'00'"},
        {"e": "NULL", "l": "5"},
        {"rowid": "1", "l": "5"},
        {"p": "'a'", "e": "NULL"},
        {"x": "5", "l": "5"},
    ],
)
def test_a_bad_value_is_refused_in_the_same_words(pair, values):
    pair.fails(insert(**values))
    pair.same("SELECT * FROM a")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"rowid": "NULL"},
        {"rowid": "-5"},
        {"rowid": "9223372036854775807"},
        {"e": "vec_f32('[3, 4]')"},
        {"e": "zeroblob(8)"},
        {"e": "vec_slice('[1, 2, 3]', 0, 2)"},
        {"e": "json_array(1, 2)"},
        {"l": "''"},
        {"l": "'é — ' || hex(zeroblob(100))"},
        {"y": "-9223372036854775808"},
        {"f": "-0.0"},
        {"f": "1e300"},
        {"b": "0"},
        {"b": "true"},
        {"p": "NULL"},
        {"x": "NULL"},
        {"x": "''"},
    ],
)
def test_a_good_value_is_stored_as_it_is(pair, values):
    pair.same(insert(**values))
    pair.same("SELECT *, typeof(e), typeof(l), typeof(y), typeof(f), typeof(b), typeof(p) FROM a")
    pair.same("SELECT last_insert_rowid()")
    pair.same("SELECT * FROM a WHERE e MATCH '[0.1, 0.2]' AND k = 10")


def test_values_that_are_left_out(pair):
    pair.fails("INSERT INTO a DEFAULT VALUES")
    pair.fails("INSERT INTO a(e) VALUES ('[1, 2]')")
    pair.same("INSERT INTO i(e, m) VALUES ('[1, 2]', 1), ('[1, 2]', 2)")
    pair.same("SELECT id, m FROM i")


def test_keys_are_never_given_twice(pair):
    pair.same("DELETE FROM i WHERE id = 4")
    pair.same("INSERT INTO i(e, m) VALUES ('[1, 2]', 1)")
    pair.same("SELECT id FROM i")
    pair.same("DELETE FROM i")
    pair.same("INSERT INTO i(e, m) VALUES ('[1, 2]', 1)")
    assert pair.same("SELECT id FROM i") == ((6,),)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE i SET e = '[9, 9]' WHERE id = 2",
        "UPDATE i SET e = vec_f32('[9, 9]') WHERE id = 2",
        "UPDATE i SET m = 7 WHERE id = 2",
        "UPDATE i SET m = m + 1",
        "UPDATE i SET e = '[9, 8]', m = 9 WHERE id IN (1, 3)",
        "UPDATE i SET m = 1 WHERE id = 77",
        "UPDATE i SET distance = 3 WHERE id = 2",
        "UPDATE i SET e = vec_add(e, '[1, 1]') WHERE m > 1",
        "UPDATE a SET l = 'other' WHERE rowid = 1",
        "UPDATE a SET l = 'longer than twelve bytes' WHERE rowid = 1",
        "UPDATE a SET y = 5, f = 2.5, b = 0, x = 'z' WHERE rowid = 2",
        "UPDATE a SET x = NULL WHERE rowid = 1",
        "UPDATE a SET x = 5 WHERE rowid = 1",
        "DELETE FROM i WHERE id = 2",
        "DELETE FROM i WHERE id = 77",
        "DELETE FROM i WHERE m > 1",
        "DELETE FROM i",
        "DELETE FROM a WHERE rowid = 1",
        "DELETE FROM a WHERE p = 7",
        "DELETE FROM a WHERE x IS NULL",
        "INSERT INTO i SELECT id + 10, e, m FROM i",
        "INSERT INTO i(e, m) SELECT vec_normalize(e), 5 FROM i WHERE id > 0",
    ],
)
def test_changes_have_the_same_outcome(pair, sql):
    pair.same(sql)
    pair.same("SELECT changes()")
    pair.same("SELECT * FROM a")
    pair.same("SELECT * FROM i")
    pair.same("SELECT id FROM i WHERE e MATCH '[3.3, 3.1]' AND k = 3")


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO i VALUES (2, '[1, 1]', 1)",
        "INSERT INTO i VALUES ('x', '[1, 1]', 1)",
        "UPDATE i SET e = '[9]' WHERE id = 2",
        "UPDATE i SET e = x'0000' WHERE id = 2",
        "UPDATE i SET e = 'x' WHERE id = 2",
        "UPDATE i SET e = 7 WHERE id = 2",
        "UPDATE i SET e = '[1, 2, 3]' WHERE id = 2",
        "UPDATE i SET e = '[]' WHERE id = 2",
        "UPDATE i SET e = '' WHERE id = 2",
        "UPDATE i SET e = x'' WHERE id = 2",
        "UPDATE i SET e = zeroblob(4) WHERE id = 2",
        "UPDATE i SET e = vec_f32('[1]') WHERE id = 2",
        "UPDATE i SET e = vec_bit(x'AABBCCDD') WHERE id = 2",
        "UPDATE i SET e = vec_bit(x'AA') WHERE id = 2",
        "UPDATE i SET e = vec_int8('[1, 2, 3]') WHERE id = 2",
        "UPDATE i SET e = '['",
        "UPDATE i SET m = 'x' WHERE id = 2",
        "UPDATE i SET m = NULL WHERE id = 2",
        "UPDATE a SET b = 5 WHERE rowid = 1",
        "UPDATE a SET f = 5 WHERE rowid = 1",
        "UPDATE a SET l = 5 WHERE rowid = 1",
        "INSERT INTO i VALUES (100, '[1, 1]', 1), (101, '[1]', 1)",
        "INSERT INTO i(id, e, m) VALUES (100, '[1, 1]', 1) ON CONFLICT DO NOTHING",
    ],
)
def test_bad_changes_are_refused_in_the_same_words(pair, sql):
    pair.fails(sql)
    pair.same("SELECT * FROM a")
    pair.same("SELECT * FROM i")


def test_transactions_and_savepoints(pair):
    for sql in (
        "BEGIN",
        "INSERT INTO i VALUES (50, '[0.5, 0.5]', 1)",
        "SAVEPOINT s",
        "DELETE FROM i WHERE id < 3",
        "ROLLBACK TO s",
        "UPDATE i SET e = '[7, 7]' WHERE id = 0",
        "RELEASE s",
        "COMMIT",
        "BEGIN",
        "DELETE FROM i",
        "ROLLBACK",
    ):
        pair.same(sql)
        pair.same("SELECT id, distance FROM i WHERE e MATCH '[0.4, 0.6]' AND k = 5")


# --- TEXT keys -----------------------------------------------------------------------------------


@pytest.fixture
def texts(pair):
    pair.same(
        "CREATE VIRTUAL TABLE t USING vec0(e float[2], m integer, id text primary key, +x blob)"
    )
    for n, key in enumerate(["a", "B", "b", "", "é", "10", "a long key of more than twelve bytes"]):
        pair.same("INSERT INTO t(id, e, m) VALUES (?, ?, ?)", (key, f"[{n}, {n}]", n))
    return pair


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t(id, e, m) VALUES ('a', '[1, 1]', 1)",
        "INSERT INTO t(id, e, m) VALUES (5, '[1, 1]', 1)",
        "INSERT INTO t(id, e, m) VALUES (NULL, '[1, 1]', 1)",
        "INSERT INTO t(id, e, m) VALUES (x'61', '[1, 1]', 1)",
        "INSERT INTO t(e, m) VALUES ('[1, 1]', 1)",
        "UPDATE t SET id = 'z' WHERE id = 'a'",
        "UPDATE t SET id = 'b' WHERE id = 'a'",
        "UPDATE t SET e = '[1]' WHERE id = 'a'",
    ],
)
def test_text_keys_are_refused_in_the_same_words(texts, sql):
    texts.fails(sql)
    texts.same("SELECT * FROM t")


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t(id, e, m) VALUES ('new', '[1, 1]', 1)",
        "INSERT INTO t(id, e, m) VALUES ('A', '[1, 1]', 1)",
        "UPDATE t SET e = '[0.5, 0.5]', m = 9 WHERE id = 'a'",
        "UPDATE t SET m = m + 1",
        "UPDATE t SET id = id, m = 3",
        "UPDATE t SET m = 1 WHERE id = 'nobody'",
        "DELETE FROM t WHERE id = 'b'",
        "DELETE FROM t WHERE id = 'nobody'",
        "DELETE FROM t WHERE m > 2",
        "DELETE FROM t",
    ],
)
def test_changes_by_text_keys_have_the_same_outcome(texts, sql):
    texts.same(sql)
    for query in (
        "SELECT * FROM t",
        "SELECT id, m FROM t WHERE id = 'a'",
        "SELECT id FROM t WHERE id = 'nobody'",
        "SELECT id FROM t WHERE id IN ('a', 'b', 'nobody')",
        "SELECT id FROM t WHERE id > 'a'",
        "SELECT id, distance FROM t WHERE e MATCH '[2.2, 2.1]' AND k = 3",
        "SELECT * FROM t WHERE e MATCH '[2.2, 2.1]' AND k = 3 AND m > 2",
        "SELECT id FROM t ORDER BY id",
        "SELECT count(*) FROM t",
    ):
        texts.same(query)


def test_difference_a_missing_text_key_is_no_obstacle(texts):
    a, b = texts.differ(
        "SELECT id FROM t WHERE e MATCH '[0, 0]' AND k = 3 AND id IN ('a', 'é', 'nobody')"
    )
    assert a.rows == (("a",), ("é",))
    assert b.rows == ()


# --- differences ---------------------------------------------------------------------------------


def test_difference_or_replace_and_or_ignore_work(pair):
    a, b = pair.differ("INSERT OR REPLACE INTO i VALUES (2, '[8, 8]', 8)")
    assert not a.error
    assert b.error.endswith("UNIQUE constraint failed on i primary key")
    assert pair.ours.execute("SELECT m FROM i WHERE id = 2").fetchall() == [(8,)]
    a, b = pair.differ("INSERT OR IGNORE INTO i VALUES (2, '[9, 9]', 9)")
    assert not a.error
    assert b.error
    assert pair.ours.execute("SELECT m FROM i WHERE id = 2").fetchall() == [(8,)]


def test_difference_an_integer_key_can_be_changed(pair):
    pair.same("UPDATE i SET id = 200 WHERE id = 2")  # sqlite-vec says that it is done
    a, b = pair.differ("SELECT id FROM i WHERE e MATCH '[2, 2]' AND k = 1")
    assert (a.rows, b.rows) == (((200,),), ((2,),))


def test_difference_a_table_with_a_partition_key_can_be_updated(pair):
    a, b = pair.differ("UPDATE a SET l = 'z'")
    assert not a.error
    assert "UPDATE on partition key columns are not supported yet" in b.error
    a, b = pair.differ("UPDATE a SET p = 8 WHERE rowid = 1")
    assert not a.error
    assert b.error
    assert pair.ours.execute("SELECT l, p FROM a").fetchall() == [("z", 8), ("z", None)]
    _, b = pair.differ("UPDATE a SET p = 'x' WHERE rowid = 1")
    assert "UPDATE" in b.error


def test_difference_a_vector_cannot_become_null(pair):
    a, b = pair.differ("UPDATE i SET e = NULL WHERE id = 2")
    assert a.error.endswith(
        'Updated vector for the "e" column is invalid: '
        "Input must have type BLOB (compact format) or TEXT (JSON), found NULL"
    )
    assert not b.error  # and nothing is changed
    pair.same("SELECT * FROM i")


def test_difference_no_vector_holds_nan_or_infinity(pair):
    for vector in ("[NaN, 1]", "[1, inf]", "[1e39, 0]"):
        a, b = pair.differ("INSERT INTO i VALUES (60, ?, 1)", (vector,))
        assert 'Inserted vector for the "e" column is invalid: ' in a.error
        assert not b.error
        pair.theirs.execute("DELETE FROM i WHERE id = 60")


def test_difference_json_is_read_strictly(pair):
    for vector in ("[1, 2", "[1 2]", "[1, 2,]", "[1, 2] x"):
        a, b = pair.differ("INSERT INTO i VALUES (60, ?, 1)", (vector,))
        assert 'Inserted vector for the "e" column is invalid: JSON parsing error: ' in a.error
        assert not b.error
        pair.theirs.execute("DELETE FROM i WHERE id = 60")


def test_difference_a_renamed_table_works(pair):
    pair.same("ALTER TABLE i RENAME TO j")
    a, b = pair.differ("SELECT count(*) FROM j")
    assert a.rows == ((5,),)
    assert "no such table: main.j_rowids" in b.error


def test_difference_a_refused_statement_leaves_nothing_in_its_transaction(pair):
    for sql in ("BEGIN", "INSERT INTO i VALUES (70, '[1, 1]', 1)"):
        pair.same(sql)
    pair.fails("INSERT INTO i VALUES (71, '[1, 1]', 'x')")
    pair.same("COMMIT")
    a, b = pair.differ("SELECT count(*) FROM i")
    assert (a.rows, b.rows) == (((6,),), ((7,),))


def test_difference_int8_and_bit_vectors_can_be_updated(pair):
    pair.same("CREATE VIRTUAL TABLE q USING vec0(e int8[2], b bit[8])")
    pair.same("INSERT INTO q(rowid, e, b) VALUES (1, vec_int8('[1, 2]'), vec_bit(x'0f'))")
    for sql in (
        "UPDATE q SET e = vec_int8('[3, 4]') WHERE rowid = 1",
        "UPDATE q SET b = vec_bit(x'f0')",
        "UPDATE q SET e = x'0506', b = x'ff'",
    ):
        a, b = pair.differ(sql)
        assert not a.error
        assert b.error
    assert pair.ours.execute("SELECT hex(e), hex(b) FROM q").fetchall() == [("0506", "FF")]


def test_difference_a_scan_gives_rows_in_the_order_of_their_keys(pair):
    pair.same("INSERT INTO i VALUES (-3, '[1, 1]', 1)")
    a, b = pair.differ("SELECT id FROM i")
    assert a.rows == ((-3,), (0,), (1,), (2,), (3,), (4,))
    assert b.rows == ((0,), (1,), (2,), (3,), (4,), (-3,))


def test_difference_the_rowid_has_all_its_names(pair):
    a, b = pair.differ("SELECT _rowid_ FROM a WHERE e MATCH '[1, 1]' AND k = 1")
    assert a.rows == ((1,),)
    assert "Internal sqlite-vec error" in b.error
    a, b = pair.differ("SELECT rowid FROM i WHERE id = 2")
    assert a.rows == ((2,),)
    assert "no such column: rowid" in b.error


def test_commands_of_ours_work(pair):
    pair.ours.execute("INSERT INTO i(i) VALUES ('integrity-check')")
    pair.ours.execute("INSERT INTO i(i) VALUES ('optimize')")
    assert pair.ours.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
