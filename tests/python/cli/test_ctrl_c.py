"""Risk: Ctrl-C is answered with a traceback, a wrong status, or not before a long loop ends."""

from __future__ import annotations

import http.server
import subprocess
import sys
import threading

import numpy as np
import pytest

import vecsql
from tests.support.command_line import rows
from vecsql._connection.driver import driver_of

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

FOREVER = "(WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c)"

# The signal comes when the command is at work: the work has no end.
CHILD = """
import os, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
from vecsql._cli import main
import vecsql, apsw, numpy
threading.Timer(float(sys.argv.pop(1)), os.kill, (os.getpid(), signal.SIGINT)).start()
main()
"""


def interrupted(*args, after=1.0):
    """Runs a command and interrupts it; returns exit status, stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(after), *map(str, args)],
        cwd=sys.prefix, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def db(tmp_path):
    path = tmp_path / "a.db"
    conn = vecsql.connect(path)
    vecsql.create_table(conn, "notes", {"body": str}, text="body", fts=True)
    vecsql.insert(conn, "notes", [{"body": b} for b in ("night train", "rye bread")])
    conn.execute("CREATE TABLE plain(id INTEGER PRIMARY KEY, body TEXT)")
    conn.execute("INSERT INTO plain(body) VALUES ('plum cake')")
    conn.commit()
    conn.close()
    return path


@pytest.fixture
def silent_server():
    """The URL of an endpoint that takes requests and never answers."""
    release = threading.Event()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            release.wait(60)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1#model"
    release.set()
    server.shutdown()


@pytest.mark.parametrize(
    "command",
    [
        ["query", "DB", f"SELECT {FOREVER}"],
        ["shell", "DB", f"SELECT {FOREVER}"],
        ["search", "DB", "notes", "train", "--where", f"{FOREVER} > 0"],
        ["export", "DB", "notes", "OUT", "--where", f"{FOREVER} > 0"],
    ],
    ids=lambda c: c[0],
)
def test_a_statement_without_end_is_interrupted(db, tmp_path, command):
    args = [{"DB": db, "OUT": tmp_path / "out.csv"}.get(a, a) for a in command]
    code, out, err = interrupted(*args)
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert "interrupted" in err
    assert not (tmp_path / "out.csv").exists()
    assert rows(db, "SELECT count(*) FROM notes") == [(2,)]


@pytest.mark.parametrize(
    "command",
    [
        ["import", "NEW", "t", "CSV"],
        ["index", "DB", "plain", "--text", "body"],
        ["ingest", "NEW", "t", "DOCS"],
        ["reembed", "DB", "notes"],
        ["search", "DB", "notes", "train"],
        ["query", "DB", "SELECT embed('x')"],
    ],
    ids=lambda c: c[0],
)
def test_waiting_for_a_model_is_interrupted(db, tmp_path, silent_server, command):
    (tmp_path / "a.csv").write_text("text\nnight train\n")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.txt").write_text("night train")
    names = {"DB": db, "NEW": tmp_path / "b.db", "CSV": tmp_path / "a.csv"}
    names["DOCS"] = tmp_path / "docs"
    args = [names.get(a, a) for a in command]
    code, out, err = interrupted(*args, "--embedder", silent_server)
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert rows(db, "SELECT count(*) FROM notes") == [(2,)]


def test_a_build_in_c_is_interrupted_and_leaves_the_table_as_it_was(tmp_path):
    path = tmp_path / "a.db"
    conn = vecsql.connect(path, driver="apsw")
    conn.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, embedding BLOB)")
    vectors = np.random.default_rng(1).normal(size=(20_000, 96)).astype("<f4")
    with conn:
        conn.executemany("INSERT INTO t(embedding) VALUES (?)", ([v.tobytes()] for v in vectors))
    conn.close()
    options = ["--options", "m=64 ef_construction=1000 codec=none"]
    code, out, err = interrupted("index", path, "t", *options, after=1.5)
    assert (code, out) == (130, "")
    assert "Traceback" not in err
    assert rows(path, "SELECT count(*) FROM sqlite_schema WHERE name LIKE 't_embedding%'") == [(0,)]
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]


def test_rows_that_are_read_no_further_say_nothing_when_the_connection_is_closed():
    """Ctrl-C in an export leaves such a generator behind."""
    conn = vecsql.connect(":memory:", driver="apsw")
    rows = driver_of(conn).iterate("SELECT 1 UNION SELECT 2")
    next(rows)
    conn.close()
    rows.close()
