"""Risk: where the database file is mapped (PRAGMA mmap_size), what is fetched ahead of reading rows
(ext/query/row_prefetch.h) changes an answer, or touches what is no longer there."""

from __future__ import annotations

import random

import apsw
import pytest

from tests.support.oracle import CREATE, check_answers, command, connect, points, put

MAPPED = 1 << 28
ROWS = 400  # the row table has interior pages: 512 bytes a page


def mapped(path):
    conn = connect(path)
    conn.execute(f"PRAGMA mmap_size = {MAPPED}").fetchall()
    return conn


def new(path, journal):
    conn = mapped(path)
    conn.execute("PRAGMA page_size = 512")
    conn.execute("PRAGMA auto_vacuum = FULL")
    conn.execute(f"PRAGMA journal_mode = {journal}").fetchall()
    conn.execute("CREATE TABLE filler(x)")
    conn.execute(CREATE.format(table="t"))
    put(conn, range(ROWS))
    return conn


def change(conn, rows, rng):
    """One committed change that moves pages; `rows` are the ids that there are."""
    what = rng.randrange(7)
    some = set(rng.sample(range(2 * ROWS), 100))
    if what < 2:
        put(conn, some - rows)
        rows |= some
    elif what == 2:
        conn.execute(f"DELETE FROM t WHERE id IN ({', '.join(map(str, some))})")
        rows -= some
    elif what == 3:
        conn.execute("INSERT INTO filler VALUES (zeroblob(200000))")
    elif what == 4:
        conn.execute("DELETE FROM filler")  # and the file is that much shorter
    elif what == 5:
        conn.execute("VACUUM")
    else:
        command(conn, "optimize")


@pytest.mark.slow
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_answers_of_mapped_connections_are_those_of_brute_force(tmp_path, journal):
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    rng = random.Random(seed)
    path, rows = tmp_path / "m.db", set(range(ROWS))
    conns = [new(path, journal), mapped(path), connect(path)]
    conns[0].execute("PRAGMA wal_autocheckpoint = 0")
    for _ in range(40):
        change(rng.choice(conns), rows, rng)
        if rng.random() < 0.3:
            rng.choice(conns).execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        for conn in rng.sample(conns, 2):
            check_answers(conn, points(sorted(rows)))


def test_an_authorizer_that_forbids_pragmas_and_the_schema_forbids_no_search(tmp_path):
    conn = new(tmp_path / "m.db", "wal")
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    forbidden = []

    def ask(action, *names):
        if action == apsw.SQLITE_PRAGMA or (
            action == apsw.SQLITE_READ and names[0] in ("sqlite_master", "sqlite_schema")
        ):
            forbidden.append(names)
            return apsw.SQLITE_DENY
        return apsw.SQLITE_OK

    conn.authorizer = ask
    query = "SELECT id FROM t WHERE embedding MATCH '[1,2,3]' AND k = 10"
    assert len(conn.execute(query).fetchall()) == 10
    assert forbidden, "nothing was asked for: the file is not mapped"


def test_a_transaction_that_has_grown_the_file_finds_its_own_rows(tmp_path):
    conn = new(tmp_path / "m.db", "delete")
    conn.execute("BEGIN")
    put(conn, range(ROWS, 3 * ROWS))
    check_answers(conn, points(range(3 * ROWS)))
    conn.execute("ROLLBACK")
    check_answers(conn, points(range(ROWS)))
