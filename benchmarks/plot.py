"""Draws what the benchmarks measured: python benchmarks/plot.py RESULT.json OUT.png [ENGINE...].

OUT may be an SVG, whose bytes depend on the figures only. The plot of the README:

    python benchmarks/plot.py benchmarks/results/minilm-384-30000.json docs/recall-speed.svg

Without names it draws the defaults of a vecsql connection, the fastest mode, and all peers.

Needs matplotlib (pip install matplotlib); everything else works without.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def recall_speed(curves: dict[str, list[dict[str, Any]]], k: int, title: str, path: Path) -> None:
    """Recall@k against queries per second, a line an engine; an exact engine is a point."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "vecsql"})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5.5), layout="constrained")
    colors = matplotlib.colormaps["tab20"].colors
    axes.set_prop_cycle(color=[*colors[::2], *colors[1::2]])
    for name, curve in curves.items():
        points = sorted((p["recall"], p["qps"]) for p in curve)
        ours = name.startswith("vecsql")
        axes.plot(
            [x for x, _ in points],
            [y for _, y in points],
            marker="o",
            markersize=4,
            linewidth=2.2 if ours else 1.1,
            linestyle="-" if ours else "--",
            label=name,
        )
    axes.set_yscale("log")
    axes.set_xlim(0.8, 1.003)
    axes.set_xlabel(f"recall@{k}")
    axes.set_ylabel("queries per second")
    axes.set_title(title)
    axes.grid(visible=True, which="both", alpha=0.25)
    axes.legend(fontsize=8)
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, dpi=140, metadata=metadata)
    pyplot.close(figure)


def drawn(curves: Iterable[str]) -> list[str]:
    """Which curves a plot has: of vecsql's modes the first one and pragmas+cache."""
    modes = ("defaults", "pragmas+cache")
    return [
        name
        for name in curves
        if not name.startswith(("vecsql, ", "vecsql_search, ")) or name.split(", ")[1] in modes
    ]


def main(result: str, out: str, *engines: str) -> None:
    data = json.loads(Path(result).read_text(encoding="utf-8"))["figures"]
    about = data["set"]
    title = f"{about['name']}, {about['rows']:,} x {about['dims']}, {about['metric']}, one thread"
    curves = {name: data["curves"][name] for name in engines or drawn(data["curves"])}
    recall_speed(curves, data["k"], title, Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
