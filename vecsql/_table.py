"""One table with its index as an object: the functions of the package without db and name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, overload

from vecsql._base.errors import SchemaError
from vecsql._base.types import Connection, Key, Parameters, Query, Record, Records, Value
from vecsql._connection.driver import driver_of
from vecsql._judge import evaluate
from vecsql._rows import rows as rows_module
from vecsql._search import lookup
from vecsql._search.search import search
from vecsql._tables.catalog import IndexInfo, has_table, index_of, no_table
from vecsql._tables.sync import sync

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from vecsql._judge.metrics import Qrels
    from vecsql._search.filters import Where
    from vecsql._search.search import Hit, SearchOptions


def table(conn: Connection, name: str, column: str | None = None) -> Table:
    """Returns a table of the connection as an object; ``column`` is its vector column.

    The object has no state of its own but these three, so it may be made anew at any time. Its
    methods are the functions of the package. Raises `SchemaError` if there is no such table.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"body": str}, text="body")
    >>> notes = vecsql.table(db, "notes")
    >>> notes.insert([{"body": "the night train"}, {"body": "rye bread"}])
    [1, 2]
    >>> [hit["body"] for hit in notes.search("railway", k=1)]
    ['the night train']
    """
    db = driver_of(conn)
    if not has_table(db, name):
        raise SchemaError(no_table(db, name))
    return Table(conn, name, column)


class Table:
    """A table with its index; `table` makes one. What its methods raise is what the functions do.

    Every write is a transaction, or a savepoint in the one that is open.
    """

    def __init__(self, conn: Connection, name: str, column: str | None = None):
        self.conn = conn
        self.name = name
        self.column = column

    def __repr__(self) -> str:
        column = "" if self.column is None else f", {self.column!r}"
        return f"<vecsql.Table {self.name!r}{column}>"

    @property
    def index(self) -> IndexInfo:
        """The index, as `vecsql.indexes` lists it."""
        return index_of(self.conn, self.name, self.column)

    @overload
    def insert(self, rows: Record) -> int: ...
    @overload
    def insert(self, rows: Records) -> list[int]: ...
    def insert(self, rows: Record | Records) -> int | list[int]:
        """Inserts a row or many; returns the rowid or the list of them. See `vecsql.insert`."""
        return rows_module.insert(self.conn, self.name, rows)

    @overload
    def upsert(self, rows: Record, key: str | Sequence[str] | None = None) -> int: ...
    @overload
    def upsert(self, rows: Records, key: str | Sequence[str] | None = None) -> list[int]: ...
    def upsert(
        self, rows: Record | Records, key: str | Sequence[str] | None = None
    ) -> int | list[int]:
        """Inserts rows, or updates those whose key is there already. See `vecsql.upsert`."""
        return rows_module.upsert(self.conn, self.name, rows, key)

    def update(self, rows: Record | Records, key: str | Sequence[str] | None = None) -> int:
        """Changes the named columns of rows; returns how many. See `vecsql.update`."""
        return rows_module.update(self.conn, self.name, rows, key)

    def delete(
        self,
        keys: Key | Iterable[Key] | Iterable[Sequence[Key]],
        key: str | Sequence[str] | None = None,
    ) -> int:
        """Deletes rows by primary key, or by other columns; returns how many there were.

        See `vecsql.delete`.
        """
        return rows_module.delete(self.conn, self.name, keys, key)

    def get(self, key: Key, columns: Sequence[str] | None = None) -> dict[str, Value] | None:
        """The row with a primary key, without its vectors; None if there is none.

        ``columns`` names the columns to return. That of the vector gives the blob as it is stored.
        """
        db, info = driver_of(self.conn), self.index
        wanted = lookup.visible_columns(db, info) if columns is None else columns
        return lookup.rows_of(db, info, [key], wanted).get(key)

    def count(self, where: Where | None = None, params: Parameters = ()) -> int:
        """How many rows there are, or how many satisfy a condition as `vecsql.search` takes it."""
        return lookup.count(driver_of(self.conn), self.index, where, params)

    def search(self, query: Query, k: int = 10, **options: Unpack[SearchOptions]) -> list[Hit]:
        """The k rows that fit a text or a vector best. See `vecsql.search` for ``options``."""
        options.setdefault("column", self.column)
        return search(self.conn, self.name, query, k, **options)

    def sync(self, *, batch: int = 256, progress: bool | Callable[[int], None] = False) -> int:
        """Embeds and indexes what is due; returns how many rows. See `vecsql.sync`."""
        return sync(self.conn, self.name, self.column, batch=batch, progress=progress)

    def stats(self) -> dict[str, Value]:
        """The figures of the index, by name: what ``vecsql_stats`` tells in SQL."""
        return lookup.figures(driver_of(self.conn), self.index)

    def evaluate(
        self,
        queries: Mapping[str, Query],
        qrels: Qrels,
        k: int = 10,
        **options: Unpack[evaluate.EvaluateOptions],
    ) -> evaluate.Evaluation:
        """Measures search against judgements. See `vecsql.evaluate` for ``options``."""
        options.setdefault("column", self.column)
        return evaluate.evaluate(self.conn, self.name, queries, qrels, k, **options)
