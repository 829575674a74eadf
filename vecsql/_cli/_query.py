"""Commands that ask: search, info, shell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from vecsql._cli._common import (
    NEW_DB,
    chosen_embedder,
    column_option,
    conditioned,
    db_argument,
    embedder_named,
    embedder_option,
    index_for,
    json_option,
    listed,
    opened,
    output_options,
    print_json,
    print_rows,
    size_of,
    table_argument,
    where_option,
)
from vecsql._cli._interrupt import own_prompt
from vecsql._cli._remedies import as_commands

if TYPE_CHECKING:
    import apsw

    from vecsql._search.search import Hit, Mode


@click.command()
@db_argument
@table_argument
@click.argument("query")
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="Rows wanted.")
@where_option
@click.option("--max-distance", type=float, metavar="D", help="Leave out rows farther than D.")
@click.option("--hybrid", "mode", flag_value="hybrid", help="By vector and by full text, fused.")
@click.option("--text", "mode", flag_value="text", help="By full text alone.")
@click.option(
    "--weights",
    nargs=2,
    type=float,
    default=(1.0, 1.0),
    metavar="V T",
    help="How much vector and text count in --hybrid; vecsql eval --tune finds them.",
)
@click.option("--fusion", type=click.Choice(["rrf", "scores"]), default="rrf", show_default=True,
              help="By ranks or by scaled scores.")  # fmt: skip
@click.option("--diversity", type=click.FloatRange(0, 1), default=0.0, metavar="D",
              help="Above 0, results that differ from each other (MMR); 0.3 is mild.")  # fmt: skip
@click.option("--group-by", metavar="COLUMN", help="The best row of each value of a column.")
@click.option("--explain", is_flag=True, help="Show what vector and text gave to each row.")
@click.option("--columns", metavar="A,B", help="The columns to show; by default all but vectors.")
@column_option
@embedder_option
@output_options
def search(
    db: str,
    table: str,
    query: str,
    k: int,
    where: str | None,
    max_distance: float | None,
    mode: Mode | None,
    weights: tuple[float, float],
    fusion: Any,
    diversity: float,
    group_by: str | None,
    explain: bool,
    columns: str | None,
    column: str | None,
    embedder: str | None,
    output: str,
) -> None:
    """Print the K rows of TABLE that fit QUERY best, best first.

    QUERY is a text, or a vector as a JSON array. TABLE is a table with an index, a vecsql table,
    or a table T beside a vecsql table T_vec with the same rowids; the columns are TABLE's.
    """
    from vecsql._base.fragments import bracketed
    from vecsql._search.search import search as find

    wanted = listed(columns) if columns else None
    with opened(db) as conn:
        info, shown = index_for(conn, table, column)
        beside, given = shown != info.table, where
        if beside and where:
            where = f"rowid IN (SELECT rowid FROM {_quoted(shown)} WHERE {bracketed(where)})"
        with conditioned(given):
            hits = find(
                conn,
                info.table,
                _vector_or_text(query),
                k,
                where=where,
                max_distance=max_distance,
                mode=mode or "vector",
                column=info.column,
                columns=[] if beside else wanted,
                embedder=chosen_embedder(conn, embedder, info),
                weights=weights,
                fusion=fusion,
                diversity=diversity,
                group_by=group_by,
            )
        rows = _beside(conn, shown, hits, wanted) if beside else [h.row for h in hits]
    print_rows(
        [_shown(shown, hit, row, mode, explain) for hit, row in zip(hits, rows, strict=True)],
        output,
    )


def _vector_or_text(query: str) -> Any:
    import json

    if query[:1] == "[" and query[-1:] == "]":
        try:
            numbers = json.loads(query)
        except ValueError:
            return query
        if numbers and all(isinstance(n, (int, float)) for n in numbers):
            return numbers
    return query


def _beside(
    conn: apsw.Connection, table: str, hits: list[Hit], wanted: list[str] | None
) -> list[dict[str, Any]]:
    """The rows of a table that has its vectors in another one with the same rowids."""
    from vecsql._connection.driver import driver_of
    from vecsql._tables.catalog import columns

    db = driver_of(conn)
    names = wanted or columns(db, table)
    listed = ", ".join(map(_quoted, names))
    sql = f"SELECT {listed} FROM {_quoted(table)} WHERE rowid = ?"
    found = [db.rows(sql, (hit.id,)) for hit in hits]
    return [dict(zip(names, rows[0], strict=True)) if rows else {} for rows in found]


def _shown(
    table: str, hit: Hit, row: dict[str, Any], mode: str | None, explain: bool
) -> dict[str, Any]:
    """What is printed of a hit: its distance or score, what the arms gave, its columns."""
    out: dict[str, Any] = {}
    if mode is None:
        out["distance"] = hit.distance
    else:
        out["score"] = hit.score
    if explain:
        for name in ("vector", "text"):
            arm = hit.arms.get(name)
            out[f"{name} rank"] = arm.rank if arm else None
            out[f"{name} score"] = arm.score if arm else None
            out[f"{name} added"] = arm.added if arm else None
    # a column may be called distance too: it goes by the name of the table besides
    return out | {f"{table}.{name}" if name in out else name: v for name, v in row.items()}


def _quoted(name: str) -> str:
    from vecsql._connection.driver import quote

    return quote(name)


@click.command()
@db_argument
@click.argument("table", required=False)
@click.option("--all", "everything", is_flag=True, help="Print all figures of the index too.")
@json_option
def info(db: str, table: str | None, everything: bool, as_json: bool) -> None:
    """Print what indexes DB (or TABLE) has, of which model and size.

    --json prints all figures.
    """
    from vecsql import __version__
    from vecsql._base.render import print_table

    with opened(db) as conn:
        (sqlite,) = next(conn.execute("SELECT sqlite_version()"))
        described = _describe(conn, table)
    size = size_of(db)
    if as_json:
        print_json(
            {
                "file": db,
                "bytes": size,
                "vecsql": __version__,
                "sqlite": sqlite,
                "indexes": described,
            }
        )
        return
    click.echo(f"{db}: {size:,} bytes; vecsql {__version__}, SQLite {sqlite}")
    if not described:
        click.echo("no vecsql tables")
    for d in described:
        if d.get("problem"):
            click.echo(f"\n{d['index']}: {as_commands(d['problem'])}")
            continue
        model = d["model"] or "vectors given by the caller"
        click.echo(
            f"\n{d['index']}: {d['rows']:,} rows; {d['column']}[{d['dim']}] {d['metric']}; {model}"
        )
        about = f"table {d['table']}" + (f" embeds {', '.join(d['text'])}" if d["text"] else "")
        fts = f"; full text {d['fts']}" if d["fts"] else ""
        waiting = f"; {d['without_vector']:,} rows without a vector" if d["without_vector"] else ""
        click.echo(f"{about}; columns {', '.join(d['columns'])}{fts}{waiting}")
        click.echo(_figures(d["stats"]))
        if everything:
            print_table(["name", "value"], list(d["stats"].items()))


def _figures(stats: dict[str, Any]) -> str:
    """What people ask of an index's figures."""
    kind = [str(stats[name]) for name in ("index", "codec") if name in stats]
    parts = [" index, codec ".join(kind)]
    if stats.get("index") == "hnsw":
        parts.append(f"m {stats['m']}, ef_search {stats['ef_search']}")
    if stats.get("recall_estimate") is not None:
        parts.append(f"recall about {stats['recall_estimate']:.3f}")
    parts.append(f"{stats.get('page_bytes', 0) + stats.get('log_bytes', 0):,} bytes")
    if stats.get("deleted"):
        parts.append(f"{stats['deleted']:,} places of deleted rows (vecsql optimize)")
    return "; ".join(parts)


def _describe(conn: apsw.Connection, table: str | None) -> list[dict[str, Any]]:
    from vecsql._connection.driver import driver_of, quote
    from vecsql._tables.catalog import columns, has_table, index_of, indexes
    from vecsql._tables.followed import flaw, orphaned

    db = driver_of(conn)
    if table is not None and not indexes(db, table):
        index_of(db, table)  # says what is wrong
    out: list[dict[str, Any]] = []
    for i in indexes(db, table):
        problem = flaw(db, i)
        if problem is not None and (orphaned(db, i) or not has_table(db, i.index)):
            names = {"table": i.table, "column": i.column, "index": i.index}
            out.append({**names, "problem": problem})
            continue
        total, filled = db.rows(
            f"SELECT count(*), count({quote(i.source)}) FROM main.{quote(i.table)}"
        )[0]
        stats = db.rows(
            "SELECT name, value FROM vecsql_stats(?) WHERE vector = ?", (i.index, i.column)
        )
        vectors = {j.source for j in indexes(db, i.table)}
        out.append(
            {
                "table": i.table,
                "column": i.column,
                "index": i.index,
                "dim": i.dim,
                "metric": i.metric,
                "model": i.model_id,
                "checksum": i.checksum,
                "mode": i.mode,
                "text": list(i.text),
                "fts": i.fts,
                "rows": total,
                "without_vector": total - filled,
                "columns": [c for c in columns(db, i.table) if c not in vectors],
                "stats": dict(stats),
            }
        )
    return out


@click.command()
@click.argument("db", type=NEW_DB)
@click.argument("sql")
@click.option(
    "-p",
    "--param",
    "params",
    nargs=2,
    multiple=True,
    metavar="NAME VALUE",
    help="The value of a named parameter; may be repeated.",
)
@embedder_option
@output_options
def query(
    db: str, sql: str, params: tuple[tuple[str, str], ...], embedder: str | None, output: str
) -> None:
    """Run SQL on DB with vecsql and embed() loaded; print the rows of the last statement.

    A value that looks like a number is one.
    """
    import apsw

    from vecsql._connection.driver import driver_of
    from vecsql._tables.catalog import no_table
    from vecsql._tables.registry import register_embedder

    with opened(db, new=True) as conn:
        register_embedder(conn, None if embedder is None else embedder_named(embedder))
        values = _Parameters((k.lstrip(":@$"), _number(v)) for k, v in params)
        try:
            names, rows = _last_rows(conn, sql, values)
        except apsw.SQLError as e:
            missing = re.fullmatch(r"no such table: (?:main\.)?(.+)", str(e))
            raise click.ClickException(
                no_table(driver_of(conn), missing[1]) if missing else str(e)
            ) from e
        if conn.in_transaction:
            conn.execute("ROLLBACK")
            raise click.ClickException(
                "the transaction that BEGIN opened has no COMMIT: its changes are rolled back"
            )
    if names:
        print_rows([dict(zip(names, row, strict=True)) for row in rows], output, names)


class _Parameters(dict[str, Any]):
    """The values of -p; names the one that is missing."""

    def __missing__(self, name: str) -> Any:
        raise click.ClickException(f"the SQL has a parameter {name}: -p {name} VALUE gives it")


def _last_rows(
    conn: apsw.Connection, sql: str, values: dict[str, Any]
) -> tuple[list[str], list[Any]]:
    """The names and rows of the last statement; two columns of one name are told apart."""
    rows: list[Any] = []
    names: list[str] = []

    def begin(cursor: Any, text: str, bindings: Any) -> bool:
        if text.strip():
            rows.clear()
            names[:] = [column[0] for column in cursor.description]
        return True

    cursor = conn.cursor()
    cursor.exec_trace = begin
    for row in cursor.execute(sql, values):
        rows.append(row)
    return [n if names.index(n) == i else f"{n}:{i + 1}" for i, n in enumerate(names)], rows


def _number(text: str) -> Any:
    from vecsql._files.survey import NUMBER

    match = NUMBER.fullmatch(text)
    if match is None:
        return text
    number = float(text) if match[1] else int(text)
    # as SQLite reads a literal that 64 bits do not hold
    return number if -(1 << 63) <= number < 1 << 63 else float(text)


@click.command()
@click.argument("db", type=NEW_DB)
@click.argument("command", required=False)
def shell(db: str, command: str | None) -> None:
    """Open an SQL prompt on DB with vecsql and embed() loaded, or run COMMAND and leave.

    The prompt is apsw's, which knows the commands of the sqlite3 shell: .help, .mode, .schema.
    """
    from vecsql._tables.registry import register_embedder

    with opened(db, new=True) as conn:
        import apsw.shell

        register_embedder(conn)
        prompt: Any = apsw.shell.Shell(db=conn, args=[])
        if command is None:
            with own_prompt():
                prompt.cmdloop()
        else:
            prompt.process_complete_line(command)


COMMANDS = (search, info, query, shell)
