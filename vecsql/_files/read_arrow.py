"""Reading tables of Arrow (Parquet, Arrow IPC, Feather) and data frames (pandas, Polars, Arrow).

Frames are known by what they can do, not by their class: rows by name (Polars), ``iloc`` and
``to_dict`` (pandas), ``__arrow_c_stream__`` or ``__dataframe__`` (everything else).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vecsql._base.errors import FormatError
from vecsql._files.source import BLOCK, Record, Source, extra

_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


# --- files ---------------------------------------------------------------------------------------


def open_arrow(path: Path, label: str, format: str, vector: str | None) -> Source:
    """Opens a Parquet or Arrow file as a `Source`."""
    extra("pyarrow")
    batches = _parquet_batches if format == "parquet" else _ipc_batches
    kind = "Parquet" if format == "parquet" else "Arrow"

    def records(skip: int) -> Iterator[Record]:
        at = 0
        try:
            for batch in batches(path):
                batch.validate(full=True)  # offsets of a damaged file lead outside of it
                if at + batch.num_rows > skip:
                    for part in _blocks(batch.slice(max(0, skip - at))):
                        yield from _batch_records(part)
                at += batch.num_rows
        except FormatError:
            raise
        except Exception as e:  # damage shows as whatever the library meets
            raise FormatError(f"{label} is no {kind} file that can be read: {e}") from e

    try:
        names, total = _described(path, format)
    except Exception as e:
        raise FormatError(f"{label} is no {kind} file: {e}") from e
    if vector is not None and vector not in names:
        raise FormatError(
            f"--vector {vector}: {label} has no such column; it has {', '.join(names)}"
        )
    return Source(label, records, vector, total)


def _described(path: Path, format: str) -> tuple[list[str], int | None]:
    """The names of the columns, and the number of rows if it is known without reading."""
    if format == "parquet":
        file = extra("pyarrow.parquet").ParquetFile(path)
        return list(file.schema_arrow.names), int(file.metadata.num_rows)
    with extra("pyarrow").OSFile(str(path)) as data, _reader(data) as reader:
        return list(reader.schema.names), None


def _parquet_batches(path: Path) -> Iterator[Any]:
    file = extra("pyarrow.parquet").ParquetFile(path)
    yield from file.iter_batches(BLOCK)


def _ipc_batches(path: Path) -> Iterator[Any]:
    with extra("pyarrow").OSFile(str(path)) as data, _reader(data) as reader:
        if hasattr(reader, "num_record_batches"):
            for i in range(reader.num_record_batches):
                yield reader.get_batch(i)
        else:
            yield from reader


def _reader(data: Any) -> Any:
    """A file of Arrow (Feather 2 is one), or a stream of Arrow."""
    ipc = extra("pyarrow.ipc")
    head = data.read(6)
    data.seek(0)
    return ipc.open_file(data) if head == b"ARROW1" else ipc.open_stream(data)


def _blocks(batch: Any) -> Iterator[Any]:
    for start in range(0, batch.num_rows, BLOCK):
        yield batch.slice(start, BLOCK)


def _batch_records(batch: Any) -> Iterator[Record]:
    names = [n for n in batch.schema.names if not _PANDAS_INDEX.fullmatch(n)]
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise FormatError(f"two columns are called {twice!r}")
    columns = [_values(batch.column(batch.schema.get_field_index(n))) for n in names]
    for row in zip(*columns, strict=True):
        yield dict(zip(names, row, strict=True))


def _values(column: Any) -> Any:
    """Values as Python's; lists of numbers of one length as the rows of an array."""
    arrow = extra("pyarrow")
    if isinstance(column, arrow.ExtensionArray):
        column = column.storage
    kind = column.type
    types = arrow.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        number = types.is_floating(kind.value_type) or types.is_integer(kind.value_type)
        if number and column.null_count == 0 and len(column.value_lengths().unique()) == 1:
            flat = column.flatten()
            if flat.null_count == 0 and len(flat):
                return flat.to_numpy(zero_copy_only=False).reshape(len(column), -1)
    return column.to_pylist()


# --- frames --------------------------------------------------------------------------------------


def is_frame(value: Any) -> bool:
    """Whether a value is a table of named columns of another library."""
    return not isinstance(value, (str, bytes, dict, list, tuple)) and (
        hasattr(value, "__arrow_c_stream__")
        or hasattr(value, "__dataframe__")
        or (hasattr(value, "iloc") and hasattr(value, "to_dict") and hasattr(value, "columns"))
    )


def frame_records(frame: Any) -> Iterator[Record]:
    """The rows of a frame as dictionaries; missing values are None."""
    yield from _frame_reader(frame)(frame)


def open_frame(frame: Any, vector: str | None) -> Source:
    """A frame as a `Source`. It has no name, so an import of it cannot be resumed."""
    read = _frame_reader(frame)

    def records(skip: int) -> Iterator[Record]:
        for n, record in enumerate(read(frame)):
            if n >= skip:
                yield record

    total = len(frame) if hasattr(frame, "__len__") else None
    return Source("data frame", records, vector, total)


def _frame_reader(frame: Any) -> Callable[[Any], Iterator[Record]]:
    if hasattr(frame, "iter_rows"):
        return _polars_records
    if hasattr(frame, "iloc"):
        return _pandas_records
    return _arrow_records


def _polars_records(frame: Any) -> Iterator[Record]:
    for record in frame.iter_rows(named=True):
        yield {str(k): None if _missing(v) else v for k, v in record.items()}


def _pandas_records(frame: Any) -> Iterator[Record]:
    names = [str(name) for name in frame.columns]
    if len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise FormatError(f"the data frame has two columns called {twice!r}")
    for start in range(0, len(frame), BLOCK):
        part = frame.iloc[start : start + BLOCK]
        columns = [part.iloc[:, i].tolist() for i in range(len(names))]
        for row in zip(*columns, strict=True):
            yield {n: None if _missing(v) else v for n, v in zip(names, row, strict=True)}


def _arrow_records(frame: Any) -> Iterator[Record]:
    arrow = extra("pyarrow")
    if hasattr(frame, "__arrow_c_stream__"):
        reader = arrow.RecordBatchReader.from_stream(frame)
    else:
        reader = extra("pyarrow.interchange").from_dataframe(frame).to_reader()
    for batch in reader:
        for part in _blocks(batch):
            yield from _batch_records(part)


def _missing(value: Any) -> bool:
    """NaN, pandas' NA and NaT: a frame has no other way to leave a cell empty."""
    if isinstance(value, float):
        return value != value
    return type(value).__name__ in ("NAType", "NaTType")
