"""vecsql demo: Python's own documentation in one SQLite file, searched by meaning in SQL.

The file holds two ordinary tables and one vector table:

    modules(name, package, summary, n_objects)
    pydoc(id, module, kind, name, signature, doc, hash)
    pydoc_vec(id, embedding FLOAT[256], module, kind)

A second run compares hashes and touches only the rows whose text changed.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from vecsql._base.render import fetch, print_table, progress
from vecsql._cli import pydoc_corpus as corpus
from vecsql._connection.load import connect
from vecsql._model.embed import bundled_embedder
from vecsql._tables.registry import register_embedder

if TYPE_CHECKING:
    import apsw

T = TypeVar("T")

BATCH = 500

SCHEMA = (
    """
CREATE TABLE IF NOT EXISTS modules(
  name TEXT PRIMARY KEY, package TEXT, summary TEXT, n_objects INTEGER)""",
    """
CREATE TABLE IF NOT EXISTS pydoc(
  id INTEGER PRIMARY KEY, module TEXT REFERENCES modules(name), kind TEXT, name TEXT,
  signature TEXT, doc TEXT, hash TEXT)""",
    "CREATE UNIQUE INDEX IF NOT EXISTS pydoc_key ON pydoc(name, kind)",
    """
CREATE VIRTUAL TABLE IF NOT EXISTS pydoc_vec USING vecsql(
  id INTEGER PRIMARY KEY,
  embedding FLOAT[256] distance_metric=cosine,
  module TEXT,
  kind TEXT indexed)""",
)

# (what it shows, SQL, the text that is asked for)
QUERIES = (
    (
        "The nearest five",
        """SELECT p.name, round(v.distance, 3) AS distance, p.doc
  FROM pydoc_vec v JOIN pydoc p ON p.id = v.id
 WHERE v.embedding MATCH embed(?) AND k = 5
 ORDER BY v.distance""",
        "split a string by a regular expression",
    ),
    (
        "The nearest five classes: a filter on the vector table's own column",
        """SELECT p.name, round(v.distance, 3) AS distance, p.doc
  FROM pydoc_vec v JOIN pydoc p ON p.id = v.id
 WHERE v.embedding MATCH embed(?) AND v.kind = 'class' AND k = 5
 ORDER BY v.distance""",
        "a queue that gives the smallest item first",
    ),
    (
        "A filter on another table: a join, read until five rows pass",
        """SELECT p.name, p.kind, round(v.distance, 3) AS distance, m.summary AS module
  FROM pydoc_vec v
  JOIN pydoc p ON p.id = v.id
  JOIN modules m ON m.name = p.module
 WHERE v.embedding MATCH embed(?) AND m.package = 'concurrent'
 ORDER BY v.distance
 LIMIT 5""",
        "run a function in a pool of worker processes",
    ),
)


class Changes(NamedTuple):
    """How many rows a run changed."""

    added: int
    updated: int
    deleted: int
    unchanged: int


def run(path: str, limit: int | None = None) -> None:
    """Builds or brings up to date the demo's file, then answers a few queries."""
    db = connect(path, driver="apsw")
    try:
        changes = build(db, limit)
        (total,) = next(db.execute("SELECT count(*) FROM pydoc"))
        if changes.added + changes.updated + changes.deleted == 0:
            print(f"{path} is up to date: nothing added, {total:,} texts unchanged.")
        else:
            print(
                f"{path}: {changes.added:,} added, {changes.updated:,} updated, "
                f"{changes.deleted:,} deleted, {changes.unchanged:,} unchanged."
            )
        register_embedder(db)
        for title, sql, text in QUERIES:
            print(f"\n{title}: {text!r}\n")
            print("\n".join("    " + line for line in sql.splitlines()) + "\n")
            headers, rows = fetch(db, sql, (text,))
            print_table(headers, [[_shorten(v) for v in row] for row in rows])
    finally:
        db.close()
    print(_farewell(path))


def build(db: apsw.Connection, limit: int | None = None) -> Changes:
    """Makes the tables agree with the documentation of this Python; one transaction a batch.

    With a limit, adds or updates the first texts only and deletes nothing.
    """
    db.execute("PRAGMA journal_mode=WAL").fetchall()
    with db:
        for statement in SCHEMA:
            db.execute(statement)
    print("Reading the documentation of Python " + sys.version.split()[0], file=sys.stderr)
    objects = list(islice(corpus.walk(), limit))
    summaries = {o.module: corpus.summary(o.doc) for o in objects if o.kind == "module"}
    texts = {
        (o.name, o.kind): corpus.embedded_text(o, summaries.get(o.module, "")) for o in objects
    }
    stored = {
        (name, kind): (rowid, digest)
        for rowid, name, kind, digest in db.execute("SELECT id, name, kind, hash FROM pydoc")
    }

    new, changed = [], []
    for o in objects:
        known = stored.pop((o.name, o.kind), None)
        digest = _digest(o, texts[o.name, o.kind])
        if known is None:
            new.append((o, digest))
        elif known[1] != digest:
            changed.append((known[0], o, digest))
    # With a limit, what is left over was not looked at, so it is not gone.
    gone = [rowid for rowid, _ in stored.values()] if limit is None else []

    with progress("Embedding and indexing", len(new) + len(changed) + len(gone)) as advance:
        for batch in _batches(new, BATCH):
            vectors = _vectors(texts[o.name, o.kind] for o, _ in batch)
            with db:
                for (o, digest), vector in zip(batch, vectors, strict=True):
                    db.execute(
                        "INSERT INTO pydoc(module, kind, name, signature, doc, hash) "
                        "VALUES (?, ?, ?, ?, ?, ?)",
                        (o.module, o.kind, o.name, o.signature, o.doc, digest),
                    )
                    db.execute(
                        "INSERT INTO pydoc_vec(id, embedding, module, kind) VALUES (?, ?, ?, ?)",
                        (db.last_insert_rowid(), vector, o.module, o.kind),
                    )
            advance(len(batch))
        for batch2 in _batches(changed, BATCH):
            vectors = _vectors(texts[o.name, o.kind] for _, o, _ in batch2)
            with db:
                for (rowid, o, digest), vector in zip(batch2, vectors, strict=True):
                    db.execute(
                        "UPDATE pydoc SET module = ?, signature = ?, doc = ?, hash = ? "
                        "WHERE id = ?",
                        (o.module, o.signature, o.doc, digest, rowid),
                    )
                    db.execute(
                        "UPDATE pydoc_vec SET embedding = ?, module = ? WHERE id = ?",
                        (vector, o.module, rowid),
                    )
            advance(len(batch2))
        for batch3 in _batches(gone, BATCH):
            with db:
                db.executemany("DELETE FROM pydoc_vec WHERE id = ?", [(i,) for i in batch3])
                db.executemany("DELETE FROM pydoc WHERE id = ?", [(i,) for i in batch3])
            advance(len(batch3))
    _store_modules(db, summaries)
    return Changes(len(new), len(changed), len(gone), len(objects) - len(new) - len(changed))


def _store_modules(db: apsw.Connection, summaries: dict[str, str]) -> None:
    """Brings the table of modules up to date with the rows of pydoc."""
    new = {
        (name, name.partition(".")[0], summaries.get(name), n)
        for name, n in db.execute("SELECT module, count(*) FROM pydoc GROUP BY module")
    }
    old = set(db.execute("SELECT name, package, summary, n_objects FROM modules"))
    known = {row[0]: row[2] for row in old}
    # A module that a limited run did not read keeps its summary.
    new = {(n, p, known.get(n) if s is None else s, c) for n, p, s, c in new}
    with db:
        db.executemany("DELETE FROM modules WHERE name = ?", [(r[0],) for r in old - new])
        db.executemany("INSERT INTO modules VALUES (?, ?, ?, ?)", sorted(new - old))


def _digest(o: corpus.PyObject, text: str) -> str:
    parts = (bundled_embedder().model_id, *o, text)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _vectors(texts: Iterable[str]) -> list[bytes]:
    return [v.astype("<f4").tobytes() for v in bundled_embedder().encode(list(texts))]


def _batches(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _shorten(value: Any) -> Any:
    return corpus.summary(value)[:80] if isinstance(value, str) else value


def _quoted(path: str) -> str:
    """A path as the sqlite3 shell takes it, whatever it contains."""
    if "'" not in path:
        return f"'{path}'"
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _farewell(path: str) -> str:
    from vecsql._connection.load import loadable_path

    return f"""
It is all in one file, {path}: tables modules, pydoc and pydoc_vec. Go on with

    vecsql search {path} pydoc "wait for several futures" --where "kind = 'function'"
    vecsql info {path}

or in the sqlite3 shell (the row itself is the question here; embed() needs Python):

    $ sqlite3 {path}
    .load {_quoted(loadable_path())}
    SELECT p.name, v.distance FROM pydoc_vec v JOIN pydoc p ON p.id = v.id
     WHERE v.embedding MATCH (SELECT q.embedding FROM pydoc_vec q JOIN pydoc d ON d.id = q.id
                               WHERE d.name = 'shutil.copytree') AND k = 5;"""
