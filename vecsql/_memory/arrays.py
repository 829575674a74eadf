"""The arrays that callers pass: vectors as float32 rows, labels as uint64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def vectors_of(data: Any, dim: int, *, unit: bool) -> NDArray[np.float32]:
    """One vector or several as rows, scaled to length 1 if ``unit`` says so.

    Raises RuntimeError for a wrong shape and for numbers that are not finite. What numpy raises
    for data that are no numbers comes through: hnswlib's users know it.
    """
    import numpy as np

    rows: NDArray[Any] = np.asarray(data)
    if rows.ndim not in (1, 2):
        raise RuntimeError(
            f"Input vector data wrong shape. Number of dimensions {rows.ndim}. "
            "Data must be a 1D or 2D array."
        )
    if rows.shape[-1] != dim:
        raise RuntimeError(
            f"Wrong dimensionality of the vectors: the index has {dim} dimensions, "
            f"the vectors have {rows.shape[-1]}"
        )
    if rows.dtype.kind == "c":
        raise TypeError("A vector has real numbers, got complex ones")
    if rows.dtype != np.float32:
        with np.errstate(over="ignore"):
            rows = rows.astype(np.float32)
    rows = np.ascontiguousarray(rows).reshape(-1, dim)
    return unit_vectors(rows) if unit else _finite(rows, None)


def unit_vectors(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows at length 1; a zero vector stays zero.

    Raises RuntimeError for numbers that are not finite.
    """
    import numpy as np

    out = np.empty(rows.shape, np.float32)
    _finite(np.ascontiguousarray(rows), out)
    return out


def _finite(rows: NDArray[np.float32], unit: NDArray[np.float32] | None) -> NDArray[np.float32]:
    from vecsql._core import ffi, lib

    dim = rows.shape[1]
    out = ffi.NULL if unit is None else ffi.from_buffer("float[]", unit)
    bad = lib.vs_memory_prepare(ffi.from_buffer("float[]", rows), len(rows), dim, out)
    if bad < len(rows):
        raise RuntimeError(
            f"The vector of row {bad} has a NaN, an infinity or a number beyond float32"
        )
    return rows


def labels_of(ids: Any, n: int) -> list[int]:
    """The labels for n vectors. Raises RuntimeError if there are fewer or more."""
    labels = label_array(ids)
    if not (labels.ndim == 1 and len(labels) == n) and not (labels.ndim == 0 and n == 1):
        raise RuntimeError(
            f"The input label shape {labels.shape} does not match the input data vector shape {n}"
        )
    found: list[int] = labels.reshape(-1).tolist()
    return found


def label_array(ids: Any) -> NDArray[np.uint64]:
    """Labels as uint64, in the shape that they have."""
    import numpy as np

    array = np.asarray(ids)
    if array.size == 0:
        return array.astype(np.uint64)
    if array.dtype.kind not in "iu":
        whole = array.dtype.kind == "f" and bool((array == np.trunc(array)).all())
        if not whole:
            raise RuntimeError(f"A label is a whole number, got {array.dtype}")
    if (array < 0).any():
        raise RuntimeError(f"A label is not negative, got {array.min()}")
    return array.astype(np.uint64)
