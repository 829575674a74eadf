"""What transactions cost: python benchmarks/storage.py [--only PART,...] [--quick] [--rows N].

Parts, each a table of figures with its limit (a verdict is printed, nothing is asserted):

    wal      bytes and time of one-row commits
    second   how soon another process answers from a commit
    open     the first query after opening a large file; loading all of it
    size     the file after a bulk load, at 4 and 8 KiB pages
    churn    recall, unreachable nodes and file size under deletes and inserts
    rate     rows per second of small, middle and large transactions

Limits hold for the default sizes (`open`: for --rows 1000000). Peers run where they can: vectorlite
keeps its index in memory, so only `churn` and `rate` say something about it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import struct
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import datasets
import engines
import machine
import numpy as np
import results
from datasets import Dataset
from engines import Sql, Vecsql
from tables import Table, number, table

K, EF = 10, 64
PEER_SECONDS = 180  # churn of a peer ends then: replacing rows costs vectorlite milliseconds each
MOST_COMMITS = 12_000  # to reach a checkpoint
SPAWN = multiprocessing.get_context("spawn")  # children must not inherit loaded pages


# --- tables of figures ---------------------------------------------------------------------------


@dataclass
class Sheet:
    """One table: a line a figure, a column an engine, and the limit that vecsql has to keep."""

    title: str
    names: list[str]
    figures: dict[str, dict[str, float | str]] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    digits: dict[str, int] = field(default_factory=dict)

    def put(
        self,
        name: str,
        label: str,
        value: float | str,
        *,
        digits: int = 0,
        limit: float | None = None,
    ) -> None:
        self.figures.setdefault(label, {})[name] = value
        self.digits[label] = digits
        if limit is not None:
            self.limits[label] = limit

    def text(self, label: str, name: str) -> str:
        value = self.figures[label].get(name)
        if value is None or isinstance(value, str):
            return value or "-"
        return number(value, self.digits[label])

    def verdict(self, label: str) -> list[str]:
        value = self.figures[label].get(Vecsql.name)
        if label not in self.limits:
            return ["", ""]
        limit = f"<= {number(self.limits[label], self.digits[label])}"
        if not isinstance(value, (int, float)):
            return [limit, "-"]
        return [limit, "pass" if value <= self.limits[label] else "FAIL"]

    def table(self) -> Table:
        rows = [
            [label, *(self.text(label, n) for n in self.names), *self.verdict(label)]
            for label in self.figures
        ]
        name, _, rest = self.title.partition(": ")
        return Table(f"`{name}`: {rest}.", ["figure", *self.names, "limit", "verdict"], rows)

    def show(self) -> None:
        print(self.table(), flush=True)


Seconds = tuple[float, float]  # wall, CPU of this thread: the second tells on a busy machine


def clocks() -> Seconds:
    return time.perf_counter(), time.thread_time()


def since(begin: Seconds) -> Seconds:
    now = clocks()
    return now[0] - begin[0], now[1] - begin[1]


@dataclass
class Bench:
    """Settings, the engines that run, and files that were built once."""

    args: argparse.Namespace
    directory: Path
    names: list[str]
    sheets: list[Sheet] = field(default_factory=list)
    built: dict[tuple[str, str, int, int], tuple[Path, Seconds]] = field(default_factory=dict)

    def sheet(self, title: str, names: list[str] | None = None) -> Sheet:
        sheet = Sheet(title, self.names if names is None else names)
        self.sheets.append(sheet)
        return sheet

    def in_file(self) -> list[str]:
        return [n for n in self.names if engines.SQL_ENGINES[n].in_file]

    def data(self, rows: int, name: str | None = None, spare: int = 5000) -> Dataset:
        """The first rows of a set; at least `spare` stay unused, to be inserted later."""
        a = self.args
        name = name or a.set
        dims = int(name.rpartition("-")[2]) if a.synthetic else a.dims

        def load(n: int) -> Dataset:
            return datasets.load(
                name, n, data=a.data, synthetic=a.synthetic, dims=dims, metric=a.metric
            )

        data = load(rows)
        return data if len(data.more) >= spare else load(len(data.base) - spare + len(data.more))

    def engine(self, name: str, directory: Path | None = None) -> Sql:
        return engines.SQL_ENGINES[name](directory or self.directory)

    def template(self, name: str, data: Dataset, page_size: int = 4096) -> tuple[Path, Seconds]:
        """A closed, checkpointed file of the data, and the seconds of its load."""
        key = (name, data.name, len(data.base), page_size)
        if key not in self.built:
            engine = self.engine(name)
            begin = clocks()
            db = engine.make(data, page_size)
            seconds = since(begin)
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            db.close()
            kept = self.directory / "-".join(map(str, key))
            engine.path.rename(kept)
            self.built[key] = kept, seconds
            progress(f"{name}: {len(data.base):,} x {data.dims} in {seconds[0]:.1f} s")
        return self.built[key]

    def copy(self, name: str, data: Dataset) -> tuple[Sql, Any]:
        """An engine and a connection to its own copy of the template."""
        engine = self.engine(name)
        for suffix in ("-wal", "-shm"):
            Path(f"{engine.path}{suffix}").unlink(missing_ok=True)
        shutil.copy(self.template(name, data)[0], engine.path)
        db = engine.open()
        db.execute("PRAGMA synchronous = NORMAL")
        return engine, db


def progress(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def percentile(values: list[float], p: float) -> float:
    return float(np.percentile(values, p))


def size_of(db: Any) -> int:
    """Bytes of the main database."""
    pages = db.execute("PRAGMA page_count").fetchone()[0]
    return int(pages) * int(db.execute("PRAGMA page_size").fetchone()[0])


# --- wal -----------------------------------------------------------------------------------------


def part_wal(b: Bench) -> None:
    """Growth of the -wal file with automatic checkpoints off, commit by commit."""
    data, n = b.data(b.args.base_rows), b.args.commits
    sheet = b.sheet(
        f"wal: {n:,} one-row commits at {len(data.base):,} x {data.dims}, 4 KiB pages", b.in_file()
    )
    for name in sheet.names:
        engine, db = b.copy(name, data)
        rows = data.extra(MOST_COMMITS)
        db.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
        for i in range(10):  # the first commits load what the later ones have
            db.execute(engine.insert, (len(data.base) + i, rows[i].tobytes()))
        grown, took = commits(engine, db, data, rows, range(10, n + 10))
        median = percentile(grown, 50)
        sheet.put(name, "WAL bytes, median", median, limit=20_480)
        sheet.put(name, "WAL bytes, p99", percentile(grown, 99))
        sheet.put(name, "WAL bytes, mean", float(np.mean(grown)))
        sheet.put(name, "WAL bytes, most", max(grown))
        sheet.put(name, "ms, p50", percentile(took, 50), digits=3)
        sheet.put(name, "ms, p99", percentile(took, 99), digits=3)
        sheet.put(name, "ms, mean", float(np.mean(took)), digits=3)
        sheet.put(name, "ms, most", max(took), digits=3)
        if name == Vecsql.name:
            cycle(sheet, engine, db, data, rows, grown, took)
        db.close()
    sheet.show()


def commits(
    engine: Sql, db: Any, data: Dataset, rows: datasets.Floats, numbers: range
) -> tuple[list[float], list[float]]:
    """Bytes and milliseconds of one-row commits."""
    wal = Path(f"{engine.path}-wal")
    grown, took, before = [], [], wal.stat().st_size
    for i in numbers:
        vector = rows[i].tobytes()
        start = time.perf_counter()
        db.execute(engine.insert, (len(data.base) + i, vector))
        took.append((time.perf_counter() - start) * 1e3)
        after = wal.stat().st_size
        grown.append(float(after - before))
        before = after
    return grown, took


def cycle(
    sheet: Sheet,
    engine: Sql,
    db: Any,
    data: Dataset,
    rows: datasets.Floats,
    grown: list[float],
    took: list[float],
) -> None:
    """Goes on to the first checkpoint: what all commits between two checkpoints cost together.

    The bulk load left the log empty, so the cycle begins with the first commit.
    """
    at, begin = len(grown) + 10, log_bytes(db)[0]
    while log_bytes(db)[0] == begin and at < MOST_COMMITS:
        more, longer = commits(engine, db, data, rows, range(at, at + 1))
        grown, took, at = grown + more, took + longer, at + 1
    name = engine.name
    sheet.put(name, "commits between checkpoints", float(at))
    sheet.put(name, "WAL bytes of the commit that makes a checkpoint", grown[-1])
    sheet.put(name, "WAL bytes, mean of the whole cycle", float(np.mean(grown)))
    sheet.put(name, "ms of the commit that makes a checkpoint", took[-1], digits=3)
    sheet.put(name, "ms, mean of the whole cycle", float(np.mean(took)), digits=3)


# --- second --------------------------------------------------------------------------------------


def reader(pipe: Connection, name: str, extension: str | None, path: str, warm: bytes) -> None:
    """The second process: times the first query after a message, and the same query again."""
    Vecsql.extension = extension
    engine = engines.SQL_ENGINES[name](Path(path).parent)
    db = engine.open(Path(path))
    sql, bind = engine.query(EF if not engine.exact else None)
    again = 2 if engine.exact else 5
    db.execute(sql, bind(warm, K)).fetchall()
    pipe.send("ready")
    while (message := pipe.recv()) is not None:
        vector, wanted = message
        binding = bind(vector, K)
        times = []
        found: list[Any] = []
        for _ in range(1 + again):
            start = time.perf_counter()
            rows = db.execute(sql, binding).fetchall()
            times.append((time.perf_counter() - start) * 1e3)
            found = found or rows
        seen = wanted is None or any(row[0] == wanted for row in found)
        pipe.send((times[0], float(np.median(times[1:])), seen))
    db.close()


def part_second(b: Bench) -> None:
    """A commit here, a query for its row there; and the same without a commit, as a control."""
    data, n = b.data(b.args.base_rows), max(20, b.args.commits // 4)
    sheet = b.sheet(
        f"second: another process answers after a one-row commit, {len(data.base):,} x {data.dims}",
        b.in_file(),
    )
    for name in sheet.names:
        engine, db = b.copy(name, data)
        rows = data.extra(n)
        here, there = SPAWN.Pipe()
        arguments = (there, name, Vecsql.extension, str(engine.path), data.query[0].tobytes())
        child = SPAWN.Process(target=reader, args=arguments)
        child.start()
        here.recv()
        rounds = 30 if engine.exact else n
        for q in data.query[: 10 if engine.exact else 200]:  # so that no pages have to be loaded
            here.send((q.tobytes(), None))
            here.recv()
        extra, control, warm, seen = [], [], [], 0
        for i in range(rounds):
            vector = rows[i].tobytes()
            here.send((vector, None))
            here.recv()  # loads the neighbourhood
            here.send((vector, None))
            first, again, _ = here.recv()
            control.append(first - again)
            db.execute(engine.insert, (len(data.base) + i, vector))
            here.send((vector, len(data.base) + i))
            first, again, found = here.recv()
            extra.append(first - again)
            warm.append(again)
            seen += found
        here.send(None)
        child.join()
        db.close()
        sheet.put(name, "commits seen", f"{seen} of {rounds}")
        sheet.put(name, "warm query, ms", percentile(warm, 50), digits=3)
        sheet.put(
            name,
            "first query after the commit, ms more: p50",
            percentile(extra, 50),
            digits=3,
            limit=1.0,
        )
        sheet.put(
            name,
            "first query after the commit, ms more: p99",
            percentile(extra, 99),
            digits=3,
            limit=1.0,
        )
        sheet.put(name, "first query after the commit, most", max(extra), digits=3)
        sheet.put(name, "control: no commit, p50", percentile(control, 50), digits=3)
        sheet.put(name, "control: no commit, p99", percentile(control, 99), digits=3)
    sheet.show()


# --- open ----------------------------------------------------------------------------------------


def log_bytes(db: Any) -> tuple[int, int]:
    """(version that the pages include, bytes of edits since): docs/explain/file-format.md."""
    state = db.execute("SELECT state FROM v_log0 ORDER BY ver DESC LIMIT 1").fetchone()[0]
    (folded,) = struct.unpack_from("<Q", state, 4)
    sql = "SELECT coalesce(sum(length(edits)), 0) FROM v_log0 WHERE ver > ?"
    return folded, int(db.execute(sql, (folded,)).fetchone()[0])


def fill_log(engine: Sql, db: Any, data: Dataset) -> str:
    """One-row commits until the log is as long as it gets: the first checkpoint shows the limit."""
    rows = data.extra(40_000)
    folded, length = log_bytes(db)
    first, limit, longest = folded, None, 0
    for i in range(len(rows)):
        before = length
        db.execute(engine.insert, (len(data.base) + i, rows[i].tobytes()))
        folded, length = log_bytes(db) if i % 8 == 0 or limit is not None else (folded, length)
        if folded != first and limit is None:
            limit, first = max(before, longest), folded
        longest = max(longest, length)
        if limit is not None and folded == first and length > 0.96 * limit:
            return f"{length / 1e6:.2f} of {limit / 1e6:.2f}"
    return f"{length / 1e6:.2f}, limit not found"


def opener(
    pipe: Connection, name: str, extension: str | None, path: str, query: bytes, full: int
) -> None:
    """A fresh process: opens, asks once, asks again, and loads all if full is the row count."""
    Vecsql.extension = extension
    engine = engines.SQL_ENGINES[name](Path(path).parent)
    sql, bind = engine.query(EF if not engine.exact else None)
    start = time.perf_counter()
    db = engine.open(Path(path))
    opened, busy = time.perf_counter(), time.thread_time()
    db.execute(sql, bind(query, K)).fetchall()
    asked, busy = time.perf_counter(), time.thread_time() - busy
    db.execute(sql, bind(query, K)).fetchall()
    again = time.perf_counter()
    load, how = 0.0, ""
    if full:
        load, how = load_all(db, query, full)
    times = (opened - start, asked - opened, busy, again - asked)
    pipe.send((*(t * 1e3 for t in times), load, how))
    db.close()


def load_all(db: Any, query: bytes, rows: int) -> tuple[float, str]:
    """Seconds to bring the whole index of vecsql into memory, and by what means."""
    start = time.perf_counter()
    try:
        db.execute("INSERT INTO v(v) VALUES ('warm')")
        return time.perf_counter() - start, "'warm'"
    except Exception:  # a version that has no such command
        sql = "SELECT count(*) FROM v WHERE e MATCH ? AND k = ?"
        took = []
        for _ in range(2):
            start = time.perf_counter()
            db.execute(sql, (query, rows)).fetchall()
            took.append(time.perf_counter() - start)
        return took[0] - took[1], "k = all rows, less the same again"


def read_through(path: Path) -> None:
    """Brings a file into the OS cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 22):
            pass


def part_open(b: Bench) -> None:
    data = b.data(b.args.rows)
    sheet = b.sheet(
        f"open: fresh process, file in the OS cache, {len(data.base):,} x {data.dims}", b.in_file()
    )
    for name in sheet.names:
        engine, db = b.copy(name, data)
        if name == Vecsql.name:
            db.execute("PRAGMA synchronous = OFF")
            sheet.put(name, "log, MB of its limit", fill_log(engine, db, data))
            pages = db.execute("SELECT sum(length(data)) FROM v_pages0").fetchone()[0]
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        db.close()
        read_through(engine.path)
        runs = []
        for i in range(5):
            here, there = SPAWN.Pipe()
            full = len(data.base) if name == Vecsql.name else 0
            query = data.query[i].tobytes()
            arguments = (there, name, Vecsql.extension, str(engine.path), query, full)
            child = SPAWN.Process(target=opener, args=arguments)
            child.start()
            runs.append(here.recv())
            child.join()
        medians = [float(np.median([r[i] for r in runs])) for i in range(5)]
        opened, first, busy, again, loaded = medians
        sheet.put(name, "open and load the extension, ms", opened, digits=2)
        sheet.put(name, "first query, ms (median of 5)", first, digits=2, limit=20)
        sheet.put(name, "first query, ms of CPU time", busy, digits=2)
        sheet.put(name, "first query, ms, most", max(r[1] for r in runs), digits=2)
        sheet.put(name, "the same query again, ms", again, digits=2)
        if name == Vecsql.name:
            sheet.put(name, "load of all pages, MB/s", pages / 1e6 / loaded)
            sheet.put(name, "load of all pages, ms", loaded * 1e3)
            sheet.put(name, "loaded by", runs[0][5])
    sheet.show()


# --- size ----------------------------------------------------------------------------------------

LIMITS = {(128, 4096): 1.7, (384, 4096): 1.75, (128, 8192): 1.65, (384, 8192): 1.45}


def part_size(b: Bench) -> None:
    sheet = b.sheet("size: file / raw vectors after a bulk load", b.in_file())
    parts: dict[str, list[float]] = {}
    columns = []
    for set_name in b.args.sets:
        data = b.data(b.args.base_rows, set_name, spare=0)
        for page_size in (4096, 8192):
            label = f"{data.name}, {len(data.base):,} rows, {page_size // 1024} KiB"
            columns.append(label)
            for name in sheet.names:
                path, _ = b.template(name, data, page_size)
                ratio = path.stat().st_size / data.base.nbytes
                limit = LIMITS.get((data.dims, page_size)) if name == Vecsql.name else None
                sheet.put(name, label, ratio, digits=2, limit=limit)
                if name == Vecsql.name:
                    for part, size in breakdown(b.engine(name), path):
                        parts.setdefault(part, [0.0] * 4)[len(columns) - 1] = (
                            size / data.base.nbytes
                        )
    sheet.show()
    rows = [[part, *(f"{x:.3f}" for x in sizes[: len(columns)])] for part, sizes in parts.items()]
    if rows:
        print("\nvecsql by table, bytes / raw:\n")
        print(table(["table", *columns], rows))


def breakdown(engine: Sql, path: Path) -> list[tuple[str, float]]:
    """Bytes by table, largest first; nothing where SQLite was built without dbstat."""
    db = engine.open(path)
    try:
        sql = "SELECT name, sum(pgsize) FROM dbstat GROUP BY name ORDER BY 2 DESC"
        found = [(str(n), float(s)) for n, s in db.execute(sql)]
        free = db.execute("PRAGMA freelist_count").fetchone()[0]
        return [*found, ("(free pages)", float(free * size_of(db)) / max(1, path.stat().st_size))]
    except Exception:
        return []
    finally:
        db.close()


# --- churn ---------------------------------------------------------------------------------------


def part_churn(b: Bench) -> None:
    """Rounds that delete 5 % at random and insert as many, each in one transaction."""
    n, rounds = b.args.churn_rows, b.args.rounds
    data = b.data(n + n * rounds // 20, spare=0)
    n = min(n, len(data.base) // 2)
    marks = sorted({rounds * i // 4 for i in range(5)})
    sheet = b.sheet(f"churn: {n:,} x {data.dims}, {rounds} rounds of 5 %, ef = {EF}, seed 1")
    for name in sheet.names:
        churn(b, sheet, name, data, n, marks)
        progress(f"{name}: churned")
        for label, values in sheet.figures.items():
            progress(f"    {label}: {values.get(name)}")
    sheet.show()


def churn(b: Bench, sheet: Sheet, name: str, data: Dataset, n: int, marks: list[int]) -> None:
    engine = b.engine(name)
    start_data = Dataset(data.name, data.metric, data.base[:n], data.query, data.base[n:])
    db = engine.make(start_data, capacity=n + n // 10)
    rng = np.random.default_rng(1)
    live = np.arange(n)  # row number of the data set, by position; the id is in `ids`
    ids = np.arange(n)
    unused, step, next_id = n, n // 20, n
    seconds = {"delete": [0.0], "insert": [0.0]}
    size_before, worst = 0, 0.0
    for done in range(marks[-1] + 1):
        if done in marks:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            size = engine.path.stat().st_size
            size_before = size_before or size
            now, fresh = compare(b, engine, db, data, live, ids)
            worst = max(worst, 100 * (fresh - now))
            sheet.put(
                name, f"recall@{K} after {done} rounds (fresh build)", f"{now:.4f} ({fresh:.4f})"
            )
            if name == Vecsql.name:
                sheet.put(name, f"integrity-check after {done} rounds", integrity(db))
        spent = sum(map(sum, seconds.values()))
        if done == marks[-1] or (name != Vecsql.name and spent > PEER_SECONDS):
            break
        at = rng.choice(n, step, replace=False)
        rows = np.arange(unused, unused + step) % len(data.base)
        unused += step
        gone = [(int(i),) for i in ids[at]]
        live[at], ids[at] = rows, np.arange(next_id, next_id + step)
        next_id += step
        new = [(int(ids[p]), data.base[live[p]].tobytes()) for p in at]
        start = time.perf_counter()
        with db:
            db.executemany(engine.delete, gone)
            middle = time.perf_counter()
            db.executemany(engine.insert, new)
        seconds["delete"].append(middle - start)
        seconds["insert"].append(time.perf_counter() - middle)
    db.close()
    sheet.put(name, "rounds done", float(done))
    for what, took in seconds.items():
        tenth = max(1, (len(took) - 1) // 10)
        early, late = sum(took[1 : tenth + 1]), sum(took[-tenth:])
        sheet.put(name, f"{what}, us a row, first tenth", early / tenth / step * 1e6)
        sheet.put(name, f"{what}, us a row, last tenth", late / tenth / step * 1e6)
    sheet.put(name, "worst loss of recall to a fresh build, points", worst, digits=2, limit=1.0)
    if engine.in_file:
        sheet.put(name, "file, last / first", size / size_before, digits=2, limit=1.3)
    else:
        sheet.put(name, "file, last / first", "memory")


def compare(
    b: Bench, engine: Sql, db: Any, data: Dataset, live: Any, ids: Any
) -> tuple[float, float]:
    """Recall of the churned index and of a fresh one with the same rows."""
    queries = data.query[: 50 if engine.exact else 1000]
    effort = None if engine.exact or engine.name == "vec1" else EF
    now = Dataset(data.name, data.metric, data.base[live], queries, data.base[:0])
    kth = datasets.compute_kth(now.base, queries, K, data.metric)
    place = {int(i): p for p, i in enumerate(ids)}
    found = engine.ask(db, queries, K, effort)
    rows = np.array([[place.get(int(i), -1) for i in row] for row in found], dtype=np.int64)
    churned = datasets.recall(now.base, queries, rows, kth, K, data.metric)
    if engine.exact:
        return churned, 1.0
    directory = b.directory / "fresh"
    directory.mkdir(exist_ok=True)
    other = b.engine(engine.name, directory)
    fresh_db = other.make(now)
    found = other.ask(fresh_db, queries, K, effort)
    fresh_db.close()
    return churned, datasets.recall(now.base, queries, found, kth, K, data.metric)


def integrity(db: Any) -> str:
    try:
        db.execute("INSERT INTO v(v) VALUES ('integrity-check')")
    except Exception as e:
        return str(e)[-60:]
    return "clean"


# --- rate ----------------------------------------------------------------------------------------


def part_rate(b: Bench) -> None:
    data = b.data(b.args.base_rows)
    sheet = b.sheet(
        f"rate: rows a second, WAL, synchronous = NORMAL, {len(data.base):,} x {data.dims}"
    )
    single, large = b.args.commits, 5 if b.args.quick else 20

    def put(name: str, label: str, n: int, seconds: Seconds) -> None:
        sheet.put(name, label, n / seconds[0])
        sheet.put(name, f"{label}, by CPU time", n / seconds[1])

    for name in sheet.names:
        if engines.SQL_ENGINES[name].in_file:
            seconds = b.template(name, data)[1]
            engine, db = b.copy(name, data)
        else:
            engine, begin = b.engine(name), clocks()
            db = engine.make(data, capacity=len(data.base) + single + 1000 * large + 1)
            seconds = since(begin)
        put(name, f"one transaction of {len(data.base):,} rows", len(data.base), seconds)
        rows = data.extra(single + 1000 * large + 1)
        blobs = [(len(data.base) + i, row.tobytes()) for i, row in enumerate(rows)]
        db.execute(engine.insert, blobs.pop())  # the first one loads what the later ones have
        begin = clocks()
        for binding in blobs[:single]:
            db.execute(engine.insert, binding)
        put(name, f"{single:,} one-row commits after that", single, since(begin))
        begin = clocks()
        for i in range(single, len(blobs), 1000):
            with db:
                db.executemany(engine.insert, blobs[i : i + 1000])
        put(name, f"{large} transactions of 1,000 rows after that", 1000 * large, since(begin))
        db.close()
    sheet.show()


# --- main ----------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Bench], None]] = {
    "wal": part_wal,
    "second": part_second,
    "open": part_open,
    "size": part_size,
    "churn": part_churn,
    "rate": part_rate,
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    datasets.add_arguments(parser)
    parser.add_argument("--only", default=",".join(PARTS), metavar="PART,...")
    parser.add_argument("--quick", action="store_true", help="small sizes: about a minute")
    parser.add_argument("--rows", type=int, default=None, help="of `open`; default 200,000")
    parser.add_argument("--base-rows", type=int, default=None, help="elsewhere; default 100,000")
    parser.add_argument("--churn-rows", type=int, default=None, help="default 50,000")
    parser.add_argument("--rounds", type=int, default=None, help="of churn; default 200")
    parser.add_argument("--commits", type=int, default=None, help="one-row commits; default 1,000")
    parser.add_argument("--sets", default=None, metavar="A,B", help="data sets of `size`")
    parser.add_argument("--engines", default=",".join(engines.SQL_ENGINES), metavar="A,B,...")
    parser.add_argument("--extension", metavar="PATH", help="vecsql's loadable extension")
    parser.add_argument("--dir", type=Path, help="where the files go; default: a temporary one")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    small = {"rows": 20_000, "base_rows": 10_000, "churn_rows": 2_000, "rounds": 20, "commits": 200}
    full = {
        "rows": 200_000,
        "base_rows": 100_000,
        "churn_rows": 50_000,
        "rounds": 200,
        "commits": 1000,
    }
    for key, value in (small if args.quick else full).items():
        if getattr(args, key) is None:
            setattr(args, key, value)
    args.only = args.only.split(",")
    args.engines = args.engines.split(",")
    if args.synthetic:
        args.set = f"synthetic-{args.dims}"
    args.sets = args.sets.split(",") if args.sets else default_sets(args)
    for given, known in ((args.only, PARTS), (args.engines, engines.SQL_ENGINES)):
        unknown = [n for n in given if n not in known]
        if unknown:
            parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    return args


def default_sets(args: argparse.Namespace) -> list[str]:
    """The main set, and one of 384 dimensions if it is there."""
    if args.synthetic:
        return [args.set, "synthetic-384"]
    root = datasets.data_directory(args.data)
    other = [] if root is None else [p.name for p in sorted(root.glob("*-384"))]
    return [args.set, *other[:1]]


def main() -> int:
    args = arguments()
    Vecsql.extension = args.extension
    with tempfile.TemporaryDirectory(prefix="vecsql-bench-", dir=args.dir) as directory:
        found, skipped = engines.make(args.engines, Path(directory))
        b = Bench(args, Path(directory), [e.name for e in found])
        about = machine.machine()
        print(f"# Storage: {args.set}\n\n{about['cpu']}; commit {about['commit']}.")
        if args.quick:
            print("Small sizes: the limits are for the full ones.")
        for engine in found:
            print(f"{engine.name}: {engine.version}")
        for name, reason in skipped.items():
            print(f"Not run: {name}: {reason}")
        try:
            for part in args.only:
                progress(part)
                PARTS[part](b)
        except datasets.NoDataError as e:
            print(e, file=sys.stderr)
            return 2
    if args.json:
        sheets = [{"title": s.title, "figures": s.figures, "limits": s.limits} for s in b.sheets]
        head = results.about(args.set, {e.name: e.version for e in found})
        figures = {"skipped": skipped, "sheets": sheets}
        results.save(args.json, head, [s.table() for s in b.sheets], figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
