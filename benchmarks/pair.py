"""Two builds of the extension in one process, query by query in turn: what a change costs.

    python benchmarks/pair.py BEFORE/vecsql.so AFTER/vecsql.so [--set NAME] [--rows N] [--json FILE]

Each build fills a table of its own, in turns of one chunk. Then the statements are asked in blocks:
the same queries of the one build, then of the other, and in the next round the other way round. The
time of a query is its least over the rounds, so a slow moment of the machine counts for neither;
a figure is the mean over the queries. Of a build it is the sum of its chunks' times.

Printed are microseconds of CPU time of this thread, the ratio (after / before: above 1 is slower),
how many of the answers are the same rows, and what the file takes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import apsw
import datasets
import numpy as np
from datasets import Dataset
from tables import table

CHUNKS = 20
BLOCK = 25  # queries between two turns
DDL = (
    "CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[{dims}] "
    "distance_metric={metric}, a INTEGER indexed, b INTEGER)"
)
FORMS = {
    "k = 10": "SELECT id FROM t WHERE e MATCH ?1 AND k = 10",
    "k = 100": "SELECT id FROM t WHERE e MATCH ?1 AND k = 100",
    "LIMIT 10": "SELECT id FROM t WHERE e MATCH ?1 ORDER BY distance LIMIT 10",
    "LIMIT 10 OFFSET 20": "SELECT id FROM t WHERE e MATCH ?1 ORDER BY distance LIMIT 10 OFFSET 20",
    "half pass": "SELECT id FROM t WHERE e MATCH ?1 AND k = 10 AND b < 500",
    "3 % pass": "SELECT id FROM t WHERE e MATCH ?1 AND k = 10 AND b < 30",
    "0.1 % pass, a b-tree": "SELECT id FROM t WHERE e MATCH ?1 AND k = 10 AND a = 7",
    "rowid IN": "SELECT id FROM t WHERE e MATCH ?1 AND k = 10 AND id IN (SELECT value FROM "
    "json_each('[1,2,3,5,8,13,21,34,55,89,144,233,377]'))",
    "OR, LIMIT 10": "SELECT id FROM t WHERE e MATCH ?1 AND (a < 100 OR b < 100) "
    "ORDER BY distance LIMIT 10",
    "exact": "SELECT id FROM t WHERE e MATCH ?1 AND k = 10 AND exact = 1",
    "vecsql_search": "SELECT vecsql_search('t', 'e', ?1, 10)",
}


class Build:
    """A connection with one build of the extension and a table that it fills."""

    def __init__(self, extension: Path, file: Path, data: Dataset) -> None:
        self.file = file
        self.db = apsw.Connection(str(file))
        self.db.enable_load_extension(True)
        self.db.load_extension(str(extension))
        self.db.execute("PRAGMA journal_mode = WAL")
        self.db.execute(DDL.format(dims=data.dims, metric=data.metric))

    def timed(self, sql: str, bindings: Any) -> tuple[float, list[Any]]:
        started = time.thread_time()
        rows = self.db.execute(sql, bindings).fetchall()
        return time.thread_time() - started, rows

    def insert(self, first: int, vectors: datasets.Floats) -> float:
        """One transaction; its seconds."""
        rows = (
            (first + i, v.tobytes(), (first + i) % 1000, (first + i) * 7 % 1000)
            for i, v in enumerate(vectors)
        )
        started = time.thread_time()
        with self.db:
            self.db.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
        return time.thread_time() - started


def fill(builds: list[Build], data: Dataset) -> list[float]:
    seconds = [0.0, 0.0]
    for i, chunk in enumerate(np.array_split(np.arange(len(data.base)), CHUNKS)):
        for turn in (0, 1) if i % 2 == 0 else (1, 0):
            seconds[turn] += builds[turn].insert(int(chunk[0]), data.base[chunk])
    return seconds


def commits(builds: list[Build], data: Dataset, n: int) -> tuple[list[float], list[int]]:
    """Seconds of a transaction of one row, and the bytes that it leaves in the WAL."""
    least: list[list[float]] = [[], []]
    wal = [0, 0]
    for build in builds:
        build.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        build.db.execute("PRAGMA wal_autocheckpoint = 0")
    for i, vector in enumerate(data.extra(n)):
        for turn in (0, 1) if i % 2 == 0 else (1, 0):
            least[turn].append(builds[turn].insert(10_000_000 + i, vector[None]))
    for turn, build in enumerate(builds):
        wal[turn] = Path(f"{build.file}-wal").stat().st_size // n
        build.db.execute("PRAGMA wal_autocheckpoint = 1000")
        build.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return [float(np.median(s)) for s in least], wal


def ask(builds: list[Build], sql: str, queries: list[bytes], rounds: int) -> dict[str, float]:
    least = np.full((2, len(queries)), np.inf)
    same = np.zeros(len(queries))
    for turn in range(rounds):
        for first in range(0, len(queries), BLOCK):
            answers: list[list[Any]] = [[], []]
            for which in (0, 1) if turn % 2 == 0 else (1, 0):
                for i in range(first, min(first + BLOCK, len(queries))):
                    seconds, rows = builds[which].timed(sql, (queries[i],))
                    least[which, i] = min(least[which, i], seconds)
                    answers[which].append({r[0] for r in rows})
            for i, (a, b) in enumerate(zip(*answers, strict=True)):
                same[first + i] = len(a & b) / max(1, len(a | b))
    before, after = (float(x) * 1e6 for x in least.mean(axis=1))
    middle = np.median(least, axis=1)
    return {
        "before": before,
        "after": after,
        "ratio": after / before,
        "median": float(middle[1] / middle[0]),
        "same": float(same.mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path, help="vecsql.so")
    parser.add_argument("after", type=Path, help="vecsql.so")
    datasets.add_arguments(parser)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--settings", action="store_true", help="cache_size and mmap_size set")
    parser.add_argument("--forms", default=";".join(FORMS), metavar="A;B", help="default: all")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    data = datasets.load(
        arguments.set,
        arguments.rows,
        data=arguments.data,
        synthetic=arguments.synthetic,
        dims=arguments.dims,
        metric=arguments.metric,
        queries=arguments.queries,
    )
    queries = [q.tobytes() for q in data.query]
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        builds = [
            Build(path, Path(folder) / f"{i}.db", data)
            for i, path in enumerate((arguments.before, arguments.after))
        ]
        seconds = fill(builds, data)
        figures["insert, a row"] = pair([s * 1e6 / len(data.base) for s in seconds])
        one, wal = commits(builds, data, 200)
        figures["transaction of a row"] = pair([s * 1e6 for s in one])
        figures["bytes of WAL of it"] = pair([float(w) for w in wal])
        figures["file, kB"] = pair([b.file.stat().st_size / 1000 for b in builds])
        for build in builds:
            if arguments.settings:
                build.db.execute("PRAGMA cache_size = -400000")
                build.db.execute("PRAGMA mmap_size = 2000000000")
        for form in FORMS:
            if form in arguments.forms.split(";"):
                figures[form] = ask(builds, FORMS[form], queries, arguments.rounds)
    print(f"{data.name}, {len(data.base):,} rows of {data.dims}; microseconds of CPU time\n")
    rows = [
        [
            name,
            f"{f['before']:,.1f}",
            f"{f['after']:,.1f}",
            f"{f['ratio']:.3f}",
            f"{f['same']:.3f}" if "same" in f else "-",
            f"{f['median']:.3f}" if "median" in f else "-",
        ]
        for name, f in figures.items()
    ]
    print(table(["", "before", "after", "ratio", "same rows", "ratio of medians"], rows))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def pair(values: list[float]) -> dict[str, float]:
    return {"before": values[0], "after": values[1], "ratio": values[1] / values[0]}


if __name__ == "__main__":
    main()
