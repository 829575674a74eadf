"""rebuild: an index made anew from its table, with all that belongs to it."""

from __future__ import annotations

from dataclasses import replace

from vecsql._base.errors import SchemaError
from vecsql._base.types import Connection
from vecsql._connection.driver import Db, driver_of, quote
from vecsql._tables import fts_table, triggers
from vecsql._tables.catalog import (
    INDEXES,
    STANDBY,
    IndexInfo,
    columns,
    has_table,
    index_of,
    new_index_name,
    registered,
    remove,
    save,
    standby_of,
)
from vecsql._tables.followed import new_table_name, setting
from vecsql._tables.schema import create_virtual_table, key_of, vector_type


def rebuild(conn: Connection, table: str, column: str | None = None) -> IndexInfo:
    """Makes an index anew from the rows, with its triggers, its full text and its place in the
    catalog.

    For a table that a migration made anew, or whose table, index or columns have other names or
    are gone. A vector column that is gone is added again. Rows without a vector are left to
    `vecsql.sync`; so are, in ``mode="sync"``, changes of the text that no trigger has seen.
    ``table`` is the name that the table has now, or had. Returns the index; raises `SchemaError` if
    the table cannot have it any more.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"body": str}, text="body")
    >>> db.execute("ALTER TABLE notes RENAME TO papers").close()
    >>> vecsql.rebuild(db, "papers").label
    'papers.embedding'
    """
    db = driver_of(conn)
    with db.transaction():
        known = find(db, table, column)
        if known not in registered(db):
            _command(db, known)
            return known
        standby = standby_of(db, known)
        info = _restored(db, known, INDEXES)
        if standby is not None:
            _restored(db, standby, STANDBY)
        return info


def find(db: Db, table: str, column: str | None = None) -> IndexInfo:
    """As `index_of`; finds an index by the name that its table has now, too."""
    for info in registered(db):
        renamed = None if has_table(db, info.table) else new_table_name(db, info)
        named = column is None or column.lower() == info.column.lower()
        if renamed is not None and renamed.lower() == table.lower() and named:
            return info
    return index_of(db, table, column)


def _restored(db: Db, known: IndexInfo, catalog: str) -> IndexInfo:
    info = _as_named_now(db, known)
    _check_table(db, info)
    if info.source.lower() not in map(str.lower, columns(db, info.table)):
        kind = vector_type(db, info.table)
        db.run(f"ALTER TABLE main.{quote(info.table)} ADD COLUMN {quote(info.source)} {kind}")
    if has_table(db, info.index):
        _command(db, info)
    else:
        create_virtual_table(db, info)
    if info.mode != "sync" and setting(db, info, "detached") is not None:
        triggers.attach_own(db, info)
    for old in dict.fromkeys((known, info)):
        triggers.drop_triggers(db, old)
    triggers.create(db, info)
    if info.mode == "sync":
        db.run("UPDATE main.vecsql_queue SET idx = ? WHERE idx = ?", (info.index, known.index))
        triggers.queue_missing(db, info)
    if info.fts is not None:
        tokenizer = fts_table.tokenizer_of(db, info)
        fts_table.drop(db, info)
        fts_table.create(db, info, tokenizer)
    remove(db, known, catalog)
    save(db, info, catalog)
    return info


def _as_named_now(db: Db, info: IndexInfo) -> IndexInfo:
    index = info.index
    if not has_table(db, index):
        index = new_index_name(db, info) or index
    table = info.table
    if not has_table(db, table):
        moved = replace(info, index=index)
        table = new_table_name(db, info) or new_table_name(db, moved) or table
    return replace(info, table=table, index=index)


def _check_table(db: Db, info: IndexInfo) -> None:
    if not has_table(db, info.table):
        raise SchemaError(
            f"{info.label} is an index of a table that is gone: "
            f"vecsql.drop_index(db, {info.table!r}, {info.column!r}) removes it"
        )
    key = key_of(db, info.table)
    have = {name.lower() for name in columns(db, info.table)}
    lost = [c for c in info.text if c.lower() not in have]
    if lost or key.lower() != info.key.lower():
        what = f"lost {', '.join(lost)}" if lost else f"the key {key} instead of {info.key}"
        raise SchemaError(
            f"{info.table} has {what}: vecsql.drop_index(db, {info.table!r}, {info.column!r}), "
            "then vecsql.create_index makes an index over what it has now"
        )


def _command(db: Db, info: IndexInfo) -> None:
    index = quote(info.index)
    db.run(f"INSERT INTO main.{index}({index}) VALUES('rebuild')")
