"""Tables, progress and plots on a terminal. Tables and the progress bar are rich's where it is
installed and the stream is a terminal, plain text otherwise.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import apsw


def _rich(stream: Any) -> bool:
    if not stream.isatty():
        return False
    try:
        import rich  # noqa: F401
    except ImportError:
        return False
    return True


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, (bytes, bytearray)):
        return f"<{len(value)} bytes>"
    return " ".join(str(value).split())


def fetch(
    db: apsw.Connection, sql: str, parameters: tuple[Any, ...]
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Runs a query; returns the names of its columns (none if there are no rows) and its rows."""
    import apsw

    cursor = db.execute(sql, parameters)
    try:
        names = [column[0] for column in cursor.get_description()]
    except apsw.ExecutionCompleteError:  # apsw tells the names only while there are rows
        names = []
    return names, cursor.fetchall()


def print_table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Prints rows under headers, cut to the width of the terminal."""
    if not rows:
        print("no rows")
        return
    cells = [[_text(v) for v in row] for row in rows]
    if _rich(sys.stdout):
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        for name in headers:
            table.add_column(Text(name))
        for line in cells:
            table.add_row(*(Text(cell) for cell in line))  # Text: no markup in the data
        Console().print(table)
        return
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    room = shutil.get_terminal_size((160, 24)).columns - 2 * (len(widths) - 1)
    while sum(widths) > room and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    for line in ([*headers], ["-" * w for w in widths], *cells):
        cut = (c if len(c) <= w else c[: w - 1] + "…" for c, w in zip(line, widths, strict=True))
        print("  ".join(c.ljust(w) for c, w in zip(cut, widths, strict=True)).rstrip())


@contextlib.contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes how many more are done; shows a bar and the rate on stderr.

    ``total`` is None where it is not known.
    """
    if total == 0:
        yield lambda n: None
        return
    done = 0
    with meter(label, total) as update:

        def advance(n: int) -> None:
            nonlocal done
            done += n
            update(n, done)

        yield advance


@contextlib.contextmanager
def meter(label: str, total: int | None) -> Iterator[Callable[[int, int], None]]:
    """Yields a function that takes how many more rows are done, and the position out of total.

    Shows rows, the share of the position, the rate and the time that is left, on stderr: a bar with
    rich on a terminal, else one line. Position and rows may be of different units.
    """
    m = _Meter(label, total)
    if not _rich(sys.stderr):
        try:
            yield m.update_line
        finally:
            m.end_line()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=total, figures="")

        def update(rows: int, position: int) -> None:
            m.count(rows, position)
            bar.update(task, completed=position, figures=m.figures())

        yield update


class _Meter:
    def __init__(self, label: str, total: int | None):
        self._label, self._total = label, total
        self._began = self._shown = time.perf_counter()
        self._rows = 0
        self._position = 0
        self._first: tuple[float, int] | None = None  # when and where the first rows were done

    def count(self, rows: int, position: int) -> None:
        self._rows += rows
        self._position = position
        if self._first is None:
            self._first = (time.perf_counter(), position)

    def figures(self) -> str:
        """Rows, rate and the time left by the speed so far."""
        seconds = max(time.perf_counter() - self._began, 1e-9)
        text = f"{self._rows:,} rows  {self._rows / seconds:,.0f}/s"
        began, start = self._first or (self._began, self._position)
        moved = self._position - start  # a run that was resumed begins far from 0
        if self._total and moved > 0 and self._position < self._total:
            spent = time.perf_counter() - began
            left = int(spent * (self._total - self._position) / moved)
            text += f"  ETA {left // 60}:{left % 60:02d}"
        return text

    def _line(self) -> str:
        share = f"{100 * self._position // self._total:3d} %  " if self._total else ""
        return f"{self._label}  {share}{self.figures()}"

    def update_line(self, rows: int, position: int) -> None:
        self.count(rows, position)
        now = time.perf_counter()
        if sys.stderr.isatty() and now - self._shown > 0.1:
            self._shown = now
            print(f"\r{self._line():<79}", end="", file=sys.stderr, flush=True)

    def end_line(self) -> None:
        start = "\r" if sys.stderr.isatty() else ""
        print(f"{start}{self._line():<79}".rstrip(), file=sys.stderr)


def plot(points: Sequence[tuple[float, float]], title: str, x: str, y: str) -> str:
    """Draws points with text; y is logarithmic."""
    import math

    if not points:
        return ""
    width = max(30, min(72, shutil.get_terminal_size((80, 24)).columns - 12))
    height = 14
    low_x, high_x = min(p[0] for p in points), max(p[0] for p in points)
    logs = [math.log10(max(p[1], 1e-9)) for p in points]
    low_y, high_y = min(logs), max(logs)
    grid = [[" "] * width for _ in range(height)]
    for (px, _), ly in zip(points, logs, strict=True):
        column = round((px - low_x) / (high_x - low_x) * (width - 1)) if high_x > low_x else 0
        row = round((high_y - ly) / (high_y - low_y) * (height - 1)) if high_y > low_y else 0
        grid[row][column] = "●"
    lines = [f"{title}", f"{y} (logarithmic)"]
    for i, cells in enumerate(grid):
        value = 10 ** (high_y - (high_y - low_y) * i / (height - 1))
        mark = f"{value:9,.0f} " if i % 4 == 0 or i == height - 1 else " " * 10
        lines.append(f"{mark}│{''.join(cells)}".rstrip())
    lines.append(" " * 10 + "└" + "─" * width)
    left, right = f"{low_x:.3f}", f"{high_x:.3f}"
    lines.append(" " * 11 + left + x.center(width - len(left) - len(right)) + right)
    return "\n".join(lines)
