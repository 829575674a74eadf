"""Importing records into a table with an index: in batches, resumable, each record once.

A survey reads the source to its end before anything is written (survey.py). The first transaction
makes the table and its index with the first batch; each batch is a transaction of its rows with
their vectors, the index, the full text, and how far the import has come (jobs.py).

An import that was killed goes on behind its last batch, and so does the import of a file that
grew, if its first records are the same. With an id column rows are matched by it: equal ones stay
as they are, others are updated.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from vecsql._base.convert import whole
from vecsql._base.errors import FormatError
from vecsql._base.types import Connection
from vecsql._connection.driver import Db, driver_of
from vecsql._files.source import Source
from vecsql._files.survey import Digest, survey
from vecsql._model.embed import Embedder
from vecsql._rows.import_batches import Writer
from vecsql._rows.import_columns import Settings, identifier
from vecsql._rows.import_target import kind_of, target_of
from vecsql._rows.resume import is_all_of, resumed_at, save_state, state_of
from vecsql._tables.catalog import has_table

BATCH = 1000


@dataclass(frozen=True)
class Imported:
    """What an import did: rows of this run, and the records that an earlier run had done."""

    table: str
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    resumed: int = 0
    complete: bool = False  # there was nothing to do: the source had been imported before
    grew: bool = False  # the source had been imported and has new records at its end
    repeated: dict[Any, int] = field(default_factory=dict)  # identifier -> how often it came

    @property
    def replaced(self) -> int:
        """How many records gave way to a later one with the same identifier."""
        return sum(self.repeated.values()) - len(self.repeated)

    @property
    def records(self) -> int:
        """How many records this run read."""
        return self.added + self.updated + self.unchanged + self.replaced


def import_records(
    conn: Connection,
    table: str,
    source: Source,
    *,
    text: Sequence[str] = (),
    id: str | None = None,
    no_id: bool = False,
    dim: int | None = None,
    vectors: bool = True,
    embedder: Embedder | None = None,
    metric: str | None = None,
    fts: bool = False,
    options: str = "",
    batch: int = BATCH,
    again: bool = False,
    progress: Callable[[int, int], None] | None = None,
    surveyed: Callable[[], None] | None = None,
    resuming: Callable[[int], None] | None = None,
) -> Imported:
    """Imports the records of a source into a table; makes table and index if they are missing.

    ``text`` names the columns that are embedded; it may be left out if records bring vectors or if
    one column is the obvious one. ``id`` names the column by which records are matched (``id`` if
    there is one and its values are unique); with ``no_id`` every record is a new row. ``dim`` is
    the dimension by which the column of vectors is known; ``vectors=False`` leaves it out.
    ``metric`` is by default what the source names, or cosine. ``again`` imports a source that was
    imported before.

    ``progress`` is called with records and position after each batch, ``surveyed`` while the
    source is examined, ``resuming`` with the number of records that an earlier run took.

    Raises `SchemaError` and `FormatError`; what was committed before stays, and the same call goes
    on from there.
    """
    db = driver_of(conn)
    batch = whole(batch, "batch is a number of rows")
    settings = Settings(text, id, no_id, dim, vectors, embedder, metric, fts, options)
    state = state_of(db, table, source)
    if state is not None and is_all_of(state, source) and state.digest and not (again or id):
        return Imported(table, resumed=state.done, complete=True)
    wanted = id or (None if no_id else "id")
    kind = kind_of(db, table, wanted)
    done = state.done if state else 0
    found = survey(source, id=wanted, kind=kind, done=done, progress=surveyed)
    key = identifier(found, settings)
    resumed = 0 if state is None else resumed_at(table, source, state, found, key, again)
    if state is not None and resumed and state.finished and resumed == found.records:
        with db.transaction():  # the bytes may differ: a line end, an equal column
            save_state(db, table, source, resumed, True, found.digest)
        return Imported(table, resumed=resumed, complete=True)
    if not found.records and not has_table(db, table):
        only = "" if source.typed else ": the first line names the columns"
        raise FormatError(f"{source.label} has no records{only}")
    target = target_of(db, table, found, settings, key, ours=state is not None)
    if resuming is not None:
        resuming(resumed)
    counts = Imported(
        target.info.table,
        resumed=resumed,
        grew=bool(resumed and state and state.finished),
        repeated=found.repeated if key is not None and not resumed else {},
    )
    digest = found.prefix if resumed and found.prefix is not None else Digest()
    return _write(db, Writer(db, target, source), source, counts, digest, batch, progress)


def _write(
    db: Db,
    writer: Writer,
    source: Source,
    counts: Imported,
    digest: Digest,
    batch: int,
    progress: Callable[[int, int], None] | None,
) -> Imported:
    """Writes the records behind the first ``counts.resumed``, a batch a transaction."""
    done = counts.resumed
    stream = source.records(done)
    while True:
        part = list(islice(stream, batch))
        for record in part:
            digest.add(record)
        ended = len(part) < batch
        # the model runs before the transaction, and does not hold the write lock
        with writer.prepared(part, done), db.transaction():
            added, updated = writer.write()
            done += len(part)
            mark = None if writer.by_id else digest.value()
            save_state(db, counts.table, source, done, ended, mark)
        counts = replace(
            counts,
            added=counts.added + added,
            updated=counts.updated + updated,
            unchanged=counts.unchanged + len(part) - added - updated,
        )
        if progress is not None:
            progress(len(part), done if source.done is None else source.done())
        if ended:
            return replace(counts, unchanged=max(0, counts.unchanged - counts.replaced))
