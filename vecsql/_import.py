"""Importing records into a table with an index: in batches, resumable, each record once.

A survey reads the source to its end before anything is written (_survey). The first transaction
makes the table and its index with the first batch; each batch is a transaction of its rows with
their vectors, the index, the full text, and how far the import has come, in the ordinary table

    vecsql_imports(tbl, source, fingerprint, done, finished, digest)

``digest`` is a hash of the first ``done`` records. An import that was killed goes on behind its
last batch, and so does the import of a file that grew, if its first records are the same. With an
id column rows are matched by it: equal ones stay as they are, others are updated.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from vecsql._bulk import insert_rows
from vecsql._catalog import IndexInfo, columns, has_table, indexes
from vecsql._convert import whole
from vecsql._driver import Db, driver_of, quote
from vecsql._elements import decoded, encoded, places
from vecsql._embed import Embedder, as_embedder
from vecsql._errors import ConversionError, FormatError, SchemaError
from vecsql._followed import require_followed
from vecsql._read import Record, Source, plain, to_vector
from vecsql._registry import default_embedder, embedder_for, enroll
from vecsql._rows import add_vectors, change_row, changing, embed_rows, embedded_text
from vecsql._schema import create_index, create_table
from vecsql._survey import (
    Digest,
    Survey,
    lists_of_numbers,
    shown,
    stored_value,
    survey,
    vector_column,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vecsql._filters import Condition

_DDL = """
CREATE TABLE IF NOT EXISTS vecsql_imports(
  tbl TEXT NOT NULL COLLATE NOCASE, source TEXT NOT NULL, fingerprint TEXT NOT NULL,
  done INTEGER NOT NULL, finished INTEGER NOT NULL, digest TEXT,
  PRIMARY KEY(tbl, source)) WITHOUT ROWID"""

BATCH = 1000
_TEXT_NAMES = ("text", "body", "content", "document", "description", "title")
_SAMPLE = 8  # vectors of a file that are compared with the model's
_SAME = 0.99  # cosine of two vectors of one model for one text
_METRICS = ("cosine", "l2", "dot", "l1")


@dataclass(frozen=True)
class Imported:
    """What an import did: rows of this run, and the records that an earlier run had done."""

    table: str
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    resumed: int = 0
    complete: bool = False  # there was nothing to do: the source had been imported before
    grew: bool = False  # the source had been imported and has new records at its end
    repeated: dict[Any, int] = field(default_factory=dict)  # identifier -> how often it came

    @property
    def replaced(self) -> int:
        """How many records gave way to a later one with the same identifier."""
        return sum(self.repeated.values()) - len(self.repeated)

    @property
    def records(self) -> int:
        """How many records this run read."""
        return self.added + self.updated + self.unchanged + self.replaced


@dataclass(frozen=True)
class Settings:
    """What the caller says about an import; the fields are those of `import_records`."""

    text: Sequence[str] = ()
    id: str | None = None
    no_id: bool = False
    dim: int | None = None
    vectors: bool = True
    embedder: Embedder | None = None
    metric: str | None = None
    fts: bool = False
    options: str = ""


@dataclass(frozen=True)
class Target:
    """Where records go: the index of the table, and the column that identifies a record.

    ``create`` makes what is missing, in the transaction of the first batch; ``embedder`` is the
    model of an index that is made there.
    """

    info: IndexInfo
    id: str | None
    vector: str | None
    leave_out: frozenset[str]
    types: dict[str, str]  # of the table's columns
    create: Callable[[], IndexInfo] | None = None
    embedder: Embedder | None = None


def import_records(
    conn: Any,
    table: str,
    source: Source,
    *,
    text: Sequence[str] = (),
    id: str | None = None,
    no_id: bool = False,
    dim: int | None = None,
    vectors: bool = True,
    embedder: Embedder | None = None,
    metric: str | None = None,
    fts: bool = False,
    options: str = "",
    batch: int = BATCH,
    again: bool = False,
    progress: Callable[[int, int], None] | None = None,
    surveyed: Callable[[], None] | None = None,
    resuming: Callable[[int], None] | None = None,
) -> Imported:
    """Imports the records of a source into a table; makes table and index if they are missing.

    ``text`` names the columns that are embedded; it may be left out if records bring vectors or if
    one column is the obvious one. ``id`` names the column by which records are matched (``id`` if
    there is one and its values are unique); with ``no_id`` every record is a new row. ``dim`` is
    the dimension by which the column of vectors is known; ``vectors=False`` leaves it out.
    ``metric`` is by default what the source names, or cosine. ``again`` imports a source that was
    imported before.

    ``progress`` is called with records and position after each batch, ``surveyed`` while the
    source is examined, ``resuming`` with the number of records that an earlier run took.

    Raises `SchemaError` and `FormatError`; what was committed before stays, and the same call goes
    on from there.
    """
    db = driver_of(conn)
    batch = whole(batch, "batch is a number of rows")
    settings = Settings(text, id, no_id, dim, vectors, embedder, metric, fts, options)
    state = _state(db, table, source)
    if state is not None and state.is_all_of(source) and state.digest and not (again or id):
        return Imported(table, resumed=state.done, complete=True)
    wanted = id or (None if no_id else "id")
    kind = _kind_of(db, table, wanted)
    done = state.done if state else 0
    found = survey(source, id=wanted, kind=kind, done=done, progress=surveyed)
    key = _identifier(found, settings)
    resumed = 0 if state is None else _resumed(table, source, state, found, key, again)
    if state is not None and resumed and state.finished and resumed == found.records:
        with db.transaction():  # the bytes may differ: a line end, an equal column
            _save_state(db, table, source, resumed, True, found.digest)
        return Imported(table, resumed=resumed, complete=True)
    if not found.records and not has_table(db, table):
        only = "" if source.typed else ": the first line names the columns"
        raise FormatError(f"{source.label} has no records{only}")
    target = _target(db, table, found, settings, key, ours=state is not None)
    if resuming is not None:
        resuming(resumed)
    counts = Imported(
        target.info.table,
        resumed=resumed,
        grew=bool(resumed and state and state.finished),
        repeated=found.repeated if key is not None and not resumed else {},
    )
    digest = found.prefix if resumed and found.prefix is not None else Digest()
    return _write(db, _Writer(db, target, source), source, counts, digest, batch, progress)


def _write(
    db: Db,
    writer: _Writer,
    source: Source,
    counts: Imported,
    digest: Digest,
    batch: int,
    progress: Callable[[int, int], None] | None,
) -> Imported:
    """Writes the records behind the first ``counts.resumed``, a batch a transaction."""
    done = counts.resumed
    stream = source.records(done)
    while True:
        part = list(islice(stream, batch))
        for record in part:
            digest.add(record)
        ended = len(part) < batch
        # the model runs before the transaction, and does not hold the write lock
        with writer.prepared(part, done), db.transaction():
            added, updated = writer.write()
            done += len(part)
            mark = None if writer.by_id else digest.value()
            _save_state(db, counts.table, source, done, ended, mark)
        counts = replace(
            counts,
            added=counts.added + added,
            updated=counts.updated + updated,
            unchanged=counts.unchanged + len(part) - added - updated,
        )
        if progress is not None:
            progress(len(part), done if source.done is None else source.done())
        if ended:
            return replace(counts, unchanged=max(0, counts.unchanged - counts.replaced))


# --- how far an earlier run came -----------------------------------------------------------------


@dataclass(frozen=True)
class _State:
    """What an earlier import of a source into a table did; no digest if it matched rows by id."""

    fingerprint: str
    done: int
    finished: bool
    digest: str | None

    def is_all_of(self, source: Source) -> bool:
        """Whether the source was imported as it is now, to its end."""
        return self.finished and self.fingerprint == source.fingerprint


def _state(db: Db, table: str, source: Source) -> _State | None:
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
    return _State(known, int(done), bool(finished), mark)


def _resumed(
    table: str, source: Source, state: _State, found: Survey, key: str | None, again: bool
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


def _save_state(
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


def _kind_of(db: Db, table: str, column: str | None) -> str | None:
    """The type of a column, if the table is there and has it."""
    sql = "SELECT upper(type) FROM pragma_table_xinfo(?, 'main') WHERE name = ? COLLATE NOCASE"
    return None if column is None else db.value(sql, (table, column))


def _identifier(found: Survey, settings: Settings) -> str | None:
    """The column that identifies records: told, or ``id``; refuses one that does not."""
    if settings.no_id or (settings.id is None and "id" not in map(str.lower, found.columns)):
        return None
    if not found.records:
        return None
    name = found.find(settings.id or "id", "--id")
    label = found.source.label
    if found.without_id is not None:
        raise FormatError(
            f"{label}, {found.without_id}: a record has no {name}: --no-id makes every record a "
            "new row, --id names another column"
        )
    if found.repeated and settings.id is None:
        raise FormatError(
            f"{label}: {name} repeats: {len(found.repeated):,} values come more than once "
            f"({shown(list(found.repeated))}), in {sum(found.repeated.values()):,} records; "
            f"--no-id makes every record a new row, --id {name} keeps the last record of each"
        )
    return name


# --- where records go ----------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """What a survey and the caller decide: columns to embed, of vectors, to leave out, the id."""

    found: Survey
    settings: Settings
    key: str | None
    texts: list[str]
    vector: str | None
    dim: int | None
    left: frozenset[str]

    @property
    def names(self) -> list[str]:
        """The ordinary columns."""
        return [n for n in self.found.names if n != self.vector and n not in self.left]


def _target(
    db: Db, table: str, found: Survey, settings: Settings, key: str | None, *, ours: bool
) -> Target:
    """Finds the table and its index, or says how to make them for records like these."""
    source = found.source
    info = _index(db, table, source.vector)
    if info is not None:
        require_followed(db, info)
    texts = [found.find(name, "--text") for name in settings.text]
    fits = settings.dim or (info.dim if info is not None and info.model_id is None else None)
    vector = vector_column(found, source.vector, fits, info.column if info is not None else None)
    left = frozenset([vector] if vector is not None and not settings.vectors else [])
    vector = None if left else vector
    if vector is None and info is None and not texts:
        texts, vector = _obvious(found, key, left)
    dim = found.vectors(vector) if vector is not None else None
    if None not in (dim, settings.dim) and dim != settings.dim:
        raise FormatError(
            f"--dim {settings.dim}: {source.label} brings vectors of {dim} in {vector}"
        )
    if info is None and not texts:
        if dim is None:
            texts, _ = _obvious(found, key, left | {vector or ""})
        else:
            texts = _embedded(db, found, settings, key, vector or "", dim)
    plan = _Plan(found, settings, key, texts, vector, dim, left)
    return _new_target(db, table, plan) if info is None else _known_target(db, info, plan, ours)


def _index(db: Db, table: str, vector: str | None) -> IndexInfo | None:
    """The index of a table; where there are several, that of the column of vectors."""
    known = indexes(db, table)
    named = [i for i in known if vector is not None and i.column.lower() == vector.lower()]
    if len(known) > 1 and named:
        return named[0]
    if len(known) > 1:
        have = ", ".join(i.column for i in known)
        raise SchemaError(f"{table} has several indexes: --vector tells the column, one of {have}")
    return known[0] if known else None


def _new_target(db: Db, table: str, plan: _Plan) -> Target:
    """A target whose index, and perhaps table, are made with the first batch."""
    found, settings, key, texts, dim = plan.found, plan.settings, plan.key, plan.texts, plan.dim
    source, exists, names = found.source, has_table(db, table), plan.names
    if table.lower().startswith(("vecsql_", "sqlite_")):
        raise SchemaError(
            f"{table}: names that begin so belong to vecsql and SQLite; choose another"
        )
    column = (
        plan.vector or next(iter(plan.left), None) or _free(("embedding", "vector"), found.names)
    )
    metric = settings.metric or source.metric or "cosine"
    if metric not in _METRICS:
        raise SchemaError(
            f"{source.label} names the distance {metric}: --metric tells another, one of "
            f"{', '.join(_METRICS)}"
        )
    embedder = _embedder(db, settings) if texts else None
    if embedder is not None:
        enroll(db, embedder)  # asks the model, so before a transaction
    if embedder is not None and dim is not None:
        _check_model(found, embedder, texts, column)
    types = {name: found.columns[name].sql_type for name in names}
    declared = dict(types)
    if exists:
        primary = db.rows("SELECT name FROM pragma_table_info(?, 'main') WHERE pk > 0", (table,))
        row = str(primary[0][0]) if len(primary) == 1 else "rowid"
    elif key is not None and types[key] == "INTEGER":
        row = key
        del declared[key]
    else:
        first = ("id", "row") if key is None else ("row", "row_id")
        row = _free((*first, "row_id", "vecsql_row"), names)
        if key is not None:
            declared[key] += " NOT NULL UNIQUE"

    def create() -> IndexInfo:
        index: dict[str, Any] = {"text": texts or None, "metric": metric, "fts": settings.fts}
        index |= {"embedder": embedder, "options": settings.options, "dim": None if texts else dim}
        if exists:
            return create_index(db, table, column, **index)
        if has_table(db, table):
            raise SchemaError(
                f"{table} was made meanwhile, by another import: repeat the command when it is done"
            )
        return create_table(db, table, declared, key=row, column=column, **index)

    width = embedder.dim if embedder is not None else dim or 0
    info = IndexInfo(
        table, column, "", row, column, tuple(texts), None, width, metric, None, None, "trigger"
    )  # fmt: skip
    if exists:
        types = _fitting(db, info, found, names, ours=False)
        _check_key(info, found, key)
    return Target(info, key, plan.vector, plan.left, types, create, embedder)


def _known_target(db: Db, info: IndexInfo, plan: _Plan, ours: bool) -> Target:
    """The index of a table that exists, if records like these fit into it."""
    found, settings, key, texts, dim = plan.found, plan.settings, plan.key, plan.texts, plan.dim
    source = found.source
    if texts and list(map(str.lower, info.text)) != list(map(str.lower, texts)):
        raise SchemaError(
            f"{info.label} embeds {', '.join(info.text) or 'nothing: its vectors are given'}, "
            f"not {', '.join(texts)}: leave --text out"
        )
    if settings.metric is not None and settings.metric != info.metric:
        raise SchemaError(f"{info.label} has the metric {info.metric}: leave --metric out")
    if settings.fts and info.fts is None:
        raise SchemaError(
            f"{info.label} has no full text: vecsql index DB {info.table} --fts adds it"
        )
    if dim is not None and dim != info.dim:
        raise FormatError(
            f"{info.label} has {info.dim} dimensions, {source.label} brings vectors of {dim}"
        )
    if key is not None and info.table == info.index and key.lower() != info.key.lower():
        raise SchemaError(f"{info.table}: records are matched by its key {info.key}, not by {key}")
    if dim is not None and info.model_id is not None:
        names = {n.lower(): n for n in found.names}
        _check_model(
            found,
            embedder_for(db, info),
            [names.get(t.lower(), t) for t in info.text],
            plan.vector or "",
        )
    _check_key(info, found, key)
    types = _fitting(db, info, found, plan.names, ours=ours)
    have = set(map(str.lower, columns(db, info.table)))
    late = [n for n in plan.names if n.lower() not in have]

    def create() -> IndexInfo:
        for name in late:
            kind = found.columns[name].sql_type
            db.run(f"ALTER TABLE main.{quote(info.table)} ADD COLUMN {quote(name)} {kind}")
        return info

    return Target(info, key, plan.vector, plan.left, types, create if late else None)


def _check_key(info: IndexInfo, found: Survey, key: str | None) -> None:
    """Refuses identifiers that the INTEGER PRIMARY KEY of a table cannot hold."""
    if key is not None and info.table != info.index and key.lower() == info.key.lower():
        column = found.columns[key]
        if column.sql_type != "INTEGER":
            raise SchemaError(
                f"{info.table}.{info.key} holds integers, and {found.source.label} has others in "
                f"{key}: import into a new table, or call {key} otherwise in the file"
            )


def _fitting(
    db: Db, info: IndexInfo, found: Survey, names: list[str], *, ours: bool
) -> dict[str, str]:
    """The columns of a table that exists, with their types; refuses records that have others.

    A table that an import of the same source made (``ours``) grows with its file.
    """
    rows = db.rows("SELECT name, type FROM pragma_table_xinfo(?, 'main')", (info.table,))
    have: dict[str, str] = {name: kind for name, kind in rows}  # noqa: C416
    lower = set(map(str.lower, have))
    missing = [n for n in names if n.lower() not in lower]
    if missing and (not ours or info.table == info.index):
        raise SchemaError(
            f"{info.table} has no column {missing[0]}, which {found.source.label} has; its "
            f"columns: {', '.join(columns(db, info.table))}; ALTER TABLE adds one"
        )
    return have | {n: found.columns[n].sql_type for n in missing}


def _embedder(db: Db, settings: Settings) -> Embedder:
    return default_embedder(db) if settings.embedder is None else as_embedder(settings.embedder)


def _embedded(
    db: Db, found: Survey, settings: Settings, key: str | None, vector: str, dim: int
) -> list[str]:
    """The text that a file's vectors are made of by the model here: an export that comes back."""
    try:
        texts, _ = _obvious(found, key, frozenset([vector]))
    except SchemaError:
        return []
    embedder = _embedder(db, settings)
    same = embedder.dim == dim and texts and _made_by(found, embedder, texts, vector)
    return texts if same else []


def _check_model(found: Survey, embedder: Embedder, texts: list[str], vector: str) -> None:
    """Refuses vectors that the model did not make of the text beside them."""
    if not _made_by(found, embedder, texts, vector):
        raise SchemaError(
            f"{found.source.label} brings vectors in {vector} that {embedder.model_id} did not "
            f"make of {', '.join(texts)}: --no-vectors leaves them out and embeds the text; "
            "without --text a new table takes them as they are"
        )


def _made_by(found: Survey, embedder: Embedder, texts: list[str], vector: str) -> bool:
    """Whether the model makes the first vectors of a file of the text beside them."""
    import numpy as np

    source = found.source
    info = IndexInfo(
        "", "", "", "", "", tuple(texts), None, 0, "", None, None, "none"
    )  # fmt: skip
    given: list[NDArray[np.float32]] = []
    sample: list[str] = []
    for record in source.records(0):
        text = embedded_text(info, {t: record.get(t) for t in texts})
        value = to_vector(record.get(vector), source.label)
        if text and value is not None:
            given.append(value)
            sample.append(text)
        if len(sample) == _SAMPLE:
            break
    if not sample or len(given[0]) != embedder.dim:
        return False
    made = np.asarray(embedder.encode(sample), np.float32)
    return all(_cosine(a, b) > _SAME for a, b in zip(made, given, strict=True))


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    import numpy as np

    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-30))


def _obvious(found: Survey, key: str | None, left: frozenset[str]) -> tuple[list[str], str | None]:
    """The column to embed, or else the only one of numbers, where there is no doubt."""
    columns = [c for c in found.columns.values() if c.name != key and c.name not in left]
    lists = [c.name for c in lists_of_numbers(found) if c in columns]
    texts = [c.name for c in columns if c.text]
    for name in _TEXT_NAMES:
        for text in texts:
            if text.lower() == name:
                return [text], None
    if len(texts) == 1 and not lists:
        return texts, None
    if len(lists) == 1 and not texts:
        return [], lists[0]
    numbers = f", or --vector for the numbers in {' or '.join(lists)}" if lists else ""
    raise SchemaError(
        f"{found.source.label}: which column is to be embedded? --text COLUMN, one of "
        f"{', '.join(texts or [c.name for c in columns] or ['none'])}{numbers}"
    )


def _free(wanted: Sequence[str], taken: Sequence[str]) -> str:
    """The first name that no column has."""
    lower = set(map(str.lower, taken))
    for name in wanted:
        if name not in lower:
            return name
    n = 2
    while f"{wanted[0]}_{n}" in lower:
        n += 1
    return f"{wanted[0]}_{n}"


# --- writing -------------------------------------------------------------------------------------


class _Writer:
    """Writes batches of records in the caller's transaction."""

    def __init__(self, db: Db, target: Target, source: Source):
        self._db = db
        self._target = target
        self._source = source
        self._info = target.info
        self._names = {name.lower(): name for name in target.types}
        self._kinds = {name.lower(): kind.upper() for name, kind in target.types.items()}
        self._new: list[dict[str, Any]] = []
        self._changed: list[dict[str, Any]] = []

    @property
    def by_id(self) -> bool:
        """Whether records are matched with rows."""
        return self._target.id is not None

    @contextlib.contextmanager
    def prepared(self, records: list[Record], before: int) -> Iterator[None]:
        """Sorts a batch into rows to add and rows to change, and embeds the text of both.

        ``before`` is how many records came before, which names a record that a model refuses.
        """
        rows = [self._row(r) for r in records]
        numbers = {id(row): n for n, row in enumerate(rows, before + 1)}
        new, changed = self._sorted(rows)

        def label(row: dict[str, Any]) -> str:
            return f"{self._source.label}, record {numbers[id(row)]:,}"

        key, store = self._info.key, not self._db.in_transaction
        self._new = new
        self._changed = [{**values, key: row[key]} for row, values in changed]
        if self._target.embedder is not None:
            model = self._target.embedder
            embed_rows(self._db, self._info, model, self._new, store=store, label=label)
        else:
            add_vectors(self._db, self._info.table, self._new, store=store, label=label)
        with changing(self._db, self._info.table, self._changed, (key,)):
            yield

    def write(self) -> tuple[int, int]:
        """Writes what was prepared; returns how many rows it added and how many it changed."""
        if self._target.create is not None:
            self._info = self._target.create()
            self._target = replace(self._target, info=self._info, create=None, embedder=None)
        insert_rows(self._db, self._info.table, self._new)
        typed = places(self._db, self._info.table)
        for row in self._changed:
            change_row(self._db, self._info.table, row, (self._info.key,), typed)
        return len(self._new), len(self._changed)

    def _sorted(
        self, rows: list[dict[str, Any]]
    ) -> tuple[list[dict[str, Any]], list[tuple[dict[str, Any], dict[str, Any]]]]:
        """The rows that are new, and those that differ from a stored one, with that one."""
        if self._target.id is None:
            return rows, []
        id = self._names[self._target.id.lower()]
        last = {row[id]: row for row in rows}  # of two records with one id the last stays
        stored = self._stored(id, list(last), rows)
        new = [row for key, row in last.items() if key not in stored]
        changed = [
            (stored[key], row) for key, row in last.items()
            if key in stored and any(stored[key].get(n) != v for n, v in row.items())
        ]  # fmt: skip
        return new, changed

    def _row(self, record: Record) -> dict[str, Any]:
        """A record as a row of the table: columns and values, the vector as a blob."""
        row: dict[str, Any] = {}
        for name, value in record.items():
            if name == self._target.vector:
                vector = to_vector(value, f"{self._source.label}, column {name}")
                if vector is not None:
                    row[self._info.source] = self._blob(vector)
            elif name not in self._target.leave_out:
                known = self._names.get(name.lower())
                if known is None:
                    raise FormatError(f"{self._source.label} changed while it was read")
                row[known] = stored_value(plain(value), self._kinds[name.lower()])
        return row

    def _blob(self, vector: NDArray[np.float32]) -> bytes:
        if len(vector) != self._info.dim:
            raise FormatError(
                f"{self._info.label} has {self._info.dim} dimensions, a record brings a vector of "
                f"{len(vector)}"
            )
        try:
            return encoded(self._info, vector)
        except ConversionError as e:
            raise FormatError(f"{self._source.label}: {self._info.label}: {e}") from e

    def _stored(
        self, id: str, ids: list[Any], rows: list[dict[str, Any]]
    ) -> dict[Any, dict[str, Any]]:
        """The rows that have these ids, by id, with the columns that records have."""
        have = {c.lower() for c in columns(self._db, self._info.table)}
        if not have:
            return {}
        wanted = {n for row in rows for n in row} | {id, self._info.key}
        listed = ", ".join(quote(n) for n in sorted(wanted) if n.lower() in have or n == "rowid")
        out = {}
        for begin in range(0, len(ids), 500):
            part = ids[begin : begin + 500]
            marks = ", ".join("?" * len(part))
            sql = f"SELECT {listed} FROM main.{quote(self._info.table)} WHERE {quote(id)}"
            for row in self._db.named_rows(f"{sql} IN ({marks})", part):
                out[row[id]] = row
        return out


def stream_rows(
    conn: Any, info: IndexInfo, names: Sequence[str], where: Condition | None
) -> Iterator[Record]:
    """Yields the rows of a table as records, vectors as arrays, in the order of the key."""
    db = driver_of(conn)
    condition = f" WHERE {where.sql}" if where is not None else ""
    listed = ", ".join(map(quote, names))
    sql = f"SELECT {listed} FROM main.{quote(info.table)}{condition} ORDER BY {quote(info.key)}"
    for row in db.iterate(sql, () if where is None else where.params):
        record = dict(zip(names, row, strict=True))
        vector = decoded(info, record.get(info.source))
        if vector is not None:
            record[info.source] = vector
        yield record
