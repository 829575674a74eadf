"""Risk: an index over an ordinary table drifts from it, or is left in a state nobody can use."""

from __future__ import annotations

import random

import apsw
import numpy as np
import pytest

import vecsql


@pytest.fixture
def db():
    conn = vecsql.connect(":memory:", driver="apsw")
    conn.execute(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, title TEXT COLLATE NOCASE, year INTEGER, e BLOB)"
    )
    conn.execute("INSERT INTO docs VALUES(1,'One',2001,'[1,0]'),(2,'Two',2002,vec_f32('[0,1]'))")
    conn.execute("INSERT INTO docs VALUES(3,'Three',2003,NULL)")
    conn.execute("CREATE VIRTUAL TABLE i USING vecsql(content=docs, content_rowid=id, e FLOAT[2])")
    return conn


def nearest(db, where: str = "1", table: str = "i") -> list[int]:
    sql = f"SELECT id FROM {table} WHERE e MATCH '[1,0]' AND {where} ORDER BY distance"
    return [r[0] for r in db.execute(sql)]


def schema(db) -> list[str]:
    return [n for (n,) in db.execute("SELECT name FROM sqlite_schema WHERE type <> 'index'")]


def content_of(db) -> str:
    sql = "SELECT tbl_name FROM sqlite_schema WHERE name LIKE 'i_vecsql_insert'"
    return db.execute(sql).fetchone()[0]


def remake(
    db, table: str = "docs", columns: str = "id INTEGER PRIMARY KEY, title, year, e"
) -> None:
    """As migrations do: another table, with the rows of this one, takes its name."""
    names = ", ".join(c.split()[0] for c in columns.split(", "))
    db.execute(
        f"CREATE TABLE made_anew({columns}); INSERT INTO made_anew SELECT {names} FROM {table}; "
        f"DROP TABLE {table}; ALTER TABLE made_anew RENAME TO {table}"
    )


def intact(db) -> bool:
    return db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_creating_takes_in_the_rows_that_are_there(db):
    assert nearest(db) == [1, 2]
    assert intact(db)


def test_every_statement_on_the_table_is_followed(db):
    db.execute("INSERT INTO docs VALUES(4,'Four',2004,'[0.9,0]'),(5,'Five',2005,'[0.5,0]')")
    assert nearest(db) == [1, 4, 5, 2]
    db.execute("UPDATE docs SET e = '[0,9]' WHERE id = 1")
    db.execute("UPDATE docs SET id = 40 WHERE id = 4")
    db.execute("UPDATE docs SET e = NULL WHERE id = 5")
    db.execute("UPDATE docs SET e = '[1,0]' WHERE id = 3")
    assert nearest(db) == [3, 40, 2, 1]
    db.execute("DELETE FROM docs WHERE id = 3")
    db.execute("INSERT OR REPLACE INTO docs VALUES(40,'X',1,'[0,8]')")
    db.execute(
        "INSERT INTO docs VALUES(2,'Y',1,'[1,0]') ON CONFLICT(id) DO UPDATE SET e = excluded.e"
    )
    assert nearest(db) == [2, 40, 1]
    assert intact(db)


def test_a_rolled_back_statement_leaves_no_trace_in_the_index(db):
    db.execute("BEGIN; DELETE FROM docs; INSERT INTO docs VALUES(9,'N',1,'[1,0]')")
    assert nearest(db) == [9]
    db.execute("SAVEPOINT s; UPDATE docs SET e = '[0,1]'; ROLLBACK TO s")
    assert nearest(db) == [9]
    db.execute("ROLLBACK")
    assert nearest(db) == [1, 2]
    with pytest.raises(apsw.SQLError, match=r"docs\.e: expected 2 dimensions, got 1"):
        db.execute("INSERT INTO docs VALUES(7,'ok',1,'[1,1]'),(8,'bad',1,'[1]')")
    assert nearest(db) == [1, 2]
    assert intact(db)


def test_columns_of_the_table_filter_with_their_own_collation(db):
    assert nearest(db, "title = 'TWO'") == [2]
    assert nearest(db, "year > 2001") == [2]
    assert nearest(db, "(year > 2001 OR title = 'one')") == [1, 2]


def test_metadata_updates_leave_the_index_alone(db):
    before = db.execute("SELECT * FROM i_log0").fetchall()
    db.execute("UPDATE docs SET title = 'Zwei', year = 9 WHERE id = 2")
    assert db.execute("SELECT * FROM i_log0").fetchall() == before
    assert nearest(db, "title = 'zwei'") == [2]


def test_a_column_added_to_the_table_can_filter(db):
    db.execute("ALTER TABLE docs ADD COLUMN lang TEXT DEFAULT 'en'")
    assert nearest(db, "lang = 'en'") == [1, 2]
    assert intact(db)


def test_a_renamed_table_is_followed_and_can_be_renamed_back(db):
    for name, given in (("papers", 4), ("docs", 5), ("Notes", 6)):
        db.execute(f"ALTER TABLE {content_of(db)} RENAME TO {name}")
        db.execute(f"INSERT INTO {name} VALUES(?,'New',2004,'[0.9,0]')", (given,))
        assert nearest(db) == [1, *range(4, given + 1), 2]
        assert intact(db)
    db.execute("DROP TABLE i; DELETE FROM Notes")
    assert schema(db) == ["Notes"]


def test_a_renamed_table_that_is_made_anew_is_found_after_a_rebuild(db):
    db.execute("ALTER TABLE docs RENAME TO papers; INSERT INTO i(i) VALUES('rebuild')")
    remake(db, "papers")
    with pytest.raises(apsw.SQLError, match="missed changes of papers"):
        nearest(db)
    db.execute("INSERT INTO i(i) VALUES('rebuild'); DELETE FROM papers WHERE id = 1")
    assert nearest(db) == [2]
    assert intact(db)


def test_a_lost_column_or_table_gives_a_clear_error_and_can_be_dropped(db):
    query = "SELECT rowid FROM i WHERE e MATCH '[1,0]' AND k = 1"
    db.execute("ALTER TABLE docs DROP COLUMN e")
    with pytest.raises(apsw.SQLError, match=r"docs.* (no such column|a column that)"):
        db.execute(query).fetchall()
    db.execute("DROP TABLE i")
    made = db.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")
    assert made.fetchall() == [("docs",)]
    db.execute("INSERT INTO docs(title) VALUES('free again')")


def test_the_index_itself_refuses_writes(db):
    for sql in (
        "INSERT INTO i(e) VALUES('[1,1]')",
        "UPDATE i SET title = 'x'",
        "DELETE FROM i",
    ):
        with pytest.raises(apsw.Error, match="index over docs"):
            db.execute(sql)
    assert nearest(db) == [1, 2]


def test_renaming_the_index_keeps_it_in_step(db):
    db.execute("ALTER TABLE i RENAME TO j")
    db.execute("INSERT INTO docs VALUES(4,'Four',2004,'[0.9,0]')")
    assert nearest(db, table="j") == [1, 4, 2]
    db.execute("DROP TABLE j")
    assert db.execute("SELECT count(*) FROM sqlite_schema").fetchall() == [(1,)]


def test_a_row_that_replace_removed_behind_our_back_is_not_returned(db):
    """No trigger can know of an index that was created later: rebuild looks for it."""
    db.execute("CREATE UNIQUE INDEX u ON docs(year)")
    db.execute("INSERT OR REPLACE INTO docs VALUES(50,'New',2001,'[0.9,0]')")
    assert nearest(db) == [50, 2]
    rows = db.execute("SELECT id FROM i WHERE e MATCH '[1,0]' AND k = 2").fetchall()
    assert rows == [(50,), (2,)]
    assert not intact(db)
    db.execute("INSERT INTO i(i) VALUES('rebuild')")
    assert intact(db)
    db.execute("INSERT OR REPLACE INTO docs VALUES(51,'New',2001,'[0.8,0]')")
    assert nearest(db) == [51, 2]
    assert intact(db)


def test_the_integer_primary_key_is_found_when_none_is_named():
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute("CREATE TABLE docs(title TEXT, n INTEGER PRIMARY KEY, e BLOB)")
    db.execute("CREATE VIRTUAL TABLE i USING vecsql(content=docs, e FLOAT[2])")
    db.execute("INSERT INTO docs(title, e) VALUES('a','[1,0]'),('b','[0,1]')")
    db.execute("UPDATE docs SET n = 100 WHERE n = 2")
    got = db.execute("SELECT n, title FROM i WHERE e MATCH '[0,1]' AND k = 1").fetchall()
    assert got == [(100, "b")]
    assert intact(db)


@pytest.mark.parametrize(
    ("table", "options"),
    [
        ("CREATE TABLE docs(title TEXT, e BLOB)", ""),
        ("CREATE TABLE docs(id TEXT PRIMARY KEY, e BLOB)", ""),
        ("CREATE TABLE docs(id INTEGER PRIMARY KEY, e BLOB) WITHOUT ROWID", ""),
        ("CREATE TABLE docs(a INTEGER, b INTEGER, e BLOB, PRIMARY KEY(a, b))", ""),
        ("CREATE TABLE docs(id INTEGER PRIMARY KEY, n INTEGER, e BLOB)", "content_rowid=n, "),
        ("CREATE TABLE docs(id INTEGER PRIMARY KEY, f BLOB)", ""),
        ("CREATE VIEW docs AS SELECT 1 AS id, NULL AS e", ""),
    ],
)
def test_a_table_whose_rowids_do_not_last_is_refused(table, options):
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute(table)
    with pytest.raises(apsw.SQLError, match="INTEGER PRIMARY KEY"):
        db.execute(f"CREATE VIRTUAL TABLE i USING vecsql(content=docs, {options}e FLOAT[2])")
    made = db.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")
    assert made.fetchall() == [("docs",)]


def test_source_names_the_column_that_holds_the_vectors(db):
    db.execute("ALTER TABLE docs ADD COLUMN e2 BLOB")
    db.execute("UPDATE docs SET e2 = '[0,0,1]' WHERE id = 3")
    db.execute('CREATE VIRTUAL TABLE j USING vecsql(content=docs, e FLOAT[3] source="e2")')
    db.execute("INSERT INTO docs(id, e, e2) VALUES(4, '[1,0]', '[0,0,2]')")
    sql = "SELECT id, title, e FROM j WHERE e MATCH '[0,0,2]' ORDER BY distance"
    assert db.execute(sql).fetchall() == [(4, None, "[0,0,2]"), (3, "Three", "[0,0,1]")]
    db.execute("UPDATE docs SET e2 = '[0,0,3]' WHERE id = 1")
    assert nearest(db) == [1, 4, 2]
    assert [r[0] for r in db.execute(sql)] == [4, 1, 3]
    assert intact(db)


def test_an_index_over_a_new_column_takes_the_place_of_the_old_one(db):
    db.execute("ALTER TABLE docs ADD COLUMN e2 BLOB")
    db.execute("CREATE VIRTUAL TABLE j USING vecsql(content=docs, e FLOAT[2] source=e2)")
    db.execute("UPDATE docs SET e2 = '[1,0]' WHERE id = 3")
    db.execute("BEGIN; ALTER TABLE i RENAME TO old; ALTER TABLE j RENAME TO i")
    assert nearest(db) == [3]
    db.execute("ROLLBACK")
    assert nearest(db) == [1, 2]
    db.execute("BEGIN; ALTER TABLE i RENAME TO old; ALTER TABLE j RENAME TO i; DROP TABLE old")
    db.execute("COMMIT; UPDATE docs SET e2 = '[0,1]' WHERE id = 1")
    assert nearest(db) == [3, 1]
    assert intact(db)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("e FLOAT[2] source=e", "source= needs content="),
        ("content=docs, e FLOAT[2] source=nope", "every vector column"),
        ("content=docs, e FLOAT[2] source=", "expected option=value"),
    ],
)
def test_a_source_that_is_not_there_is_refused(db, options, message):
    with pytest.raises(apsw.SQLError, match=message):
        db.execute(f"CREATE VIRTUAL TABLE j USING vecsql({options})")


def test_rows_that_changed_while_no_trigger_watched_are_skipped_until_they_are_synced(db):
    db.execute("INSERT INTO i(i) VALUES('detach')")
    assert schema(db)[0] == "docs"
    assert not [n for n in schema(db) if "_vecsql_" in n]
    db.execute("UPDATE docs SET e = NULL WHERE id = 1")
    db.execute("INSERT INTO docs VALUES(4,'Four',2004,'[0.9,0]')")
    for where in ("1", "k = 3", "e IS NOT NULL", "year > 0"):
        assert nearest(db, where) in ([2], [4, 2])
    db.execute("INSERT INTO i(vecsql_sync) VALUES(1), (4)")
    assert nearest(db) == [4, 2]
    assert intact(db)
    db.execute("INSERT INTO i(i) VALUES('rebuild'); INSERT INTO i(i) VALUES('attach')")
    db.execute("DELETE FROM docs WHERE id = 4")
    assert nearest(db) == [2]


SEARCHES = [
    "SELECT id FROM i WHERE e MATCH '[1,0]' AND k = 1",
    "SELECT vecsql_search('i', 'e', vec_f32('[1,0]'), 1)",
    "SELECT * FROM vecsql_recall('i', 'e')",
    "INSERT INTO i(i) VALUES('attach')",
]


@pytest.mark.parametrize("sql", SEARCHES)
def test_no_road_answers_from_an_index_that_missed_changes(db, sql):
    remake(db)
    db.execute("UPDATE docs SET e = '[0,9]' WHERE id = 1")
    with pytest.raises(apsw.SQLError, match=r"missed changes of docs.*'rebuild'"):
        db.execute(sql).fetchall()
    estimate = "SELECT value FROM vecsql_stats('i') WHERE name = 'recall_estimate'"
    assert db.execute(estimate).fetchall() == [(None,)]
    db.execute("INSERT INTO i(i) VALUES('rebuild')")
    db.execute(sql).fetchall()
    assert nearest(db) == [2, 1]


@pytest.mark.parametrize("begin", ["", "BEGIN"])
@pytest.mark.parametrize("how", ["detach", "detach=noted"])
def test_attach_brings_in_what_changed_while_nobody_noted_it(db, how, begin):
    db.execute(f"INSERT INTO i(i) VALUES('{how}'); {begin}")
    db.execute("UPDATE docs SET e = '[0,9]' WHERE id = 1; DELETE FROM docs WHERE id = 2")
    db.execute("INSERT INTO i(i) VALUES('attach')")
    assert nearest(db) == [1]
    db.execute("UPDATE docs SET e = '[1,0]' WHERE id = 3")
    assert nearest(db) == [3, 1]
    if begin:
        db.execute("COMMIT")
    assert intact(db)


@pytest.mark.parametrize("command", ["rebuild", "attach", "detach"])
@pytest.mark.parametrize("part", ["_insert", "_unique_insert", "_unique_update"])
def test_a_command_that_fails_leaves_the_triggers_as_they_were(db, command, part):
    db.execute("CREATE UNIQUE INDEX u ON docs(year); INSERT INTO i(i) VALUES('rebuild'); BEGIN")
    before = schema(db)
    forbidden = (apsw.SQLITE_CREATE_TRIGGER, apsw.SQLITE_DROP_TRIGGER)
    forbidden = forbidden[command == "detach" :][:1]

    def authorize(op, name, *_):
        denied = op in forbidden and str(name).endswith(f"vecsql{part}")
        return apsw.SQLITE_DENY if denied else apsw.SQLITE_OK

    db.authorizer = authorize
    with pytest.raises(apsw.AuthError, match=r"main\.i, an index over docs: .*auth"):
        db.execute("INSERT INTO i(i) VALUES(?)", (command,))
    db.authorizer = None
    db.execute("COMMIT")
    if command != "detach" or part == "_insert":
        assert schema(db) == before
        db.execute("UPDATE OR REPLACE docs SET year = 2001 WHERE id = 2")
        assert nearest(db) == [2]
        assert intact(db)
    else:
        with pytest.raises(apsw.SQLError, match="missed changes of docs"):
            nearest(db)
    db.execute(f"INSERT INTO i(i) VALUES('rebuild'); INSERT INTO i(i) VALUES('{command}')")
    assert intact(db)


def test_attach_makes_no_index_anew_that_kept_in_step(db):
    stamp = "SELECT value FROM vecsql_stats('i') WHERE name = 'version'"
    before = db.execute(stamp).fetchall()
    db.execute("INSERT INTO i(i) VALUES('detach'); UPDATE docs SET year = 1")
    db.execute("INSERT INTO i(i) VALUES('attach')")
    assert db.execute(stamp).fetchall() == before


# --- every change that SQLite lets a user make ----------------------------------------------------


@pytest.mark.parametrize("name", ["rowid", "_rowid_", "oid", "id", "RowId", '"oid"'])
def test_a_key_that_changes_under_any_of_its_names_moves_the_entry(db, name):
    db.execute(f"UPDATE docs SET {name} = id + 10 WHERE id < 3")
    assert nearest(db) == [11, 12]
    db.execute(f"UPDATE OR REPLACE docs SET {name} = 3, e = NULL WHERE id = 11")
    assert nearest(db) == [12]
    assert intact(db)


REPLACING = [
    "INSERT OR REPLACE INTO docs VALUES(50, 'new', 2001, '[0.9,0]')",
    "INSERT OR REPLACE INTO docs(title, year, e) VALUES('new', 2001, '[0.9,0]')",
    "REPLACE INTO docs VALUES(50, 'a', 2001, '[0.9,0]'), (51, 'b', 2002, '[0.8,0]')",
    "UPDATE OR REPLACE docs SET year = 2002 WHERE id = 1",
    "UPDATE OR REPLACE docs SET year = 2002, id = 70 WHERE id = 1",
    "UPDATE OR REPLACE docs SET year = 2001, e = '[0,3]'",
    "INSERT OR IGNORE INTO docs VALUES(50, 'new', 2001, '[0.9,0]')",
    "INSERT INTO docs VALUES(50, 'n', 2001, '[0,4]') ON CONFLICT DO UPDATE SET e = excluded.e",
]


@pytest.mark.parametrize("sql", REPLACING)
@pytest.mark.parametrize("recursive", [0, 1])
@pytest.mark.parametrize(
    "unique",
    [
        "year INTEGER UNIQUE",
        "year INTEGER, UNIQUE(year, kind)",
        "year TEXT COLLATE NOCASE UNIQUE",
        "year INTEGER; CREATE UNIQUE INDEX u ON docs(year DESC)",
    ],
)
def test_rows_that_replace_removes_leave_the_index(unique, recursive, sql):
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute(f"PRAGMA recursive_triggers = {recursive}")
    columns, _, more = unique.partition("; ")
    kind = ", kind DEFAULT 1" if "kind" in columns else ""
    columns = columns.replace("year INTEGER, UNIQUE", f"year INTEGER{kind}, UNIQUE")
    last = ", e BLOB" if not kind else ""
    columns = columns if not kind else columns.replace(", UNIQUE", ", e BLOB, UNIQUE")
    db.execute(f"CREATE TABLE docs(id INTEGER PRIMARY KEY, title TEXT, {columns}{last}); {more}")
    if kind:
        sql = sql.replace("INTO docs VALUES", "INTO docs(id, title, year, e) VALUES")
        sql = sql.replace("ON CONFLICT DO", "ON CONFLICT(year, kind) DO")
    rows = [(1, "One", 2001, "[1,0]"), (2, "Two", 2002, "[0,1]"), (3, "Three", 2003, None)]
    db.executemany("INSERT INTO docs(id, title, year, e) VALUES(?,?,?,?)", rows)
    db.execute("CREATE VIRTUAL TABLE i USING vecsql(content=docs, e FLOAT[2])")
    db.execute(sql)
    left = db.execute(
        "SELECT id FROM docs WHERE e IS NOT NULL ORDER BY vec_distance_l2(e, '[1,0]')"
    )
    assert nearest(db) == [r[0] for r in left]
    assert intact(db)


@pytest.mark.parametrize("kind", ["STORED", "VIRTUAL"])
@pytest.mark.parametrize(
    ("column", "unique", "sql"),
    [
        ("a || b", "s", "SET a = 'x' WHERE id = 2"),
        ("a || b", "s", "SET b = 'p', a = 'x' WHERE id = 3"),
        ("a || b", "s, year", "SET a = 'x' WHERE id = 2"),
        ("a || b", "year, s", "SET year = 2, a = 'y' WHERE id = 1"),
        ("id % 10", "s", "SET id = 11 WHERE id = 2"),
        ("id % 10", "s", "SET rowid = 12 WHERE id = 3"),
    ],
)
def test_a_unique_column_that_is_computed_replaces_too(kind, column, unique, sql):
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, a, b, year, e BLOB, "
        f"s AS ({column}) {kind}, UNIQUE({unique}))"
    )
    values = "(1,'x','p',1,'[1,0]'),(2,'y','p',1,'[2,0]'),(3,'z','q',2,'[3,0]')"
    db.execute(f"INSERT INTO docs(id,a,b,year,e) VALUES{values}")
    if unique == "year, s":
        db.execute("UPDATE docs SET year = 2 WHERE id = 2")
    db.execute("CREATE VIRTUAL TABLE i USING vecsql(content=docs, e FLOAT[2])")
    db.execute(f"UPDATE OR REPLACE docs {sql}")
    rows = [i for (i,) in db.execute("SELECT id FROM docs ORDER BY e")]
    assert len(rows) == 2
    assert nearest(db) == rows
    assert intact(db)


def test_replace_without_a_key_removes_a_row_whose_key_is_minus_one(db):
    db.execute("CREATE TABLE d(id INTEGER PRIMARY KEY, u UNIQUE, e BLOB)")
    db.execute("CREATE VIRTUAL TABLE j USING vecsql(content=d, e FLOAT[2])")
    db.execute("INSERT INTO d VALUES(-1, 'a', '[1,0]'), (7, 'b', '[0,1]')")
    db.execute("REPLACE INTO d(u, e) VALUES('a', '[0.5,0]')")
    assert nearest(db, table="j") == [8, 7]
    assert intact(db)


@pytest.mark.parametrize("renames", [1, 2, 3])
def test_a_replaced_row_is_remembered_however_often_the_table_gets_another_name(db, renames):
    db.execute("CREATE UNIQUE INDEX u ON docs(year); INSERT INTO i(i) VALUES('rebuild'); BEGIN")
    db.execute("UPDATE OR REPLACE docs SET year = 2001 WHERE id = 2")
    for n in range(renames):
        db.execute(f"ALTER TABLE {f'docs{n}' if n else 'docs'} RENAME TO docs{n + 1}")
    db.execute("CREATE TABLE other(a); COMMIT")
    assert nearest(db) == [2]
    assert intact(db)
    db.execute("INSERT INTO i(i) VALUES('integrity-check')")


@pytest.mark.parametrize(
    "check", ["INSERT INTO i(i) VALUES('integrity-check')", "PRAGMA integrity_check"]
)
def test_a_check_before_the_commit_takes_no_replaced_row_for_damage(db, check):
    db.execute("CREATE UNIQUE INDEX u ON docs(year); INSERT INTO i(i) VALUES('rebuild'); BEGIN")
    db.execute("UPDATE OR REPLACE docs SET year = 2001 WHERE id = 2")
    assert db.execute(check).fetchall() in ([], [("ok",)])
    db.execute("SAVEPOINT s; UPDATE OR REPLACE docs SET year = 2001 WHERE id = 3")
    assert db.execute(check).fetchall() in ([], [("ok",)])
    db.execute("ROLLBACK TO s; COMMIT")
    assert nearest(db) == [2]
    assert intact(db)


def test_a_declared_conflict_clause_replaces_too(db):
    db.execute("CREATE TABLE d(id INTEGER PRIMARY KEY, u UNIQUE ON CONFLICT REPLACE, e BLOB)")
    db.execute("CREATE VIRTUAL TABLE j USING vecsql(content=d, e FLOAT[2])")
    db.execute("INSERT INTO d VALUES(1,'a','[1,0]'),(2,'b','[0,1]')")
    db.execute("BEGIN; INSERT INTO d VALUES(3,'a','[0.5,0]')")
    assert nearest(db, table="j") == [3, 2]
    db.execute("ROLLBACK")
    assert nearest(db, table="j") == [1, 2]
    db.execute("UPDATE d SET u = 'b' WHERE id = 1")
    assert nearest(db, table="j") == [1]
    assert intact(db)


def test_a_statement_that_fails_does_not_bring_a_replaced_row_back(db):
    db.execute("CREATE TABLE d(id INTEGER PRIMARY KEY, u UNIQUE, e BLOB)")
    db.execute("CREATE VIRTUAL TABLE j USING vecsql(content=d, e FLOAT[2])")
    db.execute("INSERT INTO d VALUES(1,'a','[1,0]'),(2,'b','[0,1]'),(3,'c','[0.5,0]')")
    db.execute("BEGIN; UPDATE OR REPLACE d SET u = 'c' WHERE id = 1")
    with pytest.raises(apsw.ConstraintError):
        db.execute("INSERT INTO d VALUES(3,'x',NULL),(2,'y','[1,1]')")
    assert nearest(db, table="j") == [1, 2]
    db.execute("COMMIT")
    assert nearest(db, table="j") == [1, 2]
    assert intact(db)


def test_a_unique_index_that_was_dropped_costs_no_scan(db):
    db.execute("CREATE TABLE d(id INTEGER PRIMARY KEY, u, e BLOB); CREATE UNIQUE INDEX u ON d(u)")
    db.execute("CREATE VIRTUAL TABLE j USING vecsql(content=d, e FLOAT[2])")
    rows = [(i, i, f"[{i},0]") for i in range(3000)]

    def steps() -> int:
        """Instructions of SQLite's machine, in thousands, that writing the rows takes."""
        ticks = []
        db.set_progress_handler(lambda: bool(ticks.append(1)), 1000)
        with db:
            db.executemany("INSERT INTO d VALUES(?,?,?)", rows)
        db.set_progress_handler(None)
        db.execute("DELETE FROM d")
        return len(ticks)

    with_index = steps()
    db.execute("DROP INDEX u")
    assert steps() < 3 * with_index
    assert intact(db)


@pytest.mark.parametrize("kind", ["STORED", "VIRTUAL"])
def test_generated_columns_filter_and_hold_vectors(kind):
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, json TEXT, x REAL, "
        f"e BLOB AS (CASE WHEN x > 0 THEN vec_f32(json) END) {kind}, half REAL AS (x / 2) {kind})"
    )
    db.execute("INSERT INTO docs(id, json, x) VALUES(1,'[1,0]',1),(2,'[0,1]',2),(3,'[3,3]',-1)")
    db.execute("CREATE VIRTUAL TABLE i USING vecsql(content=docs, e FLOAT[2])")
    assert nearest(db) == [1, 2]
    assert nearest(db, "half > 0.6") == [2]
    db.execute("UPDATE docs SET json = '[9,0]' WHERE id = 1; UPDATE docs SET x = 5 WHERE id = 3")
    assert nearest(db) == [2, 3, 1]
    assert nearest(db, "half = 2.5 AND k = 1") == [3]
    db.execute("UPDATE docs SET x = 0 WHERE id = 2")
    assert nearest(db) == [3, 1]
    assert intact(db)


def test_strict_tables_and_checks_are_followed():
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute(
        "CREATE TABLE docs(id INTEGER PRIMARY KEY, n INT CHECK (n > 0), "
        "e BLOB CHECK (e IS NULL OR vec_length(e) = 2)) STRICT"
    )
    db.execute("CREATE VIRTUAL TABLE i USING vecsql(content=docs, e FLOAT[2])")
    db.execute("INSERT INTO docs VALUES(1, 1, vec_f32('[1,0]')), (2, 2, vec_f32('[0,1]'))")
    for bad in ("(3, 0, vec_f32('[1,1]'))", "(3, 1, vec_f32('[1]'))", "(3, 1, 'text')"):
        with pytest.raises(apsw.ConstraintError):
            db.execute(f"INSERT INTO docs VALUES (4, 4, vec_f32('[1,1]')), {bad}")
    assert nearest(db) == [1, 2]
    assert intact(db)


def test_changes_that_come_by_another_table_are_followed(db):
    db.execute("PRAGMA foreign_keys = ON")
    db.execute(
        "CREATE TABLE authors(a INTEGER PRIMARY KEY);"
        "CREATE TABLE d(id INTEGER PRIMARY KEY, a REFERENCES authors ON DELETE CASCADE, e BLOB);"
        "CREATE VIRTUAL TABLE j USING vecsql(content=d, e FLOAT[2]);"
        "CREATE VIEW v AS SELECT * FROM d;"
        "CREATE TRIGGER v1 INSTEAD OF INSERT ON v BEGIN"
        "  INSERT INTO d VALUES(new.id, new.a, new.e); END;"
        "CREATE TRIGGER v2 INSTEAD OF UPDATE ON v BEGIN"
        "  UPDATE d SET e = new.e, id = new.id WHERE id = old.id; END;"
        "CREATE TRIGGER v3 INSTEAD OF DELETE ON v BEGIN DELETE FROM d WHERE id = old.id; END;"
        "CREATE TRIGGER own AFTER INSERT ON d WHEN new.e IS NULL BEGIN"
        "  UPDATE d SET e = '[0.5,0]' WHERE id = new.id; END;"
        "INSERT INTO authors VALUES(1),(2);"
        "INSERT INTO v VALUES(1, 1, '[1,0]'), (2, 2, '[0,1]'), (3, 1, NULL)"
    )
    assert nearest(db, table="j") == [1, 3, 2]
    db.execute("UPDATE v SET e = '[0,2]', id = 30 WHERE id = 3")
    assert nearest(db, table="j") == [1, 2, 30]
    db.execute("UPDATE d SET e = x.e FROM (SELECT 2 AS i, '[1,0.1]' AS e) x WHERE d.id = x.i")
    assert nearest(db, table="j") == [1, 2, 30]
    given = db.execute("UPDATE d SET e = '[5,5]' WHERE id = 1 RETURNING id, e").fetchall()
    assert given == [(1, "[5,5]")]
    assert nearest(db, table="j") == [2, 30, 1]
    db.execute("DELETE FROM authors WHERE a = 1")
    assert nearest(db, table="j") == [2]
    db.execute("DELETE FROM v")
    assert nearest(db, table="j") == []
    assert intact(db)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (
            "CREATE TABLE t(id INTEGER PRIMARY KEY DESC, e)",
            "PRIMARY KEY DESC is a column of its own",
        ),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY, e) WITHOUT ROWID", "it is WITHOUT ROWID"),
        ("CREATE VIEW t AS SELECT 1 AS id, NULL AS e", "it is a view"),
        ("CREATE VIRTUAL TABLE t USING fts5(e)", "it is a virtual table"),
        (
            "CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[2])",
            "virtual table",
        ),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY, f)", "a vector column is not in it"),
        ("SELECT 1", "there is no such table"),
    ],
)
def test_a_table_that_cannot_be_followed_is_refused_with_the_reason(table, why):
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute(table)
    with pytest.raises(apsw.SQLError, match=f"content table main.t: .*{why}"):
        db.execute("CREATE VIRTUAL TABLE i USING vecsql(content=t, e FLOAT[2])")


# --- tables that are made anew, and names that change ---------------------------------------------


@pytest.mark.parametrize("how", ["remade", "replaced", "trigger dropped"])
@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_an_index_says_that_its_table_was_made_anew(tmp_path, how, where):
    path = str(tmp_path / "a.db")
    db = vecsql.connect(path, driver="apsw")
    db.execute("CREATE TABLE docs(id INTEGER PRIMARY KEY, title, year, e)")
    db.execute("INSERT INTO docs VALUES(1,'One',1,'[1,0]'),(2,'Two',2,'[0,1]')")
    db.execute("CREATE VIRTUAL TABLE i USING vecsql(content=docs, e FLOAT[2])")
    assert nearest(db) == [1, 2]
    other = db if where == "here" else vecsql.connect(path, driver="apsw")
    if how == "remade":
        remake(other, columns="id INTEGER PRIMARY KEY, year, e, title")
    elif how == "replaced":
        other.execute("DROP TABLE docs; CREATE TABLE docs(id INTEGER PRIMARY KEY, year, e, title)")
        other.execute("INSERT INTO docs VALUES(1,1,'[1,0]','One'),(2,2,'[0,1]','Two')")
    else:
        other.execute("DROP TRIGGER i_vecsql_update")
    other.execute("UPDATE docs SET e = '[8,8]' WHERE id = 1")
    for sql in ("SELECT id FROM i WHERE e MATCH '[1,0]' AND k = 2", "SELECT count(*) FROM i"):
        with pytest.raises(apsw.SQLError, match=r"missed changes of docs.*VALUES\('rebuild'\)"):
            db.execute(sql).fetchall()
    assert "missing" in db.execute("PRAGMA integrity_check").fetchone()[0]
    db.execute("INSERT INTO i(i) VALUES('rebuild')")
    assert nearest(db) == [2, 1]
    other.execute("INSERT INTO docs(id, e) VALUES(9, '[1,0]')")
    assert nearest(db) == [9, 2, 1]
    assert intact(db)


def test_a_migration_that_is_rolled_back_changes_nothing(db):
    db.execute("BEGIN; INSERT INTO docs(id, e) VALUES(9, '[0.5,0]'); SAVEPOINT s")
    remake(db)
    with pytest.raises(apsw.SQLError, match="missed changes"):
        nearest(db)
    db.execute("INSERT INTO i(i) VALUES('rebuild'); UPDATE docs SET e = '[7,0]' WHERE id = 1")
    assert nearest(db) == [9, 2, 1]
    db.execute("ROLLBACK TO s; UPDATE docs SET e = '[6,0]' WHERE id = 1")
    assert nearest(db) == [9, 2, 1]
    db.execute("ROLLBACK")
    assert nearest(db) == [1, 2]
    db.execute("INSERT INTO docs(id, e) VALUES(9, '[0.5,0]')")
    assert nearest(db) == [1, 9, 2]
    assert intact(db)


@pytest.mark.parametrize("legacy", [0, 1])
def test_an_index_can_take_the_name_that_another_one_had(db, legacy):
    db.execute(f"PRAGMA legacy_alter_table = {legacy}; ALTER TABLE i RENAME TO old")
    db.execute("CREATE VIRTUAL TABLE i USING vecsql(content=docs, e FLOAT[2])")
    db.execute("INSERT INTO docs(id, e) VALUES(9, '[0.5,0]')")
    assert nearest(db) == nearest(db, table="old") == [1, 9, 2]
    db.execute("ALTER TABLE old RENAME TO older; DROP TABLE older; DELETE FROM docs WHERE id = 9")
    assert nearest(db) == [1, 2]
    assert intact(db)


def test_a_column_that_takes_the_name_of_the_index_locks_nothing(db):
    db.execute("ALTER TABLE docs ADD COLUMN i; ALTER TABLE docs RENAME COLUMN title TO distance")
    db.execute("INSERT INTO docs(id, e) VALUES(9, '[0.5,0]')")
    assert nearest(db) == [1, 9, 2]
    assert intact(db)


# --- random programs ------------------------------------------------------------------------------


@pytest.mark.parametrize("run", range(12))
def test_random_changes_of_a_table_are_followed(run):
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    db = vecsql.connect(":memory:", driver="apsw")
    columns = ["id INTEGER PRIMARY KEY", "u INTEGER", "w TEXT COLLATE NOCASE", "e BLOB"]
    constraints = rng.sample(["UNIQUE(u)", "UNIQUE(w, u)", "UNIQUE(w)"], rng.randrange(3))

    def create(name: str) -> str:
        shuffled = rng.sample(columns, len(columns))
        return f"CREATE TABLE {name}({', '.join(shuffled + constraints)})"

    def vector() -> str | None:
        return None if rng.random() < 0.1 else f"[{rng.randrange(-9, 10)}, {rng.random():.3f}]"

    def row() -> tuple:
        return rng.randrange(20), rng.randrange(15), rng.choice("aAbBcCdD"), vector()

    def names(sql: str) -> str:
        return sql.replace("docs", table)

    table = "docs"
    db.execute(create("docs"))
    db.execute("CREATE VIRTUAL TABLE i USING vecsql(content=docs, e FLOAT[2])")
    if rng.random() < 0.5:
        db.execute("PRAGMA recursive_triggers = 1")
    conflict = ("", " OR REPLACE", " OR IGNORE", " OR FAIL")
    for _ in range(150):
        open_before = db.in_transaction
        kind, how = rng.randrange(16), rng.choice(conflict)
        try:
            if kind < 6:
                sql = f"INSERT{how} INTO docs(id, u, w, e) VALUES (?,?,?,?), (?,?,?,?)"
                db.execute(names(sql), (*row(), *row()))
            elif kind < 9:
                change = rng.choice(
                    ["id = ?1 % 20", "rowid = ?1", "u = u + 1", "w = 'a'", "e = ?2"]
                )
                sql = f"UPDATE{how} docs SET {change}, u = u WHERE id > ?3"
                db.execute(
                    names(sql + " AND ?1 + 0 IS ?1 AND (?2 IS ?2)"), (row()[0], vector(), row()[0])
                )
            elif kind == 9:
                db.execute(names("DELETE FROM docs WHERE id % 5 = ?"), (rng.randrange(5),))
            elif kind == 10:
                db.execute(rng.choice(["BEGIN", "COMMIT", "ROLLBACK"]))
            elif kind == 11:
                db.execute(rng.choice(["SAVEPOINT s", "ROLLBACK TO s", "RELEASE s"]))
            elif kind == 12:
                remade = create("made_anew")
                db.execute(remade)
                db.execute(
                    names(
                        "INSERT INTO made_anew(id, u, w, e) SELECT id, u, w, e FROM docs; "
                        "DROP TABLE docs; ALTER TABLE made_anew RENAME TO docs; "
                        "INSERT INTO i(i) VALUES('rebuild')"
                    )
                )
            elif kind == 13:
                db.execute(rng.choice(["CREATE UNIQUE INDEX x ON docs(u, w)", "DROP INDEX x"]))
                db.execute("INSERT INTO i(i) VALUES('rebuild')")
            elif kind == 14:
                db.execute(f"ALTER TABLE {table} ADD COLUMN n{rng.randrange(10**9)}")
            else:
                db.execute("INSERT INTO i(i) VALUES('optimize')")
        except apsw.Error as e:
            print(type(e).__name__, e, open_before)
        left = db.execute(
            names(
                "SELECT id FROM docs WHERE e IS NOT NULL ORDER BY vec_distance_l2(e, '[1,0]'), id"
            )
        )
        want = [r[0] for r in left]
        got = db.execute("SELECT id, distance FROM i WHERE e MATCH '[1,0]' AND k = 1000").fetchall()
        assert [r[0] for r in sorted(got, key=lambda r: (r[1], r[0]))] == want
    if db.in_transaction:
        db.execute("COMMIT")


# --- values that are no vector --------------------------------------------------------------------

BAD = ["x'00'", "vec_f32('[1,2,3]')", "'[1]'", "'no vector'", "7", "1.5", "x''", "'[1,null]'"]


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("begin", ["", "BEGIN"])
def test_creating_names_the_row_that_holds_no_vector_and_makes_nothing(db, value, begin):
    db.execute("DROP TABLE i; CREATE TABLE other(a)")
    db.execute(f"INSERT INTO docs(id, e) VALUES(7717, {value})")
    db.execute(f"{begin}; INSERT INTO other VALUES(1)")
    sql = "CREATE VIRTUAL TABLE i USING vecsql(content=docs, content_rowid=id, e FLOAT[2])"
    with pytest.raises(apsw.SQLError, match=r"cannot index docs: row 7717 of docs\.e: .*"):
        db.execute(sql)
    if begin:
        db.execute("COMMIT")
    assert db.execute("SELECT count(*) FROM other").get == 1
    assert db.execute("SELECT count(*) FROM sqlite_schema WHERE name GLOB 'i*'").get == 0
    db.execute("UPDATE docs SET e = NULL WHERE id = 7717")
    db.execute(sql)
    assert nearest(db) == [1, 2]
    assert intact(db)


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("begin", ["", "BEGIN"])
@pytest.mark.parametrize(
    ("sql", "row"),
    [
        ("INSERT INTO docs(id, e) VALUES(88, {})", 88),
        ("INSERT INTO docs(id, e) VALUES(87, '[1,1]'), (88, {})", 88),
        ("REPLACE INTO docs(id, e) VALUES(2, {})", 2),
        ("UPDATE docs SET e = {} WHERE id = 1", 1),
        ("UPDATE docs SET id = 99, e = {} WHERE id = 1", 99),
        ("INSERT INTO docs(id, e) VALUES(1, '[1,1]') ON CONFLICT DO UPDATE SET e = {}", 1),
    ],
)
def test_a_statement_that_brings_no_vector_names_the_row_and_does_nothing(
    db, value, begin, sql, row
):
    db.execute(begin)
    before = db.execute("SELECT * FROM docs").fetchall()
    with pytest.raises(apsw.SQLError, match=rf"row {row} of docs\.e: "):
        db.execute(sql.format(value))
    assert db.execute("SELECT * FROM docs").fetchall() == before
    assert nearest(db) == [1, 2]
    db.execute("INSERT INTO docs(id, e) VALUES(4, '[0.9,0]')")
    if begin:
        db.execute("COMMIT")
    assert nearest(db) == [1, 4, 2]
    assert intact(db)


@pytest.mark.parametrize("begin", ["", "BEGIN"])
def test_a_rebuild_names_the_rows_and_leaves_the_index_as_it_is(db, begin):
    db.execute("INSERT INTO i(i) VALUES('detach')")
    db.executemany("INSERT INTO docs(id, e) VALUES(?, x'00')", [(i,) for i in range(101, 115)])
    db.execute(begin)
    expected = (
        r"row 101 of docs\.e: .*; also rows 102, 103, 104, 105, 106, 107, 108, 109, 110 and 4 more"
    )
    with pytest.raises(apsw.SQLError, match=expected):
        db.execute("INSERT INTO i(i) VALUES('rebuild')")
    assert nearest(db) == [1, 2]
    if begin:
        db.execute("COMMIT")
    with pytest.raises(apsw.CorruptError, match="row 101: what is stored is no vector"):
        db.execute("INSERT INTO i(i) VALUES('integrity-check')")
    db.execute("UPDATE docs SET e = NULL WHERE id > 100; INSERT INTO i(i) VALUES('rebuild')")
    assert nearest(db) == [1, 2]
    assert intact(db)


def test_a_row_with_one_bad_vector_of_two_changes_neither(db):
    db.execute("CREATE TABLE two(id INTEGER PRIMARY KEY, a BLOB, b BLOB)")
    db.execute("INSERT INTO two VALUES(1, '[1,0]', '[0,1]')")
    db.execute("CREATE VIRTUAL TABLE j USING vecsql(content=two, a FLOAT[2], b FLOAT[2])")
    db.execute("INSERT INTO j(j) VALUES('detach'); BEGIN; UPDATE two SET a = '[5,5]', b = x'00'")
    with pytest.raises(apsw.SQLError, match=r"row 1 of two\.b"):
        db.execute("INSERT INTO j(vecsql_sync) VALUES(1)")
    db.execute("UPDATE two SET a = '[1,0]', b = '[0,1]'; COMMIT")
    assert intact(db)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_an_exact_search_is_that_of_brute_force_and_scans_the_codes(metric):
    """Rows that have gone without telling cost no other row its place."""
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(3000, 16)).astype(np.float32)
    rows[100:110] = rows[0]  # ties
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute("CREATE TABLE d(id INTEGER PRIMARY KEY, v BLOB)")
    db.execute(
        f"CREATE VIRTUAL TABLE i USING vecsql(content=d, v FLOAT[16] distance_metric={metric})"
    )
    db.executemany("INSERT INTO d VALUES(?, ?)", ((n, x.tobytes()) for n, x in enumerate(rows)))
    query = rows[0] + np.float32(0.01)
    sql = f"SELECT id, vec_distance_{metric}(v, ?) FROM d"
    distance = dict(db.execute(sql, (query.tobytes(),)))
    order = sorted(distance, key=lambda n: (distance[n], n))
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 0)
    db.executemany("DELETE FROM d WHERE id = ?", ((n,) for n in order[5:25]))
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, 1)
    want = order[:5] + order[25:]
    for k in (1, 5, 6, 40, 2980, 5000):
        sql = "SELECT rowid FROM i WHERE v MATCH ? AND exact = 1 AND k = ?"
        assert [r for (r,) in db.execute(sql, (query.tobytes(), k))] == want[:k]
    sql = "SELECT rowid FROM i WHERE v MATCH ? AND exact = 1 AND k = 9"
    list(db.execute(sql, (query.tobytes(),)))
    plan = "SELECT value FROM vecsql_stats('i') WHERE name = 'last_query_plan'"
    assert list(db.execute(plan)) == [("exact scan",)]
