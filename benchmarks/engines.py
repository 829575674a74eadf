"""The engines that the benchmarks compare, by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from engine import Engine, Unavailable
from engines_memory import (
    Core,
    FaissHnsw,
    FaissHnswSq8,
    FaissIvfPq,
    HnswLib,
    SymphonyQg,
    Usearch,
    UsearchI8,
)
from engines_sql import Sql, SqliteVec, Vec1, Vecsql, VecsqlCached, VecsqlUncached, Vectorlite
from engines_stores import QdrantEdge, Zvec

SQL_ENGINES: dict[str, type[Sql]] = {c.name: c for c in (Vecsql, SqliteVec, Vectorlite, Vec1)}
MEMORY_ENGINES: dict[str, type[Engine]] = {
    c.name: c
    for c in (
        Core,
        HnswLib,
        SymphonyQg,
        FaissHnsw,
        FaissHnswSq8,
        FaissIvfPq,
        Usearch,
        UsearchI8,
    )
}
STORES: dict[str, type[Engine]] = {c.name: c for c in (Zvec, QdrantEdge)}
ENGINES: dict[str, type[Engine]] = {
    Vecsql.name: Vecsql,
    VecsqlCached.name: VecsqlCached,
    VecsqlUncached.name: VecsqlUncached,
    **MEMORY_ENGINES,
    **STORES,
    **SQL_ENGINES,
}
NAMES = list(ENGINES)


def make(
    names: Iterable[str], directory: Path, known: Mapping[str, type[Engine]] = ENGINES
) -> tuple[list[Engine], dict[str, str]]:
    """The engines that can run here, and for each other one the reason."""
    found: list[Engine] = []
    skipped: dict[str, str] = {}
    for name in names:
        try:
            found.append(known[name](directory))
        except Unavailable as e:
            skipped[name] = str(e)
    return found, skipped
