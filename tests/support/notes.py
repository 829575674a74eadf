"""A table of notes with vectors and full text, the same at every call."""

from __future__ import annotations

import random

import vecsql

_WORDS = "train bread apple river night stone music paper storm light garden engine letter"


WORDS = _WORDS.split(" ")


def notes(driver="sqlite3", n=300, **index):
    """n texts of 2 to 6 words, by authors a to e, three to a document."""
    conn = vecsql.connect(":memory:", driver=driver)
    vecsql.create_table(
        conn, "notes", {"body": str, "author": str, "year": int, "doc": str}, text="body",
        fts=True, **index,
    )  # fmt: skip
    r = random.Random(5)
    sql = "INSERT INTO notes(body, author, year, doc) VALUES (?, ?, ?, ?)"
    for i in range(n):
        body = " ".join(r.choices(WORDS, k=r.randint(2, 6)))
        conn.execute(sql, (body, "abcde"[i % 5], 2000 + i % 20, f"d{i // 3}"))
    return conn
