"""Where an import begins: behind the records that an earlier run took, if they are the same."""

from __future__ import annotations

from vecsql._base.errors import FormatError
from vecsql._connection.driver import Db
from vecsql._files.source import Source
from vecsql._files.survey import Survey
from vecsql._rows import jobs
from vecsql._rows.jobs import Job
from vecsql._tables.catalog import has_table


def state_of(db: Db, table: str, source: Source) -> Job | None:
    """What an earlier import of a source into a table did; no digest if it matched rows by id."""
    if source.fingerprint is None:
        return None
    if not has_table(db, table):  # dropped since
        jobs.forget_files(db, table)
        return None
    return jobs.find(db, table, "file", source.name)


def is_all_of(state: Job, source: Source) -> bool:
    """Whether the source was imported as it is now, to its end."""
    return state.finished and state.fingerprint == source.fingerprint


def resumed_at(
    table: str, source: Source, state: Job, found: Survey, key: str | None, again: bool
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
    """Writes how far the import of a source came, unless the source cannot be recognised."""
    if source.fingerprint is not None:
        job = Job(table, "file", source.name, done, finished, source.fingerprint, digest)
        jobs.note(db, job)
