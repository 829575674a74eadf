"""What a filter costs and whether the nearest rows that pass it come back.

The grid: how many rows pass, whether they are the ones near the query, any, or the ones far from
it, and how the predicate is written:

    eq      a column with a b-tree of its own = a value
    range   two bounds on a column without one
    in      rowid IN (SELECT ... FROM another table with a b-tree)
    or      (column = a value OR another column = a value): no virtual table is told of it

For each engine: rows returned, recall@k among the rows that pass, milliseconds a query, and the
time relative to vecsql's exact scan (exact = 1) under the same predicate. Then a join of which 1 %
of the rows pass, ORDER BY distance LIMIT 10.

Queries are the vectors of the query set that are nearest to one point of the base, so that "near"
and "far" mean the same rows for all of them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets import Dataset
from engine import EF_CONSTRUCTION, M, Unavailable
from engines_sql import Sql, SqliteVec, Vec1, Vecsql, Vectorlite
from report import table

SHARES = [0.5, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0001]
NEARNESS = ["near", "any", "far"]
FORMS = ["eq", "range", "in", "or"]
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


class Columns:
    """The columns that the predicates ask for: three ranks of the rows, and buckets of them.

    A bucket holds the rows of a rank interval, so that `bucket = i` passes SHARES[i] of the rows.
    """

    def __init__(self, data: Dataset) -> None:
        n = len(data.base)
        anchor = data.base[n // 2]
        by_distance = np.argsort(((data.base - anchor) ** 2).sum(axis=1), kind="stable")
        near = np.empty(n, np.int64)
        near[by_distance] = np.arange(n)
        any_ = np.random.default_rng(1).permutation(n)
        self.rank = {"near": near, "any": any_, "far": n - 1 - near}
        order = sorted(range(len(SHARES)), key=lambda i: SHARES[i])
        edges = np.cumsum([max(1, round(n * SHARES[i])) for i in order])
        self.interval = {
            i: (int(e) - max(1, round(n * SHARES[i])), int(e))
            for i, e in zip(order, edges, strict=True)
        }
        self.bucket = {}
        for name, rank in self.rank.items():
            bucket = np.full(n, -1, np.int64)
            for i, (low, high) in self.interval.items():
                bucket[(rank >= low) & (rank < high)] = i
            self.bucket[name] = bucket
        nearest = np.argsort(((data.query - anchor) ** 2).sum(axis=1), kind="stable")
        self.queries = nearest

    def passing(self, nearness: str, i: int) -> np.ndarray:
        return np.flatnonzero(self.bucket[nearness] == i)

    def rows(self) -> list[tuple[int, ...]]:
        """For each row: near, any, far buckets, then ranks."""
        parts = [self.bucket[n] for n in NEARNESS] + [self.rank[n] for n in NEARNESS]
        return [tuple(int(x) for x in row) for row in np.stack(parts, axis=1)]


NAMES = [f"{n}_b" for n in NEARNESS] + [f"{n}_r" for n in NEARNESS]


class Filtered:
    """An engine with those columns in its table; a statement for each form, None if it has none."""

    def __init__(self, engine: Sql) -> None:
        self.engine, self.name = engine, engine.name
        self.db: Any = None

    @abstractmethod
    def create(self, dims: int, metric: str, rows: int) -> str: ...

    insert = f"INSERT INTO v(rowid, e, {', '.join(NAMES)}) VALUES ({', '.join('?' * 8)})"
    columns = True  # the engine's table holds them

    def build(self, data: Dataset, columns: Columns) -> None:
        path = self.engine.path
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        db = self.db = self.engine.open()
        db.execute("PRAGMA journal_mode = WAL").fetchall()
        rows = columns.rows()
        db.execute(f"CREATE TABLE m(id INTEGER PRIMARY KEY, {', '.join(NAMES)})")
        db.execute(self.create(data.dims, data.metric, len(rows)))
        db.execute("BEGIN")
        db.executemany(
            f"INSERT INTO m VALUES ({', '.join('?' * 7)})", ((i, *r) for i, r in enumerate(rows))
        )
        values = (
            (i, v.tobytes(), *(r if self.columns else ()))
            for i, (v, r) in enumerate(zip(data.base, rows, strict=True))
        )
        db.executemany(self.insert, values)
        for n in NEARNESS:
            db.execute(f"CREATE INDEX m_{n} ON m({n}_b)")
        db.execute("COMMIT")
        self.engine.finish(db, len(rows), data.metric)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def predicate(self, form: str, nearness: str, i: int, interval: tuple[int, int]) -> str | None:
        low, high = interval
        if form == "in":
            return f"rowid IN (SELECT id FROM m WHERE {nearness}_b = {i})"
        if not self.columns:
            return None
        if form == "eq":
            return f"{nearness}_b = {i}"
        if form == "range":
            return f"{nearness}_r >= {low} AND {nearness}_r < {high}"
        return f"({nearness}_b = {i} OR {nearness}_r = -1)"

    @abstractmethod
    def statement(self, form: str, predicate: str, k: int) -> str:
        """A SELECT of rowid with one parameter, the query vector."""

    def exact(self, form: str, predicate: str, k: int) -> str | None:
        """The same by an exact scan."""
        return None

    def join(self, k: int) -> str | None:
        """The k nearest rows whose m.any_b is that of 1 %; one parameter."""
        return None

    def join_exact(self, k: int) -> str | None:
        return None


ONE_PERCENT = SHARES.index(0.01)
JOINED = f"JOIN m ON m.id = v.rowid WHERE e MATCH ? AND m.any_b = {ONE_PERCENT}"


class FilteredVecsql(Filtered):
    options = ""  # --codec

    def create(self, dims: int, metric: str, rows: int) -> str:
        indexed = ", ".join(f"{n} INTEGER indexed" for n in NAMES[:3])
        plain = ", ".join(f"{n} INTEGER" for n in NAMES[3:])
        return (
            f"CREATE VIRTUAL TABLE v USING vecsql(e FLOAT[{dims}] distance_metric={metric} m={M}"
            f" ef_construction={EF_CONSTRUCTION}{self.options}, {indexed}, {plain})"
        )

    def statement(self, form: str, predicate: str, k: int) -> str:
        tail = f"ORDER BY distance LIMIT {k}" if form == "or" else f"AND k = {k}"
        return f"SELECT rowid FROM v WHERE e MATCH ? AND {predicate} {tail}"

    def exact(self, form: str, predicate: str, k: int) -> str:
        return self.statement(form, f"exact = 1 AND {predicate}", k)

    def join(self, k: int) -> str:
        return f"SELECT v.rowid FROM v {JOINED} ORDER BY v.distance LIMIT {k}"

    def join_exact(self, k: int) -> str:
        return f"SELECT v.rowid FROM v {JOINED} AND v.exact = 1 ORDER BY v.distance LIMIT {k}"


class FilteredSqliteVec(Filtered):
    def create(self, dims: int, metric: str, rows: int) -> str:
        names = ", ".join(f"{n} INTEGER" for n in NAMES)
        return (
            f"CREATE VIRTUAL TABLE v USING vec0(e FLOAT[{dims}] distance_metric={metric}, {names})"
        )

    def statement(self, form: str, predicate: str, k: int) -> str:
        return f"SELECT rowid FROM v WHERE e MATCH ? AND k = {k} AND {predicate}"

    def join(self, k: int) -> str:
        return (
            "SELECT v.rowid FROM v WHERE e MATCH ? AND rowid IN"
            f" (SELECT id FROM m WHERE any_b = {ONE_PERCENT}) AND k = {k}"
        )


class FilteredVec1(Filtered):
    insert = f"INSERT INTO v(rowid, vector, {', '.join(NAMES)}) VALUES ({', '.join('?' * 8)})"

    def create(self, dims: int, metric: str, rows: int) -> str:
        return f"CREATE VIRTUAL TABLE v USING vec1(vector, {', '.join(NAMES)})"

    def statement(self, form: str, predicate: str, k: int) -> str:
        return f"SELECT rowid FROM v(?, '{{k: {k}, nprobe: 0.1}}') WHERE {predicate}"


class FilteredVectorlite(Filtered):
    insert = "INSERT INTO v(rowid, e) VALUES (?, ?)"
    columns = False

    def create(self, dims: int, metric: str, rows: int) -> str:
        return self.engine.create(dims, metric, rows)

    def statement(self, form: str, predicate: str, k: int) -> str:
        return f"SELECT rowid FROM v WHERE knn_search(e, knn_param(?, {k}, 64)) AND {predicate}"


ENGINES: dict[str, tuple[type[Filtered], type[Sql]]] = {
    "vecsql": (FilteredVecsql, Vecsql),
    "sqlite-vec": (FilteredSqliteVec, SqliteVec),
    "vec1": (FilteredVec1, Vec1),
    "vectorlite": (FilteredVectorlite, Vectorlite),
}


class Measure:
    """Asks one statement with several queries and compares with brute force."""

    def __init__(self, data: Dataset, columns: Columns, args: argparse.Namespace) -> None:
        self.data, self.columns = data, columns
        self.k, self.seconds, self.most = args.k, args.seconds, args.queries
        self.clock = CLOCKS[args.clock]

    def truth(self, passing: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, float]:
        """Distances of the rows that pass, and that of the k-th."""
        base = self.data.base[passing].astype(np.float64)
        if self.data.metric == "cosine":
            far = 1 - base @ query
        else:
            far = ((base - query) ** 2).sum(axis=1)
        return far, float(np.sort(far)[min(self.k, len(far)) - 1])

    def __call__(self, db: Any, sql: str, passing: np.ndarray) -> dict[str, float]:
        chosen = self.columns.queries[: self.most]
        place = {int(row): i for i, row in enumerate(passing)}
        first = [r[0] for r in db.execute(sql, (self.data.query[chosen[0]].tobytes(),))]
        del first  # pages are in memory now
        times, rows, right = [], 0, 0
        began = time.perf_counter()
        for q in chosen:
            vector = self.data.query[q]
            start = self.clock()
            found = [r[0] for r in db.execute(sql, (vector.tobytes(),)).fetchall()]
            times.append(self.clock() - start)
            far, kth = self.truth(passing, vector.astype(np.float64))
            rows += len(found)
            right += sum(r in place and far[place[r]] <= kth * (1 + 1e-6) + 1e-9 for r in found)
            if time.perf_counter() - began > self.seconds and len(times) >= 3:
                break
        want = len(times) * min(self.k, len(passing))
        return {
            "rows": rows / len(times),
            "recall": right / want,
            "ms": float(np.median(times)) * 1000,
            "queries": len(times),
        }


def grid(engine: Filtered, measure: Measure) -> list[dict[str, Any]]:
    out = []
    for form in FORMS:
        for nearness in NEARNESS:
            for i, share in enumerate(SHARES):
                passing = measure.columns.passing(nearness, i)
                predicate = engine.predicate(form, nearness, i, measure.columns.interval[i])
                if predicate is None:
                    continue
                cell = {"engine": engine.name, "form": form, "nearness": nearness, "share": share}
                try:
                    sql = engine.statement(form, predicate, measure.k)
                    cell |= measure(engine.db, sql, passing)
                    if engine.name == "vecsql":
                        cell["plan"] = last_query(engine.db)
                    scan = engine.exact(form, predicate, measure.k)
                    if scan is not None:
                        cell["exact_ms"] = measure(engine.db, scan, passing)["ms"]
                except Exception as e:
                    cell["error"] = str(e)
                out.append(cell)
    return out


def last_query(db: Any) -> dict[str, Any]:
    found = db.execute("SELECT name, value FROM vecsql_stats('v') WHERE name GLOB 'last_query_*'")
    return {name.removeprefix("last_query_"): value for name, value in found}


def joins(engine: Filtered, measure: Measure) -> list[dict[str, Any]]:
    passing = measure.columns.passing("any", ONE_PERCENT)
    out = []
    for what, sql in (("join", engine.join(measure.k)), ("exact", engine.join_exact(measure.k))):
        if sql is not None:
            out.append({"engine": engine.name, "what": what} | measure(engine.db, sql, passing))
    return out


def print_grid(cells: list[dict[str, Any]], names: list[str]) -> None:
    for form in FORMS:
        lines = []
        for nearness in NEARNESS:
            for share in SHARES:
                here = {
                    c["engine"]: c
                    for c in cells
                    if (c["form"], c["nearness"], c["share"]) == (form, nearness, share)
                }
                exact = here.get("vecsql", {}).get("exact_ms")
                line = [nearness, f"{share:.2%}"]
                for name in names:
                    c = here.get(name)
                    if c is None or "error" in c:
                        line += ["-" if c is None else "error", "", ""]
                        continue
                    ratio = f"{c['ms'] / exact:.2f}" if exact else ""
                    line += [f"{c['rows']:.1f} / {c['recall']:.3f}", f"{c['ms']:.2f}", ratio]
                lines.append(line)
        head = ["rows that pass", "share"]
        for name in names:
            head += [f"{name}: rows / recall", "ms", "/ exact"]
        print(f"\n### {form}\n")
        print(table(head, lines))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    datasets.add_arguments(parser)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--engines", default=",".join(ENGINES), help="default: all")
    parser.add_argument("--queries", type=int, default=50, help="at most, for each cell")
    parser.add_argument("--seconds", type=float, default=0.5, help="at most, for each cell")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--extension", help="measure this vecsql.so")
    parser.add_argument("--codec", help="of vecsql, default: as it comes")
    parser.add_argument(
        "--dir", type=Path, help="keep the files there, and use those that are there"
    )
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    Vecsql.extension = args.extension
    if args.codec is not None:
        FilteredVecsql.options = f" codec={args.codec}"
    data = datasets.load(
        args.set,
        args.rows,
        data=args.data,
        synthetic=args.synthetic,
        dims=args.dims,
        metric=args.metric,
    )
    columns = Columns(data)
    measure = Measure(data, columns, args)
    cells: list[dict[str, Any]] = []
    joined: list[dict[str, Any]] = []
    names = []
    with tempfile.TemporaryDirectory() as temporary:
        directory = args.dir or Path(temporary)
        for name in args.engines.split(","):
            kind, base = ENGINES[name]
            try:
                engine = kind(base(directory))
            except Unavailable as e:
                print(f"left out: {name}: {e}")
                continue
            names.append(name)
            if args.dir is not None and engine.engine.in_file and engine.engine.path.exists():
                engine.db = engine.engine.open()
            else:
                engine.build(data, columns)
            cells += grid(engine, measure)
            joined += joins(engine, measure)
            engine.db.close()
    print(f"{data.name}, {len(data.base)} rows, {data.metric}, k = {measure.k}")
    print_grid(cells, names)
    print("\n### A join of which 1 % passes\n")
    lines = [
        [j["engine"], j["what"], f"{j['rows']:.1f}", f"{j['recall']:.3f}", f"{j['ms']:.2f}"]
        for j in joined
    ]
    print(table(["engine", "how", "rows", "recall", "ms"], lines))
    if args.json:
        args.json.write_text(json.dumps({"grid": cells, "join": joined}, indent=1))


if __name__ == "__main__":
    main()
