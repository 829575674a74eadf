"""Reading records from text: csv and tsv with any delimiter, JSON in the forms that people have.

csv      the first line names the columns. The delimiter is the one that gives every line of the
         beginning as many fields as the first line; --delimiter tells it where that fails.
json     an object a line, objects one after another, an array of objects, or one object that
         holds the records: {"data": [...]}, columns as lists, pandas' orient="split" and "columns".

Text may be packed by gzip, bzip2, xz or zstd. Progress counts the bytes of the file.
"""

from __future__ import annotations

import codecs
import csv
import importlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from vecsql._base.errors import FormatError
from vecsql._files.source import Record, Source, extra

_BUFFER = 1 << 18
_SAMPLE = 1 << 16  # characters by which the delimiter is found
_DELIMITERS = {"csv": ",;\t|", "tsv": "\t,;|"}
_NAMED_DELIMITERS = {
    "\\t": "\t",
    "tab": "\t",
    "comma": ",",
    "semicolon": ";",
    "pipe": "|",
    "space": " ",
}
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HOLDERS = ("data", "records", "rows")
_RECORD = {"id", "_id", "text", "body", "title", "content"}  # an object with one of these is one
_DECODER = json.JSONDecoder()
_EXPECTED = 'expected an object a line, [{...}, ...] or {"data": [{...}, ...]}'


@dataclass(frozen=True)
class Options:
    """How a text file is read; None is found by looking at it."""

    format: str
    packing: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    quotes: bool = True


def open_text(path: Path, label: str, options: Options) -> Source:
    """Opens a text file as a `Source` that counts bytes."""
    at = [0]
    place = [""]
    encoding = _known_encoding(options.encoding) if options.encoding else None
    delimiter = None if options.delimiter is None else _known_delimiter(options.delimiter)
    read = _read_csv if options.format in _DELIMITERS else _read_json

    def records(skip: int) -> Iterator[Record]:
        with path.open("rb") as raw:
            counted: Any = io.BufferedReader(_Counting(raw, at), _BUFFER)
            try:
                data = _unpacked(counted, options.packing)
                chosen = encoding or _marked_encoding(data, label)
                text = io.TextIOWrapper(data, chosen, newline="")
                yield from islice(read(text, label, options, delimiter, place), skip, None)
            except UnicodeError as e:
                raise FormatError(
                    f"{label}{_after(place)} is not {encoding or 'UTF-8'}: {e}; --encoding tells "
                    "its encoding, such as cp1252 or utf-16"
                ) from e
            except (EOFError, OSError) as e:
                raise _unreadable(label, options, e) from e
            except Exception as e:
                if not isinstance(e, _unpacking_errors()):
                    raise
                raise _unreadable(label, options, e) from e

    return Source(
        label,
        records,
        total=path.stat().st_size,
        unit="bytes",
        done=lambda: at[0],
        typed=options.format not in _DELIMITERS,
        place=lambda: place[0],
    )


def _unreadable(label: str, options: Options, error: Exception) -> FormatError:
    what = f"cannot be unpacked by {options.packing}" if options.packing else "cannot be read"
    return FormatError(f"{label} {what}: {error}")


def _after(place: list[str]) -> str:
    return f", after {place[0]}," if place[0] else ""


class _Counting(io.RawIOBase):
    """A raw stream that says how far it was read."""

    def __init__(self, raw: IO[bytes], at: list[int]):
        self._raw, self._at = raw, at
        at[0] = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._raw.read(len(buffer))
        buffer[: len(data)] = data
        self._at[0] += len(data)
        return len(data)


def _unpacked(data: Any, packing: str | None) -> Any:
    if packing is None:
        return data
    if packing == "zstd":
        try:
            stream = importlib.import_module("compression.zstd").open(data)
        except ImportError:
            stream = (
                extra("zstandard").ZstdDecompressor().stream_reader(data, read_across_frames=True)
            )
        return io.BufferedReader(stream, _BUFFER)
    module = {"gzip": "gzip", "bzip2": "bz2", "xz": "lzma"}[packing]
    return io.BufferedReader(importlib.import_module(module).open(data), _BUFFER)


def _unpacking_errors() -> tuple[type[BaseException], ...]:
    import lzma
    import sys
    import zlib

    zstandard = sys.modules.get("compression.zstd") or sys.modules.get("zstandard")
    return (zlib.error, lzma.LZMAError, *((zstandard.ZstdError,) if zstandard else ()))


# --- encodings -----------------------------------------------------------------------------------


def _known_encoding(encoding: str) -> str:
    try:
        io.TextIOWrapper(io.BytesIO(), encoding)
    except LookupError as e:
        raise FormatError(f"--encoding {encoding}: {e}") from e
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def _marked_encoding(data: Any, label: str) -> str:
    """UTF-8, or what a byte order mark says."""
    head = data.peek(4)[:64]
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if len(head) > 3 and head[:1] != b"\0" and (head[1::2].count(0) * 4 > len(head)):
        raise FormatError(
            f"{label} looks like UTF-16 without a byte order mark: --encoding utf-16-le"
        )
    return "utf-8-sig"


# --- csv -----------------------------------------------------------------------------------------


def _known_delimiter(delimiter: str) -> str:
    delimiter = _NAMED_DELIMITERS.get(delimiter.lower(), delimiter)
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise FormatError(f"--delimiter {delimiter!r}: expected one character, such as ';' or tab")
    return delimiter


def _read_csv(
    text: IO[str], label: str, options: Options, delimiter: str | None, place: list[str]
) -> Iterator[Record]:
    csv.field_size_limit(1 << 30)  # of the process; the default cuts texts at 128 kB
    quoting: Any = csv.QUOTE_MINIMAL if options.quotes else csv.QUOTE_NONE
    sample = text.read(_SAMPLE)
    sample += text.readline()  # whole lines
    beginning = io.StringIO(sample, newline="")
    skipped = 0
    if match := re.match(r"sep=(.)\r?\n", sample):  # Excel's own way to tell the delimiter
        delimiter, skipped = delimiter or match[1], 1
        beginning.readline()
    lines = chain(beginning, text)
    found = delimiter or _sniffed(
        sample[len(match[0]) if match else 0 :], _DELIMITERS[options.format], quoting
    )
    reader = csv.reader(lines, delimiter=found, quoting=quoting, strict=True)
    place[0] = "line 1"
    try:
        header = next((row for row in reader if row), None)
        if header is None:
            return
        names = _names(header, label)
        for row in reader:
            if not row:
                continue
            place[0] = f"line {reader.line_num + skipped}"
            if len(row) != len(names):
                if len(row) < len(names) or any(row[len(names) :]):
                    raise FormatError(_ragged(label, place[0], len(names), len(row), found))
                del row[len(names) :]  # a delimiter at the end of the line
            yield dict(zip(names, row, strict=True))
    except csv.Error as e:
        raise FormatError(
            f"{label}, line {reader.line_num + skipped}: {e}; --delimiter tells the delimiter (it "
            f"is {found!r} here), --no-quotes reads quotes as text"
        ) from e


def _sniffed(sample: str, candidates: str, quoting: Any) -> str:
    """The delimiter under which the first lines have as many fields as the line of names."""
    found: list[tuple[bool, int, str]] = []
    for delimiter in candidates:
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, quoting=quoting)
        try:
            rows = [row for row in islice(reader, 100) if row]
        except csv.Error:
            continue
        if rows and len(rows[0]) > 1:
            even = all(len(row) == len(rows[0]) for row in rows)
            found.append((even, len(rows[0]), delimiter))
    fitting = [f for f in found if f[0]]
    if fitting and fitting[0][2] == candidates[0]:
        return candidates[0]
    return max(fitting or found, key=lambda f: f[1])[2] if found else candidates[0]


def _ragged(label: str, place: str, expected: int, got: int, delimiter: str) -> str:
    return (
        f"{label}, {place}: expected {expected} fields, got {got} by the delimiter "
        f"{delimiter!r}: --delimiter tells another, a field that holds it needs quotes"
    )


def _names(header: list[str], label: str) -> list[str]:
    """The names of the columns; a column without one is called by its number."""
    if any("\0" in name for name in header):
        raise FormatError(
            f"{label} is no text: its first line holds NUL bytes (UTF-16? --encoding utf-16)"
        )
    names = [name.strip() or f"column_{i}" for i, name in enumerate(header, 1)]
    check_names(names, label)
    return names


def check_names(names: list[str], label: str) -> None:
    """Refuses names that SQLite takes for one."""
    lower: set[str] = set()
    for name in names:
        if name.lower() in lower:
            raise FormatError(f"{label}: two columns are called {name!r} (SQLite ignores the case)")
        lower.add(name.lower())


# --- json ----------------------------------------------------------------------------------------


def _read_json(
    text: IO[str], label: str, options: Options, delimiter: str | None, place: list[str]
) -> Iterator[Record]:
    blank, first = 0, text.read(1)
    while first in (" ", "\t", "\r", "\n"):
        blank += first == "\n"
        first = text.read(1)
    if not first:
        return
    if first == "[":
        yield from _of_values(_array(_Text(text, first, label)), label, place)
        return
    number, line = blank + 1, first + text.readline()
    try:
        value = _parsed(line)
    except ValueError as e:
        if options.format == "jsonl" or first != "{":
            raise FormatError(f"{label}, line {number}: {e}; {_EXPECTED}") from e
        yield from _of_values(_documents(_Text(text, line, label), label), label, place)
        return
    second = _first_line(text, number)
    if second is None:
        alone = _document(value, label) if options.format == "json" else iter([value])
        yield from _of_values(alone, label, place)
        return
    place[0] = f"line {number}"
    yield _checked(value, label, place[0])
    lines = chain([second], enumerate(text, second[0] + 1))
    for at, following in lines:
        if not following.strip():
            continue
        place[0] = f"line {at}"
        try:
            value = _parsed(following)
        except ValueError as e:
            raise FormatError(f"{label}, {place[0]}: {e}; {_EXPECTED}") from e
        yield _checked(value, label, place[0])


def _first_line(text: IO[str], number: int) -> tuple[int, str] | None:
    """The next line that is not blank, with its number."""
    for at, line in enumerate(text, number + 1):
        if line.strip():
            return at, line
    return None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _checked(value: Any, label: str, place: str) -> Record:
    if not isinstance(value, dict):
        raise FormatError(f"{label}, {place}: expected an object, got {type(value).__name__}")
    return value


def _of_values(values: Iterator[Any], label: str, place: list[str]) -> Iterator[Record]:
    for n, value in enumerate(values, 1):
        place[0] = f"record {n}"
        if isinstance(value, list) and value and all(isinstance(x, (int, float)) for x in value):
            value = {"embedding": value}  # an array of vectors
        yield _checked(value, label, place[0])


class _Text:
    """A text that is decoded value by value, a part of it in memory."""

    def __init__(self, text: IO[str], begun: str, label: str):
        self._text, self._part, self._at, self._label = text, begun, 0, label

    def _more(self) -> bool:
        """Reads on; twice as much each time, so that a long value is not parsed for each part."""
        read = self._text.read(max(_BUFFER, len(self._part) - self._at))
        if read:
            self._part, self._at = self._part[self._at :] + read, 0
        return bool(read)

    def next(self) -> str:
        """The next character that is no space, which stays; '' at the end."""
        while True:
            while self._at < len(self._part) and self._part[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._part) or not self._more():
                return self._part[self._at : self._at + 1]

    def take(self) -> None:
        """Passes over a character."""
        self._at += 1

    def value(self) -> Any:
        """Decodes the next value."""
        self.next()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._part, self._at)
            except RecursionError:
                raise FormatError(f"{self._label} is nested too deeply") from None
            except ValueError as e:
                if not self._more():
                    raise FormatError(f"{self._label} is no JSON: {e}; {_EXPECTED}") from e
                continue
            if end < len(self._part) or not self._more():  # a number may go on
                self._at = end
                return value


def _array(text: _Text) -> Iterator[Any]:
    """The elements of an array."""
    text.next()
    text.take()
    if text.next() == "]":
        return
    while True:
        yield text.value()
        mark = text.next()
        text.take()
        if mark == "]":
            break
        if mark != ",":
            raise FormatError(
                f"{text._label} is no JSON: expected ',' or ']' after a record, got {mark!r}"
            )
    if text.next():
        raise FormatError(f"{text._label} is no JSON: there is more after the array")


def _documents(text: _Text, label: str) -> Iterator[Any]:
    """Values one after another; one alone may hold the records."""
    value = text.value()
    if not text.next():
        yield from _document(value, label)
        return
    yield value
    while text.next():
        yield text.value()


def _document(value: Any, label: str) -> Iterator[Any]:
    """The records in a file of one value, which may hold them or be their columns."""
    if isinstance(value, list):
        yield from value
        return
    if not isinstance(value, dict):
        raise FormatError(f"{label}, record 1: expected an object, got {type(value).__name__}")
    header = value.get("columns")
    for name in (*_HOLDERS, *(() if _RECORD & set(value) else value)):
        held = value.get(name)
        if isinstance(held, list) and held and all(isinstance(r, dict) for r in held):
            yield from held
            return
        if name == "data" and isinstance(held, list) and isinstance(header, list):  # "split"
            for row in held:
                yield dict(zip(map(str, header), row, strict=False))
            return
    if not value:
        return
    columns = {name: part for name, part in value.items() if part is not None}
    parts = list(columns.values())
    if (
        len(parts) > 1
        and all(isinstance(p, list) for p in parts)
        and len(set(map(len, parts))) == 1
        and len(parts[0]) > 1
    ):
        for row in zip(*parts, strict=True):  # columns as lists
            yield dict(zip(columns, row, strict=True))
        return
    rows = [str(i) for i in range(len(parts[0]) if parts and isinstance(parts[0], dict) else 0)]
    if rows and all(isinstance(p, dict) and list(p) == rows for p in parts):  # pandas' "columns"
        for i in rows:
            yield {name: p[i] for name, p in columns.items()}
        return
    alike = len(parts) > 1 and all(isinstance(p, dict) and set(p) == set(parts[0]) for p in parts)
    if alike and not _RECORD & set(columns):  # records by their keys
        numbered = list(columns) == [str(i) for i in range(len(columns))]  # pandas' "index"
        for name, record in columns.items():
            yield record if numbered or "key" in record else {"key": name, **record}
        return
    lists = all(isinstance(p, list) for p in parts)
    if lists and len(set(map(len, parts))) > 1 and _RECORD & set(columns):
        lengths = ", ".join(f"{name} {len(part)}" for name, part in columns.items())
        raise FormatError(f"{label}: columns as lists need one length, got {lengths}")
    yield value
