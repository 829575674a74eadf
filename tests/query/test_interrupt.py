"""Risk: sqlite3_interrupt during long work is not heard, or leaves it half done.

tests/faults/interrupt.c interrupts between any two instructions of SQLite; here the interrupt comes
from another thread while the core works. The moment is a share of the calls of a progress handler,
which the core makes too: the test is the same on a slow and on a fast machine.
"""

from __future__ import annotations

import threading
from typing import Any

import apsw
import numpy as np
import pytest

from tests.support.oracle import command, connect

ROWS, DIM = 4000, 48
SHARES = [0.0, 0.05, 0.3, 0.5, 0.8, 0.95]
PATIENCE = 20  # calls of the progress handler after the interrupt


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


def calls(conn: apsw.Connection, sql: str, moment: int = 0) -> int:
    """Runs the statement and returns how often it called the progress handler; at one of the calls
    another thread interrupts."""
    count = 0

    def handler() -> bool:
        nonlocal count
        count += 1
        if count == moment:
            other = threading.Thread(target=conn.interrupt)
            other.start()
            other.join()
        return False

    conn.set_progress_handler(handler, 10)
    try:
        conn.execute(sql).fetchall()
    except apsw.InterruptError:
        assert count - moment < PATIENCE
    else:
        assert not moment, "not heard"
    finally:
        conn.set_progress_handler(None)
        if conn.in_transaction:
            conn.execute("ROLLBACK")
    return count


@pytest.mark.parametrize("what", STATEMENTS)
def test_an_interrupt_is_heard_and_leaves_all_or_nothing(base, vectors, what):
    conn = connect(base)
    before = sound(conn, vectors)
    conn.execute("BEGIN")
    total = calls(conn, STATEMENTS[what])
    assert total > 20, "too short to be interrupted: this tests nothing"
    conn.close()
    for share in SHARES:
        conn = connect(base)
        if share != 0.5:  # else nothing is in memory yet
            assert sound(conn, vectors) == before
        conn.execute("BEGIN")
        calls(conn, STATEMENTS[what], 1 + int(share * total))
        assert sound(conn, vectors) == before
        conn.close()
