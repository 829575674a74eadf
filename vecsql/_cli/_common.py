"""What the commands share: opening a file, naming an index, printing results, reporting errors."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import click

from vecsql._cli._interrupt import INTERRUPTED, interruptible
from vecsql._cli._remedies import as_commands

if TYPE_CHECKING:
    import apsw

    from vecsql._model.embed import Embedder
    from vecsql._tables.catalog import IndexInfo

F = TypeVar("F", bound=Callable[..., Any])

DAMAGED = 3


def file_of(db: str) -> Path:
    """The file of a database, which may be named by a URI (file:PATH?mode=ro)."""
    return Path(unquote(urlsplit(db).path) if db.startswith("file:") else db)


def size_of(db: str) -> int:
    """The size of a database's file in bytes."""
    file = file_of(db)
    return file.stat().st_size if file.exists() else 0


class _Database(click.Path):
    """A path, or a URI as SQLite takes it."""

    name = "file"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if isinstance(value, str) and value.startswith("file:"):
            super().convert(str(file_of(value)), param, ctx)
            return value
        return super().convert(value, param, ctx)


NEW_DB = _Database(dir_okay=False)
EXISTING_DB = _Database(exists=True, dir_okay=False)
db_argument = click.argument("db", type=EXISTING_DB)
table_argument = click.argument("table")
column_option = click.option(
    "--column", metavar="NAME", help="The vector column, where TABLE has several indexes."
)
where_option = click.option(
    "--where", metavar="SQL", help="A condition on the columns of TABLE: \"kind = 'class'\"."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
embedder_option = click.option(
    "--embedder",
    metavar="NAME",
    help="The model: static (bundled), minilm, minilm:FOLDER, or URL#MODEL of an endpoint.",
)


def output_options(command: F) -> F:
    """Adds --table, --json, --nl and --csv as the one parameter ``output``."""
    for name, text in (
        ("csv", "Print CSV."),
        ("nl", "Print a JSON object a line."),
        ("json", "Print a JSON array of objects."),
        ("table", "Print a table (the default)."),
    ):
        command = click.option(f"--{name}", "output", flag_value=name, default="table", help=text)(
            command
        )
    return command


def print_rows(
    rows: Sequence[Mapping[str, Any]], output: str, names: Sequence[str] | None = None
) -> None:
    """Prints rows of the same columns in the form that was asked for."""
    from vecsql._base.render import print_table

    names = names or (list(rows[0]) if rows else [])
    if output == "json":
        print_json(list(rows))
    elif output == "nl":
        for row in rows:
            click.echo(json.dumps(jsonable(row), ensure_ascii=False))
    elif output == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        if names:
            writer.writerow(names)
        writer.writerows([_cell(v) for v in row.values()] for row in rows)
    else:
        print_table(names, [list(row.values()) for row in rows])


def listed(names: str) -> list[str]:
    """The names of --columns; one that holds a comma is in quotes."""
    return [name.strip() for name in next(csv.reader([names], skipinitialspace=True))]


def print_json(value: Any) -> None:
    """Prints a value as JSON."""
    click.echo(json.dumps(jsonable(value), ensure_ascii=False, indent=1))


def jsonable(value: Any) -> Any:
    """A value that JSON knows: blobs in hexadecimal, arrays as lists, infinity as null."""
    from vecsql._files.write import text_value

    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return text_value(value)


def _cell(value: Any) -> Any:
    value = value if isinstance(value, float) else jsonable(value)
    return json.dumps(value) if isinstance(value, (list, dict)) else value


@contextlib.contextmanager
def opened(path: str, *, new: bool = False) -> Iterator[apsw.Connection]:
    """Opens a database for one command; errors that a user can cause are one line.

    ``new`` makes the file if it is missing, in WAL mode, so that others can read meanwhile. It is
    removed again if the command leaves nothing in it.
    """
    import apsw

    from vecsql._connection.load import connect

    with reported(path):
        missing = new and not file_of(path).exists()
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        conn = connect(path, driver="apsw", vec0=True, flags=flags)  # tables of either module
        empty = missing
        try:
            conn.set_busy_timeout(10_000)
            if missing:
                conn.execute("PRAGMA journal_mode=WAL").fetchall()
            with interruptible(conn):
                yield conn
        finally:
            with contextlib.suppress(apsw.Error):
                empty = missing and not conn.execute("SELECT 1 FROM main.sqlite_schema").fetchall()
            conn.close()
            if empty:
                file_of(path).unlink(missing_ok=True)


@contextlib.contextmanager
def reported(path: str = "") -> Iterator[None]:
    """Turns the errors that a user can cause into one line; ``path`` is the database."""
    import apsw

    from vecsql._base.errors import Error

    try:
        yield
    except apsw.InterruptError as e:
        raise KeyboardInterrupt from e
    except BrokenPipeError:  # nobody reads what is printed
        raise
    except (apsw.BusyError, apsw.LockedError) as e:
        raise click.ClickException(
            f"{path}: {e}: another program is writing; repeat the command when it is done"
        ) from e
    except (
        apsw.CantOpenError, apsw.NotADBError, apsw.CorruptError, apsw.ReadOnlyError, apsw.FullError
    ) as e:  # fmt: skip
        raise click.ClickException(as_commands(f"{path}: {e}".removeprefix(": "))) from e
    except (Error, apsw.Error, ValueError, OSError) as e:
        if "database is locked" in str(e):  # while the extension was loaded
            raise click.ClickException(
                f"{path}: database is locked: another program is writing; repeat the command when "
                "it is done"
            ) from e
        raise click.ClickException(as_commands(str(e))) from e
    except (MemoryError, RecursionError, OverflowError) as e:
        raise click.ClickException(as_commands(str(e)) or f"{type(e).__name__}: too large") from e


@contextlib.contextmanager
def conditioned(where: str | None) -> Iterator[None]:
    """Says that an error in SQL is one of --where."""
    import apsw

    try:
        yield
    except apsw.SQLError as e:
        if where is None:
            raise
        raise click.ClickException(f"--where {where!r}: {e}") from e


@contextlib.contextmanager
def stopping(message: Callable[[], str]) -> Iterator[None]:
    """Says what was done when Ctrl-C comes, and ends the command."""
    import apsw

    try:
        yield
    except (KeyboardInterrupt, apsw.InterruptError):
        click.echo(message(), err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None


def index_for(conn: apsw.Connection, table: str, column: str | None) -> tuple[IndexInfo, str]:
    """The index to search, and the table whose columns are shown.

    For an ordinary table T without an index of its own, a vecsql table T_vec with the same rowids
    is searched.
    """
    from vecsql._connection.driver import driver_of
    from vecsql._tables.catalog import has_table, index_of, indexes

    db = driver_of(conn)
    if has_table(db, table) and not indexes(db, table) and indexes(db, table + "_vec"):
        return index_of(db, table + "_vec", column), table
    info = index_of(db, table, column)
    return info, info.table


def embedder_named(name: str) -> Embedder:
    """The embedder that --embedder names."""
    from vecsql._model.embed import bundled_embedder
    from vecsql._model.http import HTTPEmbedder
    from vecsql._model.minilm import MiniLM

    kind, _, folder = name.partition(":")
    if name == "static":
        return bundled_embedder()
    if name.startswith(("http://", "https://")) and "#" in name:
        url, _, model = name.rpartition("#")
        return HTTPEmbedder(url, model)
    if kind == "minilm":
        return MiniLM(folder, model_id=Path(folder).name) if folder else MiniLM()
    raise click.BadParameter(
        f"{name!r}: expected static, minilm, minilm:FOLDER or URL#MODEL", param_hint="--embedder"
    )


def chosen_embedder(conn: apsw.Connection, name: str | None, info: IndexInfo) -> Embedder | None:
    """The embedder for the texts of a command; None where the index finds its own.

    A table that plain SQL declared cannot name its model, and takes the bundled one by default.
    """
    from vecsql._model.embed import bundled_embedder
    from vecsql._tables.catalog import registered
    from vecsql._tables.registry import register_embedder

    if name is None:
        declared = info.index not in [i.index for i in registered(conn)]
        return bundled_embedder() if declared else None
    embedder = embedder_named(name)
    register_embedder(conn, embedder)
    return embedder
