"""Programs of DDL, savepoints and writes, and what must be there after each step.

One connection has a transaction at a time; any may have the next. A database is a dict: the name
of a table -> its rows, or None where there is no such table. A savepoint is a copy of it, so
ROLLBACK TO is the simplest thing: SQLite's promise, not its way.
"""

from __future__ import annotations

import copy
import random
from typing import Any

import apsw

from tests.support.oracle import blob, check_answers, contents, points, same_rows

KINDS = {
    "hnsw": "id INTEGER PRIMARY KEY, embedding FLOAT[3] m=4, tag TEXT",
    "flat": "id INTEGER PRIMARY KEY, embedding FLOAT[3] index=flat, tag TEXT",
    "other columns": "id INTEGER PRIMARY KEY, embedding FLOAT[3] m=4, tag TEXT, more INTEGER",
}
VECSQL = "CREATE VIRTUAL TABLE {} USING vecsql({})"
DOCS = "CREATE TABLE docs(id INTEGER PRIMARY KEY, embedding BLOB, tag TEXT)"
OVER_DOCS = "CREATE VIRTUAL TABLE {} USING vecsql(content=docs, embedding FLOAT[3] m=4)"

Rows = dict[int, Any]


class Program:
    """Executes steps and keeps the model. `log` is the SQL so far, to print when it fails."""

    def __init__(self, *conns: apsw.Connection) -> None:
        self.conns, self.conn = conns, conns[0]
        self.log: list[str] = []
        self.tables: dict[str, Rows] = {}  # vecsql tables with rows of their own
        self.over: dict[str, bool] = {}  # indexes over docs
        self.docs: Rows | None = None
        self.other = 0  # rows of an ordinary table
        self.saves: list[Any] = []
        self.begun: Any = None
        self.version = 0
        self.run("CREATE TABLE other(a)")

    def run(self, sql: str, *args: Any) -> None:
        who = f"[{self.conns.index(self.conn)}] " if len(self.conns) > 1 else ""
        self.log.append(who + sql)
        self.conn.execute(sql, args)

    def turn_to(self, conn: apsw.Connection) -> None:
        """The next transaction is that connection's. Before ALTER TABLE RENAME looks for the new
        name, SQLite does not ask whether others have changed the schema; a query does."""
        if self.begun is None:
            self.conn = conn
            conn.execute("SELECT 1 FROM sqlite_schema").fetchall()

    # --- the model of transactions

    def state(self) -> Any:
        return copy.deepcopy((self.tables, self.over, self.docs, self.other))

    def back_to(self, state: Any) -> None:
        self.tables, self.over, self.docs, self.other = copy.deepcopy(state)

    def begin(self) -> None:
        if self.begun is None:
            self.run("BEGIN")
            self.begun, self.saves = self.state(), []

    def savepoint(self) -> None:
        self.begin()
        self.run(f"SAVEPOINT s{len(self.saves)}")
        self.saves.append(self.state())

    def rollback_to(self, n: int = -1) -> None:
        if self.saves:
            n %= len(self.saves)
            self.run(f"ROLLBACK TO s{n}")
            self.back_to(self.saves[n])
            self.saves = self.saves[: n + 1]

    def release(self, n: int = -1) -> None:
        if self.saves:
            n %= len(self.saves)
            self.run(f"RELEASE s{n}")
            self.saves = self.saves[:n]

    def rollback(self) -> None:
        if self.begun is not None:
            self.run("ROLLBACK")
            self.back_to(self.begun)
            self.begun, self.saves = None, []

    def commit(self) -> None:
        if self.begun is not None:
            self.run("COMMIT")
            self.begun, self.saves = None, []

    # --- the schema

    def create(self, name: str, kind: str) -> None:
        if name not in self.tables and name not in self.over:
            self.run(VECSQL.format(name, KINDS[kind]))
            self.tables[name] = {}

    def drop(self, name: str) -> None:
        if name in self.tables or name in self.over:
            self.run(f"DROP TABLE {name}")
            self.tables.pop(name, None)
            self.over.pop(name, None)

    def rename(self, old: str, new: str) -> None:
        taken = new in self.tables or new in self.over
        if not taken and (old in self.tables or old in self.over):
            self.run(f"ALTER TABLE {old} RENAME TO {new}")
            for kind in (self.tables, self.over):
                if old in kind:
                    kind[new] = kind.pop(old)

    def create_docs(self) -> None:
        if self.docs is None:
            self.run(DOCS)
            self.docs = {}

    def index_docs(self, name: str) -> None:
        free = name not in self.tables and name not in self.over
        if self.docs is not None and free and not self.over:
            self.run(OVER_DOCS.format(name))
            self.over[name] = True

    def drop_docs(self) -> None:
        if self.docs is not None and not self.over:
            self.run("DROP TABLE docs")
            self.docs = None

    def alter_docs(self, there_and_back: bool) -> None:
        if self.docs is not None and there_and_back:
            self.run("ALTER TABLE docs RENAME TO d2")
            self.run("ALTER TABLE d2 RENAME TO docs")
        elif self.docs is not None:
            self.version += 1
            self.run(f"ALTER TABLE docs ADD COLUMN x{self.version}")

    def alter_other(self) -> None:
        self.version += 1
        self.run(f"ALTER TABLE other ADD COLUMN x{self.version}")

    # --- rows

    def put(self, name: str, rowid: int, n: int = 1) -> None:
        rows = self.docs if name == "docs" else self.tables.get(name)
        if rows is None:
            return
        self.version += 1
        new = points(range(rowid, rowid + n), self.version)
        values = ", ".join(["(?, ?)"] * n)
        args = [x for i, v in new.items() for x in (i, blob(v))]
        self.run(f"REPLACE INTO {name}(id, embedding) VALUES {values}", *args)
        rows |= new

    def delete(self, name: str, rowid: int) -> None:
        rows = self.docs if name == "docs" else self.tables.get(name)
        if rows is not None:
            self.run(f"DELETE FROM {name} WHERE id = ?", rowid)
            rows.pop(rowid, None)

    def put_other(self) -> None:
        self.run("INSERT INTO other(a) VALUES (1)")
        self.other += 1

    # --- checking

    def check(self) -> None:
        """The connection at work; between transactions all of them."""
        for conn in self.conns if self.begun is None else (self.conn,):
            self.check_on(conn, self.state())

    def check_on(self, conn: apsw.Connection, state: Any) -> None:
        tables, over, docs, other = state
        expected = tables | dict.fromkeys(over, docs)
        found = conn.execute("SELECT name FROM sqlite_schema WHERE sql LIKE '%USING vecsql%'")
        assert sorted(name for (name,) in found) == sorted(expected)
        for name, rows in expected.items():
            same_rows(contents(conn, name), rows)
            check_answers(conn, rows, name)
        assert conn.execute("SELECT count(*) FROM other").get == other
        verdict = conn.execute("PRAGMA integrity_check").fetchall()
        assert verdict == [("ok",)], verdict
        shadows = "SELECT count(*) FROM sqlite_schema WHERE name GLOB '*_log0'"
        assert conn.execute(shadows).get == len(expected)


NAMES = ("t", "u")


def random_step(p: Program, rng: random.Random) -> None:
    name, rowid = rng.choice(NAMES), rng.randrange(6)
    p.turn_to(rng.choice(p.conns))
    steps = [
        (4, lambda: p.put(name, rowid)),
        (2, lambda: p.put(name, rowid, 3)),
        (2, lambda: p.delete(name, rowid)),
        (3, lambda: p.put("docs", rowid)),
        (1, lambda: p.put("docs", rowid, 2)),
        (1, lambda: p.delete("docs", rowid)),
        (1, p.put_other),
        (3, lambda: p.create(name, rng.choice(list(KINDS)))),
        (2, lambda: p.drop(name)),
        (2, lambda: p.rename(name, rng.choice(NAMES))),
        (1, p.create_docs),
        (2, lambda: p.index_docs(name)),
        (1, p.drop_docs),
        (2, lambda: p.alter_docs(rng.random() < 0.5)),
        (1, p.alter_other),
        (2, p.begin),
        (5, p.savepoint),
        (5, lambda: p.rollback_to(rng.randrange(9))),
        (2, lambda: p.release(rng.randrange(9))),
        (1, p.rollback),
        (2, p.commit),
    ]
    weights, actions = zip(*steps, strict=True)
    rng.choices(actions, weights)[0]()
