"""Opening files of records: which format, which reader, which encoding, packed or not.

A record is a dictionary from column names to the values of the file: text, numbers, bytes, lists,
dictionaries, arrays. `plain` makes of a value what SQLite stores, `to_vector` a vector. Every
reader holds a block of records at most, never the file; JSON that is one object is the exception.

The readers are in _read_text (csv, tsv, json, jsonl), _read_arrays (npy, npz, fvecs, ivecs, bvecs,
hdf5) and _read_arrow (parquet, arrow, data frames).
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from vecsql._convert import as_float32
from vecsql._errors import FormatError
from vecsql._json import to_json, unicode_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Record = dict[str, Any]

TEXT_FORMATS = ("csv", "tsv", "json", "jsonl")
ARRAY_FORMATS = ("npy", "npz", "fvecs", "ivecs", "bvecs", "hdf5")
FORMATS = (*TEXT_FORMATS, *ARRAY_FORMATS, "parquet", "arrow")
WRITTEN = tuple(f for f in FORMATS if f not in ("npz", "ivecs"))
BLOCK = 1024
MAX_DIMS = 65_536
_SUFFIXES = {
    "ndjson": "jsonl",
    "jsonlines": "jsonl",
    "h5": "hdf5",
    "hdf": "hdf5",
    "pq": "parquet",
    "txt": "tsv",
    "feather": "arrow",
    "ipc": "arrow",
    "arrows": "arrow",
}
PACKED = {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "zstd"}
_MAGIC = {
    b"\x93NUMPY": "npy",
    b"\x89HDF\r\n\x1a\n": "hdf5",
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"PK\x03\x04": "npz",
}
_EXTRAS = {
    "h5py": "hdf5",
    "pyarrow": "parquet",
    "matplotlib": "plot",
    "selectolax": "html",
    "zstandard": "zstd",
}


@dataclass
class Source:
    """A stream of records, and what an import needs to know about where they come from.

    ``records(skip)`` yields the records after the first ``skip``, the same ones in the same order
    each time it is called. ``total`` and ``done()`` count in ``unit``.
    """

    name: str  # by which an earlier import is recognised
    records: Callable[[int], Iterator[Record]]
    vector: str | None = None  # the column of vectors, where the format or the caller names it
    total: int | None = None
    unit: str = "records"
    done: Callable[[], int] | None = None  # for unit "bytes"; records are counted by the reader
    fingerprint: str | None = None  # None: cannot be recognised, so cannot be resumed
    dim: int | None = None  # of a format that holds nothing but vectors of this dimension
    metric: str | None = None  # that the file names
    typed: bool = True  # False: every value is text, so numbers are told by how they look
    place: Callable[[], str] | None = None  # where the latest record is, for messages
    label: str = ""  # the file as the user named it

    def __post_init__(self) -> None:
        self.label = self.label or self.name


def open_source(
    path: Any,
    format: str | None = None,
    *,
    vector: str | None = None,
    dataset: str | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    quotes: bool = True,
) -> Source:
    """Opens a file, a binary stream or a data frame as a `Source`.

    ``format`` is one of `FORMATS`, by default what name and content say. ``vector`` names the
    column of vectors; in formats that hold nothing else it is what they are called, ``embedding``
    by default. ``dataset`` is the array of an HDF5 or npz file. ``encoding`` is that of text, by
    default UTF-8, or UTF-16 where a byte order mark says so. ``delimiter`` and ``quotes`` are of
    csv and tsv; the delimiter is found by default. A stream is copied to a temporary file.

    Raises `FormatError`.
    """
    from vecsql import _read_arrays, _read_arrow, _read_text

    if _read_arrow.is_frame(path):
        return _read_arrow.open_frame(path, vector)
    if format is not None and format not in FORMATS:
        raise FormatError(f"unknown format {format!r}: expected one of {', '.join(FORMATS)}")
    file, name, label = _as_file(path)
    packing = _packing(file)
    format = format or _format_of(file, label, packing)
    if format in TEXT_FORMATS:
        options = _read_text.Options(format, packing, encoding, delimiter, quotes)
        source = _read_text.open_text(file, label, options)
        source.vector = vector
    elif packing is not None:
        raise FormatError(
            f"{label} is packed by {packing}: unpack it first, {format} is read as it is"
        )
    elif format in ("parquet", "arrow"):
        source = _read_arrow.open_arrow(file, label, format, vector)
    else:
        source = _read_arrays.open_arrays(file, label, format, vector, dataset)
    source.name, source.label = name, label
    if name != "-":
        source.fingerprint = fingerprint(file)
    return source


def _as_file(path: Any) -> tuple[Path, str, str]:
    """A regular file with the bytes, the name of the source, and its name for messages."""
    if not isinstance(path, (str, os.PathLike)):
        return _spooled(path), "-", "standard input"
    path = Path(path)
    try:
        if path.is_file():
            return path, str(path.resolve()), str(path)
        if path.is_dir():
            raise FormatError(f"{path} is a folder: vecsql ingest reads folders of documents")
        if path.exists():  # a pipe
            with path.open("rb") as stream:
                return _spooled(stream), "-", str(path)
    except (OSError, ValueError) as e:
        raise FormatError(f"cannot read {path}: {e}") from e
    raise FormatError(f"cannot read {path}: no such file")


_spools: list[tempfile.TemporaryDirectory[str]] = []  # of streams; removed when the process ends


def _spooled(stream: IO[bytes]) -> Path:
    """A copy of a stream in a temporary file, so that it can be read more than once."""
    folder = tempfile.TemporaryDirectory(prefix="vecsql-")
    _spools.append(folder)
    path = Path(folder.name, "stream")
    try:
        with path.open("wb") as out:
            shutil.copyfileobj(stream, out, 1 << 20)
    except OSError as e:
        raise FormatError(f"cannot copy the stream to a temporary file: {e}") from e
    return path


def _head(path: Path, size: int = 16) -> bytes:
    try:
        with path.open("rb") as f:
            return f.read(size)
    except OSError as e:
        raise FormatError(f"cannot read {path}: {e.strerror}") from e


def _packing(path: Path) -> str | None:
    head = _head(path)
    for magic, packing in (
        (b"\x1f\x8b", "gzip"),
        (b"BZh", "bzip2"),  # and a digit, and pi
        (b"\xfd7zXZ\0", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
    ):
        if head.startswith(magic) and (packing != "bzip2" or head[4:7] == b"1AY"):
            return packing
    return None


def _format_of(file: Path, label: str, packing: str | None) -> str:
    """The format that the content tells for certain, or else the name."""
    head = _head(file)
    if packing is None:
        for magic, format in _MAGIC.items():
            if head.startswith(magic) and not (format == "npz" and not label.endswith(".npz")):
                return format
    if label == "standard input":
        raise FormatError(f"a stream has no name: --format tells, one of {', '.join(FORMATS)}")
    return detect(label)


def detect(path: Any) -> str:
    """The format that a file's name tells; raises `FormatError` if it tells none."""
    if not isinstance(path, (str, os.PathLike)):
        raise FormatError(f"a stream has no name: --format tells, one of {', '.join(FORMATS)}")
    name = Path(path)
    if name.suffix.lower().lstrip(".") in PACKED:
        name = name.with_suffix("")
    suffix = name.suffix.lower().lstrip(".")
    format = _SUFFIXES.get(suffix, suffix)
    if format in ("xlsx", "xls", "ods"):
        raise FormatError(f"{path} is a spreadsheet: save it as csv")
    if format == "zip":
        raise FormatError(f"{path} is an archive: unpack it first")
    if format not in FORMATS:
        raise FormatError(
            f"{path}: its name tells no format: --format tells, one of {', '.join(FORMATS)}"
        )
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


# --- values --------------------------------------------------------------------------------------


def to_vector(value: Any, where: str) -> NDArray[np.float32] | None:
    """A value as a vector: numbers, float32 bytes, or their text; '' and None are NULL.

    Text is a JSON array, or numbers in brackets or braces as numpy and PostgreSQL print them.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        return as_float32(_numbers(value) if isinstance(value, str) else value)
    except (ValueError, RecursionError) as e:
        raise FormatError(f"{where}: expected a vector: {e or 'nested too deeply'}") from e


def _numbers(text: str) -> Any:
    text = text.strip()
    try:
        return json.loads(text)
    except ValueError:
        inside = text[1:-1].replace(",", " ").split()
        if text[:1] + text[-1:] not in ("[]", "{}") or not inside:
            raise
        return [float(part) for part in inside]


def plain(value: Any) -> Any:
    """What SQLite stores for a value: numbers, text and bytes as they are, the rest as JSON."""
    if isinstance(value, str):
        return value if value.isascii() else unicode_text(value)
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, float):
        return None if value != value else float(value)  # SQLite has no NaN
    if isinstance(value, int):
        return int(value) if -(1 << 63) <= value < 1 << 63 else str(value)
    if isinstance(value, (list, tuple, dict)):
        return to_json(value)
    simple = _simple(value)
    return plain(simple) if isinstance(simple, list) else simple


def _simple(value: Any) -> Any:
    """A value of another library as one that JSON and SQLite know."""
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return value.tolist()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
