"""Conditions on the rows of a table: SQL as it is, and dicts as Chroma and LangChain have them.

    {"author": "ann", "year": {"$gte": 2020}}                         all of them
    {"$or": [{"author": "ann"}, {"meta.tags": {"$contains": "rail"}}]}

A key is a column, or a path into a column of JSON. A table of `ingest` takes the name of a metadata
value as a key too. A row without a value differs from every value, and is neither less nor greater
than any. Numbers compare with numbers only, text with text only.

An SQL condition is tried on its own first. In the search it stands inside a subquery, where SQLite
takes a name that the table lacks for a column of the search around it: ``distance < 2`` would
filter what an approximate search happened to give.
"""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from vecsql._base.bind import without_numpy
from vecsql._base.errors import FilterError
from vecsql._base.fragments import bracketed
from vecsql._base.types import Parameters
from vecsql._connection.driver import Db, literal, quote
from vecsql._tables.catalog import IndexInfo, columns
from vecsql._tables.json_paths import JsonPath, Paths

Where = str | Mapping[str, object]

_DEEPEST = 20  # filters inside filters; the parser of older SQLite has a stack of 100
_NO_CONDITION = re.compile("syntax error|incomplete input|row value misused")
_OF_A_RESULT = re.compile(r"no such column: (?:\S+\.)?(distance|score|rank|k)$", re.IGNORECASE)


class Condition(NamedTuple):
    """A condition as SQL: ``SELECT rowid FROM {source} WHERE {sql}``, with its parameters."""

    source: str
    sql: str
    params: Parameters


def condition(db: Db, info: IndexInfo, where: Where | None, params: Parameters) -> Condition | None:
    """Compiles a condition on the rows of an index; None if every row will do.

    Raises `FilterError` for a dict that says nothing, and for what a result has and a row has not.
    """
    if where is None:
        return None
    if isinstance(where, Mapping):
        if len(params):
            raise FilterError(
                "params= are the values of an SQL condition; a dict has its values inside"
            )
        sql, values = _Filter(db, info.table).compiled(where, 0)
        return Condition(_source(db, info, ""), sql, values)
    if not isinstance(where, str):
        raise FilterError(f"where= is SQL or a dict, got {type(where).__name__}")
    sql = bracketed(where)
    if isinstance(params, Mapping):
        params = {name: without_numpy(value) for name, value in params.items()}
    else:
        params = [without_numpy(value) for value in params]
    found = Condition(_source(db, info, where), sql, params)
    try:
        db.run(f"EXPLAIN SELECT 1 FROM {found.source} WHERE {sql}", params)
    except Exception as e:  # each driver's own class
        if _NO_CONDITION.search(str(e)):
            raise FilterError(f"where= is one SQL condition; {where!r}: {e}") from e
        missing = _OF_A_RESULT.search(str(e))
        if missing is None:
            raise
        raise FilterError(
            f"where= is about the rows of {info.table}, which have no {missing[1]}: max_distance= "
            "says how far is too far, and a search ranks only what the condition leaves"
        ) from e
    return found


def _source(db: Db, info: IndexInfo, where: str) -> str:
    """The rows that a condition is about, without the hidden columns of an index.

    A name in double quotes that the rows lack is a text for SQLite. So that the search around does
    not give it another meaning, the rows get a column of that name with that text.
    """
    name = f"main.{quote(info.table)}"
    if info.table != info.index and '"' not in where:
        return name
    rows = columns(db, info.table)
    have = {c.lower() for c in rows}
    around = {info.index.lower(), *_all_columns(db, info.index)}
    if info.fts is not None:
        around |= {info.fts.lower(), "rank", *_all_columns(db, info.fts)}
    quoted = [c for c in sorted(around - have) if quote(c) in where.lower()]
    if info.table != info.index and not quoted:
        return name
    listed = "".join(f", {quote(c)}" for c in rows)
    listed += "".join(f", {literal(c)} AS {quote(c)}" for c in quoted)
    return f"(SELECT rowid AS rowid{listed} FROM {name}) AS {quote(info.table)}"


def _all_columns(db: Db, table: str) -> set[str]:
    sql = "SELECT lower(name) FROM pragma_table_xinfo(?, 'main')"
    return {name for (name,) in db.rows(sql, (table,))}


# --- dicts ---------------------------------------------------------------------------------------


class _Operand(NamedTuple):
    """What a key stands for."""

    key: str
    sql: str
    kind: str  # text, number or any: what SQLite makes of the values of a column
    exists: str
    elements: str  # the arguments of json_each for its elements
    is_array: str


Compiled = tuple[str, list[Any]]


class _Filter:
    """Compiles the dicts about one table."""

    def __init__(self, db: Db, table: str):
        self._table = table
        rows = db.rows("SELECT name, type, hidden FROM pragma_table_xinfo(?, 'main')", (table,))
        self._kinds = {n.lower(): (n, _kind(t)) for n, t, hidden in rows if hidden != 1}
        self._paths = Paths(db, table)

    def compiled(self, where: Mapping[str, Any], depth: int) -> Compiled:
        """A dict: all of its entries."""
        if depth > _DEEPEST:
            raise FilterError(f"where=: more than {_DEEPEST} filters inside each other")
        parts = []
        for key, value in where.items():
            if not isinstance(key, str):
                raise FilterError(f"where=: a key is a column or an operator, got {key!r}")
            parts.append(
                self._logical(key, value, depth)
                if key.startswith("$")
                else self._field(self._operand(key), value, depth)
            )
        return _joined(parts, "AND")

    def _logical(self, name: str, value: Any, depth: int) -> Compiled:
        if name == "$not":
            if not isinstance(value, Mapping):
                raise FilterError(f"where=: $not takes a dict, got {_shown(value)}")
            return _negated(self.compiled(value, depth + 1))
        if name not in ("$and", "$or", "$nor"):
            known = "$and, $or, $nor or $not"
            if name in _OPERATORS:
                known += f'; {name} belongs to a column: {{"column": {{"{name}": ...}}}}'
            raise FilterError(f"where=: expected a column, {known}, got {name}")
        filters = _sequence(name, value)
        if not filters or not all(isinstance(f, Mapping) for f in filters):
            raise FilterError(f"where=: {name} takes a list of dicts, got {_shown(value)}")
        parts = [self.compiled(f, depth + 1) for f in filters]
        if name == "$and":
            return _joined(parts, "AND")
        either = _joined(parts, "OR")
        return either if name == "$or" else _negated(either)

    def _field(self, operand: _Operand, value: Any, depth: int) -> Compiled:
        if not isinstance(value, Mapping):
            if isinstance(value, (list, tuple, set, frozenset)):
                raise FilterError(
                    f"where=: {operand.key}: expected a value, got a list; one of several is "
                    f'{{"{operand.key}": {{"$in": [...]}}}}'
                )
            return _equal(operand, _value(operand, "$eq", value))
        if not value:
            raise FilterError(f"where=: {operand.key}: the dict names no operator")
        if depth > _DEEPEST:
            raise FilterError(f"where=: more than {_DEEPEST} filters inside each other")
        parts = []
        for name, wanted in value.items():
            if name == "$not":
                parts.append(_negated(self._field(operand, wanted, depth + 1)))
            elif name in _OPERATORS:
                parts.append(_OPERATORS[name](operand, name, wanted))
            else:
                near = f"; did you mean ${name}?" if f"${name}" in _OPERATORS else ""
                raise FilterError(
                    f"where=: {operand.key}: unknown operator {name!r}{near} Known are "
                    f"{', '.join(_OPERATORS)} and $not"
                )
        return _joined(parts, "AND")

    def _operand(self, key: str) -> _Operand:
        """A column of this name, or the path behind the name of one; then a name of metadata."""
        if key.lower() in self._kinds:
            name, kind = self._kinds[key.lower()]
            sql = quote(name)
            array = f"(json_valid({sql}) AND json_type({sql}) = 'array')"
            return _Operand(key, sql, kind, f"{sql} IS NOT NULL", sql, array)
        place = self._paths.find(key)
        if place is not None:
            return _operand_of(key, place)
        have = ", ".join(name for name, _ in self._kinds.values())
        raise FilterError(f"where=: {self._table} has no column {key}; it has {have}")


def _kind(declared: str) -> str:
    """By SQLite's affinity: whether every value is made text, or a number if it can be."""
    declared = declared.upper()
    if any(t in declared for t in ("INT", "REAL", "FLOA", "DOUB")):
        return "number"
    return "text" if any(t in declared for t in ("CHAR", "CLOB", "TEXT")) else "any"


def _operand_of(key: str, place: JsonPath) -> _Operand:
    return _Operand(
        key,
        place.value,
        "any",
        f"{place.kind} IS NOT NULL",
        f"{place.json}, {place.path}",
        f"{place.kind} = 'array'",
    )


# --- operators -----------------------------------------------------------------------------------


def _equal(operand: _Operand, value: Any) -> Compiled:
    return (f"{operand.sql} IS NULL", []) if value is None else (f"{operand.sql} = ?", [value])


def _eq(operand: _Operand, name: str, value: Any) -> Compiled:
    return _equal(operand, _value(operand, name, value))


def _ne(operand: _Operand, name: str, value: Any) -> Compiled:
    return _negated(_eq(operand, name, value))


def _compare(operand: _Operand, name: str, value: Any) -> Compiled:
    value = _value(operand, name, value)
    sign = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}[name]
    if value is None:
        raise FilterError(f"where=: {operand.key}: {name} takes a number or a text, got None")
    if isinstance(value, str) and operand.kind == "number":
        raise FilterError(
            f"where=: {operand.key} is a column of numbers: {name} takes a number, got {value!r}"
        )
    if not isinstance(value, str) and operand.kind == "text":
        raise FilterError(
            f"where=: {operand.key} is a column of text, in which '9' is greater than '10': "
            f"{name} takes a text, got {value!r}; as numbers: "
            f"where='CAST({operand.key} AS REAL) {sign} ?'"
        )
    kinds = "('text')" if isinstance(value, str) else "('integer', 'real')"
    if isinstance(value, bytes):
        kinds = "('blob')"
    return f"(typeof({operand.sql}) IN {kinds} AND {operand.sql} {sign} ?)", [value]


def _between(operand: _Operand, name: str, value: Any) -> Compiled:
    limits = _sequence(name, value)
    if len(limits) != 2:
        raise FilterError(f"where=: {operand.key}: {name} takes [low, high], got {_shown(value)}")
    return _joined(
        [_compare(operand, "$gte", limits[0]), _compare(operand, "$lte", limits[1])], "AND"
    )


def _in(operand: _Operand, name: str, value: Any) -> Compiled:
    wanted = [_value(operand, name, v) for v in _sequence(name, value)]
    # One parameter holds all whole numbers and texts, because SQLite limits their number.
    listed: list[Any] = []
    parts: list[Compiled] = []
    for v in wanted:
        if isinstance(v, (int, str)) and "\0" not in str(v):
            listed.append(str(v) if operand.kind == "text" else v)  # as = does for a column
        else:
            parts.append(_equal(operand, v))
    if listed:
        parts.append((f"{operand.sql} IN (SELECT value FROM json_each(?))", [json.dumps(listed)]))
    return _joined(parts, "OR", "0")


def _nin(operand: _Operand, name: str, value: Any) -> Compiled:
    return _negated(_in(operand, name, value))


def _exists(operand: _Operand, name: str, value: Any) -> Compiled:
    if not isinstance(without_numpy(value), (bool, int)):
        raise FilterError(f"where=: {operand.key}: {name} takes True or False, got {_shown(value)}")
    return (operand.exists, []) if value else _negated((operand.exists, []))


def _contains(operand: _Operand, name: str, value: Any) -> Compiled:
    """An element of a list in JSON, or a part of a text."""
    value = _value(operand, name, value)
    if value is None:
        raise FilterError(f"where=: {operand.key}: {name} takes a text or a number, got None")
    element = f"EXISTS (SELECT 1 FROM json_each({operand.elements}) WHERE value IS ?)"
    within = f"instr({operand.sql}, ?) > 0" if isinstance(value, str) else "0"
    values = [value, value] if isinstance(value, str) else [value]
    return f"CASE WHEN {operand.is_array} THEN {element} ELSE {within} END", values


def _not_contains(operand: _Operand, name: str, value: Any) -> Compiled:
    return _negated(_contains(operand, name, value))


def _like(operand: _Operand, name: str, value: Any) -> Compiled:
    value = _value(operand, name, value)
    if not isinstance(value, str):
        raise FilterError(f"where=: {operand.key}: {name} takes a pattern, got {_shown(value)}")
    return f"{operand.sql} LIKE ?", [value]


_OPERATORS: dict[str, Callable[[_Operand, str, Any], Compiled]] = {
    "$eq": _eq,
    "$ne": _ne,
    "$gt": _compare,
    "$gte": _compare,
    "$lt": _compare,
    "$lte": _compare,
    "$between": _between,
    "$in": _in,
    "$nin": _nin,
    "$exists": _exists,
    "$contains": _contains,
    "$not_contains": _not_contains,
    "$like": _like,
}


# --- parts ---------------------------------------------------------------------------------------


def _joined(parts: list[Compiled], word: str, none: str = "1") -> Compiled:
    """All parts with AND or OR between them, as a balanced tree: SQLite limits the depth of one."""
    if not parts:
        return none, []
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    left, right = (_joined(side, word) for side in (parts[:half], parts[half:]))
    return f"({left[0]} {word} {right[0]})", [*left[1], *right[1]]


def _negated(part: Compiled) -> Compiled:
    return f"({part[0]}) IS NOT TRUE", part[1]


def _sequence(name: str, value: Any) -> list[Any]:
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
        raise FilterError(f"where=: {name} takes a list, got {_shown(value)}")
    return list(value)


def _value(operand: _Operand, name: str, value: Any) -> Any:
    """A value as SQLite compares it."""
    value = without_numpy(value)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        raise FilterError(f"where=: {operand.key}: {name} takes finite numbers, got {value}")
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise FilterError(f"where=: {operand.key}: {name}: {value} does not fit into 64 bits")
    if value is None or isinstance(value, (int, float, str, bytes)):
        return value
    raise FilterError(
        f"where=: {operand.key}: {name} takes a number, a text or None, got {_shown(value)}"
    )


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {str(value)[:60]!r}"
