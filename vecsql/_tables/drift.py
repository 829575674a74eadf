"""drift: what a change of the model changes in the answers, on a sample of queries in the file.

The sample is in vecsql_queries(tbl, col, text), so that the same questions can be asked again at
the next change.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vecsql._base.errors import SchemaError
from vecsql._base.types import Connection
from vecsql._connection.driver import Db, driver_of, quote
from vecsql._model.embed import encode_checked
from vecsql._tables.catalog import IndexInfo, has_table, index_of, standby_of
from vecsql._tables.registry import embedder_for

_DDL = """
CREATE TABLE IF NOT EXISTS vecsql_queries(
  tbl TEXT NOT NULL COLLATE NOCASE, col TEXT NOT NULL COLLATE NOCASE, text TEXT NOT NULL,
  PRIMARY KEY(tbl, col, text)) WITHOUT ROWID"""
_BATCH = 512


@dataclass(frozen=True)
class Drift:
    """How the answers of the standby space differ from those of the space that answers.

    ``recall`` is the mean share of the active space's k nearest rows that the standby's k nearest
    hold too, ``first`` the share of queries with the same nearest row. ``distance`` is the mean
    distance of the k nearest in the active and the standby space, ``shift`` the second minus the
    first (it means something where both have the same metric and scale). ``per_query`` has
    (query, recall, shift), the most changed first.
    """

    active: str
    standby: str
    k: int
    recall: float
    first: float
    distance: tuple[float, float]
    per_query: tuple[tuple[str, float, float], ...]

    @property
    def shift(self) -> float:
        """The mean distance in the standby space minus that in the active one."""
        return self.distance[1] - self.distance[0]


def drift(
    conn: Connection,
    table: str,
    queries: Sequence[str] | None = None,
    column: str | None = None,
    *,
    k: int = 10,
) -> Drift:
    """Compares the two spaces of an index that `reembed` made, before or after the switch.

    ``queries`` become the stored sample of the index; without, the stored one is asked. Both
    embedders must be registered on the connection. Raises `SchemaError` if there is no second
    space, or no sample.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"body": str}, text="body")
    >>> _ = vecsql.insert(db, "notes", [{"body": "night train"}, {"body": "rye bread"}])
    >>> def lengths(texts):
    ...     return [[len(t), 1.0] for t in texts]
    >>> _ = vecsql.reembed(db, "notes", lengths, switch=False)
    >>> report = vecsql.drift(db, "notes", ["a railway journey", "baking"], k=1)
    >>> (report.k, report.recall == report.first)
    (1, True)
    """
    db = driver_of(conn)
    active = index_of(db, table, column)
    standby = standby_of(db, active)
    if standby is None:
        raise SchemaError(
            f"{active.label} has one space only: vecsql.reembed(..., switch=False) makes a second"
        )
    if queries is not None:
        _store(db, active, queries)
    sample = _sample(db, active)
    if not sample:
        raise SchemaError(f"{active.label} has no stored sample: pass queries=[...]")
    before, after = (_answers(db, space, sample, k) for space in (active, standby))
    rows = []
    for text, a, b in zip(sample, before, after, strict=True):
        both = {row for row, _ in a} & {row for row, _ in b}
        recall = len(both) / len(a) if a else 1.0
        rows.append((text, recall, _mean([d for _, d in b]) - _mean([d for _, d in a])))
    return Drift(
        active=str(active.model_id),
        standby=str(standby.model_id),
        k=k,
        recall=_mean([recall for _, recall, _ in rows]),
        first=_mean([_same_first(a, b) for a, b in zip(before, after, strict=True)]),
        distance=(
            _mean([d for a in before for _, d in a]),
            _mean([d for b in after for _, d in b]),
        ),
        per_query=tuple(sorted(rows, key=lambda row: (row[1], -abs(row[2])))),
    )


def _same_first(a: Sequence[tuple[int, float]], b: Sequence[tuple[int, float]]) -> float:
    return float([row for row, _ in a[:1]] == [row for row, _ in b[:1]])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _store(db: Db, info: IndexInfo, queries: Sequence[str]) -> None:
    with db.transaction():
        db.run(_DDL)
        db.run(
            "DELETE FROM main.vecsql_queries WHERE tbl = ? AND col = ?", (info.table, info.column)
        )
        db.run_many(
            "INSERT OR IGNORE INTO main.vecsql_queries VALUES(?, ?, ?)",
            [(info.table, info.column, text) for text in queries],
        )


def _sample(db: Db, info: IndexInfo) -> list[str]:
    if not has_table(db, "vecsql_queries"):
        return []
    sql = "SELECT text FROM main.vecsql_queries WHERE tbl = ? AND col = ? ORDER BY text"
    return [text for (text,) in db.rows(sql, (info.table, info.column))]


def _answers(db: Db, space: IndexInfo, queries: list[str], k: int) -> list[list[tuple[int, float]]]:
    """The k nearest (rowid, distance) of each query, each in its own model."""
    sql = (
        f"SELECT rowid, distance FROM main.{quote(space.index)} "
        f"WHERE {quote(space.column)} MATCH ? AND k = ? ORDER BY distance"
    )
    model = embedder_for(db, space)
    out = []
    for start in range(0, len(queries), _BATCH):
        for vector in encode_checked(model, queries[start : start + _BATCH], query=True):
            rows = db.rows(sql, (vector.astype("<f4", copy=False).tobytes(), k))
            out.append([(int(row), float(distance)) for row, distance in rows])
    return out
