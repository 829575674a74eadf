"""PEP 249: the module's globals, and connections whose cursors bind vectors.

The classes are the driver's own with two things added. Parameters go through `Binder`: sqlite3's
adapters are global to the process, so registering some for list or ndarray would change what
other code in it stores; a cursor class changes only the connections that vecsql opens. And where
threads may share a connection, its calls take turns (sharing.py says why).

A shared cursor runs a statement that writes and returns rows to its end at once, and hands out the
rows from memory. Otherwise another thread's COMMIT between execute and fetch would fail: SQLite
refuses it while a statement that writes is unfinished.
"""

from __future__ import annotations

import contextlib
import datetime
import functools
import importlib
import inspect
import itertools
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from vecsql._base.bind import Binder, vector
from vecsql._connection.sharing import (
    TIMEOUT,
    ConnectionLock,
    Handle,
    apart,
    in_turn,
    lock_of,
    property_in_turn,
    together,
)

apilevel = "2.0"
paramstyle = "qmark"
threadsafety = sqlite3.threadsafety
sqlite_version_info = sqlite3.sqlite_version_info  # what SQLAlchemy asks of a module

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


# --- sqlite3 and pysqlite3 -----------------------------------------------------------------------


@functools.cache
def _cursor_class(dbapi: Any) -> Any:
    binder = Binder(dbapi.adapters, dbapi.PrepareProtocol)

    class Cursor(dbapi.Cursor):  # type: ignore[misc]  # chosen at run time
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

    return Cursor


@functools.cache
def connection_class(dbapi: Any) -> Any:
    """The Connection of sqlite3 or pysqlite3 whose cursors bind vectors and explain errors."""
    cursor_class = _cursor_class(dbapi)

    class Connection(dbapi.Connection):  # type: ignore[misc]  # chosen at run time
        """The driver's connection; its cursors bind vectors."""

        vecsql_registry: Any = None  # what registry_of made

        def cursor(self, factory: Any = cursor_class) -> Any:
            return super().cursor(factory)

        # CPython's own short cuts make a plain cursor without asking cursor().
        def execute(self, sql: str, parameters: Any = (), /) -> Any:
            return self.cursor().execute(sql, parameters)

        def executemany(self, sql: str, parameters: Any, /) -> Any:
            return self.cursor().executemany(sql, parameters)

    return Connection


@functools.cache
def shared_connection_class(dbapi: Any) -> Any:
    """As `connection_class`, for check_same_thread=False: the calls of threads take turns."""
    plain = connection_class(dbapi)
    cursor_class = _cursor_class(dbapi)
    in_turn_cursor = _in_turn_too(cursor_class)
    in_transaction = dbapi.Connection.in_transaction.__get__

    class Connection(plain):  # type: ignore[valid-type,misc]  # chosen at run time
        """A connection that threads may share; its cursors bind vectors."""

        def __init__(self, *args: Any, **kwargs: Any):
            timeout = kwargs.get("timeout", TIMEOUT)
            self.vecsql_lock = ConnectionLock(self, timeout, in_transaction, dbapi.OperationalError)
            super().__init__(*args, **kwargs)

        def cursor(self, factory: Any = cursor_class) -> Any:
            return super().cursor(_in_turn_too(factory) if isinstance(factory, type) else factory)

        def execute(self, sql: str, parameters: Any = (), /) -> Any:
            return in_turn_cursor(self).execute(sql, parameters)

        def __enter__(self) -> Any:
            super().__enter__()  # no call of SQLite
            self.vecsql_lock.enter_block()
            return self

        def __exit__(self, *exc: object) -> Any:
            with self.vecsql_lock.leaving_block():
                if exc[0] is None:
                    return super().__exit__(*exc)
                self.rollback()
                return False

        def backup(self, target: Any, **options: Any) -> None:
            progress = options.pop("progress", None)
            locks = self.vecsql_lock, lock_of(target)

            def told(status: int, remaining: int, total: int) -> None:
                if progress is not None:
                    progress(status, remaining, total)
                if status in _BUSY:  # until a transaction ends, maybe one of these connections
                    with apart(*locks):
                        time.sleep(0.001)

            with together(*locks):
                super().backup(target, progress=told, **options)

        @in_turn
        def iterdump(self, **options: Any) -> Iterator[str]:
            return iter(list(super().iterdump(**options)))  # of one state of the database

        @in_turn
        def blobopen(self, *args: Any, **options: Any) -> Any:
            return Handle(super().blobopen(*args, **options), self.vecsql_lock)

        @in_turn
        def open_blob(self, *args: Any, **options: Any) -> Any:  # pysqlite3
            return Handle(super().open_blob(*args, **options), self.vecsql_lock)

    for name in ("iterdump", "blobopen", "open_blob"):
        if not hasattr(dbapi.Connection, name):
            delattr(Connection, name)
    if dbapi is not sqlite3 or sys.version_info < (3, 11):
        # Their rollback ends the cursors of all threads. SQLite's own ROLLBACK lets them go on.
        def rollback(self: Any) -> None:
            if self.in_transaction:
                self.execute("ROLLBACK").close()

        Connection.rollback = in_turn(rollback)
    _others_in_turn(
        Connection, dbapi.Connection, {"execute", "executemany", "interrupt", *_ATTRIBUTES}
    )
    return Connection


_BUSY = (5, 6)  # SQLITE_BUSY, SQLITE_LOCKED

# They reach no mutex of SQLite; isolation_level and autocommit do, since setting them may commit.
_ATTRIBUTES = {"in_transaction", "total_changes"}


@functools.cache
def _in_turn_too(cursor_class: Any) -> Any:
    """A class of cursors of sqlite3 or pysqlite3 whose calls take turns."""
    # The lock of execute is written out: a call more would be a measurable part of it.
    base_execute, base_next = cursor_class.execute, cursor_class.__next__
    base_one, base_all = cursor_class.fetchone, cursor_class.fetchall

    class Cursor(cursor_class):  # type: ignore[misc]  # chosen at run time
        _ahead: Iterator[Any] | None = None  # the rows of a statement that wrote

        @property
        def vecsql_lock(self) -> ConnectionLock:
            lock: ConnectionLock = self.connection.vecsql_lock
            return lock

        def execute(self, sql: str, parameters: Any = (), /) -> Any:
            lock = self.connection.vecsql_lock
            with lock.calls:
                if lock.blocks:
                    lock.await_turn()
                if self._ahead is not None:
                    self._ahead = None
                base_execute(self, sql, parameters)
                if sql[:1] not in "sS" and self.description is not None and _may_write(sql):
                    self._ahead = iter(base_all(self))
                return self

        __next__, fetchone, fetchall = _fetches(base_next, base_one, base_all)

        @in_turn
        def fetchmany(self, size: int | None = None) -> Any:
            n = self.arraysize if size is None else size
            if self._ahead is None:
                return super().fetchmany(n)
            return list(itertools.islice(self._ahead, n))

        @in_turn
        def executemany(self, sql: str, parameters: Any, /) -> Any:
            self._ahead = None
            return super().executemany(sql, parameters)

        @in_turn
        def executescript(self, sql_script: str, /) -> Any:
            self._ahead = None
            return super().executescript(sql_script)

        @in_turn
        def close(self) -> None:
            self._ahead = None
            super().close()

    Cursor.__name__, Cursor.__qualname__ = cursor_class.__name__, cursor_class.__qualname__
    Cursor.__doc__ = cursor_class.__doc__
    return Cursor


def _fetches(
    base_next: Callable[[Any], Any],
    base_one: Callable[[Any], Any],
    base_all: Callable[[Any], Any],
) -> tuple[Callable[[Any], Any], Callable[[Any], Any], Callable[[Any], Any]]:
    """``__next__``, ``fetchone`` and ``fetchall`` that take turns and know the rows that ran ahead.

    The lock is written out in each: a call more would be a measurable part of a fetch.
    """

    def __next__(self: Any) -> Any:
        lock = self.connection.vecsql_lock
        with lock.calls:
            if lock.blocks:
                lock.await_turn()
            return base_next(self) if self._ahead is None else next(self._ahead)

    def fetchone(self: Any) -> Any:
        lock = self.connection.vecsql_lock
        with lock.calls:
            if lock.blocks:
                lock.await_turn()
            return base_one(self) if self._ahead is None else next(self._ahead, None)

    def fetchall(self: Any) -> Any:
        lock = self.connection.vecsql_lock
        with lock.calls:
            if lock.blocks:
                lock.await_turn()
            return base_all(self) if self._ahead is None else list(self._ahead)

    return __next__, fetchone, fetchall


def _may_write(sql: str) -> bool:
    """Whether a statement that returns rows may be one that writes."""
    return "returning" in sql.lower() or sql.lstrip()[:6].upper() == "PRAGMA"


def _others_in_turn(shared: Any, base: Any, without: set[str]) -> None:
    """Wraps the public methods and properties of a driver's class that ``shared`` leaves alone."""
    for name, value in vars(base).items():
        if name.startswith("_") or name in without or name in vars(shared):
            continue
        if inspect.ismethoddescriptor(value):
            setattr(shared, name, in_turn(value))
        elif inspect.isgetsetdescriptor(value):
            setattr(shared, name, property_in_turn(value))


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


# --- apsw ----------------------------------------------------------------------------------------


@functools.cache
def apsw_connection_class() -> Any:
    """apsw's Connection, whose cursors bind vectors and which threads may share."""
    apsw: Any = importlib.import_module("apsw")

    cursor_class = _apsw_cursor_class()
    in_transaction = apsw.Connection.in_transaction.__get__

    class Connection(apsw.Connection):  # type: ignore[misc]  # chosen at run time
        """apsw's connection; its cursors bind vectors, and threads may share it."""

        def __init__(self, *args: Any, **kwargs: Any):
            self.vecsql_lock = ConnectionLock(self, TIMEOUT, in_transaction, apsw.BusyError)
            super().__init__(*args, **kwargs)  # runs apsw.connection_hooks
            self.cursor_factory = cursor_class

        def __enter__(self) -> Any:
            self.vecsql_lock.enter_block()
            try:
                with self.vecsql_lock:
                    return super().__enter__()  # opens a savepoint
            except BaseException:
                with self.vecsql_lock.leaving_block():
                    raise

        def __exit__(self, *exc: Any) -> Any:
            with self.vecsql_lock.leaving_block():
                return super().__exit__(*exc)

        def backup(
            self, databasename: str, sourceconnection: Any, *args: Any, **kwargs: Any
        ) -> Any:
            locks = self.vecsql_lock, lock_of(sourceconnection)
            with together(*locks):
                backup = super().backup(databasename, sourceconnection, *args, **kwargs)
            return Handle(backup, *locks)

        @in_turn
        def blob_open(self, *args: Any, **kwargs: Any) -> Any:
            return Handle(super().blob_open(*args, **kwargs), self.vecsql_lock)

        blobopen = blob_open

    _others_in_turn(Connection, apsw.Connection, _APSW_FREE)
    return Connection


# They reach no mutex of SQLite, or only through a cursor; and interrupt must not wait.
_APSW_FREE = {
    *("aclose", "async_controller", "async_run", "as_async", "is_async"),
    *("cursor", "cursor_factory", "execute", "executemany", "interrupt", "is_interrupted"),
    *("connection", "get_connection", "getconnection"),
}


@functools.cache
def _apsw_cursor_class() -> Any:
    apsw: Any = importlib.import_module("apsw")

    binder = Binder()
    readonly = apsw.Cursor.is_readonly.__get__
    base_execute, base_next = apsw.Cursor.execute, apsw.Cursor.__next__
    base_one = apsw.Cursor.fetchone

    def every(cursor: Any) -> list[Any]:  # apsw's fetchall calls our __next__ for each row
        return list(map(base_next, itertools.repeat(cursor)))

    class Cursor(apsw.Cursor):  # type: ignore[misc]  # chosen at run time
        """A cursor that binds vectors: arrays and lists of numbers become float32 blobs."""

        _ahead: Iterator[Any] | None = None  # the rows of a statement that wrote
        _columns: tuple[Any, Any, Any] = ((), (), ())  # their descriptions

        @property
        def vecsql_lock(self) -> ConnectionLock:
            lock: ConnectionLock = self.connection.vecsql_lock
            return lock

        def execute(self, statements: str, bindings: Any = None, **options: Any) -> Any:
            lock = self.connection.vecsql_lock
            with lock.calls:
                if lock.blocks:
                    lock.await_turn()
                if self._ahead is not None:
                    self._ahead = None
                base_execute(self, statements, binder.one(bindings), **options)
                if statements[:1] not in "sS" and _may_write(statements):
                    self._run_ahead()
                return self

        @in_turn
        def executemany(self, statements: str, sequenceofbindings: Any, **options: Any) -> Any:
            self._ahead = None
            super().executemany(statements, binder.many(sequenceofbindings), **options)
            if _may_write(statements):
                self._run_ahead()
            return self

        def _run_ahead(self) -> None:
            with contextlib.suppress(apsw.ExecutionCompleteError):  # there are no rows
                if not readonly(self):
                    described = super().get_description()
                    self._columns = described, super().description, super().description_full
                    self._ahead = iter(every(self))

        __next__, fetchone, fetchall = _fetches(base_next, base_one, every)

        @property
        def get(self) -> Any:
            """All rows in their shortest form: a list, a row or a value."""
            with self.vecsql_lock:
                if self._ahead is None:
                    return super().get
                rows = [row[0] if len(row) == 1 else row for row in self._ahead]
                return rows if len(rows) > 1 else rows[0] if rows else None

        @in_turn
        def get_description(self) -> Any:
            return super().get_description() if self._ahead is None else self._columns[0]

        getdescription = get_description

        @property
        def description(self) -> Any:
            """The columns as PEP 249 describes them."""
            with self.vecsql_lock:
                return super().description if self._ahead is None else self._columns[1]

        @property
        def description_full(self) -> Any:
            """The columns with their database, table and origin."""
            with self.vecsql_lock:
                return super().description_full if self._ahead is None else self._columns[2]

        @in_turn
        def close(self, force: bool = False) -> None:
            self._ahead = None
            super().close(force)

    _others_in_turn(Cursor, apsw.Cursor, _APSW_FREE)
    return Cursor


def register_vector_type(dbapi: Any) -> None:
    """Makes columns of the type VECTOR come back as arrays where detect_types asks for it."""
    dbapi.register_converter("VECTOR", vector)
