"""Tables and progress on a terminal. The progress bar is rich's where it is installed and stderr
is a terminal, one line of text otherwise.
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
    of = "" if total is None else f"/{total}"
    started = time.perf_counter()
    done = 0

    def rate() -> float:
        return done / max(time.perf_counter() - started, 1e-9)

    if _rich(sys.stderr):
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        ) as bar:
            task = bar.add_task(label, total=total, rate="")

            def advance(n: int) -> None:
                nonlocal done
                done += n
                bar.update(task, advance=n, rate=f"{rate():,.0f}/s")

            yield advance
        return

    def count(n: int) -> None:
        nonlocal done
        done += n
        if sys.stderr.isatty():
            print(f"\r{label} {done}{of}  {rate():,.0f}/s ", end="", file=sys.stderr)

    yield count
    end = "\r" if sys.stderr.isatty() else ""
    print(f"{end}{label} {done}{of}  {rate():,.0f}/s", file=sys.stderr)
