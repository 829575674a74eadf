"""Vectors of any element type as float32 arrays, and back: Python computes with float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vecsql._base.convert import bit, f16, f32, int8
from vecsql._connection.driver import Db
from vecsql._tables.catalog import IndexInfo, indexes

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The SQL function that says what a blob is; a blob alone is float32, which float16 takes too.
_TYPED = {"int8": ("vec_int8(?)", int8), "bit": ("vec_bit(?)", bit)}


def as_query(info: IndexInfo, vector: NDArray[np.float32]) -> tuple[str, bytes]:
    """A query vector as an SQL expression with one parameter, and that parameter.

    Raises `ConversionError` for elements that the index cannot have.
    """
    sql, encode = _TYPED.get(info.element, ("?", f32))
    return sql, encode(vector)


def places(db: Db, table: str) -> dict[str, str]:
    """The columns of a table whose blobs need a function that says what they are, with it.

    A vec0 table takes a bare blob for float32, whatever its column is.
    """
    return {
        i.source: _TYPED[i.element][0]
        for i in indexes(db, table)
        if i.table == i.index and i.element in _TYPED
    }


def encoded(info: IndexInfo, vector: NDArray[np.float32]) -> bytes:
    """A vector as the index stores it.

    Raises `ConversionError` for elements that the index cannot have.
    """
    encode = {"int8": int8, "bit": bit, "float16": f16}.get(info.element, f32)
    return encode(vector)


def decoded(info: IndexInfo, blob: Any) -> NDArray[np.float32] | None:
    """A stored vector as a float32 array (bits as 0 and 1); None if it is none of the index."""
    import numpy as np

    if not isinstance(blob, (bytes, bytearray, memoryview)):
        return None
    if info.element == "bit":
        out = np.unpackbits(np.frombuffer(blob, np.uint8), bitorder="little")
    else:
        kind = {"int8": "i1", "float16": "<f2"}.get(info.element, "<f4")
        if len(blob) != info.dim * np.dtype(kind).itemsize:
            return None
        out = np.frombuffer(blob, kind)
    return out.astype(np.float32) if len(out) == info.dim else None
