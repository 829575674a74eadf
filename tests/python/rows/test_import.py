"""Risk: an import loses records, takes some twice, or changes what it did not read."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest

import vecsql
from tests.support import killed
from tests.support.csv_files import texts, write_csv
from vecsql._files.read import open_source
from vecsql._files.source import Source
from vecsql._rows.imports import import_records


def run(db, path, table="docs", **arguments):
    return import_records(db, table, open_source(path), **arguments)


@pytest.fixture
def db():
    conn = vecsql.connect(":memory:")
    yield conn
    conn.close()


def bodies(db, table="docs"):
    return [b for (b,) in db.execute(f"SELECT body FROM {table} ORDER BY rowid")]


def test_a_csv_becomes_a_searchable_table_with_typed_columns(tmp_path, driver):
    conn = vecsql.connect(":memory:", driver=driver)
    path = write_csv(
        tmp_path / "a.csv",
        300,
        year=lambda i: 2000 + i,
        price=lambda i: i / 4,
        code=lambda i: f"0{i}",
    )
    done = run(conn, path, fts=True, batch=70)
    assert (done.added, done.updated, done.unchanged, done.resumed) == (300, 0, 0, 0)
    kinds = dict(conn.execute("SELECT name, type FROM pragma_table_info('docs')").fetchall())
    assert kinds["id"] == kinds["year"] == "INTEGER"
    assert (kinds["price"], kinds["code"], kinds["body"]) == ("REAL", "TEXT", "TEXT")
    assert bodies(conn) == texts(300)
    hits = vecsql.search(conn, "docs", texts(300)[17], 1, mode="hybrid")
    assert hits[0].row == {
        "id": 18,
        "body": texts(300)[17],
        "year": 2017,
        "price": 4.25,
        "code": "017",
    }


def test_imported_vectors_are_those_of_the_trigger(tmp_path, db):
    run(db, write_csv(tmp_path / "a.csv", 20))
    before = db.execute("SELECT id, embedding FROM docs").fetchall()
    db.execute("INSERT INTO docs(body) SELECT body FROM docs")
    after = db.execute("SELECT embedding FROM docs WHERE id > 20 ORDER BY id").fetchall()
    assert [v for _, v in before] == [v for (v,) in after]


def test_importing_again_adds_nothing_unless_asked(tmp_path, db):
    path = write_csv(tmp_path / "a.csv", 50)
    run(db, path)
    done = run(db, path)
    assert (done.complete, done.records, done.resumed) == (True, 0, 50)
    assert run(db, path, again=True).added == 50
    assert len(bodies(db)) == 100


def test_rows_are_matched_by_id_and_only_what_differs_is_written(tmp_path, db):
    path = write_csv(tmp_path / "a.csv", 50, id=lambda i: i * 10)
    run(db, path)
    stamp = "SELECT value FROM vecsql_stats('docs_embedding') WHERE name = 'stamp'"
    before = db.execute(stamp).fetchone()
    done = run(db, path)
    assert (done.added, done.updated, done.unchanged) == (0, 0, 50)
    assert db.execute(stamp).fetchone() == before
    lines = path.read_text().splitlines()
    lines[3] = "something quite different,20"
    path.write_text("\n".join([*lines, "a new one,999"]) + "\n")
    done = run(db, path)
    assert (done.added, done.updated, done.unchanged) == (1, 1, 49)
    assert vecsql.search(db, "docs", "something quite different", 1)[0].id == 20
    assert vecsql.search(db, "docs", "a new one", 1)[0].id == 999
    db.execute("INSERT INTO docs_embedding(docs_embedding) VALUES ('integrity-check')")


def test_a_text_id_gets_a_unique_column_beside_the_key(tmp_path, db):
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"id": "x", "body": "one"}\n{"id": "y", "body": "two"}\n{"id": "x", "body": "three"}\n'
    )
    with pytest.raises(vecsql.FormatError, match=r"id repeats: 1 values .* \(x\), in 2 records"):
        run(db, path)
    done = run(db, path, id="id")
    assert (done.added, done.unchanged, done.repeated, done.replaced) == (2, 0, {"x": 2}, 1)
    assert db.execute("SELECT row, id, body FROM docs").fetchall() == [
        (1, "x", "three"),
        (2, "y", "two"),
    ]
    path.write_text('{"id": "y", "body": "four"}\n')
    run(db, path, id="id")
    assert db.execute("SELECT id, body FROM docs").fetchall() == [("x", "three"), ("y", "four")]


def test_a_record_without_its_id_is_refused_before_anything_is_written(tmp_path, db):
    path = tmp_path / "a.jsonl"
    lines = [{"id": i, "body": f"b{i}"} for i in range(10)] + [{"body": "no id"}]
    path.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(vecsql.FormatError, match=r"line 11: a record has no id: --no-id makes"):
        run(db, path, batch=4)
    assert db.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    path.write_text("\n".join(map(json.dumps, lines[:10])))
    run(db, path, batch=4)
    assert bodies(db) == [f"b{i}" for i in range(10)]


# --- interruption --------------------------------------------------------------------------------


class Stop(Exception):
    pass


@pytest.mark.parametrize("stop", range(1, 5))
def test_an_interrupted_import_goes_on_where_it_stopped(tmp_path, db, stop):
    path = write_csv(tmp_path / "a.csv", 230)
    calls = 0

    def progress(rows, position):
        nonlocal calls
        calls += 1
        if calls == stop:
            raise Stop

    with pytest.raises(Stop):
        run(db, path, batch=50, progress=progress)
    done = run(db, path, batch=30)
    assert (done.resumed, done.added) == (50 * stop, 230 - 50 * stop)
    assert bodies(db) == texts(230)
    assert run(db, path).complete


def test_an_interrupted_import_of_a_file_that_changed_is_refused(tmp_path, db):
    path = write_csv(tmp_path / "a.csv", 100)

    def progress(rows, position):
        raise Stop

    with pytest.raises(Stop):
        run(db, path, batch=50, progress=progress)
    write_csv(path, 101)  # it grew
    path.write_text(path.read_text().replace(texts(101)[49], "other"))
    with pytest.raises(
        vecsql.FormatError, match="its import into docs was interrupted: its first 50 records are"
    ):
        run(db, path)
    assert bodies(db) == texts(100)[:50]
    write_csv(path, 101)
    assert (run(db, path).resumed, bodies(db)) == (50, texts(101))


def test_of_a_file_that_grew_the_new_records_come(tmp_path, db):
    path = write_csv(tmp_path / "a.csv", 100)
    run(db, path, batch=30)
    write_csv(path, 137)
    done = run(db, path, batch=30)
    assert (done.grew, done.resumed, done.added) == (True, 100, 37)
    assert bodies(db) == texts(137)
    assert run(db, path).complete


def test_a_file_that_grew_may_bring_a_new_column(tmp_path, db):
    path = tmp_path / "a.jsonl"
    path.write_text('{"body": "one"}\n')
    run(db, path)
    with path.open("a") as f:
        f.write('{"body": "two", "year": 2020}\n')
    run(db, path)
    assert db.execute("SELECT body, year FROM docs").fetchall() == [("one", None), ("two", 2020)]
    db.execute("INSERT INTO docs_embedding(docs_embedding) VALUES ('integrity-check')")


def test_a_file_that_changed_in_its_beginning_is_refused_with_a_way_on(tmp_path, db):
    path = write_csv(tmp_path / "a.csv", 40)
    run(db, path)
    path.write_text(path.read_text().replace(texts(40)[0], "other") + "one more\n")
    with pytest.raises(vecsql.FormatError, match=r"--again imports all .* --id COLUMN matches"):
        run(db, path)
    assert bodies(db) == texts(40)
    assert run(db, path, again=True).added == 41


def test_a_table_that_was_emptied_is_filled_again(tmp_path, db):
    path = write_csv(tmp_path / "a.csv", 10)
    run(db, path)
    db.execute("DELETE FROM docs")
    assert run(db, path).added == 10


def test_the_record_of_an_older_version_is_understood(tmp_path, db):
    path = write_csv(tmp_path / "a.csv", 10)
    run(db, path)
    db.execute(
        "CREATE TABLE vecsql_imports(tbl TEXT, source TEXT, fingerprint TEXT, done INT, "
        "finished INT, PRIMARY KEY(tbl, source))"
    )
    db.execute(
        "INSERT INTO vecsql_imports SELECT tbl, name, fingerprint, done, finished "
        "FROM vecsql_progress"
    )
    db.execute("DROP TABLE vecsql_progress")
    before = path.read_bytes()
    path.write_bytes(before + b"more\n")
    with pytest.raises(vecsql.FormatError, match="has changed since it was imported into docs"):
        run(db, path)
    path.write_bytes(before)
    assert run(db, path).complete
    path.write_bytes(before + b"more\n")
    assert run(db, path).added == 1


def test_a_dropped_table_is_imported_from_the_beginning(tmp_path, db):
    path = write_csv(tmp_path / "a.csv", 10)
    run(db, path)
    vecsql.drop_index(db, "docs")
    db.execute("DROP TABLE docs")
    assert run(db, path).added == 10


IMPORT = """
    import sys
    from vecsql._cli import main
    target, source = sys.argv[1:]
    arguments = ["import", target, "docs", source, "--batch", "100", "--fts"]
    main(arguments, standalone_mode=False)
"""


def _kill_until_complete(tmp_path, n, kills):
    """Kills an importing child at random moments; returns how many were killed half way."""
    path = write_csv(tmp_path / "a.csv", n)
    target = tmp_path / "a.db"
    halfway = 0
    for moment in killed.moments(killed.run(IMPORT, tmp_path / "counted.db", path), kills):
        killed.run(IMPORT, target, path, moment=moment)
        conn = vecsql.connect(target, driver="apsw")
        if conn.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'docs'").fetchone()[0]:
            (rows,) = conn.execute("SELECT count(*) FROM docs").fetchone()
            (done,) = conn.execute("SELECT coalesce(max(done), 0) FROM vecsql_progress").fetchone()
            assert rows == done
            halfway += 0 < rows < n
        conn.close()
    killed.run(IMPORT, target, path)
    conn = vecsql.connect(target, driver="apsw")
    assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert bodies(conn) == texts(n)
    assert conn.execute("SELECT count(*) FROM docs_embedding").fetchone() == (n,)
    conn.execute(
        "INSERT INTO docs_embedding_fts(docs_embedding_fts, rank) VALUES('integrity-check', 1)"
    )
    conn.close()
    return halfway


@pytest.mark.slow
def test_a_killed_import_is_completed_without_duplicates(tmp_path):
    assert _kill_until_complete(tmp_path, 800, 2) > 0


@pytest.mark.slow
def test_an_import_killed_many_times_is_completed_without_duplicates(tmp_path):
    assert _kill_until_complete(tmp_path, 8000, 25) > 12


# --- vectors -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["npy", "fvecs", "hdf5", "jsonl", "parquet"])
def test_vectors_are_imported_as_they_are(tmp_path, db, suffix):
    from vecsql._files.write import write_records

    data = np.random.default_rng(1).random((150, 8), np.float32)
    path = tmp_path / f"a.{suffix}"
    rows = [{"embedding": v} for v in data]
    write_records(path, suffix, rows, columns=["embedding"], vector="embedding", dim=8)
    assert run(db, path, metric="l2", batch=64).added == 150
    stored = [
        np.frombuffer(b, "f4") for (b,) in db.execute("SELECT embedding FROM docs ORDER BY id")
    ]
    assert np.array_equal(np.stack(stored), data)
    hits = vecsql.search(db, "docs", data[70], 1)
    assert (hits[0].id, hits[0].distance) == (71, 0.0)


def test_a_source_of_any_records_is_imported(db):
    """What another program's reader has to give."""
    vectors = np.eye(4, dtype=np.float32)

    def records(skip):
        for i in range(skip, 4):
            yield {"id": i, "label": f"l{i}", "emb": vectors[i]}

    source = Source("other.db:items", records, vector="emb", total=4, fingerprint="v1")
    done = import_records(db, "items", source, metric="dot")
    assert done.added == 4
    (info,) = vecsql.indexes(db, "items")
    assert (info.column, info.dim, info.metric, info.key) == ("emb", 4, "dot", "id")
    assert vecsql.search(db, "items", [0, 0, 1, 0], 1)[0].row == {"id": 2, "label": "l2"}


def test_vectors_of_another_length_are_refused(tmp_path, db):
    (tmp_path / "a.jsonl").write_text('{"v": [1, 2]}\n{"v": [1, 2, 3]}\n')
    with pytest.raises(vecsql.FormatError, match=r"lengths: 2 \(line 1\), 3 \(line 2\)"):
        import_records(db, "t", open_source(tmp_path / "a.jsonl", vector="v"))
    np.save(tmp_path / "a.npy", np.ones((2, 2)))
    run(db, tmp_path / "a.npy", "t")
    np.save(tmp_path / "b.npy", np.ones((2, 3)))
    with pytest.raises(vecsql.FormatError, match=r"has 2 dimensions, .* brings vectors of 3"):
        run(db, tmp_path / "b.npy", "t")


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("first", [None, 0])
def test_vectors_of_another_model_never_go_under_the_models_name(db, tmp_path, exists, first):
    """Whether the table is new or has a model, and whatever record brings the first vector."""
    rng = np.random.default_rng(3)
    lines = [{"body": t, "embedding": rng.normal(size=256).tolist()} for t in texts(4)]
    if first is not None:
        lines[first]["embedding"] = None
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    if exists:
        vecsql.create_table(db, "docs", {"body": str}, text="body")
    with pytest.raises(vecsql.SchemaError, match=r"did not make of body: --no-vectors leaves"):
        run(db, path, text=["body"])
    run(db, path, text=["body"], vectors=False)
    (info,) = vecsql.indexes(db, "docs")
    stored = [np.frombuffer(b, "f4") for (b,) in db.execute("SELECT embedding FROM docs")]
    assert info.model_id == "vecsql-static-en-256"
    assert np.array_equal(np.stack(stored), vecsql.StaticEmbedder().encode(texts(4)))
    run(db, path, "others")
    (info,) = vecsql.indexes(db, "others")
    assert (info.model_id, info.text) == (None, ())


def test_an_export_that_comes_back_has_its_model_again(db, tmp_path):
    from vecsql._files.write import write_records
    from vecsql._search.export import stream_rows

    run(db, write_csv(tmp_path / "a.csv", 20, year=lambda i: i))
    (info,) = vecsql.indexes(db, "docs")
    names = ["id", "body", "year", "embedding"]
    rows = stream_rows(db, info, names, None)
    write_records(
        tmp_path / "b.jsonl", "jsonl", rows, columns=names, vector="embedding", dim=info.dim
    )
    run(db, tmp_path / "b.jsonl", "copy")
    (copy,) = vecsql.indexes(db, "copy")
    assert (copy.text, copy.model_id) == (("body",), info.model_id)
    sql = "SELECT id, body, year, embedding FROM {}"
    assert db.execute(sql.format("copy")).fetchall() == db.execute(sql.format("docs")).fetchall()
    assert vecsql.search(db, "copy", texts(20)[7], 1)[0].id == 8


def test_vectors_of_the_model_itself_are_taken_and_missing_ones_computed(db, tmp_path):
    made = vecsql.StaticEmbedder().encode(["given"])[0]
    (tmp_path / "a.jsonl").write_text(
        json.dumps({"body": "given", "embedding": made.tolist()}) + '\n{"body": "computed"}\n'
    )
    run(db, tmp_path / "a.jsonl", text=["body"])
    given, computed = (np.frombuffer(b, "f4") for (b,) in db.execute("SELECT embedding FROM docs"))
    assert np.array_equal(given, made)
    assert np.array_equal(computed, vecsql.StaticEmbedder().encode(["computed"])[0])


# --- tables that exist ---------------------------------------------------------------------------


def test_records_go_into_a_table_that_exists(tmp_path, db):
    db.execute("CREATE TABLE docs(key INTEGER PRIMARY KEY, body TEXT, note TEXT DEFAULT 'none')")
    db.execute("INSERT INTO docs(body) VALUES ('before')")
    run(db, write_csv(tmp_path / "a.csv", 5), text=["body"])
    assert bodies(db) == ["before", *texts(5)]
    assert db.execute("SELECT DISTINCT note FROM docs").fetchall() == [("none",)]
    assert vecsql.search(db, "docs", "before", 1)[0].id == 1


def test_a_virtual_table_with_rows_of_its_own_takes_records(db):
    db.execute("CREATE VIRTUAL TABLE v USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[2], cat TEXT)")
    lines = b'{"id": 7, "e": [1, 2], "cat": "a"}\n{"id": 8, "e": [3, 4], "cat": "b"}\n'
    import_records(db, "v", open_source(io.BytesIO(lines), "jsonl", vector="e"))
    found = db.execute("SELECT id, cat, e FROM v").fetchall()
    assert found == [(7, "a", vecsql.f32([1, 2])), (8, "b", vecsql.f32([3, 4]))]


def test_standard_input_is_read_once(db):
    data = "body\n" + "\n".join(texts(30)) + "\n"
    done = import_records(db, "docs", open_source(io.BytesIO(data.encode()), "csv"), batch=7)
    assert done.added == 30
    assert bodies(db) == texts(30)


def test_several_columns_are_embedded_together(db, tmp_path):
    path = write_csv(tmp_path / "a.csv", 5, title=lambda i: f"title {i}")
    run(db, path, text=["title", "body"])
    assert vecsql.indexes(db, "docs")[0].text == ("title", "body")
    stored = db.execute("SELECT embedding FROM docs WHERE id = 1").fetchone()[0]
    expected = vecsql.StaticEmbedder().encode([f"title 0\n{texts(1)[0]}"])[0]
    assert np.array_equal(np.frombuffer(stored, "f4"), expected)


BAD = [
    ("a,b\nx,y\n", {}, r"which column is to be embedded\? --text COLUMN, one of a, b"),
    ("a,body\nx,y\n", {"text": ["c"]}, "--text c: .* has no such column; it has a, body"),
    ("a,body\nx,y\n", {"id": "c"}, "--id c: .* has no such column"),
    ("body\n", {}, "has no records"),
]


@pytest.mark.parametrize(("content", "arguments", "message"), BAD)
def test_what_cannot_be_imported_is_refused_before_anything_is_made(
    tmp_path, db, content, arguments, message
):
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(vecsql.Error, match=message):
        run(db, tmp_path / "a.csv", **arguments)
    assert db.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)


class Picky:
    """A model that refuses one text, as servers refuse those that are too long."""

    model_id, dim = "picky", 2

    def encode(self, texts):
        if any("refused" in t for t in texts):
            raise vecsql.EmbedderError("the input is too long")
        return [[len(t), 1.0] for t in texts]


@pytest.mark.parametrize("exists", [False, True])
def test_the_record_that_a_model_refuses_is_named_and_the_corrected_file_comes_in(
    tmp_path, db, exists
):
    path = tmp_path / "a.csv"
    path.write_text("body\n" + "".join(f"text {i}\n" for i in range(12)) + "refused\n")
    if exists:
        vecsql.create_table(db, "docs", {"body": str}, text="body", embedder=Picky())
    with pytest.raises(vecsql.EmbedderError, match=r"a\.csv, record 13: .*too long"):
        run(db, path, embedder=Picky(), batch=5)
    path.write_text(path.read_text().replace("refused", "a text"))
    assert run(db, path, embedder=Picky(), batch=5).resumed == 10
    assert bodies(db) == [*(f"text {i}" for i in range(12)), "a text"]


def test_another_connection_writes_whenever_the_model_works(tmp_path, driver):
    """For new rows, for changed ones, and while table and index are made."""
    path = tmp_path / "a.db"

    class Model:
        model_id, dim = "writes", 2
        calls = 0

        def encode(self, batch):
            Model.calls += 1
            other.execute("INSERT INTO log VALUES (?)", (len(batch),))
            if driver != "apsw":
                other.commit()
            return [[len(t), 1.0] for t in batch]

    db, other = (vecsql.connect(path, driver=driver) for _ in range(2))
    other.execute("PRAGMA busy_timeout = 0")
    other.execute("CREATE TABLE log(n)")
    source = write_csv(tmp_path / "a.csv", 30, id=lambda i: i)
    run(db, source, embedder=Model(), batch=10)
    source.write_text(source.read_text().replace("train", "tram"))
    done = run(db, source, batch=10)
    assert done.updated > 0
    assert db.execute("SELECT count(*) FROM log").fetchone() == (Model.calls,)
    assert Model.calls > 6


def test_an_identifier_that_the_key_cannot_hold_is_refused_by_name(tmp_path, db):
    vecsql.create_table(db, "docs", {"body": str}, text="body")
    (tmp_path / "a.csv").write_text("id,body\na7,x\n")
    with pytest.raises(vecsql.SchemaError, match=r"docs\.id holds integers, and .* others in id"):
        run(db, tmp_path / "a.csv")


def test_a_table_cannot_take_a_name_of_ours(tmp_path, db):
    path = write_csv(tmp_path / "a.csv", 3)
    for name in ("vecsql_progress", "SQLITE_x"):
        with pytest.raises(vecsql.SchemaError, match="belong to vecsql and SQLite"):
            run(db, path, name)


def test_records_that_do_not_fit_the_table_are_refused(tmp_path, db):
    run(db, write_csv(tmp_path / "a.csv", 3))
    with pytest.raises(vecsql.SchemaError, match=r"docs has no column year, which .* has"):
        run(db, write_csv(tmp_path / "b.csv", 3, year=lambda i: i))
    path = tmp_path / "c.csv"
    path.write_text("title\nx\n")
    db.execute("ALTER TABLE docs ADD COLUMN title TEXT")
    with pytest.raises(vecsql.SchemaError, match=r"docs\.embedding embeds body, not title"):
        run(db, path, text=["title"])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no resource usage of children")
def test_the_memory_of_an_import_does_not_grow_with_the_file(tmp_path):
    """Three times the records, and not 60 MB more than the index itself has grown by."""

    def peak(n):
        source = write_csv(tmp_path / f"{n}.csv", n)
        target = tmp_path / f"{n}.db"
        code = (
            "import resource, sys; from vecsql._cli import main\n"
            "try: main(sys.argv[1:])\n"
            "finally: print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
        )
        command = [sys.executable, "-c", code, "import", target, "docs", source]
        out = subprocess.run(command, cwd=sys.prefix, check=True, capture_output=True, text=True)
        unit = 1 if sys.platform == "darwin" else 1024
        return int(out.stdout.split("peak ")[1]) * unit

    # the graph in memory: codes and links, below 1,500 bytes a row at 256 dimensions
    assert peak(24_000) - peak(8_000) < 60e6 + 16_000 * 1500


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("jsonl", '{"id": 1, "body": "a"}\n{"id": "1", "body": "b"}\n'),
        ("jsonl", '{"id": true, "body": "a"}\n{"id": "1", "body": "b"}\n'),
        ("jsonl", '{"id": 1.5, "body": "a"}\n{"id": "1.5", "body": "b"}\n'),
        ("csv", "id,body\n1,a\n1.0,b\n"),
    ],
)
def test_identifiers_that_a_column_stores_as_one_repeat(tmp_path, format, text):
    path = tmp_path / f"a.{format}"
    path.write_text(text)
    db = vecsql.connect(":memory:")
    with pytest.raises(vecsql.FormatError, match="id repeats: 1 values come more than once"):
        import_records(db, "t", open_source(path))
    done = import_records(db, "t", open_source(path), id="id")
    assert (done.added, done.replaced) == (1, 1)


@pytest.mark.parametrize(
    ("format", "text", "records"),
    [
        ("csv", "id,body\n1,a\n1.0,b\nx,c\n01,d\n", 4),  # a TEXT column tells them apart
        ("jsonl", '{"id": 1e20, "body": "a"}\n{"id": "x", "body": "b"}\n', 2),
    ],
)
def test_identifiers_that_a_column_tells_apart_are_found_again(tmp_path, format, text, records):
    path = tmp_path / f"a.{format}"
    path.write_text(text)
    db = vecsql.connect(":memory:")
    for added in (records, 0):
        done = import_records(db, "t", open_source(path), id="id")
        assert (done.added, done.updated) == (added, 0)


def test_columns_of_unequal_length_are_no_record(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"id": [1, 2], "body": ["a"]}')
    with pytest.raises(vecsql.FormatError, match="need one length, got id 2, body 1"):
        import_records(vecsql.connect(":memory:"), "t", open_source(path))
    path.write_text("{}")
    with pytest.raises(vecsql.FormatError, match="has no records"):
        import_records(vecsql.connect(":memory:"), "t", open_source(path))


def test_a_table_that_another_import_made_meanwhile_is_named(tmp_path):
    path = write_csv(tmp_path / "a.csv", 3)
    db, other = vecsql.connect(tmp_path / "a.db"), vecsql.connect(tmp_path / "a.db")

    def first(_):
        import_records(other, "t", open_source(path))

    with pytest.raises(vecsql.SchemaError, match="t was made meanwhile, by another import"):
        import_records(db, "t", open_source(path), resuming=first)
