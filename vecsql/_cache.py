"""Batches of texts to vectors, with a cache in the file: vecsql_cache(model, hash, vector).

The cache spares slow and paid models a text that they have seen; the bundled model is faster than
the look-up and does without. To empty it: DELETE FROM vecsql_cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vecsql._catalog import has_table
from vecsql._driver import Db, driver_of
from vecsql._embed import Embedder, StaticEmbedder, encode_checked

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DDL = """
CREATE TABLE IF NOT EXISTS vecsql_cache(
  model TEXT NOT NULL, hash BLOB NOT NULL, vector BLOB NOT NULL,
  PRIMARY KEY(model, hash)) WITHOUT ROWID"""
_HASH_BYTES = 16


def text_hash(text: str) -> bytes:
    """The name of a text in the cache."""
    import hashlib

    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:_HASH_BYTES]


def encode_texts(
    conn: Any, embedder: Embedder, texts: Sequence[str], *, store: bool = False
) -> NDArray[np.float32]:
    """Encodes texts in one batch; float32 of shape (len(texts), dim).

    A text that occurs twice is encoded once. What the embedder had to compute goes into the
    file's cache if a transaction is open, or in one of its own with ``store``, which keeps a slow
    model from holding the write lock; else the cache is only read.
    """
    import numpy as np

    distinct = list(dict.fromkeys(texts))
    if isinstance(embedder, StaticEmbedder):
        vectors = encode_checked(embedder, distinct)
    else:
        vectors = _with_cache(driver_of(conn), embedder, distinct, store)
    if len(distinct) == len(texts):
        return vectors
    place = {text: i for i, text in enumerate(distinct)}
    return np.ascontiguousarray(vectors[[place[text] for text in texts]])


def _with_cache(db: Db, embedder: Embedder, texts: list[str], store: bool) -> NDArray[np.float32]:
    import numpy as np

    out = np.empty((len(texts), embedder.dim), np.float32)
    missing = []
    cached = has_table(db, "vecsql_cache")
    sql = "SELECT vector FROM main.vecsql_cache WHERE model = ? AND hash = ?"
    for i, text in enumerate(texts):
        blob = db.value(sql, (embedder.model_id, text_hash(text))) if cached else None
        if blob is None or len(blob) != 4 * embedder.dim:
            missing.append(i)
        else:
            out[i] = np.frombuffer(blob, "<f4")
    if missing:
        out[missing] = encode_checked(embedder, [texts[i] for i in missing])
        if store or db.in_transaction:
            with db.transaction():
                db.run(_DDL)
                db.run_many(
                    "REPLACE INTO main.vecsql_cache(model, hash, vector) VALUES(?, ?, ?)",
                    [
                        (embedder.model_id, text_hash(texts[i]), out[i].astype("<f4").tobytes())
                        for i in missing
                    ],
                )
    return out
