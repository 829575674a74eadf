"""Engines in SQLite: an extension, asked in SQL. The storage benchmark uses them too; they differ
only in the text of their statements."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
    version_of,
)

CACHE_KIB = 1 << 20  # SQLite's page cache, for every engine: the rows of all sets fit


class Sql(Engine):
    """A SQLite extension, asked from Python through apsw, one statement a query.

    The table is v(id, e). The statement that a query runs returns id and distance of k rows, and
    all rows are fetched.
    """

    insert = "INSERT INTO v(rowid, e) VALUES (?, ?)"
    delete = "DELETE FROM v WHERE rowid = ?"
    in_file = True  # the index is in the database file
    exact = False
    mapped = CACHE_KIB << 10  # bytes of the file that may be mapped; it counts as resident

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
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

    def ready(self, db: Any) -> None:
        """What has to precede the bulk load."""

    def finish(self, db: Any, rows: int, metric: str) -> None:
        """What has to follow it."""

    # What does not.

    def open(self, path: Path | None = None) -> Any:
        db = self.apsw.Connection(str(path or self.path))
        self.load(db)
        self.make_room(db)
        return db

    def make_room(self, db: Any) -> None:
        db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        db.execute(f"PRAGMA mmap_size = {self.mapped}")

    def enable(self, db: Any, path: str) -> None:
        db.enable_load_extension(True)
        db.load_extension(path)
        db.enable_load_extension(False)

    def make(self, data: Dataset, page_size: int = 4096, capacity: int = 0) -> Any:
        """Makes the file in WAL mode and loads the base in one transaction."""
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)
        db = self.open()
        db.execute(f"PRAGMA page_size = {page_size}")
        db.execute("PRAGMA journal_mode = WAL").fetchall()
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute(self.create(data.dims, data.metric, capacity or len(data.base)))
        self.ready(db)
        db.execute("BEGIN")
        db.executemany(self.insert, ((i, row.tobytes()) for i, row in enumerate(data.base)))
        db.execute("COMMIT")
        self.finish(db, len(data.base), data.metric)
        return db

    def build(self, data: Dataset) -> None:
        self.db = self.make(data)

    def save(self) -> None:
        if not self.in_file:
            raise Unavailable(f"{self.name} keeps its index in memory")
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def reopen(self, data: Dataset) -> None:
        self.db = self.open()

    def page_cache(self) -> int:
        return int(self.db.status(self.apsw.SQLITE_DBSTATUS_CACHE_USED)[0])

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
    options = ""  # more options of the vector column: --codec

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
            f" distance_metric={metric} m={M} ef_construction={EF_CONSTRUCTION}{self.options})"
        )

    def ready(self, db: Any) -> None:
        if self.threads > 1:
            db.execute(f"INSERT INTO v(v) VALUES ('threads={self.threads}')")

    def query(self, effort: Effort) -> tuple[str, Callable[[bytes, int], Sequence[Any]]]:
        sql = "SELECT id, distance FROM v WHERE e MATCH ? AND k = ?"
        if effort is None:
            return sql, lambda q, k: (q, k)
        return f"{sql} AND ef_search = ?", lambda q, k: (q, k, int(effort))

    def searchers(self) -> dict[str, Search]:
        return {**super().searchers(), "vecsql_search": self.batch}

    def batch(self, query: Floats, k: int, effort: Effort) -> Ids:
        return self.ask_all(self.db, query, k, effort)

    def ask_all(self, db: Any, query: Floats, k: int, effort: Effort) -> Ids:
        """All queries in one call."""
        args = (query.tobytes(), k, int(effort or 0))
        (blob,) = db.execute("SELECT vecsql_search('v', 'e', ?, ?, ?)", args).fetchone()
        entries = np.frombuffer(blob, [("rowid", "<i8"), ("distance", "<f4")])
        return np.ascontiguousarray(entries["rowid"].reshape(-1, k))


class VecsqlCached(Vecsql):
    """The same with room for all vectors in memory (the command vector_cache)."""

    name = "vecsql-cached"
    cache_mib = CACHE_KIB >> 10

    def finish(self, db: Any, rows: int, metric: str) -> None:
        db.execute(f"INSERT INTO v(v) VALUES ('vector_cache={self.cache_mib}')")

    def reopen(self, data: Dataset) -> None:
        super().reopen(data)
        self.finish(self.db, len(data.base), data.metric)

    def searchers(self) -> dict[str, Search]:
        return {
            **Sql.searchers(self),
            f"vecsql_search{self.name.removeprefix('vecsql')}": self.batch,
        }


class VecsqlUncached(VecsqlCached):
    """The same with no vector in memory."""

    name = "vecsql-nocache"
    cache_mib = 0


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
