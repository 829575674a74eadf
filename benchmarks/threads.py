"""What a second thread brings: python benchmarks/threads.py [--set NAME] [--rows N] [--json FILE].

- The build of one transaction, by hnswlib's add_items on one thread, vecsql on one thread and on
  two, in turns; seconds from the first row to the end of COMMIT, Python's share included. The
  shadow tables of both files must be the same, byte by byte.
- vecsql_search with 1,000 queries on one thread and on two, in turns, at several ef; the answers
  must be the same. The best round counts.

As many CPUs as threads. `cpu` is the time of all threads: where it is the same for one and two, the
work is shared without loss, whatever else the machine did meanwhile.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import datasets
import results
from datasets import Dataset
from engine import Unavailable, version_of
from engines_memory import HnswLib
from engines_sql import Vecsql
from tables import Table, number


def pin(threads: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, set(CPUS[-threads:]))


CPUS = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0, 1]
QUERIES = 1000


class Clock:
    """Wall and CPU seconds of what is done inside `with`."""

    def __enter__(self) -> Clock:
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu


def best(a: dict[str, float], clock: Clock) -> dict[str, float]:
    new = {"wall": clock.wall, "cpu": clock.cpu}
    return {key: min(value, a.get(key, value)) for key, value in new.items()}


def same_files(engines: list[Vecsql]) -> bool:
    rows = [
        [
            e.db.execute(f"SELECT * FROM v_{t}").fetchall()
            for t in ("rows", "map0", "pages0", "log0", "model0")
        ]
        for e in engines
    ]
    return all(r == rows[0] for r in rows)


def builds(data: Dataset, directory: Path, rounds: int) -> tuple[dict[str, Any], Vecsql]:
    out: dict[str, Any] = {"hnswlib": {}, 1: {}, 2: {}}
    engines: list[Vecsql] = []
    for turn in range(rounds):
        pin(1)
        library = HnswLib(directory)
        with Clock() as clock:
            library.build(data)
        out["hnswlib"] = best(out["hnswlib"], clock)
        library.close()
        for threads in (1, 2):
            pin(threads)
            engine = Vecsql(directory)
            engine.path = directory / f"threads{threads}.db"
            engine.threads = threads
            with Clock() as clock:
                engine.build(data)
            out[threads] = best(out[threads], clock)
            if turn == 0:
                engines.append(engine)
            else:
                engine.close()
    out["same_bytes"] = same_files(engines)
    engines[1].close()
    return out, engines[0]


def searches(engine: Vecsql, data: Dataset, k: int, ef: int, rounds: int) -> dict[str, Any]:
    out: dict[str, Any] = {1: {}, 2: {}}
    ids = {}
    for _ in range(rounds):
        for threads in (1, 2):
            pin(threads)
            engine.db.execute(f"INSERT INTO v(v) VALUES ('threads={threads}')")
            with Clock() as clock:
                ids[threads] = engine.batch(data.query, k, ef)
            out[threads] = best(out[threads], clock)
    out["same"] = bool((ids[1] == ids[2]).all())
    out["recall"] = data.recall(ids[1], k)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    datasets.add_arguments(parser)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=2, help="of the builds; searches take 5")
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--extension", help="measure this vecsql.so")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    Vecsql.extension = args.extension
    data = datasets.load(
        args.set,
        args.rows,
        data=args.data,
        synthetic=args.synthetic,
        dims=args.dims,
        metric=args.metric,
        queries=QUERIES,
    )
    result: dict[str, Any] = {"set": data.name, "rows": len(data.base)}
    with tempfile.TemporaryDirectory() as directory:
        try:
            result["build"], engine = builds(data, Path(directory), args.rounds)
        except Unavailable as e:
            raise SystemExit(str(e)) from e
        result["search"] = {ef: searches(engine, data, args.k, ef, 5) for ef in (16, 32, 64, 128)}
        engine.close()
    title = f"{data.name}, {len(data.base):,} x {data.dims}, {data.metric}, wall time"
    head = results.about(title, {HnswLib.name: version_of("hnswlib")})
    tables = tables_of(result)
    results.show(head["title"], tables)
    results.save(args.json, head, tables, result)


def tables_of(result: dict[str, Any]) -> list[Table]:
    b = result["build"]
    same = "the same in every byte" if b["same_bytes"] else "NOT the same"
    build = Table(
        f"Build in one transaction. The shadow tables of one and two threads are {same}.",
        ["", "s", "CPU s", "hnswlib s / s", "CPU / CPU", "1 thread s / s"],
    )
    for name, key in (("hnswlib, 1 thread", "hnswlib"), ("vecsql, 1", 1), ("vecsql, 2", 2)):
        ratios = (b["hnswlib"][c] / b[key][c] for c in ("wall", "cpu"))
        gain = "-" if key == "hnswlib" else number(b[1]["wall"] / b[key]["wall"], 2)
        seconds = (number(b[key][c], 1) for c in ("wall", "cpu"))
        build.rows.append([name, *seconds, *(number(r, 2) for r in ratios), gain])
    search = Table(
        f"`vecsql_search` with {QUERIES:,} queries in one call.",
        ["", "recall", "QPS, 1 thread", "2 threads", "ratio", "CPU 2 / CPU 1", "same answers"],
    )
    for ef, s in result["search"].items():
        one, two = s[1], s[2]
        search.rows.append(
            [f"ef {ef}", number(s["recall"], 4), number(QUERIES / one["wall"]),
             number(QUERIES / two["wall"]), number(one["wall"] / two["wall"], 2),
             number(two["cpu"] / one["cpu"], 2), "yes" if s["same"] else "NO"]
        )  # fmt: skip
    return [build, search]


if __name__ == "__main__":
    main()
