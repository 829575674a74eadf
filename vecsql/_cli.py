"""The command line. Commands open the file with apsw, whose SQLite is recent everywhere."""

from __future__ import annotations

import contextlib
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    import apsw


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vecsql")
def main() -> None:
    """SQLite as a vector database: nearest neighbours in SQL, in the same file."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # text from a database may be in any script
            stream.reconfigure(errors="replace")


@main.command()
@click.option(
    "--db",
    "path",
    default="vecsql-demo.db",
    show_default=True,
    type=click.Path(dir_okay=False),
    help="The file to make, or to bring up to date.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Index the first N texts only.")
def demo(path: str, limit: int | None) -> None:
    """Index Python's own documentation and search it, offline."""
    from vecsql import _demo

    with _reported():
        _demo.run(path, limit)


@main.command()
@click.argument("db", type=click.Path(exists=True, dir_okay=False))
@click.argument("table")
@click.argument("text")
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="Rows wanted.")
@click.option(
    "--where", metavar="SQL", help="A condition on the columns shown: \"kind = 'class'\"."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of objects.")
def search(db: str, table: str, text: str, k: int, where: str | None, as_json: bool) -> None:
    """Print the K rows of TABLE that are nearest to TEXT, nearest first.

    TABLE is a vecsql table, or an ordinary table T whose vectors are in a vecsql table T_vec with
    the same rowids; then the columns are T's. The text is embedded by the bundled model, so the
    vectors must be its too.
    """
    from vecsql._registry import register_embedder
    from vecsql._render import fetch, print_table

    with _opened(db) as conn, _reported():
        vectors, rows_from = _resolve(conn, table)
        if vectors.dim != 256:
            raise click.ClickException(
                f"{vectors.name}.{vectors.column} has {vectors.dim} dimensions, "
                "the bundled model makes 256"
            )
        register_embedder(conn)
        names, rows = fetch(conn, _search_sql(conn, vectors, rows_from, where), (text, k))
    if as_json:
        out = [{n: _jsonable(v) for n, v in zip(names, row, strict=True)} for row in rows]
        click.echo(json.dumps(out, ensure_ascii=False, indent=1))
    else:
        print_table(names, rows)


@main.command()
@click.argument("db", type=click.Path(exists=True, dir_okay=False))
def info(db: str) -> None:
    """Print what vector tables DB has and what is in them."""
    from vecsql import __version__
    from vecsql._render import fetch, print_table

    with _opened(db) as conn, _reported():
        (sqlite,) = next(conn.execute("SELECT sqlite_version()"))
        size = Path(db).stat().st_size
        click.echo(f"{db}: {size:,} bytes; vecsql {__version__}, SQLite {sqlite}")
        tables = _vector_tables(conn)
        if not tables:
            click.echo("no vecsql tables")
        for t in tables:
            (n,) = next(conn.execute(f"SELECT count(*) FROM {_quote(t.name)}"))
            columns = ", ".join(_columns(conn, t.name))
            click.echo(f"\n{t.name}: {n:,} rows; {t.column} float[{t.dim}]; columns {columns}")
            if _has_module(conn, "vecsql_stats"):
                print_table(*fetch(conn, "SELECT * FROM vecsql_stats(?)", (t.name,)))


class _VectorTable(NamedTuple):
    name: str
    column: str
    dim: int


def _vector_tables(conn: apsw.Connection) -> list[_VectorTable]:
    """The vecsql tables that have a float column, with the first such column."""
    found = []
    for name, sql in conn.execute(
        "SELECT name, sql FROM sqlite_schema "
        "WHERE type = 'table' AND sql LIKE 'CREATE VIRTUAL TABLE%' ORDER BY name"
    ):
        if not re.search(r"\busing\s+vecsql\b", sql, re.IGNORECASE):
            continue
        column = re.search(
            r'[(,]\s*("[^"]+"|\[[^\]]+\]|`[^`]+`|\w+)\s+(?:float|f32)\s*\[\s*(\d+)\s*\]',
            sql,
            re.IGNORECASE,
        )
        if column:
            found.append(_VectorTable(name, column[1].strip('"[]`'), int(column[2])))
    return found


def _resolve(conn: apsw.Connection, table: str) -> tuple[_VectorTable, str]:
    """The vector table to search, and the table whose columns are shown."""
    tables = {t.name.lower(): t for t in _vector_tables(conn)}
    name = table.lower()
    if name in tables:
        return tables[name], tables[name].name
    if name + "_vec" in tables:
        return tables[name + "_vec"], table
    known = ", ".join(t.name for t in tables.values()) or "none"
    raise click.ClickException(
        f"{table} is no vecsql table, and there is no {table}_vec; vecsql tables here: {known}"
    )


def _search_sql(
    conn: apsw.Connection, vectors: _VectorTable, rows_from: str, where: str | None
) -> str:
    columns = ", ".join(f"t.{_quote(c)}" for c in _columns(conn, rows_from))
    match = f"v.{_quote(vectors.column)} MATCH embed(?1)"
    if rows_from == vectors.name:
        columns = columns.replace("t.", "v.")
        condition = f"AND ({where}) " if where else ""
        source = f"{_quote(vectors.name)} v"
    else:
        # A set of rowids is known before the search, so that rare matches are found fast.
        rowids = f"SELECT rowid FROM {_quote(rows_from)} WHERE {where}"
        condition = f"AND v.rowid IN ({rowids}) " if where else ""
        source = f"{_quote(vectors.name)} v JOIN {_quote(rows_from)} t ON t.rowid = v.rowid"
    return (
        f"SELECT v.distance, {columns} FROM {source} WHERE {match} {condition}"
        "ORDER BY v.distance LIMIT ?2"
    )


def _columns(conn: apsw.Connection, table: str) -> list[str]:
    """The visible columns that hold no vectors."""
    rows = conn.execute("SELECT name, type, hidden FROM pragma_table_xinfo(?)", (table,))
    vector = re.compile(r"\b(float|f32|float16|f16|int8|bit)\s*\[", re.IGNORECASE)
    vectors = {t.column for t in _vector_tables(conn) if t.name.lower() == table.lower()}
    return [
        name
        for name, kind, hidden in rows
        if hidden != 1 and name not in vectors and not vector.search(kind or "")
    ]


def _has_module(conn: apsw.Connection, name: str) -> bool:
    return any(conn.execute("SELECT 1 FROM pragma_module_list WHERE name = ?", (name,)))


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _jsonable(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


@contextlib.contextmanager
def _opened(path: str) -> Iterator[apsw.Connection]:
    from vecsql._load import connect

    with _reported():
        conn = connect(path, driver="apsw")
    try:
        yield conn
    finally:
        conn.close()


@contextlib.contextmanager
def _reported() -> Iterator[None]:
    """Turns the errors that a user can cause into one line."""
    import apsw

    from vecsql._errors import Error

    try:
        yield
    except (Error, apsw.Error) as e:
        raise click.ClickException(str(e)) from e
