"""Risk: a command says it did something that it did not do, or fails without saying why."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import vecsql
from tests.test_cli import cli, rows
from tests.test_import import texts, write_csv


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
                    tmp_path / "a.db", "SELECT coalesce(sum(done), 0) FROM vecsql_imports"
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
    from vecsql._read import open_source

    cli("export", library, "docs", tmp_path / f"a.{format}", "--where", "year < 2010")
    stored = rows(library, "SELECT embedding FROM docs WHERE year < 2010 ORDER BY id")
    back = [r["embedding"].tobytes() for r in open_source(tmp_path / f"a.{format}").records(0)]
    assert back == [bytes(v) for (v,) in stored]


def test_an_export_of_unknown_columns_is_refused(library, tmp_path):
    err = cli("export", library, "docs", tmp_path / "a.csv", "--columns", "id,nope", code=1)
    assert "docs has no column nope; it has id, body, year, embedding" in err
    assert not (tmp_path / "a.csv").exists()


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
    sql = (
        "DROP TRIGGER docs_embedding_fts_update; "
        "UPDATE docs SET body = 'other', embedding = zeroblob(1024) WHERE id = 3"
    )
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
