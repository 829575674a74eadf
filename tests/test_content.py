"""Risk: an index over an ordinary table drifts from it, or is left in a state nobody can use."""

from __future__ import annotations

import apsw
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


def test_a_lost_column_or_table_gives_a_clear_error_and_can_be_dropped(db):
    query = "SELECT rowid FROM i WHERE e MATCH '[1,0]' AND k = 1"
    db.execute("ALTER TABLE docs RENAME TO papers")
    with pytest.raises(apsw.SQLError, match="content table docs"):
        db.execute(query).fetchall()
    db.execute("ALTER TABLE papers RENAME TO docs")
    assert nearest(db) == [1, 2]
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
    db.execute("CREATE UNIQUE INDEX u ON docs(year)")
    db.execute("INSERT OR REPLACE INTO docs VALUES(50,'New',2001,'[0.9,0]')")
    assert nearest(db) == [50, 2]
    rows = db.execute("SELECT id FROM i WHERE e MATCH '[1,0]' AND k = 2").fetchall()
    assert rows == [(50,), (2,)]
    assert not intact(db)
    db.execute("INSERT INTO i(i) VALUES('rebuild')")
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
    for event in ("insert", "delete", "update"):
        db.execute(f"DROP TRIGGER i_vecsql_{event}")
    db.execute("UPDATE docs SET e = NULL WHERE id = 1")
    db.execute("INSERT INTO docs VALUES(4,'Four',2004,'[0.9,0]')")
    for where in ("1", "k = 3", "e IS NOT NULL", "year > 0"):
        assert nearest(db, where) in ([2], [4, 2])
    db.execute("INSERT INTO i(vecsql_sync) VALUES(1), (4)")
    assert nearest(db) == [4, 2]
    assert intact(db)
