"""Risk: a filtered search starves, misses near rows, works more than a scan, or uses an old answer;
a stream over a table that is written meanwhile loses a row or gives one twice.

The tables are large enough that the index is walked: below about 2,000 rows everything is scanned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import numpy as np
import pytest

import vecsql

ROWS, DIM, K = 8000, 12, 10
SHARES = [0.5, 0.1, 0.03, 0.01, 0.001]


def clustered(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(1).normal(size=(60, DIM))
    return (centres[rng.integers(0, 60, n)] + rng.normal(size=(n, DIM)) * 0.5).astype("<f4")


class Large:
    """ROWS rows with ranks by nearness to one point, by chance, and by distance from it."""

    def __init__(self, path: Path | str, codec: str = "none", metric: str = "l2") -> None:
        self.base, self.metric = clustered(ROWS, 2), metric
        far = np.linalg.norm(self.base - self.base[0], axis=1)
        near = np.argsort(np.argsort(far, kind="stable"), kind="stable")
        self.rank = {
            "near": near,
            "any": np.random.default_rng(3).permutation(ROWS),
            "far": ROWS - 1 - near,
        }
        self.db = vecsql.connect(str(path), driver="apsw")
        self.db.execute(
            f"CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[{DIM}] codec={codec} m=8"
            f" ef_construction=64 distance_metric={metric}, near INTEGER indexed,"
            ' "any" INTEGER indexed, far INTEGER indexed, u INTEGER, +body TEXT)'
        )
        self.db.execute("CREATE TABLE m(id INTEGER PRIMARY KEY, near, any_, far)")
        with self.db:
            for i in range(ROWS):
                ranks = tuple(int(self.rank[n][i]) for n in self.rank)
                self.db.execute(
                    'INSERT INTO t(rowid, e, near, "any", far, u, body) VALUES(?,?,?,?,?,?,?)',
                    (i, self.base[i].tobytes(), *ranks, ranks[1], f"b{i}"),
                )
                self.db.execute("INSERT INTO m VALUES(?,?,?,?)", (i, *ranks))
        rng = np.random.default_rng(4)
        near_rows = np.flatnonzero(near < 200)[:: 200 // 16]
        noise = rng.normal(size=(len(near_rows), DIM)) * 0.2
        self.queries = (self.base[near_rows] + noise).astype("<f4")

    def distances(self, query: np.ndarray) -> np.ndarray:
        a, b = self.base.astype(float), query.astype(float)
        if self.metric == "l2":
            return np.linalg.norm(a - b, axis=1)
        return 1 - a @ b / (np.linalg.norm(a, axis=1) * np.linalg.norm(b))

    def figures(self) -> dict[str, Any]:
        # only these: the estimate of recall among the others is a search of its own
        sql = "SELECT name, value FROM vecsql_stats('t') WHERE name LIKE 'last_query_%'"
        return {n.removeprefix("last_query_"): v for n, v in self.db.execute(sql)}

    def ask(
        self, where: str, tail: str = f"AND k = {K}", query: int = 0
    ) -> list[tuple[int, float]]:
        sql = f"SELECT rowid, distance FROM t WHERE e MATCH ? AND {where} {tail}"
        return list(self.db.execute(sql, (self.queries[query].tobytes(),)))


@pytest.fixture(scope="module", params=["none", "sq8"])
def large(request: pytest.FixtureRequest) -> Iterator[Large]:
    made = Large(":memory:", request.param)
    yield made
    made.db.close()


FORMS: dict[str, tuple[Callable[[str, int], str], str]] = {
    "indexed": (lambda name, n: f'"{name}" < {n}', f"AND k = {K}"),
    "unindexed": (lambda name, n: f'"{name}" + 0 < {n}', f"ORDER BY distance LIMIT {K}"),
    "in": (
        lambda name, n: f"rowid IN (SELECT id FROM m WHERE {name.replace('any', 'any_')} < {n})",
        f"AND k = {K}",
    ),
    "or": (lambda name, n: f"(\"{name}\" < {n} OR body = '-')", f"ORDER BY distance LIMIT {K}"),
    "two": (lambda name, n: f"\"{name}\" < {n} AND body <> '-'", f"AND k = {K}"),
}


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("nearness", ["near", "any", "far"])
@pytest.mark.parametrize("form", FORMS)
def test_the_nearest_of_those_that_pass_come_whatever_the_filter(large, form, nearness, share):
    n = int(ROWS * share)
    where, tail = FORMS[form]
    passing = np.flatnonzero(large.rank[nearness] < n)
    right = 0
    for q in range(len(large.queries)):
        got = large.ask(where(nearness, n), tail, q)
        far = large.distances(large.queries[q])
        kth = np.sort(far[passing])[min(K, n) - 1]
        assert len(got) == min(K, n)
        ids = [i for i, _ in got]
        assert len(set(ids)) == len(ids)
        assert set(ids) <= set(passing.tolist())
        assert [d for _, d in got] == pytest.approx([far[i] for i in ids], rel=1e-4)
        assert [d for _, d in got] == sorted(d for _, d in got)
        right += sum(far[i] <= kth * (1 + 1e-6) for i in ids)
        figures = large.figures()
        assert figures["evaluations"] <= 3 * ROWS, "few rounds, of a scan at the most"
        if figures["plan"] != "filtered walk":
            assert ids == sorted(passing.tolist(), key=lambda i: (far[i], i))[: min(K, n)]
    assert right / (len(large.queries) * min(K, n)) >= 0.98


def test_a_filter_that_half_the_rows_pass_is_probed_not_resolved(large):
    large.ask("u % 1 = 0 AND u < 4000")
    large.ask("u < 4000")
    figures = large.figures()
    assert figures["plan"] == "filtered walk"
    assert figures["admitted"] == -1
    assert 0 < figures["probes"] < 200
    assert figures["evaluations"] < ROWS / 2


def test_a_filter_that_few_rows_pass_is_an_exact_scan_of_those(large):
    large.ask('"any" < 50')
    figures = large.figures()
    assert (figures["plan"], figures["admitted"], figures["probes"]) == ("exact scan", 50, 0)
    assert figures["evaluations"] < ROWS / 4


def test_plans_can_be_told_apart(large):
    query = large.queries[0].tobytes()
    for sql, plan in [
        ("AND k = 5", "walk"),
        ("AND k = 5 AND exact = 1", "exact scan"),
        ("AND rowid = 5", "rows"),
        ("ORDER BY distance", "stream"),
        ("ORDER BY distance LIMIT 5", "walk"),
        ("AND distance < 1", "range"),
        ("AND u < 4000 AND k = 5", "filtered walk"),
    ]:
        large.db.execute(
            f"SELECT rowid, distance FROM t WHERE e MATCH ? {sql}", (query,)
        ).fetchall()
        assert large.figures()["plan"] == plan, sql


# --- a resolved filter is used again only while nothing can have changed --------------------------


def resolved_again(large: Large, where: str = "u >= 7990") -> tuple[list[int], bool]:
    """The answer, and whether no row was asked about: the filter was known."""
    got = large.ask(where, "AND k = 20")
    return sorted(i for i, _ in got), large.figures()["probes"] == 0


def expected(large: Large) -> list[int]:
    return sorted(r[0] for r in large.db.execute("SELECT rowid FROM t WHERE u >= 7990"))


@pytest.fixture
def small_file(tmp_path: Path) -> Iterator[Large]:
    made = Large(tmp_path / "a.db")
    yield made
    made.db.close()


def test_a_resolved_filter_is_reused_until_a_row_changes(small_file):
    assert resolved_again(small_file) == (expected(small_file), False)
    assert resolved_again(small_file) == (expected(small_file), True)
    assert resolved_again(small_file, "u >= 7991")[1] is False, "other values, another filter"
    resolved_again(small_file)
    small_file.db.execute("UPDATE t SET u = 9000 WHERE rowid = 17")
    assert resolved_again(small_file) == (expected(small_file), False)
    assert 17 in expected(small_file)


def test_a_resolved_filter_does_not_outlive_a_commit_elsewhere(small_file, tmp_path):
    other = vecsql.connect(str(tmp_path / "a.db"), driver="apsw")
    for change in (
        "UPDATE t SET u = 9000 WHERE rowid = 17",
        "DELETE FROM t WHERE u = 7995",
        "UPDATE t_rows SET c4 = 9000 WHERE rowid = 18",
    ):
        resolved_again(small_file)
        assert resolved_again(small_file)[1] is True
        other.execute(change)
        assert resolved_again(small_file) == (expected(small_file), False), change
    other.close()


def test_a_resolved_filter_of_a_transaction_ends_with_it(small_file):
    db, before = small_file.db, expected(small_file)
    resolved_again(small_file)
    db.execute("BEGIN; UPDATE t SET u = 9000 WHERE rowid = 17")
    assert resolved_again(small_file)[0] == sorted([*before, 17])
    db.execute("SAVEPOINT s; UPDATE t SET u = 9000 WHERE rowid = 18")
    assert resolved_again(small_file)[0] == sorted([*before, 17, 18])
    db.execute("ROLLBACK TO s")
    assert resolved_again(small_file)[0] == sorted([*before, 17])
    db.execute("ROLLBACK")
    assert resolved_again(small_file)[0] == before
    assert resolved_again(small_file)[0] == before


# --- ranges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("extra", ["1", '"any" < 4000', "u % 2 = 0"])
def test_a_range_ends_early_and_gives_what_is_within(large, extra):
    found = total = 0
    passes = {r[0] for r in large.db.execute(f"SELECT rowid FROM t WHERE {extra}")}
    for q in range(len(large.queries)):
        far = large.distances(large.queries[q])
        radius = float(np.sort(far)[60:62].mean())
        want = {int(i) for i in np.flatnonzero(far < radius)} & passes
        for form in (f"distance < {radius!r}", f"distance BETWEEN 0 AND {radius!r}"):
            got = large.ask(f"{form} AND {extra}", "", q)
            assert [d for _, d in got] == sorted(d for _, d in got)
            assert len({i for i, _ in got}) == len(got)
            found += len(want & {i for i, _ in got})
            total += len(want)
        assert large.figures()["evaluations"] <= ROWS
        exact = large.ask(f"distance < {radius!r} AND {extra} AND exact = 1", "", q)
        assert {i for i, _ in exact} == want
    assert found == total


def test_a_page_begins_behind_the_last_distance(large):
    first = large.ask("1", "AND k = 20")
    page = large.ask("distance > 0", "AND k = 40")
    assert [i for i, _ in page[:15]] == [i for i, _ in first[:15]]
    last = page[19][1]
    second = large.ask(f"distance > {last!r}", "AND k = 20")
    assert min(d for _, d in second) > last
    assert len({i for i, _ in second} & {i for i, _ in page[20:]}) >= 17


# --- streams --------------------------------------------------------------------------------------


def test_a_join_of_which_few_rows_pass_reads_a_part_of_the_rows(large):
    sql = (
        "SELECT t.rowid, distance FROM t JOIN m ON m.id = t.rowid"
        " WHERE e MATCH ? AND any_ < 800 ORDER BY distance LIMIT 10"
    )
    right = 0
    passing = np.flatnonzero(large.rank["any"] < 800)
    for query in large.queries:
        got = large.db.execute(sql, (query.tobytes(),)).fetchall()
        far = large.distances(query)
        right += sum(far[i] <= np.sort(far[passing])[9] * (1 + 1e-6) for i, _ in got)
        assert len(got) == 10
        assert large.figures()["evaluations"] <= 3 * ROWS
        assert large.figures()["reads"] < ROWS / 2
    assert right == 10 * len(large.queries)


@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
def test_a_stream_gives_every_row_once_and_in_order(metric):
    made = Large(":memory:", "sq8", metric)
    got = made.db.execute(
        "SELECT rowid, distance FROM t WHERE e MATCH ? ORDER BY distance",
        (made.queries[0].tobytes(),),
    ).fetchall()
    assert sorted(i for i, _ in got) == list(range(ROWS))
    assert got == sorted(got, key=lambda r: (r[1], r[0]))
    made.db.close()


def finish(cursor: Any, got: list[tuple[int, float]]) -> list[int]:
    got += cursor.fetchall()
    ids = [i for i, _ in got]
    assert len(set(ids)) == len(ids), "a row came twice"
    return ids


STREAM = "SELECT rowid, distance FROM t WHERE e MATCH ? ORDER BY distance"


def test_the_first_rows_and_those_after_them_are_all_rows(small_file):
    query = small_file.queries[0].tobytes()
    whole = small_file.db.execute(STREAM, (query,)).fetchall()
    rows = small_file.db.execute(STREAM + " LIMIT -1 OFFSET 40", (query,)).fetchall()
    first = small_file.db.execute(STREAM + " LIMIT 40", (query,)).fetchall()
    assert small_file.figures()["plan"] in ("walk", "exact scan")
    assert sorted(first + rows) == sorted(whole)
    assert [d for _, d in first] == sorted(d for _, d in first)
    assert len({rowid for rowid, _ in first + rows}) == ROWS


def test_a_stream_gives_what_was_there_and_is_still_while_the_connection_writes(small_file):
    db = small_file.db
    cursor = db.execute(STREAM, (small_file.queries[0].tobytes(),))
    got = [next(cursor) for _ in range(20)]
    gone = [i for i in range(0, ROWS, 3) if i not in dict(got)]
    db.execute("BEGIN")
    db.executemany("DELETE FROM t WHERE rowid = ?", [(i,) for i in gone])
    db.executemany(
        "INSERT INTO t(rowid, e) VALUES(?, ?)",
        [(ROWS + i, small_file.queries[0].tobytes()) for i in range(300)],
    )
    db.execute("COMMIT")
    ids = finish(cursor, got)
    assert set(ids) == set(range(ROWS)) - set(gone), "what was there and is still there"
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_stream_of_rows_that_are_rolled_back_ends(small_file):
    db = small_file.db
    db.execute("BEGIN")
    db.executemany(
        "INSERT INTO t(rowid, e) VALUES(?, ?)",
        [(ROWS + i, small_file.queries[0].tobytes()) for i in range(50)],
    )
    cursor = db.execute(STREAM, (small_file.queries[0].tobytes(),))
    got = [next(cursor) for _ in range(5)]
    try:
        db.execute("ROLLBACK")
        ids = finish(cursor, got)
        assert {i for i in ids[5:] if i >= ROWS} == set()
        assert set(range(ROWS)) <= set(ids)
    except apsw.AbortError:
        pass  # SQLite may end the statement itself
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_stream_on_pages_not_in_memory_goes_on_in_the_present(small_file, tmp_path):
    small_file.db.execute("INSERT INTO t(t) VALUES('optimize')")
    fresh = vecsql.connect(str(tmp_path / "a.db"), driver="apsw")
    cursor = fresh.execute(STREAM, (small_file.queries[0].tobytes(),))
    got = [next(cursor) for _ in range(20)]
    gone = [i for i in range(0, ROWS, 50) if i not in dict(got)]
    fresh.execute("BEGIN")
    fresh.executemany("DELETE FROM t WHERE rowid = ?", [(i,) for i in gone])
    fresh.execute("COMMIT")
    assert set(finish(cursor, got)) == set(range(ROWS)) - set(gone)
    fresh.close()


def test_streams_of_one_connection_do_not_disturb_each_other(large):
    cursors = [large.db.execute(STREAM, (q.tobytes(),)) for q in large.queries[:3]]
    alone = [
        large.db.execute(STREAM + " LIMIT 200", (q.tobytes(),)).fetchall()
        for q in large.queries[:3]
    ]
    got: list[list[Any]] = [[], [], []]
    for _ in range(150):
        for rows, cursor in zip(got, cursors, strict=True):
            rows.append(next(cursor))
    for rows, other in zip(got, alone, strict=True):
        assert len({r[0] for r in rows} & {r[0] for r in other}) >= 145


def test_two_equal_queries_give_the_same(large):
    for tail in (f"AND k = {K}", "ORDER BY distance LIMIT 50"):
        for where in ("1", "u < 4000", '"any" < 50'):
            assert large.ask(where, tail) == large.ask(where, tail)
