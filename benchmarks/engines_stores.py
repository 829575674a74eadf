"""Engines that are stores of their own: a folder of segments, asked by calls from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset, Floats, Ids
from engine import EF_CONSTRUCTION, Effort, Engine, M, Search, padded, require, unit, version_of

ROWS_A_CALL = 1000


def folder_bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


class Zvec(Engine):
    """zvec's HNSW on codes of eight bits, by its shortest call, which returns row numbers.

    Those codes have l2 only: cosine is l2 of vectors that are normalised here. With m = 16 the
    same recall takes a third more time.
    """

    name = "zvec"
    links = 2 * M
    started = False  # of the process

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.lib = require("zvec", "zvec")
        self.version = version_of("zvec")
        self.path = directory / "zvec"
        self.store: Any = None
        if not Zvec.started:
            level = self.lib.LogLevel.ERROR
            self.lib.init(log_level=level, query_threads=1, optimize_threads=1)
            Zvec.started = True

    def prepared(self, vectors: Floats) -> Floats:
        return unit(vectors) if self.cosine else vectors

    def build(self, data: Dataset) -> None:
        lib = self.lib
        self.cosine = data.metric == "cosine"
        index = lib.HnswIndexParam(
            metric_type=lib.MetricType.L2,
            m=self.links,
            ef_construction=EF_CONSTRUCTION,
            quantize_type=lib.QuantizeType.UNIFORM_UINT8,
            use_contiguous_memory=True,
        )
        column = lib.VectorSchema("e", lib.DataType.VECTOR_FP32, data.dims, index)
        store = lib.create_and_open(str(self.path), lib.CollectionSchema("v", vectors=column))
        base = self.prepared(data.base)
        for at in range(0, len(base), ROWS_A_CALL):
            rows = enumerate(base[at : at + ROWS_A_CALL], at)
            store.insert([lib.Doc(id=str(i), vectors={"e": row}) for i, row in rows])
        store.optimize(lib.OptimizeOption(concurrency=self.threads))
        store.close()
        self.reopen(data)

    def save(self) -> None:
        """It is saved already."""

    def reopen(self, data: Dataset) -> None:
        self.cosine = data.metric == "cosine"
        self.store = self.lib.open(str(self.path), self.lib.CollectionOption(read_only=True))

    def file_bytes(self) -> int:
        return folder_bytes(self.path)

    def searchers(self) -> dict[str, Search]:
        return {self.name: self.calls}

    def calls(self, query: Floats, k: int, effort: Effort) -> Ids:
        ask, make = self.store.query_internal_ids, self.lib.Query
        param = self.lib.HnswQueryParam(ef=int(effort or k))
        # the rows were inserted in order, so its row numbers are ours
        return padded(
            [ask(make("e", vector=q, param=param), topk=k) for q in self.prepared(query)], k
        )

    def close(self) -> None:
        if self.store is not None:
            self.store.close()
            self.store = None


class QdrantEdge(Engine):
    """qdrant-edge's HNSW on codes of eight bits, candidates rescored by their vectors."""

    name = "qdrant-edge"
    full_scan_kb = 10_000  # its default: where fewer bytes pass a filter, it walks no graph
    oversampling = 1.5  # candidates to rescore for each row wanted; with 1 recall ends at 0.98

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.lib = require("qdrant_edge", "qdrant-edge-py")
        self.version = version_of("qdrant-edge-py")
        self.path = directory / "qdrant-edge"
        self.shard: Any = None

    def create(self, data: Dataset) -> None:
        """An empty shard. All rows are indexed, by one thread, as soon as it is optimized."""
        lib = self.lib
        graph = lib.HnswIndexConfig(M, EF_CONSTRUCTION, self.full_scan_kb, self.threads)
        cosine = data.metric == "cosine"
        column = lib.EdgeVectorParams(
            data.dims,
            lib.Distance.Cosine if cosine else lib.Distance.Euclid,
            hnsw_config=graph,
            quantization_config=lib.ScalarQuantizationConfig(lib.ScalarType.Int8),
        )
        tuning = lib.EdgeOptimizersConfig(default_segment_number=1, indexing_threshold=100)
        config = lib.EdgeConfig(column, hnsw_config=graph, optimizers=tuning, max_search_threads=1)
        self.shard = lib.EdgeShard.create(str(self.path), config)

    def insert(self, data: Dataset, payloads: list[dict[str, Any]] | None = None) -> None:
        lib = self.lib
        for at in range(0, len(data.base), ROWS_A_CALL):
            rows = enumerate(data.base[at : at + ROWS_A_CALL], at)
            points = [
                lib.Point(i, row.tolist(), payloads[i] if payloads else None) for i, row in rows
            ]
            self.shard.update(lib.UpdateOperation.upsert_points(points))
        self.shard.flush()

    def build(self, data: Dataset) -> None:
        self.create(data)
        self.insert(data)
        self.shard.optimize()

    def save(self) -> None:
        self.shard.flush()

    def reopen(self, data: Dataset) -> None:
        self.shard = self.lib.EdgeShard.load(str(self.path))

    def file_bytes(self) -> int:
        return folder_bytes(self.path)

    def searchers(self) -> dict[str, Search]:
        return {self.name: self.calls}

    def calls(self, query: Floats, k: int, effort: Effort, only: Any = None) -> Ids:
        lib = self.lib
        rescored = lib.QuantizationSearchParams(rescore=True, oversampling=self.oversampling)
        params = lib.SearchParams(hnsw_ef=int(effort or k), quantization=rescored)
        found = []
        for q in query:
            near = lib.Query.Nearest(q.tolist())
            request = lib.QueryRequest(k, query=near, params=params, filter=only)
            found.append([point.id for point in self.shard.query(request)])
        return padded(found, k)

    def close(self) -> None:
        if self.shard is not None:
            self.shard.close()
            self.shard = None
