"""Risk: a row without its vector, a vector without its row, or half of a call that failed."""

from __future__ import annotations

import numpy as np
import pytest

import vecsql
from tests.test_schema import Lengths, commit, nearest, rows
from vecsql._driver import driver_of


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


def test_a_job_that_ended_can_be_run_again(notes):
    for _ in range(2):
        assert vecsql.bulk_insert(notes, "notes", [{"body": "x"}] * 10, batch=5, job="j") == 10


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
