"""Risk: the check of imports finds nothing because it looks at nothing."""

from __future__ import annotations

import importlib.util

import pytest

from tests.support.paths import ROOT

_spec = importlib.util.spec_from_file_location("arrows", ROOT / "scripts" / "check_arrows.py")
arrows = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(arrows)


def package(tmp_path, files):
    for name, text in files.items():
        path = tmp_path / "vecsql" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "vecsql"


def test_the_imports_of_the_package_go_down():
    assert len(list(arrows.python_arrows(ROOT / "vecsql"))) > 200
    assert arrows.check_python(ROOT / "vecsql") == []


@pytest.mark.parametrize(
    ("files", "wrong"),
    [
        (
            {"_base/a.py": "from vecsql._rows.b import c\n", "_rows/b.py": ""},
            "vecsql._base.a, line 1: imports vecsql._rows.b, which lies above it",
        ),
        (
            {"_base/a.py": "def f():\n    from vecsql._rows import b\n", "_rows/b.py": ""},
            "vecsql._base.a, line 2: imports vecsql._rows.b, which lies above it",
        ),
        (
            {"_base/a.py": "import vecsql._base.b\n", "_base/b.py": "from vecsql._base import a\n"},
            "vecsql._base.a -> vecsql._base.b -> vecsql._base.a: a circle",
        ),
        (
            {"_new/a.py": "from vecsql._base import b\n", "_base/b.py": ""},
            "_new: no floor is given in scripts/check_arrows.py",
        ),
    ],
)
def test_an_arrow_that_goes_up_is_found(tmp_path, files, wrong):
    assert wrong in arrows.check_python(package(tmp_path, files))


def test_arrows_that_go_down_are_no_fault(tmp_path):
    files = {"_rows/a.py": "from vecsql._base import b\nimport json\n", "_base/b.py": ""}
    assert arrows.check_python(package(tmp_path, files)) == []
