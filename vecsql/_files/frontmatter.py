"""Front matter: the metadata at the head of a text, between lines of --- (YAML), +++ (TOML), or as
one JSON object.

Of YAML it reads what people write there: scalars, quoted texts, lists and mappings in blocks or in
brackets, literal and folded texts. A head that it does not understand (anchors, tags) is no front
matter and stays text. Dates stay text; only ``true``, ``false``, ``null`` and numbers of JSON's
form mean anything else.
"""

from __future__ import annotations

import importlib
import json
import re
from typing import Any

_FENCE = re.compile(r"(---|\+\+\+)[ \t]*\n")
_NUMBER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_KEY = re.compile(
    r"""("(?:[^"\\]|\\.)*"\s*|'(?:[^']|'')*'\s*|[^\s#&*!|>%@`"'\[\]{},:-][^#:]*|-?\w[^#:]*):(?:\s+|$)"""
)
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
_DEEPEST = 20


class _NotUnderstood(Exception):
    """It is no YAML of the kind that is read here."""


def front_matter(text: str) -> tuple[dict[str, Any], int]:
    """Returns the metadata at the head of a text and where the text behind it begins.

    >>> front_matter("---\\ntitle: Trains\\ntags: [rail, night]\\n---\\nThe night train.")
    ({'title': 'Trains', 'tags': ['rail', 'night']}, 42)
    >>> front_matter("--- no, a dash")
    ({}, 0)
    """
    if text.startswith("{"):
        return _json_object(text)
    fence = _FENCE.match(text)
    if fence is None:
        return {}, 0
    mark = fence[1]
    closing = re.compile(
        rf"^(?:{re.escape(mark)}{'' if mark == '+++' else '|[.]{3}'})[ \t]*(?:\n|\Z)", re.MULTILINE
    ).search(text, fence.end())
    if closing is None:
        return {}, 0
    block = text[fence.end() : closing.start()]
    found = _toml(block) if mark == "+++" else _yaml(block)
    return ({}, 0) if found is None else (found, closing.end())


def _json_object(text: str) -> tuple[dict[str, Any], int]:
    try:
        found, end = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return {}, 0
    behind = re.compile(r"[ \t]*\n\s*(?=\S)").match(text, end)  # a file of JSON alone is a text
    return (found, behind.end()) if behind and isinstance(found, dict) else ({}, 0)


def _toml(block: str) -> dict[str, Any] | None:
    try:
        toml = importlib.import_module("tomllib")  # from Python 3.11 on
    except ImportError:
        return None
    try:
        found: dict[str, Any] = toml.loads(block)
    except (ValueError, RecursionError):
        return None
    return found


# --- YAML ----------------------------------------------------------------------------------------


def _yaml(block: str) -> dict[str, Any] | None:
    lines = [(len(line) - len(line.lstrip(" ")), line) for line in block.split("\n")]
    try:
        reader = _Yaml(lines)
        found = reader.value(0, 0)
        reader.skip()
        if reader.at < len(lines) or not (found is None or isinstance(found, dict)):
            return None
        return found or {}
    except _NotUnderstood:
        return None


class _Yaml:
    """Reads blocks of lines, each with its indentation."""

    def __init__(self, lines: list[tuple[int, str]]):
        self._lines = lines
        self.at = 0

    def skip(self) -> None:
        """Passes empty lines and comments."""
        while self.at < len(self._lines):
            line = self._lines[self.at][1].strip()
            if line and not line.startswith("#"):
                return
            self.at += 1

    def value(self, indent: int, depth: int) -> Any:
        """The mapping or the list whose lines are indented by at least this much."""
        self.skip()
        if self.at == len(self._lines) or self._lines[self.at][0] < indent:
            return None
        if depth > _DEEPEST:
            raise _NotUnderstood
        indent, line = self._lines[self.at]
        if line[indent:] == "-" or line[indent:].startswith("- "):
            return self._list(indent, depth)
        return self._mapping(indent, depth)

    def _list(self, indent: int, depth: int) -> list[Any]:
        out: list[Any] = []
        while self._continues(indent) and self._is_item(indent):
            item = self._lines[self.at][1][indent + 1 :]
            if not _uncommented(item):
                self.at += 1
                out.append(self.value(indent + 1, depth + 1))
            elif _KEY.match(item.lstrip()) or item.lstrip().startswith("- "):
                # the rest of the line is the first line of a block of its own
                inner = indent + 1 + len(item) - len(item.lstrip())
                self._lines[self.at] = (inner, " " * inner + item.lstrip())
                out.append(self.value(inner, depth + 1))
            else:
                self.at += 1
                out.append(self._scalar(item, indent))
        return out

    def _mapping(self, indent: int, depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        while self._continues(indent) and not self._is_item(indent):
            line = self._lines[self.at][1][indent:]
            key = _KEY.match(line)
            if key is None:
                raise _NotUnderstood
            name, rest = _unquoted(key[1].strip()), line[key.end() :]
            self.at += 1
            if name in out:
                raise _NotUnderstood
            if _uncommented(rest):
                out[name] = self._scalar(rest, indent)
                continue
            self.skip()
            listed = self._is_item(indent)  # a list may stand as far left as its key
            out[name] = self.value(indent if listed else indent + 1, depth + 1)
        return out

    def _continues(self, indent: int) -> bool:
        """Whether the next line belongs to the block; one that is farther right fits nowhere."""
        self.skip()
        if self.at == len(self._lines):
            return False
        found, line = self._lines[self.at]
        if found > indent or line[found : found + 1] == "\t":
            raise _NotUnderstood
        return found == indent

    def _is_item(self, indent: int) -> bool:
        if self.at == len(self._lines):
            return False
        found, line = self._lines[self.at]
        return found == indent and (line[found:] == "-" or line[found:].startswith("- "))

    def _scalar(self, text: str, indent: int) -> Any:
        text = text.strip()
        if text[0] in "|>":
            return self._literal(text, indent)
        if text[0] in "[{\"'":
            value, end = _flow(text, 0, 0)
            if _uncommented(text[end:]):
                raise _NotUnderstood
            return value
        parts = [_uncommented(text)]
        if parts[0][:1] in ("&", "*", "!", "%", "@", "`"):
            raise _NotUnderstood
        while self.at < len(self._lines) and self._lines[self.at][0] > indent:
            line = self._lines[self.at][1].strip()  # a text goes on in lines farther right
            if not line or _KEY.match(line) or line.startswith("- "):
                break
            parts.append(_uncommented(line))
            self.at += 1
        return _plain(" ".join(parts))

    def _literal(self, mark: str, indent: int) -> str:
        """A text of several lines: | keeps the line ends, > makes them spaces."""
        if not re.fullmatch(r"[|>][-+]?", _uncommented(mark)):
            raise _NotUnderstood
        lines: list[str] = []
        inner = None
        while self.at < len(self._lines):
            found, line = self._lines[self.at]
            if line.strip():
                if found <= indent:
                    break
                inner = found if inner is None else inner
            lines.append(line[inner or 0 :] if line.strip() else "")
            self.at += 1
        text = "\n".join(lines).rstrip("\n")
        if mark[0] == ">":
            text = re.sub(r"\n+", lambda breaks: breaks[0][1:] or " ", text)
        return text if mark[1:2] == "-" else text + "\n"


def _flow(text: str, at: int, depth: int) -> tuple[Any, int]:
    """A value in brackets or quotes, and where it ends."""
    while text[at : at + 1] == " ":
        at += 1
    first = text[at : at + 1]
    if depth > _DEEPEST or not first:
        raise _NotUnderstood
    if first in "\"'":
        end = _end_of_quotes(text, at)
        return _unquoted(text[at:end]), end
    if first not in "[{":
        end = at
        while end < len(text) and text[end] not in ",]}" and text[end : end + 2] != ": ":
            end += 1
        plain = text[at:end].strip()
        if plain[:1] in ("&", "*", "!", "[", "{"):
            raise _NotUnderstood
        return _plain(plain), end
    closing = "]" if first == "[" else "}"
    items: list[Any] = []
    pairs: dict[str, Any] = {}
    at += 1
    while True:
        while text[at : at + 1] in (" ", ","):
            if not text[at : at + 1]:
                raise _NotUnderstood
            at += 1
        if text[at : at + 1] == closing:
            return (items if first == "[" else pairs), at + 1
        value, at = _flow(text, at, depth + 1)
        while text[at : at + 1] == " ":
            at += 1
        if first == "{":
            if text[at : at + 1] != ":":
                raise _NotUnderstood
            pairs[str(value)], at = _flow(text, at + 1, depth + 1)
            while text[at : at + 1] == " ":
                at += 1
        else:
            items.append(value)
        if text[at : at + 1] not in (",", closing):
            raise _NotUnderstood


def _end_of_quotes(text: str, at: int) -> int:
    pattern = r'"(?:[^"\\]|\\.)*"' if text[at] == '"' else r"'(?:[^']|'')*'"
    found = re.compile(pattern).match(text, at)
    if found is None:
        raise _NotUnderstood
    return found.end()


def _unquoted(text: str) -> str:
    if text[0] == "'":
        return text[1:-1].replace("''", "'")
    if text[0] != '"':
        return text.strip()
    try:
        return str(json.loads(text))
    except ValueError as e:
        raise _NotUnderstood from e


def _uncommented(text: str) -> str:
    return re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()


def _plain(text: str) -> Any:
    if text.lower() in _WORDS and text in (text.lower(), text.title(), text.upper()):
        return _WORDS[text.lower()]
    if text.lower().lstrip("+-") in (".nan", ".inf"):
        return None
    if _NUMBER.fullmatch(text):
        return int(text) if re.fullmatch(r"[-+]?[0-9]+", text) else float(text)
    return text
