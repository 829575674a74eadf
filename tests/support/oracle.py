"""What the tests of the engine compare with: the rows, and brute force over them in numpy."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import numpy as np

import vecsql

DIM = 3
CREATE = (
    "CREATE VIRTUAL TABLE {table} USING vecsql"
    "(id INTEGER PRIMARY KEY, embedding FLOAT[3] codec=sq8 m=4 ef_construction=20, tag TEXT)"
)


def point(rowid: int, version: int = 0) -> np.ndarray:
    """The vector of a row: small whole numbers, so that distances are exact and ties happen."""
    rng = np.random.default_rng([abs(rowid), version])
    return rng.integers(-9, 10, DIM).astype(np.float32)


def points(rowids: Any, version: int = 0) -> dict[int, np.ndarray | None]:
    return {i: point(i, version) for i in rowids}


def blob(vector: np.ndarray | None) -> bytes | None:
    return None if vector is None else vector.astype("<f4").tobytes()


def vector_of(value: bytes | None) -> np.ndarray | None:
    return None if value is None else np.frombuffer(value, "<f4")


def connect(path: Any, *, busy: int = 0, **kwargs: Any) -> apsw.Connection:
    """A connection that waits `busy` milliseconds for locks."""
    conn = apsw.Connection(str(path), **kwargs)
    conn.set_busy_timeout(busy)
    vecsql.load(conn)
    conn.execute("PRAGMA synchronous = OFF")
    return conn


def put(conn: apsw.Connection, rowids: Any, version: int = 0, table: str = "t") -> None:
    """Inserts the rows, one statement each."""
    for i in rowids:
        conn.execute(
            f"INSERT INTO {table}(id, embedding, tag) VALUES(?,?,?)",
            (i, blob(point(i, version)), f"tag{i}"),
        )


def drop(conn: apsw.Connection, rowids: Any, table: str = "t") -> None:
    for i in rowids:
        conn.execute(f"DELETE FROM {table} WHERE id = ?", (i,))


def command(conn: apsw.Connection, text: str, table: str = "t") -> None:
    name = table.split(".")[-1]
    conn.execute(f"INSERT INTO {table}({name}) VALUES(?)", (text,))


def contents(
    conn: apsw.Connection, table: str = "t", column: str = "embedding", where: str = "true"
) -> dict[int, np.ndarray | None]:
    sql = f"SELECT rowid, {column} FROM {table} WHERE {where}"
    return {i: vector_of(v) for i, v in conn.execute(sql)}


def stored(conn: apsw.Connection, table: str = "t") -> dict[int, Any]:
    """The row table itself: its last column is the vector."""
    return {row[0]: vector_of(row[-1]) for row in conn.execute(f"SELECT * FROM {table}_rows")}


def distances(rows: dict[int, Any], query: np.ndarray) -> list[tuple[float, int]]:
    """(distance, rowid) of every row that has a vector, nearest first, ties by rowid."""
    ids = [i for i, v in rows.items() if v is not None]
    if not ids:
        return []
    all_ = np.stack([rows[i] for i in ids]).astype(np.float64)
    far = np.sqrt(((all_ - query.astype(np.float64)) ** 2).sum(axis=1))
    return sorted(zip(far.tolist(), ids, strict=True))


def same_answer(got: list[tuple[int, float]], rows: dict[int, Any], query: Any, k: int) -> None:
    """Asserts that got are the k nearest of rows: each row once, ties in any order."""
    want = distances(rows, query)
    by_id = {i: d for d, i in want}
    want = want[:k]
    ids = [i for i, _ in got]
    assert len(set(ids)) == len(ids), f"a row came twice: {ids}"
    assert len(ids) == len(want), f"expected {len(want)} rows, got {len(ids)}: {ids}"
    strangers = [i for i in ids if i not in by_id]
    assert not strangers, f"rows that do not exist: {strangers}"
    given = np.array([d for _, d in got])
    assert np.allclose(given, [d for d, _ in want], rtol=1e-5, atol=1e-6), (got, want)
    assert np.allclose(given, [by_id[i] for i in ids], rtol=1e-5, atol=1e-6), (got, want)


def knn(
    conn: apsw.Connection,
    query: np.ndarray,
    k: int | None = None,
    *,
    limit: int | None = None,
    extra: str = "",
    table: str = "t",
    column: str = "embedding",
) -> list[tuple[int, float]]:
    sql = f"SELECT rowid, distance FROM {table} WHERE {column} MATCH ?{extra}"
    args: list[Any] = [json.dumps([float(x) for x in query])]
    if k is not None:
        sql += " AND k = ?"
        args.append(k)
    sql += " ORDER BY distance"
    if limit is not None:
        sql += " LIMIT ?"
        args.append(limit)
    return list(conn.execute(sql, args))


def check_answers(
    conn: apsw.Connection, rows: dict[int, Any], table: str = "t", column: str = "embedding"
) -> None:
    """Every form of query, from a corner, the middle and a stored vector, equals brute force."""
    n = len(rows)
    some = next((v for v in rows.values() if v is not None), np.zeros(DIM, np.float32))
    for query in (np.zeros(DIM), np.full(DIM, 9.0), some):
        for k in {1, 5, n + 3}:
            where = {"table": table, "column": column}
            same_answer(knn(conn, query, k, **where), rows, query, k)
            same_answer(knn(conn, query, limit=k, **where), rows, query, k)
            exact = knn(conn, query, k, extra=" AND exact = 1", **where)
            same_answer(exact, rows, query, k)


def same_rows(got: dict[int, Any], want: dict[int, Any]) -> None:
    assert sorted(got) == sorted(want)
    for i, v in got.items():
        assert (v is None and want[i] is None) or np.array_equal(v, want[i]), f"row {i}"


def check_here(
    conn: apsw.Connection, want: dict[int, Any], table: str = "t", column: str = "embedding"
) -> None:
    """This connection: rows, row table, neighbours and integrity."""
    same_rows(contents(conn, table, column), want)
    if column == "embedding":
        same_rows(stored(conn, table), want)
    check_answers(conn, want, table, column)
    verdict = conn.execute("PRAGMA integrity_check").fetchall()
    assert verdict == [("ok",)], verdict


def check(
    conn: apsw.Connection, want: dict[int, Any], table: str = "t", column: str = "embedding"
) -> None:
    """This connection and, between transactions, a new one: what memory and what disk say."""
    check_here(conn, want, table, column)
    schema = table.rpartition(".")[0] or "main"
    path = conn.db_filename(schema)
    if not conn.in_transaction and path:
        fresh = connect(path, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            check_here(fresh, want, table.rpartition(".")[2], column)
        finally:
            fresh.close()


def shadow_dump(conn: apsw.Connection, table: str = "t") -> dict[str, list[tuple[Any, ...]]]:
    """Every shadow table of `table`, row by row."""
    names = conn.execute(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB ? ORDER BY name",
        (table + "_*",),
    ).fetchall()
    return {n: conn.execute(f"SELECT * FROM {n} ORDER BY 1").fetchall() for (n,) in names}


def graph_pages(conn: apsw.Connection, table: str = "t") -> list[tuple[Any, ...]]:
    """The stored pages without ver and checksum: what the graph is, whatever led to it."""
    sql = f"SELECT page, data FROM {table}_pages0 ORDER BY page"
    return [(page, data[:8], data[16:]) for page, data in conn.execute(sql)]


def new_file(path: Path, journal: str = "wal", rowids: Any = range(20)) -> apsw.Connection:
    """A file with table t holding those rows, and an ordinary table `other`. The pages are the
    smallest, so that a few rows make many."""
    conn = connect(path)
    conn.execute("PRAGMA page_size = 512")
    conn.execute(f"PRAGMA journal_mode = {journal}")
    conn.execute("CREATE TABLE other(a)")
    conn.execute(CREATE.format(table="t"))
    conn.execute("BEGIN")
    put(conn, rowids)
    conn.execute("COMMIT")
    return conn


class Peer:
    """Another process with a connection to the same file (worker.py)."""

    def __init__(self, path: Path):
        worker = str(Path(__file__).with_name("worker.py"))
        self._process = subprocess.Popen(
            [sys.executable, worker, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=path.parent,
        )

    def start(self, source: str) -> None:
        """Lets the process run the source and does not wait."""
        assert self._process.stdin is not None
        self._process.stdin.write(source.encode("unicode_escape").decode() + "\n")
        self._process.stdin.flush()

    def wait(self) -> None:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        assert answer == "done\n", answer.encode().decode("unicode_escape")

    def __call__(self, source: str) -> None:
        self.start(source)
        self.wait()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)


START = points(range(20))


def move(conn: apsw.Connection, rowids: Any, version: int = 1, table: str = "t") -> None:
    for i in rowids:
        args = (blob(point(i, version)), i)
        conn.execute(f"UPDATE {table} SET embedding = ? WHERE id = ?", args)


def without(rows: dict[int, Any], *rowids: int) -> dict[int, Any]:
    return {i: v for i, v in rows.items() if i not in rowids}


def change(conn: apsw.Connection) -> dict[int, Any]:
    """A bit of everything; returns what START becomes."""
    put(conn, range(100, 110))
    drop(conn, [0, 3, 104])
    move(conn, [7, 105])
    conn.execute("UPDATE t SET id = 200 WHERE id = 8")
    rows = without(START | points(range(100, 110)), 0, 3, 104, 8)
    return rows | points([7, 105], 1) | {200: START[8]}


BAD_ROWS = "INSERT INTO t(id, embedding) VALUES(50, '[1,2,3]'), (51, '[1,2]')"
