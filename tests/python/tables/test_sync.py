"""Risk: a row in sync mode is forgotten, embedded from an old text, or lost by a crash."""

from __future__ import annotations

import shutil
import sqlite3

import pytest

import vecsql
from tests.support import killed
from tests.support.indexed import Lengths, commit, nearest, rows
from vecsql._connection.driver import driver_of


@pytest.fixture
def model():
    return Lengths()


@pytest.fixture
def notes(db, model):
    """notes(id, body) with the rows a, bbb, ccccccccc, in sync mode and synced."""
    db.execute("CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT, author TEXT)")
    db.execute("INSERT INTO notes(body) VALUES('a'), ('bbb'), ('ccccccccc')")
    commit(db)
    vecsql.create_index(db, "notes", text="body", metric="l2", embedder=model, mode="sync")
    assert nearest(db, 1) == []
    assert vecsql.sync(db) == 3
    del model.seen[:]
    return db


def queue(db):
    return rows(db, "SELECT row, embed FROM vecsql_queue")


def agrees(db):
    """Whether index, vectors and texts say the same, row by row."""
    table = rows(db, "SELECT id, length(body) FROM notes WHERE body IS NOT NULL ORDER BY id")
    sql = "SELECT rowid FROM notes_embedding WHERE embedding MATCH ? AND k = 999"
    found = sorted(r for (r,) in rows(db, sql, (vecsql.f32([0, 1]),)))
    vectors = rows(db, "SELECT id, embedding FROM notes WHERE embedding IS NOT NULL ORDER BY id")
    return (
        found == [i for i, _ in table]
        and [(i, vecsql.f32([n, 1])) for i, n in table] == vectors
        and queue(db) == []
    )


def test_changes_wait_in_the_queue_until_sync(notes, model):
    notes.execute("INSERT INTO notes(body) VALUES('dddddd')")
    notes.execute("UPDATE notes SET body = 'aaaaaaaaaaaa' WHERE id = 1")
    notes.execute("DELETE FROM notes WHERE id = 2")
    assert model.seen == []
    assert queue(notes) == [(1, 1), (2, 0), (4, 1)]
    commit(notes)
    assert vecsql.sync(notes, "notes") == 3
    assert nearest(notes, 6) == [4, 3, 1]
    assert agrees(notes)
    assert vecsql.sync(notes, "notes") == 0


def test_any_sqlite_can_write_the_table(tmp_path, model):
    path = tmp_path / "a.db"
    db = vecsql.connect(path)
    vecsql.create_table(
        db, "notes", {"body": str, "u": "UNIQUE"}, text="body", mode="sync", embedder=model
    )
    plain = sqlite3.connect(path)
    with plain:
        plain.execute("INSERT INTO notes(body, u) VALUES('a', 1), ('bb', 2), ('ccc', 3)")
    assert vecsql.sync(db) == 3
    with plain:
        plain.execute("UPDATE notes SET body = 'aaaa' WHERE id = 1")
        plain.execute("INSERT OR REPLACE INTO notes(id, body) VALUES(2, 'bbbbb')")
        plain.execute("INSERT OR REPLACE INTO notes(id, body, u) VALUES(30, 'cc', 3)")
        plain.execute("UPDATE notes SET id = 10 WHERE id = 1")
    found = nearest(db, 3)
    assert set(found) <= {10, 30, 2}, "rows that are gone are not found meanwhile"
    vecsql.sync(db)
    assert agrees(db)


@pytest.mark.parametrize(
    ("statements", "vector"),
    [
        (["UPDATE notes SET embedding = X'0000A0420000803F' WHERE id = 1"], [80, 1]),
        (
            [
                "UPDATE notes SET body = 'new' WHERE id = 1",
                "UPDATE notes SET embedding = X'0000A0420000803F' WHERE id = 1",
            ],
            [80, 1],
        ),
        (
            [
                "UPDATE notes SET embedding = X'0000A0420000803F' WHERE id = 1",
                "UPDATE notes SET body = 'new' WHERE id = 1",
            ],
            [3, 1],
        ),
        (
            [
                "UPDATE notes SET body = 'new' WHERE id = 1",
                "UPDATE notes SET body = body, author = 'x' WHERE id = 1",
            ],
            [3, 1],
        ),
        (
            [
                "UPDATE notes SET body = 'new' WHERE id = 1",
                "UPDATE notes SET id = 70 WHERE id = 1",
                "UPDATE notes SET id = 1 WHERE id = 70",
            ],
            [3, 1],
        ),
    ],
    ids=["given", "given last", "text last", "no change", "moved"],
)
def test_the_latest_word_about_a_vector_wins(notes, statements, vector):
    for statement in statements:
        notes.execute(statement)
    commit(notes)
    vecsql.sync(notes)
    assert rows(notes, "SELECT embedding FROM notes WHERE id = 1") == [(vecsql.f32(vector),)]
    assert 1 in nearest(notes, vector[0], 2), "2 is there already when the text has 3 characters"
    assert queue(notes) == []


def test_text_that_is_gone_takes_the_vector_with_it(notes):
    notes.execute("UPDATE notes SET body = NULL WHERE id = 2")
    commit(notes)
    assert vecsql.sync(notes) == 1
    assert nearest(notes, 3) == [1, 3]
    assert agrees(notes)


def test_row_that_changes_while_the_model_runs_is_not_given_the_old_vector(driver, tmp_path):
    path = tmp_path / "a.db"
    db, other = vecsql.connect(path, driver=driver), sqlite3.connect(path)
    model = Lengths()
    vecsql.create_table(
        db, "notes", {"body": str}, text="body", mode="sync", embedder=model, metric="l2"
    )
    vecsql.insert(db, "notes", [{"body": "a"}, {"body": "bb"}])
    encode = model.encode

    def meanwhile(texts):
        with other:
            other.execute("UPDATE notes SET body = 'changed' WHERE id = 1")
            other.execute("DELETE FROM notes WHERE id = 2")
            other.execute("INSERT INTO notes(id, body) VALUES(3, 'ccc')")
        model.encode = encode
        return encode(texts)

    model.encode = meanwhile
    if driver == "sqlite3":
        assert vecsql.sync(db) == 2
        assert queue(db) == [(1, 1)]
        vecsql.sync(db)
        assert agrees(db)


def test_sync_in_trigger_mode_fills_what_has_no_vector(db, model):
    vecsql.create_table(db, "notes", {"body": str}, text="body", embedder=model, metric="l2")
    vecsql.insert(db, "notes", [{"body": "a"}, {"body": "bb"}, {"body": None}])
    db.execute("UPDATE notes SET embedding = NULL WHERE id = 1")
    commit(db)
    assert nearest(db, 1) == [2]
    assert vecsql.sync(db, "notes", batch=1) == 1
    assert nearest(db, 1) == [1, 2]


class Picky(Lengths):
    """Refuses some texts, as servers do."""

    def encode(self, texts):
        if any("bad" in t for t in texts):
            raise RuntimeError("too long")
        return super().encode(texts)


@pytest.mark.parametrize("mode", ["sync", "trigger"])
def test_a_text_that_the_model_refuses_is_named_and_stops_no_other(db, mode):
    model = Picky()
    vecsql.create_table(db, "t", {"body": str}, text="body", mode="sync", embedder=model)
    bodies = [f"text {i}" if i % 7 else f"bad {i}" for i in range(1, 41)]
    vecsql.insert(db, "t", [{"body": b} for b in bodies])
    if mode == "trigger":
        db.execute("UPDATE vecsql_indexes SET mode = 'trigger'")
        vecsql.rebuild(db, "t")  # with the triggers of that mode
        commit(db)
    for _ in range(2):
        with pytest.raises(vecsql.EmbedderError, match=r"row 7: too long; .*and 2 more"):
            vecsql.sync(db, "t", batch=6)
        due = rows(db, "SELECT id FROM t WHERE embedding IS NULL")
        assert due == [(7,), (14,), (21,), (28,), (35,)]
        assert not driver_of(db).in_transaction
    vecsql.update(db, "t", [{"id": i, "body": "good"} for (i,) in due])
    assert vecsql.sync(db, "t") == (5 if mode == "sync" else 0)
    assert rows(db, "SELECT id FROM t WHERE embedding IS NULL") == []


def test_a_move_to_a_model_that_refuses_a_text_names_it_and_goes_on_later(db):
    vecsql.create_table(db, "t", {"body": str}, text="body", embedder=Lengths())
    vecsql.insert(db, "t", [{"body": f"text {i}"} for i in range(20)] + [{"body": "bad"}])
    new = Picky("new", 3)
    with pytest.raises(vecsql.EmbedderError, match="row 21: too long"):
        vecsql.reembed(db, "t", new)
    assert vecsql.indexes(db)[0].model_id == "lengths"
    vecsql.update(db, "t", {"id": 21, "body": "good"})
    del new.seen[:]
    assert vecsql.reembed(db, "t", new).model_id == "new"
    assert [t for t in new.seen if "checks" not in t] == ["good"]


def test_several_indexes_have_queues_of_their_own(db):
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b TEXT)")
    for column in "ab":
        vecsql.create_index(
            db, "t", column + "_vec", text=column, mode="sync", embedder=Lengths(column)
        )
    vecsql.insert(db, "t", {"a": "x", "b": "yy"})
    assert vecsql.sync(db, "t", "a_vec") == 1
    assert rows(db, "SELECT idx FROM vecsql_queue") == [("t_b_vec",)]
    assert vecsql.sync(db) == 1
    with pytest.raises(vecsql.SchemaError, match=r"t\.c has no index"):
        vecsql.sync(db, "t", "c")


def test_progress_and_batches(notes):
    vecsql.insert(notes, "notes", [{"body": "x" * i} for i in range(1, 11)])
    done = []
    assert vecsql.sync(notes, batch=4, progress=done.append) == 10
    assert done == [4, 4, 2]


CHILD = """
    import sys
    import numpy as np, vecsql
    class Lengths:
        model_id, dim = "lengths", 2
        def encode(self, texts):
            return np.array([[len(t), 1] for t in texts], np.float32).reshape(-1, 2)
    db = vecsql.connect(sys.argv[1], driver="apsw")
    db.set_busy_timeout(30_000)
    vecsql.register_embedder(db, Lengths())
    vecsql.sync(db, batch=7)
"""


@pytest.mark.parametrize(
    ("journal", "kills"),
    [
        ("wal", 2),
        pytest.param("wal", 13, marks=pytest.mark.slow),
        pytest.param("delete", 13, marks=pytest.mark.slow),
    ],
)
def test_killed_at_any_moment_it_goes_on_and_every_row_is_embedded_once(tmp_path, journal, kills):
    path, copy = tmp_path / "a.db", tmp_path / "copy.db"
    db = vecsql.connect(path)
    db.execute(f"PRAGMA journal_mode={journal}").close()
    vecsql.create_table(
        db, "notes", {"body": str}, text="body", mode="sync", embedder=Lengths(), metric="l2"
    )
    vecsql.insert(db, "notes", [{"body": "x" * (1 + i * 7 % 50)} for i in range(300)])
    db.close()
    shutil.copy(path, copy)
    died = 0
    for moment in killed.moments(killed.run(CHILD, copy), kills):
        died += killed.run(CHILD, path, moment=moment) is None
        for end in ("", "-wal", "-journal"):  # the file as the crash left it, with its journal
            (tmp_path / f"copy.db{end}").unlink(missing_ok=True)
            if (tmp_path / f"a.db{end}").exists():
                shutil.copy(tmp_path / f"a.db{end}", f"{copy}{end}")
        check = vecsql.connect(copy, driver="apsw")
        assert check.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        check.close()
    assert died > kills // 3
    db = vecsql.connect(path)
    vecsql.register_embedder(db, Lengths())
    vecsql.sync(db)
    assert agrees(db)
    assert driver_of(db).value("SELECT count(*) FROM notes") == 300
