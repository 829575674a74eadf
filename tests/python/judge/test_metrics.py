"""Risk: a measure is not what the field means by its name. The oracle is ir-measures."""

from __future__ import annotations

import random

import numpy as np
import pytest

import vecsql
from vecsql import FormatError
from vecsql._judge.collections import read_queries, write_qrels
from vecsql._judge.metrics import parse_measure

ir_measures = pytest.importorskip("ir_measures")

NAMES = [
    "P@1", "P@5", "P@10", "P@100", "R@1", "R@5", "R@10", "R@1000", "nDCG@1", "nDCG@5", "nDCG@10",
    "nDCG", "RR", "RR@3", "AP", "AP@5", "AP@100", "Success@1", "Success@5",
]  # fmt: skip


def random_case(seed: int, ties: bool):
    """Graded judgements (some negative, some queries without a result) and a run."""
    r = random.Random(seed)
    docs = [f"d{i}" for i in range(60)]
    qrels = {
        f"q{i}": {d: r.choice([-1, 0, 0, 1, 1, 2, 3]) for d in r.sample(docs, r.randint(1, 30))}
        for i in range(40)
    }
    run = {}
    for i in range(38):  # two queries have no result at all
        found = r.sample(docs, r.randint(0, 50))
        levels = 5 if ties else 10**6
        run[f"q{i}"] = {d: r.randrange(levels) / 8 for d in found}
    return qrels, run


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_measures_equal_those_of_ir_measures(seed, ties):
    qrels, run = random_case(seed, ties)
    # ir-measures takes RR@k from the MS MARCO script, which orders ties in its own way
    names = [name for name in NAMES if not (ties and name == "RR@3")]
    ours = vecsql.score(qrels, run, names)
    oracle = {name: ir_measures.parse_measure(name) for name in names}
    found = {
        (str(m.measure), m.query_id): m.value
        for m in ir_measures.iter_calc(list(oracle.values()), qrels, run)
    }
    means = ir_measures.calc_aggregate(list(oracle.values()), qrels, run)
    for name in names:
        for q, value in zip(ours.queries, ours.per_query[name], strict=True):
            assert abs(found.get((str(oracle[name]), q), 0.0) - value) < 1e-9, (name, q)
        assert abs(means[oracle[name]] - ours.mean[name]) < 1e-9, name


def test_a_ranked_list_scores_as_the_same_order_by_score():
    qrels, run = random_case(7, ties=False)
    lists = {q: sorted(found, key=lambda d: -found[d]) for q, found in run.items()}
    assert vecsql.score(qrels, lists, NAMES).mean == vecsql.score(qrels, run, NAMES).mean


def test_a_document_given_twice_counts_once():
    s = vecsql.score({"q": {"a": 1, "b": 1}}, {"q": ["a", "a", "b"]}, ["R@2", "AP"])
    assert s.mean == {"R@2": 1.0, "AP": 1.0}


@pytest.mark.parametrize("name", ["P", "R", "Success", "nDCG@0", "F@10", "P@-1", "", "P@x"])
def test_an_unknown_measure_is_refused(name):
    with pytest.raises(ValueError, match="unknown measure"):
        parse_measure(name)


def test_names_of_the_field_are_understood():
    for a, b in [("MRR", "RR"), ("MAP", "AP"), ("recall@5", "R@5"), ("precision@5", "P@5")]:
        assert parse_measure(a) == parse_measure(b)


def test_without_judgements_there_is_no_score():
    with pytest.raises(ValueError, match="no judgements"):
        vecsql.score({"q": {}}, {"q": ["a"]})


def test_the_exact_test_equals_scipys():
    scipy = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(3)
    for n in (3, 6, 10):
        a, b = random.random(n), random.random(n) + 0.2
        expected = scipy.permutation_test(
            (b - a,), lambda d, axis: d.mean(axis=axis), permutation_type="samples",
            n_resamples=np.inf, vectorized=True,
        )  # fmt: skip
        assert vecsql.compare(a, b).p == pytest.approx(expected.pvalue, abs=1e-12)


def test_the_random_test_is_near_the_t_test_and_repeatable():
    scipy = pytest.importorskip("scipy.stats")
    random = np.random.default_rng(4)
    a = random.random(200)
    b = a + random.normal(0.02, 0.1, 200)
    c = vecsql.compare(a, b)
    assert c.p == pytest.approx(scipy.ttest_rel(a, b).pvalue, abs=0.01)
    assert c == vecsql.compare(a, b)
    assert c.low < c.difference < c.high
    assert c.difference == pytest.approx(c.second - c.first)


def test_equal_settings_do_not_differ():
    a = np.random.default_rng(5).random(50)
    c = vecsql.compare(a, a)
    assert (c.p, c.difference) == (1.0, 0.0)


def test_chance_is_rarely_called_significant():
    """Negative control: under the null, p < 0.05 in about 5 % of the experiments."""
    random = np.random.default_rng(6)
    hits = sum(vecsql.compare(*random.random((2, 30))).p < 0.05 for _ in range(200))
    assert 1 <= hits <= 25


def test_settings_of_different_queries_are_refused():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\)"):
        vecsql.compare([1, 2], [1, 2, 3])


# --- files ---------------------------------------------------------------------------------------


def test_trec_files_are_those_of_ir_measures(tmp_path):
    qrels, run = random_case(8, ties=False)
    run = {q: found for q, found in run.items() if found}
    vecsql.write_run(tmp_path / "run", run)
    write_qrels(tmp_path / "qrels", qrels)
    assert vecsql.read_run(tmp_path / "run") == run
    assert vecsql.read_qrels(tmp_path / "qrels") == qrels
    theirs = ir_measures.calc_aggregate(
        [ir_measures.parse_measure("nDCG@10")],
        ir_measures.read_trec_qrels(str(tmp_path / "qrels")),
        ir_measures.read_trec_run(str(tmp_path / "run")),
    )
    ours = vecsql.score(vecsql.read_qrels(tmp_path / "qrels"), vecsql.read_run(tmp_path / "run"))
    assert ours.mean["nDCG@10"] == pytest.approx(next(iter(theirs.values())), abs=1e-9)


def test_a_ranked_list_is_written_as_descending_scores(tmp_path):
    vecsql.write_run(tmp_path / "run", {"q": ["b", "a"]})
    assert (tmp_path / "run").read_text() == "q Q0 b 1 2 vecsql\nq Q0 a 2 1 vecsql\n"


@pytest.fixture
def beir(tmp_path):
    (tmp_path / "corpus.jsonl").write_text(
        '{"_id": "d1", "title": "T", "text": "first", "metadata": {}}\n'
        '{"_id": "d2", "text": "second"}\n'
    )
    (tmp_path / "queries.jsonl").write_text(
        '{"_id": "1", "text": "one"}\n{"_id": "2", "text": "not in the split"}\n'
    )
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n1\td2\t2\n")
    return tmp_path


def test_a_beir_folder_is_read(beir):
    collection = vecsql.read_beir(beir)
    assert collection.queries == {"1": "one"}
    assert collection.qrels == {"1": {"d2": 2}}
    assert list(collection.corpus()) == [
        {"id": "d1", "title": "T", "text": "first"},
        {"id": "d2", "title": "", "text": "second"},
    ]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("queries.jsonl", '{"_id": "9", "text": "x"}\n', "no text for query '1'"),
        ("queries.jsonl", "{", "queries.jsonl, line 1"),
        ("queries.jsonl", "[1]", "line 1: expected an object"),
        ("queries.jsonl", '{"text": "x"}', "line 1: expected _id and text"),
        ("qrels/test.tsv", "a\tb\tc\n1\td\tx\n", "a judgement is an integer, got 'x'"),
        ("qrels/test.tsv", "a\n", "line 1: expected query"),
    ],
)
def test_a_damaged_beir_folder_is_refused_with_the_line(beir, file, content, message):
    (beir / file).write_text(content)
    with pytest.raises(FormatError, match=message):
        vecsql.read_beir(beir)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"cannot read .*none.*No such file"):
        vecsql.read_run(tmp_path / "none")


def test_queries_are_read_from_tab_separated_lines(tmp_path):
    (tmp_path / "q.tsv").write_text("1\tone two\n2\tthree\n")
    assert read_queries(tmp_path / "q.tsv") == {"1": "one two", "2": "three"}
