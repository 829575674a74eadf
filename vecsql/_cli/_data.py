"""Commands that bring data in and out: demo, import, export."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vecsql._cli._common import (
    NEW_DB,
    column_option,
    conditioned,
    db_argument,
    embedder_named,
    embedder_option,
    file_of,
    listed,
    opened,
    reported,
    size_of,
    stopping,
    table_argument,
    where_option,
)
from vecsql._files.source import FORMATS, WRITTEN

if TYPE_CHECKING:
    from vecsql._rows.imports import Imported


@click.command()
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
    from vecsql._cli import demo

    with reported():
        demo.run(path, limit)


@click.command("import")
@click.argument("db", type=NEW_DB)
@table_argument
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--text", multiple=True, metavar="COLUMN", help="A column to embed; may be repeated.")
@click.option(
    "--id",
    "key",
    metavar="COLUMN",
    help="The column that identifies a record; 'id' if there is one.",
)
@click.option(
    "--no-id", is_flag=True, help="Make every record a new row, also where there is an 'id'."
)
@click.option(
    "--vector", metavar="COLUMN", help="The column of vectors, where its name does not tell."
)
@click.option(
    "--dim",
    type=click.IntRange(1, 65_536),
    help="The dimension by which the column of vectors is known.",
)
@click.option(
    "--no-vectors", is_flag=True, help="Leave the vectors of FILE out and embed the text anew."
)
@click.option(
    "--format",
    type=click.Choice(FORMATS),
    help="The format of FILE; by default its content or suffix tells.",
)
@click.option(
    "--dataset", metavar="NAME", help="The array of an HDF5 ('train' by default) or npz file."
)
@click.option(
    "--encoding",
    help="Of a text file; by default UTF-8, or UTF-16 where a byte order mark says so.",
)
@click.option(
    "--delimiter",
    metavar="CHARACTER",
    help="Of a csv or tsv file: a character or its name (tab, pipe); by default it is found.",
)
@click.option("--no-quotes", is_flag=True, help="A quote in a csv or tsv file is text.")
@click.option(
    "--metric",
    type=click.Choice(["cosine", "l2", "dot", "l1"]),
    help="Of a new index; by default what FILE names (ann-benchmarks), or cosine.",
)
@click.option("--fts", is_flag=True, help="Make full text too, for search --hybrid.")
@click.option("--options", default="", metavar="SQL", help='Of a new index: "m=32 codec=none".')
@embedder_option
@click.option(
    "--batch",
    default=1000,
    show_default=True,
    type=click.IntRange(min=1),
    help="Records in a transaction.",
)
@click.option("--again", is_flag=True, help="Import a file that was imported before, as new rows.")
@click.option(
    "--from", "original", metavar="NAME", help="The table in a sqlite-vec database, if not TABLE."
)
@click.option("--vec0", is_flag=True, help="From sqlite-vec: make TABLE a vec0 table, as it was.")
def import_(
    db: str,
    table: str,
    file: str,
    text: tuple[str, ...],
    key: str | None,
    no_id: bool,
    vector: str | None,
    dim: int | None,
    no_vectors: bool,
    format: str | None,
    dataset: str | None,
    encoding: str | None,
    delimiter: str | None,
    no_quotes: bool,
    metric: str | None,
    fts: bool,
    options: str,
    embedder: str | None,
    batch: int,
    again: bool,
    original: str | None,
    vec0: bool,
) -> None:
    """Import FILE (- is standard input) into TABLE of DB, making both if they are missing.

    Texts are embedded by the bundled model, or by that of TABLE's index. FILE is read to its end
    before anything is written, then committed batch by batch; after an interruption the same
    command goes on where it stopped, and of a file that grew it brings what is new. With an id
    column, rows that are there are updated instead.

    FILE may be a database whose table TABLE was made by sqlite-vec: all of its columns come along.
    """
    if _is_database(file):
        given = [
            name
            for name, value in (
                ("--text", text),
                ("--id", key),
                ("--vector", vector),
                ("--embedder", embedder),
                ("--metric", metric),
                ("--format", format),
            )
            if value
        ]
        if given:
            raise click.UsageError(f"{given[0]} is for files of records, and {file} is a database")
        _import_sqlite_vec(db, table, file, original or table, vec0, options, batch)
        return
    if original is not None or vec0:
        raise click.UsageError(f"--from and --vec0 are for databases of sqlite-vec, not for {file}")
    from vecsql._base.render import meter
    from vecsql._files.read import open_source
    from vecsql._rows.imports import import_records
    from vecsql._tables.registry import register_embedder

    started = time.perf_counter()
    with reported():  # before the file is made
        source = open_source(
            sys.stdin.buffer if file == "-" else file,
            format,
            vector=vector,
            dataset=dataset,
            encoding=encoding,
            delimiter=delimiter,
            quotes=not no_quotes,
        )
        model = None if embedder is None else embedder_named(embedder)
    with opened(db, new=True) as conn, meter(f"Importing into {table}", source.total) as bar:
        if model is not None:
            register_embedder(conn, model)
        how = "the same command goes on" if source.fingerprint else "standard input is lost"
        with stopping(lambda: f"interrupted: {bar.rows:,} records are in {table}; {how}"):
            done = import_records(
                conn,
                table,
                source,
                text=text,
                id=key,
                no_id=no_id,
                dim=dim,
                vectors=not no_vectors,
                embedder=model,
                metric=metric,
                fts=fts,
                options=options,
                batch=batch,
                again=again,
                progress=bar.update,
                surveyed=lambda: bar.examine(source.done() if source.done is not None else 0),
                resuming=bar.start,
            )
    _tell(db, file, key, done, time.perf_counter() - started)


def _tell(db: str, file: str, key: str | None, done: Imported, seconds: float) -> None:
    """Prints what an import did."""
    from vecsql._files.survey import shown

    if done.complete:
        click.echo(
            f"{file} is in {done.table} already ({done.resumed:,} records); --again adds it again"
        )
        return
    if done.repeated:
        click.echo(
            f"{key or 'id'} repeats: {len(done.repeated):,} values come more than once "
            f"({shown(list(done.repeated))}); the last record of each stays, {done.replaced:,} "
            "others gave way",
            err=True,
        )
    resumed = f", {done.resumed:,} were there from before" if done.resumed else ""
    rate = done.records / max(seconds, 1e-9)
    click.echo(
        f"{done.table}: {done.added:,} added, {done.updated:,} updated, {done.unchanged:,} "
        f"unchanged{resumed}; {seconds:.1f} s, {rate:,.0f} records/s, {size_of(db):,} bytes"
    )


def _is_database(file: str) -> bool:
    if file == "-" or not Path(file).is_file():
        return False
    head = b""
    with reported(), Path(file).open("rb") as f:
        head = f.read(16)
    return head == b"SQLite format 3\0"


def _import_sqlite_vec(
    db: str, table: str, file: str, source: str, vec0: bool, options: str, batch: int
) -> None:
    import apsw

    from vecsql._base.render import meter
    from vecsql._rows.sqlite_vec import Reader, import_sqlite_vec

    started = time.perf_counter()
    with opened(db, new=True) as conn:
        here = file_of(db).samefile(file)
        other = conn if here else apsw.Connection(file, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            with (
                meter(f"Importing into {table}", len(Reader(other, source))) as bar,
                stopping(
                    lambda: (
                        f"interrupted: {bar.rows:,} records are in {table}; the same command "
                        "goes on"
                    )
                ),
            ):
                rows = import_sqlite_vec(
                    conn,
                    source,
                    source=None if here else other,
                    into=table,
                    module="vec0" if vec0 else "vecsql",
                    options=options,
                    batch=batch,
                    progress=lambda done, total: bar.update(done - bar.rows, done),
                )
        finally:
            if not here:
                other.close()
    seconds = time.perf_counter() - started
    click.echo(
        f"{table}: {rows:,} rows of {source} in {file}, each compared with what was written; "
        f"{seconds:.1f} s, {size_of(db):,} bytes"
    )


@click.command()
@db_argument
@table_argument
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@click.option(
    "--format", type=click.Choice(WRITTEN), help="The format of FILE; by default its suffix tells."
)
@click.option("--columns", metavar="A,B", help="The columns to write; by default all.")
@where_option
@column_option
def export(
    db: str,
    table: str,
    file: str,
    format: str | None,
    columns: str | None,
    where: str | None,
    column: str | None,
) -> None:
    """Export the rows of TABLE with their vectors to FILE (- is standard output).

    npy, fvecs, bvecs and hdf5 hold vectors alone, in the order of the key.
    """
    from vecsql._base.errors import SchemaError
    from vecsql._base.render import meter
    from vecsql._connection.driver import driver_of, quote
    from vecsql._files.read import detect
    from vecsql._files.source import TEXT_FORMATS
    from vecsql._files.survey import Column
    from vecsql._files.write import check_apart, write_records
    from vecsql._search.export import stream_rows
    from vecsql._search.filters import condition
    from vecsql._tables.catalog import columns as columns_of
    from vecsql._tables.catalog import index_of
    from vecsql._tables.followed import require_followed

    with opened(db) as conn:
        if file != "-":
            check_apart(file, str(file_of(db)))
        format = format or ("csv" if file == "-" else detect(file))
        handle = driver_of(conn)
        info = index_of(handle, table, column)
        require_followed(handle, info)
        have = columns_of(handle, info.table)
        names = listed(columns) if columns else have
        unknown = [name for name in names if name not in have]
        if unknown:
            raise SchemaError(f"{info.table} has no column {unknown[0]}; it has {', '.join(have)}")
        vector = info.source if info.source in names else None
        if vector is None and format in ("npy", "fvecs", "bvecs", "hdf5"):
            names, vector = [info.source], info.source
        count = f"SELECT count(*) FROM main.{quote(info.table)}"
        with conditioned(where):
            chosen = condition(handle, info, where or None, ())
            total = handle.value(count + (f" WHERE {chosen.sql}" if chosen else ""))
        with meter(f"Exporting {table}", total) as bar:

            def counted() -> Any:
                for n, row in enumerate(stream_rows(conn, info, names, chosen), 1):
                    yield row
                    if n % 1000 == 0 or n == total:
                        bar.update(n - bar.rows, n)

            n = write_records(file, format, counted(), columns=names, vector=vector, dim=info.dim)
    if vector is not None and format in TEXT_FORMATS and Column(vector, typed=True).called == 2:
        click.echo(f"the vectors are in {vector}: import with --vector", err=True)
    if file != "-":
        click.echo(f"{n:,} rows of {table} written to {file}")


COMMANDS = (demo, import_, export)
