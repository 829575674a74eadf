"""Risk: the extension does not load, or two SQLite libraries in one process share one copy."""

from __future__ import annotations

import itertools
import re
import shutil
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import apsw
import pytest

import vecsql

STDLIB_LOADS = hasattr(sqlite3.Connection, "enable_load_extension")


def run(code: str, *args: str) -> str:
    """Runs code in a process of its own; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *args],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=sys.prefix,  # not the source tree
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_connect_returns_the_drivers_own_connection_with_the_extension(driver):
    conn = vecsql.connect(":memory:", driver=driver)
    assert driver in {c.__module__.split(".")[0] for c in type(conn).__mro__}
    (version,) = conn.execute("SELECT vecsql_version()").fetchone()
    assert vecsql.__version__ in version


def test_connect_passes_keywords_on_to_the_driver():
    conn = vecsql.connect(":memory:", isolation_level=None)
    assert conn.isolation_level is None


def test_loaded_tables_answer_a_query(db):
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(v FLOAT[2])")
    for rowid, v in enumerate(["[0, 1]", "[3, 4]", "[6, 8]"], 1):
        db.execute("INSERT INTO t(rowid, v) VALUES (?, ?)", (rowid, v))
    found = db.execute("SELECT rowid, distance FROM t WHERE v MATCH '[0, 0]' AND k = 2").fetchall()
    assert found == [(1, 1.0), (2, 5.0)]


def test_load_twice_is_harmless(db):
    vecsql.load(db)
    assert db.execute("SELECT vecsql_version()").fetchone()


def test_row_factory_of_the_connection_does_not_matter(driver):
    db = vecsql.connect(":memory:", driver=driver)
    setattr(db, "rowtrace" if driver == "apsw" else "row_factory", lambda cursor, row: {"a": 1})
    vecsql.load(db)


def test_load_leaves_extension_loading_disabled():
    import apsw

    conn = apsw.Connection(":memory:")
    vecsql.load(conn)
    assert conn.config(apsw.SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, -1) == 0


@pytest.mark.skipif(STDLIB_LOADS, reason="this sqlite3 module can load extensions")
def test_open_connection_that_cannot_load_names_connect():
    with pytest.raises(vecsql.LoadError, match=r"vecsql\.connect"):
        vecsql.load(sqlite3.connect(":memory:"))


@pytest.mark.skipif(not STDLIB_LOADS, reason="this sqlite3 module cannot load extensions")
def test_open_stdlib_connection_can_be_loaded():
    conn = sqlite3.connect(":memory:")
    vecsql.load(conn)
    assert conn.execute("SELECT vecsql_version()").fetchone()


def test_connect_does_not_leave_an_automatic_extension_behind():
    vecsql.connect(":memory:").close()
    with pytest.raises(sqlite3.OperationalError, match="no such function"):
        sqlite3.connect(":memory:").execute("SELECT vecsql_version()")


def test_file_that_cannot_be_opened_is_the_drivers_own_error(tmp_path):
    with pytest.raises(sqlite3.OperationalError, match="unable to open"):
        vecsql.connect(tmp_path / "no" / "such.db")


def test_unknown_driver_is_refused_by_name():
    with pytest.raises(vecsql.LoadError, match=r"'duckdb'.*'apsw'"):
        vecsql.connect(":memory:", driver="duckdb")


def test_missing_driver_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysqlite3", None)
    with pytest.raises(vecsql.LoadError, match="pip install pysqlite3-binary"):
        vecsql.connect(":memory:", driver="pysqlite3")


def test_what_is_no_connection_is_refused():
    with pytest.raises(vecsql.LoadError, match=r"expected a connection.*got int"):
        vecsql.load(5)


def test_loadable_path_is_a_file_in_the_package():
    path = Path(vecsql.loadable_path())
    assert path.is_file()
    assert path.parent == Path(vecsql.__file__).parent


@pytest.mark.skipif(shutil.which("nm") is None, reason="no nm")
@pytest.mark.skipif(sys.platform != "linux", reason="ELF only")
def test_extension_exports_only_entry_points_and_needs_no_python():
    listing = subprocess.run(
        ["nm", "-D", vecsql.loadable_path()], capture_output=True, text=True, check=True
    ).stdout
    symbols = [line.split() for line in listing.splitlines()]
    exported = {s[-1] for s in symbols if s[-2] in "TDBRVW" and len(s) == 3}
    assert "sqlite3_vecsql_init" in exported
    assert all(re.fullmatch(r"sqlite3_\w+_init", s) for s in exported), exported
    assert not [s for s in symbols if s[-1].startswith(("Py", "_Py", "sqlite3_malloc"))]


LIBRARIES_IN_ONE_PROCESS = """
    import sys, vecsql, vecsql._connection.load as load
    kept = []
    for round in range(2):
        for driver in sys.argv[1:]:
            db = vecsql.connect(":memory:", driver=driver)
            db.execute("CREATE VIRTUAL TABLE t USING vecsql(v FLOAT[64])")
            insert = "INSERT INTO t(rowid, v) VALUES (?, ?)"
            for i in range(1, 101):
                db.execute(insert, (i, vecsql.f32([i] * 64)))
            kept.append(db)
    for db in kept:
        query = "SELECT rowid FROM t WHERE v MATCH ? AND k = 3"
        assert db.execute(query, (vecsql.f32([7.4] * 64),)).fetchall() == [(7,), (8,), (6,)]
    print(*load._copies.values(), sep="\\n")
    for db in kept:
        db.close()
"""


@pytest.mark.parametrize("order", list(itertools.permutations(["sqlite3", "apsw"])), ids="-".join)
def test_two_libraries_in_one_process_do_not_mix(order):
    copies = run(LIBRARIES_IN_ONE_PROCESS, *order).split()
    assert len(copies) == 1, "one library uses the file itself, the other one private copy"
    assert not Path(copies[0]).exists(), "the copy is removed when the process ends"


@pytest.mark.parametrize(
    "order", list(itertools.permutations(["sqlite3", "apsw", "pysqlite3"])), ids="-".join
)
def test_three_libraries_in_one_process_do_not_mix(order):
    pytest.importorskip("pysqlite3")
    assert len(run(LIBRARIES_IN_ONE_PROCESS, *order).split()) == 2


def test_forked_child_does_not_remove_the_parents_copy():
    out = run(
        """
        import os, sys, vecsql, vecsql._connection.load as load
        a = vecsql.connect(":memory:"); b = vecsql.connect(":memory:", driver="apsw")
        (copy,) = load._copies.values()
        pid = os.fork() if hasattr(os, "fork") else None
        if pid == 0:
            sys.exit(0)
        if pid:
            os.waitpid(pid, 0)
        print(os.path.exists(copy))
        """
    )
    assert out.split() == ["True"]


def test_file_written_by_apsw_is_read_by_the_sqlite3_shell(tmp_path):
    shell = shutil.which("sqlite3")
    if shell is None:
        pytest.skip("no sqlite3 shell")
    path = tmp_path / "a.db"
    db = vecsql.connect(path, driver="apsw")
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(v FLOAT[2])")
    db.execute("INSERT INTO t(rowid, v) VALUES (1, '[0, 1]'), (2, '[3, 4]')")
    db.close()
    script = (
        f".load {vecsql.loadable_path()}\n"
        "SELECT rowid, distance FROM t WHERE v MATCH '[0, 0]' AND k = 2;\n"
    )
    done = subprocess.run([shell, path], input=script, capture_output=True, text=True, timeout=60)
    if "unknown command" in done.stderr and ".load" in done.stderr:
        pytest.skip("this shell was built without .load")
    assert (done.stdout.split(), done.stderr) == (["1|1.0", "2|5.0"], "")


def test_loading_reads_nothing_of_the_database(tmp_path):
    """A file that another connection has locked, or that is no database, is no obstacle."""
    other = apsw.Connection(str(tmp_path / "a.db"))
    other.execute("CREATE TABLE x(a)")
    other.execute("BEGIN EXCLUSIVE")
    vecsql.load(apsw.Connection(str(tmp_path / "a.db")))
    other.close()
    (tmp_path / "b.db").write_bytes(b"no database " * 1000)
    vecsql.load(apsw.Connection(str(tmp_path / "b.db")))


# --- autoload ------------------------------------------------------------------------------------

HAS = """
import sqlite3, vecsql

def has(conn=None):
    conn = conn or sqlite3.connect(":memory:")
    try:
        return bool(conn.execute("SELECT vecsql_version()").fetchall())
    except sqlite3.OperationalError:
        return False
"""


def test_autoload_serves_connections_that_others_open_until_it_is_ended():
    code = HAS + textwrap.dedent("""
        before = sqlite3.connect(":memory:")
        first, second = vecsql.autoload(), vecsql.autoload()
        served = sqlite3.connect(":memory:")
        print(has(before), has(served))
        first(), first()
        print(has(), has(vecsql.connect(":memory:")), has())  # ours does not end it
        second()
        print(has(), has(served), has(vecsql.connect(":memory:")))
        third = vecsql.autoload()
        print(has())
    """)
    assert run(code).split("\n") == ["False True", "True True True", "False True True", "True", ""]


@pytest.mark.parametrize("first", ["autoload", "apsw", "pysqlite3"])
def test_autoload_beside_other_libraries_serves_each_with_a_copy_of_its_own(first):
    if first == "pysqlite3":
        pytest.importorskip("pysqlite3")
    code = HAS + textwrap.dedent("""
        import sys
        driver = sys.argv[1]
        other = driver if driver != "autoload" else "apsw"
        if driver != "autoload":
            early = vecsql.connect(":memory:", driver=other)
        vecsql.autoload()
        late = vecsql.connect(":memory:", driver=other)
        for conn in (sqlite3.connect(":memory:"), late):
            conn.execute("CREATE VIRTUAL TABLE t USING vecsql(v FLOAT[1])")
            conn.execute("INSERT INTO t(v) VALUES('[1]')")
            print(conn.execute("SELECT rowid FROM t WHERE v MATCH '[1]' AND k = 1").fetchall())
    """)
    assert run(code, first) == "[(1,)]\n[(1,)]\n"


def test_helpers_work_on_a_connection_that_autoload_serves():
    code = HAS + textwrap.dedent("""
        vecsql.autoload()
        db = sqlite3.connect(":memory:")
        vecsql.create_table(db, "notes", {"body": str}, text="body")
        vecsql.insert(db, "notes", [{"body": "night train"}, {"body": "rye bread"}])
        print(vecsql.search(db, "notes", "railway", k=1)[0]["body"])
    """)
    assert run(code) == "night train\n"


def test_autoload_has_vec0_where_it_is_asked_for():
    code = HAS + textwrap.dedent("""
        stop = vecsql.autoload(vec0=True)
        sqlite3.connect(":memory:").execute("CREATE VIRTUAL TABLE t USING vec0(v FLOAT[1])")
        vecsql.connect(":memory:", vec0=True), vecsql.connect(":memory:")
        stop()
        vecsql.autoload()
        for call in (
            lambda: vecsql.connect(":memory:", vec0=True),
            lambda: vecsql.autoload(vec0=True),
        ):
            try:
                call()
            except vecsql.LoadError as e:
                print("loaded already without vec0" in str(e), has())
    """)
    assert run(code) == "True True\nTrue True\n"


def test_autoload_that_fails_leaves_the_process_as_it_was():
    code = HAS + textwrap.dedent("""
        import sys, tempfile, pathlib
        from vecsql._connection import load
        load.loadable_path = lambda: load._sqlite_library()._name  # has no such entry point
        try:
            vecsql.autoload()
        except vecsql.LoadError as e:
            print("LoadError", has())
    """)
    assert run(code) == "LoadError False\n"
