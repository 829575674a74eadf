"""Risk: a query gives other rows than under sqlite-vec, or is refused in other words.

Also every difference that docs/howto/sqlite-vec.md lists for queries.
"""

from __future__ import annotations

import random
import struct

import pytest

from tests.support.vec0_pair import Pair, same_rows

ROWS = 120


@pytest.fixture(scope="module")
def pair():
    p = Pair()
    rng = random.Random(7)
    p.same(
        "CREATE VIRTUAL TABLE a USING vec0(e float[4], e2 float[2] distance_metric=cosine, l text, "
        "y integer, f float, b boolean, p integer partition key, +x text)"
    )
    p.same("CREATE TABLE docs(id INTEGER PRIMARY KEY, author TEXT)")
    texts = ["red", "green", "blue", "a text that is longer than twelve bytes"]
    for i in range(ROWS):
        p.same(
            "INSERT INTO a VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                i,
                str([rng.uniform(-1, 1) for _ in range(4)]),
                str([rng.uniform(-1, 1) for _ in range(2)]),
                rng.choice(texts),
                rng.randrange(20),
                rng.randrange(10) / 2,
                rng.randrange(2),
                rng.choice([None, 1, 2, 3]),
                rng.choice([None, "x"]),
            ),
        )
        p.same("INSERT INTO docs VALUES (?, ?)", (i, rng.choice("uvw")))
    yield p
    p.close()


Q = "'[0.1, 0.2, -0.3, 0.4]'"
KNN = f"SELECT rowid, distance FROM a WHERE e MATCH {Q} AND "

REFUSED = [
    f"SELECT rowid FROM a WHERE e MATCH {Q}",
    f"SELECT count(*) FROM a WHERE e MATCH {Q} ORDER BY distance",
    KNN + "k = 3 LIMIT 2",
    KNN + "k = 3 ORDER BY distance DESC",
    KNN + "k = 3 ORDER BY rowid",
    KNN + "k = 3 ORDER BY distance, rowid",
    KNN + "k = 3 ORDER BY y",
    f"SELECT DISTINCT y FROM a WHERE e MATCH {Q} AND k = 3",
    f"SELECT y, count(*) FROM a WHERE e MATCH {Q} AND k = 3 GROUP BY y",
    KNN + "k = 3 AND e2 MATCH '[1, 2]'",
    KNN + f"k = 3 AND e MATCH {Q}",
    KNN + "k = -1",
    KNN + "k = 4097",
    KNN + "k = 1000000000000",
    KNN + "k = 3 AND rowid IN (1, 2) AND rowid IN (2, 3)",
    KNN + "k = 3 AND x = 'x'",
    KNN + "k = 3 AND x IS NULL",
    KNN + "k = 3 AND l LIKE 'r%'",
    KNN + "k = 3 AND l GLOB 'r*'",
    KNN + "k = 3 AND l IS NULL",
    KNN + "k = 3 AND l IS NOT NULL",
    KNN + "k = 3 AND l IS 'red'",
    KNN + "k = 3 AND f IN (1.5, 2.5)",
    KNN + "k = 3 AND b IN (0, 1)",
    KNN + "k = 3 AND b > 0",
    KNN + "k = 3 AND distance = 0.5",
    KNN + "k = 3 AND distance IS NOT NULL",
    KNN + "k = 3 AND distance != 0.5",
    f"SELECT rowid FROM a WHERE e MATCH {Q} LIMIT -1",
    f"SELECT rowid FROM a WHERE e MATCH {Q} LIMIT 4097",
    f"SELECT rowid FROM a WHERE e MATCH {Q} ORDER BY distance LIMIT 3 OFFSET 2",
    f"SELECT rowid FROM a WHERE e MATCH {Q} AND l LIKE 'r%' LIMIT 3",
    f"SELECT rowid FROM a WHERE e MATCH {Q} AND y + 0 = 3 LIMIT 3",
    f"SELECT rowid FROM a WHERE e MATCH {Q} AND (y = 3 OR l = 'red') LIMIT 3",
    f"SELECT docs.id FROM a JOIN docs ON docs.id = a.rowid WHERE e MATCH {Q} LIMIT 3",
    "SELECT rowid FROM a WHERE e MATCH '[1]' AND k = 3",
    "SELECT rowid FROM a WHERE e MATCH 'x' AND k = 3",
    "SELECT rowid FROM a WHERE e MATCH '' AND k = 3",
    "SELECT rowid FROM a WHERE e MATCH NULL AND k = 3",
    "SELECT rowid FROM a WHERE e MATCH 5 AND k = 3",
    "SELECT rowid FROM a WHERE e MATCH x'00' AND k = 3",
    "SELECT rowid FROM a WHERE e MATCH vec_bit(x'00') AND k = 3",
    "SELECT rowid FROM a WHERE e MATCH vec_int8('[1, 2, 3, 4]') AND k = 3",
    "SELECT rowid FROM a WHERE e2 MATCH '[1, 2, 3]' AND k = 3",
    "SELECT rowid FROM a WHERE l MATCH 'x'",
    "SELECT rowid FROM a WHERE distance MATCH 'x'",
    "SELECT d.id, (SELECT v.rowid FROM a v WHERE v.e MATCH '[1, 0, 0, 0]' AND v.k = 1) FROM docs d "
    "WHERE d.id < 3",
    f"WITH m AS (SELECT rowid AS id, distance FROM a WHERE e MATCH {Q} AND k = 9) "
    "SELECT m.id, docs.author FROM m JOIN docs USING (id) ORDER BY m.distance DESC LIMIT 3",
    "SELECT nothing FROM a",
]

ANSWERED = [
    KNN + "k = 5",
    KNN + "k = 5 ORDER BY distance",
    KNN + "k = 0",
    KNN + "k = NULL",
    KNN + "k = 'x'",
    KNN + "k = '4'",
    KNN + "k = 2.7",
    KNN + "k = 4096",
    f"SELECT rowid, distance FROM a WHERE e MATCH {Q} LIMIT 5",
    f"SELECT rowid, distance FROM a WHERE e MATCH {Q} ORDER BY distance LIMIT 5",
    f"SELECT rowid, distance FROM a WHERE e MATCH {Q} LIMIT 0",
    f"SELECT * FROM a WHERE e MATCH {Q} AND k = 5",
    f"SELECT *, distance, k FROM a WHERE e MATCH {Q} AND k = 5",
    "SELECT rowid, distance FROM a WHERE e2 MATCH '[0.3, 0.2]' AND k = 5",
    "SELECT rowid FROM a WHERE e MATCH vec_f32('[1, 0, 0, 1]') AND k = 5",
    "SELECT rowid FROM a WHERE e MATCH (SELECT e FROM a WHERE rowid = 3) AND k = 5",
    KNN + "k = 5 AND rowid IN (3, 5, 9)",
    KNN + "k = 5 AND rowid IN (3, 5, 9, 9999)",
    KNN + "k = 5 AND rowid IN (SELECT id FROM docs WHERE author = 'u')",
    KNN + "k = 5 AND rowid IN (SELECT id FROM docs WHERE 0)",
    KNN + "k = 5 AND rowid = 3",
    KNN + "k = 5 AND rowid > 30",
    KNN + "k = 5 AND rowid != 3",
    KNN + "k = 5 AND rowid BETWEEN '10' AND 200.5",
    KNN + "k = 5 AND l = 'red'",
    KNN + "k = 5 AND l != 'red'",
    KNN + "k = 5 AND l > 'green' AND l <= 'red'",
    KNN + "k = 5 AND l = 'a text that is longer than twelve bytes'",
    KNN + "k = 5 AND l < 'b'",
    KNN + "k = 5 AND l IN ('red', 'blue', 'a text that is longer than twelve bytes')",
    KNN + "k = 5 AND y IN (1, 2, 3)",
    KNN + "k = 5 AND y IN (SELECT id FROM docs WHERE id < 3)",
    KNN + "k = 5 AND y BETWEEN 3 AND 8 AND f > 1.0",
    KNN + "k = 5 AND y = 3",
    KNN + "k = 5 AND y = '3'",
    KNN + "k = 5 AND f = 1.5",
    KNN + "k = 5 AND f = 2",
    KNN + "k = 5 AND f IN (1.5)",
    KNN + "k = 5 AND b = true",
    KNN + "k = 5 AND b",
    KNN + "k = 5 AND NOT b",
    KNN + "k = 5 AND b != 1",
    KNN + "k = 5 AND p = 1",
    KNN + "k = 5 AND p = '1'",
    KNN + "k = 5 AND p > 1",
    KNN + "k = 5 AND p != 1",
    KNN + "k = 5 AND p BETWEEN 2 AND 3 AND y > 5",
    KNN + "k = 5 AND p = NULL",
    f"SELECT rowid, distance FROM a WHERE e MATCH {Q} AND l = 'red' AND p = 2 LIMIT 5",
    f"SELECT count(*), max(distance) FROM a WHERE e MATCH {Q} AND k = 7",
    f"SELECT y FROM a WHERE e MATCH {Q} AND k = 7 AND l = 'red'",
    f"SELECT a.rowid, author FROM a JOIN docs ON docs.id = a.rowid WHERE e MATCH {Q} AND k = 7",
    f"SELECT d.id, distance FROM docs d JOIN a v ON v.rowid = d.id WHERE e MATCH {Q} AND k = 7",
    "SELECT q.value, v.rowid FROM json_each('[[1, 0, 0, 0], [0, 1, 0, 0]]') q "
    "JOIN a v ON v.e MATCH q.value AND v.k = 3",
    f"SELECT docs.id FROM docs WHERE id IN (SELECT rowid FROM a WHERE e MATCH {Q} AND k = 4)",
    "SELECT * FROM a WHERE rowid = 17",
    "SELECT * FROM a WHERE rowid = '17'",
    "SELECT * FROM a WHERE rowid = 1700",
    "SELECT * FROM a WHERE rowid IN (17, 18)",
    "SELECT rowid FROM a WHERE rowid > 115",
    "SELECT rowid FROM a WHERE l = 'red' AND y < 4",
    "SELECT rowid FROM a WHERE l LIKE 're%' AND p = 1",
    "SELECT rowid FROM a WHERE x IS NULL AND y = 5",
    "SELECT rowid FROM a WHERE distance IS NULL AND y = 5",
    "SELECT count(*), min(rowid), max(rowid), sum(y) FROM a",
    "SELECT rowid FROM a ORDER BY rowid LIMIT 5 OFFSET 3",
    "SELECT rowid FROM a ORDER BY y, rowid DESC LIMIT 5",
    "SELECT l, count(*) FROM a GROUP BY l",
    "SELECT DISTINCT l, p FROM a",
    "SELECT vec_to_json(e), vec_length(e2), vec_type(e) FROM a WHERE rowid = 3",
    "SELECT rowid FROM a ORDER BY vec_distance_L2(e, '[1, 1, 1, 1]') LIMIT 5",
    "SELECT rowid, value FROM a, vec_each(a.e) WHERE a.rowid = 5",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_what_sqlite_vec_refuses_is_refused_in_its_words(pair, sql):
    pair.fails(sql)


@pytest.mark.parametrize("sql", ANSWERED)
def test_what_sqlite_vec_answers_is_answered_the_same(pair, sql):
    pair.same(sql, ordered="ORDER BY" in sql or sql.startswith(KNN))


@pytest.mark.parametrize(
    ("condition", "value"),
    [
        ("y = ?", 3),
        ("y = ?", "3"),
        ("y > ?", "3"),
        ("y = ?", 3.0),
        ("y < ?", 3.0),
        ("f = ?", 2),
        ("f = ?", "1.5"),
        ("f >= ?", 2),
        ("b = ?", 1),
        ("b = ?", True),
        ("l = ?", "red"),
        ("l != ?", "red"),
        ("l = ?", 5),
        ("p = ?", 1),
        ("p = ?", 1.0),
        ("p = ?", "1"),
        ("p > ?", "1"),
        ("y IN (?, 4)", 3),
        ("y IN (SELECT value FROM json_each(?))", "[1, 2, 3]"),
        ("l IN (SELECT value FROM json_each(?))", '["red", "blue"]'),
        ("rowid IN (SELECT value FROM json_each(?))", "[1, 2, 3]"),
        ("distance > ?", 0.9),
        ("distance >= ?", 0.9),
        ("distance BETWEEN 0.8 AND ?", 1.1),
        ("distance > 0.7 AND l = ?", "red"),
        ("distance > 0.7 AND rowid IN (SELECT id FROM docs) AND p = ?", 2),
        ("distance < ?", 0.9),
        ("distance <= ?", 0.9),
        ("distance < ?", 0),
        ("distance > ?", 100),
    ],
)
def test_bound_values_compare_the_same(pair, condition, value):
    pair.same(f"{KNN} k = 9 AND {condition}", (value,), ordered=True)


@pytest.mark.parametrize("condition", ["distance < 0.9", "distance > 0.9", "l = 'red'"])
def test_limit_is_k(pair, condition):
    pair.same(f"{KNN} {condition} ORDER BY distance LIMIT 6", ordered=True)
    pair.same(f"{KNN} {condition} LIMIT ?", (6,), ordered=True)


def test_pages_by_distance(pair):
    """The documented way to page: the distance of the last row is where the next page begins."""
    last, seen = -1.0, []
    while page := pair.theirs.execute(
        f"{KNN} k = 25 AND distance > ? ORDER BY distance", (last,)
    ).fetchall():
        pair.same(f"{KNN} k = 25 AND distance > ? ORDER BY distance", (last,), ordered=True)
        last = page[-1][1] + 1e-5
        seen += page
    assert len(seen) == ROWS


@pytest.mark.parametrize("k", [1, 2, 10, ROWS - 1, ROWS, ROWS + 1])
def test_every_k_gives_the_same_rows(pair, k):
    assert len(pair.same(KNN + "k = ?", (k,), ordered=True)) == min(k, ROWS)


# --- differences ---------------------------------------------------------------------------------


def nearest(pair, condition: str, n: int) -> list[int]:
    sql = f"SELECT rowid FROM a WHERE {condition} ORDER BY vec_distance_L2(e, {Q}) LIMIT {n}"
    return [r[0] for r in pair.theirs.execute(sql)]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("p IN (1, 2)", "p IN (1, 2)"),  # k rows for each value
        ("y < 4.5", "y < 4.5"),  # 4.5 is taken for 4
        ("y = 4.5", "0"),
        ("y >= '4.5'", "y > 4.5"),
        ("y = NULL", "0"),  # NULL is taken for 0
        ("p IS NULL", "p IS NULL"),  # filtered after k
        ("p IS NOT 1", "p IS NOT 1"),
        ("b = 2", "0"),  # 2 is taken for true
    ],
)
def test_difference_k_counts_rows_for_which_the_condition_is_true(pair, condition, expected):
    a, b = pair.outcomes(f"SELECT rowid FROM a WHERE e MATCH {Q} AND k = 12 AND {condition}")
    assert [r[0] for r in a.rows] == nearest(pair, expected, 12)
    assert [r[0] for r in b.rows] != [r[0] for r in a.rows]


def test_difference_no_distance_is_greater_than_null(pair):
    a, b = pair.differ(KNN + "k = 3 AND distance > NULL")
    assert (a.rows, len(b.rows)) == ((), 3)


def test_difference_a_fraction_is_no_key(pair):
    pair.same("SELECT rowid FROM a WHERE rowid = 2.0")
    a, b = pair.differ("SELECT rowid FROM a WHERE rowid = 2.5")
    assert (a.rows, b.rows) == ((), ((2,),))


@pytest.mark.parametrize("condition", ["= 'k4'", "> 'k2'", "!= 'k1'", "LIKE 'k4'", "IN ('k4')"])
def test_a_text_key_filters_after_k(condition):
    p = Pair()
    p.same("CREATE VIRTUAL TABLE t USING vec0(id TEXT PRIMARY KEY, e float[1])")
    for i in range(1, 6):
        p.same(f"INSERT INTO t VALUES ('k{i}', '[{i}]')")
    for limit in ("AND k = 2", "AND k = 9", "LIMIT 2"):
        p.alike(f"SELECT id FROM t WHERE e MATCH '[0]' AND id {condition} {limit}")
    p.close()


@pytest.mark.parametrize("condition", ["", "AND m = 1", "AND exact = 1", "AND m = 1 AND exact = 1"])
def test_equal_distances_come_in_the_order_of_sqlite_vec(condition):
    """Chunk by chunk, of each the last row first."""
    p = Pair()
    p.same("CREATE VIRTUAL TABLE t USING vec0(e float[2], m integer, chunk_size=8)")
    for _ in range(20):
        p.same("INSERT INTO t(e, m) VALUES ('[1, 1]', 1)")
    for k in (5, 8, 11, 30):
        sql = f"SELECT rowid FROM t WHERE e MATCH '[0, 0]' AND k = {k} "
        rows = tuple(p.ours.execute(sql + condition))
        assert rows == tuple(p.theirs.execute(sql))
    p.close()


def test_difference_equal_distances_after_a_deletion(pair):
    """A new row takes the place of a deleted one in sqlite-vec's chunk."""
    pair.same("CREATE VIRTUAL TABLE ties USING vec0(e float[2])")
    pair.same("INSERT INTO ties(e) VALUES ('[1, 1]'), ('[1, 1]'), ('[1, 1]')")
    pair.same("DELETE FROM ties WHERE rowid = 1")
    pair.same("INSERT INTO ties(e) VALUES ('[1, 1]')")
    a, b = pair.differ("SELECT rowid FROM ties WHERE e MATCH '[0, 0]' AND k = 5")
    assert a.rows == ((4,), (3,), (2,))
    assert b.rows == ((3,), (2,), (4,))


@pytest.mark.parametrize("op", ["<", "<=", ">", ">="])
def test_bounds_of_the_distance_are_compared_in_float32(pair, op):
    """0.1 is not the float32 that is nearest to it: a distance of 0.1 is compared with that."""
    pair.same("CREATE VIRTUAL TABLE IF NOT EXISTS one USING vec0(e float[1])")
    pair.same("INSERT INTO one(rowid, e) VALUES (abs(random()), '[0.1]')")
    for bound in (0.1, "0.1", 1, b"x"):
        pair.same(
            f"SELECT distance FROM one WHERE e MATCH '[0]' AND k = 9 AND distance {op} ?", (bound,)
        )


@pytest.mark.parametrize("options", ["", "codec=none", "index=hnsw"])
def test_larger_tables_give_the_same_rows(options):
    """A graph is made exact by `exact = 1`, a hidden column of ours."""
    rng = random.Random(11)
    centres = [[rng.gauss(0, 1) for _ in range(24)] for _ in range(30)]

    def vector() -> bytes:
        centre = rng.choice(centres)
        return struct.pack("<24f", *(x + rng.gauss(0, 0.3) for x in centre))

    p = Pair()
    definition = "id integer primary key, e float[24] {}, m integer, p text partition key"
    p.ours.execute(f"CREATE VIRTUAL TABLE t USING vec0({definition.format(options)})")
    p.theirs.execute(f"CREATE VIRTUAL TABLE t USING vec0({definition.format('')})")
    rows = [(i, vector(), i % 7, "abc"[i % 3]) for i in range(4000)]
    for conn in (p.ours, p.theirs):
        with conn:
            conn.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    exact = " AND exact = 1" if options == "index=hnsw" else ""
    for condition in ("k = 10", "k = 500", "k = 50 AND m = 3", "k = 20 AND p = 'b' AND m > 4"):
        for _ in range(10):
            sql, query = f"SELECT id, distance FROM t WHERE e MATCH ? AND {condition}", (vector(),)
            got = tuple(p.ours.execute(sql + exact, query))
            assert same_rows(got, tuple(p.theirs.execute(sql, query)))
    p.close()


def test_difference_a_zero_vector_has_cosine_distance_1(pair):
    pair.same("CREATE VIRTUAL TABLE zero USING vec0(e float[2] distance_metric=cosine)")
    pair.same("INSERT INTO zero(e) VALUES ('[0, 0]'), ('[1, 0]')")
    a, b = pair.differ("SELECT rowid, distance FROM zero WHERE e MATCH '[1, 1]' AND k = 5")
    assert a.rows[1] == (1, 1.0)
    assert (1, None) in b.rows


def test_difference_texts_of_twelve_bytes_can_be_compared(pair):
    pair.same("CREATE VIRTUAL TABLE twelve USING vec0(e float[2], l text)")
    pair.same("INSERT INTO twelve(e, l) VALUES ('[1, 2]', 'twelve bytes')")
    a, b = pair.differ("SELECT rowid FROM twelve WHERE e MATCH '[1, 2]' AND k = 5 AND l > 'a'")
    assert a.rows == ((1,),)
    assert "Could not filter metadata fields" in b.error


def test_difference_a_long_text_is_less_than_what_goes_on_from_it(pair):
    pair.same("CREATE VIRTUAL TABLE long USING vec0(e float[2], l text)")
    pair.same("INSERT INTO long(e, l) VALUES ('[1, 2]', 'the beginning of another text')")
    a, b = pair.differ(
        "SELECT rowid FROM long WHERE e MATCH '[1, 2]' AND k = 5 "
        "AND l < 'the beginning of another text, and its end'"
    )
    assert (a.rows, b.rows) == (((1,),), ())
