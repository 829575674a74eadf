# Risk: attached, temporary, copied, restored or read-only files mix up or lose their indexes.
from __future__ import annotations

import apsw
import pytest

from tests.support.oracle import (
    CREATE,
    START,
    Peer,
    change,
    check,
    check_here,
    command,
    connect,
    drop,
    new_file,
    point,
    points,
    put,
    without,
)

# --- ATTACH, TEMP, copies -------------------------------------------------------------------------


def test_attach_detach_and_another_file_under_the_same_name(conn, tmp_path, journal):
    files = [tmp_path / "x.db", tmp_path / "y.db"]
    for version, file in enumerate(files):
        c = new_file(file, journal, ())
        put(c, range(30), version + 5)
        c.close()
    for _ in range(2):
        for version, file in enumerate(files):
            conn.execute("ATTACH ? AS aux", (str(file),))
            rows = points(range(30), version + 5)
            check(conn, rows, "aux.t")
            check(conn, START)
            put(conn, [100], table="aux.t")
            check(conn, rows | points([100]), "aux.t")
            drop(conn, [100], table="aux.t")
            conn.execute("DETACH aux")
    check(conn, START)


def test_files_with_the_same_history_under_one_name_do_not_mix(conn, tmp_path, journal):
    """The same statements give the same stamp: only what follows differs."""
    files = [tmp_path / "x.db", tmp_path / "y.db"]
    for file in files:
        new_file(file, journal).close()
    for turn in range(3):
        for version, file in enumerate(files):
            conn.execute("ATTACH ? AS aux", (str(file),))
            put(conn, [100 + turn], version, table="aux.t")
            rows = START | {100 + i: point(100 + i, version) for i in range(turn + 1)}
            check(conn, rows, "aux.t")
            conn.execute("DETACH aux")


def test_one_transaction_over_two_files(conn, tmp_path, journal):
    new_file(tmp_path / "x.db", journal).close()
    conn.execute("ATTACH ? AS aux", (str(tmp_path / "x.db"),))
    conn.execute("BEGIN")
    put(conn, [100])
    put(conn, [101], table="aux.t")
    conn.execute("SAVEPOINT s")
    put(conn, [102])
    put(conn, [103], table="aux.t")
    conn.execute("ROLLBACK TO s")
    check(conn, START | points([100]))
    check(conn, START | points([101]), "aux.t")
    conn.execute("COMMIT")
    check(conn, START | points([100]))
    check(conn, START | points([101]), "aux.t")
    conn.execute("BEGIN")
    put(conn, [104])
    put(conn, [105], table="aux.t")
    conn.execute("ROLLBACK")
    check(conn, START | points([100]))
    check(conn, START | points([101]), "aux.t")


def test_temp_tables_roll_back_and_hide_a_main_table(conn):
    conn.execute(CREATE.format(table="temp.t"))
    put(conn, range(5), 3)
    check(conn, points(range(5), 3), "temp.t")
    check(conn, START, "main.t")
    conn.execute("BEGIN")
    put(conn, [50], table="temp.t")
    put(conn, [51], table="main.t")
    conn.execute("ROLLBACK")
    check(conn, points(range(5), 3), "temp.t")
    check(conn, START, "main.t")
    conn.execute("DROP TABLE temp.t")
    check(conn, START)


def test_a_memory_database_rolls_back(journal):
    del journal
    conn = new_file(":memory:")
    conn.execute("BEGIN")
    check(conn, change(conn))
    conn.execute("ROLLBACK")
    check(conn, START)
    check(conn, change(conn))
    conn.close()


def backup(source: apsw.Connection, target: apsw.Connection) -> None:
    with target.backup("main", source, "main") as b:
        while not b.done:
            b.step(7)


@pytest.mark.parametrize("how", ["backup", "VACUUM INTO"])
def test_a_copy_and_its_original_go_separate_ways(conn, tmp_path, how):
    put(conn, [100])
    other = tmp_path / "copy.db"
    if how == "backup":
        copy = connect(other)
        backup(conn, copy)
    else:
        conn.execute("VACUUM INTO ?", (str(other),))
        copy = connect(other)
    put(conn, [101], 1)
    put(copy, [101], 2)
    drop(copy, [5])
    put(conn, [102], 1)
    check(conn, START | points([100]) | points([101, 102], 1))
    check(copy, without(START | points([100]) | points([101], 2), 5))
    command(copy, "optimize")
    command(conn, "optimize")
    check(conn, START | points([100]) | points([101, 102], 1))
    check(copy, without(START | points([100]) | points([101], 2), 5))
    copy.close()


def test_vacuum_into_from_an_open_read_transaction(conn, tmp_path):
    conn.execute("BEGIN")
    check(conn, START)
    conn.execute("COMMIT; VACUUM INTO ?", (str(tmp_path / "c.db"),))
    copy = connect(tmp_path / "c.db")
    check(copy, START)
    copy.close()


def test_restore_of_an_older_file_under_an_open_connection(conn, second, tmp_path):
    old = connect(tmp_path / "old.db")
    backup(conn, old)
    rows = change(conn)
    check(second, rows)
    backup(old, conn)
    check(conn, START)
    check(second, START)
    rows = change(conn)
    check(conn, rows)
    check(second, rows)
    old.close()


def test_restore_of_a_file_that_differs_only_by_folding(conn, second, tmp_path):
    old = connect(tmp_path / "old.db")
    backup(conn, old)
    command(conn, "optimize")
    check(second, START)
    backup(old, conn)
    for c in (conn, second):
        put(c, [100 if c is conn else 101])
        command(c, "optimize")
    check(conn, START | points([100, 101]))
    check(second, START | points([100, 101]))
    old.close()


def test_restore_of_another_table_of_the_same_name(conn, tmp_path):
    old = new_file(tmp_path / "old.db", "delete", ())
    put(old, range(7), 4)
    backup(old, conn)
    check(conn, points(range(7), 4))
    put(conn, [100])
    check(conn, points(range(7), 4) | points([100]))
    old.close()


# --- read-only ------------------------------------------------------------------------------------


def test_a_read_only_connection_answers_and_follows(conn, path):
    reader = connect(path, flags=apsw.SQLITE_OPEN_READONLY)
    check(reader, START)
    rows = change(conn)
    check(reader, rows)
    with pytest.raises(apsw.ReadOnlyError):
        put(reader, [300])
    check(reader, rows)
    command(conn, "optimize")
    check(reader, rows)
    reader.close()


@pytest.mark.parametrize("fold", [False, True], ids=["log", "folded"])
def test_an_immutable_file_answers(conn, path, fold):
    rows = change(conn)
    if fold:
        command(conn, "optimize")
    conn.execute("PRAGMA journal_mode = delete")
    conn.close()
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    reader = connect(f"file:{path}?immutable=1", flags=flags)
    check_here(reader, rows)
    with pytest.raises(apsw.ReadOnlyError):
        put(reader, [300])
    check_here(reader, rows)
    reader.close()


def test_a_query_only_connection_answers(conn, second):
    second.execute("PRAGMA query_only = ON")
    rows = change(conn)
    check(second, rows)
    with pytest.raises(apsw.ReadOnlyError):
        put(second, [300])
    second.execute("PRAGMA query_only = OFF")
    put(second, [300])
    check(second, rows | points([300]))


# --- several processes ----------------------------------------------------------------------------

WORK = """
rng = np.random.default_rng({me})
for i in range({rounds}):
    base = {me} * 1000 + i * 10
    for end in ("ROLLBACK", "COMMIT") if rng.random() < 0.3 else ("COMMIT",):
        conn.execute("BEGIN IMMEDIATE")
        put(conn, range(base, base + 4))
        drop(conn, [base + 1])
        if rng.random() < 0.2:
            command(conn, "optimize")
        conn.execute(end)
    conn.execute("BEGIN")
    check_answers(conn, contents(conn))
    conn.execute("COMMIT")
"""


def test_processes_that_write_and_read_together(path, journal):
    new_file(path, journal).close()
    rounds, rows = 12, dict(START)
    with Peer(path) as one, Peer(path) as two, Peer(path) as three:
        peers = [one, two, three]
        for me, peer in enumerate(peers, 1):
            peer.start(WORK.format(me=me, rounds=rounds))
        for me, peer in enumerate(peers, 1):
            peer.wait()
            for base in range(me * 1000, me * 1000 + rounds * 10, 10):
                rows |= points([base, base + 2, base + 3])
    conn = connect(path)
    check(conn, rows)
    conn.close()
