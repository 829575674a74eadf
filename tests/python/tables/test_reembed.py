"""Risk: a change of the model loses rows or answers, stops writers, or cannot be taken back."""

from __future__ import annotations

import random
import sqlite3

import numpy as np
import pytest

import vecsql
from tests.support import killed
from tests.support.indexed import Lengths, commit, rows
from vecsql._connection.driver import driver_of
from vecsql._tables.catalog import index_of

OLD, NEW = ("old-model", 2, 1.0), ("new-model", 3, 10.0)


@pytest.fixture
def old():
    return Lengths(*OLD)


@pytest.fixture
def new():
    return Lengths(*NEW)


@pytest.fixture(params=["trigger", "sync"])
def mode(request):
    return request.param


@pytest.fixture
def notes(db, old, mode):
    """notes(id, body, author): 20 rows of 1 to 20 characters; full text."""
    vecsql.create_table(
        db,
        "notes",
        {"body": str, "author": str},
        text="body",
        metric="l2",
        embedder=old,
        mode=mode,
        fts=True,
    )
    vecsql.insert(db, "notes", [{"body": "x" * n, "author": "ann"} for n in range(1, 21)])
    vecsql.sync(db)
    del old.seen[:]
    return db


def query(model, length):
    return vecsql.f32(model.encode(["x" * length])[0])


def nearest(db, model, length, k=1):
    sql = "SELECT rowid FROM notes_embedding WHERE embedding MATCH ? AND k = ?"
    return [r for (r,) in rows(db, sql, (query(model, length), k))]


def agrees(db, model):
    """Whether the space that answers holds exactly the vectors of the texts."""
    info = index_of(db, "notes")
    texts = rows(db, "SELECT id, body FROM notes WHERE body IS NOT NULL ORDER BY id")
    vectors = rows(db, f"SELECT id, {info.source} FROM notes WHERE {info.source} IS NOT NULL")
    found = nearest(db, model, 1, 9999)
    return (
        info.model_id == model.model_id
        and sorted(vectors) == [(i, vecsql.f32(model.encode([t])[0])) for i, t in texts]
        and sorted(found) == [i for i, _ in texts]
    )


def names(db):
    return {n for (n,) in rows(db, "SELECT name FROM sqlite_schema")}


def test_all_rows_are_embedded_by_the_new_model_and_the_sql_stays_the_same(notes, old, new, mode):
    assert nearest(notes, old, 7) == [7]
    info = vecsql.reembed(notes, "notes", new, batch=6)
    assert (info.model_id, info.dim, info.index, info.column) == (
        "new-model",
        3,
        "notes_embedding",
        "embedding",
    )
    assert (info.mode, info.fts) == (mode, "notes_embedding_fts")
    assert vecsql.indexes(notes) == [info]
    assert nearest(notes, new, 7) == [7]
    assert agrees(notes, new)
    assert rows(notes, "SELECT rowid FROM notes_embedding_fts WHERE body MATCH 'xxx'") == [(3,)]


def test_the_old_space_answers_until_the_switch(notes, old, new):
    answers = []
    encode = new.encode

    def watched(texts):
        answers.append(nearest(notes, old, 7, 3))
        return encode(texts)

    expected = nearest(notes, old, 7, 3)
    new.encode = watched
    vecsql.reembed(notes, "notes", new, switch=False, batch=5)
    assert len(answers) >= 4
    assert all(a == expected for a in answers)
    assert index_of(notes, "notes").model_id == "old-model"
    vecsql.reembed(notes, "notes", new)
    assert index_of(notes, "notes").model_id == "new-model"


def test_writes_go_on_before_and_after_the_switch(notes, old, new):
    vecsql.reembed(notes, "notes", new, switch=False)
    notes.execute("INSERT INTO notes(body) VALUES('a longer text than all the others')")
    notes.execute("UPDATE notes SET body = 'changed' WHERE id = 1")
    notes.execute("DELETE FROM notes WHERE id = 2")
    notes.execute("UPDATE notes SET id = 200 WHERE id = 20")
    vecsql.insert(notes, "notes", {"body": "y" * 40})
    commit(notes)
    vecsql.sync(notes)
    assert agrees(notes, old)
    vecsql.reembed(notes, "notes", new)
    assert agrees(notes, new)
    notes.execute("INSERT INTO notes(body) VALUES('one more')")
    notes.execute("UPDATE notes SET body = 'changed again' WHERE id = 1")
    notes.execute("DELETE FROM notes WHERE id = 3")
    commit(notes)
    vecsql.sync(notes)
    assert agrees(notes, new)


def test_going_back_embeds_only_what_changed(notes, old, new):
    vecsql.reembed(notes, "notes", new)
    notes.execute("UPDATE notes SET body = 'changed' WHERE id = 1")
    notes.execute("INSERT INTO notes(body) VALUES('a new row of text')")
    commit(notes)
    vecsql.sync(notes)
    del old.seen[:]
    vecsql.reembed(notes, "notes", old)
    assert sorted(t for t in old.seen if "checks" not in t) == ["a new row of text", "changed"]
    assert agrees(notes, old)
    vecsql.reembed(notes, "notes", new)
    assert agrees(notes, new)


def test_discard_leaves_one_space_and_nothing_else(notes, old, new):
    before = names(notes)
    vecsql.reembed(notes, "notes", new, switch=False)
    vecsql.reembed_discard(notes, "notes")
    made = {"vecsql_standby", "vecsql_queue", "sqlite_autoindex_vecsql_standby_1"}
    assert names(notes) - before <= made | {"sqlite_autoindex_vecsql_standby_2"}
    assert agrees(notes, old)
    vecsql.reembed(notes, "notes", new)
    vecsql.reembed_discard(notes, "notes")
    vecsql.reembed_discard(notes, "notes")
    columns = [n for (n,) in rows(notes, "SELECT name FROM pragma_table_info('notes')")]
    assert columns == ["id", "body", "author", "embedding_2"]
    notes.execute("INSERT INTO notes(body) VALUES('after')")
    commit(notes)
    vecsql.insert(notes, "notes", {"body": "given", "embedding": new.encode(["given"])[0]})
    vecsql.sync(notes)
    assert agrees(notes, new)
    vecsql.reembed(notes, "notes", old)
    assert agrees(notes, old)
    vecsql.drop_index(notes, "notes", drop_column=True)
    assert not [n for n in names(notes) if "embedding" in n]
    notes.execute("INSERT INTO notes(body) VALUES('free')")


def test_the_index_can_be_dropped_by_plain_sql_after_a_switch(db, old, new):
    vecsql.create_table(db, "notes", {"body": str}, text="body", embedder=old)
    vecsql.reembed(db, "notes", new)
    vecsql.reembed_discard(db, "notes")
    db.execute("DROP TABLE notes_embedding")
    assert not [n for n in names(db) if "vecsql_insert" in n]


def test_calling_it_again_when_all_is_done_does_nothing(notes, new):
    info = vecsql.reembed(notes, "notes", new)
    del new.seen[:]
    assert vecsql.reembed(notes, "notes", new) == info
    assert [t for t in new.seen if "checks" not in t] == []


def test_another_move_while_one_is_under_way_is_refused(notes, new):
    vecsql.reembed(notes, "notes", new, switch=False)
    with pytest.raises(vecsql.SchemaError, match=r"'new-model'.*reembed_discard"):
        vecsql.reembed(notes, "notes", Lengths("third"))
    with pytest.raises(vecsql.ModelMismatchError, match="of the name 'old-model'"):
        vecsql.reembed(notes, "notes", Lengths("old-model", 2, 7.0))


def test_an_index_without_text_is_refused(db, new):
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT)")
    vecsql.create_index(db, "t", dim=3)
    with pytest.raises(vecsql.SchemaError, match="no text to embed"):
        vecsql.reembed(db, "t", new)


def test_a_model_that_fails_leaves_the_old_answers_and_the_work_done(notes, old, new):
    encode, calls = new.encode, []

    def fails(texts):
        calls.append(texts)
        if len(calls) >= 4:  # the first is the checksum
            raise ConnectionError("away")
        return encode(texts)

    new.encode = fails
    with pytest.raises(ConnectionError):
        vecsql.reembed(notes, "notes", new, batch=5)
    assert not driver_of(notes).in_transaction
    assert agrees(notes, old)
    new.encode = encode
    del new.seen[:]
    vecsql.reembed(notes, "notes", new, batch=5)
    assert len([t for t in new.seen if "checks" not in t]) == 10
    assert agrees(notes, new)


def test_an_open_transaction_takes_the_whole_move_back(notes, old, new):
    before = rows(notes, "SELECT * FROM notes ORDER BY id"), names(notes)
    notes.execute("BEGIN")
    vecsql.reembed(notes, "notes", new)
    assert nearest(notes, new, 7) == [7]
    notes.execute("ROLLBACK")
    assert (rows(notes, "SELECT * FROM notes ORDER BY id"), names(notes)) == before
    assert agrees(notes, old)


def test_other_connections_read_and_write_through_the_move(tmp_path, old, new):
    path = tmp_path / "a.db"
    db = vecsql.connect(path)
    vecsql.create_table(db, "notes", {"body": str}, text="body", embedder=old, metric="l2")
    vecsql.insert(db, "notes", [{"body": "x" * n} for n in range(1, 30)])
    other = vecsql.connect(path)
    vecsql.register_embedder(other, old)
    encode = new.encode

    def meanwhile(texts):
        with other:
            other.execute("INSERT INTO notes(body) VALUES('written meanwhile')")
        assert nearest(other, old, 7) == [7]
        return encode(texts)

    new.encode = meanwhile
    vecsql.reembed(db, "notes", new, batch=10)
    with pytest.raises(vecsql.Error, match=r"'new-model'.*'old-model'"):
        other.execute("INSERT INTO notes(body) VALUES('by the old model')")
    vecsql.register_embedder(other, Lengths(*NEW))
    with other:
        other.execute("INSERT INTO notes(body) VALUES('by the new model')")
    assert agrees(db, Lengths(*NEW))
    assert nearest(other, Lengths(*NEW), 7) == [7]


# --- drift ---------------------------------------------------------------------------------------


class Reversed(Lengths):
    """Long texts are near where the other model has short ones."""

    def encode(self, texts):
        out = super().encode(texts)
        out[:, 0] = 21 - out[:, 0]
        return out[:, ::-1] if self.model_id == "flipped" else out


def test_drift_of_an_equivalent_model_is_none(notes):
    vecsql.reembed(notes, "notes", Reversed("flipped", 2), switch=False)
    report = vecsql.drift(notes, "notes", ["x" * 5, "x" * 10], k=3)
    assert (report.active, report.standby) == ("old-model", "flipped")
    assert (report.recall, report.first, report.shift) == (1.0, 1.0, 0.0)
    assert report.distance[0] == pytest.approx(2 / 3)


def test_drift_of_a_model_that_answers_otherwise_is_measured(notes):
    class Other(Lengths):
        def encode(self, texts):
            out = super().encode(texts)
            out[:, 0] = [(len(t) * 7) % 20 for t in texts]
            return out

    vecsql.reembed(notes, "notes", Other("other"), switch=False)
    report = vecsql.drift(notes, "notes", ["x" * n for n in (3, 10, 18)], k=3)
    expected = []
    for n in (3, 10, 18):
        by = {
            name: sorted(range(1, 21), key=lambda i: abs(key(i) - key(n)))[:3]
            for name, key in (("a", lambda v: v), ("b", lambda v: v * 7 % 20))
        }
        expected.append(len(set(by["a"]) & set(by["b"])) / 3)
    assert report.recall == pytest.approx(np.mean(expected))
    assert report.first == 1.0
    assert [recall for _, recall, _ in report.per_query] == sorted(expected)
    again = vecsql.drift(notes, "notes", k=3)
    assert again == report, "the sample is stored"


def test_drift_needs_two_spaces_and_a_sample(notes, new):
    with pytest.raises(vecsql.SchemaError, match="one space only"):
        vecsql.drift(notes, "notes", ["x"])
    vecsql.reembed(notes, "notes", new)
    with pytest.raises(vecsql.SchemaError, match="no stored sample"):
        vecsql.drift(notes, "notes")
    assert vecsql.drift(notes, "notes", ["x"], k=2).standby == "old-model"


# --- kill -9 -------------------------------------------------------------------------------------

CHILD = """
    import sys
    import numpy as np, vecsql
    class Model:
        def __init__(self, model_id, dim, scale):
            self.model_id, self.dim, self.scale = model_id, dim, scale
        def encode(self, texts):
            out = np.zeros((len(texts), self.dim), np.float32)
            out[:, 0], out[:, 1] = [len(t) * self.scale for t in texts], 1
            return out
    path, target = sys.argv[1:]
    db = vecsql.connect(path, driver="apsw")
    db.set_busy_timeout(30_000)
    old, new = Model("old-model", 2, 1.0), Model("new-model", 3, 10.0)
    vecsql.register_embedder(db, old)
    vecsql.register_embedder(db, new, "embed_new")
    vecsql.reembed(db, "notes", {"old": old, "new": new}[target], batch=9)
"""


@pytest.mark.parametrize(
    ("journal", "kills", "rounds"),
    [
        ("wal", 2, 1),
        pytest.param("wal", 7, 2, marks=pytest.mark.slow),
        pytest.param("delete", 7, 2, marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_moment_nothing_is_lost(tmp_path, journal, kills, rounds):
    path, models = tmp_path / "a.db", {m[0]: Lengths(*m) for m in (OLD, NEW)}
    db = vecsql.connect(path, driver="sqlite3", timeout=30)
    db.execute(f"PRAGMA journal_mode={journal}").close()
    vecsql.create_table(
        db, "notes", {"body": str}, text="body", embedder=models["old-model"], metric="l2"
    )
    vecsql.register_embedder(db, models["new-model"], "embed_new")
    vecsql.insert(db, "notes", [{"body": "x" * (1 + i * 7 % 90)} for i in range(120)])
    expected = dict(rows(db, "SELECT id, body FROM notes"))
    rng, died = random.Random(5), 0
    for turn in range(rounds):
        target = "old" if turn % 2 else "new"
        copied(path)
        for moment in killed.moments(killed.run(CHILD, path.with_name("copy.db"), target), kills):
            died += killed.run(CHILD, path, target, moment=moment) is None
            write(db, rng, expected)
            assert agrees(db, models[str(index_of(db, "notes").model_id)])
            assert dict(rows(db, "SELECT id, body FROM notes")) == expected
        killed.run(CHILD, path, target)
        assert index_of(db, "notes").model_id == f"{target}-model"
    assert died > rounds * kills // 3
    for name in ("old-model", "new-model"):  # the second space is behind until it is asked for
        vecsql.reembed(db, "notes", models[name])
        assert agrees(db, models[name])
    intact(path)


def write(db, rng, expected):
    """What the application does meanwhile, in plain SQL."""
    with db:
        for _ in range(5):
            body = "y" * rng.randrange(1, 90)
            at = rng.choice(list(expected))
            kind = rng.randrange(3)
            if kind == 0:
                (row,) = db.execute(
                    "INSERT INTO notes(body) VALUES(?) RETURNING id", (body,)
                ).fetchone()
                expected[row] = body
            elif kind == 1:
                db.execute("UPDATE notes SET body = ? WHERE id = ?", (body, at))
                expected[at] = body
            else:
                db.execute("DELETE FROM notes WHERE id = ?", (at,))
                del expected[at]


def copied(path):
    """Makes copy.db, which another SQLite library may open."""
    copy = path.with_name("copy.db")
    copy.unlink(missing_ok=True)
    source, target = sqlite3.connect(path), sqlite3.connect(copy)
    source.backup(target)
    source.close()
    target.close()
    return copy


def intact(path):
    """A clean bill from SQLite, read by a plain process of its own library."""
    check = vecsql.connect(copied(path), driver="apsw")
    for index in ("notes_embedding", "notes_embedding_standby"):
        check.execute(f"INSERT INTO {index}({index}) VALUES('integrity-check')")
    check.close()
