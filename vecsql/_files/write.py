"""Writing records to files: the same formats that are read.

A file appears under its name only when it is complete, with the mode of the file that it replaces.
Devices and pipes are written into. csv and tsv hold vectors as JSON arrays and
other blobs in hexadecimal; npy, fvecs, bvecs and hdf5 hold the vectors alone.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

from vecsql._base.errors import FormatError
from vecsql._base.json import to_json
from vecsql._files.source import BLOCK, WRITTEN, Record, extra


def write_records(
    path: str | os.PathLike[str],
    format: str,
    records: Iterable[Record],
    *,
    columns: list[str],
    vector: str | None,
    dim: int,
) -> int:
    """Writes records and returns how many; ``-`` is standard output (csv, tsv and jsonl).

    ``vector`` names the column whose values are float32 arrays of ``dim`` elements (or None).
    """
    if format not in WRITTEN:
        raise FormatError(f"{format} cannot be written: expected one of {', '.join(WRITTEN)}")
    if format in ("csv", "tsv", "json", "jsonl"):
        write = {"json": _write_json, "jsonl": _write_jsonl}.get(format, _write_csv)
        with _text(path) as out:
            return write(out, records, columns, "\t" if format == "tsv" else ",")
    if str(path) == "-":
        raise FormatError(f"{format} is written to a file, not to standard output")
    if format in ("parquet", "arrow"):
        with _replacing(path) as temporary:
            return _write_arrow(temporary, format, records, columns, vector)
    if vector is None:
        raise FormatError(
            f"{format} holds vectors, and there is no column of vectors: csv, jsonl "
            "and parquet hold rows without"
        )
    blocks = _blocks(records, vector)
    with _replacing(path) as temporary:
        return _ARRAYS[format](temporary, blocks, dim)


@contextlib.contextmanager
def _replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A file to write, which becomes the target when all is written.

    It lies beside the target and replaces it. A device or a pipe takes its bytes instead.
    """
    if _is_special(path):
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, f".{Path(path).name}")
            yield copy
            with copy.open("rb") as written, Path(path).open("wb") as out:
                shutil.copyfileobj(written, out)
        return
    target = Path(os.path.realpath(path))  # a link stays one
    temporary = target.with_name(f".{target.name}.part{os.getpid()}")
    temporary.unlink(missing_ok=True)
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    if mode is not None:  # what a private file gets is private meanwhile
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        yield temporary
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _text(path: str | os.PathLike[str]) -> Iterator[IO[str]]:
    if str(path) == "-":
        yield sys.stdout
        return
    whole = contextlib.nullcontext(Path(path)) if _is_special(path) else _replacing(path)
    with whole as file, file.open("w", encoding="utf-8", newline="") as out:
        yield out


def _is_special(path: str | os.PathLike[str]) -> bool:
    """Whether it is there and no ordinary file: a device, a pipe."""
    return Path(path).exists() and not Path(path).is_file()


def check_apart(path: str | os.PathLike[str], database: str) -> None:
    """Refuses to write over a database or a file that SQLite keeps beside it."""
    target = Path(os.path.realpath(path))
    for part in ("", "-wal", "-journal", "-shm"):
        own = Path(os.path.realpath(database + part))
        if target == own or (target.exists() and own.exists() and target.samefile(own)):
            raise FormatError(f"{path} belongs to the database that is read: choose another file")


def text_value(value: Any) -> Any:
    """A value in a text file: arrays as lists, bytes in hexadecimal."""
    if hasattr(value, "tolist"):
        return [_shortest(x) for x in value.tolist()]
    return value.hex() if isinstance(value, (bytes, bytearray, memoryview)) else value


def _shortest(x: Any) -> Any:
    """The shortest decimal that gives the same float32 again."""
    return float(f"{x:.9g}") if isinstance(x, float) else x


def _write_csv(out: IO[str], records: Iterable[Record], columns: list[str], delimiter: str) -> int:
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(columns)
    n = 0
    for record in records:
        values = [text_value(record.get(c)) for c in columns]
        writer.writerow([json.dumps(v) if isinstance(v, list) else v for v in values])
        n += 1
    return n


def _write_jsonl(out: IO[str], records: Iterable[Record], columns: list[str], _: str) -> int:
    n = 0
    for line in _json_lines(records, columns):
        out.write(line + "\n")
        n += 1
    return n


def _write_json(out: IO[str], records: Iterable[Record], columns: list[str], _: str) -> int:
    n = 0
    for n, line in enumerate(_json_lines(records, columns), 1):
        out.write(("[\n" if n == 1 else ",\n") + line)
    out.write("\n]\n" if n else "[]\n")
    return n


def _json_lines(records: Iterable[Record], columns: list[str]) -> Iterator[str]:
    for record in records:
        yield to_json({c: text_value(record.get(c)) for c in columns})


def _write_arrow(
    path: Path, format: str, records: Iterable[Record], columns: list[str], vector: str | None
) -> int:
    arrow = extra("pyarrow")
    if format == "parquet":
        make = extra("pyarrow.parquet").ParquetWriter
    else:
        make = extra("pyarrow.ipc").new_file
    stream = iter(records)
    writer: Any = None
    schema = None
    n = 0
    try:
        while block := list(islice(stream, BLOCK)):
            rows = [{c: _arrow_value(r.get(c), c == vector) for c in columns} for r in block]
            if schema is None:
                schema = _arrow_schema(arrow, rows, columns, vector)
                writer = make(str(path), schema)
            try:
                writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
            except (arrow.ArrowInvalid, arrow.ArrowTypeError) as e:
                raise FormatError(
                    f"a column has several types, which {path.name[1:]} cannot hold: {e}; "
                    "csv and jsonl can"
                ) from e
            n += len(block)
        if writer is None:
            schema = _arrow_schema(arrow, [], columns, vector)
            writer = make(str(path), schema)
    finally:
        if writer is not None:
            writer.close()
    return n


def _arrow_value(value: Any, is_vector: bool) -> Any:
    return value.tolist() if is_vector and value is not None else value


def _arrow_schema(arrow: Any, rows: list[Record], columns: list[str], vector: str | None) -> Any:
    """Types by the first block; a column of NULLs is text."""
    fields = []
    for c in columns:
        kinds = {type(r[c]) for r in rows if r[c] is not None}
        if c == vector:
            kind = arrow.list_(arrow.float32())
        elif kinds == {int}:
            kind = arrow.int64()
        elif kinds and kinds <= {int, float}:
            kind = arrow.float64()
        elif kinds == {bytes}:
            kind = arrow.binary()
        else:
            kind = arrow.string()
        fields.append((c, kind))
    return arrow.schema(fields)


# --- arrays --------------------------------------------------------------------------------------


def _blocks(records: Iterable[Record], vector: str) -> Iterator[Any]:
    import numpy as np

    stream = iter(records)
    while block := list(islice(stream, BLOCK)):
        if any(r.get(vector) is None for r in block):
            raise FormatError(
                f"a row has no {vector}: export --where '{vector} IS NOT NULL', or as jsonl"
            )
        yield np.stack([r[vector] for r in block])


def _write_npy(path: Path, blocks: Iterator[Any], dim: int) -> int:
    import numpy as np

    def header(n: int) -> dict[str, Any]:
        return {"descr": "<f4", "fortran_order": False, "shape": (n, dim)}

    n = 0
    with path.open("w+b") as out:
        # the header is written again with the number of rows; numpy leaves room for it to grow
        np.lib.format.write_array_header_1_0(out, header(0))
        start = out.tell()
        for block in blocks:
            out.write(block.astype("<f4", copy=False).tobytes())
            n += len(block)
        out.seek(0)
        np.lib.format.write_array_header_1_0(out, header(n))
        assert out.tell() == start
    return n


def _write_vecs(path: Path, blocks: Iterator[Any], dim: int, kind: str) -> int:
    import numpy as np

    row = np.dtype([("dim", "<i4"), ("vector", kind, (dim,))])
    n = 0
    with path.open("wb") as out:
        for block in blocks:
            if kind == "u1" and not (np.isin(block, np.arange(256)).all()):
                raise FormatError("bvecs holds whole numbers from 0 to 255: export as fvecs")
            rows = np.empty(len(block), row)
            rows["dim"], rows["vector"] = dim, block
            out.write(rows.tobytes())
            n += len(block)
    return n


def _write_fvecs(path: Path, blocks: Iterator[Any], dim: int) -> int:
    return _write_vecs(path, blocks, dim, "<f4")


def _write_bvecs(path: Path, blocks: Iterator[Any], dim: int) -> int:
    return _write_vecs(path, blocks, dim, "u1")


def _write_hdf5(path: Path, blocks: Iterator[Any], dim: int) -> int:
    h5py = extra("h5py")
    n = 0
    with h5py.File(path, "w") as out:
        train = out.create_dataset("train", (0, dim), "f4", maxshape=(None, dim), chunks=True)
        for block in blocks:
            train.resize(n + len(block), axis=0)
            train[n:] = block
            n += len(block)
    return n


_ARRAYS: dict[str, Callable[[Path, Iterator[Any], int], int]] = {
    "npy": _write_npy,
    "fvecs": _write_fvecs,
    "bvecs": _write_bvecs,
    "hdf5": _write_hdf5,
}
