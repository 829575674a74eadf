"""sqlite-vec and vecsql's vec0 side by side: one statement, two connections, equal outcomes.

The two are never loaded into one connection, since their modules share a name.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

import apsw
import sqlite_vec

import vecsql

Row = tuple[Any, ...]


def theirs(path: str = ":memory:") -> apsw.Connection:
    conn = apsw.Connection(path)
    conn.enable_load_extension(True)
    conn.load_extension(sqlite_vec.loadable_path())
    return conn


def ours(path: str = ":memory:") -> apsw.Connection:
    return vecsql.connect(path, driver="apsw", vec0=True)


@dataclass(frozen=True)
class Outcome:
    """What a statement gave: column names and rows, or the class and text of its error."""

    names: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    error: str = ""

    @staticmethod
    def of(conn: apsw.Connection, sql: str, params: Any) -> Outcome:
        try:
            cursor = conn.execute(sql, params)
            names: tuple[str, ...] = ()
            rows: list[Row] = []
            for row in cursor:
                names = tuple(d[0] for d in cursor.getdescription())
                rows.append(row)
            return Outcome(names, tuple(rows))
        except apsw.Error as e:
            return Outcome(error=f"{type(e).__name__}: {e}")


SAME_BITS = sys.platform == "linux"  # sqlite-vec adds in another order elsewhere


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float) and not SAME_BITS:
        return math.isclose(a, b, rel_tol=2e-5, abs_tol=1e-6)
    return type(a) is type(b) and a == b


def _key(row: Row) -> list[tuple[str, Any]]:
    return [
        (type(v).__name__, float(f"{v:.4g}") if isinstance(v, float) else v)
        for v in row
        if v is not None
    ]


def same_rows(a: tuple[Row, ...], b: tuple[Row, ...], ordered: bool = False) -> bool:
    """Equal as multisets; in order too where a statement says which."""
    if not ordered:
        a, b = tuple(sorted(a, key=_key)), tuple(sorted(b, key=_key))
    return len(a) == len(b) and all(
        len(x) == len(y) and all(map(_close, x, y)) for x, y in zip(a, b, strict=True)
    )


class Pair:
    """Runs every statement in both engines."""

    def __init__(self) -> None:
        self.ours, self.theirs = ours(), theirs()

    def outcomes(self, sql: str, params: Any = ()) -> tuple[Outcome, Outcome]:
        return Outcome.of(self.ours, sql, params), Outcome.of(self.theirs, sql, params)

    def same(self, sql: str, params: Any = (), *, ordered: bool = False) -> tuple[Row, ...]:
        """Rows, column names, types and errors are equal; returns the rows."""
        a, b = self.outcomes(sql, params)
        assert not b.error, f"{sql}: sqlite-vec fails: {b.error}"
        self._compare(sql, a, b, ordered)
        return a.rows

    def alike(self, sql: str, params: Any = ()) -> Outcome:
        """Equal rows or equal errors, whichever they are."""
        a, b = self.outcomes(sql, params)
        self._compare(sql, a, b, False)
        return a

    @staticmethod
    def _compare(sql: str, a: Outcome, b: Outcome, ordered: bool) -> None:
        assert a.error == b.error, f"{sql}\nours   {a}\ntheirs {b}"
        assert not (a.rows and b.rows) or a.names == b.names, sql
        assert same_rows(a.rows, b.rows, ordered), f"{sql}\nours   {a.rows}\ntheirs {b.rows}"

    def fails(self, sql: str, params: Any = ()) -> str:
        """Both fail with the same words, which are returned."""
        a, b = self.outcomes(sql, params)
        assert b.error, f"{sql}: sqlite-vec accepts it: {b.rows}"
        assert a.error == b.error, sql
        return a.error

    def differ(self, sql: str, params: Any = ()) -> tuple[Outcome, Outcome]:
        """A documented difference (docs/howto/sqlite-vec.md): sqlite-vec still has it."""
        a, b = self.outcomes(sql, params)
        assert a != b, f"{sql}: no difference any more: {a}"
        return a, b

    def close(self) -> None:
        self.ours.close()
        self.theirs.close()
