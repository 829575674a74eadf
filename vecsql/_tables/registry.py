"""Which embedders a connection has: SQL functions for text -> vector, and the index's own model.

The registry of a connection hangs on the connection itself, as closures of SQL functions, because
not every driver's connection can be a key of a weak dictionary: `vecsql_registry()` returns its
number, and the number finds it here while the connection lives.

SQL functions: ``vecsql_embed(text, model, checksum)``, which triggers call: it takes the embedder
of that model, whatever its name here, and refuses any other; and ``embed(text)``, under the name
that the user chose. That one is made by the extension (``vecsql_embedder``), which calls the first
and marks the vector with the model, so that a search refuses a query of another one.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vecsql._base.errors import EmbedderError, ModelMismatchError, SchemaError
from vecsql._base.types import Connection
from vecsql._connection.driver import Db, driver_of
from vecsql._model.embed import (
    Adapted,
    AnyEmbedder,
    Embedder,
    as_embedder,
    bundled_embedder,
    checksum_of,
    encode_checked,
    same_model,
)
from vecsql._tables.catalog import IndexInfo, registered, standby_of

_log = logging.getLogger("vecsql")
_CACHED_TEXTS = 1024

_registries: weakref.WeakValueDictionary[int, Registry] = weakref.WeakValueDictionary()
_numbers = itertools.count(1)


class Model:
    """An embedder with the vectors of the latest texts, as float32 blobs."""

    def __init__(self, embedder: Embedder):
        self.embedder = embedder
        self.verified: set[str] = set()  # the checksums that it was found to have
        self.checksum: str | None = None
        self._latest: dict[str, bytes] = {}
        self._held: list[Mapping[str, bytes]] = []

    def encode(self, text: str) -> bytes:
        """One text as a float32 blob."""
        for held in self._held:
            if text in held:
                return held[text]
        known = self._latest.get(text)
        if known is None:
            vector = encode_checked(self.embedder, [text])[0]
            known = bytes(vector.astype("<f4", copy=False))
            self.remember(text, known)
        return known

    @contextlib.contextmanager
    def holding(self, vectors: Mapping[str, bytes]) -> Iterator[None]:
        """Holds vectors that were computed before a transaction, for the triggers in it."""
        self._held.append(vectors)
        try:
            yield
        finally:
            self._held.remove(vectors)

    def remember(self, text: str, blob: bytes) -> None:
        """Remembers a vector until a thousand others came."""
        if len(self._latest) >= _CACHED_TEXTS:
            del self._latest[next(iter(self._latest))]  # the oldest
        self._latest[text] = blob


class Registry:
    """The embedders of one connection, by model id and by the name of their SQL function."""

    def __init__(self) -> None:
        self.by_id: dict[str, Model] = {}
        self.by_name: dict[str, Model] = {}
        self.last_error: Exception | None = None  # sqlite3 hides what a function raises

    def add(self, embedder: Embedder) -> Model:
        """Makes an embedder known; it replaces another one of the same model id."""
        known = self.by_id.get(embedder.model_id)
        if known is None or not _is_same(known.embedder, embedder):
            known = self.by_id[embedder.model_id] = Model(embedder)
        return known

    def _by_answer(self, checksum: str) -> Model | None:
        """The model that gives this answer, of those that are known by theirs."""
        for model in self.by_id.values():
            if isinstance(model.embedder, Adapted) and same_model(checksum, _checksum(model)):
                return model
        return None

    def find(self, model_id: str, checksum: str | None, what: str) -> Model:
        """Returns the embedder of a model; raises `ModelMismatchError` for any other."""
        model = self.by_id.get(model_id)
        if model is None and checksum is not None:
            model = self._by_answer(checksum)
        if model is None and bundled_embedder().model_id == model_id:
            model = self.add(bundled_embedder())
        if model is None:
            have = ", ".join(map(repr, self.by_id)) or "none"
            raise ModelMismatchError(
                f"{what} holds vectors of the model {model_id!r}; this connection has {have}: "
                "pass the embedder of that model to vecsql.register_embedder(db, embedder), or "
                "move the index to another model with vecsql.reembed"
            )
        if checksum is not None and checksum not in model.verified:
            if not same_model(checksum, _checksum(model)):
                raise ModelMismatchError(
                    f"{what} was made by another model of the name {model_id!r}: the one given "
                    "answers a fixed text otherwise (other weights?); give it another model_id "
                    "and use vecsql.reembed"
                )
            model.verified.add(checksum)
        return model


def _is_same(a: Embedder, b: Embedder) -> bool:
    if isinstance(a, Adapted) and isinstance(b, Adapted):
        return bool(a.subject is b.subject)
    return a is b


def registry_of(conn: Connection) -> Registry:
    """Returns the registry of a connection; makes it, with its SQL functions, at the first use."""
    db = driver_of(conn)
    with db.lock:
        return _registry_of(db)


def _registry_of(db: Db) -> Registry:
    if getattr(db.conn, "vecsql_registry", None) is not None:
        known: Registry = db.conn.vecsql_registry
        return known
    try:
        found = _registries.get(db.value("SELECT vecsql_registry()"))
    except Exception:  # "no such function", each driver's own class
        found = None
    if found is not None:
        return found
    registry, number = Registry(), next(_numbers)
    _registries[number] = registry

    def identify() -> int:
        return number if registry else 0  # the closure keeps the registry

    def embed_as(value: Any, model_id: Any, checksum: Any) -> bytes | None:
        return _embedded(registry.find(model_id, checksum, "the index"), value, "vecsql_embed")

    _create(db.conn, "vecsql_embed", 3, embed_as, registry)
    _create(db.conn, "vecsql_registry", 0, identify, registry)
    if hasattr(db.conn, "vecsql_registry"):  # a connection of vecsql.connect
        db.conn.vecsql_registry = registry
    return registry


def register_embedder(
    conn: Connection,
    embedder: AnyEmbedder | None = None,
    name: str = "embed",
) -> None:
    """Adds the SQL function ``embed(text)``, which returns the text's vector as a float32 blob.

    ``conn`` is a connection of apsw, sqlite3 or pysqlite3. ``embedder`` is an `Embedder`, a
    function from a list of texts to an array of shape (n, dim), or an object of
    sentence-transformers or LangChain; the last three are asked once, to be known by their answer.
    The default is the bundled model. NULL gives NULL; anything else that is not text is an error. A
    connection can have several, under several names; an index finds the one of its model by the
    model id.

    sqlite3 and pysqlite3 hide the message of an error in a function; connections of
    `vecsql.connect` show it, and it is in the log "vecsql".

    A model that embeds questions otherwise than documents (``encode_query``) gets a second
    function, ``embed_query(text)``.

    The function is deterministic, and with apsw innocuous too, so that it may be used in
    triggers and views of a database under ``trusted_schema=OFF``.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> vecsql.register_embedder(db)
    >>> db.execute("SELECT vec_length(embed('hello'))").fetchone()
    (256,)
    """
    db = driver_of(conn)
    chosen = recognised(db, as_embedder(embedder))
    model_id = chosen.model_id  # may ask the model, so before the lock
    with db.lock:
        registry = registry_of(db)
        model = registry.by_name[name] = registry.add(chosen)

        def embed(value: Any) -> bytes | None:
            return _embedded(model, value, name)

        def embed_query(value: Any) -> bytes | None:
            return _embedded(model, value, f"{name}_query", query=True)

        if not _create_marking(db, name, model_id):
            _create(db.conn, name, 1, embed, registry)
        if hasattr(chosen, "encode_query"):
            _create(db.conn, f"{name}_query", 1, embed_query, registry)


def embedder_for(conn: Connection, info: IndexInfo) -> Embedder:
    """Returns the embedder of an index's model, verified by its checksum.

    Raises `ModelMismatchError` if the connection has another one, `SchemaError` if the model of
    the index is not known because its vectors are given by the caller.
    """
    return model_for(conn, info).embedder


def model_for(conn: Connection, info: IndexInfo) -> Model:
    """As `embedder_for`; the result remembers the vectors of the latest texts."""
    if info.model_id is None:
        raise SchemaError(
            f"{info.label} has no model: its vectors are given by the caller, so pass a vector "
            "instead of a text, or make the index with vecsql.create_index(..., text=...)"
        )
    return registry_of(conn).find(info.model_id, info.checksum, info.label)


def default_embedder(conn: Connection) -> Embedder:
    """The embedder registered as ``embed``; the bundled one, registered now, if there is none."""
    registry = registry_of(conn)
    if "embed" not in registry.by_name:
        register_embedder(conn)
    return registry.by_name["embed"].embedder


# --- checksums -----------------------------------------------------------------------------------


def enroll(conn: Connection, embedder: Embedder) -> str:
    """Makes an embedder known to a connection; returns its checksum, which counts as verified."""
    model = registry_of(conn).add(recognised(driver_of(conn), embedder))
    checksum = _checksum(model)
    model.verified.add(checksum)
    return checksum


def _checksum(model: Model) -> str:
    """The fingerprint of a model, which is asked once."""
    if model.checksum is None:
        model.checksum = checksum_of(model.embedder)
    return model.checksum


def recognised(db: Db, embedder: Embedder) -> Embedder:
    """An embedder that is known by its answer gets the name that an index has for it."""
    if isinstance(embedder, Adapted):
        for info in [*registered(db), *_standbys(db)]:
            if info.model_id is None or info.checksum is None or info.dim != embedder.dim:
                continue
            if same_model(info.checksum, checksum_of(embedder)):
                embedder.rename(info.model_id)
                break
    return embedder


def _standbys(db: Db) -> list[IndexInfo]:
    return [s for info in registered(db) if (s := standby_of(db, info)) is not None]


# --- SQL functions -------------------------------------------------------------------------------


def _embedded(model: Model, value: Any, name: str, *, query: bool = False) -> bytes | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise EmbedderError(f"{name}() takes text, got {_sql_type(value)}: {name}(CAST(x AS TEXT))")
    if query:
        return bytes(encode_checked(model.embedder, [value], query=True)[0].astype("<f4"))
    return model.encode(value)


def _create_marking(db: Db, name: str, model_id: str) -> bool:
    """Makes name(text) the extension's; False if the connection has no extension for it."""
    try:
        db.value("SELECT vecsql_embedder(NULL, NULL)")
    except Exception as e:  # each driver's own class
        if "no such function" in str(e):
            return False
    return bool(db.value("SELECT vecsql_embedder(?, ?)", (name, model_id)))


def _create(
    conn: Any, name: str, arguments: int, function: Callable[..., Any], registry: Registry
) -> None:
    def called(*values: Any) -> Any:
        registry.last_error = None
        try:
            return function(*values)
        except Exception as e:
            registry.last_error = e
            _log.error("%s", e)
            raise

    if hasattr(conn, "create_scalar_function"):  # apsw
        import apsw

        conn.create_scalar_function(
            name, called, arguments, deterministic=True, flags=apsw.SQLITE_INNOCUOUS
        )
    else:
        conn.create_function(name, arguments, called, deterministic=True)


def _sql_type(value: Any) -> str:
    return {int: "INTEGER", float: "REAL", bytes: "BLOB"}.get(type(value), type(value).__name__)
