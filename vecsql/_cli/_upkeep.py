"""Commands that keep an index well: check, optimize, reembed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from vecsql._cli._common import (
    DAMAGED,
    EXISTING_DB,
    column_option,
    db_argument,
    embedder_named,
    json_option,
    opened,
    print_json,
    size_of,
    stopping,
    table_argument,
)
from vecsql._cli._remedies import as_commands

if TYPE_CHECKING:
    import apsw

    from vecsql._tables.catalog import IndexInfo


@click.command()
@db_argument
@click.argument("table", required=False)
@json_option
def check(db: str, table: str | None, as_json: bool) -> None:
    """Check DB (or the indexes of TABLE): exit status 3 if anything is damaged.

    Checks the file as SQLite does, the structure of each index, each index and full text against
    the rows of its table, and says what is not wrong but worth knowing: rows without a vector.
    """
    with opened(db) as conn:
        problems, notes = _examine(conn, table)
    if as_json:
        print_json({"ok": not problems, "problems": problems, "notes": notes})
    else:
        for text in (*problems, *notes):
            click.echo(as_commands(text))
        click.echo(f"{db}: damaged" if problems else f"{db}: ok")
    if problems:
        raise click.exceptions.Exit(DAMAGED)


def _examine(conn: apsw.Connection, table: str | None) -> tuple[list[str], list[str]]:
    import apsw

    from vecsql._connection.driver import driver_of, quote
    from vecsql._tables.catalog import index_of, indexes
    from vecsql._tables.followed import flaw, made_by_an_older_version

    db = driver_of(conn)
    problems: list[str] = []
    notes: list[str] = []
    if table is None:
        try:
            found = [str(row[0]) for row in db.rows("PRAGMA integrity_check")]
        except apsw.Error as e:
            found = [str(e)]
        problems += [] if found == ["ok"] else found
    elif not indexes(db, table):
        index_of(db, table)  # says what is wrong
    for i in indexes(db, table):
        found_flaw = flaw(db, i)
        if found_flaw is not None:
            problems.append(found_flaw)
            continue  # the rest would say it in many words
        if made_by_an_older_version(db, i):
            notes.append(
                f"{i.label}: made by an older version; `vecsql optimize DB {i.table} --rebuild` "
                "makes it follow changes of rowid and REPLACE"
            )
        for name in dict.fromkeys((i.index, i.fts)):
            if name is None:
                continue
            named, values = quote(name), "'integrity-check'"
            if name == i.fts:  # compared with its table only if rank is 1
                named, values = f"{named}, rank", f"{values}, 1"
            try:
                db.run(f"INSERT INTO main.{quote(name)}({named}) VALUES({values})")
            except apsw.ReadOnlyError:
                notes.append(f"{name}: not compared with its rows, the file is read-only")
            except apsw.Error as e:  # the index says which it is, in the words of the PRAGMA
                problems.append(f"{name}: {e}" if name == i.fts else str(e))
        missing = _without_vector(conn, i)
        if missing:
            notes.append(f"{i.label}: {missing:,} rows have no vector")
    return list(dict.fromkeys(problems)), notes


def _without_vector(conn: apsw.Connection, info: IndexInfo) -> int:
    import apsw

    from vecsql._connection.driver import driver_of, quote

    sql = f"SELECT count(*) - count({quote(info.source)}) FROM main.{quote(info.table)}"
    try:
        return int(driver_of(conn).value(sql))
    except apsw.Error:  # damage that was reported already
        return 0


@click.command()
@click.argument("db", type=EXISTING_DB)
@click.argument("table", required=False)
@click.option("--rebuild", is_flag=True, help="Build the index anew from the rows.")
@click.option("--vacuum", is_flag=True, help="Give free pages back to the file system after it.")
def optimize(db: str, table: str | None, rebuild: bool, vacuum: bool) -> None:
    """Bring the indexes of DB (or of TABLE) into their best form.

    Places of deleted rows are given back and the log is folded into the pages; full text is merged.
    With --rebuild all of an index is made again: also its triggers, its full text and its name in
    the catalog, which are lost when a migration makes the table anew or renames it.
    """
    from vecsql._connection.driver import driver_of, quote
    from vecsql._tables.catalog import index_of, indexes
    from vecsql._tables.followed import flaw, orphaned
    from vecsql._tables.rebuild import find
    from vecsql._tables.rebuild import rebuild as make_anew

    before = size_of(db)
    with opened(db) as conn:
        handle = driver_of(conn)
        chosen = indexes(handle, table)
        if not chosen and rebuild:
            chosen = [] if table is None else [find(handle, table)]
        elif table is not None and not chosen:
            index_of(handle, table)  # says what is wrong
        done: list[Any] = []
        lost: list[str] = []
        for i in chosen:
            if orphaned(handle, i):  # the others are well
                lost.append(str(flaw(handle, i)))
                continue
            if i.index not in done:
                if rebuild:
                    i = make_anew(conn, i.table, i.column)
                else:
                    name = quote(i.index)
                    handle.run(f"INSERT INTO main.{name}({name}) VALUES('optimize')")
                done.append(i.index)
            if i.fts is not None:
                fts = quote(i.fts)
                handle.run(f"INSERT INTO main.{fts}({fts}) VALUES('optimize')")
        if vacuum:
            handle.run("VACUUM")
        handle.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    after = size_of(db)
    if done or not lost:
        click.echo(f"{', '.join(done) or 'no indexes'}: {before:,} -> {after:,} bytes")
    if lost:
        raise click.ClickException(as_commands("; ".join(lost)))


@click.command()
@db_argument
@table_argument
@click.option(
    "--embedder",
    metavar="NAME",
    help="The new model: static, minilm, minilm:FOLDER, or URL#MODEL of an endpoint.",
)
@click.option(
    "--no-switch", is_flag=True, help="Make the new vectors, and go on with the old ones."
)
@click.option("--discard", is_flag=True, help="Drop the vectors that do not answer.")
@click.option(
    "--batch", default=256, show_default=True, type=click.IntRange(min=1), help="Rows at a time."
)
@column_option
def reembed(
    db: str,
    table: str,
    embedder: str | None,
    no_switch: bool,
    discard: bool,
    batch: int,
    column: str | None,
) -> None:
    """Move TABLE's index to another model, while it is in use.

    The new vectors are made beside the old ones, which answer until all are there; then one
    transaction switches. After an interruption the same command goes on. The old vectors stay, so
    that the same command with the old model goes back, until --discard.
    """
    from vecsql._tables.catalog import index_of
    from vecsql._tables.reembed import reembed as move
    from vecsql._tables.reembed import reembed_discard

    if discard == (embedder is not None):
        raise click.UsageError("expected --embedder NAME, or --discard")
    with opened(db) as conn:
        if embedder is None:
            reembed_discard(conn, table, column)
            click.echo(f"{table}: answers by {index_of(conn, table, column).model_id} alone")
            return
        with stopping(lambda: f"interrupted: {table} answers as before; the same command goes on"):
            info = move(
                conn,
                table,
                embedder_named(embedder),
                column,
                switch=not no_switch,
                batch=batch,
                progress=True,
            )
    click.echo(f"{table}: answers by {info.model_id}, {info.dim} dimensions")


COMMANDS = (check, optimize, reembed)
