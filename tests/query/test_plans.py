"""Risk: a plan answers otherwise than a plain table with the same rows would, or than another plan.

Every query runs on a vecsql table and, without MATCH, on an ordinary table with the same rows; the
distances are numpy's. Small whole numbers make the distances exact, and many of them equal.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import vecsql

ROWS, DIM = 400, 4
PLAIN = "cat TEXT, year INTEGER, price REAL, code TEXT COLLATE NOCASE, raw, body TEXT"
COLUMNS = (
    f"id INTEGER PRIMARY KEY, e FLOAT[{DIM}], cat TEXT indexed, year INTEGER, price REAL, "
    "code TEXT COLLATE NOCASE indexed, raw, +body TEXT"
)
KNN = "SELECT id, distance FROM t WHERE e MATCH ?"
QUERY = np.array([1, -2, 0, 3], np.float32)
Q = json.dumps(QUERY.tolist())


def rows() -> list[tuple[Any, ...]]:
    rng = np.random.default_rng(5)
    made = []
    for i in range(ROWS):
        vector = rng.integers(-9, 10, DIM).astype("<f4").tobytes()
        cat = ["a", "b", "5", "05", "5.0", None][i % 6]
        year = None if i % 7 == 0 else 2000 + i % 10
        raw = [5, "5", "x", 5.0, None, b"5", "05"][i % 7]
        made.append(
            (i * 3 - 200, vector, cat, year, i / 8, "XyZ"[i % 3] + "aB"[i % 2], raw, f"b{i}")
        )
    return made


class Both:
    """A vecsql table t, an ordinary table p with the same rows, and tables to join with."""

    def __init__(self, driver: str) -> None:
        self.conn = vecsql.connect(":memory:", driver=driver)
        run = self.conn.execute
        run(f"CREATE VIRTUAL TABLE t USING vecsql({COLUMNS})")
        run(f"CREATE TABLE p(id INTEGER PRIMARY KEY, e BLOB, {PLAIN})")
        for table in ("t", "p"):
            marks = ",".join("?" * 8)
            self.conn.executemany(
                f"INSERT INTO {table}(id, e, cat, year, price, code, raw, body) VALUES({marks})",
                rows(),
            )
        run("CREATE TABLE docs(id INTEGER PRIMARY KEY, tag TEXT, num INTEGER, word TEXT, any_)")
        self.conn.executemany(
            "INSERT INTO docs VALUES(?,?,?,?,?)",
            [(r[0], f"tag{i % 20}", 2000 + i % 5, "ab"[i % 2], r[6]) for i, r in enumerate(rows())],
        )
        run("CREATE TABLE few(i INTEGER, t TEXT, n, r REAL)")
        self.conn.executemany(
            "INSERT INTO few VALUES(?,?,?,?)",
            [(5, "5", 5, 5.0), (2003, "2003", "2003", 1.5), (7, "a", "a", 0.0), (5, "05", "05", 5)],
        )
        self.distance = {
            r[0]: float(np.linalg.norm(np.frombuffer(r[1], "<f4").astype(float) - QUERY))
            for r in rows()
        }

    def sql(self, text: str, args: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return [tuple(r) for r in self.conn.execute(text, args)]

    def plan(self, text: str, args: tuple[Any, ...] = ()) -> str:
        return " | ".join(str(r[3]) for r in self.sql("EXPLAIN QUERY PLAN " + text, args))

    def nearest(self, where: str = "1", args: tuple[Any, ...] = ()) -> list[tuple[int, float]]:
        """(id, distance) of the rows of p that pass, nearest first."""
        ids = [r[0] for r in self.sql(f"SELECT id FROM p WHERE {where}", args)]
        return [(i, d) for d, i in sorted((self.distance[i], i) for i in ids)]


@pytest.fixture(scope="module", params=["sqlite3", "apsw", "pysqlite3"])
def both(request: pytest.FixtureRequest) -> Iterator[Both]:
    if request.param == "pysqlite3":
        pytest.importorskip("pysqlite3")
    made = Both(request.param)
    yield made
    made.conn.close()


def same(got: list[tuple[Any, ...]], want: list[tuple[int, float]], n: int | None = None) -> None:
    """The n first of `want`, which holds every row that may come: equal distances in any order."""
    take = len(want) if n is None else min(n, len(want))
    assert [d for _, d in got] == pytest.approx([d for _, d in want[:take]], rel=1e-6)
    assert len({i for i, _ in got}) == len(got), "a row came twice"
    may = dict(want)
    for i, d in got:
        assert i in may, f"row {i} does not pass"
        assert d == pytest.approx(may[i], rel=1e-6)


# Predicates that SQLite hands to a virtual table: k counts the rows that they admit.
PUSHED = [
    "cat = 'a'",
    "cat <> 'a'",
    "cat < 'b'",
    "cat = 5",
    "cat = 5.0",
    "cat IN ('a', '05', 'zz')",
    "cat IN (5, 'b')",
    "cat IS NULL",
    "cat IS NOT NULL",
    "cat IS 'a'",
    "cat IS NOT 'a'",
    "cat LIKE 'A%'",
    "cat GLOB '[ab]'",
    "cat = 'A' COLLATE NOCASE",
    "cat IN ('A', 'B') COLLATE NOCASE",
    "cat = 'a ' COLLATE RTRIM",
    "code = 'xa'",
    "code = 'xa' COLLATE BINARY",
    "code > 'XB'",
    "code BETWEEN 'xa' AND 'YA'",
    "code IN ('YA', 'zB')",
    "code COLLATE BINARY = 'Xa'",
    "code COLLATE BINARY < 'Z'",
    "code COLLATE BINARY BETWEEN 'Xa' AND 'yz'",
    "code COLLATE BINARY IN ('Xa', 'YB', 'za')",
    "code COLLATE BINARY IS 'Xa'",
    "code COLLATE RTRIM = 'Xa  '",
    "cat COLLATE NOCASE = 'A'",
    "cat COLLATE NOCASE >= 'A'",
    "cat COLLATE NOCASE IN ('A', 'B')",
    "year = 2003",
    "year = '2003'",
    "year = 2003.0",
    "year BETWEEN 2003 AND 2005",
    "year BETWEEN '2003' AND '2005'",
    "year > 2004.5",
    "year <> 2004",
    "year = NULL",
    "year IS NULL",
    "year IS NOT 2003",
    "price >= 12.5 AND price < 20",
    "raw = 5",
    "raw = '5'",
    "raw = 'x'",
    "raw > 'a'",
    "raw < 6",
    "raw = x'35'",
    "raw IN ('5', '05')",
    "raw IS NULL",
    "body = 'b17'",
    "body LIKE 'b1%'",
    "id > 100",
    "id BETWEEN 100 AND 400 AND cat = 'a'",
    "id <> 100",
    "id = 100",
    "id = '100'",
    "rowid = 100.0",
    "id = 100.5",
    "id = NULL",
    "id IN ('100')",
    "id LIKE '1%'",
    "id NOT NULL AND rowid GLOB '*0'",
    "id IN (SELECT id FROM docs WHERE tag = 'tag3')",
    "id IN (1, 4, 7, 'x', NULL, 10.0)",
    "cat IN (SELECT t FROM few)",
    "year IN (SELECT i FROM few)",
    "year IN (SELECT t FROM few)",
    "cat = 'a' AND year = 2006 AND price > 3",
    "cat = 'none'",
]

# SQLite tests these again, so k may count rows that it drops. Of a column of no type it does not
# say whether 5 and '5' are the same here; of <> and IS NOT it does not tell the collation.
AMBIGUOUS = [
    "raw IN (5, 'x')",
    "code <> 'xa'",
    "code IS NOT 'XA'",
    "code NOT IN ('xa')",
    "code <> 'Xa' COLLATE BINARY",
    "cat <> 'A' COLLATE NOCASE",
    "cat IS NOT 'A' COLLATE NOCASE",
]

# Those that it keeps to itself: they filter after k, and a stream goes on until LIMIT is full.
KEPT = [
    "code COLLATE BINARY LIKE 'x%'",
    "code COLLATE BINARY IS NOT 'Xa'",
    "code COLLATE BINARY <> 'Xa'",
    "(cat = 'a' OR price < 5)",
    "(cat = 'a' OR id = 100)",
    "NOT (cat = 'a' OR cat = 'b')",
    "year % 2 = 0",
    "+cat = 'a'",
    "cat || year = 'b2003'",
    "length(body) = 3",
    "CASE WHEN price > 20 THEN cat = 'a' ELSE cat = 'b' END",
    "EXISTS (SELECT 1 FROM docs WHERE docs.id = id AND tag = 'tag3')",
    "coalesce(year, 2003) = 2003",
    "(cat, year) = ('a', 2006)",
]


@pytest.mark.parametrize("where", PUSHED)
def test_k_counts_the_rows_that_a_pushed_predicate_admits(both, where):
    for k in (1, 10, ROWS):
        got = both.sql(f"{KNN} AND {where} AND k = ?", (Q, k))
        same(got, both.nearest(where), k)
        got = both.sql(
            f"{KNN} AND {where} AND k = ? AND exact = 1",
            (Q, k),
        )
        assert got == both.nearest(where)[:k], "exact = 1 breaks ties by rowid"


@pytest.mark.parametrize("where", AMBIGUOUS)
def test_k_gives_nothing_else_where_sqlite_tests_again(both, where):
    for k in (1, 10, ROWS):
        got = both.sql(f"{KNN} AND {where} AND k = ?", (Q, k))
        same(got, [r for r in both.nearest(where) if r in got])
    same(got, both.nearest(where))


@pytest.mark.parametrize("key", [100, "100", 100.0, 100.5, "x", None])
def test_k_counts_behind_a_key_that_is_bound(both, key):
    for column in ("id", "rowid"):
        got = both.sql(f"{KNN} AND {column} = ? AND k = 1", (Q, key))
        assert got == both.nearest("id = ?", (key,))


@pytest.mark.parametrize("order", ["docs JOIN t", "t JOIN docs", "t CROSS JOIN docs"])
def test_k_counts_before_a_join_on_the_key(both, order):
    sql = f"SELECT t.id, distance FROM {order} ON t.id = docs.id WHERE e MATCH ? AND k = 20"
    assert both.sql(f"{sql} AND exact = 1 ORDER BY distance", (Q,)) == both.nearest()[:20]


def test_k_counts_behind_what_a_fixed_outer_row_asks(both):
    for join in ("CROSS JOIN", "LEFT JOIN"):
        got = both.sql(
            f"SELECT t.id, distance FROM docs {join} t ON t.id = docs.id AND e MATCH ? AND k = 1"
            " ORDER BY distance, t.id",
            (Q,),
        )
        assert got == both.nearest()


@pytest.mark.parametrize("op", ["<>", "IS NOT"])
@pytest.mark.parametrize("content", [False, True])
def test_a_difference_changes_the_rows_of_its_collation_only(both, content, op):
    """Another collation than the column's would delete rows that are equal."""
    run = both.conn.execute
    written = "kept" if content else "v"
    run("CREATE TABLE kept(id INTEGER PRIMARY KEY, e BLOB, b TEXT COLLATE NOCASE)")
    run(
        "CREATE VIRTUAL TABLE v USING vecsql("
        + ("content=kept, e float[1])" if content else "e float[1], b TEXT COLLATE NOCASE)")
    )
    try:
        for i, b in enumerate(["Red", "red", "blue"]):
            run(f"INSERT INTO {written}(e, b) VALUES (?, ?)", (f"[{i}]", b))
        search = f"SELECT b FROM v WHERE e MATCH '[0]' AND b {op} 'RED'"
        for tail in ("", "ORDER BY distance LIMIT 1", "AND k = 3"):
            assert both.sql(f"{search} {tail}") == [("blue",)]
        run(f"UPDATE {written} SET e = '[9]' WHERE b {op} 'RED'")
        assert both.sql("SELECT distance FROM v WHERE e MATCH '[0]'") == [(0.0,), (1.0,), (9.0,)]
        run(f"DELETE FROM {written} WHERE b {op} 'RED'")
        assert both.sql("SELECT b FROM v ORDER BY b COLLATE BINARY") == [("Red",), ("red",)]
    finally:
        run("DROP TABLE v")
        run("DROP TABLE kept")


@pytest.mark.parametrize("where", PUSHED + AMBIGUOUS + KEPT)
def test_limit_is_filled_under_any_predicate(both, where):
    where = where.replace("docs.id = id", "docs.id = t.id")
    on_p = where.replace("docs.id = t.id", "docs.id = p.id")
    for limit in ("LIMIT 7", "LIMIT 5 OFFSET 9", "LIMIT -1", ""):
        got = both.sql(
            f"{KNN} AND {where} ORDER BY distance {limit}",
            (Q,),
        )
        want = both.nearest(on_p)
        skip = 9 if "OFFSET" in limit else 0
        n = {"LIMIT 7": 7, "LIMIT 5 OFFSET 9": 5}.get(limit, ROWS)
        assert [d for _, d in got] == pytest.approx([d for _, d in want[skip : skip + n]], rel=1e-6)
        assert {i for i, _ in got} <= {i for i, _ in want}
        assert len({i for i, _ in got}) == len(got)


@pytest.mark.parametrize("where", PUSHED + AMBIGUOUS + KEPT)
def test_a_scan_gives_the_rows_of_a_plain_table(both, where):
    on_t, on_p = (where.replace("docs.id = id", f"docs.id = {name}.id") for name in "tp")
    for tail in (
        "",
        "ORDER BY id",
        "ORDER BY id DESC",
        "ORDER BY id DESC LIMIT 3",
        "ORDER BY year, id",
    ):
        got = both.sql(f"SELECT id, cat, year FROM t WHERE {on_t} {tail}")
        want = both.sql(f"SELECT id, cat, year FROM p WHERE {on_p} {tail}")
        assert (got if tail else sorted(got)) == (want if tail else sorted(want))


@pytest.mark.parametrize("value", ["a", "5", "05", 5, 5.0, "x", b"5", None, 2003, "2003"])
@pytest.mark.parametrize("column", ["cat", "year", "raw", "code", "price", "id"])
@pytest.mark.parametrize("op", ["=", "<", ">=", "<>", "IS", "IS NOT"])
def test_a_bound_value_compares_as_in_a_plain_table(both, column, op, value):
    where = f"{column} {op} ?"
    got = both.sql(f"SELECT id FROM t WHERE {where} ORDER BY id", (value,))
    assert got == both.sql(f"SELECT id FROM p WHERE {where} ORDER BY id", (value,))
    got = both.sql(
        f"{KNN} AND {where} ORDER BY distance LIMIT 9",
        (Q, value),
    )
    same(got, both.nearest(where, (value,)), 9)


@pytest.mark.parametrize("theirs", ["i", "t", "n", "r", "+i", "CAST(i AS TEXT)", "CAST(t AS INT)"])
@pytest.mark.parametrize("ours", ["cat", "year", "raw", "code", "price"])
@pytest.mark.parametrize("op", ["=", "<", "IS", "<>"])
def test_a_join_on_a_column_has_the_affinity_of_a_plain_table(both, ours, op, theirs):
    """'05' = 5 is true if the 5 is an INTEGER column, and false if it is a literal."""
    theirs = theirs.replace("(", "(few.") if "CAST" in theirs else f"few.{theirs}"
    theirs = theirs.replace("few.+", "+few.")
    for join in ("JOIN", "CROSS JOIN", "LEFT JOIN"):
        sql = "SELECT few.rowid, {0}.id FROM few {1} {0} ON {0}.{2} {3} {4} ORDER BY 1, 2"
        got = both.sql(sql.format("t", join, ours, op, theirs))
        assert got == both.sql(sql.format("p", join, ours, op, theirs))
    sql = "SELECT id FROM {0} WHERE {1} IN (SELECT {2} FROM few) ORDER BY 1"
    if op == "=":
        assert both.sql(sql.format("t", ours, theirs)) == both.sql(sql.format("p", ours, theirs))


def test_more_predicates_than_sqlite_omits_do_not_hide_match(both):
    many = " AND ".join(f"body <> 'b{i * 3}'" for i in range(20))
    want = both.nearest(many)
    for where in (f"e MATCH ? AND {many}", f"{many} AND e MATCH ?"):
        got = both.sql(f"SELECT id, distance FROM t WHERE {where} AND k = 12", (Q,))
        same(got, want, 12)
        got = both.sql(f"SELECT id, distance FROM t WHERE {where} ORDER BY distance LIMIT 12", (Q,))
        same(got, want, 12)
        got = both.sql(
            f"SELECT id, distance FROM t WHERE {where} AND k = 12 AND exact = 1 AND ef_search = 9",
            (Q,),
        )
        same(got, want, 12)


def test_match_where_no_search_can_serve_it_is_an_error(both):
    for where in ("NOT e MATCH ?", "e MATCH ? OR price + 0 < 3"):
        with pytest.raises(Exception, match="MATCH"):
            both.sql(f"SELECT id FROM t WHERE {where}", (Q,))


# --- the rows of "what arrives in each query form" (xBestIndex) -----------------------------------


def test_limit_that_is_bound_is_a_hint_only(both):
    for limit, offset in [(10, 5), (0, 0), (-1, 0), (1000, 3), (3, 1000)]:
        got = both.sql(
            f"{KNN} ORDER BY distance LIMIT ? OFFSET ?",
            (Q, limit, offset),
        )
        want = both.nearest()[offset:]
        same_distances(got, want if limit < 0 else want[:limit])


def same_distances(got: list[tuple[Any, ...]], want: list[tuple[int, float]]) -> None:
    assert [r[-1] for r in got] == pytest.approx([d for _, d in want], rel=1e-6)


@pytest.mark.parametrize(
    "order",
    [
        "distance",
        "distance ASC",
        "distance DESC",
        "distance, id",
        "distance DESC, id",
        "distance + 0",
        "-distance",
        "distance NULLS LAST",
        "distance DESC NULLS FIRST",
        "id",
        "id DESC",
        "price",
    ],
)
def test_any_order_is_right(both, order):
    price = {r[0]: r[4] for r in rows()}
    key = {
        "id": lambda r: r[0],
        "-id": lambda r: -r[0],
        "price": lambda r: price[r[0]],
        "distance": lambda r: (r[1], r[0]),
        "-distance": lambda r: (-r[1], r[0]),
    }
    down = "DESC" in order or order.startswith("-")
    want = sorted(
        both.nearest(), key=key[("-" if down else "") + order.strip("-").split()[0].strip(",")]
    )
    for limit in (9, ROWS):
        sql = f"{KNN} ORDER BY {order} LIMIT {limit}"
        got = both.sql(sql, (Q,))
        same_distances(got, want[:limit])
        if "," in order or order.split()[0] in ("id", "price"):
            assert [r[0] for r in got] == [r[0] for r in want[:limit]]
    sql = f"{KNN} AND k = 25 ORDER BY {order}"
    best = both.nearest()[:25]
    assert sorted(r[1] for r in both.sql(sql, (Q,))) == pytest.approx([d for _, d in best])


def test_aggregates_distinct_and_groups_see_every_row_once(both):
    want = both.nearest()
    far = [round(d, 5) for _, d in want]
    assert both.sql("SELECT count(*) FROM t WHERE e MATCH ?", (Q,)) == [(ROWS,)]
    low, high, mean = both.sql(
        "SELECT min(distance), max(distance), avg(distance) FROM t WHERE e MATCH ?", (Q,)
    )[0]
    assert (low, high) == pytest.approx((far[0], far[-1]), abs=1e-4)
    assert mean == pytest.approx(sum(far) / ROWS, rel=1e-5)
    distinct = sorted(set(far))
    for sql in (
        "SELECT DISTINCT distance FROM t WHERE e MATCH ? ORDER BY distance",
        "SELECT DISTINCT distance FROM t WHERE e MATCH ?",
        "SELECT distance FROM t WHERE e MATCH ? GROUP BY distance",
        "SELECT distance FROM t WHERE e MATCH ? GROUP BY distance ORDER BY distance",
    ):
        got = [r[0] for r in both.sql(sql, (Q,))]
        assert sorted(got) == pytest.approx(distinct, abs=1e-4), sql
    got = both.sql(
        "SELECT DISTINCT distance FROM t WHERE e MATCH ? ORDER BY distance LIMIT 5", (Q,)
    )
    assert [r[0] for r in got] == pytest.approx(distinct[:5], abs=1e-4)
    got = both.sql("SELECT distance, count(*) FROM t WHERE e MATCH ? GROUP BY distance", (Q,))
    assert [n for _, n in got] == [far.count(d) for d in distinct]
    got = both.sql("SELECT cat, count(*) FROM t WHERE e MATCH ? AND k = 60 GROUP BY cat", (Q,))
    assert sum(n for _, n in got) == 60
    got = both.sql(
        "SELECT id, row_number() OVER (ORDER BY distance) FROM t WHERE e MATCH ?"
        " ORDER BY 2 LIMIT 5",
        (Q,),
    )
    assert [n for _, n in got] == [1, 2, 3, 4, 5]


JOINS = [
    "docs JOIN t ON t.id = docs.id WHERE e MATCH ? AND docs.tag = 'tag3'",
    "t JOIN docs ON t.id = docs.id WHERE e MATCH ? AND docs.tag = 'tag3'",
    "t CROSS JOIN docs WHERE docs.id = t.id AND e MATCH ? AND docs.tag = 'tag3'",
    "docs CROSS JOIN t WHERE docs.id = t.id AND e MATCH ? AND docs.tag = 'tag3'",
    "t, docs WHERE docs.id = t.rowid AND e MATCH ? AND docs.tag = 'tag3'",
]


@pytest.mark.parametrize("analyzed", [False, True])
@pytest.mark.parametrize("form", JOINS)
def test_a_join_gives_the_nearest_whatever_plan_wins(both, form, analyzed):
    both.conn.execute("ANALYZE" if analyzed else "DROP TABLE IF EXISTS sqlite_stat1")
    want = both.nearest("id IN (SELECT id FROM docs WHERE tag = 'tag3')")
    for limit in (4, ROWS):
        sql = f"SELECT t.id, distance FROM {form} ORDER BY distance LIMIT {limit}"
        same(both.sql(sql, (Q,)), want, limit)


@pytest.mark.parametrize("form", JOINS)
def test_pages_of_a_join_meet_if_the_key_is_in_the_order(both, form):
    """By the distance alone SQLite sorts ties as the loops of the join come, page by page."""
    want = both.nearest("id IN (SELECT id FROM docs WHERE tag = 'tag3')")
    sql = f"SELECT t.id, distance FROM {form} ORDER BY distance, t.id"
    pages = [both.sql(f"{sql} LIMIT 5 OFFSET {i}", (Q,)) for i in range(0, len(want), 5)]
    assert [row for page in pages for row in page] == want == both.sql(sql, (Q,))


def test_a_join_streams_from_the_index(both):
    plan = both.plan(f"SELECT t.id FROM {JOINS[0]} ORDER BY distance LIMIT 4", (Q,))
    assert "knn:0 match" in plan
    assert "TEMP B-TREE" not in plan, "the order of the stream is taken"


def test_left_join_finds_at_most_one_row(both):
    got = both.sql(
        "SELECT docs.id, t.id, distance FROM docs LEFT JOIN t ON t.id = docs.id AND t.e MATCH ?"
        " WHERE docs.id < 20 ORDER BY 1",
        (Q,),
    )
    assert [(i, j) for i, j, _ in got] == [(r[0], r[0]) for r in rows() if r[0] < 20]
    assert [d for *_, d in got] == pytest.approx([both.distance[i] for i, *_ in got])


def test_subqueries_and_ctes(both):
    want = both.nearest()[:10]
    for sql in (
        "SELECT s.id, s.distance FROM (SELECT id, distance FROM t WHERE e MATCH ? ORDER BY distance"
        " LIMIT 10) s JOIN docs ON docs.id = s.id ORDER BY s.distance",
        "WITH s AS MATERIALIZED (SELECT id, distance FROM t WHERE e MATCH ? AND k = 10)"
        " SELECT s.id, s.distance FROM s JOIN docs USING(id) ORDER BY 2",
        "WITH s AS NOT MATERIALIZED (SELECT id, distance FROM t WHERE e MATCH ? AND k = 10)"
        " SELECT s.id, s.distance FROM s JOIN docs USING(id) ORDER BY 2",
    ):
        same(both.sql(sql, (Q,)), both.nearest(), 10)
    ids = both.sql(
        "SELECT id FROM docs WHERE id IN"
        " (SELECT id FROM t WHERE e MATCH ? ORDER BY distance LIMIT 10)",
        (Q,),
    )
    assert sorted(both.distance[i] for (i,) in ids) == pytest.approx([d for _, d in want])


def test_exists_and_correlated_subqueries(both):
    got = both.sql(
        "SELECT p.id, (SELECT t.id FROM t WHERE t.e MATCH p.e ORDER BY distance LIMIT 1),"
        " (SELECT distance FROM t WHERE t.e MATCH p.e AND k = 1) FROM p WHERE p.id < 0 ORDER BY 1"
    )
    vector = {r[0]: r[1] for r in rows()}
    assert len(got) == sum(r[0] < 0 for r in rows())
    for i, nearest, distance in got:
        assert vector[nearest] == vector[i]
        assert distance == 0
    got = both.sql(
        "SELECT id FROM docs WHERE tag = 'tag3' AND EXISTS (SELECT 1 FROM t WHERE t.e MATCH ?"
        " AND t.id = docs.id AND distance < 9) ORDER BY id",
        (Q,),
    )
    inside = dict(both.nearest("id IN (SELECT id FROM docs WHERE tag = 'tag3')"))
    assert [i for (i,) in got] == sorted(i for i, d in inside.items() if d < 9)


@pytest.mark.parametrize("k", ["k = 3", "k = docs_k.n", "1"])
def test_a_query_vector_of_another_table_is_searched_for_each_row(both, k):
    both.conn.execute("CREATE TEMP TABLE docs_k(id INTEGER PRIMARY KEY, v BLOB, n INTEGER)")
    both.conn.execute("INSERT INTO docs_k SELECT rowid, e, 3 FROM p LIMIT 5")
    try:
        for frm in ("docs_k JOIN t", "t JOIN docs_k", "docs_k LEFT JOIN t"):
            got = both.sql(
                "SELECT docs_k.id, count(*), min(distance)"
                f" FROM {frm} ON t.e MATCH docs_k.v AND {k} GROUP BY 1"
            )
            assert [(n, d) for _, n, d in got] == [(ROWS if k == "1" else 3, 0.0)] * 5
    finally:
        both.conn.execute("DROP TABLE docs_k")


@pytest.mark.parametrize("column", ["cat", "year", "raw", "code", "price", "body", "id"])
@pytest.mark.parametrize("collation", ["", " COLLATE BINARY", " COLLATE NOCASE"])
@pytest.mark.parametrize("filler", [0, 97, 98, 5000])
def test_in_takes_lists_of_any_length_and_any_values(both, column, collation, filler):
    both.conn.execute("CREATE TEMP TABLE list(v)")
    try:
        values = ["a", "XB", "ya", 5, 5.0, "05", b"5", None, 2003, "2004", "b17", 12.5, 10, "13"]
        values += [f"no {i}" if i % 2 else -1000 - i for i in range(filler)]
        both.conn.executemany("INSERT INTO list VALUES(?)", [(v,) for v in values])
        where = f"{column}{collation} IN (SELECT v FROM list)"
        ids = both.sql(f"SELECT id FROM p WHERE {where} ORDER BY id")
        assert both.sql(f"SELECT id FROM t WHERE {where} ORDER BY id") == ids
        want = both.nearest(where)
        got = both.sql(f"{KNN} AND {where} ORDER BY distance LIMIT 9", (Q,))
        same(got, want, 9)
        same(both.sql(f"{KNN} AND {where}", (Q,)), want)
        got = both.sql(f"{KNN} AND {where} AND k = 9", (Q,))
        if column not in ("cat", "raw", "code", "body"):  # these SQLite compares again
            same(got, want, 9)
        assert {i for i, _ in got} <= {i for i, _ in want}
        marks = ",".join("?" * min(len(values), 500))
        where = f"{column}{collation} IN ({marks})"
        got = both.sql(f"SELECT id FROM t WHERE {where} ORDER BY id", tuple(values[:500]))
        assert got == both.sql(f"SELECT id FROM p WHERE {where} ORDER BY id", tuple(values[:500]))
    finally:
        both.conn.execute("DROP TABLE list")


PAIRS = "(cat, year) IN (VALUES ('a', 2006), ('b', 2001), ('b', 2003), ('zz', 1))"


def test_an_in_of_row_values_counts_k_once(both):
    want = both.nearest(PAIRS)
    same(both.sql(f"{KNN} AND {PAIRS} ORDER BY distance", (Q,)), want)
    same(both.sql(f"{KNN} AND {PAIRS} ORDER BY distance LIMIT 4", (Q,)), want, 4)
    same(both.sql(f"{KNN} AND {PAIRS} ORDER BY distance LIMIT 4 OFFSET 2", (Q,)), want[2:], 4)
    for k in (1, 4, ROWS):
        got = both.sql(f"{KNN} AND {PAIRS} AND k = ? ORDER BY distance", (Q, k))
        assert len(got) <= k, "not k for each pair"
        same(got, [r for r in both.nearest()[:k] if r in want])


@pytest.mark.parametrize(
    "pairs",
    [
        "(year, code) IN (VALUES (2003, 'xb'), (2006, 'YA'))",
        "(code, cat) IN (VALUES ('xa', 'A'), ('xa', 'a'), ('YB', 'b'))",
        "(cat, code) IN (SELECT 'a', 'xa' UNION SELECT 'B', 'yb')",
    ],
)
def test_an_in_of_row_values_has_the_collation_of_each_column(both, pairs):
    want = both.nearest(pairs)
    assert want
    same(both.sql(f"{KNN} AND {pairs} ORDER BY distance", (Q,)), want)
    same(both.sql(f"{KNN} AND {pairs} AND k = ? ORDER BY distance", (Q, ROWS)), want)
    got = both.sql(f"SELECT id FROM t WHERE {pairs} ORDER BY id")
    assert got == both.sql(f"SELECT id FROM p WHERE {pairs} ORDER BY id")


def test_several_in_of_one_query_count_k_once(both):
    where = "cat IN ('a', 'b') AND year IN (2001, 2003, 2006) AND id IN (SELECT id FROM docs)"
    for k in (1, 4, ROWS):
        same(both.sql(f"{KNN} AND {where} AND k = ?", (Q, k)), both.nearest(where), k)


@pytest.mark.parametrize("rest", ["AND k = 2", "ORDER BY distance LIMIT 2", "", "AND distance < 9"])
def test_a_query_that_is_null_gives_no_row(both, rest):
    assert both.sql(f"SELECT id FROM t WHERE e MATCH NULL {rest}") == []
    assert both.sql(f"SELECT id FROM t WHERE e MATCH ? {rest}", (None,)) == []


def test_rows_without_a_query_vector_join_nothing(both):
    both.conn.execute("CREATE TEMP TABLE some(n INTEGER PRIMARY KEY, v BLOB)")
    try:
        both.conn.execute("INSERT INTO some VALUES (1, ?), (2, NULL), (3, ?)", (Q, Q))
        sql = "SELECT n, count(t.id) FROM some {} JOIN t ON t.e MATCH v AND k = 2 GROUP BY n"
        assert both.sql(sql.format("")) == [(1, 2), (3, 2)]
        assert both.sql(sql.format("LEFT")) == [(1, 2), (2, 0), (3, 2)]
        missing = "(SELECT v FROM some WHERE n = 7)"
        assert both.sql(f"SELECT id FROM t WHERE e MATCH {missing} AND k = 2") == []
    finally:
        both.conn.execute("DROP TABLE some")


def test_one_search_serves_a_whole_in(both):
    where = "id IN (SELECT id FROM docs WHERE tag = 'tag3')"
    for sql in (
        f"{KNN} AND {where} ORDER BY distance LIMIT 6",
        f"{KNN} AND {where} AND k = 6",
    ):
        assert "rowid-in" in both.plan(sql, (Q,))
        same(both.sql(sql, (Q,)), both.nearest(where), 6)


def test_or_of_a_search_and_a_row(both):
    got = both.sql("SELECT id FROM t WHERE (e MATCH ? AND k = 3) OR id = 400", (Q,))
    assert len(got) in (3, 4)
    assert (400,) in got


# --- k, ef_search, exact --------------------------------------------------------------------------


@pytest.mark.parametrize("k", ["3.0", "'3'", "1 + 2", "(SELECT 3)"])
def test_k_is_a_number_that_equals_a_whole_one(both, k):
    got = both.sql(f"SELECT id, distance, k FROM t WHERE e MATCH ? AND k = {k}", (Q,))
    assert [r[2] for r in got] == [3, 3, 3]


def test_k_in_a_list_is_the_union_of_the_searches(both):
    got = both.sql("SELECT id, k FROM t WHERE e MATCH ? AND k IN (2, 5)", (Q,))
    assert sorted(k for _, k in got) == [2, 2, 5, 5, 5, 5, 5]


def test_k_may_be_more_than_there_are_rows(both):
    for k in (ROWS + 1, 2**31, 2**32 + 1, 2**63 - 1):
        for extra in ("", " AND cat = 'a'", " AND exact = 1", " AND distance < 9"):
            where = extra.replace(" AND ", "", 1).replace("exact = 1", "1") or "1"
            bound = "distance" in where
            want = [r for r in both.nearest("1" if bound else where) if not bound or r[1] < 9]
            same(both.sql(f"{KNN}{extra} AND k = ?", (Q, k)), want)
    assert both.sql(f"{KNN} AND k = NULL", (Q,)) == []
    assert both.sql(f"{KNN} AND k = 0", (Q,)) == []


@pytest.mark.parametrize("k", ["2.5", "'many'", "-1", "x'33'", "9e999", "-9e999", "1e300"])
def test_k_that_is_no_count_is_an_error(both, k):
    with pytest.raises(Exception, match=r"t: k must"):
        both.sql(f"SELECT id FROM t WHERE e MATCH ? AND k = {k}", (Q,))


def test_settings_of_a_query_read_back(both):
    sql = (
        "SELECT k, ef_search, exact FROM t"
        " WHERE e MATCH ? AND k = 2 AND ef_search = 33 AND exact = ?"
    )
    for exact in (0, 1):
        assert both.sql(sql, (Q, exact)) == [(2, 33, exact)] * 2


# --- distance bounds ------------------------------------------------------------------------------

BOUNDS = [
    ("distance < {m}", lambda d, m: d < m),
    ("distance <= {m}", lambda d, m: d <= m),
    ("distance > {m}", lambda d, m: d > m),
    ("distance >= {m}", lambda d, m: d >= m),
    ("distance = {m}", lambda d, m: d == m),
    ("distance BETWEEN {m} - 2 AND {m}", lambda d, m: m - 2 <= d <= m),
    ("distance > {m} - 2 AND distance < {m} AND distance < 100", lambda d, m: m - 2 < d < m),
    ("distance < -1", lambda d, m: False),
    ("distance < NULL", lambda d, m: False),
    ("distance < 'x'", lambda d, m: True),
]


@pytest.mark.parametrize(("where", "keep"), BOUNDS)
@pytest.mark.parametrize("m", [4, 7.5, 0, 1000])
def test_distance_bounds_admit_exactly_the_rows_within(both, where, keep, m):
    where = where.format(m=m)
    for extra in (
        "1",
        "cat = 'a'",
        "id IN (SELECT id FROM docs WHERE tag = 'tag3')",
        "price + 0 > 20",
    ):
        want = [(i, d) for i, d in both.nearest(extra) if keep(d, m)]
        sql = f"{KNN} AND {where} AND {extra}"
        same(sorted(both.sql(sql, (Q,)), key=lambda r: r[1]), want)
        same(both.sql(sql + " ORDER BY distance", (Q,)), want)
        same(both.sql(sql + " ORDER BY distance LIMIT 4", (Q,)), want, 4)
        assert len(both.sql(sql + " AND exact = 1", (Q,))) == len(want)


@pytest.mark.parametrize(("where", "keep"), BOUNDS[:6])
def test_k_counts_the_rows_within_the_bounds(both, where, keep):
    want = [(i, d) for i, d in both.nearest("cat = 'a'") if keep(d, 7.5)]
    for setting in ("", " AND exact = 1"):
        sql = f"{KNN} AND {where.format(m=7.5)} AND cat = 'a' AND k = 5"
        same(both.sql(sql + setting, (Q,)), want, 5)


def test_paging_by_distance_and_k_visits_every_row(both):
    seen: list[float] = []
    last = -1.0
    while True:
        got = both.sql(
            "SELECT distance FROM t WHERE e MATCH ? AND distance > ? AND k = 40", (Q, last)
        )
        if not got:
            break
        seen += [d for (d,) in got]
        last = seen[-1]
    assert sorted(set(seen)) == pytest.approx(sorted({d for _, d in both.nearest()}))


# --- the plan in words ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT id FROM t", "scan"),
        ("SELECT id FROM t ORDER BY id DESC", "scan-desc"),
        ("SELECT id FROM t WHERE cat = 'a'", "scan c1=!"),
        ("SELECT id FROM t WHERE code = 'a'", "scan c4=!"),
        ("SELECT id FROM t WHERE code COLLATE BINARY = 'a'", "scan c4=!@BINARY"),
        ("SELECT id FROM t WHERE id > 5 AND year IN (1, 2)", "scan rowid> c2-in"),
        ("SELECT id FROM t WHERE id = 5", "point rowid="),
        ("SELECT id FROM t WHERE e MATCH '[1,1,1,1]' AND k = 5", "knn:0 match k= on e"),
        ("SELECT id FROM t WHERE e MATCH '[1,1,1,1]' AND distance < 3", "knn:0 match d< on e"),
        ("SELECT id FROM t WHERE e MATCH '[1,1,1,1]' AND id = 3", "knn:0 match rowid= on e"),
    ],
)
def test_the_plan_says_which_predicates_were_pushed(both, sql, words):
    assert both.plan(sql).partition(" INDEX ")[2].partition(":")[2] == words


def test_a_predicate_on_an_indexed_column_uses_its_b_tree(both):
    steps = "SELECT count(*) FROM t WHERE cat = 'b'"
    assert both.sql(steps) == both.sql(steps.replace("FROM t", "FROM p"))
    assert "scan c1=!" in both.plan(steps)


def test_old_sqlite_is_among_those_tested():
    """Planner calls differ below 3.46 and below 3.41; the stdlib's library is often that old."""
    assert sqlite3.sqlite_version_info >= (3, 38)
