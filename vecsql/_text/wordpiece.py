"""BERT's tokenizer, in Python: what a text is to the static model and to MiniLM."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache


class WordPiece:
    """BERT's uncased tokenizer: basic tokenisation, then greedy longest match first.

    The same tokens as the reference implementation, for an unknown word too if ``unknown`` is its
    [UNK] token; without, it is left out.
    """

    _MAX_WORD = 100
    _ascii_words = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")

    def __init__(self, vocabulary: Sequence[str], unknown: str | None = None):
        self._ids = {token: i for i, token in enumerate(vocabulary)}
        self._unknown = () if unknown is None else (self._ids[unknown],)
        self._word = lru_cache(maxsize=200_000)(self._split_word)
        self._char = lru_cache(maxsize=20_000)(_clean_char)

    def __call__(self, text: str) -> list[int]:
        """The tokens of a text."""
        if text.isascii() and text.isprintable():
            words = self._ascii_words.findall(text.lower())
        else:
            words = "".join(map(self._char, text)).split()
        out: list[int] = []
        for word in words:
            out += self._word(word)
        return out

    def _split_word(self, word: str) -> tuple[int, ...]:
        if len(word) > self._MAX_WORD:
            return self._unknown
        ids: list[int] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                i = self._ids.get(prefix + word[start:end])
                if i is not None:
                    ids.append(i)
                    start = end
                    break
            else:
                return self._unknown
        return tuple(ids)


# CJK Unified Ideographs with extensions A to E and the compatibility blocks, as BERT has them.
_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


def _clean_char(c: str) -> str:
    """What a character becomes: lower case without accents, words apart by spaces."""
    if c in "\t\n\r":
        return " "
    category = unicodedata.category(c)
    if category[0] == "C" or c == "\ufffd":
        return ""
    if c.isspace() or category == "Zs":
        return " "
    out = []
    for base in unicodedata.normalize("NFD", c):
        if unicodedata.category(base) != "Mn":
            # lower() may bring combining marks back (U+0130); the reference keeps them too
            out += [f" {d} " if _stands_alone(d) else d for d in base.lower()]
    return "".join(out)


def _stands_alone(c: str) -> bool:
    o = ord(c)
    punctuation = 33 <= o <= 47 or 58 <= o <= 64 or 91 <= o <= 96 or 123 <= o <= 126
    return (
        punctuation
        or unicodedata.category(c)[0] == "P"
        or any(first <= o <= last for first, last in _CJK)
    )
