"""reembed: an index moves to another model while it is in use.

An index has a second space for the time: a column of its own (`<column>_<n>`) with a virtual table
of its own (`<index>_standby`). It is kept in mode "sync", so that the writers need not know its
model; every row starts in its queue. When the queue is empty the two spaces change places in one
transaction: the virtual tables exchange their names, the triggers their columns. What is called
<index> always answers, with the same column names in SQL.

Afterwards the old space is the standby, and goes on queueing what changes. So going back is the
same call with the old embedder, and costs only the rows that changed since.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count

from vecsql._base.convert import whole
from vecsql._base.errors import ModelMismatchError, SchemaError
from vecsql._base.types import Connection
from vecsql._connection.driver import Db, driver_of, quote
from vecsql._model.embed import AnyEmbedder, Embedder, as_embedder, same_model
from vecsql._tables import triggers
from vecsql._tables.catalog import (
    INDEXES,
    STANDBY,
    IndexInfo,
    columns,
    has_table,
    index_of,
    registered,
    save,
    standby_of,
)
from vecsql._tables.followed import require_followed
from vecsql._tables.registry import enroll
from vecsql._tables.schema import create_virtual_table, drop_standby, vector_type
from vecsql._tables.sync import settle, work_off

_TRIES = 8  # to switch when nothing is due, while others write
_LAST_ROWS = 64  # that the switch then embeds itself, under the write lock


def reembed(
    conn: Connection,
    table: str,
    embedder: AnyEmbedder,
    column: str | None = None,
    *,
    switch: bool = True,
    batch: int = 256,
    progress: bool | Callable[[int], None] = False,
    options: str = "",
) -> IndexInfo:
    """Moves an index to another model; returns the index as it answers now.

    The new vectors are made beside the old ones, ``batch`` rows a transaction, while everybody
    goes on reading and writing; the old ones answer until all are there, then one transaction
    switches. It can be killed at any time and called again. With ``switch=False`` it stops before
    the switch, for `drift` to compare; call it again to switch.

    The old space stays in the file: to go back, call it with the old embedder. When you are sure,
    `reembed_discard` frees it; before the switch, that gives the move up. After the switch,
    connections that write or ask need the new embedder (`register_embedder`). ``options`` are
    those of `create_index`, for the new vectors.

    Raises `SchemaError` if another move is under way, or the index has no text to embed.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"body": str}, text="body")
    >>> _ = vecsql.insert(db, "notes", [{"body": "night train"}, {"body": "rye bread"}])
    >>> def lengths(texts):
    ...     return [[len(t), 1.0] for t in texts]
    >>> vecsql.reembed(db, "notes", lengths).dim
    2
    >>> vecsql.reembed(db, "notes", vecsql.StaticEmbedder()).dim  # back again
    256
    >>> vecsql.reembed_discard(db, "notes")
    """
    db = driver_of(conn)
    batch = whole(batch, "batch is a number of rows")
    model = as_embedder(embedder)
    checksum = enroll(db, model)
    active = index_of(db, table, column)
    if active.model_id == model.model_id:
        _same_weights(active, checksum)
        return active
    require_followed(db, active)
    with db.transaction():
        standby = standby_of(db, active) or _prepare(db, active, model, checksum, options)
        if standby.model_id != model.model_id:
            raise SchemaError(
                f"{active.label} has a second space, of the model {standby.model_id!r}: "
                f"vecsql.reembed_discard(db, {active.table!r}) frees it"
            )
        _same_weights(standby, checksum)
    for tries in count(1):
        work_off(db, standby, batch, progress)
        if not switch:
            return active
        switched = _switch(db, active, standby, _LAST_ROWS if tries > _TRIES else 0)
        if switched is not None:
            return switched
    raise AssertionError("count() does not end")


def reembed_discard(conn: Connection, table: str, column: str | None = None) -> None:
    """Drops the space of an index that does not answer: the new one before the switch of
    `reembed`, the old one after it. Does nothing if there is none.
    """
    db = driver_of(conn)
    with db.transaction():
        drop_standby(db, index_of(db, table, column))


# --- parts ---------------------------------------------------------------------------------------


def _same_weights(info: IndexInfo, checksum: str) -> None:
    if info.checksum is not None and not same_model(info.checksum, checksum):
        raise ModelMismatchError(
            f"{info.label} was made by another model of the name {info.model_id!r}: give the new "
            "one a model_id of its own"
        )


def _prepare(db: Db, active: IndexInfo, model: Embedder, checksum: str, options: str) -> IndexInfo:
    """Makes the second space, empty, with every row in its queue."""
    if not active.text or active not in registered(db):
        raise SchemaError(
            f"{active.label} has no text to embed: reembed works on an index made by "
            "vecsql.create_index(..., text=...)"
        )
    taken = {c.lower() for c in columns(db, active.table)}
    n = 2
    # The name under which a virtual table is made lives on in the names of its triggers.
    while f"{active.column}_{n}".lower() in taken or _name_taken(db, f"{active.index}_{n}"):
        n += 1
    standby = replace(
        active,
        index=f"{active.index}_{n}",
        source=f"{active.column}_{n}",
        fts=None,
        dim=model.dim,
        model_id=model.model_id,
        checksum=checksum,
        mode="sync",
    )
    kind = vector_type(db, active.table)
    db.run(f"ALTER TABLE main.{quote(active.table)} ADD COLUMN {quote(standby.source)} {kind}")
    create_virtual_table(db, standby, options)
    standby = _renamed(db, standby, f"{active.index}_standby")
    triggers.create(db, standby)
    triggers.queue_missing(db, standby)
    save(db, standby, STANDBY)
    return standby


def _name_taken(db: Db, name: str) -> bool:
    sql = "SELECT 1 FROM main.sqlite_schema WHERE name = ? COLLATE NOCASE"
    return has_table(db, name) or db.value(sql, (f"{name}_vecsql_insert",)) is not None


def _renamed(db: Db, info: IndexInfo, name: str) -> IndexInfo:
    db.run(f"ALTER TABLE main.{quote(info.index)} RENAME TO {quote(name)}")
    return replace(info, index=name)


def _switch(db: Db, active: IndexInfo, standby: IndexInfo, most: int) -> IndexInfo | None:
    """Lets the spaces change places; None if more than ``most`` rows became due meanwhile."""
    with db.transaction():
        sql = "SELECT row, embed FROM main.vecsql_queue WHERE idx = ? LIMIT ?"
        due = db.rows(sql, (standby.index, most + 1))
        if len(due) > most:
            return None
        settle(db, standby, due)  # under the write lock nothing can change in between
        if active.mode == "trigger":  # while the queueing triggers show that nothing was missed
            triggers.attach_own(db, standby)
        for info in (active, standby):
            triggers.drop_triggers(db, info)
        aside = _renamed(db, active, f"{active.index}_aside")
        new = _renamed(db, standby, active.index)
        new = replace(new, mode=active.mode, fts=active.fts)
        old = replace(_renamed(db, aside, standby.index), mode="sync", fts=None)
        db.run("UPDATE main.vecsql_queue SET idx = ? WHERE idx = ?", (old.index, active.index))
        for info in (new, old):
            triggers.create(db, info)
        save(db, new, INDEXES)
        save(db, old, STANDBY)
        return new
