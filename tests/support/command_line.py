"""The command line, in this process or in one of its own, and what it left in a file."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

import vecsql
from vecsql._cli import main


def run(*args, cwd, columns="200"):
    """Runs a command in this process; returns exit status, stdout and stderr.

    A process takes half a second to begin, which is most of the time of most commands.
    """
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", newline="\n") for _ in range(2)]
    before, width = Path.cwd(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = columns
    os.chdir(cwd)
    status = 0
    try:
        with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
            main([str(a) for a in args], prog_name="vecsql")
    except SystemExit as e:
        status = e.code or 0
    finally:
        os.chdir(before)
        os.environ.pop("COLUMNS")
        if width is not None:
            os.environ["COLUMNS"] = width
    for stream in streams:
        stream.flush()
    return status, *(stream.buffer.getvalue().decode("utf-8") for stream in streams)


def cli(*args, cwd=None, code=0):
    """Runs a command in this process; returns stdout, or stderr where a failure is expected."""
    status, out, err = run(*args, cwd=cwd or sys.prefix)
    assert status == code, out + err
    return err if code else out


def process(*args, cwd=None, code=0):
    """Runs a command in a process of its own, as a user does; returns what `cli` returns."""
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
