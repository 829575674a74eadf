"""Risk: a write that failed half way, or damage on disk, is committed, answered from, or cannot be
repaired."""

from __future__ import annotations

import apsw
import pytest

import vecsql
from tests.support.thirty_rows import ids, intact, thirty_rows


@pytest.fixture
def db():
    return thirty_rows()


class Deny:
    """An authorizer that refuses to change one table."""

    def __init__(self, db, table: str) -> None:
        self.db, self.table = db, table

    def __enter__(self) -> None:
        changes = (apsw.SQLITE_INSERT, apsw.SQLITE_DELETE, apsw.SQLITE_UPDATE)
        self.db.authorizer = lambda op, a, b, c, d: (
            apsw.SQLITE_DENY if op in changes and a == self.table else apsw.SQLITE_OK
        )

    def __exit__(self, *_: object) -> None:
        self.db.authorizer = None


def test_a_flush_that_failed_at_a_savepoint_cannot_commit(db):
    db.execute("CREATE TABLE p(x UNIQUE)")
    db.execute("BEGIN")
    for i in range(3):
        db.execute("INSERT INTO t(e) VALUES(?)", (f"[{i},5]",))
    with Deny(db, "t_map0"), pytest.raises(apsw.Error):
        db.execute("INSERT INTO p VALUES(1),(2)")
    with pytest.raises(apsw.Error):
        db.execute("COMMIT")
    if db.in_transaction:
        db.execute("ROLLBACK")
    assert intact(db)
    assert db.execute("SELECT count(*) FROM t").fetchall() == [(30,)]
    db.execute("INSERT INTO t(e) VALUES('[7,7]')")
    assert intact(db)


def test_a_rebuild_that_failed_leaves_no_phantom_rows(db):
    db.execute("BEGIN; INSERT INTO t(rowid, e) VALUES(99, '[9,9]')")
    with Deny(db, "t_log0"), pytest.raises(apsw.Error):
        db.execute("INSERT INTO t(t) VALUES('rebuild')")
    db.execute("ROLLBACK")
    assert len(ids(db, "e MATCH '[1,1]' ORDER BY distance")) == 30
    assert intact(db)


def test_a_map_row_that_names_another_node_is_damage_and_not_an_answer(db):
    db.execute("INSERT INTO t(t) VALUES('optimize')")
    (node,) = db.execute("SELECT node FROM t_map0 WHERE rowid = 7").fetchall()[0]
    db.execute("UPDATE t_map0 SET node = ? WHERE rowid = 3", (node,))
    with pytest.raises(apsw.CorruptError, match="rebuild"):
        ids(db, "e MATCH '[1,1]' AND cat = 'c3' AND k = 9")
    with pytest.raises(apsw.CorruptError, match="rebuild"):
        db.execute("DELETE FROM t WHERE rowid = 3")
    db.execute("INSERT INTO t(t) VALUES('rebuild')")
    assert intact(db)
    assert ids(db, "e MATCH '[1,1]' AND cat = 'c3' AND k = 2") == [3, 8]


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM t_config",
        "DELETE FROM t_config WHERE key = 'format'",
        "UPDATE t_config SET value = NULL",
        "UPDATE t_config SET value = 'float[3] m=x' WHERE key = 'vector0'",
        "UPDATE t_config SET value = replace(value, '=l2', '=dot') WHERE key = 'vector0'",
        "UPDATE t_config SET value = replace(value, 'm=8', 'm=9') WHERE key = 'vector0'",
        "UPDATE t_config SET value = replace(value, 'hnsw', 'flat') WHERE key = 'vector0'",
        "UPDATE t_config SET value = replace(value, '=none', '=sq8') WHERE key = 'vector0'",
        "DROP TABLE t_config",
    ],
)
def test_a_damaged_configuration_can_be_rebuilt_or_dropped(tmp_path, damage):
    path = str(tmp_path / "t.db")
    conn = vecsql.connect(path, driver="apsw")
    options = "index=hnsw codec=none m=8"
    conn.execute(f"CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2] {options}, cat TEXT)")
    conn.execute("INSERT INTO t VALUES('[1,2]', 'a'), ('[3,4]', 'b')")
    conn.execute(damage)
    conn.close()
    conn = vecsql.connect(path, driver="apsw")
    for sql in (
        "SELECT * FROM t",
        "SELECT rowid FROM t WHERE e MATCH '[1,2]' AND k = 1",
        "INSERT INTO t VALUES('[5,6]', 'c')",
    ):
        with pytest.raises(apsw.Error, match="configuration is damaged"):
            conn.execute(sql).fetchall()
    check = "INSERT INTO t(t) VALUES('integrity-check')"
    with pytest.raises(apsw.CorruptError, match=r"t_config is (damaged|missing)"):
        conn.execute(check)
    assert not intact(conn)
    conn.execute("BEGIN; INSERT INTO t(t) VALUES('rebuild')")
    assert len(conn.execute("SELECT * FROM t WHERE e MATCH '[1,2]' AND k = 9").fetchall()) == 2
    assert intact(conn)
    conn.execute("ROLLBACK; DROP TABLE t")
    assert conn.execute("SELECT count(*) FROM sqlite_schema").fetchall() == [(0,)]


def test_the_report_of_integrity_check_reaches_the_user(db):
    db.execute("DELETE FROM t_map0 WHERE rowid = 3")
    with pytest.raises(apsw.CorruptError, match=r"row 3: its vector is not in the index"):
        db.execute("INSERT INTO t(t) VALUES('integrity-check')")


@pytest.mark.parametrize("column", ["ver", "stamp"])
def test_the_checksum_of_the_state_covers_its_columns(tmp_path, column):
    path = str(tmp_path / "t.db")
    conn = vecsql.connect(path, driver="apsw")
    conn.execute("CREATE VIRTUAL TABLE t USING vecsql(e FLOAT[2])")
    conn.execute("INSERT INTO t VALUES('[1,2]')")
    conn.execute(f"UPDATE t_log0 SET {column} = {column} + 4611686018427387904")
    with pytest.raises(apsw.CorruptError):
        conn.execute("SELECT * FROM t WHERE e MATCH '[1,2]' AND k = 1").fetchall()
    assert not intact(conn)
    conn.execute("INSERT INTO t(t) VALUES('rebuild')")
    assert intact(conn)
