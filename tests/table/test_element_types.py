"""Risk: float16, int8 or bit vectors are stored, searched or converted wrongly; two vector columns
of a table get into each other's way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import apsw
import numpy as np
import pytest

from tests.support.oracle import connect

DIM = 16


@dataclass(frozen=True)
class Element:
    name: str
    make: str  # the function that makes one of bytes
    dtype: str
    metrics: tuple[str, ...]

    def vectors(self, n: int, seed: int = 0) -> np.ndarray:
        """n vectors, row by row, as they are stored; bits as bytes."""
        rng = np.random.default_rng(seed)
        if self.name == "bit":
            return rng.integers(0, 256, (n, DIM // 8), np.uint8)
        if self.name == "int8":
            return rng.integers(-128, 128, (n, DIM)).astype("i1")
        return rng.normal(size=(n, DIM)).astype(self.dtype)


FLOATS = ("l2", "cosine", "dot", "l1")
ELEMENTS = [
    Element("float", "vec_f32", "<f4", FLOATS),
    Element("float16", "vec_f16", "<f2", FLOATS),
    Element("int8", "vec_int8", "i1", FLOATS),
    Element("bit", "vec_bit", "u1", ("hamming", "jaccard")),
]
PAIRS = [pytest.param(e, m, id=f"{e.name}-{m}") for e in ELEMENTS for m in e.metrics]


def distances(metric: str, base: np.ndarray, query: np.ndarray) -> np.ndarray:
    if base.dtype == np.uint8:
        differ = np.unpackbits(base ^ query, axis=1).sum(1).astype(float)
        either = np.unpackbits(base | query, axis=1).sum(1)
        return differ if metric == "hamming" else differ / np.maximum(either, 1)
    a, b = base.astype(np.float64), query.astype(np.float64)
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b)
    measure: dict[str, Callable[[], np.ndarray]] = {
        "l2": lambda: np.linalg.norm(a - b, axis=1),
        "l1": lambda: np.abs(a - b).sum(1),
        "dot": lambda: -(a @ b),
        "cosine": lambda: np.where(length > 0, 1 - (a @ b) / np.where(length > 0, length, 1), 1.0),
    }
    return measure[metric]()


def create(conn: apsw.Connection, element: Element, options: str = "", table: str = "t") -> None:
    conn.execute(f"CREATE VIRTUAL TABLE {table} USING vecsql(e {element.name}[{DIM}] {options})")


def fill(conn: apsw.Connection, element: Element, base: np.ndarray, table: str = "t") -> None:
    with conn:
        conn.executemany(
            f"INSERT INTO {table}(rowid, e) VALUES(?, {element.make}(?))",
            [(i, v.tobytes()) for i, v in enumerate(base)],
        )


def search(conn, element, query, k, extra="", table="t"):
    sql = f"SELECT rowid, distance FROM {table} WHERE e MATCH {element.make}(?) AND k = ?{extra}"
    return conn.execute(sql, (query.tobytes(), k)).fetchall()


@pytest.fixture
def mem():
    conn = connect(":memory:")
    yield conn
    conn.close()


# ---- searching -------------------------------------------------------------------------------


@pytest.mark.parametrize("index", ["hnsw", "flat"])
@pytest.mark.parametrize(("element", "metric"), PAIRS)
def test_every_element_type_and_metric_finds_what_numpy_finds(mem, element, metric, index):
    create(mem, element, f"distance_metric={metric} index={index} m=8 ef_construction=40")
    base = element.vectors(400)
    base[17] = 0
    base[18] = base[19]
    fill(mem, element, base)
    found = 0
    for query in [*element.vectors(8, 1), base[3], base[17]]:
        want = distances(metric, base, query)
        order = sorted(zip(want.tolist(), range(len(base)), strict=True))[:10]
        exact = search(mem, element, query, 10, " AND exact = 1")
        assert [d for _, d in exact] == pytest.approx([d for d, _ in order], rel=1e-4, abs=1e-4)
        for rowid, distance in exact:
            assert distance == pytest.approx(want[rowid], rel=1e-4, abs=1e-4)
        walk = search(mem, element, query, 10)
        assert len(walk) == len({i for i, _ in walk}) == 10
        by_function = dict(exact)
        assert all(by_function.get(i, d) == d for i, d in walk)
        found += sum(d <= exact[-1][1] for _, d in walk)
    assert found >= (100 if index == "flat" else 94)
    assert mem.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize(("element", "metric"), PAIRS)
def test_the_distance_is_that_of_the_function_to_the_bit(mem, element, metric):
    create(mem, element, f"distance_metric={metric}")
    base = element.vectors(60, 3)
    fill(mem, element, base)
    function = {"dot": "-vec_dot"}.get(metric, f"vec_distance_{metric}")
    query = element.vectors(1, 4)[0]
    rows = mem.execute(
        f"SELECT rowid, distance, {function}(e, {element.make}(?1)) FROM t "
        f"WHERE e MATCH {element.make}(?1) ORDER BY distance",
        (query.tobytes(),),
    ).fetchall()
    assert len(rows) == 60
    assert [d for _, d, _ in rows] == [f for _, _, f in rows]


@pytest.mark.parametrize("element", ELEMENTS[:3], ids=lambda e: e.name)
def test_a_zero_vector_under_cosine_is_stored_and_has_distance_1(mem, element):
    create(mem, element, "distance_metric=cosine")
    base = np.concatenate([np.zeros((1, DIM), element.dtype), element.vectors(20)])
    fill(mem, element, base)
    rows = dict(search(mem, element, base[5], 30))
    assert rows[0] == 1.0
    assert len(rows) == 21
    assert all(d == 1.0 for _, d in search(mem, element, base[0], 30))


# ---- what is stored and read -----------------------------------------------------------------


@pytest.mark.parametrize("element", ELEMENTS, ids=lambda e: e.name)
def test_a_column_stores_its_own_bytes_and_reads_as_its_type(mem, element):
    create(mem, element)
    v = element.vectors(1)[0]
    fill(mem, element, v[None])
    sql = "SELECT e, vec_type(e), vec_length(e), vec_to_json(e) FROM t"
    blob, name, length, _json = mem.execute(sql).fetchall()[0]
    assert blob == v.tobytes()
    assert (name, length) == ({"float": "float32"}.get(element.name, element.name), DIM)
    assert mem.execute("SELECT c1 FROM t_rows").fetchall() == [(v.tobytes(),)]


@pytest.mark.parametrize("element", ELEMENTS, ids=lambda e: e.name)
def test_update_delete_replace_and_rollback_work_for_every_type(tmp_path, element):
    conn = connect(tmp_path / "a.db")
    create(conn, element, "m=4")
    base = element.vectors(80)
    fill(conn, element, base)
    new = element.vectors(80, 9)
    conn.execute("BEGIN; SAVEPOINT s")
    conn.execute("DELETE FROM t WHERE rowid < 40")
    conn.execute("ROLLBACK TO s")
    conn.execute("DELETE FROM t WHERE rowid >= 60")
    conn.execute(f"UPDATE t SET e = {element.make}(?) WHERE rowid = 7", (new[7].tobytes(),))
    conn.execute(
        f"INSERT OR REPLACE INTO t(rowid, e) VALUES(8, {element.make}(?))", (new[8].tobytes(),)
    )
    conn.execute("UPDATE t SET rowid = 500 WHERE rowid = 9")
    conn.execute("UPDATE t SET e = NULL WHERE rowid = 10")
    conn.execute("COMMIT")
    rows = {i: base[i] for i in range(60) if i not in (9, 10)} | {
        7: new[7],
        8: new[8],
        500: base[9],
    }
    for c in (conn, connect(tmp_path / "a.db")):
        keys = sorted(rows)
        metric = element.metrics[0]
        want = distances(metric, np.stack([rows[i] for i in keys]), new[8])
        exact = search(c, element, new[8], 100, " AND exact = 1")
        assert [i for i, _ in exact][:1] == [8]
        assert dict(exact) == pytest.approx(dict(zip(keys, want, strict=True)), rel=1e-3)
        assert sorted(i for i, _ in search(c, element, new[8], 100)) == keys
        assert c.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    conn.execute("INSERT INTO t(t) VALUES('rebuild')")
    assert sorted(i for i, _ in search(conn, element, new[8], 100)) == sorted(rows)
    assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("element", ELEMENTS, ids=lambda e: e.name)
def test_integrity_check_sees_a_row_whose_vector_was_changed_behind_the_index(mem, element):
    create(mem, element)
    fill(mem, element, element.vectors(5))
    mem.execute("UPDATE t_rows SET c1 = ? WHERE rowid = 3", (element.vectors(1, 7)[0].tobytes(),))
    with pytest.raises(apsw.CorruptError, match="row 3: its code is not that of its vector"):
        mem.execute("INSERT INTO t(t) VALUES('integrity-check')")


@pytest.mark.parametrize("element", ELEMENTS, ids=lambda e: e.name)
def test_the_same_statements_write_the_same_file(tmp_path, element):
    files = []
    for name in "ab":
        conn = connect(tmp_path / name)
        create(conn, element)
        fill(conn, element, element.vectors(120))
        conn.close()
        files.append((tmp_path / name).read_bytes())
    assert files[0] == files[1]


def test_parameters_survive_a_reopening(tmp_path):
    conn = connect(tmp_path / "a.db")
    conn.execute(
        "CREATE VIRTUAL TABLE t USING vecsql(a BIT[8], b f16[3] distance_metric=L1, "
        "c I8[2] distance_metric=dot, d bit[16] distance_metric=jaccard, e FLOAT32[1])"
    )
    conn.close()
    conn = connect(tmp_path / "a.db")
    rows = conn.execute("SELECT value FROM t_config WHERE key GLOB 'vector*' ORDER BY key")
    assert [v[0].split(" index")[0] for v in rows] == [
        "bit[8] distance_metric=hamming",
        "float16[3] distance_metric=l1",
        "int8[2] distance_metric=dot",
        "bit[16] distance_metric=jaccard",
        "float[1] distance_metric=l2",
    ]
    stats = conn.execute("SELECT vector, value FROM vecsql_stats('t') WHERE name = 'element'")
    assert dict(stats.fetchall()) == {
        "a": "bit", "b": "float16", "c": "int8", "d": "bit", "e": "float32"
    }  # fmt: skip


# ---- conversions and errors ------------------------------------------------------------------


def test_float16_takes_float32_text_and_float16_and_rounds(mem):
    mem.execute("CREATE VIRTUAL TABLE t USING vecsql(e float16[2])")
    half = np.array([0.1, -3], "<f2").tobytes()
    wide = np.array([0.1, -3], "<f4").tobytes()
    for expression, given in [("?", wide), ("?", "[0.1, -3]"), ("vec_f16(?)", half),
                              ("vec_f32(?)", wide), ("vec_f16(vec_f32(?))", wide)]:  # fmt: skip
        mem.execute(f"INSERT INTO t(e) VALUES({expression})", (given,))
        rows = mem.execute(f"SELECT distance FROM t WHERE e MATCH {expression}", (given,))
        assert all(d == 0 for (d,) in rows)
    assert set(mem.execute("SELECT e FROM t").fetchall()) == {(half,)}


@pytest.mark.parametrize("element", ELEMENTS, ids=lambda e: e.name)
def test_the_type_survives_where_sqlite_drops_it(mem, element):
    """An UPDATE of several rows and INSERT ... SELECT pass through a table in between."""
    base = element.vectors(6)
    for table in "tu":
        create(mem, element, table=table)
    fill(mem, element, base)
    mem.execute("INSERT INTO u(rowid, e) SELECT rowid, e FROM t ORDER BY rowid DESC")
    assert mem.execute("SELECT * FROM u_rows").fetchall() == [
        (i, v.tobytes()) for i, v in enumerate(base)
    ]
    mem.execute(f"UPDATE u SET e = {element.make}(?) WHERE rowid > 2", (base[0].tobytes(),))
    rows = mem.execute("SELECT rowid, e = (SELECT e FROM u WHERE rowid = 0) FROM u").fetchall()
    assert rows == [(0, 1), (1, 0), (2, 0), (3, 1), (4, 1), (5, 1)]
    mem.execute("UPDATE u SET e = t.e FROM t WHERE t.rowid = u.rowid")
    assert (
        mem.execute("SELECT * FROM u_rows").fetchall()
        == mem.execute("SELECT * FROM t_rows").fetchall()
    )
    joined = mem.execute(
        "SELECT t.rowid, u.rowid, u.distance FROM t JOIN u ON u.e MATCH t.e AND u.k = 1"
    ).fetchall()
    assert [(a, b) for a, b, _ in joined] == [(i, i) for i in range(6)]
    assert mem.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_float_column_takes_float16(mem):
    mem.execute("CREATE VIRTUAL TABLE t USING vecsql(e float[2])")
    mem.execute("INSERT INTO t(e) VALUES(vec_f16('[0.1, -3]'))")
    stored = np.frombuffer(mem.execute("SELECT e FROM t").fetchall()[0][0], "<f4")
    assert stored.tolist() == np.array([0.1, -3], "<f2").astype("<f4").tolist()


def test_int8_takes_text_of_whole_numbers(mem):
    mem.execute("CREATE VIRTUAL TABLE t USING vecsql(e int8[3])")
    mem.execute("INSERT INTO t(e) VALUES('[-128, 127, 1e1]')")
    assert mem.execute("SELECT vec_to_json(e) FROM t").fetchall() == [("[-128,127,10]",)]
    assert mem.execute("SELECT distance FROM t WHERE e MATCH '[-128,127,10]'").fetchall() == [(0,)]


WRONG = [
    ("int8[4]", "vec_f32('[1,2,3,4]')", r"expected int8\[4\] \(vec_int8\(\) or JSON text\), "
                                        r"got float32\[4\]"),
    ("int8[4]", "zeroblob(8)", r"expected int8\[4\] .*, got float32\[2\]"),
    ("int8[4]", "vec_int8('[1,2]')", "expected 4 dimensions, got 2"),
    ("int8[2]", "'[1, 200]'", "value out of range for int8"),
    ("int8[2]", "'[1, 0.5]'", "expected a whole number at index 1, got 0.5"),
    ("int8[2]", "vec_bit(x'01')", r"expected int8\[2\] .*, got bit\[8\]"),
    ("bit[8]", "'[1,0,1,0,1,0,1,0]'", r"expected bit\[8\] \(vec_bit\(\)\), got float32\[8\]"),
    ("bit[8]", "x'0102'", "BLOB length"),
    ("bit[8]", "vec_bit(x'0102')", "expected 8 dimensions, got 16"),
    ("bit[32]", "zeroblob(8)", r"expected bit\[32\] \(vec_bit\(\)\), got float32\[2\]"),
    ("float16[2]", "vec_int8('[1,2]')", r"expected float16\[2\], got int8\[2\]"),
    ("float16[2]", "'[1, 66000]'", "expected elements within float16's range, got 66000.0 at "
                                   "index 1"),
    ("float16[2]", "x'0000C07F00000000'", "expected finite elements, got NaN at index 0"),
    ("float16[2]", "'[1,2,3]'", "expected 2 dimensions, got 3"),
    ("float[2]", "vec_int8('[1,2]')", r"expected float32\[2\], got int8\[2\]"),
    ("float[8]", "vec_bit(x'01')", r"expected float32\[8\], got bit\[8\]"),
    ("float[2]", "17", "found INTEGER"),
    ("bit[8]", "1.5", "found FLOAT"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value", "message"), WRONG)
def test_a_wrong_vector_names_table_column_expected_and_got(mem, column, value, message):
    mem.execute(f"CREATE VIRTUAL TABLE t USING vecsql(e {column})")
    mem.execute("INSERT INTO t(rowid, e) VALUES(1, NULL)")
    before = mem.execute("SELECT * FROM t_rows").fetchall(), mem.execute("SELECT * FROM t_log0")
    for sql in (
        f"INSERT INTO t(e) VALUES({value})",
        f"UPDATE t SET e = {value} WHERE rowid = 1",
        f"SELECT * FROM t WHERE e MATCH {value}",
    ):
        with pytest.raises(apsw.SQLError, match=rf"^t\.e: .*{message}"):
            mem.execute(sql).fetchall()
    assert mem.execute("SELECT * FROM t_rows").fetchall() == before[0]


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ("e bit[12]", r"column e: expected bit\[n\] with n a multiple of 8, not 12"),
        ("e bit[8] distance_metric=l2", "column e: distance_metric=l2 is for float, float16 and "
                                        "int8, not for bit"),
        ("e int8[8] distance_metric=hamming", "column e: distance_metric=hamming is for bit, not "
                                              "for int8"),
        ("e int4[8]", r"column e: expected float\[n\], float16\[n\], int8\[n\] or bit\[n\]"),
        ("e bit[0]", "column e: expected float"),
        ("e float16[65537]", "column e: expected float"),
        ("e float[3] distance_metric=l3", "column e: distance_metric must be l2, cosine, dot, l1, "
                                          "or for bit hamming or jaccard, not 'l3'"),
    ],
)  # fmt: skip
def test_a_declaration_that_makes_no_sense_says_why(mem, definition, message):
    with pytest.raises(apsw.SQLError, match=f"vecsql: table t: {message}"):
        mem.execute(f"CREATE VIRTUAL TABLE t USING vecsql({definition})")


def test_names_may_be_quoted_in_every_way(mem):
    mem.execute(
        'CREATE VIRTUAL TABLE t USING vecsql([my id] integer primary key, "a ""b""" float[2], '
        "`c``d` text, +[e f] text, [g]] int)".replace("]] int", "] int")
    )
    mem.execute("INSERT INTO t VALUES(1, '[1,2]', 'c', 'e', 4)")
    sql = 'SELECT [my id], "c`d", [e f], g FROM t WHERE "a ""b""" MATCH \'[1,2]\' AND k = 1'
    assert mem.execute(sql).fetchall() == [(1, "c", "e", 4)]


# ---- several columns, other tables -----------------------------------------------------------


def test_columns_of_mixed_types_live_beside_each_other(tmp_path):
    conn = connect(tmp_path / "a.db")
    columns = ", ".join(f"{e.name}_e {e.name}[{DIM}]" for e in ELEMENTS)
    conn.execute(f"CREATE VIRTUAL TABLE t USING vecsql({columns}, tag TEXT)")
    bases = [e.vectors(60, 2) for e in ELEMENTS]
    values = ", ".join(f"{e.make}(?)" for e in ELEMENTS)
    with conn:
        for i in range(60):
            given = [None if (i + j) % 7 == 0 else b[i].tobytes() for j, b in enumerate(bases)]
            used = values
            for j, v in enumerate(given):
                if v is None:
                    used = used.replace(f"{ELEMENTS[j].make}(?)", "?")
            conn.execute(f"INSERT INTO t VALUES({used}, ?)", (*given, f"tag{i}"))
    conn.execute("UPDATE t SET bit_e = vec_bit(?) WHERE rowid = 5", (bases[3][50].tobytes(),))
    conn.execute("DELETE FROM t WHERE rowid = 9")
    conn.close()
    conn = connect(tmp_path / "a.db")
    for j, (e, base) in enumerate(zip(ELEMENTS, bases, strict=True)):
        rows = {i + 1: base[i] for i in range(60) if (i + j) % 7 != 0 and i != 8}
        if e.name == "bit":
            rows[5] = base[50]
        query = e.vectors(1, 5)[0]
        keys = sorted(rows)
        want = distances(e.metrics[0], np.stack([rows[i] for i in keys]), query)
        sql = f"SELECT rowid, distance FROM t WHERE {e.name}_e MATCH {e.make}(?) AND k = 100"
        got = dict(conn.execute(sql, (query.tobytes(),)).fetchall())
        assert got == pytest.approx(dict(zip(keys, want, strict=True)), rel=1e-3)
    assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_sixteen_vector_columns_are_the_most(mem):
    columns = [f"e{i} float[1]" for i in range(16)]
    mem.execute(f"CREATE VIRTUAL TABLE t USING vecsql({', '.join(columns)})")
    mem.execute(f"INSERT INTO t VALUES({','.join(['?'] * 16)})", [f"[{i}]" for i in range(16)])
    for i in range(16):
        rows = mem.execute(f"SELECT distance FROM t WHERE e{i} MATCH '[0]' AND k = 1").fetchall()
        assert rows == [(i,)]
    with pytest.raises(apsw.SQLError, match="more than 16 vector columns"):
        mem.execute(f"CREATE VIRTUAL TABLE u USING vecsql({', '.join([*columns, 'x float[1]'])})")


@pytest.mark.parametrize("element", ELEMENTS, ids=lambda e: e.name)
def test_a_content_table_holds_plain_bytes_of_the_columns_type(mem, element):
    mem.execute("CREATE TABLE docs(id INTEGER PRIMARY KEY, e BLOB)")
    base = element.vectors(30)
    mem.execute("INSERT INTO docs VALUES(0, ?)", (base[0].tobytes(),))
    mem.execute(f"CREATE VIRTUAL TABLE idx USING vecsql(content=docs, e {element.name}[{DIM}])")
    for i in range(1, 30):
        mem.execute(f"INSERT INTO docs VALUES(?, {element.make}(?))", (i, base[i].tobytes()))
    query = element.vectors(1, 6)[0]
    want = distances(element.metrics[0], base, query)
    got = dict(search(mem, element, query, 30, table="idx"))
    assert got == pytest.approx(dict(enumerate(want)), rel=1e-3)
    name = {"float": "float32"}.get(element.name, element.name)
    assert mem.execute("SELECT DISTINCT vec_type(e) FROM idx").fetchall() == [(name,)]
    with pytest.raises(apsw.SQLError, match=r"docs\.e: "):
        mem.execute("INSERT INTO docs VALUES(99, ?)", (base[0].tobytes() + b"\0\0\0\0",))
    assert mem.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_float16_content_column_may_hold_float32_and_text(mem):
    mem.execute("CREATE TABLE docs(id INTEGER PRIMARY KEY, e BLOB)")
    mem.execute("CREATE VIRTUAL TABLE idx USING vecsql(content=docs, e float16[2])")
    mem.execute("INSERT INTO docs VALUES(1, vec_f32('[1,2]')), (2, '[1,2]'), (3, vec_f16('[1,2]'))")
    rows = mem.execute("SELECT id, distance FROM idx WHERE e MATCH '[1,2]' AND k = 9").fetchall()
    assert rows == [(1, 0), (2, 0), (3, 0)]
    assert mem.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
