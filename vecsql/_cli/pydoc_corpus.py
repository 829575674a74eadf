"""The installed Python's own documentation as a corpus: more than 5,000 real texts, offline.

Every public module, class, function, method and property of the standard library that has a
docstring of its own, C modules included, in a fixed order. Objects are named as a reader would
import them: ``json.JSONDecoder``, not ``json.decoder.JSONDecoder``.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib
import inspect
import io
import pkgutil
import re
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

# Modules that are not imported, and why. A package stands for all it holds.
SKIPPED = {
    "antigravity": "opens a browser when imported",
    "this": "prints when imported",
    "idlelib": "an application, and needs a display",
    "turtledemo": "demonstrations that open windows",
    "turtle": "repeats each method as a function, and needs tkinter",
    "tkinter.tix": "an old widget set, removed in Python 3.13",
    "test": "the interpreter's test suite",
    "lib2to3": "an application with generated tables, removed in Python 3.13",
    "distutils": "removed in Python 3.12; warns when imported",
    "ensurepip": "carries a bundled pip",
    "venv": "an application",
    "pydoc_data": "one text of 700 kB",
    "nt": "half of os, under its private name",
    "posix": "half of os, under its private name",
    "ntpath": "os.path of another system",
    "posixpath": "documented as os.path",
    "genericpath": "a part of os.path",
    "sre_compile": "a private part of re",
    "sre_constants": "a private part of re",
    "sre_parse": "a private part of re",
    "nturl2path": "a private part of urllib",
    "opcode": "a private part of dis",
    "msilib": "Windows only, removed in Python 3.13",
    "asyncio.windows_events": "Windows only",
    "asyncio.windows_utils": "Windows only",
    "encodings": "one module of tables for each codec",
    "multiprocessing.popen_spawn_win32": "Windows only",
    "ctypes.macholib": "macOS only",
    "xml.parsers.expat.model": "constants",
    "xml.parsers.expat.errors": "constants",
}
_SKIPPED_PARTS = {"__main__", "tests", "test"}  # anywhere in a name: importing __main__ runs it

_DOC_LIMIT = 4000  # characters of a docstring that are kept


class PyObject(NamedTuple):
    """One documented object; ``name`` is qualified, (kind, name) is unique."""

    module: str
    kind: str  # module, class, function, method or property
    name: str
    signature: str
    doc: str


def walk() -> Iterator[PyObject]:
    """Yields the documented objects, module by module in alphabetical order.

    A module that cannot be imported is left out; nothing it prints or warns about is shown.
    """
    seen: set[int] = set()  # objects that have a name already
    texts: set[tuple[str, str]] = set()  # (last name, docstring) pairs: inherited copies
    found: dict[str, list[PyObject]] = {}
    # An object is named by the shallowest module that exports it, the top package before its parts.
    with _quiet():
        for module in sorted(_modules(), key=lambda m: (m.count("."), m)):
            loaded = _import(module)
            if loaded is not None:
                found[module] = list(_objects(module, loaded, seen, texts))
    for module in sorted(found):
        yield from found[module]


def embedded_text(obj: PyObject, module_summary: str) -> str:
    """The text that stands for an object in the index.

    A static embedding is a mean over words, so a long text says little about any of them: this is
    the name as words, the first sentence twice, and what the module is about (``re.split`` says
    nothing of regular expressions, its module does).
    """
    first = summary(obj.doc)
    last = obj.name.rpartition(".")[2]
    about = "" if obj.kind == "module" else module_summary
    return f"{_words(obj.name)} {_words(last)}. {first} {first} {about}"


def summary(doc: str) -> str:
    """The first sentence of a docstring, or its first paragraph if that is shorter."""
    paragraph = " ".join(doc.split("\n\n")[0].split())
    return re.split(r"(?<=[.!?])\s", paragraph)[0][:200]


def _words(name: str) -> str:
    return re.sub(r"[._]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))


# --- modules -------------------------------------------------------------------------------------


def _modules() -> Iterator[str]:
    yield "os.path"
    for name in sorted(sys.stdlib_module_names):
        if not _skipped(name):
            yield name
            yield from _submodules(name)


def _submodules(package: str) -> Iterator[str]:
    loaded = _import(package)
    for info in pkgutil.iter_modules(getattr(loaded, "__path__", ())):
        name = f"{package}.{info.name}"
        if not _skipped(name):
            yield name
            if info.ispkg:
                yield from _submodules(name)


def _skipped(name: str) -> bool:
    parts = name.split(".")
    return (
        any(part.startswith("_") or part in _SKIPPED_PARTS for part in parts)
        or any(".".join(parts[:i]) in SKIPPED for i in range(1, len(parts) + 1))
    )  # fmt: skip


def _import(name: str) -> types.ModuleType | None:
    try:
        return importlib.import_module(name)
    except BaseException as e:
        if isinstance(e, KeyboardInterrupt):
            raise
        return None  # not built, not for this system: no part of this Python's documentation


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


# --- objects -------------------------------------------------------------------------------------


def _objects(
    name: str, module: types.ModuleType, seen: set[int], texts: set[tuple[str, str]]
) -> Iterator[PyObject]:
    if doc := _own_doc(module):
        yield PyObject(name, "module", name, "", doc)
    for key in _public(module):
        try:
            obj = getattr(module, key)
        except Exception:  # a lazy attribute that fails is not documented
            continue
        if id(obj) in seen or not callable(obj) or isinstance(obj, types.GenericAlias):
            continue
        is_class = isinstance(obj, type)
        if not is_class and not inspect.isroutine(obj) and not hasattr(obj, "__wrapped__"):
            continue
        if not _belongs(obj, name, module):
            continue
        seen.add(id(obj))
        qualified = key if module is builtins else f"{name}.{key}"
        doc = _own_doc(obj)
        if doc and _first_of(key, doc, texts):
            kind = "class" if is_class else "function"
            yield PyObject(name, kind, qualified, _signature(obj), doc)
        if is_class:
            yield from _methods(name, qualified, obj, texts)


def _methods(
    module: str, class_name: str, cls: type, texts: set[tuple[str, str]]
) -> Iterator[PyObject]:
    # What the class defines itself, or a private base for it: an inherited docstring belongs to
    # the public class that it comes from.
    members: dict[str, Any] = {}
    for base in cls.__mro__:
        if base is cls or base.__name__.startswith("_"):
            members = {**vars(base), **members}
    for key, raw in sorted(members.items()):
        if key.startswith("_"):
            continue
        obj = raw.__func__ if isinstance(raw, (staticmethod, classmethod)) else raw
        is_property = isinstance(obj, (property, functools.cached_property)) or (
            inspect.isgetsetdescriptor(obj) or inspect.ismemberdescriptor(obj)
        )
        if not inspect.isroutine(obj) and not is_property:
            continue
        doc = _own_doc(obj)
        if doc and not doc.startswith("Alias for field number") and _first_of(key, doc, texts):
            kind = "property" if is_property else "method"
            signature = "" if is_property else _signature(obj)
            yield PyObject(module, kind, f"{class_name}.{key}", signature, doc)


def _public(module: types.ModuleType) -> list[str]:
    exported = getattr(module, "__all__", None)
    names = exported if exported is not None else vars(module)
    return sorted({n for n in names if isinstance(n, str) and not n.startswith("_")})


def _belongs(obj: Any, name: str, module: types.ModuleType) -> bool:
    if getattr(module, "__all__", None) is not None:
        return True
    home = getattr(obj, "__module__", None)
    # A C module may define its objects under a private name: _io for io, posix for os.
    return home is None or home == name or home.lstrip("_") == name or home in ("posix", "nt")


def _own_doc(obj: Any) -> str:
    doc = getattr(obj, "__doc__", None)
    if isinstance(obj, type):
        doc = vars(obj).get("__doc__")
        if not isinstance(doc, str) or doc.startswith(f"{obj.__name__}("):
            # None, or the field list that dataclass and namedtuple write
            init = vars(obj).get("__init__")
            own = init.__doc__ if isinstance(init, types.FunctionType) else None
            doc = own or (doc if isinstance(doc, str) and "\n" in doc else None)
    if not isinstance(doc, str):
        return ""
    return _stable(inspect.cleandoc(doc))[:_DOC_LIMIT].strip()


def _first_of(key: str, doc: str, texts: set[tuple[str, str]]) -> bool:
    if (key, doc) in texts:
        return False
    texts.add((key, doc))
    return True


def _signature(obj: Any) -> str:
    try:
        signature = inspect.signature(obj)
        parameters = [_plain_default(p) for p in signature.parameters.values()]
        return _stable(str(signature.replace(parameters=parameters)))
    except (ValueError, TypeError, AttributeError, NameError, SyntaxError):
        return ""  # C functions without a text signature have it in their docstring


class _Omitted:
    def __repr__(self) -> str:
        return "..."


def _plain_default(parameter: inspect.Parameter) -> inspect.Parameter:
    """Shows only literals: a default may be anything, os.environ with its secrets included."""
    literal = (type(None), bool, int, float, complex, str, bytes)
    default = parameter.default
    if default is inspect.Parameter.empty or type(default) in literal or default == ():
        return parameter
    if isinstance(default, tuple) and all(type(item) in literal for item in default):
        return parameter
    return parameter.replace(default=_Omitted())


def _stable(text: str) -> str:
    """Removes what differs between two runs: addresses."""
    return re.sub(r" at 0x[0-9A-Fa-f]+", "", text)
