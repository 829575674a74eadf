"""Vectors from Python values, as the blobs that SQLite stores: one function per element type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vecsql._base.errors import ConversionError
from vecsql._base.types import Vector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MAX_DIMS = 65_536


def f32(x: Vector) -> bytes:
    """Returns one vector as little-endian float32 bytes, ready to bind as an SQL parameter.

    ``x`` is a one-dimensional numpy array of any real type (strided and big-endian ones are
    copied), a list or tuple of numbers, an ``array.array``, anything that numpy can view as an
    array (a torch CPU tensor), or bytes that already are float32 values.

    Raises `ConversionError` for NaN and infinity, for values beyond float32, for an empty vector,
    and for anything that is not one-dimensional or not numeric.

    >>> f32([1, 0.5]).hex()
    '0000803f0000003f'
    """
    return as_float32(x).astype("<f4", copy=False).tobytes()


def f16(x: Vector) -> bytes:
    """Returns one vector as little-endian float16 bytes, for a ``float16[n]`` column.

    Takes what `f32` takes (bytes are float32 values) and rounds to the nearest float16. Raises
    `ConversionError` for what `f32` refuses and for values beyond 65504.

    >>> f16([1, 0.5]).hex()
    '003c0038'
    """
    import numpy as np

    wide = as_float32(x)
    with np.errstate(over="ignore"):
        out = wide.astype("<f2")
    _refuse_first(~np.isfinite(out), wide, "does not fit in float16")
    return out.tobytes()


def int8(x: Vector) -> bytes:
    """Returns one vector as int8 bytes, for an ``int8[n]`` column and for ``vec_int8()``.

    Takes what `f32` takes. Raises `ConversionError` unless every element is a whole number from
    -128 to 127.

    >>> int8([1, -2]).hex()
    '01fe'
    """
    import numpy as np

    wide = as_float32(x)
    bad = (wide < -128) | (wide > 127) | (wide != np.trunc(wide))
    _refuse_first(bad, wide, "is no whole number from -128 to 127")
    return wide.astype("i1").tobytes()


def bit(x: Vector) -> bytes:
    """Returns one vector of truth values as packed bits, for a ``bit[n]`` column and ``vec_bit()``.

    ``x`` is a one-dimensional array or list of bools, or of zeros and ones; its length is a
    multiple of 8. The first element is the lowest bit of the first byte, as ``vec_to_json`` and
    ``vec_quantize_binary`` have it (numpy.packbits has it the other way round by default).

    >>> bit([True, False, False, False, False, False, False, False]).hex()
    '01'
    """
    import numpy as np

    array = np.asarray(x)
    wide = as_float32(array.astype(np.uint8) if array.dtype == np.bool_ else x)
    _refuse_first((wide != 0) & (wide != 1), wide, "is neither 0 nor 1")
    if wide.size % 8:
        raise ConversionError(f"a bit vector has a multiple of 8 elements, got {wide.size}")
    return np.packbits(wide.astype(np.uint8), bitorder="little").tobytes()


def _refuse_first(bad: NDArray[np.bool_], values: NDArray[np.float32], what: str) -> None:
    if bad.any():
        i = int(bad.argmax())
        raise ConversionError(f"element {i} {what}: {values[i]}")


def whole(value: Any, what: str, least: int = 1) -> int:
    """A whole number, numpy's and 10.0 too; raises ValueError that says what it is."""
    number = value.item() if hasattr(value, "item") and not getattr(value, "shape", ()) else value
    if isinstance(number, (int, float)) and number == number // 1 and number >= least:
        return int(number)
    raise ValueError(f"{what}, at least {least}; got {value!r}")


def as_float32(x: Any) -> NDArray[np.float32]:
    """Returns one vector as a contiguous float32 array; does not copy one that already is."""
    import numpy as np

    if isinstance(x, str):
        raise ConversionError(
            "expected numbers, got str: JSON text needs no conversion, bind it as it is"
        )
    if isinstance(x, (bytes, bytearray)):
        if len(x) % 4:
            raise ConversionError(
                f"expected float32 bytes, got {len(x)} bytes, which is no multiple of 4"
            )
        array: NDArray[Any] = np.frombuffer(x, "<f4")
    else:
        if np.ma.isMaskedArray(x) and np.ma.getmaskarray(x).any():
            raise ConversionError("a masked array has no value for its masked elements: .filled()")
        try:
            array = np.asarray(x)
        except Exception as e:
            raise ConversionError(
                f"cannot take {type(x).__name__} as a vector: {e} "
                "(a torch tensor: .detach().cpu().numpy())"
            ) from e
    if array.ndim != 1:
        raise ConversionError(_wrong_shape(x, array.shape))
    if array.dtype.kind not in "fiu":
        raise ConversionError(_wrong_type(x, array))
    if not 1 <= array.size <= _MAX_DIMS:
        raise ConversionError(f"a vector has 1 to {_MAX_DIMS} elements, got {array.size}")
    with np.errstate(over="ignore"):
        out = np.ascontiguousarray(array, np.float32)
    finite = np.isfinite(out)
    if not finite.all():
        i = int(np.argmin(finite))
        what = "does not fit in float32" if np.isfinite(array[i]) else "is not a finite number"
        raise ConversionError(f"element {i} {what}: {array[i]}")
    return out


def _wrong_shape(x: Any, shape: tuple[int, ...]) -> str:
    if not shape:
        return f"expected a vector, got a single {type(x).__name__}"
    if len(shape) == 2 and shape[0] == 1:
        return f"expected one vector, got shape {shape}: a batch of one, pass x[0]"
    if len(shape) == 2:
        return f"expected one vector, got shape {shape}: a batch, convert each row"
    return f"expected one vector, got shape {shape}"


def _wrong_type(x: Any, array: NDArray[Any]) -> str:
    if array.dtype.kind == "O":
        for i, item in enumerate(array):
            if not isinstance(item, (int, float)):
                return f"element {i} is no number: {type(item).__name__}"
        return "elements do not fit in float32"
    return f"expected real numbers, got {type(x).__name__} of {array.dtype}"
