"""Splitting a text into pieces small enough to embed, each with its place in the source.

A static or transformer embedding of a long text is an average that says little about any part of
it, so what is embedded is a chunk. Chunks are cut between sentences where possible and overlap, so
that a statement and what it refers to are together in at least one of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

Spans = list[tuple[int, int]]

# Scripts that write no spaces between words: each character is a token.
_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u0e00-\u0e7f"
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+|[^\w\s]")

# A sentence ends at a blank line, or after a full stop with what closes it. A stop within a word
# or number (3.14) is followed by no space; one after an initial or an abbreviation ends nothing.
_BLANK_LINE = re.compile(r"\s*\n[^\S\n]*\n\s*")
_STOP = re.compile(r"[.!?\u2026]+[\"')\]\u2019\u201d]*(?=\s)|[\u3002\uff01\uff1f]+[\u300d\u300f]*")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|etc|al|ca|approx|no|nos|fig|figs|eq|sec|ch|vol|pp?|ed|eds|st|dr|mr|"
    r"mrs|ms|prof|rev|gen|sen|jr|sr|inc|ltd|co|corp|dept|jan|feb|mar|apr|jun|jul|aug|sept?|oct|"
    r"nov|dec)|\b[A-Z])\.$",
    re.IGNORECASE,
)


class Chunk(NamedTuple):
    """A piece of a text: ``text == source[start:end]``, ``tokens`` of it counted."""

    text: str
    start: int
    end: int
    tokens: int


def chunk(
    text: str,
    max_tokens: int = 200,
    overlap: int = 40,
    by: Literal["sentences", "tokens"] = "sentences",
    tokenize: Callable[[str], Iterable[tuple[int, int]]] | None = None,
) -> list[Chunk]:
    """Splits a text into chunks of at most ``max_tokens``, in order, none of them empty.

    ``by="sentences"`` puts as many whole sentences into a chunk as fit and repeats whole sentences
    of at most ``overlap`` tokens at the beginning of the next; a sentence longer than a chunk is
    cut between tokens. ``by="tokens"`` gives windows of ``max_tokens`` tokens that overlap by
    exactly ``overlap``. A token is a word, a punctuation mark or, in scripts without spaces, a
    character; ``tokenize`` counts by another tokenizer: it returns the (start, end) of each token.

    Every token is in at least one chunk. The end of a text that its predecessor holds already is
    not given again. Raises ValueError unless ``0 <= overlap < max_tokens``.

    >>> for c in chunk("It rained. We stayed in. Then the sun came out.", max_tokens=10, overlap=4):
    ...     print(c.start, c.end, c.text)
    0 24 It rained. We stayed in.
    11 47 We stayed in. Then the sun came out.
    """
    if not isinstance(text, str):
        raise TypeError(f"chunk takes text, got {type(text).__name__}")
    if max_tokens < 1 or not 0 <= overlap < max_tokens:
        raise ValueError(
            f"expected 0 <= overlap < max_tokens, got overlap {overlap}, max_tokens {max_tokens}"
        )
    if by not in ("sentences", "tokens"):
        raise ValueError(f"chunk splits by 'sentences' or 'tokens', got {by!r}")
    tokens = list(tokenize(text)) if tokenize else [m.span() for m in _TOKEN.finditer(text)]
    if by == "tokens":
        ranges = _windows(len(tokens), max_tokens, overlap)
    else:
        ranges = _pack(_units(text, tokens, max_tokens, overlap), max_tokens, overlap)
    return [
        Chunk(text[tokens[a][0] : tokens[b - 1][1]], tokens[a][0], tokens[b - 1][1], b - a)
        for a, b in ranges
    ]


def sentences(text: str) -> Spans:
    """The (start, end) of each sentence, without the space around it."""
    out: Spans = []
    begin = 0
    for paragraph in _BLANK_LINE.finditer(text):
        out += _sentences_of(text, begin, paragraph.start())
        begin = paragraph.end()
    return out + _sentences_of(text, begin, len(text))


def _sentences_of(text: str, begin: int, end: int) -> Spans:
    out: Spans = []
    for stop in _STOP.finditer(text, begin, end):
        if stop[0] == "." and _ABBREVIATION.search(text, max(begin, stop.end() - 8), stop.end()):
            continue
        out.append((begin, stop.end()))
        begin = stop.end()
    out.append((begin, end))
    return [_trimmed(text, a, b) for a, b in out if text[a:b].strip()]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())


def _units(text: str, tokens: Spans, max_tokens: int, overlap: int) -> Spans:
    """Token ranges that are kept whole: sentences, and the pieces of those that are too long."""
    units: Spans = []
    at = 0
    for _, end in sentences(text):
        first = at
        while at < len(tokens) and tokens[at][0] < end:
            at += 1
        # pieces no longer than the overlap, so that cut sentences overlap too
        step = at - first if at - first <= max_tokens else (overlap or max_tokens)
        units += [(a, min(a + step, at)) for a in range(first, at, max(step, 1))]
    if at < len(tokens):  # a tokenizer that counts the white space after the last sentence
        units.append((at, len(tokens)))
    return units


def _windows(n: int, size: int, overlap: int) -> Spans:
    starts = range(0, max(n - overlap, min(n, 1)), size - overlap)
    return [(a, min(a + size, n)) for a in starts]


def _pack(units: Spans, max_tokens: int, overlap: int) -> Spans:
    out: Spans = []
    i = 0
    while i < len(units):
        j = i + 1
        while j < len(units) and units[j][1] - units[i][0] <= max_tokens:
            j += 1
        out.append((units[i][0], units[j - 1][1]))
        if j == len(units):
            break
        back = j
        while (
            back - 1 > i
            and units[j - 1][1] - units[back - 1][0] <= overlap
            and units[j][1] - units[back - 1][0] <= max_tokens
        ):
            back -= 1
        i = back
    return out
