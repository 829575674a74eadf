"""Risk: a document is read as something else, mixed up with another one, or lost without a word."""

from __future__ import annotations

import datetime
import decimal
import enum
import hashlib
import json
import os
import sys
import uuid

import numpy as np
import pytest

import vecsql
from vecsql._base.json import to_json
from vecsql._files.frontmatter import front_matter


@pytest.fixture
def db():
    conn = vecsql.connect(":memory:")
    yield conn
    conn.close()


def write(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def sources(db):
    return sorted(s for (s,) in db.execute("SELECT DISTINCT source FROM d"))


def metadata(db):
    sql = "SELECT source, meta FROM d ORDER BY source, seq"
    return {s: m if m is None else json.loads(m) for s, m in db.execute(sql)}


# --- what belongs to a folder --------------------------------------------------------------------


def test_folders_with_equal_names_never_mix(db, tmp_path):
    for name in "pqr":
        write(tmp_path / name, {"README.md": f"project {name}", "sub/a.md": f"part of {name}"})
        assert vecsql.ingest(db, "d", tmp_path / name).added == 2
    assert db.execute("SELECT count(*), count(DISTINCT collection) FROM d").fetchone() == (6, 3)
    (tmp_path / "p/README.md").unlink()
    (tmp_path / "q/sub/a.md").write_text("changed")
    for name, counts in (("p", (0, 0, 1)), ("q", (0, 1, 0)), ("r", (0, 0, 0))):
        done = vecsql.ingest(db, "d", tmp_path / name)
        assert (done.added, done.updated, done.deleted) == counts
    bodies = sorted(b for (b,) in db.execute("SELECT body FROM d"))
    assert bodies == ["changed", "part of p", "part of r", "project q", "project r"]
    where = {"collection": str((tmp_path / "r").resolve())}
    assert {h["body"] for h in vecsql.search(db, "d", "project", where=where)} == {
        "project r",
        "part of r",
    }


def test_a_context_never_joins_documents_of_two_folders(db, tmp_path):
    text = "Alpha one is here. Alpha two is here. Alpha three is here."
    for name in "pq":
        write(tmp_path / name, {"a.md": text.replace("Alpha", name * 5)})
        vecsql.ingest(db, "d", tmp_path / name, max_tokens=10, overlap=5)
    found = vecsql.context(db, "d", "is here")
    assert len(found.citations) == 2
    for c in found.citations:
        name = c.text[0]
        assert c.text == text.replace("Alpha", name * 5)
        assert c.collection == str((tmp_path / name).resolve())


def test_forgetting_names_a_collection_or_means_all(db):
    for collection in ("a", "b", "c"):
        docs = [{"source": "x", "text": collection}]
        vecsql.ingest(db, "d", docs, collection=collection)
    assert vecsql.forget(db, "d", "x", collection="a") == 1
    assert vecsql.forget(db, "d", "x") == 2
    assert db.execute("SELECT count(*) FROM d").fetchone() == (0,)


@pytest.mark.parametrize("suffixes", [["md"], ".md", "md", "*.md", (".MD",), [".md", "txt"]])
def test_suffixes_are_understood_however_they_are_written(db, tmp_path, suffixes):
    write(tmp_path, {"a.md": "text", "B.MD": "more", "md": "no", "c.rst": "other"})
    assert vecsql.ingest(db, "d", tmp_path, suffixes=suffixes).added == 2
    assert sources(db) == ["B.MD", "a.md"]


def test_another_choice_of_suffixes_prunes_nothing(db, tmp_path):
    write(tmp_path, {"a.md": "text", "b.txt": "more", "c.rst": "other"})
    vecsql.ingest(db, "d", tmp_path)
    for suffixes in ([".nope"], ["md"], ".txt"):
        assert vecsql.ingest(db, "d", tmp_path, suffixes=suffixes).deleted == 0
    assert sources(db) == ["a.md", "b.txt", "c.rst"]
    (tmp_path / "a.md").unlink()
    assert vecsql.ingest(db, "d", tmp_path, suffixes="txt").deleted == 0
    assert vecsql.ingest(db, "d", tmp_path, suffixes="md").deleted == 1
    for wrong in ([], "", ["."], [3], "*"):
        with pytest.raises(ValueError, match="suffixes are ends of file names"):
            vecsql.ingest(db, "d", tmp_path, suffixes=wrong)


HIDDEN = {
    ".git/description.txt": "x",
    ".venv/lib/a.md": "x",
    "venv/pyvenv.cfg": "home = /usr",
    "venv/lib/python3/site-packages/pkg/README.md": "x",
    "env2/pyvenv.cfg": "home = /usr",
    "env2/a.md": "x",
    "node_modules/left-pad/README.md": "x",
    "src/node_modules/b/README.md": "x",
    "src/__pycache__/a.txt": "x",
    "target/CACHEDIR.TAG": "Signature: 8a477f597d28d172789f06886806bc55",
    "target/doc/a.md": "x",
    ".cache/a.md": "x",
    ".tox/a.md": "x",
    "sub/.hidden.md": "x",
}


def test_what_is_no_document_of_yours_is_left_out(db, tmp_path):
    write(tmp_path, {**HIDDEN, "a.md": "text", "sub/b.md": "text", "environment/c.md": "text"})
    assert vecsql.ingest(db, "d", tmp_path).added == 3
    assert sources(db) == ["a.md", "environment/c.md", "sub/b.md"]


def test_a_folder_that_is_itself_hidden_or_an_environment_is_read(db, tmp_path):
    write(tmp_path / ".notes", {"a.md": "text", "pyvenv.cfg": ""})
    assert vecsql.ingest(db, "d", tmp_path / ".notes").added == 1


def test_patterns_say_what_else_is_left_out(db, tmp_path):
    names = ["a.md", "drafts/b.md", "old/drafts/c.md", "x/y.md", ".h/d.md"]
    write(tmp_path, {name: name for name in names})
    assert vecsql.ingest(db, "d", tmp_path, exclude=["drafts", "x/*"]).added == 2
    assert sources(db) == [".h/d.md", "a.md"]
    assert vecsql.ingest(db, "d", tmp_path, exclude="drafts").added == 1
    done = vecsql.ingest(db, "d", tmp_path, exclude=())
    assert (done.added, sources(db)) == (2, sorted(names))
    assert vecsql.ingest(db, "d", tmp_path).deleted == 1  # what is left out now goes


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege")
def test_links_out_of_the_folder_are_not_followed(db, tmp_path):
    write(tmp_path / "secret", {"key.txt": "password", "sub/b.md": "password"})
    inside = write(tmp_path / "docs", {"a.md": "text"})
    (inside / "key.txt").symlink_to(tmp_path / "secret/key.txt")
    (inside / "folder").symlink_to(tmp_path / "secret")
    (inside / "up").symlink_to("..")
    (inside / "loop.md").symlink_to("loop.md")
    (inside / "gone.md").symlink_to("nowhere.md")
    (inside / "again.md").symlink_to("a.md")
    (inside / "here").symlink_to(".")
    done = vecsql.ingest(db, "d", inside)
    assert sources(db) == ["a.md", "again.md"]
    assert {s.source for s in done.skipped} >= {"key.txt", "folder", "up"}
    assert "password" not in " ".join(b for (b,) in db.execute("SELECT body FROM d"))
    (inside / "again.md").unlink()
    (inside / "again.md").symlink_to(tmp_path / "secret/key.txt")
    assert vecsql.ingest(db, "d", inside).deleted == 1
    link = tmp_path / "link"
    link.symlink_to(inside)
    assert vecsql.ingest(db, "d", link).unchanged == 1  # the folder that is named is followed


def test_a_file_that_is_no_text_is_listed_and_what_was_known_of_it_stays(db, tmp_path):
    write(tmp_path, {"a.md": "text", "b.md": "more", "latin.txt": b"caf\xe9", "zero.txt": b"a\0b"})
    done = vecsql.ingest(db, "d", tmp_path)
    assert [s.source for s in done.skipped] == ["latin.txt", "zero.txt"]
    assert "latin.txt is not utf-8 text" in done.skipped[0].reason
    assert "zero bytes" in done.skipped[1].reason
    assert "latin.txt" in repr(done)
    (tmp_path / "b.md").write_bytes(b"\xff\xff\xff")
    done = vecsql.ingest(db, "d", tmp_path)
    assert (done.deleted, len(done.skipped), sources(db)) == (0, 3, ["a.md", "b.md"])
    with pytest.raises(vecsql.FormatError, match=r"latin\.txt is not utf-8 text"):
        vecsql.ingest(db, "d", tmp_path / "latin.txt")
    done = vecsql.ingest(db, "d", [tmp_path / "latin.txt", tmp_path / "a.md"], on_error="skip")
    assert (done.added, len(done.skipped)) == (1, 1)
    with pytest.raises(vecsql.FormatError, match="no encoding 'utf-9'"):
        vecsql.ingest(db, "d", tmp_path, encoding="utf-9")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_folder_that_cannot_be_listed_loses_nothing(db, tmp_path):
    write(tmp_path, {"a.md": "text", "sub/b.md": "more"})
    vecsql.ingest(db, "d", tmp_path)
    (tmp_path / "sub").chmod(0)
    try:
        done = vecsql.ingest(db, "d", tmp_path)
    finally:
        (tmp_path / "sub").chmod(0o700)
    assert (done.deleted, done.skipped[0].source) == (0, "sub/")


def test_a_folder_that_vanishes_while_it_is_listed_loses_nothing(db, tmp_path, monkeypatch):
    write(tmp_path, {"a.md": "text", "sub/b.md": "more", "sub2/c.md": "third"})
    vecsql.ingest(db, "d", tmp_path)
    scandir = os.scandir

    def fails(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", fails)
    done = vecsql.ingest(db, "d", tmp_path)
    assert (done.deleted, done.unchanged, [s.source for s in done.skipped]) == (0, 2, ["sub/"])


def test_texts_with_a_byte_order_mark_are_read_by_it(db, tmp_path):
    text = "Grüße aus München"
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        (tmp_path / f"{encoding}.txt").write_bytes(text.encode(encoding))
    assert vecsql.ingest(db, "d", tmp_path).added == 3
    assert {b for (b,) in db.execute("SELECT body FROM d")} == {text}


def test_rows_that_sql_deleted_come_back(db, tmp_path):
    long = " ".join(f"Sentence number {i} is here." for i in range(60))
    write(tmp_path, {"a.md": long, "b.md": "short"})
    vecsql.ingest(db, "d", tmp_path, max_tokens=20, overlap=0)
    before = db.execute("SELECT source, seq, body FROM d ORDER BY 1, 2").fetchall()
    for delete in ("seq = 3", "source = 'b.md'", "1", "seq % 2"):
        db.execute(f"DELETE FROM d WHERE {delete}")
        done = vecsql.ingest(db, "d", tmp_path, max_tokens=20, overlap=0)
        assert done.updated >= 1
        assert db.execute("SELECT source, seq, body FROM d ORDER BY 1, 2").fetchall() == before
    assert vecsql.ingest(db, "d", tmp_path, max_tokens=20, overlap=0).unchanged == 2
    db.execute("DELETE FROM d_sources")
    done = vecsql.ingest(db, "d", tmp_path, max_tokens=20, overlap=0)
    assert (done.added, done.chunks) == (2, 0)  # the rows are there, with their vectors


# --- tables of the first version -----------------------------------------------------------------


def first_version(db, documents):
    """Tables as the first version made them: the source alone is the key."""
    columns = {"source": "TEXT NOT NULL", "seq": "INTEGER NOT NULL", "line": "INTEGER NOT NULL",
               "start": "INTEGER NOT NULL", "stop": "INTEGER NOT NULL", "meta": "TEXT",
               "body": "TEXT NOT NULL"}  # fmt: skip
    vecsql.create_table(db, "d", columns, text="body", fts=True)
    db.execute('CREATE INDEX "d_by_source" ON d(source, seq)')
    db.execute(
        "CREATE TABLE d_sources(source TEXT PRIMARY KEY, collection TEXT NOT NULL, "
        "hash TEXT NOT NULL) WITHOUT ROWID"
    )
    for collection, source, text in documents:
        row = {"source": source, "seq": 0, "line": 1, "start": 0, "stop": len(text), "body": text}
        vecsql.insert(db, "d", row)
        digest = hashlib.sha256(f"200/40/sentences\0\0{text}".encode()).hexdigest()
        db.execute("INSERT INTO d_sources VALUES (?, ?, ?)", (source, collection, digest))
    db.commit()


def test_tables_of_the_first_version_go_on(db, tmp_path):
    folder = write(tmp_path / "p", {"a.md": "alpha text", "b.md": "beta text"})
    name = str(folder.resolve())
    texts = [(name, "a.md", "alpha text"), (name, "b.md", "beta text"), ("", "mail", "a mail")]
    first_version(db, texts)
    keys = db.execute("SELECT source, id, embedding FROM d ORDER BY 1").fetchall()
    assert vecsql.search(db, "d", "alpha", k=1)[0]["source"] == "a.md"
    done = vecsql.ingest(db, "d", folder)
    assert done == vecsql.Ingested(unchanged=2)
    assert vecsql.ingest(db, "d", folder) == vecsql.Ingested(unchanged=2)
    assert db.execute("SELECT source, id, embedding FROM d ORDER BY 1").fetchall() == keys
    assert vecsql.ingest(db, "d", [{"source": "mail", "text": "a mail"}]).unchanged == 1
    other = write(tmp_path / "q", {"a.md": "another alpha"})
    assert vecsql.ingest(db, "d", other).added == 1
    (folder / "a.md").unlink()
    assert vecsql.ingest(db, "d", folder).deleted == 1
    assert sorted(b for (b,) in db.execute("SELECT body FROM d")) == [
        "a mail", "another alpha", "beta text"]  # fmt: skip
    db.execute("INSERT INTO d_embedding(d_embedding) VALUES ('integrity-check')")
    db.execute("INSERT INTO d_embedding_fts(d_embedding_fts, rank) VALUES ('integrity-check', 1)")


def test_documents_of_the_first_version_are_not_cut_anew(db):
    """Their chunks may end elsewhere than today's; they stay until the document changes."""
    first_version(db, [("", "a", "One. Two. Three."), ("", "b", "Four.")])
    db.execute("UPDATE d SET body = 'One.', stop = 4 WHERE source = 'a'")
    db.execute("DELETE FROM d WHERE source = 'b'")
    docs = [{"source": "a", "text": "One. Two. Three."}, {"source": "b", "text": "Four."}]
    done = vecsql.ingest(db, "d", docs)
    assert (done.unchanged, done.updated, done.chunks) == (1, 1, 1)
    assert [b for (b,) in db.execute("SELECT body FROM d ORDER BY source")] == ["One.", "Four."]


def test_forgetting_works_on_tables_of_the_first_version(db):
    first_version(db, [("c", "a", "alpha"), ("", "b", "beta")])
    assert vecsql.forget(db, "d", "a") == 1
    assert sources(db) == ["b"]


# --- metadata ------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(2), 2),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.array([1, 2]), [1, 2]),
        (np.array([[1.5, np.nan]]), [[1.5, None]]),
        (np.datetime64("2024-05-01"), "2024-05-01"),
        (np.datetime64("NaT"), "NaT"),
        (float("nan"), None),
        (float("-inf"), None),
        (np.float64("nan"), None),
        (decimal.Decimal("2"), 2),
        (decimal.Decimal("2.5"), 2.5),
        (decimal.Decimal("NaN"), None),
        (datetime.date(2024, 5, 1), "2024-05-01"),
        (
            datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.timezone.utc),
            "2024-05-01T12:00:00+00:00",
        ),
        (datetime.time(12, 30), "12:30:00"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (Colour.RED, "red"),
        (b"\xff\0", "ff00"),
        (("a", 1), ["a", 1]),
        ({"b", "a"}, ["a", "b"]),
        ({1: "x", "y": {"z": None}}, {"1": "x", "y": {"z": None}}),
        ({True: 1, None: 2}, {"true": 1, "null": 2}),
        ("\ud800", "\ufffd"),
        ("a\0b", "a\0b"),
        (1 << 70, 1 << 70),
        (True, True),
    ],
)
def test_metadata_is_json_that_sqlite_reads(db, value, expected):
    vecsql.ingest(db, "d", [{"source": "a", "text": "hello", "v": value}])
    (meta, valid) = db.execute("SELECT meta, json_valid(meta) FROM d").fetchone()
    assert (json.loads(meta)["v"], valid) == (expected, 1)
    assert vecsql.ingest(db, "d", [{"source": "a", "text": "hello", "v": value}]).unchanged == 1


def test_numbers_in_metadata_compare_as_numbers(db):
    docs = [{"source": f"s{i}", "text": f"text {i}", "price": np.int64(i)} for i in (2, 10, 100)]
    vecsql.ingest(db, "d", docs)
    for where in ("meta ->> 'price' > 9", {"price": {"$gt": 9}}):
        hits = vecsql.search(db, "d", "text", where=where)
        assert sorted(h["source"] for h in hits) == ["s10", "s100"]


def test_json_that_contains_itself_is_refused():
    loop: list = []
    loop.append(loop)
    with pytest.raises(vecsql.ConversionError, match="contain themselves"):
        to_json(loop)


# --- front matter --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ("---\ntitle: Trains\n---\n", {"title": "Trains"}),
        (
            '---\ntitle: "Trains: a guide"\nn: 3\nx: 2.5\n---\n',
            {"title": "Trains: a guide", "n": 3, "x": 2.5},
        ),
        (
            "---\ndraft: true\nnone: null\nempty:\n---\n",
            {"draft": True, "none": None, "empty": None},
        ),
        (
            "---\ndate: 2024-05-01\nid: 007\nversion: 1.2.3\n---\n",
            {"date": "2024-05-01", "id": "007", "version": "1.2.3"},
        ),
        ("---\ntags: [rail, 'night, train', 3]\n---\n", {"tags": ["rail", "night, train", 3]}),
        ("---\ntags:\n- a\n- b\n---\n", {"tags": ["a", "b"]}),
        ("---\ntags:\n  - a\n  - b\nn: 1\n---\n", {"tags": ["a", "b"], "n": 1}),
        (
            "---\nauthor:\n  name: Ann\n  mail: a@b.c\n---\n",
            {"author": {"name": "Ann", "mail": "a@b.c"}},
        ),
        (
            "---\nauthors:\n  - name: Ann\n    n: 1\n  - name: Bob\n---\n",
            {"authors": [{"name": "Ann", "n": 1}, {"name": "Bob"}]},
        ),
        ("---\nm: {a: 1, b: [x, y]}\n---\n", {"m": {"a": 1, "b": ["x", "y"]}}),
        ("---\nd: |\n  one\n  two\nn: 1\n---\n", {"d": "one\ntwo\n", "n": 1}),
        ("---\nd: >-\n  one\n  two\n\n  three\n---\n", {"d": "one two\nthree"}),
        ("---\nd: a text that\n  goes on\n---\n", {"d": "a text that goes on"}),
        ("---\n# a comment\nurl: http://a/b#c # another\n---\n", {"url": "http://a/b#c"}),
        ("---\ns: 'it''s'\nt: \"a\\nb\"\n---\n", {"s": "it's", "t": "a\nb"}),
        ("---\nx: .nan\n---\n", {"x": None}),
        ("---\ntitle: x\n...\n", {"title": "x"}),
        ("---\r\ntitle: x\r\n---\r\n", {"title": "x"}),
        ('{"title": "x", "n": [1, 2]}\n\n', {"title": "x", "n": [1, 2]}),
        pytest.param(
            "+++\ntitle = 'x'\nday = 2024-05-01\nn = [1]\n+++\n",
            {"title": "x", "day": "2024-05-01", "n": [1]},
            marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib"),
        ),
    ],
)
@pytest.mark.filterwarnings("error")
def test_front_matter_becomes_metadata(db, tmp_path, head, expected):
    text = "The night train leaves at ten.\n\nIt has beds."
    (tmp_path / "a.md").write_bytes((head + text).encode())
    vecsql.ingest(db, "d", tmp_path)
    body, meta, start, stop, line = db.execute(
        "SELECT body, meta, start, stop, line FROM d"
    ).fetchone()
    assert (body, json.loads(meta)) == (text, expected)
    whole = (head + text).replace("\r\n", "\n")
    assert whole[start:stop] == body
    assert line == whole.count("\n", 0, start) + 1


@pytest.mark.parametrize(
    "text",
    [
        "---\njust a line\n---\nmore",
        "---\na: &anchor 1\n---\nx",
        "---\na: !tag 1\n---\nx",
        "---\na: [1, 2\n---\nx",
        "---\na: 1\na: 2\n---\nx",
        "---\n  a: 1\n b: 2\n---\nx",
        "---\n- a\n- b\n---\nx",
        "---\nnever: closed\n",
        "--- \n",
        "----\na: 1\n----\n",
        "a: 1\n---\nx",
        "+++\nno toml\n+++\nx",
        '{"a": 1}',
        '{"a": 1} and more',
        "{a: 1}\n\nx",
        "---\na:\n" + "".join(" " * i + "b:\n" for i in range(1, 60)) + "---\nx",
        "---\na: " + "[" * 500 + "\n---\nx",
    ],
)
def test_a_head_that_is_no_front_matter_stays_text(text):
    assert front_matter(text) == ({}, 0)


def test_a_hostile_head_takes_linear_time():
    for unit in (
        "a",
        " ",
        "a ",
        "a:",
        "[",
        "{",
        "'",
        '"',
        "a: b\n",
        "- ",
        "- - ",
        "#",
        "\\",
        "a: '",
    ):
        front_matter("---\n" + unit * (300_000 // len(unit)) + "\n---\n")
        front_matter("---\nk: " + unit * (300_000 // len(unit)) + "\n---\n")


# --- HTML ----------------------------------------------------------------------------------------

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Night
 trains &amp; more</title><style>p { color: red }</style><script>alert("x < y")</script></head>
<body><nav><a href="/">Home</a> <a href="/x">Next</a></nav>
<h1>Night   trains</h1><p>The night train leaves at <b>ten</b>.<br>It has beds.
<ul><li>first<li>second</ul><table><tr><td>a</td><td>b</td></tr><tr><td>c<td>d</table>
<pre>  code
    here</pre><template>never</template><!-- a comment --><p>caf&eacute; &#128642;</body></html>"""


def test_of_a_page_the_text_is_taken(db, tmp_path):
    pytest.importorskip("selectolax")
    (tmp_path / "a.html").write_text(PAGE, encoding="utf-8")
    vecsql.ingest(db, "d", tmp_path)
    body, meta = db.execute("SELECT body, meta FROM d").fetchone()
    assert json.loads(meta) == {"title": "Night trains & more", "lang": "en"}
    assert body.split("\n") == [
        "Home Next", "", "Night trains", "", "The night train leaves at ten.", "It has beds.", "",
        "first", "second", "", "a\tb", "c\td", "", "  code", "    here", "", "café 🚂",
    ]  # fmt: skip


def test_a_page_is_read_in_the_encoding_that_it_names(db, tmp_path):
    pytest.importorskip("selectolax")
    page = '<meta charset="{}"><p>Grüße</p>'
    (tmp_path / "a.html").write_bytes(page.format("iso-8859-1").encode("latin-1"))
    (tmp_path / "b.htm").write_bytes(page.format("nobody-knows").encode("utf-8"))
    (tmp_path / "c.html").write_bytes("<p>Grüße</p>".encode("utf-16"))
    assert vecsql.ingest(db, "d", tmp_path).added == 3
    assert {b for (b,) in db.execute("SELECT body FROM d")} == {"Grüße"}


def test_pages_that_would_keep_a_parser_busy_are_refused(db, tmp_path):
    pytest.importorskip("selectolax")
    for i, unit in enumerate(("<div>", "<i></b>", "<span><p>", "<b>")):
        (tmp_path / f"{i}.html").write_text(unit * 100_000 + "text")
    (tmp_path / "wide.html").write_text("<p>a<li>b<td>c<div>d</div>" * 20_000)
    done = vecsql.ingest(db, "d", tmp_path)
    assert (done.added, len(done.skipped)) == (1, 4)
    assert all("inside each other" in s.reason for s in done.skipped)


def test_without_the_parser_the_message_says_what_to_install(db, tmp_path, monkeypatch):
    write(tmp_path, {"a.md": "text", "b.html": "<p>text</p>"})
    for name in ("selectolax", "selectolax.lexbor"):
        monkeypatch.setitem(sys.modules, name, None)
    done = vecsql.ingest(db, "d", tmp_path)
    assert (done.added, [s.source for s in done.skipped]) == (1, ["b.html"])
    with pytest.raises(vecsql.FormatError, match=r"b\.html: .*pip install 'vecsql\[html\]'"):
        vecsql.ingest(db, "d", tmp_path / "b.html")


# --- what fails ----------------------------------------------------------------------------------


class Picky:
    """Refuses long texts, as servers do; counts what it was asked."""

    model_id, dim = "picky", 2

    def __init__(self):
        self.away = False
        self.seen = 0

    def encode(self, texts):
        if self.away:
            raise ConnectionError("away")
        if any("QUJD" in t for t in texts):
            raise vecsql.EmbedderError("the input length exceeds the context length")
        self.seen += len(texts)
        return [[len(t), 1.0] for t in texts]


def documents(n=100, bad=(50,)):
    return [
        {"source": f"s{i}", "text": "QUJD" * 400 if i in bad else f"good text {i}"}
        for i in range(n)
    ]


def test_a_text_that_a_model_refuses_is_named(db):
    with pytest.raises(vecsql.EmbedderError, match="s50, line 1, characters 0 to 1600: the input"):
        vecsql.ingest(db, "d", documents(), embedder=Picky())
    assert db.execute("SELECT count(*) FROM d").fetchone() == (32,)  # the batch before


def test_skipping_lists_source_place_and_reason_and_the_rest_is_there(db):
    model = Picky()
    docs = documents(bad=(3, 50, 51, 99))
    docs[3]["text"] = "Good one. " + docs[3]["text"]
    docs[10] = {"source": "s10", "text": None}
    docs[11] = {"text": "no source"}
    docs[12] = {"source": "s9", "text": "a second of the name"}
    docs[13] = {"source": "s13", "text": "half a pair \ud800"}
    done = vecsql.ingest(db, "d", docs, embedder=model, on_error="skip", max_tokens=100, overlap=0)
    reasons = {s.source: (s.position, s.reason) for s in done.skipped}
    assert set(reasons) == {"s3", "s50", "s51", "s99", "s10", "record 12", "s9", "s13"}
    assert reasons["s3"][0] == 10
    assert "context length" in reasons["s50"][1]
    assert "record 11" in reasons["s10"][1]
    assert "two documents" in reasons["s9"][1]
    assert db.execute("SELECT count(*) FROM d WHERE source = 's3'").fetchone() == (1,)
    good = db.execute("SELECT count(DISTINCT source) FROM d").fetchone()
    assert good == (100 - 3 - 4,)
    seen = model.seen
    again = vecsql.ingest(db, "d", docs, embedder=model, on_error="skip", max_tokens=100, overlap=0)
    assert (again.added, again.updated, again.chunks) == (0, 0, 0)
    assert [s[:2] for s in again.skipped if s.position is not None] == [
        s[:2] for s in done.skipped if s.position is not None
    ]
    assert model.seen - seen < 20  # the others are not embedded again
    docs[50]["text"] = "short"
    assert vecsql.ingest(db, "d", docs, embedder=model, on_error="skip").updated >= 1


def test_a_model_that_is_away_is_an_error_whatever_is_skipped(db):
    model = Picky()
    vecsql.ingest(db, "d", documents(40, ()), embedder=model)
    model.away = True
    more = [{"source": f"t{i}", "text": f"new {i}"} for i in range(10)]
    with pytest.raises(ConnectionError):
        vecsql.ingest(db, "d", more, embedder=model, on_error="skip")
    model.away = False
    assert vecsql.ingest(db, "d", more, embedder=model).added == 10


def test_what_was_embedded_before_a_failure_is_not_embedded_again(tmp_path):
    class Failing(Picky):
        calls = 0

        def encode(self, texts):
            self.calls += 1
            self.away = self.calls > 3
            return super().encode(texts)

    text = " ".join(f"Sentence number {i} is here." for i in range(2000))
    docs, cut = [{"source": "a", "text": text}], {"max_tokens": 6, "overlap": 0}
    db = vecsql.connect(tmp_path / "a.db")
    failing = Failing()
    with pytest.raises(ConnectionError):
        vecsql.ingest(db, "d", docs, embedder=failing, **cut)
    kept = db.execute("SELECT count(*) FROM vecsql_cache").fetchone()[0]
    assert kept > 100
    assert db.execute("SELECT count(*) FROM d").fetchone() == (0,)
    model = Picky()
    vecsql.register_embedder(db, model)
    done = vecsql.ingest(db, "d", docs, embedder=model, **cut)
    assert done.chunks >= 2000
    assert model.seen <= done.chunks - kept + 3  # the probes of the model


def test_what_on_error_means_is_checked(db):
    with pytest.raises(ValueError, match="'raise' or 'skip'"):
        vecsql.ingest(db, "d", [], on_error="ignore")
    with pytest.raises(ValueError, match="max_tokens is a number"):
        vecsql.ingest(db, "d", [], max_tokens=1.5)
    assert vecsql.ingest(db, "d", [], max_tokens=np.int64(100), overlap=np.int32(0)).added == 0


def test_a_document_that_another_process_changes_meanwhile_is_right(tmp_path):
    """The model works outside the transaction; what it finds changed afterwards is planned anew."""
    db = vecsql.connect(tmp_path / "a.db")
    other = vecsql.connect(tmp_path / "a.db")

    class Slow(Picky):
        act = None

        def encode(self, texts):
            act, self.act = self.act, None
            if act is not None:
                act()
            return super().encode(texts)

    model, theirs = Slow(), Picky()
    vecsql.ingest(db, "d", [{"source": "a", "text": "one. Two. Three."}], embedder=model)
    docs = [{"source": "a", "text": "Four. Five."}, {"source": "b", "text": "Six."}]
    model.act = lambda: vecsql.ingest(
        other, "d", [{"source": "a", "text": "Four. Other."}, docs[1]], embedder=theirs
    )
    done = vecsql.ingest(db, "d", docs, embedder=model)
    assert (done.added, done.updated, done.unchanged) == (0, 1, 1)
    rows = db.execute("SELECT source, body FROM d ORDER BY 1, 2").fetchall()
    assert rows == [("a", "Four. Five."), ("b", "Six.")]
