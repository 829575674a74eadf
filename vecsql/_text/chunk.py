"""Splitting a text into pieces small enough to embed, each with its place in the source.

A static or transformer embedding of a long text is an average that says little about any part of
it, so what is embedded is a chunk. Chunks are cut between sentences where possible and overlap, so
that a statement and what it refers to are together in at least one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from vecsql._text.segment import Spans, sentences
from vecsql._text.segment import tokens as tokens_of


class Chunk(NamedTuple):
    """A piece of a text: ``text == source[start:end]``, ``tokens`` of it counted."""

    text: str
    start: int
    end: int
    tokens: int


def chunk(
    text: str,
    max_tokens: int = 200,
    overlap: int | None = None,
    by: Literal["sentences", "tokens"] = "sentences",
    tokenize: Callable[[str], Iterable[tuple[int, int]]] | None = None,
) -> list[Chunk]:
    """Splits a text into chunks of at most ``max_tokens``, in order, none of them empty.

    ``by="sentences"`` puts as many whole sentences into a chunk as fit and repeats whole sentences
    of at most ``overlap`` tokens at the beginning of the next; a sentence longer than a chunk is
    cut between tokens, at a space where there is one. ``by="tokens"`` gives windows of
    ``max_tokens`` tokens that overlap by exactly ``overlap``. A token is a word or a punctuation
    mark (UAX 29), or in scripts without spaces a character with its marks; a run of more than 64
    characters without a space counts by 16 characters. ``overlap`` is by default 40, or half of
    ``max_tokens`` if that is less. ``tokenize`` counts by another tokenizer:
    it returns the (start, end) of each token.

    Every token is in at least one chunk. The end of a text that its predecessor holds already is
    not given again. Raises ValueError unless ``0 <= overlap < max_tokens``.

    >>> for c in chunk("It rained. We stayed in. Then the sun came out.", max_tokens=10, overlap=4):
    ...     print(c.start, c.end, c.text)
    0 24 It rained. We stayed in.
    11 47 We stayed in. Then the sun came out.
    """
    if not isinstance(text, str):
        raise TypeError(f"chunk takes text, got {type(text).__name__}")
    overlap = default_overlap(max_tokens) if overlap is None else overlap
    if max_tokens < 1 or not 0 <= overlap < max_tokens:
        raise ValueError(
            f"expected 0 <= overlap < max_tokens, got overlap {overlap}, max_tokens {max_tokens}"
        )
    if by not in ("sentences", "tokens"):
        raise ValueError(f"chunk splits by 'sentences' or 'tokens', got {by!r}")
    tokens = list(tokenize(text)) if tokenize else tokens_of(text)
    if by == "tokens":
        ranges = _windows(len(tokens), max_tokens, overlap)
    else:
        ranges = _pack(_units(text, tokens, max_tokens, overlap), max_tokens, overlap)
    return [
        Chunk(text[tokens[a][0] : tokens[b - 1][1]], tokens[a][0], tokens[b - 1][1], b - a)
        for a, b in ranges
    ]


def default_overlap(max_tokens: int) -> int:
    """How many tokens chunks share where the caller does not say."""
    return min(40, max_tokens // 2)


def _units(text: str, tokens: Spans, max_tokens: int, overlap: int) -> Spans:
    """Token ranges that are kept whole: sentences, and the pieces of those that are too long."""
    units: Spans = []
    at = 0
    for _, end in sentences(text):
        first = at
        while at < len(tokens) and tokens[at][0] < end:
            at += 1
        if at - first <= max_tokens:
            units += [(first, at)] if first < at else []
        else:  # pieces no longer than the overlap, so that cut sentences overlap too
            units += _cut(tokens, first, at, overlap or max_tokens)
    if at < len(tokens):  # a tokenizer that counts the white space after the last sentence
        units.append((at, len(tokens)))
    return units


def _cut(tokens: Spans, first: int, last: int, step: int) -> Spans:
    """Cuts a long sentence into pieces of at most step tokens, in its second half at a space."""
    out: Spans = []
    while last - first > step:
        cut = first + step
        while cut > first + (step + 1) // 2 and tokens[cut - 1][1] == tokens[cut][0]:
            cut -= 1
        if tokens[cut - 1][1] == tokens[cut][0]:  # there is no space
            cut = first + step
        out.append((first, cut))
        first = cut
    return [*out, (first, last)]


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
