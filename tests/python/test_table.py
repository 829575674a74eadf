"""Risk: a method of Table does something else than the function of its name, loses an argument,
or works on one driver only."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import vecsql

ROWS = [
    {"body": "the night train to Hamburg", "author": "ann", "year": 2021},
    {"body": "bread with rye and caraway", "author": "bob", "year": 2020},
    {"body": "how to prune an apple tree", "author": "ann", "year": 2019},
]


@pytest.fixture
def notes(db):
    columns = {"body": str, "author": str, "year": int}
    vecsql.create_table(db, "notes", columns, text="body", fts=True)
    table = vecsql.table(db, "notes")
    assert table.insert(ROWS) == [1, 2, 3]
    return table


def test_a_row_gives_a_rowid_and_rows_a_list(notes):
    assert notes.insert({"body": "plum cake"}) == 4
    assert notes.upsert({"id": 4, "author": "eve"}) == 4
    assert notes.upsert([{"id": 4, "year": 2022}, {"id": 9, "body": "tides"}]) == [4, 9]
    assert notes.get(4) == {"id": 4, "body": "plum cake", "author": "eve", "year": 2022}


def test_rows_are_updated_and_deleted_by_key(notes):
    assert notes.update([{"id": 1, "year": 2025}, {"id": 7, "year": 2025}]) == 1
    assert notes.update({"author": "bob", "year": 1999}, key="author") == 1
    assert notes.delete([2, 7]) == 1
    assert notes.delete(1) == 1
    assert notes.count() == 1


def test_a_row_comes_by_its_key_without_vectors(notes):
    assert notes.get(1) == {"id": 1, **ROWS[0]}
    assert notes.get(3, ["year"]) == {"year": 2019}
    assert len(notes.get(3, ["embedding"])["embedding"]) == 4 * 256
    assert notes.get(77) is None
    with pytest.raises(vecsql.SchemaError, match="has no column yaer"):
        notes.get(1, ["yaer"])


def test_counts_take_the_conditions_of_search(notes):
    assert notes.count() == 3
    assert notes.count("year < ?", [2021]) == 2
    assert notes.count("author = :a", {"a": "ann"}) == 2
    assert notes.count({"author": "ann", "year": {"$gt": 2020}}) == 1
    with pytest.raises(vecsql.FilterError):
        notes.count("distance < 1")


def test_search_and_evaluate_pass_their_options_on(notes):
    db = notes.conn
    options = {"mode": "hybrid", "weights": (1.0, 0.5), "where": "year > ?", "params": [2019]}
    found = notes.search("railway", 2, **options)
    assert found == vecsql.search(db, "notes", "railway", 2, **options)
    assert found[0]["body"] == ROWS[0]["body"]
    queries, qrels = {"q": "railway"}, {"q": {"1": 1}}
    evaluation = notes.evaluate(queries, qrels, 1, mode="text")
    assert evaluation.run == vecsql.evaluate(db, "notes", queries, qrels, 1, mode="text").run
    assert notes.evaluate(queries, qrels, 1)["nDCG@1"] == 1.0


def test_the_figures_are_those_of_sql(notes):
    told = dict(
        notes.conn.execute("SELECT name, value FROM vecsql_stats('notes_embedding')").fetchall()
    )
    stats = notes.stats()
    assert stats["rows"] == 3
    assert set(stats) == set(told)
    assert notes.index == vecsql.indexes(notes.conn, "notes")[0]


def test_due_rows_are_worked_off(db):
    vecsql.create_table(db, "later", {"body": str}, text="body", mode="sync")
    later = vecsql.table(db, "later")
    later.insert([{"body": "night train"}, {"body": "rye bread"}])
    told = []
    assert later.sync(batch=1, progress=told.append) == 2
    assert sum(told) == 2
    assert [hit.id for hit in later.search("railway", 1)] == [1]


def test_the_column_is_that_of_every_method(db):
    db.execute("CREATE TABLE two(id INTEGER PRIMARY KEY, a TEXT, b TEXT)")
    for column in ("a", "b"):
        vecsql.create_index(db, "two", f"{column}_vector", text=column)
    vecsql.insert(db, "two", [{"a": "night train", "b": "bread"}, {"a": "bread", "b": "train"}])
    by_a, by_b = (vecsql.table(db, "two", f"{column}_vector") for column in ("a", "b"))
    assert [h.id for h in by_a.search("railway", 1)] == [1]
    assert [h.id for h in by_b.search("railway", 1)] == [2]
    assert [h.id for h in by_b.search("railway", 1, column="a_vector")] == [1]
    assert by_a.evaluate({"q": "railway"}, {"q": {"1": 1}}, 1)["R@1"] == 1.0
    assert by_b.evaluate({"q": "railway"}, {"q": {"1": 1}}, 1)["R@1"] == 0.0
    assert (by_a.index.column, by_b.index.column) == ("a_vector", "b_vector")
    with pytest.raises(vecsql.SchemaError):
        vecsql.table(db, "two").search("railway")


def test_a_virtual_table_of_plain_sql_is_a_table_too(db):
    db.execute("CREATE VIRTUAL TABLE v USING vecsql(embedding FLOAT[2], kind TEXT indexed)")
    v = vecsql.table(db, "v")
    v.insert([{"embedding": np.array([i, 0.0]), "kind": "ab"[i % 2]} for i in range(4)])
    assert v.count() == 4
    assert v.count("kind = 'a'") == 2
    assert v.get(2)["kind"] == "b"
    assert [h.id for h in v.search([3.0, 0.0], 1)] == [4]
    assert v.delete([1, 2]) == 2
    assert v.count() == 2


def test_a_missing_table_is_named_with_those_that_there_are(db):
    db.execute("CREATE TABLE others(a)")
    with pytest.raises(vecsql.SchemaError, match=r"no table nots .* others"):
        vecsql.table(db, "nots")


@pytest.mark.parametrize("name", ["insert", "upsert", "update", "delete", "sync"])
def test_methods_take_what_their_functions_take(name):
    function = list(inspect.signature(getattr(vecsql, name)).parameters.values())
    method = list(inspect.signature(getattr(vecsql.Table, name)).parameters.values())
    ours = [(p.name, p.default, p.kind) for p in method[1:]]
    theirs = [(p.name, p.default, p.kind) for p in function if p.name not in ("conn", "table")]
    assert ours == [p for p in theirs if p[0] != "column"]


@pytest.mark.parametrize("name", ["search", "evaluate"])
def test_the_options_of_a_method_are_those_of_its_function(name):
    from vecsql._judge.evaluate import EvaluateOptions
    from vecsql._search.search import SearchOptions

    options = {"search": SearchOptions, "evaluate": EvaluateOptions}[name].__annotations__
    named = set(inspect.signature(getattr(vecsql, name)).parameters)
    named -= {"conn", "table", "query", "queries", "qrels", "k", "settings"}
    assert named <= set(options)
    if name == "search":
        assert named == set(options)
