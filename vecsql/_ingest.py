"""Keeping chunks in step with their sources: files, folders or records.

    T           id, source, seq, line, start, stop, meta, body, embedding      one row a chunk
    T_sources   source, collection, hash                                       one row a document

A document and its chunks change in one transaction. Its hash covers the text, the metadata and how
it is cut, so what did not change costs a hash, and an ingest that was killed goes on where it
stopped. Of a document that changed, chunks whose text is the same keep their row and their vector.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from vecsql._bulk import insert_rows
from vecsql._catalog import has_table
from vecsql._chunk import chunk
from vecsql._driver import Db, driver_of, quote
from vecsql._embed import Embedder
from vecsql._errors import FormatError, SchemaError
from vecsql._progress import reporter
from vecsql._rows import add_vectors
from vecsql._schema import create_table

SUFFIXES = (".txt", ".md", ".markdown", ".rst", ".org", ".tex", ".adoc", ".text")
_BATCH = 32  # documents in a transaction

_COLUMNS = {
    "source": "TEXT NOT NULL",
    "seq": "INTEGER NOT NULL",
    "line": "INTEGER NOT NULL",
    "start": "INTEGER NOT NULL",
    "stop": "INTEGER NOT NULL",
    "meta": "TEXT",
    "body": "TEXT NOT NULL",
}


@dataclass(frozen=True)
class Ingested:
    """What an ingest did, in documents; ``chunks`` and ``kept`` count rows of changed ones."""

    added: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0
    chunks: int = 0  # embedded
    kept: int = 0  # kept with their vectors


@dataclass(frozen=True)
class _Document:
    source: str
    text: str
    meta: str | None


def ingest(
    conn: Any,
    table: str,
    sources: Any,
    *,
    collection: str | None = None,
    prune: bool | None = None,
    max_tokens: int = 200,
    overlap: int = 40,
    by: Literal["sentences", "tokens"] = "sentences",
    suffixes: Sequence[str] = SUFFIXES,
    embedder: Embedder | Callable[[list[str]], Any] | None = None,
    fts: bool = True,
    encoding: str = "utf-8",
    progress: bool | Callable[[int], None] = False,
) -> Ingested:
    """Cuts documents into chunks in a table with an index, and keeps the table in step with them.

    ``sources`` is a folder (its files with one of ``suffixes``), a file, or an iterable of files or
    of records ``{"source": name, "text": ..., anything else as metadata}``. The table is made at
    the first call, with full text; metadata is JSON in its column ``meta``:
    ``where="meta ->> 'author' = ?"``.

    Calling it again costs what changed: documents are compared by a hash, and chunks whose text
    stayed keep their vectors. ``prune`` deletes the documents of the same ``collection`` that are
    not among ``sources`` any more; it is on for a folder, which is a collection of its own.
    Documents are named by their path as given (relative to the folder).

    Returns what it did. Raises `FormatError` for a file that is no text.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> docs = [{"source": "trains.txt", "text": "The night train leaves at ten. It has beds."}]
    >>> ingest(db, "docs", docs).added, ingest(db, "docs", docs).unchanged
    (1, 1)
    """
    folder = isinstance(sources, (str, os.PathLike)) and Path(sources).is_dir()
    if collection is None:
        collection = str(Path(sources).resolve()) if folder else ""
    prune = folder if prune is None else prune
    db = driver_of(conn)
    _create(db, table, embedder, fts)
    run = _Run(db, table, collection, f"{max_tokens}/{overlap}/{by}")
    seen: set[str] = set()
    documents = _documents(sources, suffixes, encoding)
    batch: list[_Document] = []
    with reporter(progress, f"Ingesting into {table}", None) as advance:
        for document in chain(documents, [None]):
            if document is not None:
                if document.source in seen:
                    raise FormatError(f"two documents are called {document.source!r}")
                seen.add(document.source)
                batch.append(document)
            if batch and (document is None or len(batch) == _BATCH):
                run.write(batch, lambda text: chunk(text, max_tokens, overlap, by))
                advance(len(batch))
                batch = []
    if prune:
        run.prune(seen)
    return Ingested(**run.counts)


def forget(conn: Any, table: str, *sources: str) -> int:
    """Deletes documents with their chunks; returns how many there were.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.ingest(db, "docs", [{"source": "a", "text": "one"}])
    >>> forget(db, "docs", "a", "b")
    1
    """
    db = driver_of(conn)
    run = _Run(db, table, "", "")
    with db.transaction():
        return sum(run.delete(source) for source in sources)


def _create(db: Db, table: str, embedder: Any, fts: bool) -> None:
    books = f"{table}_sources"
    if has_table(db, table):
        if not has_table(db, books):
            raise SchemaError(
                f"{table} exists and was not made by ingest: choose another name, or write its "
                "rows with vecsql.insert"
            )
        return
    with db.transaction():
        create_table(db, table, _COLUMNS, text="body", embedder=embedder, fts=fts)
        db.run(f"CREATE INDEX main.{quote(f'{table}_by_source')} ON {quote(table)}(source, seq)")
        db.run(
            f"CREATE TABLE main.{quote(books)}(source TEXT PRIMARY KEY, "
            "collection TEXT NOT NULL, hash TEXT NOT NULL) WITHOUT ROWID"
        )


class _Run:
    """One call of ingest: writes documents and counts what it did."""

    def __init__(self, db: Db, table: str, collection: str, settings: str):
        self._db = db
        self._name = table
        self._table = f"main.{quote(table)}"
        self._books = f"main.{quote(f'{table}_sources')}"
        self._collection = collection
        self._settings = settings
        self.counts = dict.fromkeys(
            ("added", "updated", "deleted", "unchanged", "chunks", "kept"), 0
        )

    def write(self, documents: list[_Document], cut: Callable[[str], Any]) -> None:
        """Brings documents up to date, in one transaction."""
        new: list[dict[str, Any]] = []
        done = dict.fromkeys(self.counts, 0)
        with self._db.transaction():
            for d in documents:
                digest = self._hash(d)
                known = self._db.value(
                    f"SELECT hash FROM {self._books} WHERE source = ?", (d.source,)
                )
                if known == digest:
                    done["unchanged"] += 1
                    continue
                done["added" if known is None else "updated"] += 1
                fresh, kept = self._chunks(d, cut)
                new += fresh
                done["kept"] += kept
                self._db.run(
                    f"REPLACE INTO {self._books}(source, collection, hash) VALUES(?, ?, ?)",
                    (d.source, self._collection, digest),
                )
            add_vectors(self._db, self._name, new)
            insert_rows(self._db, self._name, new)
        for name, n in done.items():
            self.counts[name] += n
        self.counts["chunks"] += len(new)

    def _chunks(self, d: _Document, cut: Callable[[str], Any]) -> tuple[list[dict[str, Any]], int]:
        """Deletes the chunks that are gone, moves those that stay; returns the new ones."""
        old: dict[str, list[int]] = defaultdict(list)
        sql = f"SELECT id, body FROM {self._table} WHERE source = ? ORDER BY seq DESC"
        for key, body in self._db.rows(sql, (d.source,)):
            old[body].append(key)
        new, kept = [], 0
        line, at = 1, 0
        for seq, c in enumerate(cut(d.text)):
            line, at = line + d.text.count("\n", at, c.start), c.start
            place = {"seq": seq, "line": line, "start": c.start, "stop": c.end, "meta": d.meta}
            if old[c.text]:
                kept += 1
                settings = ", ".join(f"{name} = ?" for name in place)
                self._db.run(
                    f"UPDATE {self._table} SET {settings} WHERE id = ?",
                    (*place.values(), old[c.text].pop()),
                )
            else:
                new.append({"source": d.source, **place, "body": c.text})
        gone = [(key,) for keys in old.values() for key in keys]
        self._db.run_many(f"DELETE FROM {self._table} WHERE id = ?", gone)
        return new, kept

    def _hash(self, d: _Document) -> str:
        import hashlib

        parts = (self._settings, d.meta or "", d.text)
        return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()

    def delete(self, source: str) -> int:
        """Deletes a document with its chunks, in the caller's transaction."""
        self._db.run(f"DELETE FROM {self._table} WHERE source = ?", (source,))
        known = self._db.value(f"SELECT 1 FROM {self._books} WHERE source = ?", (source,))
        self._db.run(f"DELETE FROM {self._books} WHERE source = ?", (source,))
        return 0 if known is None else 1

    def prune(self, seen: set[str]) -> None:
        """Deletes the documents of the collection that were not seen."""
        sql = f"SELECT source FROM {self._books} WHERE collection = ?"
        with self._db.transaction():
            for (source,) in self._db.rows(sql, (self._collection,)):
                if source not in seen:
                    self.counts["deleted"] += self.delete(source)


# --- sources -------------------------------------------------------------------------------------


def _documents(sources: Any, suffixes: Sequence[str], encoding: str) -> Iterator[_Document]:
    if isinstance(sources, (str, os.PathLike)):
        path = Path(sources)
        if path.is_dir():
            wanted = {s.lower() for s in suffixes}
            for file in sorted(path.rglob("*")):
                if file.suffix.lower() in wanted and file.is_file():
                    name = file.relative_to(path).as_posix()
                    yield _Document(name, _read(file, encoding), None)
            return
        sources = [path]
    if isinstance(sources, Mapping) or not isinstance(sources, Iterable):
        raise TypeError(
            "ingest takes a folder, a file, or an iterable of files or of records "
            f"{{'source', 'text'}}; got {type(sources).__name__}"
        )
    for item in sources:
        if isinstance(item, Mapping):
            yield _record(item)
        else:
            yield _Document(Path(item).as_posix(), _read(Path(item), encoding), None)


def _record(record: Mapping[str, Any]) -> _Document:
    source, text = record.get("source"), record.get("text")
    if source is None or not isinstance(text, str):
        raise FormatError(f"a record has source and text (a str), got {', '.join(record)}")
    meta = {k: v for k, v in record.items() if k not in ("source", "text")}
    return _Document(
        str(source),
        text,
        json.dumps(meta, ensure_ascii=False, sort_keys=True, default=str) if meta else None,
    )


def _read(path: Path, encoding: str) -> str:
    try:
        text = path.read_text(encoding)
    except OSError as e:
        raise FormatError(f"cannot read {path}: {e.strerror}") from e
    except UnicodeDecodeError as e:
        raise FormatError(f"{path} is not {encoding} text: {e}") from e
    return text.removeprefix("\ufeff")
