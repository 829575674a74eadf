"""Risk: a lint that finds nothing because it looks for nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

SCRIPT = ROOT / "scripts" / "check_results.py"


def check(*paths: Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, paths)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def test_the_extension_looks_at_every_result():
    done = check()
    assert (done.returncode, done.stdout) == (0, "")


def test_a_file_in_any_folder_of_the_extension_is_looked_at(tmp_path):
    folder = tmp_path / "ext" / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "c.c").write_text("void f(void) {\n    sqlite3_step(stmt);\n}\n")
    assert check(cwd=tmp_path).returncode == 1


@pytest.mark.parametrize(
    "body",
    [
        "sqlite3_bind_int64(stmt, 1, rowid);",
        "(void)sqlite3_bind_blob64(stmt, 3, p, n, SQLITE_STATIC);",
        "if (rc == SQLITE_OK) {\n        sqlite3_exec(db, sql, NULL, NULL, NULL);\n    }",
        "if (f(a, g(b)))\n        sqlite3_step(stmt);",
        "for (i = 0; i < n; i++) sqlite3_bind_null(stmt, i);",
        "rc = 1; /* fine; */ vsx_exec(db, sql);",
        "if (a) b(); else sqlite3_step(stmt);",
        "case 1: vsx_write(stmt);",
        "VSX_TRY(f()); vsx_number(stmt, rc, &n);",
    ],
)
def test_an_ignored_result_is_found(tmp_path, body):
    (tmp_path / "a.c").write_text(f"void f(void) {{\n    {body}\n}}\n", encoding="utf-8")
    done = check(tmp_path / "a.c")
    assert done.returncode == 1
    assert "is ignored" in done.stdout


@pytest.mark.parametrize(
    "body",
    [
        "rc = sqlite3_bind_int64(stmt, 1, rowid);",
        "if (a) {\n        VSX_TRY(sqlite3_bind_int64(stmt, 1, rowid));\n    }",
        "return rc == SQLITE_OK ? sqlite3_step(stmt) : sqlite3_exec(db, s, 0, 0, 0);",
        "while (rc == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW) {}",
        "rc = a ? b\n : sqlite3_step(stmt);",
        'puts("; sqlite3_step(stmt);"); /* ; sqlite3_exec() */',
        "n = sqlite3_bind_parameter_count(stmt);",
        "rc = (int)sqlite3_step(stmt);",
    ],
)
def test_a_result_that_is_used_is_none(tmp_path, body):
    (tmp_path / "a.c").write_text(f"void f(void) {{\n    {body}\n}}\n", encoding="utf-8")
    done = check(tmp_path / "a.c")
    assert (done.returncode, done.stdout) == (0, "")
