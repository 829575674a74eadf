"""The engines that the benchmarks compare: one small class each.

An engine builds an index of a data set with one thread and answers queries for their k nearest
rows, ids being row numbers of the base. ``searchers`` names its ways to ask. ``effort`` is what
buys recall: ef for graphs, the share of buckets for vec1, nothing for an exact scan. All graphs
are built with M = 16 and ef_construction = 200.

``Unavailable`` tells why an engine cannot run here. SQL engines share the class Sql, which the
storage benchmark uses too: it differs between them only in the text of the statements.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Floats, Ids

M, EF_CONSTRUCTION = 16, 200

Effort = float | None
Search = Callable[[Floats, int, Effort], Ids]


class Unavailable(Exception):
    """The engine cannot run here; the message says why."""


def require(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise Unavailable(f"not installed (pip install {package}): {e}") from e


def version_of(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "?"


def padded(rows: Iterable[Sequence[int]], k: int) -> Ids:
    """Ids (queries, k), -1 where an engine gave fewer."""
    lists = list(rows)
    out = np.full((len(lists), k), -1, dtype=np.int64)
    for i, row in enumerate(lists):
        out[i, : len(row)] = row
    return out


class Engine(ABC):
    """What all engines do."""

    name = ""
    version = ""

    @abstractmethod
    def build(self, data: Dataset) -> None:
        """Builds the index; the benchmark takes the time."""

    @abstractmethod
    def searchers(self) -> dict[str, Search]:
        """Ways to ask, by the name in the tables."""

    def efforts(self, ef: list[int]) -> list[Effort]:
        """The settings to measure, cheapest first."""
        return list(ef)

    def file_bytes(self) -> int | None:
        """Size of the file that holds vectors and index; None: it lives in memory."""
        return None

    def close(self) -> None:  # noqa: B027  most have nothing to free
        """Frees memory."""


# --- libraries in memory -------------------------------------------------------------------------


class HnswLib(Engine):
    name = "hnswlib"

    def __init__(self) -> None:
        self.lib = require("hnswlib", "hnswlib")
        self.version = version_of("hnswlib")

    def build(self, data: Dataset) -> None:
        self.index = self.lib.Index("l2" if data.metric == "l2" else "cosine", data.dims)
        self.index.init_index(len(data.base), M=M, ef_construction=EF_CONSTRUCTION)
        self.index.set_num_threads(1)
        self.index.add_items(data.base, num_threads=1)

    def searchers(self) -> dict[str, Search]:
        return {"hnswlib": self.batch, "hnswlib, one call a query": self.calls}

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


class Core(Engine):
    """The C core of vecsql by itself, through cffi, all queries in one call."""

    name = "core"

    def __init__(self) -> None:
        try:
            module = importlib.import_module("vecsql._core")
        except ImportError as e:
            raise Unavailable(f"the installed package has no vecsql._core: {e}") from e
        self.ffi, self.lib = module.ffi, module.lib
        self.version = self.ffi.string(self.lib.vs_kernels_name()).decode()
        self.index: Any = None

    def build(self, data: Dataset) -> None:
        metric = ("l2", "cosine").index(data.metric)
        self.index = self.lib.vs_memory_open(data.dims, metric, 0, M, EF_CONSTRUCTION)
        if self.index == self.ffi.NULL:
            raise MemoryError
        self.check(self.lib.vs_memory_add(self.index, self.floats(data.base), len(data.base)))

    def floats(self, array: Floats) -> Any:
        return self.ffi.from_buffer("float[]", array)

    def check(self, status: int) -> None:
        if status != 0:
            raise RuntimeError(f"the core returned status {status}")

    def searchers(self) -> dict[str, Search]:
        return {"vecsql core": self.batch}

    def batch(self, query: Floats, k: int, effort: Effort) -> Ids:
        ids = np.empty((len(query), k), dtype=np.int64)
        distances = np.empty((len(query), k), dtype=np.float32)
        status = self.lib.vs_memory_search(
            self.index,
            self.floats(query),
            len(query),
            k,
            int(effort or k),
            self.ffi.from_buffer("int64_t[]", ids, require_writable=True),
            self.ffi.from_buffer("float[]", distances, require_writable=True),
        )
        self.check(status)
        return ids

    def evaluations(self) -> int:
        """Distance evaluations so far."""
        return int(self.lib.vs_memory_evaluations(self.index))

    def close(self) -> None:
        if self.index is not None:
            self.lib.vs_memory_close(self.index)
            self.index = None


# --- engines in SQLite ---------------------------------------------------------------------------


class Sql(Engine):
    """A SQLite extension, asked from Python through apsw, one statement a query.

    The table is v(id, e). The statement that a query runs returns id and distance of k rows, and
    all rows are fetched.
    """

    insert = "INSERT INTO v(rowid, e) VALUES (?, ?)"
    delete = "DELETE FROM v WHERE rowid = ?"
    in_file = True  # the index is in the database file
    exact = False

    def __init__(self, directory: Path) -> None:
        self.apsw = require("apsw", "apsw")
        self.path = directory / f"{self.name}.db"
        self.db: Any = None

    # What differs.

    @abstractmethod
    def load(self, db: Any) -> None:
        """Loads the extension into a connection."""

    @abstractmethod
    def create(self, dims: int, metric: str, capacity: int) -> str:
        """The statement that makes table v."""

    @abstractmethod
    def query(self, effort: Effort) -> tuple[str, Callable[[bytes, int], Sequence[Any]]]:
        """The statement, and its bindings from a vector and k."""

    def finish(self, db: Any, rows: int, metric: str) -> None:
        """What has to follow the bulk load."""

    # What does not.

    def open(self, path: Path | None = None) -> Any:
        db = self.apsw.Connection(str(path or self.path))
        self.load(db)
        return db

    def enable(self, db: Any, path: str) -> None:
        db.enable_load_extension(True)
        db.load_extension(path)
        db.enable_load_extension(False)

    def make(self, data: Dataset, page_size: int = 4096, capacity: int = 0) -> Any:
        """Makes the file in WAL mode and loads the base in one transaction."""
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        db = self.open()
        db.execute(f"PRAGMA page_size = {page_size}; PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(self.create(data.dims, data.metric, capacity or len(data.base)))
        with db:
            db.executemany(self.insert, ((i, row.tobytes()) for i, row in enumerate(data.base)))
        self.finish(db, len(data.base), data.metric)
        return db

    def build(self, data: Dataset) -> None:
        self.db = self.make(data)

    def ask(self, db: Any, query: Floats, k: int, effort: Effort) -> Ids:
        sql, bind = self.query(effort)
        execute = db.execute
        found = []
        for q in query:
            rows = execute(sql, bind(q.tobytes(), k)).fetchall()
            found.append([row[0] for row in rows])
        return padded(found, k)

    def searchers(self) -> dict[str, Search]:
        return {self.name: lambda query, k, effort: self.ask(self.db, query, k, effort)}

    def file_bytes(self) -> int | None:
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return self.path.stat().st_size if self.in_file else None

    def close(self) -> None:
        if self.db is not None:
            self.db.close()
            self.db = None


class Vecsql(Sql):
    name = "vecsql"
    insert = "INSERT INTO v(id, e) VALUES (?, ?)"
    delete = "DELETE FROM v WHERE id = ?"
    extension: str | None = None  # --extension; else that of the installed package

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        if Vecsql.extension is None:
            try:
                Vecsql.extension = str(importlib.import_module("vecsql").loadable_path())
            except Exception as e:
                raise Unavailable(f"install the package or give --extension PATH: {e}") from e
        db = self.apsw.Connection(":memory:")
        self.load(db)
        self.version = str(db.execute("SELECT vecsql_version()").fetchone()[0])

    def load(self, db: Any) -> None:
        assert self.extension is not None
        self.enable(db, self.extension)

    def create(self, dims: int, metric: str, capacity: int) -> str:
        return (
            f"CREATE VIRTUAL TABLE v USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[{dims}]"
            f" distance_metric={metric} m={M} ef_construction={EF_CONSTRUCTION})"
        )

    def query(self, effort: Effort) -> tuple[str, Callable[[bytes, int], Sequence[Any]]]:
        sql = "SELECT id, distance FROM v WHERE e MATCH ? AND k = ?"
        if effort is None:
            return sql, lambda q, k: (q, k)
        return f"{sql} AND ef_search = ?", lambda q, k: (q, k, int(effort))


class SqliteVec(Sql):
    name = "sqlite-vec"
    exact = True

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.module = require("sqlite_vec", "sqlite-vec")
        self.version = version_of("sqlite-vec")

    def load(self, db: Any) -> None:
        self.enable(db, self.module.loadable_path())

    def create(self, dims: int, metric: str, capacity: int) -> str:
        return f"CREATE VIRTUAL TABLE v USING vec0(e FLOAT[{dims}] distance_metric={metric})"

    def query(self, effort: Effort) -> tuple[str, Callable[[bytes, int], Sequence[Any]]]:
        return "SELECT rowid, distance FROM v WHERE e MATCH ? AND k = ?", lambda q, k: (q, k)

    def efforts(self, ef: list[int]) -> list[Effort]:
        return [None]


class Vectorlite(Sql):
    """hnswlib behind a virtual table: the index is in memory, the file does not hold it."""

    name = "vectorlite"
    in_file = False

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.module = require("vectorlite_py", "vectorlite-py")
        self.version = version_of("vectorlite-py")

    def load(self, db: Any) -> None:
        self.enable(db, self.module.vectorlite_path())

    def create(self, dims: int, metric: str, capacity: int) -> str:
        return (
            f"CREATE VIRTUAL TABLE v USING vectorlite(e float32[{dims}] {metric}, hnsw("
            f"max_elements={capacity}, M={M}, ef_construction={EF_CONSTRUCTION},"
            " random_seed=1, allow_replace_deleted=true))"
        )

    def query(self, effort: Effort) -> tuple[str, Callable[[bytes, int], Sequence[Any]]]:
        sql = "SELECT rowid, distance FROM v WHERE knn_search(e, knn_param(?, ?, ?))"
        ef = int(effort or 64)
        return sql, lambda q, k: (q, k, ef)


class Vec1(Sql):
    """SQLite's own vec1, an inverted file, which apsw's wheels carry."""

    name = "vec1"
    insert = "INSERT INTO v(rowid, vector) VALUES (?, ?)"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.extra = require("apsw.sqlite_extra", "apsw>=3.51")
        if not self.extra.has("vec1"):
            raise Unavailable("this build of apsw has no vec1")
        self.version = f"apsw {version_of('apsw')}"

    def load(self, db: Any) -> None:
        self.extra.load(db, "vec1")

    def create(self, dims: int, metric: str, capacity: int) -> str:
        return "CREATE VIRTUAL TABLE v USING vec1(vector)"

    def finish(self, db: Any, rows: int, metric: str) -> None:
        distance = "l2" if metric == "l2" else "cos"
        arg = f"{{nbucket: {max(1, int(rows**0.5))}, quantizer: 'none', distance: '{distance}'}}"
        model = "(SELECT vec1_train(vector, ?) FROM v)"
        db.execute(f"INSERT INTO v(cmd, arg) VALUES ('rebuild', {model})", (arg,))

    def query(self, effort: Effort) -> tuple[str, Callable[[bytes, int], Sequence[Any]]]:
        sql = "SELECT rowid, distance FROM v(?, ?)"
        probe = 0.1 if effort is None else effort
        return sql, lambda q, k: (q, f"{{k: {k}, nprobe: {probe:g}}}")

    def efforts(self, ef: list[int]) -> list[Effort]:
        return [0.01, 0.02, 0.04, 0.07, 0.1, 0.2, 0.4]


SQL_ENGINES: dict[str, type[Sql]] = {c.name: c for c in (Vecsql, SqliteVec, Vectorlite, Vec1)}
MEMORY_ENGINES: dict[str, type[HnswLib] | type[Core]] = {c.name: c for c in (Core, HnswLib)}
NAMES = [Vecsql.name, *MEMORY_ENGINES, *(n for n in SQL_ENGINES if n != Vecsql.name)]


def make(names: Iterable[str], directory: Path) -> tuple[list[Engine], dict[str, str]]:
    """The engines that can run here, and for each other one the reason."""
    engines: list[Engine] = []
    skipped: dict[str, str] = {}
    for name in names:
        try:
            if name in SQL_ENGINES:
                engines.append(SQL_ENGINES[name](directory))
            else:
                engines.append(MEMORY_ENGINES[name]())
        except Unavailable as e:
            skipped[name] = str(e)
    return engines, skipped
