"""Rows by key, how many there are, and the figures of an index: questions without a ranking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vecsql._base.errors import SchemaError
from vecsql._base.types import Parameters, Value
from vecsql._connection.driver import Db, quote
from vecsql._search.filters import Where, condition
from vecsql._tables.catalog import IndexInfo, columns, vector_columns

_ROWS_AT_ONCE = 500


def visible_columns(db: Db, info: IndexInfo) -> list[str]:
    """The columns of the table, without vectors."""
    hidden = vector_columns(db, info.table)
    return [c for c in columns(db, info.table) if c.lower() not in hidden]


def rows_of(
    db: Db, info: IndexInfo, keys: Sequence[Any], wanted: Sequence[str]
) -> dict[Any, dict[str, Any]]:
    """The wanted columns of rows, by key."""
    # a name may be that of a column only as written: "nope" in quotes would be a text
    have = {c.lower(): c for c in ("rowid", *columns(db, info.table))}
    for name in wanted:
        if name.lower() not in have:
            raise SchemaError(
                f"{info.table} has no column {name}; it has {', '.join(visible_columns(db, info))}"
            )
    selected = "".join(f", {quote(name)}" for name in wanted)
    key, out = quote(info.key), {}
    for begin in range(0, len(keys), _ROWS_AT_ONCE):
        part = keys[begin : begin + _ROWS_AT_ONCE]
        marks = ", ".join("?" * len(part))
        sql = f"SELECT {key}{selected} FROM {quote(info.table)} WHERE {key} IN ({marks})"
        for row in db.rows(sql, part):
            out[row[0]] = dict(zip(wanted, row[1:], strict=True))
    return out


def count(db: Db, info: IndexInfo, where: Where | None, params: Parameters) -> int:
    """How many rows of the table satisfy a condition."""
    found = condition(db, info, where, params)
    if found is None:
        return int(db.value(f"SELECT count(*) FROM main.{quote(info.table)}"))
    return int(db.value(f"SELECT count(*) FROM {found.source} WHERE {found.sql}", found.params))


def figures(db: Db, info: IndexInfo) -> dict[str, Value]:
    """What vecsql_stats tells of an index: name -> value."""
    sql = "SELECT name, value FROM vecsql_stats(?) WHERE vector = ?"
    return dict(db.rows(sql, (info.index, info.column)))
