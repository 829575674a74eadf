"""Risk: a file of an older version cannot be read, or docs/explain/file-format.md does not say how.

Reader is written from that page alone: Python, the stdlib's sqlite3 and struct.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import apsw
import numpy as np
import pytest

import vecsql
from tests.support.patched import needs_compiler, patched_package
from tests.support.paths import DATA

GOLDEN = sorted(DATA.glob("format_v*.db"))
NONE = 0xFFFFFFFF
NODE, CODE, UPPER, SEED, RAW, RAW_AT = range(6)


def crc32c(data: bytes) -> int:
    """CRC-32C, bit by bit."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


class Reader:
    """One vector column of a file, as docs/explain/file-format.md describes it."""

    def __init__(self, db: sqlite3.Connection, table: str, number: int = 0) -> None:
        config = dict(db.execute(f"SELECT key, value FROM {table}_config"))
        assert config["format"] in (1, 2)
        words = config[f"vector{number}"].split()
        self.dims = int(words[0].removeprefix("float[").removesuffix("]"))
        self.options = dict(word.split("=") for word in words[1:])
        m = int(self.options["m"]) if self.options["index"] == "hnsw" else 0
        # per kind: stored bytes before the links, links, offset of the links in memory
        size = 4 * self.dims if self.options["codec"] == "none" else (self.dims + 63) // 64 * 64
        self.kinds = [(24, 2 * m, 24), (size, 0, size), (4, m, 4), (4, 0, 4)]
        self.kinds += [(4 + 4 * self.dims, 0, 4 + 4 * self.dims), (4, 0, 4)]
        for (model,) in db.execute(f"SELECT data FROM {table}_model{number}"):
            head = struct.unpack("<4sB3xfifI", model[:24])
            magic, self.nav_bits, self.step, self.zero, _, crc = head
            assert magic == (b"VSm1" if len(model) == 24 else b"VSm3")
            assert crc == crc32c(model[:20] + model[24:])
            self.middle = (
                np.zeros(self.dims) if len(model) == 24 else np.frombuffer(model[24:], "<f4")
            )
            assert len(self.middle) == self.dims
        self.page_bytes = config["page_bytes"]
        self.read_state(db, table, number)
        self.pages = {}
        for page, ver, data in db.execute(f"SELECT page, ver, data FROM {table}_pages{number}"):
            self.pages[page >> 32, page & NONE] = (ver, self.decode(page >> 32, page & NONE, data))
        self.edits = defaultdict(list)
        sql = f"SELECT ver, edits FROM {table}_log{number} ORDER BY ver"
        for ver, edits in db.execute(sql):
            self.read_edits(ver, edits or b"")

    def read_state(self, db: sqlite3.Connection, table: str, number: int) -> None:
        sql = f"SELECT ver, stamp, state, edits FROM {table}_log{number} ORDER BY ver DESC LIMIT 1"
        ver, stamp, state, edits = db.execute(sql).fetchone()
        kinds, n, size = {b"VSt1": (4, 17, 112), b"VSt2": (6, 23, 144)}[state[:4]]
        assert len(state) == size
        assert struct.unpack_from("<I", state, size - 4)[0] == crc32c(
            state[: size - 4] + struct.pack("<qq", ver, stamp)
        )
        has_edits, length, crc = struct.unpack_from("<III", state, size - 16)
        if has_edits:
            assert (length, crc) == (len(edits), crc32c(edits))
        counters = struct.unpack_from(f"<{n}I", state, 12 + 4 * kinds)
        self.n_raw, _, self.raw_rows = counters[17:20] if n > 17 else (0, NONE, 0)
        self.n_nodes, self.n_live, self.n_dead, _, _, self.entry = counters[:6]
        self.n_upper, self.n_seeds = counters[7], counters[9]

    def per_page(self, kind: int) -> int:
        fixed, links, _ = self.kinds[kind]
        return max(1, (self.page_bytes - 16) // (fixed + 3 * links))

    def decode(self, kind: int, page: int, data: bytes) -> list[bytearray]:
        magic, version, flags, number, _, crc = struct.unpack_from("<2sBBIII", data)
        assert (magic, version, flags & 15, number) == (b"VP", 1, kind, page)
        assert crc == crc32c(data[:12] + data[16:])
        width = 4 if flags & 128 else 3
        fixed, links, offset = self.kinds[kind]
        slots = []
        for at in range(16, len(data), fixed + width * links):
            slot = bytearray(data[at : at + fixed]).ljust(offset, b"\0")
            for i in range(links):
                link = int.from_bytes(data[at + fixed + width * i :][:width], "little")
                slot += struct.pack("<I", NONE if link == 2 ** (8 * width) - 1 else link)
            slots.append(slot)
        return slots

    def read_edits(self, ver: int, edits: bytes) -> None:
        at = 0

        def varint() -> int:
            nonlocal at
            value = shift = 0
            while True:
                byte = edits[at]
                at += 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    return value

        while at < len(edits):
            kind = edits[at]
            at += 1
            slot, offset, length = varint(), varint(), varint()
            change = (ver, slot % self.per_page(kind), offset, edits[at : at + length])
            self.edits[kind, slot // self.per_page(kind)].append(change)
            at += length

    def slot(self, kind: int, slot: int) -> bytes:
        page, place = divmod(slot, self.per_page(kind))
        _, links, offset = self.kinds[kind]
        ver, slots = self.pages.get((kind, page), (0, []))
        size = offset + 4 * links
        data = bytearray(slots[place]) if place < len(slots) else bytearray(size)
        for edit_ver, edit_place, at, change in self.edits[kind, page]:
            if edit_ver > ver and edit_place == place:
                data[at : at + len(change)] = change
        return bytes(data)

    def code(self, data: bytes) -> np.ndarray:
        if self.options["codec"] == "none":
            return np.frombuffer(data, "<f4")
        high, low = (
            np.frombuffer(plane, "u1") for plane in (data[: len(data) // 2], data[len(data) // 2 :])
        )
        return np.concatenate(
            [
                half
                for b in range(0, len(high), 32)
                for half in (
                    (high[b : b + 32] & 15) << 4 | low[b : b + 32] & 15,
                    high[b : b + 32] & 0xF0 | low[b : b + 32] >> 4,
                )
            ]
        )[: self.dims].astype(int)

    def live(self) -> dict[int, tuple[int, np.ndarray, list[int]]]:
        """rowid -> node, code, links of layer 0 of every live node."""
        found = {}
        for node in range(self.n_nodes):
            data = self.slot(NODE, node)
            rowid, _, _, _, _, _, flags = struct.unpack_from("<qIIHHBB", data)
            links = list(struct.unpack_from(f"<{(len(data) - 24) // 4}I", data, 24))
            if NONE in links:
                links = links[: links.index(NONE)]
            if flags & 3 == 1:
                found[rowid] = (node, self.code(self.slot(CODE, node)), links)
        return found

    def raw(self) -> dict[int, np.ndarray]:
        """node -> vector of every raw row."""
        found = {}
        for i in range(self.n_raw):
            (owner,) = struct.unpack_from("<I", self.slot(RAW, i))
            if owner < 2**31:
                assert struct.unpack("<I", self.slot(RAW_AT, owner)) == (i + 1,)
                found[owner] = np.frombuffer(self.slot(RAW, i), "<f4", offset=4)
        assert len(found) == self.raw_rows
        return found


@pytest.fixture(params=GOLDEN, ids=lambda p: p.stem)
def path(request, tmp_path) -> Path:
    return shutil.copy(request.param, tmp_path / request.param.name)


def test_there_is_a_golden_file():
    assert GOLDEN


@pytest.mark.parametrize(
    ("table", "rows", "column", "number"),
    [
        ("own", "own_rows", "c3", 0),
        ("own", "own_rows", "c4", 1),
        ("docs_idx", "docs", "e", 0),
        ("far", "far_rows", "c1", 0),
        ("apart", "apart_rows", "c1", 0),
    ],
)
def test_a_reader_written_from_the_documentation_finds_every_row(path, table, rows, column, number):
    db = sqlite3.connect(path)
    if table in ("far", "apart") and path.stem == "format_v1":
        pytest.skip("raw rows and middles came with format 2")
    reader = Reader(db, table, number)
    raw = reader.raw()
    assert (len(raw) > 0) == (table == "far")
    live = reader.live()
    stored = dict(
        db.execute(f"SELECT rowid, {column} FROM {rows} WHERE {column} IS NOT NULL").fetchall()
    )
    mapped = dict(db.execute(f"SELECT rowid, node FROM {table}_map{number}").fetchall())
    assert live.keys() == stored.keys() == mapped.keys()
    assert len(live) == reader.n_live
    for rowid, (node, code, links) in live.items():
        vector = np.frombuffer(stored[rowid], "<f4")
        if reader.options["distance_metric"] == "cosine":
            vector = vector / max(np.linalg.norm(vector), 1e-30)
        if reader.options["codec"] == "none":
            assert code == pytest.approx(vector, abs=1e-6)
        else:
            assert reader.middle.any() == (table == "apart")
            exact = np.clip(
                (vector - reader.middle) / np.float64(reader.step) - reader.zero, 0, 255
            )
            assert np.abs(code - exact).max() <= 0.5001
        if node in raw:
            assert raw[node].tobytes() == vector.tobytes()
        assert mapped[rowid] == node
        assert all(link < reader.n_nodes and link != node for link in links)
    seeds = [struct.unpack("<I", reader.slot(SEED, i))[0] for i in range(reader.n_seeds)]
    if reader.options["index"] == "hnsw":
        nodes = {node: links for node, _, links in live.values()}
        reached, queue = set(seeds), list(seeds)
        while queue:
            for link in nodes.get(queue.pop(), []):
                if link in nodes and link not in reached:
                    reached.add(link)
                    queue.append(link)
        assert reached == nodes.keys()


def test_a_golden_file_answers_and_goes_on(path):
    db = vecsql.connect(path, driver="apsw")
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    for table, column, dims in (("own", "a", 8), ("own", "b", 3), ("docs_idx", "e", 8)):
        query = np.arange(1, dims + 1, dtype="<f4").tobytes()
        walk, scan = (
            db.execute(
                f"SELECT rowid, distance FROM {table} WHERE {column} MATCH ? AND k = 5 "
                "AND ef_search = 500 AND exact = ?",
                (query, exact),
            ).fetchall()
            for exact in (0, 1)
        )
        assert [d for _, d in walk] == pytest.approx([d for _, d in scan])
        assert len(walk) == 5
    db.execute("INSERT INTO own(a, tag) VALUES('[1,2,3,4,5,6,7,8]', 'new')")
    db.execute("DELETE FROM own WHERE id < 100")
    db.execute("UPDATE docs SET e = '[1,2,3,4,5,6,7,8]' WHERE id = 3")
    db.execute("INSERT INTO own(own) VALUES('optimize')")
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_file_of_a_newer_format_is_refused_with_both_numbers(path):
    db = sqlite3.connect(path)
    db.execute("UPDATE own_config SET value = 99 WHERE key = 'format'")
    db.commit()
    db.close()
    conn = vecsql.connect(path, driver="apsw")
    with pytest.raises(apsw.SQLError, match="format 99; this version of vecsql reads format 2"):
        conn.execute("SELECT * FROM own").fetchall()


MAKE_GOLDEN = DATA / "make_golden.py"
ROWS = DATA / "rows.json"


def written(out: Path, **env: str) -> dict[str, str]:
    """A hash of the rows of each table that the golden statements write."""
    subprocess.run(
        [sys.executable, str(MAKE_GOLDEN), str(out / "again.db"), str(out / "rows.json")],
        env={**os.environ, **env},
        check=True,
    )
    rows: dict[str, str] = json.loads((out / "rows.json").read_text())
    return rows


def test_the_same_statements_write_the_same_rows(tmp_path):
    assert written(tmp_path) == json.loads(ROWS.read_text()), (
        "tables of other bytes; where that is meant: python tests/data/make_golden.py OUT.db "
        "tests/data/rows.json"
    )


def test_a_file_of_format_1_becomes_one_of_format_2_with_the_first_state_that_needs_it(tmp_path):
    path = shutil.copy(GOLDEN[0], tmp_path / "old.db")
    db = vecsql.connect(path, driver="apsw")

    def format() -> int:
        return db.execute("SELECT value FROM own_config WHERE key = 'format'").fetchone()[0]

    db.execute("DELETE FROM own WHERE id = 11")
    assert format() == 1
    for end, after in (("ROLLBACK", 1), ("COMMIT", 2)):
        db.execute("BEGIN")
        db.execute("INSERT INTO own(own) VALUES('train')")
        db.execute("SAVEPOINT a")
        assert format() == 2
        db.execute(end)
        assert format() == after
    db.execute("DELETE FROM own WHERE id = 12")
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    db = vecsql.connect(path, driver="apsw")
    assert format() == 2
    assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.slow
@needs_compiler
def test_the_scalar_kernels_write_the_same_rows_as_the_simd_ones(tmp_path):
    site = patched_package(
        tmp_path, "csrc/base/cpu.h", "#define VS_X86_64 1", "#define VS_X86_64 0"
    )
    assert written(tmp_path, PYTHONPATH=str(site)) == json.loads(ROWS.read_text())
