"""From a question to the passages that answer it, within a token budget, with citations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from vecsql._base.types import Connection, Key, Parameters
from vecsql._search.filters import Where
from vecsql._search.search import Hit, PassageOptions, search
from vecsql._tables.catalog import IndexInfo, index_of
from vecsql._text.chunk import chunk

if TYPE_CHECKING:
    from typing_extensions import Unpack

_NEARLY_SAME = 0.9  # Jaccard index of the words of two passages
_CANDIDATES = 50


class Citation(NamedTuple):
    """Where a passage comes from. ``text == document[start:stop]`` for chunks of `ingest`."""

    number: int
    source: str
    line: int | None
    start: int | None
    stop: int | None
    ids: tuple[Key, ...]  # the rows that it was put together from
    score: float
    text: str
    collection: str | None = None  # of `ingest`: a folder, or what you called it


@dataclass(frozen=True)
class Context:
    """Passages for a prompt: ``text`` has them all, numbered as in ``citations``."""

    text: str
    citations: list[Citation]
    tokens: int

    def __str__(self) -> str:
        return self.text


def context(
    conn: Connection,
    table: str,
    question: str,
    max_tokens: int = 1500,
    *,
    k: int = _CANDIDATES,
    mode: Literal["vector", "text", "hybrid"] | None = None,
    where: Where | None = None,
    params: Parameters = (),
    count: Callable[[str], int] | None = None,
    **settings: Unpack[PassageOptions],
) -> Context:
    """Retrieves what a table says about a question, as numbered passages of a prompt.

    Takes the best ``k`` rows, joins chunks of one document that overlap or touch, leaves out what
    says nearly the same as a better passage, and takes passages in their order while they fit into
    ``max_tokens``. A first passage that is too long is cut behind a sentence.

    ``table`` is one of `ingest`, or any table with an index over text; then a passage is a row.
    ``mode`` is hybrid where there is full text. ``count`` counts tokens as your model does; the
    default counts words and punctuation marks, of which a model makes about 1.3 tokens each.
    ``where``, ``params`` and ``settings`` are those of `search`.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> docs = [{"source": "trains.txt", "text": "The night train leaves at ten. It has beds."}]
    >>> _ = vecsql.ingest(db, "docs", docs)
    >>> print(context(db, "docs", "when does the train leave?"))
    [1] trains.txt, line 1
    The night train leaves at ten. It has beds.
    """
    info = index_of(conn, table, settings.get("column"))
    chosen = mode or ("hybrid" if info.fts else "vector")
    hits = search(conn, table, question, k, where=where, params=params, mode=chosen, **settings)
    passages = _joined([_passage(info, hit) for hit in hits])
    measure = count or _words
    parts: list[str] = []
    cited: list[Citation] = []
    used = 0
    for passage in _distinct(passages):
        number = len(cited) + 1
        block = _block(passage, number)
        cost = measure(block if not parts else "\n\n" + block)
        if used + cost > max_tokens:
            if cited or not (cut := _cut(passage, max_tokens, measure)):
                continue
            passage = cut
            block = _block(passage, number)
            cost = measure(block)
        parts.append(block)
        cited.append(passage._replace(number=number))
        used += cost
    return Context("\n\n".join(parts), cited, used)


def _words(text: str) -> int:
    return sum(c.tokens for c in chunk(text, max_tokens=1 << 30, overlap=0, by="tokens"))


def _passage(info: IndexInfo, hit: Hit) -> Citation:
    row = hit.row
    text = "\n".join(str(row[c]) for c in info.text if row.get(c) is not None)
    source = str(row["source"]) if row.get("source") is not None else f"{info.table} {hit.id}"
    start, stop = row.get("start"), row.get("stop")
    if not (isinstance(start, int) and isinstance(stop, int) and stop - start == len(text)):
        start = stop = None
    line, collection = row.get("line"), row.get("collection")
    return Citation(
        0,
        source,
        line if isinstance(line, int) else None,
        start,
        stop,
        (hit.id,),
        hit.score,
        text,
        None if collection is None else str(collection),
    )


def _joined(passages: Sequence[Citation]) -> list[Citation]:
    """Chunks of one document that overlap become one passage, in the place of the better one."""
    out: list[Citation] = []
    for p in passages:
        i = 0
        while i < len(out):
            if _touch(out[i], p):
                p = _union(out.pop(i), p)
                i = 0  # the longer one may touch others
            else:
                i += 1
        out.append(p)
    return sorted(out, key=lambda c: -c.score)


def _touch(a: Citation, b: Citation) -> bool:
    same = (a.collection, a.source) == (b.collection, b.source)
    if not same or a.start is None or b.start is None:
        return False
    assert a.stop is not None
    assert b.stop is not None
    return a.start <= b.stop and b.start <= a.stop


def _union(a: Citation, b: Citation) -> Citation:
    first, second = (a, b) if (a.start or 0) <= (b.start or 0) else (b, a)
    assert first.stop is not None
    assert second.start is not None
    assert second.stop is not None
    text = first.text + second.text[first.stop - second.start :]
    return first._replace(
        text=text if second.stop > first.stop else first.text,
        stop=max(first.stop, second.stop),
        ids=(*first.ids, *second.ids),
        score=max(a.score, b.score),
    )


def _distinct(passages: Sequence[Citation]) -> list[Citation]:
    """Leaves out what has nearly the same words as a better passage."""
    seen: list[frozenset[str]] = []
    out = []
    for p in passages:
        words = frozenset(p.text.casefold().split())
        if any(len(words & s) > _NEARLY_SAME * len(words | s) for s in seen) or words in seen:
            continue
        seen.append(words)
        out.append(p)
    return out


def _block(p: Citation, number: int) -> str:
    line = f", line {p.line}" if p.line is not None else ""
    return f"[{number}] {p.source}{line}\n{p.text}"


def _cut(p: Citation, max_tokens: int, measure: Callable[[str], int]) -> Citation | None:
    """The beginning of a passage that fits, up to the end of a sentence where possible."""
    size = max_tokens
    while size > 0:
        text = chunk(p.text, max_tokens=size, overlap=0)[0].text if p.text.strip() else ""
        begin = p.text.find(text)
        stop = None if p.start is None else p.start + begin + len(text)
        start = None if p.start is None else p.start + begin
        shorter = p._replace(text=text, start=start, stop=stop)
        if text and measure(_block(shorter, 1)) <= max_tokens:
            return shorter
        size = size * 3 // 4
    return None
