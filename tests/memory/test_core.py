"""Risk: the core behaves differently by itself than under SQLite, or its Python binding lies."""

from __future__ import annotations

import numpy as np
import pytest
from vecsql._core import ffi, lib

L2, COSINE, DOT = range(3)
NONE, SQ8, PQ = range(3)


def floats(array: np.ndarray):
    return ffi.from_buffer("float[]", np.ascontiguousarray(array, "<f4"))


class Index:
    """A memory index of the core."""

    def __init__(self, dims: int, metric: int = L2, kind: int = 0, codec: int = NONE) -> None:
        opened = lib.vs_memory_open(dims, metric, kind, codec, 8, 100)
        self.index = ffi.gc(opened, lib.vs_memory_close)

    def add(self, vectors: np.ndarray) -> None:
        self.vectors = floats(vectors)
        rows = ffi.from_buffer("int64_t[]", np.arange(len(vectors), dtype=np.int64))
        assert lib.vs_memory_add(self.index, self.vectors, rows, len(vectors)) == 0

    def remove(self, row: int) -> int:
        return lib.vs_memory_remove(self.index, self.vectors, row)

    def search(
        self, queries: np.ndarray, k: int, ef: int, *, exact: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        n = len(queries)
        rowids, distances = np.empty((n, k), np.int64), np.empty((n, k), np.float32)
        vectors, asked = floats(queries), ffi.new("VsMemorySearch *")
        asked.queries, asked.n, asked.k, asked.ef = vectors, n, k, ef
        asked.vectors = self.vectors if exact else ffi.NULL
        asked.found = ffi.from_buffer("int64_t[]", rowids, require_writable=True)
        asked.distances = ffi.from_buffer("float[]", distances, require_writable=True)
        assert lib.vs_memory_search(self.index, asked) == 0
        return rowids, distances


def clusters(n: int, dims: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(30, dims))
    return (centres[rng.integers(0, 30, n)] + 0.5 * rng.normal(size=(n, dims))).astype("<f4")


@pytest.mark.parametrize("metric", [L2, COSINE, DOT])
def test_a_graph_finds_what_brute_force_finds(metric):
    base, queries = np.split(clusters(3100, 20, 1), [3000])
    graph, flat = Index(20, metric), Index(20, metric, kind=1)
    graph.add(base)
    flat.add(base)
    assert lib.vs_memory_validate(graph.index) == ffi.NULL
    walk, scan = graph.search(queries, 10, 64)[0], flat.search(queries, 10, 64)[0]
    found = sum(len(set(a) & set(b)) for a, b in zip(walk, scan, strict=True))
    assert found / scan.size >= (0.9 if metric == DOT else 0.97)


@pytest.mark.parametrize("metric", [L2, COSINE, DOT])
@pytest.mark.parametrize(("codec", "least", "error"), [(SQ8, 0.95, 0.02), (PQ, 0.5, 0.4)])
def test_codes_stand_for_their_vectors(metric, codec, least, error):
    base, queries = np.split(clusters(3100, 20, 7), [3000])
    whole, coded = Index(20, metric), Index(20, metric, codec=codec)
    whole.add(base)
    coded.add(base)
    (rowids, distances), (found, near) = (i.search(queries, 10, 100) for i in (whole, coded))
    same = [len(set(a) & set(b)) for a, b in zip(rowids, found, strict=True)]
    assert sum(same) / rowids.size >= least
    scale = np.abs(distances).mean()
    assert np.abs(near[:, 0] - distances[:, 0]).mean() < error * scale
    found, near = coded.search(queries, 10, 100, exact=True)
    same = [len(set(a) & set(b)) for a, b in zip(rowids, found, strict=True)]
    assert sum(same) / rowids.size >= 0.95
    first = found[:, 0] == rowids[:, 0]
    assert first.mean() > 0.9
    assert near[first, 0] == pytest.approx(distances[first, 0], abs=1e-4)


@pytest.mark.parametrize("metric", [L2, COSINE])
def test_threads_change_nothing_but_time(metric):
    base, queries = np.split(clusters(3200, 20, 6), [3000])
    one, three = Index(20, metric), Index(20, metric)
    lib.vs_memory_threads(three.index, 3)
    one.add(base)
    three.add(base)
    for a, b in zip(one.search(queries, 10, 64), three.search(queries, 10, 64), strict=True):
        assert (a == b).all()
    assert lib.vs_memory_evaluations(one.index) == lib.vs_memory_evaluations(three.index)
    assert lib.vs_memory_validate(three.index) == ffi.NULL


def test_distances_are_those_of_the_metric():
    base, queries = clusters(200, 7, 3), clusters(5, 7, 4)

    def unit(x):
        return x / np.linalg.norm(x, axis=-1, keepdims=True)

    expected = {
        L2: lambda a, b: np.linalg.norm(a - b, axis=-1),
        COSINE: lambda a, b: 1 - (unit(a) * unit(b)).sum(-1),
        DOT: lambda a, b: -(a * b).sum(-1),
    }
    for metric, distance in expected.items():
        index = Index(7, metric)
        index.add(base)
        rowids, distances = index.search(queries, 5, 300)
        assert distances == pytest.approx(distance(queries[:, None], base[rowids]), abs=1e-4)


def test_deleted_nodes_are_not_found_and_short_answers_are_padded():
    base = clusters(50, 4, 5)
    index = Index(4)
    index.add(base)
    for row in range(45):
        assert index.remove(row) == 0
    assert index.remove(3) != 0
    rowids, distances = index.search(base[:1], 8, 50)
    assert sorted(rowids[0][:5]) == [45, 46, 47, 48, 49]
    assert list(rowids[0][5:]) == [-1, -1, -1]
    assert np.isinf(distances[0][5:]).all()
    assert lib.vs_memory_validate(index.index) == ffi.NULL


@pytest.mark.parametrize(
    "values",
    [
        (0, 0, 0, 0, 8, 10),
        (4, 3, 0, 0, 8, 10),
        (4, 0, 2, 0, 8, 10),
        (4, 0, 0, 3, 8, 10),
        (4, 0, 0, 0, 1, 10),
        (4, 0, 0, 0, 8, 0),
    ],
)
def test_parameters_out_of_range_give_no_index(values):
    assert lib.vs_memory_open(*values) == ffi.NULL


def test_the_kernels_are_named():
    assert ffi.string(lib.vs_kernels_name()) in (b"avx2", b"scalar")
