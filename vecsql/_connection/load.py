"""Loads the extension into a connection of any SQLite driver.

Three facts shape this file:

- A sqlite3 module may be built without ``enable_load_extension`` (pyenv, macOS). Its SQLite
  library can still be reached: ``sqlite3_auto_extension`` makes that library run our entry point
  for every connection it opens, so ``connect`` registers it around the one call that opens.
  ``autoload`` registers it for as long as a program likes.
- A process can hold several SQLite libraries (apsw and pysqlite3 bring their own). One loaded
  copy of the extension can serve only one of them: it keeps that library's function table. Its
  entry point refuses a second library, and we answer by loading a private copy of the file.
- SQLite finds the entry point by the file's name, so a copy keeps the name in another directory.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import importlib
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from vecsql._base.errors import LoadError
from vecsql._base.types import Connection
from vecsql._connection.dbapi import (
    apsw_connection_class,
    connection_class,
    register_vector_type,
    shared_connection_class,
)
from vecsql._connection.sharing import ForkSafeLock, lock_of, together

if TYPE_CHECKING:
    import apsw

Driver = Literal["sqlite3", "pysqlite3", "apsw"]

_SUFFIX = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
_ENTRY = "sqlite3_vecsql_init"
_ENTRY_VEC0 = "sqlite3_vecsqlvec0_init"  # registers the module vec0 besides
_ANOTHER_LIBRARY = "another SQLite library"  # part of the entry point's message
_OF_THE_FILE = ("not a database", "malformed", "unable to open", "disk I/O")
_REFUSALS = (sqlite3.Error, OSError, AttributeError)  # of SQLite, or of a file that is no library
_REMEDY = (
    "Install another driver (pip install pysqlite3-binary, then driver='pysqlite3'), "
    "use driver='apsw', or use a Python built with --enable-loadable-sqlite-extensions."
)

# Both guard the process: which copy of the extension serves which SQLite library, and the window
# in which the entry point is an automatic extension.
_lock = ForkSafeLock()
_copies: dict[str, str] = {}
_autoloads: dict[int, int] = {}  # address of an entry point -> calls of autoload that hold it


def loadable_path() -> str:
    """Returns the path of the extension, for ``.load`` in the sqlite3 shell and other programs.

    >>> loadable_path().endswith((".so", ".dylib", ".dll"))
    True
    """
    for directory in importlib.import_module("vecsql").__path__:
        path = Path(directory, "vecsql" + _SUFFIX)
        if path.exists():
            return str(path)
    raise LoadError(
        f"vecsql{_SUFFIX} is missing from the package: it was not built. "
        "Install the package (pip install .) instead of importing its source directory."
    )


def load(conn: Connection, *, vec0: bool = False) -> None:
    """Loads the extension into an open connection of apsw, sqlite3 or pysqlite3.

    With ``vec0`` it also answers to the name ``vec0``, with the functions, errors and limits of
    sqlite-vec: a program changes ``sqlite_vec.load(conn)`` to ``vecsql.load(conn, vec0=True)`` and
    has an index beneath. Tables that sqlite-vec made are read by `import_sqlite_vec`.

    Does nothing if it is loaded already. Extension loading is disabled again afterwards.
    Raises `LoadError` if the driver or its SQLite library cannot load extensions, if the
    extension refuses the library (older than SQLite 3.38), or if ``vec0`` is asked of a connection
    that has the extension without it, or sqlite-vec itself.
    """
    if not hasattr(conn, "execute"):
        raise LoadError(
            f"expected a connection of apsw, sqlite3 or pysqlite3, got {type(conn).__name__}"
        )
    if _is_loaded(conn) and not vec0:
        return
    if not hasattr(conn, "enable_load_extension"):
        if isinstance(conn, sqlite3.Connection):
            raise LoadError(
                "this Python's sqlite3 module was built without extension loading, and a "
                "connection that is already open cannot be served. Open it with "
                "vecsql.connect(path), which can, or call vecsql.autoload() before another "
                "program opens it. Otherwise: " + _REMEDY
            )
        raise LoadError(
            f"{type(conn).__module__}.{type(conn).__name__} cannot load extensions; pass the "
            "driver's own connection (apsw, sqlite3 or pysqlite3)"
        )
    with together(lock_of(conn)), _lock:
        library = _library(conn)
        path = _copies.get(library) or loadable_path()
        try:
            _load_extension(conn, path, vec0)
        except Exception as e:
            if any(reason in str(e) for reason in _OF_THE_FILE):
                raise
            if _ANOTHER_LIBRARY not in str(e) or library in _copies:
                raise LoadError(f"cannot load {path}: {e}") from e
            path = _private_copy(library)
            try:
                _load_extension(conn, path, vec0)
            except Exception as e2:
                raise LoadError(f"cannot load {path} (a private copy): {e2}") from e2


@overload
def connect(
    database: str | os.PathLike[str],
    *,
    driver: Literal["sqlite3", "pysqlite3"] = "sqlite3",  # the two have one interface
    vec0: bool = False,
    **kwargs: object,
) -> sqlite3.Connection: ...
@overload
def connect(
    database: str | os.PathLike[str],
    *,
    driver: Literal["apsw"],
    vec0: bool = False,
    **kwargs: object,
) -> apsw.Connection: ...
def connect(
    database: str | os.PathLike[str],
    *,
    driver: Driver = "sqlite3",
    vec0: bool = False,
    **kwargs: object,
) -> sqlite3.Connection | apsw.Connection:
    """Opens a database with the extension loaded; returns the driver's own connection.

    ``driver`` is ``"sqlite3"`` (the standard library's, also where it was built without extension
    loading) or ``"pysqlite3"``, which are PEP 249, or ``"apsw"``. ``vec0``: see `load`. ``kwargs``
    go to the driver's connect. Do not open one database file through two drivers in one process:
    two SQLite libraries drop each other's locks.

    Cursors of the connection bind vectors: arrays, lists of numbers, tensors. With sqlite3's
    ``detect_types``, columns of the type VECTOR come back as arrays. (Both need the driver's
    default ``factory``.)

    Raises `LoadError` with a remedy if the driver is not installed or cannot load the extension.

    >>> db = connect(":memory:")
    >>> db.execute("SELECT vec_length('[1, 2, 3]')").fetchone()
    (3,)
    """
    options: dict[str, Any] = kwargs
    if driver in ("sqlite3", "pysqlite3"):
        dbapi = sqlite3 if driver == "sqlite3" else _import(driver, "pysqlite3-binary").dbapi2
        alone = options.get("check_same_thread", True)
        class_of = connection_class if alone else shared_connection_class
        options.setdefault("factory", class_of(dbapi))
        if options.get("detect_types"):
            register_vector_type(dbapi)
    if driver == "sqlite3":
        if not hasattr(sqlite3.Connection, "enable_load_extension"):
            return _connect_automatic(database, vec0, options)
        conn: sqlite3.Connection | apsw.Connection = sqlite3.connect(database, **options)
    elif driver == "pysqlite3":
        conn = dbapi.connect(database, **options)
    elif driver == "apsw":
        _import(driver, "apsw")
        conn = apsw_connection_class()(os.fspath(database), **options)
    else:
        raise LoadError(f"unknown driver {driver!r}: 'sqlite3', 'pysqlite3' or 'apsw'")
    try:
        load(conn, vec0=vec0)
    except BaseException:
        conn.close()
        raise
    return conn


def autoload(*, vec0: bool = False) -> Callable[[], None]:
    """Loads the extension into every connection that the module sqlite3 opens from now on.

    For libraries that open connections themselves: SQLAlchemy, Django, sqlite-utils, Datasette. It
    works where Python was built without extension loading, too. Connections that are open already
    stay as they are; so do those of apsw and pysqlite3, which take `load`. ``vec0``: see `load`.

    Returns a function that ends it. Connections that have the extension keep it. Where several
    parts of a program call it, each ends its own. Raises `LoadError`, and changes nothing, if the
    SQLite library does not take the extension; a plugin that must not break its host catches that.

    >>> import sqlite3
    >>> stop = autoload()
    >>> sqlite3.connect(":memory:").execute("SELECT vec_length('[1, 2, 3]')").fetchone()
    (3,)
    >>> stop()
    """
    entry_point = _ENTRY_VEC0 if vec0 else _ENTRY
    with _lock:
        path = _copies.get("sqlite3") or loadable_path()
        try:
            address = _hold(path, entry_point)
        except _REFUSALS as e:
            if _ANOTHER_LIBRARY not in str(e) or "sqlite3" in _copies:
                raise LoadError(f"cannot load {path}: {e}") from e
            path = _private_copy("sqlite3")
            try:
                address = _hold(path, entry_point)
            except _REFUSALS as e2:
                raise LoadError(f"cannot load {path} (a private copy): {e2}") from e2
    ended = False

    def stop() -> None:
        nonlocal ended
        with _lock:
            if ended:
                return
            ended = True
            _autoloads[address] -= 1
            if not _autoloads[address]:
                _sqlite_library().sqlite3_cancel_auto_extension(ctypes.c_void_p(address))

    return stop


def _hold(path: str, entry_point: str) -> int:
    """Registers an entry point that a connection takes; returns its address."""
    with _automatic_extension(path, entry_point) as address:
        with contextlib.closing(sqlite3.connect(":memory:")) as probe:
            if not _is_loaded(probe):
                raise LoadError("SQLite ignores automatic extensions. " + _REMEDY)
        _autoloads[address] = _autoloads.get(address, 0) + 1
    return address


def _import(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise LoadError(f"driver {module!r} is not installed: pip install {package}") from e


def _is_loaded(conn: Any) -> bool:
    try:
        return bool(conn.execute("SELECT vecsql_version()").fetchall())
    except Exception:  # "no such function", each driver's own class
        return False


def _library(conn: Any) -> str:
    """A name for the SQLite library behind conn: the top module of the driver's own class."""
    return [c for c in type(conn).__mro__ if c is not object][-1].__module__.partition(".")[0]


def _load_extension(conn: Any, path: str, vec0: bool) -> None:
    conn.enable_load_extension(True)
    try:
        if vec0:  # the method of Python before 3.12 takes no entry point
            conn.execute("SELECT load_extension(?, ?)", (path, _ENTRY_VEC0)).fetchall()
        else:
            conn.load_extension(path)
    finally:
        conn.enable_load_extension(False)


# --- private copies ------------------------------------------------------------------------------


def _private_copy(library: str) -> str:
    """Copies the extension for one more SQLite library; lives as long as the process."""
    original = loadable_path()
    directory = tempfile.mkdtemp(prefix="vecsql-")
    atexit.register(_remove, directory, os.getpid())
    copy = shutil.copy(original, directory)
    _copies[library] = copy
    return copy


def _remove(directory: str, owner: int) -> None:
    if os.getpid() == owner:  # not in a forked child: the parent still uses the file
        shutil.rmtree(directory, ignore_errors=True)  # Windows keeps a loaded file


# --- sqlite3 without enable_load_extension -------------------------------------------------------


def _connect_automatic(
    database: str | os.PathLike[str], vec0: bool, kwargs: dict[str, Any]
) -> sqlite3.Connection:
    entry = _ENTRY_VEC0 if vec0 else _ENTRY
    with _lock:
        path = _copies.get("sqlite3") or loadable_path()
        try:
            with _automatic_extension(path, entry):
                conn: sqlite3.Connection = sqlite3.connect(database, **kwargs)
        except sqlite3.Error as e:
            if _ANOTHER_LIBRARY not in str(e) or "sqlite3" in _copies:
                if "automatic extension" in str(e):
                    raise LoadError(f"cannot load {path}: {e}") from e
                raise  # a file that cannot be opened is no matter of loading
            with _automatic_extension(_private_copy("sqlite3"), entry):
                conn = sqlite3.connect(database, **kwargs)
    if not _is_loaded(conn):
        conn.close()
        raise LoadError(
            "this Python's sqlite3 module was built without extension loading, and its SQLite "
            "library did not accept the extension any other way. " + _REMEDY
        )
    return conn


@contextlib.contextmanager
def _automatic_extension(path: str, entry_point: str) -> Iterator[int]:
    """Registers an entry point, and gives its address; `autoload` may hold it beyond the block."""
    library = _sqlite_library()
    # The handle is never closed, so the code stays mapped while any connection uses it.
    entry = ctypes.cast(getattr(ctypes.CDLL(path), entry_point), ctypes.c_void_p)
    library.sqlite3_auto_extension.argtypes = [ctypes.c_void_p]
    library.sqlite3_cancel_auto_extension.argtypes = [ctypes.c_void_p]
    if library.sqlite3_auto_extension(entry) != 0:  # SQLITE_OK
        raise LoadError("SQLite refuses automatic extensions. " + _REMEDY)
    address = entry.value or 0
    try:
        yield address
    finally:
        if not _autoloads.get(address):
            library.sqlite3_cancel_auto_extension(entry)


@functools.lru_cache(maxsize=1)
def _sqlite_library() -> ctypes.CDLL:
    """The very SQLite library that the sqlite3 module calls, and no other one of this process."""
    import _sqlite3

    try:
        if sys.platform == "win32":
            library = ctypes.CDLL("sqlite3.dll")  # loaded already, found by its name
        else:
            # A symbol looked up in _sqlite3 is found in it or in the libraries it is linked with.
            library = ctypes.CDLL(_sqlite3.__file__)
        library.sqlite3_sourceid.restype = ctypes.c_char_p
        found = library.sqlite3_sourceid().decode()
        library.sqlite3_auto_extension  # noqa: B018  an AttributeError if hidden
        omitted = library.sqlite3_compileoption_used(b"OMIT_LOAD_EXTENSION")
    except (OSError, AttributeError) as e:
        raise LoadError(
            "this Python's sqlite3 module was built without extension loading, and its SQLite "
            f"library cannot be reached ({e}). " + _REMEDY
        ) from e
    with contextlib.closing(sqlite3.connect(":memory:")) as probe:
        (expected,) = probe.execute("SELECT sqlite_source_id()").fetchone()
    if found != expected or omitted:
        raise LoadError(
            "this Python's sqlite3 module was built without extension loading, and its SQLite "
            f"library {'omits it too' if omitted else 'could not be identified'}. " + _REMEDY
        )
    return library
