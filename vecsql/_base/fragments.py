"""SQL text of the caller that becomes a part of a statement: conditions, types, options.

Such a text is checked here before it is pasted. It may be wrong SQL, which SQLite reports, but it
stays one condition, one type or one list of options, and ends where the caller's text ends. apsw
runs several statements in one call, so a semicolon would begin another.
"""

from __future__ import annotations

import re

from vecsql._base.errors import FilterError, SchemaError

_SHAPE = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*(?s:.*?)(?:\*/|\Z)"""
    r"""|['"`\[();,\0]"""
)
_QUERY = re.compile(
    r"(?:\s|--[^\n]*(?:\n|\Z)|/\*(?s:.*?)\*/)*(select|values|with)\b", re.IGNORECASE
)
_OPTIONS = re.compile(r"[\w\s=.+]*", re.ASCII)


def bracketed(where: str) -> str:
    """A condition in brackets: so ``1 LIMIT 0`` or ``0 UNION SELECT 1`` is a syntax error.

    Raises `FilterError` for a text that leaves the brackets. A comment ends with its line.
    """
    end = _end(where)
    if end is not None:
        raise FilterError(f"where= is one SQL condition; {end}")
    if _QUERY.match(where):
        raise FilterError("where= is one SQL condition; a query as a value stands in brackets")
    return f"(\n{where}\n)"


def column_type(column: str, kind: str) -> str:
    """The type of a column with its constraints: ``TEXT NOT NULL``."""
    end = _end(kind, one=True)
    if end is not None:
        raise SchemaError(f"{column}: expected one type as SQL, got {kind!r}; {end}")
    return kind


def column_options(column: str, options: str) -> str:
    """The options of a vector column: ``m=32 codec=none``."""
    if not isinstance(options, str) or not _OPTIONS.fullmatch(options):
        raise SchemaError(
            f"{column}: options are name=value with spaces between them, got {options!r}"
        )
    return options


def _end(text: str, one: bool = False) -> str | None:
    """Says where a text ends before its end; ``one``: at a comma or at a comment too."""
    depth = 0
    for part in _SHAPE.finditer(text):
        found = part[0]
        depth += (found == "(") - (found == ")")
        open_end = len(found) == 1 and found in "'\"`[;\0"
        open_comment = found[:2] == "/*" and (found[-2:] != "*/" or len(found) < 4)
        parted = one and ((found == "," and depth == 0) or found[:2] in ("--", "/*"))
        if depth < 0 or open_end or open_comment or parted:
            return f"at {text[part.start() :][:30]!r} it ends"
    return "a bracket is not closed" if depth else None
