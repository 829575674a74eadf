"""Risk: a function gives another result, type or error than sqlite-vec, or than it says."""

from __future__ import annotations

import itertools
import json
import struct
from typing import Any

import apsw
import numpy as np
import pytest
import sqlite_vec
from hypothesis import given, settings
from hypothesis import strategies as st

import vecsql
from tests.support.oracle import connect


def evaluate(conn: apsw.Connection, sql: str, *args: Any) -> tuple[Any, ...]:
    """("rows", what it gives) or ("error", what it says)."""
    try:
        return "rows", conn.execute(sql, args).fetchall()
    except apsw.SQLError as e:
        return "error", str(e)


@pytest.fixture(scope="module")
def peer():
    """A connection with sqlite-vec itself."""
    conn = apsw.Connection(":memory:")
    conn.enable_load_extension(True)
    conn.load_extension(sqlite_vec.loadable_path())
    yield conn
    conn.close()


@pytest.fixture(scope="module")
def ours():
    conn = connect(":memory:")
    yield conn
    conn.close()


def typed(expression: str) -> str:
    return f"SELECT hex({expression}), typeof({expression}), subtype({expression})"


INVALID = ["NULL", "1", "1.5", "'abc'", "''", "x''", "x'010203'", "'[]'", "'{'"]
UNARY = [
    "vec_f32",
    "vec_int8",
    "vec_bit",
    "vec_length",
    "vec_type",
    "vec_to_json",
    "vec_normalize",
    "vec_quantize_binary",
]
BINARY = [
    "vec_distance_l2",
    "vec_distance_l1",
    "vec_distance_cosine",
    "vec_distance_hamming",
    "vec_add",
    "vec_sub",
]
VECTORS = [
    "'[1,2,-3.5,0,1,1,1,8]'",
    "vec_f32('[2,1,0.25,3,1,1,1,-8]')",
    "zeroblob(32)",
    "x'0000803F00000040'",
    "' [ 1 , 2 ] '",
    "'[1e2,-2.5E-3]'",
    "json_array(1,2)",
    "vec_int8('[1,2,-3,4,-128,127,0,8]')",
    "vec_int8(x'01FF7F80')",
    "vec_bit(x'F1')",
    "vec_bit(x'0180')",
    "vec_bit(vec_f32('[1,2]'))",
    "vec_f32(vec_int8('[1,2,3,4]'))",
    "vec_int8(vec_f32('[1,2]'))",
]
# sqlite-vec gives text with six decimals, NaN for the direction of a zero vector and NULL for its
# cosine distance: DIFFERENT below holds what we give.
ZERO = "zeroblob(32)"


def same_cases() -> list[str]:
    out = [typed(f"{f}({v})") for f in UNARY for v in INVALID]
    out += [
        typed(f"{f}({v})")
        for f in UNARY
        for v in VECTORS
        if f != "vec_to_json" and not (f == "vec_normalize" and v == ZERO)
    ]
    out += [
        typed(f"{f}({a}, {b})")
        for f in BINARY
        for a, b in itertools.product([*VECTORS, "NULL", "'abc'", "x''"], repeat=2)
        if "distance" not in f
    ]
    bounds = [(-1, 2), (0, -1), (9, 10), (0, 9), (2, 1), (1, 1), (1, 3), (0, 8), (1.7, 2)]
    out += [typed(f"vec_slice({v}, {a}, {b})") for v in VECTORS for a, b in bounds]
    out += [typed(f"vec_slice('[1,2,3]', {a}, {b})") for a, b in [("'1'", 2), ("NULL", 1)]]
    out += [typed(f"vec_slice(vec_bit(x'010203'), {a}, {b})") for a, b in [(8, 24), (8, 9), (8, 8)]]
    out += [typed(f"vec_slice({v}, 0, 1)") for v in INVALID]
    out += [typed(f"vec_quantize_int8({v}, 'unit')") for v in [*VECTORS, *INVALID]]
    out += [typed(f"vec_quantize_int8('[1]', {v})") for v in ["'UNIT'", "'x'", "NULL", "1"]]
    out += [typed(f"vec_int8('[{v}]')") for v in ["200", "-129", "-128,127"]]
    out += ["SELECT vec_quantize_int8('[1]')", "SELECT vec_f32()", "SELECT vec_slice('[1]', 0)"]
    return out


@pytest.mark.parametrize("sql", same_cases())
def test_results_types_and_errors_are_those_of_sqlite_vec(ours, peer, sql):
    expected = evaluate(peer, sql)
    got = evaluate(ours, sql)
    if expected == ("error", "JSON parsing error"):
        assert got[0] == "error"
        assert got[1].startswith("JSON parsing error: ")  # ours says where
    elif "vec_normalize" in sql and expected[0] == "rows":
        (a, *rest), (b, *other) = expected[1][0], got[1][0]
        floats = [np.frombuffer(bytes.fromhex(x), "<f4") for x in (a, b)]
        assert rest == other
        known = np.isfinite(floats[0])  # squares that underflow give it infinity
        assert floats[1][known] == pytest.approx(floats[0][known], abs=1e-6)
    else:
        assert got == expected


@pytest.mark.parametrize("function", [f for f in BINARY if "distance" in f])
@pytest.mark.parametrize(
    ("a", "b"), list(itertools.product([*VECTORS, "NULL", "'abc'", "x''", "x'01'"], repeat=2))
)
def test_distances_are_those_of_sqlite_vec(ours, peer, function, a, b):
    sql = f"SELECT {function}({a}, {b}), typeof({function}({a}, {b}))"
    expected, got = evaluate(peer, sql), evaluate(ours, sql)
    if expected == ("rows", [(None, "null")]):
        assert "cosine" in function
        assert 0 <= got[1][0][0] <= 2  # vectors whose squares are zero have a distance
    elif expected[0] == "error":
        assert got == expected
    else:
        assert got[1][0][1] == expected[1][0][1]
        assert got[1][0][0] == pytest.approx(expected[1][0][0], rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    "vector", ["'[1,2.5,-3]'", "vec_int8('[1,-2]')", "vec_f32('[0.1]')", "json('[1]')"]
)
def test_vec_each_gives_the_rows_of_sqlite_vec(ours, peer, vector):
    sql = f"SELECT rowid, value, typeof(value), vector FROM vec_each({vector})"
    assert evaluate(ours, sql) == evaluate(peer, sql)


def test_vec_each_without_a_vector_has_no_plan_and_with_a_bad_one_says_why(ours, peer):
    sql = "SELECT * FROM vec_each"
    assert evaluate(ours, sql) == evaluate(peer, sql) == ("error", "no query solution")
    kind, said = evaluate(ours, "SELECT * FROM vec_each('[]')")
    assert (kind, said) == ("error", "vec_each: zero-length vectors are not supported.")


def test_vec_each_joins_a_table(ours):
    sql = (
        "WITH t(id, v) AS (VALUES (1, '[1,2]'), (2, '[3]')) "
        "SELECT id, e.rowid, value FROM t, vec_each(t.v) e ORDER BY 1, 2"
    )
    assert ours.execute(sql).fetchall() == [(1, 0, 1.0), (1, 1, 2.0), (2, 0, 3.0)]


# Where we do otherwise on purpose: expression, sqlite-vec's result (None: any), ours.
DIFFERENT = [
    ("vec_to_json('[1,2.5,1e-7]')", "[1.000000,2.500000,0.000000]", "[1,2.5,1e-07]"),
    ("vec_to_json(vec_normalize('[0,0]'))", "[null,null]", "[0,0]"),
    ("vec_distance_cosine('[0,0]', '[3,4]')", None, 1.0),
    ("(SELECT json_group_array(value) FROM vec_each(vec_bit(x'01')))",
     "[0,0,0,0,0,0,0,1]", "[1,0,0,0,0,0,0,0]"),
    ("vec_type(vec_int8('[1.0]'))", "JSON parsing error", "int8"),
]  # fmt: skip
STRICTER = ["'[1,2'", "'[1 2]'", "'[1,]'", "'[1]]'", "'[nan]'", "'[1,inf]'", "x'0000C07F'"]


@pytest.mark.parametrize(("expression", "theirs", "own"), DIFFERENT)
def test_what_differs_from_sqlite_vec_is_this(ours, peer, expression, theirs, own):
    kind, got = evaluate(peer, f"SELECT {expression}")
    assert (got if kind == "error" else got[0][0]) == theirs
    assert evaluate(ours, f"SELECT {expression}") == ("rows", [(own,)])


@pytest.mark.parametrize("vector", STRICTER)
def test_text_that_is_no_json_and_what_is_not_finite_is_refused(ours, peer, vector):
    assert evaluate(peer, f"SELECT vec_length({vector})")[0] == "rows"
    assert evaluate(ours, f"SELECT vec_length({vector})")[0] == "error"


def test_an_error_in_text_says_where_and_what(ours):
    for text, message in [
        ("'[1,x]'", "JSON parsing error: expected a number at byte 3, got 'x'"),
        ("'[1'", "JSON parsing error: expected ',' or ']' at byte 2, got the end of the text"),
        ("'[1e999]'", "JSON parsing error: expected a number within float32's range at byte 1, "
                      "got '1e999'"),
        ("x'0000807F'", "expected finite elements, got infinity at index 0"),
        ("zeroblob(262148)", "expected at most 65536 dimensions, got 65537"),
    ]:  # fmt: skip
        assert evaluate(ours, f"SELECT vec_length({text})") == ("error", message)


# ---- float16 ---------------------------------------------------------------------------------


def test_float16_is_made_of_text_of_bytes_and_of_other_types(ours):
    half = np.array([1.5, -2, 65504], "<f2").tobytes()
    for expression in ["vec_f16('[1.5,-2,65504]')", "vec_f16(vec_f32('[1.5,-2,65504]'))"]:
        assert evaluate(ours, f"SELECT {expression}") == ("rows", [(half,)])
    assert ours.execute("SELECT vec_f16(?)", (half,)).fetchall() == [(half,)]
    row = ours.execute(
        "SELECT vec_type(vec_f16(?1)), vec_length(vec_f16(?1)), vec_to_json(vec_f16(?1)), "
        "subtype(vec_f16(?1)), vec_to_json(vec_f32(vec_f16(?1)))",
        (half,),
    ).fetchall()
    assert row == [("float16", 3, "[1.5,-2,65504]", 226, "[1.5,-2,65504]")]
    assert evaluate(ours, "SELECT hex(vec_f16(vec_int8('[1,-2]')))")[1] == [("003C00C0",)]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("vec_f16('[1,70000]')",
         "expected elements within float16's range, got 70000.0 at index 1"),
        ("vec_f16(x'007C')", "expected finite elements, got infinity at index 0"),
        ("vec_f16(x'007E')", "expected finite elements, got NaN at index 0"),
        ("vec_f16(x'00')", "invalid float16 vector BLOB length. Must be divisible by 2, found 1"),
        ("vec_f16(NULL)", "Unknown type for float16 vector."),
        ("vec_f16(vec_bit(x'01'))", "Cannot convert a bit vector to float16."),
        ("vec_bit(vec_f16('[1]'))", "Cannot convert a float16 vector to bit."),
        ("vec_add(vec_f16('[60000]'), vec_f16('[60000]'))",
         "vec_add(): the result leaves float16's range at index 0"),
        ("vec_distance_hamming(vec_f16('[1]'), vec_f16('[1]'))",
         "Cannot calculate hamming distance between two float16 vectors."),
        ("vec_distance_jaccard('[1]', '[1]')",
         "Cannot calculate jaccard distance between two float32 vectors."),
        ("vec_dot(vec_bit(x'01'), vec_bit(x'01'))",
         "Cannot calculate dot product between two bitvectors."),
        ("vec_distance_l2(vec_f16('[1]'), '[1]')",
         "Vector type mistmatch. First vector has type float16, while the second has type "
         "float32."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(ours, expression, message):
    assert evaluate(ours, f"SELECT {expression}") == ("error", message)


finite16 = st.floats(-60000, 60000, width=16, allow_subnormal=True)


@settings(max_examples=200)
@given(st.lists(finite16, min_size=1, max_size=70), st.randoms(use_true_random=False))
def test_float16_functions_calculate_as_numpy(ours, values, random):
    a = np.array(values, "<f2")
    b = np.array(random.sample(values, len(values)), "<f2")
    wide = a.astype(np.float64), b.astype(np.float64)
    row = ours.execute(
        "WITH v(a, b) AS (SELECT ?, ?) SELECT vec_distance_l2(vec_f16(a), vec_f16(b)), "
        "vec_distance_l1(vec_f16(a), vec_f16(b)), vec_dot(vec_f16(a), vec_f16(b)), "
        "vec_to_json(vec_sub(vec_f16(a), vec_f16(a))), vec_f16(vec_f32(vec_f16(a))) FROM v",
        (a.tobytes(), b.tobytes()),
    ).fetchall()[0]
    size = np.abs(wide[0]) @ np.abs(wide[1])
    assert row[0] == pytest.approx(np.linalg.norm(wide[0] - wide[1]), rel=1e-5, abs=1e-9)
    assert row[1] == pytest.approx(np.abs(wide[0] - wide[1]).sum(), rel=1e-5)
    assert row[2] == pytest.approx(wide[0] @ wide[1], rel=1e-5, abs=1e-5 * size)
    assert json.loads(row[3]) == [0.0] * len(a)
    assert row[4] == a.tobytes()


# ---- ours --------------------------------------------------------------------------------------


@settings(max_examples=100)
@given(st.binary(min_size=1, max_size=80), st.randoms(use_true_random=False))
def test_bit_distances_count_bits(ours, a, random):
    b = bytes(x ^ random.getrandbits(8) & random.getrandbits(8) for x in a)
    differ = sum((x ^ y).bit_count() for x, y in zip(a, b, strict=True))
    common = sum((x & y).bit_count() for x, y in zip(a, b, strict=True))
    row = ours.execute(
        "SELECT vec_distance_hamming(vec_bit(?1), vec_bit(?2)), "
        "vec_distance_jaccard(vec_bit(?1), vec_bit(?2))",
        (a, b),
    ).fetchall()
    assert row == [(differ, differ / (differ + common) if differ else 0.0)]


def test_the_json_of_a_vector_reads_back_to_the_same_bits(ours):
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2**32, 3000, np.uint32).view("<f4")
    v = bits[np.isfinite(bits)]
    back = ours.execute("SELECT vec_f32(vec_to_json(?))", (v.tobytes(),)).fetchall()[0][0]
    assert back == v.tobytes()


@settings(max_examples=200)
@given(st.lists(st.floats(-2, 2, width=32), min_size=1, max_size=50))
def test_quantizing_to_int8_gives_the_bytes_of_sqlite_vec(ours, peer, values):
    blob = struct.pack(f"<{len(values)}f", *values)
    sql = "SELECT vec_quantize_int8(?, 'unit')"
    assert evaluate(ours, sql, blob) == evaluate(peer, sql, blob)


def test_constant_text_is_kept_for_the_next_row_and_other_text_is_not(ours):
    sql = (
        "WITH t(v) AS (VALUES ('[1,1]'), ('[2,2]'), ('[1,1]')) "
        "SELECT vec_distance_l1('[1,1]', v), vec_distance_l1(v, '[1,1]') FROM t"
    )
    assert ours.execute(sql).fetchall() == [(0, 0), (2, 2), (0, 0)]


def test_functions_are_deterministic_and_innocuous(ours):
    deterministic, innocuous = 0x800, 0x200000
    rows = ours.execute(
        "SELECT DISTINCT name, flags FROM pragma_function_list "
        "WHERE name GLOB 'vec_*' OR name = 'vecsql_version'"
    ).fetchall()
    assert len({name for name, _ in rows}) >= 22
    for name, flags in rows:
        assert flags & deterministic, name
        assert flags & innocuous, name


def test_functions_work_in_an_index_and_with_an_untrusted_schema(tmp_path):
    conn = connect(tmp_path / "a.db")
    conn.execute("CREATE TABLE t(v); CREATE INDEX i ON t(vec_length(v))")
    conn.execute("CREATE VIEW w AS SELECT vec_to_json(v) j FROM t")
    conn.execute("INSERT INTO t VALUES ('[1,2]')")
    conn.execute("PRAGMA trusted_schema = OFF")
    assert conn.execute("SELECT j FROM w").fetchall() == [("[1,2]",)]
    plan = conn.execute("EXPLAIN QUERY PLAN SELECT * FROM t WHERE vec_length(v) = 2").fetchall()
    assert "USING INDEX i" in plan[0][3]


def test_the_version_is_the_packages(db):
    assert db.execute("SELECT vecsql_version()").fetchall() == [(vecsql.__version__,)]


def test_the_functions_of_sqlite_vecs_entry_point_are_not_there(ours):
    for name in ("vec_version", "vec_debug"):
        assert evaluate(ours, f"SELECT {name}()")[0] == "error"


# ---- aggregates --------------------------------------------------------------------------------


def floats(blob: bytes | None) -> list[float] | None:
    return None if blob is None else np.frombuffer(blob, "<f4").tolist()


def test_sums_and_averages_skip_nulls_and_are_null_of_nothing(ours):
    rows = ours.execute(
        "WITH t(v) AS (VALUES ('[1,2]'), (NULL), ('[3,5]')) "
        "SELECT vec_sum(v), vec_avg(v), vec_type(vec_sum(v)) FROM t"
    ).fetchall()
    assert [floats(x) for x in rows[0][:2]] == [[4, 7], [2, 3.5]]
    assert rows[0][2] == "float32"
    for empty in ("WHERE 0", "WHERE v IS NULL"):
        rows = ours.execute(f"WITH t(v) AS (VALUES (NULL)) SELECT vec_sum(v), vec_avg(v) FROM t "
                            f"{empty}").fetchall()  # fmt: skip
        assert rows == [(None, None)]


def test_sums_take_float16_and_int8_and_do_not_wrap(ours):
    sql = "WITH t(i) AS (VALUES (1), (2)) SELECT vec_sum({v}) FROM t"
    assert floats(ours.execute(sql.format(v="vec_int8('[100,-128]')")).get) == [200, -256]
    assert floats(ours.execute(sql.format(v="vec_f16('[60000]')")).get) == [120000]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("('[1]'), ('[1,2]')", "vec_sum(): expected 1 dimensions, as before, got 2"),
        ("(vec_bit(x'01')), (NULL)", None),
        ("('[1]'), (5)", "Input must have type BLOB (compact format) or TEXT (JSON), "
                         "found INTEGER"),
        ("('[3e38]'), ('[3e38]')",
         "vec_sum(): the result leaves float32's range at index 0"),
    ],
)  # fmt: skip
def test_a_sum_of_what_does_not_add_up_is_an_error(ours, values, message):
    if message is None:
        got = evaluate(ours, "SELECT vec_sum(vec_bit(x'01'))")
        message = "vec_sum(): expected float32, float16 or int8 vectors, got bit"
    else:
        got = evaluate(ours, f"WITH t(v) AS (VALUES {values}) SELECT vec_sum(v) FROM t")
    assert got == ("error", message)


def test_a_window_sum_leaves_nothing_of_the_rows_that_went(ours):
    rng = np.random.default_rng(3)
    v = (rng.normal(size=(60, 3)) * 10.0 ** rng.integers(-20, 20, (60, 1))).astype("<f4")
    ours.execute("CREATE TEMP TABLE w(i INTEGER PRIMARY KEY, v)")
    ours.executemany("INSERT INTO w VALUES (?, ?)", [(i, x.tobytes()) for i, x in enumerate(v)])
    rows = ours.execute(
        "SELECT vec_sum(v) OVER win, vec_avg(v) OVER win FROM w "
        "WINDOW win AS (ORDER BY i ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)"
    ).fetchall()
    ours.execute("DROP TABLE w")
    for i, (total, mean) in enumerate(rows):
        part = v[max(0, i - 3) : i + 1].astype(np.float64)
        scale = np.abs(part).sum(0)
        assert np.all(np.abs(floats(total) - part.sum(0)) <= 1e-6 * scale)
        assert np.all(np.abs(floats(mean) - part.mean(0)) <= 1e-6 * scale)


def test_groups_have_their_own_sums(ours):
    sql = (
        "WITH t(g, v) AS (VALUES ('a', '[1]'), ('b', '[10]'), ('a', '[2]')) "
        "SELECT g, vec_to_json(vec_avg(v)) FROM t GROUP BY g"
    )
    assert ours.execute(sql).fetchall() == [("a", "[1.5]"), ("b", "[10]")]
