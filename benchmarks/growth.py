"""Cost as an index grows: python benchmarks/growth.py [--sizes 10000,30000,...] [--json FILE].

At each size, on the first rows of one set (one pinned thread): rows a second of a load in one
transaction, queries a second at recall@10 0.95 through SQL and in the core, and the median time of
a one-row commit; and the same of hnswlib in memory. The last lines are exponents: the slope of the
logarithm of each time per operation over the logarithm of the rows, by least squares (0:
independent of size, 1: linear). What the file of --json already holds is not measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import datasets
import machine
import numpy as np
import results
import run
from datasets import Dataset
from engine import Engine, Unavailable, version_of
from engines import Core, HnswLib, Vecsql
from tables import Table, number

RECALL = 0.95
COMMITS = 300
EF = [10, 16, 24, 32, 48, 64, 96, 128]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    datasets.add_arguments(parser)
    parser.add_argument("--sizes", default="10000,30000,100000,300000,1000000")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--clock", choices=run.CLOCKS, default="cpu")
    parser.add_argument("--extension", metavar="PATH", help="vecsql's loadable extension")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


def commit_seconds(engine: Vecsql, data: Dataset) -> float:
    """Median time of a one-row commit on top of the loaded rows."""
    times = []
    for i in range(COMMITS):
        vector = data.query[i % len(data.query)] + np.float32(i // len(data.query))
        row = (len(data.base) + i, vector.tobytes())
        start = time.perf_counter()
        engine.db.execute(engine.insert, row)
        times.append(time.perf_counter() - start)
    return sorted(times)[COMMITS // 2]


def at_size(args: argparse.Namespace, data: Dataset, directory: Path) -> dict[str, Any]:
    clock = run.CLOCKS[args.clock]
    engine = Vecsql(directory)
    found: list[Engine] = [engine, Core(directory)]
    try:
        found.append(HnswLib(directory))
    except Unavailable as e:
        run.progress(f"hnswlib not run: {e}")
    built = run.build_all(found, data, clock)
    curves = run.measure(found, data, 10, EF, 2, clock)
    peer = built.get(HnswLib.name, {})
    out = {
        "rows": len(data.base),
        "rows_per_second": built[Vecsql.name]["rows_per_second"],
        "qps": run.at_recall(curves["vecsql"], RECALL),
        "core_qps": run.at_recall(curves["vecsql core"], RECALL),
        "commit_seconds": commit_seconds(engine, data),
        "file_ratio": built[Vecsql.name]["file_ratio"],
        "hnswlib_rows_per_second": peer.get("rows_per_second"),
        "hnswlib_qps": run.at_recall(curves[HnswLib.name], RECALL) if peer else None,
    }
    for other in found:
        other.close()
    return out


def exponent(sizes: list[int], seconds: list[float | None]) -> float | None:
    """Least-squares slope of log(seconds) over log(size)."""
    points = [(math.log(n), math.log(t)) for n, t in zip(sizes, seconds, strict=True) if t]
    if len(points) < 2:
        return None
    return float(np.polyfit([x for x, _ in points], [y for _, y in points], 1)[0])


def inverse(x: float | None) -> float | None:
    return None if x is None else 1 / x


def growth_table(found: list[dict[str, Any]]) -> tuple[Table, dict[str, float | None]]:
    rows = [
        [
            f"{r['rows']:,}",
            number(r["rows_per_second"]),
            number(r["qps"]),
            number(r["core_qps"]),
            number(1e3 * r["commit_seconds"], 3),
            number(r["file_ratio"], 2),
            number(r["hnswlib_rows_per_second"]),
            number(r["hnswlib_qps"]),
        ]
        for r in found
    ]
    sizes = [r["rows"] for r in found]
    slopes = {
        "row": exponent(sizes, [inverse(r["rows_per_second"]) for r in found]),
        "query": exponent(sizes, [inverse(r["qps"]) for r in found]),
        "core query": exponent(sizes, [inverse(r["core_qps"]) for r in found]),
        "commit": exponent(sizes, [r["commit_seconds"] for r in found]),
        "file": None,
        "hnswlib row": exponent(sizes, [inverse(r["hnswlib_rows_per_second"]) for r in found]),
        "hnswlib query": exponent(sizes, [inverse(r["hnswlib_qps"]) for r in found]),
    }
    rows.append(["exponent of the time", *(number(s, 3) for s in slopes.values())])
    head = ["rows", "rows/s", "QPS at 0.95", "core QPS", "commit ms", "file / raw"]
    head += ["hnswlib rows/s", "QPS"]
    title = "Cost as an index grows, one thread. QPS are queries a second at recall@10 0.95."
    return Table(title, head, rows), slopes


def keep(args: argparse.Namespace, name: str, found: list[dict[str, Any]]) -> list[Table]:
    """Writes what is known so far; returns the table."""
    shown, slopes = growth_table(sorted(found, key=lambda r: int(r["rows"])))
    head = results.about(f"{name}, {args.clock} time", {HnswLib.name: version_of("hnswlib")})
    results.save(args.json, head, [shown], {"sizes": found, "exponents": slopes})
    return [shown]


def main() -> int:
    args = arguments()
    Vecsql.extension = args.extension
    sizes, name = [int(s) for s in args.sizes.split(",")], args.set
    kept = args.json is not None and args.json.exists()
    found = json.loads(args.json.read_text())["figures"]["sizes"] if kept else []
    for size in sizes:
        if any(r["rows"] == size for r in found):
            continue
        try:
            data = datasets.load(
                args.set,
                size,
                data=args.data,
                synthetic=args.synthetic,
                dims=args.dims,
                metric=args.metric,
                queries=args.queries,
            )
        except datasets.NoDataError as e:
            print(e, file=sys.stderr)
            return 2
        name = data.name
        datasets.kth_distance(data.base, data.query, 10, data.metric)
        machine.pin()
        with tempfile.TemporaryDirectory(prefix="vecsql-bench-") as directory:
            found.append(at_size(args, data, Path(directory)))
        run.progress(f"{size:,} rows done")
        keep(args, name, found)
    for shown in keep(args, name, found):
        print(shown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
