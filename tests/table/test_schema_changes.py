# Risk: DDL, VACUUM, RENAME or DROP in or between transactions loses the index or its edits.
from __future__ import annotations

import itertools
import random

import apsw
import numpy as np
import pytest

from tests.support.ddl_model import Program, random_step
from tests.support.oracle import (
    CREATE,
    START,
    blob,
    change,
    check,
    command,
    connect,
    drop,
    new_file,
    point,
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


# --- every order of DDL and savepoints ------------------------------------------------------------

STEPS = {
    "put": lambda p: p.put("t", 1),
    "put 3": lambda p: p.put("t", 2, 3),
    "delete": lambda p: p.delete("t", 1),
    "put docs": lambda p: p.put("docs", 1),
    "create": lambda p: p.create("t", "hnsw"),
    "drop": lambda p: p.drop("t"),
    "rename": lambda p: p.rename("t", "u"),
    "rename back": lambda p: p.rename("u", "t"),
    "add column": lambda p: p.alter_docs(False),
    "drop index": lambda p: p.drop("i"),
    "savepoint": lambda p: p.savepoint(),
    "rollback to": lambda p: p.rollback_to(),
    "rollback to first": lambda p: p.rollback_to(0),
    "release": lambda p: p.release(),
}


def run_orders(length, start):
    """All programs of that many steps after a savepoint, in one database: each is committed."""
    for steps in itertools.product(STEPS, repeat=length):
        p = Program(connect(":memory:"))
        try:
            if start:
                p.create("t", "hnsw")
                p.put("t", 1, 3)
            p.create_docs()
            p.index_docs("i")
            p.put("docs", 1, 2)
            p.begin()
            p.put_other()
            p.put("t", 4)
            p.put("docs", 4)
            p.savepoint()
            for step in steps:
                STEPS[step](p)
            p.commit()
            p.check()
        except Exception as e:
            raise AssertionError(f"{e}: {steps}: {'; '.join(p.log)}") from e
        finally:
            p.conn.close()


@pytest.mark.slow
@pytest.mark.parametrize("start", [True, False], ids=["t there", "no t"])
def test_every_short_order_of_ddl_and_savepoints_commits_what_it_says(start):
    run_orders(2, start)


@pytest.mark.slow
@pytest.mark.parametrize("start", [True, False], ids=["t there", "no t"])
def test_every_order_of_ddl_and_savepoints_commits_what_it_says(start):
    run_orders(3, start)


TAKEN_BACK = {
    "dropped and made again": ["drop", "create", "put"],
    "dropped and made with the same rows": ["drop", "create", "put 3", "put"],
    "made anew twice": ["drop", "create", "put", "drop", "create", "put 3"],
    "renamed, and another made": ["rename", "create", "put"],
}


@pytest.mark.parametrize("inside", TAKEN_BACK)
@pytest.mark.parametrize("last", ["put", "delete", "put 3", "savepoint", None])
def test_what_was_made_in_a_savepoint_that_is_rolled_back_leaves_nothing(inside, last):
    """Nobody tells the new table: its edits must not reach the old one."""
    p = Program(connect(":memory:"))
    p.create("t", "hnsw")
    p.put("t", 1, 3)
    p.savepoint()
    p.put_other()
    for step in [*TAKEN_BACK[inside], "rollback to", *([last] if last else [])]:
        STEPS[step](p)
    p.commit()
    p.check()


@pytest.mark.parametrize("last", ["put", "savepoint", "create", None])
def test_a_table_that_was_made_and_taken_back_costs_no_other_row(last):
    p = Program(connect(":memory:"))
    p.begin()
    p.put_other()
    for step in ["savepoint", "create", "put", "rollback to", *([last] if last else [])]:
        STEPS[step](p)
    p.put("t", 2)
    p.commit()
    p.check()
    assert p.other == 1


def run_random(path, seeds):
    for seed in seeds:
        rng = random.Random(seed)
        p = Program(*[connect(path) for _ in range(2 if path != ":memory:" else 1)])
        try:
            often = rng.choice([0, 0.1, 0.5])
            for _ in range(rng.choice([8, 20, 40])):
                random_step(p, rng)
                if rng.random() < often:
                    p.check()
            p.commit()
            p.check()
            for table in (*p.tables, *p.over, "other"):
                p.conn.execute(f"DROP TABLE {table}")
            p.conn.execute("DROP TABLE IF EXISTS docs")
        except Exception as e:
            raise AssertionError(f"seed {seed}: {e}: {'; '.join(p.log)}") from e
        finally:
            for conn in p.conns:
                conn.close()


@pytest.mark.parametrize("journal", ["memory", "wal", "delete"])
@pytest.mark.parametrize("seeds", [range(40), pytest.param(range(40, 100), marks=pytest.mark.slow)])
def test_random_programs_of_ddl_and_savepoints(tmp_path, journal, seeds):
    print("seeds", seeds)
    path = ":memory:" if journal == "memory" else tmp_path / "a.db"
    if journal != "memory":
        connect(path).execute(f"PRAGMA journal_mode = {journal}").close()
    run_random(path, seeds)


@pytest.mark.slow
@pytest.mark.parametrize("journal", ["memory", "wal"])
def test_thousands_of_random_programs_of_ddl_and_savepoints(tmp_path, journal):
    print("seeds 100 to 3099")
    path = ":memory:" if journal == "memory" else tmp_path / "a.db"
    if journal != "memory":
        connect(path).execute(f"PRAGMA journal_mode = {journal}").close()
    run_random(path, range(100, 3100))


def test_edits_of_another_definition_of_the_table_are_not_lost(conn):
    """The content table gets a column while edits wait: its index is defined anew meanwhile."""
    conn.execute("CREATE TABLE docs(id INTEGER PRIMARY KEY, embedding BLOB)")
    conn.execute("CREATE VIRTUAL TABLE i USING vecsql(content=docs, embedding FLOAT[3])")
    conn.execute("BEGIN")
    rows = {}
    for rowid in range(1, 5):
        conn.execute("INSERT INTO docs(id, embedding) VALUES(?, ?)", (rowid, blob(point(rowid))))
        rows |= points([rowid])
        conn.execute(f"ALTER TABLE docs ADD COLUMN x{rowid}")
        conn.execute("DELETE FROM docs WHERE id = ?", (rowid - 2,))
        rows.pop(rowid - 2, None)
        found = conn.execute("SELECT id, x1 FROM i WHERE embedding MATCH '[0,0,0]' AND k = 9")
        assert sorted(found) == [(r, None) for r in sorted(rows)]
    conn.execute("COMMIT")
    conn.execute("INSERT INTO i(i) VALUES('integrity-check')")


@pytest.mark.parametrize("again", ["BEGIN", "SAVEPOINT s; RELEASE s", "SELECT * FROM t"])
def test_a_flush_that_fails_in_a_table_that_is_taken_back_costs_no_other_row(conn, again):
    """Nobody tells the new table that its savepoint is rolled back."""
    conn.execute("BEGIN; INSERT INTO other(a) VALUES(5); SAVEPOINT s; DROP TABLE t")
    conn.execute("CREATE VIRTUAL TABLE t USING vecsql(embedding FLOAT[300] codec=none)")
    conn.execute("INSERT INTO t(embedding) VALUES(vec_f32(zeroblob(1200)))")
    conn.limit(apsw.SQLITE_LIMIT_LENGTH, 1000)
    with pytest.raises(apsw.Error):
        conn.execute("SAVEPOINT inner")
    conn.limit(apsw.SQLITE_LIMIT_LENGTH, 1_000_000)
    with pytest.raises(apsw.Error):
        conn.execute(
            "SELECT rowid FROM t WHERE embedding MATCH zeroblob(1200) AND k = 1"
        ).fetchall()
    conn.execute("ROLLBACK TO s")
    if again != "BEGIN":
        conn.execute(again)
    put(conn, [100])
    conn.execute("COMMIT")
    check(conn, START | points([100]))
    assert conn.execute("SELECT count(*) FROM other").get == 1


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK TO s; COMMIT", "ROLLBACK"])
def test_a_content_table_that_is_renamed_while_edits_wait_is_followed(conn, end):
    conn.execute("CREATE TABLE docs(id INTEGER PRIMARY KEY, u UNIQUE, embedding BLOB)")
    conn.execute("CREATE VIRTUAL TABLE i USING vecsql(content=docs, embedding FLOAT[3])")
    conn.execute("INSERT INTO docs VALUES(1, 'a', ?)", (blob(point(1)),))
    conn.execute("BEGIN; INSERT INTO other(a) VALUES(5); SAVEPOINT s")
    conn.execute("REPLACE INTO docs VALUES(2, 'a', ?)", (blob(point(2)),))  # removes row 1
    conn.execute("ALTER TABLE docs RENAME TO papers")
    conn.execute(end)
    rows, others = {"COMMIT": ([2], 1), "ROLLBACK": ([1], 0)}.get(end, ([1], 1))
    assert conn.execute("SELECT count(*) FROM other").get == others
    found = conn.execute("SELECT id FROM i WHERE embedding MATCH '[0,0,0]' AND k = 9").fetchall()
    assert [r for (r,) in found] == rows
    conn.execute("INSERT INTO i(i) VALUES('integrity-check')")


def test_a_content_table_that_is_dropped_while_edits_wait_costs_no_other_row(conn):
    conn.execute("CREATE TABLE docs(id INTEGER PRIMARY KEY, u UNIQUE, embedding BLOB)")
    conn.execute("CREATE VIRTUAL TABLE i USING vecsql(content=docs, embedding FLOAT[3])")
    conn.execute("INSERT INTO docs VALUES(1, 'a', ?)", (blob(point(1)),))
    conn.execute("BEGIN; INSERT INTO other(a) VALUES(5)")
    conn.execute("REPLACE INTO docs VALUES(2, 'a', ?)", (blob(point(2)),))
    conn.execute("DROP TABLE docs; COMMIT")
    assert conn.execute("SELECT count(*) FROM other").get == 1
    with pytest.raises(apsw.SQLError, match="docs"):
        conn.execute("SELECT id FROM i WHERE embedding MATCH '[0,0,0]' AND k = 1").fetchall()
    conn.execute("DROP TABLE i")
