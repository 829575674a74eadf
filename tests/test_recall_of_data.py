"""Risk: vectors that are no text embeddings are not found: close together, far apart, out of range.

Data is drawn, not operations. What a codec may cost is measured against ``codec=none`` on the same
rows, as inserted, after ``optimize`` and after ``rebuild``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import vecsql

pytestmark = pytest.mark.slow

SEED = 16
QUERIES = 120
Draw = Callable[[np.random.Generator, int], np.ndarray]


def rank(n: int, parts: int) -> np.ndarray:
    """The part of an arrival in equal parts that each row belongs to."""
    return (np.arange(n) * parts // n)[:, None]


DATA: dict[str, Draw] = {
    "coordinates of a city": lambda r, n: r.uniform((52, 13), (53, 14), (n, 2)),
    "eight measures": lambda r, n: r.normal((40, 3e4, 0.5, 170, 75, 0.5, 3, 20), 1, (n, 8)),
    "shares and a salary": lambda r, n: np.c_[r.random((n, 40)), r.lognormal(10.5, 0.6, n)],
    "features and a year": lambda r, n: np.c_[r.random((n, 60)), r.integers(1950, 2021, n)],
    "batches that shift": lambda r, n: r.normal(size=(n, 48)) + 2.0 * rank(n, 12),
    "clusters far apart": lambda r, n: (
        (r.normal(size=(50, 32)) * 100)[r.integers(0, 50, n)] + r.normal(size=(n, 32))
    ),
    "the second half elsewhere": lambda r, n: r.normal(size=(n, 32)) + 8.0 * rank(n, 2),
    "heavy tails": lambda r, n: r.standard_t(2, size=(n, 32)),
    "sorted arrival": lambda r, n: np.sort(r.normal(0, 50, (n, 1)), 0) + r.normal(size=(n, 24)),
    "normal numbers": lambda r, n: r.normal(size=(n, 32)),
    "whole numbers": lambda r, n: r.integers(0, 9, (n, 24)),
}


def recall(x: np.ndarray, queries: np.ndarray, options: str, n_rows: int) -> list[float]:
    """Recall@10 as inserted, after optimize and after rebuild."""
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute(f"CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[{x.shape[1]}] {options})")
    for low in range(0, n_rows, n_rows // 8):
        with db:
            rows = range(low, min(low + n_rows // 8, n_rows))
            db.executemany(
                "INSERT INTO t(rowid, e) VALUES(?, ?)", [(i, x[i].tobytes()) for i in rows]
            )
    found = []
    for command in ("", "optimize", "rebuild"):
        if command:
            db.execute("INSERT INTO t(t) VALUES(?)", (command,))
        hits = 0
        for q in queries:
            sql = "SELECT rowid FROM t WHERE e MATCH ? AND k = 10"
            ids = np.array([r[0] for r in db.execute(sql, (q.tobytes(),)).fetchall()], int)
            d = np.sort(((x.astype(np.float64) - q) ** 2).sum(1))[9]
            near = ((x[ids].astype(np.float64) - q) ** 2).sum(1) <= d * (1 + 1e-6)
            hits += min(10, int(near.sum()))
        found.append(hits / (10 * len(queries)))
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return found


@pytest.mark.parametrize("name", DATA)
def test_codecs_cost_little_recall_on_any_data(name: str) -> None:
    rng = np.random.default_rng(SEED)
    n = 10_000
    x = np.ascontiguousarray(DATA[name](rng, n), np.float32)
    noise = 0.01 * np.median(np.abs(x - np.median(x, 0)))
    queries = x[rng.integers(0, n, QUERIES)] + rng.normal(0, noise, (QUERIES, x.shape[1]))
    queries = queries.astype(np.float32)
    most = recall(x, queries, "codec=none", n)
    for options, less in (("", 0.015), ("codec=sq8 nav_bits=4", 0.02), ("codec=pq", 0.05)):
        # a code of sq8 is no smaller than the vector there, pq has too few parts
        if x.shape[1] < (24 if "pq" in options else 17 if "sq8" in options else 1):
            continue
        got = recall(x, queries, options, n)
        for after, a, b in zip(("insert", "optimize", "rebuild"), got, most, strict=True):
            assert a >= b - less, f"{name}, {options or 'default'}, {after}: {a} of {b} ({SEED=})"
