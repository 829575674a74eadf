"""A table t of thirty rows: vectors on a line, a category of five and a number."""

from __future__ import annotations

import apsw

import vecsql


def thirty_rows() -> apsw.Connection:
    conn = vecsql.connect(":memory:", driver="apsw")
    conn.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2], cat TEXT indexed, n INTEGER)")
    rows = [(i, f"[{i},1]", f"c{i % 5}", i) for i in range(1, 31)]
    conn.executemany("INSERT INTO t(rowid, e, cat, n) VALUES(?,?,?,?)", rows)
    return conn


def ids(db: apsw.Connection, where: str, *args: object) -> list[int]:
    return [r[0] for r in db.execute(f"SELECT rowid FROM t WHERE {where}", args)]


def intact(db: apsw.Connection) -> bool:
    return db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
