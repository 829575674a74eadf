"""What the kind of data does to recall: python benchmarks/data_kinds.py [--rows N] [--json FILE].

Each kind of data is drawn with a fixed seed. One hnswlib index and three tables hold the rows: the
default codec, ``codec=none`` and ``codec=pq``, all with M = 16, ef_construction = 200 and
ef_search = 64. The tables are asked as inserted (transactions of 1,000 rows, in the order that the
kind names), after ``optimize`` and after ``rebuild``. Queries are rows with a little noise.

recall@10 counts by distance: a row is right if it is no farther than the true tenth. Each cell has
the three figures in that order. The last column is the size of the default table's index for a
row, without the row itself.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import datasets
import numpy as np
import results
from datasets import Floats
from engine import EF_CONSTRUCTION, M, require, version_of
from tables import Table

import vecsql

K, EF, BATCH = 10, 64, 1000
CODECS = {"default": "", "codec=none": "codec=none", "codec=pq": "codec=pq"}
COMMANDS = {"as inserted": None, "after optimize": "optimize", "after rebuild": "rebuild"}


def tight_clusters(rng: np.random.Generator, n: int) -> Any:
    return rng.normal(size=(400, 64))[rng.integers(0, 400, n)] + rng.normal(0, 0.001, (n, 64))


def means(rng: np.random.Generator, n: int) -> Any:
    return rng.normal(0, 1e4, 40) + rng.normal(size=(n, 40))


@dataclass
class Kind:
    """Rows in their order of arrival; noise is added to rows to make queries."""

    name: str
    draw: Callable[[np.random.Generator, int], Any]
    noise: float
    metric: str = "l2"


def places(rng: np.random.Generator, n: int) -> Any:
    return np.c_[rng.uniform(52, 53, n), rng.uniform(13, 14, n)]


def measures(rng: np.random.Generator, n: int) -> Any:
    return np.c_[
        rng.normal(40, 12, n),
        rng.lognormal(10, 0.8, n),
        rng.integers(0, 2, n),
        rng.normal(170, 10, n),
        rng.normal(75, 15, n),
        rng.uniform(0, 1, n),
        rng.poisson(3, n),
        rng.lognormal(3, 1, n),
    ]


def salary(rng: np.random.Generator, n: int) -> Any:
    return np.c_[rng.random((n, 40)), np.exp(rng.normal(10.5, 0.6, n))]


def year(rng: np.random.Generator, n: int) -> Any:
    return np.c_[rng.random((n, 60)), rng.integers(1950, 2027, n)]


def batches(rng: np.random.Generator, n: int) -> Any:
    return rng.normal(size=(n, 48)) + 2.0 * np.sort(np.arange(n) * 12 // n)[:, None]


def clusters(rng: np.random.Generator, n: int) -> Any:
    centres = 100 * rng.normal(size=(50, 32))
    return centres[rng.integers(0, 50, n)] + rng.normal(size=(n, 32))


def sorted_clusters(rng: np.random.Generator, n: int) -> Any:
    centres = 100 * rng.normal(size=(50, 32))
    return centres[np.sort(rng.integers(0, 50, n))] + rng.normal(size=(n, 32))


def second_half(rng: np.random.Generator, n: int) -> Any:
    return rng.normal(size=(n, 32)) + 8.0 * (np.arange(n) >= n // 2)[:, None]


def heavy_tails(rng: np.random.Generator, n: int) -> Any:
    return rng.standard_t(2, size=(n, 32))


def copies(rng: np.random.Generator, n: int) -> Any:
    x = rng.normal(size=(n, 32))
    x[rng.random(n) < 0.5] = x[0]
    return x


def norms(rng: np.random.Generator, n: int) -> Any:
    x = rng.normal(size=(n, 64))
    return x / np.linalg.norm(x, axis=1, keepdims=True) * rng.lognormal(0, 1, (n, 1))


def normal(rng: np.random.Generator, n: int) -> Any:
    return rng.normal(size=(n, 64))


KINDS = [
    Kind("64 normal numbers", normal, 0.01),
    Kind("latitude and longitude of a city", places, 0.001),
    Kind("8 measures of different units", measures, 0.001),
    Kind("40 features from 0 to 1 and a salary", salary, 0.001),
    Kind("60 features from 0 to 1 and a year", year, 0.001),
    Kind("12 batches, each shifted by 2", batches, 0.01),
    Kind("50 clusters far apart", clusters, 0.01),
    Kind("50 clusters, one after the other", sorted_clusters, 0.01),
    Kind("400 tight clusters", tight_clusters, 0.0003),
    Kind("40 features around means far apart", means, 0.01),
    Kind("second half shifted by 8", second_half, 0.01),
    Kind("Student t, 2 degrees", heavy_tails, 0.01),
    Kind("half of the rows copies of one", copies, 0.5),
    Kind("dot, log-normal norms", norms, 0.01, "dot"),
]


def drawn(kind: Kind, rows: int, queries: int) -> tuple[Floats, Floats]:
    x = datasets.as_float32(kind.draw(np.random.default_rng(7), rows))
    rng = np.random.default_rng(1)
    noise = kind.noise * rng.normal(size=(queries, x.shape[1]))
    return x, datasets.as_float32(x[rng.integers(0, rows, queries)] + noise)


def distances(base: Floats, query: Floats, metric: str) -> Any:
    """All distances of one query in float64."""
    b, q = base.astype(np.float64), query.astype(np.float64)
    if metric == "dot":
        return -(b @ q)
    if metric == "cosine":
        return 1 - (b @ q) / np.maximum(np.linalg.norm(b, axis=1) * np.linalg.norm(q), 1e-300)
    return np.sqrt(((b - q) ** 2).sum(1))


class Truth:
    """Counts right rows by their distance."""

    def __init__(self, base: Floats, queries: Floats, metric: str) -> None:
        self.far = [distances(base, q, metric) for q in queries]
        self.kth = [np.partition(d, K - 1)[K - 1] for d in self.far]

    def recall(self, found: list[list[int]]) -> float:
        right = 0
        for ids, far, kth in zip(found, self.far, self.kth, strict=True):
            right += int((far[list(set(ids))] <= kth + 1e-6 * abs(kth) + 1e-9).sum())
        return right / (K * len(found))


def hnswlib_recall(base: Floats, queries: Floats, metric: str, truth: Truth) -> float:
    lib = require("hnswlib", "hnswlib")
    index = lib.Index({"dot": "ip"}.get(metric, metric), base.shape[1])
    index.init_index(len(base), M=M, ef_construction=EF_CONSTRUCTION)
    index.add_items(base, num_threads=1)
    index.set_ef(EF)
    return truth.recall(index.knn_query(queries, k=K, num_threads=1)[0].astype(int).tolist())


def table_recall(
    directory: Path, base: Floats, queries: Floats, metric: str, codec: str, truth: Truth
) -> tuple[dict[str, float], float]:
    """Recall after each command, and bytes of the index a row after the last."""
    path = directory / "t.db"
    path.unlink(missing_ok=True)
    db = apsw.Connection(str(path))
    vecsql.load(db)
    db.execute(
        "CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY,"
        f" e FLOAT[{base.shape[1]}] distance_metric={metric} {codec})"
    )
    for at in range(0, len(base), BATCH):
        with db:
            rows = enumerate(base[at : at + BATCH], at)
            db.executemany("INSERT INTO t VALUES(?, ?)", ((i, v.tobytes()) for i, v in rows))
    out = {}
    for name, command in COMMANDS.items():
        if command is not None:
            db.execute("INSERT INTO t(t) VALUES(?)", (command,))
        sql = f"SELECT id FROM t WHERE e MATCH ? AND k = {K} AND ef_search = {EF}"
        found = [[i for (i,) in db.execute(sql, (q.tobytes(),))] for q in queries]
        out[name] = truth.recall(found)
    sizes = db.execute("SELECT sum(pgsize) FROM dbstat WHERE name GLOB 't_*' AND name <> 't_rows'")
    index_bytes = float(sizes.fetchone()[0]) / len(base)
    db.close()
    return out, index_bytes


def measured(kind: Kind, rows: int, queries: int, directory: Path) -> dict[str, Any]:
    base, asked = drawn(kind, rows, queries)
    truth = Truth(base, asked, kind.metric)
    result: dict[str, Any] = {
        "name": kind.name,
        "rows": rows,
        "dims": base.shape[1],
        "metric": kind.metric,
        "hnswlib": hnswlib_recall(base, asked, kind.metric, truth),
    }
    for name, codec in CODECS.items():
        if codec == "codec=pq" and base.shape[1] < 16:
            continue
        recall, size = table_recall(directory, base, asked, kind.metric, codec, truth)
        result[name] = {**recall, "index_bytes": size}
    return result


def cells(result: dict[str, Any]) -> Iterator[str]:
    yield f"{result['name']} ({result['dims']})"
    yield f"{result['hnswlib']:.3f}"
    for codec in CODECS:
        figures = result.get(codec)
        yield "-" if figures is None else " / ".join(f"{figures[c]:.3f}" for c in COMMANDS)
    yield f"{result['default']['index_bytes']:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--only", default="", help="kinds whose name contains this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    args = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as directory:
        for kind in KINDS:
            if args.only in kind.name:
                found.append(measured(kind, args.rows, args.queries, Path(directory)))
                print(" | ".join(cells(found[-1])), flush=True)
    head = results.about(f"{args.rows:,} rows of each kind", {"hnswlib": version_of("hnswlib")})
    tables = [
        Table(
            f"Recall@{K} at ef {EF}: as inserted / after `optimize` / after `rebuild`.",
            ["data (dimensions)", "hnswlib", *CODECS, "index bytes a row"],
            [list(cells(r)) for r in found],
        )
    ]
    results.show(head["title"], tables)
    results.save(args.json, head, tables, {"kinds": found})


if __name__ == "__main__":
    main()
