"""Risk: sqlite3_interrupt during long work is not heard, or leaves it half done.

tests/faults/interrupt.c interrupts between any two instructions of SQLite; here the interrupt comes
while the core works.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import apsw
import numpy as np
import pytest

from tests.oracle import command, connect

ROWS, DIM = 4000, 48
DELAYS = [0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3]
PATIENCE = 2.0  # seconds after the interrupt, on a machine that is busy with other tests


@pytest.fixture(scope="module")
def vectors() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(ROWS, DIM)).astype("<f4")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, vectors: np.ndarray) -> Any:
    path = tmp_path_factory.mktemp("interrupt") / "a.db"
    conn = connect(path)
    conn.execute(f"CREATE VIRTUAL TABLE t USING vecsql(embedding FLOAT[{DIM}])")
    conn.execute("CREATE TABLE source(id INTEGER PRIMARY KEY, embedding BLOB)")
    with conn:
        rows = [(i, v.tobytes()) for i, v in enumerate(vectors)]
        conn.executemany("INSERT INTO source VALUES(?, ?)", rows)
        conn.execute("INSERT INTO t(rowid, embedding) SELECT * FROM source")
        conn.execute("DELETE FROM t WHERE rowid % 3 = 0")
    conn.close()
    return path


def sound(conn: apsw.Connection, vectors: np.ndarray) -> int:
    """The number of rows, after checks of the index and of exact and approximate search."""
    command(conn, "integrity-check")
    ids = [i for (i,) in conn.execute("SELECT rowid FROM t ORDER BY rowid")]
    query = vectors[1]
    far = np.linalg.norm(vectors[[i % ROWS for i in ids]].astype(float) - query, axis=1)
    want = sorted(far.tolist())[:10]
    sql = "SELECT distance FROM t WHERE embedding MATCH ? AND k = 10 AND exact = 1"
    got = [d for (d,) in conn.execute(sql, (query.tobytes(),))]
    assert got == pytest.approx(want, rel=1e-4, abs=1e-4)
    return len(ids)


STATEMENTS = {
    "insert": f"INSERT INTO t(rowid, embedding) SELECT id + {ROWS}, embedding FROM source",
    "delete": "DELETE FROM t WHERE rowid % 2 = 0",
    "update": f"UPDATE t SET rowid = rowid + {ROWS}",
    "rebuild": "INSERT INTO t(t) VALUES('rebuild')",
    "optimize": "INSERT INTO t(t) VALUES('optimize')",
    "check": "INSERT INTO t(t) VALUES('integrity-check')",
    "scan": "SELECT count(*) FROM source JOIN t ON t.embedding MATCH source.embedding "
    "AND k = 3 AND exact = 1",
    "stream": "SELECT sum(distance) FROM t WHERE embedding MATCH (SELECT embedding FROM source)",
}


@pytest.mark.parametrize("what", STATEMENTS)
def test_an_interrupt_is_heard_and_leaves_all_or_nothing(base, vectors, what):
    heard = 0
    for delay in DELAYS:
        conn = connect(base)
        before = sound(conn, vectors)
        conn.execute("BEGIN")
        asked: list[float] = []

        def interrupt(conn: apsw.Connection = conn, asked: list[float] = asked) -> None:
            asked.append(time.monotonic())
            conn.interrupt()

        timer = threading.Timer(delay, interrupt)
        timer.start()
        try:
            conn.execute(STATEMENTS[what]).fetchall()
        except apsw.InterruptError:
            heard += 1
            assert time.monotonic() - asked[0] < PATIENCE
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            assert sound(conn, vectors) == before
        timer.join()
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        assert sound(conn, vectors) == before
        conn.close()
    if what not in ("check", "stream", "optimize"):  # a few milliseconds here
        assert heard > 0, "too fast to be interrupted: this test tests nothing"
