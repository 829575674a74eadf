"""Recall against speed: python benchmarks/run.py [--set NAME] [--rows N] [--json FILE].

One pinned thread. All engines live in this process and are asked in turn, setting by setting and
round by round, so that a slow moment of the machine meets all of them; the best round counts.
``--turn N`` makes turns shorter: each engine answers N queries, then the next one the same N.
Queries per second at a fixed recall are interpolated (logarithm of the speed, linear in recall)
between the two settings around it. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import gc
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import engines
import engines_modes
import machine
import plot
import results
from datasets import Dataset
from engine import Effort, Engine, Search
from engines import Core, Vecsql, VecsqlCached, VecsqlUncached
from engines_modes import VecsqlModes
from tables import Table, number

Clock = Callable[[], float]
DEFAULT_EF = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256]
RECALLS = [0.90, 0.95, 0.99]
BASELINE = "hnswlib"
# cpu: of all threads of the process, since some engines search in threads of their own
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
KNOWN = {**engines.ENGINES, Vecsql.name: VecsqlModes}
for other in (VecsqlCached, VecsqlUncached):
    del KNOWN[other.name]  # a mode here
SECONDS_A_RUN = 1.0  # slow settings are asked fewer queries than this takes, at least 20


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    datasets.add_arguments(parser)
    parser.add_argument("--rows", type=int, default=100_000, help="first N rows of the base")
    parser.add_argument(
        "--queries",
        default="1000",
        metavar="N|FILE",
        help="how many of the set's queries, or a file of others (npy, fvecs, bvecs)",
    )
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--ef", type=integers, default=DEFAULT_EF, metavar="16,32,...")
    parser.add_argument("--engines", default=",".join(KNOWN), metavar="A,B,...")
    parser.add_argument(
        "--modes",
        type=engines_modes.parse,
        default=engines_modes.DEFAULT,
        metavar="A,B+C,...",
        help="of vecsql: defaults or apsw, with pragmas, cache, nocache, txn",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turn", type=int, metavar="N", help="queries of a turn, default: all")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the curves (matplotlib)")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="cpu", help="cpu (default): of this process"
    )
    parser.add_argument("--codec", help="of vecsql's tables, default: as it comes")
    parser.add_argument("--extension", metavar="PATH", help="vecsql's loadable extension")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    args = parser.parse_args()
    args.engines = args.engines.split(",")
    unknown = [n for n in args.engines if n not in KNOWN]
    if unknown:
        parser.error(f"unknown engines {', '.join(unknown)}; known: {', '.join(KNOWN)}")
    if 64 not in args.ef and args.k <= 64:
        args.ef.append(64)
    args.ef = sorted({max(ef, args.k) for ef in args.ef})
    return args


def integers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


# --- measuring -----------------------------------------------------------------------------------


def build_all(found: list[Engine], data: Dataset, clock: Clock) -> dict[str, dict[str, Any]]:
    built = {}
    for engine in found:
        start = clock()
        engine.build(data)
        seconds = clock() - start
        size = engine.file_bytes()
        raw = data.base.nbytes
        built[engine.name] = {
            "version": engine.version,
            "build_seconds": seconds,
            "rows_per_second": len(data.base) / seconds,
            "file_bytes": size,
            "file_ratio": None if size is None else size / raw,
        }
        progress(f"built {engine.name} in {seconds:.1f} s")
    return built


def affordable(search: Search, data: Dataset, k: int, effort: Effort, clock: Clock) -> int:
    """How many of the queries fit SECONDS_A_RUN; all of them unless that is far less."""
    few = data.query[:20]
    search(few, k, effort)  # warms up
    start = clock()
    search(few, k, effort)
    n = int(SECONDS_A_RUN * len(few) / (clock() - start))
    return len(data.query) if n > len(data.query) // 2 else max(len(few), n)


def measure(
    found: list[Engine],
    data: Dataset,
    k: int,
    ef: list[int],
    rounds: int,
    clock: Clock,
    turn: int | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """The curve of every searcher: recall and queries per second at each setting.

    Searchers take turns of ``turn`` queries; a searcher's best round counts, turn by turn.
    """
    plan = [
        (name, search, engine.efforts(ef), engine)
        for engine in found
        for name, search in engine.searchers().items()
    ]
    curves: dict[str, list[dict[str, Any]]] = {name: [] for name, *_ in plan}
    for step in range(max(len(efforts) for _, _, efforts, _ in plan)):
        asked = [(n, s, e[step], engine) for n, s, e, engine in plan if step < len(e)]
        points: dict[str, dict[str, Any]] = {}
        for name, search, effort, engine in asked:
            n = affordable(search, data, k, effort, clock)
            before = engine.evaluations() if isinstance(engine, Core) else 0
            ids = search(data.query[:n], k, effort)
            points[name] = {"effort": effort, "queries": n, "recall": data.recall(ids, k)}
            if isinstance(engine, Core):
                points[name]["evaluations"] = (engine.evaluations() - before) / n
        best: dict[str, dict[int, float]] = {name: {} for name in points}
        length = turn or len(data.query)
        gc.disable()
        for _ in range(rounds):
            for at in range(0, len(data.query), length):
                for name, search, effort, _engine in asked:
                    part = data.query[at : min(at + length, points[name]["queries"])]
                    if len(part):
                        start = clock()
                        search(part, k, effort)
                        took = clock() - start
                        best[name][at] = min(best[name].get(at, math.inf), took)
        gc.enable()
        for name, point in points.items():
            curves[name].append({**point, "qps": point["queries"] / sum(best[name].values())})
        progress(f"setting {step + 1} done")
    return curves


def at_recall(curve: list[dict[str, Any]], wanted: float) -> float | None:
    """Queries per second at a recall, interpolated. Where the cheapest setting already reaches it,
    the speed of that setting (a floor of the truth); None where no setting does."""
    good = [p["qps"] for p in curve if p["recall"] >= wanted]
    if not good:
        return None
    best = float(max(good))
    for a in curve:
        for b in curve:
            if a["recall"] < wanted <= b["recall"]:
                share = (wanted - a["recall"]) / (b["recall"] - a["recall"])
                log = (1 - share) * math.log(a["qps"]) + share * math.log(b["qps"])
                if a["qps"] > b["qps"]:
                    best = max(best, math.exp(log))
    return best


def is_floor(curve: list[dict[str, Any]], wanted: float) -> bool:
    return all(p["recall"] >= wanted for p in curve)


def latencies(
    found: list[Engine],
    data: Dataset,
    k: int,
    curves: dict[str, list[dict[str, Any]]],
    clock: Clock,
) -> dict[str, dict[str, float]]:
    """Milliseconds of single calls, one query each, at the first setting with recall 0.95 (else
    the last): median and 99th percentile, the call from Python included."""
    out = {}
    for engine in found:
        name, search = next(iter(engine.searchers().items()))
        good = [p for p in curves[name] if p["recall"] >= 0.95] or curves[name][-1:]
        effort, n = good[0]["effort"], min(good[0]["queries"], 1000)
        times = []
        for i in range(n):
            query = data.query[i : i + 1]
            start = clock()
            search(query, k, effort)
            times.append(clock() - start)
        times.sort()
        out[name] = {"p50_ms": 1e3 * times[n // 2], "p99_ms": 1e3 * times[n * 99 // 100]}
    return out


# --- printing ------------------------------------------------------------------------------------


def curve_table(curves: dict[str, list[dict[str, Any]]], k: int) -> Table:
    out = Table(
        f"Recall@{k} against queries per second.",
        ["engine", "ef or nprobe", "recall", "QPS", "evaluations"],
    )
    for name, curve in curves.items():
        for p in curve:
            effort = "exact" if p["effort"] is None else f"{p['effort']:g}"
            evaluations = number(p.get("evaluations"))
            out.rows.append([name, effort, f"{p['recall']:.4f}", number(p["qps"]), evaluations])
    return out


def speed_table(curves: dict[str, list[dict[str, Any]]], k: int) -> Table:
    """Queries per second at fixed recalls, beside those of the baseline."""
    out = Table(
        f"Queries per second at recall@{k}, and their ratio to {BASELINE}."
        " `>`: the lowest setting has more recall already.",
        ["engine"],
    )
    for r in RECALLS:
        out.head += [f"QPS at {r:.2f}", "ratio"]
    for name, curve in curves.items():
        row = [name]
        for r in RECALLS:
            qps, base = at_recall(curve, r), at_recall(curves.get(BASELINE, []), r)
            floor = ">" if is_floor(curve, r) and curve[0]["effort"] else ""
            row.append(floor + number(qps) if qps else "-")
            row.append(f"{qps / base:.2f}" if qps and base else "-")
        out.rows.append(row)
    return out


def build_table(built: dict[str, dict[str, Any]]) -> Table:
    base = built.get(BASELINE, {}).get("build_seconds")
    out = Table(
        "Build on one thread, in SQLite in one transaction.",
        ["engine", "version", "seconds", "rows/s", f"speed / {BASELINE}", "file / raw vectors"],
    )
    for name, b in built.items():
        ratio = f"{base / b['build_seconds']:.2f}" if base else "-"
        size = "memory" if b["file_ratio"] is None else f"{b['file_ratio']:.2f}"
        speed = number(b["rows_per_second"])
        out.rows.append([name, b["version"], number(b["build_seconds"], 1), speed, ratio, size])
    return out


def latency_table(waits: dict[str, dict[str, float]]) -> Table:
    rows = [[n, number(w["p50_ms"], 3), number(w["p99_ms"], 3)] for n, w in waits.items()]
    title = "One query a call from Python, at the first setting with recall 0.95."
    return Table(title, ["engine", "p50 ms", "p99 ms"], rows)


def progress(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def main() -> int:
    args = arguments()
    Vecsql.extension = args.extension
    Vecsql.options = "" if args.codec is None else f" codec={args.codec}"
    VecsqlModes.modes = args.modes
    try:
        data = datasets.load(
            args.set,
            args.rows,
            data=args.data,
            synthetic=args.synthetic,
            dims=args.dims,
            metric=args.metric,
            queries=args.queries,
        )
    except datasets.NoDataError as e:
        print(e, file=sys.stderr)
        return 2
    progress(f"{data.name}: ground truth of {len(data.query)} queries in {len(data.base)} rows")
    datasets.kth_distance(data.base, data.query, args.k, data.metric)  # before pinning: all CPUs
    cpu = machine.pin()
    with tempfile.TemporaryDirectory(prefix="vecsql-bench-") as directory:
        found, skipped = engines.make(args.engines, Path(directory), KNOWN)
        if not found:
            print("no engine can run:", skipped, file=sys.stderr)
            return 2
        clock = CLOCKS[args.clock]
        built = build_all(found, data, clock)
        curves = measure(found, data, args.k, args.ef, args.rounds, clock, args.turn)
        waits = latencies(found, data, args.k, curves, clock)
        for engine in found:
            engine.close()
    title = f"{data.name}, {len(data.base):,} x {data.dims}, {data.metric}"
    head = results.about(
        f"{title}, k = {args.k}, {args.clock} time",
        {name: b["version"] for name, b in built.items()},
    )
    for name, reason in skipped.items():
        print(f"Not run: {name}: {reason}")
    tables = [speed_table(curves, args.k), build_table(built)]
    results.show(head["title"], [curve_table(curves, args.k), *tables, latency_table(waits)])
    if args.plot:
        plot.recall_speed(curves, args.k, f"{title}, one thread", args.plot)
    figures = {
        "set": {
            "name": data.name,
            "metric": data.metric,
            "rows": len(data.base),
            "dims": data.dims,
            "queries": len(data.query),
        },
        "k": args.k,
        "rounds": args.rounds,
        "turn": args.turn,
        "clock": args.clock,
        "pinned": cpu is not None,
        "engines": built,
        "skipped": skipped,
        "curves": curves,
        "latency": waits,
    }
    results.save(args.json, head, tables, figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
