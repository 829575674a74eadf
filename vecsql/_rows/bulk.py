"""bulk_insert: many rows in batches, each batch embedded at once and written in one transaction.

The model runs outside the transaction, so that it does not hold the write lock. How far a job has
come is written with the batch (jobs.py), so a job that was killed goes on behind its last commit.
In a table that is empty a job begins anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from itertools import groupby, islice
from typing import Any

from vecsql._base.bind import bound
from vecsql._base.convert import whole
from vecsql._base.progress import reporter
from vecsql._base.types import Connection, Frame, Record, Records
from vecsql._connection.driver import Db, driver_of, quote
from vecsql._rows import jobs
from vecsql._rows.jobs import Job
from vecsql._rows.rows import Shape, add_vectors
from vecsql._tables.catalog import vector_columns
from vecsql._tables.elements import places


def bulk_insert(
    conn: Connection,
    table: str,
    rows: Records | Frame,
    *,
    batch: int = 1000,
    key: str | None = None,
    job: str | None = None,
    progress: bool | Callable[[int], None] = False,
) -> int:
    """Inserts many rows, ``batch`` a transaction; returns how many.

    ``rows`` is an iterable of dicts, or a data frame: pandas, Polars, Arrow, and what gives itself
    as a stream of Arrow. Of a frame, lists of numbers are vectors where the table has vectors, and
    missing values are NULL.

    It can be killed at any time and run again: with ``key``, a unique column of the table, rows
    that are there already are left alone and not embedded (rows whose key is NULL all come); with
    ``job``, a name, the rows that earlier runs of that job committed into the table are skipped,
    also when it had come to its end, so ``rows`` must come in the same order. In a transaction
    that is open, all of it is part of that.

    ``progress`` shows a bar on stderr, or is a function that takes how many more rows are done.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"body": str}, text="body")
    >>> texts = ["night train", "rye bread", "plum cake"]
    >>> vecsql.bulk_insert(db, "notes", ({"body": t} for t in texts), batch=2)
    3
    """
    db = driver_of(conn)
    batch = whole(batch, "batch is a number of rows")
    shape = Shape(db, table)
    earlier = None if job is None else jobs.find(db, table, "rows", job)
    done = 0 if earlier is None else earlier.done
    source = islice(_records(db, table, rows), done, None)
    written = 0
    with reporter(progress, f"Inserting into {table}", _length(rows), done) as advance:
        ended = False
        while not ended:
            taken = list(islice(source, batch))
            ended = len(taken) < batch
            named = [shape.row(row) for row in taken]
            fresh = _fresh(db, table, key, named)
            add_vectors(
                db,
                table,
                fresh,
                store=not db.in_transaction,
                label=_numbered(table, named, done + 1),
            )
            done += len(taken)
            with db.transaction():
                insert_rows(db, table, fresh)
                if job is not None:
                    jobs.note(db, Job(table, "rows", job, done))
            written += len(fresh)
            advance(len(taken))
    return written


def _numbered(table: str, rows: Sequence[Record], first: int) -> Callable[[Record], str]:
    """Names a row by its number in what the caller passed."""
    numbers = {id(row): n for n, row in enumerate(rows, first)}
    return lambda row: f"{table}, row {numbers[id(row)]}"


def _records(db: Db, table: str, rows: Any) -> Iterator[Record]:
    """The rows one by one; those of a frame with values that every driver takes."""
    from vecsql._files.read_arrow import frame_records, is_frame
    from vecsql._files.values import plain

    if not is_frame(rows):
        return iter(rows)
    vectors = vector_columns(db, table)
    return (
        {n: v if n.lower() in vectors else plain(v) for n, v in record.items()}
        for record in frame_records(rows)
    )


def _length(rows: Any) -> int | None:
    return len(rows) if isinstance(rows, Sized) else None


def _fresh(db: Db, table: str, key: str | None, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows whose key is not in the table, and not in an earlier row of the batch."""
    if key is None:
        return rows
    sql = f"SELECT 1 FROM main.{quote(table)} WHERE {quote(key)} = ?"
    fresh: dict[Any, dict[str, Any]] = {}
    for row in rows:
        value = bound(row.get(key))
        if value is None:  # NULL equals nothing, itself included
            fresh[object()] = row
        elif value not in fresh and db.value(sql, (value,)) is None:
            fresh[value] = row
    return list(fresh.values())


def insert_rows(db: Db, table: str, rows: list[dict[str, Any]]) -> None:
    """Rows with the same columns in a row go in one executemany."""
    typed = places(db, table) if rows else {}
    for names, group in groupby(rows, _names):
        if names:
            marks = ", ".join(typed.get(name, "?") for name in names)
            sql = f"({', '.join(map(quote, names))}) VALUES({marks})"
        else:
            sql = " DEFAULT VALUES"
        db.run_many(f"INSERT INTO main.{quote(table)}{sql}", _values(group))


def _names(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row)


def _values(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Any]]:
    return ([bound(value) for value in row.values()] for row in rows)
