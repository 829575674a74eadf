"""Importing records into a table with an index: in batches, resumable, each record once.

A batch is one transaction: its rows with their vectors, the index, the full text, and how far the
import has come, in the ordinary table

    vecsql_imports(tbl, source, fingerprint, done, finished)

So whatever kills an import leaves a whole number of batches and the number of records in them, and
running it again goes on behind them. With an id column rows are matched by it: what is equal stays
as it is, what differs is updated, and then it does not matter how often an import is run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from vecsql._bulk import insert_rows
from vecsql._catalog import IndexInfo, columns, has_table, index_of, indexes
from vecsql._driver import Db, driver_of, quote
from vecsql._elements import decoded
from vecsql._embed import Embedder
from vecsql._errors import FormatError, SchemaError
from vecsql._read import Record, Source
from vecsql._rows import add_vectors, update
from vecsql._schema import create_index, create_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DDL = """
CREATE TABLE IF NOT EXISTS vecsql_imports(
  tbl TEXT NOT NULL COLLATE NOCASE, source TEXT NOT NULL, fingerprint TEXT NOT NULL,
  done INTEGER NOT NULL, finished INTEGER NOT NULL, PRIMARY KEY(tbl, source)) WITHOUT ROWID"""

BATCH = 1000
_PEEK = 500  # records by which the types of columns are told
_TEXT_NAMES = ("text", "body", "content", "document", "description", "title")

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")


@dataclass(frozen=True)
class Imported:
    """What an import did: rows of this run, and the records that an earlier run had done."""

    table: str
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    resumed: int = 0
    complete: bool = False  # there was nothing to do: the source had been imported before

    @property
    def records(self) -> int:
        """How many records this run read."""
        return self.added + self.updated + self.unchanged


@dataclass(frozen=True)
class Target:
    """Where records go: the index of the table, and the column that identifies a record."""

    info: IndexInfo
    id: str | None


def import_records(
    conn: Any,
    table: str,
    source: Source,
    *,
    text: Sequence[str] = (),
    id: str | None = None,
    embedder: Embedder | None = None,
    metric: str = "cosine",
    fts: bool = False,
    options: str = "",
    batch: int = BATCH,
    again: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Imports the records of a source into a table; makes table and index if they are missing.

    ``text`` names the columns that are embedded; it may be left out if records bring vectors or if
    one column is the obvious one. ``id`` names the column by which records are matched (``id`` if
    there is one); without any, every record is a new row. ``again`` imports a source that was
    imported before. ``progress`` is called with records and position after each batch.

    Raises `SchemaError` and `FormatError`; what was committed before stays, and the same call goes
    on from there.
    """
    db = driver_of(conn)
    records = source.records(0)
    head = list(islice(records, _PEEK))
    names = list(dict.fromkeys(name for record in head for name in record))
    id = _named(names, id or ("id" if "id" in _lower(names) else None), "--id", source)
    done, finished = _state(db, table, source, id)
    if finished and not again and id is None:
        return Imported(table, resumed=done, complete=True)
    resumed = 0 if finished else done
    if not head and not has_table(db, table):
        raise FormatError(f"{source.name} has no records")
    target = _target(db, table, source, head, names, text, id, embedder, metric, fts, options)
    writer = _Writer(db, target, source.vector)
    counts = Imported(target.info.table, resumed=resumed)
    stream = chain(head, records) if resumed == 0 else source.records(resumed)
    done = resumed
    while True:
        part = list(islice(stream, batch))
        writer.prepare(part)  # the model runs here, and does not hold the write lock
        with db.transaction():
            added, updated = writer.write()
            done += len(part)
            _save_state(db, target.info.table, source, done, len(part) < batch)
        counts = replace(
            counts,
            added=counts.added + added,
            updated=counts.updated + updated,
            unchanged=counts.unchanged + len(part) - added - updated,
        )
        if progress is not None:
            progress(len(part), done if source.done is None else source.done())
        if len(part) < batch:
            return counts


# --- how far an earlier run came -----------------------------------------------------------------


def _state(db: Db, table: str, source: Source, id: str | None) -> tuple[int, bool]:
    """How many records were imported before, and whether those were all."""
    if source.fingerprint is None or not has_table(db, "vecsql_imports"):
        return 0, False
    if not has_table(db, table):  # dropped since
        db.run("DELETE FROM main.vecsql_imports WHERE tbl = ?", (table,))
        return 0, False
    sql = "SELECT fingerprint, done, finished FROM main.vecsql_imports WHERE tbl = ? AND source = ?"
    rows = db.rows(sql, (table, source.name))
    if not rows:
        return 0, False
    known, done, finished = rows[0]
    if known == source.fingerprint:
        return int(done), bool(finished)
    if not finished and id is None:
        raise FormatError(
            f"{source.name} has changed since its import into {table} was interrupted after "
            f"{done:,} records, so the rest cannot be told from the beginning: DELETE FROM "
            f"{table} and FROM vecsql_imports WHERE tbl = '{table}', or name an id column"
        )
    return 0, False


def _save_state(db: Db, table: str, source: Source, done: int, finished: bool) -> None:
    if source.fingerprint is None:
        return
    db.run(_DDL)
    db.run(
        "REPLACE INTO main.vecsql_imports(tbl, source, fingerprint, done, finished) "
        "VALUES(?, ?, ?, ?, ?)",
        (table, source.name, source.fingerprint, done, finished),
    )


def _columns_of(db: Db, table: str) -> list[str]:
    return [c.lower() for c in columns(db, table)]


# --- where records go ----------------------------------------------------------------------------


def _target(
    db: Db,
    table: str,
    source: Source,
    head: list[Record],
    names: list[str],
    text: Sequence[str],
    id: str | None,
    embedder: Embedder | None,
    metric: str,
    fts: bool,
    options: str,
) -> Target:
    """Finds the table and its index, or makes them for records like these."""
    texts = [_named(names, name, "--text", source) or name for name in text]
    vectors = [r.get(source.vector) for r in head] if source.vector is not None else []
    dims = {len(v) for v in vectors if v is not None}
    if len(dims) > 1:
        raise FormatError(f"{source.name}: vectors of different lengths: {sorted(dims)}")
    dim = dims.pop() if dims else None
    known = indexes(db, table)
    if known:
        return _known_target(db, known, source, names, id, texts)
    if not texts and dim is None:
        texts = [_obvious_text(source, head, names, id)]
    index: dict[str, Any] = {
        "text": texts or None,
        "embedder": embedder,
        "metric": metric,
        "fts": fts,
        "options": options,
    }
    if not texts:
        index["dim"] = dim
    column = source.vector or "embedding"
    if has_table(db, table):
        info = create_index(db, table, column, **index)
        return _known_target(db, [info], source, names, id, texts)
    plain = {name: _sql_type(head, name) for name in names if name != column}
    key = "id"
    if id is not None and plain[id] == "INTEGER":
        key = id
        del plain[id]
    elif id is not None:
        plain[id] += " NOT NULL UNIQUE"
        key = next(k for k in ("id", "row", "row_id", "vecsql_row") if k not in _lower(plain))
    elif "id" in _lower(plain):
        key = "row_id"
    info = create_table(db, table, plain, key=key, column=column, **index)
    return Target(info, id)


def _known_target(
    db: Db,
    known: list[IndexInfo],
    source: Source,
    names: list[str],
    id: str | None,
    texts: list[str],
) -> Target:
    """The index of a table that exists, if records like these fit into it."""
    if source.vector is not None and len(known) > 1:
        known = [i for i in known if i.column.lower() == source.vector.lower()] or known
    info = known[0] if len(known) == 1 else index_of(db, known[0].table)
    have = _columns_of(db, info.table)
    missing = [n for n in names if n.lower() not in have and n != source.vector]
    if missing:
        raise SchemaError(
            f"{info.table} has no column {missing[0]}, which {source.name} has; its columns: "
            f"{', '.join(columns(db, info.table))}"
        )
    if texts and list(info.text) != texts:
        raise SchemaError(
            f"{info.label} embeds {', '.join(info.text) or 'nothing: its vectors are given'}, "
            f"not {', '.join(texts)}"
        )
    if id is not None and info.table == info.index and id.lower() != info.key.lower():
        raise SchemaError(f"{info.table}: records are matched by its key {info.key}, not by {id}")
    return Target(info, id)


def _named(names: list[str], wanted: str | None, option: str, source: Source) -> str | None:
    if wanted is None or not names:
        return wanted
    for name in names:
        if name.lower() == wanted.lower():
            return name
    raise SchemaError(
        f"{option} {wanted}: {source.name} has no such column; it has {', '.join(names)}"
    )


def _obvious_text(source: Source, head: list[Record], names: list[str], id: str | None) -> str:
    """The only column of text, or the one that is called so."""
    texts = [n for n in names if n != id and _sql_type(head, n) == "TEXT"]
    for name in _TEXT_NAMES:
        if name in _lower(texts):
            return next(n for n in texts if n.lower() == name)
    if len(texts) == 1:
        return texts[0]
    raise SchemaError(
        f"{source.name}: which column is to be embedded? --text COLUMN, one of "
        f"{', '.join(texts or names)}"
    )


def _lower(names: Any) -> list[str]:
    return [name.lower() for name in names]


def _sql_type(head: list[Record], name: str) -> str:
    """The SQL type of a column by its first values; texts that are all numbers are numbers."""
    values = [r[name] for r in head if r.get(name) is not None and r[name] != ""]
    for kind, sql in ((int, "INTEGER"), (float, "REAL")):
        if values and all(_is(kind, v) for v in values):
            return sql
    return "BLOB" if values and all(isinstance(v, bytes) for v in values) else "TEXT"


def _is(kind: type, value: Any) -> bool:
    if isinstance(value, str):
        # "007", "1_000" and "+1" are names of things rather than numbers
        match = _NUMBER.fullmatch(value)
        return match is not None and (kind is float or not match[1]) and len(value) < 19
    return isinstance(value, (int, kind)) and not isinstance(value, bool)


# --- writing -------------------------------------------------------------------------------------


class _Writer:
    """Writes batches of records in the caller's transaction."""

    def __init__(self, db: Db, target: Target, vector: str | None):
        self._db = db
        self._info = target.info
        self._id = target.id
        self._vector = vector
        self._names = {c.lower(): c for c in columns(db, self._info.table)}
        self._numeric = self._numeric_columns()
        self._new: list[dict[str, Any]] = []
        self._changed: list[dict[str, Any]] = []

    def _numeric_columns(self) -> set[str]:
        sql = "SELECT name, type FROM pragma_table_xinfo(?, 'main')"
        kinds = self._db.rows(sql, (self._info.table,))
        return {n.lower() for n, kind in kinds if kind.upper() in ("INTEGER", "REAL", "NUMERIC")}

    def prepare(self, records: list[Record]) -> None:
        """Sorts a batch into rows to add, with their vectors, and rows to change."""
        new, changed = self._sorted(records)
        self._new = [{**self._values(r), **self._given(r)} for r in new]
        key = self._info.key
        self._changed = [{**self._values(r), **self._given(r), key: row[key]} for row, r in changed]
        add_vectors(self._db, self._info.table, self._new, store=not self._db.in_transaction)

    def write(self) -> tuple[int, int]:
        """Writes what was prepared; returns how many rows it added and how many it changed."""
        insert_rows(self._db, self._info.table, self._new)
        update(self._db, self._info.table, self._changed, self._info.key)
        return len(self._new), len(self._changed)

    def _sorted(
        self, records: list[Record]
    ) -> tuple[list[Record], list[tuple[dict[str, Any], Record]]]:
        """The records that are new, and those that differ from their row, with it."""
        if self._id is None:
            return records, []
        last = {self._identity(r): r for r in records}  # of two records with one id the last stays
        stored = self._stored(list(last), records)
        new = [r for key, r in last.items() if key not in stored]
        changed = [
            (stored[key], r) for key, r in last.items()
            if key in stored and self._differs(r, stored[key])
        ]  # fmt: skip
        return new, changed

    def _identity(self, record: Record) -> Any:
        assert self._id is not None
        value = record.get(self._id)
        if value is None or value == "":
            raise FormatError(f"a record has no {self._id}: {str(record)[:200]}")
        return self._stored_value(self._id, value)

    def _stored_value(self, name: str, value: Any) -> Any:
        """A value as SQLite stores it in this column: numbers in text become numbers."""
        if name.lower() in self._numeric and isinstance(value, str):
            if value == "":
                return None
            for kind in (int, float):
                try:
                    return kind(value)
                except ValueError:
                    continue
        return value

    def _values(self, record: Record) -> dict[str, Any]:
        """Columns and values without the vector."""
        return {
            self._names[n.lower()]: self._stored_value(n, v)
            for n, v in record.items()
            if n != self._vector
        }

    def _stored(self, ids: list[Any], records: list[Record]) -> dict[Any, dict[str, Any]]:
        """The rows that have these ids, by id, with the columns that records have."""
        assert self._id is not None
        id = self._names[self._id.lower()]
        wanted = {self._names[n.lower()] for r in records for n in r if n != self._vector}
        listed = ", ".join(map(quote, sorted(wanted | {id, self._info.key, self._info.source})))
        out = {}
        for begin in range(0, len(ids), 500):
            part = ids[begin : begin + 500]
            marks = ", ".join("?" * len(part))
            sql = f"SELECT {listed} FROM main.{quote(self._info.table)} WHERE {quote(id)}"
            for row in self._db.named_rows(f"{sql} IN ({marks})", part):
                out[row[id]] = row
        return out

    def _differs(self, record: Record, row: dict[str, Any]) -> bool:
        if any(row.get(name) != value for name, value in self._values(record).items()):
            return True
        vector = record.get(self._vector or "")
        return vector is not None and _blob(vector) != row[self._info.source]

    def _given(self, record: Record) -> dict[str, Any]:
        """The vector that a record brings, as a column of the table."""
        vector = record.get(self._vector or "")
        if vector is None:
            return {}
        if len(vector) != self._info.dim:
            raise FormatError(
                f"{self._info.label} has {self._info.dim} dimensions, a record brings a vector of "
                f"{len(vector)}"
            )
        return {self._info.source: _blob(vector)}


def _blob(vector: NDArray[np.float32]) -> bytes:
    return vector.astype("<f4", copy=False).tobytes()


def stream_rows(
    conn: Any, info: IndexInfo, names: Sequence[str], where: str | None, params: Sequence[Any] = ()
) -> Iterator[Record]:
    """Yields the rows of a table as records, vectors as arrays, in the order of the key."""
    db = driver_of(conn)
    condition = f" WHERE {where}\n" if where else ""
    listed = ", ".join(map(quote, names))
    sql = f"SELECT {listed} FROM main.{quote(info.table)}{condition} ORDER BY {quote(info.key)}"
    for row in db.iterate(sql, params):
        record = dict(zip(names, row, strict=True))
        vector = decoded(info, record.get(info.source))
        if vector is not None:
            record[info.source] = vector
        yield record
