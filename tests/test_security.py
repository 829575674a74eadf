"""Risk: a hostile name, option, value or file makes vecsql run SQL, crash, or let through what
SQLite forbids. docs/security.md says what is promised."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import apsw
import pytest

import vecsql

HOSTILE = [
    'a"b',
    "a'b",
    "a]b",
    "a`b",
    'x"; DROP TABLE victim; --',
    "x'); DROP TABLE victim; --",
    "%s%n%w%Q",
    "drop",
    "select",
    "naïve ☃",
    "a b\tc",
    "-- comment",
    "/* comment */",
    "a;b",
    "rowid_",
    "n" * 200,
]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.fixture
def db() -> apsw.Connection:
    conn = apsw.Connection(":memory:")
    vecsql.load(conn)
    conn.execute("CREATE TABLE victim(a); INSERT INTO victim VALUES(1)")
    return conn


def use(conn: apsw.Connection, table: str, column: str, extra: str) -> None:
    """Everything one does with a table."""
    t, e, x = quoted(table), quoted(column), quoted(extra)
    insert = f"INSERT INTO {t}(rowid, {e}, {x}) VALUES(?, ?, ?)"
    conn.executemany(insert, [(i, f"[{i}, 1]", f"v{i}") for i in range(5)])
    sql = f"SELECT rowid FROM {t} WHERE {e} MATCH '[0, 1]' AND k = 3 AND {x} >= 'v1'"
    assert conn.execute(sql).fetchall() == [(1,), (2,), (3,)]
    conn.execute(f"UPDATE {t} SET {e} = '[9, 9]', {x} = 'w' WHERE rowid = 1")
    conn.execute(f"DELETE FROM {t} WHERE rowid = 2")
    for command in ("optimize", "rebuild", "integrity-check"):
        conn.execute(f"INSERT INTO {t}({t}) VALUES(?)", (command,))
    assert conn.execute("SELECT count(*) FROM vecsql_stats(?)", (table,)).get > 0
    assert conn.execute("PRAGMA integrity_check").get == "ok"


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_only_names(db, name):
    t, e, x = name + "t", name + "e", name + "x"
    db.execute(
        f"CREATE VIRTUAL TABLE {quoted(t)} USING vecsql"
        f"({quoted(e)} FLOAT[2], {quoted(x)} TEXT indexed)"
    )
    use(db, t, e, x)
    db.execute(f"ALTER TABLE {quoted(t)} RENAME TO {quoted(name + 'u')}")
    db.execute(f"DROP TABLE {quoted(name + 'u')}")
    assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("victim",)]
    assert db.execute("SELECT * FROM victim").fetchall() == [(1,)]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_content_tables_are_only_names(db, name):
    docs, key, e = name + "d", name + "k", name + "e"
    db.execute(f"CREATE TABLE {quoted(docs)}({quoted(key)} INTEGER PRIMARY KEY, {quoted(e)} BLOB)")
    db.execute(f"INSERT INTO {quoted(docs)} VALUES(1, vec_f32('[1, 2]'))")
    db.execute(
        f"CREATE VIRTUAL TABLE i USING vecsql(content={quoted(docs)}, "
        f"content_rowid={quoted(key)}, {quoted(e)} FLOAT[2])"
    )
    db.execute(f"INSERT INTO {quoted(docs)} VALUES(2, vec_f32('[3, 4]'))")
    db.execute(f"UPDATE {quoted(docs)} SET {quoted(e)} = vec_f32('[5, 6]') WHERE {quoted(key)} = 1")
    sql = f"SELECT rowid FROM i WHERE {quoted(e)} MATCH '[5, 6]' AND k = 2"
    assert db.execute(sql).fetchall() == [(1,), (2,)]
    db.execute("DROP TABLE i")
    assert db.execute("SELECT * FROM victim").fetchall() == [(1,)]


@pytest.mark.parametrize("text", [*HOSTILE, "x" * 100000, "\\0", "[" * 50000, "9" * 5000])
def test_hostile_values_are_stored_or_refused(db, text):
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2], tag TEXT indexed, +body TEXT)")
    db.execute("INSERT INTO t(rowid, e, tag, body) VALUES(1, '[1, 2]', ?, ?)", (text, text))
    sql = "SELECT tag, body FROM t WHERE e MATCH '[1, 2]' AND k = 1 AND tag = ?"
    assert db.execute(sql, (text,)).fetchall() == [(text, text)]
    for sql in (
        "INSERT INTO t(rowid, e) VALUES(2, ?)",
        "SELECT rowid FROM t WHERE e MATCH ? AND k = 1",
        "SELECT vec_length(?)",
        "INSERT INTO t(t) VALUES(?)",
    ):
        with pytest.raises(apsw.Error):
            db.execute(sql, (text,)).fetchall()
    assert db.execute("SELECT count(*) FROM t").get == 1


def test_shadow_tables_cannot_be_written_in_defensive_mode(db):
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2], a TEXT indexed)")
    db.execute("INSERT INTO t(rowid, e) VALUES(1, '[1, 2]')")
    db.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 1)
    shadows = "SELECT name FROM pragma_table_list WHERE type = 'shadow'"
    names = [n for (n,) in db.execute(shadows)]
    assert {n.rstrip("0") for n in names} >= {"t_config", "t_rows", "t_map", "t_pages", "t_log"}
    for name in names:
        with pytest.raises(apsw.SQLError, match="may not be"):
            db.execute(f"DELETE FROM {name}")
        with pytest.raises(apsw.SQLError, match="may not be"):
            db.execute(f"DROP TABLE {name}")
    db.execute("INSERT INTO t(rowid, e) VALUES(2, '[3, 4]')")
    db.execute("UPDATE t SET e = '[5, 6]' WHERE rowid = 1")
    for command in ("optimize", "rebuild", "integrity-check"):
        db.execute("INSERT INTO t(t) VALUES(?)", (command,))
    assert db.execute("SELECT rowid FROM t WHERE e MATCH '[3,4]' AND k = 1").get == 2


def test_triggers_and_views_work_with_an_untrusted_schema(db):
    db.execute("PRAGMA trusted_schema = OFF")
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2])")
    db.execute("CREATE TABLE docs(id INTEGER PRIMARY KEY, e)")
    db.execute(
        "CREATE TRIGGER into_t AFTER INSERT ON docs BEGIN "
        "INSERT INTO t(rowid, e) VALUES(new.id, vec_normalize(new.e)); END"
    )
    db.execute("CREATE VIEW near AS SELECT rowid FROM t WHERE e MATCH '[1, 0]' AND k = 1")
    db.execute("INSERT INTO docs VALUES(1, '[1, 2]'), (2, '[2, 1]')")
    assert db.execute("SELECT * FROM near").get == 2


def test_functions_that_read_tables_are_not_for_the_schema(db):
    """A view in a hostile file must not make a reader search his other databases."""
    functions = {
        n
        for n, flags in db.execute("SELECT DISTINCT name, flags FROM pragma_function_list")
        if n.startswith(("vec_", "vecsql_")) and not flags & 0x200000  # SQLITE_INNOCUOUS
    }
    pure = {n for n in functions if n.startswith("vec_") and n not in {"vec_debug"}}
    assert not pure, "pure functions are innocuous"


@pytest.mark.parametrize("shadow", ["t_config", "t_rows", "t_map0", "t_log0", "t_pages0"])
def test_a_view_in_the_place_of_a_shadow_table_is_not_written_through(tmp_path, shadow):
    path = str(tmp_path / "a.db")
    conn = apsw.Connection(path)
    vecsql.load(conn)
    conn.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2])")
    conn.execute("INSERT INTO t(rowid, e) VALUES(1, '[1, 2]')")
    columns = [c for (c,) in conn.execute("SELECT name FROM pragma_table_info(?)", (shadow,))]
    conn.close()
    plain = apsw.Connection(path)
    plain.execute("CREATE TABLE secret(a)")
    plain.execute(f"DROP TABLE {shadow}")
    values = ", ".join(f"(SELECT max(a) FROM secret) AS {c}" for c in columns)
    plain.execute(f"CREATE VIEW {shadow} AS SELECT {values}")
    plain.close()
    conn = apsw.Connection(path)
    vecsql.load(conn)
    refused = 0
    for sql in (
        "SELECT rowid, e FROM t WHERE e MATCH '[1, 2]' AND k = 1",
        "INSERT INTO t(rowid, e) VALUES(9, '[1, 2]')",
        "INSERT INTO t(t) VALUES('optimize')",
        "INSERT INTO t(t) VALUES('rebuild')",
    ):
        try:
            conn.execute(sql).fetchall()
        except apsw.Error:
            refused += 1
    assert refused > 0
    assert conn.execute("SELECT count(*) FROM secret").get == 0
    conn.close()


def test_a_read_only_file_is_never_written(tmp_path: Path):
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as plain:
        plain.execute("CREATE TABLE x(a)")
    plain.close()
    conn = apsw.Connection(str(path))
    vecsql.load(conn)
    conn.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2])")
    conn.executemany(
        "INSERT INTO t(rowid, e) VALUES(?, ?)", [(i, json.dumps([i, 1])) for i in range(30)]
    )
    conn.close()
    before = path.read_bytes()
    path.chmod(0o444)
    reader = apsw.Connection(
        f"file:{path}?immutable=1", apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    )
    vecsql.load(reader)
    assert reader.execute("SELECT rowid FROM t WHERE e MATCH '[7, 1]' AND k = 1").get == 7
    assert reader.execute("SELECT count(*) FROM vecsql_stats('t')").get > 0
    for sql in ("DELETE FROM t", "INSERT INTO t(t) VALUES('optimize')", "DROP TABLE t"):
        with pytest.raises(apsw.ReadOnlyError):
            reader.execute(sql)
    reader.close()
    assert path.read_bytes() == before


def test_the_extension_loads_by_a_statement_too(tmp_path: Path) -> None:
    """While a statement runs SQLite lets nobody replace match(), which is built in."""
    copy = tmp_path / "vecsql.so"  # another SQLite of this process may have loaded the file itself
    shutil.copy(vecsql.loadable_path(), copy)
    db = apsw.Connection(":memory:")
    db.enable_load_extension(True)
    db.execute("SELECT load_extension(?)", (str(copy),)).fetchall()
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(e float[2])")
    db.execute("INSERT INTO t(e) VALUES ('[1, 2]')")
    assert db.execute("SELECT rowid FROM t WHERE e MATCH '[0, 0]' AND k = 1").fetchall() == [(1,)]
