"""Short paths by pytest-benchmark: pytest benchmarks/micro. Figures, no assertions on time.

Each path stands for one cost that a query or a commit is made of: the refresh by the state row, a
point read, a walk, a distance function, a one-row commit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import vecsql

DIMS, ROWS = 128, 5000


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Any:
    db = vecsql.connect(tmp_path_factory.mktemp("micro") / "micro.db", driver="apsw")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(
        f"CREATE VIRTUAL TABLE v USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[{DIMS}], a INTEGER)"
    )
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(ROWS, DIMS)).astype(np.float32)
    with db:
        db.executemany(
            "INSERT INTO v(id, e, a) VALUES (?, ?, ?)",
            ((i, r.tobytes(), i % 100) for i, r in enumerate(rows)),
        )
    yield db
    db.close()


@pytest.fixture(scope="module")
def query() -> bytes:
    return np.random.default_rng(2).normal(size=DIMS).astype(np.float32).tobytes()


def test_statement_without_a_table(table: Any, benchmark: Any) -> None:
    benchmark(lambda: table.execute("SELECT 1").fetchall())


@pytest.mark.parametrize("dims", [16, 128, 384, 1536])
@pytest.mark.parametrize("name", ["l2", "l1", "cosine"])
def test_distance_function(table: Any, benchmark: Any, name: str, dims: int) -> None:
    a, b = (np.random.default_rng(s).normal(size=dims).astype("f4").tobytes() for s in (1, 2))
    sql = f"SELECT vec_distance_{name}(?, ?)"
    benchmark(lambda: table.execute(sql, (a, b)).fetchall())


def test_point_read(table: Any, benchmark: Any) -> None:
    benchmark(lambda: table.execute("SELECT a FROM v WHERE id = 77").fetchall())


@pytest.mark.parametrize("ef", [16, 64, 256])
def test_ten_nearest(table: Any, benchmark: Any, query: bytes, ef: int) -> None:
    sql = "SELECT id, distance FROM v WHERE e MATCH ? AND k = 10 AND ef_search = ?"
    benchmark(lambda: table.execute(sql, (query, ef)).fetchall())


def test_ten_nearest_by_an_exact_scan(table: Any, benchmark: Any, query: bytes) -> None:
    sql = "SELECT id, distance FROM v WHERE e MATCH ? AND k = 10 AND exact = 1"
    benchmark(lambda: table.execute(sql, (query,)).fetchall())


def test_ten_nearest_of_one_percent(table: Any, benchmark: Any, query: bytes) -> None:
    sql = "SELECT id, distance FROM v WHERE e MATCH ? AND a = 7 AND k = 10"
    benchmark(lambda: table.execute(sql, (query,)).fetchall())


def test_one_row_commit(table: Any, benchmark: Any, query: bytes) -> None:
    benchmark(lambda: table.execute("INSERT INTO v(e, a) VALUES (?, 1)", (query,)))
