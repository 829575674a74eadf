"""Risk: rows of a sqlite-vec database are lost, changed or mixed up when they are imported.

sqlite-vec 0.1.9 itself makes the tables; vecsql reads them without it.
"""

from __future__ import annotations

import random
import sqlite3
import struct
import subprocess
import sys

import apsw
import pytest

import vecsql
from tests.support.vec0_definitions import ACCEPTED
from tests.support.vec0_pair import theirs
from vecsql._rows.sqlite_vec import Reader, import_sqlite_vec, parse_definition

EVERYTHING = (
    "id text primary key, e float[3] distance_metric=cosine, q int8[4], b bit[16], "
    "g integer partition key, h text partition key, "
    "flag boolean, n integer, x float, s text, +body text, +blob blob, +num integer, +real float, "
    "chunk_size=8"
)
LONG = "long enough not to fit into a chunk: Ærøskøbing"


def values(rng: random.Random, i: int) -> tuple:
    return (
        f"key {i}",
        struct.pack("<3f", *(rng.uniform(-1, 1) for _ in range(3))),
        bytes(rng.randrange(256) for _ in range(4)),
        bytes(rng.randrange(256) for _ in range(2)),
        None if i % 11 == 0 else rng.randrange(3),
        rng.choice(["red", "green", "a partition key of more than twelve bytes"]),
        rng.randrange(2),
        rng.choice([0, -1, 2**62, -(2**63), i]),
        rng.choice([0.0, -1.5, 1e300, float(i)]),
        rng.choice(["", "twelve bytes", "thirteen byte", "æøå", LONG + str(i)]),
        rng.choice([None, "", LONG]),
        rng.choice([None, b"", b"\x00\x01"]),
        rng.choice([None, 7]),
        rng.choice([None, 0.5]),
    )


@pytest.fixture
def everything(tmp_path):
    """A file with a table of every kind of column, deleted rows among the others."""
    path = str(tmp_path / "theirs.db")
    seed = random.randrange(1 << 32)
    print("seed", seed)
    rng = random.Random(seed)
    db = theirs(path)
    db.execute(f"CREATE VIRTUAL TABLE t USING vec0({EVERYTHING})")
    rows = {}
    with db:
        for i in range(60):
            row = values(rng, i)
            rows[row[0]] = row
            places = "?, ?, vec_int8(?), vec_bit(?)" + ", ?" * 10
            db.execute(
                "INSERT INTO t(id, e, q, b, g, h, flag, n, x, s, body, blob, num, real) "
                f"VALUES ({places})",
                row,
            )
        for key in rng.sample(sorted(rows), 17):
            db.execute("DELETE FROM t WHERE id = ?", (key,))
            del rows[key]
        for key in rng.sample(sorted(rows), 10):
            text = rng.choice(["", "short", LONG])
            db.execute("UPDATE t SET s = ?, body = ? WHERE id = ?", (text, text, key))
            rows[key] = (*rows[key][:9], text, text, *rows[key][11:])
    db.close()
    return path, rows


def target(path: str = ":memory:", vec0: bool = False) -> apsw.Connection:
    return vecsql.connect(path, driver="apsw", vec0=vec0)


def test_every_kind_of_column_arrives_as_it_was(everything):
    path, rows = everything
    db = target()
    seen = []
    n = import_sqlite_vec(db, "t", source=sqlite3.connect(path), progress=lambda *a: seen.append(a))
    assert n == len(rows)
    assert {r[0]: r for r in db.execute("SELECT * FROM t")} == rows
    assert seen[-1] == (n, n)


def test_the_import_is_found_by_its_vectors(tmp_path):
    path = str(tmp_path / "a.db")
    other = theirs(path)
    other.execute(
        "CREATE VIRTUAL TABLE t USING vec0(e float[2], g text partition key, chunk_size=8)"
    )
    for i in range(100):
        other.execute(
            "INSERT INTO t(rowid, e, g) VALUES (?, ?, ?)", (3 * i, f"[{i}, 0]", f"g{i % 2}")
        )
    sql = (
        "SELECT rowid, round(distance, 5) FROM {} WHERE e MATCH '[50.2, 0]' AND g = 'g1' AND k = 4"
    )
    expected = other.execute(sql.format("t")).fetchall()
    other.close()
    db = target(path)
    assert import_sqlite_vec(db, "t") == 100  # the same file, under another name
    assert db.execute(sql.format("t_vecsql")).fetchall() == expected
    db.close()
    other = theirs(path)  # and sqlite-vec's own table is as it was
    assert other.execute(sql.format("t")).fetchall() == expected
    other.close()


def test_a_table_for_programs_of_sqlite_vec_keeps_its_name_and_definition(everything):
    path, rows = everything
    db = target(vec0=True)
    source = apsw.Connection(path)
    import_sqlite_vec(db, "t", source=source, module="vec0", options="index=flat")
    assert {r[0]: r for r in db.execute("SELECT * FROM t")} == rows
    row = next(iter(rows.values()))
    with pytest.raises(apsw.SQLError, match="UNIQUE constraint failed on t primary key"):
        db.execute(f"INSERT INTO t VALUES (?, ?, vec_int8(?), vec_bit(?){', ?' * 10})", row)


def test_an_interrupted_import_in_batches_goes_on(everything, tmp_path):
    path, rows = everything
    ours = str(tmp_path / "ours.db")

    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done > total // 2:
            raise StopError

    db = target(ours)
    with pytest.raises(StopError):
        import_sqlite_vec(db, "t", source=sqlite3.connect(path), batch=10, progress=stop)
    (kept,) = db.execute("SELECT count(*) FROM t").fetchone()
    assert 0 < kept < len(rows)
    db.close()
    db = target(ours)
    import_sqlite_vec(db, "t", source=sqlite3.connect(path), batch=10)
    assert {r[0]: r for r in db.execute("SELECT * FROM t")} == rows
    db.close()


def test_an_interrupted_import_in_one_transaction_leaves_nothing(everything, tmp_path):
    path, _ = everything
    db = target(str(tmp_path / "ours.db"))

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_sqlite_vec(db, "t", source=sqlite3.connect(path), progress=stop)
    assert db.execute("SELECT * FROM sqlite_schema").fetchall() == []
    db.close()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("UPDATE t_vector_chunks00 SET vectors = x'00'", r"chunk \d+, vector_chunks00: expected"),
        ("UPDATE t_chunks SET validity = x'' WHERE chunk_id = 2", "chunk 2, validity: expected"),
        ("UPDATE t_chunks SET rowids = zeroblob(3)", r"chunk \d+, rowids: expected"),
        ("DELETE FROM t_metadatachunks01", r"chunk \d+, metadatachunks01: expected .* got none"),
        ("DELETE FROM t_auxiliary", "is not in its auxiliary table"),
        ("DELETE FROM t_metadatatext03", "is not in its metadatatext03 table"),
        ("DELETE FROM t_rowids WHERE rowid = (SELECT max(rowid) FROM t_rowids)", "rowids table"),
    ],
)
def test_damage_is_named_and_nothing_is_imported(everything, damage, message):
    path, _ = everything
    source = sqlite3.connect(path)
    source.execute(damage)
    db = target()
    with pytest.raises(vecsql.FormatError, match=message):
        import_sqlite_vec(db, "t", source=source)
    assert db.execute("SELECT count(*) FROM sqlite_schema").fetchall() == [(0,)]


def test_verifying_notices_a_row_that_differs(everything):
    path, _ = everything
    db = target()

    def tamper(done: int, total: int) -> None:
        if done == total:
            db.execute("UPDATE t SET n = n + 1 WHERE id = (SELECT max(id) FROM t)")

    with pytest.raises(vecsql.FormatError, match=r"the row 'key \d+' differs from t"):
        import_sqlite_vec(db, "t", source=sqlite3.connect(path), progress=tamper)


def test_auxiliary_values_of_another_type_are_kept(tmp_path):
    """sqlite-vec checks them in INSERT and not in UPDATE."""
    path = str(tmp_path / "a.db")
    other = theirs(path)
    other.execute("CREATE VIRTUAL TABLE t USING vec0(e float[1], +x text)")
    other.execute("INSERT INTO t(rowid, e, x) VALUES (1, '[1]', 'a'), (2, '[2]', 'b')")
    other.execute("UPDATE t SET x = 5 WHERE rowid = 1")
    other.close()
    db = target(path)
    import_sqlite_vec(db, "t", into="u")
    assert db.execute("SELECT rowid, x FROM u").fetchall() == [(1, 5), (2, "b")]
    db.close()


def test_what_is_no_table_of_sqlite_vec_is_refused(tmp_path):
    db = target(str(tmp_path / "a.db"), vec0=True)
    db.execute("CREATE TABLE plain(a)")
    db.execute("CREATE VIRTUAL TABLE mine USING vec0(e float[2])")
    for table, message in [
        ("nothing", "there is no table nothing"),
        ("plain", "expected a table of the module vec0"),
        ("mine", "was not made by sqlite-vec"),
    ]:
        with pytest.raises(vecsql.SchemaError, match=message):
            import_sqlite_vec(db, table)
    db.close()


def test_a_table_that_is_something_else_is_not_written_to(everything):
    path, _ = everything
    db = target()
    db.execute("CREATE VIRTUAL TABLE t USING vecsql(other float[2])")
    with pytest.raises(vecsql.SchemaError, match="has other columns"):
        import_sqlite_vec(db, "t", source=sqlite3.connect(path))
    assert db.execute("SELECT count(*) FROM t").fetchall() == [(0,)]


def test_the_copy_in_the_same_file_needs_another_name(everything):
    path, rows = everything
    db = target(path)
    with pytest.raises(vecsql.SchemaError, match="needs a new name"):
        import_sqlite_vec(db, "t", into="T")
    db.execute("CREATE TABLE plain(id, e, q, b, g, h, flag, n, x, s, body, blob, num, real)")
    with pytest.raises(vecsql.SchemaError, match="plain is there already and is no vecsql table"):
        import_sqlite_vec(db, "t", into="plain")
    assert import_sqlite_vec(db, "t", into="u") == len(rows)
    db.close()


def run(*args: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "vecsql", *args],
        cwd=sys.prefix,  # not the source tree
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_imports_from_a_file_and_checks_the_copy(everything, tmp_path):
    path, rows = everything
    ours = str(tmp_path / "ours.db")
    done = run("import", ours, "t", path)
    assert done.returncode == 0, done.stderr
    assert f"t: {len(rows)} rows of t in" in done.stdout
    assert run("import", ours, "t", path).returncode == 0  # again: nothing is doubled
    assert run("import", ours, "v", path, "--from", "t", "--vec0").returncode == 0
    db = target(ours, vec0=True)
    assert {r[0]: r for r in db.execute("SELECT * FROM t")} == rows
    assert {r[0]: r for r in db.execute("SELECT * FROM v")} == rows
    (sql,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 'v'").fetchone()
    assert "USING vec0(" in sql
    db.close()
    assert run("check", ours, "t").returncode == 0


def test_the_command_says_what_is_wrong(everything, tmp_path):
    path, _ = everything
    ours = str(tmp_path / "ours.db")
    missing = run("import", ours, "nothing", path)
    assert missing.returncode == 1
    assert "there is no table nothing" in missing.stderr
    assert run("import", path, "t", path).returncode == 1
    (tmp_path / "a.csv").write_text("text\nx\n")
    assert run("import", ours, "t", str(tmp_path / "a.csv"), "--vec0").returncode == 2


@pytest.mark.parametrize("definition", ACCEPTED)
def test_definitions_are_read_as_sqlite_vec_reads_them(definition):
    db = theirs()
    db.execute(f"CREATE VIRTUAL TABLE t USING vec0({definition})")
    (sql,) = db.execute("SELECT sql FROM sqlite_schema WHERE name = 't'").fetchone()
    layout = parse_definition("t", sql)
    declared = [n for (n,) in db.execute("SELECT name FROM pragma_table_info('t')")]
    assert [c.name for c in layout.columns] == [n for n in declared if n != "rowid"]
    tables = {
        n for (n,) in db.execute("SELECT name FROM sqlite_schema WHERE name LIKE 't!_%' ESCAPE '!'")
    }
    for kind, suffix in (("vector", "vector_chunks"), ("metadata", "metadatachunks")):
        numbered = {f"t_{suffix}{c.number:02d}" for c in layout.of_kind(kind)}
        assert numbered == {n for n in tables if n.startswith(f"t_{suffix}")}
    assert len(Reader(db, "t")) == 0
    db.close()
