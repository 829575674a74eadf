"""Risk: product quantisation that loses neighbours, bytes or a transaction."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

from tests.support.oracle import command, connect

DIMS, ROWS, K = 64, 6000, 10


def clustered(rows: int, seed: int = 20261121) -> np.ndarray:
    print("seed", seed)
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(60, DIMS)) * 2
    return (centres[rng.integers(0, 60, rows)] + rng.normal(size=(rows, DIMS))).astype(np.float32)


def create(db: apsw.Connection, options: str = "codec=pq", type_: str = "FLOAT") -> None:
    db.execute(
        f"CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, e {type_}[{DIMS}] {options})"
    )


def fill(db: apsw.Connection, base: np.ndarray, first: int = 0) -> None:
    with db:
        db.executemany(
            "INSERT INTO t(id, e) VALUES(?, ?)",
            ((first + i, v.tobytes()) for i, v in enumerate(base)),
        )


def nearest(db: apsw.Connection, query: np.ndarray, more: str = "") -> list[tuple[int, float]]:
    sql = f"SELECT id, distance FROM t WHERE e MATCH ? AND k = {K} {more}"
    return db.execute(sql, (query.tobytes(),)).fetchall()


def recall(db: apsw.Connection, queries: np.ndarray) -> float:
    found = 0
    for q in queries:
        exact = {i for i, _ in nearest(db, q, "AND exact = 1")}
        found += len(exact & {i for i, _ in nearest(db, q)})
    return found / (K * len(queries))


def stat(db: apsw.Connection, name: str) -> Any:
    return db.execute("SELECT value FROM vecsql_stats('t') WHERE name = ?", (name,)).fetchall()[0][
        0
    ]


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
@pytest.mark.parametrize("index", ["hnsw", "flat"])
def test_a_sixteenth_of_the_bytes_keeps_the_neighbours(metric: str, index: str) -> None:
    db = connect(":memory:")
    create(db, f"codec=pq distance_metric={metric} index={index}")
    data = clustered(ROWS + 100)
    fill(db, data[:ROWS])
    assert stat(db, "code_bytes_per_row") * 16 == DIMS * 4
    assert recall(db, data[ROWS:]) >= 0.95


def test_distances_are_those_of_the_stored_vectors() -> None:
    db = connect(":memory:")
    create(db)
    data = clustered(2001)
    fill(db, data[:2000])
    for i, d in nearest(db, data[2000]):
        assert d == pytest.approx(np.linalg.norm(data[i] - data[2000]), rel=1e-5)


def test_exact_is_brute_force() -> None:
    db = connect(":memory:")
    create(db, "codec=pq pq_m=4")
    data = clustered(3020)
    fill(db, data[:3000])
    for q in data[3000:]:
        order = np.argsort(np.linalg.norm(data[:3000].astype(np.float64) - q, axis=1))[:K]
        assert [i for i, _ in nearest(db, q, "AND exact = 1")] == order.tolist()


@pytest.mark.slow
def test_more_parts_are_more_bytes_and_fewer_errors() -> None:
    sizes, found = [], []
    data = np.random.default_rng(5).normal(size=(3050, DIMS)).astype(np.float32)
    for parts in (4, 32):
        db = connect(":memory:")
        create(db, f"codec=pq pq_m={parts}")
        fill(db, data[:3000])
        sizes.append(stat(db, "code_bytes_per_row"))
        found.append(recall(db, data[3000:]))
    assert sizes == [4, 32]
    assert found[0] < found[1]


def test_rollback_brings_the_old_codebook_back(tmp_path: Path) -> None:
    db = connect(tmp_path / "a.db")
    create(db)
    data = clustered(5050)
    fill(db, data[:900])
    before = [nearest(db, q) for q in data[5000:]]
    db.execute("BEGIN")
    db.executemany(
        "INSERT INTO t(id, e) VALUES(?, ?)",
        ((10_000 + i, (v * 9 + 5).tobytes()) for i, v in enumerate(data[900:5000])),
    )
    command(db, "train")
    db.execute("ROLLBACK")
    assert [nearest(db, q) for q in data[5000:]] == before
    command(db, "integrity-check")
    assert recall(db, data[5000:]) >= 0.95


def test_train_follows_rows_that_have_changed(tmp_path: Path) -> None:
    """A codebook of other rows codes badly; after `train` another connection answers well."""
    db, other = connect(tmp_path / "a.db"), connect(tmp_path / "a.db")
    create(db, "codec=pq pq_m=16 index=flat")
    data = clustered(6100)
    fill(db, data[:5000] * 50 - 300)
    nearest(other, data[0])
    db.execute("DELETE FROM t")
    fill(db, data[:6000])
    before = recall(other, data[6000:])
    command(db, "train")
    after = recall(other, data[6000:])
    command(other, "integrity-check")
    assert after > before
    assert after >= 0.9


def test_the_same_statements_give_the_same_bytes(tmp_path: Path) -> None:
    found = []
    data = clustered(1500)
    for name in ("a.db", "b.db"):
        db = connect(tmp_path / name)
        create(db)
        fill(db, data)
        command(db, "optimize")
        found.append(
            [
                db.execute(f"SELECT * FROM t_{part} ORDER BY 1, 2").fetchall()
                for part in ("model0", "pages0", "log0")
            ]
        )
    assert found[0] == found[1]


def test_float16_is_coded_too() -> None:
    db = connect(":memory:")
    create(db, type_="float16")
    data = clustered(2050).astype(np.float16)
    fill(db, data[:2000])
    assert recall(db, data[2000:]) >= 0.95


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("e FLOAT[8] codec=pq pq_m=9", "pq_m"),
        ("e FLOAT[1000] codec=pq pq_m=3", "a 64th of the dimensions"),
        ("e FLOAT[8] codec=pq pq_m=0", "pq_m must be a whole number from 1"),
        ("e FLOAT[8] codec=sq8 pq_m=2", "pq_m is for codec=pq"),
        ("e FLOAT[8] pq_m=2", "pq_m is for codec=pq"),
        ("e INT8[8] codec=pq", "codec=pq is for float"),
        ("e FLOAT[8] codec=pq distance_metric=l1", "codec=pq is for float"),
    ],
)
def test_options_that_cannot_be_are_refused(column: str, said: str) -> None:
    db = connect(":memory:")
    with pytest.raises(apsw.SQLError, match=said):
        db.execute(f"CREATE VIRTUAL TABLE t USING vecsql({column})")
