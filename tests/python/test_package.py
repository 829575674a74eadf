"""Risk: the public surface drifts: names missing from __all__, slow import, undocumented parts."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import subprocess
import sys
import types
import zlib
from pathlib import Path

import vecsql


def test_all_is_sorted_and_complete():
    public = {
        name
        for name, value in vars(vecsql).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert vecsql.__all__ == sorted(vecsql.__all__)
    assert set(vecsql.__all__) == public | {"__version__"}


def test_version_is_the_distributions():
    assert importlib.metadata.version("vecsql") == vecsql.__version__


def test_import_is_light():
    """A bound on what is imported stands for the time, which differs between machines."""
    code = "import sys; a = set(sys.modules); import vecsql; print(*sorted(set(sys.modules) - a))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path = {sys.path!r}; {code}"],
        cwd=sys.prefix,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    heavy = {"numpy", "apsw", "click", "rich", "urllib.request", "http.client", "ssl", "hashlib"}
    assert not loaded & (heavy | {"importlib.resources", "asyncio", "multiprocessing", "csv"})
    assert len({m for m in loaded if not m.startswith("vecsql")}) < 140, loaded


def test_run_time_needs_four_packages():
    needed = importlib.metadata.requires("vecsql") or []
    names = {re.split(r"[^\w-]", r)[0] for r in needed if "extra ==" not in r}
    assert names == {"apsw", "cffi", "numpy", "click"}


def test_package_is_below_8_mb_compressed():
    packed = sum(
        len(zlib.compress(path.read_bytes()))
        for path in Path(vecsql.__file__).parent.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    )
    assert packed < 8_000_000


def test_every_public_name_is_documented():
    for name in vecsql.__all__:
        value = getattr(vecsql, name)
        if isinstance(value, type) or inspect.isroutine(value):
            assert inspect.getdoc(value), name


def test_every_exception_is_drawn_in_the_tree():
    from vecsql._base import errors

    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, Exception):
            assert issubclass(value, vecsql.Error)
            assert name in (errors.__doc__ or "")
            assert name in vecsql.__all__


def test_model_is_shipped_with_its_licence_and_notice():
    from importlib.resources import files

    directory = files("vecsql").joinpath("data/static-en-256")
    assert {"LICENSE", "NOTICE", "model.npz"} <= {f.name for f in directory.iterdir()}
    assert files("vecsql").joinpath("py.typed").is_file()


def test_core_module_is_built():
    from vecsql import _core

    assert dir(_core.lib)
