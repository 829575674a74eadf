"""One connection used by several threads: its calls take turns.

SQLite's own mutex is not enough. A thread inside an SQL function holds that mutex and waits for the
GIL; a thread that binds a parameter holds the GIL and waits for that mutex: both wait for ever.
So a shared connection has a `ConnectionLock`, which is always taken before SQLite's mutex.

A call (execute, a fetch, commit, ...) holds the lock while it runs and never between calls, so an
unfinished cursor blocks nobody. The lock is re-entrant: SQL functions, row factories and generators
of parameters may use the connection. A helper holds it for its transaction.

A ``with db:`` block is a state that the lock guards, not a hold of the lock: from the first call in
the block to its end, calls from elsewhere wait. A block is known by the context (contextvars) that
entered it, so `asyncio.to_thread` inside a block belongs to it. A framework may enter a block in
one thread and leave it in another (FastAPI's dependencies that yield); then the exit is an orphan.
No wait is for ever: a block that stands idle for longer than the connection's ``timeout`` gives way
if it has no transaction open, and otherwise the waiting call fails as SQLite's busy timeout does.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

TIMEOUT = 5.0  # seconds; the default of sqlite3's connect

_numbers = itertools.count(1)
_renewed: weakref.WeakSet[Any] = weakref.WeakSet()


class Block:
    """A ``with db:`` that was entered and not left."""

    __slots__ = ("depth", "lock", "thread")

    def __init__(self, lock: ConnectionLock):
        self.lock = lock
        self.thread = threading.get_ident()
        self.depth = 1


_entered: ContextVar[tuple[Block, ...]] = ContextVar("vecsql_blocks", default=())


class ConnectionLock:
    """The lock of a connection. As a context manager it is one call.

    Hot paths write ``with lock.calls:`` and ``if lock.blocks: lock.await_turn()`` themselves.
    ``in_transaction`` and ``busy`` (which makes the driver's own error of a message) must not
    take the lock.
    """

    def __init__(
        self,
        conn: Any,
        timeout: float,
        in_transaction: Callable[[Any], bool],
        busy: Callable[[str], Exception],
    ):
        self.number = next(_numbers)  # locks are taken in the order of their numbers
        self.timeout = timeout
        self.calls = threading.RLock()
        self.blocks: list[Block] = []  # open, the oldest first
        self._conn = weakref.ref(conn)  # a cycle would keep the file open until a collection
        self._in_transaction = in_transaction
        self._busy = busy
        self._ended = threading.Condition(self.calls)
        self._holder: Block | None = None  # the block that has made a call and keeps others out
        self._used = 0  # calls of holders
        renew_in_child(self)

    def __enter__(self) -> None:
        self.calls.acquire()
        try:
            if self.blocks:
                self.await_turn()
        except BaseException:
            self.calls.release()
            raise

    def __exit__(self, *_: object) -> None:
        self.calls.release()

    def await_turn(self, orphan: bool = False) -> Block | None:
        """Waits while another block keeps this call out; the caller holds ``calls``.

        The first call in a block makes it the holder. An orphan pushes an idle holder aside,
        with its transaction, and returns it.
        """
        mine, aside = self._mine(), None
        while (held := self._holder) is not None and held is not mine:
            if held.thread == threading.get_ident():  # another task of one event loop
                break
            used = self._used
            if self._ended.wait(self.timeout) or held is not self._holder or used != self._used:
                continue
            if orphan:
                aside = held
            elif self._is_transaction_open():
                raise self._busy(
                    "database is locked: another thread's `with db:` block on this connection has "
                    f"an open transaction and has made no call for {self.timeout:g} s; end that "
                    "block first, or give each thread a connection of its own"
                )
            self._release_holder()
        if mine is not None:
            if self._holder is None:
                self._holder = mine
            if self._holder is mine:
                self._used += 1
        return aside

    def enter_block(self) -> None:
        """Enters ``with db:``, or a nested one."""
        with self.calls:
            mine = self._mine()
            if mine is not None:
                mine.depth += 1
                return
            block = Block(self)
            self.blocks.append(block)
        _entered.set((*_entered.get(), block))

    @contextlib.contextmanager
    def leaving_block(self) -> Iterator[None]:
        """Around the call that ends a block; what it raises ends the block too."""
        with self.calls:
            mine = self._mine()
            try:
                if mine is None:
                    mine = self.await_turn(orphan=True) or self._likely()
                else:
                    self.await_turn()
                yield
            finally:
                if mine is not None:
                    self._leave(mine)

    def _mine(self) -> Block | None:
        for block in _entered.get():
            if block.lock is self and block.depth:
                return block
        return None

    def _likely(self) -> Block | None:
        """The block that an orphan exit ends: the oldest of another thread that holds nothing."""
        me = threading.get_ident()
        return next((b for b in self.blocks if b.thread != me and b is not self._holder), None)

    def _leave(self, block: Block) -> None:
        block.depth -= 1
        if block.depth:
            return
        self.blocks.remove(block)
        _entered.set(tuple(b for b in _entered.get() if b.depth))
        if self._holder is block:
            self._release_holder()

    def _release_holder(self) -> None:
        self._holder = None
        self._ended.notify_all()

    def _is_transaction_open(self) -> bool:
        conn = self._conn()
        return conn is not None and self._in_transaction(conn)

    def renew(self) -> None:
        """In a forked child: frees what threads of the parent held."""
        if self.calls.acquire(blocking=False):  # free, or held by the thread that forked
            self.calls.release()
        else:
            self.calls = threading.RLock()
            self._ended = threading.Condition(self.calls)
        if self._holder is not None and self._holder.thread != threading.get_ident():
            self._holder = None


@contextlib.contextmanager
def together(*locks: ConnectionLock | None) -> Iterator[None]:
    """One call on several connections; the order of the locks prevents a deadlock."""
    with contextlib.ExitStack() as stack:
        for lock in sorted({x for x in locks if x is not None}, key=lambda x: x.number):
            stack.enter_context(lock)
        yield


@contextlib.contextmanager
def apart(*locks: ConnectionLock | None) -> Iterator[None]:
    """Inside a call on several connections: lets other threads in meanwhile."""
    held = sorted({x for x in locks if x is not None}, key=lambda x: x.number)
    # What threading.Condition calls to give up a lock at any depth; typeshed leaves it out.
    states = [lock.calls._release_save() for lock in held]  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for lock, state in zip(held, states, strict=True):
            lock.calls._acquire_restore(state)  # type: ignore[attr-defined]
    for lock in held:
        if lock.blocks:
            lock.await_turn()


# --- classes whose calls take turns --------------------------------------------------------------


def lock_of(conn: Any) -> ConnectionLock | None:
    """The lock of a connection of `vecsql.connect` that threads may share."""
    lock: ConnectionLock | None = getattr(conn, "vecsql_lock", None)
    return lock


def in_turn(method: Any) -> Any:
    """A method of a class that has ``vecsql_lock``, run as one call."""

    @functools.wraps(method)
    def call(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        lock = self.vecsql_lock
        with lock.calls:
            if lock.blocks:
                lock.await_turn()
            return method(self, *args, **kwargs)

    return call


def property_in_turn(descriptor: Any) -> property:
    """A property of a class that has ``vecsql_lock``, read and set as one call each."""
    return property(
        in_turn(lambda self: descriptor.__get__(self)),
        in_turn(lambda self, value: descriptor.__set__(self, value)),
        doc=descriptor.__doc__,
    )


class Handle:
    """What a connection hands out beside cursors (an open blob, a backup): its calls take turns."""

    def __init__(self, target: Any, *locks: ConnectionLock | None):
        self._target = target
        self._locks = locks

    def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        with together(*self._locks):
            return getattr(self._target, name)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if callable(getattr(type(self._target), name, None)):
            return functools.partial(self._call, name)
        with together(*self._locks):
            return getattr(self._target, name)

    def __enter__(self) -> Handle:
        self._call("__enter__")
        return self

    def __exit__(self, *exc: object) -> Any:
        return self._call("__exit__", *exc)

    def __len__(self) -> int:
        return int(self._call("__len__"))

    def __getitem__(self, key: Any) -> Any:
        return self._call("__getitem__", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._call("__setitem__", key, value)


# --- fork ----------------------------------------------------------------------------------------


class ForkSafeLock:
    """A re-entrant lock that is free in a forked child, whichever thread of the parent holds it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        renew_in_child(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        """In a forked child."""
        if self._lock.acquire(blocking=False):  # free, or held by the thread that forked
            self._lock.release()
        else:
            self._lock = threading.RLock()


def renew_in_child(owner: Any) -> None:
    """Has ``owner.renew()`` called in a forked child, where a lock of another thread stays held."""
    _renewed.add(owner)


def _renew() -> None:
    for owner in list(_renewed):
        owner.renew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew)
