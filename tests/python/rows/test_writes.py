"""Risk: a row without its vector, a vector without its row, or half of a call that failed."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest

import vecsql
from tests.support.indexed import Lengths, commit, nearest, rows
from vecsql._connection.driver import driver_of
from vecsql._files.read import open_source
from vecsql._rows.imports import import_records


@pytest.fixture
def model():
    return Lengths()


@pytest.fixture
def notes(db, model):
    """notes(id, url UNIQUE, body, author), with full text and vectors."""
    vecsql.create_table(
        db,
        "notes",
        {"url": "TEXT UNIQUE", "body": str, "author": str},
        text="body",
        metric="l2",
        embedder=model,
        fts=True,
    )
    del model.seen[:]
    return db


def state(db):
    """Every row, its place in the index and in the full text."""
    table = rows(db, "SELECT * FROM notes ORDER BY id")
    index = rows(db, "SELECT rowid FROM notes_embedding WHERE embedding MATCH '[0,1]' AND k = 99")
    text = rows(db, "SELECT rowid FROM notes_embedding_fts WHERE notes_embedding_fts MATCH 'x*'")
    return table, sorted(index), sorted(text)


def test_insert_returns_the_rowid_of_a_row_and_the_list_of_many(notes):
    assert vecsql.insert(notes, "notes", {"body": "a"}) == 1
    many = [{"id": 7, "body": "bb"}, {"body": "ccc", "author": "x"}, {"author": "nobody"}]
    assert vecsql.insert(notes, "notes", many) == [7, 8, 9]
    assert vecsql.insert(notes, "notes", iter([])) == []
    assert nearest(notes, 3) == [8, 7, 1]


def test_many_rows_are_embedded_in_one_batch(notes, model):
    batches = []
    encode = model.encode
    model.encode = lambda texts: batches.append(list(texts)) or encode(texts)
    vecsql.insert(notes, "notes", [{"body": "a"}, {"body": "bb"}, {"body": "a"}])
    vecsql.update(notes, "notes", [{"id": 1, "body": "cc"}, {"id": 2, "body": "ddd"}])
    vecsql.upsert(notes, "notes", [{"id": 1, "body": "eeee"}, {"id": 9, "body": "fffff"}])
    assert batches == [["a", "bb"], ["cc", "ddd"], ["eeee", "fffff"]]
    assert nearest(notes, 5) == [9, 1, 2, 3]


@pytest.mark.parametrize("value", [[70, 1], np.array([70.0, 1.0]), vecsql.f32([70, 1])])
def test_vector_that_is_given_is_kept_in_any_form(notes, model, value):
    vecsql.insert(notes, "notes", [{"body": "short"}, {"body": "given", "embedding": value}])
    vecsql.upsert(notes, "notes", {"id": 1, "body": "changed", "embedding": value})
    assert "given" not in model.seen
    assert "changed" not in model.seen
    blobs = rows(notes, "SELECT embedding FROM notes ORDER BY id")
    assert blobs == [(vecsql.f32([70, 1]),)] * 2


def test_update_changes_only_what_it_names(notes, model):
    vecsql.insert(notes, "notes", {"body": "x1", "author": "ann", "embedding": [50, 1]})
    assert vecsql.update(notes, "notes", {"id": 1, "author": "bob"}) == 1
    assert vecsql.update(notes, "notes", {"id": 1, "body": "x1"}) == 1
    assert vecsql.update(notes, "notes", {"id": 99, "body": "nobody"}) == 0
    ((*_, author, vector),) = rows(notes, "SELECT * FROM notes")
    assert (author, vector) == ("bob", vecsql.f32([50, 1])), "an unchanged text keeps its vector"
    assert vecsql.update(notes, "notes", {"id": 1, "body": "x22"}) == 1
    assert rows(notes, "SELECT embedding FROM notes") == [(vecsql.f32([3, 1]),)]


def test_upsert_keeps_the_row_and_columns_that_it_does_not_name(notes):
    first = vecsql.upsert(notes, "notes", {"url": "u", "body": "x", "author": "ann"}, key="url")
    assert vecsql.upsert(notes, "notes", {"url": "u", "body": "xyz"}, key="url") == first
    assert vecsql.upsert(notes, "notes", {"url": "u"}, key="url") == first
    assert vecsql.upsert(notes, "notes", [{"body": "x0"}]) == [first + 1]
    assert rows(notes, "SELECT url, body, author, embedding FROM notes WHERE id = 1") == [
        ("u", "xyz", "ann", vecsql.f32([3, 1]))
    ]
    assert state(notes)[1:] == ([(1,), (2,)], [(1,), (2,)])


def test_delete_takes_one_key_or_many_and_counts(notes):
    ids = vecsql.insert(notes, "notes", [{"body": f"x{i}"} for i in range(5)])
    assert vecsql.delete(notes, "notes", ids[0]) == 1
    assert vecsql.delete(notes, "notes", (i for i in [*ids[:3], 99])) == 2
    assert state(notes)[1:] == ([(4,), (5,)], [(4,), (5,)])


def test_delete_finds_rows_by_other_columns(notes):
    vecsql.insert(notes, "notes", [{"body": f"x{i}", "url": f"u{i % 3}"} for i in range(3, 6)])
    assert vecsql.delete(notes, "notes", "u0", key="url") == 1
    assert vecsql.delete(notes, "notes", ["u1", "none"], key="URL") == 1
    rowids = [row for (row,) in notes.execute("SELECT id FROM notes ORDER BY id")]
    (body,) = notes.execute("SELECT body FROM notes WHERE url = 'u2'").fetchone()
    keys = [("u2", body), ("u2", "other")]
    assert vecsql.table(notes, "notes").delete(keys, key=("url", "body")) == 1
    assert state(notes)[1] == [(row,) for row in rowids if row != rowids[-1]]


@pytest.mark.parametrize(
    ("keys", "key", "message"),
    [
        (["nope"], "nope", "notes has no column nope; it has id, url"),
        ([1], [], "key= names no column"),
        ([1], ("id", "body"), "expected keys as tuples"),
        ([(1, 2, 3)], ("id", "body"), "expected keys as tuples"),
    ],
)
def test_delete_by_what_is_no_column_deletes_nothing(notes, keys, key, message):
    before = state(notes)
    with pytest.raises(vecsql.SchemaError, match=message):
        vecsql.delete(notes, "notes", keys, key=key)
    assert state(notes) == before


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize(
    "call",
    [
        lambda db: vecsql.insert(db, "notes", [{"body": "x8"}, {"id": 1, "body": "x9"}]),
        lambda db: vecsql.insert(db, "notes", [{"body": "x8"}, {"embedding": [1, 2, 3]}]),
        lambda db: vecsql.upsert(db, "notes", [{"id": 1, "body": "x9"}, {"id": 8, "url": "u2"}]),
        lambda db: vecsql.update(db, "notes", [{"id": 1, "body": "x9"}, {"id": 2, "url": "u2"}]),
        lambda db: vecsql.delete(db, "notes", [1, object()]),
    ],
    ids=["key", "dimension", "upsert", "update", "delete"],
)
def test_a_failure_leaves_nothing_of_the_call(notes, call, nested):
    vecsql.insert(notes, "notes", [{"url": f"u{i}", "body": f"x{i}"} for i in range(3)])
    commit(notes)
    if nested:
        notes.execute("BEGIN")
        vecsql.insert(notes, "notes", {"id": 50, "body": "x50"})
    before = state(notes)
    with pytest.raises(Exception, match=r"."):
        call(notes)
    assert state(notes) == before
    assert driver_of(notes).in_transaction == nested


def test_rolling_back_the_callers_transaction_takes_everything_with_it(notes):
    vecsql.insert(notes, "notes", {"body": "x"})
    commit(notes)
    before = state(notes)
    notes.execute("BEGIN")
    vecsql.insert(notes, "notes", [{"body": "x1"}, {"body": "x2"}])
    vecsql.delete(notes, "notes", 1)
    assert state(notes) != before
    notes.execute("ROLLBACK")
    assert state(notes) == before


def test_python_and_trigger_embed_the_same_text(db, model):
    vecsql.create_table(
        db, "t", {"a": str, "b": str, "n": int}, text=["a", "b", "n"], embedder=model
    )
    records = [
        {"a": "x", "b": "y"},
        {"a": "x", "b": None, "n": None},
        {"a": None, "b": None, "n": None},
        {"a": "", "b": "", "n": None},
        {"a": "\n", "b": "y\n", "n": 5},
        {"a": "é", "b": b"raw", "n": 5},
        {"a": 1.5, "b": 10, "n": None},
    ]
    for record in records:
        python = vecsql.insert(db, "t", record)
        names = ", ".join(record)
        driver_of(db).run(
            f"INSERT INTO t({names}) VALUES({', '.join('?' * len(record))})", list(record.values())
        )
        sql = "SELECT embedding FROM t WHERE id >= ? ORDER BY id"
        first, second = rows(db, sql, (python,))
        assert first == second, record


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda db: vecsql.insert(db, "nope", {"a": 1}), "no table nope"),
        (lambda db: vecsql.insert(db, "notes", {"text": 1}), "notes has no column text; it has id"),
        (lambda db: vecsql.insert(db, "notes", [("a", 1)]), "a row is a dict.*got tuple"),
        (lambda db: vecsql.update(db, "notes", {"body": "x"}), "needs its key id; it has body"),
        (lambda db: vecsql.update(db, "notes", {"id": 1}), "nothing to update besides the key id"),
        (lambda db: vecsql.delete(db, "nope", 1), "no table nope"),
    ],
)
def test_calls_that_cannot_be_meant_are_refused_by_name(notes, call, message):
    with pytest.raises(vecsql.SchemaError, match=message):
        call(notes)


def test_tables_without_an_index_and_virtual_tables_are_written_too(db):
    db.execute("CREATE TABLE plain(name TEXT PRIMARY KEY, n INTEGER)")
    assert vecsql.insert(db, "plain", {"name": "a", "n": 1}) == 1
    assert vecsql.upsert(db, "plain", {"name": "a", "n": 2}) == 1
    assert vecsql.delete(db, "plain", "a") == 1
    db.execute("CREATE VIRTUAL TABLE own USING vecsql(e FLOAT[2], tag TEXT)")
    assert vecsql.insert(db, "own", [{"e": [1, 2], "tag": "x"}, {"rowid": 9, "e": [1, 3]}]) == [
        1,
        9,
    ]


def test_a_data_frame_is_for_bulk_insert(notes):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"body": ["x"]})
    for call in (vecsql.insert, vecsql.upsert):
        with pytest.raises(vecsql.SchemaError, match=r"vecsql\.bulk_insert takes data frames"):
            call(notes, "notes", frame)


# --- bulk_insert ---------------------------------------------------------------------------------


def test_bulk_insert_commits_batch_by_batch_and_reports(notes, model):
    done = []
    records = ({"body": f"x{i}", "author": "a"} if i % 3 else {"body": f"x{i}"} for i in range(25))
    assert vecsql.bulk_insert(notes, "notes", records, batch=10, progress=done.append) == 25
    assert done == [0, 10, 10, 5]
    assert len(model.seen) == 25
    assert len(state(notes)[1]) == len(state(notes)[2]) == 25


@pytest.mark.parametrize("option", [{"key": "url"}, {"job": "import of x"}])
def test_bulk_insert_goes_on_where_it_was_interrupted(notes, model, option):
    records = [{"url": f"u{i}", "body": f"x{i}"} for i in range(25)]

    def interrupted():
        for i, record in enumerate(records):
            if i == 17:
                raise KeyboardInterrupt
            yield record

    with pytest.raises(KeyboardInterrupt):
        vecsql.bulk_insert(notes, "notes", interrupted(), batch=5, **option)
    assert not driver_of(notes).in_transaction
    assert len(state(notes)[0]) == 15
    assert vecsql.bulk_insert(notes, "notes", records, batch=5, **option) == 10
    assert [url for (url,) in rows(notes, "SELECT url FROM notes ORDER BY id")] == [
        r["url"] for r in records
    ]
    assert sorted(model.seen) == sorted(r["body"] for r in records), "nothing is embedded twice"


def test_bulk_insert_with_a_key_takes_the_first_of_equal_rows(notes):
    records = [{"url": "u", "body": "x1"}, {"url": "u", "body": "x2"}, {"url": "v", "body": "x3"}]
    assert vecsql.bulk_insert(notes, "notes", records, key="url") == 2
    assert vecsql.bulk_insert(notes, "notes", records, key="url") == 0
    assert rows(notes, "SELECT body FROM notes") == [("x1",), ("x3",)]


def test_a_job_that_ended_is_skipped_when_it_is_run_again(notes):
    records = [{"body": "x"}] * 10
    assert vecsql.bulk_insert(notes, "notes", records, batch=5, job="j") == 10
    assert vecsql.bulk_insert(notes, "Notes", records, batch=5, job="j") == 0
    assert vecsql.bulk_insert(notes, "notes", [*records, {"body": "y"}], batch=5, job="j") == 1
    assert vecsql.bulk_insert(notes, "notes", records, job="another") == 10
    vecsql.create_table(notes, "others", {"body": str}, dim=2)
    assert vecsql.bulk_insert(notes, "others", records, job="j") == 10, "a job is of one table"
    notes.execute("DELETE FROM notes")
    assert vecsql.bulk_insert(notes, "notes", records, job="j") == 10


def test_a_job_killed_right_behind_its_last_commit_inserts_nothing_twice(tmp_path):
    path = tmp_path / "a.db"
    code = f"""
import os, vecsql
db = vecsql.connect({str(path)!r})
vecsql.create_table(db, "notes", {{"body": str}}, dim=2)
rows = [{{"body": "x"}}] * 10
done = []
def killed(n):
    done.append(n)
    if sum(done) == 10:
        os._exit(9)
vecsql.bulk_insert(db, "notes", rows, batch=20, job="j", progress=killed)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=sys.prefix, check=False).returncode == 9
    db = vecsql.connect(path)
    assert vecsql.bulk_insert(db, "notes", [{"body": "x"}] * 10, job="j") == 0
    assert rows(db, "SELECT count(*) FROM notes") == [(10,)]


@pytest.mark.parametrize("batch", [0, -1, 1.5, "9", None])
def test_a_batch_is_at_least_one_row(notes, batch):
    for call in (
        lambda: vecsql.bulk_insert(notes, "notes", [{"body": "x"}], batch=batch),
        lambda: vecsql.sync(notes, "notes", batch=batch),
        lambda: vecsql.reembed(notes, "notes", Lengths(), batch=batch),
        lambda: import_records(notes, "notes", open_source(io.BytesIO(b"a"), "csv"), batch=batch),
        lambda: vecsql.import_sqlite_vec(notes, "notes", batch=0 if batch is None else batch),
    ):
        with pytest.raises(ValueError, match="batch is a number of rows, at least 1"):
            call()


def test_bulk_insert_in_an_open_transaction_is_part_of_it(notes):
    notes.execute("BEGIN")
    vecsql.bulk_insert(notes, "notes", [{"body": "x"}] * 10, batch=3, job="j")
    notes.execute("ROLLBACK")
    assert state(notes) == ([], [], [])


def test_a_bad_row_keeps_the_batches_before_it(notes):
    records = [{"body": f"x{i}"} for i in range(12)] + [{"id": 1, "body": "twice"}]
    with pytest.raises(Exception, match="UNIQUE"):
        vecsql.bulk_insert(notes, "notes", records, batch=5)
    assert len(state(notes)[0]) == 10
    assert not driver_of(notes).in_transaction


# --- the cache -----------------------------------------------------------------------------------


def test_a_text_is_embedded_once_in_the_life_of_the_file(driver, tmp_path):
    for round_ in range(2):
        db, model = vecsql.connect(tmp_path / "a.db", driver=driver), Lengths()
        if round_ == 0:
            vecsql.create_table(db, "notes", {"body": str}, text="body", embedder=model)
        vecsql.register_embedder(db, model)
        vecsql.bulk_insert(db, "notes", [{"body": "x"}, {"body": "yy"}])
        vecsql.insert(db, "notes", {"body": "x"})
        assert model.seen.count("x") == (1 if round_ == 0 else 0)
        db.close()


def test_the_bundled_model_needs_no_cache(db):
    vecsql.create_table(db, "notes", {"body": str}, text="body")
    vecsql.insert(db, "notes", {"body": "x"})
    assert rows(db, "SELECT 1 FROM sqlite_schema WHERE name = 'vecsql_cache'") == []


def test_vectors_of_another_dimension_in_the_cache_are_not_used(db):
    vecsql.create_table(db, "notes", {"body": str}, text="body", embedder=Lengths(dim=2))
    vecsql.insert(db, "notes", {"body": "x"})
    vecsql.drop_index(db, "notes", drop_column=True)
    wide = Lengths(dim=3)
    vecsql.create_index(db, "notes", text="body", embedder=wide)
    assert "x" in wide.seen


# --- data frames ---------------------------------------------------------------------------------


def frame_of(kind):
    """Three rows: a missing text, a missing number, a date, vectors in lists."""
    import datetime

    day = datetime.date(2024, 5, 1)
    data = {
        "body": ["one", None, "three"],
        "n": [1, None, 3],
        "day": [day, None, day],
        "embedding": [[1.0, 2.0], None, [5.0, 6.0]],
    }
    if kind == "pandas":
        pandas = pytest.importorskip("pandas")
        return pandas.DataFrame(data, index=["x", "y", "z"])
    if kind == "polars":
        return pytest.importorskip("polars").DataFrame(data)
    arrow = pytest.importorskip("pyarrow").table(data)
    if kind == "arrow":
        return arrow
    if kind == "stream":
        return type("Stream", (), {"__arrow_c_stream__": arrow.__arrow_c_stream__})()
    return type("Other", (), {"__dataframe__": arrow.drop(["embedding", "day"]).__dataframe__})()


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow", "stream", "interchange"])
def test_a_data_frame_is_inserted_row_by_row(driver, kind):
    if kind == "interchange":
        pytest.importorskip("pyarrow.interchange")
    db = vecsql.connect(":memory:", driver=driver)
    vecsql.create_table(db, "t", {"body": str, "n": int, "day": str}, dim=2)
    assert vecsql.bulk_insert(db, "t", frame_of(kind), batch=2) == 3
    found = db.execute("SELECT body, n, day, embedding FROM t ORDER BY id").fetchall()
    expected = [
        ("one", 1, "2024-05-01", vecsql.f32([1, 2])),
        (None, None, None, None),
        ("three", 3, "2024-05-01", vecsql.f32([5, 6])),
    ]
    if kind == "interchange":  # the protocol has neither dates nor lists
        expected = [(body, n, None, None) for body, n, _, _ in expected]
    assert found == expected


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_lists_in_an_ordinary_column_of_a_frame_are_json(driver, kind):
    db = vecsql.connect(":memory:", driver=driver)
    vecsql.create_table(db, "t", {"body": str, "embedding": str}, column="v", text="body")
    frame = frame_of(kind)
    part = frame[["body", "embedding"]] if kind == "pandas" else frame.select(["body", "embedding"])
    vecsql.bulk_insert(db, "t", part)
    found = db.execute("SELECT embedding FROM t ORDER BY id").fetchall()
    assert found == [("[1.0, 2.0]",), (None,), ("[5.0, 6.0]",)]


def test_a_frame_goes_on_after_a_kill_and_needs_names_of_columns(driver):
    pandas = pytest.importorskip("pandas")
    db = vecsql.connect(":memory:", driver=driver)
    vecsql.create_table(db, "t", {"body": str}, text="body")
    frame = pandas.DataFrame({"body": [f"text {i}" for i in range(25)]})
    seen = []

    def stop(n):
        seen.append(n)
        if n:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        vecsql.bulk_insert(db, "t", frame, batch=10, job="j", progress=stop)
    assert vecsql.bulk_insert(db, "t", frame, batch=10, job="j", progress=seen.append) == 15
    assert seen == [0, 10, 10, 10, 5]
    assert db.execute("SELECT count(DISTINCT body) FROM t").fetchone() == (25,)
    with pytest.raises(vecsql.SchemaError, match="t has no column text"):
        vecsql.bulk_insert(db, "t", frame.rename(columns={"body": "text"}))
    twice = pandas.concat([frame, frame], axis=1)
    with pytest.raises(vecsql.FormatError, match="two columns called 'body'"):
        vecsql.bulk_insert(db, "t", twice)


def test_rows_whose_key_is_null_are_all_new(driver):
    db = vecsql.connect(":memory:", driver=driver)
    vecsql.create_table(db, "t", {"url": "TEXT UNIQUE", "body": str}, text="body")
    rows = [
        {"url": None, "body": "a"},
        {"url": "x", "body": "b"},
        {"body": "c"},
        {"url": "x", "body": "d"},
    ]
    assert vecsql.bulk_insert(db, "t", rows, key="url") == 3
    assert vecsql.bulk_insert(db, "t", rows, key="url") == 2


# --- no write lock while a model works -----------------------------------------------------------


class Watching(Lengths):
    """A model that looks whether another connection can write while it works."""

    def __init__(self, other, model_id="watching", dim=2):
        super().__init__(model_id, dim)
        self.other, self.locked, self.calls = other, [], 0

    def encode(self, texts):
        self.calls += 1
        try:
            self.other.run("BEGIN IMMEDIATE")
            self.other.run("ROLLBACK")
        except Exception as e:  # each driver's own class
            self.locked.append((str(e), list(texts)))
        return super().encode(texts)


def two_columns(db, model):
    columns = {"title": str, "body": str, "n": int}
    vecsql.create_table(db, "t", columns, text=["title", "body"], embedder=model, fts=True)
    vecsql.insert(db, "t", [{"title": f"t{i}", "body": "b" * i} for i in range(1, 9)])


def import_file(db, path, model):
    from vecsql._files.read import open_source
    from vecsql._rows.imports import import_records

    for n, text in enumerate(("x", "yy")):
        lines = [json.dumps({"id": i, "body": text * (i + 1), "n": n}) for i in range(30)]
        (path / "a.jsonl").write_text("\n".join(lines))
        source = open_source(path / "a.jsonl")
        import_records(db, "imported", source, text=["body"], embedder=model, batch=7)


def existing_rows(db, model):
    db.execute("CREATE TABLE old(id INTEGER PRIMARY KEY, title TEXT, body TEXT)")
    db.execute("INSERT INTO old(title, body) VALUES ('a', 'b'), (NULL, 'c'), (NULL, NULL)")
    commit(db)
    vecsql.create_index(db, "old", text=["title", "body"], embedder=model)


def later(db, model):
    vecsql.create_table(db, "later", {"body": str}, text="body", embedder=model, mode="sync")
    vecsql.insert(db, "later", [{"body": "x" * i} for i in range(9)])
    vecsql.sync(db, "later", batch=4)
    vecsql.update(db, "later", {"id": 1, "body": "another"})
    vecsql.sync(db)


def moved(db, model):
    vecsql.reembed(db, "t", Watching(model.other, "second", 3), batch=3)
    vecsql.insert(db, "t", {"title": "after", "body": "the move"})
    vecsql.reembed(db, "t", model)


def without_vectors(db, model):
    db.execute("UPDATE t SET embedding = NULL")
    db.execute("DELETE FROM vecsql_cache")
    commit(db)
    vecsql.sync(db, "t", batch=3)


HELPERS = {
    "insert": lambda db, p, m: vecsql.insert(db, "t", [{"title": "n", "body": "x"}, {"body": "y"}]),
    "insert a part": lambda db, p, m: vecsql.insert(db, "t", {"title": "only"}),
    "update": lambda db, p, m: vecsql.update(db, "t", [{"id": 1, "title": "u", "body": "v"}]),
    "update a part": lambda db, p, m: vecsql.update(db, "t", {"id": 2, "title": "other"}),
    "update many": lambda db, p, m: vecsql.update(db, "t", {"title": "t3", "body": "w"}, "title"),
    "upsert": lambda db, p, m: vecsql.upsert(
        db, "t", [{"id": 1, "body": "u"}, {"id": 99, "title": "v"}]
    ),
    "bulk_insert": lambda db, p, m: vecsql.bulk_insert(
        db, "t", [{"body": f"{i}"} for i in range(9)], batch=4
    ),
    "sync": lambda db, p, m: later(db, m),
    "missing vectors": lambda db, p, m: without_vectors(db, m),
    "create_index": lambda db, p, m: existing_rows(db, m),
    "reembed": lambda db, p, m: moved(db, m),
    "import": lambda db, p, m: import_file(db, p, m),
    "search": lambda db, p, m: vecsql.search(db, "t", "something"),
    "ingest": lambda db, p, m: [
        vecsql.ingest(db, "d", [{"source": "s", "text": t}], embedder=m) for t in ("One.", "Two.")
    ],
}  # fmt: skip


@pytest.mark.parametrize("helper", HELPERS)
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_no_write_lock_is_held_while_a_model_works(driver, tmp_path, helper, journal):
    path = tmp_path / "a.db"
    db = vecsql.connect(path, driver=driver)
    driver_of(db).value(f"PRAGMA journal_mode = {journal}")
    other = vecsql.connect(path, driver=driver)
    driver_of(other).value("PRAGMA busy_timeout = 0")
    model = Watching(driver_of(other))
    two_columns(db, model)
    calls = model.calls
    HELPERS[helper](db, tmp_path, model)
    assert model.calls > calls
    assert model.locked == []
    assert not driver_of(db).in_transaction
    infos = {i.index for i in vecsql.indexes(db)}
    for index in infos:
        db.execute(f"INSERT INTO {index}({index}) VALUES ('integrity-check')")
    other.close()
    db.close()


def test_vectors_are_those_of_the_text_however_it_was_written(db):
    """What is embedded ahead is what the triggers would have embedded."""
    model = Lengths()
    vecsql.create_table(
        db, "t", {"a": str, "b": "TEXT DEFAULT 'standard'", "c": "REAL", "n": int},
        text=["a", "b", "c"], embedder=model,
    )  # fmt: skip
    vecsql.insert(db, "t", [{"a": "x"}, {"b": "y"}, {"a": "x", "b": None}, {"c": 5}, {"n": 1}])
    vecsql.insert(db, "t", {"a": ["a", {"list": 1}], "b": ""})
    vecsql.upsert(db, "t", [{"id": 1, "a": "other"}, {"id": 20, "a": "new"}, {"id": 2, "n": 3}])
    vecsql.update(
        db, "t", [{"id": 3, "c": 2}, {"id": 4, "b": "z"}, {"id": 5, "a": None, "b": None}]
    )
    text = vecsql.indexes(db, "t")[0].text_sql("t")
    for body, blob in rows(db, f"SELECT {text}, embedding FROM t"):
        assert (blob is None) == (body is None)
        if body is not None:
            assert np.frombuffer(blob, "<f4").tolist() == [len(body), 1.0]


def test_unchanged_text_is_not_embedded_again(notes, model):
    vecsql.insert(notes, "notes", [{"url": u, "body": u * 3} for u in "abc"])
    del model.seen[:]
    vecsql.update(notes, "notes", [{"id": 1, "body": "aaa"}, {"id": 2, "author": "x"}])
    vecsql.upsert(notes, "notes", [{"url": u, "body": u * 3, "author": "y"} for u in "abc"], "url")
    assert model.seen == []


class Picky(Lengths):
    def encode(self, texts):
        if any("bad" in t for t in texts):
            raise RuntimeError("too long")
        return super().encode(texts)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda db, many: vecsql.insert(db, "t", many), "t, row 3: too long"),
        (lambda db, many: vecsql.upsert(db, "t", [{"id": 1, **m} for m in many]), "t, row 3: too"),
        (lambda db, many: vecsql.update(db, "t", [{"id": 1, **m} for m in many]), "t, row 3: too"),
        (lambda db, many: vecsql.bulk_insert(db, "t", many), "t, row 3: too long"),
        (lambda db, many: vecsql.bulk_insert(db, "t", iter(many), batch=3), "t, row 3: too long"),
        (lambda db, many: vecsql.insert(db, "t", {3: "x"}), "t has no column 3; it has id, body"),
    ],
)
def test_a_text_that_a_model_refuses_is_named_by_its_row(db, write, message):
    vecsql.create_table(db, "t", {"body": str}, text="body", embedder=Picky())
    vecsql.insert(db, "t", {"body": "first"})
    with pytest.raises(vecsql.Error, match=message):
        write(db, [{"body": "x"}, {"body": "y"}, {"body": "bad"}, {"body": "z"}])
    assert rows(db, "SELECT body FROM t") == [("first",)]


def test_what_a_model_computed_is_kept_when_another_text_fails(driver, tmp_path):
    db = vecsql.connect(tmp_path / "a.db", driver=driver)
    vecsql.create_table(db, "t", {"body": str}, text="body", embedder=Picky("picky"))
    many = [{"body": f"text {i}"} for i in range(300)] + [{"body": "bad"}]
    with pytest.raises(vecsql.EmbedderError, match="row 301"):
        vecsql.insert(db, "t", many)
    assert rows(db, "SELECT count(*) FROM vecsql_cache") == [(300,)]
    model = Picky("picky")
    vecsql.register_embedder(db, model)
    vecsql.insert(db, "t", many[:-1])
    assert [t for t in model.seen if t.startswith("text")] == []
    db.close()


# --- values --------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["insert", "upsert", "update", "bulk_insert"])
@pytest.mark.parametrize("virtual", [False, True])
def test_lists_and_dicts_in_ordinary_columns_are_json(db, verb, virtual):
    if virtual and verb in ("upsert", "update"):
        pytest.skip("virtual tables have no upsert")
    if virtual:
        db.execute(
            "CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[2], a TEXT)"
        )
    else:
        vecsql.create_table(db, "t", {"a": str, "raw": bytes, "free": ""}, column="e", dim=2)
    values = [
        [3, 20240501], ["a", {"b": 1}], {"x": [1.5, None], "ü": float("nan")}, (1, 2), [], {},
        np.array([1.5, 2.0]), {"n": np.int64(3)}, [np.float32(0.5)], "text", 3, None,
    ]  # fmt: skip
    expected = [
        [3, 20240501], ["a", {"b": 1}], {"x": [1.5, None], "ü": None}, [1, 2], [], {},
        [1.5, 2.0], {"n": 3}, [0.5],
    ]  # fmt: skip
    many = [{"id": i, "a": v, "e": [i, 1.0]} for i, v in enumerate(values, 1)]
    if verb == "update":
        vecsql.insert(db, "t", [{"id": i} for i in range(1, len(values) + 1)])
    getattr(vecsql, verb)(db, "t", many)
    stored = [a for (a,) in rows(db, "SELECT a FROM t ORDER BY id")]
    assert [json.loads(a) for a in stored[: len(expected)]] == expected
    assert [a if a is None else str(a) for a in stored[len(expected) :]] == ["text", "3", None]
    vectors = [np.frombuffer(e, "<f4").tolist() for (e,) in rows(db, "SELECT e FROM t ORDER BY id")]
    assert vectors == [[i, 1.0] for i in range(1, len(values) + 1)]
    if not virtual:
        vecsql.insert(db, "t", {"id": 50, "raw": [1.0, 2.0], "free": [1, 2], "E": np.ones(2)})
        vecsql.update(db, "t", {"id": 1, "raw": {"a": 1}})
        assert rows(db, "SELECT raw FROM t WHERE id = 1") == [('{"a": 1}',)]
        raw, free, e = rows(db, "SELECT raw, free, e FROM t WHERE id = 50")[0]
        assert (raw, free, e) == (vecsql.f32([1.0, 2.0]), "[1, 2]", vecsql.f32([1, 1]))
