"""vecsql through SQL, as users open it: one file, and a connection for each mode.

A mode is one or more words joined by ``+``. The first may name the connection:

- ``defaults``: ``vecsql.connect(path)`` and nothing else;
- ``apsw``: ``apsw.Connection(path)`` and ``vecsql.load``, no PRAGMA; the other words imply it.

The others add a setting:

- ``pragmas``: ``cache_size`` and ``mmap_size`` that hold all rows;
- ``cache``: the command ``vector_cache`` with room for all rows;
- ``nocache``: ``vector_cache=0``;
- ``txn``: one read transaction around the queries of a turn.

Every mode has a copy of the file, so that no mode profits from the memory of another.
"""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from datasets import Dataset, Floats, Ids
from engine import Effort, Search, Unavailable, require
from engines_sql import CACHE_KIB, Vecsql

CONNECTIONS = ("defaults", "apsw")
SETTINGS = ("pragmas", "cache", "nocache", "txn")
DEFAULT = ["defaults", "apsw", "txn", "pragmas", "pragmas+cache"]


def parse(text: str) -> list[str]:
    """The modes of a list that commas separate. Raises ValueError for a word that is unknown."""
    modes = text.split(",")
    for mode in modes:
        first, *others = mode.split("+")
        if first not in CONNECTIONS + SETTINGS or not set(others) <= set(SETTINGS):
            known = ", ".join(CONNECTIONS + SETTINGS)
            raise ValueError(f"unknown mode {mode!r}; its words are {known}")
    return modes


class VecsqlModes(Vecsql):
    """Two searchers a mode: a statement a query, and ``vecsql_search`` with all queries."""

    modes: ClassVar[list[str]] = DEFAULT

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.package = require("vecsql", "vecsql")
        if Vecsql.extension != self.package.loadable_path() and any(
            m.startswith("defaults") for m in self.modes
        ):
            raise Unavailable("mode defaults measures the installed package, not --extension")
        self.connections: dict[str, Any] = {}

    def build(self, data: Dataset) -> None:
        self.close()
        super().build(data)

    def searchers(self) -> dict[str, Search]:
        if not self.connections:
            self.save()
            self.close()
            self.connections = {mode: self.connect(mode) for mode in self.modes}
        one = {f"vecsql, {m}": partial(self.statements, m) for m in self.modes}
        return one | {f"vecsql_search, {m}": partial(self.call, m) for m in self.modes}

    def connect(self, mode: str) -> Any:
        words = mode.split("+")
        path = str(self.directory / f"vecsql {mode}.db")
        shutil.copyfile(self.path, path)
        if "defaults" in words:
            db = self.package.connect(path)
        else:
            db = self.apsw.Connection(path)
            if Vecsql.extension == self.package.loadable_path():
                self.package.load(db)
            else:
                self.load(db)
        if "pragmas" in words:
            self.make_room(db)
        if "cache" in words:
            db.execute(f"INSERT INTO v(v) VALUES ('vector_cache={CACHE_KIB >> 10}')")
        if "nocache" in words:
            db.execute("INSERT INTO v(v) VALUES ('vector_cache=0')")
        return db

    def statements(self, mode: str, query: Floats, k: int, effort: Effort) -> Ids:
        return self.within(mode, self.ask, query, k, effort)

    def call(self, mode: str, query: Floats, k: int, effort: Effort) -> Ids:
        return self.within(mode, self.ask_all, query, k, effort)

    def within(self, mode: str, ask: Any, query: Floats, k: int, effort: Effort) -> Ids:
        db = self.connections[mode]
        if "txn" not in mode.split("+"):
            return ask(db, query, k, effort)
        db.execute("BEGIN")
        found = ask(db, query, k, effort)
        db.execute("COMMIT")
        return found

    def close(self) -> None:
        super().close()
        for db in self.connections.values():
            db.close()
        self.connections = {}
