"""Risk: a file is read as something it does not say, or written so that nobody can read it."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import pytest

from vecsql import FormatError
from vecsql._files.read import open_source
from vecsql._files.survey import read_all
from vecsql._files.write import write_records

RANDOM = np.random.default_rng(1)
VECTORS = RANDOM.random((2500, 5), np.float32)
BYTES = RANDOM.integers(0, 256, (2500, 5)).astype(np.float32)
ROWS = [
    {"id": i, "body": f"täxt, \"{i}\"\nsecond line\t", "price": i / 3, "none": None, "embedding": v}
    for i, v in enumerate(VECTORS)
]  # fmt: skip
COLUMNS = ["id", "body", "price", "none", "embedding"]


def write(path, format, rows=ROWS, columns=COLUMNS):
    return write_records(path, format, rows, columns=columns, vector="embedding", dim=5)


@pytest.mark.parametrize("format", ["csv", "tsv", "json", "jsonl", "parquet", "arrow"])
def test_records_come_back_as_they_were_written(tmp_path, format):
    path = tmp_path / f"a.{format}"
    assert write(path, format) == len(ROWS)
    vector, records = read_all(open_source(path))
    assert vector == "embedding"
    back = list(records)
    assert len(back) == len(ROWS)
    assert all(
        np.array_equal(a["embedding"], b["embedding"]) for a, b in zip(ROWS, back, strict=True)
    )
    text = format in ("csv", "tsv")
    for a, b in zip(ROWS, back, strict=True):
        assert b["body"] == a["body"]
        assert b["id"] == (str(a["id"]) if text else a["id"])
        assert float(b["price"]) == a["price"]
        assert b["none"] == ("" if text else None)


@pytest.mark.parametrize("format", ["npy", "fvecs", "bvecs", "hdf5"])
def test_vectors_come_back_as_they_were_written(tmp_path, format):
    data = BYTES if format == "bvecs" else VECTORS
    path = tmp_path / f"a.{format}"
    assert write(path, format, [{"embedding": v} for v in data]) == len(data)
    source = open_source(path)
    assert source.total == len(data)
    assert np.array_equal(np.stack([r["embedding"] for r in source.records(0)]), data)


def test_our_npy_and_hdf5_files_are_those_of_their_libraries(tmp_path):
    h5py = pytest.importorskip("h5py")
    write(tmp_path / "a.npy", "npy")
    assert np.array_equal(np.load(tmp_path / "a.npy"), VECTORS)
    write(tmp_path / "a.hdf5", "hdf5")
    with h5py.File(tmp_path / "a.hdf5") as f:
        assert np.array_equal(f["train"][:], VECTORS)


def test_fvecs_are_laid_out_as_texmex_does_it(tmp_path):
    write(tmp_path / "a.fvecs", "fvecs", [{"embedding": np.array([1, 2, 3, 4, 5], "f4")}])
    assert (tmp_path / "a.fvecs").read_bytes() == b"\5\0\0\0" + np.arange(
        1, 6, dtype="<f4"
    ).tobytes()


@pytest.mark.parametrize(
    "format", ["csv", "json", "jsonl", "npy", "fvecs", "hdf5", "parquet", "arrow"]
)
@pytest.mark.parametrize("skip", [0, 1, 1023, 1024, 1500, 2500, 9999])
def test_skipping_gives_the_rest_of_the_records(tmp_path, format, skip):
    path = tmp_path / f"a.{format}"
    write(path, format)
    rest = [r["embedding"] for r in read_all(open_source(path), skip)[1]]
    assert len(rest) == max(0, 2500 - skip)
    if rest:
        assert np.array_equal(rest[0], VECTORS[skip])


def test_other_libraries_arrays_are_read(tmp_path):
    for name, array in {
        "f8": VECTORS.astype("f8"),
        "u1": BYTES.astype("u1"),
        "fortran": np.asfortranarray(VECTORS),
        "big": VECTORS.astype(">f4"),
    }.items():
        np.save(tmp_path / f"{name}.npy", array)
        back = np.stack(
            [r["v"] for r in open_source(tmp_path / f"{name}.npy", vector="v").records(0)]
        )
        assert back.dtype == np.float32
        assert np.array_equal(back, array.astype(np.float32))


def test_hdf5_has_datasets_by_name(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5", "w") as f:
        f["test"] = VECTORS[:7]
    assert open_source(tmp_path / "a.h5", dataset="test").total == 7
    with pytest.raises(FormatError, match="no dataset 'train'; it has test"):
        open_source(tmp_path / "a.h5")


def test_parquet_of_other_types_becomes_what_sqlite_stores(tmp_path):
    import datetime

    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    table = pyarrow.Table.from_pylist(
        [
            {
                "d": datetime.date(2020, 1, 2),
                "l": ["a", "b"],
                "t": True,
                "b": b"x",
                "e": [1.0, 2.0],
            },
            {"d": None, "l": [], "t": None, "b": None, "e": None},
        ]
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    first, second = read_all(open_source(tmp_path / "a.parquet", vector="e"))[1]
    assert first["e"].tolist() == [1.0, 2.0]
    assert {k: v for k, v in first.items() if k != "e"} == {
        "d": "2020-01-02", "l": '["a", "b"]', "t": 1, "b": b"x",
    }  # fmt: skip
    assert (second["e"], second["l"], second["t"]) == (None, "[]", None)


def test_a_stream_is_read_as_often_as_a_file_with_its_format_told():
    data = '\ufeffid,body\r\n1,a\r\n2,"b\r\nc"\r\n'.encode()
    source = open_source(io.BytesIO(data), "csv")
    assert (source.name, source.fingerprint) == ("-", None)
    for _ in range(2):
        assert list(source.records(0)) == [{"id": "1", "body": "a"}, {"id": "2", "body": "b\r\nc"}]
    with pytest.raises(FormatError, match="--format tells"):
        open_source(io.BytesIO(data))
    array = io.BytesIO()
    np.save(array, VECTORS)
    array.seek(0)
    assert open_source(array).total == len(VECTORS)


def test_progress_in_bytes_ends_at_the_size_of_the_file(tmp_path):
    write(tmp_path / "a.csv", "csv")
    source = open_source(tmp_path / "a.csv")
    assert source.unit == "bytes"
    assert source.done() == 0
    list(source.records(0))
    assert source.done() == source.total == (tmp_path / "a.csv").stat().st_size


def test_a_change_of_the_file_changes_its_fingerprint(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n")
    before = open_source(path).fingerprint
    assert open_source(path).fingerprint == before
    path.write_text("a\n2\n")
    assert open_source(path).fingerprint != before


def test_the_vector_column_is_found_only_where_there_is_one(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": [1, 2], "vector": [3, 4], "s": "x"}\n')
    assert read_all(open_source(tmp_path / "a.jsonl"))[0] == "vector"
    (tmp_path / "b.jsonl").write_text('{"tags": ["x"], "n": 1}\n')
    vector, records = read_all(open_source(tmp_path / "b.jsonl"))
    assert vector is None
    assert list(records) == [{"tags": '["x"]', "n": 1}]


BAD = [
    ("a.csv", b"a,b\n1\n", "line 2: expected 2 fields, got 1"),
    ("a.csv", b"a,a\n1,2\n", "two columns are called 'a'"),
    ("a.csv", b'a\n"x\n', "line 2: unexpected end of data"),
    ("a.csv", b"a\n\xff\n", "is not UTF-8: .* --encoding tells"),
    ("a.jsonl", b'{"a": 1}\n{\n', "line 2: "),
    ("a.jsonl", b"[1]\n", "record 1: expected an object, got int"),
    ("a.npy", b"nothing", "is no .npy file"),
    ("a.fvecs", b"\2\0\0\0abc", "is no fvecs file: 7 bytes"),
    ("a.fvecs", b"", "is no fvecs file: 0 bytes"),
    ("a.fvecs", b"\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0", "vector 1 has 2 elements, expected 1"),
    ("a.fvecs", b"\1\0\0\0\0\0\xc0\x7f", "vector 0 holds NaN"),
    ("a.hdf5", b"nothing", "is no HDF5 file"),
    ("a.parquet", b"nothing", "is no Parquet file"),
    ("a.doc", b"", "its name tells no format"),
]


@pytest.mark.parametrize(("name", "content", "message"), BAD)
def test_a_damaged_file_is_refused_with_the_place(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=message):
        list(open_source(tmp_path / name).records(0))


def test_a_value_that_is_no_vector_is_refused_with_the_line(tmp_path):
    (tmp_path / "a.csv").write_text('id,v\n1,"[1, 2]"\n2,"[1, x]"\n')
    with pytest.raises(FormatError, match="column v: line 3: expected a vector"):
        read_all(open_source(tmp_path / "a.csv", vector="v"))
    (tmp_path / "b.npy").write_bytes(b"")
    np.save(tmp_path / "b.npy", np.zeros(3))
    with pytest.raises(FormatError, match=r"two-dimensional .* got float64 of shape \(3,\)"):
        open_source(tmp_path / "b.npy")


def test_a_missing_file_or_format_is_named(tmp_path):
    for name in ("x.csv", "x.npy", "x.parquet"):
        with pytest.raises(FormatError, match="no such file"):
            open_source(tmp_path / name)
    with pytest.raises(FormatError, match="unknown format 'xls'"):
        open_source(tmp_path / "x", "xls")


@pytest.mark.parametrize(("module", "extra"), [("h5py", "hdf5"), ("pyarrow", "parquet")])
def test_a_missing_library_is_named_with_the_extra(tmp_path, monkeypatch, module, extra):
    for name in [m for m in sys.modules if m.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    path = tmp_path / f"a.{extra}"
    path.write_bytes(b"x")
    for action in (lambda: open_source(path), lambda: write(tmp_path / f"b.{extra}", extra)):
        with pytest.raises(FormatError, match=rf"pip install 'vecsql\[{extra}\]'"):
            action()
    assert not (tmp_path / f"b.{extra}").exists()


def test_a_failed_export_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("old")

    def rows():
        yield ROWS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, "jsonl", rows())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_format_cannot_hold_is_refused(tmp_path):
    with pytest.raises(FormatError, match="0 to 255"):
        write(tmp_path / "a.bvecs", "bvecs")
    with pytest.raises(FormatError, match="a row has no embedding"):
        write(tmp_path / "a.npy", "npy", [{"embedding": None}])
    with pytest.raises(FormatError, match="no column of vectors"):
        write_records(tmp_path / "a.npy", "npy", [], columns=["a"], vector=None, dim=0)
    with pytest.raises(FormatError, match="not to standard output"):
        write("-", "npy")


def test_text_goes_to_standard_output(capsys):
    write("-", "jsonl", ROWS[:2], ["id", "embedding"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["id"] for line in lines] == [0, 1]
    assert np.array_equal(np.array(lines[1]["embedding"], np.float32), VECTORS[1])
