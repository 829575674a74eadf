"""Where a text may be cut: between sentences and between words, never inside a grapheme.

The boundaries are those of UAX 29 or fewer: no cut lies where UAX 29 has none. Python's own
character data is enough for that, because a cut that is left out harms nothing. So a grapheme is
taken for at least what it is: marks, format characters and joiners belong to what is before them,
a letter to the virama before it.

The patterns run over a copy of the text in which each character is replaced by the letter of its
kind. They take time in proportion to the text: a match never fails after it took characters whose
number has no bound.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

Spans = list[tuple[int, int]]

_LONGEST_WORD = 64  # characters; a longer run without a space is no word of any language
_PIECE = 16  # characters of a token in such a run
_LONGEST_GRAPHEME = 128  # characters; more marks on one letter are noise, and are cut

# --- kinds of characters -------------------------------------------------------------------------

_LETTER, _DIGIT, _LOW_LINE, _UNSPACED, _KATAKANA = "a", "0", "_", "u", "k"
_MARK, _VIRAMA, _JOINER = "x", "v", "j"  # what belongs to the character before
_PREPENDED = "p"  # the character behind belongs to it
_FLAG, _MIDDLE, _COMMA, _SYMBOL = "f", ".", ",", "s"
_SPACE, _BREAK, _NOTHING = " ", "n", "z"

_RANGES = {
    # Scripts that write no spaces between words: UAX 29 has a boundary behind each grapheme.
    _UNSPACED: "\u0e01-\u0edf\u1000-\u109f\u1780-\u17df\u1950-\u19df\u1a20-\u1aaf\u3005-\u3007"
    "\u3041-\u309f\u3400-\u4dbf\u4e00-\u9fff\ua9e0-\ua9ff\uaa60-\uaadf\uf900-\ufaff"
    "\U00011700-\U0001174f\U00020000-\U0003fffd",
    _KATAKANA: "\u3031-\u3035\u309b\u309c\u30a0-\u30ff\u31f0-\u31ff\uff66-\uff9d",
    # Grapheme_Cluster_Break=Prepend
    _PREPENDED: "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u0d4e\U000110bd\U000110cd\U000111c2"
    "\U000111c3\U0001193f\U00011941\U00011a3a\U00011a84-\U00011a89\U00011d46\U00011f02",
    # What extends a grapheme without being a mark: halfwidth voicing, SARA AM, skin tones.
    _MARK: "\uff9e\uff9f\u0e33\u0eb3\U0001f3fb-\U0001f3ff",
    _FLAG: "\U0001f1e6-\U0001f1ff",
    _JOINER: "\u200d",
    _NOTHING: "\u200b",  # the space of no width parts words and has no part in any
    # What may stand inside a word or a number: don't, example.com, 3.14; 1,000.
    _MIDDLE: ".:'\u2019\u00b7\u2024\u2027\uff07\uff0e",
    _COMMA: ",;\u066c",
    _LOW_LINE: "_",
}
_PATTERNS = {kind: re.compile(f"[{inside}]") for kind, inside in _RANGES.items()}
_NO_BREAK = re.compile(r"[^\S\n\r\t\x0b\x0c\x1c-\x1f\x85\u2028\u2029]")
_JAMO_LEADING = re.compile("[\u1100-\u115f\ua960-\ua97c]")
_JAMO_FOLLOWING = re.compile("[\u1160-\u11ff\ud7b0-\ud7fb]")
_FIRST = (_MARK, _PREPENDED, _JOINER, _NOTHING, _FLAG, _MIDDLE, _COMMA, _LOW_LINE, _KATAKANA)


def _kind(c: str) -> str:
    for kind in _FIRST:
        if _PATTERNS[kind].match(c):
            return kind
    category = unicodedata.category(c)
    if category in ("Mn", "Mc", "Me", "Cf"):
        return _VIRAMA if unicodedata.combining(c) == 9 else _MARK
    if c.isspace():
        return _SPACE if _NO_BREAK.match(c) else _BREAK
    if category == "Nd":
        return _DIGIT
    if _PATTERNS[_UNSPACED].match(c):
        return _UNSPACED
    return _LETTER if c.isalnum() else _SYMBOL


class _Kinds(dict[int, str]):
    """The kind of each character, found when it is first met; for str.translate."""

    def __missing__(self, code: int) -> str:
        kind = self[code] = _kind(chr(code))
        return kind


_kinds = _Kinds()

_X = "[xvj]*"
_WORD = f"(?:[a0_]{_X})+(?:(?:[.][a0_]|(?<=0),0){_X}(?:[a0_]{_X})*)*"
_BEHIND_VIRAMA = "(?:(?<=v)|(?<=v[xvj])|(?<=v[xvj][xvj]))"
_CHARACTER = f"u{_X}(?:{_BEHIND_VIRAMA}u{_X})*"
_PREFIX = f"(?:p{_X})*"
_TOKEN = re.compile(
    f"{_PREFIX}(?:{_WORD}|{_CHARACTER}|k{_X}(?:[k_]{_X})*|ff{_X}|[s.,fxvjp]{_X}| [xvj]+)"
    # Behind a joiner or a virama the grapheme goes on, in a character of another kind too.
    f"(?:(?:(?<=j){_PREFIX}[^ n]|(?<=p)[s.,fxvj]|{_BEHIND_VIRAMA}[a0_ukp]){_X})*"
)
_RUN = re.compile("[a0_ukp][a0_ukpxvj]*")


# --- words ---------------------------------------------------------------------------------------


def tokens(text: str) -> Spans:
    """The (start, end) of each word, punctuation mark, symbol, or character of an unspaced script.

    A run of more than 64 characters without a space is given in pieces, so that a cut has a place.
    """
    kinds = text.translate(_kinds)
    out: Spans = []
    for match in _TOKEN.finditer(kinds):
        start, end = match.span()
        if end - start > _LONGEST_WORD:
            out += _pieces(text, kinds, start, end)
        else:
            out.append((start, end))
    return out


def runs(text: str) -> list[str]:
    """The runs of letters, digits and _ with the marks on them: what a search engine looks up."""
    return [text[m.start() : m.end()] for m in _RUN.finditer(text.translate(_kinds))]


def _pieces(text: str, kinds: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > _PIECE:
        cut = start + _PIECE
        while cut < end and cut - start < _LONGEST_GRAPHEME and _is_inside(text, kinds, cut):
            cut += 1
        yield start, cut
        start = cut
    if start < end:
        yield start, end


def _is_inside(text: str, kinds: str, cut: int) -> bool:
    """Whether the character behind a cut may belong to the grapheme before it."""
    if kinds[cut] in "xvj" or kinds[cut - 1] in "jp":
        return True
    if _JAMO_FOLLOWING.match(text, cut) or _JAMO_LEADING.match(text, cut - 1):
        return True
    back = cut - 1
    while back > 0 and cut - back < _PIECE and kinds[back] in "xv":
        if kinds[back] == _VIRAMA:
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
        return marks[-1] in "!?" and _kinds[ord(text[behind])] in (_UNSPACED, _KATAKANA)
    if marks[-1] in "!?":
        return True
    follows = _NEXT_LETTER.match(text, behind, end)
    if follows is not None and follows[1].islower():  # SB8: an abbreviation, of any language
        return False
    return marks != "." or not _ABBREVIATION.search(text, max(begin, behind - 8), behind)


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())
