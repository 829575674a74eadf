"""Risk: a chunk loses text, is longer than the model reads, or cites the wrong place."""

from __future__ import annotations

import re
import sys
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vecsql
from vecsql._chunk import sentences

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


def test_a_long_text_is_split_in_linear_time():
    def steps(sentences):
        """How many lines of Python are executed."""
        count = 0

        def line(frame, event, arg):
            nonlocal count
            count += event == "line"
            return line

        before = sys.gettrace()
        sys.settrace(line)
        try:
            vecsql.chunk("A sentence of some words, with a comma. " * sentences)
        finally:
            sys.settrace(before)
        return count

    assert steps(4000) < 4.2 * steps(1000)
