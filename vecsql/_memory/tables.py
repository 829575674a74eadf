"""Between an index in memory and a table of a database: vectors, ids and the settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from vecsql._base.errors import SchemaError
from vecsql._connection.driver import Db, driver_of, quote
from vecsql._memory.arrays import label_array
from vecsql._tables.catalog import IndexInfo, has_table, index_of
from vecsql._tables.elements import decoded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Space = Literal["l2", "ip", "cosine"]
_METRIC: dict[Space, str] = {"l2": "l2", "ip": "dot", "cosine": "cosine"}
_SPACE = {metric: space for space, metric in _METRIC.items()}
_MAX_KEY = (1 << 63) - 1


@dataclass(frozen=True)
class Copied:
    """The vectors of a table and what its index was made with."""

    space: Space
    dim: int
    m: int
    ef_construction: int
    ids: NDArray[np.uint64]
    vectors: NDArray[np.float32]


def write_table(conn: Any, name: str, copied: Copied) -> None:
    """Makes a table ``name(id INTEGER PRIMARY KEY, embedding FLOAT[dim])`` of the vectors."""
    db = driver_of(conn)
    high = copied.ids[copied.ids > _MAX_KEY]
    if len(high):
        raise SchemaError(f"label {high[0]} is no key of a table: keys are below 2^63")
    table = f"main.{quote(name)}"
    with db.transaction():
        if has_table(db, name):
            raise SchemaError(f"table {name} exists already")
        db.run(
            f"CREATE VIRTUAL TABLE {table} USING vecsql(id INTEGER PRIMARY KEY, "
            f"embedding FLOAT[{copied.dim}] distance_metric={_METRIC[copied.space]} "
            f"m={copied.m} ef_construction={copied.ef_construction})"
        )
        rows = zip(copied.ids.tolist(), copied.vectors, strict=True)
        db.run_many(
            f"INSERT INTO {table}(id, embedding) VALUES(?, ?)",
            ((key, vector.astype("<f4", copy=False).tobytes()) for key, vector in rows),
        )


def read_table(conn: Any, name: str, column: str | None) -> Copied:
    """Reads the vectors of a table. Rows without a vector are left out."""
    import numpy as np

    db = driver_of(conn)
    with db.lock:
        info = index_of(db, name, column)
        if info.metric not in _SPACE or info.element == "bit":
            what = "bits" if info.element == "bit" else f"the metric {info.metric}"
            raise SchemaError(
                f"{info.label} has {what}: an index in memory has floats and the metrics "
                f"{', '.join(_SPACE)}"
            )
        ids, vectors = [], []
        for key, blob in db.iterate(_SELECT.format(*map(quote, _source_of(info)))):
            vector = decoded(info, blob)
            if vector is not None:
                ids.append(key)
                vectors.append(vector)
        settings = _settings(db, info)
    if ids and min(ids) < 0:
        raise SchemaError(f"{name} has the key {min(ids)}: a label is not negative")
    return Copied(
        _SPACE[info.metric],
        info.dim,
        settings.get("m", 16),
        settings.get("ef_construction", 200),
        label_array(np.array(ids, np.int64)),
        np.array(vectors, np.float32).reshape(len(ids), info.dim),
    )


_SELECT = "SELECT {0}, {1} FROM main.{2} ORDER BY 1"


def _source_of(info: IndexInfo) -> tuple[str, str, str]:
    """The key, the vectors and the table. A TEXT key stands beside the rowid."""
    key = "rowid" if info.table == info.index else info.key
    return key, info.source, info.table


def _settings(db: Db, info: IndexInfo) -> dict[str, int]:
    """What the index was made with; nothing of a vec0 table."""
    sql = (
        "SELECT name, value FROM vecsql_stats(?) WHERE vector = ? COLLATE NOCASE "
        "AND name IN ('m', 'ef_construction')"
    )
    return dict(db.rows(sql, (info.index, info.column)))
