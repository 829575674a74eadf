"""Risk: chunks out of step with their sources, or a context that cites what is not there."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vecsql
from vecsql import Ingested

TOPICS = {
    "trains.md": "The night train leaves at ten. It has beds. Tickets are sold on board.",
    "bread.md": "Rye bread needs a sourdough. Bake it for an hour. Let it rest.",
    "sub/apples.txt": "Prune an apple tree in winter. Cut above a bud. Use a clean saw.",
}


@pytest.fixture
def folder(tmp_path):
    for name, text in TOPICS.items():
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (tmp_path / "docs" / "image.png").write_bytes(b"\x89PNG")
    return tmp_path / "docs"


@pytest.fixture
def db():
    conn = vecsql.connect(":memory:")
    yield conn
    conn.close()


def state(db):
    """Everything that ingest keeps, without the keys."""
    sql = "SELECT source, seq, line, start, stop, meta, body, embedding FROM docs ORDER BY 1, 2"
    books = "SELECT source, collection, hash FROM docs_sources ORDER BY source"
    return db.execute(sql).fetchall(), db.execute(books).fetchall()


def check(db):
    db.execute("INSERT INTO docs_embedding(docs_embedding) VALUES ('integrity-check')")
    db.execute(
        "INSERT INTO docs_embedding_fts(docs_embedding_fts, rank) VALUES ('integrity-check', 1)"
    )


def test_a_folder_becomes_chunks_that_know_their_place(db, folder):
    done = vecsql.ingest(db, "docs", folder, max_tokens=12, overlap=4)
    assert (done.added, done.updated, done.deleted, done.unchanged) == (3, 0, 0, 0)
    rows = db.execute("SELECT source, start, stop, line, body FROM docs").fetchall()
    assert {source for source, *_ in rows} == set(TOPICS)
    assert len(rows) == done.chunks > 3
    for source, start, stop, line, body in rows:
        text = (folder / source).read_text()
        assert text[start:stop] == body
        assert text.count("\n", 0, start) + 1 == line


def test_ingesting_again_changes_nothing(db, folder):
    vecsql.ingest(db, "docs", folder)
    before = state(db)
    assert vecsql.ingest(db, "docs", folder) == Ingested(unchanged=3)
    assert state(db) == before


def test_changes_and_deletions_are_followed(db, folder):
    vecsql.ingest(db, "docs", folder, max_tokens=8, overlap=0)
    (folder / "trains.md").write_text("A new beginning. " + TOPICS["trains.md"] + "\n")
    (folder / "bread.md").unlink()
    (folder / "new.md").write_text("A new file.")
    done = vecsql.ingest(db, "docs", folder, max_tokens=8, overlap=0)
    assert (done.added, done.updated, done.deleted, done.unchanged) == (1, 1, 1, 1)
    assert done.kept >= 2  # the sentences that only moved
    check(db)
    fresh = vecsql.connect(":memory:")
    vecsql.ingest(fresh, "docs", folder, max_tokens=8, overlap=0)
    assert state(db) == state(fresh)
    assert [h["source"] for h in vecsql.search(db, "docs", "sourdough", mode="text")] == []


def test_chunks_that_stay_keep_their_row_and_vector(db):
    text = "One two three. Four five six. Seven eight nine."
    vecsql.ingest(db, "docs", [{"source": "a", "text": text}], max_tokens=4, overlap=0)
    before = dict(db.execute("SELECT body, id FROM docs"))
    changed = text.replace("Four", "Fifty")
    done = vecsql.ingest(db, "docs", [{"source": "a", "text": changed}], max_tokens=4, overlap=0)
    assert (done.updated, done.chunks, done.kept) == (1, 1, 2)
    after = dict(db.execute("SELECT body, id FROM docs"))
    assert after["One two three."] == before["One two three."]
    assert after["Seven eight nine."] == before["Seven eight nine."]


def test_other_settings_cut_every_document_anew(db, folder):
    vecsql.ingest(db, "docs", folder, max_tokens=12, overlap=0)
    assert vecsql.ingest(db, "docs", folder, max_tokens=6, overlap=0).updated == 3


def test_metadata_filters_and_its_change_is_a_change(db):
    docs = [
        {"source": f"s{i}", "text": f"Text number {i}.", "author": "ab"[i % 2]} for i in range(6)
    ]
    vecsql.ingest(db, "docs", docs)
    hits = vecsql.search(db, "docs", "text", where="meta ->> 'author' = ?", params=["b"])
    assert sorted(h["source"] for h in hits) == ["s1", "s3", "s5"]
    docs[0]["author"] = "c"
    done = vecsql.ingest(db, "docs", docs)
    assert (done.updated, done.unchanged, done.kept, done.chunks) == (1, 5, 1, 0)


def test_collections_do_not_delete_each_others_documents(db, folder):
    vecsql.ingest(db, "docs", [{"source": "mail", "text": "A mail."}], collection="mails")
    assert vecsql.ingest(db, "docs", folder).deleted == 0
    done = vecsql.ingest(db, "docs", [], collection="mails", prune=True)
    assert done.deleted == 1
    assert vecsql.ingest(db, "docs", folder).unchanged == 3
    assert vecsql.forget(db, "docs", "trains.md", "nothing") == 1
    assert vecsql.ingest(db, "docs", folder).added == 1


@settings(max_examples=25)
@given(
    st.lists(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 5), max_size=4), max_size=4)
)
def test_after_any_history_the_table_is_that_of_the_last_state(history):
    conn = vecsql.connect(":memory:")
    fresh = vecsql.connect(":memory:")
    r = random.Random(3)
    versions = [" ".join(f"Word{r.randrange(9)} and more." for _ in range(8)) for _ in range(6)]
    docs: list = []
    vecsql.ingest(conn, "docs", [])
    for current in history:
        docs = [{"source": s, "text": versions[v]} for s, v in current.items()]
        vecsql.ingest(conn, "docs", docs, prune=True, max_tokens=10, overlap=4)
    vecsql.ingest(fresh, "docs", docs, max_tokens=10, overlap=4)
    assert state(conn) == state(fresh)
    check(conn)


def test_a_failing_document_leaves_earlier_batches_and_nothing_of_its_own(db):
    def docs(bad):
        for i in range(70):
            yield {"source": str(i), "text": 7 if bad and i == 40 else f"Text {i}."}

    with pytest.raises(vecsql.FormatError, match="a record has source and text"):
        vecsql.ingest(db, "docs", docs(True))
    assert db.execute("SELECT count(*) FROM docs").fetchone() == (32,)
    done = vecsql.ingest(db, "docs", docs(False))
    assert (done.added, done.unchanged) == (38, 32)


def test_what_cannot_be_ingested_is_refused(db, tmp_path):
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    with pytest.raises(vecsql.FormatError, match=r"latin\.txt is not utf-8 text"):
        vecsql.ingest(db, "docs", tmp_path / "latin.txt")
    assert vecsql.ingest(db, "docs", tmp_path / "latin.txt", encoding="latin-1").added == 1
    with pytest.raises(vecsql.FormatError, match="cannot read"):
        vecsql.ingest(db, "docs", tmp_path / "none.txt")
    with pytest.raises(vecsql.FormatError, match="two documents are called 'a'"):
        vecsql.ingest(db, "docs", [{"source": "a", "text": "x"}] * 2)
    with pytest.raises(TypeError, match="got dict"):
        vecsql.ingest(db, "docs", {"source": "a", "text": "x"})
    db.execute("CREATE TABLE other(x)")
    with pytest.raises(vecsql.SchemaError, match="was not made by ingest"):
        vecsql.ingest(db, "other", [])


# --- context -------------------------------------------------------------------------------------


def words(text):
    return len(text.split())


@pytest.fixture
def library(db):
    r = random.Random(4)
    nouns = [
        "train",
        "bread",
        "apple",
        "river",
        "night",
        "stone",
        "music",
        "paper",
        "storm",
        "light",
        "garden",
    ]
    docs = []
    for i in range(30):
        sentences = [
            f"The {r.choice(nouns)} and the {r.choice(nouns)} of {i}, {j}." for j in range(20)
        ]
        docs.append({"source": f"d{i}", "text": " ".join(sentences)})
    vecsql.ingest(db, "docs", docs, max_tokens=40, overlap=12)
    return {d["source"]: d["text"] for d in docs}


@pytest.mark.parametrize("budget", [5, 30, 100, 400, 2000])
def test_a_context_fits_its_budget_and_cites_what_is_there(db, library, budget):
    found = vecsql.context(db, "docs", "night train in a storm", budget, count=words)
    assert words(found.text) <= budget
    assert found.tokens >= words(found.text) - 1
    assert budget < 10 or found.citations
    for i, c in enumerate(found.citations, 1):
        assert c.number == i
        assert library[c.source][c.start : c.stop] == c.text
        assert f"[{i}] {c.source}, line {c.line}\n{c.text}" in found.text
    spans = sorted((c.source, c.start, c.stop) for c in found.citations)
    for (s, _, stop), (t, start, _) in pairwise(spans):
        assert s != t or stop < start


def test_more_budget_never_gives_less(db, library):
    sizes = [
        len(vecsql.context(db, "docs", "garden music", budget, count=words).text)
        for budget in (20, 60, 200, 800)
    ]
    assert sizes == sorted(sizes)


def test_chunks_that_overlap_are_one_passage(db):
    text = "Alpha one is here. Alpha two is here. Alpha three is here. Alpha four is here."
    vecsql.ingest(db, "docs", [{"source": "a", "text": text}], max_tokens=10, overlap=5)
    assert db.execute("SELECT count(*) FROM docs").fetchone()[0] > 2
    found = vecsql.context(db, "docs", "alpha")
    assert [(c.start, c.stop, c.text) for c in found.citations] == [(0, len(text), text)]


def test_the_same_said_twice_is_given_once(db):
    docs = [{"source": s, "text": "The night train leaves at ten."} for s in "abc"]
    docs.append({"source": "d", "text": "The night train  LEAVES at ten."})
    docs.append({"source": "e", "text": "Bread is baked at night."})
    vecsql.ingest(db, "docs", docs)
    found = vecsql.context(db, "docs", "night train")
    assert len(found.citations) == 2


def test_a_first_passage_that_is_too_long_is_cut(db):
    text = "The train leaves at ten. " * 30
    vecsql.ingest(db, "docs", [{"source": "a", "text": text}])
    found = vecsql.context(db, "docs", "train", 20, count=words)
    (c,) = found.citations
    assert words(found.text) <= 20
    assert c.text.endswith("at ten.")
    assert text[c.start : c.stop] == c.text


def test_any_table_with_text_gives_a_context(driver):
    conn = vecsql.connect(":memory:", driver=driver)
    vecsql.create_table(conn, "notes", {"title": str, "body": str}, text=["title", "body"])
    vecsql.insert(conn, "notes", [{"title": "Trains", "body": "They leave at ten."},
                                  {"title": "Bread", "body": "Bake it."}])  # fmt: skip
    found = vecsql.context(conn, "notes", "when do trains leave", where="title <> 'Bread'")
    assert str(found) == "[1] notes 1\nTrains\nThey leave at ten."
    assert found.citations[0].ids == (1,)
    assert found.citations[0].start is None


def test_nothing_found_is_an_empty_context(db):
    vecsql.ingest(db, "docs", [])
    found = vecsql.context(db, "docs", "anything")
    assert (found.text, found.citations, found.tokens) == ("", [], 0)
