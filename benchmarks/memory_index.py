"""vecsql.Index against hnswlib.Index: python benchmarks/memory_index.py [--set NAME] [--rows N].

One program, two imports: the same calls build and search both, with M = 16, ef_construction = 200,
on one pinned thread. They take turns at each ef, round after round, and the best round counts.
Times are CPU time of the thread. Speed at a fixed recall is interpolated as in run.py. "a call"
has one query in each call from Python, "a batch" all queries in one call.
"""

from __future__ import annotations

import argparse
import functools
import gc
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import machine
import results
from datasets import Dataset
from engine import EF_CONSTRUCTION, M, require, version_of
from run import at_recall, integers, is_floor
from tables import Table, number

K = 10
DEFAULT_EF = [10, 16, 24, 32, 48, 64, 96, 128]
RECALLS = [0.90, 0.95, 0.99]
LIBRARIES = ("hnswlib", "vecsql")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    datasets.add_arguments(parser)
    parser.add_argument("--rows", type=int, default=50_000, help="first N rows of the base")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--ef", type=integers, default=DEFAULT_EF, metavar="16,32,...")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    return parser.parse_args()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.thread_time()
    result = work()
    return time.thread_time() - start, result


def build(library: Any, data: Dataset) -> tuple[Any, dict[str, float]]:
    """An index of all rows, and what it took to build, save and load it."""
    space = {"l2": "l2", "cosine": "cosine", "dot": "ip"}[data.metric]

    def made() -> Any:
        index = library.Index(space=space, dim=data.dims)
        index.init_index(max_elements=len(data.base), M=M, ef_construction=EF_CONSTRUCTION)
        index.set_num_threads(1)
        index.add_items(data.base)
        return index

    seconds, index = timed(made)
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "index")
        saving, _ = timed(lambda: index.save_index(path))
        loaded = library.Index(space=space, dim=data.dims)
        loading, _ = timed(lambda: loaded.load_index(path))
        size = Path(path).stat().st_size
    figures = {"build": seconds, "save": saving, "load": loading, "file_bytes": size}
    return index, figures


def measure(
    built: dict[str, Any], data: Dataset, ef: list[int], rounds: int
) -> dict[str, list[dict[str, float]]]:
    """Of each library and way to ask: recall and queries per second at each ef."""

    def batch(index: Any) -> None:
        index.knn_query(data.query, k=K)

    def calls(index: Any) -> None:
        for query in data.query:
            index.knn_query(query, k=K)

    ways = {"a batch": batch, "a call": calls}
    curves: dict[str, list[dict[str, float]]] = {f"{n}, {w}": [] for n in built for w in ways}
    for beam in ef:
        recalls = {}
        for name, index in built.items():
            index.set_ef(beam)
            recalls[name] = data.recall(index.knn_query(data.query, k=K)[0].astype("i8"), K)
        best = dict.fromkeys(curves, math.inf)
        gc.disable()
        for _ in range(rounds):
            for name, index in built.items():
                for way, ask in ways.items():
                    seconds, _ = timed(functools.partial(ask, index))
                    best[f"{name}, {way}"] = min(best[f"{name}, {way}"], seconds)
        gc.enable()
        for label, seconds in best.items():
            recall = recalls[label.split(",")[0]]
            curves[label].append({"ef": beam, "recall": recall, "qps": len(data.query) / seconds})
        print(f"ef {beam} done", file=sys.stderr)
    return curves


def tables_of(
    curves: dict[str, list[dict[str, float]]], figures: dict[str, dict[str, float]]
) -> list[Table]:
    files = Table("Build, save and load.", ["index", "build, s", "save, s", "load, s", "file, MiB"])
    for name, f in figures.items():
        mib = f["file_bytes"] / 2**20
        times = [number(f[key], 2) for key in ("build", "save", "load")]
        files.rows.append([name, *times, number(mib, 1)])
    speed = Table(
        f"Queries per second at recall@{K}, and their ratio to hnswlib's."
        " `>`: the lowest setting has more recall already.",
        ["index, one query in"],
    )
    for wanted in RECALLS:
        speed.head += [f"QPS at {wanted:.2f}", "ratio"]
    for label, curve in curves.items():
        base = curves[f"hnswlib, {label.split(', ')[1]}"]
        row = [label]
        for wanted in RECALLS:
            qps, theirs = at_recall(curve, wanted), at_recall(base, wanted)
            floor = ">" if qps is not None and is_floor(curve, wanted) else ""
            ratio = None if qps is None or theirs is None else qps / theirs
            row += [floor + number(qps), number(ratio, 2)]
        speed.rows.append(row)
    return [speed, files]


def main() -> int:
    args = arguments()
    libraries = {name: require(name, name) for name in LIBRARIES}
    try:
        data = datasets.load(
            args.set, args.rows, data=args.data, synthetic=args.synthetic, dims=args.dims,
            metric=args.metric, queries=args.queries,
        )  # fmt: skip
    except datasets.NoDataError as e:
        print(e, file=sys.stderr)
        return 2
    machine.pin()
    built: dict[str, Any] = {}
    figures: dict[str, dict[str, Any]] = {}
    for name, library in libraries.items():
        built[name], figures[name] = build(library, data)
        figures[name]["version"] = version_of(name)
        print(f"built {name} in {figures[name]['build']:.1f} s", file=sys.stderr)
    curves = measure(built, data, args.ef, args.rounds)
    head = results.about(
        f"{data.name}, {len(data.base):,} x {data.dims}, {data.metric}, k = {K}, M = {M}",
        {name: version_of(name) for name in LIBRARIES},
    )
    tables = tables_of(curves, figures)
    results.show(head["title"], tables)
    results.save(args.json, head, tables, {"built": figures, "curves": curves})
    return 0


if __name__ == "__main__":
    sys.exit(main())
