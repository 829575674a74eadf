"""What a filter costs and whether the nearest rows that pass it come back.

The grid: how many rows pass, whether they are the ones near the query, any, or the ones far from
it, and how the predicate is written:

    eq      a column with a b-tree of its own = a value
    range   two bounds on a column without one
    in      rowid IN (SELECT ... FROM another table with a b-tree)
    or      (column = a value OR another column = a value): no virtual table is told of it

For each engine: rows returned, recall@k among the rows that pass, milliseconds a query, and the
time relative to vecsql's exact scan (exact = 1) under the same predicate. Then a join of which 1 %
of the rows pass, ORDER BY distance LIMIT 10. All engines are built first; in each cell they are
asked in turn. ``--forms``, ``--nearness`` and ``--shares`` choose cells, and the table has only the
columns that these need.

Queries are the vectors of the query set that are nearest to one point of the base, so that "near"
and "far" mean the same rows for all of them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import machine
import numpy as np
import results
from datasets import Dataset
from engine import EF_CONSTRUCTION, M, Unavailable, version_of
from engines_sql import Sql, SqliteVec, Vec1, Vecsql, Vectorlite
from engines_stores import QdrantEdge
from tables import Table, number

SHARES = [0.5, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0001]
NEARNESS = ["near", "any", "far"]
PEERS = {"qdrant-edge": "qdrant-edge-py", "sqlite-vec": "sqlite-vec"}
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

    def rows(self, names: list[str]) -> list[tuple[int, ...]]:
        """For each row its values of these columns."""
        kinds = {"b": self.bucket, "r": self.rank}
        parts = [kinds[name[-1]][name[:-2]] for name in names]
        return [tuple(int(x) for x in row) for row in np.stack(parts, axis=1)]


def names_of(forms: list[str], nearness: list[str]) -> list[str]:
    """The columns that the cells need: buckets, and ranks for the forms that compare them."""
    ranks = nearness if {"range", "or"} & set(forms) else []
    return [f"{n}_b" for n in nearness] + [f"{n}_r" for n in ranks]


Ask = Callable[[np.ndarray], list[int]]
Asks = dict[str, Ask]


class Filtered(ABC):
    """An engine with those columns beside its vectors."""

    name = ""

    def __init__(self, directory: Path, names: list[str]) -> None:
        self.names = names

    @abstractmethod
    def build(self, data: Dataset, columns: Columns) -> None: ...

    @abstractmethod
    def asks(self, form: str, nearness: str, i: int, interval: tuple[int, int], k: int) -> Asks:
        """Ways to ask with this predicate; none if the engine has no such predicate."""

    def joins(self, k: int) -> Asks:
        """Ways to ask for the k nearest rows whose m.any_b is that of 1 %."""
        return {}

    def plan(self) -> dict[str, Any]:
        """What the last query did."""
        return {}

    @abstractmethod
    def close(self) -> None: ...


class FilteredSql(Filtered):
    """An engine in SQLite: a statement for each form, None if it has none."""

    base: type[Sql]
    insert = "INSERT INTO v(rowid, e{names}) VALUES (?, ?{values})"
    columns = True  # the engine's table holds them

    def __init__(self, directory: Path, names: list[str]) -> None:
        super().__init__(directory, names)
        self.engine = self.base(directory)
        self.name = self.engine.name
        self.db: Any = None

    @abstractmethod
    def create(self, dims: int, metric: str, rows: int) -> str: ...

    def build(self, data: Dataset, columns: Columns) -> None:
        path = self.engine.path
        for suffix in ("", "-wal", "-shm"):
            Path(f"{path}{suffix}").unlink(missing_ok=True)
        db = self.db = self.engine.open()
        db.execute("PRAGMA journal_mode = WAL").fetchall()
        db.execute(f"CREATE TABLE m(id INTEGER PRIMARY KEY, {', '.join(IN_M)})")
        db.execute(self.create(data.dims, data.metric, len(data.base)))
        db.execute("BEGIN")
        db.executemany(
            f"INSERT INTO m VALUES (?{', ?' * len(IN_M)})",
            ((i, *r) for i, r in enumerate(columns.rows(IN_M))),
        )
        own = self.names if self.columns else []
        rows = columns.rows(own) if own else [()] * len(data.base)
        insert = self.insert.format(names="".join(f", {n}" for n in own), values=", ?" * len(own))
        db.executemany(
            insert,
            ((i, v.tobytes(), *r) for i, (v, r) in enumerate(zip(data.base, rows, strict=True))),
        )
        for name in IN_M:
            db.execute(f"CREATE INDEX m_{name} ON m({name})")
        db.execute("COMMIT")
        self.engine.finish(db, len(rows), data.metric)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def asks(self, form: str, nearness: str, i: int, interval: tuple[int, int], k: int) -> Asks:
        predicate = self.predicate(form, nearness, i, interval)
        if predicate is None:
            return {}
        out = {"as usual": self.bound(self.statement(form, predicate, k))}
        scan = self.exact(form, predicate, k)
        return out if scan is None else {**out, "exact": self.bound(scan)}

    def joins(self, k: int) -> Asks:
        found = {"join": self.join(k), "exact": self.join_exact(k)}
        return {what: self.bound(sql) for what, sql in found.items() if sql is not None}

    def bound(self, sql: str) -> Ask:
        execute = self.db.execute
        return lambda vector: [r[0] for r in execute(sql, (vector.tobytes(),)).fetchall()]

    def close(self) -> None:
        self.db.close()

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
        """The statement of the join; one parameter."""
        return None

    def join_exact(self, k: int) -> str | None:
        return None


IN_M = [f"{n}_b" for n in NEARNESS]  # columns of the table that subqueries and joins read
ONE_PERCENT = SHARES.index(0.01)
JOINED = f"JOIN m ON m.id = v.rowid WHERE e MATCH ? AND m.any_b = {ONE_PERCENT}"


class FilteredVecsql(FilteredSql):
    base = Vecsql
    options = ""  # --codec

    def create(self, dims: int, metric: str, rows: int) -> str:
        kinds = {"b": "INTEGER indexed", "r": "INTEGER"}
        columns = ", ".join(f"{n} {kinds[n[-1]]}" for n in self.names)
        return (
            f"CREATE VIRTUAL TABLE v USING vecsql(e FLOAT[{dims}] distance_metric={metric} m={M}"
            f" ef_construction={EF_CONSTRUCTION}{self.options}, {columns})"
        )

    def plan(self) -> dict[str, Any]:
        sql = "SELECT name, value FROM vecsql_stats('v') WHERE name GLOB 'last_query_*'"
        return {name.removeprefix("last_query_"): value for name, value in self.db.execute(sql)}

    def statement(self, form: str, predicate: str, k: int) -> str:
        tail = f"ORDER BY distance LIMIT {k}" if form == "or" else f"AND k = {k}"
        return f"SELECT rowid FROM v WHERE e MATCH ? AND {predicate} {tail}"

    def exact(self, form: str, predicate: str, k: int) -> str:
        return self.statement(form, f"exact = 1 AND {predicate}", k)

    def join(self, k: int) -> str:
        return f"SELECT v.rowid FROM v {JOINED} ORDER BY v.distance LIMIT {k}"

    def join_exact(self, k: int) -> str:
        return f"SELECT v.rowid FROM v {JOINED} AND v.exact = 1 ORDER BY v.distance LIMIT {k}"


class FilteredSqliteVec(FilteredSql):
    base = SqliteVec

    def create(self, dims: int, metric: str, rows: int) -> str:
        names = ", ".join(f"{n} INTEGER" for n in self.names)
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


class FilteredVec1(FilteredSql):
    base = Vec1
    insert = "INSERT INTO v(rowid, vector{names}) VALUES (?, ?{values})"

    def create(self, dims: int, metric: str, rows: int) -> str:
        return f"CREATE VIRTUAL TABLE v USING vec1(vector, {', '.join(self.names)})"

    def statement(self, form: str, predicate: str, k: int) -> str:
        return f"SELECT rowid FROM v(?, '{{k: {k}, nprobe: 0.1}}') WHERE {predicate}"


class FilteredVectorlite(FilteredSql):
    base = Vectorlite
    columns = False

    def create(self, dims: int, metric: str, rows: int) -> str:
        return self.engine.create(dims, metric, rows)

    def statement(self, form: str, predicate: str, k: int) -> str:
        return f"SELECT rowid FROM v WHERE knn_search(e, knn_param(?, {k}, 64)) AND {predicate}"


class FilteredQdrantEdge(Filtered):
    """Integers in the payload, each with an index; conditions on them in the query."""

    name = QdrantEdge.name

    def __init__(self, directory: Path, names: list[str]) -> None:
        super().__init__(directory, names)
        self.engine = QdrantEdge(directory)
        self.engine.full_scan_kb = 1_000  # the fastest at 10 % of 100,000 rows: it walks there
        self.lib = self.engine.lib

    def build(self, data: Dataset, columns: Columns) -> None:
        self.engine.create(data)
        for name in self.names:
            kind = self.lib.PayloadSchemaType.Integer
            self.engine.shard.update(self.lib.UpdateOperation.create_field_index(name, kind))
        rows = columns.rows(self.names)
        self.engine.insert(data, [dict(zip(self.names, row, strict=True)) for row in rows])
        self.engine.shard.optimize()

    def equals(self, name: str, value: int) -> Any:
        return self.lib.FieldCondition(name, match=self.lib.MatchValue(value))

    def asks(self, form: str, nearness: str, i: int, interval: tuple[int, int], k: int) -> Asks:
        lib, low, high = self.lib, *interval
        if form == "in":
            return {}
        if form == "eq":
            only = lib.Filter(must=[self.equals(f"{nearness}_b", i)])
        elif form == "range":
            bounds = lib.RangeFloat(gte=low, lt=high)
            only = lib.Filter(must=[lib.FieldCondition(f"{nearness}_r", range=bounds)])
        else:
            either = [self.equals(f"{nearness}_b", i), self.equals(f"{nearness}_r", -1)]
            only = lib.Filter(should=either)
        return {"as usual": lambda v: self.engine.calls(v[None], k, EF, only)[0].tolist()}

    def close(self) -> None:
        self.engine.close()


EF = 64
KINDS: dict[str, type[Filtered]] = {
    "vecsql": FilteredVecsql,
    "qdrant-edge": FilteredQdrantEdge,
    "sqlite-vec": FilteredSqliteVec,
    "vec1": FilteredVec1,
    "vectorlite": FilteredVectorlite,
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

    def __call__(self, ask: Ask, passing: np.ndarray) -> dict[str, float]:
        chosen = self.columns.queries[: self.most]
        place = {int(row): i for i, row in enumerate(passing)}
        ask(self.data.query[chosen[0]])  # pages are in memory now
        times, rows, right = [], 0, 0
        began = time.perf_counter()
        for q in chosen:
            vector = self.data.query[q]
            start = self.clock()
            found = ask(vector)
            times.append(self.clock() - start)
            far, kth = self.truth(passing, vector.astype(np.float64))
            found = [r for r in found if r >= 0]
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


def cell(engine: Filtered, asks: Asks, measure: Measure, passing: np.ndarray) -> dict[str, Any]:
    try:
        out: dict[str, Any] = measure(asks["as usual"], passing)
        out["plan"] = engine.plan()
        if "exact" in asks:
            out["exact_ms"] = measure(asks["exact"], passing)["ms"]
    except Exception as e:
        out = {"error": str(e)}
    return out


def grid(engines: list[Filtered], measure: Measure, args: argparse.Namespace) -> list[Any]:
    out = []
    for form in args.forms:
        for nearness in args.nearness:
            for share in args.shares:
                i = SHARES.index(share)
                passing = measure.columns.passing(nearness, i)
                for engine in engines:
                    interval = measure.columns.interval[i]
                    asks = engine.asks(form, nearness, i, interval, measure.k)
                    if asks:
                        place = {"form": form, "nearness": nearness, "share": share}
                        found = cell(engine, asks, measure, passing)
                        out.append({"engine": engine.name, **place, **found})
    return out


def joins(engines: list[Filtered], measure: Measure) -> list[dict[str, Any]]:
    passing = measure.columns.passing("any", ONE_PERCENT)
    return [
        {"engine": engine.name, "what": what} | measure(ask, passing)
        for engine in engines
        for what, ask in engine.joins(measure.k).items()
    ]


FORM_TITLES = {
    "eq": "A column with a b-tree = a value.",
    "range": "Two bounds on a column without a b-tree.",
    "in": "`rowid IN (SELECT ...)`.",
    "or": "One column = a value OR another = a value.",
}


def grid_table(form: str, cells: list[dict[str, Any]], names: list[str]) -> Table:
    head = ["rows that pass", "share"]
    for name in names:
        head += [f"{name}: rows / recall", "ms"]
        head += ["/ exact"] if name == Vecsql.name else []
    out = Table(FORM_TITLES[form], head)
    places = dict.fromkeys((c["nearness"], c["share"]) for c in cells if c["form"] == form)
    for place in places:
        here = {
            c["engine"]: c
            for c in cells
            if (c["form"], c["nearness"], c["share"]) == (form, *place)
        }
        line = [place[0], f"{place[1]:.2%}"]
        for name in names:
            c = here.get(name, {})
            missing = "error" if "error" in c else "-"
            line += (
                [f"{c['rows']:.1f} / {c['recall']:.3f}", number(c["ms"], 3)]
                if "ms" in c
                else [missing, ""]
            )
            if name == Vecsql.name:
                line.append(number(c["ms"] / c["exact_ms"], 2) if "exact_ms" in c else "")
        out.rows.append(line)
    return out


def join_table(found: list[dict[str, Any]]) -> Table:
    lines = [
        [j["engine"], j["what"], f"{j['rows']:.1f}", f"{j['recall']:.3f}", f"{j['ms']:.2f}"]
        for j in found
    ]
    title = "A join of which 1 % passes, `ORDER BY distance LIMIT 10`."
    return Table(title, ["engine", "how", "rows", "recall", "ms"], lines)


def some(known: list[Any], kind: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """A type of an option: some of what is known."""

    def parsed(text: str) -> list[Any]:
        values = [kind(word) for word in text.split(",")]
        if not set(values) <= set(known):
            raise ValueError(text)
        return values

    return parsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    datasets.add_arguments(parser)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--engines", default=",".join(KINDS), help="default: all")
    parser.add_argument("--forms", type=some(FORMS, str), default=FORMS, metavar="eq,...")
    parser.add_argument("--nearness", type=some(NEARNESS, str), default=NEARNESS, metavar="any,...")
    parser.add_argument("--shares", type=some(SHARES, float), default=SHARES, metavar="0.1,...")
    parser.add_argument("--queries", type=int, default=50, help="at most, for each cell")
    parser.add_argument("--seconds", type=float, default=0.5, help="at most, for each cell")
    parser.add_argument("--clock", choices=CLOCKS, default="cpu")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--extension", help="measure this vecsql.so")
    parser.add_argument("--codec", help="of vecsql, default: as it comes")
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
    engines: list[Filtered] = []
    machine.pin()
    with tempfile.TemporaryDirectory() as temporary:
        for name in args.engines.split(","):
            try:
                engine = KINDS[name](Path(temporary), names_of(args.forms, args.nearness))
            except Unavailable as e:
                print(f"left out: {name}: {e}")
                continue
            engine.build(data, columns)
            engines.append(engine)
        cells = grid(engines, measure, args)
        joined = joins(engines, measure)
        for engine in engines:
            engine.close()
    head = results.about(
        f"{data.name}, {len(data.base):,} x {data.dims}, {data.metric}, k = {measure.k},"
        f" {args.clock} time",
        {name: version_of(package) for name, package in PEERS.items()},
    )
    names = [engine.name for engine in engines]
    tables = [grid_table(form, cells, names) for form in args.forms]
    tables += [join_table(joined)] if joined else []
    results.show(head["title"], tables)
    results.save(args.json, head, tables, {"grid": cells, "join": joined})


if __name__ == "__main__":
    main()
