"""Risk: many queries in one call are answered otherwise than one by one, threads change the answer,
or a malformed argument is taken for queries."""

from __future__ import annotations

import apsw
import numpy as np
import pytest

import vecsql
from tests.support.oracle import connect

DIMS = 8
ENTRY = np.dtype([("rowid", "<i8"), ("distance", "<f4")])


def vectors(n: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.integers(0, 9, (n, 1)) + rng.normal(size=(n, DIMS))).astype("<f4")


def new(extra: str = "", path: str = ":memory:", n: int = 3000) -> apsw.Connection:
    conn = connect(path)
    conn.execute(
        f"CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[{DIMS}] {extra})"
    )
    with conn:
        rows = ((i, v.tobytes()) for i, v in enumerate(vectors(n)))
        conn.executemany("INSERT INTO t(id, e) VALUES(?, ?)", rows)
    return conn


def search(conn, queries, k, *ef, table="t", column="e") -> np.ndarray:
    marks = ", ".join("?" * (4 + len(ef)))
    args = (table, column, np.ascontiguousarray(queries).tobytes(), k, *ef)
    (blob,) = conn.execute(f"SELECT vecsql_search({marks})", args).fetchone()
    return np.frombuffer(blob, ENTRY).reshape(-1, k)


def one_by_one(conn, queries, k, ef=0):
    sql = "SELECT rowid, distance FROM t WHERE e MATCH ? AND k = ?"
    sql += f" AND ef_search = {ef}" if ef else ""
    return [conn.execute(sql, (q.tobytes(), k)).fetchall() for q in queries]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("codec", ["none", "sq8"])
@pytest.mark.parametrize("metric", ["l2", "cosine", "dot"])
def test_the_answer_is_that_of_a_statement_per_query(metric, codec, threads):
    conn, queries = new(f"distance_metric={metric} codec={codec}"), vectors(100, 2)
    conn.execute("INSERT INTO t(t) VALUES(?)", (f"threads={threads}",))
    for k, ef in ((1, 10), (10, 32), (700, 10)):
        found = search(conn, queries, k, ef)
        for row, expected in zip(found, one_by_one(conn, queries, k, ef), strict=True):
            assert list(row["rowid"]) == [i for i, _ in expected]
            assert row["distance"] == pytest.approx([d for _, d in expected], rel=1e-6)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("codec", ["none", "sq8"])
@pytest.mark.parametrize("rows", [12, 40, 700])
def test_a_scan_is_exact_where_codes_order_badly_and_distances_tie(rows, codec, threads):
    # queries outside of the range that the codes stand for; whole numbers, so many ties
    conn = connect(":memory:")
    conn.execute(f"CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[3] index=flat codec={codec})")
    rng = np.random.default_rng(5)
    base = rng.integers(-9, 10, (rows, 3)).astype("<f4")
    queries = (rng.integers(-10, 32, (200, 3)) / 2).astype("<f4")
    with conn:
        conn.executemany("INSERT INTO t(e) VALUES(?)", ((v.tobytes(),) for v in base))
    conn.execute("INSERT INTO t(t) VALUES(?)", (f"threads={threads}",))
    found = search(conn, queries, 3)
    true = np.sort(np.linalg.norm(queries[:, None].astype(float) - base, axis=2), axis=1)[:, :3]
    assert found["distance"] == pytest.approx(true, rel=1e-6)
    for row, expected in zip(found, one_by_one(conn, queries, 3), strict=True):
        assert list(row["rowid"]) == [i for i, _ in expected]


@pytest.mark.parametrize("codec", ["none", "sq8"])
def test_ties_of_a_walk_are_those_of_a_statement(codec):
    conn = connect(":memory:")
    conn.execute(f"CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[3] m=8 codec={codec})")
    base = np.random.default_rng(6).integers(0, 12, (6000, 3)).astype("<f4")
    with conn:
        conn.executemany("INSERT INTO t(e) VALUES(?)", ((v.tobytes(),) for v in base))
    queries = np.random.default_rng(7).integers(0, 12, (60, 3)).astype("<f4")
    found = search(conn, queries, 7, 64)
    for q, row, one in zip(queries, found, one_by_one(conn, queries, 7, 64), strict=True):
        far = ((base - q) ** 2).sum(axis=1)
        first = np.lexsort((np.arange(len(base)), far))[:7] + 1
        assert list(row["rowid"]) == list(first) == [i for i, _ in one]


@pytest.mark.parametrize("extra", ["index=flat", "index=hnsw"])
def test_a_table_too_small_for_k_fills_up_with_minus_one_and_nan(extra):
    conn = new(extra, n=3)
    found = search(conn, vectors(5, 2), 7)
    assert np.isnan(found["distance"][:, 3:]).all()
    assert (found["rowid"][:, 3:] == -1).all()
    assert not np.isnan(found["distance"][:, :3]).any()
    assert {tuple(sorted(row["rowid"][:3])) for row in found} == {(0, 1, 2)}


def test_no_queries_and_k_0_give_an_empty_blob():
    conn = new(n=10)
    assert search(conn, vectors(0), 3).size == 0
    blob = conn.execute("SELECT vecsql_search('t', 'e', ?, 0)", (vectors(4).tobytes(),)).get
    assert blob == b""


def test_more_queries_than_a_block_are_all_answered():
    conn, queries = new(n=600), vectors(9000, 3)
    found = search(conn, queries, 2, 16)
    for i in (0, 4095, 4096, 8191, 8192, 8999):
        assert list(found[i]["rowid"]) == [
            r for r, _ in one_by_one(conn, queries[i : i + 1], 2, 16)[0]
        ]


def test_rowids_may_be_any_of_64_bits():
    conn, v, queries = new(n=0), vectors(3000, 3), vectors(200, 4)
    rng = np.random.default_rng(5)
    ids = rng.integers(-(2**63), 2**63 - 1, len(v), dtype=np.int64)
    ids[:6] = [-(2**63), 2**63 - 1, -1, 0, 255, 256]
    with conn:
        rows = zip(ids.tolist(), (x.tobytes() for x in v), strict=True)
        conn.executemany("INSERT INTO t(id, e) VALUES(?, ?)", rows)
    found = search(conn, queries, 10)
    for row, expected in zip(found, one_by_one(conn, queries, 10), strict=True):
        assert list(row["rowid"]) == [i for i, _ in expected]


def test_ef_is_the_columns_unless_it_is_given():
    conn, queries = new(), vectors(50, 2)
    conn.execute("INSERT INTO t(t) VALUES('ef_search=10')")
    assert (search(conn, queries, 10) == search(conn, queries, 10, 10)).all()
    assert (search(conn, queries, 10, None) == search(conn, queries, 10, 10)).all()
    exact = one_by_one(conn, queries, 10, 100000)
    assert (search(conn, queries, 10, 2900)["rowid"] == [[i for i, _ in e] for e in exact]).all()


def test_it_sees_the_rows_of_the_transaction_and_not_those_rolled_back():
    conn, query = new(n=2000), vectors(1, 99) + 50
    conn.execute("BEGIN")
    conn.execute("INSERT INTO t(id, e) VALUES(-5, ?)", (query.tobytes(),))
    assert search(conn, query, 1)[0]["rowid"][0] == -5
    conn.execute("ROLLBACK")
    assert search(conn, query, 1)[0]["rowid"][0] != -5


@pytest.mark.parametrize(
    ("element", "as_column", "other"),
    [("FLOAT16", "<f2", "<f4"), ("INT8", "i1", None), ("BIT", "u1", None)],
)
def test_every_element_type_takes_queries_of_its_own(element, as_column, other):
    conn = connect(":memory:")
    conn.execute(f"CREATE VIRTUAL TABLE t USING vecsql(e {element}[64])")
    size = 8 if element == "BIT" else 64
    base = np.random.default_rng(4).integers(-100, 100, (400, size)).astype(as_column)
    make = {"FLOAT16": "vec_f16", "INT8": "vec_int8", "BIT": "vec_bit"}[element]
    with conn:
        for row in base:
            conn.execute(f"INSERT INTO t(e) VALUES({make}(?))", (row.tobytes(),))
    sql = f"SELECT vecsql_search('t', NULL, {make}(?), 1)"
    for i in (0, 7, 399):
        (blob,) = conn.execute(sql, (base[i].tobytes(),)).fetchone()
        assert np.frombuffer(blob, ENTRY)["distance"][0] == 0
    if other is not None:
        found = search(conn, base[:20].astype(other), 1, column=None)
        assert (found["distance"] == 0).all()


def test_vectors_that_leave_float32_are_answered_exactly():
    conn = connect(":memory:")
    conn.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2] codec=none)")
    for i in range(1, 301):
        conn.execute("INSERT INTO t(rowid, e) VALUES(?, ?)", (i, np.float32([i, 1] * 1).tobytes()))
    far = np.float32([[3e38, 3e38], [5, 1]])
    found = search(conn, far, 2)
    assert list(found[0]["rowid"]) == [r for r, _ in one_by_one(conn, far[:1], 2)[0]]
    assert found[1]["rowid"][0] == 5


def test_attached_and_temporary_tables_are_found_by_name(tmp_path):
    new(path=str(tmp_path / "other.db"), n=50).close()
    conn = connect(":memory:")
    conn.execute("ATTACH ? AS other", (str(tmp_path / "other.db"),))
    assert search(conn, vectors(1), 1, table="other.t").size == 1
    conn.execute("CREATE VIRTUAL TABLE temp.u USING vecsql(e FLOAT[8])")
    conn.execute("INSERT INTO u(rowid, e) VALUES(3, ?)", (vectors(1).tobytes(),))
    assert search(conn, vectors(1), 1, table="u")["rowid"][0, 0] == 3


def test_a_content_table_that_lost_rows_behind_our_back_still_gives_k(tmp_path):
    conn = connect(":memory:")
    conn.execute("CREATE TABLE docs(id INTEGER PRIMARY KEY, e)")
    base = vectors(800)
    conn.executemany(
        "INSERT INTO docs VALUES(?, ?)", ((i, v.tobytes()) for i, v in enumerate(base))
    )
    conn.execute("CREATE VIRTUAL TABLE t USING vecsql(content=docs, e FLOAT[8])")
    conn.execute("PRAGMA recursive_triggers = OFF")
    nearest = [i for i, _ in one_by_one(conn, base[:1], 5)[0]]
    conn.execute("INSERT INTO t(t) VALUES('detach')")
    conn.execute("DELETE FROM docs WHERE id = ?", (nearest[1],))
    found = search(conn, base[:1], 5)[0]
    assert nearest[1] not in found["rowid"]
    assert not np.isnan(found["distance"]).any()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nothing", "e", b"", 1), "vecsql_search: there is no vecsql table nothing"),
        (("t", "x", b"", 1), "vecsql_search: t has no vector column x"),
        ((None, "e", b"", 1), "vecsql_search: the name of a table is NULL"),
        (
            ("t", "e", b"123", 1),
            "expected a BLOB of float32.8. vectors, 32 bytes each; got 3 bytes",
        ),
        (("t", "e", "text", 1), "expected a BLOB"),
        (("t", "e", None, 1), "expected a BLOB"),
        (("t", "e", b"", -1), "k must be from 0 to 1000000, not -1"),
        (("t", "e", b"", 10**7), "k must be from 0 to 1000000, not 10000000"),
        (("t", "e", b"", 1, -1), "ef must be from 0"),
        (("t", "e", np.float32([1] * 15 + [np.nan]).tobytes(), 1), "query 1, dimension 7 is NaN"),
    ],
)
def test_a_wrong_argument_is_named(args, message):
    conn = new(n=5)
    with pytest.raises(apsw.SQLError, match=message):
        conn.execute(f"SELECT vecsql_search({', '.join('?' * len(args))})", args).fetchall()


def test_a_progress_handler_interrupts_it():
    conn, queries = new(), vectors(20000, 2)
    count = [0]

    def handler() -> bool:
        count[0] += 1
        return count[0] > 3

    conn.set_progress_handler(handler, 500)
    with pytest.raises(apsw.InterruptError):
        search(conn, queries, 10, 100)
    conn.set_progress_handler(None)
    assert search(conn, queries[:3], 1).shape == (3, 1)


# --- vecsql_recall


def recall(conn, *args):
    marks = ", ".join("?" * len(args))
    sql = f"SELECT ef, recall, evaluations, queries FROM vecsql_recall({marks})"
    return conn.execute(sql, args).fetchall()


def test_recall_is_what_comparing_with_the_exact_scan_gives():
    conn = new("m=4 ef_construction=20")
    lines = recall(conn, "t", "e", 60, 5)
    assert [ef for ef, *_ in lines] == [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]
    assert all(queries == 60 for *_, queries in lines)
    assert [e for _, _, e, _ in lines[:6]] == sorted(e for _, _, e, _ in lines[:6])
    for ef, measured, _, _ in lines[:2]:
        found = 0
        for node in range(60):
            rowid = node * 3000 // 60
            (v,) = conn.execute("SELECT e FROM t WHERE id = ?", (rowid,)).fetchone()
            sql = f"SELECT id FROM t WHERE e MATCH ? AND k = 6 AND ef_search = {ef}"
            walk = {i for (i,) in conn.execute(sql, (v,))} - {rowid}
            truth = {i for (i,) in conn.execute(sql + " AND exact = 1", (v,))} - {rowid}
            found += len(walk & truth)
        assert measured == pytest.approx(found / 300)
    assert lines[0][1] < lines[-1][1]


def test_recall_of_a_flat_index_is_one():
    assert {r for _, r, _, _ in recall(new("index=flat", n=500), "t", "e", 20)} == {1.0}


def test_recall_has_a_line_for_the_ef_of_the_table():
    conn = new(n=100)
    conn.execute("INSERT INTO t(t) VALUES('ef_search=77')")
    assert 77 in [ef for ef, *_ in recall(conn, "t", None, 3)]


def test_recall_of_an_empty_table_has_no_lines():
    assert recall(new(n=0), "t", "e") == []


def test_recall_passes_over_deleted_rows():
    conn = new(n=400)
    conn.execute("DELETE FROM t WHERE id % 2 = 0")
    assert {queries for *_, queries in recall(conn, "t", "e", 1000)} == {200}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("nothing", "e"), "vecsql_recall: there is no vecsql table nothing"),
        (("t", "x"), "vecsql_recall: t has no vector column x"),
        (("t", "e", 0), "sample must be from 1 to 10000"),
        (("t", "e", 10, 0), "k from 1 to 1000"),
        ((), "call it as vecsql_recall"),
    ],
)
def test_wrong_arguments_of_recall_are_named(args, message):
    with pytest.raises(apsw.SQLError, match=message):
        recall(new(n=5), *args)


# --- the table is looked up again only when the schema has changed --------------------------------


def ids(conn, name="t"):
    blob = conn.execute(
        "SELECT vecsql_search(?, NULL, ?, 3)", (name, vecsql.f32([0, 0]))
    ).fetchall()
    found = np.frombuffer(blob[0][0], [("id", "<i8"), ("distance", "<f4")])["id"]
    return [int(i) for i in found if i >= 0]


def make(conn, first, name="t"):
    conn.execute(f"CREATE VIRTUAL TABLE {name} USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[2])")
    conn.execute(f"INSERT INTO {name} VALUES(?, '[0,0]'), (?, '[1,0]')", (first, first + 1))


@pytest.mark.parametrize("by", ["this connection", "another"])
def test_a_search_finds_the_table_that_has_the_name_now(tmp_path, by):
    conn = connect(tmp_path / "a.db")
    on = conn if by == "this connection" else connect(tmp_path / "a.db")
    make(on, 1)
    assert ids(conn) == ids(conn) == [1, 2]
    on.execute("DROP TABLE t")
    make(on, 10)
    assert ids(conn) == ids(conn) == [10, 11]
    on.execute("BEGIN; DROP TABLE t")
    make(on, 20)
    assert ids(on) == [20, 21]
    on.execute("ROLLBACK")
    assert ids(conn) == ids(on) == [10, 11]
    on.execute("ALTER TABLE t RENAME TO u")
    make(on, 30)
    assert ids(conn) == [30, 31]
    assert ids(conn, "u") == [10, 11]
    on.execute("DROP TABLE t")
    with pytest.raises(apsw.SQLError, match="there is no vecsql table t"):
        ids(conn)
    on.execute("CREATE TABLE t(x)")
    with pytest.raises(apsw.SQLError, match="there is no vecsql table t"):
        ids(conn)
