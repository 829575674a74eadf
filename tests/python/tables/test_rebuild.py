"""Risk: a table or an index that got another name, or lost something, is used as if nothing was.

Migrations with the real tools are in test_migrations.py.
"""

from __future__ import annotations

import pytest

import vecsql

BODIES = ["night train", "rye bread", "plum cake"]


def make(db, mode: str = "trigger", **options) -> None:
    vecsql.create_table(db, "notes", {"body": str}, text="body", fts=True, mode=mode, **options)
    vecsql.insert(db, "notes", [{"body": b} for b in BODIES])
    vecsql.sync(db)


def found(db, text: str, table: str = "notes") -> list[str]:
    arms = [vecsql.search(db, table, text, k=1, mode=mode) for mode in ("vector", "text")]
    return [hits[0]["body"] for hits in arms]


def follows(db, table: str = "notes") -> bool:
    new = vecsql.insert(db, table, {"body": "submarine voyage"})
    vecsql.sync(db)
    good = found(db, "submarine", table) == ["submarine voyage"] * 2
    vecsql.delete(db, table, new)
    vecsql.sync(db)
    return good and vecsql.search(db, table, "submarine", mode="text") == []


@pytest.mark.parametrize("mode", ["trigger", "sync"])
def test_a_renamed_table_is_named_and_taken_over(db, mode):
    make(db, mode)
    db.execute("ALTER TABLE notes RENAME TO papers")
    with pytest.raises(vecsql.SchemaError, match=r"notes is called papers now: vecsql\.rebuild"):
        vecsql.search(db, "notes", "train")
    with pytest.raises(vecsql.SchemaError, match=r"if papers is its name now, vecsql\.rebuild"):
        vecsql.search(db, "papers", "train")
    with pytest.raises(vecsql.SchemaError, match="called papers now"):
        vecsql.sync(db)
    info = vecsql.rebuild(db, "papers")
    assert (info.label, info.index) == ("papers.embedding", "notes_embedding")
    assert found(db, "train", "papers") == ["night train"] * 2
    assert follows(db, "papers")
    db.execute("ALTER TABLE papers RENAME TO notes")
    assert vecsql.rebuild(db, "papers").label == "notes.embedding"
    assert follows(db)
    assert [i.table for i in vecsql.indexes(db)] == ["notes"]


@pytest.mark.parametrize("mode", ["trigger", "sync"])
@pytest.mark.parametrize("table", ["notes", "papers"])
def test_a_renamed_index_is_named_and_taken_over(db, mode, table):
    make(db, mode)
    db.execute("ALTER TABLE notes_embedding RENAME TO by_meaning")
    if table != "notes":
        db.execute(f"ALTER TABLE notes RENAME TO {table}")
    with pytest.raises(vecsql.SchemaError, match=r"called (by_meaning|papers) now"):
        vecsql.search(db, "notes", "train")
    info = vecsql.rebuild(db, "notes")
    assert (info.table, info.index) == (table, "by_meaning")
    assert follows(db, table)
    assert [i.index for i in vecsql.indexes(db)] == ["by_meaning"]


def test_an_index_that_plain_sql_dropped_is_made_again(db):
    make(db)
    db.execute("DROP TABLE notes_embedding")
    with pytest.raises(vecsql.SchemaError, match=r"notes_embedding of notes\.embedding is gone"):
        vecsql.search(db, "notes", "train")
    vecsql.rebuild(db, "notes")
    assert follows(db)


def test_a_table_that_is_gone_says_how_to_remove_its_index(db):
    make(db)
    db.execute("DROP TABLE notes")
    for use in (vecsql.search, vecsql.rebuild):
        with pytest.raises(vecsql.SchemaError, match=r"a table that is gone: vecsql\.drop_index"):
            use(db, "notes", *(["train"] if use is vecsql.search else []))
    vecsql.drop_index(db, "notes", "embedding")
    assert vecsql.indexes(db) == []


def test_a_text_column_that_is_gone_is_refused_with_the_way_out(db):
    make(db)
    db.execute("ALTER TABLE notes RENAME COLUMN body TO text")
    for use in (lambda: vecsql.search(db, "notes", "x"), lambda: vecsql.rebuild(db, "notes")):
        with pytest.raises(vecsql.SchemaError, match=r"notes has lost body.*create_index"):
            use()


@pytest.mark.parametrize("event", ["embed_insert", "embed_update", "vecsql_delete", "fts_update"])
def test_any_trigger_that_is_missing_is_named(db, event):
    make(db)
    db.execute(f"DROP TRIGGER notes_embedding_{event}")
    with pytest.raises(vecsql.SchemaError, match=rf"lost triggers \(notes_embedding_{event}\)"):
        vecsql.insert(db, "notes", {"body": "x"})
    vecsql.rebuild(db, "notes")
    assert follows(db)


def test_a_second_space_is_restored_too(db):
    make(db)
    vecsql.reembed(db, "notes", lambda texts: [[len(t), 1.0] for t in texts])
    db.execute("CREATE TABLE n AS SELECT * FROM notes")
    names = "(id INTEGER PRIMARY KEY, body TEXT, embedding BLOB, embedding_2 BLOB)"
    db.execute("DROP TABLE notes")
    db.execute(f"CREATE TABLE notes{names}")
    db.execute("INSERT INTO notes SELECT * FROM n")
    with pytest.raises(vecsql.SchemaError, match="lost triggers"):
        vecsql.sync(db)
    vecsql.rebuild(db, "notes")
    vecsql.insert(db, "notes", {"body": "a new row"})
    vecsql.reembed(db, "notes", vecsql.StaticEmbedder())
    assert found(db, "train") == ["night train"] * 2
    assert follows(db)


def test_an_index_of_plain_sql_is_rebuilt_by_the_same_call(db):
    db.execute("CREATE TABLE docs(id INTEGER PRIMARY KEY, e BLOB)")
    db.execute("INSERT INTO docs VALUES (1, '[1, 0]'), (2, '[0, 1]')")
    db.execute("CREATE VIRTUAL TABLE i USING vecsql(content=docs, e float[2])")
    db.execute("ALTER TABLE docs RENAME TO papers")
    assert vecsql.indexes(db)[0].table == "papers"
    db.execute("DROP TRIGGER i_vecsql_delete")
    with pytest.raises(vecsql.SchemaError, match="papers lost triggers"):
        vecsql.search(db, "papers", [1, 0])
    vecsql.rebuild(db, "papers")
    vecsql.delete(db, "papers", 1)
    assert [h.id for h in vecsql.search(db, "papers", [1, 0])] == [2]


def test_strict_tables_get_a_column_of_a_type_that_they_know(db):
    db.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT) STRICT")
    vecsql.create_index(db, "t", text="body", fts=True)
    vecsql.insert(db, "t", {"body": "night train"})
    vecsql.reembed(db, "t", lambda texts: [[len(t), 1.0] for t in texts])
    assert found(db, "train", "t") == ["night train"] * 2


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("CREATE TABLE t(id INTEGER PRIMARY KEY DESC, body TEXT)", "t.id is no rowid"),
        ("CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT) WITHOUT ROWID", "t.id is no rowid"),
        (
            "CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT, embedding AS (vec_f32(body)))",
            "t.embedding is a generated column",
        ),
    ],
)
def test_a_table_that_cannot_have_the_index_is_refused_with_the_reason(db, table, why):
    db.execute(table)
    with pytest.raises(vecsql.SchemaError, match=why):
        vecsql.create_index(db, "t", text="body")


def test_vectors_that_a_generated_column_computes_are_found(db):
    db.execute(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, x REAL, y REAL, "
        "e BLOB AS (vec_f32('[' || x || ',' || y || ']')) STORED)"
    )
    vecsql.create_index(db, "t", "e", dim=2, metric="l2")
    vecsql.insert(db, "t", [{"x": 1, "y": 0}, {"x": 0, "y": 1}])
    vecsql.update(db, "t", {"id": 1, "x": 9})
    assert [h.id for h in vecsql.search(db, "t", [9, 0])] == [1, 2]


def test_triggers_of_an_older_version_go_on_and_are_replaced_by_a_rebuild(tmp_path):
    from vecsql._connection.driver import driver_of
    from vecsql._tables.followed import made_by_an_older_version

    db = vecsql.connect(tmp_path / "a.db", driver="apsw")
    make(db)
    (info,) = vecsql.indexes(db)
    db.execute("INSERT INTO notes_embedding(notes_embedding) VALUES('detach')")
    db.execute("DELETE FROM notes_embedding_config WHERE key = 'detached'")
    for event, of, rows in (
        ("insert", "", "VALUES(new.id)"),
        ("delete", "", "VALUES(old.id)"),
        ("update", " OF id, embedding", "VALUES(old.id), (new.id)"),
    ):
        body = f"INSERT INTO notes_embedding(vecsql_sync) {rows};"
        name = f"notes_embedding_vecsql_{event}"
        db.execute(f"CREATE TRIGGER {name} AFTER {event}{of} ON notes BEGIN {body} END")
    db.close()
    db = vecsql.connect(tmp_path / "a.db", driver="apsw")
    assert follows(db)
    assert made_by_an_older_version(driver_of(db), info)
    vecsql.rebuild(db, "notes")
    assert not made_by_an_older_version(driver_of(db), info)
    db.execute("UPDATE notes SET rowid = 40 WHERE id = 1")
    assert vecsql.search(db, "notes", "train", k=1)[0].id == 40
