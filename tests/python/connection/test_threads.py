"""Risk: threads that share a connection hang, lose rows, or read another one's half transaction."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import vecsql
from vecsql._connection.sharing import lock_of

SHARED = {"apsw": {}, "sqlite3": {"check_same_thread": False}, "pysqlite3": {}}
SHARED["pysqlite3"] = SHARED["sqlite3"]
LONG = 60  # seconds until a test that hangs fails


@pytest.fixture
def share(driver, tmp_path):
    """A function that opens a file with a connection that threads may share."""
    opened = []

    def call(name="a.db", timeout=5.0):
        conn = vecsql.connect(tmp_path / name, driver=driver, **SHARED[driver])
        lock_of(conn).timeout = timeout
        opened.append(conn)
        return conn

    yield call
    for conn in opened:
        conn.close()


@pytest.fixture
def shared(share):
    return share()


@pytest.fixture
def pool():
    with ThreadPoolExecutor(8) as executor:
        yield executor


def in_thread(work):
    """Starts work in a thread; the result is asked for with result(), which fails if it hangs."""
    executor = ThreadPoolExecutor(1)
    future = executor.submit(work)
    executor.shutdown(wait=False)
    return future


def commit(conn):
    if conn.in_transaction:
        conn.execute("COMMIT")


def program(code, *args, timeout=LONG):
    """Runs a program that prints its result; one that hangs shows where its threads are."""
    head = f"import faulthandler; faulthandler.dump_traceback_later({timeout - 5}, exit=True)\n"
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "program.py")  # a file, which a spawned child can import
        script.write_text(head + textwrap.dedent(code))
        done = subprocess.run(
            [sys.executable, script, *map(str, args)],
            cwd=folder,  # not the source tree
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@contextmanager
def busy(conn):
    """Meanwhile another thread is inside a call, in an SQL function; yields what ends the call."""
    inside, end = threading.Event(), threading.Event()

    def wait():
        inside.set()
        assert end.wait(LONG)
        return 1

    if hasattr(conn, "create_scalar_function"):
        conn.create_scalar_function("wait", wait)
    else:
        conn.create_function("wait", 0, wait)
    calling = in_thread(lambda: conn.execute("SELECT wait()").fetchall())
    assert inside.wait(LONG)
    try:
        yield end.set
    finally:
        end.set()
        assert calling.result(LONG) == [(1,)]


# --- calls take turns ----------------------------------------------------------------------------


def test_threads_that_embed_in_sql_finish(driver, tmp_path):
    code = """
        import sys, vecsql
        from concurrent.futures import ThreadPoolExecutor
        path, driver = sys.argv[1:]
        shared = {} if driver == "apsw" else {"check_same_thread": False}
        db = vecsql.connect(path, driver=driver, **shared)
        vecsql.create_table(db, "t", {"body": str}, text="body")
        vecsql.register_embedder(db)
        vecsql.insert(db, "t", [{"body": f"row {i}"} for i in range(50)])
        query = "SELECT rowid FROM t_embedding WHERE embedding MATCH embed(?) AND k = 3"
        def one(i):
            if i % 5 == 0:
                db.execute("INSERT INTO t(body) VALUES (?)", (f"new {i}",))
            return len(db.execute(query, (f"q {i}",)).fetchall())
        print(sum(ThreadPoolExecutor(4).map(one, range(300))))
    """
    assert program(code, tmp_path / "a.db", driver) == "900"


CALLS = {
    "sqlite3": {
        "execute": lambda c, cur: c.execute("SELECT 1"),
        "executemany": lambda c, cur: c.executemany("INSERT INTO t VALUES(?)", [(1,)]),
        "executescript": lambda c, cur: c.executescript("SELECT 1"),
        "commit": lambda c, cur: c.commit(),
        "rollback": lambda c, cur: c.rollback(),
        "create_function": lambda c, cur: c.create_function("f", 0, lambda: 1),
        "iterdump": lambda c, cur: list(c.iterdump()) if hasattr(c, "iterdump") else c.commit(),
        "set_progress_handler": lambda c, cur: c.set_progress_handler(None, 0),
        "isolation_level": lambda c, cur: setattr(c, "isolation_level", None),
        "backup": lambda c, cur: (
            c.backup(sqlite3.connect(":memory:"))
            if isinstance(c, sqlite3.Connection)
            else c.commit()
        ),
        "fetchmany": lambda c, cur: cur.fetchmany(2),
    },
    "apsw": {
        "execute": lambda c, cur: c.execute("SELECT 1"),
        "executemany": lambda c, cur: c.executemany("INSERT INTO t VALUES(?)", [(1,)]),
        "in_transaction": lambda c, cur: c.in_transaction,
        "changes": lambda c, cur: c.changes(),
        "limit": lambda c, cur: c.limit(0),
        "pragma": lambda c, cur: c.pragma("user_version"),
        "create_scalar_function": lambda c, cur: c.create_scalar_function("f", lambda: 1),
        "description": lambda c, cur: cur.description,
        "get": lambda c, cur: cur.get,
    },
}
EVERY_DRIVERS = {
    "next": lambda c, cur: next(cur),
    "fetchone": lambda c, cur: cur.fetchone(),
    "fetchall": lambda c, cur: cur.fetchall(),
    "close a cursor": lambda c, cur: cur.close(),
    "search": lambda c, cur: vecsql.search(c, "v", [1, 0], k=1),
    "insert": lambda c, cur: vecsql.insert(c, "t", {"a": 1}),
    "a transaction": lambda c, cur: c.__enter__() and c.__exit__(None, None, None),
}


def test_every_call_waits_while_another_thread_is_in_one(share, driver):
    calls = CALLS["apsw" if driver == "apsw" else "sqlite3"] | EVERY_DRIVERS
    for name, call in calls.items():
        conn = share(f"{name}.db")
        conn.execute("CREATE TABLE IF NOT EXISTS t(a)").close()
        conn.execute("CREATE VIRTUAL TABLE IF NOT EXISTS v USING vecsql(e FLOAT[2])").close()
        cursor = conn.execute("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3")
        with busy(conn) as end:
            waiting = in_thread(lambda call=call, conn=conn, cursor=cursor: call(conn, cursor))
            finished = threading.Event()
            waiting.add_done_callback(lambda _, finished=finished: finished.set())
            assert not finished.wait(0.05), f"{name} does not wait"
            end()
            waiting.result(LONG)


def test_interrupt_waits_for_nobody(shared):
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    calling = in_thread(lambda: shared.execute(endless).fetchall())
    while not calling.done():  # an interrupt before the statement begins has no effect
        shared.interrupt()
    with pytest.raises(Exception, match=r"(?i)interrupt"):
        calling.result(LONG)


def test_an_unfinished_cursor_blocks_nobody(shared, pool):
    shared.execute("CREATE TABLE t(a)").close()
    shared.executemany("INSERT INTO t VALUES(?)", [(i,) for i in range(10)]).close()
    commit(shared)
    cursor = shared.execute("SELECT a FROM t ORDER BY a")
    assert next(cursor) == (0,)
    assert pool.submit(vecsql.insert, shared, "t", {"a": 10}).result(LONG) == 11
    assert pool.submit(vecsql.search, shared, *new_index(shared)).result(LONG)
    assert [a for (a,) in cursor][:9] == list(range(1, 10))


def test_a_rollback_of_one_thread_ends_no_cursor_of_another(shared, pool):
    shared.execute("CREATE TABLE t(a)").close()
    vecsql.insert(shared, "t", [{"a": i} for i in range(5)])
    cursor = shared.execute("SELECT a FROM t ORDER BY a")
    assert next(cursor) == (0,)

    def fail():
        with shared:
            shared.execute("INSERT INTO t VALUES (9)").close()
            raise KeyError("a")

    with pytest.raises(KeyError):
        pool.submit(fail).result(LONG)
    assert cursor.fetchall() == [(1,), (2,), (3,), (4,)]


def new_index(conn):
    vecsql.create_table(conn, "notes", {"body": str}, text="body")
    vecsql.insert(conn, "notes", {"body": "night train"})
    return "notes", "train"


def test_rows_of_a_statement_that_writes_hold_up_no_commit_of_another_thread(shared, pool):
    shared.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)").close()
    commit(shared)
    if hasattr(shared, "isolation_level"):
        shared.isolation_level = None
    for sql in (
        "INSERT INTO t(b) VALUES (7), (8) RETURNING b",
        "WITH x(b) AS (VALUES (7), (8)) INSERT INTO t(b) SELECT b FROM x RETURNING b",
        "  REPLACE INTO t(b) VALUES (7), (8) returning b",
    ):
        for fetch in (
            lambda c: c.fetchall(),
            list,
            lambda c: [c.fetchone(), c.fetchone()],
            lambda c: [next(c), next(c)],
        ):
            cursor = shared.execute(sql)
            assert cursor.description[0][0] == "b"
            pool.submit(vecsql.insert, shared, "t", {"b": 1}).result(LONG)
            assert fetch(cursor) == [(7,), (8,)]
            assert cursor.fetchone() is None
    if hasattr(cursor, "fetchmany"):
        cursor = shared.execute(sql)
        assert [cursor.fetchmany(), cursor.fetchmany(5)] == [[(7,)], [(8,)]]
    else:
        assert shared.execute(sql).get == [7, 8]
        assert shared.execute("INSERT INTO t(b) VALUES (9) RETURNING b").get == 9
        assert shared.execute("INSERT INTO t(b) VALUES (9) RETURNING b, 1").get == (9, 1)


def test_a_call_may_use_the_connection_that_it_is_in(shared):
    shared.execute("CREATE TABLE t(a)").close()

    def rows():
        for i in range(5):
            yield (len(shared.execute("SELECT * FROM t").fetchall()) + i,)

    shared.executemany("INSERT INTO t VALUES(?)", rows())
    commit(shared)
    assert shared.execute("SELECT a FROM t").fetchall() == [(0,), (2,), (4,), (6,), (8,)]

    def total():
        return shared.execute("SELECT sum(a) FROM t").fetchone()[0]

    if hasattr(shared, "create_scalar_function"):
        shared.create_scalar_function("total", total)
    else:
        shared.create_function("total", 0, total)
        shared.row_factory = lambda cursor, row: (*row, total())
    with shared:
        found = shared.execute("SELECT total()").fetchone()
    assert set(found) == {20}


def test_a_statement_that_one_thread_has_not_finished_is_no_bar_to_the_first_model(driver, path):
    first = vecsql.connect(path, driver=driver)
    new_index(first)
    first.close()
    for use in (
        lambda conn: vecsql.search(conn, "notes", "train"),
        vecsql.register_embedder,
        lambda conn: vecsql.insert(conn, "notes", {"body": "rye bread"}),
        lambda conn: vecsql.evaluate(conn, "notes", {"q": "train"}, {"q": {"1": 1}}),
    ):
        conn = vecsql.connect(path, driver=driver)
        cursor = conn.execute("SELECT id FROM notes UNION ALL SELECT 2")
        assert next(cursor) == (1,)
        use(conn)
        cursor.close()
        conn.close()


def test_a_statement_that_found_no_model_finds_it_when_it_is_registered(driver, path):
    first = vecsql.connect(path, driver=driver)
    new_index(first)
    first.close()
    conn = vecsql.connect(path, driver=driver)
    sql = "INSERT INTO notes(body) VALUES ('rye bread')"  # the driver keeps it prepared
    for _ in range(2):
        with pytest.raises(Exception, match="register_embedder"):
            conn.execute(sql).close()
    vecsql.register_embedder(conn)
    conn.execute(sql).close()
    assert conn.execute("SELECT count(*) FROM notes WHERE embedding NOT NULL").fetchone() == (2,)
    conn.close()


def test_an_open_blob_takes_turns(shared, driver, pool):
    shared.execute("CREATE TABLE t(a)").close()
    shared.execute("INSERT INTO t VALUES (zeroblob(8))").close()
    commit(shared)
    if driver == "apsw":
        blob = shared.blob_open("main", "t", "a", 1, True)
    elif hasattr(shared, "blobopen"):
        blob = shared.blobopen("t", "a", 1)
    else:
        blob = shared.open_blob("t", "a", 1)
    with blob, busy(shared) as end:
        waiting = pool.submit(blob.write, b"12345678")
        assert not waiting.done()
        end()
        waiting.result(LONG)
        blob.seek(2)
        assert blob.read(3) == b"345"
    if hasattr(shared, "blobopen") and driver != "apsw":
        with shared.blobopen("t", "a", 1) as blob:
            blob[0] = ord("9")
            assert (len(blob), blob[:4]) == (8, b"9234")


def test_a_backup_takes_turns_and_waits_for_the_transaction_of_another_thread(share, driver, pool):
    conn, other = share(), share("b.db")
    conn.execute("CREATE TABLE t(a)").close()
    commit(conn)
    if driver == "apsw":
        with other.backup("main", conn, "main") as backup, busy(conn) as end:
            waiting = pool.submit(backup.step, -1)
            assert not waiting.done()
            end()
            assert waiting.result(LONG)
            assert backup.done
    else:
        told = []
        conn.execute("BEGIN IMMEDIATE").close()
        copying = pool.submit(
            conn.backup, other, sleep=0.001, progress=lambda *status: told.append(status)
        )
        conn.execute("INSERT INTO t VALUES (1)").close()
        conn.commit()
        copying.result(LONG)
        assert told[-1][1] == 0
    assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("t",)]


def test_two_connections_that_copy_to_each_other_finish(share, driver, pool):
    a, b = share("a.db"), share("b.db")
    if not hasattr(a, "backup"):
        pytest.skip("no backup")

    def copy(source, target):
        for _ in range(50):
            if driver == "apsw":
                with target.backup("main", source, "main") as backup:
                    backup.step(-1)
            else:
                source.backup(target)

    both = [pool.submit(copy, a, b), pool.submit(copy, b, a)]
    for future in both:
        try:
            future.result(LONG)
        except Exception as e:
            assert "lock" in str(e).lower() or "busy" in str(e).lower()  # noqa: PT017


def test_a_cursor_class_of_the_users_own_takes_turns_too():
    class Counting(sqlite3.Cursor):
        calls = 0

        def execute(self, *args):
            self.calls += 1
            return super().execute(*args)

    conn = vecsql.connect(":memory:", check_same_thread=False)
    cursor = conn.cursor(Counting)
    with busy(conn) as end:
        waiting = in_thread(lambda: cursor.execute("SELECT 5").fetchall())
        assert not waiting.done()
        end()
        assert waiting.result(LONG) == [(5,)]
    assert isinstance(cursor, Counting)
    assert cursor.calls == 1
    conn.close()


def test_cursors_are_freed_in_other_threads_while_models_work(driver):
    code = """
        import gc, sys, threading, vecsql
        driver = sys.argv[1]
        shared = {} if driver == "apsw" else {"check_same_thread": False}
        db = vecsql.connect(":memory:", driver=driver, **shared)
        vecsql.register_embedder(db)
        db.execute("CREATE TABLE t(a)").close()
        db.executemany("INSERT INTO t VALUES(?)", [(i,) for i in range(20)]).close()
        def work(n):
            for i in range(100):
                cursor = db.execute("SELECT embed(a || ?) FROM t", (f"{n} {i}",))
                next(cursor)
                ring = [cursor]
                ring.append(ring)
                del cursor, ring
                if i % 10 == 0:
                    gc.collect()
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
        print(db.execute("SELECT count(*) FROM t").fetchone()[0])
    """
    assert program(code, driver) == "20"


def test_a_connection_that_only_its_thread_may_use_has_no_lock():
    assert lock_of(vecsql.connect(":memory:")) is None


# --- transactions --------------------------------------------------------------------------------


def test_helpers_of_threads_lose_no_row(shared, pool):
    vecsql.create_table(shared, "t", {"n": int, "body": str}, text="body")
    pool_of = range(120)

    def work(i):
        (rowid,) = vecsql.insert(shared, "t", [{"n": i, "body": f"note {i}"}])
        vecsql.update(shared, "t", {"id": rowid, "body": f"changed {i}"})
        vecsql.upsert(shared, "t", {"id": rowid, "n": i + 1000})
        return rowid

    rowids = list(pool.map(work, pool_of))
    assert not shared.in_transaction
    rows = shared.execute("SELECT id, n, body FROM t").fetchall()
    assert sorted(rows) == sorted(
        (rowid, i + 1000, f"changed {i}") for i, rowid in zip(pool_of, rowids, strict=True)
    )
    for i in range(0, 120, 17):
        assert vecsql.search(shared, "t", f"changed {i}", 1)[0].id == rowids[i]


def test_with_db_keeps_other_threads_out_until_it_ends(shared, pool):
    shared.execute("CREATE TABLE t(n)").close()
    shared.execute("INSERT INTO t VALUES (0)").close()
    commit(shared)

    def work(_):
        with shared:
            (n,) = shared.execute("SELECT n FROM t").fetchone()
            with shared:
                shared.execute("UPDATE t SET n = ?", (n + 1,)).close()

    list(pool.map(work, range(200)))
    assert shared.execute("SELECT n FROM t").fetchone() == (200,)


def test_a_thread_sees_nothing_of_anothers_open_block(shared, pool):
    shared.execute("CREATE TABLE t(n)").close()
    commit(shared)
    with shared:
        shared.execute("INSERT INTO t VALUES (1)").close()
        reading = pool.submit(lambda: shared.execute("SELECT count(*) FROM t").fetchone())
        with pytest.raises(TimeoutError):
            reading.result(0.05)
        shared.execute("DELETE FROM t").close()
    assert reading.result(LONG) == (0,)


def test_an_error_in_the_block_rolls_back_and_lets_others_in(shared, pool):
    shared.execute("CREATE TABLE t(n)").close()
    commit(shared)

    def fail():
        with shared:
            shared.execute("INSERT INTO t VALUES (1)").close()
            raise KeyError("n")

    with pytest.raises(KeyError):
        pool.submit(fail).result(LONG)
    vecsql.insert(shared, "t", {"n": 2})
    assert shared.execute("SELECT n FROM t").fetchall() == [(2,)]


def test_work_that_a_block_hands_to_another_thread_belongs_to_the_block(shared):
    async def main():
        with shared:
            shared.execute("INSERT INTO t VALUES (1)").close()
            await asyncio.to_thread(vecsql.insert, shared, "t", {"n": 2})
            raise KeyError("n")

    shared.execute("CREATE TABLE t(n)").close()
    commit(shared)
    with pytest.raises(KeyError):
        asyncio.run(main())
    assert shared.execute("SELECT n FROM t").fetchall() == []


def test_an_idle_block_with_a_transaction_is_an_error_for_who_waits_and_no_hang(share, pool):
    shared = share(timeout=0.05)
    shared.execute("CREATE TABLE t(n)").close()
    commit(shared)
    with shared:
        shared.execute("INSERT INTO t VALUES (1)").close()
        waiting = pool.submit(lambda: shared.execute("SELECT count(*) FROM t").fetchone())
        with pytest.raises(Exception, match=r"database is locked.*with db.*end that block first"):
            waiting.result(LONG)
    assert pool.submit(lambda: shared.execute("SELECT n FROM t").fetchall()).result(LONG) == [(1,)]


def test_an_idle_block_without_a_transaction_gives_way(tmp_path, pool):
    with vecsql.connect(tmp_path / "a.db", check_same_thread=False, timeout=0.05) as conn:
        vecsql.create_table(conn, "t", {"n": int}, dim=2)  # a call, so that the block holds
        list(pool.map(lambda i: vecsql.insert(conn, "t", {"n": i}), range(20)))
        assert conn.execute("SELECT count(*) FROM t").fetchone() == (20,)
    conn.close()


@pytest.mark.parametrize("begun", [False, True], ids=["before a call", "in a transaction"])
def test_a_block_that_another_thread_leaves_is_left(share, begun, driver):
    """A framework may run the halves of a generator in different threads."""
    shared = share(timeout=0.05)
    shared.execute("CREATE TABLE t(n)").close()
    commit(shared)
    one, two = ThreadPoolExecutor(1), ThreadPoolExecutor(1)

    def enter():
        shared.__enter__()
        if begun:
            shared.execute("INSERT INTO t VALUES (1)").close()

    for _ in range(3):
        one.submit(enter).result(LONG)
        if not begun and driver != "apsw":  # whose block is a savepoint from the beginning
            two.submit(vecsql.insert, shared, "t", {"n": 1}).result(LONG)
        two.submit(shared.__exit__, None, None, None).result(LONG)
        assert not lock_of(shared).blocks
        assert not shared.in_transaction
    one.submit(vecsql.insert, shared, "t", {"n": 2}).result(LONG)
    n = 0 if driver == "apsw" and not begun else 3
    assert two.submit(lambda: shared.execute("SELECT sum(n) FROM t").fetchone()).result(LONG) == (
        n + 2,
    )


def test_a_block_on_a_closed_connection_is_not_entered(shared):
    shared.close()
    with pytest.raises(Exception, match=r"(?i)closed"), shared:
        pass
    assert not lock_of(shared).blocks


class Reading:
    """A model during whose work another thread uses the connection."""

    model_id, dim = "reading", 2

    def __init__(self, conn):
        self.conn = conn
        self.seen = None  # not counted yet

    def encode(self, texts):
        def read():
            return self.conn.execute("SELECT 1").fetchall()

        if self.seen is not None:
            assert in_thread(read).result(LONG) == [(1,)]
            self.seen += 1
        return np.array([[len(t), 1] for t in texts], np.float32)


HELPERS = {
    "insert": lambda conn, model: vecsql.insert(conn, "t", {"body": "c"}),
    "upsert": lambda conn, model: vecsql.upsert(conn, "t", {"id": 1, "body": "c"}),
    "update": lambda conn, model: vecsql.update(conn, "t", {"id": 1, "body": "c"}),
    "bulk_insert": lambda conn, model: vecsql.bulk_insert(conn, "t", [{"body": "c"}]),
    "ingest": lambda conn, model: vecsql.ingest(
        conn, "docs", [{"source": "a", "text": "some text"}], embedder=model
    ),
    "sync": lambda conn, model: vecsql.sync(conn, "later"),
    "search": lambda conn, model: vecsql.search(conn, "t", "aa", mode="hybrid"),
    "context": lambda conn, model: vecsql.context(conn, "t", "aa"),
    "evaluate": lambda conn, model: vecsql.evaluate(conn, "t", {"q": "aa"}, {"q": {"1": 1}}),
    "tune": lambda conn, model: vecsql.tune(
        conn, "t", {"q": "aa", "r": "bb"}, {"q": {"1": 1}, "r": {"2": 1}}
    ),
    "reembed": lambda conn, model: vecsql.reembed(conn, "later", model),
}


@pytest.mark.parametrize("helper", HELPERS)
def test_helpers_let_others_in_while_a_model_works(shared, helper):
    model = Reading(shared)
    vecsql.register_embedder(shared, model)
    vecsql.create_table(shared, "t", {"body": str}, text="body", fts=True)
    first = Reading(shared)
    first.model_id = "first"
    chosen = first if helper == "reembed" else model
    vecsql.create_table(shared, "later", {"body": str}, text="body", mode="sync", embedder=chosen)
    for table in ("t", "later"):
        shared.execute(f"INSERT INTO {table}(body) VALUES ('a'), ('b')").close()
    vecsql.ingest(shared, "docs", [])
    commit(shared)
    model.seen = 0
    HELPERS[helper](shared, model)
    assert model.seen
    assert not shared.in_transaction


# --- as web frameworks and asyncio use it --------------------------------------------------------

APP = """
import sys, vecsql
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fastapi import Depends, FastAPI, HTTPException
from fastapi.testclient import TestClient

path, driver, way = sys.argv[1:]
shared = {} if driver == "apsw" else {"check_same_thread": False}

def connect():
    db = vecsql.connect(path, driver=driver, **shared)
    if driver == "apsw":
        db.set_busy_timeout(30_000)
    else:
        db.execute("PRAGMA busy_timeout = 30000")
    vecsql.register_embedder(db)
    return db

one = connect()
one.execute("PRAGMA journal_mode = WAL").close()
vecsql.create_table(one, "notes", {"body": str, "user": int}, text="body", fts=True)
app = FastAPI()

def database():
    if way == "one connection":
        yield one
        return
    db = connect()
    try:
        yield db
    finally:
        db.close()

def transaction(db=Depends(database)):
    with db:
        yield db

@contextmanager
def writing(db):
    if driver != "apsw" or way == "one connection":
        with db:
            yield
        return
    # apsw's own `with db:` begins a deferred transaction, whose first write SQLite may refuse.
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        db.execute("ROLLBACK")
        raise

@app.post("/notes/{user}")
def add(user: int, body: str, db=Depends(database)):
    with writing(db):
        db.execute("INSERT INTO notes(body, user) VALUES (?, ?)", (body, user))
        if body.endswith("7"):
            raise HTTPException(409)
    return {}

@app.put("/notes/{user}")
def put(user: int, body: str, db=Depends(database)):
    return {"id": vecsql.insert(db, "notes", {"body": body, "user": user})}

@app.get("/sql")
def sql(q: str, db=Depends(transaction if driver != "apsw" else database)):
    sql = "SELECT rowid FROM notes_embedding WHERE embedding MATCH embed(?) AND k = 3"
    return db.execute(sql, (q,)).fetchall()

@app.get("/search")
def search(q: str, db=Depends(database)):
    return [hit["body"] for hit in vecsql.search(db, "notes", q, 1, mode="hybrid")]

@app.get("/stream")
async def stream(q: str, db=Depends(database)):
    import anyio
    found = await anyio.to_thread.run_sync(vecsql.search, db, "notes", q, 1)
    return [hit["body"] for hit in found]

vecsql.insert(one, "notes", [{"body": f"first {i}", "user": -1} for i in range(5)])
with TestClient(app, raise_server_exceptions=True) as client:
    def use(i):
        body = f"user {i % 8} writes about subject number {i}"
        answers = [
            client.put(f"/notes/{i}", params={"body": body}),
            client.post(f"/notes/{i}", params={"body": f"again {i}"}),
            client.get("/sql", params={"q": body}),
            client.get("/search", params={"q": body}),
            client.get("/stream", params={"q": body}),
        ]
        assert [a.status_code for a in answers] == [200, 409 if i % 10 == 7 else 200, 200, 200, 200]
        assert len(answers[2].json()) == 3
        assert answers[3].json() == answers[4].json() == [body], (body, answers[3].json())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(40)))
    print(one.execute("SELECT count(*) FROM notes").fetchone()[0])
    print(vecsql.connect(path).execute("SELECT count(*) FROM notes").fetchone()[0])
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["one connection", "a connection per request"])
def test_fastapi_with(way, driver, tmp_path):
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx")
    rows = 5 + 40 + 40 - 4
    assert program(APP, tmp_path / "a.db", driver, way, timeout=120).split() == [str(rows)] * 2


def test_asyncio_tasks_share_a_connection_by_to_thread(shared):
    vecsql.create_table(shared, "t", {"body": str}, text="body")

    async def one(i):
        body = f"note {i}"
        rowid = await asyncio.to_thread(vecsql.insert, shared, "t", {"body": body})
        (hit,) = await asyncio.to_thread(vecsql.search, shared, "t", body, 1)
        return rowid == hit.id

    async def main():
        return await asyncio.gather(*map(one, range(60)))

    assert all(asyncio.run(main()))
    assert shared.execute("SELECT count(*) FROM t").fetchone() == (60,)


# --- processes -----------------------------------------------------------------------------------


CHILD = """
import multiprocessing, sys, threading, vecsql

def child(path, driver, queue):
    conn = vecsql.connect(path, driver=driver)
    queue.put(vecsql.insert(conn, "notes", {"body": "from a child"}))
    conn.close()

if __name__ == "__main__":
    path, driver, method = sys.argv[1:]
    shared = {} if driver == "apsw" else {"check_same_thread": False}
    other = vecsql.connect(path + "2", driver=driver, **shared)
    inside, end = threading.Event(), threading.Event()
    def wait():
        inside.set()
        end.wait()
    if driver == "apsw":
        other.create_scalar_function("wait", wait)
    else:
        other.create_function("wait", 0, wait)
    thread = threading.Thread(target=lambda: other.execute("SELECT wait()").fetchall())
    thread.start()
    inside.wait()
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=child, args=(path, driver, queue))
    process.start()
    print(queue.get(timeout=50))
    process.join()
    end.set()
    thread.join()
"""


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_child_opens_its_own_connection_while_a_thread_is_in_a_call(driver, method, tmp_path):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method}")
    conn = vecsql.connect(tmp_path / "a.db", driver=driver)
    new_index(conn)
    assert program(CHILD, tmp_path / "a.db", driver, method) == "2"
    assert conn.execute("SELECT count(*) FROM notes").fetchone() == (2,)
    conn.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_locks_that_threads_hold_are_free_in_a_forked_child(driver):
    code = """
        import os, sys, threading, vecsql
        from vecsql._connection import load
        from vecsql._model.embed import bundled_embedder
        from vecsql._connection.sharing import lock_of
        driver = sys.argv[1]
        shared = {} if driver == "apsw" else {"check_same_thread": False}
        db = vecsql.connect(":memory:", driver=driver, **shared)
        held, end = threading.Event(), threading.Event()
        def hold():
            with lock_of(db), load._lock, bundled_embedder()._lock:
                held.set()
                end.wait()
        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        pid = os.fork()
        if pid == 0:
            other = vecsql.connect(":memory:", driver=driver)
            vecsql.register_embedder(other)
            n = other.execute("SELECT vec_length(embed('x'))").fetchone()[0]
            with lock_of(db):
                os._exit(0 if n == 256 else 1)
        print(os.waitpid(pid, 0)[1])
        end.set()
        thread.join()
    """
    assert program(code, driver) == "0"


# --- a minute of everything ----------------------------------------------------------------------

STRESS = """
import random, sys, time, threading, traceback, vecsql

path, driver, seconds, seed = sys.argv[1:]
shared = {} if driver == "apsw" else {"check_same_thread": False}
db = vecsql.connect(path, driver=driver, **shared)
vecsql.register_embedder(db)
db.execute("CREATE TABLE counter(n)").close()
vecsql.create_table(db, "notes", {"body": str, "owner": int}, text="body", fts=True)
vecsql.create_table(db, "later", {"body": str}, text="body", mode="sync")
with db:
    db.execute("INSERT INTO counter VALUES (0)").close()
if driver != "apsw":
    db.commit()
SQL = "SELECT rowid FROM notes_embedding WHERE embedding MATCH embed(?) AND k = 1"
until = time.monotonic() + float(seconds)
failed = []
rows, documents = ([{} for _ in range(8)] for _ in range(2))
counted, queued = [0] * 8, [0] * 8

def words(rng, owner, n):
    letters = "bcdfghklmnprst"
    noun = "".join(rng.choice(letters) + rng.choice("aeiou") for _ in range(4))
    return f"{noun} {owner} {noun[::-1]} number {n}"

def work(owner):
    rng = random.Random(f"{seed} {owner}")
    mine, n = rows[owner], 0
    while time.monotonic() < until and not failed:
        n += 1
        kind = rng.randrange(8)
        body = words(rng, owner, n)
        if kind == 0:
            mine[vecsql.insert(db, "notes", {"body": body, "owner": owner})] = body
        elif kind == 1:
            with db:
                db.execute("INSERT INTO notes(body, owner) VALUES (?, ?)", (body, owner)).close()
                (rowid,) = db.execute("SELECT last_insert_rowid()").fetchone()
            mine[rowid] = body
        elif kind == 2 and mine:
            rowid = rng.choice(list(mine))
            assert vecsql.update(db, "notes", {"id": rowid, "body": body}) == 1
            mine[rowid] = body
        elif kind == 3 and mine:
            rowid = rng.choice(list(mine))
            found = {row for (row,) in db.execute(SQL, (mine[rowid],)).fetchall()}
            hits = vecsql.search(db, "notes", mine[rowid], 5, where="owner = ?", params=[owner])
            assert rowid in {hit.id for hit in hits}, (rowid, mine[rowid], hits)
            assert len(found) == 1
            assert all(hit["body"] == mine[hit.id] for hit in hits)
        elif kind == 4:
            source = f"{owner} {rng.randrange(5)}"
            vecsql.ingest(db, "docs", [{"source": source, "text": body}])
            documents[owner][source] = body
        elif kind == 5:
            with db:
                (value,) = db.execute("SELECT n FROM counter").fetchone()
                db.execute("UPDATE counter SET n = ?", (value + 1,)).close()
            counted[owner] += 1
        elif kind == 6:
            vecsql.insert(db, "later", {"body": body})
            queued[owner] += 1
            vecsql.sync(db, "later")
        elif mine:
            rowid = rng.choice(list(mine))
            with db:
                db.execute("DELETE FROM notes WHERE id = ?", (rowid,)).close()
            del mine[rowid]

def guarded(owner):
    try:
        work(owner)
    except BaseException:
        failed.append(traceback.format_exc())

threads = [threading.Thread(target=guarded, args=(i,)) for i in range(8)]
for t in threads: t.start()
for t in threads: t.join()
assert not failed, failed[0]
assert not db.in_transaction
db.close()
db = vecsql.connect(path, driver=driver)
expected = {rowid: body for mine in rows for rowid, body in mine.items()}
assert dict(db.execute("SELECT id, body FROM notes")) == expected
assert db.execute("SELECT count(*) FROM notes_embedding").fetchone() == (len(expected),)
assert db.execute("SELECT n FROM counter").fetchone() == (sum(counted),)
assert db.execute("SELECT count(*) FROM later_embedding").fetchone() == (sum(queued),)
wanted = {source: body for mine in documents for source, body in mine.items()}
assert dict(db.execute("SELECT source, body FROM docs")) == wanted
assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
print("steps", len(expected), sum(counted), sum(queued))
"""


@pytest.mark.slow
def test_eight_threads_lose_nothing_and_answer_right_for_a_minute(driver, tmp_path):
    seconds = int(os.environ.get("VECSQL_SECONDS", 60))
    seed = os.environ.get("VECSQL_SEED", str(random.SystemRandom().randrange(10**6)))
    print(f"VECSQL_SEED={seed}")
    out = program(STRESS, tmp_path / "a.db", driver, seconds, seed, timeout=3 * seconds + LONG)
    assert all(int(n) for n in out.split()[1:])
