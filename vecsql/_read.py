"""Reading records from files: csv, tsv, jsonl, npy, fvecs, bvecs, hdf5 and parquet.

A record is a dictionary from column names to what SQLite stores, or to a float32 array in the
column of vectors. Every reader holds a block of records at most, never the file.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vecsql._convert import as_float32
from vecsql._errors import ConversionError, FormatError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Record = dict[str, Any]

FORMATS = ("csv", "tsv", "jsonl", "npy", "fvecs", "bvecs", "hdf5", "parquet")
BLOCK = 1024
_SUFFIXES = {
    "ndjson": "jsonl",
    "json": "jsonl",
    "h5": "hdf5",
    "hdf": "hdf5",
    "pq": "parquet",
    "txt": "tsv",
}
_EXTRAS = {"h5py": "hdf5", "pyarrow": "parquet", "matplotlib": "plot"}
_VECTOR_NAMES = ("embedding", "vector", "emb", "vec")


@dataclass
class Source:
    """A stream of records, and what an import needs to know about where they come from.

    ``records(skip)`` yields the records after the first ``skip``, the same ones in the same order
    each time it is called. ``total`` and ``done()`` count in ``unit``.
    """

    name: str  # by which an interrupted import is recognised
    records: Callable[[int], Iterator[Record]]
    vector: str | None = None  # the column whose values are vectors
    total: int | None = None
    unit: str = "records"
    done: Callable[[], int] | None = None  # for unit "bytes"; records are counted by the reader
    fingerprint: str | None = None  # None: cannot be recognised, so cannot be resumed


def open_source(
    path: str | os.PathLike[str] | IO[bytes],
    format: str | None = None,
    *,
    vector: str | None = None,
    dataset: str | None = None,
    encoding: str = "utf-8-sig",
) -> Source:
    """Opens a file (or a binary stream) as a `Source`.

    ``format`` is one of `FORMATS`, by default what the name says. ``vector`` names the column of
    vectors; in npy, fvecs, bvecs and hdf5 it is what they are called, ``embedding`` by default.
    ``dataset`` is that of an HDF5 file, ``train`` by default. Raises `FormatError`.
    """
    format = format or detect(path)
    if format not in FORMATS:
        raise FormatError(f"unknown format {format!r}: expected one of {', '.join(FORMATS)}")
    if format in ("csv", "tsv", "jsonl"):
        return _open_text(path, format, vector, encoding)
    if not isinstance(path, (str, os.PathLike)):
        raise FormatError(f"{format} is read from a file, not from a stream")
    path = Path(path)
    if not path.is_file():
        raise FormatError(f"cannot read {path}: no such file")
    name = vector or "embedding"
    if format == "parquet":
        return _open_parquet(path, vector)
    if format == "hdf5":
        return _open_hdf5(path, name, dataset)
    if format == "npy":
        return _of_array(path, _npy(path), name)
    return _of_array(path, _Vecs(path, format), name)


def detect(path: Any) -> str:
    """The format that a file's name tells; raises `FormatError` if it tells none."""
    if not isinstance(path, (str, os.PathLike)):
        raise FormatError(f"a stream has no name: say its format, one of {', '.join(FORMATS)}")
    suffix = Path(path).suffix.lower().lstrip(".")
    format = _SUFFIXES.get(suffix, suffix)
    if format not in FORMATS:
        raise FormatError(f"{path}: its name tells no format; expected one of {', '.join(FORMATS)}")
    return format


def extra(module: str) -> Any:
    """Imports an optional module; raises `FormatError` naming what to install."""
    top = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise FormatError(
            f"this needs {top}, which is not installed: pip install 'vecsql[{_EXTRAS[top]}]'"
        ) from e


def fingerprint(path: Path) -> str:
    """Tells a file from another, or from itself after a change at its beginning or end."""
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as f:
        digest.update(f.read(1 << 20))
        f.seek(max(0, size - (1 << 20)))
        digest.update(f.read(1 << 20))
    return digest.hexdigest()


# --- text ----------------------------------------------------------------------------------------


def _open_text(path: Any, format: str, vector: str | None, encoding: str) -> Source:
    read = _jsonl if format == "jsonl" else _csv
    delimiter = "\t" if format == "tsv" else ","
    from_stream = not isinstance(path, (str, os.PathLike))
    name = "-" if from_stream else str(Path(path).resolve())
    at = [0]
    if not from_stream and not Path(path).is_file():
        raise FormatError(f"cannot read {path}: no such file")

    def records(skip: int) -> Iterator[Record]:
        raw = path if from_stream else Path(path).open("rb")  # noqa: SIM115
        counted = _Counting(raw, at)
        text = io.TextIOWrapper(io.BufferedReader(counted, 1 << 18), encoding, newline="")
        label = "standard input" if from_stream else str(path)
        try:
            yield from islice(read(text, label, delimiter, source.vector), skip, None)
        except UnicodeDecodeError as e:
            raise FormatError(f"{label} is not {encoding}: {e}") from e
        finally:
            text.detach()
            if not from_stream:
                raw.close()

    source = Source(name, records, vector, None, "bytes", lambda: at[0])
    if not from_stream:
        source.total = Path(path).stat().st_size
        source.fingerprint = fingerprint(Path(path))
        if vector is None:
            source.vector = _find_vector(records(0))
            at[0] = 0
    return source


class _Counting(io.RawIOBase):
    """A raw stream that says how far it was read."""

    def __init__(self, raw: IO[bytes], at: list[int]):
        self._raw, self._at = raw, at
        at[0] = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._raw.read(len(buffer))
        buffer[: len(data)] = data
        self._at[0] += len(data)
        return len(data)


def _csv(text: IO[str], label: str, delimiter: str, vector: str | None) -> Iterator[Record]:
    csv.field_size_limit(1 << 30)  # of the process; the default cuts texts at 128 kB
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    try:
        header = next(reader, None)
        if header is None:
            return
        _check_header(header, label)
        for row in reader:
            if not row:
                continue
            where = f"{label}, line {reader.line_num}"
            if len(row) != len(header):
                raise FormatError(f"{where}: expected {len(header)} fields, got {len(row)}")
            record: Record = dict(zip(header, row, strict=True))
            if vector in record:
                record[vector] = to_vector(record[vector], f"{where}, column {vector}")
            yield record
    except csv.Error as e:
        raise FormatError(f"{label}, line {reader.line_num}: {e}") from e


def _check_header(header: list[str], label: str) -> None:
    lower = [name.lower() for name in header]
    for i, name in enumerate(lower):
        if not name.strip():
            raise FormatError(
                f"{label}: column {i + 1} has no name; the first line names the columns"
            )
        if name in lower[:i]:
            raise FormatError(f"{label}: two columns are called {header[i]!r}")


def _jsonl(text: IO[str], label: str, delimiter: str, vector: str | None) -> Iterator[Record]:
    for number, line in enumerate(text, 1):
        if not line.strip():
            continue
        where = f"{label}, line {number}"
        try:
            value = json.loads(line)
        except ValueError as e:
            raise FormatError(f"{where}: {e}") from e
        if not isinstance(value, dict):
            raise FormatError(f"{where}: expected an object, got {type(value).__name__}")
        yield {
            key: to_vector(v, f"{where}, key {key}") if key == vector else plain(v)
            for key, v in value.items()
        }


def _find_vector(records: Iterator[Record]) -> str | None:
    """The column that holds vectors as JSON arrays, by the first record."""
    first = next(records, None) or {}
    for column in sorted(first, key=lambda c: c.lower() not in _VECTOR_NAMES):
        value = first[column]
        if isinstance(value, str) and value[:1] == "[" and value[-1:] == "]":
            try:
                as_float32(json.loads(value))
            except (ValueError, ConversionError):
                continue
            return column
    return None


def to_vector(value: Any, where: str) -> NDArray[np.float32] | None:
    """A value of the column of vectors: JSON text, numbers, or float32 bytes; '' is NULL."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        return as_float32(json.loads(value) if isinstance(value, str) else value)
    except ValueError as e:
        raise FormatError(f"{where}: expected a vector: {e}") from e


def plain(value: Any) -> Any:
    """What SQLite stores for a value: numbers, text and bytes as they are, the rest as JSON."""
    if value is None or isinstance(value, (str, bytes, float)):
        return value
    if isinstance(value, int):
        return int(value) if -(1 << 63) <= value < 1 << 63 else str(value)
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


# --- arrays --------------------------------------------------------------------------------------


def _of_array(path: Path, array: Any, name: str) -> Source:
    """A source of the rows of anything that slices like a two-dimensional array."""
    import numpy as np

    if len(array.shape) != 2 or array.dtype.kind not in "fiu":
        raise FormatError(
            f"{path}: expected a two-dimensional array of numbers, got {array.dtype} of shape "
            f"{tuple(array.shape)}"
        )

    def records(skip: int) -> Iterator[Record]:
        for begin in range(skip, array.shape[0], BLOCK):
            block = np.array(array[begin : begin + BLOCK], np.float32)
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                row = begin + int(np.argmin(finite))
                raise FormatError(f"{path}: vector {row} holds NaN or infinity")
            for row_vector in block:
                yield {name: row_vector}

    return Source(
        str(path.resolve()), records, name, int(array.shape[0]), fingerprint=fingerprint(path)
    )


def _npy(path: Path) -> Any:
    import numpy as np

    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as e:
        raise FormatError(f"{path} is no .npy file: {e}") from e


class _Vecs:
    """fvecs and bvecs (TEXMEX): each vector preceded by its length as an int32."""

    def __init__(self, path: Path, format: str):
        import numpy as np

        self._path = path
        size = path.stat().st_size
        with path.open("rb") as f:
            head = f.read(4)
        self._dim = int.from_bytes(head, "little", signed=True)
        self.dtype = np.dtype("<f4" if format == "fvecs" else "u1")
        self._row = np.dtype([("dim", "<i4"), ("vector", self.dtype, (max(self._dim, 0),))])
        if len(head) < 4 or self._dim < 1 or size % self._row.itemsize:
            raise FormatError(
                f"{path} is no {format} file: {size} bytes are no whole number of vectors of "
                f"{self._dim} elements"
            )
        self.shape = (size // self._row.itemsize, self._dim)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        import numpy as np

        with self._path.open("rb") as f:
            f.seek(rows.start * self._row.itemsize)
            block = np.fromfile(f, self._row, rows.stop - rows.start)
        wrong = block["dim"] != self._dim
        if wrong.any():
            row = int(np.argmax(wrong))
            raise FormatError(
                f"{self._path}: vector {rows.start + row} has {block['dim'][row]} elements, "
                f"expected {self._dim}"
            )
        out: NDArray[Any] = block["vector"]
        return out


def _open_hdf5(path: Path, name: str, dataset: str | None) -> Source:
    h5py = extra("h5py")
    try:
        file = h5py.File(path, "r")
    except OSError as e:
        raise FormatError(f"{path} is no HDF5 file: {e}") from e
    key = dataset or "train"
    if key not in file or not hasattr(file[key], "shape"):
        raise FormatError(f"{path} has no dataset {key!r}; it has {', '.join(sorted(file))}")
    return _of_array(path, file[key], name)


# --- parquet -------------------------------------------------------------------------------------


def _open_parquet(path: Path, vector: str | None) -> Source:
    parquet, arrow = extra("pyarrow.parquet"), extra("pyarrow")
    try:
        file = parquet.ParquetFile(path)
    except (arrow.ArrowInvalid, OSError) as e:
        raise FormatError(f"{path} is no Parquet file: {e}") from e
    lists = [f.name for f in file.schema_arrow if _is_vector_type(arrow, f.type)]
    if vector is not None and vector not in file.schema_arrow.names:
        raise FormatError(f"{path} has no column {vector}: {', '.join(file.schema_arrow.names)}")
    column = vector or (lists[0] if lists else None)

    def records(skip: int) -> Iterator[Record]:
        at = 0
        for batch in parquet.ParquetFile(path).iter_batches(BLOCK):
            if at + batch.num_rows > skip:
                yield from _batch_records(batch.slice(max(0, skip - at)), column, path)
            at += batch.num_rows

    total = int(file.metadata.num_rows)
    return Source(str(path.resolve()), records, column, total, fingerprint=fingerprint(path))


def _is_vector_type(arrow: Any, kind: Any) -> bool:
    nested = (
        arrow.types.is_list(kind)
        or arrow.types.is_large_list(kind)
        or arrow.types.is_fixed_size_list(kind)
    )
    return bool(nested and arrow.types.is_floating(kind.value_type))


def _batch_records(batch: Any, vector: str | None, path: Path) -> Iterator[Record]:
    columns: dict[str, Any] = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        values = None
        if name == vector and column.null_count == 0 and hasattr(column, "flatten"):
            flat = column.flatten().to_numpy(zero_copy_only=False)
            if len(column) and len(flat) % len(column) == 0 and _uniform(column):
                values = flat.reshape(len(column), -1)
        columns[name] = column.to_pylist() if values is None else values
    for row in zip(*columns.values(), strict=True):
        yield {
            name: to_vector(v, f"{path}, column {name}") if name == vector else plain(v)
            for name, v in zip(columns, row, strict=True)
        }


def _uniform(column: Any) -> bool:
    lengths = column.value_lengths().unique()
    return len(lengths) == 1
