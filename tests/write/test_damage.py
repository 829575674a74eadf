"""Risk: damage that one check sees and another does not, or calls by another name each time."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

import vecsql
from tests.support.oracle import connect

DAMAGE = {
    "no configuration": ("DELETE FROM {0}_config", r"the configuration in {0}_config is damaged"),
    "no configuration table": ("DROP TABLE {0}_config", r"the shadow table {0}_config is missing"),
    "no log table": ("DROP TABLE {0}_log0", r"the shadow table {0}_log0 is missing"),
    "no map table": ("DROP TABLE {0}_map0", r"the shadow table {0}_map0 is missing"),
    "no pages table": ("DROP TABLE {0}_pages0", r"the shadow table {0}_pages0 is missing"),
    "no model table": ("DROP TABLE {0}_model0", r"the shadow table {0}_model0 is missing"),
    "another log table": (
        "DROP TABLE {0}_log0; CREATE TABLE {0}_log0(a)",
        r"the shadow tables cannot be read: .*no such column: ver.*",
    ),
    "a cut state": (
        "UPDATE {0}_log0 SET state = x'00' WHERE ver = (SELECT max(ver) FROM {0}_log0)",
        r"the state, the log or the map is damaged",
    ),
    "a mark of nobody": (
        "INSERT INTO {0}_log0 SELECT max(ver) + 1, 7, NULL, NULL FROM {0}_log0",
        r"the state, the log or the map is damaged",
    ),
    "no map row": ("DELETE FROM {0}_map0 WHERE rowid = 3", r"e: row 3: its vector is not in the"),
    "a map row of another": (
        "UPDATE {0}_map0 SET node = 1 WHERE rowid = 3",
        r"e: row 3: its node belongs to another row",
    ),
    "a map row too many": (
        "INSERT INTO {0}_map0 VALUES(999, 1)",
        r"20 rows with a vector, 20 nodes, 21 map rows",
    ),
    "no pages": ("DELETE FROM {0}_pages0", r"e: (node|code) page 0 is missing or damaged"),
    "a bad vector": (
        "UPDATE {1} SET {2} = x'00' WHERE rowid = 3",
        r"e: row 3: what is stored is no vector of this column",
    ),
    "another vector": (
        "UPDATE {1} SET {2} = zeroblob(12) WHERE rowid = 3",
        r"e: row 3: its code is not that of its vector",
    ),
    "a lost row": ("DELETE FROM {1} WHERE rowid = 3", r"19 rows with a vector, 20 nodes, 20 map"),
}
OVER_DOCS = {
    "no triggers": ("DROP TRIGGER {0}_vecsql_insert", r"triggers of docs .* are missing"),
    "no content table": ("DROP TABLE docs", r"its content table docs, or a column"),
}


def damaged_file(path: Path, over: bool, sql: str) -> None:
    conn = connect(path)
    insert = """
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20)
        INSERT INTO {} SELECT i, vec_f32(printf('[%d,%d,%d]', i, i * i % 7, i * 5 % 3)) FROM n
    """
    if over:
        conn.execute("CREATE TABLE docs(id INTEGER PRIMARY KEY, e BLOB)")
        conn.execute(insert.format("docs"))
        conn.execute("CREATE VIRTUAL TABLE t USING vecsql(content=docs, e FLOAT[3])")
    else:
        conn.execute("CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[3])")
        conn.execute(insert.format("t"))
    conn.execute("INSERT INTO t(t) VALUES('optimize')")
    conn.close()
    plain = apsw.Connection(str(path))  # no triggers of ours fire
    if over and "{1}" in sql:
        vecsql.load(plain)
        plain.execute("INSERT INTO t(t) VALUES('detach')")
    names = ("t", "docs", "e") if over else ("t", "t_rows", "c1")
    plain.execute(sql.format(*names))
    plain.close()


CASES = [(over, name) for over in (False, True) for name in DAMAGE]
CASES += [(True, name) for name in OVER_DOCS]


@pytest.mark.parametrize(("over", "name"), CASES)
def test_every_check_reports_damage_in_the_same_words(tmp_path, over, name):
    sql, expected = (DAMAGE | OVER_DOCS)[name]
    path = tmp_path / "a.db"
    damaged_file(path, over, sql)
    reports = []
    for _ in range(2):
        conn = connect(path)
        with pytest.raises(apsw.CorruptError) as caught:
            conn.execute("INSERT INTO t(t) VALUES('integrity-check')")
        reports.append(str(caught.value))
        reports += [row[0] for row in conn.execute("PRAGMA integrity_check")]
        conn.close()
    assert len(set(reports)) == 1, reports
    report = reports[0]
    assert re.fullmatch(rf"main\.t[.:] ?{expected.format('t')}.*", report), report
    command = [sys.executable, "-m", "vecsql", "check", str(path), "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 3, done.stdout + done.stderr
    problems = json.loads(done.stdout)["problems"]
    assert problems[0] == report
    # of what the content table lost it says besides which command mends it
    assert len(problems) == 1 or name in OVER_DOCS, problems


def test_a_table_whose_log_is_gone_is_damaged_and_not_empty() -> None:
    db = connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2])")
    assert list(db.execute("SELECT rowid FROM t WHERE e MATCH '[1, 2]' AND k = 2")) == []
    db.execute("INSERT INTO t(e) VALUES('[1, 2]'), ('[3, 4]')")
    db.execute("DELETE FROM t_log0")
    with pytest.raises(apsw.Error, match="damaged"):
        list(db.execute("SELECT rowid FROM t WHERE e MATCH '[1, 2]' AND k = 2"))
    db.execute("INSERT INTO t(t) VALUES('rebuild')")
    assert list(db.execute("SELECT rowid FROM t WHERE e MATCH '[1, 2]' AND k = 2")) == [(1,), (2,)]
