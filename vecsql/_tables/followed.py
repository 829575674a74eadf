"""Whether an index still follows its table.

Schemas change by other programs' hands: a migration makes a table anew (and its triggers are lost
with the old one), a table or an index gets another name, a column goes. `flaw` tells it in one
sentence that says what to do. It reads the schema alone, so helpers ask it each time.
"""

from __future__ import annotations

from typing import Any

from vecsql._base.errors import SchemaError
from vecsql._connection.driver import Db, quote
from vecsql._tables.catalog import IndexInfo, columns, has_table, new_index_name

VITAL = ("insert", "delete", "update")  # the triggers without which changes are lost


def require_followed(db: Db, info: IndexInfo) -> None:
    """Raises `SchemaError` if an index does not follow its table."""
    found = flaw(db, info)
    if found is not None:
        raise SchemaError(found)


def flaw(db: Db, info: IndexInfo) -> str | None:
    """What is wrong with an index, and what to do; None if nothing is."""
    if info.table == info.index:
        return None
    remedy = (
        f"vecsql.rebuild(db, {info.table!r}) or `vecsql optimize DB {info.table} --rebuild` "
        "restores it"
    )
    if not has_table(db, info.table):
        name = new_table_name(db, info)
        if name is not None:
            return f"{info.table} is called {name} now: {remedy.replace(info.table, name)}"
        return (
            f"{info.label} is an index of a table that is gone: "
            f"vecsql.drop_index(db, {info.table!r}, {info.column!r}) removes it"
        )
    if not has_table(db, info.index):
        name = new_index_name(db, info)
        what = "gone" if name is None else f"called {name} now"
        return f"the index {info.index} of {info.label} is {what}: {remedy}"
    have = {name.lower() for name in columns(db, info.table)}
    lost = [c for c in (info.source, *info.text) if c.lower() not in have]
    if lost:
        return f"{info.table} has lost {', '.join(lost)}, which its index needs: " + (
            remedy if lost == [info.source] else "vecsql.drop_index, then vecsql.create_index"
        )
    lost = missing_triggers(db, info)
    if lost:
        return (
            f"{info.table} lost triggers ({', '.join(lost)}), as a table that a migration makes "
            f"anew does, and its index has missed changes: {remedy}"
        )
    return None


def orphaned(db: Db, info: IndexInfo) -> bool:
    """Whether the table of an index is gone, also under another name."""
    return not has_table(db, info.table) and new_table_name(db, info) is None


def missing_triggers(db: Db, info: IndexInfo) -> list[str]:
    """The triggers that an index needs and its table does not have."""
    sql = "SELECT name FROM main.sqlite_schema WHERE type = 'trigger' AND tbl_name = ?"
    have = {name.lower() for (name,) in db.rows(sql + " COLLATE NOCASE", (info.table,))}
    own = info.mode != "sync" and setting(db, info, "detached") is None
    wanted = [f"{own_prefix(db, info)}_{e}" for e in VITAL] if own else []
    wanted += [f"{info.index}_{e}" for e in events_of(info)]
    wanted += [] if info.fts is None else [f"{info.fts}_{e}" for e in VITAL]
    return [name for name in wanted if name.lower() not in have]


def events_of(info: IndexInfo) -> tuple[str, ...]:
    """What follows the name of the index in the names of the triggers that embed or queue."""
    modes = {
        "trigger": ("embed_insert", "embed_update"),
        "sync": ("queue_insert", "queue_update", "queue_delete"),
    }
    return modes.get(info.mode, ())


def own_prefix(db: Db, info: IndexInfo) -> str:
    """What the names of the index's own triggers begin with."""
    return f"{setting(db, info, 'triggers') or info.index}_vecsql"


def setting(db: Db, info: IndexInfo, key: str) -> Any:
    """What the index keeps in its configuration under a key; None if that is not there."""
    config = f"{info.index}_config"
    if not has_table(db, config):
        return None
    return db.value(f"SELECT value FROM main.{quote(config)} WHERE key = ?", (key,))


def new_table_name(db: Db, info: IndexInfo) -> str | None:
    """The name that the table has now: ALTER TABLE takes its triggers along."""
    names = [f"{info.index}_{event}" for event in events_of(info)]
    names += [f"{own_prefix(db, info)}_{event}" for event in VITAL]
    marks = ", ".join("?" * len(names))
    found = db.value(
        "SELECT tbl_name FROM main.sqlite_schema WHERE type = 'trigger' "
        f"AND name COLLATE NOCASE IN ({marks})",
        names,
    )
    return None if found is None else str(found)


def made_by_an_older_version(db: Db, info: IndexInfo) -> bool:
    """Whether its own triggers are those that see neither a change of rowid nor REPLACE."""
    prefix = own_prefix(db, info)
    names = "SELECT name FROM main.sqlite_schema WHERE type = 'trigger' AND name IN (?, ?)"
    have = {name for (name,) in db.rows(names, (f"{prefix}_insert", f"{prefix}_move"))}
    return have == {f"{prefix}_insert"}
