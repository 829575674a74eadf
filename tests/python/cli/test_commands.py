"""Risk: a command says it did something that it did not do, or fails without saying why."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import apsw
import apsw.shell
import click
import numpy as np
import pytest

import vecsql
from tests.support.command_line import cli, process, rows, run
from tests.support.csv_files import texts, write_csv
from vecsql._base import render
from vecsql._cli import demo
from vecsql._cli._common import reported
from vecsql._cli._remedies import as_commands
from vecsql._files.read import open_source
from vecsql._files.write import write_records
from vecsql._rows.imports import import_records


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """A file of 400 texts with full text, and its csv."""
    folder = tmp_path_factory.mktemp("library")
    source = write_csv(folder / "a.csv", 400, year=lambda i: 2000 + i % 20)
    cli("import", folder / "a.db", "docs", source, "--fts")
    return folder / "a.db"


def damaged_copy(library, tmp_path, sql):
    path = tmp_path / "damaged.db"
    path.write_bytes(library.read_bytes())
    rows(path, sql)
    return path


def test_import_from_standard_input(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "vecsql", "import", tmp_path / "a.db", "t", "-", "--format", "csv"],
        input=b"id,body\n1,night train\n2,rye bread\n",
        capture_output=True, cwd=sys.prefix, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(b"t: 2 added")
    assert b"2 rows" in done.stderr
    assert rows(tmp_path / "a.db", "SELECT id, body FROM t") == [
        (1, "night train"),
        (2, "rye bread"),
    ]
    assert rows(tmp_path / "a.db", "PRAGMA journal_mode") == [("wal",)]


def test_a_new_file_that_could_not_be_filled_says_why(tmp_path):
    (tmp_path / "a.csv").write_text("a,b\nx\n")
    assert "expected 2 fields, got 1" in cli(
        "import", tmp_path / "a.db", "t", tmp_path / "a.csv", code=1
    )
    assert "no such file" in cli("import", tmp_path / "a.db", "t", tmp_path / "none.csv", code=1)


def test_ctrl_c_leaves_whole_batches_and_says_how_to_go_on(tmp_path):
    source = write_csv(tmp_path / "a.csv", 20_000)
    command = [sys.executable, "-m", "vecsql", "import", tmp_path / "a.db", "docs", source]
    child = subprocess.Popen(
        [*command, "--batch", "50"],
        cwd=sys.prefix,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        # the jobs of a script that was put into the background ignore it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    done = 0
    while done < 100 and child.poll() is None:
        threading.Event().wait(0.05)
        if (tmp_path / "a.db").exists():
            try:
                ((done,),) = rows(
                    tmp_path / "a.db", "SELECT coalesce(sum(done), 0) FROM vecsql_progress"
                )
            except Exception:
                done = 0  # the table is not there yet
    child.send_signal(signal.SIGINT)
    _, err = child.communicate()
    assert child.returncode == 130, err
    assert b"the same command goes on" in err
    assert b"Traceback" not in err
    ((stored,),) = rows(tmp_path / "a.db", "SELECT count(*) FROM docs")
    assert 0 < stored < 20_000
    assert stored % 50 == 0


@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl", "parquet"])
def test_an_export_can_be_imported_again(library, tmp_path, format):
    cli("export", library, "docs", tmp_path / f"a.{format}")
    cli("import", tmp_path / "b.db", "docs", tmp_path / f"a.{format}")
    sql = "SELECT id, body, year, embedding FROM docs ORDER BY id"
    assert rows(tmp_path / "b.db", sql) == rows(library, sql)


@pytest.mark.parametrize("format", ["npy", "fvecs", "hdf5"])
def test_vectors_are_exported_alone(library, tmp_path, format):
    from vecsql._files.read import open_source

    cli("export", library, "docs", tmp_path / f"a.{format}", "--where", "year < 2010")
    stored = rows(library, "SELECT embedding FROM docs WHERE year < 2010 ORDER BY id")
    back = [r["embedding"].tobytes() for r in open_source(tmp_path / f"a.{format}").records(0)]
    assert back == [bytes(v) for (v,) in stored]


def test_an_export_of_unknown_columns_is_refused(library, tmp_path):
    err = cli("export", library, "docs", tmp_path / "a.csv", "--columns", "id,nope", code=1)
    assert "docs has no column nope; it has id, body, year, embedding" in err
    assert not (tmp_path / "a.csv").exists()


@pytest.mark.parametrize("beside", ["", "-wal", "-journal", "-shm"])
def test_an_export_never_replaces_its_database(tmp_path, beside):
    path = tmp_path / "a.db"
    rows(path, "CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2])")
    before = path.read_bytes()
    (tmp_path / "link.csv").symlink_to(f"{path}{beside}")
    for file in (f"{path}{beside}", tmp_path / "link.csv"):
        said = cli("export", path, "t", file, "--format", "csv", code=1)
        assert "belongs to the database that is read" in said
    assert "belongs to the database" in cli("bench", path, "t", "--png", path, code=1)
    assert path.read_bytes() == before


@pytest.fixture
def written(tmp_path):
    """A file of one row, and how to write it."""

    def write(name, format="csv"):
        records = [{"a": 1, "e": np.zeros(2, np.float32)}]
        write_records(tmp_path / name, format, records, columns=["a", "e"], vector="e", dim=2)

    return write


def test_an_export_keeps_the_mode_of_a_file_and_follows_links(tmp_path, written):
    private, link = tmp_path / "a.csv", tmp_path / "link.csv"
    private.write_text("")
    private.chmod(0o600)
    link.symlink_to(private.name)
    written("link.csv")
    assert link.is_symlink()
    assert private.read_text().startswith("a,e\n1,")
    assert private.stat().st_mode & 0o777 == 0o600
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="pipes with names")
@pytest.mark.parametrize(("format", "head"), [("csv", b"a,e\n"), ("npy", b"\x93NUMPY")])
def test_an_export_is_written_into_a_pipe(tmp_path, written, format, head):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=written, args=("pipe", format))
    writer.start()
    assert (tmp_path / "pipe").read_bytes().startswith(head)
    writer.join()
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("where", ["1; DROP TABLE docs; --", "1 LIMIT 0", "1) OR (1"])
def test_a_condition_of_export_is_one_condition(library, tmp_path, where):
    said = cli("export", library, "docs", tmp_path / "out.csv", "--where", where, code=1)
    assert "--where is one SQL condition" in said
    assert not (tmp_path / "out.csv").exists()
    assert rows(library, "SELECT count(*) FROM docs") == [(400,)]


def test_a_condition_on_the_table_beside_stays_in_its_brackets(tmp_path):
    rows(
        tmp_path / "a.db",
        "CREATE VIRTUAL TABLE t_vec USING vecsql(e FLOAT[2]); CREATE TABLE t(a);"
        "INSERT INTO t VALUES (1), (2); INSERT INTO t_vec(rowid, e) VALUES (1, '[1, 1]')",
    )
    for where in ("1) OR (1", "1 LIMIT 0", "1) UNION SELECT (1"):
        said = cli("search", tmp_path / "a.db", "t", "[1, 1]", "--where", where, code=1)
        assert "--where is one SQL condition" in said


@pytest.mark.parametrize("arguments", [[], ["--hybrid"], ["--text"], ["--diversity", "0.5"]])
def test_search_prints_what_the_function_gives(library, arguments):
    found = json.loads(cli("search", library, "docs", "night storm", "--json", "-k", 5, *arguments))
    db = vecsql.connect(library)
    mode = {"--hybrid": "hybrid", "--text": "text"}.get(arguments[0] if arguments else "", "vector")
    diversity = 0.5 if "--diversity" in arguments else 0.0
    hits = vecsql.search(db, "docs", "night storm", 5, mode=mode, diversity=diversity)
    db.close()
    assert [f["id"] for f in found] == [h.id for h in hits]
    first = "score" if arguments and arguments[0] in ("--hybrid", "--text") else "distance"
    assert list(found[0]) == [first, "id", "body", "year"]


def test_search_output_forms_hold_the_same(library):
    base = ["search", library, "docs", "night", "-k", 3, "--columns", "id,body"]
    as_json = json.loads(cli(*base, "--json"))
    assert [json.loads(line) for line in cli(*base, "--nl").splitlines()] == as_json
    table = list(csv.DictReader(io.StringIO(cli(*base, "--csv"))))
    assert [{"id": str(f["id"]), "body": f["body"]} for f in as_json] == [
        {"id": t["id"], "body": t["body"]} for t in table
    ]


def test_search_takes_a_vector_and_explains(library):
    vector = json.dumps(vecsql.StaticEmbedder().encode(["night"])[0].tolist())
    a = json.loads(cli("search", library, "docs", vector, "--json"))
    b = json.loads(cli("search", library, "docs", "night", "--json"))
    assert [f["id"] for f in a] == [f["id"] for f in b]
    (f,) = json.loads(
        cli("search", library, "docs", "night", "--json", "--hybrid", "--explain", "-k", 1)
    )
    added = sum(f[f"{arm} added"] or 0 for arm in ("vector", "text"))
    assert f["score"] == pytest.approx(added)


def test_a_text_is_no_query_where_the_model_is_not_known(tmp_path):
    """Vectors of another model of the bundled one's dimension would be compared with its own."""
    rng = np.random.default_rng(2)
    lines = [{"body": t, "embedding": rng.normal(size=256).tolist()} for t in texts(3)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    cli("import", tmp_path / "a.db", "t", tmp_path / "a.jsonl")
    err = cli("search", tmp_path / "a.db", "t", "x", code=1)
    assert "has no model" in err
    assert "--embedder names the model" in err
    cli("search", tmp_path / "a.db", "t", "x", "--embedder", "static")


def test_search_by_text_without_full_text_says_what_to_do(tmp_path):
    cli("import", tmp_path / "a.db", "t", write_csv(tmp_path / "a.csv", 3))
    err = cli("search", tmp_path / "a.db", "t", "x", "--hybrid", code=1)
    assert "vecsql index DB t --fts" in err


def test_info_as_json_has_everything(library):
    found = json.loads(cli("info", library, "--json"))
    (index,) = found["indexes"]
    assert (index["table"], index["rows"], index["dim"]) == ("docs", 400, 256)
    assert (index["model"], index["text"]) == ("vecsql-static-en-256", ["body"])
    assert index["stats"]["rows"] == 400
    assert found["bytes"] == library.stat().st_size


def test_check_of_a_sound_file_is_ok(library):
    assert cli("check", library) == f"{library}: ok\n"
    assert json.loads(cli("check", library, "docs", "--json")) == {
        "ok": True, "problems": [], "notes": [],
    }  # fmt: skip


DAMAGE = [
    "UPDATE docs_embedding_pages0 SET data = zeroblob(length(data)) WHERE rowid = 3",
    "DELETE FROM docs_embedding_map0 WHERE rowid = 7",
    "DROP TRIGGER docs_embedding_vecsql_insert; INSERT INTO docs(body, embedding) "
    "SELECT body, embedding FROM docs WHERE id = 1",
]


@pytest.mark.parametrize("sql", DAMAGE, ids=["page", "map", "row"])
def test_check_exits_with_3_for_damage_and_optimize_repairs_it(library, tmp_path, sql):
    path = damaged_copy(library, tmp_path, sql)
    done = subprocess.run(
        [sys.executable, "-m", "vecsql", "check", path],
        capture_output=True,
        text=True,
        cwd=sys.prefix,
    )
    assert done.returncode == 3, done.stdout
    assert done.stdout.endswith(f"{path}: damaged\n")
    assert "docs_embedding" in done.stdout
    cli("optimize", path, "docs", "--rebuild")
    assert cli("check", path).endswith(f"{path}: ok\n")


def test_check_finds_full_text_out_of_step(library, tmp_path):
    sql = "INSERT INTO docs_embedding_fts(docs_embedding_fts) VALUES ('delete-all')"
    done = subprocess.run(
        [sys.executable, "-m", "vecsql", "check", damaged_copy(library, tmp_path, sql), "--json"],
        capture_output=True, text=True, cwd=sys.prefix,
    )  # fmt: skip
    assert done.returncode == 3
    (problem,) = json.loads(done.stdout)["problems"]
    assert problem.startswith("docs_embedding_fts: ")


def test_check_of_a_file_that_is_no_database_is_an_error(tmp_path):
    (tmp_path / "a.db").write_text("no database " * 100)
    assert "Error: " in cli("check", tmp_path / "a.db", code=1)


def test_optimize_gives_space_back(library, tmp_path):
    path = damaged_copy(library, tmp_path, "DELETE FROM docs WHERE id > 100")
    out = cli("optimize", path, "--vacuum")
    assert out.startswith("docs_embedding: ")
    before, after = (
        int(n.replace(",", "")) for n in out.split(": ")[1].split(" bytes")[0].split(" -> ")
    )
    assert after < before
    cli("check", path)


def test_eval_gives_the_figures_of_evaluate(library, tmp_path):
    queries = {f"q{i}": text for i, text in enumerate(texts(400)[:20])}
    qrels = {q: {str(i + 1): 1} for i, q in enumerate(queries)}
    (tmp_path / "q.jsonl").write_text(
        "\n".join(json.dumps({"_id": q, "text": t}) for q, t in queries.items())
    )
    (tmp_path / "r").write_text(
        "\n".join(f"{q} 0 {d} {v}" for q, docs in qrels.items() for d, v in docs.items())
    )
    arguments = [
        "eval",
        library,
        "docs",
        "--queries",
        tmp_path / "q.jsonl",
        "--qrels",
        tmp_path / "r",
    ]
    out = json.loads(cli(*arguments, "--json", "--tune", "--save-run", tmp_path / "run"))
    assert [m["mode"] for m in out["modes"]] == ["vector", "text", "hybrid"]
    db = vecsql.connect(library)
    for m in out["modes"][:2]:
        e = vecsql.evaluate(db, "docs", queries, qrels, mode=m["mode"])
        assert m["nDCG@10"] == pytest.approx(e["nDCG@10"])
        assert m["ANN recall"] == e.ann_recall
    db.close()
    assert set(out["tuned"]["held_out"]) == {"vector", "text", "hybrid"}
    run = vecsql.read_run(tmp_path / "run")
    assert vecsql.score(qrels, run).mean["nDCG@10"] == pytest.approx(out["modes"][2]["nDCG@10"])


def test_eval_without_judgements_is_wrong_usage(library):
    assert "--beir FOLDER" in cli("eval", library, "docs", code=2)


def test_bench_measures_recall_and_draws_it(library, tmp_path):
    pytest.importorskip("matplotlib")
    png = tmp_path / "a.png"
    out = json.loads(
        cli("bench", library, "docs", "--ef", "1,400", "--sample", 30, "--json", "--png", png)
    )
    assert [p["ef_search"] for p in out["points"]] == [1, 400, "exact"]
    assert out["points"][1]["recall"] > 0.99
    assert out["points"][2]["recall"] == 1.0
    assert all(p["qps"] > 0 for p in out["points"])
    assert png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    drawn = cli("bench", library, "docs", "--sample", 5)
    assert "●" in drawn
    assert "queries per second" in drawn


def test_bench_takes_queries_from_a_file(library, tmp_path):
    np.save(tmp_path / "q.npy", np.random.default_rng(1).normal(size=(7, 256)))
    out = json.loads(cli("bench", library, "docs", "--queries", tmp_path / "q.npy", "--json"))
    assert out["queries"] == 7


def test_shell_runs_sql_with_everything_loaded(library):
    sql = "SELECT count(*) FROM docs_embedding WHERE embedding MATCH embed('night') AND k = 7"
    assert cli("shell", library, sql).split() == ["7"]
    done = subprocess.run(
        [sys.executable, "-m", "vecsql", "shell", library], input=f"{sql};\n.tables\n", text=True,
        capture_output=True, cwd=sys.prefix, env={**os.environ, "COLUMNS": "120"}, check=True,
    )  # fmt: skip
    assert done.stdout.split()[0] == "7"
    assert "docs" in done.stdout


def test_help_loads_nothing_large_and_names_every_command():
    code = (
        "import sys\n"
        "from vecsql._cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        "print({'numpy', 'apsw', 'rich', 'vecsql._core'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    out = subprocess.run(command, cwd=sys.prefix, check=True, capture_output=True, text=True).stdout
    assert out.endswith("set()\n")
    for name in (
        "bench",
        "check",
        "demo",
        "eval",
        "export",
        "import",
        "info",
        "optimize",
        "search",
    ):
        assert name in out


def on_terminal(*args):
    """What a command writes to a terminal of 120 columns, without the control sequences."""
    pty = pytest.importorskip("pty")
    master, slave = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "vecsql", *map(str, args)], stdin=slave, stdout=slave, stderr=slave,
        cwd=sys.prefix, env={**os.environ, "COLUMNS": "120", "TERM": "xterm"}, close_fds=True,
    )  # fmt: skip
    os.close(slave)
    written = b""
    while True:
        try:
            part = os.read(master, 4096)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        written += part
    os.close(master)
    assert child.wait() == 0, written
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", written.decode())


def test_a_terminal_gets_a_bar_and_a_table(library, tmp_path):
    pytest.importorskip("rich")
    source = write_csv(tmp_path / "a.csv", 300)
    out = on_terminal("import", tmp_path / "a.db", "docs", source, "--batch", 50)
    assert "Importing into docs" in out
    assert "100%" in out
    assert "300 rows" in out
    assert "━" in out
    found = on_terminal("search", library, "docs", "night", "-k", 2)
    assert "distance" in found
    assert len([line for line in found.splitlines() if "20" in line]) == 2


def test_text_from_the_data_is_no_markup(tmp_path):
    pytest.importorskip("rich")
    (tmp_path / "a.csv").write_text("id,body\n1,[red]alert[/red] [/nothing]\n")
    cli("import", tmp_path / "a.db", "t", tmp_path / "a.csv")
    assert "[red]alert[/red] [/nothing]" in on_terminal("search", tmp_path / "a.db", "t", "alert")


# --- what a message says -------------------------------------------------------------------------


# What the command line never does: loading into a connection, binding values, drift.
OF_PYTHON = ("load.py", "bind.py", "_core_build.py", "drift.py", "dbapi.py")


def messages():
    """The strings of the package that are raised and name a function of it."""
    for path in sorted(Path(vecsql.__file__).parent.rglob("*.py")):
        if path.name in OF_PYTHON:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Raise) and node.exc is not None:
                parts = [
                    n for n in ast.walk(node.exc) if isinstance(n, (ast.JoinedStr, ast.Constant))
                ]
                for part in parts:
                    text = _text_of(part)
                    if re.search(r"vecsql\.\w+", text):
                        yield f"{path.name}:{node.lineno}", text


def _text_of(node):
    if isinstance(node, ast.JoinedStr):
        return "".join(
            v.value if isinstance(v, ast.Constant) else "'t'" for v in node.values
        ).replace("''t''", "'t'")
    return node.value if isinstance(node.value, str) else ""


@pytest.mark.parametrize(("place", "text"), [pytest.param(p, t, id=p) for p, t in messages()])
def test_the_command_line_names_options_and_no_call_of_python(place, text):
    assert not re.search(r"vecsql\.\w+", as_commands(text)), as_commands(text)


def test_messages_name_options_where_python_has_arguments(library):
    for command, said in (
        (["search", library, "docs", "x", "--where", "a ="], "--where is one SQL condition; 'a ='"),
        (["export", library, "docs", "-", "--where", "a ="], "one SQL condition; 'a ='"),
        (["search", library, "docs", "x", "--where", "(a"], "--where is one SQL condition"),
        (["search", library, "docs", "x", "--where", "distance < 1"], ": --max-distance says"),
        (["search", library, "docs", "x", "--embedder", "minilm"], "leave --embedder out"),
        (["index", library, "docs", "--text", "body", "--column", "e", "--dim", "3"], "--dim 3"),
        (["ingest", library, "d", ".", "--max-tokens", "9", "--overlap", "9"], "--overlap"),
    ):
        err = cli(*command, code=1)
        assert said in err, err
        assert not re.search(r"\b(where|mode|text|embedder|dim|max_distance)=", err)


def test_what_is_no_database_is_named_with_its_reason(library, tmp_path):
    text = tmp_path / "a.csv"
    text.write_text("id,text\n1,night train\n" * 100)
    assert f"{text}: file is not a database" in cli("info", text, code=1)
    with pytest.raises(apsw.NotADBError):
        vecsql.connect(text, driver="apsw", vec0=True)
    locked = vecsql.connect(library)
    locked.execute("BEGIN EXCLUSIVE")
    try:
        # one process does not lock itself out with two SQLite libraries
        err = process("query", library, "PRAGMA busy_timeout = 1; CREATE TABLE t(a)", code=1)
    finally:
        locked.rollback()
        locked.close()
    assert f"{library}: database is locked: another program is writing" in err


def test_max_distance_leaves_out_rows(library):
    rows = json.loads(cli("search", library, "docs", "x", "--max-distance", "-1", "--json"))
    assert rows == []


def test_a_missing_table_is_answered_with_those_that_there_are(library, tmp_path):
    path = damaged_copy(
        library, tmp_path, "CREATE TABLE aardvark(x); CREATE VIEW docks AS SELECT 1"
    )
    for command in (["search", path, "dosc", "x"], ["query", path, "SELECT * FROM dosc"]):
        err = cli(*command, code=1)
        expected = "there is no table dosc in the main database; its tables: docs, docks, aardvark"
        assert err == f"Error: {expected}\n"
    assert "it has none" in cli("index", _empty(tmp_path), "t", "--text", "x", code=1)


def _empty(tmp_path):
    sqlite3.connect(tmp_path / "empty.db").execute("PRAGMA user_version = 1").connection.close()
    return tmp_path / "empty.db"


WRONG = [
    ["nosuch"],
    ["import", "a.db"],
    ["import", "a.db", "t", "a.csv", "--nosuch"],
    ["import", "a.db", "t", "a.csv", "--metric", "far"],
    ["import", "a.db", "t", "a.csv", "--batch", "0"],
    ["search", "none.db", "t", "q"],
    ["search", "DB", "docs", "q", "-k", "x"],
    ["search", "DB", "docs", "q", "--embedder", "nosuch"],
    ["index", "DB", "docs", "--column", "other"],
    ["eval", "DB", "docs"],
    ["bench", "DB", "docs", "--ef", "x"],
    ["reembed", "DB", "docs"],
]


@pytest.mark.parametrize("args", WRONG, ids=" ".join)
def test_wrong_usage_is_one_line_that_names_the_help(library, args):
    err = cli(*[library if a == "DB" else a for a in args], code=2)
    assert err.startswith("Error: ")
    assert err.endswith("--help)\n")
    assert len(err.splitlines()) == 1


def test_no_command_at_all_prints_the_help():
    assert cli(code=2).startswith("Usage: vecsql")


# --- index, query, files by URI ------------------------------------------------------------------


def test_a_table_that_exists_gets_an_index_of_its_text(tmp_path):
    path = tmp_path / "a.db"
    conn = sqlite3.connect(path)
    conn.executescript(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT);"
        "INSERT INTO t(body) VALUES ('night train'), ('rye bread'), (NULL)"
    )
    conn.close()
    out = cli("index", path, "t", "--text", "body")
    assert out.startswith(
        "t.embedding: 2 of 3 rows; 256 dimensions, cosine; vecsql-static-en-256; 1 "
    )
    assert json.loads(cli("search", path, "t", "loaf", "-k", 1, "--json"))[0]["body"] == "rye bread"
    cli("query", path, "INSERT INTO t(body) VALUES ('plum cake')")
    found = json.loads(cli("search", path, "t", "plum pudding", "-k", 1, "--json"))
    assert found[0]["body"] == "plum cake"
    assert "vecsql index DB t --fts" in cli("search", path, "t", "x", "--hybrid", code=1)
    cli("index", path, "t", "--fts")
    assert (
        json.loads(cli("search", path, "t", "plum", "--text", "--json"))[0]["body"] == "plum cake"
    )
    assert "--drop" in cli("index", path, "t", "--text", "body", code=1)
    cli("index", path, "t", "--drop")
    assert "has no vecsql index" in cli("search", path, "t", "x", code=1)


def test_a_column_of_vectors_gets_an_index_of_its_own_dimension(tmp_path):
    path = tmp_path / "a.db"
    rows(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB)")
    assert "--text COLUMN to embed, one of id, v" in cli(
        "index", path, "t", "--column", "v", code=2
    )
    rows(path, "INSERT INTO t(v) VALUES (vec_f32('[1, 0, 0]')), (vec_f32('[0, 1, 0]')), (NULL)")
    out = cli("index", path, "t", "--column", "v", "--metric", "l2")
    assert out.startswith("t.v: 2 of 3 rows; 3 dimensions, l2; vectors given by the caller; 1 rows")
    assert json.loads(cli("search", path, "t", "[0, 1, 0]", "-k", 1, "--json"))[0]["id"] == 2
    rows(path, "CREATE TABLE u(id INTEGER PRIMARY KEY, v BLOB)")
    rows(path, "INSERT INTO u(v) VALUES (zeroblob(8)), (zeroblob(12))")
    assert "vectors of several lengths: 8 and 12 bytes" in cli(
        "index", path, "u", "--column", "v", code=1
    )


def test_rows_noted_for_later_are_brought_up_by_sync(tmp_path):
    path = tmp_path / "a.db"
    rows(path, "CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT)")
    cli("index", path, "t", "--text", "body", "--later")
    plain = sqlite3.connect(path)  # no vecsql
    plain.execute("INSERT INTO t(body) VALUES ('night train'), ('rye bread')")
    plain.commit()
    plain.close()
    assert cli("sync", path) == f"{path}: 2 rows brought up to date\n"
    assert cli("sync", path, "t") == "t: 0 rows brought up to date\n"
    assert json.loads(cli("search", path, "t", "rail", "-k", 1, "--json"))[0]["id"] == 1


def test_query_names_the_parameter_that_is_missing(library):
    said = cli("query", library, "SELECT :a, :b", "-p", "a", "1", code=1)
    assert "a parameter b: -p b VALUE gives it" in said


def test_query_tells_a_transaction_that_is_not_committed(tmp_path):
    path = tmp_path / "a.db"
    cli("query", path, "CREATE TABLE t(a)")
    assert "has no COMMIT" in cli("query", path, "BEGIN; INSERT INTO t VALUES(1)", code=1)
    cli("query", path, "BEGIN; INSERT INTO t VALUES(2); COMMIT")
    assert rows(path, "SELECT a FROM t") == [(2,)]


def test_json_holds_neither_infinity_nor_what_python_alone_reads(library):
    sql = "SELECT 9e999 AS a, :n AS n"
    said = cli("query", library, sql, "-p", "n", "99999999999999999999", "--json")
    assert json.loads(said, parse_constant=pytest.fail) == [{"a": None, "n": 1e20}]
    assert cli("query", library, sql, "-p", "n", "1", "--nl") == '{"a": null, "n": 1}\n'
    assert cli("query", library, sql, "-p", "n", "1", "--csv") == "a,n\ninf,1\n"


@pytest.fixture(scope="module")
def orphan(tmp_path_factory):
    """A file whose table t is gone and whose table u is well."""
    path = tmp_path_factory.mktemp("orphan") / "a.db"
    db = vecsql.connect(path)
    for table in ("t", "u"):
        vecsql.create_table(db, table, {"body": str}, text="body", fts=True)
    db.execute("DROP TABLE t")
    db.close()
    return path


GONE = "t.embedding is an index of a table that is gone: vecsql index DB t --drop removes it"


def test_info_shows_the_healthy_indexes_beside_one_whose_table_is_gone(orphan):
    out = cli("info", orphan)
    assert GONE in out
    assert "u_embedding: 0 rows" in out
    described = json.loads(cli("info", orphan, "--json"))["indexes"]
    assert ["problem" in d for d in described] == [True, False]


@pytest.mark.parametrize("option", [[], ["--rebuild"]])
def test_optimize_does_the_healthy_indexes_and_names_the_orphan(orphan, tmp_path, option):
    copy = tmp_path / "a.db"
    copy.write_bytes(orphan.read_bytes())
    assert GONE in cli("optimize", copy, *option, code=1)
    done = subprocess.run(
        [sys.executable, "-m", "vecsql", "optimize", copy, *option],
        capture_output=True, cwd=sys.prefix, text=True, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("u_embedding: ")


def test_sync_does_the_healthy_indexes_and_names_the_orphan(orphan, tmp_path):
    copy = tmp_path / "a.db"
    copy.write_bytes(orphan.read_bytes())
    db = vecsql.connect(copy)
    for table in ("later", "last"):
        vecsql.create_table(db, table, {"body": str}, text="body", mode="sync")
        db.execute(f"INSERT INTO {table}(body) VALUES ('night train')")
    db.commit()
    status, out, err = run("sync", copy, cwd=tmp_path)
    assert (status, out) == (1, f"{copy}: 2 rows brought up to date\n")
    assert GONE in err
    assert db.execute("SELECT count(*) FROM last WHERE embedding IS NULL").fetchone() == (0,)
    with pytest.raises(vecsql.SchemaError, match="a table that is gone"):
        vecsql.sync(db)
    db.execute("DROP TABLE last")
    with pytest.raises(vecsql.SchemaError, match=r"last\.embedding is .*; t\.embedding is "):
        vecsql.sync(db)
    db.close()


@pytest.mark.parametrize("command", ["import DB t CSV", "export DB t -", "bench DB t"])
def test_commands_on_a_table_that_is_gone_name_the_remedy(orphan, tmp_path, command):
    names = {"DB": orphan, "CSV": write_csv(tmp_path / "a.csv", 3)}
    assert GONE in cli(*(names.get(word, word) for word in command.split()), code=1)


def test_query_prints_the_rows_of_the_last_statement(library):
    sql = "SELECT 1 AS a; SELECT id, id, :n AS n FROM docs WHERE year = :y ORDER BY id LIMIT 1"
    out = cli("query", library, sql, "-p", "y", 2003, "-p", "n", "007", "--json")
    assert json.loads(out) == [{"id": 4, "id:2": 4, "n": "007"}]
    assert cli("query", library, "SELECT id FROM docs WHERE 0", "--csv") == "id\n"
    assert cli("query", library, "SELECT id FROM docs WHERE 0", "--json") == "[]\n"
    assert cli("query", library, "SELECT id FROM docs WHERE 0") == "no rows\n"
    assert "no such column: nope" in cli("query", library, "SELECT nope FROM docs", code=1)
    found = cli("query", library, "SELECT vec_length(embed('x')) AS n", "--nl")
    assert json.loads(found) == {"n": 256}


@pytest.mark.parametrize("mode", ["immutable=1", "mode=ro"])
def test_a_uri_is_taken_as_a_file(library, tmp_path, mode):
    path = tmp_path / "with space.db"
    path.write_bytes(library.read_bytes())
    uri = f"file:{str(path).replace(' ', '%20')}?{mode}"
    found = json.loads(cli("search", uri, "docs", "night", "--json", "-k", 3))
    assert found == json.loads(cli("search", path, "docs", "night", "--json", "-k", 3))
    assert cli("info", uri).startswith(f"{uri}: {path.stat().st_size:,} bytes")
    err = cli("query", uri, "DELETE FROM docs", code=1)
    assert "readonly" in err
    assert "does not exist" in cli("info", f"file:{tmp_path}/none.db?{mode}", code=2)
    assert rows(path, "SELECT count(*) FROM docs") == [(400,)]


def test_a_misspelt_file_is_not_left_behind(tmp_path):
    cli("query", tmp_path / "none.db", "SELECT 1")
    assert not (tmp_path / "none.db").exists()


def test_info_shows_the_internals_only_if_asked(library):
    short, long = cli("info", library), cli("info", library, "--all")
    assert "docs_embedding: 400 rows; embedding[256] cosine; vecsql-static-en-256" in short
    assert re.search(r"hnsw index, codec \w+; m 16, ef_search 64; .*[\d,]+ bytes", short)
    assert "resident_pages" not in short
    assert "resident_pages" in long


def test_a_text_gets_half_of_a_table_that_is_too_wide(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    render.print_table(["source", "path", "body"], [["s" * 60, "p" * 90, "b" * 300]])
    for line in capsys.readouterr().out.splitlines():
        assert len(line) <= 100
    assert line.count("b") >= 47
    assert line.count("s") == line.count("p") > 20


def test_columns_with_commas_are_quoted(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": 1, "a, b": "x", "text": "night train"}\n')
    cli("import", tmp_path / "a.db", "t", tmp_path / "a.jsonl")
    out = cli("export", tmp_path / "a.db", "t", "-", "--columns", 'id,"a, b"')
    assert list(csv.reader(io.StringIO(out))) == [["id", "a, b"], ["1", "x"]]


def test_a_column_named_as_a_figure_keeps_both(tmp_path):
    (tmp_path / "a.csv").write_text("id,text,distance,score\n1,hello,5,6\n")
    cli("import", tmp_path / "a.db", "t", tmp_path / "a.csv", "--text", "text", "--fts")
    (found,) = json.loads(cli("search", tmp_path / "a.db", "t", "hello", "--json"))
    assert (round(found["distance"], 3), found["t.distance"], found["score"]) == (0, 5, 6)
    (found,) = json.loads(cli("search", tmp_path / "a.db", "t", "hello", "--hybrid", "--json"))
    assert (found["distance"], found["t.score"]) == (5, 6)


# --- figures -------------------------------------------------------------------------------------


def test_progress_after_a_resume_counts_all_rows_and_the_rate_of_this_run(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(render.time, "perf_counter", lambda: clock[0])
    bar = render.Meter("Importing", 1000)
    clock[0] = 150.0
    bar.start(400)
    clock[0] = 160.0
    bar.update(100, 500)
    assert bar.figures() == "500 rows  10/s"
    clock[0] = 170.0
    bar.update(100, 600)
    assert bar.figures() == "600 rows  10/s  ETA 0:40"


def test_a_file_that_is_examined_counts_no_rows():
    bar = render.Meter("Importing", 1000)
    bar.examine(500)
    assert bar._line().split() == ["Examining", "the", "file", "50", "%"]
    bar.start(0)
    bar.update(10, 20)
    assert bar._line().startswith("Importing    2 %  10 rows")


def test_an_import_that_goes_on_shows_its_records_of_all_runs(tmp_path):
    source = write_csv(tmp_path / "a.csv", 300)
    conn = vecsql.connect(tmp_path / "a.db")
    calls = []

    def stop(rows, position):
        calls.append(rows)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_records(conn, "docs", open_source(source), batch=100, progress=stop)
    conn.close()
    command = [sys.executable, "-m", "vecsql", "import", tmp_path / "a.db", "docs", source]
    done = subprocess.run(command, capture_output=True, text=True, cwd=sys.prefix, check=True)
    assert "100 %  300 rows" in done.stderr
    assert done.stdout.startswith("docs: 100 added, 0 updated, 0 unchanged, 200 were there from")


def test_the_axis_of_recall_gives_most_of_its_room_to_the_best():
    drawn = render.plot([(0.2, 100.0), (0.9, 50.0), (1.0, 10.0)], "t", "recall@10", "qps")
    places = [line.index("●") for line in drawn.splitlines() if "●" in line]
    first, middle, last = places
    assert (last - middle) > 1.8 * (middle - first) > 0
    marks = next(line for line in drawn.splitlines() if "0.9" in line)
    assert {"0.5", "0.9", "0.99", "1"} <= set(marks.split())
    assert "0.95" in render.plot([(1.0, 1.0)], "t", "x", "y")


def test_the_path_in_the_demo_is_quoted():
    for path in ("/a b/vecsql.so", "/it's/vecsql.so"):
        conn = io.StringIO()
        shell = apsw.shell.Shell(stdout=conn, stderr=conn, args=[])
        shell.process_complete_line(f".print {demo._quoted(path)}")
        assert conn.getvalue().strip() == path


def test_a_database_of_sqlite_vec_takes_no_options_of_records(library, tmp_path):
    """Its table says all of it; and a table that is not there is answered with those that are."""
    rows(tmp_path / "a.db", "CREATE TABLE t(x)")
    err = cli("import", tmp_path / "b.db", "t", tmp_path / "a.db", "--text", "body", code=2)
    assert "--text is for files of records" in err
    err = cli("import", tmp_path / "b.db", "docs", tmp_path / "a.db", code=1)
    assert "there is no table docs; tables of sqlite-vec there: none" in err
    assert not (tmp_path / "b.db").exists()


def test_a_file_that_is_locked_while_the_extension_is_loaded_names_the_remedy():
    said = r"^a\.db: .* locked: another program is writing"
    with pytest.raises(click.ClickException, match=said), reported("a.db"):
        raise vecsql.LoadError("cannot load vecsql.so: database is locked")
