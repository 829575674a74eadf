"""How far jobs came that can be killed and run again: one ordinary table for all of them.

    vecsql_progress(tbl, kind, name, done, finished, fingerprint, digest)

A job fills the table ``tbl``. Its kind is ``rows`` (bulk_insert; ``name`` is the caller's) or
``file`` (an import; ``name`` is the source). A batch writes its job's row in its own transaction,
so the row always tells what is in the table. The row stays when the job ends, because a process
that was killed right then does not know it and runs again. ``digest`` is a hash of the first
``done`` records of a file.

Version 0.1.0 had two tables instead: vecsql_jobs(name, done), where the name was "tbl: job", and
vecsql_imports(tbl, source, fingerprint, done, finished, digest). `find` reads them as they are,
so that a file that cannot be written is read too. The first `note` takes their rows over.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from functools import partial
from typing import Literal

from vecsql._connection.driver import Db, quote
from vecsql._tables.catalog import columns, has_table

_DDL = """
CREATE TABLE IF NOT EXISTS vecsql_progress(
  tbl TEXT NOT NULL COLLATE NOCASE, kind TEXT NOT NULL, name TEXT NOT NULL,
  done INTEGER NOT NULL, finished INTEGER NOT NULL, fingerprint TEXT, digest TEXT,
  PRIMARY KEY(tbl, kind, name)) WITHOUT ROWID"""
_FIELDS = "tbl, kind, name, done, finished, fingerprint, digest"

Kind = Literal["rows", "file"]


@dataclass(frozen=True)
class Job:
    """What a job did so far: the row of the table, field by field."""

    table: str
    kind: Kind
    name: str
    done: int
    finished: bool = False
    fingerprint: str | None = None
    digest: str | None = None


def find(db: Db, table: str, kind: Kind, name: str) -> Job | None:
    """What earlier runs of a job did; None if the table is gone or empty, for it begins anew."""
    found = [j for j in _old_jobs(db) if (j.kind, j.name) == (kind, name) and _same(j.table, table)]
    if not found and has_table(db, "vecsql_progress"):
        rows = db.rows(
            f"SELECT {_FIELDS} FROM main.vecsql_progress WHERE tbl = ? AND kind = ? AND name = ?",
            (table, kind, name),
        )
        found = [_job(*row) for row in rows]
    if not found or not has_table(db, table):
        return None
    filled = db.value(f"SELECT 1 FROM main.{quote(table)} LIMIT 1") is not None
    return found[0] if filled else None


def note(db: Db, job: Job) -> None:
    """Writes how far a job came; part of the caller's transaction."""
    _prepare(db)
    _put(db, job)


def forget_files(db: Db, table: str) -> None:
    """Forgets which files were imported into a table, which was dropped since."""
    if has_table(db, "vecsql_progress") or _old_jobs(db):
        with db.transaction():
            _prepare(db)
            db.run("DELETE FROM main.vecsql_progress WHERE tbl = ? AND kind = 'file'", (table,))


def _prepare(db: Db) -> None:
    """Makes the table, and takes over the rows of the two older ones."""
    db.run(_DDL)
    for job in _old_jobs(db):
        _put(db, job)
    for name in filter(partial(has_table, db), ("vecsql_jobs", "vecsql_imports")):
        db.run(f"DELETE FROM main.{name}")
        try:
            db.run(f"DROP TABLE main.{name}")
        except Exception as e:  # a query is open on the connection: it stays, empty
            if "locked" not in str(e):
                raise


def _put(db: Db, job: Job) -> None:
    db.run(
        f"REPLACE INTO main.vecsql_progress({_FIELDS}) VALUES(?, ?, ?, ?, ?, ?, ?)", astuple(job)
    )


def _job(
    table: str, kind: Kind, name: str, done: int, finished: int, known: str | None, mark: str | None
) -> Job:
    return Job(table, kind, name, int(done), bool(finished), known, mark)


def _same(one: str, other: str) -> bool:
    """Whether SQLite takes two names for one: only ASCII letters fold."""
    return one.encode().lower() == other.encode().lower()


def _old_jobs(db: Db) -> list[Job]:
    """The rows of the tables of version 0.1.0."""
    found = []
    if has_table(db, "vecsql_jobs"):
        found += _old_bulk_jobs(db)
    if has_table(db, "vecsql_imports"):
        digest = "digest" if "digest" in columns(db, "vecsql_imports") else "NULL"
        fields = f"tbl, 'file', source, done, finished, fingerprint, {digest}"
        found += [_job(*row) for row in db.rows(f"SELECT {fields} FROM main.vecsql_imports")]
    return found


def _old_bulk_jobs(db: Db) -> list[Job]:
    """Rows named "tbl: job". Both may contain ": ", so every table that fits gets the row."""
    rows = db.rows("SELECT name, done FROM main.vecsql_jobs")
    tables = db.rows("SELECT name FROM main.sqlite_schema WHERE type IN ('table', 'view')")
    return [
        Job(table, "rows", name[len(table) + 2 :], int(done))
        for name, done in rows
        for (table,) in tables
        if name.startswith(f"{table.lower()}: ")
    ]
