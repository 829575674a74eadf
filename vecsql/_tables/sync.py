"""sync: work off what is due, in batches that can be killed at any time.

The model runs outside the transaction. Inside it, a row is taken only if it still is what was
embedded; one that changed meanwhile stays in the queue for the next round. The new vectors, the
index and the shorter queue commit together. A row whose text the model refuses stays due and stops
no other: the error comes when all the others are done. Nor does an index stop another index.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vecsql._base.convert import whole
from vecsql._base.errors import EmbedderError, SchemaError
from vecsql._base.progress import reporter
from vecsql._base.types import Connection
from vecsql._connection.driver import Db, driver_of, quote
from vecsql._tables.cache import encode_texts
from vecsql._tables.catalog import IndexInfo, has_table, no_table, registered
from vecsql._tables.followed import require_followed
from vecsql._tables.registry import embedder_for

_NAMED = 3  # rows in a message


def sync(
    conn: Connection,
    table: str | None = None,
    column: str | None = None,
    *,
    batch: int = 256,
    progress: bool | Callable[[int], None] = False,
) -> int:
    """Embeds and indexes what is due: the queue of ``mode="sync"``, and NULLs beside a text.

    Of one index, of the indexes of a table, or of all. One transaction a batch; it can be killed
    and run again, and other connections can write meanwhile. Returns how many rows it brought up
    to date.

    An index that cannot be brought up to date stops no other, and its error comes at the end:
    `EmbedderError` names the rows whose text the model refuses, `SchemaError` an index that no
    longer follows its table.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"body": str}, text="body", mode="sync")
    >>> db.execute("INSERT INTO notes(body) VALUES ('night train'), ('rye bread')").close()
    >>> vecsql.sync(db, "notes")
    2
    """
    done, failed = sync_each(conn, table, column, batch=batch, progress=progress)
    if len(failed) > 1:
        raise type(failed[0])("; ".join(map(str, failed))) from failed[0]
    if failed:
        raise failed[0]
    return done


def sync_each(
    conn: Connection,
    table: str | None,
    column: str | None,
    *,
    batch: int,
    progress: bool | Callable[[int], None],
) -> tuple[int, list[EmbedderError | SchemaError]]:
    """As `sync`: how many rows it brought up to date, and the error of each index that failed."""
    db = driver_of(conn)
    batch = whole(batch, "batch is a number of rows")
    done, failed = 0, list[EmbedderError | SchemaError]()
    for info in _chosen(db, table, column):
        refused = _Refused(info)
        try:
            require_followed(db, info)
            if info.mode == "sync":
                done += work_off(db, info, batch, progress, refused)
            elif info.mode == "trigger":
                done += _fill(db, info, batch, progress, refused)
            refused.check()
        except (EmbedderError, SchemaError) as e:
            failed.append(e)
    return done, failed


def _chosen(db: Db, table: str | None, column: str | None) -> list[IndexInfo]:
    found = [
        info
        for info in registered(db)
        if table is None
        or (
            table.lower() in (info.table.lower(), info.index.lower())
            and (column is None or column.lower() == info.column.lower())
        )
    ]
    if not found and table is not None:
        if not has_table(db, table):
            raise SchemaError(no_table(db, table))
        what = table if column is None else f"{table}.{column}"
        raise SchemaError(f"{what} has no index made by vecsql.create_index")
    return found


# --- mode "sync" ---------------------------------------------------------------------------------


def work_off(
    db: Db,
    info: IndexInfo,
    batch: int,
    progress: bool | Callable[[int], None],
    refused: _Refused | None = None,
) -> int:
    """Embeds the rows that are due, ``batch`` a transaction; returns how many.

    ``refused`` takes the rows that the model refuses; without, they are an error at the end.
    """
    queue = "FROM main.vecsql_queue WHERE idx = ?"
    total = db.value(f"SELECT count(*) {queue}", (info.index,))
    done, taken = 0, refused or _Refused(info)
    with reporter(progress, f"Syncing {info.label}", total) as advance:
        last = -(2**63)
        while True:
            sql = f"SELECT row, embed {queue} AND row >= ? ORDER BY row LIMIT ?"
            due = db.rows(sql, (info.index, last, batch))
            if not due:
                if refused is None:
                    taken.check()
                return done
            # A row that changed while it was embedded stays queued for the next call.
            settled = settle(db, info, due, taken)
            done += settled
            advance(settled)
            last = due[-1][0] + 1


class _Refused:
    """The rows whose text the model refuses."""

    def __init__(self, info: IndexInfo):
        self._info = info
        self._errors: dict[int, Exception] = {}

    def add(self, row: int, error: Exception) -> None:
        self._errors[row] = error

    def check(self) -> None:
        """Raises `EmbedderError` that names the rows, if there are any."""
        if self._errors:
            named = "; ".join(f"row {row}: {e}" for row, e in list(self._errors.items())[:_NAMED])
            more = (
                f"; and {len(self._errors) - _NAMED:,} more" if len(self._errors) > _NAMED else ""
            )
            raise EmbedderError(
                f"{self._info.label}: the model refuses the text of these rows, which stay due: "
                f"{named}{more}"
            )


def settle(
    db: Db, info: IndexInfo, due: list[tuple[Any, ...]], refused: _Refused | None = None
) -> int:
    """Brings rows of the queue up to date; returns how many.

    ``refused`` takes the rows that the model refuses; without, they are an error.
    """
    taken = refused or _Refused(info)
    embedded = _embed(db, info, [row for row, embed in due if embed], taken)
    if refused is None:
        taken.check()
    settled = 0
    with db.transaction():
        for row, _ in due:
            settled += _settle_row(db, info, row, embedded.get(row))
    return settled


def _settle_row(
    db: Db, info: IndexInfo, row: int, embedded: tuple[str | None, bytes | None] | None
) -> bool:
    entry = "FROM main.vecsql_queue WHERE idx = ? AND row = ?"
    embed = db.value(f"SELECT embed {entry}", (info.index, row))
    if embed is None:
        return False  # another process settled it
    if embed:
        text, vector = embedded if embedded is not None else (None, None)
        stored = _text(db, info, row)
        if embedded is None or stored != [(text,)]:
            if stored:
                return False  # changed since
        else:
            db.run(
                f"UPDATE main.{quote(info.table)} SET {quote(info.source)} = ? "
                f"WHERE {quote(info.key)} = ?",
                (vector, row),
            )
    db.run(f"INSERT INTO main.{quote(info.index)}(vecsql_sync) VALUES(?)", (row,))
    db.run(f"DELETE {entry}", (info.index, row))
    return True


def _text(db: Db, info: IndexInfo, row: int) -> list[tuple[Any, ...]]:
    return db.rows(
        f"SELECT {info.text_sql('t')} FROM main.{quote(info.table)} t WHERE {quote(info.key)} = ?",
        (row,),
    )


def _embed(
    db: Db, info: IndexInfo, rows: list[int], refused: _Refused
) -> dict[int, tuple[str | None, bytes | None]]:
    """The text and the vector of each row that exists, without those that the model refuses."""
    texts = {row: found[0][0] for row in rows if (found := _text(db, info, row))}
    some = [(row, text) for row, text in texts.items() if text is not None]
    out: dict[int, tuple[str | None, bytes | None]] = dict.fromkeys(texts, (None, None))
    if some:

        def leave_out(i: int, error: Exception) -> None:
            row = some[i][0]
            refused.add(row, error)
            del out[row]

        vectors = encode_texts(
            db,
            embedder_for(db, info),
            [text for _, text in some],
            store=not db.in_transaction,
            refused=leave_out,
        )
        for (row, text), vector in zip(some, vectors, strict=True):
            if row in out:
                out[row] = (text, vector.astype("<f4", copy=False).tobytes())
    return out


# --- mode "trigger": rows without a vector -------------------------------------------------------


def _fill(
    db: Db,
    info: IndexInfo,
    batch: int,
    progress: bool | Callable[[int], None],
    refused: _Refused,
) -> int:
    table, key, vector = quote(info.table), quote(info.key), quote(info.source)
    text = info.text_sql("t")
    due = f"FROM main.{table} t WHERE {vector} IS NULL AND {text} IS NOT NULL"
    done, last = 0, -(2**63)
    with reporter(progress, f"Syncing {info.label}", None) as advance:
        while True:
            rows = db.rows(
                f"SELECT {key} {due} AND {key} >= ? ORDER BY {key} LIMIT ?", (last, batch)
            )
            if not rows:
                return done
            embedded = _embed(db, info, [row for (row,) in rows], refused)
            with db.transaction():
                for row, (body, blob) in embedded.items():
                    db.run(
                        f"UPDATE main.{table} AS t SET {vector} = ? "
                        f"WHERE {key} = ? AND {vector} IS NULL AND {text} IS ?",
                        (blob, row, body),
                    )
                    done += db.changes
            advance(len(rows))
            last = rows[-1][0] + 1
