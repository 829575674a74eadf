"""Risk: the embedder drifts from the model it was distilled for, or embed() misbehaves in SQL."""

from __future__ import annotations

import random
import threading
import unicodedata

import numpy as np
import pytest

import vecsql
from vecsql._cli import pydoc_corpus
from vecsql._model import embed


def oracle_tokens(text: str, ids: dict[str, int]) -> list[int]:
    """BERT's uncased WordPiece as its authors describe it: no caches, no short cut for ASCII."""
    spaced = ""
    for c in text:
        category = unicodedata.category(c)
        if c in "\t\n\r" or category == "Zs":
            spaced += " "
        elif category.startswith("C") or c == "\ufffd":
            continue
        elif c.isspace():
            spaced += " "
        else:
            for d in unicodedata.normalize("NFD", c):
                if unicodedata.category(d) == "Mn":
                    continue
                for low in d.lower():
                    o = ord(low)
                    alone = (
                        (o < 127 and not low.isalnum())
                        or unicodedata.category(low).startswith("P")
                        or 0x4E00 <= o <= 0x9FFF
                        or 0x3400 <= o <= 0x4DBF
                        or 0x20000 <= o <= 0x2A6DF
                        or 0x2A700 <= o <= 0x2CEAF
                        or 0xF900 <= o <= 0xFAFF
                        or 0x2F800 <= o <= 0x2FA1F
                    )
                    spaced += f" {low} " if alone else low
    out = []
    for word in spaced.split():
        pieces, rest = [], word
        while rest:
            prefix = "##" if pieces else ""
            n = next((n for n in range(len(rest), 0, -1) if prefix + rest[:n] in ids), 0)
            if n == 0 or len(word) > 100:
                pieces = []
                break
            pieces.append(ids[prefix + rest[:n]])
            rest = rest[n:]
        out += pieces
    return out


@pytest.fixture(scope="module")
def embedder():
    return vecsql.StaticEmbedder()


@pytest.fixture(scope="module")
def texts():
    rng = random.Random(7)
    noise = [
        "".join(
            chr(rng.choice((rng.randrange(32, 127), rng.randrange(32, 0x3000)))) for _ in range(60)
        )
        for _ in range(500)
    ]
    hard = [
        "",
        " ",
        "\0a\ufffdb",
        "x" * 101,
        "İstanbul ǅ ﬁ",
        "中文 한국어 日本語",
        "naïve—“q”",
        "a\u00a0b",
    ]
    docs = [o.doc for o in pydoc_corpus.walk()][:1000]
    return hard + noise + docs


def test_tokens_are_those_of_the_reference_algorithm(embedder, texts):
    tokens = embedder._model()[1]
    for text in texts:
        assert tokens(text) == oracle_tokens(text, tokens._ids), text


def test_vector_is_the_normalised_sum_of_the_first_512_tokens(embedder, texts):
    table, tokens = embedder._model()
    out = embedder.encode(texts)
    assert (out.shape, out.dtype) == ((len(texts), 256), np.float32)
    for text, v in zip(texts, out, strict=True):
        total = table[tokens(text)[:512]].astype(np.float64).sum(axis=0)
        norm = np.linalg.norm(total)
        np.testing.assert_allclose(v, total / norm if norm else total, atol=1e-6)


def test_known_sentence_has_known_tokens(embedder):
    vocabulary = {i: t for t, i in embedder._model()[1]._ids.items()}
    got = [vocabulary[i] for i in embedder._model()[1]("Unaffable Embeddings, naïvely!")]
    assert got == [
        "una",
        "##ffa",
        "##ble",
        "em",
        "##bed",
        "##ding",
        "##s",
        ",",
        "naive",
        "##ly",
        "!",
    ]


def test_related_texts_are_nearer_than_unrelated_ones(embedder):
    a, b, c = embedder.encode(["a cat sat down", "the kitten sits", "bond prices fell"])
    assert a @ b > a @ c + 0.2


def test_text_without_known_tokens_gives_the_zero_vector(embedder):
    assert not embedder.encode(["", "  ", "\u1b05"]).any()


def test_batch_of_none_has_no_rows(embedder):
    assert embedder.encode([]).shape == (0, 256)


def test_one_text_in_place_of_a_list_is_refused(embedder):
    with pytest.raises(vecsql.EmbedderError, match="list of texts, got one str"):
        embedder.encode("text")


def test_threads_share_one_embedder():
    embedder, got = vecsql.StaticEmbedder(), []
    threads = [
        threading.Thread(target=lambda: got.append(embedder.encode(["a shared text"])))
        for _ in range(8)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(got) == 8
    assert all((g == got[0]).all() for g in got)


def test_dim_of_the_bundled_model_needs_no_reading():
    fresh = vecsql.StaticEmbedder()
    assert (fresh.dim, fresh._loaded) == (256, None)
    assert fresh._model()[0].shape[1] == 256


def test_model_of_ones_own_is_read_from_its_path(tmp_path):
    path = tmp_path / "m.npz"
    vocabulary = np.frombuffer(b"a\nb", np.uint8)
    np.savez(path, table=np.array([[3, 4], [0, 5]], np.int8), vocab=vocabulary)
    mine = vecsql.StaticEmbedder(path, "mine")
    assert (mine.model_id, mine.dim) == ("mine", 2)
    np.testing.assert_allclose(mine.encode(["a", "b b"]), [[0.6, 0.8], [0, 1]])
    with pytest.raises(vecsql.EmbedderError, match="model_id"):
        vecsql.StaticEmbedder(path)


# --- embed() in SQL ------------------------------------------------------------------------------


class Counting:
    model_id, dim = "counting", 3

    def __init__(self):
        self.texts = []

    def encode(self, texts):
        self.texts += texts
        return np.ones((len(texts), 3), np.float32)


def test_embed_returns_the_vector_as_a_blob(db, embedder):
    vecsql.register_embedder(db)
    (blob,) = db.execute("SELECT embed(?)", ("split a string",)).fetchone()
    assert blob == embedder.encode(["split a string"])[0].tobytes()


def test_embed_of_null_is_null(db):
    vecsql.register_embedder(db)
    assert db.execute("SELECT embed(NULL)").fetchone() == (None,)


def test_embed_is_deterministic_for_sqlite(db):
    vecsql.register_embedder(db)
    db.execute("CREATE TABLE t(body TEXT)")
    db.execute("CREATE INDEX i ON t(embed(body))")  # an error for any other function


def test_embed_works_in_a_view_of_an_untrusted_schema_under_apsw():
    db = vecsql.connect(":memory:", driver="apsw")
    vecsql.register_embedder(db)
    db.execute("PRAGMA trusted_schema=OFF")
    db.execute("CREATE VIEW v AS SELECT length(embed('text')) AS n")
    assert db.execute("SELECT n FROM v").fetchall() == [(1024,)]


def test_embed_of_a_number_is_an_error_that_says_what_to_do(db):
    vecsql.register_embedder(db)
    message = r"^embed\(\) takes text, got INTEGER: embed\(CAST\(x AS TEXT\)\)"
    with pytest.raises(Exception, match=message):
        db.execute("SELECT embed(5)").fetchone()


def test_repeated_text_is_encoded_once(db):
    counting = Counting()
    vecsql.register_embedder(db, counting, "e")
    for _ in range(3):
        db.execute("SELECT e(?), e('b')", ("a",)).fetchone()
    assert sorted(counting.texts) == ["a", "b"]


def test_plain_function_is_an_embedder(db):
    vecsql.register_embedder(db, lambda texts: [[len(t), 0] for t in texts], "lengths")
    (blob,) = db.execute("SELECT lengths('four')").fetchone()
    assert np.frombuffer(blob, "<f4").tolist() == [4, 0]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (np.ones((1, 4)), r"shape \(1, 4\).*expected \(1, 3\)"),
        (np.ones(3), r"shape \(3,\)"),
        (np.array([[1, np.nan, 1]]), "NaN or infinity"),
    ],
)
def test_wrong_output_of_an_embedder_is_refused(result, message):
    wrong = Counting()
    wrong.encode = lambda texts: result
    with pytest.raises(vecsql.EmbedderError, match=message):
        embed.encode_checked(wrong, ["a"])


def test_what_is_no_embedder_is_refused():
    with pytest.raises(vecsql.EmbedderError, match="got int"):
        vecsql.register_embedder(vecsql.connect(":memory:"), 5)
    with pytest.raises(vecsql.InterfaceError, match="expected a connection"):
        vecsql.register_embedder(5)


def test_bundled_embedder_satisfies_the_protocol(embedder):
    assert isinstance(embedder, vecsql.Embedder)
    assert not isinstance(len, vecsql.Embedder)
