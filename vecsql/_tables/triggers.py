"""Triggers on the user's table that keep its vectors in step with its text.

Mode "trigger": the vector is computed in the writing statement, where it is NULL after an INSERT
or where an UPDATE changed the text but not the vector. Bulk writers hand vectors in and pay
nothing. The computing UPDATE fires the index's own triggers.

Mode "sync": the table accepts writes from any SQLite, with neither the extension nor a model. The
index's own triggers are dropped; each change notes its row in vecsql_queue, which `vecsql.sync`
works off:

    vecsql_queue(idx, row, embed)   row of the table of index idx changed. embed 1: compute its
                                    vector from its text; 0: only index it

The latest change that says anything about the vector wins: a text that changed makes it due, a
vector that was written makes it given. No upsert in these triggers: under INSERT OR REPLACE it
would change its meaning.
"""

from __future__ import annotations

from vecsql._connection.driver import Db, literal, quote
from vecsql._tables.catalog import IndexInfo

_QUEUE = """
CREATE TABLE IF NOT EXISTS vecsql_queue(
  idx TEXT NOT NULL COLLATE NOCASE, row INTEGER NOT NULL, embed INTEGER NOT NULL,
  PRIMARY KEY(idx, row)) WITHOUT ROWID"""
_EVENTS = ("insert", "update", "delete")


def create(db: Db, info: IndexInfo) -> None:
    """Creates the triggers of the index's mode."""
    if info.mode == "trigger":
        _create_embedding(db, info)
    elif info.mode == "sync":
        detach_own(db, info)
        _create_queueing(db, info)


def drop(db: Db, info: IndexInfo) -> None:
    """Drops what `create` created, and what is queued."""
    drop_triggers(db, info)
    if info.mode == "sync":
        db.run("DELETE FROM main.vecsql_queue WHERE idx = ?", (info.index,))


def drop_triggers(db: Db, info: IndexInfo) -> None:
    """Drops what `create` created."""
    for event in _EVENTS:
        for kind in ("embed", "queue"):
            db.run(f"DROP TRIGGER IF EXISTS main.{quote(f'{info.index}_{kind}_{event}')}")


def queue_missing(db: Db, info: IndexInfo) -> None:
    """Queues the rows that have no vector yet."""
    db.run(
        f"INSERT OR IGNORE INTO main.vecsql_queue(idx, row, embed) SELECT ?, {quote(info.key)}, 1 "
        f"FROM main.{quote(info.table)} WHERE {quote(info.source)} IS NULL",
        (info.index,),
    )


def embedding_sql(info: IndexInfo, row: str) -> str:
    """The call that computes a row's vector, with the model that it must come from."""
    return f"vecsql_embed({info.text_sql(row)}, {literal(info.model_id)}, {literal(info.checksum)})"


def changed_text_sql(info: IndexInfo) -> str:
    """Whether an UPDATE changed the text of a row but not its vector."""
    vector = quote(info.source)
    return f"{info.text_sql('new')} IS NOT {info.text_sql('old')} AND new.{vector} IS old.{vector}"


def _create_embedding(db: Db, info: IndexInfo) -> None:
    table, key, vector = quote(info.table), quote(info.key), quote(info.source)
    compute = f"UPDATE {table} SET {vector} = {embedding_sql(info, 'new')} WHERE {key} = new.{key};"
    db.run(
        f"CREATE TRIGGER main.{quote(f'{info.index}_embed_insert')} AFTER INSERT ON {table} "
        f"WHEN new.{vector} IS NULL AND {info.text_sql('new')} IS NOT NULL BEGIN {compute} END"
    )
    watched = ", ".join(map(quote, info.text))
    db.run(
        f"CREATE TRIGGER main.{quote(f'{info.index}_embed_update')} "
        f"AFTER UPDATE OF {watched} ON {table} "
        f"WHEN {changed_text_sql(info)} BEGIN {compute} END"
    )


def attach_own(db: Db, info: IndexInfo) -> None:
    """Has the index make its own triggers."""
    _command(db, info, "attach")


def detach_own(db: Db, info: IndexInfo) -> None:
    """Has the index drop its own triggers, for those that queue."""
    _command(db, info, f"detach={info.index}_queue")


def _command(db: Db, info: IndexInfo, command: str) -> None:
    index = quote(info.index)
    db.run(f"INSERT INTO main.{index}({index}) VALUES(?)", (command,))


def _create_queueing(db: Db, info: IndexInfo) -> None:
    db.run(_QUEUE)
    table, key, vector = quote(info.table), quote(info.key), quote(info.source)
    index = literal(info.index)

    def note(row: str, embed: str, condition: str = "1") -> str:
        same = f"idx = {index} AND row = {row}.{key}"
        return (
            f"UPDATE vecsql_queue SET embed = coalesce({embed}, embed) "
            f"WHERE {same} AND {condition}; "
            f"INSERT INTO vecsql_queue(idx, row, embed) SELECT {index}, {row}.{key}, "
            f"coalesce({embed}, 0) WHERE {condition} "
            f"AND NOT EXISTS (SELECT 1 FROM vecsql_queue WHERE {same}); "
        )

    def trigger(event: str, of: str, body: str) -> None:
        name = quote(f"{info.index}_queue_{event}")
        db.run(f"CREATE TRIGGER main.{name} AFTER {event}{of} ON {table} BEGIN {body} END")

    said = (
        f"CASE WHEN new.{vector} IS NOT old.{vector} THEN 0 "
        f"WHEN {changed_text_sql(info)} THEN 1 END"
    )
    before = f"(SELECT embed FROM vecsql_queue WHERE idx = {index} AND row = old.{key})"
    watched = ", ".join(map(quote, dict.fromkeys((info.key, *info.text, info.source))))
    trigger("insert", "", note("new", f"new.{vector} IS NULL"))
    trigger("delete", "", note("old", "0"))
    trigger(
        "update",
        f" OF {watched}",
        note("new", f"coalesce({said}, {before})")
        + note("old", "0", f"old.{key} IS NOT new.{key}"),
    )
