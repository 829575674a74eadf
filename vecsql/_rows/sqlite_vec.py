"""Reads a table that sqlite-vec made, without sqlite-vec, and makes one of ours of it.

A vec0 table T of sqlite-vec 0.1 keeps its rows in chunks of fixed size (ordinary tables all):

    T_rowids            rowid, id, chunk_id, chunk_offset      id: the key if it is TEXT
    T_chunks            chunk_id, size, validity, rowids [, partition00, ...]
                        validity: a bit for each place, lowest first; rowids: int64 each
    T_vector_chunksNN   rowid = chunk_id, vectors              float32, int8, or bits
    T_metadatachunksNN  rowid = chunk_id, data                 bool: a bit; int64; double;
                        text: int32 length and 12 bytes
    T_metadatatextNN    rowid, data                            texts longer than 12 bytes
    T_auxiliary         rowid, value00, ...

NN counts the columns of a kind in the order of their definitions. Everything is little-endian.
"""

from __future__ import annotations

import contextlib
import json
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from vecsql._base.convert import whole
from vecsql._base.errors import FormatError, SchemaError
from vecsql._base.fragments import column_options
from vecsql._base.types import Connection
from vecsql._connection.driver import Db, Row, driver_of, quote
from vecsql._connection.sharing import lock_of, together

Kind = Literal["key", "vector", "partition", "metadata", "auxiliary"]

_TEXT_VIEW = 16  # bytes of a text in its chunk
_TEXT_INLINE = 12  # of these, the beginning of the text
_VERIFY = 256  # rows that are compared at once


class Column(NamedTuple):
    """A column of a vec0 table. ``number`` counts within its kind."""

    name: str
    kind: Kind
    type: str  # float, int8, bit; text, integer, float, boolean, blob
    number: int
    dims: int = 0
    metric: str = ""

    @property
    def vector_bytes(self) -> int:
        """The size of one stored vector."""
        return {"float": 4 * self.dims, "int8": self.dims, "bit": self.dims // 8}[self.type]


@dataclass(frozen=True)
class Layout:
    """What the definition of a vec0 table says. The key comes first, if there is one."""

    table: str
    columns: tuple[Column, ...]

    @property
    def key(self) -> Column | None:
        """The key column, if the definition names one."""
        first = self.columns[0]
        return first if first.kind == "key" else None

    def of_kind(self, kind: Kind) -> list[Column]:
        """The columns of one kind, in the order of the definition."""
        return [c for c in self.columns if c.kind == kind]


# --- the definition ------------------------------------------------------------------------------

_COMMENT = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)
_NAME = r"([A-Za-z][A-Za-z0-9_]*)"
_VECTOR = re.compile(
    rf"{_NAME}\s+(float|f32|int8|i8|bit)\w*\s*[\[(]\s*(\d+)\s*[\])]\s*(.*)", re.DOTALL | re.I
)
_METRIC = re.compile(r"d[a-z_]*\s*=\s*(\w+)", re.I)
_KEY = re.compile(rf"{_NAME}\s+(\w+)\s+(primary|partition)\s+key\b.*", re.DOTALL | re.I)
_AUXILIARY = re.compile(rf"\+\s*{_NAME}\s+(\w+)\b.*", re.DOTALL | re.I)
_METADATA = re.compile(rf"{_NAME}\s+(\w+)\b.*", re.DOTALL | re.I)
_OPTION = re.compile(r"\w+\s*=?\s*\w+")
_TYPES = {
    "key": ("text", "integer"),
    "partition": ("text", "integer"),
    "auxiliary": ("text", "integer", "float", "double", "blob"),
    "metadata": (
        *("boolean", "int64", "integer64", "integer", "float", "double", "float64", "f64", "text"),
    ),
}
_PLAIN = {"double": "float", "float64": "float", "f64": "float"} | {
    "int64": "integer",
    "integer64": "integer",
}


def parse_definition(table: str, sql: str) -> Layout:
    """The columns that ``CREATE VIRTUAL TABLE ... USING vec0(...)`` declares.

    Raises `SchemaError` for what is not a definition of sqlite-vec 0.1.
    """
    inside = re.search(
        r"\busing\s+[\"'`\[]?vec0[\"'`\]]?\s*\((.*)\)\s*;?\s*$", sql, re.DOTALL | re.I
    )
    if inside is None:
        raise SchemaError(f"table {table}: expected a table of the module vec0, got: {sql}")
    found: list[Column] = []
    for definition in _COMMENT.sub(" ", inside[1]).split(","):
        column = _parse_column(definition.strip(), found)
        if column is not None:
            found.insert(0 if column.kind == "key" else len(found), column)
        elif definition.strip() and not _OPTION.fullmatch(definition.strip()):
            raise SchemaError(f"table {table}: cannot read the definition {definition.strip()!r}")
    if not any(c.kind == "vector" for c in found):
        raise SchemaError(f"table {table}: no vector column in: {sql}")
    return Layout(table, tuple(found))


def _parse_column(definition: str, found: list[Column]) -> Column | None:
    def number(kind: Kind) -> int:
        return sum(c.kind == kind for c in found)

    if m := _VECTOR.fullmatch(definition):
        element = {"f32": "float", "i8": "int8"}.get(m[2].lower(), m[2].lower())
        metrics = _METRIC.findall(m[4])
        metric = metrics[-1].lower() if metrics else ""
        return Column(m[1], "vector", element, number("vector"), int(m[3]), metric)
    readers: list[tuple[Kind, re.Match[str] | None]] = []
    if m := _KEY.fullmatch(definition):
        readers.append(("key" if m[3].lower() == "primary" else "partition", m))
    readers += [("auxiliary", _AUXILIARY.fullmatch(definition))]
    readers += [("metadata", _METADATA.fullmatch(definition))]
    for kind, match in readers:
        # sqlite-vec takes the beginning of a type for the type: int is integer
        words = [t for t in _TYPES[kind] if match and t.startswith(match[2].lower())]
        if match and words:
            return Column(match[1], kind, _PLAIN.get(words[0], words[0]), number(kind))
    return None


def read_layout(source: Db, table: str, schema: str = "main") -> Layout:
    """The layout of a table that sqlite-vec made. `SchemaError` if it is not one."""
    master = f"{quote(schema)}.sqlite_schema"
    rows = source.rows(
        f"SELECT name, sql FROM {master} WHERE type = 'table' AND lower(name) = lower(?)", (table,)
    )
    if not rows:
        made = "type = 'table' AND sql LIKE '%using%vec0%'"
        have = [n for (n,) in source.rows(f"SELECT name FROM {master} WHERE {made} ORDER BY name")]
        raise SchemaError(
            f"there is no table {table}; tables of sqlite-vec there: {', '.join(have) or 'none'}"
        )
    name, sql = rows[0]
    layout = parse_definition(name, sql)
    needed = {f"{name}_chunks", f"{name}_rowids"}
    there = {n for (n,) in source.rows(f"SELECT name FROM {master} WHERE type = 'table'")}
    if not needed <= there:
        raise SchemaError(f"table {name} was not made by sqlite-vec: it has no {name}_chunks")
    return layout


# --- rows ----------------------------------------------------------------------------------------


class Reader:
    """The rows of a vec0 table, chunk by chunk. Values are in the order of ``layout.columns``; the
    first one is the key (the rowid where none is declared)."""

    def __init__(self, source: Any, table: str, schema: str = "main"):
        self.source = driver_of(source)
        self.layout = read_layout(self.source, table, schema)
        self._prefix = f"{quote(schema)}."

    def _name(self, suffix: str) -> str:
        return self._prefix + quote(f"{self.layout.table}_{suffix}")

    def __len__(self) -> int:
        return int(self.source.value(f"SELECT count(*) FROM {self._name('rowids')}"))

    def chunks(self) -> list[int]:
        """The ids of all chunks."""
        return [c for (c,) in self.source.rows(f"SELECT chunk_id FROM {self._name('chunks')}")]

    def rows(self, chunk: int) -> Iterator[Row]:
        """The rows of one chunk, in the order of their places."""
        partitions = [f"partition{c.number:02d}" for c in self.layout.of_kind("partition")]
        columns = ", ".join(["size", "validity", "rowids", *partitions])
        found = self.source.rows(
            f"SELECT {columns} FROM {self._name('chunks')} WHERE chunk_id = ?", (chunk,)
        )
        if not found:
            raise FormatError(f"{self.layout.table}: chunk {chunk} is not there")
        size, validity, rowids, *partition = found[0]
        self._expect(chunk, "validity", validity, size // 8)
        self._expect(chunk, "rowids", rowids, size * 8)
        blobs = {
            c: self._blob(c, chunk, size)
            for c in self.layout.columns
            if c.kind in ("vector", "metadata")
        }
        for place in range(size):
            if not validity[place // 8] >> place % 8 & 1:
                continue
            (rowid,) = struct.unpack_from("<q", rowids, 8 * place)
            values = self._values(rowid, place, partition, blobs)
            yield values if self.layout.key is not None else (rowid, *values)

    def has_stray_values(self, c: Column) -> bool:
        """Whether an auxiliary column holds values of another type than its own."""
        sql_type = {"float": "real"}.get(c.type, c.type)
        return bool(
            self.source.value(
                f"SELECT EXISTS (SELECT 1 FROM {self._name('auxiliary')} WHERE "
                f"typeof(value{c.number:02d}) NOT IN ('null', ?))",
                (sql_type,),
            )
        )

    def _values(
        self, rowid: int, place: int, partition: list[Any], blobs: dict[Column, bytes]
    ) -> Row:
        auxiliary: Row = ()
        if self.layout.of_kind("auxiliary"):
            auxiliary = self._row("auxiliary", rowid)[1:]
        values: list[Any] = []
        for c in self.layout.columns:
            if c.kind == "key":
                values.append(rowid if c.type == "integer" else self._row("rowids", rowid)[1])
            elif c.kind == "vector":
                n = c.vector_bytes
                values.append(bytes(blobs[c][place * n : (place + 1) * n]))
            elif c.kind == "partition":
                values.append(partition[c.number])
            elif c.kind == "auxiliary":
                values.append(auxiliary[c.number])
            else:
                values.append(self._metadata(c, blobs[c], place, rowid))
        return tuple(values)

    def _metadata(self, c: Column, data: bytes, place: int, rowid: int) -> Any:
        if c.type == "boolean":
            return data[place // 8] >> place % 8 & 1
        if c.type == "integer":
            return struct.unpack_from("<q", data, 8 * place)[0]
        if c.type == "float":
            return struct.unpack_from("<d", data, 8 * place)[0]
        (length,) = struct.unpack_from("<i", data, _TEXT_VIEW * place)
        if length > _TEXT_INLINE:
            return self._row(f"metadatatext{c.number:02d}", rowid)[1]
        at = _TEXT_VIEW * place + 4
        return data[at : at + length].decode("utf-8")

    def _row(self, suffix: str, rowid: int) -> Row:
        rows = self.source.rows(f"SELECT * FROM {self._name(suffix)} WHERE rowid = ?", (rowid,))
        if not rows:
            raise FormatError(f"{self.layout.table}: row {rowid} is not in its {suffix} table")
        return rows[0]

    def _blob(self, c: Column, chunk: int, size: int) -> bytes:
        suffix, column, expected = (
            (f"vector_chunks{c.number:02d}", "vectors", size * c.vector_bytes)
            if c.kind == "vector"
            else (
                f"metadatachunks{c.number:02d}",
                "data",
                {"boolean": size // 8, "text": size * _TEXT_VIEW}.get(c.type, size * 8),
            )
        )
        data = self.source.value(
            f"SELECT {column} FROM {self._name(suffix)} WHERE rowid = ?", (chunk,)
        )
        return self._expect(chunk, suffix, data, expected)

    def _expect(self, chunk: int, what: str, data: Any, expected: int) -> bytes:
        if not isinstance(data, bytes) or len(data) != expected:
            got = f"{len(data)} bytes" if isinstance(data, bytes) else "none"
            raise FormatError(
                f"{self.layout.table}: chunk {chunk}, {what}: expected {expected} bytes, got {got}"
            )
        return data


# --- import --------------------------------------------------------------------------------------


def import_sqlite_vec(
    conn: Connection,
    table: str,
    *,
    source: Connection | None = None,
    into: str | None = None,
    module: Literal["vecsql", "vec0"] = "vecsql",
    options: str = "",
    batch: int | None = None,
    verify: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Makes a table of ours out of one that sqlite-vec made; returns how many rows it has.

    Args:
        conn: A connection with vecsql loaded (with ``vec0=True`` for ``module="vec0"``).
        table: The table that sqlite-vec made.
        source: A connection to its file, of any driver, with or without extensions. By default
            the file of ``conn`` itself.
        into: The table to make. By default ``table`` in another file, ``table_vecsql`` in the same.
        module: ``"vecsql"``, or ``"vec0"`` for a program written for sqlite-vec.
        options: Options for each vector column, for example ``"index=flat"``.
        batch: Commit after about so many rows. A call that was interrupted goes on where it
            stopped when it is made again. By default everything is one transaction.
        verify: Read everything a second time and compare it with what was written.
        progress: Called with the number of rows done and of all rows.

    Keys, vectors, partition keys, metadata and auxiliary columns are copied as they are. Raises
    `SchemaError` if the table is not of sqlite-vec or ``into`` is another table already,
    `FormatError` if it is damaged or the copy differs.
    """
    if batch is not None:
        batch = whole(batch, "batch is a number of rows")
    target = driver_of(conn)
    reader = Reader(target if source is None else source, table)
    name = into or (reader.layout.table + ("_vecsql" if source is None else ""))
    if source is None and name.lower() == reader.layout.table.lower():
        raise SchemaError(
            f"table {name} stays as it is: the copy in the same file needs a new name"
        )
    total = len(reader)
    everything = contextlib.nullcontext() if batch else target.transaction()
    with together(lock_of(target.conn), lock_of(reader.source.conn)), everything:
        _create(target, reader, name, module, options)
        _copy(target, reader, name, batch, lambda n: progress(n, total) if progress else None)
        if verify:
            _verify(target, reader, name, total)
    return total


def _create(target: Db, reader: Reader, name: str, module: str, options: str) -> None:
    exists = target.value(
        "SELECT sql FROM sqlite_schema WHERE type = 'table' AND lower(name) = lower(?)", (name,)
    )
    if exists is None:
        columns = ", ".join(_definition(c, reader, module, options) for c in reader.layout.columns)
        target.run(f"CREATE VIRTUAL TABLE {quote(name)} USING {module}({columns})")
        return
    if not re.search(rf"\busing\s+{module}\b", exists, re.I):
        raise SchemaError(f"table {name} is there already and is no {module} table")
    there = [n for (n,) in target.rows("SELECT name FROM pragma_table_info(?)", (name,))]
    expected = [c.name for c in reader.layout.columns]
    if [n.lower() for n in there if n != "rowid"] != [n.lower() for n in expected]:
        raise SchemaError(
            f"table {name} is there already and has other columns: expected {', '.join(expected)}, "
            f"found {', '.join(there)}"
        )


def _definition(c: Column, reader: Reader, module: str, options: str) -> str:
    name = c.name if module == "vec0" else quote(c.name)
    if c.kind == "vector":
        metric = f" distance_metric={c.metric}" if c.metric else ""
        return f"{name} {c.type}[{c.dims}]{metric} {column_options(c.name, options)}".rstrip()
    if c.kind == "auxiliary":
        # sqlite-vec checks the type in INSERT only: without a type nothing is converted
        stray = reader.has_stray_values(c) and module == "vecsql"
        return f"+{name}" if stray else f"+{name} {c.type}"
    word = {"key": " primary key", "partition": " partition key"}.get(c.kind, "")
    return f"{name} {c.type}{word}"


def _copy(
    target: Db, reader: Reader, name: str, batch: int | None, tell: Callable[[int], None]
) -> None:
    sql = _insert_sql(reader.layout, name)
    started = bool(target.value(f"SELECT EXISTS (SELECT 1 FROM {quote(name)})"))
    done = waiting = 0
    with contextlib.ExitStack() as open_batch:
        for chunk in reader.chunks():
            if batch and waiting == 0:
                open_batch.enter_context(target.transaction())
            rows = list(reader.rows(chunk))
            done += len(rows)
            waiting += len(rows)
            if started:  # by a call that was interrupted
                rows = _missing(target, reader.layout, name, rows)
            target.run_many(sql, rows)
            if batch and waiting >= batch:
                open_batch.pop_all().close()
                waiting = 0
            tell(done)


def _insert_sql(layout: Layout, name: str) -> str:
    key = [] if layout.key is not None else ["rowid"]
    columns = ", ".join(key + [quote(c.name) for c in layout.columns])
    typed = {"int8": "vec_int8(?)", "bit": "vec_bit(?)"}
    places = [typed.get(c.type, "?") if c.kind == "vector" else "?" for c in layout.columns]
    return f"INSERT INTO {quote(name)}({columns}) VALUES ({', '.join(['?'] * len(key) + places)})"


def _found(target: Db, layout: Layout, name: str, columns: str, keys: list[Any]) -> list[Row]:
    """``columns`` of the rows with these keys."""
    key = "rowid" if layout.key is None else quote(layout.key.name)
    return target.rows(
        f"SELECT {columns} FROM {quote(name)} WHERE {key} IN (SELECT value FROM json_each(?))",
        (json.dumps(keys),),
    )


def _missing(target: Db, layout: Layout, name: str, rows: list[Row]) -> list[Row]:
    key = "rowid" if layout.key is None else quote(layout.key.name)
    there = {k for (k,) in _found(target, layout, name, key, [r[0] for r in rows])}
    return [r for r in rows if r[0] not in there]


def _verify(target: Db, reader: Reader, name: str, total: int) -> None:
    layout = reader.layout
    count = target.value(f"SELECT count(*) FROM {quote(name)}")
    if count != total:
        raise FormatError(f"table {name}: expected {total} rows, found {count}")
    names = ([] if layout.key is not None else ["rowid"]) + [c.name for c in layout.columns]
    columns = ", ".join(quote(n) for n in names)
    for chunk in reader.chunks():
        rows = list(reader.rows(chunk))
        for at in range(0, len(rows), _VERIFY):
            expected = {r[0]: r for r in rows[at : at + _VERIFY]}
            got = {r[0]: r for r in _found(target, layout, name, columns, list(expected))}
            for key, row in expected.items():
                if got.get(key) != row:
                    raise FormatError(f"table {name}: the row {key!r} differs from {layout.table}")
