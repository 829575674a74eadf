"""Batches of texts to vectors, with a cache in the file: vecsql_cache(model, hash, vector).

The cache spares slow and paid models a text that they have seen; the bundled model is faster than
the look-up and does without. To empty it: DELETE FROM vecsql_cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from vecsql._base.errors import EmbedderError
from vecsql._base.types import Connection
from vecsql._connection.driver import Db, driver_of
from vecsql._model.embed import Embedder, StaticEmbedder, encode_checked
from vecsql._tables.catalog import has_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DDL = """
CREATE TABLE IF NOT EXISTS vecsql_cache(
  model TEXT NOT NULL, hash BLOB NOT NULL, vector BLOB NOT NULL,
  PRIMARY KEY(model, hash)) WITHOUT ROWID"""
_HASH_BYTES = 16
_BATCH = 128  # texts, after which what was computed is kept


def text_hash(text: str) -> bytes:
    """The name of a text in the cache."""
    import hashlib

    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_HASH_BYTES]


def _by_number(i: int) -> str:
    return f"text {i + 1}"


def row_of(table: str, rows: Sequence[object]) -> Callable[[int], str]:
    """The ``label`` of texts that come from these rows of a table."""
    return lambda i: f"{table}, row {rows[i]}"


def encode_texts(
    conn: Connection,
    embedder: Embedder,
    texts: Sequence[str],
    *,
    store: bool = False,
    label: Callable[[int], str] = _by_number,
    refused: Callable[[int, Exception], None] | None = None,
) -> NDArray[np.float32]:
    """Encodes texts in batches; float32 of shape (len(texts), dim).

    A text that occurs twice is encoded once. What the embedder had to compute goes into the
    file's cache batch by batch if a transaction is open, or in ones of their own with ``store``,
    which keeps a slow model from holding the write lock; else the cache is only read.

    Where a batch fails because of some of its texts, the others are encoded all the same. The
    failure is an `EmbedderError` that names the text by ``label``; ``refused`` takes the place and
    the error of each such text instead, whose row is then not to be used.
    """
    import numpy as np

    distinct = list(dict.fromkeys(texts))
    errors: dict[str, Exception] = {}
    if isinstance(embedder, StaticEmbedder):
        vectors = encode_checked(embedder, distinct)
    else:
        vectors, errors = _with_cache(driver_of(conn), embedder, distinct, store)
    for i, text in enumerate(texts) if errors else ():
        if text not in errors:
            continue
        if refused is None:
            raise EmbedderError(f"{label(i)}: {errors[text]}") from errors[text]
        refused(i, errors[text])
    if len(distinct) == len(texts):
        return vectors
    place = {text: i for i, text in enumerate(distinct)}
    return np.ascontiguousarray(vectors[[place[text] for text in texts]])


def _with_cache(
    db: Db, embedder: Embedder, texts: list[str], store: bool
) -> tuple[NDArray[np.float32], dict[str, Exception]]:
    import numpy as np

    out = np.zeros((len(texts), embedder.dim), np.float32)
    missing = []
    cached = has_table(db, "vecsql_cache")
    sql = "SELECT vector FROM main.vecsql_cache WHERE model = ? AND hash = ?"
    for i, text in enumerate(texts):
        blob = db.value(sql, (embedder.model_id, text_hash(text))) if cached else None
        if blob is None or len(blob) != 4 * embedder.dim:
            missing.append(i)
        else:
            out[i] = np.frombuffer(blob, "<f4")
    errors: dict[str, Exception] = {}
    for start in range(0, len(missing), _BATCH):
        batch = missing[start : start + _BATCH]
        # What was computed is kept: a later batch may fail.
        for places, vectors in _encoded(embedder, texts, batch, errors):
            out[places] = vectors
            if store or db.in_transaction:
                _keep(db, embedder, [texts[i] for i in places], vectors)
    return out, errors


def _encoded(
    embedder: Embedder, texts: list[str], batch: list[int], errors: dict[str, Exception]
) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
    """Yields places of texts with their vectors; halves a batch until it has found who fails."""
    parts, tried = [batch], False
    while parts:
        part = parts.pop()
        try:
            vectors = encode_checked(embedder, [texts[i] for i in part])
        except Exception as e:
            if not tried and not _works(embedder):
                raise  # the model fails, not a text
            tried = True
            if len(part) == 1:
                errors[texts[part[0]]] = e
            else:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
        else:
            yield part, vectors


def _works(embedder: Embedder) -> bool:
    """Whether a model takes a text that no model has a reason to refuse."""
    try:
        encode_checked(embedder, ["a"])
    except Exception:  # of any class: it is somebody else's code
        return False
    return True


def _keep(db: Db, embedder: Embedder, texts: list[str], vectors: NDArray[np.float32]) -> None:
    rows = [
        (embedder.model_id, text_hash(text), vector.astype("<f4", copy=False).tobytes())
        for text, vector in zip(texts, vectors, strict=True)
    ]
    with db.transaction():
        db.run(_DDL)
        db.run_many("REPLACE INTO main.vecsql_cache(model, hash, vector) VALUES(?, ?, ?)", rows)
