"""Draws what the benchmarks measured: python benchmarks/plot.py RESULT.json OUT.png.

Needs matplotlib (pip install matplotlib); everything else works without.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def recall_speed(curves: dict[str, list[dict[str, Any]]], k: int, title: str, path: Path) -> None:
    """Recall@k against queries per second, a line an engine; an exact engine is a point."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5.5), layout="constrained")
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
    figure.savefig(path, dpi=140)
    pyplot.close(figure)


def main(result: str, out: str) -> None:
    data = json.loads(Path(result).read_text(encoding="utf-8"))
    about = data["set"]
    title = f"{about['name']}, {about['rows']:,} x {about['dims']}, {about['metric']}, one thread"
    recall_speed(data["curves"], data["k"], title, Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
