"""Risk: an evaluation measures something else than the search that it speaks of."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

import vecsql
from tests.support.notes import WORDS, notes


@pytest.fixture(scope="module")
def db():
    conn = notes()
    yield conn
    conn.close()


@pytest.fixture(scope="module")
def judged(db):
    """Queries of two words; relevant is what has them both, twice as much what begins with one."""
    rows = db.execute("SELECT id, body FROM notes").fetchall()
    queries = {f"q{i}": f"{a} {b}" for i, (a, b) in enumerate(pairwise(WORDS))}
    qrels = {
        q: {
            str(i): 1 + body.startswith(tuple(text.split()))
            for i, body in rows
            if set(text.split()) <= set(body.split())
        }
        for q, text in queries.items()
    }
    return queries, qrels


@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
def test_the_run_is_what_search_gives_and_its_score_that_of_the_run(db, judged, mode):
    queries, qrels = judged
    e = vecsql.evaluate(db, "notes", queries, qrels, k=10, mode=mode)
    for q, text in queries.items():
        if qrels[q]:
            assert e.run[q] == [str(h.id) for h in vecsql.search(db, "notes", text, mode=mode)]
    assert e.scores.mean == vecsql.score(qrels, e.run).mean
    assert e["nDCG@10"] == e.scores.mean["nDCG@10"] > 0.1
    assert (e.ann_recall is None) == (mode == "text")
    assert e.milliseconds > 0


def test_vectors_and_texts_as_queries_score_the_same(db, judged):
    queries, qrels = judged
    vectors = dict(
        zip(queries, vecsql.StaticEmbedder().encode(list(queries.values())), strict=True)
    )
    a = vecsql.evaluate(db, "notes", queries, qrels)
    b = vecsql.evaluate(db, "notes", vectors, qrels)
    assert a.run == b.run


def test_documents_may_be_named_by_a_column_and_count_once(db):
    qrels = {"q": {"d3": 1}}
    body = db.execute("SELECT body FROM notes WHERE doc = 'd3'").fetchone()[0]
    e = vecsql.evaluate(db, "notes", {"q": body}, qrels, k=5, id_column="doc")
    assert len(set(e.run["q"])) == len(e.run["q"]) == 5
    assert e["Success@5"] == 1.0


def test_ann_recall_is_one_for_an_exact_search_and_below_for_a_bad_one():
    """Negative control: a walk of width 1 over random vectors loses rows, and it shows."""
    r = np.random.default_rng(1)
    conn = vecsql.connect(":memory:")
    conn.execute("CREATE VIRTUAL TABLE v USING vecsql(e FLOAT[32] m=4 ef_construction=8)")
    data = r.normal(size=(12000, 32)).astype(np.float32)
    with conn:
        conn.executemany("INSERT INTO v(rowid, e) VALUES (?, ?)",
                         [(i, v.tobytes()) for i, v in enumerate(data, 1)])  # fmt: skip
    queries = {str(i): r.normal(size=32).astype(np.float32) for i in range(20)}
    qrels = {q: {"1": 1} for q in queries}
    wide = vecsql.evaluate(conn, "v", queries, qrels, ef_search=2000)
    narrow = vecsql.evaluate(conn, "v", queries, qrels, ef_search=1)
    assert wide.ann_recall > 0.95
    assert narrow.ann_recall < wide.ann_recall - 0.1
    assert vecsql.evaluate(conn, "v", queries, qrels, exact=True).ann_recall == 1.0


def test_two_settings_are_compared_query_by_query(db, judged):
    queries, qrels = judged
    text = vecsql.evaluate(db, "notes", queries, qrels, mode="text")
    vector = vecsql.evaluate(db, "notes", queries, qrels)
    c = text.compare(vector, "nDCG@10")
    assert (c.first, c.second) == (text["nDCG@10"], pytest.approx(vector["nDCG@10"]))
    assert 0 < c.p <= 1
    part = vecsql.evaluate(db, "notes", dict(list(queries.items())[:3]), qrels)
    with pytest.raises(ValueError, match="different queries"):
        text.compare(part)


def test_tuned_weights_are_not_below_the_better_arm(db, judged):
    queries, qrels = judged
    t = vecsql.tune(db, "notes", queries, qrels)
    assert t.measure == "nDCG@10"
    best = max(t.trials, key=lambda trial: trial.score)
    arms = [trial.score for trial in t.trials if 0 in trial.weights]
    assert best.score >= max(arms)
    assert set(t.held_out) == {"vector", "text", "hybrid"}
    tuned_on = dict([q for q in queries.items() if qrels[q[0]]][::2])
    e = vecsql.evaluate(db, "notes", tuned_on, qrels, candidates=100, **t.settings)
    assert e["nDCG@10"] == pytest.approx(best.score)


def test_a_useless_arm_is_tuned_away():
    """Every text is the same to the text arm, so only the vector arm can be right."""
    conn = vecsql.connect(":memory:")
    vecsql.create_table(conn, "t", {"body": str}, text="body", fts="unicode61")
    pairs = [("a railway journey", "train"), ("a loaf from the oven", "bread"),
             ("rain and thunder", "storm"), ("a sheet to write on", "paper")]  # fmt: skip
    conn.executemany("INSERT INTO t(body) VALUES (?)", [(f"{a} zz",) for a, _ in pairs])
    queries = {str(i): f"{word} zz" for i, (_, word) in enumerate(pairs, 1)}
    qrels = {q: {q: 1} for q in queries}
    t = vecsql.tune(conn, "t", queries, qrels, k=1)
    assert t.held_out["hybrid"] >= t.held_out["text"]
    assert t.weights[0] > t.weights[1]


def test_what_cannot_be_evaluated_is_refused(db):
    with pytest.raises(ValueError, match="no query has judgements"):
        vecsql.evaluate(db, "notes", {"a": "x"}, {"b": {"1": 1}})
    with pytest.raises(ValueError, match="unknown measure"):
        vecsql.evaluate(db, "notes", {"a": "x"}, {"a": {"1": 1}}, measures=["F1"])
    with pytest.raises(ValueError, match="at least two queries"):
        vecsql.tune(db, "notes", {"a": "x"}, {"a": {"1": 1}})
    with pytest.raises(TypeError, match="unexpected keyword"):
        vecsql.evaluate(db, "notes", {"a": "x"}, {"a": {"1": 1}}, nope=1)
