"""Vectors to measure with: files of a data directory, or a synthetic set; exact ground truth.

A data set is a directory that holds ``base.EXT`` and ``query.EXT``, EXT being npy, fvecs or bvecs,
or one file ``NAME.hdf5`` as ann-benchmarks publishes them (arrays ``train`` and ``test``; needs
h5py). Files are mapped, so that only the rows that are asked for are read. Queries must not be
rows of the base. Recall counts a returned row as right if its true distance is not above that of
the true k-th neighbour: among rows of equal distance any choice is right.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

HERE = Path(__file__).resolve().parent
CACHE = HERE / ".cache"
METRICS = ("l2", "cosine")

NO_DATA = """\
No vectors found{where}. Give a directory with --data DIR or VECSQL_BENCH_DATA=DIR. It holds one
folder a set (--set NAME), with base.npy and query.npy: arrays of shape (rows, dims), any numeric
type (.fvecs and .bvecs are read too, and
NAME.hdf5 of ann-benchmarks). Or run with --synthetic: clustered random vectors."""


class NoDataError(Exception):
    """There is nothing to measure with; the message says what to give."""


@dataclass
class Dataset:
    """Base and query vectors (rows, dims), float32, contiguous."""

    name: str
    metric: str
    base: Floats
    query: Floats
    more: npt.NDArray[Any] = field(repr=False)  # rows after the base, unread
    _kth: dict[int, npt.NDArray[np.float64]] = field(default_factory=dict, repr=False)

    @property
    def dims(self) -> int:
        return int(self.base.shape[1])

    def extra(self, n: int) -> Floats:
        """Returns n rows that are not in the base; repeats them if there are fewer."""
        if len(self.more) == 0:
            raise NoDataError(f"{self.name}: no rows left beyond the base; lower --rows")
        return as_float32(self.more[np.arange(n) % len(self.more)])

    def recall(self, found: Ids, k: int) -> float:
        """Recall@k of found (queries, k), ids being row numbers of the base; -1 for no row."""
        if k not in self._kth:
            self._kth[k] = kth_distance(self.base, self.query, k, self.metric)
        return recall(self.base, self.query[: len(found)], found, self._kth[k], k, self.metric)


def add_arguments(parser: Any) -> None:
    parser.add_argument("--data", type=Path, metavar="DIR", help="directory of data sets")
    parser.add_argument("--set", default="sift-128", metavar="NAME", help="data set in --data")
    parser.add_argument("--synthetic", action="store_true", help="clustered random vectors")
    parser.add_argument("--dims", type=int, default=128, help="dimensions of --synthetic")
    parser.add_argument("--metric", choices=METRICS, help="default: cosine for unit vectors")


def data_directory(given: Path | None) -> Path | None:
    """--data, else VECSQL_BENCH_DATA, else a shared data folder beside the repository."""
    if given is not None:
        return given
    if "VECSQL_BENCH_DATA" in os.environ:
        return Path(os.environ["VECSQL_BENCH_DATA"])
    beside = HERE.parent.parent / "shared" / "data"
    return beside if beside.is_dir() else None


def load(
    name: str,
    rows: int,
    *,
    data: Path | None = None,
    synthetic: bool = False,
    dims: int = 128,
    metric: str | None = None,
    queries: int | str = 1000,
) -> Dataset:
    """Loads the first rows of a set. Raises NoDataError if there is none.

    ``queries`` is how many of the set's own are asked, or the path of a file with others.
    """
    count = int(queries) if str(queries).isdecimal() else None
    if synthetic:
        name = f"synthetic-{dims}"
        base, query = clustered(rows + max(rows // 2, 2000), count or 1, dims)
    else:
        base, query = open_set(name, data_directory(data))
    if count is None:
        query = open_queries(Path(queries), base.shape[1])
    if metric is None:
        norms = np.linalg.norm(as_float32(base[:1000]), axis=1)
        metric = "cosine" if np.all(np.abs(norms - 1) < 0.01) else "l2"
    rows = min(rows, len(base))
    return Dataset(name, metric, as_float32(base[:rows]), as_float32(query[:count]), base[rows:])


def open_queries(path: Path, dims: int) -> npt.NDArray[Any]:
    """Query vectors that are no part of the set."""
    if not path.is_file():
        raise NoDataError(f"{path}: no such file of queries")
    query = open_vectors(path)
    if query.shape[1] != dims:
        raise NoDataError(f"{path}: {query.shape[1]} dimensions, the set has {dims}")
    return query


def open_set(name: str, root: Path | None) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    if root is not None and (root / f"{name}.hdf5").exists():
        return open_hdf5(root / f"{name}.hdf5")
    if root is None or not (root / name).is_dir():
        where = "" if root is None else f" at {root / name}"
        raise NoDataError(NO_DATA.format(where=where))
    found = []
    for stem in ("base", "query"):
        paths = [root / name / (stem + ext) for ext in (".npy", ".fvecs", ".bvecs")]
        paths = [p for p in paths if p.exists()]
        if not paths:
            raise NoDataError(NO_DATA.format(where=f": {root / name} has no {stem}.npy"))
        found.append(open_vectors(paths[0]))
    return found[0], found[1]


def open_hdf5(path: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The arrays of a file of ann-benchmarks, in memory."""
    try:
        import h5py
    except ImportError as e:
        raise NoDataError(f"{path}: pip install h5py to read it") from e
    with h5py.File(path) as file:
        return file["train"][:], file["test"][:]


def open_vectors(path: Path) -> npt.NDArray[Any]:
    """Maps a file of vectors; (rows, dims) of the file's own type."""
    if path.suffix == ".npy":
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r")
        if array.ndim != 2:
            raise NoDataError(f"{path}: expected two dimensions, got shape {array.shape}")
        return array
    # Each row of an fvecs or bvecs file is its dimension as int32, then its elements.
    raw = np.memmap(path, dtype=np.uint8, mode="r")
    dims = int(raw[:4].view("<i4")[0])
    size = 4 if path.suffix == ".fvecs" else 1
    rows = raw.reshape(-1, 4 + size * dims)[:, 4:]
    return rows if size == 1 else rows.view("<f4")


def as_float32(array: npt.NDArray[Any]) -> Floats:
    return np.ascontiguousarray(array, dtype=np.float32)


def clustered(rows: int, queries: int, dims: int, seed: int = 1) -> tuple[Floats, Floats]:
    """Gaussian clusters of unequal size on a subspace: nearer to real data than plain noise."""
    rng = np.random.default_rng(seed)
    n, inner = rows + queries, max(2, dims // 4)
    centres = rng.normal(size=(max(8, rows // 500), inner)).astype(np.float32)
    weight = rng.pareto(1.5, len(centres)) + 0.2
    member = rng.choice(len(centres), n, p=weight / weight.sum())
    points = centres[member] + 0.5 * rng.normal(size=(n, inner)).astype(np.float32)
    lift = rng.normal(size=(inner, dims)).astype(np.float32)
    points = points @ lift + 0.1 * rng.normal(size=(n, dims)).astype(np.float32)
    return as_float32(points[:rows]), as_float32(points[rows:])


# --- ground truth --------------------------------------------------------------------------------


def kth_distance(base: Floats, query: Floats, k: int, metric: str) -> npt.NDArray[np.float64]:
    """Exact distance of the k-th neighbour of every query; kept in benchmarks/.cache."""
    key = hashlib.blake2b(base.data, digest_size=16)
    key.update(query.data)
    key.update(f"{base.shape} {query.shape} {k} {metric} 2".encode())
    cached = CACHE / f"{key.hexdigest()}.npy"
    if cached.exists():
        found: npt.NDArray[np.float64] = np.load(cached)
        return found
    found = compute_kth(base, query, k, metric)
    CACHE.mkdir(exist_ok=True)
    (CACHE / ".gitignore").write_text("*\n", encoding="utf-8")
    np.save(cached, found)
    return found


def compute_kth(base: Floats, query: Floats, k: int, metric: str) -> npt.NDArray[np.float64]:
    """The same, computed: a float32 product finds 4 k candidates, float64 ranks them."""
    k, wide = min(k, len(base)), min(4 * k, len(base))
    candidates: list[npt.NDArray[Any]] = []
    scores: list[npt.NDArray[Any]] = []
    for at in range(0, len(base), 50_000):
        block = base[at : at + 50_000]
        score = -(query @ block.T)
        if metric == "l2":
            score = np.einsum("ij,ij->i", block, block) + 2 * score
        else:
            score /= np.maximum(np.linalg.norm(block, axis=1), 1e-30)
        part = np.argpartition(score, min(wide, len(block)) - 1, axis=1)[:, :wide]
        candidates.append(part + at)
        scores.append(np.take_along_axis(score, part, axis=1))
    ids, score = np.hstack(candidates), np.hstack(scores)
    best = np.argpartition(score, wide - 1, axis=1)[:, :wide]
    exact = true_distance(base, query, np.take_along_axis(ids, best, axis=1), metric)
    return np.partition(exact, k - 1, axis=1)[:, k - 1]


def true_distance(base: Floats, query: Floats, ids: Ids, metric: str) -> npt.NDArray[np.float64]:
    """Distances (queries, k) in float64; infinite where the id is no row."""
    out = np.full(ids.shape, np.inf)
    for i, (q, row) in enumerate(zip(query.astype(np.float64), ids, strict=True)):
        known = (row >= 0) & (row < len(base))
        v = base[row[known]].astype(np.float64)
        if metric == "l2":
            out[i, known] = np.sqrt(((v - q) ** 2).sum(1))
        else:
            norms = np.linalg.norm(v, axis=1) * np.linalg.norm(q)
            out[i, known] = 1 - (v @ q) / np.maximum(norms, 1e-300)
    return out


def recall(
    base: Floats, query: Floats, found: Ids, kth: npt.NDArray[np.float64], k: int, metric: str
) -> float:
    """Share of the true k neighbours among found; a row that is given twice counts once."""
    ids = np.sort(found, axis=1)
    ids[:, 1:][ids[:, 1:] == ids[:, :-1]] = -1
    near = true_distance(base, query, ids, metric) <= kth[: len(query), None] * (1 + 1e-6) + 1e-9
    return float(np.minimum(near.sum(1), k).mean() / min(k, len(base)))
