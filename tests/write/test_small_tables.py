"""Risk: a table of a few rows, most of them deleted and written anew in one transaction, has an
index that is not sound: whatever led to the others was just deleted."""

from __future__ import annotations

import random

import pytest

import vecsql
from tests.support.oracle import connect

DIMS = 3


def vector(rng):
    return vecsql.f32([rng.uniform(-1, 1) for _ in range(DIMS)])


def new(options):
    conn = connect(":memory:")
    conn.execute(
        f"CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, e FLOAT[{DIMS}] {options})"
    )
    return conn


def found(conn, rng):
    return sorted(
        i for (i,) in conn.execute("SELECT id FROM t WHERE e MATCH ? AND k = 999", [vector(rng)])
    )


@pytest.mark.parametrize("codec", ["none", "sq8"])
@pytest.mark.parametrize("waiting", [1, 2, 3, 10])
@pytest.mark.parametrize("before", [1, 5, 40])
def test_rows_that_outlive_all_that_were_linked_before_are_linked(before, waiting, codec):
    rng, conn = random.Random(1), new(f"codec={codec}")
    insert = "INSERT INTO t VALUES(?, ?)"
    for i in range(before):
        conn.execute(insert, (i, vector(rng)))
    with conn:
        conn.executemany(insert, [(before + i, vector(rng)) for i in range(waiting)])
        conn.execute("DELETE FROM t WHERE id < ?", [before])
    conn.execute("INSERT INTO t(t) VALUES('integrity-check')")
    assert found(conn, rng) == list(range(before, before + waiting))


class Program:
    """Random transactions on a table that is never large."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        m = self.rng.choice([2, 3, 16])
        codec = self.rng.choice(["none", "sq8", "pq"])
        self.conn = new(f"m={m} ef_construction={self.rng.choice([m, 40])} codec={codec}")
        self.ids, self.next = [], 0

    def insert(self):
        self.conn.execute("INSERT INTO t VALUES(?, ?)", (self.next, vector(self.rng)))
        self.ids.append(self.next)
        self.next += 1

    def delete(self):
        if self.ids:
            i = self.ids.pop(self.rng.randrange(len(self.ids)))
            self.conn.execute("DELETE FROM t WHERE id = ?", [i])

    def update(self):
        if self.ids:
            row = (vector(self.rng), self.rng.choice(self.ids))
            self.conn.execute("UPDATE t SET e = ? WHERE id = ?", row)

    def keep_few(self):
        n = self.rng.randrange(4)
        kept = self.ids[len(self.ids) - n :] if self.rng.random() < 0.7 else self.ids[:n]
        self.conn.execute(f"DELETE FROM t WHERE id NOT IN ({','.join(map(str, kept))})")
        self.ids = list(kept)

    def search(self):
        assert set(found(self.conn, self.rng)) == set(self.ids)

    def savepoint(self):
        self.conn.execute("SAVEPOINT s")
        before = list(self.ids)
        for _ in range(self.rng.choice([1, 2, 5])):
            self.rng.choice([self.insert, self.delete, self.update, self.keep_few])()
        if self.rng.random() < 0.5:
            self.conn.execute("ROLLBACK TO s")
            self.ids = before
        self.conn.execute("RELEASE s")

    def transaction(self):
        before = list(self.ids)
        self.conn.execute("BEGIN")
        steps = [self.insert] * 10 + [self.delete] * 6 + [self.update] * 2
        steps += [self.keep_few, self.search, self.savepoint]
        for _ in range(self.rng.choice([1, 2, 3, 6, 20])):
            self.rng.choice(steps)()
        if self.rng.random() < 0.1:
            self.conn.execute("ROLLBACK")
            self.ids = before
        else:
            self.conn.execute("COMMIT")


@pytest.mark.parametrize(
    "programs", [60, pytest.param(2000, marks=pytest.mark.slow)], ids=["few", "many"]
)
def test_random_transactions_on_small_tables_leave_a_sound_index(programs):
    for _ in range(programs):
        seed = random.randrange(1 << 32)
        print("seed", seed)
        program = Program(seed)
        for _ in range(14):
            program.transaction()
            program.conn.execute("INSERT INTO t(t) VALUES('integrity-check')")
            assert found(program.conn, program.rng) == sorted(program.ids)
        program.conn.close()
