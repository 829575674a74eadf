"""What a Python value becomes when it is bound to an SQL parameter, and back.

SQLite binds any object with the buffer protocol as its raw bytes, without a word: a float64 array
as a blob of twice the dimensions, np.float32(3) as a blob of four bytes. So vectors and numpy's
scalars are converted before the driver sees them:

    ndarray, list, tuple, array.array, tensor of numbers    float32 blob
    int8 and uint8 arrays                                   their bytes: vec_int8, vec_bit
    np.int64(1), np.float32(1), np.bool_(1), np.str_("a")   the number, the text
    everything else                                         as it is, for the driver
"""

from __future__ import annotations

import array
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vecsql._base.convert import f32
from vecsql._base.errors import ConversionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PLAIN = frozenset({type(None), int, float, str, bytes, bool})
_RAW = frozenset("bBc?")  # element types whose bytes are the value


def bound(value: Any, adapters: Mapping[Any, Any] | None = None, protocol: Any = None) -> Any:
    """Returns what to hand to the driver; an adapter that the user registered goes first."""
    if type(value) in _PLAIN:
        return value
    if adapters is not None and (
        (type(value), protocol) in adapters or hasattr(value, "__conform__")
    ):
        return value
    if isinstance(value, (list, tuple)):
        return f32(value)
    if isinstance(value, array.array):
        return value.tobytes() if value.typecode in _RAW else f32(value)
    if isinstance(value, memoryview):
        return value if value.format in _RAW else f32(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return _scalar(numpy, value)
    if hasattr(value, "__array__"):
        dtype = getattr(value, "dtype", None)
        if numpy is not None and isinstance(value, numpy.ndarray):
            if dtype == numpy.int8 or dtype == numpy.uint8:
                return value.tobytes()
            if dtype == numpy.bool_:
                raise ConversionError("a bool array: vecsql.bit(x) makes a bit vector of it")
        return f32(value)
    return value


def _scalar(numpy: Any, value: Any) -> Any:
    if isinstance(value, (numpy.bool_, numpy.integer)):
        return int(value)
    if isinstance(value, numpy.floating):
        return float(value)
    if isinstance(value, (str, bytes)):
        return str(value) if isinstance(value, str) else bytes(value)
    raise ConversionError(
        f"cannot bind a numpy {type(value).__name__}: bind .item(), or its text (str)"
    )


def without_numpy(value: Any) -> Any:
    """A numpy scalar as Python's number, text or bytes; anything else as it is."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.generic):
        return _scalar(numpy, value)
    return value


class Binder:
    """Converts sets of parameters for one driver's adapters."""

    def __init__(self, adapters: Mapping[Any, Any] | None = None, protocol: Any = None):
        self._adapters = adapters
        self._protocol = protocol

    def one(self, parameters: Any) -> Any:
        """Converts the parameters of one statement; returns the same object if nothing is to do."""
        if isinstance(parameters, (tuple, list)):
            for value in parameters:
                if type(value) not in _PLAIN:
                    return [bound(v, self._adapters, self._protocol) for v in parameters]
        elif type(parameters) is dict:
            for value in parameters.values():
                if type(value) not in _PLAIN:
                    return {
                        k: bound(v, self._adapters, self._protocol) for k, v in parameters.items()
                    }
        return parameters

    def many(self, sets: Iterable[Any]) -> Iterator[Any]:
        """Converts the parameters of executemany."""
        return map(self.one, sets)


def vector(value: bytes | bytearray | memoryview | str | None) -> NDArray[np.float32] | None:
    """Returns a stored vector as a float32 array: from a blob of float32, or from JSON text.

    NULL gives None. It is also the converter of the type VECTOR: connect with
    ``detect_types=sqlite3.PARSE_DECLTYPES`` and columns that `create_index` added give arrays;
    with ``PARSE_COLNAMES``, ``SELECT embedding AS "e [vector]"`` does.

    >>> vector(b"\\x00\\x00\\x80?\\x00\\x00\\x00?").tolist()
    [1.0, 0.5]
    """
    if value is None:
        return None
    import numpy as np

    if isinstance(value, str):
        import json

        try:
            return np.asarray(json.loads(value), np.float32)
        except ValueError as e:
            raise ConversionError(f"expected a vector as JSON text: {e}") from e
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise ConversionError(f"expected a blob or JSON text, got {type(value).__name__}")
    if len(bytes(value)) % 4:
        raise ConversionError(
            f"expected float32 values, got {len(value)} bytes, which is no multiple of 4; "
            "for int8: numpy.frombuffer(blob, numpy.int8)"
        )
    return np.frombuffer(value, "<f4").astype(np.float32)
