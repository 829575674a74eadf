"""insert, upsert, update, delete: rows as dicts, with vector and full text, all or nothing.

The text of the rows is embedded in batches before the transaction, so that no model holds the write
lock: new rows get their vector, for changed ones the triggers find it ready. In mode "sync" it is
left to `vecsql.sync`. A table without an index is written too: these are ordinary rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast, overload

from vecsql._base.bind import bound
from vecsql._base.errors import SchemaError
from vecsql._base.json import to_json
from vecsql._base.types import Connection, Key, Record, Records
from vecsql._connection.driver import Db, driver_of, quote
from vecsql._model.embed import Embedder
from vecsql._tables.cache import encode_texts, row_of
from vecsql._tables.catalog import (
    IndexInfo,
    columns,
    has_table,
    indexes,
    no_table,
    registered,
    vector_columns,
)
from vecsql._tables.elements import places
from vecsql._tables.followed import require_followed
from vecsql._tables.registry import embedder_for, model_for


@overload
def insert(conn: Connection, table: str, rows: Record) -> int: ...
@overload
def insert(conn: Connection, table: str, rows: Records) -> list[int]: ...
def insert(conn: Connection, table: str, rows: Record | Records) -> int | list[int]:
    """Inserts a row (a dict of column -> value) or many; returns the rowid or the list of them.

    Text is embedded, vectors that are given (arrays, lists, blobs) are kept. One transaction, or
    a savepoint in the one that is open: if a row fails, nothing is written.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"body": str}, text="body")
    >>> vecsql.insert(db, "notes", {"body": "night train"})
    1
    >>> vecsql.insert(db, "notes", [{"body": "rye bread"}, {"body": "plum cake"}])
    [2, 3]
    """
    return _each(rows, lambda many: _write(driver_of(conn), table, many, None))


@overload
def upsert(
    conn: Connection, table: str, rows: Record, key: str | Sequence[str] | None = None
) -> int: ...
@overload
def upsert(
    conn: Connection, table: str, rows: Records, key: str | Sequence[str] | None = None
) -> list[int]: ...
def upsert(
    conn: Connection, table: str, rows: Record | Records, key: str | Sequence[str] | None = None
) -> int | list[int]:
    """Inserts rows, or updates those whose ``key`` is there already; returns their rowids.

    ``key`` is the primary key by default, or the columns of a UNIQUE index. Columns that a row
    does not name keep their values. The row stays the same row, unlike with INSERT OR REPLACE,
    which SQLite carries out as a deletion without triggers.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"url": "TEXT UNIQUE", "body": str}, text="body")
    >>> vecsql.upsert(db, "notes", {"url": "a", "body": "night train"}, key="url")
    1
    >>> vecsql.upsert(db, "notes", {"url": "a", "body": "rye bread"}, key="url")
    1
    """
    db = driver_of(conn)
    keys = (key,) if isinstance(key, str) else tuple(key or (_primary_key(db, table),))
    return _each(rows, lambda many: _write(db, table, many, keys))


def update(
    conn: Connection, table: str, rows: Record | Records, key: str | Sequence[str] | None = None
) -> int:
    """Changes the named columns of existing rows, found by ``key`` (the primary key by default).

    Returns how many rows there were. Text that changes is embedded anew.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"body": str}, text="body")
    >>> rowid = vecsql.insert(db, "notes", {"body": "night train"})
    >>> vecsql.update(db, "notes", {"id": rowid, "body": "rye bread"})
    1
    """
    db = driver_of(conn)
    many = [rows] if isinstance(rows, Mapping) else list(rows)
    keys = (key,) if isinstance(key, str) else tuple(key or (_primary_key(db, table),))
    shape = Shape(db, table)
    named = [shape.row(row) for row in many]
    with changing(db, table, named, keys), db.transaction():
        typed = places(db, table)
        return sum(change_row(db, table, row, keys, typed) for row in named)


def delete(
    conn: Connection,
    table: str,
    keys: Key | Iterable[Key] | Iterable[Sequence[Key]],
    key: str | Sequence[str] | None = None,
) -> int:
    """Deletes rows by primary key (one, or an iterable of them); returns how many there were.

    ``key`` names another column to find them by, or several; of several columns each of ``keys``
    is a tuple. All rows that have the value go.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"body": str}, text="body")
    >>> ids = vecsql.insert(db, "notes", [{"body": "night train"}, {"body": "rye bread"}])
    >>> vecsql.delete(db, "notes", ids[0])
    1
    >>> vecsql.delete(db, "notes", ["rye bread", "plum cake"], key="body")
    1
    """
    db = driver_of(conn)
    one = isinstance(keys, (int, str, bytes)) or not isinstance(keys, Iterable)
    many: Iterable[object] = [keys] if one else cast("Iterable[object]", keys)
    with db.transaction():
        names = _columns_of_keys(db, table, key)
        where = " AND ".join(f"{quote(name)} = ?" for name in names)
        deleted = 0
        for value in many:
            values = [value] if isinstance(key, str) or key is None else _parts(names, value)
            db.run(f"DELETE FROM main.{quote(table)} WHERE {where}", [*map(bound, values)])
            deleted += db.changes
        return deleted


def _columns_of_keys(db: Db, table: str, key: str | Sequence[str] | None) -> tuple[str, ...]:
    """The columns to find rows by. A name that is no column would be a text in SQL."""
    if key is None:
        return (_primary_key(db, table),)
    names = (key,) if isinstance(key, str) else tuple(key)
    if not has_table(db, table):
        raise SchemaError(no_table(db, table))
    have = columns(db, table)
    for name in names:
        if name.lower() not in {c.lower() for c in have}:
            raise SchemaError(f"{table} has no column {name}; it has {', '.join(have)}")
    if not names:
        raise SchemaError(f"{table}: key= names no column")
    return names


def _parts(names: tuple[str, ...], value: object) -> Sequence[object]:
    if not isinstance(value, (tuple, list)) or len(value) != len(names):
        raise SchemaError(f"expected keys as tuples ({', '.join(names)}), got {value!r}")
    return value


# --- parts ---------------------------------------------------------------------------------------


def change_row(
    db: Db, table: str, row: dict[str, Any], keys: tuple[str, ...], typed: Mapping[str, str]
) -> int:
    """Changes the rows that have a row's keys, in the caller's transaction; returns how many.

    ``typed`` is what `places` gives for the table.
    """
    where = {k: _take(table, row, k) for k in keys}
    values = {c: v for c, v in row.items() if c not in where}
    if not values:
        raise SchemaError(f"{table}: nothing to update besides the key {', '.join(keys)}")
    sets = ", ".join(f"{quote(c)} = {typed.get(c, '?')}" for c in values)
    matches = " AND ".join(f"{quote(k)} IS ?" for k in where)
    db.run(
        f"UPDATE main.{quote(table)} SET {sets} WHERE {matches}",
        [*map(bound, values.values()), *map(bound, where.values())],
    )
    return db.changes


def _each(
    rows: Record | Records, write: Callable[[Sequence[Record]], list[int]]
) -> int | list[int]:
    """One dict gives one rowid, several give a list."""
    if isinstance(rows, Mapping):
        return write([rows])[0]
    from vecsql._files.read_arrow import is_frame

    if is_frame(rows):
        raise SchemaError("rows are dicts: vecsql.bulk_insert takes data frames")
    return write(list(rows))


def _write(db: Db, table: str, rows: Sequence[Record], keys: tuple[str, ...] | None) -> list[int]:
    shape = Shape(db, table)
    named = [shape.row(row) for row in rows]
    if keys is None:
        add_vectors(db, table, named, store=not db.in_transaction)
    returning = "" if _is_virtual(db, table) else " RETURNING rowid"
    typed = places(db, table)
    rowids = []
    with changing(db, table, named, keys), db.transaction():
        for row in named:
            sql = _insert_sql(table, tuple(row), keys, typed) + returning
            found = db.rows(sql, [bound(v) for v in row.values()])
            rowids.append(found[0][0] if found else db.last_rowid)
    return rowids


def _insert_sql(
    table: str, names: tuple[str, ...], keys: tuple[str, ...] | None, typed: Mapping[str, str]
) -> str:
    marks = ", ".join(typed.get(name, "?") for name in names)
    columns = f"({', '.join(map(quote, names))}) VALUES({marks})"
    conflict = ""
    if keys is not None and set(keys) <= set(names):
        sets = ", ".join(f"{quote(n)} = excluded.{quote(n)}" for n in names if n not in keys)
        # Without another column, set the key to itself: DO NOTHING would return no rowid.
        sets = sets or f"{quote(keys[0])} = excluded.{quote(keys[0])}"
        conflict = f" ON CONFLICT({', '.join(map(quote, keys))}) DO UPDATE SET {sets}"
    return f"INSERT INTO main.{quote(table)}{columns if names else ' DEFAULT VALUES'}{conflict}"


def _is_virtual(db: Db, table: str) -> bool:
    """Virtual tables know neither RETURNING nor ON CONFLICT ... DO UPDATE."""
    sql = "SELECT 1 FROM pragma_table_list WHERE schema = 'main' AND type = 'virtual' AND name = ?"
    return db.value(sql + " COLLATE NOCASE", (table,)) is not None


class Shape:
    """What the rows of a table are made of."""

    def __init__(self, db: Db, table: str):
        self._table = table
        sql = "SELECT name, type FROM pragma_table_xinfo(?, 'main') WHERE hidden <> 1"
        declared = db.rows(sql, (table,))
        if not declared:
            raise SchemaError(no_table(db, table))
        self._names = {name.lower(): name for name, _ in declared}
        for info in registered(db):
            if info.table.lower() == table.lower():
                require_followed(db, info)
                # reembed moves the vectors to another column
                self._names[info.column.lower()] = info.source
        self._vectors = vector_columns(db, table)
        self._blobs = {
            name.lower()
            for name, kind in declared
            if "BLOB" in kind.upper() or kind.upper().startswith("VECTOR")
        }

    def row(self, row: Record) -> dict[str, Any]:
        """A row under the columns' own names; refuses names that the table does not have.

        Lists, dicts and arrays become JSON, but for vectors: those of an index, and lists in a
        column of BLOBs.
        """
        if not isinstance(row, Mapping):
            raise SchemaError(
                f"{self._table}: a row is a dict of column -> value, got {type(row).__name__}"
            )
        named = {}
        for name, value in row.items():
            known = self._names.get(str(name).lower())
            if known is None and str(name).lower() == "rowid":
                known = "rowid"
            if known is None:
                unknown = [n for n in map(str, row) if n.lower() not in (*self._names, "rowid")]
                raise SchemaError(
                    f"{self._table} has no column {', '.join(unknown)}; it has "
                    f"{', '.join(self._names.values())}"
                )
            if known.lower() not in self._vectors and _is_nested(value):
                is_list = not isinstance(value, (dict, set, frozenset))
                if not (is_list and known.lower() in self._blobs):
                    value = to_json(value)
            named[known] = value
        return named


def _is_nested(value: Any) -> bool:
    if isinstance(value, (list, tuple, dict, set, frozenset)):
        return True
    return hasattr(value, "tolist") and bool(getattr(value, "shape", ()))


Label = Callable[[dict[str, Any]], str]
Refused = Callable[[dict[str, Any], Exception], None]


def add_vectors(
    db: Db,
    table: str,
    rows: list[dict[str, Any]],
    *,
    store: bool = False,
    label: Label | None = None,
    refused: Refused | None = None,
) -> None:
    """Puts the vectors of new rows' text into the rows, so that no trigger has to compute them.

    ``label`` names a row in errors; ``refused`` takes the rows whose text a model refuses.
    """
    for info in _embedding_indexes(db, table):
        embed_rows(
            db, info, embedder_for(db, info), rows, store=store, label=label, refused=refused
        )


def embed_rows(
    db: Db,
    info: IndexInfo,
    embedder: Embedder,
    rows: list[dict[str, Any]],
    *,
    store: bool = False,
    label: Label | None = None,
    refused: Refused | None = None,
) -> None:
    """Puts the vectors of one index, which may not exist yet, into rows that have none."""
    absent = _null_by_default(db, info.table)
    due: list[tuple[int, str]] = []
    for n, row in enumerate(rows):
        text = embedded_text(info, row, absent) if row.get(info.source) is None else None
        if text is not None:
            due.append((n, text))
    if not due:
        return
    failed: set[int] = set()

    def name(i: int) -> str:
        n = due[i][0]
        return label(rows[n]) if label is not None else f"{info.table}, row {n + 1}"

    def leave_out(i: int, error: Exception) -> None:
        assert refused is not None
        failed.add(i)
        refused(rows[due[i][0]], error)

    vectors = encode_texts(
        db,
        embedder,
        [text for _, text in due],
        store=store,
        label=name,
        refused=leave_out if refused is not None else None,
    )
    for i, ((n, _), vector) in enumerate(zip(due, vectors, strict=True)):
        if i not in failed:
            rows[n][info.source] = vector.astype("<f4", copy=False).tobytes()


@contextlib.contextmanager
def changing(
    db: Db, table: str, rows: list[dict[str, Any]], keys: tuple[str, ...] | None
) -> Iterator[None]:
    """Embeds the text of rows to change, by ``keys``, and holds the vectors for the triggers."""
    with contextlib.ExitStack() as held:
        for info in _embedding_indexes(db, table) if keys is not None else ():
            due: dict[str, int] = {}
            for n, row in enumerate(rows, 1):
                for text in _changed_texts(db, info, row, keys or ()):
                    due.setdefault(text, n)
            if not due:
                continue
            model, texts = model_for(db, info), list(due)
            vectors = encode_texts(
                db,
                model.embedder,
                texts,
                store=not db.in_transaction,
                label=row_of(table, list(due.values())),
            )
            blobs = (vector.astype("<f4", copy=False).tobytes() for vector in vectors)
            held.enter_context(model.holding(dict(zip(texts, blobs, strict=True))))
        yield


def _changed_texts(
    db: Db, info: IndexInfo, row: dict[str, Any], keys: tuple[str, ...]
) -> Iterator[str]:
    """The texts that a trigger will embed when the row is written, as far as they are known here.

    Where only SQLite can tell (values that are no text), the trigger asks the model itself.
    """
    if info.source in row or not any(c in row for c in info.text):
        return
    found: list[tuple[Any, ...]] = []
    if all(k in row for k in keys):
        matches = " AND ".join(f"{quote(k)} IS ?" for k in keys)
        columns_ = ", ".join(map(quote, info.text))
        found = db.rows(
            f"SELECT {info.text_sql('t')}, {columns_} FROM main.{quote(info.table)} t "
            f"WHERE {matches}",
            [bound(row[k]) for k in keys],
        )
    for old, *stored in found:
        text = embedded_text(info, {**dict(zip(info.text, stored, strict=True)), **row})
        if text is not None and text != old:
            yield text
    if not found:
        text = embedded_text(info, row, _null_by_default(db, info.table))
        if text is not None:
            yield text


def _embedding_indexes(db: Db, table: str) -> list[IndexInfo]:
    return [
        info
        for info in registered(db)
        if info.table.lower() == table.lower() and info.mode == "trigger"
    ]


def _null_by_default(db: Db, table: str) -> frozenset[str]:
    """The columns that are NULL in a new row that does not name them."""
    sql = (
        "SELECT name FROM pragma_table_xinfo(?, 'main') "
        "WHERE dflt_value IS NULL AND hidden = 0 AND pk = 0"
    )
    return frozenset(name for (name,) in db.rows(sql, (table,)))


def embedded_text(info: IndexInfo, row: Record, absent: frozenset[str] = frozenset()) -> str | None:
    """The text of a row as `IndexInfo.text_sql` computes it; ``absent`` columns count as NULL.

    None if there is none to embed, and where only SQLite can tell: other columns that are not
    named in the row, and values other than str.
    """
    given = [row.get(c, None if c in absent else 0) for c in info.text]
    parts = [part for part in given if part is None or isinstance(part, str)]
    if len(parts) < len(given):
        return None
    if len(parts) == 1:
        return parts[0]
    return "\n".join(part or "" for part in parts).strip("\n") or None


def _take(table: str, row: Record, key: str) -> Any:
    if key not in row:
        raise SchemaError(f"{table}: a row to update needs its key {key}; it has {', '.join(row)}")
    return row[key]


def _primary_key(db: Db, table: str) -> str:
    if not has_table(db, table):
        raise SchemaError(no_table(db, table))
    sql = "SELECT name FROM pragma_table_xinfo(?, 'main') WHERE pk > 0"
    keys = [name for (name,) in db.rows(sql, (table,))]
    if not keys:  # SQLite does not know the key of a virtual table
        keys = list(dict.fromkeys(i.key for i in indexes(db, table) if i.table == i.index))
    if len(keys) > 1:
        raise SchemaError(f"{table} has the primary key {', '.join(keys)}: name it with key=")
    return keys[0] if keys else "rowid"
