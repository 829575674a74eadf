"""What a file knows about its indexes: the ordinary table vecsql_indexes, one row an index.

    vecsql_indexes(tbl, col,   the table and its vector column, as SQL on the index names it
                   name,       the virtual table, <tbl>_<col>
                   key,        the table's INTEGER PRIMARY KEY
                   source,     the column of tbl with the vectors: col, or another after reembed
                   text,       JSON array of the columns that are embedded, [] if vectors are given
                   fts,        the FTS5 table over the same text, or NULL
                   dim, metric, model, checksum, mode)

vecsql_standby has the same columns: the second space of an index while, and after, `reembed` moves
it to another model. Its virtual table is <name>_standby, its mode "sync".

Both are written in the same transaction as the DDL that they speak of. Virtual tables that were
made by plain SQL have no row; what is known of them is read from their declaration.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from typing import Any, Literal

from vecsql._base.errors import SchemaError
from vecsql._base.types import Connection
from vecsql._connection.driver import Db, driver_of, quote

Mode = Literal["trigger", "sync", "none"]

_LISTED = 12  # tables that a message names
INDEXES, STANDBY = "vecsql_indexes", "vecsql_standby"

_DDL = """
CREATE TABLE IF NOT EXISTS {}(
  tbl TEXT NOT NULL COLLATE NOCASE, col TEXT NOT NULL COLLATE NOCASE,
  name TEXT NOT NULL UNIQUE COLLATE NOCASE, key TEXT NOT NULL, source TEXT NOT NULL,
  text TEXT NOT NULL, fts TEXT, dim INTEGER NOT NULL, metric TEXT NOT NULL,
  model TEXT, checksum TEXT, mode TEXT NOT NULL, PRIMARY KEY(tbl, col)) WITHOUT ROWID"""

_COLUMNS = "tbl, col, name, key, source, text, fts, dim, metric, model, checksum, mode"


@dataclass(frozen=True)
class IndexInfo:
    """One index over a vector column.

    ``index`` is the virtual table to MATCH against, and ``column`` its vector column. ``key`` is
    the INTEGER PRIMARY KEY of ``table`` (equal to the rowid of ``index``), ``source`` the column
    of ``table`` with the vectors. ``text`` names the columns that are embedded, ``fts`` the FTS5
    table over them (its rowids are the keys too). ``model_id`` and ``checksum`` are None where
    the caller brings the vectors. ``mode``: "trigger" embeds in the writing statement, "sync"
    leaves it to `vecsql.sync`, "none" embeds nothing. ``table`` equals ``index`` for a virtual
    table that holds its own rows.
    """

    table: str
    column: str
    index: str
    key: str
    source: str
    text: tuple[str, ...]
    fts: str | None
    dim: int
    metric: str
    model_id: str | None
    checksum: str | None
    mode: Mode
    element: str = "float"  # or float16, int8, bit: the type of the vectors' elements

    @property
    def label(self) -> str:
        """table.column, as messages name it."""
        return f"{self.table}.{self.column}"

    def text_sql(self, row: str) -> str:
        """The SQL expression of the embedded text of a row: ``row`` is an alias, new or old."""
        parts = [f"CAST({row}.{quote(c)} AS TEXT)" for c in self.text]
        if len(parts) == 1:
            return parts[0]
        lines = " || char(10) || ".join(f"coalesce({p}, '')" for p in parts)
        return f"nullif(trim({lines}, char(10)), '')"


def _from_row(row: tuple[Any, ...]) -> IndexInfo:
    table, column, index, key, source, text, *rest = row
    return IndexInfo(table, column, index, key, source, tuple(json.loads(text)), *rest)


def has_table(db: Db, name: str) -> bool:
    """Whether the main database has a table or view of this name."""
    sql = "SELECT 1 FROM main.sqlite_schema WHERE type IN ('table', 'view') AND name = ?"
    return db.value(sql + " COLLATE NOCASE", (name,)) is not None


def columns(db: Db, table: str) -> list[str]:
    """The visible columns of a table; none if there is no such table."""
    sql = "SELECT name FROM pragma_table_xinfo(?, 'main') WHERE hidden <> 1"
    return [name for (name,) in db.rows(sql, (table,))]


def registered(conn: Connection) -> list[IndexInfo]:
    """The indexes that create_index made, in the order of their names."""
    return _listed(driver_of(conn), INDEXES)


def standbys(db: Db) -> list[IndexInfo]:
    """The second spaces of all indexes."""
    return _listed(db, STANDBY)


def standby_of(db: Db, info: IndexInfo) -> IndexInfo | None:
    """The second space of an index, if it has one."""
    found = [s for s in standbys(db) if (s.table, s.column) == (info.table, info.column)]
    return found[0] if found else None


def vector_columns(db: Db, table: str) -> set[str]:
    """The columns of a table that hold vectors, in lower case."""
    spaces = indexes(db, table) + standbys(db)
    return {i.source.lower() for i in spaces if i.table.lower() == table.lower()}


def _listed(db: Db, catalog: str) -> list[IndexInfo]:
    if not has_table(db, catalog):
        return []
    sql = f"SELECT {_COLUMNS} FROM main.{catalog} ORDER BY tbl, col"
    return [_from_row(row) for row in db.rows(sql)]


def save(db: Db, info: IndexInfo, catalog: str = INDEXES) -> None:
    """Writes an index into the catalog, in the caller's transaction."""
    db.run(_DDL.format(catalog))
    marks = ", ".join("?" * 12)
    i = info
    names = (i.table, i.column, i.index, i.key, i.source, json.dumps(i.text), i.fts)
    row = (*names, i.dim, i.metric, i.model_id, i.checksum, i.mode)
    db.run(f"REPLACE INTO main.{catalog}({_COLUMNS}) VALUES({marks})", row)


def remove(db: Db, info: IndexInfo, catalog: str = INDEXES) -> None:
    """Removes an index from the catalog, in the caller's transaction."""
    db.run(f"DELETE FROM main.{catalog} WHERE tbl = ? AND col = ?", (info.table, info.column))


def indexes(conn: Connection, table: str | None = None) -> list[IndexInfo]:
    """Lists the indexes of a file, or of one table, as `IndexInfo`.

    Those made by `create_index` or `create_table` and those declared by plain SQL
    (``CREATE VIRTUAL TABLE ... USING vecsql``), whose model is not known.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> db.execute("CREATE VIRTUAL TABLE v USING vecsql(e FLOAT[2])").close()
    >>> [(i.index, i.column, i.dim, i.model_id) for i in vecsql.indexes(db)]
    [('v', 'e', 2, None)]
    """
    db = driver_of(conn)
    known = registered(db)
    names = {i.index.lower() for i in known + standbys(db)}
    names |= {(new_index_name(db, i) or "").lower() for i in known if not has_table(db, i.index)}
    known += [i for i in declared(db) if i.index.lower() not in names]
    if table is not None:
        wanted = table.lower()
        known = [i for i in known if wanted in (i.table.lower(), i.index.lower())]
    return known


def new_index_name(db: Db, info: IndexInfo) -> str | None:
    """The name that the virtual table has now: one that the catalog does not know."""
    known = {i.index.lower() for i in (*registered(db), *standbys(db))}
    for other in declared(db):
        columns_agree = (other.column.lower(), other.source.lower()) == (
            info.column.lower(),
            info.source.lower(),
        )
        tables_agree = other.table.lower() == info.table.lower() or not has_table(db, info.table)
        if columns_agree and tables_agree and other.index.lower() not in known:
            return other.index
    return None


def index_of(conn: Connection, table: str, column: str | None = None) -> IndexInfo:
    """Returns the index of a table (or the index of that name).

    Raises `SchemaError` if there is none, or if there are several and no column is named.
    """
    db = driver_of(conn)
    found = indexes(db, table)
    if column is not None:
        named = [i for i in found if i.column.lower() == column.lower()]
        if not named and found:
            have = ", ".join(i.column for i in found)
            raise SchemaError(f"{table}.{column} has no index; those of {table}: {have}")
        found = named
    if len(found) > 1:
        have = ", ".join(i.column for i in found)
        raise SchemaError(f"{table} has several indexes: column= tells which, one of {have}")
    if not found:
        raise SchemaError(_not_found(db, table))
    return found[0]


def no_table(db: Db, table: str) -> str:
    """Says that there is no such table, and which there are: those with a like name first."""
    parts = {i.index for i in indexes(db) if i.index != i.table} | {i.fts for i in indexes(db)}
    sql = (
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type <> 'shadow' "
        "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'vecsql\\_%' ESCAPE '\\'"
    )
    names = {name.lower(): name for (name,) in db.rows(sql) if name not in parts}
    close = difflib.get_close_matches(table.lower(), names, n=3, cutoff=0.5)
    listed = [names[n] for n in (*close, *sorted(set(names) - set(close)))]
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    have = f"its tables: {', '.join(listed[:_LISTED])}{more}" if listed else "it has none"
    return f"there is no table {table} in the main database; {have}"


def _not_found(db: Db, table: str) -> str:
    if not has_table(db, table):
        return no_table(db, table)
    gone = sorted({i.table for i in registered(db) if not has_table(db, i.table)})
    if gone:
        return (
            f"{table} has no vecsql index, and the table {gone[0]} of an index is gone: if {table} "
            f"is its name now, vecsql.rebuild(db, {table!r}) takes the index over"
        )
    have = ", ".join(sorted({i.table for i in indexes(db)})) or "none"
    return (
        f"{table} has no vecsql index (tables that have one: {have}): "
        f"vecsql.create_index(db, {table!r}, 'embedding', text='<a text column>')"
    )


# --- declarations in plain SQL -------------------------------------------------------------------

_NAME = r'("(?:[^"]|"")+"|\[[^\]]+\]|`[^`]+`|\w+)'
_USING = re.compile(r"\busing\s+[\"'\[`]?(?:vecsql|vec0)\b", re.IGNORECASE)
_VECTOR = re.compile(
    rf"[(,]\s*{_NAME}\s+(float|f32|float16|f16|int8|bit)\s*\[\s*(\d+)\s*\]([^,]*)", re.IGNORECASE
)
_METRIC = re.compile(r"\bdistance_metric\s*=\s*(\w+)", re.IGNORECASE)
_CONTENT = re.compile(rf"[(,]\s*content\s*=\s*{_NAME}", re.IGNORECASE)
_KEY = re.compile(rf"[(,]\s*{_NAME}\s+\w+\s+primary\s+key\b", re.IGNORECASE)
_SOURCE = re.compile(rf"\bsource\s*=\s*{_NAME}", re.IGNORECASE)


def declared(db: Db) -> list[IndexInfo]:
    """All indexes as their virtual tables declare them."""
    sql = (
        "SELECT name, sql FROM main.sqlite_schema WHERE type = 'table' "
        "AND sql LIKE 'CREATE VIRTUAL TABLE%' ORDER BY name"
    )
    return [i for name, ddl in db.rows(sql) if _USING.search(ddl) for i in _parse(db, name, ddl)]


def _parse(db: Db, name: str, ddl: str) -> list[IndexInfo]:
    content = _CONTENT.search(ddl)
    table = _content_now(db, name, _unquoted(content[1])) if content else name
    if content:
        keys = db.rows("SELECT name FROM pragma_table_xinfo(?, 'main') WHERE pk > 0", (table,))
        key = keys[0][0] if len(keys) == 1 else "rowid"
    else:  # SQLite does not know the key of a virtual table
        declared = _KEY.search(ddl)
        key = _unquoted(declared[1]) if declared else "rowid"
    found = []
    for match in _VECTOR.finditer(ddl):
        column, dim, options = _unquoted(match[1]), int(match[3]), match[4]
        element = match[2].lower().replace("f32", "float").replace("f16", "float16")
        metric, source = _METRIC.search(options), _SOURCE.search(options)
        found.append(
            IndexInfo(
                table,
                column,
                name,
                key,
                _unquoted(source[1]) if source else column,
                (),
                None,
                dim,
                metric[1].lower() if metric else "l2",
                None,
                None,
                "none",
                element,
            )
        )
    return found


def _content_now(db: Db, index: str, name: str) -> str:
    """The name that a declared content table has now (ext/content/content.c)."""
    config = f"{index}_config"
    settings: dict[str, Any] = {}
    if has_table(db, config):
        keys = "key IN ('content', 'triggers')"
        settings = dict(db.rows(f"SELECT key, value FROM main.{quote(config)} WHERE {keys}"))
    name = settings.get("content") or name
    if has_table(db, name):
        return name
    sql = "SELECT tbl_name FROM main.sqlite_schema WHERE type = 'trigger' AND name = ?"
    return db.value(sql, (f"{settings.get('triggers') or index}_vecsql_insert",)) or name


def _unquoted(name: str) -> str:
    first = name[0]
    if first == '"':
        return name[1:-1].replace('""', '"')
    return name[1:-1] if first in "[`" else name
