"""One small interface over connections of apsw, sqlite3 and pysqlite3.

Every helper of the package takes any of the three and speaks to it through `Db`: plain tuples
whatever row factory is set, text as str, and transactions that nest.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from vecsql._base.errors import InterfaceError
from vecsql._base.types import Connection, Parameters
from vecsql._connection.sharing import lock_of

Row = tuple[Any, ...]

_NO_LOCK: contextlib.AbstractContextManager[None] = contextlib.nullcontext()


def quote(name: str) -> str:
    """An identifier as SQL: quoted, whatever it contains."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str | None) -> str:
    """A text (or NULL) as an SQL literal, for the body of a trigger, which takes no parameters."""
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


class Db:
    """A connection of any driver as the helpers see it. Make one with `driver_of`.

    ``with db.lock:`` keeps other threads of a shared connection out between the calls, too.
    Models work outside of it.
    """

    __slots__ = ("_apsw", "conn", "lock")

    def __init__(self, conn: Connection):
        self.conn: Any = conn  # the drivers have more in common than their types
        self.lock: contextlib.AbstractContextManager[None] = lock_of(conn) or _NO_LOCK
        self._apsw = not hasattr(conn, "row_factory")

    def cursor(self) -> Any:
        """A cursor that gives plain tuples, whatever row factory is set."""
        cursor = self.conn.cursor()
        if self._apsw:
            cursor.row_trace = _as_it_is
        else:
            cursor.row_factory = None
        return cursor

    @contextlib.contextmanager
    def _text_as_str(self) -> Iterator[None]:
        factory = None if self._apsw else self.conn.text_factory
        if factory is None or factory is str:
            yield
            return
        self.conn.text_factory = str
        try:
            yield
        finally:
            self.conn.text_factory = factory

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Row]:
        """Runs one statement; returns all its rows as tuples."""
        with self.lock, self._text_as_str():
            cursor = self.cursor()
            try:
                found: list[Row] = cursor.execute(sql, parameters).fetchall()
                return found
            finally:
                cursor.close()

    def named_rows(self, sql: str, parameters: Parameters = ()) -> list[dict[str, Any]]:
        """Runs one statement; returns its rows as dicts (of two equal names the last one stays)."""
        with self.lock, self._text_as_str():
            cursor = self.cursor()
            try:
                cursor.execute(sql, parameters)
                if self._apsw:  # tells the names only while there are rows
                    first = cursor.fetchone()
                    if first is None:
                        return []
                    names = [column[0] for column in cursor.get_description()]
                    rows = [first, *cursor.fetchall()]
                else:
                    names = [column[0] for column in cursor.description or ()]
                    rows = cursor.fetchall()
                return [dict(zip(names, row, strict=True)) for row in rows]
            finally:
                cursor.close()

    def iterate(self, sql: str, parameters: Parameters = ()) -> Iterator[Row]:
        """Yields the rows of one statement while it runs; for more rows than fit in memory."""
        cursor = self.cursor()
        try:
            rows: Iterator[Row] = iter(cursor.execute(sql, parameters))
            while (row := next(rows, None)) is not None:
                yield row
        finally:
            with contextlib.suppress(Exception):  # closed with its connection, after Ctrl-C
                cursor.close()

    def value(self, sql: str, parameters: Parameters = ()) -> Any:
        """Returns the first column of the first row, None if there is no row."""
        rows = self.rows(sql, parameters)
        return rows[0][0] if rows else None

    def run(self, sql: str, parameters: Parameters = ()) -> None:
        """Runs one statement to its end."""
        self.rows(sql, parameters)

    def run_many(self, sql: str, parameters: Iterable[Parameters]) -> None:
        """Runs one statement for each set of parameters."""
        cursor = self.cursor()
        try:
            cursor.executemany(sql, parameters)
        finally:
            cursor.close()

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open on the connection."""
        return bool(self.conn.in_transaction)

    @property
    def last_rowid(self) -> int:
        """The rowid of the latest INSERT, as SQLite tells it."""
        return int(self.value("SELECT last_insert_rowid()"))

    @property
    def changes(self) -> int:
        """How many rows the latest INSERT, UPDATE or DELETE changed, without its triggers."""
        return int(self.value("SELECT changes()"))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing: a write transaction, or a savepoint in the one that is open."""
        with self.lock:
            inner = self.in_transaction
            self.run("SAVEPOINT vecsql_call" if inner else "BEGIN IMMEDIATE")
            try:
                yield
                self.run("RELEASE vecsql_call" if inner else "COMMIT")
            except BaseException:
                if self.in_transaction:  # SQLite may have rolled back already: disk full, for one
                    if inner:
                        self.run("ROLLBACK TO vecsql_call")
                        self.run("RELEASE vecsql_call")
                    else:
                        self.run("ROLLBACK")
                raise


def _as_it_is(cursor: Any, row: Row) -> Row:
    return row


def driver_of(conn: Connection) -> Db:
    """Returns the interface of a connection; a `Db` is returned as it is."""
    if isinstance(conn, Db):
        return conn
    if not (hasattr(conn, "cursor") and hasattr(conn, "in_transaction")):
        raise InterfaceError(
            f"expected a connection of apsw, sqlite3 or pysqlite3, got {type(conn).__name__}"
        )
    return Db(conn)
