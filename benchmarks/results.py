"""What a program prints and what it keeps: the tables of a run, and its raw figures as JSON.

A file has the program, the command, the machine with its commit, the tables as they were printed,
and all figures. ``report.py`` makes the page of benchmarks from such files.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from machine import machine
from tables import Table

# Options that say where files are, and nothing about the figures.
PLACES = ("--data", "--json", "--plot", "--dir", "--extension", "--wordnet", "--lists")


def command(argv: Sequence[str] | None = None) -> str:
    """The command line of this program as it is typed in the repository, without paths."""
    program, *given = sys.argv if argv is None else argv
    kept = []
    skip = False
    for word in given:
        name, _, value = word.partition("=")
        if not skip and name not in PLACES:
            kept.append(Path(word).name if Path(word).is_absolute() else word)
        skip = name in PLACES and not value
    return shlex.join(["python", f"benchmarks/{Path(program).name}", *kept])


def about(title: str, versions: dict[str, str] | None = None) -> dict[str, Any]:
    """The head of a file: what ran, where, and on what."""
    return {
        "benchmark": Path(sys.argv[0]).stem,
        "command": command(),
        "title": title,
        "machine": machine(),
        "versions": versions or {},
    }


def show(title: str, tables: Sequence[Table]) -> None:
    print(f"# {title}\n")
    for table in tables:
        print(table)


def save(
    path: Path | None, head: dict[str, Any], tables: Sequence[Table], figures: dict[str, Any]
) -> None:
    """Writes the file of a run; nothing without a path."""
    if path is not None:
        kept = [vars(t) for t in tables]
        text = json.dumps({**head, "tables": kept, "figures": figures}, indent=1)
        path.write_text(text + "\n", encoding="utf-8")
