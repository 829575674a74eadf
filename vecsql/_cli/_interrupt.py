"""Ctrl-C ends every command within a second, whatever it is in.

Python runs a signal handler only between two of its own instructions, and a rebuild or a scan in C
may take minutes. So a thread waits for the signal itself: it interrupts the SQLite connections,
whose statements then fail at once, and ends the process if the command has not ended soon after.
That is as safe as a power cut: what was committed stays.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from typing import Any

INTERRUPTED = 130
_GRACE = 0.7  # seconds for a command to say what it did

_connections: list[Any] = []
_own_prompt = threading.Event()  # a prompt handles Ctrl-C itself


@contextlib.contextmanager
def interruptible(conn: Any) -> Iterator[None]:
    """Statements of ``conn`` fail at Ctrl-C inside this context."""
    _connections.append(conn)
    try:
        yield
    finally:
        _connections.remove(conn)


@contextlib.contextmanager
def own_prompt() -> Iterator[None]:
    """Inside this context Ctrl-C is left to the program."""
    _own_prompt.set()
    try:
        yield
    finally:
        _own_prompt.clear()


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Watches for Ctrl-C while a command runs."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals come to the main thread alone
        return
    ended = threading.Event()
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    before = signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(receiver, ended), daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(before)
        sender.close()


def _watch(receiver: socket.socket, ended: threading.Event) -> None:
    with receiver:
        while signals := receiver.recv(64):
            if signal.SIGINT in signals and not _own_prompt.is_set():
                break
        else:
            return
    for conn in list(_connections):
        with contextlib.suppress(Exception):  # closed meanwhile
            conn.interrupt()
    if not ended.wait(_GRACE):
        with contextlib.suppress(Exception):
            print("interrupted", file=sys.stderr, flush=True)
        os._exit(INTERRUPTED)
