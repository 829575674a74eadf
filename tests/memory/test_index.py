"""Risk: vecsql.Index answers wrongly, loses elements, or breaks on odd data and damaged files."""

from __future__ import annotations

import pickle
import random
import threading

import numpy as np
import pytest

import vecsql
from tests.support.neighbours import clusters, recall
from vecsql import Index

SPACES = ("l2", "ip", "cosine")


def unit(a: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(a, axis=-1, keepdims=True)
    return a / np.where(lengths == 0, 1, lengths)


def distances_of(space: str, queries: np.ndarray, base: np.ndarray) -> np.ndarray:
    a, b = queries.astype("f8"), base.astype("f8")
    if space == "l2":
        return ((a[:, None] - b[None]) ** 2).sum(-1)
    if space == "cosine":
        a, b = unit(a), unit(b)
    return 1 - a @ b.T


def index_of(space: str, base: np.ndarray, *, ids=None, ef: int = 64, **init) -> Index:
    index = Index(space, base.shape[1])
    index.init_index(max(len(base), 1), **init)
    index.add_items(base, ids)
    index.set_ef(ef)
    return index


# --- answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("dim", [3, 24])
def test_a_graph_finds_the_nearest_and_tells_their_distances(space, dim):
    base, queries = np.split(clusters(3100, dim), [3000])
    index = index_of(space, base)
    labels, distances = index.knn_query(queries, k=10)
    assert (labels.dtype, distances.dtype) == (np.uint64, np.float32)
    true = distances_of(space, queries, base)
    assert recall(labels, np.argsort(true, axis=1)[:, :10]) >= 0.97
    told = np.take_along_axis(true, labels.astype(np.int64), 1)
    assert distances == pytest.approx(told, rel=1e-5, abs=1e-5)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert index._graph.flaw() is None


def test_distances_of_whole_numbers_are_exact():
    base = np.random.default_rng(5).integers(-9, 9, (40, 20)).astype("f4")
    for space in ("l2", "ip"):
        labels, distances = index_of(space, base).knn_query(base[:5], k=40)
        true = distances_of(space, base[:5], base)
        assert (distances == np.take_along_axis(true, labels.astype(int), 1)).all()


@pytest.mark.parametrize("space", SPACES)
def test_odd_data_is_found(space):
    copies = np.repeat(clusters(20, 20), 100, axis=0)
    labels, distances = index_of(space, copies).knn_query(copies[::100], k=100)
    if space != "ip":
        assert (labels // 100 == np.arange(20)[:, None]).mean() > 0.99
        assert distances == pytest.approx(0, abs=1e-5)
    line = np.arange(2000, dtype="f4").reshape(-1, 1)
    index = index_of(space, line)
    if space == "l2":
        assert sorted(index.knn_query([[77.2]], k=3)[0][0]) == [76, 77, 78]
    zeros = np.zeros((600, 17), "f4")
    zeros[0] = 1
    labels, distances = index_of(space, zeros).knn_query(np.ones(17), k=2)
    assert labels[0, 0] == (0 if space != "l2" else labels[0, 0])
    assert np.isfinite(distances).all()
    assert len(set(index_of(space, zeros).knn_query(np.zeros(17), k=600)[0][0])) == 600


def test_rows_of_any_layout_and_type_are_read():
    base = clusters(50, 6)
    wide = np.zeros((100, 12), "f8")
    wide[::2, ::-2] = base
    expected = index_of("l2", base).knn_query(base, k=3)
    for same in (np.asfortranarray(base), wide[::2, ::-2], base.tolist(), base.astype("f8")):
        index = index_of("l2", np.asarray(base)[:0])
        index.resize_index(50)
        index.add_items(same)
        for a, b in zip(index.knn_query(same, k=3), expected, strict=True):
            assert (a == b).all()
    assert index.knn_query(base[0])[0].tolist() == [[0]]


def test_threads_change_nothing_but_time():
    base, queries = np.split(clusters(3100, 20), [3000])
    answers = []
    for threads in (1, 3):
        index = Index("l2", 20)
        index.init_index(3000)
        index.add_items(base, num_threads=threads)
        answers.append(index.knn_query(queries, k=10, num_threads=threads))
    for a, b in zip(*answers, strict=True):
        assert (a == b).all()


def test_calls_of_several_threads_take_turns():
    base = clusters(2000, 20)
    index = index_of("l2", base[:1000])
    index.resize_index(2000)
    failed = []

    def work(turn: int) -> None:
        try:
            for i in range(turn, 1000, 4):
                index.add_items(base[1000 + i], [1000 + i])
                assert index.knn_query(base[1000 + i])[0][0, 0] == 1000 + i
                index.mark_deleted(i)
        except Exception as e:
            failed.append(e)

    threads = [threading.Thread(target=work, args=(turn,)) for turn in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failed
    assert index.element_count == 2000
    assert set(index.knn_query(base[:50], k=1)[0].ravel()) <= set(range(1000, 2000))
    assert index._graph.flaw() is None


# --- filters -------------------------------------------------------------------------------------


@pytest.mark.parametrize("every", [1, 2, 10, 100, 1500])
def test_a_filter_gets_k_of_those_that_pass(every):
    base, queries = np.split(clusters(3040, 20), [3000])
    index, asked = index_of("l2", base), []

    def passes(label: int) -> bool:
        asked.append(label)
        return label % every == 0

    k = 2
    labels, distances = index.knn_query(queries, k=k, filter=passes)
    assert (labels % every == 0).all()
    assert len(asked) == len(set(asked))
    true = distances_of("l2", queries, base[::every])
    nearest = np.argsort(true, axis=1)[:, :k]
    assert recall(labels // every, nearest) >= (1 if every >= 100 else 0.98)
    told = np.take_along_axis(true, labels.astype(np.int64) // every, 1)
    assert distances == pytest.approx(told, rel=1e-5)


def test_a_filter_that_few_pass_says_so_and_its_errors_come_through():
    index = index_of("l2", clusters(500, 5))
    with pytest.raises(RuntimeError, match="fewer than 3 elements pass"):
        index.knn_query(clusters(1, 5), k=3, filter=lambda label: label < 2)
    with pytest.raises(ZeroDivisionError):
        index.knn_query(clusters(1, 5), filter=lambda label: label // 0)
    index.mark_deleted(1)
    assert index.knn_query(clusters(1, 5), k=1, filter=lambda label: label < 2)[0] == [[0]]


def test_few_queries_ask_a_filter_about_few_elements():
    index, asked = index_of("l2", clusters(5000, 5), ef=10), []
    index.knn_query(clusters(1, 5), filter=lambda label: asked.append(label) or label % 2 == 0)
    assert len(asked) < 200


# --- elements come and go ------------------------------------------------------------------------


def test_a_label_that_is_there_gets_the_new_vector():
    base = clusters(300, 20)
    index = index_of("l2", base)
    index.add_items(-base[:10], range(10))
    assert index.element_count == 300
    assert (index.get_items(range(10)) == -base[:10]).all()
    assert index.knn_query(-base[:10])[0].ravel().tolist() == list(range(10))
    index.add_items([base[0], base[1]], [5, 5])  # of equal labels the last one counts
    assert (index.get_items([5])[0] == base[1]).all()
    assert index._graph.flaw() is None


def test_deleted_elements_are_not_found_and_come_back():
    base = clusters(400, 20)
    index = index_of("cosine", base)
    for label in range(0, 400, 2):
        index.mark_deleted(np.uint64(label))
    labels, _ = index.knn_query(base, k=100)
    assert (labels % 2 == 1).all()
    assert index.element_count == 400
    assert sorted(index.get_ids_list()) == list(range(400))
    for label in range(0, 400, 2):
        index.unmark_deleted(label)
    assert index.knn_query(base)[0].ravel().tolist() == list(range(400))
    assert index._graph.flaw() is None


def test_places_of_deleted_elements_are_taken():
    base = clusters(30, 4)
    index = index_of("l2", base[:20], allow_replace_deleted=True)
    for label in range(5):
        index.mark_deleted(label)
    with pytest.raises(RuntimeError, match="exceeds the specified limit"):
        index.add_items(base[20:25], range(20, 25))
    index.add_items(base[20:25], range(20, 25), replace_deleted=True)
    assert sorted(index.get_ids_list()) == list(range(5, 25))
    assert (index.get_items(range(20, 25)) == base[20:25]).all()
    with pytest.raises(RuntimeError, match="exceeds the specified limit"):
        index.add_items(base[25:26], [25], replace_deleted=True)


def test_an_index_is_what_a_dictionary_of_vectors_is():
    """Random steps against a model that is exact: k is the number of live elements."""
    seed = random.randrange(10**6)
    print("seed", seed)
    rng, vectors = random.Random(seed), np.random.default_rng(seed)
    index, live, dead = Index("l2", 18), {}, {}
    index.init_index(80, M=4, ef_construction=20, allow_replace_deleted=True)
    for _ in range(400):
        step = rng.choice(["add", "add", "update", "delete", "undelete", "replace"])
        vector = vectors.integers(-5, 5, 18).astype("f4")
        label = rng.randrange(2**64)
        if step == "add" and len(live) + len(dead) < 80:
            index.add_items(vector, [label])
            live[label] = vector
        elif step == "update" and live:
            label = rng.choice(list(live))
            index.add_items(vector, label)
            live[label] = vector
        elif step == "delete" and live:
            label = rng.choice(list(live))
            index.mark_deleted(label)
            dead[label] = live.pop(label)
        elif step == "undelete" and dead:
            label = rng.choice(list(dead))
            index.unmark_deleted(label)
            live[label] = dead.pop(label)
        elif step == "replace" and dead:
            index.add_items(vector, [label], replace_deleted=True)
            gone = set(dead) - set(index.get_ids_list())
            assert len(gone) == 1
            del dead[gone.pop()]
            live[label] = vector
        assert sorted(index.get_ids_list()) == sorted([*live, *dead])
        if live:
            query = vectors.integers(-5, 5, 18).astype("f4")
            labels, distances = index.knn_query(query, k=len(live))
            assert sorted(labels[0].tolist()) == sorted(live)
            true = [float(((live[x] - query) ** 2).sum()) for x in labels[0].tolist()]
            assert distances[0].tolist() == true == sorted(true)
    assert index._graph.flaw() is None
    assert all((index.get_items([x])[0] == v).all() for x, v in live.items())


# --- mistakes ------------------------------------------------------------------------------------


def test_mistakes_raise_a_sentence_and_change_nothing():
    index = index_of("l2", clusters(10, 4))
    nan, infinite = np.zeros((2, 4)), np.full(4, 1e39)
    nan[1, 2] = np.nan
    for mistake, sentence in (
        (lambda: Index("l1", 4), "Space name must be one of"),
        (lambda: Index("l2", 0), "at least one dimension"),
        (lambda: Index("l2", 4).add_items(np.zeros(4)), "not initiated"),
        (lambda: Index("l2", 4).knn_query(np.zeros(4)), "not initiated"),
        (lambda: Index("l2", 4).init_index(5, M=1), "M is from 2 to 128, got 1"),
        (lambda: Index("l2", 4).init_index(5, M=129), "M is from 2"),
        (lambda: Index("l2", 4).init_index(5, ef_construction=10**6), "ef_construction is from"),
        (lambda: Index("l2", 4).init_index(-1), "max_elements is not negative"),
        (lambda: Index("l2", 4).init_index(5, random_seed=-1), "random_seed is not negative"),
        (lambda: index.init_index(10), "already initiated"),
        (lambda: index.mark_deleted(0.7), "whole number, got 0.7"),
        (lambda: index.add_items(np.zeros((2, 5))), "Wrong dimensionality of the vectors"),
        (lambda: index.knn_query(np.zeros(3)), "Wrong dimensionality of the vectors"),
        (lambda: index.add_items(np.zeros((1, 1, 4))), "Number of dimensions 3"),
        (lambda: index.add_items(np.zeros((2, 4)), [1]), "does not match"),
        (lambda: index.add_items(np.zeros((2, 4)), [-1, 0]), "not negative, got -1"),
        (lambda: index.add_items(np.zeros((2, 4)), [0.5, 0]), "A label is a whole number"),
        (lambda: index.add_items(nan), "row 1 has a NaN"),
        (lambda: index.add_items(infinite), "beyond float32"),
        (lambda: index.knn_query(nan), "row 1 has a NaN"),
        (lambda: index.add_items(np.zeros(4)), "exceeds the specified limit"),
        (lambda: index.add_items(np.zeros(4), [0], replace_deleted=True), "disabled"),
        (lambda: index.knn_query(np.zeros(4), k=11), "contiguous 2D array: k is 11"),
        (lambda: index.knn_query(np.zeros(4), k=-1), "k is not negative"),
        (lambda: index.get_items([10]), "Label not found"),
        (lambda: index.mark_deleted(10), "Label not found"),
        (lambda: index.unmark_deleted(10), "Label not found"),
        (lambda: index.unmark_deleted(1), "is not deleted"),
        (lambda: index.resize_index(9), "Cannot resize"),
        (lambda: index.set_ef(-1), "ef is not negative"),
        (lambda: index.load_index("nowhere"), "Cannot open file"),
    ):
        with pytest.raises(RuntimeError, match=sentence):
            mistake()
    for mistake in (lambda: index.get_items(1), lambda: index.get_items([1], return_type="x")):
        with pytest.raises(ValueError, match=r"get_items|return_type"):
            mistake()
    for mistake in (
        lambda: index.add_items([[1, 2, 3, 4], [1]]),
        lambda: index.add_items([["a", "b", "c", "d"]]),
        lambda: index.add_items(np.zeros((2, 4)), [[1], [1, 2]]),
        lambda: index.knn_query([[1, 2, 3, 4], [1]]),
    ):
        with pytest.raises(ValueError, match=r"inhomogeneous|could not convert"):
            mistake()
    for mistake, sentence in (
        (lambda: Index("l2", 2.5), "dim is a whole number, got 2.5"),
        (lambda: Index("l2", "2"), "dim is a whole number, got '2'"),
        (lambda: index.set_ef(2.5), "ef is a whole number"),
        (lambda: index.set_num_threads(2.5), "num_threads is a whole number"),
        (lambda: index.add_items([[1j, 0, 0, 0]]), "real numbers"),
        (lambda: index.add_items([[object(), 0, 0, 0]]), "object"),
        (lambda: index.load_index(3), "int"),
    ):
        with pytest.raises(TypeError, match=sentence):
            mistake()
    with pytest.raises(FileNotFoundError):
        index.save_index("no folder/i")
    index.mark_deleted(1)
    for mistake, sentence in (
        (lambda: index.mark_deleted(1), "already deleted"),
        (lambda: index.get_items([1]), "Label not found"),
    ):
        with pytest.raises(RuntimeError, match=sentence):
            mistake()
    index.unmark_deleted(1)
    assert (index.get_items(range(10)) == clusters(10, 4)).all()
    assert sorted(index.get_ids_list()) == list(range(10))


def test_an_index_without_elements_answers_nothing():
    index = Index("ip", 3)
    assert (index.get_ids_list(), index.get_items().shape) == ([], (0, 3))
    assert (index.element_count, index.max_elements, index.M, index.ef_construction) == (0,) * 4
    index.init_index(0)
    index.add_items(np.empty((0, 3)))
    assert index.knn_query(np.empty((0, 3)), k=4)[0].shape == (0, 4)
    assert index.knn_query(np.zeros((2, 3)), k=0)[1].shape == (2, 0)
    with pytest.raises(RuntimeError, match="the index has 0 elements"):
        index.knn_query(np.zeros(3))


# --- files and copies ----------------------------------------------------------------------------


def same(a: Index, b: Index, queries: np.ndarray) -> bool:
    b.ef = a.ef
    pairs = zip(a.knn_query(queries, k=5), b.knn_query(queries, k=5), strict=True)
    return all((x == y).all() for x, y in pairs)


@pytest.mark.parametrize("space", SPACES)
def test_a_saved_index_and_a_pickled_one_go_on(space, tmp_path):
    base = clusters(1200, 20)
    index = index_of(space, base[:1000], ids=np.arange(1000) * 7, allow_replace_deleted=True)
    for label in range(0, 700, 14):
        index.mark_deleted(label)
    index.save_index(tmp_path / "i")
    loaded = Index(space, 20)
    loaded.load_index(tmp_path / "i", max_elements=1200)
    copied = pickle.loads(pickle.dumps(index))
    assert same(index, loaded, base)
    assert same(index, copied, base)
    assert (copied.ef, copied.M, copied.ef_construction) == (64, 16, 200)
    assert (loaded.max_elements, copied.max_elements, loaded.element_count) == (1200, 1000, 1000)
    for again in (loaded, copied):
        again.unmark_deleted(14)
        again.resize_index(1300)
        again.add_items(base[1000:], range(10_000, 10_200))
        kept = unit(base[1000:]) if space == "cosine" else base[1000:]
        assert again.get_items(range(10_000, 10_200)) == pytest.approx(kept, rel=1e-6)
        if space != "ip":
            assert again.knn_query(base[1000:])[0].ravel().tolist() == list(range(10_000, 10_200))
        assert again._graph.flaw() is None
    for empty in (Index(space, 3), index_of(space, base[:0])):
        assert pickle.loads(pickle.dumps(empty)).element_count == 0


def test_a_file_of_another_space_or_dimension_is_refused(tmp_path):
    base = clusters(500, 20)
    for space in SPACES:
        index_of(space, base).save_index(tmp_path / space)
    for space in SPACES:
        index = index_of(space, base)
        for other in set(SPACES) - {space}:
            with pytest.raises(RuntimeError, match=f"of the space {other}, the index of {space}"):
                index.load_index(tmp_path / other)
        assert same(index_of(space, base), index, base)
    with pytest.raises(RuntimeError, match="20 dimensions, the index has 21"):
        Index("l2", 21).load_index(tmp_path / "l2")


@pytest.mark.parametrize("part", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_damaged_files_are_refused_and_the_index_stays(tmp_path, part):
    base = clusters(60, 5)
    index_of("l2", base, ef=10).save_index(tmp_path / "good")
    good, bad = (tmp_path / "good").read_bytes(), tmp_path / "bad"
    index = index_of("l2", base, ef=10)
    labels, distances = index.knn_query(base, k=5)
    refused = 0
    cuts = [good[:n] for n in range(0, len(good), len(good) // 50)]
    flips = [bytearray(good) for _ in range(600)]
    for i, data in enumerate(flips):
        data[i * len(good) // len(flips)] ^= 1 << i % 8
    for data in [*cuts[part::2], *flips[part::2], b"", b"hello" * 99]:
        bad.write_bytes(data)
        try:
            index.load_index(bad)
        except RuntimeError:
            refused += 1
        found, near = index.knn_query(base, k=5)  # some bytes mean nothing
        assert (found == labels).all()
        assert (near == distances).all()
    assert refused > 300


@pytest.mark.parametrize("seed", [3, pytest.param(4, marks=pytest.mark.slow)])
def test_an_image_with_right_checksums_and_wrong_links_is_refused(seed):
    """An image may come from anybody: no checksum stands between it and the graph."""
    table = [0] * 256
    for i in range(256):
        c = i
        for _ in range(8):
            c = c >> 1 ^ (0x82F63B78 if c & 1 else 0)
        table[i] = c

    def crc(*parts: bytes) -> bytes:
        c = 0xFFFFFFFF
        for byte in b"".join(parts):
            c = c >> 8 ^ table[(c ^ byte) & 255]
        return (c ^ 0xFFFFFFFF).to_bytes(4, "little")

    base = clusters(40, 4)
    index = index_of("l2", base, M=2, ef=10)
    image = index._graph.image().tobytes()
    at, pages = 4, []
    while at < len(image) - 4:
        length = int.from_bytes(image[at : at + 4], "little")
        if image[at + 4 : at + 6] == b"VP":
            pages.append((at + 4, length))
        at += 4 + length
    rng, state, accepted = random.Random(seed), index.__getstate__(), 0
    for _ in range(150):
        start, length = rng.choice(pages)
        page = bytearray(image[start : start + length])
        page[rng.randrange(16, length)] ^= 1 << rng.randrange(8)
        page[12:16] = crc(page[:12], page[16:])
        whole = image[:start] + bytes(page) + image[start + length : -4]
        state["contents"]["graph"] = np.frombuffer(whole + crc(whole), np.uint8)
        other = Index.__new__(Index)
        try:
            other.__setstate__(state)
        except RuntimeError:
            continue
        other.knn_query(base, k=5)  # a code or an error bound may be any
        accepted += 1
    assert 0 < accepted < 100


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    index = index_of("l2", clusters(10, 4))
    index.save_index(tmp_path / "i")
    before = (tmp_path / "i").read_bytes()

    def full(file, **_):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="disk full"):
        index.save_index(tmp_path / "i")
    assert (tmp_path / "i").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["i"]


# --- tables --------------------------------------------------------------------------------------


@pytest.mark.parametrize("space", SPACES)
def test_a_table_and_an_index_hold_the_same(space):
    base = clusters(700, 20)
    index = index_of(space, base, ids=np.arange(700) + 5, M=8, ef_construction=50)
    index.mark_deleted(9)
    db = vecsql.connect(":memory:")
    index.to_table(db, "points")
    assert db.execute("SELECT count(*), min(id), max(id) FROM points").fetchone() == (699, 5, 704)
    back = Index.from_table(db, "points", max_elements=1000)
    assert (back.space, back.dim, back.M, back.ef_construction) == (space, 20, 8, 50)
    assert (back.element_count, back.max_elements) == (699, 1000)
    labels, _ = index.knn_query(base, k=5)
    assert recall(back.knn_query(base, k=5)[0], labels) > 0.97
    hits = vecsql.search(db, "points", base[3], k=5)
    assert [h.id for h in hits] == labels[3].tolist()
    with pytest.raises(vecsql.SchemaError, match="exists already"):
        index.to_table(db, "points")


def test_an_index_of_any_table_with_vectors():
    db = vecsql.connect(":memory:")
    vecsql.create_table(db, "notes", {"body": str}, dim=2, metric="dot")
    rows = [
        {"id": 3, "embedding": [1, 2]},
        {"id": 4, "body": "none"},
        {"id": 5, "embedding": [3, 4]},
    ]
    vecsql.insert(db, "notes", rows)
    index = Index.from_table(db, "notes")
    assert (index.space, sorted(index.get_ids_list())) == ("ip", [3, 5])
    assert index.knn_query([1, 1])[0].tolist() == [[5]]
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(name TEXT PRIMARY KEY, a int8[2], b bit[8])")
    db.execute("INSERT INTO t VALUES ('x', vec_int8('[1, -2]'), vec_bit(x'01'))")
    assert Index.from_table(db, "t", "a").get_items([1]).tolist() == [[1, -2]]
    with pytest.raises(vecsql.SchemaError, match=r"t\.b has bits"):
        Index.from_table(db, "t", "b")
    db.execute("INSERT INTO notes(id, embedding) VALUES (-1, ?)", [vecsql.f32([1, 1])])
    with pytest.raises(vecsql.SchemaError, match="the key -1"):
        Index.from_table(db, "notes")
    high = index_of("l2", np.zeros((1, 2)), ids=[2**64 - 1])
    with pytest.raises(vecsql.SchemaError, match="keys are below"):
        high.to_table(db, "high")
    assert not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'high'").fetchall()
