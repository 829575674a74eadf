"""Where a text may be cut: between sentences and between words, never inside a grapheme.

The boundaries are those of UAX 29 or fewer: no cut lies where UAX 29 has none. Python's own
character data is enough for that, because a cut that is left out harms nothing. So a grapheme is
taken for at least what it is: marks, format characters and joiners belong to what is before them,
a letter to the virama before it.

Every pattern takes time in proportion to the text: a match never fails after it took characters
whose number has no bound.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

Spans = list[tuple[int, int]]

_LONGEST_WORD = 64  # characters; a longer run without a space is no word of any language
_PIECE = 16  # characters of a token in such a run
_LONGEST_GRAPHEME = 128  # characters; more marks on one letter are noise, and are cut

# --- characters ----------------------------------------------------------------------------------

# Scripts that write no spaces between words: UAX 29 has a boundary behind each of their graphemes.
_UNSPACED = (
    (0x0E01, 0x0EDF), (0x1000, 0x109F), (0x1780, 0x17DF), (0x1950, 0x19DF), (0x1A20, 0x1AAF),
    (0x3005, 0x3007), (0x3041, 0x309F), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA9E0, 0xA9FF),
    (0xAA60, 0xAADF), (0xF900, 0xFAFF), (0x11700, 0x1174F), (0x20000, 0x3FFFD),
)  # fmt: skip
_KATAKANA = "\u3031-\u3035\u309b\u309c\u30a0-\u30ff\u31f0-\u31ff\uff66-\uff9d"
_FLAG_HALVES = "\U0001f1e6-\U0001f1ff"
# Grapheme_Cluster_Break=Prepend: the character behind belongs to it.
_PREPENDED = (
    "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\U000110bd\U000110cd\U000111c2\U000111c3"
    "\U0001193f\U00011941\U00011a3a\U00011a84-\U00011a89\U00011d46\U00011f02"
)
# Characters that extend a grapheme without being marks: halfwidth voicing, SARA AM, skin tones.
_EXTENDING = "\uff9e\uff9f\u0e33\u0eb3\U0001f3fb-\U0001f3ff"
_JAMO_LEADING = "\u1100-\u115f\ua960-\ua97c"
_JAMO_FOLLOWING = "\u1160-\u11ff\ud7b0-\ud7fb"
_SPACE_OF_NO_WIDTH = "\u200b"  # parts words and has no part in any
_JOINER = "\u200d"


class _Patterns(NamedTuple):
    token: re.Pattern[str]
    extending: re.Pattern[str]  # what belongs to the character before
    virama: re.Pattern[str]  # what binds the letter behind
    unspaced: re.Pattern[str]
    run: re.Pattern[str]  # letters and digits with their marks


def _ranges(codes: Iterable[int]) -> str:
    """The inside of a character class that has these code points, given in order."""
    out: list[list[int]] = []
    for code in codes:
        if out and out[-1][1] == code - 1:
            out[-1][1] = code
        else:
            out.append([code, code])
    return "".join(f"\\U{a:08x}-\\U{b:08x}" for a, b in out)


@lru_cache(maxsize=2)
def _patterns(ascii_only: bool) -> _Patterns:
    """The patterns; a text of ASCII alone does without Python's character data."""
    if ascii_only:
        extending, viramas, unspaced = "\u0300", "\u094d", "\u4e00"
    else:
        assigned = [*range(0x80, 0x20000), *range(0xE0000, 0xE01F0)]
        kinds = {code: unicodedata.category(chr(code)) for code in assigned}
        prepended = re.compile(f"[{_PREPENDED}]")
        extending = _EXTENDING + _ranges(
            code
            for code, kind in kinds.items()
            if kind in ("Mn", "Mc", "Me", "Cf")
            and chr(code) != _SPACE_OF_NO_WIDTH
            and not prepended.match(chr(code))
        )
        viramas = _ranges(code for code in kinds if unicodedata.combining(chr(code)) == 9)
        unspaced = _ranges(
            code
            for first, last in _UNSPACED
            for code in range(first, last + 1)
            if code >= 0x20000 or kinds[code] != "Nd"
        )
    x, letter = f"[{extending}]*", f"[^\\W{unspaced}{_KATAKANA}]"
    marks = (f"(?<=[{viramas}]{f'[{extending}]' * n})" for n in range(3))
    behind_virama = f"(?:{'|'.join(marks)})"
    # A letter, a digit or _, and what may stand inside a word or a number: don't, 3.14, 1,000.
    word = (
        f"(?:{letter}{x})+"
        f"(?:(?:[.:'\u2019\u00b7\u2024\u2027\uff07\uff0e]{letter}|(?<=\\d)[,;\u066c]\\d){x}"
        f"(?:{letter}{x})*)*"
    )
    character = f"[{unspaced}]{x}(?:{behind_virama}[{unspaced}]{x})*"
    katakana = f"[{_KATAKANA}]{x}(?:[{_KATAKANA}_]{x})*"
    flag = f"[{_FLAG_HALVES}]{{2}}{x}"
    symbol = f"[^\\w\\s{_SPACE_OF_NO_WIDTH}]{x}"
    # A mark behind a space (no line break) makes one grapheme with it.
    marked_space = f"[^\\S\n\r\t\x0b\x0c\x1c-\x1f\x85\u2028\u2029](?=[{extending}])[{extending}]+"
    core = "|".join((word, character, katakana, flag, symbol, marked_space))
    prefix = f"(?:[{_PREPENDED}]{x})*"
    # Behind a joiner or a virama the grapheme goes on, in a character of another kind too.
    further = f"(?<={_JOINER}){prefix}\\S|(?<=[{_PREPENDED}])[^\\w\\s]|{behind_virama}\\w"
    joined = f"(?:(?:{further}){x})*"
    token = f"{prefix}(?:{core}){joined}"
    return _Patterns(
        re.compile(token),
        re.compile(f"[{extending}{_JAMO_FOLLOWING}]"),
        re.compile(f"[{viramas}]"),
        re.compile(f"[{unspaced}]"),
        re.compile(f"\\w[\\w{extending}]*"),
    )


# --- words ---------------------------------------------------------------------------------------


def tokens(text: str) -> Spans:
    """The (start, end) of each word, punctuation mark, symbol, or character of an unspaced script.

    A run of more than 64 characters without a space is given in pieces, so that a cut has a place.
    """
    patterns = _patterns(text.isascii())
    out: Spans = []
    for match in patterns.token.finditer(text):
        start, end = match.span()
        if end - start > _LONGEST_WORD:
            out += _pieces(text, start, end, patterns)
        else:
            out.append((start, end))
    return out


def runs(text: str) -> list[str]:
    """The runs of letters, digits and _ with the marks on them: what a search engine looks up."""
    return _patterns(text.isascii()).run.findall(text)


def _pieces(text: str, start: int, end: int, patterns: _Patterns) -> Iterator[tuple[int, int]]:
    while end - start > _PIECE:
        cut = start + _PIECE
        while cut < end and cut - start < _LONGEST_GRAPHEME and _bound(text, cut, patterns):
            cut += 1
        yield start, cut
        start = cut
    if start < end:
        yield start, end


def _bound(text: str, cut: int, patterns: _Patterns) -> bool:
    """Whether the character behind a cut may belong to the grapheme before it."""
    before, behind = text[cut - 1], text[cut]
    if before == _JOINER or patterns.extending.match(behind):
        return True
    if re.match(f"[{_PREPENDED}{_JAMO_LEADING}]", before):
        return True
    back = cut - 1
    while back > 0 and cut - back < _PIECE and patterns.extending.match(text, back):
        if patterns.virama.match(text, back):
            return True
        back -= 1
    return False


# --- sentences -----------------------------------------------------------------------------------

# What ends a sentence of its own accord (Sentence_Terminal), and what does so before a space.
_FULL_STOPS = (
    "\u0589\u061d-\u061f\u06d4\u0700-\u0702\u07f9\u0837\u0839\u083d\u083e\u0964\u0965\u104a\u104b"
    "\u1362\u1367\u1368\u166e\u1735\u1736\u17d4\u17d5\u1803\u1809\u1944\u1945\u1aa8-\u1aab\u1b5a"
    "\u1b5b\u1b5e\u1b5f\u1b7d\u1b7e\u1c3b\u1c3c\u1c7e\u1c7f\u203c\u203d\u2047-\u2049\u2e2e\u2e3c"
    "\u2e53\u2e54\u3002\ua4ff\ua60e\ua60f\ua6f3\ua6f7\ua876\ua877\ua8ce\ua8cf\ua92f\ua9c8\ua9c9"
    "\uaa5d-\uaa5f\uaaf0\uaaf1\uabeb\ufe56\ufe57\uff01\uff0e\uff1f\uff61"
)
_CLOSING = "\"')\\]}\u2019\u201d\u00bb\u203a\u300d\u300f\u3011\u300b\u3009\uff09\uff3d\uff5d\uff63"
_STOP = re.compile(rf"([.!?\u2026\u2024\ufe52{_FULL_STOPS}]+)[{_CLOSING}]*")
_FULL_STOP = re.compile(f"[{_FULL_STOPS}]")
_NEXT_LETTER = re.compile(r"\s+[\"'(\[\u00ab\u2018\u201c\u201e\u2013\u2014-]{0,3}([^\W\d_])")
_LINE_BREAKS = re.compile(r"[\n\r\x0b\x0c\x85\u2028\u2029]\s*")
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|etc|al|ca|approx|no|nos|fig|figs|eq|sec|ch|vol|pp?|ed|eds|st|dr|mr|"
    r"mrs|ms|prof|rev|gen|sen|jr|sr|inc|ltd|co|corp|dept|jan|feb|mar|apr|jun|jul|aug|sept?|oct|"
    r"nov|dec)|\b[A-Z])\.$",
    re.IGNORECASE,
)


def sentences(text: str) -> Spans:
    """The (start, end) of each sentence, without the space around it."""
    out: Spans = []
    begin = 0
    for lines in _LINE_BREAKS.finditer(text):
        if _is_blank_line(lines[0]):
            out += _sentences_of(text, begin, lines.start())
            begin = lines.end()
    return out + _sentences_of(text, begin, len(text))


def _is_blank_line(space: str) -> bool:
    return len(space.splitlines()) > 1 or "\u2029" in space or "\x0c" in space


def _sentences_of(text: str, begin: int, end: int) -> Spans:
    out: Spans = []
    for stop in _STOP.finditer(text, begin, end):
        if _ends_sentence(text, stop, begin, end):
            out.append((begin, stop.end()))
            begin = stop.end()
    out.append((begin, end))
    return [span for a, b in out if (span := _trimmed(text, a, b))[0] < span[1]]


def _ends_sentence(text: str, stop: re.Match[str], begin: int, end: int) -> bool:
    marks, behind = stop[1], stop.end()
    if behind == end or _FULL_STOP.search(marks):
        return True
    if not text[behind].isspace():
        # !? need no space before a script that writes none
        return marks[-1] in "!?" and bool(_patterns(text.isascii()).unspaced.match(text, behind))
    if marks[-1] in "!?":
        return True
    follows = _NEXT_LETTER.match(text, behind, end)
    if follows is not None and follows[1].islower():  # SB8: an abbreviation, of any language
        return False
    return marks != "." or not _ABBREVIATION.search(text, max(begin, behind - 8), behind)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())
