"""What every reader and writer shares: a source of records, the formats, optional packages.

A record is a dictionary from column names to the values of the file: text, numbers, bytes, lists,
dictionaries, arrays.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from vecsql._base.errors import FormatError

Record = dict[str, Any]

TEXT_FORMATS = ("csv", "tsv", "json", "jsonl")
ARRAY_FORMATS = ("npy", "npz", "fvecs", "ivecs", "bvecs", "hdf5")
FORMATS = (*TEXT_FORMATS, *ARRAY_FORMATS, "parquet", "arrow")
WRITTEN = tuple(f for f in FORMATS if f not in ("npz", "ivecs"))
BLOCK = 1024
MAX_DIMS = 65_536
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


def extra(module: str) -> Any:
    """Imports an optional module; raises `FormatError` naming what to install."""
    top = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise FormatError(
            f"this needs {top}, which is not installed: pip install 'vecsql[{_EXTRAS[top]}]'"
        ) from e
