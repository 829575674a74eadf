"""Risk: the command line fails on a fresh machine, or the demo is wrong when run again."""

from __future__ import annotations

import json
import sqlite3

import apsw
import pytest

import vecsql
from tests.support.command_line import cli, process, rows


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The whole demo, run once: (directory, what it printed)."""
    directory = tmp_path_factory.mktemp("demo")
    return directory, process("demo", cwd=directory)


def test_demo_makes_one_file_with_the_whole_library(demo):
    directory, out = demo
    path = directory / "vecsql-demo.db"
    ((texts, vectors, modules),) = rows(
        path,
        "SELECT (SELECT count(*) FROM pydoc), (SELECT count(*) FROM pydoc_vec), "
        "(SELECT count(*) FROM modules)",
    )
    assert texts == vectors > 5000
    assert modules > 200
    assert f"{texts:,} added" in out


def test_demo_shows_its_sql_and_finds_re_split(demo):
    _, out = demo
    assert "WHERE v.embedding MATCH embed(?) AND k = 5" in out
    first = [line.split()[0] for line in out.split("nearest five classes")[0].splitlines() if line]
    assert "re.split" in first[-7:]
    assert "concurrent.futures.ProcessPoolExecutor" in out


def test_demo_says_how_to_go_on(demo):
    _, out = demo
    assert "vecsql search vecsql-demo.db pydoc" in out
    assert f".load '{vecsql.loadable_path()}'" in out


@pytest.mark.slow
def test_second_run_adds_nothing(demo):
    directory, _ = demo
    before = rows(directory / "vecsql-demo.db", "SELECT * FROM pydoc_vec")
    out = process("demo", cwd=directory)
    assert "is up to date: nothing added" in out
    assert rows(directory / "vecsql-demo.db", "SELECT * FROM pydoc_vec") == before


@pytest.mark.slow
def test_changed_and_vanished_texts_are_brought_up_to_date(tmp_path):
    path = tmp_path / "d.db"
    process("demo", "--db", path, "--limit", 300)
    vector = "SELECT hex(embedding) FROM pydoc_vec WHERE id = 6"
    ((before,),) = rows(path, vector)
    rows(path, "UPDATE pydoc_vec SET embedding = zeroblob(1024) WHERE id = 6")
    rows(path, "UPDATE pydoc SET hash = 'old' WHERE id = 6")
    rows(path, "DELETE FROM pydoc_vec WHERE id = 1")
    rows(path, "DELETE FROM pydoc WHERE id = 1")
    assert "1 added, 1 updated, 0 deleted, 298 unchanged" in process(
        "demo", "--db", path, "--limit", 300
    )
    assert rows(path, vector) == [(before,)]
    rows(path, "INSERT INTO pydoc(id, kind, name) VALUES (9999, 'class', 'gone.Away')")
    rows(path, "INSERT INTO pydoc_vec(id, embedding) VALUES (9999, zeroblob(1024))")
    assert " 1 deleted, 300 unchanged" in process("demo", "--db", path)
    assert rows(path, "SELECT count(*) FROM pydoc_vec WHERE id = 9999") == [(0,)]


def test_search_prints_json_with_the_columns_of_the_base_table(demo):
    directory, _ = demo
    out = cli("search", directory / "vecsql-demo.db", "pydoc", "greatest common divisor", "--json")
    found = json.loads(out)
    assert len(found) == 10
    assert found[0]["name"] == "math.gcd"
    assert list(found[0]) == [
        "distance", "id", "module", "kind", "name", "signature", "doc", "hash",
    ]  # fmt: skip
    distances = [row["distance"] for row in found]
    assert distances == sorted(distances)


@pytest.mark.parametrize("table", ["pydoc", "pydoc_vec", "PYDOC_VEC"])
def test_search_filters_by_sql(demo, table):
    directory, _ = demo
    out = cli(
        "search", directory / "vecsql-demo.db", table, "wait for several futures",
        "-k", 4, "--where", "kind = 'class' OR module = 'asyncio'", "--json",
    )  # fmt: skip
    found = json.loads(out)
    assert len(found) == 4
    assert all(row["kind"] == "class" or row["module"] == "asyncio" for row in found)


def test_search_prints_a_table(demo):
    directory, _ = demo
    out = cli("search", directory / "vecsql-demo.db", "pydoc_vec", "sort a list", "-k", 2)
    assert len(out.splitlines()) == 4
    assert out.split()[:4] == ["distance", "id", "module", "kind"]


def test_search_of_what_is_no_vector_table_names_those_there_are(demo):
    directory, _ = demo
    err = cli("search", directory / "vecsql-demo.db", "modules", "x", code=1)
    assert err == (
        "Error: modules has no vecsql index (tables that have one: pydoc_vec): "
        "vecsql index DB modules --text COLUMN\n"
    )


def test_search_of_other_dimensions_is_refused(tmp_path):
    rows(tmp_path / "a.db", "CREATE VIRTUAL TABLE t USING vecsql(a TEXT, v FLOAT[3])")
    err = cli("search", tmp_path / "a.db", "t", "x", code=1)
    assert "t.v has 3 dimensions, vecsql-static-en-256 makes 256" in err


def test_wrong_sql_is_one_line(demo):
    directory, _ = demo
    err = cli("search", directory / "vecsql-demo.db", "pydoc", "x", "--where", "nope = 1", code=1)
    assert err == "Error: --where 'nope = 1': no such column: nope\n"


def test_info_counts_rows(demo):
    directory, _ = demo
    ((n,),) = rows(directory / "vecsql-demo.db", "SELECT count(*) FROM pydoc_vec")
    out = cli("info", directory / "vecsql-demo.db")
    assert f"pydoc_vec: {n:,} rows; embedding[256] cosine" in out
    assert apsw.sqlite_lib_version() in out


def test_info_of_a_plain_database_finds_nothing(tmp_path):
    sqlite3.connect(tmp_path / "a.db").execute("CREATE TABLE t(x)")
    assert "no vecsql tables" in cli("info", tmp_path / "a.db")


def test_info_of_a_file_that_is_no_database_is_one_line(tmp_path):
    (tmp_path / "a.db").write_text("no database " * 100)
    assert cli("info", tmp_path / "a.db", code=1).startswith("Error: ")


def test_missing_file_is_not_created(tmp_path):
    cli("info", tmp_path / "none.db", code=2)
    assert not (tmp_path / "none.db").exists()


def test_version_is_the_packages():
    assert vecsql.__version__ in process("--version")
