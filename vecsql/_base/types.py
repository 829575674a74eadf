"""The types of public signatures: connections, vectors, rows and values.

Aliases that need numpy are strings, because `import vecsql` does not import numpy.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


class Connection(Protocol):
    """A connection of sqlite3, pysqlite3 or apsw."""

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""

    def cursor(self) -> object:
        """Returns the driver's own cursor."""


class ArrowStream(Protocol):
    """A table that gives itself as a stream of Arrow: Polars, pyarrow, pandas 2.2, DuckDB."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Returns the stream, by the Arrow PyCapsule interface."""


class Interchange(Protocol):
    """A data frame with the interchange protocol, as older pandas has it."""

    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> object:
        """Returns the frame, by the data frame interchange protocol."""


# A vector in any form that f32 takes: an array, a list of numbers, float32 bytes, a tensor.
Vector: TypeAlias = "ArrayLike"
Query: TypeAlias = "str | ArrayLike"  # a text that is embedded, or a vector
Key: TypeAlias = int | str  # of a row: its rowid, or the TEXT key of a virtual table
Value: TypeAlias = "int | float | str | bytes | NDArray[np.float32] | None"  # of a column
Record: TypeAlias = Mapping[str, object]  # column -> value; vectors in any form
Records: TypeAlias = Iterable[Record]
Frame: TypeAlias = ArrowStream | Interchange
Parameters: TypeAlias = Sequence[object] | Mapping[str, object]
Path: TypeAlias = str | os.PathLike[str]
