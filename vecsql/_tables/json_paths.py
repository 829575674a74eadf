"""Paths into columns of JSON, as ``meta.author``: the same SQL in filters and in indexes.

SQLite uses an index on an expression where a statement has the very same expression. So the path
is a literal in it, and both sides take it from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vecsql._base.errors import FilterError
from vecsql._connection.driver import Db, literal, quote
from vecsql._tables.catalog import columns, has_table


class JsonPath(NamedTuple):
    """A place in the JSON of a column, as the parts of SQL that ask for it."""

    json: str  # the column, NULL where it is no JSON
    path: str

    @property
    def value(self) -> str:
        """What is there, as a value of SQL."""
        return f"json_extract({self.json}, {self.path})"

    @property
    def kind(self) -> str:
        """Its type in JSON."""
        return f"json_type({self.json}, {self.path})"


class Paths:
    """The paths into the columns of one table."""

    def __init__(self, db: Db, table: str):
        self._columns = {name.lower(): name for name in columns(db, table)}
        self._has_metadata = "meta" in self._columns and has_table(db, f"{table}_sources")

    def find(self, key: str) -> JsonPath | None:
        """The place that a key names; None if no column of the table begins it.

        The longest column counts. In a table of `ingest` a key may also be the name of a metadata
        value. Raises `FilterError` for a key that is no path.
        """
        parts = key.split(".")
        for n in range(len(parts) - 1, 0, -1):
            column = self._columns.get(".".join(parts[:n]).lower())
            if column is not None:
                return _path(key, column, parts[n:])
        return _path(key, self._columns["meta"], parts) if self._has_metadata else None


def _path(key: str, column: str, names: Sequence[str]) -> JsonPath:
    if any(not name or '"' in name or "\0" in name for name in names):
        raise FilterError(f"{key}: expected names with dots between them")
    path = literal("$" + "".join(f'."{name}"' for name in names))
    return JsonPath(f"CASE WHEN json_valid({quote(column)}) THEN {quote(column)} END", path)
