"""Writes the golden file of the current format: python make_golden.py OUT.db [ROWS.json].

The statements below never change; a new format version gets a new file beside the old ones.
ROWS.json (beside this file: rows.json) gets a hash of the rows of each table, as the present
code writes them.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
from pathlib import Path

import numpy as np

import vecsql


def vectors(n: int, dims: int, seed: int) -> np.ndarray:
    """n small integer vectors, the same on every machine."""
    values = (np.arange(n * dims, dtype=np.uint64) + seed) * np.uint64(2654435761) % 4294967291
    return ((values % 201).astype(np.float32) - 100).reshape(n, dims)


def main(path: str) -> None:
    """Pages and a log behind them, deletions, several columns, content=, raw rows, middles."""
    db = vecsql.connect(path, driver="apsw")
    db.execute(
        "CREATE VIRTUAL TABLE own USING vecsql(id INTEGER PRIMARY KEY, a FLOAT[8] m=4 codec=sq8, "
        "b FLOAT[3] distance_metric=cosine index=flat codec=sq8, tag TEXT indexed, +note TEXT)"
    )
    a, b = vectors(600, 8, 1), vectors(600, 3, 2)
    insert = "INSERT INTO own VALUES(?, ?, ?, ?, ?)"
    with db:
        for i in range(500):
            vector = None if i % 100 == 99 else b[i].tobytes()
            db.execute(insert, (i, a[i].tobytes(), vector, "xyz"[i % 3], f"note {i}"))
    db.execute("INSERT INTO own(own) VALUES('optimize')")
    for i in range(500, 540):
        db.execute(insert, (i, a[i].tobytes(), b[i].tobytes(), None, None))
    db.execute("DELETE FROM own WHERE id % 17 = 3")
    db.execute("UPDATE own SET a = ? WHERE id = 5", (a[599].tobytes(),))
    db.execute("CREATE TABLE docs(id INTEGER PRIMARY KEY, title TEXT, e BLOB)")
    db.executemany(
        "INSERT INTO docs VALUES(?, ?, ?)", [(i, f"t{i}", a[i].tobytes()) for i in range(50)]
    )
    db.execute(
        "CREATE VIRTUAL TABLE docs_idx USING vecsql(content=docs, content_rowid=id, "
        "e FLOAT[8] distance_metric=dot m=4 codec=none)"
    )
    db.execute("DELETE FROM docs WHERE id = 7")
    db.execute("CREATE VIRTUAL TABLE far USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[20] m=4)")
    e = vectors(420, 20, 3) + np.arange(420, dtype=np.float32)[:, None] % 4 * 100000
    insert = "INSERT INTO far VALUES(?, ?)"
    with db:
        db.executemany(insert, [(i, e[i].tobytes()) for i in range(400)])
    db.execute("INSERT INTO far(far) VALUES('optimize')")
    db.execute("DELETE FROM far WHERE id % 40 = 7")
    with db:
        db.executemany(insert, [(i, e[i].tobytes()) for i in range(400, 405)])
    db.execute("CREATE VIRTUAL TABLE apart USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[20] m=4)")
    e = vectors(300, 20, 5) + np.arange(20, dtype=np.float32) * 1000
    with db:
        db.executemany(
            "INSERT INTO apart VALUES(?, ?)", [(i, v.tobytes()) for i, v in enumerate(e)]
        )
    db.close()


def hashes(path: str) -> dict[str, str]:
    """A hash of all rows of each table."""
    db = sqlite3.connect(path)
    names = db.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND rootpage > 0 ORDER BY name"
    )
    rows = {name: db.execute(f"SELECT * FROM {name}").fetchall() for (name,) in names.fetchall()}
    db.close()
    return {name: hashlib.sha256(repr(r).encode()).hexdigest() for name, r in rows.items()}


if __name__ == "__main__":
    main(sys.argv[1])
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(json.dumps(hashes(sys.argv[1]), indent=1) + "\n")
