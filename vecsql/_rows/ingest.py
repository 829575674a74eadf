"""Keeping chunks in step with their sources: files, folders or records.

    T           id, source, collection, seq, line, start, stop, meta, body, embedding
                one row a chunk
    T_sources   collection, source, hash, chunks
                one row a document

A document is known by its collection and its source. It and its chunks change in one transaction,
before which its new chunks are embedded, so that no model holds the write lock. Its hash covers the
text, the metadata and how it is cut, so what did not change costs a hash and a count of its rows,
and an ingest that was killed goes on where it stopped. Of a document that changed, chunks whose
text is the same keep their row and their vector.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from vecsql._base.convert import whole
from vecsql._base.errors import FormatError, SchemaError
from vecsql._base.progress import reporter
from vecsql._base.types import Connection, Path, Record
from vecsql._connection.driver import Db, driver_of, quote
from vecsql._files.sources import SUFFIXES, Document, Folder, Foreign, Skipped, documents_of
from vecsql._model.embed import AnyEmbedder, as_embedder
from vecsql._rows.bulk import insert_rows
from vecsql._rows.rows import add_vectors
from vecsql._tables.catalog import columns, has_table, no_table
from vecsql._tables.registry import default_embedder, enroll
from vecsql._tables.schema import create_table
from vecsql._text.chunk import Chunk, chunk, default_overlap

_BATCH = 32  # documents in a transaction

_COLUMNS = {
    "source": "TEXT NOT NULL",
    "collection": "TEXT NOT NULL DEFAULT ''",
    "seq": "INTEGER NOT NULL",
    "line": "INTEGER NOT NULL",
    "start": "INTEGER NOT NULL",
    "stop": "INTEGER NOT NULL",
    "meta": "TEXT",
    "body": "TEXT NOT NULL",
}


@dataclass(frozen=True)
class Ingested:
    """What an ingest did, in documents; ``chunks`` and ``kept`` count rows of changed ones.

    ``skipped`` lists what was left out: whole documents, and chunks that the model refused, which
    the next ingest tries again.
    """

    added: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    chunks: int = 0  # embedded
    kept: int = 0  # kept with their vectors
    skipped: tuple[Skipped, ...] = ()


def ingest(
    conn: Connection,
    table: str,
    sources: Path | Iterable[Path | Record],
    *,
    collection: str | None = None,
    prune: bool | None = None,
    max_tokens: int = 200,
    overlap: int | None = None,
    by: Literal["sentences", "tokens"] = "sentences",
    suffixes: str | Sequence[str] = SUFFIXES,
    exclude: str | Sequence[str] | None = None,
    embedder: AnyEmbedder | None = None,
    fts: bool = True,
    encoding: str = "utf-8",
    on_error: Literal["raise", "skip"] = "raise",
    progress: bool | Callable[[int], None] = False,
) -> Ingested:
    """Cuts documents into chunks in a table with an index, and keeps the table in step with them.

    ``sources`` is a folder (its files with one of ``suffixes``), a file, or an iterable of files or
    of records ``{"source": name, "text": ..., anything else as metadata}``. The table is made at
    the first call, with full text; metadata is JSON in its column ``meta``:
    ``where={"author": "ann"}``. Front matter of a file is metadata too. Of HTML the text is taken
    (pip install 'vecsql[html]').

    Of a folder are left out: names that fit a pattern of ``exclude``, by default hidden files and
    folders, node_modules, __pycache__, virtual environments and caches; links that lead out of the
    folder; files that are no text. What is left out for its content is listed in the result.

    Calling it again costs what changed: documents are compared by a hash, and chunks whose text
    stayed keep their vectors. ``prune`` deletes the documents of the same ``collection`` that are
    not among ``sources`` any more; it is on for a folder, which is a collection of its own, named
    by its path unless you name it. Files of other suffixes are not touched. Documents are named by
    their path as given (relative to the folder).

    A document that cannot be read, and a text that the model refuses, is an error that names source
    and place; ``on_error="skip"`` goes on without it and lists it in the result.

    Returns what it did. Raises `FormatError` for a file that is no text, `EmbedderError`.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> docs = [{"source": "trains.txt", "text": "The night train leaves at ten. It has beds."}]
    >>> ingest(db, "docs", docs).added, ingest(db, "docs", docs).unchanged
    (1, 1)
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error is 'raise' or 'skip', got {on_error!r}")
    max_tokens = whole(max_tokens, "max_tokens is a number of tokens")
    if overlap is None:
        overlap = default_overlap(max_tokens)
    overlap = whole(overlap, "overlap is a number of tokens", 0)
    chunk("", max_tokens, overlap, by)  # refuses what does not fit, before anything is made
    source = documents_of(sources, suffixes, exclude, encoding, skip=on_error == "skip")
    folder = source if isinstance(source, Folder) else None
    if collection is None:
        collection = folder.name if folder is not None else ""
    db = driver_of(conn)
    _create(db, table, embedder, fts)
    run = _Run(db, table, collection, f"{max_tokens}/{overlap}/{by}", on_error == "skip")
    seen: set[str] = set()
    batch: list[Document] = []
    with reporter(progress, f"Ingesting into {table}", None) as advance:
        for item in chain(source, [None]):
            if isinstance(item, Skipped):
                run.skipped.append(Skipped(*item))
                if not isinstance(item, Foreign):  # what is known of it stays
                    seen.add(item.source)
            elif item is not None and item.source in seen:
                run.refuse(FormatError(f"two documents are called {item.source!r}"), item)
            elif item is not None:
                seen.add(item.source)
                batch.append(item)
            if batch and (item is None or len(batch) == _BATCH):
                run.write(batch, lambda text: chunk(text, max_tokens, overlap, by))
                advance(len(batch))
                batch = []
    if prune or (prune is None and folder is not None):
        run.prune(seen, folder.covers if folder is not None else lambda source: True)
    return Ingested(**run.counts, skipped=tuple(run.skipped))


def forget(conn: Connection, table: str, *sources: str, collection: str | None = None) -> int:
    """Deletes documents with their chunks; returns how many there were.

    Of one ``collection``, or of all.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.ingest(db, "docs", [{"source": "a", "text": "one"}])
    >>> forget(db, "docs", "a", "b")
    1
    """
    db = driver_of(conn)
    _check(db, table)
    deleted = 0
    with db.transaction():
        _adopt(db, table)
        for source in sources:
            sql = f"SELECT collection FROM main.{quote(f'{table}_sources')} WHERE source = ?"
            for (name,) in db.rows(sql, (source,)):
                if collection in (None, name):
                    deleted += _Run(db, table, name, "", False).delete(source)
    return deleted


# --- the tables ----------------------------------------------------------------------------------


def _create(db: Db, table: str, embedder: Any, fts: bool) -> None:
    """Makes the tables, or brings those of an earlier version up to date."""
    if embedder is not None:
        embedder = as_embedder(embedder)
        enroll(db, embedder)
    if has_table(db, table):
        _check(db, table)
        if _is_of_an_earlier_version(db, table):
            with db.transaction():
                _adopt(db, table)
        return
    enroll(db, embedder or default_embedder(db))  # asks the model, so before the transaction
    with db.transaction():
        if has_table(db, table):
            return  # another connection or thread has made it meanwhile
        create_table(db, table, _COLUMNS, text="body", embedder=embedder, fts=fts)
        _create_books(db, table)


def _check(db: Db, table: str) -> None:
    if not has_table(db, table):
        raise SchemaError(no_table(db, table))
    if not has_table(db, f"{table}_sources"):
        raise SchemaError(
            f"{table} exists and was not made by ingest: choose another name, or write its "
            "rows with vecsql.insert"
        )


def _create_books(db: Db, table: str) -> None:
    db.run(
        f"CREATE INDEX main.{quote(f'{table}_by_source')} "
        f"ON {quote(table)}(collection, source, seq)"
    )
    db.run(
        f"CREATE TABLE main.{quote(f'{table}_sources')}(collection TEXT NOT NULL, "
        "source TEXT NOT NULL, hash TEXT NOT NULL, chunks INTEGER, "
        "PRIMARY KEY(collection, source)) WITHOUT ROWID"
    )


def _is_of_an_earlier_version(db: Db, table: str) -> bool:
    return "chunks" not in columns(db, f"{table}_sources")


def _adopt(db: Db, table: str) -> None:
    """Tables in which the source alone was the key of a document get the collection beside it."""
    if not _is_of_an_earlier_version(db, table):
        return
    name, books = f"main.{quote(table)}", f"main.{quote(f'{table}_sources')}"
    documents = db.rows(f"SELECT collection, source, hash FROM {books}")
    if "collection" not in columns(db, table):
        declared = _COLUMNS["collection"]
        db.run(f"ALTER TABLE {name} ADD COLUMN collection {declared}")
    db.run(f"DROP INDEX IF EXISTS main.{quote(f'{table}_by_source')}")
    db.run(f"DROP TABLE {books}")
    _create_books(db, table)
    db.run_many(f"INSERT INTO {books}(collection, source, hash) VALUES(?, ?, ?)", documents)
    db.run(
        f"UPDATE {name} SET collection = coalesce("
        f"(SELECT b.collection FROM {books} b WHERE b.source = {quote(table)}.source), '')"
    )
    # What is there counts as complete; a document without any row is cut anew.
    db.run(
        f"UPDATE {books} AS b SET chunks = nullif((SELECT count(*) FROM {name} t "
        "WHERE t.collection = b.collection AND t.source = b.source), 0)"
    )


# --- documents to rows ---------------------------------------------------------------------------

_PLACE = ("seq", "line", "start", "stop", "meta")


@dataclass
class _Plan:
    """What is to be done for a document that changed."""

    document: Document
    known: str | None  # its hash in the table
    digest: str
    old: list[tuple[Any, ...]]  # id, body, and the place of each of its chunks
    new: list[dict[str, Any]]
    moved: list[tuple[Any, ...]]  # the place and the id of chunks that stay
    kept: int
    gone: list[tuple[Any, ...]]
    total: int


class _Run:
    """One call of ingest: writes documents and counts what it did."""

    def __init__(self, db: Db, table: str, collection: str, settings: str, skip: bool):
        self._db = db
        self._name = table
        self._table = f"main.{quote(table)}"
        self._books = f"main.{quote(f'{table}_sources')}"
        self._collection = collection
        self._settings = settings
        self._skip = skip
        self.skipped: list[Skipped] = []
        self.counts = dict.fromkeys(
            ("added", "updated", "deleted", "unchanged", "chunks", "kept"), 0
        )

    def refuse(self, error: Exception, document: Document) -> None:
        """Raises an error about a document, or notes that it is left out."""
        if not self._skip:
            raise error
        self.skipped.append(Skipped(document.source, None, str(error)))

    def write(self, documents: list[Document], cut: Callable[[str], list[Chunk]]) -> None:
        """Brings documents up to date, in one transaction."""
        pieces = [None] * len(documents)  # cut once, however often it is planned
        while True:
            plans = [self._plan(d, cut, pieces, i) for i, d in enumerate(documents)]
            changed = [p for p in plans if p is not None]
            refused = self._embed(changed)
            if self._written(changed):
                self.skipped += refused
                self.counts["unchanged"] += len(plans) - len(changed)
                return
            # Somebody else changed the same documents while the model worked.

    def _plan(
        self, d: Document, cut: Callable[[str], list[Chunk]], pieces: list[Any], i: int
    ) -> _Plan | None:
        """What to write for a document; None if the table has it as it is."""
        digest = self._hash(d)
        sql = f"SELECT hash, chunks FROM {self._books} WHERE collection = ? AND source = ?"
        row = self._db.rows(sql, (self._collection, d.source))
        known, chunks = row[0] if row else (None, None)
        if known == digest and chunks is not None and chunks == self._count(d.source):
            return None
        if pieces[i] is None:
            pieces[i] = cut(d.text[d.begin :])
        old = self._rows_of(d.source)
        plan = _Plan(d, known, digest, old, [], [], 0, [], len(pieces[i]))
        stored: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
        for key, body, *place in reversed(old):
            stored[body].append((key, place))
        line, at = 1, 0
        for seq, c in enumerate(pieces[i]):
            start, stop = c.start + d.begin, c.end + d.begin
            line, at = line + d.text.count("\n", at, start), start
            place = [seq, line, start, stop, d.meta]
            if stored[c.text]:
                key, before = stored[c.text].pop()
                plan.kept += 1
                if before != place:
                    plan.moved.append((*place, key))
            else:
                row_ = dict(zip(_PLACE, place, strict=True))
                plan.new.append(
                    {"source": d.source, "collection": self._collection, **row_, "body": c.text}
                )
        plan.gone = [(key,) for left in stored.values() for key, _ in left]
        return plan

    def _embed(self, plans: list[_Plan]) -> list[Skipped]:
        """Embeds the new chunks; takes out, and returns, those that the model refuses."""
        refused: list[Skipped] = []
        out: set[int] = set()

        def leave_out(row: dict[str, Any], error: Exception) -> None:
            out.add(id(row))
            refused.append(Skipped(row["source"], row["start"], str(error)))

        add_vectors(
            self._db,
            self._name,
            [row for plan in plans for row in plan.new],
            store=not self._db.in_transaction,
            label=lambda row: (
                f"{row['source']}, line {row['line']}, characters {row['start']} to {row['stop']}"
            ),
            refused=leave_out if self._skip else None,
        )
        for plan in plans:
            plan.new = [row for row in plan.new if id(row) not in out]
        return refused

    def _written(self, plans: list[_Plan]) -> bool:
        """Carries plans out, in one transaction; False if the table is not as they found it."""
        if not plans:
            return True
        done = dict.fromkeys(self.counts, 0)
        with self._db.transaction():
            for plan in plans:
                source = plan.document.source
                if plan.known != self._known(source) or plan.old != self._rows_of(source):
                    return False
            for plan in plans:
                self._carry_out(plan, done)
            insert_rows(self._db, self._name, [row for plan in plans for row in plan.new])
        for name, n in done.items():
            self.counts[name] += n
        return True

    def _carry_out(self, plan: _Plan, done: dict[str, int]) -> None:
        sets = ", ".join(f"{name} = ?" for name in _PLACE)
        self._db.run_many(f"UPDATE {self._table} SET {sets} WHERE id = ?", plan.moved)
        self._db.run_many(f"DELETE FROM {self._table} WHERE id = ?", plan.gone)
        self._db.run(
            f"REPLACE INTO {self._books}(collection, source, hash, chunks) VALUES(?, ?, ?, ?)",
            (self._collection, plan.document.source, plan.digest, plan.total),
        )
        if plan.known is None:
            done["added"] += 1
        elif plan.known == plan.digest and not plan.new and not plan.gone:
            done["unchanged"] += 1
            return
        else:
            done["updated"] += 1
        done["kept"] += plan.kept
        done["chunks"] += len(plan.new)

    def _known(self, source: str) -> str | None:
        sql = f"SELECT hash FROM {self._books} WHERE collection = ? AND source = ?"
        known: str | None = self._db.value(sql, (self._collection, source))
        return known

    def _count(self, source: str) -> int:
        sql = f"SELECT count(*) FROM {self._table} WHERE collection = ? AND source = ?"
        return int(self._db.value(sql, (self._collection, source)))

    def _rows_of(self, source: str) -> list[tuple[Any, ...]]:
        sql = (
            f"SELECT id, body, {', '.join(_PLACE)} FROM {self._table} "
            "WHERE collection = ? AND source = ? ORDER BY seq, id"
        )
        return self._db.rows(sql, (self._collection, source))

    def _hash(self, d: Document) -> str:
        import hashlib

        parts = (self._settings, d.meta or "", d.text)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()

    def delete(self, source: str) -> int:
        """Deletes a document with its chunks, in the caller's transaction."""
        which = "WHERE collection = ? AND source = ?"
        known = self._known(source)
        for table in (self._table, self._books):
            self._db.run(f"DELETE FROM {table} {which}", (self._collection, source))
        return 0 if known is None else 1

    def prune(self, seen: set[str], covers: Callable[[str], bool]) -> None:
        """Deletes the documents of the collection that the call covers and did not see."""
        sql = f"SELECT source FROM {self._books} WHERE collection = ?"
        with self._db.transaction():
            for (source,) in self._db.rows(sql, (self._collection,)):
                if source not in seen and covers(source):
                    self.counts["deleted"] += self.delete(source)
