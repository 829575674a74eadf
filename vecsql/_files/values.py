"""Values of a file as SQLite stores them, and as vectors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from vecsql._base.convert import as_float32
from vecsql._base.errors import FormatError
from vecsql._base.json import to_json, unicode_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def to_vector(value: Any, where: str) -> NDArray[np.float32] | None:
    """A value as a vector: numbers, float32 bytes, or their text; '' and None are NULL.

    Text is a JSON array, or numbers in brackets or braces as numpy and PostgreSQL print them.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        return as_float32(_numbers(value) if isinstance(value, str) else value)
    except (ValueError, RecursionError) as e:
        raise FormatError(f"{where}: expected a vector: {e or 'nested too deeply'}") from e


def _numbers(text: str) -> Any:
    text = text.strip()
    try:
        return json.loads(text)
    except ValueError:
        inside = text[1:-1].replace(",", " ").split()
        if text[:1] + text[-1:] not in ("[]", "{}") or not inside:
            raise
        return [float(part) for part in inside]


def plain(value: Any) -> Any:
    """What SQLite stores for a value: numbers, text and bytes as they are, the rest as JSON."""
    if isinstance(value, str):
        return value if value.isascii() else unicode_text(value)
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, float):
        return None if value != value else float(value)  # SQLite has no NaN
    if isinstance(value, int):
        return int(value) if -(1 << 63) <= value < 1 << 63 else str(value)
    if isinstance(value, (list, tuple, dict)):
        return to_json(value)
    simple = _simple(value)
    return plain(simple) if isinstance(simple, list) else simple


def _simple(value: Any) -> Any:
    """A value of another library as one that JSON and SQLite know."""
    if hasattr(value, "tolist"):  # numpy's arrays and numbers
        return value.tolist()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)
