"""Risk: a file as people have it gives wrong rows, or a traceback instead of a sentence."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import re
import struct
import sys

import numpy as np
import pytest

import vecsql
from vecsql._cli import main

WORDS = ["night train", "rye bread", "plum cake"]
ROWS = [(i, w, n) for i, (w, n) in enumerate(zip(WORDS, ["ann", "bob", "zoë"], strict=True), 1)]
RECORDS = [{"id": i, "text": w, "author": a} for i, w, a in ROWS]
VECTORS = np.random.default_rng(5).normal(size=(3, 4)).astype("f4")
TEXT = "SELECT id, text, author FROM t ORDER BY id"
BLOBS = [v.tobytes() for v in VECTORS]


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    """Runs a command in the folder of the test: exit status, and what it printed."""
    monkeypatch.chdir(tmp_path)

    def command(*args):
        with pytest.raises(SystemExit) as exit:
            main([str(a) for a in args])
        printed = capsys.readouterr()
        return exit.value.code, printed.out, printed.err

    return command


def stored(sql, path="a.db"):
    conn = vecsql.connect(path, driver="apsw", vec0=True)
    try:
        return conn.execute(sql).fetchall()
    finally:
        conn.close()


def table(separator=",", encoding="utf-8", end="\n", header="id,text,author"):
    lines = [header.replace(",", separator)] + [separator.join(map(str, r)) for r in ROWS]
    return "".join(line + end for line in lines).encode(encoding)


def lines(records=RECORDS, **options):
    return "".join(json.dumps(r, **options) + "\n" for r in records).encode()


def with_vectors(vectors, name="embedding"):
    return [{**r, name: v} for r, v in zip(RECORDS, vectors, strict=True)]


def npz(**arrays):
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def npy(array):
    out = io.BytesIO()
    np.save(out, array, allow_pickle=True)
    return out.getvalue()


def vecs(array, kind):
    return b"".join(struct.pack("<i", len(v)) + v.astype(kind).tobytes() for v in array)


def zstd(data):
    return pytest.importorskip("zstandard").ZstdCompressor().compress(data)


def arrow_table():
    arrow = pytest.importorskip("pyarrow")
    return arrow.Table.from_pylist(RECORDS)


def parquet(make=arrow_table, **options):
    out = io.BytesIO()
    data = make()
    pytest.importorskip("pyarrow.parquet").write_table(data, out, **options)
    return out.getvalue()


def ipc(stream=False, compression=None):
    data = arrow_table()
    ipc = pytest.importorskip("pyarrow.ipc")
    out = io.BytesIO()
    options = ipc.IpcWriteOptions(compression=compression)
    make = ipc.new_stream if stream else ipc.new_file
    with make(out, data.schema, options=options) as writer:
        writer.write_table(data)
    return out.getvalue()


def arrow_vectors(kind):
    arrow = pytest.importorskip("pyarrow")
    lists = [VECTORS[0].tolist(), None, VECTORS[2].tolist()]
    types = {"fixed": arrow.list_(arrow.float32(), 4), "half": arrow.list_(arrow.float64())}
    return arrow.table({"id": [1, 2, 3], "embedding": arrow.array(lists, types[kind])})


def text_columns():
    """Records whose columns have names of all kinds."""
    return [{"id": i, 'a "b", c': w, "select": a, "spaced out": 1.5} for i, w, a in ROWS]


GOOD = {
    "plain.csv": (table(), [], TEXT, ROWS),
    "semicolon.csv": (table(";"), [], TEXT, ROWS),
    "tabs-called.csv": (table("\t"), [], TEXT, ROWS),
    "pipes.txt": (table("|"), [], TEXT, ROWS),
    "caret.csv": (table("^"), ["--delimiter", "^"], TEXT, ROWS),
    "commas.tsv": (table(","), [], TEXT, ROWS),
    "excel.csv": (b"sep=;\r\n" + table(";", end="\r\n"), [], TEXT, ROWS),
    "decimal-commas.csv": (
        table(";", header="id,text,author", end=";3,50\n").replace(b"r;3,50", b"r;price", 1),
        ["--text", "text"],
        TEXT,
        ROWS,
    ),
    "crlf.csv": (table(end="\r\n"), [], TEXT, ROWS),
    "old-mac.csv": (table(end="\r"), [], TEXT, ROWS),
    "bom.csv": (b"\xef\xbb\xbf" + table(), ["--encoding", "utf-8"], TEXT, ROWS),
    "utf16.csv": (table(encoding="utf-16"), [], TEXT, ROWS),
    "utf32.csv": (table(encoding="utf-32"), [], TEXT, ROWS),
    "latin1.csv": (table(encoding="cp1252"), ["--encoding", "cp1252"], TEXT, ROWS),
    "no-last-line-end.csv": (table().rstrip(), [], TEXT, ROWS),
    "blank-lines.csv": (b"\n" + table(end="\n\n"), [], TEXT, ROWS),
    "delimiter-at-the-end.csv": (table(end=",\n", header="id,text,author"), [], TEXT, ROWS),
    "pandas-index.csv": (
        b",text,author\n1,night train,ann\n2,rye bread,bob\n3,plum cake,zo\xc3\xab\n",
        ["--text", "text"],
        "SELECT column_1, text, author FROM t ORDER BY 1",
        ROWS,
    ),
    "quotes-and-lines.csv": (
        b'id,text,author\n1,"a ""b"", c\nd",x\n2,y,z\n',
        [],
        TEXT,
        [(1, 'a "b", c\nd', "x"), (2, "y", "z")],
    ),
    "inch-marks.tsv": (
        b'id\ttext\tauthor\n1\t"5 inch" disk\tx\n2\t"half\tz\n',
        ["--no-quotes"],
        TEXT,
        [(1, '"5 inch" disk', "x"), (2, '"half', "z")],
    ),
    "nul-byte.jsonl": (
        lines([{"id": 1, "text": "a\0b", "author": "x"}]),
        [],
        TEXT,
        [(1, "a\0b", "x")],
    ),
    "nul-byte.csv": (b"id,text,author\n1,a\0b,x\n", [], TEXT, [(1, "a\0b", "x")]),
    "huge-field.csv": (
        b"id,text,author\n1," + b"word " * 60_000 + b",x\n",
        [],
        "SELECT id, length(text), author FROM t",
        [(1, 300_000, "x")],
    ),
    "numbers-that-are-names.csv": (
        b"id,text,zip,n\n1,a,01067,1\n2,b,20095,2\n",
        ["--text", "text"],
        "SELECT id, zip, n, typeof(zip) FROM t",
        [(1, "01067", 1, "text"), (2, "20095", 2, "text")],
    ),
    "one-column.csv": (b"text\na\nb\n", [], "SELECT text FROM t", [("a",), ("b",)]),
    "numpy-vectors.csv": (
        b'id,embedding\n1,"[1. 2.\n 3.5]"\n2,"{4,5,6}"\n',
        [],
        "SELECT id, embedding FROM t",
        [(1, vecsql.f32([1, 2, 3.5])), (2, vecsql.f32([4, 5, 6]))],
    ),
    "gzip.csv.gz": (gzip.compress(table()), [], TEXT, ROWS),
    "gzip-unsaid.csv": (gzip.compress(table()), [], TEXT, ROWS),
    "gzip.jsonl.gz": (gzip.compress(lines()), [], TEXT, ROWS),
    "gzip-array.json.gz": (gzip.compress(json.dumps(RECORDS).encode()), [], TEXT, ROWS),
    "bzip2.tsv.bz2": (bz2.compress(table("\t")), [], TEXT, ROWS),
    "xz.jsonl.xz": (lzma.compress(lines()), [], TEXT, ROWS),
    "zstd.jsonl.zst": (lambda: zstd(lines()), [], TEXT, ROWS),
    "lines.jsonl": (lines(), [], TEXT, ROWS),
    "lines-called.json": (lines(), [], TEXT, ROWS),
    "array.json": (json.dumps(RECORDS).encode(), [], TEXT, ROWS),
    "array-pretty.json": (json.dumps(RECORDS, indent=2).encode(), [], TEXT, ROWS),
    "array-called.jsonl": (json.dumps(RECORDS).encode(), [], TEXT, ROWS),
    "data.json": (json.dumps({"data": RECORDS, "total": 3}).encode(), [], TEXT, ROWS),
    "data-pretty.json": (
        json.dumps({"meta": {}, "records": RECORDS}, indent=1).encode(),
        [],
        TEXT,
        ROWS,
    ),
    "other-name.json": (json.dumps({"feeds": RECORDS}).encode(), [], TEXT, ROWS),
    "pandas-index.json": (
        json.dumps({str(i): r for i, r in enumerate(RECORDS)}).encode(),
        [],
        TEXT,
        ROWS,
    ),
    "by-key.json": (
        json.dumps({f"k{r['id']}": r for r in RECORDS}, indent=1).encode(),
        ["--text", "text"],
        "SELECT id, text, author FROM t ORDER BY key",
        ROWS,
    ),
    "reply.json": (
        json.dumps({"status": "ok", "took": 3, "results": RECORDS}).encode(),
        [],
        TEXT,
        ROWS,
    ),
    "record-with-a-list.json": (
        json.dumps({**RECORDS[0], "items": [{"a": 1}]}).encode(),
        [],
        "SELECT id, text, items FROM t",
        [(1, WORDS[0], '[{"a": 1}]')],
    ),
    "one-line.jsonl": (
        json.dumps({"text": "a", "data": [{"a": 1}]}).encode(),
        [],
        "SELECT text, data FROM t",
        [("a", '[{"a": 1}]')],
    ),
    "chroma.json": (
        json.dumps(
            {
                "ids": ["x", "y"],
                "documents": ["night train", "rye bread"],
                "embeddings": [[1, 2], [3, 4]],
                "data": None,
            }
        ).encode(),
        [],
        "SELECT ids, documents, embeddings FROM t ORDER BY 1",
        [("x", "night train", vecsql.f32([1, 2])), ("y", "rye bread", vecsql.f32([3, 4]))],
    ),
    "one-record.json": (json.dumps(RECORDS[0], indent=1).encode(), [], TEXT, ROWS[:1]),
    "jq.json": ("\n".join(json.dumps(r, indent=2) for r in RECORDS).encode(), [], TEXT, ROWS),
    "split.json": (
        json.dumps(
            {"columns": ["id", "text", "author"], "index": [0, 1, 2], "data": ROWS}
        ).encode(),
        [],
        TEXT,
        ROWS,
    ),
    "columns.json": (
        json.dumps({k: [r[k] for r in RECORDS] for k in RECORDS[0]}).encode(),
        [],
        TEXT,
        ROWS,
    ),
    "pandas-columns.json": (
        json.dumps({k: {str(i): r[k] for i, r in enumerate(RECORDS)} for k in RECORDS[0]}).encode(),
        [],
        TEXT,
        ROWS,
    ),
    "utf16.jsonl": (lines(ensure_ascii=False).decode().encode("utf-16"), [], TEXT, ROWS),
    "half-a-pair.jsonl": (
        b'{"id": 1, "text": "bad \\ud800 end", "author": "x"}\n',
        [],
        TEXT,
        [(1, "bad \ufffd end", "x")],
    ),
    "nested.jsonl": (
        b'{"id": 1, "text": "a", "tags": ["x", NaN], "meta": {"n": 1}, '
        b'"big": 123456789012345678901}\n',
        [],
        "SELECT json(tags), meta ->> 'n', big FROM t",
        [('["x",null]', 1, "123456789012345678901")],
    ),
    "numbers-in-text.jsonl": (
        b'{"id": 1, "text": "a", "phone": "49151"}\n',
        [],
        "SELECT phone, typeof(phone) FROM t",
        [("49151", "text")],
    ),
    "late-key.jsonl": (
        lines(
            [*({"id": i, "text": f"t{i}"} for i in range(700)), {"id": 700, "text": "x", "more": 2}]
        ),
        [],
        "SELECT count(*), max(more) FROM t",
        [(701, 2)],
    ),
    "bounding-box.jsonl": (
        b'{"id": 1, "text": "hello world", "bbox": [3, 4, 5, 6]}\n',
        [],
        "SELECT text, bbox, length(embedding) FROM t",
        [("hello world", "[3, 4, 5, 6]", 1024)],
    ),
    "second-vector-first.jsonl": (
        lines(with_vectors([None, *VECTORS[1:].tolist()])),
        [],
        "SELECT embedding FROM t ORDER BY id",
        [(None,), (BLOBS[1],), (BLOBS[2],)],
    ),
    "by-dimension.jsonl": (
        lines(with_vectors(VECTORS.tolist(), "features")),
        ["--dim", 4],
        "SELECT features FROM t ORDER BY id",
        [(b,) for b in BLOBS],
    ),
    "title-embedding.jsonl": (
        lines(with_vectors(VECTORS.tolist(), "title_embedding")),
        [],
        "SELECT title_embedding FROM t ORDER BY id",
        [(b,) for b in BLOBS],
    ),
    "vectors.json": (
        json.dumps(VECTORS.tolist()).encode(),
        [],
        "SELECT embedding FROM t",
        [(b,) for b in BLOBS],
    ),
    "names.jsonl": (
        lines(text_columns()),
        ["--text", 'a "b", c'],
        'SELECT id, "a ""b"", c", "select" FROM t',
        ROWS,
    ),
    "plain.npy": (npy(VECTORS), [], "SELECT embedding FROM t", [(b,) for b in BLOBS]),
    "half.npy": (
        npy(np.ones((2, 2), "f2")),
        [],
        "SELECT embedding FROM t",
        [(vecsql.f32([1, 1]),)] * 2,
    ),
    "truth.npy": (
        npy(np.eye(2, dtype=bool)),
        [],
        "SELECT embedding FROM t",
        [(vecsql.f32([1, 0]),), (vecsql.f32([0, 1]),)],
    ),
    "texts.npz": (
        npz(embeddings=VECTORS, id=np.array([1, 2, 3]), text=np.array(WORDS), version=np.array(2)),
        [],
        "SELECT id, text, embedding FROM t ORDER BY id",
        [(i, w, b) for (i, w, _), b in zip(ROWS, BLOBS, strict=True)],
    ),
    "several.npz": (
        npz(a=VECTORS, b=VECTORS[:2]),
        ["--dataset", "b"],
        "SELECT embedding FROM t",
        [(b,) for b in BLOBS[:2]],
    ),
    "vectors.fvecs": (vecs(VECTORS, "<f4"), [], "SELECT embedding FROM t", [(b,) for b in BLOBS]),
    "vectors.ivecs": (
        vecs(np.arange(6).reshape(2, 3), "<i4"),
        [],
        "SELECT embedding FROM t",
        [(vecsql.f32([0, 1, 2]),), (vecsql.f32([3, 4, 5]),)],
    ),
    "vectors.bvecs": (
        vecs(np.arange(6).reshape(2, 3), "u1"),
        [],
        "SELECT embedding FROM t",
        [(vecsql.f32([0, 1, 2]),), (vecsql.f32([3, 4, 5]),)],
    ),
    "table.parquet": (parquet, [], TEXT, ROWS),
    "table-called.bin": (lambda: parquet(compression="zstd"), [], TEXT, ROWS),
    "fixed.parquet": (
        lambda: parquet(lambda: arrow_vectors("fixed")),
        [],
        "SELECT embedding FROM t ORDER BY id",
        [(BLOBS[0],), (None,), (BLOBS[2],)],
    ),
    "lists.parquet": (
        lambda: parquet(lambda: arrow_vectors("half")),
        [],
        "SELECT embedding FROM t ORDER BY id",
        [(BLOBS[0],), (None,), (BLOBS[2],)],
    ),
    "table.arrow": (ipc, [], TEXT, ROWS),
    "table.feather": (lambda: ipc(compression="lz4"), [], TEXT, ROWS),
    "stream.arrows": (lambda: ipc(stream=True), [], TEXT, ROWS),
}

if sys.version_info < (3, 11):  # whose csv refuses NUL bytes, in one sentence
    del GOOD["nul-byte.csv"]


@pytest.mark.parametrize("name", GOOD)
def test_a_file_gives_its_rows(run, name, tmp_path):
    data, arguments, sql, expected = GOOD[name]
    (tmp_path / name).write_bytes(data() if callable(data) else data)
    code, _, err = run("import", "a.db", "t", name, *arguments)
    assert code == 0, err
    assert stored(sql) == expected
    assert run("check", "a.db")[0] == 0
    code, out, _ = run("import", "a.db", "t", name, *arguments)  # nothing comes twice
    assert code == 0, out
    assert stored(sql) == expected


BAD = {
    "empty.csv": (b"", "has no records: the first line names the columns"),
    "one-line.csv": (b"id,text\n", "has no records: the first line names the columns"),
    "blank.jsonl": (b"\n\n \n", "has no records"),
    "empty.json": (b"[]", "has no records"),
    "ragged.csv": (b"id,text\n1,a\n2,b,c\n", "line 3: expected 2 fields, got 3 .* --delimiter"),
    "short.csv": (b"id,text\n1\n", "line 2: expected 2 fields, got 1"),
    "open-quote.csv": (b'id,text\n1,"a\n2,b\n', "unexpected end of data; .* --no-quotes"),
    "stray-quote.csv": (b'id,text\n1,"a"b\n', "line 2: .* --no-quotes"),
    "twice.csv": (b"id,Text,text\n1,a,b\n", "two columns are called 'text'"),
    "latin1.csv": (table(encoding="cp1252"), "is not UTF-8: .* --encoding"),
    "utf16-unmarked.csv": (table(encoding="utf-16-le"), "--encoding utf-16-le"),
    "binary.csv": (bytes(range(256)) * 20, "is not UTF-8|is no text|UTF-16"),
    "spreadsheet.xlsx": (b"PK\x03\x04" + b"\0" * 50, "save it as csv"),
    "spreadsheet-called.csv": (b"PK\x03\x04\x14\0\6\0" + b"\0" * 50, "is no text|UTF-16"),
    "archive.zip": (b"PK\x03\x04" + b"\0" * 50, "unpack it first"),
    "cut.csv.gz": (gzip.compress(table() * 500)[:-30], "cannot be unpacked by gzip"),
    "cut.jsonl.xz": (lzma.compress(lines())[:-20], "cannot be unpacked by xz"),
    "damaged.csv.gz": (gzip.compress(table())[:14] + b"\xff" * 40, "cannot be unpacked by gzip"),
    "packed.npy.gz": (gzip.compress(npy(VECTORS)), "unpack it first"),
    "cut.json": (b'[{"text": "a"}, {"text"', "is no JSON"),
    "cut-object.json": (b'{"data": [\n{"text": "a"}', "is no JSON"),
    "scalar.json": (b"3", "expected an object"),
    "texts.json": (b'["a", "b"]', "record 1: expected an object, got str"),
    "after.json": (b'[{"text": "a"}] x', "more after the array"),
    "deep.json": (b"[" * 200_000, "nested too deeply"),
    "deep.jsonl": (b'{"a": ' * 200_000, "nested too deeply|is no JSON|line 1"),
    "broken.jsonl": (b'{"text": "a"}\n{"text": \n', "line 2: "),
    "mixed.jsonl": (b'{"text": "a"}\n[1]\n', "line 2: expected an object, got list"),
    "cases.jsonl": (b'{"text": "a", "Text": "b"}\n', "two columns are called 'Text'"),
    "no-name.jsonl": (b'{"text": "a", "": 1}\n', "cannot be the name of a column"),
    "lengths.jsonl": (b'{"emb": [1, 2]}\n{"emb": [1]}\n', r"lengths: 1 \(line 2\), 2 \(line 1\)"),
    "no-numbers.jsonl": (b'{"embedding": [1, 2]}\n{"embedding": "x"}\n', "embedding: line 2: exp"),
    "not-finite.jsonl": (b'{"embedding": [1, NaN]}\n', "not a finite number"),
    "two.jsonl": (b'{"a_emb": [1], "b_emb": [2]}\n', "which column holds the vectors. --vector"),
    "doubtful.jsonl": (b'{"name": "x", "sizes": [1, 2]}\n', "--text COLUMN, .* or --vector"),
    "no-text.csv": (b"a,b\n1,2\n", "--text COLUMN"),
    "repeated.csv": (b"id,text\n1,a\n1,b\n", r"id repeats: 1 values .* \(1\), in 2 .* --no-id"),
    "without-id.jsonl": (b'{"id": 1, "text": "a"}\n{"text": "b"}\n', "line 2: a record has no id"),
    "objects.npy": (npy(np.array([{"a": 1}], object)), "is no .npy file: .*Python objects"),
    "flat.npy": (npy(np.zeros(3)), r"two-dimensional .* shape \(3,\)"),
    "claims.npy": (
        npy(VECTORS).replace(b"(3, 4)", b"(9" + b"9" * 9 + b", 4)", 1).replace(b" " * 9, b"", 1),
        "is no .npy file",
    ),
    "no-elements.npy": (npy(np.zeros((3, 0))), "1 to 65,536 elements, got 0"),
    "nothing.npy": (npy(np.zeros((0, 3))), "has no records"),
    "nan.npy": (npy(np.array([[1, np.nan]])), "vector 0 holds NaN"),
    "complex.npy": (npy(np.zeros((2, 2), "c8")), "array of numbers"),
    "pickled.npz": (npz(a=VECTORS)[:-30], "is no .npz file"),
    "two.npz": (npz(a=VECTORS, b=VECTORS), "which array holds the vectors. --dataset"),
    "cut.fvecs": (vecs(VECTORS, "<f4")[:-1], "is no fvecs file"),
    "claims.fvecs": (struct.pack("<i", 2**31 - 1) + b"\0" * 8, "is no fvecs file"),
    "damaged.parquet": (b"PAR1" + b"\0" * 40, "is no Parquet file"),
    "damaged.arrow": (b"ARROW1\0\0" + b"\1" * 40, "is no Arrow file"),
    "nothing.hdf5": (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "is no HDF5 file"),
    "no-format.doc": (b"text", "--format tells"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_imported_is_refused_in_one_sentence(run, name, tmp_path):
    """And leaves nothing behind, so that the right file comes in by the same command."""
    data, message = BAD[name]
    (tmp_path / name).write_bytes(data)
    code, out, err = run("import", "a.db", "t", name)
    line = err.splitlines()[-1]
    assert (code, out) == (1, "")
    assert line.startswith("Error: ")
    assert re.search(message, line), line
    assert "Traceback" not in err
    assert not (tmp_path / "a.db").exists()
    (tmp_path / name).unlink()
    (tmp_path / "right.csv").write_bytes(table())
    assert run("import", "a.db", "t", "right.csv")[0] == 0
    assert stored(TEXT) == ROWS


def test_nothing_of_a_file_that_breaks_late_stays(run, tmp_path):
    """Behind the first batches, where rows would be committed already."""
    path = tmp_path / "a.csv"
    body = b"".join(b"%d,text %d\n" % (i, i) for i in range(2500))
    path.write_bytes(b"id,text\n" + body + b"x,y,z\n")
    code, _, err = run("import", "a.db", "t", path, "--batch", 500)
    assert (code, "line 2502" in err) == (1, True)
    assert not (tmp_path / "a.db").exists()
    path.write_bytes(b"id,text\n" + body)
    assert run("import", "a.db", "t", path, "--text", "text")[0] == 0
    assert stored("SELECT count(*), max(id) FROM t") == [(2500, 2499)]


# --- HDF5 ----------------------------------------------------------------------------------------


@pytest.fixture
def h5():
    return pytest.importorskip("h5py")


@pytest.mark.parametrize(
    ("named", "metric"),
    [("euclidean", "l2"), ("angular", "cosine"), (np.bytes_(b"euclidean"), "l2"), (None, "cosine")],
)
def test_the_distance_of_ann_benchmarks_is_taken_over(run, h5, tmp_path, named, metric):
    with h5.File(tmp_path / "a.hdf5", "w") as f:
        f["train"] = VECTORS
        if named is not None:
            f.attrs["distance"] = named
    assert run("import", "a.db", "t", "a.hdf5")[0] == 0
    (info,) = json.loads(run("info", "a.db", "--json")[1])["indexes"]
    assert info["metric"] == metric
    assert [b for (b,) in stored("SELECT embedding FROM t ORDER BY id")] == BLOBS
    assert run("import", "b.db", "t", "a.hdf5", "--metric", "dot")[0] == 0
    assert vecsql.indexes(vecsql.connect("b.db"))[0].metric == "dot"


def test_a_distance_that_an_index_cannot_have_is_named(run, h5, tmp_path):
    with h5.File(tmp_path / "a.hdf5", "w") as f:
        f["train"] = np.eye(8, dtype=bool)
        f.attrs["distance"] = "hamming"
    code, _, err = run("import", "a.db", "t", "a.hdf5")
    assert (code, "names the distance hamming: --metric" in err) == (1, True)
    assert run("import", "a.db", "t", "a.hdf5", "--metric", "l1")[0] == 0


def external_link(h5, f, other):
    f["train"] = h5.ExternalLink(str(other), "/train")


def soft_link(h5, f, other):
    f["outside"] = h5.ExternalLink(str(other), "/")
    f["train"] = h5.SoftLink("/outside/train")


def external_storage(h5, f, other):
    f.create_dataset("train", (3, 4), "f4", external=[(str(other), 0, 48)])


def virtual(h5, f, other):
    layout = h5.VirtualLayout((3, 4), "f4")
    layout[:] = h5.VirtualSource(str(other), "train", shape=(3, 4))
    f.create_virtual_dataset("train", layout)


def absurd_rows(h5, f, other):
    f.create_dataset("train", (10**15, 4), "f4", chunks=(1024, 4))


def absurd_width(h5, f, other):
    f.create_dataset("train", (3, 10**12), "f4", chunks=(1, 1024))


def never_written(h5, f, other):
    f.create_dataset("train", (3, 4), "f4")


def giant_chunk(h5, f, other):
    f.create_dataset("train", (10**9, 1), "u1", chunks=(10**9, 1), compression="gzip")


def one_group(h5, f, other):
    f["train/a"] = VECTORS


def texts_only(h5, f, other):
    f["train"] = np.array([[b"a", b"b"]], "S1")


def compound(h5, f, other):
    f["train"] = np.zeros((2, 2), [("a", "f4"), ("b", "f4")])


HOSTILE = {
    external_link: "is a link",
    soft_link: "is a link",
    external_storage: "in other files",
    virtual: "in other files",
    absurd_rows: "claims 1,000,000,000,000,000 vectors .* stores 0",
    absurd_width: "claims 3 vectors of 1,000,000,000,000 elements|65,536",
    never_written: "stores 0 elements",
    giant_chunk: "a chunk of 1,000,000,000 bytes",
    one_group: "is a group: --dataset, such as train/a",
    texts_only: "array of numbers",
    compound: "array of numbers",
}


@pytest.mark.parametrize("make", HOSTILE, ids=lambda f: f.__name__)
def test_hdf5_that_points_elsewhere_or_claims_too_much_is_refused(run, h5, tmp_path, make):
    with h5.File(tmp_path / "other.hdf5", "w") as f:
        f["train"] = VECTORS
    with h5.File(tmp_path / "a.hdf5", "w") as f:
        make(h5, f, tmp_path / "other.hdf5")
    code, _, err = run("import", "a.db", "t", "a.hdf5")
    assert code == 1
    assert re.search(HOSTILE[make], err), err
    assert not (tmp_path / "a.db").exists()


# --- our own exports -----------------------------------------------------------------------------

OWN = {
    "float": ("embedding FLOAT[8]", [[1.5, 0, 0, 0, 0, 0, 0, -2.25], None]),
    "float16": ("embedding FLOAT16[8]", [[0.5] * 8, None]),
    "int8": ("embedding INT8[8]", [[-128, 127, 0, 1, 2, 3, 4, 5], None]),
    "bit": ("embedding BIT[8]", [[1, 0, 0, 0, 0, 0, 0, 1], None]),
}


@pytest.mark.parametrize("element", ["float", "int8", "bit"])
def test_an_export_of_a_vec0_table_is_imported_and_written_by_the_helpers(run, element):
    """vec0 takes a bare blob for float32, so the column's own type has to be said."""
    column, (vector, _) = OWN[element]
    sql = "SELECT id, embedding FROM t ORDER BY id"
    encode = {"int8": vecsql.int8, "bit": vecsql.bit}.get(element, vecsql.f32)
    for name in ("a.db", "b.db"):
        conn = vecsql.connect(name, vec0=True)
        conn.execute(f"CREATE VIRTUAL TABLE t USING vec0(id INTEGER PRIMARY KEY, {column})")
        if name == "a.db":
            assert vecsql.insert(conn, "t", {"id": 1, "embedding": encode(vector)}) == 1
            assert vecsql.bulk_insert(conn, "t", [{"id": 2, "embedding": encode(vector)}]) == 1
            assert vecsql.update(conn, "t", {"id": 2, "embedding": encode(vector[::-1])}) == 1
        conn.commit()
        conn.close()
    assert stored(sql) == [(1, encode(vector)), (2, encode(vector[::-1]))]
    assert run("export", "a.db", "t", "out.jsonl")[0] == 0
    code, _, err = run("import", "b.db", "t", "out.jsonl")
    assert code == 0, err
    assert stored(sql, "b.db") == stored(sql)
    assert run("import", "c.db", "t", "out.jsonl")[0] == 0


@pytest.mark.parametrize("format", ["csv", "tsv", "json", "jsonl", "parquet", "arrow"])
@pytest.mark.parametrize("element", OWN)
def test_an_export_of_any_element_type_is_imported(run, tmp_path, element, format):
    """Into a table of the same kind as the same bytes, into a new one as the same numbers."""
    if format in ("parquet", "arrow"):
        pytest.importorskip("pyarrow")
    column, vectors = OWN[element]
    ddl = f'CREATE VIRTUAL TABLE "my ""t""" USING vecsql(id TEXT PRIMARY KEY, {column}, note TEXT)'
    encode = {"int8": vecsql.int8, "bit": vecsql.bit, "float16": vecsql.f16}.get(
        element, vecsql.f32
    )
    for name in ("a.db", "b.db"):
        conn = vecsql.connect(name, driver="apsw")
        conn.execute(ddl)
        if name == "a.db":
            rows = [
                (f"k,{i}", v if v is None else encode(v), 'a "q"\n') for i, v in enumerate(vectors)
            ]
            conn.executemany('INSERT INTO "my ""t"""(id, embedding, note) VALUES (?, ?, ?)', rows)
        conn.close()
    assert run("export", "a.db", 'my "t"', f"out.{format}")[0] == 0
    code, _, err = run("import", "b.db", 'my "t"', f"out.{format}")
    assert code == 0, err
    sql = 'SELECT id, embedding, note FROM "my ""t""" ORDER BY id'
    assert stored(sql, "b.db") == stored(sql, "a.db")
    code, _, err = run("import", "c.db", "new", f"out.{format}")
    assert code == 0, err
    copied = stored("SELECT id, embedding, note FROM new ORDER BY id", "c.db")
    assert [(i, n) for i, _, n in copied] == [(r[0], r[2]) for r in rows]
    assert [None if b is None else np.frombuffer(b, "f4").tolist() for _, b, _ in copied] == vectors


# --- ingest --------------------------------------------------------------------------------------


DOCUMENTS = {
    "plain.txt": (b"The night train leaves at ten.", "The night train"),
    "marked.md": (b"\xef\xbb\xbf# Bread\n\nRye and caraway.", "# Bread"),
    "crlf.rst": (b"Plums\r\n=====\r\n\r\nIn season.\r\n", "Plums"),
    "old-mac.txt": (b"one\rtwo\r", "one"),
    "utf16.txt": ("Zoë bakes.".encode("utf-16"), "Zoë bakes."),
    "utf32.txt": ("Zoë bakes.".encode("utf-32"), "Zoë bakes."),
    "one.txt": (b"x", "x"),
    "page.html": (b"<title>T</title><script>var x</script><p>Hello <b>world</b>.", "Hello world."),
    "UPPER.MD": (b"Upper case.", "Upper case."),
    "front.md": (b"---\ntitle: A\nyear: 2020\n---\nBody text.", "Body text."),
    "no-front.md": (b"---\ntitle: [A\n---\nBody text.", "---"),
    "long.txt": (b"word " * 5000, "word word"),
    "no-space.txt": (b"QUJD" * 5000, "QUJDQUJD"),
    "hindi.txt": ("यह है। वह है।".encode(), "यह है।"),
    "chinese.txt": ("今天天气很好。我们去公园。".encode(), "今天天气很好。"),
    "family.txt": ("👨‍👩‍👧‍👦 together".encode(), "👨‍👩‍👧‍👦 together"),
    "page-feed.txt": (b"page one\x0cpage two", "page one"),
    "outline.org": (b"* Title\ntext", "* Title"),
    "paper.tex": (b"\\section{A} text", "\\section{A} text"),
    "sub/deep/name.txt": (b"deep", "deep"),
    "sp ace/ü.txt": (b"name", "name"),
    "quote'.md": (b"quoted name", "quoted name"),
}
UNREADABLE = {
    "latin1.txt": "Zoë bakes.".encode("latin-1"),
    "binary.txt": bytes(range(256)) * 4,
    "nul.txt": b"a\0b",
    "utf16-unmarked.txt": "Zoe bakes.".encode("utf-16-le"),
    "half-a-pair.txt": b"\xed\xa0\x80 lone",
}
NO_DOCUMENTS = {
    "empty.txt": b"",
    "blank.md": b" \n\n",
    "image.png": bytes(range(256)),
    "paper.pdf": b"%PDF-1.4",
    "table.csv": b"a,b\n1,2\n",
    "packed.txt.gz": gzip.compress(b"x"),
    "no-suffix": b"text",
    ".hidden.md": b"hidden",
    ".git/c.txt": b"git",
    "node_modules/m.md": b"module",
    "env/pyvenv.cfg": b"home",
    "env/lib.txt": b"of an environment",
}


def test_a_folder_of_all_kinds_is_ingested_or_named(run, tmp_path):
    pytest.importorskip("selectolax")
    folder = tmp_path / "docs"
    contents = {name: data for name, (data, _) in DOCUMENTS.items()} | UNREADABLE | NO_DOCUMENTS
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    code, out, err = run("ingest", "a.db", "docs", folder)
    assert code == 0, err
    sql = "SELECT source, body, id FROM docs WHERE seq = (SELECT min(seq) FROM docs) ORDER BY id"
    found = {source.replace("\\", "/"): body for source, body, _ in stored(sql)}
    assert {name for name in found if found[name].strip()} == set(DOCUMENTS)
    for name, (_, beginning) in DOCUMENTS.items():
        assert found[name].startswith(beginning), name
    for name in UNREADABLE:
        (line,) = [line for line in err.splitlines() if line.startswith(f"left out: {name}")]
        assert re.search("is not utf-8 text|is no text", line)
    assert len([line for line in err.splitlines() if "left out" in line]) == len(UNREADABLE)
    before = stored("SELECT id, body FROM docs ORDER BY id")
    code, out, _ = run("ingest", "a.db", "docs", folder)  # nothing comes twice
    assert (code, " 0 documents added, 0 updated, 0 deleted" in out) == (0, True)
    assert stored("SELECT id, body FROM docs ORDER BY id") == before
    hit = run("search", "a.db", "docs", "railway", "-k", 1, "--columns", "body")[1]
    assert "night train" in hit


def test_a_csv_reader_agrees_about_every_dialect(run, tmp_path):
    """Whatever delimiter, quoting and line end Python's csv writes, import reads."""
    seed = 20261130
    rng = np.random.default_rng(seed)
    print("seed", seed)
    letters = np.array(list("ab c,;|\t\"'\nü"))
    for case in range(24):
        rows = [
            [str(i), "x" + "".join(rng.choice(letters, rng.integers(0, 9))), f"n{i}"]
            for i in range(1, int(rng.integers(2, 7)))
        ]
        path = tmp_path / f"{case}.csv"
        with path.open("w", newline="", encoding="utf-8") as f:
            writer = csv.writer(
                f,
                delimiter=str(rng.choice(list(",;\t|"))),
                quoting=int(rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])),
                lineterminator=str(rng.choice(["\n", "\r\n"])),
            )
            writer.writerows([["id", "text", "author"], *rows])
        code, _, err = run("import", f"{case}.db", "t", path)
        assert code == 0, (case, err, path.read_text())
        got = stored(TEXT, f"{case}.db")
        assert [(str(i), t, a) for i, t, a in got] == [tuple(r) for r in rows], (case, seed)
