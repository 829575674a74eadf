"""Batches of records as rows: which are new, which changed, and writing both."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vecsql._base.errors import ConversionError, FormatError
from vecsql._connection.driver import Db, quote
from vecsql._files.source import Record, Source
from vecsql._files.survey import stored_value
from vecsql._files.values import plain, to_vector
from vecsql._rows.bulk import insert_rows
from vecsql._rows.import_target import Target
from vecsql._rows.rows import add_vectors, change_row, changing, embed_rows
from vecsql._tables.catalog import columns
from vecsql._tables.elements import encoded, places

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Writer:
    """Writes batches of records in the caller's transaction."""

    def __init__(self, db: Db, target: Target, source: Source):
        self._db = db
        self._target = target
        self._source = source
        self._info = target.info
        self._names = {name.lower(): name for name in target.types}
        self._kinds = {name.lower(): kind.upper() for name, kind in target.types.items()}
        self._new: list[dict[str, Any]] = []
        self._changed: list[dict[str, Any]] = []

    @property
    def by_id(self) -> bool:
        """Whether records are matched with rows."""
        return self._target.id is not None

    @contextlib.contextmanager
    def prepared(self, records: list[Record], before: int) -> Iterator[None]:
        """Sorts a batch into rows to add and rows to change, and embeds the text of both.

        ``before`` is how many records came before, which names a record that a model refuses.
        """
        rows = [self._row(r) for r in records]
        numbers = {id(row): n for n, row in enumerate(rows, before + 1)}
        new, changed = self._sorted(rows)

        def label(row: dict[str, Any]) -> str:
            return f"{self._source.label}, record {numbers[id(row)]:,}"

        key, store = self._info.key, not self._db.in_transaction
        self._new = new
        self._changed = [{**values, key: row[key]} for row, values in changed]
        if self._target.embedder is not None:
            model = self._target.embedder
            embed_rows(self._db, self._info, model, self._new, store=store, label=label)
        else:
            add_vectors(self._db, self._info.table, self._new, store=store, label=label)
        with changing(self._db, self._info.table, self._changed, (key,)):
            yield

    def write(self) -> tuple[int, int]:
        """Writes what was prepared; returns how many rows it added and how many it changed."""
        if self._target.create is not None:
            self._info = self._target.create()
            self._target = replace(self._target, info=self._info, create=None, embedder=None)
        insert_rows(self._db, self._info.table, self._new)
        typed = places(self._db, self._info.table)
        for row in self._changed:
            change_row(self._db, self._info.table, row, (self._info.key,), typed)
        return len(self._new), len(self._changed)

    def _sorted(
        self, rows: list[dict[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[tuple[dict[str, Any], dict[str, Any]]]]:
        """The rows that are new, and those that differ from a stored one, with that one."""
        if self._target.id is None:
            return rows, []
        id = self._names[self._target.id.lower()]
        last = {row[id]: row for row in rows}  # of two records with one id the last stays
        stored = self._stored(id, list(last), rows)
        new = [row for key, row in last.items() if key not in stored]
        changed = [
            (stored[key], row) for key, row in last.items()
            if key in stored and any(stored[key].get(n) != v for n, v in row.items())
        ]  # fmt: skip
        return new, changed

    def _row(self, record: Record) -> dict[str, Any]:
        """A record as a row of the table: columns and values, the vector as a blob."""
        row: dict[str, Any] = {}
        for name, value in record.items():
            if name == self._target.vector:
                vector = to_vector(value, f"{self._source.label}, column {name}")
                if vector is not None:
                    row[self._info.source] = self._blob(vector)
            elif name not in self._target.leave_out:
                known = self._names.get(name.lower())
                if known is None:
                    raise FormatError(f"{self._source.label} changed while it was read")
                row[known] = stored_value(plain(value), self._kinds[name.lower()])
        return row

    def _blob(self, vector: NDArray[np.float32]) -> bytes:
        if len(vector) != self._info.dim:
            raise FormatError(
                f"{self._info.label} has {self._info.dim} dimensions, a record brings a vector of "
                f"{len(vector)}"
            )
        try:
            return encoded(self._info, vector)
        except ConversionError as e:
            raise FormatError(f"{self._source.label}: {self._info.label}: {e}") from e

    def _stored(
        self, id: str, ids: list[Any], rows: list[dict[str, Any]]
    ) -> dict[Any, dict[str, Any]]:
        """The rows that have these ids, by id, with the columns that records have."""
        have = {c.lower() for c in columns(self._db, self._info.table)}
        if not have:
            return {}
        wanted = {n for row in rows for n in row} | {id, self._info.key}
        listed = ", ".join(quote(n) for n in sorted(wanted) if n.lower() in have or n == "rowid")
        out = {}
        for begin in range(0, len(ids), 500):
            part = ids[begin : begin + 500]
            marks = ", ".join("?" * len(part))
            sql = f"SELECT {listed} FROM main.{quote(self._info.table)} WHERE {quote(id)}"
            for row in self._db.named_rows(f"{sql} IN ({marks})", part):
                out[row[id]] = row
        return out
