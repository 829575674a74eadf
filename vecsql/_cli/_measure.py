"""Commands that measure: eval (quality of answers), bench (recall against speed)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from vecsql._cli._common import (
    chosen_embedder,
    column_option,
    db_argument,
    embedder_option,
    file_of,
    json_option,
    opened,
    print_json,
    table_argument,
)

if TYPE_CHECKING:
    import apsw

    from vecsql._judge.evaluate import Evaluation
    from vecsql._tables.catalog import IndexInfo

_DIRECTORY = click.Path(exists=True, file_okay=False)
_FILE = click.Path(exists=True, dir_okay=False)


@click.command("eval")
@db_argument
@table_argument
@click.option("--queries", type=_FILE, help='Queries: {"_id", "text"} lines, or id, tab, text.')
@click.option("--qrels", type=_FILE, help="Judgements, of TREC or of BEIR.")
@click.option("--beir", type=_DIRECTORY, help="A BEIR folder, instead of --queries and --qrels.")
@click.option("--split", default="test", show_default=True, help="Of the BEIR folder.")
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="Cut-off.")
@click.option(
    "--mode",
    "modes",
    multiple=True,
    type=click.Choice(["vector", "text", "hybrid"]),
    help="What to compare; may be repeated. By default all that TABLE can do.",
)
@click.option(
    "--id", "key", metavar="COLUMN", help="The column that the judgements name; by default the key."
)
@click.option(
    "--measure", "measures", multiple=True, help="nDCG@10, R@100, P@5, RR, AP, Success@1."
)
@click.option(
    "--weights", nargs=2, type=float, default=(1.0, 1.0), metavar="V T", help="Of hybrid."
)
@click.option("--fusion", type=click.Choice(["rrf", "scores"]), default="rrf", help="Of hybrid.")
@click.option("--tune", is_flag=True, help="Find the weights of hybrid on half of the queries.")
@click.option("--save-run", type=click.Path(dir_okay=False), help="Write the last mode's TREC run.")
@column_option
@embedder_option
@json_option
def eval_(
    db: str,
    table: str,
    queries: str | None,
    qrels: str | None,
    beir: str | None,
    split: str,
    k: int,
    modes: tuple[Any, ...],
    key: str | None,
    measures: tuple[str, ...],
    weights: tuple[float, float],
    fusion: Any,
    tune: bool,
    save_run: str | None,
    column: str | None,
    embedder: str | None,
    as_json: bool,
) -> None:
    """Measure search in TABLE against judgements; compare by vector, by text and hybrid.

    p is of a paired randomisation test against the first mode. ANN recall is against an exact scan.
    """
    from vecsql._files.write import check_apart
    from vecsql._judge import evaluate
    from vecsql._judge.collections import read_beir, read_qrels, read_queries, write_run
    from vecsql._tables.catalog import index_of

    if (beir is None) == (queries is None or qrels is None):
        raise click.UsageError("expected --beir FOLDER, or --queries FILE and --qrels FILE")
    with opened(db) as conn:
        if save_run is not None:
            check_apart(save_run, str(file_of(db)))
        if beir is not None:
            collection = read_beir(beir, split)
            asked, judged = collection.queries, collection.qrels
        else:
            assert queries is not None
            assert qrels is not None
            asked, judged = read_queries(queries), read_qrels(qrels)
        info = index_of(conn, table, column)
        modes = modes or (("vector", "text", "hybrid") if info.fts else ("vector",))
        chosen = chosen_embedder(conn, embedder, info)
        tuned = None
        if tune:
            tuned = evaluate.tune(
                conn, table, asked, judged, k, id_column=key, column=column, embedder=chosen
            )
            weights, fusion = tuned.weights, tuned.fusion
        found: dict[str, Evaluation] = {}
        for mode in modes:
            hybrid = {"weights": weights, "fusion": fusion} if mode == "hybrid" else {}
            found[mode] = evaluate.evaluate(
                conn, table, asked, judged, k, measures=measures or None, id_column=key,
                column=column, embedder=chosen, mode=mode, **hybrid,
            )  # fmt: skip
    if save_run is not None:
        write_run(save_run, found[modes[-1]].run)
    _report(found, tuned, as_json)


def _report(found: Mapping[str, Evaluation], tuned: Any, as_json: bool) -> None:
    from vecsql._base.render import print_table

    first = next(iter(found.values()))
    names = list(first.scores.mean)
    rows: list[dict[str, Any]] = []
    for mode, e in found.items():
        p = None if e is first else first.compare(e).p
        rows.append(
            {
                "mode": mode,
                **e.scores.mean,
                "p": p,
                "ANN recall": e.ann_recall,
                "ms": e.milliseconds,
            }
        )
    n = len(first.scores.queries)
    if as_json:
        out: dict[str, Any] = {"queries": n, "modes": rows}
        if tuned is not None:
            out["tuned"] = {
                "weights": tuned.weights,
                "fusion": tuned.fusion,
                "measure": tuned.measure,
                "held_out": tuned.held_out,
            }
        print_json(out)
        return
    click.echo(f"{n:,} queries; p compares {names[0]} with {next(iter(found))}")
    print_table(list(rows[0]), [list(row.values()) for row in rows])
    if tuned is not None:
        held = ", ".join(f"{name} {value:.4f}" for name, value in tuned.held_out.items())
        click.echo(
            f"tuned on half of the queries: --weights {tuned.weights[0]:g} {tuned.weights[1]:g} "
            f"--fusion {tuned.fusion}; {tuned.measure} on the other half: {held}"
        )


# --- bench ---------------------------------------------------------------------------------------


@click.command()
@db_argument
@table_argument
@click.option("-k", default=10, show_default=True, type=click.IntRange(min=1), help="Rows a query.")
@click.option("--sample", default=200, show_default=True, type=click.IntRange(min=1),
              help="How many of the stored vectors are the queries.")  # fmt: skip
@click.option("--queries", type=_FILE, help="A file of query vectors instead (npy, fvecs, ...).")
@click.option(
    "--ef", default="10,20,40,80,160,320", show_default=True, help="The widths of the walk to try."
)
@click.option("--png", type=click.Path(dir_okay=False), help="Draw the plot into a PNG file too.")
@column_option
@json_option
def bench(
    db: str,
    table: str,
    k: int,
    sample: int,
    queries: str | None,
    ef: str,
    png: str | None,
    column: str | None,
    as_json: bool,
) -> None:
    """Measure recall against queries per second of TABLE's index, for several ef_search.

    One thread, one SQL statement a query. Queries are stored vectors evenly spread over the table,
    whose own row does not count; recall is against the exact scan.
    """
    from vecsql._base.render import plot, print_table
    from vecsql._connection.driver import driver_of
    from vecsql._files.write import check_apart
    from vecsql._tables.catalog import index_of
    from vecsql._tables.followed import require_followed

    try:
        widths = sorted({int(part) for part in ef.split(",")})
    except ValueError:
        raise click.BadParameter(f"{ef!r} is no list of numbers", param_hint="--ef") from None
    with opened(db) as conn:
        if png is not None:
            check_apart(png, str(file_of(db)))
        info = index_of(conn, table, column)
        require_followed(driver_of(conn), info)
        asked = _stored_queries(conn, info, sample) if queries is None else _queries_of(queries)
        if not asked:
            raise click.ClickException(
                f"{table} has no vectors to ask for: --queries FILE brings some"
            )
        rows = _measure(conn, info, asked, k, widths)
    title = f"{info.label}: {len(asked)} queries, k = {k}"
    if png is not None:
        _draw(png, rows, title)
    if as_json:
        print_json({"table": info.table, "k": k, "queries": len(asked), "points": rows})
        return
    print_table(list(rows[0]), [list(row.values()) for row in rows])
    points = [(r["recall"], r["qps"]) for r in rows if r["ef_search"] != "exact"]
    click.echo("\n" + plot(points, title, f"recall@{k}", "queries per second"))


def _stored_queries(conn: apsw.Connection, info: IndexInfo, sample: int) -> list[tuple[Any, Any]]:
    """Vectors evenly spread over the table, with their keys."""
    from vecsql._connection.driver import driver_of, quote
    from vecsql._tables.elements import decoded

    db = driver_of(conn)
    key, source, table = quote(info.key), quote(info.source), quote(info.table)
    keys = [
        row[0]
        for row in db.iterate(
            f"SELECT {key} FROM main.{table} WHERE {source} IS NOT NULL ORDER BY {key}"
        )
    ]
    chosen = keys[:: max(1, len(keys) // sample)][:sample]
    sql = f"SELECT {source} FROM main.{table} WHERE {key} = ?"
    stored = [(i, decoded(info, db.value(sql, (i,)))) for i in chosen]
    return [(i, vector) for i, vector in stored if vector is not None]


def _queries_of(path: str) -> list[tuple[Any, Any]]:
    from vecsql._files.read import open_source
    from vecsql._files.survey import read_all

    vector, records = read_all(open_source(path))
    if vector is None:
        raise click.ClickException(f"{path} has no column of vectors, such as embedding: [1, 2, 3]")
    return [(None, r[vector]) for r in records if r.get(vector) is not None]


def _measure(
    conn: apsw.Connection,
    info: IndexInfo,
    asked: list[tuple[Any, Any]],
    k: int,
    widths: list[int],
) -> list[dict[str, Any]]:
    """For each width, and for the exact scan, recall and speed."""
    from vecsql._connection.driver import quote
    from vecsql._tables.elements import as_query

    expression = as_query(info, asked[0][1])[0]
    parameters = [(own, as_query(info, vector)[1]) for own, vector in asked]

    def ask(extra: str) -> tuple[list[list[float]], list[float]]:
        sql = (
            f"SELECT {quote(info.key)}, distance FROM {quote(info.index)} "
            f"WHERE {quote(info.column)} MATCH {expression} AND k = ? AND {extra} ORDER BY distance"
        )
        cursor = conn.cursor()
        answers, times = [], []
        for own, vector in parameters:
            n = k if own is None else k + 1
            began = time.perf_counter()
            found: list[Any] = cursor.execute(sql, (vector, n)).fetchall()
            times.append(time.perf_counter() - began)
            answers.append([d for key, d in found if own is None or key != own][:k])
        return answers, sorted(times)

    exact, exact_times = ask("exact = 1")
    ask(f"ef_search = {widths[0]}")  # loads the pages
    rows = [_row(ef, exact, *ask(f"ef_search = {ef}")) for ef in widths]
    return [*rows, _row("exact", exact, exact, exact_times)]


def _row(
    ef: Any, exact: list[list[float]], answers: list[list[float]], times: list[float]
) -> dict[str, Any]:
    hits = total = 0
    for right, found in zip(exact, answers, strict=True):
        if right:
            limit = right[-1] + 1e-6 * abs(right[-1])
            hits += sum(d <= limit for d in found)
            total += len(right)
    return {
        "ef_search": ef,
        "recall": hits / total if total else 1.0,
        "qps": len(times) / max(sum(times), 1e-9),
        "p50 ms": 1000 * times[len(times) // 2],
        "p95 ms": 1000 * times[min(len(times) - 1, int(0.95 * len(times)))],
    }


def _draw(path: str, rows: list[dict[str, Any]], title: str) -> None:
    import numpy

    from vecsql._base.render import recall_scale, recall_ticks
    from vecsql._files.source import extra

    extra("matplotlib").use("Agg")
    pyplot = extra("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(7, 5), dpi=120)
    points = [r for r in rows if r["ef_search"] != "exact"]
    axes.plot([r["recall"] for r in points], [r["qps"] for r in points], "o-")
    for r in points:
        axes.annotate(r["ef_search"], (r["recall"], r["qps"]), xytext=(4, 4),
                      textcoords="offset points")  # fmt: skip
    ticks = recall_ticks(min(r["recall"] for r in points))
    scale = numpy.vectorize(recall_scale), lambda place: 1.001 - 10.0**-place
    axes.set_xscale("function", functions=scale)
    axes.set(title=title, xlabel="recall", ylabel="queries per second", yscale="log")
    axes.set(xlim=(min(ticks[0], *(r["recall"] for r in points)), 1.0), xticks=ticks)
    axes.set_xticklabels([f"{t:g}" for t in ticks])
    axes.grid(True, which="both", alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, format="png")
    pyplot.close(figure)


COMMANDS = (eval_, bench)
