"""The rows of a table as records, for writing them to a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vecsql._base.types import Connection
from vecsql._connection.driver import driver_of, quote
from vecsql._files.source import Record
from vecsql._search.filters import Condition
from vecsql._tables.catalog import IndexInfo
from vecsql._tables.elements import decoded


def stream_rows(
    conn: Connection, info: IndexInfo, names: Sequence[str], where: Condition | None
) -> Iterator[Record]:
    """Yields the rows of a table as records, vectors as arrays, in the order of the key."""
    db = driver_of(conn)
    condition = f" WHERE {where.sql}" if where is not None else ""
    listed = ", ".join(map(quote, names))
    sql = f"SELECT {listed} FROM main.{quote(info.table)}{condition} ORDER BY {quote(info.key)}"
    for row in db.iterate(sql, () if where is None else where.params):
        record = dict(zip(names, row, strict=True))
        vector = decoded(info, record.get(info.source))
        if vector is not None:
            record[info.source] = vector
        yield record
