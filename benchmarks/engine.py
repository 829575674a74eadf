"""What an engine of the benchmarks is.

An engine builds an index of a data set and answers queries for their k nearest rows, ids being
row numbers of the base. ``searchers`` names its ways to ask. ``effort`` is what buys recall: ef
for graphs, the share of buckets for inverted files, nothing for an exact scan. All graphs are
built with M = 16 and ef_construction = 200.

``Unavailable`` tells why an engine cannot run here.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Floats, Ids

M, EF_CONSTRUCTION = 16, 200

Effort = float | None
Search = Callable[[Floats, int, Effort], Ids]


class Unavailable(Exception):
    """The engine cannot run here; the message says why."""


def require(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise Unavailable(f"not installed (pip install {package}): {e}") from e


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "?"


def padded(rows: Iterable[Sequence[int]], k: int) -> Ids:
    """Ids (queries, k), -1 where an engine gave fewer."""
    lists = list(rows)
    out = np.full((len(lists), k), -1, dtype=np.int64)
    for i, row in enumerate(lists):
        out[i, : len(row)] = row
    return out


def unit(vectors: Floats) -> Floats:
    """The vectors with length 1, for engines that have no cosine."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(norms, 1e-30), dtype=np.float32)


class Engine(ABC):
    """What all engines do. ``directory`` is where files go; each engine names its own."""

    name = ""
    version = ""
    threads = 1  # of a build

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @abstractmethod
    def build(self, data: Dataset) -> None:
        """Builds the index; the benchmark takes the time."""

    @abstractmethod
    def searchers(self) -> dict[str, Search]:
        """Ways to ask, by the name in the tables. The first answers one query a call from Python
        if the engine can."""

    def efforts(self, ef: list[int]) -> list[Effort]:
        """The settings to measure, cheapest first."""
        return list(ef)

    def file_bytes(self) -> int | None:
        """Size of the file that holds vectors and index; None: it lives in memory."""
        return None

    def save(self) -> None:
        """Writes what ``reopen`` needs, in another process, to ``directory``."""
        raise Unavailable(f"{self.name} has no file")

    def reopen(self, data: Dataset) -> None:
        """Opens what ``save`` wrote; nothing need be loaded yet."""
        raise Unavailable(f"{self.name} has no file")

    def page_cache(self) -> int:
        """Bytes of SQLite's page cache, which are not the index's."""
        return 0

    def close(self) -> None:  # noqa: B027  most have nothing to free
        """Frees memory."""
