"""Risk: a value that is not quite a float32 vector is stored as a different vector."""

from __future__ import annotations

import array

import numpy as np
import pytest

import vecsql

EXPECTED = np.array([1, -2.5, 3], "<f4").tobytes()


@pytest.mark.parametrize(
    "value",
    [
        [1, -2.5, 3],
        (1, -2.5, 3),
        np.array([1, -2.5, 3], np.float32),
        np.array([1, -2.5, 3], np.float64),
        np.array([1, -2.5, 3], np.float16),
        np.array([1, -2.5, 3], ">f4"),
        np.array([1, 9, -2.5, 9, 3], np.float32)[::2],
        np.array([[1, 0], [-2.5, 0], [3, 0]], np.float32)[:, 0],
        [np.float32(1), np.float64(-2.5), np.int64(3)],
        array.array("f", [1, -2.5, 3]),
        array.array("d", [1, -2.5, 3]),
        memoryview(np.array([1, -2.5, 3], np.float32)),
        EXPECTED,
        bytearray(EXPECTED),
    ],
    ids=lambda v: type(v).__name__,
)
def test_every_form_of_a_vector_gives_the_same_bytes(value):
    assert vecsql.f32(value) == EXPECTED


def test_integers_are_taken_as_numbers_not_as_bytes():
    assert vecsql.f32(np.array([1, 255], np.uint8)) == np.array([1, 255], "<f4").tobytes()


class Unwilling:
    """Like a torch tensor that requires grad."""

    def __array__(self, *args, **kwargs):
        raise RuntimeError("call detach() first")

    def __repr__(self):
        return "unwilling"  # the same in every process, for the name of the test


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1.0, float("nan")], "element 1 is not a finite number"),
        ([float("-inf")], "element 0 is not a finite number"),
        ([1.0, 1e39], "element 1 does not fit in float32"),
        (np.array([1e300]), "element 0 does not fit in float32"),
        (np.zeros((1, 3)), r"\(1, 3\): a batch of one, pass x\[0\]"),
        (np.zeros((2, 3)), r"\(2, 3\): a batch, convert each row"),
        (np.float32(3), "a single float32"),
        (3.5, "a single float"),
        ([], "1 to 65536 elements, got 0"),
        (np.zeros(65_537), "got 65537"),
        ("[1, 2]", "JSON text needs no conversion"),
        (b"12345", "5 bytes, which is no multiple of 4"),
        (["1", "2"], "expected real numbers"),
        ([1, None], "element 1 is no number: NoneType"),
        ([1 + 2j], "expected real numbers"),
        ([True, False], "expected real numbers"),
        ([[1], [2, 3]], "cannot take list as a vector"),
        (np.ma.array([1.0, 2.0], mask=[0, 1]), "masked"),
        (Unwilling(), r"call detach\(\) first"),
    ],
    ids=repr,
)
def test_what_is_no_vector_is_refused_with_the_reason(value, message):
    with pytest.raises(vecsql.ConversionError, match=message) as caught:
        vecsql.f32(value)
    assert isinstance(caught.value, ValueError)


def test_result_binds_in_every_driver(db):
    (back,) = db.execute("SELECT ?", (vecsql.f32([1, -2.5, 3]),)).fetchone()
    assert bytes(back) == EXPECTED


# ---- the other element types -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "convert", "value", "text"),
    [
        ("float16[2]", vecsql.f16, [0.5, -2], "[0.5,-2]"),
        ("float16[2]", vecsql.f16, np.array([0.5, -2], "<f2"), "[0.5,-2]"),
        ("int8[3]", vecsql.int8, [1, -128, 127], "[1,-128,127]"),
        ("int8[3]", vecsql.int8, np.array([1, -128, 127], np.int64), "[1,-128,127]"),
        ("bit[8]", vecsql.bit, [1, 0, 0, 0, 0, 0, 1, 1], "[1,0,0,0,0,0,1,1]"),
        ("bit[8]", vecsql.bit, np.arange(8) > 5, "[0,0,0,0,0,0,1,1]"),
    ],
)
def test_what_a_converter_gives_is_a_vector_of_the_column(column, convert, value, text):
    db = vecsql.connect(":memory:", driver="apsw")
    db.execute(f"CREATE VIRTUAL TABLE t USING vecsql(e {column})")
    db.execute("INSERT INTO t(e) VALUES (?)", (convert(value),))
    assert db.execute("SELECT vec_to_json(e) FROM t").fetchall() == [(text,)]


@pytest.mark.parametrize(
    ("convert", "value", "message"),
    [
        (vecsql.f16, [1, 70000], "element 1 does not fit in float16: 70000"),
        (vecsql.f16, [1, float("nan")], "element 1 is not a finite number"),
        (vecsql.int8, [1, 128], "element 1 is no whole number from -128 to 127: 128"),
        (vecsql.int8, [0.5], "element 0 is no whole number"),
        (vecsql.int8, [-129], "element 0 is no whole number"),
        (vecsql.bit, [1] * 7, "a multiple of 8 elements, got 7"),
        (vecsql.bit, [0, 1, 2, 0, 0, 0, 0, 0], "element 2 is neither 0 nor 1: 2"),
        (vecsql.bit, [[True] * 8], "expected one vector, got shape"),
    ],
)
def test_what_an_element_type_cannot_hold_is_refused(convert, value, message):
    with pytest.raises(vecsql.ConversionError, match=message):
        convert(value)
