"""Risk: the public surface drifts: names missing from __all__, slow import, undocumented parts."""

from __future__ import annotations

import importlib.metadata
import inspect
import subprocess
import sys
import types

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


def test_import_does_not_import_numpy_or_a_driver_besides_sqlite3():
    code = "import sys, vecsql; print(*(m for m in ('numpy', 'apsw', 'click') if m in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=sys.prefix, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_every_public_name_is_documented():
    for name in vecsql.__all__:
        value = getattr(vecsql, name)
        if isinstance(value, type) or inspect.isroutine(value):
            assert inspect.getdoc(value), name


def test_every_exception_is_drawn_in_the_tree():
    from vecsql import _errors

    for name, value in vars(_errors).items():
        if isinstance(value, type) and issubclass(value, Exception):
            assert issubclass(value, vecsql.Error)
            assert name in (_errors.__doc__ or "")
            assert name in vecsql.__all__


def test_model_is_shipped_with_its_licence_and_notice():
    from importlib.resources import files

    directory = files("vecsql").joinpath("data/static-en-256")
    assert {"LICENSE", "NOTICE", "model.npz"} <= {f.name for f in directory.iterdir()}
    assert files("vecsql").joinpath("py.typed").is_file()


def test_core_module_is_built():
    from vecsql import _core

    assert dir(_core.lib)
