# Risk: some order of writes, savepoints, DDL and other connections that nobody thought of.
"""Random programs over two connections of one WAL file, against a dictionary.

The model knows what WAL allows: who may write, who gets SQLITE_BUSY, which snapshot a reader has.
Examples are the same in every run; a failure prints the program that leads to it.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import apsw
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.ddl_model import KINDS, NAMES, Program
from tests.support.oracle import connect, distances, new_file, same_answer

Row = tuple[Any, Any]  # vector, tag
Rows = dict[int, Row]

# Shrinking a failure takes minutes; where only the verdict counts it is left out.
PHASES = tuple(p for p in Phase if p is not Phase.shrink or "VECSQL_NO_SHRINK" not in os.environ)

CLIENT = st.integers(0, 1)
ROWID = st.integers(-2, 12)
VECTOR = st.one_of(
    st.tuples(*[st.integers(-3, 3)] * 3).map(np.float32),
    st.tuples(*[st.integers(-3, 3)] * 3).map(np.float32),
    st.tuples(*[st.integers(-3, 3)] * 3).map(np.float32),
    st.none(),
)
TAG = st.sampled_from(["a", "b", None])
K = st.sampled_from([1, 2, 5, 40])
RECALL = 0.3  # of default queries on the poor graph (m = 2); some 0.45 to 0.75 by example


def unchanged(rows: Rows) -> Rows | None:
    return rows


def text(vector: Any) -> str | None:
    return None if vector is None else json.dumps([float(x) for x in vector])


@dataclass
class Client:
    """A connection, and what it must see. rows is None before a transaction's first read."""

    conn: apsw.Connection
    in_txn: bool = False
    rows: Rows | None = None
    base: tuple[int, int] = (0, 0)
    writing: bool = False
    dirty: int = 0  # 0: no page written, 1: perhaps, 2: certainly
    saves: list[Rows | None] = field(default_factory=list)
    outermost: bool = False  # the transaction was begun by SAVEPOINT


class Machine(RuleBasedStateMachine):
    """Small tables: whatever the query, the answer is brute force's."""

    CREATE = "embedding FLOAT[3] codec=sq8 m=4 ef_construction=20"
    PRELOAD = 0
    template: ClassVar[Path]
    preloaded: ClassVar[Rows]

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="vecsql-test-"))
        self.path = self.directory / "a.db"
        shutil.copy(self.template, self.path)
        self.committed: Rows = dict(self.preloaded)
        self.certain = self.perhaps = self.made = self.steps = 0
        self.clients = [Client(connect(self.path)) for _ in range(2)]

    @initialize(warm=st.booleans(), mib=st.sampled_from([0, 1, 1]))
    def warm_up(self, warm: bool, mib: int) -> None:
        for c in (0, 1):
            self.write(c, "INSERT INTO t(t) VALUES(?)", (f"vector_cache={mib}",), unchanged, 0)
            if warm:
                self.look(c, np.zeros(3), 5)

    def teardown(self) -> None:
        try:
            for c, client in enumerate(self.clients):
                self.check(c)
                if client.in_txn:
                    client.conn.execute("ROLLBACK")
                    self.ended(client)
            for c in (0, 1):
                self.check(c)
            self.clients[0].conn.close()
            self.clients[0] = Client(connect(self.path))
            self.check(0)
        finally:
            for client in self.clients:
                client.conn.close()
            shutil.rmtree(self.directory)

    # --- the model of WAL

    def view(self, client: Client) -> Rows:
        """What the connection sees; a transaction's first use takes the snapshot."""
        if not client.in_txn:
            return self.committed
        if client.rows is None:
            client.rows = dict(self.committed)
            client.base = (self.certain, self.perhaps)
            client.saves = [dict(client.rows) if s is None else s for s in client.saves]
        return client.rows

    def ended(self, client: Client) -> None:
        conn = client.conn
        client.__dict__.update(vars(Client(conn)))

    def commit_rows(self, rows: Rows, dirty: int) -> None:
        self.committed = dict(rows)
        self.certain += dirty == 2
        self.perhaps += dirty == 1

    def busy(self, client: Client) -> tuple[bool, bool]:
        """Must a write, may a write be refused?"""
        must = any(o.writing for o in self.clients if o is not client)
        old = client.in_txn and client.rows is not None and not client.writing
        must |= old and client.base[0] != self.certain
        return must, must or (old and client.base[1] != self.perhaps)

    def write(
        self, c: int, sql: str, args: Any, apply: Callable[[Rows], Rows | None], dirty: int = 2
    ) -> None:
        """Runs a statement; apply gives the rows after it, None if it must fail."""
        client = self.clients[c]
        must, may = self.busy(client)
        failed = None
        try:
            client.conn.execute(sql, args)
        except apsw.BusyError:
            assert may, f"{sql}: busy"
            if client.in_txn and client.conn.txn_state("main") != 0:
                self.view(client)  # connecting to the table has read: the snapshot is taken
            return
        except (apsw.SQLError, apsw.ConstraintError, apsw.MismatchError) as e:
            failed = e
        assert not must, f"{sql}: should have been busy"
        rows = self.view(client)
        after = apply(copy.copy(rows))
        assert (after is None) == (failed is not None), f"{sql} {args}: {failed}"
        if after is None:
            dirty = min(dirty, 1) if client.in_txn else 0
            after = rows
        if client.in_txn:
            client.rows, client.writing = after, True
            client.dirty = max(client.dirty, dirty)
        else:
            self.commit_rows(after, dirty)

    # --- rows

    @rule(c=CLIENT, rowid=st.one_of(st.none(), ROWID), v=VECTOR, tag=TAG)
    def insert(self, c: int, rowid: int | None, v: Any, tag: Any) -> None:
        def apply(rows: Rows) -> Rows | None:
            new = max(rows, default=0) + 1 if rowid is None else rowid
            return None if new in rows else {**rows, new: (v, tag)}

        sql = "INSERT INTO t(id, embedding, tag) VALUES(?,?,?)"
        self.write(c, sql, (rowid, text(v), tag), apply)

    @rule(c=CLIENT, rows=st.lists(st.tuples(ROWID, VECTOR), min_size=2, max_size=4))
    def insert_several(self, c: int, rows: list[tuple[int, Any]]) -> None:
        def apply(old: Rows) -> Rows | None:
            new = {i: (v, None) for i, v in rows}
            clash = len(new) < len(rows) or set(new) & set(old)
            return None if clash else {**old, **new}

        values = ",".join(["(?,?)"] * len(rows))
        args = [x for i, v in rows for x in (i, text(v))]
        self.write(c, f"INSERT INTO t(id, embedding) VALUES{values}", args, apply)

    @rule(c=CLIENT, rowid=ROWID, v=VECTOR, tag=TAG)
    def replace(self, c: int, rowid: int, v: Any, tag: Any) -> None:
        sql = "INSERT OR REPLACE INTO t(id, embedding, tag) VALUES(?,?,?)"
        args = (rowid, text(v), tag)
        self.write(c, sql, args, lambda rows: {**rows, rowid: (v, tag)})

    @rule(c=CLIENT, rows=st.lists(st.tuples(ROWID, VECTOR), min_size=1, max_size=3))
    def ignore(self, c: int, rows: list[tuple[int, Any]]) -> None:
        def apply(old: Rows) -> Rows:
            for i, v in rows:
                old.setdefault(i, (v, None))
            return old

        values = ",".join(["(?,?)"] * len(rows))
        args = [x for i, v in rows for x in (i, text(v))]
        self.write(c, f"INSERT OR IGNORE INTO t(id, embedding) VALUES{values}", args, apply, 1)

    @rule(c=CLIENT, rowid=ROWID, several=st.booleans())
    def insert_that_fails(self, c: int, rowid: int, several: bool) -> None:
        first = f"({rowid}, '[1,2,3]')," if several else ""
        sql = f"INSERT OR REPLACE INTO t(id, embedding) VALUES {first} ({rowid + 1}, '[1,2]')"
        self.write(c, sql, (), lambda rows: None)

    @rule(c=CLIENT, low=ROWID, n=st.integers(1, 6))
    def delete(self, c: int, low: int, n: int) -> None:
        sql = "DELETE FROM t WHERE id >= ? AND id < ?"
        self.write(
            c, sql, (low, low + n),
            lambda rows: {i: r for i, r in rows.items() if not low <= i < low + n}, 1,
        )  # fmt: skip

    @rule(c=CLIENT, low=ROWID, n=st.integers(1, 4), v=VECTOR)
    def update_vector(self, c: int, low: int, n: int, v: Any) -> None:
        sql = "UPDATE t SET embedding = ? WHERE id >= ? AND id < ?"
        self.write(
            c, sql, (text(v), low, low + n),
            lambda rows: {i: (v, r[1]) if low <= i < low + n else r for i, r in rows.items()}, 1,
        )  # fmt: skip

    @rule(c=CLIENT, low=ROWID, tag=TAG)
    def update_metadata(self, c: int, low: int, tag: Any) -> None:
        self.write(
            c, "UPDATE t SET tag = ? WHERE id >= ?", (tag, low),
            lambda rows: {i: (r[0], tag) if i >= low else r for i, r in rows.items()}, 1,
        )  # fmt: skip

    @rule(c=CLIENT, old=ROWID, new=ROWID, or_replace=st.booleans(), v=st.one_of(st.none(), VECTOR))
    def update_key(self, c: int, old: int, new: int, or_replace: bool, v: Any) -> None:
        def apply(rows: Rows) -> Rows | None:
            if old not in rows:
                return rows
            if new != old and new in rows and not or_replace:
                return None
            row = rows.pop(old)
            return {**rows, new: row if v is None else (v, row[1])}

        how = "UPDATE OR REPLACE" if or_replace else "UPDATE"
        vector = "" if v is None else ", embedding = :v"
        args = {"old": old, "new": new, "v": text(v)}
        self.write(c, f"{how} t SET id = :new{vector} WHERE id = :old", args, apply, 1)

    @rule(c=CLIENT, rows=st.lists(st.tuples(ROWID, VECTOR), max_size=2, unique_by=lambda r: r[0]))
    def empty_and_fill(self, c: int, rows: list[tuple[int, Any]]) -> None:
        """Nodes and ages that the rows before had must not come again with other vectors."""
        self.write(c, "DELETE FROM t", (), lambda old: {}, 1)
        for rowid, v in rows:
            args = (rowid, text(v))
            self.write(
                c, "INSERT OR REPLACE INTO t(id, embedding) VALUES(?,?)", args,
                lambda old, i=rowid, v=v: {**old, i: (v, None)},
            )  # fmt: skip

    @rule(c=CLIENT, what=st.sampled_from(["optimize", "optimize", "rebuild", "integrity-check"]))
    def command(self, c: int, what: str) -> None:
        dirty = 2 if what == "rebuild" else 1
        self.write(c, "INSERT INTO t(t) VALUES(?)", (what,), unchanged, dirty)

    # --- transactions

    @rule(c=CLIENT, how=st.sampled_from(["BEGIN", "BEGIN IMMEDIATE", "SAVEPOINT s0"]))
    def begin(self, c: int, how: str) -> None:
        client = self.clients[c]
        if client.in_txn:
            return
        try:
            client.conn.execute(how)
        except apsw.BusyError:
            assert how == "BEGIN IMMEDIATE"
            assert self.busy(client)[0]
            return
        client.in_txn = True
        if how == "BEGIN IMMEDIATE":
            assert not self.busy(client)[0]
            self.view(client)
            client.writing = True
        elif how != "BEGIN":
            client.outermost = True
            client.saves = [None]

    def in_txn(self, c: int) -> bool:
        return self.clients[c].in_txn

    def some_txn(self) -> bool:
        return any(c.in_txn for c in self.clients)

    @precondition(some_txn)
    @rule(c=CLIENT)
    def commit(self, c: int) -> None:
        client = self.clients[c]
        if client.in_txn:
            client.conn.execute("COMMIT")
            if client.writing:
                self.commit_rows(self.view(client), client.dirty)
            self.ended(client)

    @precondition(some_txn)
    @rule(c=CLIENT)
    def rollback(self, c: int) -> None:
        client = self.clients[c]
        if client.in_txn:
            client.conn.execute("ROLLBACK")
            self.ended(client)

    @precondition(some_txn)
    @rule(c=CLIENT)
    def savepoint(self, c: int) -> None:
        client = self.clients[c]
        if client.in_txn:
            client.conn.execute(f"SAVEPOINT s{len(client.saves)}")
            client.saves.append(None if client.rows is None else dict(client.rows))

    @precondition(lambda self: any(c.saves for c in self.clients))
    @rule(c=CLIENT, n=st.integers(0, 9))
    def rollback_to(self, c: int, n: int) -> None:
        client = self.clients[c]
        if client.saves:
            n %= len(client.saves)
            client.conn.execute(f"ROLLBACK TO s{n}")
            saved = client.saves[n]
            client.rows = None if saved is None else dict(saved)
            client.saves = client.saves[: n + 1]
            client.dirty = min(client.dirty, 1)

    @precondition(lambda self: any(c.saves for c in self.clients))
    @rule(c=CLIENT, n=st.integers(0, 9))
    def release(self, c: int, n: int) -> None:
        client = self.clients[c]
        if client.saves:
            n %= len(client.saves)
            client.conn.execute(f"RELEASE s{n}")
            client.saves = client.saves[:n]
            if n == 0 and client.outermost:
                if client.writing:
                    self.commit_rows(self.view(client), client.dirty)
                self.ended(client)

    # --- the schema, the file

    @rule(c=CLIENT, drop=st.booleans())
    def ddl(self, c: int, drop: bool) -> None:
        self.made += 1
        name = f"made{self.made}"
        self.write(c, f"CREATE TABLE {name}(a)", (), unchanged)
        client = self.clients[c]
        exists = client.conn.execute(
            "SELECT count(*) FROM sqlite_schema WHERE name = ?", (name,)
        ).fetchall()
        self.view(client)
        if drop and exists == [(1,)]:
            self.write(c, f"DROP TABLE {name}", (), unchanged)

    @rule(c=CLIENT, back=st.booleans())
    def rename(self, c: int, back: bool) -> None:
        client = self.clients[c]
        if client.in_txn and client.writing and not back:
            client.conn.execute("SAVEPOINT r; ALTER TABLE t RENAME TO u; ROLLBACK TO r; RELEASE r")
            client.dirty = max(client.dirty, 1)
        elif client.in_txn and client.writing:
            client.conn.execute("ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME TO t")
            client.dirty = 2

    @rule(c=CLIENT)
    def drop_and_think_better_of_it(self, c: int) -> None:
        client = self.clients[c]
        if client.in_txn and client.writing:
            client.conn.execute("SAVEPOINT r; DROP TABLE t; ROLLBACK TO r; RELEASE r")
            client.dirty = max(client.dirty, 1)

    @rule(c=CLIENT)
    def vacuum(self, c: int) -> None:
        if not self.clients[c].in_txn:
            self.write(c, "VACUUM", (), unchanged, 1)

    @rule(c=CLIENT)
    def reopen(self, c: int) -> None:
        self.clients[c].conn.close()
        self.clients[c] = Client(connect(self.path))

    # --- questions

    def compare(self, rows: Rows, query: Any, got: list[tuple[int, float]], k: int) -> None:
        same_answer(got, {i: r[0] for i, r in rows.items()}, query, k)

    def look(self, c: int, query: Any, k: int) -> None:
        client = self.clients[c]
        sql = "SELECT id, distance FROM t WHERE embedding MATCH ? AND k = ?"
        got = client.conn.execute(sql, (text(query), k)).fetchall()
        self.compare(self.view(client), query, got, k)

    @rule(c=CLIENT, query=VECTOR, k=K)
    def nearest(self, c: int, query: Any, k: int) -> None:
        if query is not None:
            self.look(c, query, k)

    @rule(c=CLIENT, query=VECTOR, k=K)
    def nearest_as_a_stream(self, c: int, query: Any, k: int) -> None:
        if query is not None:
            client = self.clients[c]
            sql = "SELECT id, distance FROM t WHERE embedding MATCH ? ORDER BY distance LIMIT ?"
            got = client.conn.execute(sql, (text(query), k)).fetchall()
            self.compare(self.view(client), query, got, k)

    @rule(c=CLIENT, query=VECTOR, k=K, tag=TAG, stream=st.booleans())
    def nearest_with_a_filter(self, c: int, query: Any, k: int, tag: Any, stream: bool) -> None:
        if query is not None:
            client = self.clients[c]
            sql = "SELECT id, distance FROM t WHERE embedding MATCH ? AND tag IS ? "
            sql += "ORDER BY distance LIMIT ?" if stream else "AND k = ?"
            got = client.conn.execute(sql, (text(query), tag, k)).fetchall()
            rows = {i: r for i, r in self.view(client).items() if r[1] == tag}
            self.compare(rows, query, got, k)

    @rule(c=CLIENT)
    def check(self, c: int) -> None:
        """Every row, the whole order, and the structure."""
        client = self.clients[c]
        got = {}
        for i, v, tag in client.conn.execute("SELECT id, embedding, tag FROM t"):
            got[i] = (None if v is None else tuple(np.frombuffer(v, "<f4")), tag)
        rows = self.view(client)
        assert got == {i: (None if v is None else tuple(v), t) for i, (v, t) in rows.items()}
        vectors = {i: r[0] for i, r in rows.items()}
        for exact in (0, 1):
            sql = "SELECT id, distance FROM t WHERE embedding MATCH '[1,0,-1]' AND k = ?"
            sql += f" AND exact = {exact} AND ef_search = 100000"
            found = client.conn.execute(sql, (len(rows) + 1,)).fetchall()
            same_answer(found, vectors, np.float32([1, 0, -1]), len(rows) + 1)
        verdict = client.conn.execute("PRAGMA integrity_check").fetchall()
        assert verdict == [("ok",)], verdict

    @invariant()
    def holds_every_few_steps(self) -> None:
        self.steps += 1
        if self.steps % 8 == 0:
            self.check(self.steps // 8 % 2)


class LargeMachine(Machine):
    """Enough rows that the graph is walked, and a graph as poor as can be: it must still lead to
    every row."""

    CREATE = "embedding FLOAT[3] codec=sq8 m=2 ef_construction=4"
    PRELOAD = 700
    recall: ClassVar[list[float]] = []  # of every query of the run

    def compare(self, rows: Rows, query: Any, got: list[tuple[int, float]], k: int) -> None:
        """Approximate: as many rows as asked for, true distances, in order."""
        truth = distances({i: r[0] for i, r in rows.items()}, query)
        by_id = {i: d for d, i in truth}
        assert len({i for i, _ in got}) == len(got) == min(k, len(truth))
        assert np.allclose([d for _, d in got], [by_id[i] for i, _ in got], rtol=1e-5, atol=1e-6)
        assert [d for _, d in got] == sorted(d for _, d in got)

    def teardown(self) -> None:
        """How good the graph is that the program left: 10 seeded queries."""
        for query in np.random.default_rng(6).integers(-9, 10, (10, 3)):
            sql = "SELECT id, distance FROM t WHERE embedding MATCH ? AND k = 10"
            got = self.clients[0].conn.execute(sql, (text(query),)).fetchall()
            if not got:
                continue
            rows = {i: r[0] for i, r in self.view(self.clients[0]).items()}
            limit = distances(rows, query)[: len(got)][-1][0] + 1e-6
            self.recall.append(sum(d <= limit for _, d in got) / len(got))
        super().teardown()

    @rule(c=CLIENT, query=VECTOR, k=K)
    def a_wide_search_is_exact(self, c: int, query: Any, k: int) -> None:
        if query is not None:
            client = self.clients[c]
            rows = {i: r[0] for i, r in self.view(client).items()}
            sql = "SELECT id, distance FROM t WHERE embedding MATCH ? AND k = ?"
            for how in (" AND ef_search = 100000", " AND exact = 1"):
                got = client.conn.execute(sql + how, (text(query), k)).fetchall()
                same_answer(got, rows, query, k)

    @rule(c=CLIENT, low=st.integers(1000, 1020), n=st.sampled_from([3, 40, 300, 1300]))
    def insert_many(self, c: int, low: int, n: int) -> None:
        """One statement whose rows are linked in batches, at the commit or on the way."""

        def apply(rows: Rows) -> Rows | None:
            new = {i: (np.float32([i % 19 - 9, i % 17 - 8, i % 7]), None) for i in ids}
            return None if set(new) & set(rows) else {**rows, **new}

        ids = range(low * 2, (low + n) * 2, 2)
        sql = """
            WITH RECURSIVE i(n) AS (SELECT :a UNION ALL SELECT n + 2 FROM i WHERE n + 2 < :b)
            INSERT INTO t(id, embedding)
            SELECT n, format('[%d,%d,%d]', n % 19 - 9, n % 17 - 8, n % 7) FROM i"""
        self.write(c, sql, {"a": ids.start, "b": ids.stop}, apply)

    @rule(c=CLIENT, n=st.integers(1, 3))
    def threads(self, c: int, n: int) -> None:
        self.write(c, "INSERT INTO t(t) VALUES(?)", (f"threads={n}",), unchanged, 0)

    @rule(c=CLIENT, low=st.integers(13, 700), n=st.integers(1, 300))
    def delete_many(self, c: int, low: int, n: int) -> None:
        sql = "DELETE FROM t WHERE id >= ? AND id < ?"
        self.write(
            c, sql, (low, low + n),
            lambda rows: {i: r for i, r in rows.items() if not low <= i < low + n}, 1,
        )  # fmt: skip


NAME = st.sampled_from(NAMES)
DEPTH = st.integers(0, 9)


class SchemaMachine(RuleBasedStateMachine):
    """DDL and savepoints in any order: two connections write in turn, and one of them may read an
    older snapshot meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="vecsql-test-"))
        conns = [connect(self.directory / "a.db") for _ in range(2)]
        conns[0].execute("PRAGMA journal_mode = wal")
        self.p = Program(*conns)
        self.reader: tuple[apsw.Connection, Any] | None = None

    def teardown(self) -> None:
        try:
            self.end_of_the_snapshot()
            self.p.commit()
            self.p.check()
        finally:
            for conn in self.p.conns:
                conn.close()
            shutil.rmtree(self.directory)

    @rule(c=CLIENT)
    def other_connection(self, c: int) -> None:
        conn = self.p.conns[c]
        if self.reader is None or self.reader[0] is not conn:
            self.p.turn_to(conn)

    @precondition(lambda self: self.reader is None)
    @rule()
    def snapshot(self) -> None:
        reader = self.p.conns[self.p.conn is self.p.conns[0]]
        reader.execute("BEGIN; SELECT count(*) FROM other").fetchall()
        state = self.p.state() if self.p.begun is None else copy.deepcopy(self.p.begun)
        self.reader = reader, state

    @precondition(lambda self: self.reader is not None)
    @rule()
    def end_of_the_snapshot(self) -> None:
        if self.reader is not None:
            self.p.check_on(*self.reader)
            self.reader[0].execute("COMMIT")
            self.reader = None

    @rule()
    def check(self) -> None:
        if self.reader is None:
            self.p.check()
        else:
            self.p.check_on(self.p.conn, self.p.state())
            self.p.check_on(*self.reader)

    @rule(name=NAME, rowid=st.integers(0, 5), n=st.integers(1, 3))
    def put(self, name: str, rowid: int, n: int) -> None:
        self.p.put(name, rowid, n)

    @rule(rowid=st.integers(0, 5), n=st.integers(1, 3))
    def put_docs(self, rowid: int, n: int) -> None:
        self.p.put("docs", rowid, n)

    @rule(name=st.sampled_from([*NAMES, "docs"]), rowid=st.integers(0, 5))
    def delete(self, name: str, rowid: int) -> None:
        self.p.delete(name, rowid)

    @rule(name=NAME, kind=st.sampled_from(sorted(KINDS)))
    def create(self, name: str, kind: str) -> None:
        self.p.create(name, kind)

    @rule(name=NAME)
    def drop(self, name: str) -> None:
        self.p.drop(name)

    @rule(old=NAME, new=NAME)
    def rename(self, old: str, new: str) -> None:
        self.p.rename(old, new)

    @rule(name=NAME)
    def index_docs(self, name: str) -> None:
        self.p.create_docs()
        self.p.index_docs(name)

    @rule(back=st.booleans())
    def alter_docs(self, back: bool) -> None:
        self.p.alter_docs(back)

    @rule()
    def drop_docs(self) -> None:
        self.p.drop_docs()

    @rule()
    def alter_other(self) -> None:
        self.p.alter_other()

    @rule()
    def put_other(self) -> None:
        self.p.put_other()

    @rule()
    def begin(self) -> None:
        self.p.begin()

    @rule()
    def savepoint(self) -> None:
        self.p.savepoint()

    @rule(n=DEPTH)
    def rollback_to(self, n: int) -> None:
        self.p.rollback_to(n)

    @rule(n=DEPTH)
    def release(self, n: int) -> None:
        self.p.release(n)

    @rule()
    def rollback(self) -> None:
        self.p.rollback()

    @rule()
    def commit(self) -> None:
        self.p.commit()


def run(machine: type[Machine], directory: Path, examples: int, steps: int) -> None:
    machine.template = directory / "template.db"
    conn = new_file(machine.template, "wal", ())
    conn.execute("DROP TABLE t")
    conn.execute(
        f"CREATE VIRTUAL TABLE t USING vecsql(id INTEGER PRIMARY KEY, {machine.CREATE}, tag TEXT)"
    )
    rng = np.random.default_rng(5)
    machine.preloaded = {}
    conn.execute("BEGIN")
    for i in range(machine.PRELOAD):
        v = rng.integers(-9, 10, 3).astype(np.float32)
        conn.execute("INSERT INTO t(id, embedding) VALUES(?,?)", (i + 20, text(v)))
        machine.preloaded[i + 20] = (v, None)
    conn.execute("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)")
    conn.close()
    print("preload seed 5")
    examine(machine, examples, steps)


def examine(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
    print(f"{examples} examples of {machine.__name__}, derandomised")
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            database=None,
            print_blob=True,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_random_programs_match_the_model(tmp_path):
    run(Machine, tmp_path, 20, 40)


def run_large(directory: Path, examples: int, steps: int) -> None:
    LargeMachine.recall.clear()
    run(LargeMachine, directory, examples, steps)
    recall = float(np.mean(LargeMachine.recall))
    print(f"recall {recall:.3f} over {len(LargeMachine.recall)} queries")
    assert recall >= RECALL


@pytest.mark.slow
def test_random_programs_on_a_poor_graph_match_the_model(tmp_path):
    run_large(tmp_path, 15, 25)


@pytest.mark.slow
def test_a_thousand_random_programs_match_the_model(tmp_path):
    run(Machine, tmp_path, 1000, 50)


@pytest.mark.slow
def test_many_random_programs_on_a_poor_graph_match_the_model(tmp_path):
    run_large(tmp_path, 200, 40)


def test_random_schema_changes_match_the_model():
    examine(SchemaMachine, 25, 40)


@pytest.mark.slow
def test_a_thousand_random_schema_changes_match_the_model():
    examine(SchemaMachine, 1000, 60)
