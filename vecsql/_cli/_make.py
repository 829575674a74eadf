"""Commands that make and fill tables with an index: index, ingest, sync."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vecsql._cli._common import (
    NEW_DB,
    column_option,
    db_argument,
    embedder_named,
    embedder_option,
    opened,
    stopping,
    table_argument,
)
from vecsql._cli._remedies import as_commands

if TYPE_CHECKING:
    import apsw

    from vecsql._tables.catalog import IndexInfo


@click.command()
@db_argument
@table_argument
@click.option("--text", multiple=True, metavar="COLUMN", help="A column to embed; may be repeated.")
@click.option(
    "--column",
    default=None,
    metavar="NAME",
    help="The column of vectors, 'embedding' by default; made if it is missing.",
)
@click.option(
    "--dim",
    type=click.IntRange(1, 65_536),
    help="Dimension of vectors that you write; by default that of the vectors that are there.",
)
@click.option(
    "--metric",
    type=click.Choice(["cosine", "l2", "dot", "l1"]),
    default="cosine",
    show_default=True,
    help="How near is measured.",
)
@click.option("--fts", is_flag=True, help="Make full text too, for search --hybrid.")
@click.option(
    "--later", is_flag=True, help="Only note rows that are written; vecsql sync embeds them."
)
@click.option("--options", default="", metavar="SQL", help='Of the index: "m=32 codec=none".')
@click.option("--drop", is_flag=True, help="Drop the index; the vectors stay in their column.")
@embedder_option
def index(
    db: str,
    table: str,
    text: tuple[str, ...],
    column: str | None,
    dim: int | None,
    metric: str,
    fts: bool,
    later: bool,
    options: str,
    drop: bool,
    embedder: str | None,
) -> None:
    """Make an index over an existing TABLE of DB: of the vectors of a text, or of a column.

    From then on every write to TABLE changes the index in the same transaction. For a table that
    has an index, --fts adds full text.
    """
    from vecsql._tables.catalog import indexes
    from vecsql._tables.full_text import add_full_text
    from vecsql._tables.schema import create_index, drop_index

    with opened(db) as conn:
        if drop:
            drop_index(conn, table, column)
            click.echo(f"{table}: the index is dropped, the vectors stay")
            return
        known = [i for i in indexes(conn, table) if column in (None, i.column)]
        if known and fts and not text and dim is None:
            add_full_text(conn, table, column)
            click.echo(f"{table}: full text made, for search --hybrid")
            return
        if not text and dim is None:
            dim = _stored_dim(conn, table, column or "embedding")
        with stopping(lambda: f"interrupted: {table} is as it was"):
            info = create_index(
                conn,
                table,
                column or "embedding",
                text=list(text) or None,
                embedder=None if embedder is None else embedder_named(embedder),
                dim=dim,
                metric=metric,
                mode="sync" if later else "trigger",
                fts=fts,
                options=options,
            )
        rows, filled = _counts(conn, info)
    model = info.model_id or "vectors given by the caller"
    due = f"; {rows - filled:,} rows without a vector" if rows > filled else ""
    click.echo(
        f"{info.label}: {filled:,} of {rows:,} rows; {info.dim} dimensions, {metric}; {model}{due}"
    )


def _stored_dim(conn: apsw.Connection, table: str, column: str) -> int:
    """The dimension of the vectors in a column of a table."""
    from vecsql._connection.driver import driver_of, quote
    from vecsql._tables.catalog import columns, has_table, no_table

    db = driver_of(conn)
    if not has_table(db, table):
        raise click.ClickException(no_table(db, table))
    if column.lower() in map(str.lower, columns(db, table)):
        sql = (
            f"SELECT DISTINCT length({quote(column)}) FROM main.{quote(table)} "
            f"WHERE typeof({quote(column)}) = 'blob' LIMIT 2"
        )
        sizes = [int(n) for (n,) in db.rows(sql)]
        if len(sizes) == 1 and sizes[0] and sizes[0] % 4 == 0:
            return sizes[0] // 4
        if len(sizes) > 1:
            raise click.ClickException(
                f"{table}.{column} holds vectors of several lengths: {sizes[0]} and {sizes[1]} "
                "bytes; --dim tells the dimension, and the others have to be NULL"
            )
    raise click.UsageError(
        f"expected --text COLUMN to embed, one of {', '.join(columns(db, table))}; or --column "
        "NAME --dim N for vectors that you write"
    )


def _counts(conn: apsw.Connection, info: IndexInfo) -> tuple[int, int]:
    from vecsql._connection.driver import driver_of, quote

    sql = f"SELECT count(*), count({quote(info.source)}) FROM main.{quote(info.table)}"
    rows, filled = driver_of(conn).rows(sql)[0]
    return int(rows), int(filled)


@click.command()
@click.argument("db", type=NEW_DB)
@table_argument
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--collection", metavar="NAME", help="The name of what is ingested; its path.")
@click.option(
    "--prune/--no-prune",
    default=None,
    help="Delete documents of the collection that are gone; by default for folders.",
)
@click.option(
    "--suffix", "suffixes", multiple=True, metavar=".MD", help="Files to read; may be repeated."
)
@click.option(
    "--max-tokens",
    default=200,
    show_default=True,
    type=click.IntRange(min=1),
    help="Tokens of a chunk at most.",
)
@click.option(
    "--overlap",
    type=click.IntRange(min=0),
    help="Tokens of the chunk before that are repeated: 40, or half of --max-tokens.",
)
@click.option(
    "--by",
    type=click.Choice(["sentences", "tokens"]),
    default="sentences",
    show_default=True,
    help="Where chunks end.",
)
@click.option("--encoding", default="utf-8", show_default=True, help="Of the files.")
@click.option(
    "--exclude",
    multiple=True,
    metavar="PATTERN",
    help="Names to leave out, instead of hidden ones, node_modules and the like; may be repeated.",
)
@click.option(
    "--on-error",
    type=click.Choice(["raise", "skip"]),
    default="raise",
    show_default=True,
    help="Whether a text that the model refuses ends the run, or is listed.",
)
@click.option("--no-fts", is_flag=True, help="Make no full text.")
@embedder_option
def ingest(
    db: str,
    table: str,
    sources: tuple[str, ...],
    collection: str | None,
    prune: bool | None,
    suffixes: tuple[str, ...],
    max_tokens: int,
    overlap: int | None,
    by: str,
    encoding: str,
    exclude: tuple[str, ...],
    on_error: str,
    no_fts: bool,
    embedder: str | None,
) -> None:
    """Cut the documents of a folder (or files) into chunks in TABLE, and keep them in step.

    Run again, it embeds what changed. A file that is no text is named and left out.
    """
    from vecsql._rows.ingest import ingest as run
    from vecsql._tables.registry import register_embedder

    with opened(db, new=True) as conn:
        model = None if embedder is None else embedder_named(embedder)
        if model is not None:
            register_embedder(conn, model)
        options: dict[str, Any] = {
            "collection": collection,
            "prune": prune,
            "max_tokens": max_tokens,
            "overlap": overlap,
            "by": by,
            "encoding": encoding,
            "on_error": on_error,
            "fts": not no_fts,
            "embedder": model,
            "progress": True,
        }
        if suffixes:
            options["suffixes"] = list(suffixes)
        if exclude:
            options["exclude"] = list(exclude)
        files = [s for s in sources if not Path(s).is_dir()]
        parts: list[Any] = [s for s in sources if Path(s).is_dir()] + ([files] if files else [])
        with stopping(lambda: f"interrupted: {table} holds whole documents; run it again to go on"):
            for part in parts:
                done = run(conn, table, part, **options)
                click.echo(
                    f"{table}: {done.added:,} documents added, {done.updated:,} updated, "
                    f"{done.deleted:,} deleted, {done.unchanged:,} unchanged; {done.chunks:,} "
                    f"chunks embedded, {done.kept:,} kept"
                )
                if not (done.added or done.updated or done.unchanged or done.skipped):
                    name = part if isinstance(part, str) else ", ".join(part)
                    click.echo(
                        f"{name}: no file with a suffix that is read (.txt, .md, ...); --suffix "
                        "names others",
                        err=True,
                    )
                for source, position, reason in done.skipped:
                    place = "" if position is None else f", from character {position:,}"
                    click.echo(f"left out: {source}{place}: {reason}", err=True)


@click.command()
@db_argument
@click.argument("table", required=False)
@column_option
@click.option(
    "--batch", default=256, show_default=True, type=click.IntRange(min=1), help="Rows at a time."
)
@embedder_option
def sync(db: str, table: str | None, column: str | None, batch: int, embedder: str | None) -> None:
    """Embed what is due in DB (or in TABLE): rows noted by --later, and rows without a vector.

    After an interruption the same command goes on. An index that fails stops no other; the exit
    status is 1 then.
    """
    from vecsql._tables.registry import register_embedder
    from vecsql._tables.sync import sync_each

    with opened(db) as conn:
        if embedder is not None:
            register_embedder(conn, embedder_named(embedder))
        with stopping(lambda: "interrupted: the same command goes on"):
            n, failed = sync_each(conn, table, column, batch=batch, progress=True)
    if n or not failed:
        click.echo(f"{table or db}: {n:,} rows brought up to date")
    if failed:
        raise click.ClickException(as_commands("; ".join(map(str, failed))))


COMMANDS = (index, ingest, sync)
