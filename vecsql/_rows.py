"""insert, upsert, update, delete: rows as dicts, with vector and full text, all or nothing.

The text of the rows is embedded in batches here, before the statements: new rows get their vector,
for changed ones the triggers find it ready. In mode "sync" it is left to `vecsql.sync`. A table
without an index is written too: these are ordinary rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from vecsql._bind import bound
from vecsql._cache import encode_texts
from vecsql._catalog import IndexInfo, columns, has_table, no_table, registered
from vecsql._driver import Db, driver_of, quote
from vecsql._embed import Embedder
from vecsql._errors import SchemaError
from vecsql._registry import embedder_for, model_for

Record = Mapping[str, Any]
_BATCH = 512


def insert(conn: Any, table: str, rows: Record | Iterable[Record]) -> Any:
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


def upsert(
    conn: Any, table: str, rows: Record | Iterable[Record], key: str | Sequence[str] | None = None
) -> Any:
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
    conn: Any, table: str, rows: Record | Iterable[Record], key: str | Sequence[str] | None = None
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
    with db.transaction():
        known = known_columns(db, table)
        named = [named_row(table, known, row) for row in many]
        changed = 0
        for row in _prepared(db, table, named):
            where = {k: _take(table, row, k) for k in keys}
            values = {c: v for c, v in row.items() if c not in where}
            if not values:
                raise SchemaError(f"{table}: nothing to update besides the key {', '.join(keys)}")
            sets = ", ".join(f"{quote(c)} = ?" for c in values)
            matches = " AND ".join(f"{quote(k)} IS ?" for k in where)
            db.run(
                f"UPDATE main.{quote(table)} SET {sets} WHERE {matches}",
                [*map(bound, values.values()), *map(bound, where.values())],
            )
            changed += db.changes
        return changed


def delete(conn: Any, table: str, keys: Any) -> int:
    """Deletes rows by primary key (one, or an iterable of them); returns how many there were.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"body": str}, text="body")
    >>> ids = vecsql.insert(db, "notes", [{"body": "night train"}, {"body": "rye bread"}])
    >>> vecsql.delete(db, "notes", ids)
    2
    """
    db = driver_of(conn)
    one = isinstance(keys, (int, str, bytes)) or not isinstance(keys, Iterable)
    with db.transaction():
        known_columns(db, table)
        key = quote(_primary_key(db, table))
        deleted = 0
        for value in [keys] if one else keys:
            db.run(f"DELETE FROM main.{quote(table)} WHERE {key} = ?", (bound(value),))
            deleted += db.changes
        return deleted


# --- parts ---------------------------------------------------------------------------------------


def _each(rows: Record | Iterable[Record], write: Any) -> Any:
    """One dict gives one rowid, several give a list."""
    if isinstance(rows, Mapping):
        return write([rows])[0]
    return write(list(rows))


def _write(db: Db, table: str, rows: Sequence[Record], keys: tuple[str, ...] | None) -> list[int]:
    with db.transaction():
        known = known_columns(db, table)
        named = [named_row(table, known, row) for row in rows]
        if keys is None:
            add_vectors(db, table, named)
        returning = "" if _is_virtual(db, table) else " RETURNING rowid"
        rowids = []
        for row in named if keys is None else _prepared(db, table, named):
            sql = _insert_sql(table, tuple(row), keys) + returning
            found = db.rows(sql, [bound(v) for v in row.values()])
            rowids.append(found[0][0] if found else db.last_rowid)
        return rowids


def _insert_sql(table: str, names: tuple[str, ...], keys: tuple[str, ...] | None) -> str:
    columns = f"({', '.join(map(quote, names))}) VALUES({', '.join('?' * len(names))})"
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


def known_columns(db: Db, table: str) -> dict[str, str]:
    """The columns of a table by their names in lower case."""
    names = columns(db, table)
    if not names:
        raise SchemaError(no_table(db, table))
    known = {name.lower(): name for name in names}
    for info in registered(db):
        if info.table.lower() == table.lower():  # after reembed the vectors are in another column
            known[info.column.lower()] = info.source
    return known


def named_row(table: str, known: Mapping[str, str], row: Record) -> dict[str, Any]:
    """The row under the columns' own names; refuses names that the table does not have."""
    if not isinstance(row, Mapping):
        raise SchemaError(f"{table}: a row is a dict of column -> value, got {type(row).__name__}")
    unknown = [name for name in row if name.lower() not in known and name.lower() != "rowid"]
    if unknown:
        have = ", ".join(known.values())
        raise SchemaError(f"{table} has no column {', '.join(map(str, unknown))}; it has {have}")
    return {known.get(name.lower(), name): value for name, value in row.items()}


def add_vectors(db: Db, table: str, rows: list[dict[str, Any]], *, store: bool = False) -> None:
    """Puts the vectors of new rows' text into the rows, so that no trigger has to compute them."""
    for info in _embedding_indexes(db, table):
        embed_rows(db, info, embedder_for(db, info), rows, store=store)


def embed_rows(
    db: Db, info: IndexInfo, embedder: Embedder, rows: list[dict[str, Any]], *, store: bool = False
) -> None:
    """Puts the vectors of one index, which may not exist yet, into rows that have none."""
    due = [row for row in rows if row.get(info.source) is None]
    for batch in _with_text(info, due):
        vectors = encode_texts(db, embedder, [text for _, text in batch], store=store)
        for (row, _), vector in zip(batch, vectors, strict=True):
            row[info.source] = vector.astype("<f4", copy=False).tobytes()


def _prepared(db: Db, table: str, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yields rows to change, a batch of vectors ahead of the triggers that may ask for them."""
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        _remember_vectors(db, table, batch)
        yield from batch


def _remember_vectors(db: Db, table: str, rows: list[dict[str, Any]]) -> None:
    for info in _embedding_indexes(db, table):
        model = model_for(db, info)
        due = [row for row in rows if info.source not in row]
        for batch in _with_text(info, due):
            texts = [text for _, text in batch]
            for text, vector in zip(texts, encode_texts(db, model.embedder, texts), strict=True):
                model.remember(text, vector.astype("<f4", copy=False).tobytes())


def _embedding_indexes(db: Db, table: str) -> list[IndexInfo]:
    return [
        info
        for info in registered(db)
        if info.table.lower() == table.lower() and info.mode == "trigger"
    ]


def _with_text(
    info: IndexInfo, rows: list[dict[str, Any]]
) -> Iterator[list[tuple[dict[str, Any], str]]]:
    """Batches of the rows whose text is known here, with it; the rest is the triggers' work."""
    found = []
    for row in rows:
        text = embedded_text(info, row)
        if text is not None:
            found.append((row, text))
    for start in range(0, len(found), _BATCH):
        yield found[start : start + _BATCH]


def embedded_text(info: IndexInfo, row: Record) -> str | None:
    """The text of a row as `IndexInfo.text_sql` computes it.

    None if there is none to embed, and where only SQLite can tell: columns that are not named in
    the row, and values other than str.
    """
    parts = [row.get(c, 0) for c in info.text]
    if any(part is not None and not isinstance(part, str) for part in parts):
        return None
    if len(parts) == 1:
        text: str | None = parts[0]
        return text
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
    if len(keys) > 1:
        raise SchemaError(f"{table} has the primary key {', '.join(keys)}: name it with key=")
    return keys[0] if keys else "rowid"
