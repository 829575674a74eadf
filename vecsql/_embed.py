"""Text to vectors: what an embedder is, and the bundled one.

The bundled model is a static embedding (Model2Vec): one int8 vector for each WordPiece token,
distilled from all-MiniLM-L6-v2. A text's vector is the sum of its tokens' vectors, normalised. It
needs numpy only, knows English, and does not know word order.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from vecsql._errors import EmbedderError
from vecsql._wordpiece import WordPiece

if TYPE_CHECKING:
    import os

    import numpy as np
    from numpy.typing import NDArray


@runtime_checkable
class Embedder(Protocol):
    """What turns texts into vectors.

    ``model_id`` names the model: vectors of different ids are never compared. ``dim`` is the
    length of a vector. ``encode`` takes n texts and returns a float32 array of shape (n, dim).
    """

    @property
    def model_id(self) -> str:
        """The name of the model, stored with an index."""

    @property
    def dim(self) -> int:
        """The number of elements of each vector."""

    def encode(self, texts: list[str], /) -> NDArray[np.float32]:
        """Returns one row for each text."""


class StaticEmbedder:
    """The bundled embedder: English, 256 dimensions, offline, numpy only.

    Vectors have unit length. A text without any known token (empty, or of an unknown script)
    gives the zero vector, whose cosine distance from everything is 1. Only the first 512 tokens
    count. The model is read at the first use. Safe to use from several threads.

    >>> e = StaticEmbedder()
    >>> cat, kitten, bond = e.encode(["a cat sat down", "the kitten sits", "bond prices fell"])
    >>> bool(cat @ kitten > cat @ bond)
    True
    """

    max_tokens = 512

    def __init__(self, path: str | os.PathLike[str] | None = None, model_id: str | None = None):
        """Takes a model.npz of the same form (``table`` int8[n, dim], ``vocab``) if path is given,
        and then a model_id too.
        """
        if (path is None) != (model_id is None):
            raise EmbedderError("path and model_id go together: another model has another id")
        self._path = path
        self._model_id = model_id or "vecsql-static-en-256"
        self._lock = threading.Lock()
        self._loaded: tuple[NDArray[np.int8], WordPiece] | None = None

    @property
    def model_id(self) -> str:
        """``vecsql-static-en-256`` for the bundled model."""
        return self._model_id

    @property
    def dim(self) -> int:
        """256 for the bundled model."""
        return 256 if self._path is None else int(self._model()[0].shape[1])

    def encode(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Returns a float32 array of shape (len(texts), dim), rows of length 1 or 0."""
        import numpy as np

        if isinstance(texts, str):
            raise EmbedderError("encode takes a list of texts, got one str")
        table, tokens = self._model()
        out = np.zeros((len(texts), table.shape[1]), np.float32)
        for i, text in enumerate(texts):
            if ids := tokens(text)[: self.max_tokens]:
                out[i] = table[ids].sum(axis=0, dtype=np.int32)
        out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
        return out

    def _model(self) -> tuple[NDArray[np.int8], WordPiece]:
        with self._lock:
            if self._loaded is None:
                from importlib.resources import files

                import numpy as np

                bundled = files("vecsql").joinpath("data/static-en-256/model.npz")
                path = bundled if self._path is None else Path(self._path)
                with path.open("rb") as source, np.load(source, allow_pickle=False) as model:
                    vocabulary = bytes(model["vocab"]).decode("utf-8").split("\n")
                    self._loaded = (model["table"], WordPiece(vocabulary))
            return self._loaded


class _FunctionEmbedder:
    """A plain function from texts to vectors as an Embedder."""

    def __init__(self, function: Callable[[list[str]], Any]):
        self._function = function
        name = getattr(function, "__qualname__", type(function).__qualname__)
        self.model_id = f"{function.__module__}.{name}"
        self._dim = 0

    @property
    def dim(self) -> int:
        if not self._dim:
            self._dim = self.encode([""]).shape[1]
        return self._dim

    def encode(self, texts: list[str], /) -> NDArray[np.float32]:
        import numpy as np

        return np.asarray(self._function(texts), np.float32)


@lru_cache(maxsize=1)
def bundled_embedder() -> StaticEmbedder:
    """The one instance of the bundled embedder, so that the model is read once."""
    return StaticEmbedder()


def as_embedder(embedder: Embedder | Callable[[list[str]], Any] | None) -> Embedder:
    """Returns an Embedder for what a user may pass as one; None is the bundled model."""
    if embedder is None:
        return bundled_embedder()
    if isinstance(embedder, Embedder):
        return embedder
    if callable(embedder):
        return _FunctionEmbedder(embedder)
    raise EmbedderError(
        "an embedder has model_id, dim and encode(list of texts), or is a function from a list "
        f"of texts to an array of vectors; got {type(embedder).__name__}"
    )


def encode_checked(embedder: Embedder, texts: list[str]) -> NDArray[np.float32]:
    """Encodes texts; raises `EmbedderError` unless the result is n finite vectors."""
    import numpy as np

    out = np.ascontiguousarray(embedder.encode(texts), np.float32)
    if out.shape != (len(texts), embedder.dim):
        raise EmbedderError(
            f"{embedder.model_id} returned shape {out.shape} for {len(texts)} texts, "
            f"expected {(len(texts), embedder.dim)}"
        )
    if not np.isfinite(out).all():
        raise EmbedderError(f"{embedder.model_id} returned NaN or infinity")
    return out
