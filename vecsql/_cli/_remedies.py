"""What the package's messages advise, as commands: they name calls of Python otherwise."""

from __future__ import annotations

import re

_CALL = r"vecsql\.{}(?:\((?:[^()'\"]|'[^']*'|\"[^\"]*\"|\([^()]*\))*\))?"

# Each pattern with the name of a function, and the command that does the same.
_COMMANDS = (
    (
        r"so pass a vector instead of a text, or make the index with vecsql\.create_index\(.*?\)",
        "so the query is a vector as a JSON array, or --embedder names the model that made them",
    ),
    (r"vecsql\.create_index\(db, '([^']*)', .*?\)", r"vecsql index DB \1 --text COLUMN"),
    (r"vecsql\.add_full_text\(db, '([^']*)'.*?\)", r"vecsql index DB \1 --fts"),
    (r"vecsql\.reembed_discard\(db, '([^']*)'.*?\)", r"vecsql reembed DB \1 --discard"),
    (r"vecsql\.rebuild\([^()]*\) or `([^`]*)`", r"`\1`"),
    (r"vecsql\.drop_index\(db, '([^']*)'.*?\)", r"vecsql index DB \1 --drop"),
    (_CALL.format("rebuild"), "vecsql optimize DB TABLE --rebuild"),
    (_CALL.format("create_index"), "vecsql index DB TABLE --text COLUMN"),
    (_CALL.format("add_full_text"), "vecsql index DB TABLE --fts"),
    (_CALL.format("drop_index"), "vecsql index DB TABLE --drop"),
    (_CALL.format("reembed_discard"), "vecsql reembed DB TABLE --discard"),
    (_CALL.format("reembed"), "vecsql reembed DB TABLE --embedder NAME"),
    (_CALL.format("sync"), "vecsql sync DB TABLE"),
    (_CALL.format("ingest"), "vecsql ingest DB TABLE FOLDER"),
    (
        r"pass the embedder of that model to vecsql\.register_embedder\(db, embedder\)",
        "--embedder names that model",
    ),
    (_CALL.format("register_embedder"), "--embedder NAME"),
    (_CALL.format(r"(?:insert|upsert|bulk_insert)"), "vecsql import DB TABLE FILE"),
    (
        r"give it another model_id and use vecsql reembed",
        "--embedder names the model that made them, or vecsql reembed",
    ),
    (r": text= gives the words", ": ask with a text"),
    (
        r"<= overlap < max_tokens, got overlap (\d+), max_tokens",
        r"<= --overlap < --max-tokens, got \1 and",
    ),
    (r"\bmode='(\w+)'", r"--\1"),
    (r"\bdim=(\d+)", r"--dim \1"),
    (r"\bfts=True", "--fts"),
    (r"\b(where|text|column|embedder|dim)=", r"--\1"),
    (r"\bmax_distance=", "--max-distance"),
)
_PATTERNS = tuple((re.compile(pattern), command) for pattern, command in _COMMANDS)


def as_commands(message: str) -> str:
    """A message in one line, with commands and options where it names Python."""
    message = " ".join(message.split())
    for pattern, command in _PATTERNS:
        message = pattern.sub(command, message)
    return message
