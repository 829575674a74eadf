"""Risk: a chunk loses text, is longer than the model reads, or cites the wrong place."""

from __future__ import annotations

import random
import re
import subprocess
import sys
import unicodedata
from itertools import pairwise

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

import vecsql
from vecsql._text.segment import sentences, tokens

PIECES = st.sampled_from(
    ["a", "word", "3.14", "e.g. this", "Dr. Who", "end.", "Really?", "No!", "\n\n", "\n", "  ",
     "—", "日本語の文。", "(so.)", "x" * 30, "…", "ü", "\u00a0", "１。", "\r\n\r\n"]
)  # fmt: skip
TEXTS = st.lists(PIECES, max_size=60).map(" ".join)


@settings(max_examples=300)
@given(TEXTS, st.integers(1, 30), st.integers(0, 29), st.sampled_from(["sentences", "tokens"]))
def test_every_token_is_in_a_chunk_and_no_chunk_is_too_long(text, size, overlap, by):
    overlap = min(overlap, size - 1)
    chunks = vecsql.chunk(text, size, overlap, by)
    covered = set()
    for c in chunks:
        assert c.text == text[c.start : c.end]
        assert c.text.strip() == c.text != ""
        assert 1 <= c.tokens <= size
        covered.update(range(c.start, c.end))
    assert {i for i, char in enumerate(text) if not char.isspace()} - covered <= {
        i for i, char in enumerate(text) if char == "_"
    }
    for before, after in pairwise(chunks):
        assert before.start < after.start
        assert before.end < after.end


@settings(max_examples=200)
@given(TEXTS, st.integers(2, 30), st.integers(0, 29))
def test_token_windows_overlap_exactly(text, size, overlap):
    overlap = min(overlap, size - 1)
    words = [m.span() for m in re.finditer(r"\S+", text)]
    chunks = vecsql.chunk(
        text, size, overlap, "tokens", tokenize=lambda t: [m.span() for m in re.finditer(r"\S+", t)]
    )
    starts = {span[0]: i for i, span in enumerate(words)}
    ends = {span[1]: i for i, span in enumerate(words)}
    for before, after in pairwise(chunks):
        assert ends[before.end] - starts[after.start] + 1 == overlap


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("It is 3.14 exactly. Yes.", ["It is 3.14 exactly.", "Yes."]),
        ("See e.g. the manual. Dr. Who left.", ["See e.g. the manual.", "Dr. Who left."]),
        ("J. S. Bach wrote it. Good.", ["J. S. Bach wrote it.", "Good."]),
        ('He said "no." Then he left.', ['He said "no."', "Then he left."]),
        ("A heading\n\nA paragraph. More.", ["A heading", "A paragraph.", "More."]),
        ("これは文です。次の文です。", ["これは文です。", "次の文です。"]),
        ("真的吗?是的!好。", ["真的吗?", "是的!", "好。"]),
        ("ट्रेन दस बजे निकलती है। उसमें बिस्तर हैं।", ["ट्रेन दस बजे निकलती है।", "उसमें बिस्तर हैं।"]),
        ("هل فيه أسرة؟ نعم.", ["هل فيه أسرة؟", "نعم."]),
        ("z. B. das Haus usw. und so. Ende", ["z. B. das Haus usw. und so.", "Ende"]),
        ("if a != b: x.y()", ["if a != b: x.y()"]),
        ("Who?Me", ["Who?Me"]),
        ("one\r\n\r\ntwo\u2029three", ["one", "two", "three"]),
        ("no end", ["no end"]),
        ("  \n\n ", []),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_sees_them_end(text, expected):
    assert [text[a:b] for a, b in sentences(text)] == expected


def test_whole_sentences_are_kept_together_and_repeated():
    text = "A one two. B three four. C five six. D seven eight."
    assert [c.text for c in vecsql.chunk(text, max_tokens=8, overlap=4)] == [
        "A one two. B three four.",
        "B three four. C five six.",
        "C five six. D seven eight.",
    ]
    assert [c.text for c in vecsql.chunk(text, max_tokens=8, overlap=3)] == [
        "A one two. B three four.",
        "C five six. D seven eight.",
    ]


def test_a_sentence_longer_than_a_chunk_is_cut_with_overlap():
    text = " ".join(f"w{i}" for i in range(100))
    chunks = vecsql.chunk(text, max_tokens=30, overlap=10)
    assert chunks[0].text.split()[-10:] == chunks[1].text.split()[:10]
    assert chunks[-1].text.endswith("w99")


@pytest.mark.parametrize(("size", "overlap"), [(0, 0), (10, 10), (10, -1)])
def test_sizes_that_cannot_progress_are_refused(size, overlap):
    with pytest.raises(ValueError, match="overlap < max_tokens"):
        vecsql.chunk("text", size, overlap)


def test_what_is_no_text_is_refused():
    with pytest.raises(TypeError, match="got bytes"):
        vecsql.chunk(b"text")
    with pytest.raises(ValueError, match="'words'"):
        vecsql.chunk("text", by="words")


# Sequences that patterns with two ways to match the same characters take quadratic time for.
ADVERSARIAL = [
    ".", " ", "\n", "a. ", "! ", "x", "'", "a'", "1,", "a:", "\u200d", "\u0301", "a\u0301",
    "\u094d", "क्", "\u0600", "🇩", "👩\u200d", "。", "中", "ค", "カ", ". a", "e.g. ", "\n ", " \n",
    "\r\n", "()", "\u200b", "_", "\U000110bd ", " \u0301", "\u2029", "« ", "QUJD", "?中",
    "\u0d4e",
]  # fmt: skip


@pytest.mark.parametrize("part", range(4))
def test_no_text_takes_more_than_linear_time(part):
    """A quadratic pattern needs minutes for one of these, all of them together take seconds."""
    code = (
        "import sys, vecsql\n"
        "for unit in eval(sys.stdin.buffer.read().decode()):\n"
        "    vecsql.chunk(unit * (100_000 // len(unit)))\n"
    )
    stdin = repr(ADVERSARIAL[part::4]).encode()
    subprocess.run([sys.executable, "-c", code], input=stdin, timeout=120, check=True)


LANGUAGES = {
    "thai": "หิวข้าวไหมผมชื่อสมชายครับรถไฟกลางคืนออกเวลาสิบโมงมีเตียงนอน",
    "chinese": "夜行列车十点出发它有床位票在车上出售",
    "hindi": "हैम्बर्ग के लिए रात की ट्रेन दस बजे निकलती है उसमें बिस्तर हैं",
    "arabic": "يُغَادِرُ القِطَارُ اللَّيْلِيُّ فِي السَّاعَةِ العَاشِرَةِ",
    "japanese": "夜行列車はハンブルクへ十時に出発するｶﾞｷﾞ",
    "korean": "밤 기차는 열 시에 떠난다 한글",
    "khmer": "រថភ្លើងពេលយប់ចេញដំណើរនៅម៉ោងដប់",
    "emoji": "👩🏽‍🚒👨‍👩‍👧‍👦🇩🇪🇫🇷1️⃣🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "marks": "e\u0301\u0323te\u0301 Z\u0351\u036b\u0343a\u033c\u0352lgo",
    "malayalam": "രാത്രി ട്രെയിൻ പത്തുമണിക്ക് പുറപ്പെടും",
}


@pytest.mark.parametrize("text", LANGUAGES.values(), ids=LANGUAGES)
@pytest.mark.parametrize("by", ["sentences", "tokens"])
def test_no_chunk_begins_or_ends_inside_a_word_or_a_grapheme(text, by):
    words = {m.start() for m in regex.finditer(r"\b", text, regex.WORD)} | {0, len(text)}
    graphemes = {m.end() for m in regex.finditer(r"\X", text)} | {0}
    for size in range(1, 8):
        for c in vecsql.chunk(text, size, 0, by):
            assert {c.start, c.end} <= words & graphemes


def test_a_run_without_spaces_is_cut_between_graphemes():
    for text in (*LANGUAGES.values(), "e\u0301", "क्षि", "QUJD", "각", "1,"):
        run = "".join(text.split()) * 40
        graphemes = {m.end() for m in regex.finditer(r"\X", run)} | {0}
        chunks = vecsql.chunk(run, 20, 0)
        assert max(c.end - c.start for c in chunks) <= 20 * 160
        assert {edge for c in chunks for edge in (c.start, c.end)} <= graphemes
        assert "".join(c.text for c in chunks) == run


def test_random_text_is_never_cut_inside_a_word_or_a_grapheme():
    """Letters with the marks of their own script, digits, punctuation; UAX 29 is the oracle."""
    seed = 7
    print("seed", seed)
    r = random.Random(seed)
    scripts: dict[str, tuple[list[str], list[str]]] = {}
    for code in range(0xA0, 0x3100):
        c = chr(code)
        script = unicodedata.name(c, "?").split()[0]
        letters, marks = scripts.setdefault(script, ([], []))
        if unicodedata.category(c) in ("Lu", "Ll", "Lo") and c != "\u0d4e":
            letters.append(c)
        elif unicodedata.category(c) in ("Mn", "Mc"):
            marks.append(c)
    scripts = {k: v for k, v in scripts.items() if len(v[0]) > 9}
    for _ in range(3000):
        letters, marks = scripts[r.choice(sorted(scripts))]
        text = ""
        for _ in range(r.randrange(1, 30)):
            text += r.choice(letters) + "".join(
                r.sample(marks, min(len(marks), r.choice((0, 0, 1))))
            )
            if r.random() < 0.3:
                text += r.choice(
                    [" ", ". ", ", ", "'", "’", " 3.14 ", "_", "! ", " (", "\n\n", "2"]
                )
        words = {m.start() for m in regex.finditer(r"\b", text, regex.WORD)} | {0, len(text)}
        graphemes = {m.end() for m in regex.finditer(r"\X", text)} | {0}
        cuts = {edge for span in tokens(text) for edge in span}
        assert cuts <= graphemes, ascii(text)
        assert cuts <= words, ascii(text)


def test_a_long_sentence_is_cut_at_a_space_where_there_is_one():
    text = "one (two) three, four; five (six) seven, eight; nine (ten) eleven, twelve; thirteen"
    for c in vecsql.chunk(text, max_tokens=7, overlap=0):
        assert c.start == 0 or text[c.start - 1] == " "
        assert c.end == len(text) or text[c.end] == " "


def test_a_small_chunk_needs_no_overlap_to_be_told():
    text = "One two three four. " * 30
    assert vecsql.chunk(text, max_tokens=20) == vecsql.chunk(text, max_tokens=20, overlap=10)
    assert vecsql.chunk(text, max_tokens=90) == vecsql.chunk(text, max_tokens=90, overlap=40)
