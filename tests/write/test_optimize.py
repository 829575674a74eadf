"""Risk: optimize keeps the room of deleted rows, or what they held, or loses rows that are left."""

from __future__ import annotations

import apsw
import numpy as np
import pytest

import vecsql

DIMS = 32
ROWS = 1200


def vectors(seed: int, n: int = ROWS) -> list[bytes]:
    x = np.random.default_rng(seed).normal(size=(n, DIMS)).astype(np.float32)
    return [row.tobytes() for row in x]


def new_table(db: apsw.Connection, options: str, name: str = "t") -> None:
    module = "vec0" if options.startswith("vec0") else "vecsql"
    options = options.removeprefix("vec0")
    columns = f"id INTEGER PRIMARY KEY, e float[{DIMS}]{options}"
    db.execute(f"CREATE VIRTUAL TABLE {name} USING {module}({columns})")


def fill(db: apsw.Connection, rows: dict[int, bytes], name: str = "t") -> None:
    with db:
        db.executemany(f"INSERT INTO {name}(id, e) VALUES(?, ?)", rows.items())


def bytes_of(db: apsw.Connection, table: str = "t") -> int:
    """Of the index alone: the rows are SQLite's."""
    return db.execute(
        f"SELECT (SELECT coalesce(sum(length(data)), 0) FROM {table}_pages0) + "
        f"(SELECT coalesce(sum(length(edits)), 0) FROM {table}_log0)"
    ).fetchone()[0]


def nearest(db: apsw.Connection, query: bytes, name: str = "t") -> list[int]:
    sql = f"SELECT id FROM {name} WHERE e MATCH ? AND k = 10 AND exact = 1"
    return [r[0] for r in db.execute(sql, (query,))]


OPTIONS = ["", " codec=none", " codec=pq pq_m=8", " index=flat", " index=flat codec=none", "vec0"]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("left", [0, 1, 100, 500])
@pytest.mark.parametrize("how", ["one statement", "many", "one transaction"])
def test_optimize_gives_the_room_of_deleted_rows_back(options, left, how):
    db = vecsql.connect(":memory:", driver="apsw", vec0=True)
    rows = dict(enumerate(vectors(1)))
    kept = {i: rows[i] for i in sorted(rows, key=lambda i: i * 7919 % ROWS)[:left]}
    new_table(db, options)
    fill(db, rows)
    doomed = [i for i in rows if i not in kept]
    if how == "one statement":
        places = ", ".join(map(str, kept)) or "NULL"
        db.execute(f"DELETE FROM t WHERE id NOT IN ({places}) OR {int(left == 0)}")
    elif how == "many":
        for i in range(0, len(doomed), 97):
            some = ", ".join(map(str, doomed[i : i + 97]))
            db.execute(f"DELETE FROM t WHERE id IN ({some})")
    else:
        with db:
            db.executemany("DELETE FROM t WHERE id = ?", [(i,) for i in doomed])
    db.execute("INSERT INTO t(t) VALUES ('optimize')")
    new_table(db, options, "fresh")
    fill(db, kept, "fresh")
    db.execute("INSERT INTO fresh(fresh) VALUES ('optimize')")
    assert bytes_of(db) <= bytes_of(db, "fresh") * 1.1 + 4096
    for query in vectors(2, 5):
        assert nearest(db, query) == nearest(db, query, "fresh")
    fill(db, {10_000 + i: v for i, v in enumerate(vectors(3, 50))})
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("options", OPTIONS)
def test_optimize_after_few_deletions_keeps_the_graph(options):
    """Making the index anew costs more than the room is worth."""
    db = vecsql.connect(":memory:", driver="apsw", vec0=True)
    new_table(db, options)
    fill(db, dict(enumerate(vectors(1))))
    db.execute("DELETE FROM t WHERE id % 5 = 0")
    db.execute("INSERT INTO t(t) VALUES ('optimize')")
    figures = dict(db.execute("SELECT name, value FROM vecsql_stats('t')"))
    assert figures["rows"] == ROWS * 4 // 5
    assert figures["nodes"] == ROWS
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


SECRET = (np.arange(DIMS, dtype=np.float32) * 1.2345 + 7).tobytes()
CLEAR = (np.arange(DIMS, dtype=np.int8) * 3 - 40).tobytes()


def every_blob(db: apsw.Connection) -> bytes:
    tables = [n for (n,) in db.execute("SELECT name FROM sqlite_schema WHERE rootpage > 0")]
    found = []
    for table in tables:
        for row in db.execute(f"SELECT * FROM {table}"):
            found += [v for v in row if isinstance(v, bytes)]
    return b"|".join(found)


@pytest.mark.parametrize("others", [0, 1, 40, 400])
@pytest.mark.parametrize("index", ["hnsw", "flat"])
@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM t WHERE id = 1",
        "UPDATE t SET e = {zero} WHERE id = 1",
        "UPDATE t SET e = NULL WHERE id = 1",
        "DELETE FROM t",
        "BEGIN; DELETE FROM t WHERE id = 1; INSERT INTO t(id, e) VALUES(1, {zero}); COMMIT",
    ],
)
@pytest.mark.parametrize("element", ["float", "int8"])
def test_nothing_of_a_deleted_vector_stays_under_secure_delete(
    tmp_path, element, change, index, others
):
    path = tmp_path / "s.db"
    db = vecsql.connect(path, driver="apsw")
    db.execute("PRAGMA secure_delete = ON")
    secret, size = (SECRET, 4) if element == "float" else (CLEAR, 1)
    db.execute(
        "CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, "
        f"e {element}[{DIMS}] codec=none index={index})"
    )
    rng = np.random.default_rng(5)
    noise = rng.integers(-128, 128, (others, DIMS * size // 4 * 4), dtype=np.int8)
    if element == "float":
        noise = rng.normal(size=(others, DIMS)).astype(np.float32)
    fill(db, {1: secret} | {i + 2: v.tobytes() for i, v in enumerate(noise)})
    assert secret in every_blob(db)
    zero = f"zeroblob({DIMS * size})"
    db.execute(change.format(zero=zero))
    db.execute("INSERT INTO t(t) VALUES ('optimize')")
    assert secret[: 8 * size] not in every_blob(db)
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    assert secret[: 8 * size] not in path.read_bytes()


@pytest.mark.parametrize("options", ["", " codec=pq pq_m=8"])
def test_no_code_of_a_deleted_row_stays_under_secure_delete(options):
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute("PRAGMA secure_delete = ON")
    new_table(db, options)
    new_table(db, options, "fresh")
    rows = dict(enumerate(vectors(4, 300)))
    fill(db, rows | {1000: SECRET})
    fill(db, rows, "fresh")
    db.execute("DELETE FROM t WHERE id = 1000")
    for table in ("t", "fresh"):
        db.execute(f"INSERT INTO {table}({table}) VALUES ('rebuild')")
        db.execute(f"INSERT INTO {table}({table}) VALUES ('optimize')")
    model = "SELECT data FROM {}_model0"
    assert db.execute(model.format("t")).fetchall() == db.execute(model.format("fresh")).fetchall()
    figures = dict(db.execute("SELECT name, value FROM vecsql_stats('t')"))
    assert figures["nodes"] == figures["rows"] == 300


def test_a_connection_that_knows_an_older_state_goes_on_after_an_erasure(tmp_path):
    path = tmp_path / "s.db"
    a, b = (vecsql.connect(path, driver="apsw") for _ in range(2))
    a.execute("PRAGMA journal_mode = WAL; PRAGMA secure_delete = ON")
    new_table(a, "")
    rows = dict(enumerate(vectors(6, 200)))
    fill(a, rows)
    queries = vectors(7, 5)
    for doomed in ("id % 7 = 0", "id < 0", "id % 2 = 0"):
        before = [nearest(b, q) for q in queries]
        b.execute("BEGIN")
        assert [nearest(b, q) for q in queries] == before
        a.execute(f"DELETE FROM t WHERE {doomed}; INSERT INTO t(t) VALUES ('optimize')")
        assert [nearest(b, q) for q in queries] == before
        b.execute("COMMIT")
        assert [nearest(b, q) for q in queries] == [nearest(a, q) for q in queries]
        fill(b, {max(rows) + 1: queries[0]})
        rows[max(rows) + 1] = queries[0]
    assert a.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_optimize_keeps_the_state_however_long_its_log_row_is():
    """Between half a megabyte and what a commit folds: the mark of optimize stands above it."""
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[64] index=flat codec=none)")
    rows = np.random.default_rng(3).normal(size=(20_100, 64)).astype("<f4")
    for part in (rows[:18_000], rows[18_000:]):
        with db:
            db.executemany("INSERT INTO t(e) VALUES(?)", [(v.tobytes(),) for v in part])
    assert db.execute("SELECT max(length(edits)) > 524288 FROM t_log0").fetchone()[0]
    db.execute("INSERT INTO t(t) VALUES('optimize')")
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    sql = "SELECT rowid FROM t WHERE e MATCH ? AND k = 1"
    assert db.execute(sql, (rows[-1].tobytes(),)).fetchall() == [(20_100,)]
