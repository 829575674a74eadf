"""Where documents come from: a folder, files, or records; each as text with metadata."""

from __future__ import annotations

import codecs
import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from vecsql._base.errors import FormatError
from vecsql._base.json import to_json
from vecsql._files.frontmatter import front_matter
from vecsql._files.html import charset, html_text

_HTML = (".html", ".htm", ".xhtml")
SUFFIXES = (".txt", ".md", ".markdown", ".rst", ".org", ".tex", ".adoc", ".text", *_HTML)

_EXCLUDED = (".*", "node_modules", "__pycache__")
_MARKS = ("pyvenv.cfg", "CACHEDIR.TAG")  # of virtual environments and of caches
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Document:
    """A text with its name; what is ``begin`` characters in is to be indexed."""

    source: str
    text: str
    meta: str | None  # JSON
    begin: int = 0


class Skipped(NamedTuple):
    """What was left out: a document, or the part of it that begins at ``position``; and why."""

    source: str
    position: int | None
    reason: str


class Foreign(Skipped):
    """What does not belong to the sources: the table keeps nothing of it."""


class Folder:
    """The documents of a folder, in the order of their names."""

    def __init__(
        self, path: Path, suffixes: Sequence[str], exclude: Sequence[str] | None, encoding: str
    ):
        self._path = path
        self._real = path.resolve()
        self._suffixes = tuple(suffixes)
        self._exclude = exclude
        self._encoding = encoding
        self._unread: list[str] = []  # folders that could not be listed

    @property
    def name(self) -> str:
        """The name of its collection."""
        return str(self._real)

    def covers(self, source: str) -> bool:
        """Whether a document of this name would have been found if its file were there."""
        if not self._has_suffix(source):
            return False
        return not any(source.startswith(f"{name}/") or not name for name in self._unread)

    def __iter__(self) -> Iterator[Document | Skipped]:
        yield from self._folder(self._path, "")

    def _folder(self, folder: Path, prefix: str) -> Iterator[Document | Skipped]:
        try:
            entries = sorted(os.scandir(folder), key=lambda e: e.name)
        except OSError as e:
            self._unread.append(prefix.rstrip("/"))
            yield Skipped(prefix or str(folder), None, f"cannot list the folder: {e.strerror}")
            return
        if prefix and self._exclude is None and any(e.name in _MARKS for e in entries):
            return
        for entry in entries:
            name = prefix + entry.name
            if self._is_excluded(name, entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from self._folder(folder / entry.name, f"{name}/")
            elif entry.is_symlink() and not self._leads_inside(folder / entry.name):
                if (folder / entry.name).is_dir() or self._has_suffix(entry.name):
                    yield Foreign(name, None, "a link that leads out of the folder")
            elif self._has_suffix(entry.name) and (folder / entry.name).is_file():
                try:
                    yield _file(folder / entry.name, name, self._encoding)
                except FormatError as e:
                    yield Skipped(name, None, str(e))

    def _has_suffix(self, name: str) -> bool:
        return name.lower().endswith(self._suffixes)

    def _is_excluded(self, name: str, last: str) -> bool:
        patterns = _EXCLUDED if self._exclude is None else self._exclude
        return any(fnmatchcase(last, p) or fnmatchcase(name, p.rstrip("/")) for p in patterns)

    def _leads_inside(self, link: Path) -> bool:
        try:
            return link.resolve().is_relative_to(self._real)
        except (OSError, RuntimeError):  # a link that leads to itself
            return False


def documents_of(
    sources: Any,
    suffixes: str | Sequence[str],
    exclude: str | Sequence[str] | None,
    encoding: str,
    *,
    skip: bool,
) -> Iterable[Document | Skipped]:
    """The documents of what a user may pass as sources; of a folder a `Folder`.

    What cannot be read is an error, or with ``skip`` a `Skipped`; in a folder always the latter.
    """
    try:
        codecs.lookup(encoding)
    except LookupError as e:
        raise FormatError(
            f"there is no encoding {encoding!r}: expected a name such as utf-8 or cp1252"
        ) from e
    wanted = _suffixes(suffixes)
    left_out = [exclude] if isinstance(exclude, str) else exclude
    if isinstance(sources, (str, os.PathLike)):
        path = Path(sources)
        if path.is_dir():
            return Folder(path, wanted, left_out, encoding)
        sources = [path]
    if isinstance(sources, Mapping) or not isinstance(sources, Iterable):
        raise TypeError(
            "ingest takes a folder, a file, or an iterable of files or of records "
            f"{{'source', 'text'}}; got {type(sources).__name__}"
        )
    return _items(sources, encoding, skip)


def _items(sources: Iterable[Any], encoding: str, skip: bool) -> Iterator[Document | Skipped]:
    numbers = count(1)
    for item in sources:
        number = next(numbers)
        if isinstance(item, Mapping):
            name = str(item.get("source", f"record {number}"))
        else:
            name = Path(item).as_posix()
        try:
            if isinstance(item, Mapping):
                yield _record(item, number)
            else:
                yield _file(Path(item), name, encoding)
        except FormatError as e:
            if not skip:
                raise
            yield Skipped(name, None, str(e))


def _suffixes(suffixes: str | Sequence[str]) -> list[str]:
    """Suffixes with a point before them: people write "md", ".md" and ["md"]."""
    given = [suffixes] if isinstance(suffixes, str) else list(suffixes)
    if not given or not all(isinstance(s, str) and s.strip(". *") for s in given):
        raise ValueError(f"suffixes are ends of file names, ['.md', '.txt']; got {suffixes!r}")
    return ["." + s.strip().lstrip("*").lstrip(".").lower() for s in given]


def _record(record: Mapping[str, Any], number: int) -> Document:
    source, text = record.get("source"), record.get("text")
    if source is None or not isinstance(text, str):
        named = "" if source is None else f" ({source!r})"
        raise FormatError(
            f"record {number}{named}: a record has source and text (a str), got "
            f"{', '.join(f'{k} ({type(v).__name__})' for k, v in record.items())}"
        )
    try:
        f"{source}{text}".encode()
    except UnicodeEncodeError as e:
        raise FormatError(f"record {number} ({source!r}): the text is no Unicode: {e}") from e
    meta = {str(k): v for k, v in record.items() if k not in ("source", "text")}
    return Document(str(source), text, to_json(meta, sort_keys=True) if meta else None)


def _file(path: Path, name: str, encoding: str) -> Document:
    try:
        data = path.read_bytes()
    except OSError as e:
        raise FormatError(f"cannot read {path}: {e.strerror}") from e
    is_html = path.suffix.lower() in _HTML
    text = _decoded(data, path, encoding, charset(data) if is_html else None)
    if is_html:
        text, meta = html_text(text, str(path))
        begin = 0
    else:
        meta, begin = front_matter(text)
    return Document(name, text, to_json(meta, sort_keys=True) if meta else None, begin)


def _decoded(data: bytes, path: Path, encoding: str, declared: str | None) -> str:
    """A file as text, its lines ended by newlines alone."""
    for mark, marked in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            encoding, declared = marked, None
            break
    if declared is not None:
        # not for a page that names an encoding which nobody knows
        with contextlib.suppress(LookupError):
            encoding = codecs.lookup(declared).name
    try:
        text = data.decode(encoding).removeprefix("\ufeff")
    except UnicodeError as e:
        raise FormatError(f"{path} is not {encoding} text: {e}") from e
    if "\0" in text:
        raise FormatError(f"{path} is no text: it holds zero bytes")
    return text.replace("\r\n", "\n").replace("\r", "\n")
