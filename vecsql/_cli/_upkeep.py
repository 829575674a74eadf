"""Commands that keep an index well: check, optimize."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vecsql._cli._common import (
    DAMAGED,
    EXISTING_DB,
    db_argument,
    json_option,
    opened,
    print_json,
)

if TYPE_CHECKING:
    import apsw

    from vecsql._catalog import IndexInfo


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
            click.echo(text)
        click.echo(f"{db}: damaged" if problems else f"{db}: ok")
    if problems:
        raise click.exceptions.Exit(DAMAGED)


def _examine(conn: apsw.Connection, table: str | None) -> tuple[list[str], list[str]]:
    import apsw

    from vecsql._catalog import index_of, indexes
    from vecsql._driver import driver_of, quote

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
            except apsw.Error as e:
                problems.append(f"{name}: {e}")
        missing = _without_vector(conn, i)
        if missing:
            notes.append(f"{i.label}: {missing:,} rows have no vector")
    return list(dict.fromkeys(problems)), notes


def _without_vector(conn: apsw.Connection, info: IndexInfo) -> int:
    import apsw

    from vecsql._driver import driver_of, quote

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
    """
    from vecsql._catalog import index_of, indexes
    from vecsql._driver import driver_of, quote

    before = Path(db).stat().st_size
    with opened(db) as conn:
        handle = driver_of(conn)
        if table is not None and not indexes(handle, table):
            index_of(handle, table)  # says what is wrong
        done: list[Any] = []
        for i in indexes(handle, table):
            command = "rebuild" if rebuild else "optimize"
            name = quote(i.index)
            if i.index not in done:
                handle.run(f"INSERT INTO main.{name}({name}) VALUES('{command}')")
                done.append(i.index)
            if i.fts is not None:
                fts = quote(i.fts)
                handle.run(f"INSERT INTO main.{fts}({fts}) VALUES('optimize')")
        if vacuum:
            handle.run("VACUUM")
        handle.rows("PRAGMA wal_checkpoint(TRUNCATE)")
    after = Path(db).stat().st_size
    click.echo(f"{', '.join(done) or 'no indexes'}: {before:,} -> {after:,} bytes")


COMMANDS = (check, optimize)
