"""Tables and their indexes: create, drop, and b-tree indexes for filters.

Everything that a call does is one transaction, or a savepoint in the one that is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from vecsql._base.errors import SchemaError
from vecsql._base.fragments import column_options, column_type
from vecsql._base.types import Connection
from vecsql._connection.driver import Db, driver_of, quote
from vecsql._model.embed import AnyEmbedder, Embedder, StaticEmbedder, as_embedder
from vecsql._tables import fts_table, triggers
from vecsql._tables.cache import encode_texts, row_of
from vecsql._tables.catalog import (
    STANDBY,
    IndexInfo,
    Mode,
    columns,
    has_table,
    index_of,
    indexes,
    no_table,
    registered,
    remove,
    save,
    standby_of,
)
from vecsql._tables.followed import require_followed
from vecsql._tables.json_paths import Paths
from vecsql._tables.registry import default_embedder, enroll, register_embedder, registry_of

if TYPE_CHECKING:
    from typing_extensions import Unpack

_BATCH = 512
# The affinity of BLOB, and a first word that sqlite3's detect_types knows (_base/bind.py).
VECTOR_TYPE = "VECTOR BLOB"
_TYPES = {str: "TEXT", int: "INTEGER", float: "REAL", bytes: "BLOB", bool: "INTEGER"}


class IndexOptions(TypedDict, total=False):
    """The keyword arguments of `create_index` that `create_table` passes on."""

    embedder: AnyEmbedder | None
    dim: int | None
    metric: str
    mode: Mode
    fts: bool | str
    options: str


def create_index(
    conn: Connection,
    table: str,
    column: str = "embedding",
    *,
    text: str | Sequence[str] | None = None,
    embedder: AnyEmbedder | None = None,
    dim: int | None = None,
    metric: str = "cosine",
    mode: Mode = "trigger",
    fts: bool | str = False,
    options: str = "",
) -> IndexInfo:
    """Creates an index over a vector column of an existing table: ``<table>_<column>``.

    ``table`` needs an INTEGER PRIMARY KEY. The column is added if it is missing, and its NULLs
    are filled from ``text``, one column or several. From then on writes to the table change the
    index in the same transaction.

    ``embedder`` is the model, by default the one registered as ``embed``, or else the bundled
    one. Its id, dimension and checksum are stored, and other models are refused. Without ``text``
    the caller writes the vectors, and gives their ``dim``.

    ``mode="trigger"`` embeds in the statement that writes; ``"sync"`` only notes what changed, so
    that any SQLite can write, and `vecsql.sync` embeds and indexes. ``fts=True`` also makes an
    FTS5 table over the text; a string is its tokenizer ("unicode61"). ``options`` go to the
    vector column ("m=32 ef_construction=400").

    Returns the index. Raises `SchemaError`, and leaves the file as it was, but for the vectors that
    a slow model made: they are in the cache for the next try.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> db.execute("CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT)").close()
    >>> vecsql.create_index(db, "notes", "embedding", text="body").index
    'notes_embedding'
    >>> db.execute("INSERT INTO notes(body) VALUES ('night train'), ('rye bread')").close()
    >>> sql = "SELECT rowid FROM notes_embedding WHERE embedding MATCH embed(?) AND k = 1"
    >>> db.execute(sql, ["railway"]).fetchall()
    [(1,)]
    """
    db = driver_of(conn)
    if embedder is not None:
        embedder = as_embedder(embedder)

    def described() -> tuple[IndexInfo, Embedder | None]:
        return _described(db, table, column, text, embedder, dim, metric, mode, bool(fts))

    if not db.in_transaction:
        _embed_ahead(db, *described())  # so that a slow model does not hold the write lock
    with db.transaction():
        info, model = described()
        if column.lower() not in map(str.lower, columns(db, info.table)):
            kind = vector_type(db, info.table)
            db.run(f"ALTER TABLE main.{quote(info.table)} ADD COLUMN {quote(column)} {kind}")
        if info.mode == "trigger" and model is not None:
            fill(db, info, model)
        create_virtual_table(db, info, options)
        triggers.create(db, info)
        if info.mode == "sync":
            triggers.queue_missing(db, info)
        if fts:
            fts_table.create(db, info, fts if isinstance(fts, str) else fts_table.DEFAULT_TOKENIZER)
        save(db, info)
    return info


def create_table(
    conn: Connection,
    table: str,
    columns: Mapping[str, type | str],
    *,
    key: str = "id",
    column: str = "embedding",
    text: str | Sequence[str] | None = None,
    **index: Unpack[IndexOptions],
) -> IndexInfo:
    """Creates a table with an index, from a declaration.

    ``columns`` maps names to Python types (str, int, float, bytes, bool) or to SQL
    ("TEXT NOT NULL"). The key column ``key INTEGER PRIMARY KEY`` and the vector column are added.
    ``text`` and the rest are those of `create_index`.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> info = vecsql.create_table(db, "notes", {"body": str, "author": str}, text="body")
    >>> (info.index, info.dim, info.metric)
    ('notes_embedding', 256, 'cosine')
    """
    db = driver_of(conn)
    if index.get("embedder") is not None:
        index["embedder"] = as_embedder(index["embedder"])
    if not db.in_transaction and (text or index.get("embedder") is not None):
        model = _model(db, table, (str(text),), index.get("embedder"), index.get("dim"))
        if model is not None:
            enroll(db, model)  # asks the model, so before the transaction
    with db.transaction():
        if has_table(db, table):
            raise SchemaError(f"table {table} exists already: vecsql.create_index adds an index")
        for orphan in indexes(db, table):
            require_followed(db, orphan)
        parts = [f"{quote(key)} INTEGER PRIMARY KEY"]
        for name, kind in columns.items():
            if name.lower() in (key.lower(), column.lower()):
                raise SchemaError(
                    f"{table}.{name} is made by vecsql: leave it out, or name the key and the "
                    "vector column otherwise (key=, column=)"
                )
            if not isinstance(kind, str) and kind not in _TYPES:
                known = ", ".join(t.__name__ for t in _TYPES)
                raise SchemaError(f"{table}.{name}: expected SQL or one of {known}, got {kind!r}")
            sql = column_type(f"{table}.{name}", kind) if isinstance(kind, str) else _TYPES[kind]
            parts.append(f"{quote(name)} {sql}")
        db.run(
            f"CREATE TABLE main.{quote(table)}({', '.join(parts)}, {quote(column)} {VECTOR_TYPE})"
        )
        return create_index(db, table, column, text=text, **index)


def drop_index(
    conn: Connection, table: str, column: str | None = None, *, drop_column: bool = False
) -> None:
    """Drops an index with its triggers and its full text; the vectors stay unless drop_column.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"body": str}, text="body")
    >>> vecsql.drop_index(db, "notes", drop_column=True)
    >>> vecsql.indexes(db)
    []
    """
    db = driver_of(conn)
    with db.transaction():
        info = index_of(db, table, column)
        drop_standby(db, info, drop_column=drop_column)
        triggers.drop(db, info)
        if info.fts is not None:
            fts_table.drop(db, info)
        db.run(f"DROP TABLE IF EXISTS main.{quote(info.index)}")  # plain SQL may have dropped it
        if info in registered(db):
            remove(db, info)
        if drop_column and info.table != info.index and has_table(db, info.table):
            db.run(f"ALTER TABLE main.{quote(info.table)} DROP COLUMN {quote(info.source)}")


def add_metadata_index(conn: Connection, table: str, *names: str) -> str:
    """Creates a b-tree index on columns of an indexed table, which makes filters on them fast.

    A name may be a path into a column of JSON, as in ``where=``: ``"meta.author"``. A dict as
    ``where=`` then asks the index. Returns the name of the SQL index; does nothing if it is there.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"body": str, "author": str}, text="body")
    >>> vecsql.add_metadata_index(db, "notes", "author")
    'notes_by_author'
    """
    db = driver_of(conn)
    known = [i for i in registered(db) if i.table.lower() == table.lower()]
    info = known[0] if known else index_of(db, table)
    if info.table == info.index:
        raise SchemaError(
            f"{table} is a virtual table: declare the column with the word indexed instead"
        )
    if not names:
        raise SchemaError(f"add_metadata_index({table}): expected the names of columns, got none")
    have, paths = {c.lower() for c in columns(db, info.table)}, Paths(db, info.table)
    parts = []
    for name in names:
        place = None if name.lower() in have else paths.find(name)
        parts.append(place.value if place else quote(_column_name(db, info.table, name)))
    index = "_".join((info.table, "by", *names))
    listed = ", ".join(parts)
    with db.transaction():
        db.run(f"CREATE INDEX IF NOT EXISTS main.{quote(index)} ON {quote(info.table)}({listed})")
    return index


# --- parts ---------------------------------------------------------------------------------------


def create_virtual_table(db: Db, info: IndexInfo, options: str = "") -> None:
    """Creates the virtual table of an index, which indexes the vectors that are there."""
    source = f" source={quote(info.source)}" if info.source != info.column else ""
    given = column_options(info.label, f"distance_metric={info.metric} {options}")
    db.run(
        f"CREATE VIRTUAL TABLE main.{quote(info.index)} USING vecsql("
        f"content={quote(info.table)}, content_rowid={quote(info.key)}, "
        f"{quote(info.column)} FLOAT[{int(info.dim)}] {given}{source})"
    )


def drop_standby(db: Db, info: IndexInfo, *, drop_column: bool = True) -> None:
    """Drops the second space that `reembed` made, if there is one, in the caller's transaction."""
    standby = standby_of(db, info)
    if standby is not None:
        triggers.drop(db, standby)
        db.run(f"DROP TABLE IF EXISTS main.{quote(standby.index)}")
        remove(db, standby, STANDBY)
        if drop_column and has_table(db, info.table):
            db.run(f"ALTER TABLE main.{quote(info.table)} DROP COLUMN {quote(standby.source)}")


def _described(
    db: Db,
    table: str,
    column: str,
    text: str | Sequence[str] | None,
    embedder: AnyEmbedder | None,
    dim: int | None,
    metric: str,
    mode: Mode,
    fts: bool,
) -> tuple[IndexInfo, Embedder | None]:
    """An index that can be made, and its model."""
    table = _table_name(db, table)
    texts = _text_columns(db, table, text)
    model = _model(db, table, texts, embedder, dim)
    info = IndexInfo(
        table=table,
        column=column,
        index=f"{table}_{column}",
        key=key_of(db, table),
        source=column,
        text=texts,
        fts=f"{table}_{column}_fts" if fts else None,
        dim=model.dim if model is not None else dim or 0,
        metric=metric,
        model_id=model.model_id if model is not None else None,
        checksum=enroll(db, model) if model is not None else None,
        mode=mode if texts else "none",
    )
    _check_new(db, info, mode)
    return info, model


def _embed_ahead(db: Db, info: IndexInfo, model: Embedder | None) -> None:
    """Embeds the rows that are there into the file's cache; the bundled model is faster."""
    if model is None or info.mode != "trigger" or isinstance(model, StaticEmbedder):
        return
    key, text, last = quote(info.key), info.text_sql("t"), None
    there = info.column.lower() in map(str.lower, columns(db, info.table))
    missing = f"{quote(info.column)} IS NULL AND " if there else ""
    while True:
        after = "" if last is None else f" AND {key} > {last}"
        batch = db.rows(
            f"SELECT {key}, {text} FROM main.{quote(info.table)} t WHERE {missing}"
            f"{text} IS NOT NULL{after} ORDER BY {key} LIMIT {_BATCH}"
        )
        if not batch:
            return
        encode_texts(
            db,
            model,
            [body for _, body in batch],
            store=True,
            label=row_of(info.table, [row for row, _ in batch]),
        )
        last = batch[-1][0]


def fill(db: Db, info: IndexInfo, embedder: Embedder) -> int:
    """Embeds the rows without a vector, in the caller's transaction; returns how many."""
    table, key, vector = quote(info.table), quote(info.key), quote(info.source)
    text = info.text_sql("t")
    done, last = 0, None
    while True:
        after = "" if last is None else f" AND {key} > {last}"
        batch = db.rows(
            f"SELECT {key}, {text} FROM main.{table} t WHERE {vector} IS NULL "
            f"AND {text} IS NOT NULL{after} ORDER BY {key} LIMIT {_BATCH}"
        )
        if not batch:
            return done
        vectors = encode_texts(
            db,
            embedder,
            [body for _, body in batch],
            label=row_of(info.table, [row for row, _ in batch]),
        )
        blobs = (v.astype("<f4", copy=False).tobytes() for v in vectors)
        db.run_many(
            f"UPDATE main.{table} SET {vector} = ? WHERE {key} = ?",
            [(blob, k) for blob, (k, _) in zip(blobs, batch, strict=True)],
        )
        done, last = done + len(batch), batch[-1][0]


def _table_name(db: Db, table: str) -> str:
    sql = "SELECT name, type, sql FROM main.sqlite_schema WHERE name = ? COLLATE NOCASE"
    rows = db.rows(sql + " AND type IN ('table', 'view')", (table,))
    if not rows:
        raise SchemaError(no_table(db, table))
    name, kind, ddl = rows[0]
    if kind == "view" or ddl.lower().startswith("create virtual"):
        what = "a view" if kind == "view" else "a virtual table"
        raise SchemaError(f"{table} is {what}; an index needs an ordinary table")
    return str(name)


def vector_type(db: Db, table: str) -> str:
    """The declared type of a column of vectors: STRICT tables know only SQLite's own."""
    sql = "SELECT strict FROM pragma_table_list WHERE schema = 'main' AND name = ?"
    return "BLOB" if db.value(sql + " COLLATE NOCASE", (table,)) else VECTOR_TYPE


def key_of(db: Db, table: str) -> str:
    """The INTEGER PRIMARY KEY of a table, if that is its rowid; raises `SchemaError` if not."""
    sql = "SELECT name, type FROM pragma_table_info(?, 'main') WHERE pk > 0"
    keys = db.rows(sql, (table,))
    own_index = "SELECT 1 FROM pragma_index_list(?, 'main') WHERE origin = 'pk'"
    if len(keys) == 1 and keys[0][1].upper() == "INTEGER" and db.rows(own_index, (table,)):
        raise SchemaError(
            f"{table}.{keys[0][0]} is no rowid, which is what ties an index to its rows: the table "
            "is WITHOUT ROWID, or the key is declared DESC; a table with a plain INTEGER PRIMARY "
            "KEY can have an index"
        )
    if len(keys) != 1 or keys[0][1].upper() != "INTEGER":
        have = ", ".join(f"{name} {kind}" for name, kind in keys) or "none"
        raise SchemaError(
            f"{table} needs an INTEGER PRIMARY KEY, which is what ties an index to its rows; "
            f"its primary key is: {have}"
        )
    return str(keys[0][0])


def _column_name(db: Db, table: str, name: str) -> str:
    have = columns(db, table)
    for known in have:
        if known.lower() == name.lower():
            return known
    raise SchemaError(f"{table} has no column {name}; it has {', '.join(have)}")


def _text_columns(db: Db, table: str, text: str | Sequence[str] | None) -> tuple[str, ...]:
    names = (text,) if isinstance(text, str) else tuple(text or ())
    return tuple(_column_name(db, table, name) for name in names)


def _model(
    db: Db,
    table: str,
    texts: tuple[str, ...],
    embedder: AnyEmbedder | None,
    dim: int | None,
) -> Embedder | None:
    if embedder is None and not texts:
        if dim is None:
            raise SchemaError(
                f"create_index({table}): expected text='<column to embed>', or dim=<dimension of "
                "the vectors that you write yourself>"
            )
        return None
    if embedder is None:
        model = default_embedder(db)
    else:
        model = as_embedder(embedder)
        if "embed" not in registry_of(db).by_name:
            register_embedder(db, model)
    if dim is not None and dim != model.dim:
        raise SchemaError(f"{table}: dim={dim}, but {model.model_id} makes {model.dim} dimensions")
    return model


def _check_new(db: Db, info: IndexInfo, mode: str) -> None:
    sql = "SELECT lower(name) FROM pragma_table_xinfo(?, 'main') WHERE hidden > 1"
    generated = [name for (name,) in db.rows(sql, (info.table,))]
    if info.text and info.column.lower() in generated:
        raise SchemaError(
            f"{info.label} is a generated column, which nobody can write: leave out text=, and "
            "give the dim= of the vectors that it computes"
        )
    if mode not in ("trigger", "sync", "none"):
        raise SchemaError(f"{info.label}: mode={mode!r}: expected 'trigger', 'sync' or 'none'")
    for name in (info.index, info.fts):
        if name is not None and has_table(db, name):
            raise SchemaError(
                f"{info.label}: a table {name} exists already; vecsql.drop_index removes an index"
            )
