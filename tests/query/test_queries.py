"""Risk: a query returns other rows, distances or an order than a brute-force search would."""

from __future__ import annotations

import math

import numpy as np
import pytest

import vecsql

DIMS, ROWS = 6, 300


def exact(metric: str, a: np.ndarray, b: np.ndarray) -> float:
    """The distance of two vectors as documented, in double precision."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    if metric == "l2":
        return float(np.linalg.norm(a - b))
    if metric == "dot":
        return float(-a @ b)
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return float(1 - a @ b / norms) if norms > 0 else 1.0


class Table:
    """A vecsql table of random rows, and the same rows in Python."""

    def __init__(self, metric: str = "l2", index: str = "hnsw", rows: int = ROWS) -> None:
        rng = np.random.default_rng(7)
        self.metric = metric
        self.db = vecsql.connect(":memory:", driver="apsw")
        self.db.execute(
            f"CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, "
            f"e FLOAT[{DIMS}] distance_metric={metric} index={index}, "
            "cat TEXT indexed, year INTEGER, price REAL, +body TEXT)"
        )
        self.rows = {}
        for i in range(rows):
            vector = rng.normal(size=DIMS).astype(np.float32)
            if i % 50 == 0:
                vector[:] = 0
            row = ("abcd"[i % 4], None if i % 7 == 0 else 2000 + i % 10, i / 10, f"body {i}")
            self.rows[i * 3 - 100] = (vector, *row)
        with self.db:
            self.db.executemany(
                "INSERT INTO t(id, e, cat, year, price, body) VALUES(?,?,?,?,?,?)",
                [(k, v[0].tobytes(), *v[1:]) for k, v in self.rows.items()],
            )
        self.query = rng.normal(size=DIMS).astype(np.float32)

    def sql(self, text: str, *args: object) -> list[tuple]:
        return self.db.execute(text, (self.query.tobytes(), *args)).fetchall()

    def nearest(self, keep=lambda row: True) -> list[tuple[int, float]]:
        """(id, distance) of the rows that `keep` admits, nearest first."""
        found = [
            (exact(self.metric, self.query, row[0]), key)
            for key, row in self.rows.items()
            if keep(row)
        ]
        return [(key, distance) for distance, key in sorted(found)]


def check(got: list[tuple], expected: list[tuple[int, float]]) -> None:
    """Same distances in the same order; the same ids where distances are not tied."""
    assert [d for _, d in got] == pytest.approx([d for _, d in expected], rel=1e-5, abs=1e-6)
    assert {k for k, _ in got} <= {k for k, d in expected} or len(got) < len(expected)
    distances = [d for _, d in expected]
    for (a, _), (b, d) in zip(got, expected, strict=True):
        assert a == b or sum(math.isclose(d, e, abs_tol=1e-5) for e in distances) > 1


@pytest.fixture(scope="module", params=["l2", "cosine", "dot"])
def table(request):
    return Table(request.param)


def test_k_gives_the_k_nearest_with_their_distances(table):
    check(table.sql("SELECT id, distance FROM t WHERE e MATCH ? AND k = 10"), table.nearest()[:10])


def test_flat_gives_the_same(table):
    flat = Table(table.metric, index="flat")
    check(flat.sql("SELECT id, distance FROM t WHERE e MATCH ? AND k = 10"), table.nearest()[:10])


def test_exact_gives_the_same(table):
    got = table.sql("SELECT id, distance FROM t WHERE e MATCH ? AND k = 10 AND exact = 1")
    check(got, table.nearest()[:10])


def test_limit_and_offset_page_through_the_order(table):
    got = table.sql(
        "SELECT id, distance FROM t WHERE e MATCH ? ORDER BY distance LIMIT 10 OFFSET 20"
    )
    check(got, table.nearest()[20:30])


def test_no_limit_gives_all_rows_in_order(table):
    got = table.sql("SELECT id, distance FROM t WHERE e MATCH ? ORDER BY distance")
    check(got, table.nearest())


def test_descending_order_is_right(table):
    got = table.sql("SELECT id, distance FROM t WHERE e MATCH ? ORDER BY distance DESC LIMIT 10")
    check(got[::-1], table.nearest()[-10:])


@pytest.mark.parametrize(
    ("sql", "keep"),
    [
        ("cat = 'a'", lambda r: r[1] == "a"),
        ("cat <> 'a'", lambda r: r[1] != "a"),
        ("cat IN ('a', 'c', 'zz')", lambda r: r[1] in "ac"),
        ("cat LIKE 'A%'", lambda r: r[1] == "a"),
        ("cat GLOB '[ab]'", lambda r: r[1] in "ab"),
        ("cat = 'none'", lambda r: False),
        ("year IS NULL", lambda r: r[2] is None),
        ("year IS NOT NULL", lambda r: r[2] is not None),
        ("year = NULL", lambda r: False),
        ("year BETWEEN 2003 AND 2005", lambda r: r[2] is not None and 2003 <= r[2] <= 2005),
        ("year > 2007 AND cat = 'b'", lambda r: r[2] is not None and r[2] > 2007 and r[1] == "b"),
        ("year = '2004'", lambda r: r[2] == 2004),
        ("price < 3.05", lambda r: r[3] < 3.05),
        ("body = 'body 17'", lambda r: r[4] == "body 17"),
    ],
)
def test_k_counts_the_rows_that_a_comparison_admits(table, sql, keep):
    got = table.sql(f"SELECT id, distance FROM t WHERE e MATCH ? AND {sql} AND k = 10")
    check(got, table.nearest(keep)[:10])


@pytest.mark.parametrize(
    ("sql", "keep"),
    [
        ("(cat = 'a' OR price < 5)", lambda r: r[1] == "a" or r[3] < 5),
        ("year % 2 = 0", lambda r: r[2] is not None and r[2] % 2 == 0),
        ("cat || year = 'b2003'", lambda r: (r[1], r[2]) == ("b", 2003)),
        ("NOT (cat IN ('a', 'b'))", lambda r: r[1] not in "ab"),
        ("cat = 'A' COLLATE NOCASE", lambda r: r[1] == "a"),
        ("length(body) = 6", lambda r: len(r[4]) == 6),
    ],
)
def test_limit_is_filled_under_any_predicate(table, sql, keep):
    got = table.sql(
        f"SELECT id, distance FROM t WHERE e MATCH ? AND {sql} ORDER BY distance LIMIT 10"
    )
    check(got, table.nearest(keep)[:10])


def test_distance_bounds_admit_exactly_the_rows_within(table):
    nearest = table.nearest()
    bound = (nearest[30][1] + nearest[31][1]) / 2
    got = table.sql("SELECT id, distance FROM t WHERE e MATCH ? AND distance < ?", bound)
    check(sorted(got, key=lambda r: r[1]), [r for r in nearest if r[1] < bound])


def test_rowid_in_a_subquery_is_counted_before_k(table):
    got = table.sql(
        "SELECT id, distance FROM t WHERE e MATCH ? AND k = 5 "
        "AND id IN (SELECT id FROM t WHERE cat = 'd')"
    )
    check(got, table.nearest(lambda r: r[1] == "d")[:5])


def test_one_rowid_gives_its_distance(table):
    key = next(iter(table.rows))
    got = table.sql("SELECT id, distance FROM t WHERE e MATCH ? AND id = ?", key)
    check(got, [(key, dict(table.nearest())[key])])


def test_a_join_streams_until_its_limit_is_filled(table):
    table.db.execute("CREATE TEMP TABLE other(id INTEGER PRIMARY KEY, tag TEXT)")
    table.db.executemany(
        "INSERT INTO other VALUES(?, ?)", [(k, r[4]) for k, r in table.rows.items()]
    )
    got = table.sql(
        "SELECT t.id, t.distance FROM t JOIN other o ON o.id = t.id "
        "WHERE t.e MATCH ? AND o.tag LIKE '%7' ORDER BY t.distance LIMIT 8"
    )
    table.db.execute("DROP TABLE other")
    check(got, table.nearest(lambda r: r[4].endswith("7"))[:8])


def test_each_row_of_an_outer_table_gets_its_own_neighbours(table):
    rng = np.random.default_rng(3)
    queries = {i: rng.normal(size=DIMS).astype(np.float32) for i in range(4)}
    table.db.execute("CREATE TEMP TABLE q(id INTEGER PRIMARY KEY, v BLOB)")
    table.db.executemany(
        "INSERT INTO q VALUES(?, ?)", [(i, v.tobytes()) for i, v in queries.items()]
    )
    got = table.db.execute(
        "SELECT q.id, t.id, t.distance FROM q JOIN t ON t.e MATCH q.v AND k = 3 ORDER BY 1, 3"
    ).fetchall()
    table.db.execute("DROP TABLE q")
    saved = table.query
    for i, vector in queries.items():
        table.query = vector
        check([r[1:] for r in got if r[0] == i], table.nearest()[:3])
    table.query = saved


@pytest.mark.parametrize("k", [0, 1, ROWS - 1, ROWS, ROWS + 1, 10**9])
def test_every_k_gives_as_many_rows_as_there_are(table, k):
    got = table.sql("SELECT id, distance FROM t WHERE e MATCH ? AND k = ?", k)
    check(got, table.nearest()[:k])


def test_k_null_gives_nothing(table):
    assert table.sql("SELECT id FROM t WHERE e MATCH ? AND k = NULL") == []


def test_counting_and_grouping_see_every_row(table):
    assert table.sql("SELECT count(*) FROM t WHERE e MATCH ?") == [(ROWS,)]
    got = table.sql("SELECT cat, count(*) FROM t WHERE e MATCH ? GROUP BY cat ORDER BY cat")
    assert got == [(c, ROWS // 4) for c in "abcd"]


def test_the_plan_can_be_read(table):
    plan = table.sql("EXPLAIN QUERY PLAN SELECT id FROM t WHERE e MATCH ? AND cat = 'a' AND k = 3")
    assert "knn:0 match" in plan[0][3]
    assert plan[0][3].endswith("on e")


def test_rows_read_back_as_they_were_written(table):
    for key, row in table.rows.items():
        got = table.db.execute("SELECT * FROM t WHERE id = ?", (key,)).fetchall()
        assert got == [(key, row[0].tobytes(), *row[1:])]
    assert [r[0] for r in table.db.execute("SELECT id FROM t")] == sorted(table.rows)


@pytest.mark.parametrize("rows", [0, 1])
def test_tiny_tables_answer(rows):
    table = Table(rows=rows)
    assert len(table.sql("SELECT id FROM t WHERE e MATCH ? AND k = 5")) == rows
    assert len(table.sql("SELECT id FROM t WHERE e MATCH ? ORDER BY distance LIMIT 5")) == rows


def test_a_large_graph_finds_what_a_scan_finds():
    rng = np.random.default_rng(11)
    centres = rng.normal(size=(40, 24))
    base = (centres[rng.integers(0, 40, 6000)] + rng.normal(size=(6000, 24)) * 0.4).astype("<f4")
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[24])")
    with db:
        db.executemany(
            "INSERT INTO t(rowid, e) VALUES(?, ?)", [(i, v.tobytes()) for i, v in enumerate(base)]
        )
    found = 0
    for query in base[:100] + 0.05:
        walk, scan = (
            {
                r[0]
                for r in db.execute(
                    "SELECT rowid FROM t WHERE e MATCH ? AND k = 10 AND exact = ?",
                    (query.tobytes(), exact_scan),
                )
            }
            for exact_scan in (0, 1)
        )
        found += len(walk & scan)
    assert found / 1000 >= 0.97
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("also", ["", " AND k = 9"])
@pytest.mark.parametrize(
    ("bound", "rows"),
    [("<= 5", [1, 2, 3]), ("< 5", [1]), (">= 5", [2, 3, 4]), ("> 5", [4]), ("= 5", [2, 3])],
)
def test_a_distance_that_is_the_bound_is_within_if_the_bound_is_closed(bound, rows, also):
    conn = vecsql.connect(":memory:", driver="apsw")
    conn.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2])")
    conn.execute("INSERT INTO t(e) VALUES('[1,0]'), ('[3,4]'), ('[0,5]'), ('[6,0]')")
    sql = f"SELECT rowid FROM t WHERE e MATCH '[0,0]' AND distance {bound}{also} ORDER BY rowid"
    assert [r for (r,) in conn.execute(sql)] == rows
