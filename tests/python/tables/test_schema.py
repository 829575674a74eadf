"""Risk: create_index leaves half of an index, or rows and index drift apart afterwards."""

from __future__ import annotations

import numpy as np
import pytest

import vecsql
from tests.support.indexed import Lengths, commit, nearest, rows
from vecsql._connection.driver import driver_of
from vecsql._search.filters import condition
from vecsql._tables.catalog import index_of


def notes(db, **options):
    """notes(id, body, author) with three rows and an index on body."""
    db.execute("CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT, author TEXT)")
    db.execute(
        "INSERT INTO notes(body, author) VALUES('a','ann'),('bbb','bob'),('ccccccccc','ann')"
    )
    info = vecsql.create_index(db, "notes", text="body", metric="l2", **options)
    commit(db)
    return info


def schema_of(db):
    return rows(db, "SELECT type, name, sql FROM sqlite_schema ORDER BY name")


def test_index_over_a_table_that_has_rows_finds_them_all(db):
    info = notes(db, embedder=Lengths())
    assert nearest(db, 8) == [3, 2, 1]
    assert (info.dim, info.model_id, info.mode, info.text) == (2, "lengths", "trigger", ("body",))
    assert vecsql.indexes(db) == [info]


def test_insert_update_and_delete_in_sql_keep_the_index_in_step(db):
    notes(db, embedder=Lengths())
    db.execute("INSERT INTO notes(body) VALUES('dddddd')")
    db.execute("UPDATE notes SET body = 'aaaaaaaaaaaa' WHERE id = 1")
    db.execute("DELETE FROM notes WHERE id = 2")
    assert nearest(db, 6) == [4, 3, 1]


def test_vector_that_the_writer_brings_is_kept(db):
    model = Lengths()
    notes(db, embedder=model)
    del model.seen[:]
    db.execute("INSERT INTO notes(body, embedding) VALUES('mine', ?)", (vecsql.f32([70, 1]),))
    db.execute(
        "UPDATE notes SET body = 'changed', embedding = ? WHERE id = 1", (vecsql.f32([60, 1]),)
    )
    assert model.seen == []
    assert nearest(db, 66, 2) == [4, 1]


def test_text_that_does_not_change_is_not_embedded_again(db):
    model = Lengths()
    notes(db, embedder=model)
    del model.seen[:]
    db.execute("UPDATE notes SET author = 'eve'")
    db.execute("UPDATE notes SET body = body")
    assert model.seen == []


def test_text_set_to_null_leaves_no_vector(db):
    notes(db, embedder=Lengths())
    db.execute("UPDATE notes SET body = NULL WHERE id = 2")
    assert nearest(db, 3) == [1, 3]
    assert rows(db, "SELECT embedding FROM notes WHERE id = 2") == [(None,)]


def test_several_text_columns_are_embedded_as_lines(db):
    model = Lengths()
    db.execute("CREATE TABLE notes(id INTEGER PRIMARY KEY, title TEXT, body TEXT)")
    db.execute("INSERT INTO notes VALUES(1,'t','b'), (2,NULL,'b'), (3,NULL,NULL), (4, 5, '')")
    vecsql.create_index(db, "notes", text=["title", "body"], embedder=model)
    assert model.seen[1:] == ["t\nb", "b", "5"]
    db.execute("UPDATE notes SET title = 'x' WHERE id = 3")
    assert model.seen[-1] == "x"


def test_a_failure_leaves_the_file_as_it_was(db):
    db.execute("CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT)")
    db.execute("INSERT INTO notes VALUES(1, 'x')")
    commit(db)
    before = schema_of(db)
    with pytest.raises(vecsql.EmbedderError, match="NaN"):
        vecsql.create_index(db, "notes", text="body", embedder=lambda t: [[np.nan]] * len(t))
    with pytest.raises(Exception, match="nonsense"):
        vecsql.create_index(db, "notes", text="body", embedder=Lengths(), options="nonsense=1")
    # what a model computed is kept for the next try
    assert [row for row in schema_of(db) if row[1] != "vecsql_cache"] == before
    assert not driver_of(db).in_transaction


def test_inside_a_transaction_it_is_a_savepoint_of_that(db):
    db.execute("CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT)")
    before = schema_of(db)
    db.execute("BEGIN")
    db.execute("INSERT INTO notes VALUES(1, 'x')")
    vecsql.create_index(db, "notes", text="body", embedder=Lengths())
    with pytest.raises(vecsql.SchemaError, match="exists already"):
        vecsql.create_index(db, "notes", text="body")
    assert nearest(db, 1) == [1]
    db.execute("ROLLBACK")
    assert schema_of(db) == before


def test_another_model_is_refused_with_both_names(db, driver, tmp_path):
    path = tmp_path / "a.db"
    first = vecsql.connect(path, driver=driver)
    notes(first, embedder=Lengths("old-model"))
    first.close()
    second = vecsql.connect(path, driver=driver)
    vecsql.register_embedder(second, Lengths("new-model"))
    with pytest.raises(vecsql.ModelMismatchError, match=r"notes.embedding.*old-model.*new-model"):
        vecsql._tables.registry.embedder_for(second, index_of(second, "notes"))
    with pytest.raises(Exception, match=r"'old-model'.*'new-model'"):
        second.execute("INSERT INTO notes(body) VALUES('x')")


def test_another_model_of_the_same_name_is_refused(db):
    info = notes(db, embedder=Lengths("model"))
    vecsql.register_embedder(db, Lengths("model", scale=2.0))
    with pytest.raises(vecsql.ModelMismatchError, match="of the name 'model'"):
        vecsql._tables.registry.embedder_for(db, info)
    vecsql.register_embedder(db, Lengths("model", scale=1.0001))
    assert vecsql._tables.registry.embedder_for(db, info).scale == 1.0001


def test_two_models_serve_two_indexes_on_one_connection(db):
    db.execute("CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT)")
    vecsql.create_index(db, "notes", "a", text="body", embedder=Lengths("one"))
    vecsql.create_index(db, "notes", "b", text="body", embedder=Lengths("two", 3, 10))
    db.execute("INSERT INTO notes(body) VALUES('xyz')")
    ((a, b),) = rows(db, "SELECT a, b FROM notes")
    assert np.frombuffer(a, "<f4").tolist() == [3, 1]
    assert np.frombuffer(b, "<f4").tolist() == [30, 1, 0]
    with pytest.raises(
        vecsql.SchemaError, match="several indexes: column= tells which, one of a, b"
    ):
        index_of(db, "notes")
    assert index_of(db, "notes", "B").model_id == "two"


def test_full_text_is_kept_in_step(db):
    info = notes(db, embedder=Lengths(), fts=True)
    match = f"SELECT rowid FROM {info.fts} WHERE {info.fts} MATCH ? ORDER BY rowid"
    assert rows(db, match, ("bbb",)) == [(2,)]
    db.execute("INSERT INTO notes(body) VALUES('running trains')")
    assert rows(db, match, ("train run",)) == [(4,)]
    db.execute("UPDATE notes SET body = 'bbb' WHERE id = 1")
    db.execute("DELETE FROM notes WHERE id = 2")
    assert rows(db, match, ("bbb",)) == [(1,)]
    db.execute(f"INSERT INTO {info.fts}({info.fts}, rank) VALUES('integrity-check', 1)")


def test_tokenizer_of_full_text_can_be_chosen(db):
    info = notes(db, embedder=Lengths(), fts="unicode61")
    db.execute("INSERT INTO notes(body) VALUES('running')")
    assert rows(db, f"SELECT rowid FROM {info.fts} WHERE {info.fts} MATCH 'run'") == []


@pytest.mark.parametrize("options", [{}, {"fts": True}, {"mode": "sync"}])
def test_drop_index_leaves_the_table_and_nothing_else(db, options):
    notes(db, embedder=Lengths(), **options)
    vecsql.drop_index(db, "notes")
    left = {name for _, name, _ in schema_of(db)} - {"vecsql_indexes", "vecsql_queue"}
    assert left - {"vecsql_cache", "sqlite_autoindex_vecsql_indexes_1"} <= {
        "notes",
        "sqlite_autoindex_vecsql_indexes_2",
    }
    assert vecsql.indexes(db) == []
    db.execute("INSERT INTO notes(body) VALUES('free again')")
    vecsql.create_index(db, "notes", text="body", embedder=Lengths())


def test_drop_column_removes_the_vectors_too(db):
    notes(db, embedder=Lengths())
    vecsql.drop_index(db, "notes", drop_column=True)
    names = [n for (n,) in rows(db, "SELECT name FROM pragma_table_info('notes')")]
    assert names == ["id", "body", "author"]


@pytest.mark.parametrize("gone", ["notes", "notes_embedding"])
def test_what_plain_sql_dropped_can_be_cleared_away(db, gone):
    notes(db, embedder=Lengths(), fts=True)
    vecsql.reembed(db, "notes", Lengths("new"), switch=False)
    db.execute(f"DROP TABLE {gone}")
    vecsql.drop_index(db, "notes", drop_column=True)
    assert vecsql.indexes(db) == []
    left = {n for _, n, _ in schema_of(db) if not n.startswith(("vecsql_", "sqlite_"))}
    assert left == {"notes"} - {gone}


def test_strange_names_are_quoted_everywhere(db):
    info = vecsql.create_table(
        db,
        'my "notes"',
        {"the body": str, "select": "TEXT"},
        key="a key",
        column="the vector",
        text=["the body", "select"],
        embedder=Lengths(),
        fts=True,
    )
    sql = 'INSERT INTO "my ""notes"""("the body", "select") VALUES(\'x\', \'yy\')'
    db.execute(sql)
    found = rows(
        db,
        f'SELECT "a key" FROM {vecsql._connection.driver.quote(info.index)} '
        'WHERE "the vector" MATCH ? AND k = 1',
        (vecsql.f32([4, 1]),),
    )
    assert found == [(1,)]
    vecsql.drop_index(db, 'my "notes"')


def test_row_factory_and_text_factory_do_not_matter(driver):
    db = vecsql.connect(":memory:", driver=driver)
    if driver == "apsw":
        db.row_trace = lambda cursor, row: {"a": 1}
    else:
        db.row_factory = lambda cursor, row: {"a": 1}
        db.text_factory = bytes
    info = notes(db, embedder=Lengths(), fts=True)
    assert vecsql.indexes(db) == [info]
    assert info.table == "notes"


def test_metadata_index_is_an_index_of_the_table(db):
    notes(db, embedder=Lengths())
    assert vecsql.add_metadata_index(db, "notes", "author", "body") == "notes_by_author_body"
    plan = rows(db, "EXPLAIN QUERY PLAN SELECT 1 FROM notes WHERE author = 'x'")
    assert "notes_by_author_body" in plan[0][3]


def asked(db, table, where):
    """What SQLite reads for a filter."""
    c = condition(driver_of(db), vecsql.indexes(db)[0], where, ())
    plan = f"EXPLAIN QUERY PLAN SELECT rowid FROM {c.source} WHERE {c.sql}"
    return " ".join(row[3] for row in driver_of(db).rows(plan, c.params))


@pytest.mark.parametrize(
    "wanted", ["b", {"$gt": "b"}, {"$in": ["b", "z"]}, {"$between": ["a", "b"]}]
)
def test_a_filter_on_a_path_into_json_asks_its_index(db, wanted):
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, e BLOB, meta TEXT)")
    vecsql.create_index(db, "t", dim=1, column="e", metric="l2")
    values = ['{"author": "a"}', '{"author": "b"}', '{"author": ["b"]}', "no {json", None, "{}"]
    rows = [(i + 1, np.float32([i]).tobytes(), meta) for i, meta in enumerate(values)]
    db.executemany("INSERT INTO t VALUES(?, ?, ?)", rows)
    where = {"META.author": wanted}
    before = vecsql.search(db, "t", [0.0], where=where)
    assert vecsql.add_metadata_index(db, "t", "meta.author") == "t_by_meta.author"
    assert vecsql.add_metadata_index(db, "t", "meta.author") == "t_by_meta.author"
    assert "USING INDEX t_by_meta.author" in asked(db, "t", where).replace("COVERING ", "")
    assert vecsql.search(db, "t", [0.0], where=where) == before
    db.execute("""INSERT INTO t VALUES(9, x'00000000', '{"author": "b"}')""")
    both = {"meta.author": "b"}
    assert [hit.id for hit in vecsql.search(db, "t", [0.0], where=both)] == [9, 2]


def test_an_index_has_columns_and_paths_and_metadata_of_ingest(db):
    docs = [{"source": f"s{i}", "text": f"text {i}", "author": "ab"[i % 2]} for i in range(6)]
    vecsql.ingest(db, "docs", docs)
    name = vecsql.add_metadata_index(db, "docs", "source", "author")
    assert name == "docs_by_source_author"
    where = {"source": "s1", "author": "b"}
    assert f"INDEX {name}" in asked(db, "docs", where)
    assert [hit["source"] for hit in vecsql.search(db, "docs", "text", where=where)] == ["s1"]


def test_indexes_made_by_plain_sql_are_listed(db):
    db.execute("CREATE TABLE docs(k INTEGER PRIMARY KEY, e BLOB)")
    db.execute(
        'CREATE VIRTUAL TABLE i USING vecsql(content="docs", e FLOAT[3] distance_metric=dot)'
    )
    db.execute('CREATE VIRTUAL TABLE own USING vecsql("a b" float[4], tag TEXT)')
    i, own = vecsql.indexes(db)
    assert (i.table, i.index, i.column, i.key, i.dim, i.metric) == ("docs", "i", "e", "k", 3, "dot")
    assert (own.table, own.index, own.column, own.dim) == ("own", "own", "a b", 4)
    assert index_of(db, "docs") == index_of(db, "i") == i


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda db: vecsql.create_index(db, "none", text="x"), "no table none"),
        (lambda db: vecsql.create_index(db, "v", text="x"), "v is a view"),
        (lambda db: vecsql.create_index(db, "t"), r"text='<column to embed>', or dim="),
        (lambda db: vecsql.create_index(db, "t", text="x"), "no column x; it has id, body"),
        (lambda db: vecsql.create_index(db, "u", dim=2), "INTEGER PRIMARY KEY.*is: name TEXT"),
        (lambda db: vecsql.create_index(db, "t", text="body", dim=3), "256 dimensions"),
        (lambda db: vecsql.create_index(db, "t", text="body", mode="x"), "'trigger', 'sync'"),
        (lambda db: vecsql.create_index(db, "t", dim=3, fts=True), "fts needs text="),
        (lambda db: vecsql.create_table(db, "t", {"a": str}, text="a"), "exists already"),
        (lambda db: vecsql.create_table(db, "n", {"id": str}, text="id"), "is made by vecsql"),
        (lambda db: vecsql.create_table(db, "n", {"a": list}, text="a"), "expected SQL or one of"),
        (lambda db: vecsql.drop_index(db, "t"), "t has no vecsql index"),
        (lambda db: vecsql.drop_index(db, "none"), "there is no table none"),
        (lambda db: vecsql.add_metadata_index(db, "t", "body"), "t has no vecsql index"),
        (lambda db: vecsql.add_metadata_index(db, "i", "a.b"), "own has no column a.b; it has"),
    ],
)
def test_what_cannot_be_done_is_refused_by_name_and_changes_nothing(db, call, message):
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT)")
    db.execute("CREATE TABLE u(name TEXT PRIMARY KEY)")
    db.execute("CREATE VIEW v AS SELECT * FROM t")
    db.execute("CREATE TABLE own(id INTEGER PRIMARY KEY, e BLOB)")
    db.execute("CREATE VIRTUAL TABLE i USING vecsql(content=own, e FLOAT[2])")
    before = schema_of(db)
    with pytest.raises(vecsql.SchemaError, match=message):
        call(db)
    assert schema_of(db) == before


def test_a_table_is_not_made_over_the_index_of_one_that_is_gone(db):
    vecsql.create_table(db, "t", {"body": str}, dim=2)
    db.execute("DROP TABLE t")
    with pytest.raises(vecsql.SchemaError, match=r"is gone: vecsql\.drop_index\(db, 't', 'embedd"):
        vecsql.create_table(db, "t", {"body": str}, dim=2)
    vecsql.drop_index(db, "t")
    vecsql.create_table(db, "t", {"body": str}, dim=2)
