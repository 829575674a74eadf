"""Risk: search gives other rows than the SQL it stands for, or breaks on what people type."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import vecsql
from tests.support.notes import notes
from vecsql._search.fusion import fuse, mmr, scaled


@pytest.fixture(scope="module")
def db():
    conn = notes()
    yield conn
    conn.close()


@pytest.fixture
def every(driver):
    conn = notes(driver, 60)
    yield conn
    conn.close()


def test_vector_search_is_the_sql_it_stands_for(every):
    hits = vecsql.search(every, "notes", "night train", k=7)
    sql = (
        "SELECT n.id, v.distance, n.body FROM notes_embedding v JOIN notes n ON n.id = v.rowid "
        "WHERE v.embedding MATCH embed(?) ORDER BY v.distance LIMIT 7"
    )
    expected = every.execute(sql, ("night train",)).fetchall()
    assert [(h.id, h.distance, h["body"]) for h in hits] == [tuple(row) for row in expected]
    assert [h.score for h in hits] == [1 - h.distance for h in hits]
    assert list(hits[0].row) == ["id", "body", "author", "year", "doc"]


def test_text_search_is_the_sql_it_stands_for(every):
    hits = vecsql.search(every, "notes", "night train", k=7, mode="text")
    sql = (
        "SELECT rowid, -bm25(notes_embedding_fts) FROM notes_embedding_fts "
        "WHERE notes_embedding_fts MATCH 'night OR train' ORDER BY rank, rowid LIMIT 7"
    )
    expected = every.execute(sql).fetchall()
    assert [(h.id, h.score) for h in hits] == [tuple(row) for row in expected]
    assert all(h.distance is None for h in hits)


def test_hybrid_search_fuses_both(every):
    hits = vecsql.search(every, "notes", "night train", k=5, mode="hybrid")
    assert len(hits) == 5
    for h in hits:
        assert h.score == pytest.approx(sum(a.added for a in h.arms.values()))
        assert all(a.added == pytest.approx(1 / (60 + a.rank)) for a in h.arms.values())
    assert any(len(h.arms) == 2 for h in hits)


@pytest.mark.parametrize(
    "query", [[0.5] * 256, np.full(256, 0.5), np.full(256, 0.5, "f4").tobytes()]
)
def test_a_query_may_be_a_vector_of_any_form(db, query):
    expected = [h.id for h in vecsql.search(db, "notes", np.full(256, 0.5, "f4"), k=5)]
    assert [h.id for h in vecsql.search(db, "notes", query, k=5)] == expected


def test_a_vector_and_a_text_search_together(db):
    vector = np.frombuffer(
        db.execute("SELECT embedding FROM notes WHERE id = 9").fetchone()[0], "f4"
    )
    hits = vecsql.search(db, "notes", vector, k=3, mode="hybrid", text="storm")
    assert {"vector", "text"} == {arm for h in hits for arm in h.arms}
    with pytest.raises(ValueError, match="text= gives the words"):
        vecsql.search(db, "notes", vector, mode="hybrid")


# --- conditions ----------------------------------------------------------------------------------

CONDITIONS = [
    ("author = ?", ("a",)),
    ("author = :who AND year > :after", {"who": "a", "after": 2005}),
    ("author = ?1 OR author = ?2 OR year = ?1", ("a", "b")),
    ("year BETWEEN ? AND ?", (2003, 2004)),
    ("length(body) > 25", ()),
    ("id IN (SELECT id FROM notes WHERE author = 'a') -- a comment", ()),
    ("body LIKE '%stone%' OR author IS NULL", ()),
    ("author = 'nobody'", ()),
]


@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
@pytest.mark.parametrize(("where", "params"), CONDITIONS)
def test_k_rows_come_back_of_those_that_satisfy_the_condition(db, mode, where, params):
    hits = vecsql.search(
        db, "notes", "stone river", k=10, where=where, params=params, mode=mode, exact=True
    )
    admitted = {i for (i,) in db.execute(f"SELECT id FROM notes WHERE {where}\n", params)}
    assert {h.id for h in hits} <= admitted
    if mode != "text":
        assert len(hits) == min(10, len(admitted))
    if mode == "vector" and hits:
        best = [h.id for h in vecsql.search(db, "notes", "stone river", k=300, exact=True)]
        assert [h.id for h in hits] == [i for i in best if i in admitted][:10]


def test_an_error_in_the_condition_is_sqlites(db):
    with pytest.raises(vecsql.OperationalError, match="no such column: nope"):
        vecsql.search(db, "notes", "x", where="nope = 1")


@pytest.mark.parametrize("mode", ["vector", "hybrid"])
def test_k_may_be_larger_than_the_table(db, mode):
    assert len(vecsql.search(db, "notes", "stone", k=1000, mode=mode)) == 300


# --- what people type ----------------------------------------------------------------------------

HOSTILE = [
    "", " ", '"', '""', "'", "AND", "NOT", "a AND", "NEAR(a b)", "body:train", "train*", "^train",
    "-train", "(train", "train)", "{a b}: c", "C++", "😀", "日本語", "a\0b", "\0", '"un closed',
    "x" * 5000, "word " * 5000, " ".join(map(str, range(3000))), "%s;--", "ＡＢＣ", "\ud7ff", "_",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda t: repr(t[:12]))
def test_no_text_breaks_the_full_text_query(db, text):
    for match in ("any", "all"):
        vecsql.search(db, "notes", text, mode="text", match=match)
        vecsql.search(db, "notes", text, mode="hybrid", match=match)


@settings(max_examples=300)
@given(st.text(max_size=60), st.sampled_from(["any", "all"]))
@example('"\0"', "any")
def test_no_text_at_all_is_a_syntax_error(db, text, match):
    query = vecsql.fts_query(text, match)
    sql = "SELECT count(*) FROM notes_embedding_fts WHERE notes_embedding_fts MATCH ?"
    db.execute(sql, (query,)).fetchall()


def test_words_of_fts5s_own_syntax_are_found_as_words():
    conn = vecsql.connect(":memory:")
    vecsql.create_table(conn, "t", {"body": str}, text="body", fts=True)
    bodies = ["and so on", "or not", "near the sea", "not a column"]
    conn.executemany("INSERT INTO t(body) VALUES (?)", [(b,) for b in bodies])
    for text, expected in [("AND", 1), ("NEAR", 3), ("column:a", 4), ("OR", 2)]:
        assert vecsql.search(conn, "t", text, 1, mode="text")[0].id == expected
    assert vecsql.search(conn, "t", '"near sea"', mode="text") == []
    assert [h.id for h in vecsql.search(conn, "t", '"near the sea"', mode="text")] == [3]
    assert [h.id for h in vecsql.search(conn, "t", "not or", mode="text", match="all")] == [2]


def test_a_word_with_marks_is_one_word_and_no_letters_of_it():
    conn = vecsql.connect(":memory:")
    vecsql.create_table(conn, "t", {"body": str}, text="body", fts="unicode61")
    bodies = ["रात की ट्रेन निकलती है", "रोटी और नमक", "टेबल रेत नदी", "Cafe\u0301 au lait", "a cafe"]
    vecsql.insert(conn, "t", [{"body": b} for b in bodies])
    assert vecsql.fts_query("ट्रेन है") == '"ट्रेन" OR "है"'
    for text, expected in [("ट्रेन", [1]), ("नमक", [2]), ('"नमक और"', []), ('"रोटी और"', [2])]:
        hits = vecsql.search(conn, "t", text, mode="text")
        assert [h.id for h in hits] == expected, text
    assert 4 in [h.id for h in vecsql.search(conn, "t", "Cafe\u0301", mode="text")]


# --- fusion --------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [(float("nan"), 1), (1, float("inf")), (-1, 1), (0, 0)])
def test_weights_are_finite_numbers(db, weights):
    with pytest.raises(ValueError, match="weights are two finite numbers"):
        vecsql.search(db, "notes", "stone night", mode="hybrid", weights=weights)


def test_weights_of_an_arm_alone_give_that_arm(db):
    for weights, mode in [((1, 0), "vector"), ((0, 1), "text"), ((0.3, 0), "vector")]:
        alone = [h.id for h in vecsql.search(db, "notes", "stone night", mode=mode)]
        fused = vecsql.search(db, "notes", "stone night", mode="hybrid", weights=weights)
        assert [h.id for h in fused] == alone


def test_fusion_by_scores_adds_scaled_scores(db):
    hits = vecsql.search(
        db, "notes", "stone night", mode="hybrid", fusion="scores", weights=(2, 1), candidates=20
    )
    for h in hits:
        for name, weight in (("vector", 2), ("text", 1)):
            if name in h.arms:
                assert 0 <= h.arms[name].added <= weight
    assert max(h.arms["vector"].added for h in hits if "vector" in h.arms) == 2


def test_rrf_by_hand():
    arms = {"vector": [("a", 9.0), ("b", 8.0)], "text": [("b", 3.0), ("c", 2.0)]}
    found = fuse(arms, {"vector": 1, "text": 2})
    assert [(f.id, f.score) for f in found] == [
        ("b", 1 / 62 + 2 / 61), ("c", 2 / 62), ("a", 1 / 61),
    ]  # fmt: skip


def test_equal_scores_are_ordered_by_id_and_scaled_to_one():
    assert [f.id for f in fuse({"a": [(2, 1.0)], "b": [(1, 1.0)]}, {"a": 1, "b": 1})] == [1, 2]
    assert scaled([3.0, 3.0]) == [1.0, 1.0]
    assert scaled([]) == []


# --- diversity and groups ------------------------------------------------------------------------


def test_diversity_0_keeps_the_order_and_1_takes_the_most_different():
    vectors = np.array([[1, 0], [1, 0.01], [0, 1], [0.7, 0.7]], np.float32)
    relevance = [0.9, 0.8, 0.3, 0.5]
    assert mmr(relevance, vectors, 4, 0.0) == [0, 1, 3, 2]
    assert mmr(relevance, vectors, 2, 1.0) == [0, 2]
    assert mmr(relevance, vectors, 2, 0.3) == [0, 1]


def test_mmr_takes_lists_and_refuses_what_does_not_fit():
    assert vecsql.mmr([1.0, 0.9], [[1, 0], [1, 0]], 5) == [0, 1]
    for relevance, vectors, diversity, message in (
        ([1.0], [[1, 0], [1, 0]], 0.3, "expected 1 vectors"),
        ([1.0, 2.0], [1, 0], 0.3, "expected 2 vectors"),
        ([1.0], [[1, 0]], 1.5, "diversity is a number from 0 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            vecsql.mmr(relevance, vectors, 1, diversity)


def test_mmr_is_the_textbook_formula():
    r = np.random.default_rng(2)
    vectors = r.normal(size=(30, 8)).astype(np.float32)
    relevance = r.random(30).tolist()
    gain = scaled(relevance)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    taken: list[int] = []
    for _ in range(10):

        def value(i):
            similar = max((float(unit[i] @ unit[j]) for j in taken), default=0.0)
            return 0.6 * gain[i] - 0.4 * max(similar, 0.0)

        taken.append(max((i for i in range(30) if i not in taken), key=value))
    assert mmr(relevance, vectors, 10, 0.4) == taken


def test_diverse_results_repeat_less(db):
    plain = vecsql.search(db, "notes", "train", k=10)
    diverse = vecsql.search(db, "notes", "train", k=10, diversity=0.7)
    assert diverse[0] == plain[0]
    assert len({h["body"] for h in diverse}) >= len({h["body"] for h in plain})
    assert [h.id for h in diverse] != [h.id for h in plain]


@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
@pytest.mark.parametrize("k", [5, 60, 100])
def test_each_group_comes_once_with_its_best_row(db, mode, k):
    hits = vecsql.search(
        db, "notes", "stone night train", k=k, mode=mode, group_by="doc", exact=True
    )
    documents = [h["doc"] for h in hits]
    assert len(set(documents)) == len(documents)
    everything = vecsql.search(db, "notes", "stone night train", k=300, mode=mode, exact=True)
    groups = {h["doc"] for h in everything}
    assert len(hits) == min(k, len(groups))
    if mode != "hybrid":
        best = {}
        for h in everything:
            best.setdefault(h["doc"], h.id)
        assert [h.id for h in hits] == list(best.values())[:k]


# --- tables --------------------------------------------------------------------------------------


def test_a_virtual_table_with_rows_of_its_own_is_searched(driver):
    conn = vecsql.connect(":memory:", driver=driver)
    conn.execute(
        "CREATE VIRTUAL TABLE v USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[3], cat TEXT)"
    )
    for i in range(20):
        conn.execute("INSERT INTO v(id, e, cat) VALUES (?, ?, ?)",
                     (i, vecsql.f32([i, 0, 0]), "ab"[i % 2]))  # fmt: skip
    hits = vecsql.search(conn, "v", [3, 0, 0], k=3, where="cat = ?", params=["b"])
    assert [(h.id, h.distance, h.score) for h in hits] == [(3, 0, 0), (1, 2, -2), (5, 2, -2)]
    assert hits[0].row == {"id": 3, "cat": "b"}
    with pytest.raises(vecsql.SchemaError, match="no model"):
        vecsql.search(conn, "v", "text")
    with pytest.raises(vecsql.SchemaError, match="3 dimensions, vecsql-static-en-256 makes 256"):
        vecsql.search(conn, "v", "text", embedder=vecsql.StaticEmbedder())
    with pytest.raises(vecsql.ConversionError, match=r"v\.e has 3 dimensions, the query has 2"):
        vecsql.search(conn, "v", [1, 2])


def test_a_text_key_is_the_id(driver):
    conn = vecsql.connect(":memory:", driver=driver)
    conn.execute("CREATE VIRTUAL TABLE v USING vecsql(name TEXT PRIMARY KEY, e FLOAT[2], n INT)")
    for i in range(8):
        conn.execute("INSERT INTO v VALUES (?, ?, ?)", (f"k{i}", vecsql.f32([i, 0]), i))
    hits = vecsql.search(conn, "v", [5, 0], 2, where="n % 2 = 0", diversity=0.1)
    assert [(h.id, h.row) for h in hits] == [
        ("k4", {"name": "k4", "n": 4}), ("k6", {"name": "k6", "n": 6}),
    ]  # fmt: skip


TYPED = [
    ("int8[4]", vecsql.int8, [[1, 2, 3, 4], [-128, 127, 0, 0], [9, 9, 9, 9]]),
    ("float16[4]", vecsql.f16, [[1, 2, 3, 4], [0.5, 0.25, 0, 0], [9, 9, 9, 9]]),
    ("bit[8]", vecsql.bit, [[1, 0, 0, 0, 0, 0, 0, 0], [1] * 8, [0, 1] * 4]),
]


@pytest.mark.parametrize(("kind", "encode", "vectors"), TYPED, ids=lambda x: str(x)[:8])
def test_vectors_of_every_element_type_are_searched(driver, kind, encode, vectors):
    conn = vecsql.connect(":memory:", driver=driver)
    conn.execute(f"CREATE VIRTUAL TABLE v USING vecsql(id INTEGER PRIMARY KEY, e {kind})")
    wrapped = {"i": "vec_int8(?)", "f": "vec_f16(?)", "b": "vec_bit(?)"}[kind[0]]
    for i, v in enumerate(vectors):
        conn.execute(f"INSERT INTO v(id, e) VALUES (?, {wrapped})", (i, encode(v)))
    for i, v in enumerate(vectors):
        for query in (v, np.array(v)):
            hits = vecsql.search(conn, "v", query, 3, diversity=0.01)
            assert (hits[0].id, hits[0].distance) == (i, 0)
    if kind[0] == "b":
        assert vecsql.search(conn, "v", np.ones(8, bool), 1)[0].id == 1
    if kind[0] != "f":
        with pytest.raises(vecsql.ConversionError, match=r"0\.5"):
            vecsql.search(conn, "v", [0.5] * len(vectors[0]))


def test_full_text_can_be_added_later_and_is_kept_in_step(driver):
    conn = vecsql.connect(":memory:", driver=driver)
    vecsql.create_table(conn, "t", {"body": str}, text="body")
    conn.execute("INSERT INTO t(body) VALUES ('one'), ('two')")
    with pytest.raises(vecsql.SchemaError, match=r"vecsql\.add_full_text\(db, 't', 'embedding'\)"):
        vecsql.search(conn, "t", "one", mode="hybrid")
    assert vecsql.add_full_text(conn, "t").fts == "t_embedding_fts"
    assert vecsql.add_full_text(conn, "t").fts == "t_embedding_fts"
    conn.execute("UPDATE t SET body = 'three' WHERE id = 1")
    conn.execute("INSERT INTO t(body) VALUES ('one again')")
    assert [h.id for h in vecsql.search(conn, "t", "one", mode="text")] == [3]
    vecsql.drop_index(conn, "t")
    assert conn.execute(
        "SELECT count(*) FROM sqlite_schema WHERE name LIKE '%fts%'"
    ).fetchone() == (0,)


def test_a_table_of_plain_sql_gets_no_full_text():
    conn = vecsql.connect(":memory:")
    conn.execute("CREATE VIRTUAL TABLE v USING vecsql(e FLOAT[3], body TEXT)")
    with pytest.raises(vecsql.SchemaError, match="made by plain SQL"):
        vecsql.add_full_text(conn, "v")


def test_results_are_the_same_under_any_row_factory(db):
    import sqlite3

    expected = vecsql.search(db, "notes", "stone", mode="hybrid")
    db.row_factory = sqlite3.Row
    try:
        assert vecsql.search(db, "notes", "stone", mode="hybrid") == expected
    finally:
        db.row_factory = None


def test_only_the_columns_that_are_asked_for_are_read(db):
    assert vecsql.search(db, "notes", "x", 1, columns=["Year"])[0].row.keys() == {"Year"}
    with pytest.raises(vecsql.SchemaError, match="notes has no column nope; it has id, body"):
        vecsql.search(db, "notes", "x", columns=["nope"])


BAD = [
    ({"k": 0}, "at least 1; got 0"),
    ({"mode": "both"}, "got 'both'"),
    ({"fusion": "max"}, "got 'max'"),
    ({"weights": (0, 0)}, "not both 0"),
    ({"weights": (-1, 2)}, ">= 0"),
    ({"diversity": 1.5}, "got 1.5"),
    ({"mode": "text", "match": "some"}, "got 'some'"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_what_makes_no_sense_is_refused(db, arguments, message):
    with pytest.raises(ValueError, match=message):
        vecsql.search(db, "notes", "x", **arguments)


def test_a_missing_table_or_column_is_named(db):
    with pytest.raises(vecsql.SchemaError, match="there is no table nope"):
        vecsql.search(db, "nope", "x")
    with pytest.raises(vecsql.SchemaError, match="no index"):
        vecsql.search(db, "notes", "x", column="other")


def test_searching_sees_the_open_transaction():
    conn = notes(n=10)
    conn.execute("INSERT INTO notes(body) VALUES ('zebra zebra')")
    for mode in ("vector", "text", "hybrid"):
        assert vecsql.search(conn, "notes", "zebra", 1, mode=mode)[0]["body"] == "zebra zebra"
    conn.rollback()
    assert vecsql.search(conn, "notes", "zebra", 1, mode="text") == []


def test_two_runs_give_the_same_hits(db):
    for mode, fusion in itertools.product(["hybrid"], ["rrf", "scores"]):
        a = vecsql.search(db, "notes", "stone river night", 50, mode=mode, fusion=fusion)
        assert a == vecsql.search(db, "notes", "stone river night", 50, mode=mode, fusion=fusion)


# --- reranking -----------------------------------------------------------------------------------


def by_year(asked, hits):
    return [hit["year"] for hit in hits]


@pytest.fixture
def years(driver):
    db = vecsql.connect(":memory:", driver=driver)
    columns = {"body": str, "year": int}
    vecsql.create_table(db, "t", columns, text="body", fts=True)
    rows = [{"body": f"night train {i}", "year": i * 7 % 30} for i in range(30)]
    vecsql.insert(db, "t", [*rows, {"body": "rye bread", "year": 99}])
    return db


@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
def test_a_reranker_orders_the_candidates_and_gives_their_scores(years, mode):
    asked = []

    def rerank(question, hits):
        asked.append((question, len(hits)))
        assert all(set(hit) == {"id", "body", "year"} and hit.arms for hit in hits)
        return np.array(by_year(question, hits), np.float32)

    found = vecsql.search(
        years, "t", "train", 3, mode=mode, columns=["body"], where="year < 50", rerank=rerank
    )
    assert [hit.score for hit in found] == [29, 28, 27]
    assert [list(hit) for hit in found] == [["body"]] * 3
    assert asked == [("train", 30)]
    few = vecsql.search(years, "t", "train", 3, mode=mode, candidates=5, rerank=by_year)
    plain = vecsql.search(years, "t", "train", 10, mode=mode, candidates=5)[:5]
    assert {hit.id for hit in few} <= {hit.id for hit in plain} or mode == "hybrid"


def test_equal_scores_of_a_reranker_keep_the_order(years):
    plain = vecsql.search(years, "t", "train", 5)
    same = vecsql.search(years, "t", "train", 5, rerank=lambda question, hits: [1] * len(hits))
    assert [hit.id for hit in same] == [hit.id for hit in plain]
    assert vecsql.search(years, "t", "train", where="0", rerank=by_year) == []


def test_a_reranker_of_a_vector_gets_the_vector_or_the_text(years):
    seen = []

    def rerank(question, hits):
        seen.append(question)
        return by_year(question, hits)

    vector = vecsql.StaticEmbedder().encode(["train"])[0]
    vecsql.search(years, "t", vector, 1, rerank=rerank)
    vecsql.search(years, "t", vector, 1, text="a train", rerank=rerank)
    assert np.array_equal(seen[0], vector)
    assert seen[1] == "a train"


def test_reranked_hits_are_spread_and_measured_and_cited(years):
    best = vecsql.search(years, "t", "train", 1, rerank=by_year)[0]
    spread = vecsql.search(years, "t", "train", 2, rerank=by_year, diversity=1.0)
    assert spread[0].id == best.id
    measured = vecsql.evaluate(
        years, "t", {"q": "train"}, {"q": {str(best.id): 1}}, k=1, rerank=by_year
    )
    assert measured["nDCG@1"] == 1.0
    cited = vecsql.context(years, "t", "train", k=1, rerank=by_year)
    assert "rye bread" in str(cited)


@pytest.mark.parametrize("scores", [[1.0], [[1.0]] * 31, [float("nan")] * 31, [float("inf")] * 31])
def test_scores_that_do_not_fit_are_refused(years, scores):
    with pytest.raises(ValueError, match="a finite number for each of 31 hits"):
        vecsql.search(years, "t", "train", rerank=lambda question, hits: scores)
