"""The arrays that callers pass: vectors as float32 rows, labels as uint64."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CHUNK = 4096  # rows that are float64 at a time


def vectors_of(data: Any, dim: int, *, unit: bool) -> NDArray[np.float32]:
    """One vector or several as rows, scaled to length 1 if ``unit`` says so.

    Raises RuntimeError for a wrong shape and for numbers that are not finite.
    """
    import numpy as np

    with np.errstate(over="ignore"):
        rows = np.ascontiguousarray(data, np.float32)
    shape = np.shape(data)
    if len(shape) not in (1, 2):
        raise RuntimeError(
            f"Input vector data wrong shape. Number of dimensions {len(shape)}. "
            "Data must be a 1D or 2D array."
        )
    if len(shape) == 1:
        rows = rows.reshape(1, -1)
    if rows.shape[1] != dim:
        raise RuntimeError(
            f"Wrong dimensionality of the vectors: the index has {dim} dimensions, "
            f"the vectors have {rows.shape[1]}"
        )
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise RuntimeError(
            f"The vector of row {row} has a NaN, an infinity or a number beyond float32"
        )
    return unit_vectors(rows) if unit else rows


def unit_vectors(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """The rows divided by their lengths; a zero vector stays zero."""
    import numpy as np

    out = np.empty_like(rows)
    for first in range(0, len(rows), _CHUNK):
        chunk = rows[first : first + _CHUNK].astype(np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", chunk, chunk))
        lengths[lengths == 0] = 1
        out[first : first + _CHUNK] = chunk / lengths[:, None]
    return out


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
