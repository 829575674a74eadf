"""What an index costs: python benchmarks/resources.py [--set NAME] [--rows N] [--json FILE].

For every engine, each figure from a fresh process:

- seconds to build with 1 and with 2 threads, and the peak of resident memory while building;
- size of the file, and its ratio to the raw vectors;
- resident memory per row of the loaded index: RSS after ``--queries`` queries (and vecsql's
  ``warm`` command, so that nothing is left unloaded) minus RSS before opening, SQLite's page
  cache subtracted;
- time from opening the file (in the cache of the system) to the first answer;
- for vecsql, the same two (but CPU time) of each of ``--connections`` connections in one process,
  which share the pages of the index.

The libraries are loaded and the vectors mapped before the first reading of RSS.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import datasets
import engines
import numpy as np
import results
from datasets import Dataset
from engine import Engine, Unavailable
from engines import Vecsql
from engines_sql import Sql
from tables import Table, number

BASELINE = "hnswlib"
EF = 128


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    datasets.add_arguments(parser)
    parser.add_argument("--rows", type=int, default=100_000, help="first N rows of the base")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--threads", default="1,2", metavar="1,2", help="threads of the builds")
    parser.add_argument("--engines", default=",".join(engines.NAMES), metavar="A,B,...")
    parser.add_argument("--connections", type=int, default=8, help="of one process to one file")
    parser.add_argument("--extension", metavar="PATH", help="vecsql's loadable extension")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


# --- in the child process ------------------------------------------------------------------------


def resident() -> int:
    """Bytes of resident memory now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def make(name: str, directory: Path) -> Engine:
    found, skipped = engines.make([name], directory)
    if not found:
        raise Unavailable(skipped[name])
    return found[0]


def pin(threads: int) -> None:
    """As many CPUs as threads, the last ones."""
    if hasattr(os, "sched_setaffinity"):
        cpus = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, set(cpus[-threads:]))


def build(args: argparse.Namespace, name: str, directory: Path, threads: int) -> dict[str, Any]:
    pin(threads)
    data = load(args)
    engine = make(name, directory)
    engine.threads = threads
    before = resident()
    start, cpu = time.perf_counter(), time.process_time()
    engine.build(data)
    out = {
        "version": engine.version,
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before,
    }
    if threads == 1:
        out["file_bytes"] = engine.file_bytes()
        try:
            engine.save()
        except Unavailable as e:
            out["no_file"] = str(e)
    engine.close()
    return out


def opening(args: argparse.Namespace, name: str, directory: Path) -> dict[str, Any]:
    pin(1)
    data = load(args)
    query = np.array(data.query[: args.queries])
    engine = make(name, directory)
    search = next(iter(engine.searchers().values()))
    effort = max((e for e in engine.efforts([EF]) if e is not None), default=None)
    Sql.mapped = 0  # mapped pages of the file would count as memory
    before = resident()
    start = time.perf_counter()
    engine.reopen(data)
    search(query[:1], 10, effort)
    first = time.perf_counter() - start
    if isinstance(engine, Vecsql):
        engine.db.execute("INSERT INTO v(v) VALUES ('warm')")
    search(query, 10, effort)
    out: dict[str, Any] = {"first_answer_ms": 1e3 * first}
    try:
        out["resident_bytes"] = resident() - before - engine.page_cache()
    except Unavailable as e:
        out["resident_bytes"] = None
        out["no_resident"] = str(e)
    engine.close()
    return out


def connections(args: argparse.Namespace, name: str, directory: Path) -> dict[str, Any]:
    """What each further connection of one process adds."""
    pin(1)
    data = load(args)
    query = np.array(data.query[: args.queries])
    Sql.mapped = 0
    held, first, opened = [], [], []
    for _ in range(args.connections):
        engine = make(name, directory)
        assert isinstance(engine, Vecsql)
        search = next(iter(engine.searchers().values()))
        before = resident()
        start = time.process_time()
        engine.reopen(data)
        search(query[:1], 10, EF)
        first.append(1e3 * (time.process_time() - start))
        engine.db.execute("PRAGMA cache_size = -2000")  # what SQLite has for a connection
        engine.db.execute("INSERT INTO v(v) VALUES ('warm')")
        search(query, 10, EF)
        held.append(resident() - before - engine.page_cache())
        opened.append(engine)
    shared = "SELECT value FROM vecsql_stats('v') WHERE name = 'shared_bytes'"
    out = {
        "resident_bytes": held,
        "first_answer_cpu_ms": first,
        "shared_bytes": int(opened[0].db.execute(shared).fetchall()[0][0]),
    }
    for engine in opened:
        engine.close()
    return out


def load(args: argparse.Namespace) -> Dataset:
    return datasets.load(
        args.set,
        args.rows,
        data=args.data,
        synthetic=args.synthetic,
        dims=args.dims,
        metric=args.metric,
        queries=args.queries,
    )


# --- in the parent -------------------------------------------------------------------------------


def child(to: Connection, work: Callable[..., Any], given: tuple[Any, ...]) -> None:
    try:
        Vecsql.extension = given[0].extension
        to.send(work(*given))
    except Exception as e:  # the parent tells the reason
        to.send(f"{type(e).__name__}: {e}")


def apart(work: Callable[..., Any], *given: Any) -> dict[str, Any] | str:
    """Runs work(*given) in a fresh process: its result, or why it cannot run."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=child, args=(there, work, given))
    process.start()
    there.close()
    try:
        out: dict[str, Any] | str = here.recv()
    except EOFError:
        out = "the process died"
    process.join()
    return out


def measure(args: argparse.Namespace, name: str, directory: Path) -> dict[str, Any] | str:
    out: dict[str, Any] = {"build": {}}
    for threads in sorted((int(t) for t in args.threads.split(",")), reverse=True):
        built = apart(build, args, name, directory, threads)
        if isinstance(built, str):
            return built
        out["build"][threads] = built
    out["version"] = built["version"]
    opened = apart(opening, args, name, directory)
    out |= {"not_opened": opened} if isinstance(opened, str) else opened
    if name == Vecsql.name:
        out["connections"] = apart(connections, args, name, directory)
    return out


def cost_table(rows: int, raw: int, found: dict[str, Any]) -> Table:
    base = found.get(BASELINE, {}).get("resident_bytes")
    single = found.get(BASELINE, {}).get("build", {}).get(1, {}).get("seconds")
    head = ["engine", "build s, 1 thread", "speed / hnswlib", "2 threads", "speed / hnswlib 1"]
    head += ["file / raw", "bytes resident a row", "/ hnswlib", "peak MiB", "open to answer ms"]
    out = Table("Build, file and memory. Every figure comes from a fresh process.", head)
    for name, r in found.items():
        line = [name]
        for threads in (1, 2):
            seconds = r["build"].get(threads, {}).get("seconds")
            line.append(number(seconds, 1))
            line.append(f"{single / seconds:.2f}" if single and seconds else "-")
        size, held = r["build"].get(1, {}).get("file_bytes"), r.get("resident_bytes")
        line.append("-" if size is None else f"{size / raw:.2f}")
        line.append("-" if held is None else number(held / rows))
        line.append("-" if held is None or not base else f"{held / base:.2f}")
        line.append(number(r["build"].get(1, {}).get("peak_bytes", 0) / 2**20))
        line.append(number(r.get("first_answer_ms"), 1))
        out.rows.append(line)
    return out


def connection_table(found: dict[str, Any]) -> Table:
    """One line for the first connection of a process, one for the others."""
    shared = found["shared_bytes"] / 2**20
    out = Table(
        f"Connections of one process to one file. They share {shared:.1f} MiB of pages.",
        ["connection of one process", "MiB resident", "open to answer CPU ms"],
    )
    count = len(found["first_answer_cpu_ms"])
    for name, part in (("first", slice(0, 1)), (f"2nd to {count}th, each", slice(1, None))):
        held, first = found["resident_bytes"][part], found["first_answer_cpu_ms"][part]
        if held:
            mean = sum(held) / len(held) / 2**20
            out.rows.append([name, f"{mean:.2f}", number(sum(first) / len(first), 1)])
    return out


def main() -> int:
    args = arguments()
    args.engines = args.engines.split(",")
    try:
        data = load(args)
    except datasets.NoDataError as e:
        print(e, file=sys.stderr)
        return 2
    costs: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    for name in args.engines:
        with tempfile.TemporaryDirectory(prefix="vecsql-bench-") as directory:
            found = measure(args, name, Path(directory))
        if isinstance(found, str):
            skipped[name] = found
        else:
            costs[name] = found
        print(f"[{time.strftime('%H:%M:%S')}] {name} done", file=sys.stderr, flush=True)
    for name, reason in skipped.items():
        print(f"Not run: {name}: {reason}")
    head = results.about(
        f"{data.name}, {len(data.base):,} x {data.dims}, {data.metric}",
        {name: c["version"] for name, c in costs.items()},
    )
    tables = [cost_table(len(data.base), data.base.nbytes, costs)]
    connected = costs.get(Vecsql.name, {}).get("connections")
    if isinstance(connected, dict):
        tables.append(connection_table(connected))
    results.show(head["title"], tables)
    results.save(args.json, head, tables, {"rows": len(data.base), "engines": costs})
    return 0


if __name__ == "__main__":
    sys.exit(main())
