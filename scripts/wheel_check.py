"""Tries an installed vecsql with each SQLite driver: load, insert, search, roll back, reopen.

python scripts/wheel_check.py [DRIVER...]

Without arguments all drivers that are installed are tried; a named one must be there. Run by
`make wheel` in an empty environment, and by cibuildwheel on each platform.
"""

from __future__ import annotations

import importlib.util
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import vecsql

DIMS, ROWS, K = 16, 500, 10
NEAREST = "SELECT id FROM t WHERE v MATCH ? AND tag = 'a' AND k = ?"


def vectors() -> list[list[float]]:
    """Rows of ours, from a seed."""
    rng = random.Random(7)
    return [[rng.gauss(0, 1) for _ in range(DIMS)] for _ in range(ROWS)]


def nearest(rows: list[list[float]], query: list[float]) -> list[int]:
    """Brute force over the rows with tag 'a'."""
    far = {i: sum((a - b) ** 2 for a, b in zip(v, query, strict=True)) for i, v in enumerate(rows)}
    return sorted((i for i in far if i % 2 == 0), key=lambda i: far[i])[:K]


def connect(path: Path, driver: Any) -> Any:
    """A connection without transactions that nobody asked for."""
    kwargs = {} if driver == "apsw" else {"isolation_level": None}
    return vecsql.connect(path, driver=driver, **kwargs)


def found(conn: Any, query: list[float]) -> list[int]:
    """What the index answers."""
    return [i for (i,) in conn.execute(NEAREST, (vecsql.f32(query), K))]


def check(driver: str, directory: Path) -> str:
    """Goes through it with one driver; returns the version of its SQLite."""
    rows = vectors()
    expected = nearest(rows, rows[4])
    path = directory / f"{driver}.db"
    conn = connect(path, driver)
    conn.execute(
        f"CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, v FLOAT[{DIMS}], tag TEXT)"
    )
    conn.execute("BEGIN")
    for i, v in enumerate(rows):
        conn.execute("INSERT INTO t VALUES(?, ?, ?)", (i, vecsql.f32(v), "ab"[i % 2]))
    conn.execute("COMMIT")
    assert found(conn, rows[4]) == expected, found(conn, rows[4])
    conn.execute("BEGIN")
    conn.execute("DELETE FROM t WHERE id = 4")
    assert expected[0] not in found(conn, rows[4])
    conn.execute("ROLLBACK")
    assert found(conn, rows[4]) == expected
    conn.close()
    conn = connect(path, driver)
    assert found(conn, rows[4]) == expected
    conn.execute("INSERT INTO t(t) VALUES('integrity-check')")
    vecsql.create_table(conn, "notes", {"body": str}, text="body")
    vecsql.insert(conn, "notes", [{"body": "fresh bread and cakes"}, {"body": "railway timetable"}])
    assert vecsql.search(conn, "notes", "a train", k=1)[0].row["body"] == "railway timetable"
    ((version,),) = list(conn.execute("SELECT sqlite_version()"))
    conn.close()
    return str(version)


def main() -> None:
    """Checks the drivers that were named, or those that are there."""
    drivers = sys.argv[1:] or [
        d for d in ("sqlite3", "apsw", "pysqlite3") if importlib.util.find_spec(d)
    ]
    with tempfile.TemporaryDirectory() as directory:
        for driver in drivers:
            version = check(driver, Path(directory))
            print(f"vecsql {vecsql.__version__} on {driver}, SQLite {version}: ok")


if __name__ == "__main__":
    main()
