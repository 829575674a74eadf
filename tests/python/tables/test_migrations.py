"""Risk: a migration leaves an index that answers with rows that have changed since.

The migrations are those of the real tools, forward and back, each with and without the extension
in its connection. After each the index says that it was left behind, and is restored, and follows.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

import vecsql

pytestmark = pytest.mark.slow

BODIES = ["night train", "rye bread", "plum cake"]
Restore = Callable[[Path], None]


def by_python(path: Path) -> None:
    with closing(vecsql.connect(path)) as db, db:
        vecsql.rebuild(db, "notes")


def by_command_line(path: Path) -> None:
    def status(*words: str) -> int:
        command = [sys.executable, "-m", "vecsql", *words]
        return subprocess.run(command, cwd=path.parent, capture_output=True).returncode

    assert status("check", path.name) == 3
    assert status("optimize", path.name, "--rebuild") == 0
    assert status("check", path.name) == 0


@pytest.fixture(params=[by_python, by_command_line])
def restore(request: pytest.FixtureRequest) -> Restore:
    return request.param


@pytest.fixture(params=["extension", "plain"])
def opened(request: pytest.FixtureRequest, path: Path) -> Callable[[], sqlite3.Connection]:
    """How the tool opens the file: with the extension, or as any program does."""
    opener = vecsql.connect if request.param == "extension" else sqlite3.connect
    return lambda: opener(path)


@pytest.fixture(params=["trigger", "sync"])
def notes(request: pytest.FixtureRequest, path: Path) -> Path:
    with closing(vecsql.connect(path)) as db, db:
        columns = {"body": str, "author": "TEXT DEFAULT 'ann'", "url": "TEXT UNIQUE"}
        vecsql.create_table(db, "notes", columns, text="body", fts=True, mode=request.param)
        vecsql.insert(db, "notes", [{"body": b, "url": b[:1]} for b in BODIES])
        vecsql.sync(db)
    return path


def best(db: Any, text: str, mode: str) -> str:
    return vecsql.search(db, "notes", text, k=1, mode=mode)[0]["body"]


def left_behind_then_restored(path: Path, restore: Restore, rows: int = 3) -> None:
    """The index refuses to answer, in Python and in SQL; restored, it follows every write."""
    with closing(vecsql.connect(path)) as db:
        vecsql.register_embedder(db)
        for use in (
            lambda: vecsql.search(db, "notes", "train"),
            lambda: vecsql.insert(db, "notes", {"body": "unseen"}),
            lambda: vecsql.sync(db, "notes"),
        ):
            with pytest.raises(vecsql.SchemaError, match=r"notes.*rebuild"):
                use()
        match = "SELECT rowid FROM notes_embedding WHERE embedding MATCH embed('train') AND k = 1"
        with pytest.raises(sqlite3.Error, match=r"missed changes of notes|not exist any more"):
            db.execute(match).fetchall()
    restore(path)
    with closing(vecsql.connect(path)) as db, db:
        vecsql.sync(db)
        assert best(db, "train", "vector") == best(db, "train", "text") == "night train"
        new = vecsql.insert(db, "notes", {"body": "submarine voyage", "url": "s"})
        vecsql.update(db, "notes", {"id": 2, "body": "sourdough loaf"})
        vecsql.upsert(db, "notes", {"url": "p", "body": "almond tart"}, key="url")
        vecsql.sync(db)
        for text, body in (("submarine", "submarine voyage"), ("sourdough", "sourdough loaf")):
            assert best(db, text, "vector") == best(db, text, "text") == body
        assert best(db, "tart", "text") == "almond tart"
        db.execute("DELETE FROM notes WHERE id = ?", (new,))
        vecsql.sync(db)
        assert best(db, "submarine", "vector") != "submarine voyage"
        assert vecsql.search(db, "notes", "submarine", mode="text") == []
        vecsql.update(db, "notes", [{"id": 2, "body": "rye bread"}, {"id": 3, "body": "plum cake"}])
        vecsql.sync(db)
        assert db.execute("SELECT count(embedding) FROM notes").fetchone() == (rows,)
        assert db.execute("SELECT count(*) FROM vecsql_indexes").fetchone() == (1,)
    with closing(vecsql.connect(path, driver="apsw")) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        fts = "notes_embedding_fts"
        db.execute(f"INSERT INTO {fts}({fts}, rank) VALUES('integrity-check', 1)")


# --- SQLite's own twelve steps --------------------------------------------------------------------

TWELVE = """
PRAGMA foreign_keys = OFF;
BEGIN;
CREATE TABLE new_notes(id INTEGER PRIMARY KEY, {author}, body TEXT NOT NULL, url TEXT UNIQUE,
                       embedding BLOB);
INSERT INTO new_notes SELECT id, author, body, url, embedding FROM notes;
DROP TABLE notes;
ALTER TABLE new_notes RENAME TO notes;
COMMIT;
PRAGMA foreign_keys = ON;
"""


def test_the_twelve_steps_of_sqlite(notes, opened, restore):
    for author in ("author TEXT CHECK (length(author) < 50)", "author"):
        with closing(opened()) as db:
            db.executescript(TWELVE.format(author=author))
        left_behind_then_restored(notes, restore)


def test_the_steps_that_rename_the_old_table_first(notes, restore):
    """What SQLite's documentation warns of: the triggers go along with the old table."""
    with closing(vecsql.connect(notes)) as db:
        db.executescript(
            "BEGIN; ALTER TABLE notes RENAME TO old_notes;"
            "CREATE TABLE notes(id INTEGER PRIMARY KEY, body TEXT, author, url UNIQUE, embedding);"
            "INSERT INTO notes SELECT id, body, author, url, embedding FROM old_notes;"
            "DROP TABLE old_notes; COMMIT"
        )
    left_behind_then_restored(notes, restore)


# --- Django ---------------------------------------------------------------------------------------


@contextmanager
def django_editor(path: Path) -> Iterator[Any]:
    import django
    from django.conf import settings
    from django.db.utils import ConnectionHandler

    if not settings.configured:
        memory = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        settings.configure(INSTALLED_APPS=[], USE_TZ=True, DATABASES={"default": memory})
        django.setup()
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}
    connection = ConnectionHandler({"default": database})["default"]
    try:
        with connection.schema_editor() as editor:
            yield editor
    finally:
        connection.close()


def django_state(vector: bool) -> Any:
    from django.db import models
    from django.db.migrations.state import ModelState, ProjectState

    fields = [
        ("id", models.AutoField(primary_key=True)),
        ("body", models.TextField()),
        ("author", models.TextField(null=True)),
        ("url", models.TextField(unique=True, null=True)),
    ]
    fields += [("embedding", models.BinaryField(null=True))] if vector else []
    state = ProjectState()
    state.add_model(ModelState("app", "Note", fields, options={"db_table": "notes"}))
    return state


@pytest.mark.parametrize("vector", [True, False])
def test_alter_field_of_django(notes, restore, vector):
    """A model that does not know the vector column drops it; the text makes it again."""
    from django.db import migrations, models

    state = django_state(vector)
    operation = migrations.AlterField("note", "author", models.CharField(max_length=50, null=True))
    changed = state.clone()
    operation.state_forwards("app", changed)
    steps = (
        (operation.database_forwards, state, changed),
        (operation.database_backwards, changed, state),
    )
    for step, before, after in steps:
        with django_editor(notes) as editor:
            step("app", editor, before, after)
        left_behind_then_restored(notes, restore)


# --- Alembic --------------------------------------------------------------------------------------


def test_batch_mode_of_alembic(notes, opened, restore):
    import sqlalchemy as sa
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    def forward(batch: Any) -> None:
        batch.alter_column("author", type_=sa.String(50), nullable=True)
        batch.add_column(sa.Column("year", sa.Integer))

    def back(batch: Any) -> None:
        batch.alter_column("author", type_=sa.Text, nullable=True)
        batch.drop_column("year")

    engine = sa.create_engine("sqlite://", creator=opened, poolclass=sa.pool.NullPool)
    for change in (forward, back):
        with engine.begin() as connection:
            operations = Operations(MigrationContext.configure(connection))
            vectors = sa.Column("embedding", sa.LargeBinary)  # SQLAlchemy knows no VECTOR BLOB
            unique = sa.UniqueConstraint("url")  # and Alembic forgets what has no name
            with operations.batch_alter_table(
                "notes", recreate="always", reflect_args=[vectors], table_args=[unique]
            ) as batch:
                change(batch)
        left_behind_then_restored(notes, restore)
    engine.dispose()


# --- sqlite-utils ---------------------------------------------------------------------------------


def test_transform_of_sqlite_utils(notes, opened, restore):
    import sqlite_utils

    for types in ({"author": int}, {"author": str}):
        with closing(opened()) as conn:
            sqlite_utils.Database(conn)["notes"].transform(types=types)
            conn.commit()
        left_behind_then_restored(notes, restore)


# --- pandas ---------------------------------------------------------------------------------------


def test_to_sql_replace_of_pandas(notes, opened, restore):
    import pandas as pd

    for extra in ("year", "month"):
        with closing(opened()) as conn:
            frame = pd.read_sql_query("SELECT * FROM notes", conn)
            frame[extra] = 1
            types = {"id": "INTEGER PRIMARY KEY", "url": "TEXT UNIQUE"}
            frame.to_sql("notes", conn, if_exists="replace", index=False, dtype=types)
            conn.commit()
        left_behind_then_restored(notes, restore)


def test_a_table_that_pandas_leaves_without_a_key_is_refused_with_the_reason(notes, opened):
    import pandas as pd

    with closing(opened()) as conn:
        frame = pd.read_sql_query("SELECT * FROM notes", conn)
        frame.to_sql("notes", conn, if_exists="replace", index=False)
        conn.commit()
    with closing(vecsql.connect(notes)) as db:
        with pytest.raises(vecsql.SchemaError, match=r"notes.*rebuild"):
            vecsql.search(db, "notes", "train")
        with pytest.raises(vecsql.SchemaError, match="notes needs an INTEGER PRIMARY KEY"):
            vecsql.rebuild(db, "notes")
        db.execute("INSERT INTO notes(id, body) VALUES (9, 'goes on')")
        vecsql.drop_index(db, "notes")
        assert vecsql.indexes(db) == []
