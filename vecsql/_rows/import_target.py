"""Where the records of an import go: the table and index that exist, or how to make them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vecsql._base.errors import FormatError, SchemaError
from vecsql._connection.driver import Db, quote
from vecsql._files.survey import Survey, vector_column
from vecsql._model.embed import Embedder
from vecsql._rows.import_columns import (
    Settings,
    check_model,
    embedded,
    free_name,
    model_of,
    obvious,
)
from vecsql._tables.catalog import IndexInfo, columns, has_table, indexes
from vecsql._tables.followed import require_followed
from vecsql._tables.registry import embedder_for, enroll
from vecsql._tables.schema import create_index, create_table

_METRICS = ("cosine", "l2", "dot", "l1")


@dataclass(frozen=True)
class Target:
    """Where records go: the index of the table, and the column that identifies a record.

    ``create`` makes what is missing, in the transaction of the first batch; ``embedder`` is the
    model of an index that is made there.
    """

    info: IndexInfo
    id: str | None
    vector: str | None
    leave_out: frozenset[str]
    types: dict[str, str]  # of the table's columns
    create: Callable[[], IndexInfo] | None = None
    embedder: Embedder | None = None


@dataclass(frozen=True)
class Plan:
    """What a survey and the caller decide: columns to embed, of vectors, to leave out, the id."""

    found: Survey
    settings: Settings
    key: str | None
    texts: list[str]
    vector: str | None
    dim: int | None
    left: frozenset[str]

    @property
    def names(self) -> list[str]:
        """The ordinary columns."""
        return [n for n in self.found.names if n != self.vector and n not in self.left]


def target_of(
    db: Db, table: str, found: Survey, settings: Settings, key: str | None, *, ours: bool
) -> Target:
    """Finds the table and its index, or says how to make them for records like these."""
    source = found.source
    info = _index(db, table, source.vector)
    if info is not None:
        require_followed(db, info)
    texts = [found.find(name, "--text") for name in settings.text]
    fits = settings.dim or (info.dim if info is not None and info.model_id is None else None)
    vector = vector_column(found, source.vector, fits, info.column if info is not None else None)
    left = frozenset([vector] if vector is not None and not settings.vectors else [])
    vector = None if left else vector
    if vector is None and info is None and not texts:
        texts, vector = obvious(found, key, left)
    dim = found.vectors(vector) if vector is not None else None
    if None not in (dim, settings.dim) and dim != settings.dim:
        raise FormatError(
            f"--dim {settings.dim}: {source.label} brings vectors of {dim} in {vector}"
        )
    if info is None and not texts:
        if dim is None:
            texts, _ = obvious(found, key, left | {vector or ""})
        else:
            texts = embedded(db, found, settings, key, vector or "", dim)
    plan = Plan(found, settings, key, texts, vector, dim, left)
    return _new_target(db, table, plan) if info is None else _known_target(db, info, plan, ours)


def _index(db: Db, table: str, vector: str | None) -> IndexInfo | None:
    """The index of a table; where there are several, that of the column of vectors."""
    known = indexes(db, table)
    named = [i for i in known if vector is not None and i.column.lower() == vector.lower()]
    if len(known) > 1 and named:
        return named[0]
    if len(known) > 1:
        have = ", ".join(i.column for i in known)
        raise SchemaError(f"{table} has several indexes: --vector tells the column, one of {have}")
    return known[0] if known else None


def _new_target(db: Db, table: str, plan: Plan) -> Target:
    """A target whose index, and perhaps table, are made with the first batch."""
    found, settings, key, texts, dim = plan.found, plan.settings, plan.key, plan.texts, plan.dim
    source, exists, names = found.source, has_table(db, table), plan.names
    if table.lower().startswith(("vecsql_", "sqlite_")):
        raise SchemaError(
            f"{table}: names that begin so belong to vecsql and SQLite; choose another"
        )
    column = (
        plan.vector
        or next(iter(plan.left), None)
        or free_name(("embedding", "vector"), found.names)
    )
    metric = settings.metric or source.metric or "cosine"
    if metric not in _METRICS:
        raise SchemaError(
            f"{source.label} names the distance {metric}: --metric tells another, one of "
            f"{', '.join(_METRICS)}"
        )
    embedder = model_of(db, settings) if texts else None
    if embedder is not None:
        enroll(db, embedder)  # asks the model, so before a transaction
    if embedder is not None and dim is not None:
        check_model(found, embedder, texts, column)
    types = {name: found.columns[name].sql_type for name in names}
    declared = dict(types)
    if exists:
        primary = db.rows("SELECT name FROM pragma_table_info(?, 'main') WHERE pk > 0", (table,))
        row = str(primary[0][0]) if len(primary) == 1 else "rowid"
    elif key is not None and types[key] == "INTEGER":
        row = key
        del declared[key]
    else:
        first = ("id", "row") if key is None else ("row", "row_id")
        row = free_name((*first, "row_id", "vecsql_row"), names)
        if key is not None:
            declared[key] += " NOT NULL UNIQUE"

    def create() -> IndexInfo:
        index: dict[str, Any] = {"text": texts or None, "metric": metric, "fts": settings.fts}
        index |= {"embedder": embedder, "options": settings.options, "dim": None if texts else dim}
        if exists:
            return create_index(db, table, column, **index)
        if has_table(db, table):
            raise SchemaError(
                f"{table} was made meanwhile, by another import: repeat the command when it is done"
            )
        return create_table(db, table, declared, key=row, column=column, **index)

    width = embedder.dim if embedder is not None else dim or 0
    info = IndexInfo(
        table, column, "", row, column, tuple(texts), None, width, metric, None, None, "trigger"
    )  # fmt: skip
    if exists:
        types = _fitting(db, info, found, names, ours=False)
        _check_key(info, found, key)
    return Target(info, key, plan.vector, plan.left, types, create, embedder)


def _known_target(db: Db, info: IndexInfo, plan: Plan, ours: bool) -> Target:
    """The index of a table that exists, if records like these fit into it."""
    found, settings, key, texts, dim = plan.found, plan.settings, plan.key, plan.texts, plan.dim
    source = found.source
    if texts and list(map(str.lower, info.text)) != list(map(str.lower, texts)):
        raise SchemaError(
            f"{info.label} embeds {', '.join(info.text) or 'nothing: its vectors are given'}, "
            f"not {', '.join(texts)}: leave --text out"
        )
    if settings.metric is not None and settings.metric != info.metric:
        raise SchemaError(f"{info.label} has the metric {info.metric}: leave --metric out")
    if settings.fts and info.fts is None:
        raise SchemaError(
            f"{info.label} has no full text: vecsql index DB {info.table} --fts adds it"
        )
    if dim is not None and dim != info.dim:
        raise FormatError(
            f"{info.label} has {info.dim} dimensions, {source.label} brings vectors of {dim}"
        )
    if key is not None and info.table == info.index and key.lower() != info.key.lower():
        raise SchemaError(f"{info.table}: records are matched by its key {info.key}, not by {key}")
    if dim is not None and info.model_id is not None:
        names = {n.lower(): n for n in found.names}
        check_model(
            found,
            embedder_for(db, info),
            [names.get(t.lower(), t) for t in info.text],
            plan.vector or "",
        )
    _check_key(info, found, key)
    types = _fitting(db, info, found, plan.names, ours=ours)
    have = set(map(str.lower, columns(db, info.table)))
    late = [n for n in plan.names if n.lower() not in have]

    def create() -> IndexInfo:
        for name in late:
            kind = found.columns[name].sql_type
            db.run(f"ALTER TABLE main.{quote(info.table)} ADD COLUMN {quote(name)} {kind}")
        return info

    return Target(info, key, plan.vector, plan.left, types, create if late else None)


def _check_key(info: IndexInfo, found: Survey, key: str | None) -> None:
    """Refuses identifiers that the INTEGER PRIMARY KEY of a table cannot hold."""
    if key is not None and info.table != info.index and key.lower() == info.key.lower():
        column = found.columns[key]
        if column.sql_type != "INTEGER":
            raise SchemaError(
                f"{info.table}.{info.key} holds integers, and {found.source.label} has others in "
                f"{key}: import into a new table, or call {key} otherwise in the file"
            )


def _fitting(
    db: Db, info: IndexInfo, found: Survey, names: list[str], *, ours: bool
) -> dict[str, str]:
    """The columns of a table that exists, with their types; refuses records that have others.

    A table that an import of the same source made (``ours``) grows with its file.
    """
    rows = db.rows("SELECT name, type FROM pragma_table_xinfo(?, 'main')", (info.table,))
    have = {str(name): str(kind) for name, kind in rows}
    lower = set(map(str.lower, have))
    missing = [n for n in names if n.lower() not in lower]
    if missing and (not ours or info.table == info.index):
        raise SchemaError(
            f"{info.table} has no column {missing[0]}, which {found.source.label} has; its "
            f"columns: {', '.join(columns(db, info.table))}; ALTER TABLE adds one"
        )
    return have | {n: found.columns[n].sql_type for n in missing}


def kind_of(db: Db, table: str, column: str | None) -> str | None:
    """The type of a column, if the table is there and has it."""
    sql = "SELECT upper(type) FROM pragma_table_xinfo(?, 'main') WHERE name = ? COLLATE NOCASE"
    return None if column is None else db.value(sql, (table, column))
