"""Tables, progress and plots on a terminal. Tables and the progress bar are rich's where it is
installed and the stream is a terminal, plain text otherwise.
"""

from __future__ import annotations

import contextlib
import math
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
    widths = _widths([max(map(len, column)) for column in zip(headers, *cells, strict=True)])
    if _rich(sys.stdout):
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        for name, width in zip(headers, widths, strict=True):
            table.add_column(Text(name), max_width=width)
        for line in cells:
            table.add_row(*(Text(cell) for cell in line))  # Text: no markup in the data
        Console().print(table)
        return
    for line in ([*headers], ["-" * w for w in widths], *cells):
        cut = (c if len(c) <= w else c[: w - 1] + "…" for c, w in zip(line, widths, strict=True))
        print("  ".join(c.ljust(w) for c, w in zip(cut, widths, strict=True)).rstrip())


def _widths(widths: list[int]) -> list[int]:
    """The widths of columns that fit into the terminal: half of it for the widest, a text."""
    room = shutil.get_terminal_size((160, 24)).columns - 2 * (len(widths) - 1)
    text = widths.index(max(widths))
    while sum(widths) > room and max(widths) > 8:
        others = [w for i, w in enumerate(widths) if i != text]
        if widths[text] > room // 2 or max(others) <= 8:
            widths[text] -= 1
        else:
            at = max((i for i in range(len(widths)) if i != text), key=widths.__getitem__)
            widths[at] -= 1
    return widths


@contextlib.contextmanager
def progress(label: str, total: int | None, before: int = 0) -> Iterator[Callable[[int], None]]:
    """Yields a function that takes how many more are done; shows a bar and the rate on stderr.

    ``total`` is None where it is not known, ``before`` is how many an earlier run did.
    """
    if total == 0:
        yield lambda n: None
        return
    with meter(label, total) as bar:
        bar.start(before)
        yield lambda n: bar.update(n, bar.rows + n)


@contextlib.contextmanager
def meter(label: str, total: int | None) -> Iterator[Meter]:
    """Yields a `Meter`, shown on stderr: a bar with rich on a terminal, else one line."""
    m = Meter(label, total)
    if not _rich(sys.stderr):
        try:
            yield m
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

        def show() -> None:
            figures = "" if m.examining else m.figures()
            bar.update(task, description=m.label, completed=m.position, figures=figures)

        m.show = show
        yield m


class Meter:
    """Rows, the share of the position in the total, the rate and the time that is left.

    Rows are all that are done, those of an earlier run included; the rate is of this run. Position
    and total may be of another unit, such as bytes of a file.
    """

    def __init__(self, label: str, total: int | None):
        self.rows = 0
        self.position = 0
        self.show: Callable[[], None] = self._show_line
        self.examining = False
        self._label, self._total = label, total
        self._began = self._shown = time.perf_counter()
        self._before = 0  # rows of an earlier run
        self._first: tuple[float, int] | None = None  # when and where the first rows were done

    @property
    def label(self) -> str:
        """What is going on."""
        return "Examining the file" if self.examining else self._label

    def start(self, rows: int) -> None:
        """Takes the rows that an earlier run did; the rate begins here."""
        self.examining = False
        self.rows = self._before = rows
        self.position = 0
        self._began = time.perf_counter()

    def examine(self, position: int) -> None:
        """Takes the position of a pass before the first row is written."""
        self.examining, self.position = True, position
        self.show()

    def update(self, rows: int, position: int) -> None:
        """Takes how many more rows are done, and the position."""
        self.examining = False
        self.rows += rows
        self.position = position
        if self._first is None:
            self._first = (time.perf_counter(), position)
        self.show()

    def figures(self) -> str:
        """Rows, rate and the time left by the speed so far."""
        seconds = max(time.perf_counter() - self._began, 1e-9)
        text = f"{self.rows:,} rows  {(self.rows - self._before) / seconds:,.0f}/s"
        began, start = self._first or (self._began, self.position)
        moved = self.position - start  # a run that was resumed begins far from 0
        if self._total and moved > 0 and self.position < self._total:
            spent = time.perf_counter() - began
            left = int(spent * (self._total - self.position) / moved)
            text += f"  ETA {left // 60}:{left % 60:02d}"
        return text

    def _line(self) -> str:
        share = f"{100 * self.position // self._total:3d} %  " if self._total else ""
        return f"{self.label}  {share}{'' if self.examining else self.figures()}"

    def _show_line(self) -> None:
        now = time.perf_counter()
        if sys.stderr.isatty() and now - self._shown > 0.1:
            self._shown = now
            print(f"\r{self._line():<79}", end="", file=sys.stderr, flush=True)

    def end_line(self) -> None:
        """Ends the line of a terminal, or prints the one line; of nothing done it says nothing."""
        start = "\r" if sys.stderr.isatty() else ""
        if start or self.rows > self._before:
            print(f"{start}{self._line():<79}".rstrip(), file=sys.stderr)


_TICKS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)


def recall_scale(recall: float) -> float:
    """A place on the axis of recall: the logarithm of what is missed, so 0.9 to 1 has room."""
    return -math.log10(1.001 - min(max(recall, 0.0), 1.0))


def recall_ticks(low: float) -> list[float]:
    """The marks on an axis of recall that begins at ``low`` or below."""
    return [t for t in _TICKS if t >= low] if low < 0.9 else [t for t in _TICKS if t >= 0.9]


def plot(points: Sequence[tuple[float, float]], title: str, x: str, y: str) -> str:
    """Draws points with text: recall from left to right (`recall_scale`), y logarithmic."""
    if not points:
        return ""
    width = max(30, min(72, shutil.get_terminal_size((80, 24)).columns - 12))
    height = 14
    ticks = recall_ticks(min(p[0] for p in points))
    left = recall_scale(min(ticks[0], *(p[0] for p in points)))
    right = recall_scale(1.0)
    logs = [math.log10(max(p[1], 1e-9)) for p in points]
    low, high = min(logs), max(logs)

    def column(recall: float) -> int:
        return round((recall_scale(recall) - left) / (right - left) * (width - 1))

    grid = [[" "] * width for _ in range(height)]
    for (recall, _), ly in zip(points, logs, strict=True):
        row = round((high - ly) / (high - low) * (height - 1)) if high > low else 0
        grid[row][column(recall)] = "●"
    lines = [f"{title}", f"{y} (logarithmic)"]
    for i, cells in enumerate(grid):
        value = 10 ** (high - (high - low) * i / (height - 1))
        mark = f"{value:9,.0f} " if i % 4 == 0 or i == height - 1 else " " * 10
        lines.append(f"{mark}│{''.join(cells)}".rstrip())
    axis, labels = ["─"] * width, [" "] * (width + 6)
    for tick in ticks:
        at, label = column(tick), f"{tick:g}"
        axis[at] = "┴"
        if all(c == " " for c in labels[max(0, at - 1) : at + len(label) + 1]):
            labels[at : at + len(label)] = label
    lines.append(" " * 10 + "└" + "".join(axis))
    lines.append((" " * 11 + "".join(labels)).rstrip())
    lines.append((" " * 11 + x.center(width)).rstrip())
    return "\n".join(lines)
