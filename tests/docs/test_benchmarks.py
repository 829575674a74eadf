"""Risk: the page of benchmarks has a figure that no run measured; a speed is read off wrongly."""

from __future__ import annotations

import importlib
import json
import sys

import numpy as np
import pytest

from tests.support.paths import ROOT

FOLDER = ROOT / "benchmarks"


@pytest.fixture
def program(monkeypatch):
    """Imports a program of benchmarks/, whose modules know each other by their bare names."""
    names = {path.stem for path in FOLDER.glob("*.py")}
    before = {name: sys.modules.pop(name) for name in names & set(sys.modules)}
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in names & set(sys.modules):
        del sys.modules[name]
    sys.modules.update(before)


def a_run(file, cells, *, benchmark="run", commit="abc1234", command="python benchmarks/run.py"):
    table = {"title": "Speed.", "head": ["engine", "QPS at 0.95", "ratio"], "rows": cells}
    machine = {"cpu": "a", "cpus": 2, "system": "b", "python": "3", "commit": commit}
    return {
        "file": file,
        "benchmark": benchmark,
        "command": command,
        "title": "t",
        "machine": machine,
        "versions": {"hnswlib": "0.8.0", "vecsql": "0.1.0"},
        "tables": [table],
        "figures": {},
    }


# --- the page ------------------------------------------------------------------------------------


def test_the_pages_are_what_the_results_say(program):
    report = program("report")
    for path, text in report.written(report.load(report.RESULTS)).items():
        assert path.read_text("utf-8") == text, "python benchmarks/report.py writes it"


def test_every_result_has_its_command_commit_and_question(program):
    report = program("report")
    runs = report.load(report.RESULTS)
    assert runs
    for run in runs:
        assert run["command"].startswith(f"python benchmarks/{run['benchmark']}.py")
        assert run["benchmark"] in report.questions()[1]
        assert not run["machine"]["commit"].endswith("-dirty")
        assert "/" not in run["command"].removeprefix("python benchmarks/")  # a path of somebody


def test_every_question_is_answered_by_a_program(program):
    assert all((FOLDER / f"{name}.py").exists() for name in program("report").questions()[1])


def test_two_runs_of_a_command_share_a_table(program):
    report = program("report")
    runs = [
        a_run("1.json", [["vecsql", "20", "2.0"], ["hnswlib", "10", "1.0"]]),
        a_run("2.json", [["vecsql", "21", "2.1"], ["hnswlib", "10", "1.0"]]),
        a_run("3.json", [["vecsql", "30", "3.0"]], commit="def5678"),
    ]
    text = report.page(runs)
    assert text.count("| engine ") == 2
    assert "20; 21 | 2.0; 2.1 |" in text
    assert "Commit abc1234, 2 runs:" in text
    assert "Commit def5678:" in text


def test_runs_whose_tables_differ_in_shape_are_refused(program):
    runs = [a_run("1.json", [["vecsql", "20", "2"]]), a_run("2.json", [["hnswlib", "20", "2"]])]
    with pytest.raises(ValueError, match=r"1\.json, 2\.json"):
        program("report").page(runs)


def test_the_readme_shows_the_defaults_of_vecsql_and_every_peer(program):
    names = [
        "vecsql, defaults",
        "vecsql, pragmas",
        "vecsql_search, defaults",
        "vecsql core",
        "zvec",
    ]
    block = program("report").readme_block([a_run("1.json", [[n, "1", "1"] for n in names])])
    shown = [line.split("|")[1].strip() for line in block.splitlines() if line.startswith("| ")]
    assert [n for n in names if n in shown] == [n for n in names if n != "vecsql, pragmas"]


def test_a_result_is_written_again_by_its_command(program):
    [line] = program("report").commands([a_run("x.json", [])])
    assert line == "python benchmarks/run.py --json benchmarks/results/x.json"


# --- what the programs share ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (["--set", "a", "--json", "/tmp/x.json"], "--set a"),
        (["--data=/somewhere", "--rows", "5"], "--rows 5"),
        (["--queries", "/somewhere/held-out.npy"], "--queries held-out.npy"),
    ],
)
def test_a_command_is_kept_without_the_places_of_its_files(program, typed, kept):
    command = program("results").command(["/here/benchmarks/run.py", *typed])
    assert command == f"python benchmarks/run.py {kept}"


def test_a_result_keeps_its_tables_and_figures(program, tmp_path):
    results, tables = program("results"), program("tables")
    table = tables.Table("T.", ["a", "b"], [["x", "1"]])
    results.save(tmp_path / "r.json", {"title": "t"}, [table], {"n": 1})
    kept = json.loads((tmp_path / "r.json").read_text("utf-8"))
    assert kept == {
        "title": "t",
        "tables": [{"title": "T.", "head": ["a", "b"], "rows": [["x", "1"]]}],
        "figures": {"n": 1},
    }


CURVE = [
    {"recall": 0.90, "qps": 400.0},
    {"recall": 0.94, "qps": 200.0},
    {"recall": 0.96, "qps": 100.0},
]


@pytest.mark.parametrize(
    ("recall", "qps"),
    [(0.95, 2**0.5 * 100), (0.90, 400.0), (0.80, 400.0), (0.96, 100.0), (0.99, None)],
)
def test_speed_at_a_recall_lies_between_two_settings(program, recall, qps):
    found = program("run").at_recall(CURVE, recall)
    assert found == (None if qps is None else pytest.approx(qps))


def test_the_lowest_setting_is_a_floor_of_lower_recalls(program):
    run = program("run")
    assert run.is_floor(CURVE, 0.9)
    assert not run.is_floor(CURVE, 0.91)


@pytest.mark.parametrize("turn", [None, 3])
def test_a_turn_asks_every_engine_the_same_queries(program, turn):
    run, datasets = program("run"), program("datasets")
    base = np.eye(20, dtype=np.float32)
    data = datasets.Dataset("d", "l2", base, base, base[:0], {1: np.zeros(20)})
    asked = {"a": [], "b": []}

    class Engine:
        def __init__(self, name):
            self.name = name

        def efforts(self, ef):
            return list(ef)

        def searchers(self):
            return {self.name: self.search}

        def search(self, query, k, effort):
            asked[self.name].append(query.argmax(1).tolist())
            return query.argmax(1)[:, None]

    ticks = iter(range(1_000_000))
    engines = [Engine("a"), Engine("b")]
    curves = run.measure(engines, data, 1, [8], 2, lambda: next(ticks) * 1e-6, turn)
    assert asked["a"] == asked["b"]
    rounds = asked["a"][3:]  # after the warm-up and the answers that are compared
    assert [q for part in rounds for q in part] == [*range(20), *range(20)]
    assert max(map(len, rounds)) == (turn or 20)
    assert curves["a"][0]["recall"] == 1
    assert curves["a"][0]["qps"] == pytest.approx(20 / (1e-6 * len(rounds) / 2))


def test_modes_of_a_connection(program):
    modes = program("engines_modes")
    assert modes.parse("defaults,apsw+txn,pragmas+cache")[1] == "apsw+txn"
    for wrong in ("nothing", "txn+defaults", "pragmas,"):
        with pytest.raises(ValueError, match="unknown mode"):
            modes.parse(wrong)


@pytest.mark.parametrize("kind", ["npy", "fvecs"])
def test_queries_come_from_a_file(program, tmp_path, kind):
    datasets = program("datasets")
    given = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = tmp_path / f"q.{kind}"
    if kind == "npy":
        np.save(path, given)
    else:
        path.write_bytes(b"".join(np.int32(3).tobytes() + row.tobytes() for row in given))
    data = datasets.load("x", 10, synthetic=True, dims=3, queries=str(path))
    assert (data.query == given).all()
    with pytest.raises(datasets.NoDataError, match="3 dimensions, the set has 4"):
        datasets.load("x", 10, synthetic=True, dims=4, queries=str(path))
    with pytest.raises(datasets.NoDataError, match="no such file"):
        datasets.load("x", 10, synthetic=True, dims=4, queries=str(tmp_path / "none.npy"))
