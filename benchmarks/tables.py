"""Tables in Markdown, and figures as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are aligned to the right."""
    lines = [list(head), *[list(r) for r in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    text = []
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True)]
        text.append("| " + " | ".join(cells) + " |")
    rule = ["-" * widths[0], *["-" * (w - 1) + ":" for w in widths[1:]]]
    text.insert(1, "| " + " | ".join(rule) + " |")
    return "\n".join(text)


def number(x: float | None, digits: int = 0) -> str:
    return "-" if x is None else f"{x:,.{digits}f}"


@dataclass
class Table:
    """A table with the sentence above it. All cells are text."""

    title: str
    head: list[str]
    rows: list[list[str]] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.title}\n\n{table(self.head, self.rows)}\n"
