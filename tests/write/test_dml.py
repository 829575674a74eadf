# Risk: a statement does something else than on an ordinary table, or writes other bytes each time.
from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from tests.support.oracle import (
    BAD_ROWS,
    START,
    blob,
    check,
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
    shadow_dump,
    stored,
    without,
)

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


SEED, WRITES = 20, 1600  # enough for the log to be checkpointed


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
    assert shadow_dump(one)["t_pages0"], "the log was never checkpointed"
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
