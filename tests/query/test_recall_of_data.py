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
    "means far apart": lambda r, n: r.normal(size=(n, 40)) + r.normal(0, 1e4, 40),
    "clusters very far apart": lambda r, n: (
        r.normal(0, 1e4, (50, 40))[r.integers(0, 50, n)] + r.normal(size=(n, 40))
    ),
    "two ends": lambda r, n: r.normal(size=(n, 40)) + 1e3 * r.choice([-1, 1], (n, 1)),
    "ten units": lambda r, n: r.normal(5, 1, (n, 20)) * 10.0 ** np.arange(-4, 6).repeat(2),
    "normal numbers": lambda r, n: r.normal(size=(n, 32)),
    "whole numbers": lambda r, n: r.integers(0, 9, (n, 24)),
}


def distances(metric: str, x: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Distances to q in float64, smaller is nearer."""
    x, q = x.astype(np.float64), q.astype(np.float64)
    if metric == "l2":
        return ((x - q) ** 2).sum(1)
    if metric == "dot":
        return -(x @ q)
    x, q = x / np.linalg.norm(x, axis=1)[:, None], q / np.linalg.norm(q)
    return ((x - q) ** 2).sum(1)


def recall(
    x: np.ndarray, queries: np.ndarray, options: str, n_rows: int, metric: str = "l2"
) -> list[float]:
    """Recall@10 as inserted, after optimize and after rebuild."""
    options += f" distance_metric={metric}"
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
            d = np.sort(distances(metric, x, q))[9]
            near = distances(metric, x[ids], q) <= d + 1e-6 * abs(d)
            hits += min(10, int(near.sum()))
        found.append(hits / (10 * len(queries)))
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    return found


def drawn(name: str, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows, and queries near some of them."""
    rng = np.random.default_rng(SEED)
    x = np.ascontiguousarray(DATA[name](rng, n), np.float32)
    noise = 0.01 * np.median(np.abs(x - np.median(x, 0)))
    queries = x[rng.integers(0, n, QUERIES)] + rng.normal(0, noise, (QUERIES, x.shape[1]))
    return x, queries.astype(np.float32)


@pytest.mark.parametrize("name", DATA)
def test_codecs_cost_little_recall_on_any_data(name: str) -> None:
    n = 10_000
    x, queries = drawn(name, n)
    most = recall(x, queries, "codec=none", n)
    for options, less in (("", 0.015), ("codec=sq8 nav_bits=4", 0.02), ("codec=pq", 0.05)):
        if "pq" in options and x.shape[1] < 24:  # too few parts
            continue
        got = recall(x, queries, options, n)
        for after, a, b in zip(("insert", "optimize", "rebuild"), got, most, strict=True):
            assert a >= b - less, f"{name}, {options or 'default'}, {after}: {a} of {b} ({SEED=})"


@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize(
    "name", ["means far apart", "two ends", "heavy tails", "batches that shift"]
)
def test_the_default_codec_costs_little_recall_under_every_metric(name: str, metric: str) -> None:
    n = 6_000
    x, queries = drawn(name, n)
    most = recall(x, queries, "codec=none", n, metric)
    got = recall(x, queries, "", n, metric)
    for after, a, b in zip(("insert", "optimize", "rebuild"), got, most, strict=True):
        assert a >= b - 0.015, f"{name}, {metric}, {after}: {a} of {b} ({SEED=})"
