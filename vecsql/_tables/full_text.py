"""Full text beside a vector index: what a user types as an FTS5 query, and FTS5 on request."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

from vecsql._base.errors import SchemaError
from vecsql._base.types import Connection
from vecsql._connection.driver import driver_of
from vecsql._tables import fts_table
from vecsql._tables.catalog import IndexInfo, has_table, index_of, registered, save
from vecsql._text.segment import runs

_PHRASE = re.compile(r'"([^"]*)"')
_MAX_TERMS = 200  # of a query; a whole document as a query is cut


def fts_query(text: str, match: Literal["any", "all"] = "any") -> str:
    """Returns an FTS5 query for text as people type it; it is never a syntax error.

    Words are searched as words, whatever FTS5 would make of them (``AND``, ``col:``, ``*``); what
    stands in double quotes is a phrase. ``match="any"`` finds rows with at least one of them, best
    first; ``"all"`` rows with all of them. A text without a word finds nothing.

    >>> fts_query('C++ "hash table" NOT')
    '"C" OR "hash table" OR "NOT"'
    """
    if match not in ("any", "all"):
        raise ValueError(f"match is 'any' or 'all', got {match!r}")
    terms: dict[str, None] = {}
    # what stands between quotes comes at odd places; a quote that is not closed is none
    for place, part in enumerate(_PHRASE.split(text.replace("\0", " "))):
        words = runs(part)
        for term in [" ".join(words)] if place % 2 else words:
            if term:
                terms[f'"{term}"'] = None
    joint = " OR " if match == "any" else " AND "
    return joint.join(list(terms)[:_MAX_TERMS]) or '""'


def add_full_text(
    conn: Connection,
    table: str,
    column: str | None = None,
    *,
    tokenizer: str = fts_table.DEFAULT_TOKENIZER,
) -> IndexInfo:
    """Adds full text (FTS5) to an index that has none, over the text that it embeds.

    Does what ``create_index(..., fts=True)`` does, later: the text of the rows that are there is
    indexed, and triggers keep it in step. ``tokenizer`` is FTS5's, English stemming by default.
    Returns the index; does nothing if it has full text. Raises `SchemaError`.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"body": str}, text="body")
    >>> vecsql.add_full_text(db, "notes").fts
    'notes_embedding_fts'
    """
    db = driver_of(conn)
    with db.transaction():
        info = index_of(db, table, column)
        if info.fts is not None:
            return info
        if info not in registered(db):
            raise SchemaError(
                f"{info.label} was made by plain SQL: full text is added to indexes of "
                "vecsql.create_index"
            )
        info = replace(info, fts=f"{info.table}_{info.column}_fts")
        assert info.fts is not None
        if has_table(db, info.fts):
            raise SchemaError(f"{info.label}: a table {info.fts} exists already")
        fts_table.create(db, info, tokenizer)
        save(db, info)
    return info
