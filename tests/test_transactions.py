# Risk: the index in memory and the database part ways over ROLLBACK, SAVEPOINT, DDL or a failure.
from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from tests.oracle import (
    CREATE,
    Peer,
    blob,
    check,
    check_here,
    command,
    connect,
    contents,
    drop,
    graph_pages,
    knn,
    new_file,
    point,
    points,
    put,
    same_answer,
    shadow_dump,
    stored,
)

START = points(range(20))


@pytest.fixture(params=["wal", "delete"])
def journal(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.db"


@pytest.fixture
def conn(path: Path, journal: str) -> Iterator[apsw.Connection]:
    """A file in which t holds START."""
    c = new_file(path, journal)
    yield c
    c.close()


@pytest.fixture
def second(conn: apsw.Connection, path: Path) -> Iterator[apsw.Connection]:
    """Another connection to the same file."""
    c = connect(path)
    yield c
    c.close()


def move(conn: apsw.Connection, rowids: Any, version: int = 1, table: str = "t") -> None:
    for i in rowids:
        args = (blob(point(i, version)), i)
        conn.execute(f"UPDATE {table} SET embedding = ? WHERE id = ?", args)


def without(rows: dict[int, Any], *rowids: int) -> dict[int, Any]:
    return {i: v for i, v in rows.items() if i not in rowids}


def change(conn: apsw.Connection) -> dict[int, Any]:
    """A bit of everything; returns what START becomes."""
    put(conn, range(100, 110))
    drop(conn, [0, 3, 104])
    move(conn, [7, 105])
    conn.execute("UPDATE t SET id = 200 WHERE id = 8")
    rows = without(START | points(range(100, 110)), 0, 3, 104, 8)
    return rows | points([7, 105], 1) | {200: START[8]}


BAD_ROWS = "INSERT INTO t(id, embedding) VALUES(50, '[1,2,3]'), (51, '[1,2]')"


# --- the oracle itself ----------------------------------------------------------------------------


def test_the_check_notices_a_lost_map_row(conn):
    conn.execute("DELETE FROM t_map0 WHERE rowid = 5")
    with pytest.raises(AssertionError):
        check(conn, START)


def test_the_check_notices_a_row_that_only_the_row_table_has(conn):
    conn.execute("INSERT INTO t_rows(rowid, c2) SELECT 999, c2 FROM t_rows LIMIT 1")
    with pytest.raises(AssertionError):
        check(conn, START | {999: START[0]})


# --- ROLLBACK and COMMIT --------------------------------------------------------------------------


def test_commit_keeps_what_the_transaction_saw(conn):
    conn.execute("BEGIN")
    rows = change(conn)
    check(conn, rows)
    conn.execute("COMMIT")
    check(conn, rows)


def test_rollback_restores_rows_and_neighbours(conn):
    conn.execute("BEGIN")
    check(conn, change(conn))
    conn.execute("ROLLBACK")
    check(conn, START)
    check(conn, change(conn))


def test_rollback_of_a_transaction_that_nobody_queried(conn):
    conn.execute("BEGIN")
    change(conn)
    conn.execute("ROLLBACK")
    check(conn, change(conn))


def test_rollback_after_flushes_that_savepoints_caused(conn):
    conn.execute("BEGIN")
    for i in range(40):  # more than the history holds
        conn.execute(f"SAVEPOINT s{i}")
        put(conn, [100 + i])
    check(conn, START | points(range(100, 140)))
    conn.execute("ROLLBACK")
    check(conn, START)


def test_rollback_of_create(conn):
    conn.execute("BEGIN")
    conn.execute(CREATE.format(table="u"))
    put(conn, range(5), table="u")
    check(conn, points(range(5)), "u")
    conn.execute("ROLLBACK")
    with pytest.raises(apsw.SQLError, match="no such table"):
        conn.execute("SELECT * FROM u")
    names = conn.execute("SELECT name FROM sqlite_schema WHERE name GLOB 'u*'").fetchall()
    assert names == []
    conn.execute(CREATE.format(table="u"))
    put(conn, range(3), 1, table="u")
    check(conn, points(range(3), 1), "u")


def test_rollback_of_a_failed_statement_by_the_commit_hook(conn):
    conn.set_commit_hook(lambda: True)
    conn.execute("BEGIN")
    change(conn)
    with pytest.raises(apsw.ConstraintError):
        conn.execute("COMMIT")
    conn.set_commit_hook(None)
    assert not conn.in_transaction
    check(conn, START)
    check(conn, change(conn))


def test_commit_hook_vetoes_an_autocommit_insert(conn):
    conn.set_commit_hook(lambda: True)
    with pytest.raises(apsw.ConstraintError):
        put(conn, [100])
    conn.set_commit_hook(None)
    check(conn, START)
    put(conn, [100], 1)
    check(conn, START | points([100], 1))


def test_deferred_foreign_key_fails_the_commit_and_the_transaction_goes_on(conn):
    conn.execute(
        "PRAGMA foreign_keys = ON; CREATE TABLE parent(id INTEGER PRIMARY KEY);"
        "CREATE TABLE child(p REFERENCES parent DEFERRABLE INITIALLY DEFERRED)"
    )
    conn.execute("BEGIN; INSERT INTO child VALUES(1)")
    put(conn, [100])
    with pytest.raises(apsw.ConstraintError):
        conn.execute("COMMIT")
    put(conn, [101])
    check(conn, START | points([100, 101]))
    conn.execute("INSERT INTO parent VALUES(1); COMMIT")
    check(conn, START | points([100, 101]))


def busy_commit(conn: apsw.Connection, path: Path) -> Any:
    """COMMIT against a reader of the rollback journal; returns the reader."""
    reader = connect(path)
    reader.execute("BEGIN; SELECT * FROM other; SELECT count(*) FROM t").fetchall()
    with pytest.raises(apsw.BusyError):
        conn.execute("COMMIT")
    assert conn.in_transaction
    return reader


def test_commit_that_was_busy_can_be_repeated_after_more_writes(path):
    conn = new_file(path, "delete")
    conn.execute("BEGIN")
    rows = change(conn)
    reader = busy_commit(conn, path)
    check(conn, rows)
    put(conn, range(300, 305))
    drop(conn, [200])
    rows = without(rows | points(range(300, 305)), 200)
    check_here(reader, START)
    with pytest.raises(apsw.BusyError):
        conn.execute("COMMIT")
    reader.execute("COMMIT")
    conn.execute("COMMIT")
    check(conn, rows)
    check(reader, rows)
    reader.close()
    conn.close()


def test_commit_that_was_busy_can_be_rolled_back(path):
    conn = new_file(path, "delete")
    conn.execute("BEGIN")
    change(conn)
    reader = busy_commit(conn, path)
    put(conn, [300])
    conn.execute("ROLLBACK")
    check(conn, START)
    reader.close()
    check(conn, change(conn))
    conn.close()


# --- savepoints -----------------------------------------------------------------------------------


def test_rollback_to_restores_neighbours_at_each_depth(conn):
    states = [START]
    conn.execute("BEGIN")
    for depth in range(5):
        conn.execute(f"SAVEPOINT s{depth}")
        put(conn, [100 + depth])
        drop(conn, [depth])
        states.append(without(states[-1] | points([100 + depth]), depth))
        check(conn, states[-1])
    for depth in reversed(range(5)):
        conn.execute(f"ROLLBACK TO s{depth}")
        check(conn, states[depth])
    conn.execute("COMMIT")
    check(conn, START)


def test_rollback_to_an_outer_savepoint_skips_the_inner(conn):
    conn.execute("BEGIN")
    put(conn, [100])
    conn.execute("SAVEPOINT a")
    put(conn, [101])
    conn.execute("SAVEPOINT b")
    put(conn, [102])
    conn.execute("SAVEPOINT c")
    put(conn, [103])
    conn.execute("ROLLBACK TO a")
    check(conn, START | points([100]))
    put(conn, [101], 1)
    conn.execute("COMMIT")
    check(conn, START | points([100]) | points([101], 1))


def test_rollback_to_the_same_savepoint_again_and_again(conn):
    conn.execute("BEGIN; SAVEPOINT a")
    for version in range(25):
        put(conn, range(100, 103), version)
        conn.execute("ROLLBACK TO a")
    check(conn, START)
    put(conn, [100], 99)
    conn.execute("COMMIT")
    check(conn, START | points([100], 99))


def test_release_keeps_and_the_outer_rollback_takes_back(conn):
    conn.execute("BEGIN; SAVEPOINT a; SAVEPOINT b")
    put(conn, [100])
    conn.execute("RELEASE b")
    put(conn, [101])
    check(conn, START | points([100, 101]))
    conn.execute("ROLLBACK TO a")
    check(conn, START)
    put(conn, [102])
    conn.execute("RELEASE a; COMMIT")
    check(conn, START | points([102]))


def test_rollback_to_a_savepoint_that_the_module_never_saw(conn):
    conn.execute("BEGIN; SAVEPOINT a; SAVEPOINT b")
    rows = change(conn)
    check(conn, rows)
    conn.execute("ROLLBACK TO a")
    check(conn, START)
    put(conn, [300])
    conn.execute("COMMIT")
    check(conn, START | points([300]))


@pytest.mark.parametrize("before", [False, True], ids=["unread", "read before"])
def test_savepoint_as_the_outermost_transaction(conn, before):
    conn.execute("SAVEPOINT a")
    if before:
        check(conn, START)
    check(conn, change(conn))
    conn.execute("ROLLBACK TO a")
    check(conn, START)
    put(conn, [300])
    conn.execute("RELEASE a")
    assert not conn.in_transaction
    check(conn, START | points([300]))


def test_release_of_the_outermost_savepoint_commits(conn, second):
    conn.execute("SAVEPOINT a; SAVEPOINT b")
    put(conn, [100])
    conn.execute("RELEASE a")
    check(second, START | points([100]))


def test_rollback_to_of_an_empty_savepoint_changes_nothing(conn):
    conn.execute("BEGIN")
    rows = change(conn)
    conn.execute("SAVEPOINT a; ROLLBACK TO a")
    check(conn, rows)
    conn.execute("COMMIT")
    check(conn, rows)


# --- statements that fail -------------------------------------------------------------------------


@pytest.mark.parametrize("begin", [False, True], ids=["autocommit", "in a transaction"])
@pytest.mark.parametrize(
    "sql",
    [
        BAD_ROWS,
        "INSERT INTO t(id, embedding) SELECT id, CASE id WHEN 52 THEN '[1]' ELSE '[1,2,3]' END "
        "FROM (SELECT 50 id UNION ALL SELECT 51 UNION ALL SELECT 52)",
        "INSERT INTO t(id, embedding) VALUES(50, '[1,2,3]'), (3, '[1,2,3]')",
        "INSERT OR REPLACE INTO t(id, embedding) VALUES(3, '[1,2,3]'), (51, '[1,2]')",
        "UPDATE t SET id = id + 3",
        "UPDATE t SET embedding = CASE id WHEN 9 THEN '[1]' ELSE '[1,2,3]' END",
        "INSERT INTO t(id, embedding) SELECT id + 50, embedding FROM t "
        "UNION ALL SELECT 5, '[1,2,3]'",
    ],
)
def test_a_statement_that_fails_half_way_leaves_nothing(conn, begin, sql):
    rows = dict(START)
    if begin:
        conn.execute("BEGIN")
        rows = change(conn)
        put(conn, [3])  # the conflicts above need it
        rows |= points([3])
    with pytest.raises((apsw.SQLError, apsw.ConstraintError)):
        conn.execute(sql)
    check(conn, rows)
    put(conn, [300])
    if begin:
        conn.execute("COMMIT")
    check(conn, rows | points([300]))


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t(id, embedding) VALUES(50, '[1,2]')",
        "INSERT INTO t(id, embedding) VALUES(50, '[1,2,nan]')",
        "INSERT INTO t(id, embedding) VALUES(50, x'0102')",
        "INSERT INTO t(id, embedding) VALUES(3, '[1,2,3]')",
        "INSERT INTO t(id, embedding) VALUES('x', '[1,2,3]')",
        "INSERT OR REPLACE INTO t(id, embedding) VALUES(3, '[1]')",
        "UPDATE t SET embedding = '[1]' WHERE id = 3",
        "UPDATE t SET id = 4 WHERE id = 3",
        "UPDATE t SET id = NULL WHERE id = 3",
    ],
)
def test_a_single_row_that_fails_inside_begin_leaves_nothing(conn, sql):
    """No statement journal: nobody takes back what a half-done xUpdate wrote."""
    conn.execute("BEGIN")
    put(conn, [100])
    with pytest.raises((apsw.SQLError, apsw.ConstraintError, apsw.MismatchError)):
        conn.execute(sql)
    check(conn, START | points([100]))
    put(conn, [50], 5)
    conn.execute("COMMIT")
    check(conn, START | points([100]) | points([50], 5))


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t(id, embedding, tag) VALUES(50, '[1,2,3]', :long)",
        "INSERT OR REPLACE INTO t(id, embedding, tag) VALUES(3, '[1,2,3]', :long)",
        "UPDATE t SET embedding = '[1,2,3]', tag = :long WHERE id = 3",
        "UPDATE OR REPLACE t SET id = 4, tag = :long WHERE id = 3",
    ],
)
def test_a_row_that_cannot_be_written_leaves_the_graph_alone(conn, sql):
    """The graph is changed before the row is written: the row is too big only with its vector."""
    conn.limit(apsw.SQLITE_LIMIT_LENGTH, 5000)
    conn.execute("BEGIN")
    put(conn, [100])
    with pytest.raises(apsw.TooBigError):
        conn.execute(sql, {"long": "x" * 4995})
    check(conn, START | points([100]))
    put(conn, [101])
    conn.execute("COMMIT")
    check(conn, START | points([100, 101]))


def test_a_failure_inside_a_savepoint_keeps_the_savepoint_usable(conn):
    conn.execute("BEGIN; SAVEPOINT a")
    put(conn, [100])
    with pytest.raises(apsw.SQLError):
        conn.execute(BAD_ROWS)
    check(conn, START | points([100]))
    conn.execute("ROLLBACK TO a")
    check(conn, START)
    conn.execute("COMMIT")
    check(conn, START)


# --- triggers -------------------------------------------------------------------------------------

TRIGGERS = """
    CREATE TABLE docs(id INTEGER PRIMARY KEY, v);
    CREATE TRIGGER docs_i AFTER INSERT ON docs BEGIN
        INSERT INTO t(id, embedding) VALUES(new.id, new.v); END;
    CREATE TRIGGER docs_d AFTER DELETE ON docs BEGIN
        DELETE FROM t WHERE id = old.id; END;
    CREATE TRIGGER docs_u AFTER UPDATE ON docs BEGIN
        UPDATE t SET id = new.id, embedding = new.v WHERE id = old.id; END;
    DELETE FROM t;
"""


def docs(conn: apsw.Connection, rowids: Any) -> None:
    for i in rowids:
        conn.execute("INSERT INTO docs VALUES(?,?)", (i, blob(point(i))))


@pytest.mark.parametrize("begin", [False, True], ids=["autocommit", "in a transaction"])
def test_triggers_keep_the_index_in_step(conn, begin):
    conn.execute(TRIGGERS)
    if begin:
        conn.execute("BEGIN")
    docs(conn, range(30))
    conn.execute("DELETE FROM docs WHERE id % 3 = 0")
    conn.execute("UPDATE docs SET id = id + 100 WHERE id < 10")
    args = [(blob(point(i, 1)), i) for i in (10, 11)]
    conn.executemany("UPDATE docs SET v = ? WHERE id = ?", args)
    rows = {i + 100 if i < 10 else i: point(i) for i in range(30) if i % 3} | points([10, 11], 1)
    check(conn, rows)
    if begin:
        conn.execute("COMMIT")
        check(conn, rows)


def test_rollback_takes_back_what_triggers_wrote(conn):
    conn.execute(TRIGGERS)
    docs(conn, range(10))
    conn.execute("BEGIN")
    docs(conn, range(10, 40))
    conn.execute("DELETE FROM docs WHERE id < 5")
    check(conn, points(range(5, 40)))
    conn.execute("ROLLBACK")
    check(conn, points(range(10)))


@pytest.mark.parametrize(
    ("how", "kept"),
    [("ABORT", [20, 21]), ("FAIL", [20, 21, 1, 2]), ("ROLLBACK", []), ("IGNORE", None)],
)
def test_raise_in_a_trigger_after_the_index_was_written(conn, how, kept):
    """The index is written, then the trigger raises."""
    raised = how if how == "IGNORE" else f"{how}, 'no'"
    conn.execute(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, v); DELETE FROM t;"
        "CREATE TRIGGER docs_i AFTER INSERT ON docs BEGIN"
        "    INSERT INTO t(id, embedding) VALUES(new.id, new.v);"
        f"   SELECT RAISE({raised})"
        "    WHERE new.id = 3; END"
    )
    conn.execute("BEGIN")
    docs(conn, [20, 21])
    values = "(1, '[1,0,0]'), (2, '[2,0,0]'), (3, '[3,0,0]'), (4, '[4,0,0]')"
    if kept is None:
        conn.execute(f"INSERT INTO docs VALUES {values}")
        kept = [20, 21, 1, 2, 3, 4]
    else:
        with pytest.raises(apsw.ConstraintError):
            conn.execute(f"INSERT INTO docs VALUES {values}")
        if how == "FAIL":
            kept = [*kept, 3]  # its index row was written before the RAISE
    rows = {i: point(i) if i >= 20 else np.float32([i, 0, 0]) for i in kept}
    check(conn, rows)
    assert conn.in_transaction == (how != "ROLLBACK")
    if conn.in_transaction:
        docs(conn, [30])
        conn.execute("COMMIT")
        rows |= points([30])
    check(conn, rows)


def test_one_statement_whose_trigger_writes_two_indexes(conn):
    conn.execute(CREATE.format(table="u"))
    conn.execute(TRIGGERS)
    conn.execute(
        "CREATE TRIGGER docs_u2 AFTER INSERT ON docs BEGIN"
        " INSERT INTO u(id, embedding) VALUES(-new.id, new.v);"
        " SELECT RAISE(ABORT, 'no') WHERE new.id = 13; END"
    )
    conn.execute("BEGIN")
    docs(conn, range(10))
    with pytest.raises(apsw.ConstraintError):
        conn.execute("INSERT INTO docs SELECT id + 10, v FROM docs")
    check(conn, points(range(10)))
    check(conn, {-i: point(i) for i in range(10)}, "u")
    conn.execute("COMMIT")
    check(conn, points(range(10)))
    check(conn, {-i: point(i) for i in range(10)}, "u")


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


# --- commands in transactions ---------------------------------------------------------------------


@pytest.mark.parametrize("what", ["optimize", "rebuild", "integrity-check"])
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "ROLLBACK TO"])
def test_a_command_among_the_writes_of_a_transaction(conn, what, end):
    conn.execute("BEGIN")
    rows = change(conn)
    conn.execute("SAVEPOINT s")
    command(conn, what)
    check(conn, rows)
    put(conn, [300])
    drop(conn, [1])
    conn.execute(end + " s" if end == "ROLLBACK TO" else end)
    rows = {"COMMIT": without(rows | points([300]), 1), "ROLLBACK": START}.get(end, rows)
    check(conn, rows)
    put(conn, [301])
    if conn.in_transaction:
        conn.execute("COMMIT")
    check(conn, rows | points([301]))


@pytest.mark.parametrize("what", ["optimize", "rebuild"])
def test_folding_that_is_rolled_back_is_done_again_later(conn, what):
    """The rollback leaves ver and stamp alone: only the fold is undone."""
    conn.execute("BEGIN")
    command(conn, what)
    conn.execute("ROLLBACK")
    put(conn, [300])
    command(conn, "optimize")
    check(conn, START | points([300]))


def test_folding_that_a_savepoint_takes_back_is_done_again_later(conn):
    conn.execute("BEGIN")
    put(conn, [300])
    conn.execute("SAVEPOINT s")
    command(conn, "optimize")
    conn.execute("ROLLBACK TO s")
    put(conn, [301])
    command(conn, "optimize")
    conn.execute("COMMIT")
    check(conn, START | points([300, 301]))


def test_ef_search_is_rolled_back_with_its_transaction(conn):
    def ef() -> Any:
        sql = "SELECT ef_search FROM t WHERE embedding MATCH '[0,0,0]' AND k = 1"
        return conn.execute(sql).fetchall()[0][0]

    before = ef()
    conn.execute("BEGIN")
    command(conn, "ef_search=7")
    assert ef() == 7
    conn.execute("ROLLBACK")
    assert ef() == before
    check(conn, change(conn))


# --- open cursors ---------------------------------------------------------------------------------

MANY = points(range(300))
STREAM = "SELECT id, distance FROM t WHERE embedding MATCH '[0,0,0]'"


@pytest.fixture
def many(path: Path, journal: str) -> Iterator[apsw.Connection]:
    """300 rows: a stream comes in several batches."""
    c = new_file(path, journal, range(300))
    yield c
    c.close()


def finish(cursor: Any, got: list[tuple[int, float]]) -> bool:
    """Reads to the end; False if SQLite ended the statement itself."""
    try:
        got += cursor.fetchall()
    except apsw.AbortError:
        return False
    return True


def test_a_stream_across_own_writes_gives_each_remaining_row_once(many):
    cursor = many.execute(STREAM)
    got = [next(cursor) for _ in range(10)]
    gone = [i for i in range(100) if i not in dict(got)]
    drop(many, gone)
    put(many, range(1000, 1020))
    move(many, range(200, 210))
    assert finish(cursor, got)
    ids = [i for i, _ in got]
    assert len(set(ids)) == len(ids)
    assert set(range(100, 200)) <= set(ids)
    assert set(range(210, 300)) <= set(ids)
    rows = without(MANY, *gone) | points(range(1000, 1020)) | points(range(200, 210), 1)
    for i, d in got[16:]:  # beyond the batch that was read before the writes
        assert i in rows
        assert any(np.isclose(d, np.linalg.norm(p), rtol=1e-5) for p in (rows[i], point(i)))
    check(many, rows)


@pytest.mark.parametrize("sql", [STREAM, STREAM + " AND k = 50", "SELECT id, tag FROM t"])
def test_a_cursor_across_the_deletion_of_all_rows_ends(many, sql):
    cursor = many.execute(sql)
    next(cursor)
    many.execute("DELETE FROM t")
    assert finish(cursor, [])
    check(many, {})
    put(many, range(5))
    check(many, points(range(5)))


def test_a_cursor_with_k_is_not_touched_by_own_writes(many):
    cursor = many.execute(STREAM + " AND k = 50")
    got = [next(cursor)]
    many.execute("BEGIN")
    put(many, range(1000, 1050), 3)
    assert finish(cursor, got)
    same_answer(got, MANY, np.zeros(3), 50)
    many.execute("ROLLBACK")
    check(many, MANY)


@pytest.mark.parametrize("sql", [STREAM, STREAM + " AND k = 200", "SELECT id, tag FROM t"])
@pytest.mark.parametrize("ddl", [False, True], ids=["", "with DDL"])
def test_a_cursor_across_rollback_never_gives_a_row_twice(many, sql, ddl):
    many.execute("BEGIN")
    put(many, range(1000, 1100))
    cursor = many.execute(sql)
    got = [next(cursor) for _ in range(10)]
    drop(many, range(50))
    if ddl:
        many.execute("CREATE TABLE made(a)")
    many.execute("ROLLBACK")
    finish(cursor, got)
    ids = [row[0] for row in got]
    assert len(set(ids)) == len(ids)
    check(many, MANY)


def test_a_cursor_across_rollback_to(many):
    many.execute("BEGIN; SAVEPOINT s")
    put(many, range(1000, 1100))
    cursor = many.execute(STREAM)
    got = [next(cursor) for _ in range(10)]
    with contextlib.suppress(apsw.AbortError):
        many.execute("ROLLBACK TO s")
    finish(cursor, got)
    ids = [i for i, _ in got]
    assert len(set(ids)) == len(ids)
    many.execute("ROLLBACK")
    check(many, MANY)


def test_a_stream_keeps_its_snapshot_across_the_commit_of_another_connection(path):
    many, second = new_file(path, "wal", range(300)), connect(path)
    cursor = many.execute(STREAM)
    got = [next(cursor) for _ in range(10)]
    second.execute("DELETE FROM t WHERE id % 2")
    command(second, "optimize")
    assert finish(cursor, got)
    got.sort(key=lambda row: row[1])  # late rows come last
    same_answer(got, MANY, np.zeros(3), 300)
    check(many, {i: v for i, v in MANY.items() if i % 2 == 0})
    many.close()
    second.close()


def test_insert_from_a_query_of_the_same_table(many):
    many.execute(
        "INSERT INTO t(id, embedding) SELECT id + 1000, embedding FROM t"
        " WHERE embedding MATCH '[0,0,0]' AND k = 40"
    )
    rows = contents(many)
    assert len(rows) == 340
    assert all(np.array_equal(v, rows[i % 1000]) for i, v in rows.items())
    check(many, rows)


def test_delete_what_a_stream_finds(many):
    many.execute(
        "DELETE FROM t WHERE rowid IN (SELECT rowid FROM t"
        " WHERE embedding MATCH '[0,0,0]' ORDER BY distance LIMIT 100)"
    )
    rows = contents(many)
    assert len(rows) == 200
    nearest = np.sort([np.linalg.norm(v) for v in MANY.values()])[:100]
    assert min(np.linalg.norm(v) for v in rows.values()) >= nearest[-1] - 1e-6
    check(many, rows)


# --- ATTACH, TEMP, copies -------------------------------------------------------------------------


def test_attach_detach_and_another_file_under_the_same_name(conn, tmp_path, journal):
    files = [tmp_path / "x.db", tmp_path / "y.db"]
    for version, file in enumerate(files):
        c = new_file(file, journal, ())
        put(c, range(30), version + 5)
        c.close()
    for _ in range(2):
        for version, file in enumerate(files):
            conn.execute("ATTACH ? AS aux", (str(file),))
            rows = points(range(30), version + 5)
            check(conn, rows, "aux.t")
            check(conn, START)
            put(conn, [100], table="aux.t")
            check(conn, rows | points([100]), "aux.t")
            drop(conn, [100], table="aux.t")
            conn.execute("DETACH aux")
    check(conn, START)


def test_files_with_the_same_history_under_one_name_do_not_mix(conn, tmp_path, journal):
    """The same statements give the same stamp: only what follows differs."""
    files = [tmp_path / "x.db", tmp_path / "y.db"]
    for file in files:
        new_file(file, journal).close()
    for turn in range(3):
        for version, file in enumerate(files):
            conn.execute("ATTACH ? AS aux", (str(file),))
            put(conn, [100 + turn], version, table="aux.t")
            rows = START | {100 + i: point(100 + i, version) for i in range(turn + 1)}
            check(conn, rows, "aux.t")
            conn.execute("DETACH aux")


def test_one_transaction_over_two_files(conn, tmp_path, journal):
    new_file(tmp_path / "x.db", journal).close()
    conn.execute("ATTACH ? AS aux", (str(tmp_path / "x.db"),))
    conn.execute("BEGIN")
    put(conn, [100])
    put(conn, [101], table="aux.t")
    conn.execute("SAVEPOINT s")
    put(conn, [102])
    put(conn, [103], table="aux.t")
    conn.execute("ROLLBACK TO s")
    check(conn, START | points([100]))
    check(conn, START | points([101]), "aux.t")
    conn.execute("COMMIT")
    check(conn, START | points([100]))
    check(conn, START | points([101]), "aux.t")
    conn.execute("BEGIN")
    put(conn, [104])
    put(conn, [105], table="aux.t")
    conn.execute("ROLLBACK")
    check(conn, START | points([100]))
    check(conn, START | points([101]), "aux.t")


def test_temp_tables_roll_back_and_hide_a_main_table(conn):
    conn.execute(CREATE.format(table="temp.t"))
    put(conn, range(5), 3)
    check(conn, points(range(5), 3), "temp.t")
    check(conn, START, "main.t")
    conn.execute("BEGIN")
    put(conn, [50], table="temp.t")
    put(conn, [51], table="main.t")
    conn.execute("ROLLBACK")
    check(conn, points(range(5), 3), "temp.t")
    check(conn, START, "main.t")
    conn.execute("DROP TABLE temp.t")
    check(conn, START)


def test_a_memory_database_rolls_back(journal):
    del journal
    conn = new_file(":memory:")
    conn.execute("BEGIN")
    check(conn, change(conn))
    conn.execute("ROLLBACK")
    check(conn, START)
    check(conn, change(conn))
    conn.close()


def backup(source: apsw.Connection, target: apsw.Connection) -> None:
    with target.backup("main", source, "main") as b:
        while not b.done:
            b.step(7)


@pytest.mark.parametrize("how", ["backup", "VACUUM INTO"])
def test_a_copy_and_its_original_go_separate_ways(conn, tmp_path, how):
    put(conn, [100])
    other = tmp_path / "copy.db"
    if how == "backup":
        copy = connect(other)
        backup(conn, copy)
    else:
        conn.execute("VACUUM INTO ?", (str(other),))
        copy = connect(other)
    put(conn, [101], 1)
    put(copy, [101], 2)
    drop(copy, [5])
    put(conn, [102], 1)
    check(conn, START | points([100]) | points([101, 102], 1))
    check(copy, without(START | points([100]) | points([101], 2), 5))
    command(copy, "optimize")
    command(conn, "optimize")
    check(conn, START | points([100]) | points([101, 102], 1))
    check(copy, without(START | points([100]) | points([101], 2), 5))
    copy.close()


def test_vacuum_into_from_an_open_read_transaction(conn, tmp_path):
    conn.execute("BEGIN")
    check(conn, START)
    conn.execute("COMMIT; VACUUM INTO ?", (str(tmp_path / "c.db"),))
    copy = connect(tmp_path / "c.db")
    check(copy, START)
    copy.close()


def test_restore_of_an_older_file_under_an_open_connection(conn, second, tmp_path):
    old = connect(tmp_path / "old.db")
    backup(conn, old)
    rows = change(conn)
    check(second, rows)
    backup(old, conn)
    check(conn, START)
    check(second, START)
    rows = change(conn)
    check(conn, rows)
    check(second, rows)
    old.close()


def test_restore_of_a_file_that_differs_only_by_folding(conn, second, tmp_path):
    old = connect(tmp_path / "old.db")
    backup(conn, old)
    command(conn, "optimize")
    check(second, START)
    backup(old, conn)
    for c in (conn, second):
        put(c, [100 if c is conn else 101])
        command(c, "optimize")
    check(conn, START | points([100, 101]))
    check(second, START | points([100, 101]))
    old.close()


def test_restore_of_another_table_of_the_same_name(conn, tmp_path):
    old = new_file(tmp_path / "old.db", "delete", ())
    put(old, range(7), 4)
    backup(old, conn)
    check(conn, points(range(7), 4))
    put(conn, [100])
    check(conn, points(range(7), 4) | points([100]))
    old.close()


# --- read-only ------------------------------------------------------------------------------------


def test_a_read_only_connection_answers_and_follows(conn, path):
    reader = connect(path, flags=apsw.SQLITE_OPEN_READONLY)
    check(reader, START)
    rows = change(conn)
    check(reader, rows)
    with pytest.raises(apsw.ReadOnlyError):
        put(reader, [300])
    check(reader, rows)
    command(conn, "optimize")
    check(reader, rows)
    reader.close()


@pytest.mark.parametrize("fold", [False, True], ids=["log", "folded"])
def test_an_immutable_file_answers(conn, path, fold):
    rows = change(conn)
    if fold:
        command(conn, "optimize")
    conn.execute("PRAGMA journal_mode = delete")
    conn.close()
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    reader = connect(f"file:{path}?immutable=1", flags=flags)
    check_here(reader, rows)
    with pytest.raises(apsw.ReadOnlyError):
        put(reader, [300])
    check_here(reader, rows)
    reader.close()


def test_a_query_only_connection_answers(conn, second):
    second.execute("PRAGMA query_only = ON")
    rows = change(conn)
    check(second, rows)
    with pytest.raises(apsw.ReadOnlyError):
        put(second, [300])
    second.execute("PRAGMA query_only = OFF")
    put(second, [300])
    check(second, rows | points([300]))


# --- several processes ----------------------------------------------------------------------------

WORK = """
rng = np.random.default_rng({me})
for i in range({rounds}):
    base = {me} * 1000 + i * 10
    for end in ("ROLLBACK", "COMMIT") if rng.random() < 0.3 else ("COMMIT",):
        conn.execute("BEGIN IMMEDIATE")
        put(conn, range(base, base + 4))
        drop(conn, [base + 1])
        if rng.random() < 0.2:
            command(conn, "optimize")
        conn.execute(end)
    conn.execute("BEGIN")
    check_answers(conn, contents(conn))
    conn.execute("COMMIT")
"""


def test_processes_that_write_and_read_together(path, journal):
    new_file(path, journal).close()
    rounds, rows = 12, dict(START)
    with Peer(path) as one, Peer(path) as two, Peer(path) as three:
        peers = [one, two, three]
        for me, peer in enumerate(peers, 1):
            peer.start(WORK.format(me=me, rounds=rounds))
        for me, peer in enumerate(peers, 1):
            peer.wait()
            for base in range(me * 1000, me * 1000 + rounds * 10, 10):
                rows |= points([base, base + 2, base + 3])
    conn = connect(path)
    check(conn, rows)
    conn.close()


# --- last_insert_rowid and changes ----------------------------------------------------------------


def test_flushes_leave_last_insert_rowid_and_changes_alone(conn):
    conn.execute("BEGIN; INSERT INTO other(rowid, a) VALUES(777, 1)")
    put(conn, [100])
    assert conn.last_insert_rowid() == 100
    conn.execute("INSERT INTO other(rowid, a) VALUES(778, 1)")
    conn.execute("SAVEPOINT s")  # a flush
    assert conn.last_insert_rowid() == 778
    conn.execute("UPDATE t SET embedding = '[1,1,1]' WHERE id < 5")
    assert conn.changes() == 5
    assert conn.last_insert_rowid() == 778
    conn.execute("DELETE FROM t WHERE id BETWEEN 3 AND 5")
    assert conn.changes() == 3
    conn.execute("COMMIT")  # another; nothing can restore changes() round this one
    assert conn.last_insert_rowid() == 778


def test_autocommit_writes_report_their_own_row_and_count(conn):
    put(conn, [100])
    assert (conn.last_insert_rowid(), conn.changes()) == (100, 1)
    conn.execute("INSERT INTO t(id, embedding) VALUES(200, '[1,2,3]'), (150, '[1,2,3]')")
    assert (conn.last_insert_rowid(), conn.changes()) == (150, 2)
    conn.execute("INSERT INTO t(embedding) VALUES('[1,2,3]')")
    assert (conn.last_insert_rowid(), conn.changes()) == (201, 1)
    conn.execute("INSERT OR REPLACE INTO t(id, embedding) VALUES(7, '[1,2,3]')")
    assert (conn.last_insert_rowid(), conn.changes()) == (7, 1)
    conn.execute("DELETE FROM t")
    assert (conn.last_insert_rowid(), conn.changes()) == (7, 24)


# --- as an ordinary table -------------------------------------------------------------------------

VECTORS = ["'[1,2,3]'", "'[-4,0,2]'", "'[7,7,7]'"]


def blobs(sql: str) -> str:
    """The same vectors as blobs, which an ordinary table stores alike."""
    for text in VECTORS:
        v = np.array(text[2:-2].split(","), "<f4")
        sql = sql.replace(text, f"x'{v.tobytes().hex()}'")
    return sql


STATEMENTS = [
    "INSERT {or_} INTO {t}(id, embedding, tag) VALUES(50, '[1,2,3]', 'n')",
    "INSERT {or_} INTO {t}(id, embedding, tag) VALUES(3, '[1,2,3]', 'n')",
    "INSERT {or_} INTO {t}(id, embedding, tag) VALUES(50, '[1,2,3]', 'n'), (3, '[7,7,7]', 'm'),"
    " (51, '[-4,0,2]', 'o')",
    "INSERT {or_} INTO {t}(id, embedding, tag) VALUES(60, '[1,2,3]', 'n'), (60, '[7,7,7]', 'm')",
    "INSERT {or_} INTO {t}(id, embedding, tag) SELECT id + 2, embedding, 'n' FROM {t} WHERE id < 5",
    "INSERT {or_} INTO {t}(embedding) VALUES('[1,2,3]')",
    "INSERT {or_} INTO {t}(id, embedding) VALUES(3, NULL)",
    "UPDATE {or_} {t} SET id = 50 WHERE id = 3",
    "UPDATE {or_} {t} SET id = 4 WHERE id = 3",
    "UPDATE {or_} {t} SET id = 4, embedding = '[7,7,7]' WHERE id = 3",
    "UPDATE {or_} {t} SET id = id + 1",
    "UPDATE {or_} {t} SET id = id - 1 WHERE id > 3",
    "UPDATE {or_} {t} SET id = id + 100, tag = 'moved' WHERE id % 2",
    "UPDATE {or_} {t} SET id = id + 100, embedding = '[7,7,7]' WHERE id % 2",
    "UPDATE {or_} {t} SET tag = 'x', embedding = NULL WHERE id < 4",
    "DELETE FROM {t} WHERE id IN (1, 2, 99)",
]


def outcome(conn: apsw.Connection, table: str, begin: bool, sql: str) -> Any:
    """What the user can see after the statement, and after ending its transaction."""
    conn.execute("REPLACE INTO other(rowid) VALUES(7777)")
    if begin:
        conn.execute("BEGIN")
        conn.execute(f"INSERT INTO {table}(id, embedding) VALUES(30, x'{blob(point(9)).hex()}')")
    error = None
    try:
        conn.execute(sql)
    except apsw.Error as e:
        error = type(e)
    seen = [error, conn.changes(), conn.last_insert_rowid(), conn.in_transaction]
    seen.append(conn.execute(f"SELECT id, embedding, tag FROM {table} ORDER BY id").fetchall())
    if conn.in_transaction:
        conn.execute("COMMIT")
    seen.append(conn.execute(f"SELECT id, embedding, tag FROM {table} ORDER BY id").fetchall())
    return seen


@pytest.mark.parametrize("begin", [False, True], ids=["autocommit", "in a transaction"])
@pytest.mark.parametrize("on", ["", "ABORT", "FAIL", "IGNORE", "REPLACE", "ROLLBACK"])
def test_conflicts_resolve_as_in_an_ordinary_table(tmp_path, on, begin):
    conn = new_file(tmp_path / "a.db", "delete")
    conn.execute("CREATE TABLE o(id INTEGER PRIMARY KEY, embedding, tag)")
    for sql in STATEMENTS:
        conn.execute("DELETE FROM t; DELETE FROM o")
        put(conn, range(12))
        put(conn, range(12), table="o")
        text = blobs(sql.replace("{or_}", f"OR {on}" if on else ""))
        ordinary = outcome(conn, "o", begin, text.replace("{t}", "o"))
        ours = outcome(conn, "t", begin, text.replace("{t}", "t"))
        assert ours == ordinary, text
        check(conn, contents(conn))
    conn.close()


def test_update_of_the_key_moves_vector_and_metadata(conn):
    conn.execute("UPDATE t SET id = 1000 WHERE id = 5")
    check(conn, without(START, 5) | {1000: START[5]})
    assert conn.execute("SELECT tag FROM t WHERE id = 1000").fetchall() == [("tag5",)]
    conn.execute("UPDATE OR REPLACE t SET id = 6 WHERE id = 1000")
    check(conn, without(START, 5) | {6: START[5]})
    conn.execute("UPDATE t SET rowid = 2000 WHERE rowid = 6")
    check(conn, without(START, 5, 6) | {2000: START[5]})


def test_update_of_metadata_leaves_the_graph_alone(conn):
    command(conn, "optimize")
    before = shadow_dump(conn)
    conn.execute("UPDATE t SET tag = 'changed'")
    conn.execute("UPDATE t SET tag = tag || '!' WHERE id = 4")
    after = shadow_dump(conn)
    assert after.pop("t_rows") != before.pop("t_rows")
    assert after == before
    check(conn, START)


def test_delete_of_all_rows_then_insert(conn):
    for version in range(3):
        conn.execute("DELETE FROM t")
        check(conn, {})
        put(conn, range(30), version)
        check(conn, points(range(30), version))
    command(conn, "optimize")
    check(conn, points(range(30), 2))


def test_delete_of_all_rows_and_insert_in_one_transaction(conn):
    conn.execute("BEGIN; DELETE FROM t")
    put(conn, range(5, 15), 2)
    conn.execute("SAVEPOINT s; DELETE FROM t")
    check(conn, {})
    conn.execute("ROLLBACK TO s")
    check(conn, points(range(5, 15), 2))
    conn.execute("COMMIT")
    check(conn, points(range(5, 15), 2))


# --- several tables, several columns --------------------------------------------------------------


def test_two_tables_in_one_transaction(conn):
    conn.execute(CREATE.format(table="u"))
    conn.execute("BEGIN")
    for i in range(10):  # alternating: each statement of one table is a savepoint for the other
        put(conn, [100 + i])
        put(conn, [200 + i], table="u")
    conn.execute("SAVEPOINT s; DELETE FROM u WHERE id > 204; DELETE FROM t WHERE id < 5")
    check(conn, points([*range(5, 20), *range(100, 110)]))
    check(conn, points(range(200, 205)), "u")
    conn.execute("ROLLBACK TO s")
    check(conn, START | points(range(100, 110)))
    check(conn, points(range(200, 210)), "u")
    conn.execute("COMMIT")
    check(conn, START | points(range(100, 110)))
    check(conn, points(range(200, 210)), "u")
    conn.execute("BEGIN; DELETE FROM u; DELETE FROM t")
    conn.execute("ROLLBACK")
    check(conn, START | points(range(100, 110)))
    check(conn, points(range(200, 210)), "u")


def test_insert_from_one_index_into_another_that_fails_half_way(conn):
    conn.execute(CREATE.format(table="u"))
    conn.execute("BEGIN")
    put(conn, [10], table="u")
    put(conn, [100])
    with pytest.raises(apsw.ConstraintError):
        conn.execute("INSERT INTO u(id, embedding) SELECT id, embedding FROM t")
    check(conn, START | points([100]))
    check(conn, points([10]), "u")
    conn.execute("COMMIT")
    check(conn, points([10]), "u")


def test_two_vector_columns_and_null_vectors(path, journal):
    conn = new_file(path, journal)
    conn.execute(
        "CREATE VIRTUAL TABLE w USING vecsql(a FLOAT[3] m=4, tag TEXT, b FLOAT[3] index=flat)"
    )
    sql = "INSERT INTO w(rowid, a, b) VALUES(?,?,?)"

    def row(i: int) -> tuple[Any, Any, Any]:
        a = None if i % 3 == 0 else point(i, 1)
        return (i, a, None if i % 4 == 0 else point(i, 2))

    def both(rows: Any) -> None:
        check(conn, {i: a for i, a, _ in rows}, "w", "a")
        check(conn, {i: b for i, _, b in rows}, "w", "b")

    rows = [row(i) for i in range(24)]
    conn.executemany(sql, [(i, blob(a), blob(b)) for i, a, b in rows])
    both(rows)
    conn.execute("BEGIN")
    conn.execute("UPDATE w SET a = b WHERE rowid < 6")
    rows = [(i, b if i < 6 else a, b) for i, a, b in rows]
    both(rows)
    conn.execute("SAVEPOINT s; UPDATE w SET b = NULL; UPDATE w SET a = NULL WHERE rowid > 10")
    both([(i, a if i <= 10 else None, None) for i, a, _ in rows])
    conn.execute("ROLLBACK TO s")
    both(rows)
    with pytest.raises(apsw.SQLError):
        conn.execute("INSERT INTO w(rowid, a, b) VALUES(90, '[1,2,3]', '[1,2]')")
    with pytest.raises(apsw.SQLError):
        conn.execute("UPDATE w SET a = '[1,2,3]', b = CASE rowid WHEN 7 THEN 'x' ELSE b END")
    conn.execute("UPDATE w SET rowid = rowid + 100 WHERE rowid % 2")
    rows = [(i + 100 if i % 2 else i, a, b) for i, a, b in rows]
    both(rows)
    conn.execute("COMMIT")
    both(rows)
    conn.close()


# --- determinism ----------------------------------------------------------------------------------


def statements(seed: int, n: int) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """A reproducible mix of writes of single rows."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        what, rowid = rng.random(), int(rng.integers(60))
        if what < 0.6:
            args = (rowid, blob(point(rowid, i)), f"tag{i}")
            yield "INSERT OR REPLACE INTO t(id, embedding, tag) VALUES(?,?,?)", args
        elif what < 0.8:
            yield "DELETE FROM t WHERE id = ?", (rowid,)
        else:
            yield "UPDATE t SET embedding = ? WHERE id = ?", (blob(point(rowid, i + 7)), rowid)


SEED, WRITES = 20, 1600  # enough for the log to be folded


def commits(path: Path, how: str) -> apsw.Connection:
    """The same commits, with other things going on between them."""
    conn = new_file(path, "delete")
    conns = [conn, connect(path)]
    for i, (sql, args) in enumerate(statements(SEED, WRITES)):
        if how == "reopened" and i % 7 == 0:
            conns[0].close()
            conns[0] = connect(path)
        if how == "with reads":
            knn(conns[0], point(i), 5)
        if how == "with rollbacks" and i % 5 == 0:
            conns[0].execute("BEGIN")
            put(conns[0], range(500, 510))
            conns[0].execute("SAVEPOINT s")
            drop(conns[0], range(20))
            conns[0].execute("ROLLBACK")
        if how == "with failures":
            with pytest.raises(apsw.SQLError):
                conns[0].execute(BAD_ROWS.replace("5", "95"))
        if how == "with checks" and i % 20 == 0:
            command(conns[0], "integrity-check")
        conns[i % 2 if how == "from two connections" else 0].execute(sql, args)
    conns[1].close()
    return conns[0]


@pytest.mark.parametrize(
    "how",
    [
        "again",
        "with reads",
        "reopened",
        "with rollbacks",
        "with failures",
        "with checks",
        "from two connections",
    ],
)
def test_the_same_commits_give_the_same_shadow_rows(tmp_path, how):
    print("seed", SEED)
    one, two = commits(tmp_path / "a.db", "plain"), commits(tmp_path / "b.db", how)
    assert shadow_dump(one)["t_pages0"], "the log was never folded"
    assert shadow_dump(one) == shadow_dump(two)
    check(two, contents(two))
    command(one, "optimize")
    command(two, "optimize")
    assert shadow_dump(one) == shadow_dump(two)
    check(two, contents(one))
    one.close()
    two.close()


def one_transaction(path: Path, savepoints: bool) -> apsw.Connection:
    conn = new_file(path, "delete")
    conn.execute("BEGIN")
    for i, (sql, args) in enumerate(statements(SEED, 150)):
        if savepoints and i % 10 == 0:
            conn.execute(f"SAVEPOINT s{i}")
            put(conn, [999])
            conn.execute(f"ROLLBACK TO s{i}")
        conn.execute(sql, args)
    conn.execute("COMMIT")
    command(conn, "optimize")
    return conn


def test_savepoints_change_nothing_in_rows_map_and_graph(tmp_path):
    """They may change how the edits are cut into log rows, so ver, stamp and log may differ."""
    print("seed", SEED)
    one = one_transaction(tmp_path / "a.db", savepoints=False)
    two = one_transaction(tmp_path / "b.db", savepoints=True)
    a, b = shadow_dump(one), shadow_dump(two)
    assert [a[n] for n in ("t_config", "t_rows", "t_map0")] == [
        b[n] for n in ("t_config", "t_rows", "t_map0")
    ]
    assert graph_pages(one) == graph_pages(two)
    check(two, contents(one))
    one.close()
    two.close()


def test_a_copied_file_goes_on_like_its_original(tmp_path):
    one = commits(tmp_path / "a.db", "plain")
    shutil.copy(tmp_path / "a.db", tmp_path / "b.db")
    two = connect(tmp_path / "b.db")
    for conn in (one, two):
        for sql, args in statements(SEED + 1, 50):
            conn.execute(sql, args)
    assert shadow_dump(one) == shadow_dump(two)
    check(two, stored(one))
    one.close()
    two.close()
