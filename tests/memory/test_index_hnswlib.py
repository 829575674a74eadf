"""Risk: a program written for hnswlib changes its import and gets other answers or other errors.

hnswlib is an oracle where it is installed. Its own tests run with vecsql.Index in its place if
VECSQL_HNSWLIB names a checkout of github.com/nmslib/hnswlib.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import sys
import types
import unittest
from pathlib import Path

import numpy as np
import pytest

import vecsql
from tests.support.neighbours import clusters, recall

hnswlib = pytest.importorskip("hnswlib")

SPACES = ("l2", "ip", "cosine")


def both(space: str, dim: int, room: int, **init):
    """The same empty index of either library."""
    made = []
    for library in (hnswlib, vecsql):
        index = library.Index(space=space, dim=dim)
        index.init_index(max_elements=room, **init)
        index.set_ef(room)
        made.append(index)
    return made


@pytest.mark.parametrize("space", SPACES)
def test_labels_and_distances_are_those_of_hnswlib(space):
    base, queries = np.split(clusters(330, 20), [300])
    theirs, ours = both(space, 20, 300)
    for index in (theirs, ours):
        index.add_items(base[:200])
        index.add_items(base[200:], np.arange(200, 300) * 3)
    for k in (1, 10, 300):
        (labels, distances), (found, near) = (i.knn_query(queries, k) for i in (theirs, ours))
        assert (labels.dtype, labels.shape) == (found.dtype, found.shape)
        assert (distances.dtype, distances.shape) == (near.dtype, near.shape)
        assert (labels == found).mean() > 0.999  # two as near may change places
        assert near == pytest.approx(distances, rel=1e-5, abs=2e-6)


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("dim", [16, 40])
def test_recall_is_no_less_at_any_ef(space, dim):
    base, queries = np.split(clusters(2600, dim), [2500])
    exact = hnswlib.BFIndex(space, dim)
    exact.init_index(2500)
    exact.add_items(base)
    if space == "cosine":  # BFIndex does not scale its queries
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    true, _ = exact.knn_query(queries, k=10)
    theirs, ours = both(space, dim, 2500)
    for index in (theirs, ours):
        index.add_items(base)
    for ef in (10, 30, 100):
        reached = []
        for index in (theirs, ours):
            index.set_ef(ef)
            labels, _ = index.knn_query(queries, k=10)
            reached.append(recall(labels, true))
        assert reached[1] >= reached[0] - 0.005


def test_a_life_of_an_index_is_the_same():
    base = clusters(60, 8)
    theirs, ours = both("l2", 8, 40, M=8, ef_construction=50, allow_replace_deleted=True)

    def each(call):
        a, b = call(theirs), call(ours)
        assert np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b
        return b

    for step in (
        lambda i: i.add_items(base[:30]),
        lambda i: i.add_items(base[30:32], [1, 2]),
        lambda i: i.mark_deleted(3),
        lambda i: i.mark_deleted(4),
        lambda i: i.unmark_deleted(3),
        lambda i: i.add_items(base[50], [99], replace_deleted=True),
        lambda i: i.resize_index(50),
        lambda i: i.add_items(base[40:45]),
        lambda i: i.set_num_threads(1),
        lambda i: setattr(i, "ef", 77),
        lambda i: setattr(i, "num_threads", 2),
    ):
        each(step)
        each(lambda i: sorted(i.get_ids_list()))
        each(lambda i: (i.get_current_count(), i.element_count))
        each(lambda i: (i.get_max_elements(), i.max_elements))
        each(lambda i: (i.space, i.dim, i.M, i.ef_construction, i.ef, i.num_threads))
    each(lambda i: i.get_items([1, 2, 3, 99]))
    each(lambda i: i.get_items([1, 2], return_type="list"))
    each(lambda i: i.knn_query(base, k=34)[0])
    each(lambda i: i.knn_query(base, k=5, num_threads=1, filter=lambda x: x % 2 == 0)[0])
    each(lambda i: (pickle.loads(pickle.dumps(i)).ef, pickle.loads(pickle.dumps(i)).M))


def test_cosine_keeps_vectors_at_length_one_in_both():
    base = clusters(50, 8)
    theirs, ours = both("cosine", 8, 50)
    theirs.add_items(base)
    ours.add_items(base)
    assert ours.get_items(range(50)) == pytest.approx(theirs.get_items(range(50)), rel=1e-6)


def test_the_same_mistakes_raise_the_same_errors():
    theirs, ours = both("l2", 4, 10)
    for index in (theirs, ours):
        index.add_items(clusters(10, 4))
        index.mark_deleted(9)
    for mistake in (
        lambda i: type(i)("l1", 4),
        lambda i: i.init_index(10),
        lambda i: i.add_items(np.zeros((2, 5))),
        lambda i: i.add_items(np.zeros((1, 1, 4))),
        lambda i: i.add_items(np.zeros((2, 4)), [1]),
        lambda i: i.add_items(np.zeros(4), [10]),
        lambda i: i.add_items(np.zeros(4), [0], replace_deleted=True),
        lambda i: i.knn_query(np.zeros(4), k=10),
        lambda i: i.knn_query(np.zeros(4), k=9, filter=lambda label: label < 8),
        lambda i: i.get_items([10]),
        lambda i: i.get_items([9]),
        lambda i: i.get_items(1),
        lambda i: i.get_items([1], return_type="set"),
        lambda i: i.mark_deleted(10),
        lambda i: i.mark_deleted(9),
        lambda i: i.unmark_deleted(10),
        lambda i: i.unmark_deleted(1),
        lambda i: i.resize_index(9),
        lambda i: type(i)("l2", 4).load_index("no such file"),  # theirs frees twice if it was made
    ):
        said = []
        for index in (theirs, ours):
            with pytest.raises((RuntimeError, ValueError)) as raised:
                mistake(index)
            said.append((raised.type, str(raised.value)[:15]))
        assert said[0] == said[1]


def test_what_is_no_number_raises_the_same_type_of_error():
    for mistake, kind in (
        (lambda i: type(i)("l2", 2.5), TypeError),
        (lambda i: type(i)("l2", 4).init_index(2.5), TypeError),
        (lambda i: i.add_items([[1, 2, 3, 4], [1]]), ValueError),
        (lambda i: i.add_items([["a", "b", "c", "d"]]), ValueError),
        (lambda i: i.add_items([[1j, 0, 0, 0]]), TypeError),
        (lambda i: i.add_items([[object(), 0, 0, 0]]), TypeError),
        (lambda i: i.add_items(np.zeros((2, 4)), [[1], [1, 2]]), ValueError),
        (lambda i: i.knn_query([[1, 2, 3, 4], [1]]), ValueError),
        (lambda i: i.knn_query(np.zeros(4), 1.5), TypeError),
        (lambda i: i.set_ef(2.5), TypeError),
        (lambda i: i.load_index(3), TypeError),
    ):
        for index in both("l2", 4, 10):
            with pytest.raises(kind):
                mistake(index)


def test_signatures_have_the_names_and_defaults_of_hnswlib():
    import inspect
    import re

    for name in (
        "init_index",
        "add_items",
        "knn_query",
        "get_items",
        "save_index",
        "load_index",
        "set_ef",
        "set_num_threads",
        "mark_deleted",
        "unmark_deleted",
        "resize_index",
    ):
        told = getattr(hnswlib.Index, name).__doc__.split(") ->")[0]
        told = re.sub(r"\[\[?[^]]*\](, \w+\])?", "", told.split(", ", 1)[1])
        theirs = re.findall(r"(\w+): [\w. |]+?(?: = ('?[\w.-]+'?))?(?:, |$)", told)
        parameters = list(inspect.signature(getattr(vecsql.Index, name)).parameters.values())[1:]
        ours = [
            (p.name, "" if p.default is inspect.Parameter.empty else repr(p.default))
            for p in parameters
        ]
        assert ours == theirs, name


CHECKOUT = os.environ.get("VECSQL_HNSWLIB")
FILES = sorted(Path(CHECKOUT, "tests", "python").glob("bindings_test*.py")) if CHECKOUT else []


@pytest.mark.slow
@pytest.mark.skipif(not FILES, reason="VECSQL_HNSWLIB names no checkout of hnswlib")
@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_hnswlibs_own_tests_pass(path, tmp_path, monkeypatch):
    stand_in = types.ModuleType("hnswlib")
    stand_in.Index, stand_in.BFIndex = vecsql.Index, hnswlib.BFIndex
    monkeypatch.setitem(sys.modules, "hnswlib", stand_in)
    monkeypatch.chdir(tmp_path)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(module).run(result)
    assert result.testsRun
    assert [text for _, text in result.failures + result.errors] == []
