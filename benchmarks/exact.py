"""The exact scan: python benchmarks/exact.py [--set NAME] [--sizes 10000,100000] [--json FILE].

`--engines flat --small ""` measures the scan alone: a graph of 900,000 rows takes minutes.

Two tables, one pinned thread, k = 10, ids and distances fetched in Python, best of --rounds in
which all take turns.

1. At each size, microseconds
   - of a statement on a table with index=flat, on one with a graph and `exact = 1`, on one of our
     module vec0, and on sqlite-vec's;
   - of a query when index=flat is asked all of them by one call of vecsql_search, which leaves
     out what SQL costs for each;
   - of turbovec, whose 20 candidates by four-bit codes are reranked here by their vectors, one
     call a query and one call for all;
   - of a loop in C that only reads as many bytes as the codes of all rows have: from memory (its
     rate over 256 MiB, which no cache holds), and the same bytes again and again, which come from
     a cache where they fit one.
   Recall@10 of each is in the table: vecsql's and sqlite-vec's must be 1.
2. Small tables: a graph's table asked as usual at some ef_search, and `exact = 1`; the plan that
   was chosen tells from which size on the graph is walked.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import machine
import numpy as np
import results
import run
from datasets import Dataset
from engine import Unavailable, require, unit, version_of
from engines_sql import SqliteVec, Vecsql
from tables import Table, number

K = 10
CODE_BLOCK = 64  # dimensions that a code of sq8 is padded to
BEYOND_CACHES = 256 << 20
READ = """
#include <stddef.h>
#include <stdint.h>
uint64_t read_all(const uint64_t *p, size_t n) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += p[i];
    }
    return sum;
}
"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    datasets.add_arguments(parser)
    parser.add_argument("--sizes", default="10000,100000", metavar="N,...")
    parser.add_argument("--small", default="500,1000,2000,3000,5000,10000", metavar="N,...")
    parser.add_argument("--ef", default="16,64,128", metavar="16,...", help="of the second table")
    parser.add_argument(
        "--engines", default="flat,exact,vec0,sqlite-vec,turbovec", metavar="A,B,..."
    )
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--clock", choices=run.CLOCKS, default="cpu")
    parser.add_argument("--extension", metavar="PATH", help="vecsql's loadable extension")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


class Flat(Vecsql):
    name = "vecsql, index=flat"
    options = " index=flat"


class Vec0(SqliteVec):
    """The statements of sqlite-vec, asked of our module of that name."""

    name = "vecsql, vec0"

    def load(self, db: Any) -> None:
        importlib.import_module("vecsql").load(db, vec0=True)


Ask = Callable[[], Any]


class Turbovec:
    """A scan of four-bit codes in memory, and the best candidates compared by their vectors.

    It ranks by the inner product, so it has no l2. The matrix product of the reranking is numpy's.
    """

    CANDIDATES = 2 * K

    def __init__(self, data: Dataset) -> None:
        if data.metric != "cosine":
            raise Unavailable("turbovec ranks by the inner product")
        lib = require("turbovec", "turbovec")
        self.base = unit(data.base)
        self.index = lib.TurboQuantIndex(data.dims, 4)
        drawn = np.random.default_rng(1).permutation(len(self.base))[:1024]
        self.index.calibrate(self.base[np.sort(drawn)])
        self.index.add(self.base)
        self.index.prepare()

    def ask(self, query: datasets.Floats) -> datasets.Ids:
        _, found = self.index.search(query, min(self.CANDIDATES, len(self.base)))
        scores = np.einsum("ij,ikj->ik", query, self.base[found])
        best = np.argsort(-scores, axis=1)[:, :K]
        near: datasets.Ids = np.take_along_axis(found, best, axis=1)
        return near

    def calls(self, query: datasets.Floats) -> datasets.Ids:
        return np.vstack([self.ask(q[None]) for q in query])


def reader(directory: Path, size: int) -> Ask | None:
    """A call that reads `size` bytes once; None without a C compiler."""
    source, library = directory / "read.c", directory / "read.so"
    if not library.exists():
        source.write_text(READ, encoding="ascii")
        command = ["cc", "-O3", "-march=native", "-shared", "-fPIC", "-o", library, source]
        try:
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            return None
    read = ctypes.CDLL(str(library)).read_all
    read.restype, read.argtypes = ctypes.c_uint64, (ctypes.c_void_p, ctypes.c_size_t)
    held = np.ones(size // 8, dtype=np.uint64)
    return lambda: read(held.ctypes.data, len(held))


def fastest(asks: dict[str, tuple[Ask, int]], rounds: int, clock: run.Clock) -> dict[str, float]:
    """Microseconds an operation: best round, all taking turns. (call, its operations)."""
    best: dict[str, float] = {}
    for turn in range(rounds + 1):
        for name, (ask, operations) in asks.items():
            start = clock()
            ask()
            used = 1e6 * (clock() - start) / operations
            if turn > 0:  # the first round warms
                best[name] = min(used, best.get(name, used))
    return best


def statements(db: Any, query: np.ndarray, sql: str, *more: Any) -> Ask:
    """A call that asks one statement a query; returns the rows of all."""
    bound = [(q.tobytes(), K, *more) for q in query]
    return lambda: [db.execute(sql, b).fetchall() for b in bound]


def ids(rows: list[list[tuple[int, float]]]) -> datasets.Ids:
    return np.array([[r[0] for r in one] for one in rows], dtype=np.int64)


AT_ONCE = ("batch", "turbovec", "turbovec batch")  # their answers are arrays
ASK = "SELECT id, distance FROM v WHERE e MATCH ? AND k = ?"


def at_size(args: argparse.Namespace, data: Dataset, directory: Path) -> dict[str, Any]:
    engines: list[Any] = []
    asks: dict[str, tuple[Ask, int]] = {}
    few = data.query[: max(10, len(data.query) // 10)]
    names = args.engines.split(",")
    if "flat" in names:
        flat = Flat(directory)
        flat.path = directory / "flat.db"
        flat.build(data)
        engines.append(flat)
        asks["flat"] = statements(flat.db, data.query, ASK), len(data.query)
        asks["batch"] = (lambda: flat.batch(data.query, K, None)), len(data.query)
    if "exact" in names:
        graph = Vecsql(directory)
        graph.build(data)
        engines.append(graph)
        asks["exact"] = statements(graph.db, data.query, ASK + " AND exact = 1"), len(data.query)
    for name, module, query in (("vec0", Vec0, data.query), ("sqlite-vec", SqliteVec, few)):
        if name in names:
            try:
                peer = module(directory)
            except Unavailable as e:
                run.progress(f"{name} not run: {e}")
                continue
            peer.path = directory / f"{name}.db"
            peer.build(data)
            engines.append(peer)
            asks[name] = statements(peer.db, query, peer.query(None)[0]), len(query)
    if "turbovec" in names:
        try:
            scan, asked = Turbovec(data), unit(data.query)
            asks["turbovec"] = (lambda: scan.calls(asked)), len(asked)
            asks["turbovec batch"] = (lambda: scan.ask(asked)), len(asked)
        except Unavailable as e:
            run.progress(f"turbovec not run: {e}")
    size = len(data.base) * -(-data.dims // CODE_BLOCK) * CODE_BLOCK
    again, memory = reader(directory, size), reader(directory, BEYOND_CACHES)
    if again is not None and memory is not None:
        asks["again"] = (lambda: [again() for _ in range(20)]), 20
        asks["memory"] = memory, 1
    out: dict[str, Any] = {"rows": len(data.base), "code_bytes": size}
    for name, (ask, _) in asks.items():
        if name not in ("again", "memory"):
            found = ask()
            out[f"{name} recall"] = data.recall(found if name in AT_ONCE else ids(found), K)
    out |= fastest(asks, args.rounds, run.CLOCKS[args.clock])
    if "memory" in out:
        out["memory"] *= size / BEYOND_CACHES
    for engine in engines:
        engine.close()
    return out


def plan_of(db: Any) -> str:
    sql = "SELECT value FROM vecsql_stats('v') WHERE name = 'last_query_plan'"
    return str(db.execute(sql).fetchone()[0])


def small(args: argparse.Namespace, data: Dataset, directory: Path) -> dict[str, Any]:
    engine = Vecsql(directory)
    engine.build(data)
    out: dict[str, Any] = {"rows": len(data.base), "plan": {}, "recall": {}}
    asks = {"exact": (statements(engine.db, data.query, ASK + " AND exact = 1"), len(data.query))}
    for ef in args.ef.split(","):
        ask = statements(engine.db, data.query, ASK + " AND ef_search = ?", int(ef))
        asks[ef] = ask, len(data.query)
        out["recall"][ef] = data.recall(ids(ask()), K)
        out["plan"][ef] = plan_of(engine.db)
    out |= fastest(asks, args.rounds, run.CLOCKS[args.clock])
    engine.close()
    return out


def ratio(a: float | None, b: float | None) -> str:
    return "-" if a is None or b is None else f"{a / b:.2f}"


WAYS = {
    "flat": "`index=flat`, a statement",
    "batch": "`index=flat`, `vecsql_search`",
    "exact": "a graph's table, `exact = 1`",
    "vec0": "our module `vec0`",
    "sqlite-vec": "sqlite-vec",
    "turbovec": "turbovec, a call",
    "turbovec batch": "turbovec, all in one call",
    "memory": "reading the codes from memory",
    "again": "reading them again and again",
}


def scan_table(sizes: list[dict[str, Any]]) -> Table:
    """A column for each size."""
    head = ["microseconds a query"]
    for r in sizes:
        head += [f"{r['rows']:,} rows", "/ flat", "recall"]
    out = Table("Exact scans. Recall is given where it was asked.", head)
    for key, name in WAYS.items():
        if any(key in r for r in sizes):
            row = [name]
            for r in sizes:
                recall = r.get(f"{key} recall")
                text = "" if recall is None else f"{recall:.4f}"
                row += [number(r.get(key)), ratio(r.get(key), r.get("flat")), text]
            out.rows.append(row)
    return out


def small_table(smalls: list[dict[str, Any]]) -> Table:
    ef = list(smalls[0]["plan"])
    return Table(
        "Small tables: microseconds a statement, the plan that was chosen, recall@10.",
        ["rows", "exact = 1", *(f"ef {e}" for e in ef)],
        [
            [f"{r['rows']:,}", number(r["exact"])]
            + [f"{number(r[e])} {r['plan'][e]} {r['recall'][e]:.3f}" for e in ef]
            for r in smalls
        ],
    )


def measured(args: argparse.Namespace, sizes: str, work: Callable[..., Any]) -> list[Any]:
    out = []
    for size in (int(s) for s in sizes.split(",") if s):
        data = load(args, size)
        if len(data.base) < size:
            run.progress(f"{data.name} has no {size:,} rows: {len(data.base):,} instead")
        with tempfile.TemporaryDirectory(prefix="vecsql-bench-") as directory:
            out.append(work(args, data, Path(directory)))
        run.progress(f"{len(data.base):,} rows done")
    return out


def load(args: argparse.Namespace, rows: int) -> Dataset:
    return datasets.load(
        args.set,
        rows,
        data=args.data,
        synthetic=args.synthetic,
        dims=args.dims,
        metric=args.metric,
        queries=args.queries,
    )


def main() -> int:
    args = arguments()
    Vecsql.extension = args.extension
    machine.pin()
    try:
        data = load(args, 1000)
        sizes = measured(args, args.sizes, at_size)
        smalls = measured(args, args.small, small)
    except (datasets.NoDataError, Unavailable) as e:
        print(e, file=sys.stderr)
        return 2
    head = results.about(
        f"{data.name}, {data.dims} dimensions, {data.metric}, k = {K}, {args.clock} time",
        {name: version_of(name) for name in ("sqlite-vec", "turbovec")},
    )
    tables = ([scan_table(sizes)] if sizes else []) + ([small_table(smalls)] if smalls else [])
    results.show(head["title"], tables)
    results.save(args.json, head, tables, {"set": data.name, "sizes": sizes, "small": smalls})
    return 0


if __name__ == "__main__":
    sys.exit(main())
