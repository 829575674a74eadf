"""Engines that are libraries: the index lives in memory, a query is a call."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from datasets import Dataset, Floats, Ids
from engine import (
    EF_CONSTRUCTION,
    Effort,
    Engine,
    M,
    Search,
    Unavailable,
    padded,
    require,
    unit,
    version_of,
)


class HnswLib(Engine):
    name = "hnswlib"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.lib = require("hnswlib", "hnswlib")
        self.version = version_of("hnswlib")
        self.path = str(directory / "hnswlib.bin")

    def empty(self, data: Dataset) -> Any:
        index = self.lib.Index("l2" if data.metric == "l2" else "cosine", data.dims)
        index.set_num_threads(1)
        return index

    def build(self, data: Dataset) -> None:
        self.index = self.empty(data)
        self.index.init_index(len(data.base), M=M, ef_construction=EF_CONSTRUCTION)
        self.index.add_items(data.base, num_threads=self.threads)

    def save(self) -> None:
        self.index.save_index(self.path)

    def reopen(self, data: Dataset) -> None:
        self.index = self.empty(data)
        self.index.load_index(self.path)

    def searchers(self) -> dict[str, Search]:
        return {"hnswlib, one call a query": self.calls, "hnswlib": self.batch}

    def batch(self, query: Floats, k: int, effort: Effort) -> Ids:
        self.index.set_ef(int(effort or k))
        ids: Ids = self.index.knn_query(query, k=k, num_threads=1)[0].astype(np.int64)
        return ids

    def calls(self, query: Floats, k: int, effort: Effort) -> Ids:
        self.index.set_ef(int(effort or k))
        ask = self.index.knn_query
        return padded([ask(q, k=k, num_threads=1)[0][0] for q in query], k)

    def close(self) -> None:
        self.index = None


class Faiss(Engine):
    """faiss: what differs between its indexes is the text of index_factory and the setting.

    Cosine is the inner product of vectors that are normalised here, outside the measured call for
    the base and inside it for the queries, as a user would.
    """

    factory = ""
    setting = "efSearch"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        # its BLAS would spin on more threads than the benchmark is pinned to
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        self.lib = require("faiss", "faiss-cpu")
        self.version = version_of("faiss-cpu")
        self.path = str(directory / f"{self.name}.faiss")

    def describe(self, data: Dataset) -> str:
        return self.factory

    def build(self, data: Dataset) -> None:
        self.lib.omp_set_num_threads(self.threads)
        self.cosine = data.metric == "cosine"
        metric = self.lib.METRIC_INNER_PRODUCT if self.cosine else self.lib.METRIC_L2
        self.index = self.lib.index_factory(data.dims, self.describe(data), metric)
        if "HNSW" in self.factory:
            self.lib.downcast_index(self.index).hnsw.efConstruction = EF_CONSTRUCTION
        base = self.prepared(data.base)
        self.tune()
        self.index.train(base)
        self.index.add(base)

    def tune(self) -> None:
        """Settings before training."""

    def prepared(self, vectors: Floats) -> Floats:
        if self.cosine:
            vectors = vectors.copy()
            self.lib.normalize_L2(vectors)
        return vectors

    def save(self) -> None:
        self.lib.write_index(self.index, self.path)

    def reopen(self, data: Dataset) -> None:
        self.cosine = data.metric == "cosine"
        self.index = self.lib.read_index(self.path)

    def searchers(self) -> dict[str, Search]:
        return {self.name: self.batch}

    def batch(self, query: Floats, k: int, effort: Effort) -> Ids:
        self.lib.omp_set_num_threads(1)
        self.lib.ParameterSpace().set_index_parameter(self.index, self.setting, int(effort or k))
        ids: Ids = self.index.search(self.prepared(query), k)[1]
        return ids

    def close(self) -> None:
        self.index = None


class FaissHnsw(Faiss):
    name = "faiss-hnsw"
    factory = f"HNSW{M}"


class FaissHnswSq8(Faiss):
    name = "faiss-hnsw-sq8"
    factory = f"HNSW{M}_SQ8"


class FaissIvfPq(Faiss):
    """d/4 codes of 8 bits (16x), the best 10 k candidates reranked by their float32 vectors."""

    name = "faiss-ivf-pq"
    factory = "IVF"
    setting = "nprobe"
    probes: ClassVar[list[int]] = [1, 2, 4, 8, 16, 32, 64, 128]

    def describe(self, data: Dataset) -> str:
        return f"IVF{max(1, int(4 * len(data.base) ** 0.5))},PQ{data.dims // 4},RFlat"

    def tune(self) -> None:
        # polysemous codes, a feature that is not used here, would take most of the training
        ivf = self.lib.downcast_index(self.lib.downcast_index(self.index).base_index)
        ivf.do_polysemous_training = False

    def efforts(self, ef: list[int]) -> list[Effort]:
        return list(self.probes)

    def batch(self, query: Floats, k: int, effort: Effort) -> Ids:
        self.lib.omp_set_num_threads(1)
        refine = self.lib.downcast_index(self.index)
        refine.k_factor = 10
        space = self.lib.ParameterSpace()
        space.set_index_parameter(refine.base_index, self.setting, int(effort or k))
        ids: Ids = refine.search(self.prepared(query), k)[1]
        return ids


class Usearch(Engine):
    name = "usearch-f32"
    dtype = "f32"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.lib = require("usearch.index", "usearch")
        self.version = version_of("usearch")
        self.path = str(directory / f"{self.name}.usearch")

    def empty(self, data: Dataset) -> Any:
        return self.lib.Index(
            ndim=data.dims,
            metric="l2sq" if data.metric == "l2" else "cos",
            dtype=self.dtype,
            connectivity=M,
            expansion_add=EF_CONSTRUCTION,
        )

    def scaled(self, vectors: Floats) -> Any:
        return vectors

    def build(self, data: Dataset) -> None:
        self.index = self.empty(data)
        keys = np.arange(len(data.base), dtype=np.uint64)
        self.index.add(keys, self.scaled(data.base), threads=self.threads)

    def save(self) -> None:
        self.index.save(self.path)

    def reopen(self, data: Dataset) -> None:
        self.index = self.empty(data)
        self.index.load(self.path)

    def searchers(self) -> dict[str, Search]:
        return {self.name: self.batch}

    def batch(self, query: Floats, k: int, effort: Effort) -> Ids:
        self.index.expansion_search = int(effort or k)
        found = self.index.search(self.scaled(query), k, threads=1)
        return padded(np.atleast_2d(np.asarray(found.keys).astype(np.int64)), k)

    def close(self) -> None:
        self.index = None


class UsearchI8(Usearch):
    """usearch codes float32 as int8 after normalising them; under l2 the bytes are made here."""

    name = "usearch-i8"
    dtype = "i8"

    def empty(self, data: Dataset) -> Any:
        self.range = None
        if data.metric == "l2":
            self.range = float(data.base.min()), float(data.base.max())
        return super().empty(data)

    def scaled(self, vectors: Floats) -> Any:
        if self.range is None:
            return vectors
        low, high = self.range
        return np.clip(np.round((vectors - low) * (254 / (high - low)) - 127), -127, 127).astype(
            np.int8
        )


class SymphonyQg(Engine):
    """SymphonyQG: 32 neighbours a node, their one-bit codes beside the links, raw vectors.

    It has l2 and inner product. Cosine is l2 of vectors that are normalised here.
    """

    name = "symphonyqg"
    degree = 2 * M  # a node of the other graphs has as many links in the lowest layer

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.lib = require("rabitqlib", "rabitqlib")
        self.version = version_of("rabitqlib")
        self.path = str(directory / "symphonyqg.index")

    def prepared(self, vectors: Floats) -> Floats:
        return unit(vectors) if self.cosine else vectors

    def build(self, data: Dataset) -> None:
        self.cosine = data.metric == "cosine"
        self.index = self.lib.SymqgIndex(data.dims, self.degree, "l2")
        self.index.build(self.prepared(data.base), EF_CONSTRUCTION, self.threads)

    def save(self) -> None:
        self.index.save(self.path)

    def reopen(self, data: Dataset) -> None:
        self.cosine = data.metric == "cosine"
        self.index = self.lib.SymqgIndex.load(self.path)

    def searchers(self) -> dict[str, Search]:
        return {"symphonyqg, one call a query": self.calls, "symphonyqg": self.batch}

    def batch(self, query: Floats, k: int, effort: Effort) -> Ids:
        ids, _ = self.index.search_batch(self.prepared(query), k, int(effort or k), 1)
        found: Ids = ids.astype(np.int64)
        return found

    def calls(self, query: Floats, k: int, effort: Effort) -> Ids:
        ask, ef = self.index.search, int(effort or k)
        return padded([ask(q, k, ef, 1)[0][0] for q in self.prepared(query)[:, None]], k)

    def close(self) -> None:
        self.index = None


class Core(Engine):
    """The graph behind vecsql.Index, all queries in one call; the best codes are compared by the
    vectors."""

    name = "core"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        try:
            self.lib = importlib.import_module("vecsql._memory.core")
            self.arrays = importlib.import_module("vecsql._memory.arrays")
            kernels = importlib.import_module("vecsql._core")
        except ImportError as e:
            raise Unavailable(f"the installed package has no index in memory: {e}") from e
        self.version = kernels.ffi.string(kernels.lib.vs_kernels_name()).decode()
        self.graph: Any = None

    def build(self, data: Dataset) -> None:
        self.unit = data.metric == "cosine"
        self.base = self.rows(data.base)
        self.graph = self.lib.Graph(data.metric, data.dims, M, EF_CONSTRUCTION)
        self.graph.add(self.base, np.arange(len(self.base), dtype=np.int64), 1)

    def rows(self, vectors: Floats) -> Floats:
        return self.arrays.unit_vectors(vectors) if self.unit else vectors

    def searchers(self) -> dict[str, Search]:
        return {"vecsql core": self.batch}

    def batch(self, query: Floats, k: int, effort: Effort) -> Ids:
        rows, _ = self.graph.search(self.base, self.rows(query), k, int(effort or k), 1)
        return rows

    def evaluations(self) -> int:
        """Distance evaluations so far."""
        return self.graph.evaluations()

    def close(self) -> None:
        self.graph = None
