"""Text to vectors: what an embedder is, the bundled one, and what is taken for one.

The bundled model is a static embedding (Model2Vec): one int8 vector for each WordPiece token,
distilled from all-MiniLM-L6-v2. A text's vector is the sum of its tokens' vectors, normalised. It
needs numpy only, knows English, and does not know word order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from vecsql._base.errors import EmbedderError
from vecsql._connection.sharing import ForkSafeLock
from vecsql._text.wordpiece import WordPiece

if TYPE_CHECKING:
    import os

    import numpy as np
    from numpy.typing import NDArray

PROBE = "vecsql checks that this is the same model"
_PROBE_DIMS = 16


@runtime_checkable
class Embedder(Protocol):
    """What turns texts into vectors.

    ``model_id`` names the model: vectors of different ids are never compared. ``dim`` is the
    length of a vector. ``encode`` takes n texts and returns a float32 array of shape (n, dim). A
    model that embeds questions otherwise than documents has ``encode_query`` beside it.
    """

    @property
    def model_id(self) -> str:
        """The name of the model, stored with an index."""

    @property
    def dim(self) -> int:
        """The number of elements of each vector."""

    def encode(self, texts: list[str], /) -> NDArray[np.float32]:
        """Returns one row for each text."""


class _Encodes(Protocol):
    """What sentence-transformers and libraries like it call a model."""

    def encode(self, sentences: list[str], /) -> object:
        """Returns one row for each text."""


class _EmbedsDocuments(Protocol):
    """What LangChain calls embeddings."""

    def embed_documents(self, texts: list[str], /) -> object:
        """Returns one row for each text."""


class _EmbedsBatches(Protocol):
    """What LlamaIndex calls an embedding model."""

    def get_text_embedding_batch(self, texts: list[str], /) -> object:
        """Returns one row for each text."""


class _EmbedsPassages(Protocol):
    """What fastembed calls a model."""

    def passage_embed(self, texts: list[str], /) -> object:
        """Gives one row for each text."""


class _EmbedsMany(Protocol):
    """What llm calls an embedding model."""

    def embed_multi(self, items: list[str], /) -> object:
        """Gives one row for each text."""


AnyEmbedder = (
    Embedder
    | _Encodes
    | _EmbedsDocuments
    | _EmbedsBatches
    | _EmbedsPassages
    | _EmbedsMany
    | Callable[[list[str]], object]
)


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
        self._lock = ForkSafeLock()
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

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_loaded": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=ForkSafeLock())

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


class Adapted:
    """A function, or an embedding object of another library, as an Embedder.

    It is known by its answer to a fixed text, and by its name only for a reader's sake: the module
    that a function is imported as changes, and a name can get another function.
    """

    def __init__(
        self,
        subject: Any,
        label: str,
        documents: Callable[[list[str]], Any],
        queries: Callable[[list[str]], Any] | None = None,
    ):
        self.subject = subject
        self._label = label
        self._documents = documents
        self._model_id: str | None = None
        self._answer: NDArray[np.float32] | None = None
        if queries is not None:
            self.encode_query = queries

    @property
    def model_id(self) -> str:
        """The name with a hash of the answer, or what `rename` said."""
        if self._model_id is None:
            import hashlib

            answer = hashlib.sha256(checksum_of(self).encode()).hexdigest()
            self._model_id = f"{self._label}-{answer[:8]}"
        return self._model_id

    def rename(self, model_id: str) -> None:
        """Takes the name that an index has for the same model."""
        self._model_id = model_id

    @property
    def dim(self) -> int:
        """The length of the answer."""
        return len(self.answer())

    def encode(self, texts: list[str], /) -> NDArray[np.float32]:
        """Returns one row for each text."""
        return _as_rows(self._label, self._documents(texts))

    def answer(self) -> NDArray[np.float32]:
        """The vector of the fixed text, which is asked once."""
        if self._answer is None:
            rows = self.encode([PROBE])
            if rows.ndim != 2 or len(rows) != 1 or not rows.size:
                raise EmbedderError(
                    f"{self._label} returned shape {rows.shape} for 1 text, expected (1, dim)"
                )
            self._answer = rows[0]
        return self._answer


def _as_rows(name: str, rows: Any) -> NDArray[np.float32]:
    import numpy as np

    try:
        return np.ascontiguousarray(rows, np.float32)
    except (TypeError, ValueError) as e:
        raise EmbedderError(f"{name} returned no array of numbers: {e}") from e


def _adapted(embedder: Any) -> Adapted | None:
    """What other libraries call an embedder; None for what none of them does."""
    kind = type(embedder).__name__
    for documents_name, query_name, takes_lists in _METHODS:
        documents = getattr(embedder, documents_name, None)
        if not callable(documents):
            continue
        query = getattr(embedder, query_name, None) if query_name else None
        queries = partial(_listed if takes_lists else _one_by_one, query) if query else None
        return Adapted(embedder, _name_of(embedder, kind), partial(_listed, documents), queries)
    documents = getattr(embedder, "encode_document", None) or getattr(embedder, "encode", None)
    if callable(documents) and not isinstance(embedder, (str, bytes)):  # sentence-transformers
        query = getattr(embedder, "encode_query", None)
        return Adapted(
            embedder, _name_of(embedder, kind), documents, query if callable(query) else None
        )
    if callable(embedder):
        inner = embedder.func if isinstance(embedder, partial) else embedder
        name = getattr(inner, "__name__", kind)
        return Adapted(embedder, "lambda" if name == "<lambda>" else name, embedder)
    return None


# The methods for documents and for a query, and whether that of a query takes a list.
_METHODS = (
    ("embed_documents", "embed_query", False),  # LangChain
    ("get_text_embedding_batch", "get_query_embedding", False),  # LlamaIndex
    ("passage_embed", "query_embed", True),  # fastembed
    ("embed_multi", None, True),  # llm
)


def _listed(method: Callable[[list[str]], Any], texts: list[str]) -> Any:
    """What a method returns, and all that a generator gives."""
    rows = method(texts)
    return list(rows) if isinstance(rows, Iterator) else rows


def _one_by_one(query: Callable[[str], Any], texts: list[str]) -> list[Any]:
    return [query(text) for text in texts]


def _name_of(embedder: Any, kind: str) -> str:
    """The name of the model in an object of another library, without the folders before it."""
    card = getattr(embedder, "model_card_data", None)
    for found in (
        *(getattr(embedder, name, None) for name in ("model_name", "model", "model_id")),
        *(getattr(card, name, None) for name in ("model_id", "base_model")),
    ):
        if isinstance(found, str) and found.strip("/\\"):
            return found.strip("/\\").replace("\\", "/").rpartition("/")[2]
    return kind


@lru_cache(maxsize=1)
def bundled_embedder() -> StaticEmbedder:
    """The one instance of the bundled embedder, so that the model is read once."""
    return StaticEmbedder()


def as_embedder(embedder: AnyEmbedder | None) -> Embedder:
    """Returns an Embedder for what a user may pass as one; None is the bundled model."""
    if embedder is None:
        return bundled_embedder()
    if isinstance(embedder, type):
        raise EmbedderError(
            f"an embedder is an object, got the class {embedder.__name__}: {embedder.__name__}()"
        )
    if isinstance(embedder, Embedder):
        return embedder
    adapted = _adapted(embedder)
    if adapted is not None:
        return adapted
    raise EmbedderError(
        "an embedder has model_id, dim and encode(list of texts), or is a function from a list of "
        "texts to an array of vectors, or a model of sentence-transformers, model2vec, fastembed, "
        f"LangChain, LlamaIndex or llm; got {type(embedder).__name__}"
    )


def encode_checked(
    embedder: Embedder, texts: list[str], *, query: bool = False
) -> NDArray[np.float32]:
    """Encodes texts; raises `EmbedderError` unless the result is n finite vectors.

    With ``query`` as questions, where the embedder knows the difference.
    """
    import numpy as np

    encode = getattr(embedder, "encode_query", embedder.encode) if query else embedder.encode
    out = _as_rows(embedder.model_id, encode(texts))
    if out.shape != (len(texts), embedder.dim):
        raise EmbedderError(
            f"{embedder.model_id} returned shape {out.shape} for {len(texts)} texts, "
            f"expected {(len(texts), embedder.dim)}"
        )
    if not np.isfinite(out).all():
        raise EmbedderError(f"{embedder.model_id} returned NaN or infinity")
    return out


def checksum_of(embedder: Embedder) -> str:
    """A fingerprint of a model: the head of its answer to a fixed text, as float16 in hex."""
    if isinstance(embedder, Adapted):
        answer = embedder.answer()
    else:
        answer = encode_checked(embedder, [PROBE])[0]
    return str(answer[:_PROBE_DIMS].astype("<f2").tobytes().hex())


def same_model(a: str, b: str) -> bool:
    """Whether two fingerprints agree up to what machines and services differ in."""
    import numpy as np

    if len(a) != len(b):
        return False
    x, y = (np.frombuffer(bytes.fromhex(s), "<f2").astype(np.float32) for s in (a, b))
    return float(np.abs(x - y).max()) <= 0.02 * float(np.abs(x).max()) + 1e-6
