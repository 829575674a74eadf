"""How far an earlier import of a source came, and where the next run begins."""

from __future__ import annotations

from dataclasses import dataclass

from vecsql._base.errors import FormatError
from vecsql._connection.driver import Db, quote
from vecsql._files.source import Source
from vecsql._files.survey import Survey
from vecsql._tables.catalog import columns, has_table

_DDL = """
CREATE TABLE IF NOT EXISTS vecsql_imports(
  tbl TEXT NOT NULL COLLATE NOCASE, source TEXT NOT NULL, fingerprint TEXT NOT NULL,
  done INTEGER NOT NULL, finished INTEGER NOT NULL, digest TEXT,
  PRIMARY KEY(tbl, source)) WITHOUT ROWID"""


@dataclass(frozen=True)
class State:
    """What an earlier import of a source into a table did; no digest if it matched rows by id."""

    fingerprint: str
    done: int
    finished: bool
    digest: str | None

    def is_all_of(self, source: Source) -> bool:
        """Whether the source was imported as it is now, to its end."""
        return self.finished and self.fingerprint == source.fingerprint


def state_of(db: Db, table: str, source: Source) -> State | None:
    if source.fingerprint is None or not has_table(db, "vecsql_imports"):
        return None
    where = "FROM main.vecsql_imports WHERE tbl = ?"
    if not has_table(db, table):  # dropped since
        db.run(f"DELETE {where}", (table,))
        return None
    digest = "digest" if "digest" in columns(db, "vecsql_imports") else "NULL"
    rows = db.rows(
        f"SELECT fingerprint, done, finished, {digest} {where} AND source = ?", (table, source.name)
    )
    if not rows or db.value(f"SELECT 1 FROM main.{quote(table)} LIMIT 1") is None:  # emptied since
        return None
    known, done, finished, mark = rows[0]
    return State(known, int(done), bool(finished), mark)


def resumed_at(
    table: str, source: Source, state: State, found: Survey, key: str | None, again: bool
) -> int:
    """How many of the first records need not be imported; refuses what cannot be told."""
    same = state.fingerprint == source.fingerprint
    if state.finished and (again or key is not None):
        return 0
    if same or (key is None and state.digest and state.digest == found.digest):
        return state.done
    if key is not None or again:
        return 0
    happened = (
        "its import into {} was interrupted" if not state.finished else "it was imported into {}"
    )
    raise FormatError(
        f"{source.label} has changed since {happened.format(table)}: its first {state.done:,} "
        "records are not the same, so the new ones cannot be told from them; --again imports all "
        "of them as new rows, --id COLUMN matches them with the rows by a column"
    )


def save_state(
    db: Db, table: str, source: Source, done: int, finished: bool, digest: str | None
) -> None:
    if source.fingerprint is None:
        return
    db.run(_DDL)
    if "digest" not in columns(db, "vecsql_imports"):
        db.run("ALTER TABLE main.vecsql_imports ADD COLUMN digest TEXT")
    db.run(
        "REPLACE INTO main.vecsql_imports(tbl, source, fingerprint, done, finished, digest) "
        "VALUES(?, ?, ?, ?, ?, ?)",
        (table, source.name, source.fingerprint, done, finished, digest),
    )
