"""The engines that the benchmarks compare, by name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from engine import Engine, Unavailable
from engines_memory import (
    Core,
    FaissHnsw,
    FaissHnswSq8,
    FaissIvfPq,
    HnswLib,
    Usearch,
    UsearchI8,
)
from engines_sql import Sql, SqliteVec, Vec1, Vecsql, VecsqlCached, VecsqlStdlib, Vectorlite

SQL_ENGINES: dict[str, type[Sql]] = {
    c.name: c for c in (Vecsql, VecsqlCached, VecsqlStdlib, SqliteVec, Vectorlite, Vec1)
}
MEMORY_ENGINES: dict[str, type[Engine]] = {
    c.name: c for c in (Core, HnswLib, FaissHnsw, FaissHnswSq8, FaissIvfPq, Usearch, UsearchI8)
}
ENGINES: dict[str, type[Engine]] = {
    Vecsql.name: Vecsql,
    VecsqlCached.name: VecsqlCached,
    VecsqlStdlib.name: VecsqlStdlib,
    **MEMORY_ENGINES,
    **SQL_ENGINES,
}
NAMES = list(ENGINES)


def make(names: Iterable[str], directory: Path) -> tuple[list[Engine], dict[str, str]]:
    """The engines that can run here, and for each other one the reason."""
    found: list[Engine] = []
    skipped: dict[str, str] = {}
    for name in names:
        try:
            found.append(ENGINES[name](directory))
        except Unavailable as e:
            skipped[name] = str(e)
    return found, skipped
