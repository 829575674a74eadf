"""One pass over the records of a source before anything is written.

It finds the columns with their types, the lists of numbers and their lengths, identifiers that
repeat, and whether the beginning is what an earlier import took. A file that cannot be read to its
end is refused here, so a failed import leaves nothing behind.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from vecsql._base.errors import ConversionError, FormatError, SchemaError
from vecsql._files.source import Record, Source
from vecsql._files.values import plain, to_vector

_NAMES = ("embedding", "embeddings", "vector", "vectors", "emb", "vec")
_SUFFIX = re.compile(r".*[ _.-](embeddings?|vectors?|emb|vec)|(embedding|vector|emb|vec)[ _.-].*")
NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)((?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")
_KEPT = 8  # elements of a list that count in a digest, and lengths that are kept
_SHOWN = 5  # identifiers that a message names


@dataclass
class Column:
    """What a column holds; of its vectors, the first record of each length."""

    name: str
    typed: bool
    values: int = 0  # that are neither NULL nor ''
    lengths: dict[int, str] = field(default_factory=dict)
    lists: int = 0  # values that look like vectors
    bad: str | None = None  # the first value that is no vector, and why
    number: type | None = int  # int, float, or None: no number
    blobs: int = 0
    text: bool = False  # a str that is no list of numbers

    @property
    def called(self) -> int:
        """0: called a vector; 1: its name has the word in it; 2: neither."""
        name = self.name.lower()
        return 0 if name in _NAMES else 1 if _SUFFIX.fullmatch(name) else 2

    @property
    def sql_type(self) -> str:
        """The SQL type for the values; texts that are all numbers are numbers."""
        if self.values and self.number is not None:
            return "INTEGER" if self.number is int else "REAL"
        return "BLOB" if self.values and self.blobs == self.values else "TEXT"

    @property
    def dim(self) -> int | None:
        """The length of its vectors, if all its values are vectors of one length."""
        if self.bad is not None or len(self.lengths) != 1:
            return None
        return next(iter(self.lengths))

    def add(self, value: Any, place: Callable[[], str]) -> None:
        """Takes a value into account."""
        kind = type(value)
        if value is None or (kind is str and value == ""):
            return
        self.values += 1
        if self.number is not None and not self._is_number(value, kind):
            self.number = None
        if kind is int or kind is float or kind is bool:
            self._not(f"got {kind.__name__}", place)
            return
        if kind is bytes:
            self.blobs += 1
            if self.called == 2 or len(value) % 4:
                self._not("got bytes", place)
                return
        elif kind is str and (value[:1] not in "[{" or value[-1:] not in "]}"):
            self.text = True
            self._not(f"got the text {value[:40]!r}", place)
            return
        if self.bad is not None and self.called == 2:
            self.text = self.text or kind is str
            return
        self.lists += 1
        try:
            vector = to_vector(value, place())
        except (FormatError, ConversionError) as e:
            self.text = self.text or kind is str
            self._not(str(e), place)
            return
        if vector is not None and len(self.lengths) < _KEPT:
            self.lengths.setdefault(len(vector), place())

    def _not(self, why: str, place: Callable[[], str]) -> None:
        if self.bad is None:
            self.bad = why if why.startswith(place()) else f"{place()}: expected a vector, {why}"

    def _is_number(self, value: Any, kind: type) -> bool:
        if kind is int or kind is bool:
            return bool(-(1 << 63) <= value < 1 << 63)
        if kind is float:
            self.number = float
            return True
        if kind is not str or self.typed:
            return False
        # "007", "1_000" and "+1" are names of things rather than numbers
        match = NUMBER.fullmatch(value)
        if match is None or len(value) >= 19:
            return False
        if match[1]:
            self.number = float
        return True


@dataclass
class Survey:
    """What one pass over a source found."""

    source: Source
    columns: dict[str, Column]
    records: int = 0
    prefix: Digest | None = None  # of the first records, as many as were asked for
    without_id: str | None = None  # the place of the first record that has no identifier
    repeated: dict[Any, int] = field(default_factory=dict)  # identifier -> how often

    @property
    def digest(self) -> str | None:
        """The hash of the first records, None if there are not so many."""
        return None if self.prefix is None else self.prefix.value()

    @property
    def names(self) -> list[str]:
        """The columns in the order in which they come."""
        return list(self.columns)

    def find(self, wanted: str, option: str) -> str:
        """The column of this name; raises `SchemaError` with those that there are."""
        for name in self.columns:
            if name.lower() == wanted.lower():
                return name
        raise SchemaError(
            f"{option} {wanted}: {self.source.label} has no such column; it has "
            f"{', '.join(self.columns) or 'none'}"
        )

    def vectors(self, name: str) -> int | None:
        """The dimension of a column of vectors, None if all are NULL; refuses anything else."""
        column, label = self.columns[name], self.source.label
        if column.bad is not None:
            raise FormatError(f"{label}, column {name}: {column.bad}")
        if len(column.lengths) > 1:
            found = ", ".join(f"{n} ({place})" for n, place in sorted(column.lengths.items()))
            raise FormatError(f"{label}, column {name}: vectors of different lengths: {found}")
        return column.dim


class Digest:
    """A running hash of records, which tells whether a file still begins as it did."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)

    def add(self, record: Record) -> None:
        """Takes the next record."""
        self._hash.update(
            repr([(k, _mark(v)) for k, v in record.items()]).encode("utf-8", "replace")
        )

    def value(self) -> str:
        """The hash so far."""
        return self._hash.hexdigest()


def _mark(value: Any) -> Any:
    """A value as it counts in a digest: of a long list its length and its beginning."""
    if hasattr(value, "tobytes"):
        return len(value), value[:_KEPT].tobytes()
    if isinstance(value, list) and len(value) > _KEPT:
        return len(value), value[:_KEPT]
    return value


def survey(
    source: Source,
    *,
    id: str | None = None,
    kind: str | None = None,
    done: int = 0,
    progress: Callable[[], None] | None = None,
) -> Survey:
    """Reads a source to its end. ``id`` is the column to examine for repeated values.

    ``kind`` is the type of that column in the table, by default the one that its values ask for:
    two values that it stores as one repeat.
    ``done`` is how many of the first records an earlier import took: their digest is made.
    """
    if source.dim is not None and source.vector is not None:  # nothing to find
        column = Column(source.vector, True, source.total or 0, {source.dim: "vector 0"})
        out = Survey(source, {source.vector: column}, source.total or 0)
        if done:
            out.prefix = _digest_of(source.records(0), done)
        return out
    columns: dict[str, Column] = {}
    out = Survey(source, columns)
    digest = Digest()
    hashes = array("q")
    n = 0

    def place() -> str:
        return source.place() if source.place is not None else f"record {n}"

    for n, record in enumerate(source.records(0), 1):
        for name, value in record.items():
            if name in columns:
                column = columns[name]
            else:
                column = columns[name] = _new_column(name, columns, source)
                if id is not None and name.lower() == id.lower():
                    id = name
            column.add(value, place)
        if id is not None:
            mark = _hashed(record, id)
            if mark is None:
                out.without_id = out.without_id or place()
            else:
                hashes.append(mark)
        if n <= done:
            digest.add(record)
        if progress is not None and n % 1000 == 0:
            progress()
    out.records = n
    out.prefix = digest if 0 < done <= n else None
    if id in columns and id is not None:
        out.repeated = _repeated(source, id, kind or columns[id].sql_type, hashes)
    return out


def _new_column(name: Any, columns: dict[str, Column], source: Source) -> Column:
    if not isinstance(name, str) or not name or "\0" in name:
        raise FormatError(f"{source.label}: {name!r} cannot be the name of a column")
    for known in columns:
        if known.lower() == name.lower():
            raise FormatError(
                f"{source.label}: two columns are called {name!r} (SQLite ignores the case)"
            )
    return Column(name, source.typed)


def _digest_of(records: Iterator[Record], done: int) -> Digest | None:
    digest = Digest()
    for n, record in enumerate(records, 1):
        digest.add(record)
        if n == done:
            return digest
    return None


def _hashed(record: Record, id: str) -> int | None:
    """A hash of an identifier, None if there is none.

    Values that some column type makes equal have one hash: 1, 1.0 and the text "1".
    """
    value = plain(record.get(id))
    if value is None or value == "":
        return None
    if isinstance(value, (int, float)) or (isinstance(value, str) and _DECIMAL.fullmatch(value)):
        try:
            return hash(float(value))
        except OverflowError:
            pass
    return hash(value)


def _repeated(source: Source, id: str, kind: str, hashes: Sequence[int]) -> dict[Any, int]:
    """The identifiers that come more than once; the file is read again only if hashes do."""
    import numpy as np

    values, counts = np.unique(np.asarray(hashes, np.int64), return_counts=True)
    twice = set(values[counts > 1].tolist())
    if not twice:
        return {}
    found: Counter[Any] = Counter()
    for record in source.records(0):
        if _hashed(record, id) in twice:
            found[stored_value(plain(record.get(id)), kind)] += 1
    return {key: n for key, n in found.items() if n > 1}


_DECIMAL = re.compile(r"\s*[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?\s*", re.ASCII)


def stored_value(value: Any, kind: str) -> Any:
    """A value as SQLite stores it in a column of this type, so that it equals what is read back."""
    if kind in ("INTEGER", "REAL", "NUMERIC") and isinstance(value, str):
        if value == "":
            return None
        match = _DECIMAL.fullmatch(value)
        if match is None:
            return value
        whole = not match[3] and "." not in value
        number = int(value) if whole and len(value) < 4000 else float(value)
        return number if -(1 << 63) <= number < 1 << 63 else float(value)
    if kind == "TEXT" and type(value) in (int, bool):
        return str(int(value))
    if kind == "TEXT" and type(value) is float and isfinite(value):
        return repr(value)  # as SQLite writes it depends on its version
    return value


def shown(values: Sequence[Any]) -> str:
    """The first values of many, for a message."""
    text = ", ".join(str(v)[:40] for v in values[:_SHOWN])
    return f"{text}, ..." if len(values) > _SHOWN else text


# --- which column holds the vectors --------------------------------------------------------------


def vector_column(
    found: Survey, told: str | None, dim: int | None, known: str | None
) -> str | None:
    """The column of vectors: told, that of the table's index, called so, or of the dimension.

    ``known`` is the column of an index that the table has, ``dim`` the dimension that is told or
    that an index without a model has. A list of numbers under any other name is an ordinary value,
    such as a bounding box.
    """
    columns = found.columns
    if told is not None:
        return found.find(told, "--vector")
    for name in columns:
        if known is not None and name.lower() == known.lower():
            return name
    exact = [c for c in columns.values() if c.called == 0 and (c.lists or not c.values)]
    if exact:
        return min(exact, key=lambda c: (not c.lists, _NAMES.index(c.name.lower()))).name
    called = [c for c in columns.values() if c.called == 1 and c.lengths]
    fits = [c for c in columns.values() if dim is not None and c.dim == dim]
    chosen = called or fits
    if len(chosen) > 1:
        raise _which(found, chosen)
    return chosen[0].name if chosen else None


def lists_of_numbers(found: Survey) -> list[Column]:
    """The columns of lists of numbers of one length, whatever they are called."""
    return [c for c in found.columns.values() if c.dim is not None]


def _which(found: Survey, columns: list[Column]) -> SchemaError:
    choices = ", ".join(f"{c.name} ({'/'.join(map(str, c.lengths))} numbers)" for c in columns)
    return SchemaError(
        f"{found.source.label}: which column holds the vectors? --vector, one of: {choices}"
    )


def read_all(source: Source, skip: int = 0) -> tuple[str | None, Iterator[Record]]:
    """The column of vectors, and the records with vectors as arrays and the rest as stored."""
    found = survey(source)
    name = vector_column(found, source.vector, None, None)
    lists = lists_of_numbers(found)
    if name is None and len(lists) == 1 and not any(c.text for c in found.columns.values()):
        name = lists[0].name
    if name is not None:
        found.vectors(name)
    return name, (_converted(source, record, name) for record in source.records(skip))


def _converted(source: Source, record: Record, vector: str | None) -> Record:
    where = f"{source.label}, column {vector}"
    return {k: to_vector(v, where) if k == vector else plain(v) for k, v in record.items()}
