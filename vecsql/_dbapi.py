"""PEP 249: the module's globals, and connections whose cursors bind vectors.

The classes are the driver's own with one thing added: parameters go through `Binder`. sqlite3's
adapters are global to the process, so registering some for list or ndarray would change what
other code in it stores; a cursor class changes only the connections that vecsql opens.
"""

from __future__ import annotations

import datetime
import functools
import sqlite3
import time
from typing import Any

from vecsql._bind import Binder, vector

apilevel = "2.0"
paramstyle = "qmark"
threadsafety = sqlite3.threadsafety

Date = datetime.date
Time = datetime.time
Timestamp = datetime.datetime
Binary = memoryview


def DateFromTicks(ticks: float) -> datetime.date:
    """Returns the local date at a time in seconds since the epoch (PEP 249)."""
    return Date(*time.localtime(ticks)[:3])


def TimeFromTicks(ticks: float) -> datetime.time:
    """Returns the local time of day at a time in seconds since the epoch (PEP 249)."""
    return Time(*time.localtime(ticks)[3:6])


def TimestampFromTicks(ticks: float) -> datetime.datetime:
    """Returns the local date and time at a time in seconds since the epoch (PEP 249)."""
    return Timestamp(*time.localtime(ticks)[:6])


@functools.cache
def connection_class(dbapi: Any) -> Any:
    """The Connection of sqlite3 or pysqlite3 whose cursors bind vectors and explain errors."""
    binder = Binder(dbapi.adapters, dbapi.PrepareProtocol)

    class Cursor(dbapi.Cursor):  # type: ignore[misc]
        """A cursor that binds vectors: arrays and lists of numbers become float32 blobs."""

        def execute(self, sql: str, parameters: Any = (), /) -> Any:
            try:
                return super().execute(sql, binder.one(parameters))
            except dbapi.OperationalError as e:
                _explain(dbapi, self.connection, e)
                raise

        def executemany(self, sql: str, parameters: Any, /) -> Any:
            try:
                return super().executemany(sql, binder.many(parameters))
            except dbapi.OperationalError as e:
                _explain(dbapi, self.connection, e)
                raise

    class Connection(dbapi.Connection):  # type: ignore[misc]
        """The driver's connection; its cursors bind vectors."""

        vecsql_registry: Any = None  # what registry_of made

        def cursor(self, factory: Any = Cursor) -> Any:
            return super().cursor(factory)

        # CPython's own short cuts make a plain cursor without asking cursor().
        def execute(self, sql: str, parameters: Any = (), /) -> Any:
            return self.cursor().execute(sql, parameters)

        def executemany(self, sql: str, parameters: Any, /) -> Any:
            return self.cursor().executemany(sql, parameters)

    return Connection


def _explain(dbapi: Any, conn: Any, error: Exception) -> None:
    """sqlite3 hides what an SQL function raised; raises it, if it was one of ours."""
    registry = getattr(conn, "vecsql_registry", None)
    if registry is None or "user-defined function" not in str(error):
        return
    cause, registry.last_error = registry.last_error, None
    if isinstance(cause, dbapi.Error):
        raise cause
    if cause is not None:
        raise dbapi.OperationalError(f"{type(cause).__name__}: {cause}") from cause


@functools.cache
def apsw_cursor_class() -> Any:
    """apsw's Cursor, binding vectors; for Connection.cursor_factory."""
    import apsw

    binder = Binder()

    class Cursor(apsw.Cursor):
        """A cursor that binds vectors: arrays and lists of numbers become float32 blobs."""

        def execute(self, statements: str, bindings: Any = None, **options: Any) -> Any:
            return super().execute(statements, binder.one(bindings), **options)

        def executemany(self, statements: str, sequenceofbindings: Any, **options: Any) -> Any:
            return super().executemany(statements, binder.many(sequenceofbindings), **options)

    return Cursor


def register_vector_type(dbapi: Any) -> None:
    """Makes columns of the type VECTOR come back as arrays where detect_types asks for it."""
    dbapi.register_converter("VECTOR", vector)
