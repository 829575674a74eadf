# Risk: the index in memory and the database part ways over ROLLBACK, SAVEPOINT, DDL or a failure.
from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from tests.support.oracle import (
    BAD_ROWS,
    CREATE,
    START,
    blob,
    change,
    check,
    check_here,
    command,
    connect,
    drop,
    new_file,
    point,
    points,
    put,
    without,
)

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
    conn.limit(apsw.SQLITE_LIMIT_LENGTH, 50000)
    conn.execute("BEGIN")
    put(conn, [100])
    with pytest.raises(apsw.TooBigError):
        conn.execute(sql, {"long": "x" * 49995})
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
    """The rollback leaves ver and stamp alone: only the checkpoint is undone."""
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


# --- changesets -----------------------------------------------------------------------------------

CHANGES = {
    "rows": [
        "INSERT INTO {0}(id, e) VALUES(9, vec_f32('[9,0]'))",
        "DELETE FROM {0} WHERE id = 2",
        "UPDATE {0} SET e = vec_f32('[7,7]') WHERE id = 3",
    ],
    "a transaction": [
        "BEGIN",
        "INSERT INTO {0}(id, e) VALUES(9, vec_f32('[9,0]'))",
        "DELETE FROM {0} WHERE id = 2",
        "COMMIT",
    ],
    "all": ["DELETE FROM {0}"],
}


def small(path: Path, over: bool) -> apsw.Connection:
    conn = connect(path)
    if over:
        conn.execute("CREATE TABLE docs(id INTEGER PRIMARY KEY, e BLOB)")
        conn.execute("CREATE VIRTUAL TABLE i USING vecsql(content=docs, e FLOAT[2])")
    else:
        conn.execute("CREATE VIRTUAL TABLE i USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[2])")
    rows = [(n, np.float32([n, 0]).tobytes()) for n in range(1, 6)]
    conn.executemany(f"INSERT INTO {'docs' if over else 'i'} VALUES(?, ?)", rows)
    return conn


@pytest.mark.skipif(not hasattr(apsw, "Session"), reason="apsw without the session extension")
@pytest.mark.parametrize("changes", CHANGES)
@pytest.mark.parametrize("tables", ["own rows, all tables", "docs alone", "docs and all tables"])
@pytest.mark.parametrize("inverted", [True, False])
@pytest.mark.parametrize("conflict", ["OMIT", "REPLACE", "ABORT"])
def test_a_changeset_gives_the_right_answers_or_an_error(
    tmp_path, changes, tables, inverted, conflict
):
    over = tables != "own rows, all tables"
    conn, other = small(tmp_path / "a.db", over), small(tmp_path / "b.db", over)
    session = apsw.Session(conn, "main")
    session.attach("docs" if tables == "docs alone" else None)
    for sql in CHANGES[changes]:
        conn.execute(sql.format("docs" if over else "i"))
    changeset = session.changeset()
    session.close()
    changeset = apsw.Changeset.invert(changeset) if inverted else changeset
    target = conn if inverted else other
    action = getattr(apsw, f"SQLITE_CHANGESET_{conflict}")
    failed = False
    try:
        apsw.Changeset.apply(changeset, target, conflict=lambda *args: action)
    except apsw.Error:
        failed = True
    assert not failed or tables == "docs and all tables"
    last = connect(target.filename)
    for db in (target, last):
        rows = db.execute("SELECT id FROM {} ORDER BY id".format("docs" if over else "i"))
        try:
            sql = "SELECT id FROM i WHERE e MATCH '[0,0]' AND k = 99"
            assert sorted(db.execute(sql)) == rows.fetchall()
        except apsw.CorruptError:
            assert tables == "docs and all tables", "only these change the log twice"
    last.execute("INSERT INTO i(i) VALUES('rebuild'); INSERT INTO i(i) VALUES('integrity-check')")
