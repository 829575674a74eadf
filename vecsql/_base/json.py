"""Python values as JSON that SQLite can read: numbers as numbers, no NaN, dates as ISO text."""

from __future__ import annotations

import datetime
import enum
import json
import math
import numbers
from collections.abc import Mapping
from typing import Any

from vecsql._base.errors import ConversionError


def to_json(value: Any, *, sort_keys: bool = False) -> str:
    """Returns JSON text; NaN and infinity are null, what JSON does not know is its text.

    >>> to_json({"price": float("nan"), "day": datetime.date(2024, 5, 1), "tags": ("a", "b")})
    '{"price": null, "day": "2024-05-01", "tags": ["a", "b"]}'
    """

    def dumps(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, sort_keys=sort_keys, allow_nan=False)

    try:
        text = dumps(value)
    except (TypeError, ValueError, RecursionError):  # something that JSON does not know
        try:
            text = dumps(_plain(value))
        except RecursionError as e:
            raise ConversionError(
                "expected values for JSON, got some that contain themselves"
            ) from e
    return unicode_text(text)


def unicode_text(text: str) -> str:
    """A text without halves of surrogate pairs, which UTF-8 cannot hold: they become U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value.value if isinstance(value, enum.Enum) else value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        return [_plain(v) for v in items]
    if isinstance(value, (datetime.date, datetime.time)):
        # pandas.NaT is a date that is no date
        return value.isoformat() if value == value else None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if str(getattr(value, "dtype", ""))[:8] in ("datetime", "timedelt"):
        return _plain(value.astype(str).tolist())  # numpy's own are numbers for tolist
    if hasattr(value, "tolist"):  # arrays, tensors and numpy's scalars
        return _plain(value.tolist())
    if isinstance(value, numbers.Number) and hasattr(value, "__float__"):  # Decimal, Fraction
        number = float(value)
        return int(number) if number.is_integer() else _plain(number)
    return str(value)


def _key(key: Any) -> str:
    plain = _plain(key)
    return plain if isinstance(plain, str) else json.dumps(plain)
