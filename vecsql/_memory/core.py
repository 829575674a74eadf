"""The graph of the C core (csrc/memory/memory_index.h), with arrays in the place of pointers.

A row is the number of a vector in the matrix that each call gets. The matrix may be another one in
the next call, if the vectors of the rows in the graph are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

METRICS = {"l2": 0, "cosine": 1, "ip": 2}
_HNSW, _CODEC_NONE, _CODEC_SQ8 = 0, 0, 1
_SQ8_FROM = 17  # dimensions from which on codes are smaller than vectors
_MAX_THREADS = 64
_NO_MEMORY, _CORRUPT = 1, 2

CORRUPT = "Index seems to be corrupted or unsupported"


class Graph:
    """The nearest rows of a matrix. Not for several threads at once: the owner has a lock."""

    def __init__(self, space: str, dim: int, m: int, ef_construction: int) -> None:
        # Only an installed package has it: mypy also looks at the sources.
        from vecsql._core import ffi, lib  # type: ignore[import-not-found,unused-ignore]

        self._ffi, self._lib = ffi, lib
        codec = _CODEC_SQ8 if dim >= _SQ8_FROM else _CODEC_NONE
        opened = self._lib.vs_memory_open(dim, METRICS[space], _HNSW, codec, m, ef_construction)
        if opened == self._ffi.NULL:
            raise MemoryError("there is no memory for an index")
        self._index = self._ffi.gc(opened, self._lib.vs_memory_close)
        self._asked = self._ffi.new("VsMemorySearch *")

    def add(self, vectors: NDArray[np.float32], rows: NDArray[np.int64], threads: int) -> None:
        """Adds rows of the matrix that are not in the graph."""
        self._lib.vs_memory_threads(self._index, min(threads, _MAX_THREADS))
        self._check(
            self._lib.vs_memory_add(self._index, self._floats(vectors), self._rows(rows), len(rows))
        )

    def remove(self, vectors: NDArray[np.float32], row: int) -> None:
        """Removes a row that is in the graph."""
        self._check(self._lib.vs_memory_remove(self._index, self._floats(vectors), row))

    def has(self, row: int) -> bool:
        """Whether the row is in the graph."""
        return bool(self._lib.vs_memory_has(self._index, row))

    def search(
        self,
        vectors: NDArray[np.float32],
        queries: NDArray[np.float32],
        k: int,
        ef: int,
        threads: int,
        rows: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k nearest rows of each query, -1 where there are fewer, and their distances.

        With ``rows`` exactly these are compared, and the graph is not needed.
        """
        import numpy as np

        found = np.empty((len(queries), k), np.int64)
        distances = np.empty((len(queries), k), np.float32)
        if found.size == 0:
            return found, distances
        self._lib.vs_memory_threads(self._index, min(threads, _MAX_THREADS))
        asked = self._asked
        kept = (self._floats(queries), self._floats(vectors), self._rows(rows))
        asked.queries, asked.vectors, asked.rows = kept
        asked.n, asked.k, asked.ef, asked.as_hnswlib = len(queries), k, max(ef, 1), 1
        asked.n_rows = 0 if rows is None else len(rows)
        results = self._rows(found), self._floats(distances)
        asked.found, asked.distances = results
        self._check(self._lib.vs_memory_search(self._index, asked))
        return found, distances

    def image(self) -> NDArray[np.uint8]:
        """The graph as bytes."""
        import numpy as np

        out = np.empty(self._lib.vs_memory_image_size(self._index), np.uint8)
        length = self._ffi.new("size_t *")
        buffer = self._ffi.from_buffer("unsigned char[]", out, require_writable=True)
        self._check(self._lib.vs_memory_image(self._index, buffer, len(out), length))
        return out[: length[0]]

    def restore(self, image: NDArray[np.uint8], rows: NDArray[np.int64]) -> None:
        """Gives this graph, a new one, what an image says. It has exactly these rows then.

        Raises RuntimeError if the image is damaged; the graph is not to be used then.
        """
        buffer = self._ffi.from_buffer("unsigned char[]", image)
        self._check(
            self._lib.vs_memory_restore(
                self._index, buffer, len(image), self._rows(rows), len(rows)
            )
        )

    def evaluations(self) -> int:
        """How many distances were computed so far."""
        return int(self._lib.vs_memory_evaluations(self._index))

    def flaw(self) -> str | None:
        """What is wrong with the graph; None if every invariant holds."""
        text = self._lib.vs_memory_validate(self._index)
        return None if text == self._ffi.NULL else self._ffi.string(text).decode()

    def _floats(self, array: NDArray[np.float32]) -> Any:
        return self._ffi.from_buffer("float[]", array)

    def _rows(self, rows: NDArray[np.int64] | None) -> Any:
        return self._ffi.NULL if rows is None else self._ffi.from_buffer("int64_t[]", rows)

    def _check(self, status: int) -> None:
        if status == _NO_MEMORY:
            raise MemoryError("there is not enough memory for the index")
        if status == _CORRUPT:
            raise RuntimeError(CORRUPT)
        if status:
            raise RuntimeError(f"the core refused with status {status}")
