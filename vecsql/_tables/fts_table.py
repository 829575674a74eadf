"""Full text beside an index: an FTS5 table over the same columns, kept in step by triggers.

It is an external content table, so the text is stored once, in the user's table. Its triggers are
those of the FTS5 documentation, limited to the columns that it reads.
"""

from __future__ import annotations

import re

from vecsql._base.errors import SchemaError
from vecsql._connection.driver import Db, literal, quote
from vecsql._tables.catalog import IndexInfo

DEFAULT_TOKENIZER = "porter unicode61 remove_diacritics 2"
_TOKENIZE = re.compile(r"tokenize\s*=\s*'((?:[^']|'')*)'", re.IGNORECASE)
_EVENTS = ("insert", "delete", "update")


def create(db: Db, info: IndexInfo, tokenizer: str) -> None:
    """Creates info.fts over info.text with its triggers and indexes the rows that are there."""
    assert info.fts is not None
    if not info.text:
        raise SchemaError(f"{info.label}: fts needs text=, the columns to search in")
    if not db.value("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'"):
        raise SchemaError("fts=True: this SQLite was built without FTS5; use driver='apsw'")
    fts, columns = quote(info.fts), ", ".join(map(quote, info.text))
    db.run(
        f"CREATE VIRTUAL TABLE main.{fts} USING fts5({columns}, content={literal(info.table)}, "
        f"content_rowid={literal(info.key)}, tokenize={literal(tokenizer)})"
    )
    new = ", ".join(f"new.{quote(c)}" for c in (info.key, *info.text))
    old = ", ".join(f"old.{quote(c)}" for c in (info.key, *info.text))
    add = f"INSERT INTO {fts}(rowid, {columns}) VALUES({new});"
    drop = f"INSERT INTO {fts}({fts}, rowid, {columns}) VALUES('delete', {old});"
    watched = ", ".join(quote(c) for c in (info.key, *info.text))
    for event, of, body in zip(
        _EVENTS, ("", "", f" OF {watched}"), (add, drop, drop + add), strict=True
    ):
        name = quote(f"{info.fts}_{event}")
        db.run(
            f"CREATE TRIGGER main.{name} AFTER {event.upper()}{of} ON {quote(info.table)} "
            f"BEGIN {body} END"
        )
    db.run(f"INSERT INTO main.{fts}({fts}) VALUES('rebuild')")


def tokenizer_of(db: Db, info: IndexInfo) -> str:
    """The tokenizer that info.fts was created with; the default if it is gone."""
    sql = "SELECT sql FROM main.sqlite_schema WHERE name = ? COLLATE NOCASE"
    found = _TOKENIZE.search(db.value(sql, (info.fts,)) or "")
    return found[1].replace("''", "'") if found else DEFAULT_TOKENIZER


def drop(db: Db, info: IndexInfo) -> None:
    """Drops info.fts and its triggers."""
    assert info.fts is not None
    for event in _EVENTS:
        db.run(f"DROP TRIGGER IF EXISTS main.{quote(f'{info.fts}_{event}')}")
    db.run(f"DROP TABLE IF EXISTS main.{quote(info.fts)}")
