"""Risk: a condition filters other rows than it says, or is taken for something else."""

from __future__ import annotations

import datetime
import json
import random

import numpy as np
import pytest

import vecsql

NAMES = ["a{b}c", "a%sb", "a{0}", 'a"b', "a'b", "a[b]", "a b", "a?b", "a:b", "{", "%d%%"]


@pytest.fixture
def table(db):
    vecsql.create_table(
        db,
        "notes",
        {"body": str, "author": str, "year": int, "price": float, "meta": str, "any": ""},
        text="body",
        fts=True,
    )
    rows = [
        ("night train", "ann", 2019, 1.5, {"tags": ["rail", "night"], "pages": 3, "a": {"b": "x"}}),
        ("rye bread", "bob", 2020, 2.0, {"tags": ["food"], "pages": "3", "draft": True}),
        ("plum cake", "Ann", 2021, None, {"tags": [], "pages": 12, "draft": False, "x": None}),
        ("apple tree", None, None, 9.0, None),
    ]
    for body, author, year, price, meta in rows:
        text = None if meta is None else json.dumps(meta)
        row = {"body": body, "author": author, "year": year, "price": price, "meta": text}
        vecsql.insert(db, "notes", row)
    db.execute("UPDATE notes SET any = id WHERE id < 3")
    db.execute("UPDATE notes SET any = 'text' WHERE id = 3")
    db.execute("UPDATE notes SET meta = 'no {json' WHERE id = 4")
    return db


def ids(db, where, **options):
    return sorted(h.id for h in vecsql.search(db, "notes", "train", k=10, where=where, **options))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("mode", ["vector", "text", "hybrid"])
def test_braces_and_percent_signs_mean_themselves(driver, name, mode):
    db = vecsql.connect(":memory:", driver=driver)
    vecsql.create_table(db, name, {"body": str, "x{y}": str}, text="body", fts=True)
    values = ['{"a":1}', "{0}", "{}", "%s", "50%", "{{", "?"]
    vecsql.insert(db, name, [{"body": f"train {i}", "x{y}": v} for i, v in enumerate(values)])
    for i, value in enumerate(values):
        quoted = value.replace("'", "''")
        for where, params in (
            (f"\"x{{y}}\" = '{quoted}'", ()),
            ('"x{y}" = ?', [value]),
            ('"x{y}" = :v', {"v": value}),
            ({"x{y}": value}, ()),
        ):
            hits = vecsql.search(db, name, "train", k=9, where=where, params=params, mode=mode)
            assert [h["body"] for h in hits] == [f"train {i}"], where


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, [1, 2, 3, 4]),
        ({"author": "ann"}, [1]),
        ({"AUTHOR": "ann", "year": {"$gte": 2019}}, [1]),
        ({"author": None}, [4]),
        ({"author": {"$eq": None}}, [4]),
        ({"author": {"$ne": "ann"}}, [2, 3, 4]),
        ({"author": {"$ne": None}}, [1, 2, 3]),
        ({"year": {"$gt": 2019, "$lt": 2021}}, [2]),
        ({"year": {"$gte": 2020}}, [2, 3]),
        ({"year": {"$lte": 2020.5}}, [1, 2]),
        ({"year": {"$between": [2020, 2021]}}, [2, 3]),
        ({"year": np.int64(2020)}, [2]),
        ({"year": {"$in": np.array([2019, 2021])}}, [1, 3]),
        ({"year": {"$in": [2019, None]}}, [1, 4]),
        ({"year": {"$in": []}}, []),
        ({"year": {"$nin": []}}, [1, 2, 3, 4]),
        ({"year": {"$nin": [2019]}}, [2, 3, 4]),
        ({"price": {"$in": [1.5, 2]}}, [1, 2]),
        ({"price": {"$in": [0.1 + 0.2, 9.0]}}, [4]),
        ({"author": {"$in": ["ann", "bob", "x\0y"]}}, [1, 2]),
        ({"author": {"$exists": True}}, [1, 2, 3]),
        ({"author": {"$exists": False}}, [4]),
        ({"author": {"$like": "an%"}}, [1, 3]),
        ({"body": {"$contains": "rai"}}, [1]),
        ({"body": {"$not_contains": "rai"}}, [2, 3, 4]),
        ({"author": {"$not_contains": "b"}}, [1, 3, 4]),
        ({"meta.tags": {"$contains": "rail"}}, [1]),
        ({"meta.tags": {"$contains": "rai"}}, []),
        ({"meta.tags": {"$not_contains": "rail"}}, [2, 3, 4]),
        ({"meta.pages": 3}, [1]),
        ({"meta.pages": {"$gt": 1}}, [1, 3]),
        ({"meta.pages": {"$gt": "1"}}, [2]),
        ({"meta.a.b": "x"}, [1]),
        ({"meta.draft": True}, [2]),
        ({"meta.draft": {"$in": [False]}}, [3]),
        ({"meta.x": {"$exists": True}}, [3]),
        ({"meta.x": None}, [1, 2, 3, 4]),
        ({"any": {"$gte": 2}}, [2]),
        ({"any": {"$gte": "a"}}, [3]),
        ({"$or": [{"author": "ann"}, {"year": 2021}]}, [1, 3]),
        ({"$and": [{"author": "ann"}, {"year": 2021}]}, []),
        ({"$nor": [{"author": "ann"}, {"year": 2021}]}, [2, 4]),
        ({"$not": {"year": {"$gt": 2019}}}, [1, 4]),
        ({"year": {"$not": {"$gt": 2019}}}, [1, 4]),
        ({"$not": {"$not": {"author": "bob"}}}, [2]),
        ({"author": "bob", "$or": [{"year": 2020}, {"year": 2021}]}, [2]),
    ],
)
def test_a_dict_filters_as_it_says(table, where, expected):
    assert ids(table, where) == expected
    assert ids(table, {"$not": where}) == [i for i in (1, 2, 3, 4) if i not in expected]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"autor": "ann"}, "no column autor; it has id, body, author"),
        ({"year": {"$gtx": 1}}, "year: unknown operator '\\$gtx'"),
        ({"year": {"gte": 1}}, "did you mean \\$gte"),
        ({"year": {}}, "year: the dict names no operator"),
        ({"year": [2019, 2020]}, '\\{"\\$in": \\[...\\]\\}'),
        ({"$gt": 1}, "\\$gt belongs to a column"),
        ({"$xor": []}, "expected a column, .*got \\$xor"),
        ({"$and": []}, "\\$and takes a list of dicts"),
        ({"$or": {"year": 1}}, "\\$or takes a list"),
        ({"$or": ["year = 1"]}, "\\$or takes a list of dicts"),
        ({"$not": 3}, "\\$not takes a dict"),
        ({"year": {"$in": 2019}}, "\\$in takes a list, got int"),
        ({"author": {"$in": "ann"}}, "\\$in takes a list, got str"),
        ({"year": {"$gt": "2019"}}, "year is a column of numbers: \\$gt takes a number"),
        ({"author": {"$gt": 3}}, "author is a column of text"),
        ({"year": {"$gt": None}}, "year: \\$gt takes a number or a text, got None"),
        ({"year": float("nan")}, "finite numbers"),
        ({"year": 1 << 64}, "64 bits"),
        ({"year": {"$between": [1]}}, "\\$between takes \\[low, high\\]"),
        ({"year": {"$exists": "yes"}}, "\\$exists takes True or False"),
        ({"body": {"$like": 3}}, "\\$like takes a pattern"),
        ({"body": {"$eq": {"a": 1}}}, "\\$eq takes a number, a text or None, got dict"),
        ({'meta.a"b': 1}, "names with dots between them"),
        ({"meta.": 1}, "names with dots between them"),
        ({3: 1}, "a key is a column or an operator"),
        (["year = 1"], "where= is SQL or a dict, got list"),
    ],
)
def test_a_filter_that_says_nothing_is_refused_with_its_name(table, where, message):
    with pytest.raises(vecsql.FilterError, match=message):
        ids(table, where)


def test_values_of_sql_do_not_go_with_a_dict(table):
    with pytest.raises(vecsql.FilterError, match="a dict has its values inside"):
        ids(table, {"year": 2019}, params=[1])


def test_dates_compare_with_iso_text(db):
    vecsql.create_table(db, "t", {"body": str, "day": "DATE"}, text="body")
    vecsql.insert(db, "t", [{"body": f"b{i}", "day": f"2024-01-0{i}"} for i in range(1, 6)])
    where = {"day": {"$gt": datetime.date(2024, 1, 3)}}
    assert sorted(h["body"] for h in vecsql.search(db, "t", "b", where=where)) == ["b4", "b5"]


def test_numbers_in_a_column_of_text_equal_their_text(db):
    vecsql.create_table(db, "t", {"body": str, "code": str, "n": int}, text="body")
    vecsql.insert(db, "t", [{"body": "a", "code": 2021, "n": "2021"}, {"body": "b", "code": "x"}])
    for value in (2021, "2021", {"$in": [2021]}, {"$in": ["2021", 5]}, {"$nin": [5, "x"]}):
        for column in ("code", "n"):
            found = vecsql.search(db, "t", "a", where={column: value, "n": {"$exists": True}})
            assert [h["body"] for h in found] == ["a"], (column, value)


def test_long_lists_and_deep_filters_have_no_limit_of_sqlites(table):
    assert ids(table, {"year": {"$in": list(range(100_000))}}) == [1, 2, 3]
    assert ids(table, {"$or": [{"year": n} for n in range(3000)]}) == [1, 2, 3]
    assert ids(table, {"$and": [{"year": {"$ne": n}} for n in range(3000, 6000)]}) == [1, 2, 3, 4]
    deep: dict = {"year": 2019}
    for _ in range(8):
        deep = {"$not": {"$or": [deep, {"$and": [{"year": n} for n in range(3)]}]}}
    assert ids(table, deep) == [1]
    for _ in range(2000):
        deep = {"$not": deep}
    with pytest.raises(vecsql.FilterError, match="inside each other"):
        ids(table, deep)


def test_a_metadata_name_is_a_key_of_a_table_of_ingest(db):
    docs = [{"source": f"s{i}", "text": f"text {i}", "author": "ab"[i % 2]} for i in range(6)]
    vecsql.ingest(db, "docs", docs)
    hits = vecsql.search(db, "docs", "text", where={"author": "b", "source": {"$ne": "s1"}})
    assert sorted(h["source"] for h in hits) == ["s3", "s5"]
    found = vecsql.context(db, "docs", "text", where={"author": "b"})
    assert {c.source for c in found.citations} <= {"s1", "s3", "s5"}
    queries, qrels = {"q": "text"}, {"q": {"s1": 1}}
    e = vecsql.evaluate(db, "docs", queries, qrels, k=5, id_column="source", where={"author": "a"})
    assert set(e.run["q"]) == {"s0", "s2", "s4"}


def random_filter(r, depth=0):
    """A filter and what it means, as a function of a row."""
    kind = r.randrange(9 if depth < 3 else 6)
    column = r.choice(["n", "m"])
    value = r.choice([0, 1, 2, 3, 1.5])
    if kind == 0:
        return {column: value}, lambda row: row[column] == value
    if kind == 1:
        return {column: {"$ne": value}}, lambda row: row[column] != value
    if kind == 2:
        name = r.choice(["$gt", "$gte", "$lt", "$lte"])
        test = {
            "$gt": lambda x: x > value,
            "$gte": lambda x: x >= value,
            "$lt": lambda x: x < value,
            "$lte": lambda x: x <= value,
        }[name]
        return {column: {name: value}}, lambda row: row[column] is not None and test(row[column])
    if kind == 3:
        several = r.sample([0, 1, 2, 3, None], 2)
        return {column: {"$in": several}}, lambda row: row[column] in several
    if kind == 4:
        several = r.sample([0, 1, 2, 3], 2)
        return {column: {"$nin": several}}, lambda row: row[column] not in several
    if kind == 5:
        there = r.random() < 0.5
        return {column: {"$exists": there}}, lambda row: (row[column] is not None) == there
    if kind == 6:
        inner, f = random_filter(r, depth + 1)
        return {"$not": inner}, lambda row: not f(row)
    parts = [random_filter(r, depth + 1) for _ in range(r.randrange(1, 4))]
    if kind == 7:
        return {"$and": [p for p, _ in parts]}, lambda row: all(f(row) for _, f in parts)
    return {"$or": [p for p, _ in parts]}, lambda row: any(f(row) for _, f in parts)


@pytest.mark.parametrize("virtual", [False, True])
def test_random_filters_give_the_rows_that_they_mean(db, virtual):
    seed = 11
    print("seed", seed)
    r = random.Random(seed)
    if virtual:
        db.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2], n INTEGER, m FLOAT)")
    else:
        vecsql.create_table(db, "t", {"n": int, "m": ""}, column="e", dim=2, metric="l2")
    rows = [
        {"n": r.choice([0, 1, 2, 3, None]), "m": r.choice([0, 1.5, 2, None]), "e": [i, 1.0]}
        for i in range(60)
    ]
    vecsql.insert(db, "t", rows)
    for _ in range(150):
        where, meant = random_filter(r)
        got = sorted(h.id for h in vecsql.search(db, "t", [0.0, 0.0], k=60, where=where))
        assert got == [i for i, row in enumerate(rows, 1) if meant(row)], where


# --- what a result has beside the row ------------------------------------------------------------


@pytest.mark.parametrize("virtual", [False, True])
@pytest.mark.parametrize("name", ["distance", "DISTANCE", '"distance"', "score", "rank", "k"])
def test_a_condition_never_sees_the_search_around_it(db, virtual, name):
    if virtual:
        db.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2], n INTEGER)")
    else:
        vecsql.create_table(db, "t", {"n": int}, column="e", dim=2)
    vecsql.insert(db, "t", [{"n": i, "e": [1.0, i]} for i in range(9)])
    for where in (f"{name} < 2", f"n > 1 AND {name} IS NULL", f"n IN (SELECT {name})"):
        if name.startswith('"'):  # SQLite takes a name that it does not know for a text
            hits = vecsql.search(db, "t", [1.0, 0.0], where=where)
            assert hits == vecsql.search(db, "t", [1.0, 0.0], where=where.replace('"', "'"))
        else:
            with pytest.raises(Exception, match=f"(?i){name}"):  # the driver's own class, or ours
                vecsql.search(db, "t", [1.0, 0.0], where=where)


def test_a_column_that_is_called_as_a_part_of_the_result_is_the_column(db):
    vecsql.create_table(
        db, "t", {"distance": int, "score": int, "body": str}, text="body", fts=True
    )
    vecsql.insert(db, "t", [{"body": f"b {i}", "distance": i, "score": -i} for i in range(9)])
    for where in ("distance < 2", {"distance": {"$lt": 2}}, "score > -2 AND t.distance >= 0"):
        for mode in ("vector", "text", "hybrid"):
            hits = vecsql.search(db, "t", "b", where=where, mode=mode)
            assert sorted(h["distance"] for h in hits) == [0, 1]


def test_a_condition_cannot_leave_its_brackets(table):
    for where in (
        "1) OR (1", "1; DELETE FROM notes", "1)--", "1) UNION SELECT 1 --", "(1", "1 /* ",
        "body = 'x", "1); DELETE FROM notes; SELECT (1", ")(", '"a', "[a",
        "0 UNION ALL SELECT 2", "1 EXCEPT SELECT 1", "1 LIMIT 0", "1 GROUP BY id", "1 ORDER BY id",
        "1 WINDOW w AS (ORDER BY id)", "SELECT 1", "/**/ VALUES(1)", "1, 1", "", "-- nothing",
        "/*/ 1", "1\0; DELETE FROM notes",
    ):  # fmt: skip
        for mode in ("vector", "text", "hybrid"):
            with pytest.raises(vecsql.FilterError, match="one SQL condition"):
                vecsql.search(table, "notes", "train", where=where, mode=mode)
    assert table.execute("SELECT count(*) FROM notes").fetchone() == (4,)
    assert ids(table, "year = 2019 -- a comment (") == [1]
    assert ids(table, "year IN (2019 /* ) */, (2020)) AND body <> ';('';)'") == [1, 2]


@pytest.mark.parametrize("metric", ["cosine", "l2", "dot", "l1"])
@pytest.mark.parametrize("exact", [False, True])
def test_max_distance_leaves_out_what_is_farther(db, metric, exact):
    vecsql.create_table(db, "t", {"n": int}, dim=4, metric=metric)
    x = np.random.default_rng(3).normal(size=(500, 4)).astype(np.float32)
    vecsql.bulk_insert(db, "t", [{"n": i, "embedding": v} for i, v in enumerate(x)])
    everything = vecsql.search(db, "t", x[0], k=500, exact=True)
    for n in (1, 20, 300):
        limit = (everything[n - 1].distance + everything[n].distance) / 2
        hits = vecsql.search(db, "t", x[0], k=500, max_distance=np.float64(limit), exact=exact)
        assert [h.distance for h in hits] == [h.distance for h in everything[:n]]
        for limit_, found in ((float("inf"), 500), (float("-inf"), 0), (10**400, 500)):
            hits = vecsql.search(db, "t", x[0], k=500, max_distance=limit_, exact=exact)
            assert len(hits) == found
        odd = vecsql.search(db, "t", x[0], k=9, max_distance=limit, where="n % 2", exact=exact)
        assert [h.id for h in odd] == [h.id for h in everything[:n] if h["n"] % 2][:9]


def test_numbers_that_are_no_limits_are_refused(table):
    for k in (0, -1, 1.5, "3", None, np.float32(2.5), np.array([1, 2])):
        with pytest.raises(ValueError, match="k is a number of rows, at least 1"):
            vecsql.search(table, "notes", "train", k=k)
    with pytest.raises(ValueError, match="max_distance is a number"):
        vecsql.search(table, "notes", "train", max_distance=float("nan"))
    with pytest.raises(ValueError, match="max_distance is a number"):
        vecsql.search(table, "notes", "train", max_distance="0.3")
    with pytest.raises(ValueError, match="the vector arm, which is not asked"):
        vecsql.search(table, "notes", "train", max_distance=0.3, mode="text")
    with pytest.raises(ValueError, match="ef_search is a number of nodes"):
        vecsql.search(table, "notes", "train", ef_search=0)


@pytest.mark.parametrize(
    "number", [int, float, np.int64, np.int8, np.uint16, np.float32, np.float64]
)
def test_numpy_numbers_are_numbers(driver, number):
    import sqlite3

    db = vecsql.connect(":memory:", driver=driver) if driver != "sqlite3" else None
    if db is None and hasattr(sqlite3.Connection, "enable_load_extension"):
        db = sqlite3.connect(":memory:")  # a cursor that knows nothing of numpy
        vecsql.load(db)
    db = db or vecsql.connect(":memory:")
    vecsql.create_table(db, "notes", {"body": str, "year": int}, text="body", fts=True)
    vecsql.insert(db, "notes", [{"body": f"train {i}", "year": i} for i in range(9)])
    options = {"candidates": number(5), "ef_search": number(40), "diversity": number(0)}
    for mode in ("vector", "hybrid"):
        options["ef_search"] = number(40) if mode == "vector" else None
        hits = vecsql.search(
            db, "notes", "train", k=number(3), where="year > ?", params=[number(2)], mode=mode,
            max_distance=number(2), weights=(number(1), number(2)), **options,
        )  # fmt: skip
        assert len(hits) == 3
        assert all(h["year"] > 2 for h in hits)
    named = vecsql.search(db, "notes", "train", where="year = :y", params={"y": number(7)})
    assert [h["year"] for h in named] == [7]
    assert vecsql.context(db, "notes", "train", number(50), k=number(2)).citations
    evaluation = vecsql.evaluate(db, "notes", {"q": "train"}, {"q": {"1": 1}}, k=number(2))
    assert evaluation.k == 2


# --- hits ----------------------------------------------------------------------------------------


def test_a_hit_shows_its_row_and_is_a_mapping(table):
    hit = vecsql.search(table, "notes", "train", k=1, columns=["body", "year"])[0]
    assert "row={'body': 'night train', 'year': 2019}" in repr(hit)
    assert dict(hit) == hit.row == {"body": "night train", "year": 2019}
    assert (list(hit), len(hit), "year" in hit, hit.get("nope", 5)) == (
        ["body", "year"],
        2,
        True,
        5,
    )
    assert "{body} of {year}".format(**hit) == "night train of 2019"
    assert (hit.id, hit["year"]) == (1, 2019)
    long = vecsql.search(table, "notes", "train", k=1)[0]
    long.row["body"] = "x" * 10_000
    assert len(repr(long)) < 1000
