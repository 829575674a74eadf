"""The command line in a process of its own, and what it left in a file."""

from __future__ import annotations

import os
import subprocess
import sys

import vecsql


def cli(*args, cwd=None, code=0):
    """Runs the command line; returns stdout, or stderr where a failure is expected."""
    done = subprocess.run(
        [sys.executable, "-m", "vecsql", *map(str, args)],
        cwd=cwd or sys.prefix,  # not the source tree
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "COLUMNS": "200"},
        timeout=300,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stderr if code else done.stdout


def rows(path, sql):
    conn = vecsql.connect(path, driver="apsw")
    try:
        return conn.execute(sql).fetchall()
    finally:
        conn.close()
