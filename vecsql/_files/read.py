"""Opening files of records: which format, which reader, which encoding, packed or not.

Every reader holds a block of records at most, never the file; JSON that is one object is the
exception. The readers are read_text.py (csv, tsv, json, jsonl), read_arrays.py (npy, npz, fvecs,
ivecs, bvecs, hdf5) and read_arrow.py (parquet, arrow, data frames).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any

from vecsql._base.errors import FormatError
from vecsql._files.source import FORMATS, TEXT_FORMATS, Source

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
    from vecsql._files import read_arrays, read_arrow, read_text

    if read_arrow.is_frame(path):
        return read_arrow.open_frame(path, vector)
    if format is not None and format not in FORMATS:
        raise FormatError(f"unknown format {format!r}: expected one of {', '.join(FORMATS)}")
    file, name, label = _as_file(path)
    packing = _packing(file)
    format = format or _format_of(file, label, packing)
    if format in TEXT_FORMATS:
        options = read_text.Options(format, packing, encoding, delimiter, quotes)
        source = read_text.open_text(file, label, options)
        source.vector = vector
    elif packing is not None:
        raise FormatError(
            f"{label} is packed by {packing}: unpack it first, {format} is read as it is"
        )
    elif format in ("parquet", "arrow"):
        source = read_arrow.open_arrow(file, label, format, vector)
    else:
        source = read_arrays.open_arrays(file, label, format, vector, dataset)
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


def fingerprint(path: Path) -> str:
    """Tells a file from another, or from itself after a change at its beginning or end."""
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with path.open("rb") as f:
        digest.update(f.read(1 << 20))
        f.seek(max(0, size - (1 << 20)))
        digest.update(f.read(1 << 20))
    return digest.hexdigest()
