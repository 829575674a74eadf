# Risk: DDL, VACUUM, RENAME or DROP in or between transactions loses the index or its edits.
from __future__ import annotations

import apsw
import numpy as np
import pytest

from tests.oracle import (
    CREATE,
    START,
    change,
    check,
    command,
    connect,
    drop,
    new_file,
    points,
    put,
    without,
)

# --- DDL, ANALYZE, VACUUM -------------------------------------------------------------------------

DDL = [
    "CREATE TABLE made(a)",
    "ALTER TABLE other ADD COLUMN b",
    "ALTER TABLE other RENAME TO another",
    "CREATE INDEX made_index ON other(a)",
    "CREATE VIEW made_view AS SELECT * FROM t",
    "DROP TABLE other",
    "ANALYZE",
    "REINDEX",
    "PRAGMA user_version = 5",
    "CREATE VIRTUAL TABLE made USING vecsql(e FLOAT[2])",
]


@pytest.mark.parametrize("ddl", DDL)
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_ddl_between_writes_of_one_transaction(conn, ddl, end):
    conn.execute("BEGIN")
    rows = change(conn)
    conn.execute(ddl)
    put(conn, [300])
    check(conn, rows | points([300]))
    drop(conn, [300, 1])
    conn.execute(end)
    check(conn, without(rows, 1) if end == "COMMIT" else START)
    put(conn, [301])


@pytest.mark.parametrize("ddl", DDL)
def test_rollback_to_over_ddl(conn, ddl):
    conn.execute("BEGIN")
    rows = change(conn)
    conn.execute("SAVEPOINT s")
    put(conn, [300])
    conn.execute(ddl)
    put(conn, [301])
    conn.execute("ROLLBACK TO s")
    check(conn, rows)
    put(conn, [302])
    conn.execute("COMMIT")
    check(conn, rows | points([302]))


@pytest.mark.parametrize("ddl", [*DDL, "VACUUM"])
def test_ddl_elsewhere_between_our_statements(conn, second, ddl):
    check(conn, START)
    second.execute(ddl)
    check(conn, change(conn))


@pytest.mark.parametrize("ddl", DDL)
def test_ddl_elsewhere_between_begin_and_the_first_write(conn, second, ddl):
    check(conn, START)
    conn.execute("BEGIN")
    second.execute(ddl)
    rows = change(conn)
    check(conn, rows)
    conn.execute("COMMIT")
    check(second, rows)


@pytest.mark.parametrize("ddl", [*DDL, "VACUUM"])
def test_ddl_elsewhere_is_refused_while_we_write_and_harms_nothing(conn, second, ddl):
    check(second, START)
    conn.execute("BEGIN IMMEDIATE")
    rows = change(conn)
    with pytest.raises(apsw.BusyError):
        second.execute(ddl)
    check(conn, rows)
    conn.execute("COMMIT")
    check(conn, rows)
    check(second, rows)


@pytest.mark.parametrize("ddl", [*DDL, "VACUUM"])
def test_ddl_elsewhere_while_we_read_leaves_our_snapshot(path, ddl):
    conn, second = new_file(path), connect(path)
    conn.execute("BEGIN")
    check(conn, START)
    put(second, [100])
    second.execute(ddl)
    put(second, [101])
    check(conn, START)
    with pytest.raises(apsw.BusyError):
        put(conn, [102])
    check(conn, START)
    conn.execute("ROLLBACK")
    check(conn, START | points([100, 101]))
    conn.close()
    second.close()


def test_vacuum_in_a_transaction_is_refused_and_harms_nothing(conn):
    conn.execute("BEGIN")
    rows = change(conn)
    with pytest.raises(apsw.SQLError):
        conn.execute("VACUUM")
    check(conn, rows)
    conn.execute("COMMIT")
    check(conn, rows)


def test_vacuum_keeps_the_index(conn, second):
    rows = change(conn)
    conn.execute("VACUUM")
    check(conn, rows)
    check(second, rows)
    put(conn, [300])
    check(second, rows | points([300]))


def test_vacuum_that_changes_the_page_size_keeps_the_index(path):
    conn = new_file(path, "delete")
    rows = change(conn)
    conn.execute("PRAGMA page_size = 4096; VACUUM")
    assert conn.execute("PRAGMA page_size").fetchall() == [(4096,)]
    check(conn, rows)
    command(conn, "optimize")
    check(conn, rows)
    conn.close()


# --- RENAME and DROP ------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "ROLLBACK TO"])
def test_rename_with_pending_writes(conn, end):
    conn.execute("BEGIN")
    rows = change(conn)
    conn.execute("SAVEPOINT s")
    put(conn, [300])
    conn.execute("ALTER TABLE t RENAME TO u")
    put(conn, [301], table="u")
    check(conn, rows | points([300, 301]), "u")
    if end == "COMMIT":
        conn.execute("COMMIT")
        check(conn, rows | points([300, 301]), "u")
        put(conn, [302], table="u")
        check(conn, rows | points([300, 301, 302]), "u")
        return
    conn.execute("ROLLBACK TO s" if end == "ROLLBACK TO" else "ROLLBACK")
    rows = rows if end == "ROLLBACK TO" else START
    check(conn, rows)
    put(conn, [302])
    if conn.in_transaction:
        conn.execute("COMMIT")
    check(conn, rows | points([302]))


def test_rename_back_and_forth_in_one_transaction(conn):
    conn.execute("BEGIN")
    rows = change(conn)
    for a, b in (("t", "u"), ("u", "t"), ("t", "v"), ("v", "t")):
        conn.execute(f"ALTER TABLE {a} RENAME TO {b}")
        check(conn, rows, b)
    put(conn, [300])
    conn.execute("COMMIT")
    check(conn, rows | points([300]))


def test_a_name_that_was_renamed_away_can_be_taken_by_another_table(conn):
    conn.execute("BEGIN")
    rows = change(conn)
    conn.execute("ALTER TABLE t RENAME TO u")
    conn.execute(CREATE.format(table="t"))
    put(conn, range(4), 7)
    check(conn, rows, "u")
    check(conn, points(range(4), 7))
    conn.execute("COMMIT")
    check(conn, rows, "u")
    check(conn, points(range(4), 7))


def test_rename_elsewhere_is_followed(conn, second):
    check(second, START)
    conn.execute("ALTER TABLE t RENAME TO u")
    check(second, START, "u")
    put(second, [100], table="u")
    check(conn, START | points([100]), "u")


def test_rename_onto_a_taken_shadow_name_fails_and_harms_nothing(conn):
    conn.execute("CREATE TABLE u_map0(a)")
    conn.execute("BEGIN")
    rows = change(conn)
    with pytest.raises(apsw.SQLError):
        conn.execute("ALTER TABLE t RENAME TO u")
    check(conn, rows)
    put(conn, [300])
    conn.execute("COMMIT")
    check(conn, rows | points([300]))


def test_drop_then_rollback_brings_the_table_back(conn):
    conn.execute("BEGIN")
    change(conn)
    conn.execute("DROP TABLE t")
    conn.execute("ROLLBACK")
    check(conn, START)
    check(conn, change(conn))


def test_drop_then_rollback_to_brings_back_the_pending_writes(conn):
    """SQLite sends no xRollbackTo here: the object that would get it was destroyed."""
    conn.execute("BEGIN")
    put(conn, [100])
    conn.execute("SAVEPOINT s")
    put(conn, [101])
    conn.execute("DROP TABLE t")
    conn.execute("ROLLBACK TO s")
    check(conn, START | points([100]))
    put(conn, [102])
    check(conn, START | points([100, 102]))
    conn.execute("COMMIT")
    check(conn, START | points([100, 102]))


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_drop_and_create_again_in_one_transaction(conn, end):
    conn.execute("BEGIN")
    put(conn, [100])
    conn.execute("DROP TABLE t")
    conn.execute(CREATE.format(table="t"))
    put(conn, range(20))  # the same statements as at first: the same stamps
    put(conn, [5000])
    check(conn, START | points([5000]))
    conn.execute(end)
    rows = START | points([5000]) if end == "COMMIT" else START
    check(conn, rows)
    put(conn, [6000])
    check(conn, rows | points([6000]))


def test_drop_elsewhere_and_create_again_with_other_columns(conn, second):
    check(second, START)
    conn.execute("DROP TABLE t")
    conn.execute("CREATE VIRTUAL TABLE t USING vecsql(embedding FLOAT[3], tag TEXT)")
    conn.execute("INSERT INTO t(rowid, embedding) VALUES(4, '[1,2,3]')")
    check(second, {4: np.float32([1, 2, 3])})


def test_drop_with_an_open_cursor_is_refused(conn):
    cursor = conn.execute("SELECT id FROM t")
    next(cursor)
    with pytest.raises(apsw.LockedError):
        conn.execute("DROP TABLE t")
    cursor.close()
    check(conn, START)
    conn.execute("DROP TABLE t")
