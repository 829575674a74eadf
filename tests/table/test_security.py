"""Risk: a hostile name, option, value or file makes vecsql run SQL, crash, or let through what
SQLite forbids. docs/explain/security.md says what is promised."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import subprocess
import sys
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


# --- hostile schemas ------------------------------------------------------------------------------


def virtual(name: str, arguments: str) -> str:
    """Puts a table into the schema without CREATE: xCreate checks nothing."""
    sql = f"CREATE VIRTUAL TABLE {name} USING vecsql({arguments})"
    return f"INSERT INTO sqlite_schema VALUES('table', '{name}', '{name}', 0, '{sql}')"


CONFIG = "CREATE TABLE a_config(key TEXT PRIMARY KEY, value) WITHOUT ROWID"
LOG = "CREATE TABLE a_log0(ver INTEGER PRIMARY KEY, stamp INTEGER, state BLOB, edits BLOB, v)"
HOSTILE_SCHEMAS = {
    "over itself": [virtual("a", "content=a, v float[2]")],
    "two over each other": [
        virtual("a", "content=b, v float[2]"),
        virtual("b", "content=a, v float[2]"),
    ],
    "a circle of four": [
        virtual(x, f"content={y}, v float[2]") for x, y in ("ab", "bc", "cd", "da")
    ],
    "over a view of itself": [
        virtual("a", "content=w, v float[2]"),
        "CREATE VIEW w AS SELECT rowid AS id, v FROM a",
    ],
    "over its configuration": [virtual("a", "content=a_config, v float[2]"), CONFIG],
    "over its log": [virtual("a", "content=a_log0, v float[2]"), CONFIG, LOG],
    "over the schema": [virtual("a", "content=sqlite_schema, v float[2]")],
    "over a list of tables": [virtual("a", "content=pragma_table_list, v float[2]")],
    "over its statistics": [virtual("a", "content=vecsql_stats, v float[2]")],
    "over full text": [
        virtual("a", "content=f, v float[2]"),
        "CREATE VIRTUAL TABLE f USING fts5(v)",
    ],
    "its configuration is an index over it": [
        virtual("a", "v float[2]"),
        virtual("a_config", "content=a, v float[2]"),
    ],
    "its configuration is a view of it": [
        virtual("a", "v float[2]"),
        "CREATE VIEW a_config AS SELECT rowid AS key, v AS value FROM a",
    ],
    "its log is a view of it": [
        virtual("a", "v float[2]"),
        CONFIG,
        "CREATE VIEW a_log0 AS SELECT rowid AS ver, 0 AS stamp, v AS state, v AS edits FROM a",
    ],
    "its rows are a view of it": [
        virtual("a", "v float[2]"),
        CONFIG,
        LOG,
        "CREATE VIEW a_rows AS SELECT rowid, v AS c1 FROM a",
    ],
    "views in a circle": [
        virtual("a", "v float[2]"),
        "CREATE VIEW a_config AS SELECT * FROM b_config",
        "CREATE VIEW b_config AS SELECT * FROM a_config",
    ],
}
READER = """
import sys
import vecsql
db = vecsql.connect(sys.argv[1], driver=sys.argv[2])
names = [r[0] for r in db.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")]
statements = ["PRAGMA table_list", "PRAGMA quick_check", "PRAGMA integrity_check",
              "PRAGMA foreign_key_check", "SELECT * FROM pragma_table_list"]
for n in names:
    statements += [f"SELECT * FROM {n}", f"SELECT rowid FROM {n} WHERE v MATCH '[0,0]' AND k = 1",
                   f"PRAGMA table_xinfo({n})", f"SELECT count(*) FROM vecsql_stats('{n}')",
                   f"INSERT INTO {n}({n}) VALUES('integrity-check')",
                   f"INSERT INTO {n}({n}) VALUES('rebuild')"]
statements += ["ANALYZE", "CREATE TABLE q(a)", "ALTER TABLE q RENAME TO q2", "VACUUM"]
statements += [f"DROP TABLE {n}" for n in names]
for sql in statements:
    try:
        list(db.execute(sql))
    except Exception as e:
        print("error:", sql, e)
print("alive")
"""


@pytest.mark.parametrize("schema", HOSTILE_SCHEMAS)
def test_a_hostile_schema_gives_errors_and_never_calls_back(tmp_path, driver, schema):
    """What is being constructed must not be asked about: it ends in a crash or without an end."""
    path = tmp_path / "a.db"
    maker = apsw.Connection(str(path))
    vecsql.load(maker)
    maker.execute("PRAGMA writable_schema = 1")
    for sql in HOSTILE_SCHEMAS[schema]:
        maker.execute(sql)
    maker.close()
    code = [sys.executable, "-c", READER, str(path), driver]
    done = subprocess.run(code, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "alive" in done.stdout
    assert "error: SELECT * FROM a" in done.stdout


# --- functions of the program that change the table -----------------------------------------------

ACTS = [
    "DELETE FROM t WHERE id = 2",
    "DELETE FROM t",
    "UPDATE t SET e = '[9,9]' WHERE id = 2",
    "UPDATE t SET id = 20 WHERE id = 2",
    "INSERT INTO t VALUES(5, '[5,5]', 'x')",
    "REPLACE INTO t VALUES(2, '[7,7]', 'x')",
    "INSERT INTO t(t) VALUES('rebuild')",
    "INSERT INTO t(t) VALUES('optimize')",
    "DROP TABLE t",
    "SAVEPOINT s",
]
CALLS = [
    "UPDATE t SET e = f('[6,6]') WHERE id = 2",
    "UPDATE t SET tag = f('z') WHERE id = 2",
    "UPDATE t SET id = f(2) + 40 WHERE id = 2",
    "UPDATE OR REPLACE t SET id = f(3) WHERE id = 2",
    "UPDATE t SET tag = f('z')",
    "UPDATE t SET e = f('[6,6]')",
    "INSERT INTO t VALUES(f(2), '[8,8]', 'q')",
    "REPLACE INTO t VALUES(f(2), '[8,8]', 'q')",
    "INSERT OR REPLACE INTO t SELECT id, f(e), tag FROM t",
    "DELETE FROM t WHERE id = 2 AND f(1)",
    "DELETE FROM t WHERE f(id) > 1",
]


def consistent(conn: apsw.Connection) -> None:
    conn.execute("INSERT INTO t(t) VALUES('integrity-check')")
    found = conn.execute("SELECT id FROM t WHERE e MATCH '[0,0]' AND k = 10").fetchall()
    assert sorted(found) == conn.execute("SELECT id FROM t WHERE e IS NOT NULL").fetchall()


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("begin", ["", "BEGIN"])
@pytest.mark.parametrize("kind", ["hnsw", "flat"])
def test_a_function_that_changes_the_table_leaves_it_consistent(act, begin, kind):
    for call in CALLS:
        conn = apsw.Connection(":memory:")
        vecsql.load(conn)
        conn.execute(
            f"CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[2] index={kind},"
            " tag TEXT); INSERT INTO t VALUES(1,'[1,0]','a'), (2,'[2,0]','b'), (3,'[3,0]','c')"
        )
        called = []

        def f(x, conn=conn, called=called):
            if not called:
                called.append(x)
                conn.execute(act)
            return x

        conn.create_scalar_function("f", f)
        conn.execute(begin)
        with contextlib.suppress(apsw.Error):
            conn.execute(call)
        assert called, call
        try:
            consistent(conn)
            if conn.in_transaction:
                conn.execute("COMMIT")
            consistent(conn)
        except apsw.Error as e:
            raise AssertionError(f"{call}: {e}") from e
        conn.close()


# --- authorizers ----------------------------------------------------------------------------------

SETUP = """
    CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[2], tag TEXT);
    INSERT INTO t VALUES(1, '[1,0]', 'a'), (2, '[2,0]', 'b'), (3, '[3,0]', 'c');
    CREATE TABLE docs(id INTEGER PRIMARY KEY, e BLOB);
    INSERT INTO docs VALUES(1, '[1,0]'), (2, '[2,0]');
    CREATE VIRTUAL TABLE i USING vecsql(content=docs, e FLOAT[2])
"""
AUTHORISED = [
    "INSERT INTO t VALUES(4, '[4,0]', 'd')",
    "UPDATE t SET e = '[9,9]' WHERE id = 2",
    "UPDATE t SET id = 7 WHERE id = 2",
    "DELETE FROM t WHERE id = 1",
    "REPLACE INTO t VALUES(2, '[5,5]', 'q')",
    "INSERT INTO t(t) VALUES('optimize')",
    "INSERT INTO t(t) VALUES('rebuild')",
    "INSERT INTO t(t) VALUES('ef_search=9')",
    "INSERT INTO docs VALUES(3, '[3,0]')",
    "UPDATE docs SET e = '[8,8]' WHERE id = 1",
    "DELETE FROM docs WHERE id = 2",
    "INSERT INTO i(i) VALUES('rebuild')",
    "ALTER TABLE t RENAME TO u",
    "CREATE VIRTUAL TABLE n USING vecsql(e FLOAT[2])",
]


def whole(conn: apsw.Connection) -> str:
    """All contents, and that every index answers for its rows."""
    contents = [conn.execute("SELECT * FROM docs ORDER BY id").fetchall()]
    for name in ("t", "i", "u", "n"):
        if conn.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (name,)).get:
            conn.execute(f"INSERT INTO {name}({name}) VALUES('integrity-check')")
            rows = conn.execute(f"SELECT * FROM {name} ORDER BY rowid").fetchall()
            contents.append([name, *rows])
    return repr(contents)


def fresh(sql: str = "") -> apsw.Connection:
    conn = apsw.Connection(":memory:")
    vecsql.load(conn)
    conn.execute(SETUP)
    conn.execute(sql)
    return conn


def of_the_program(action: tuple, sql: str) -> bool:
    """What the application's own statement, trigger or table would not get without an index
    either, and what makes SQLite itself crash."""
    code, first, second = action[:3]
    return (
        (code == apsw.SQLITE_CREATE_INDEX and "autoindex" in str(first))
        or (code == apsw.SQLITE_INSERT and first in ("i", "docs", "t"))
        or (code == apsw.SQLITE_READ and (first == "docs" or first == "sqlite_master"))
        or (code == apsw.SQLITE_READ and first == "n_config")
        or (code == apsw.SQLITE_UPDATE and first == "t_rows")
        or (code == apsw.SQLITE_READ and first == "t_rows" and second in ("c1", "c2"))
    )


@pytest.mark.parametrize("sql", AUTHORISED)
@pytest.mark.parametrize("verdict", ["deny", "ignore"])
@pytest.mark.parametrize("prepared", [False, True])
def test_an_authorizer_stops_a_statement_whole(sql, verdict, prepared):
    conn, seen = fresh(), set()
    conn.authorizer = lambda *action: seen.add(action[:4]) or apsw.SQLITE_OK
    conn.execute(sql)
    conn.authorizer = None
    after = whole(conn)
    answer = apsw.SQLITE_DENY if verdict == "deny" else apsw.SQLITE_IGNORE
    for action in sorted(seen, key=repr):
        if of_the_program(action, sql):
            continue
        conn = fresh(f"SAVEPOINT s; {sql}; ROLLBACK TO s; RELEASE s" if prepared else "")
        before = whole(conn)
        conn.authorizer = lambda *a, action=action: answer if a[:4] == action else apsw.SQLITE_OK
        failed = False
        try:
            conn.execute(sql)
        except apsw.Error:
            failed = True
        conn.authorizer = None
        try:
            now = whole(conn)
        except apsw.Error as e:
            raise AssertionError(f"{action}: {e}") from e
        assert now == before if failed else now in (before, after), action
        conn.close()


LEAVING = "; DROP TABLE victim; --"


@pytest.mark.parametrize(
    "make",
    [
        lambda db: vecsql.create_table(db, "t", {"a": f"TEXT){LEAVING}"}, dim=2),
        lambda db: vecsql.create_table(db, "t", {"a": "TEXT, b TEXT"}, dim=2),
        lambda db: vecsql.create_table(db, "t", {"a": "TEXT --"}, dim=2),
        lambda db: vecsql.create_table(db, "t", {"a": str}, dim=2, options=f"m=8){LEAVING}"),
        lambda db: vecsql.create_table(db, "t", {"a": str}, dim=2, options="m=8, b FLOAT[2]"),
        lambda db: vecsql.create_table(db, "t", {"a": str}, dim=2, metric=f"l2){LEAVING}"),
    ],
)
def test_types_and_options_are_no_statements(db, make):
    with pytest.raises(vecsql.SchemaError):
        make(db)
    assert db.execute("SELECT name FROM sqlite_schema").fetchall() == [("victim",)]


def test_a_type_may_have_constraints_with_brackets_and_texts(db):
    kind = "TEXT NOT NULL DEFAULT ('a;b, --') CHECK(length(a) IN (1, 7))"
    vecsql.create_table(db, "t", {"a": kind}, dim=2, options="m=8 codec=none")
    db.execute("INSERT INTO t(embedding) VALUES (NULL)")
    assert db.execute("SELECT a FROM t").get == "a;b, --"
