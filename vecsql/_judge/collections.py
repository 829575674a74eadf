"""Test collections on disk: BEIR folders, TREC judgements and runs.

BEIR   corpus.jsonl {_id, title, text}, queries.jsonl {_id, text}, qrels/SPLIT.tsv with a
       header and query, document, judgement
TREC   qrels: query 0 document judgement          run: query Q0 document rank score tag
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vecsql._base.errors import FormatError
from vecsql._judge.metrics import Run, ranked


class Collection(NamedTuple):
    """A test collection; the corpus is read when it is iterated over."""

    folder: Path
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]

    def corpus(self) -> Iterator[dict[str, str]]:
        """Yields the documents as {id, title, text}."""
        path = self.folder / "corpus.jsonl"
        for line, doc in _jsonl(path):
            if "_id" not in doc or "text" not in doc:
                raise FormatError(f"{path}, line {line}: expected _id and text, got {sorted(doc)}")
            yield {"id": str(doc["_id"]), "title": doc.get("title") or "", "text": doc["text"]}


def read_beir(folder: str | os.PathLike[str], split: str = "test") -> Collection:
    """Reads a BEIR folder; queries are those of the split. Raises `FormatError`."""
    folder = Path(folder)
    qrels = read_qrels(folder / "qrels" / f"{split}.tsv")
    queries = read_queries(folder / "queries.jsonl")
    missing = [q for q in qrels if q not in queries]
    if missing:
        raise FormatError(f"{folder}: queries.jsonl has no text for query {missing[0]!r}")
    return Collection(folder, {q: queries[q] for q in qrels}, qrels)


def read_queries(path: str | os.PathLike[str]) -> dict[str, str]:
    """Reads queries: ``{"_id": ..., "text": ...}`` lines, or lines of id, tab, text."""
    path = Path(path)
    if path.suffix in (".jsonl", ".ndjson", ".json"):
        out = {}
        for line, q in _jsonl(path):
            key = q.get("_id", q.get("id"))
            if key is None or not isinstance(q.get("text"), str):
                raise FormatError(f"{path}, line {line}: expected _id and text, got {sorted(q)}")
            out[str(key)] = q["text"]
        return out
    return {fields[0]: fields[1] for fields in _lines(path, (2,), "id, tab, text", "\t")}


def read_qrels(path: str | os.PathLike[str]) -> dict[str, dict[str, int]]:
    """Reads judgements, of TREC (four fields) or of BEIR (a header, three fields)."""
    qrels: dict[str, dict[str, int]] = {}
    path = Path(path)
    for i, fields in enumerate(_lines(path, (3, 4), "query [0] document judgement")):
        try:
            judgement = int(fields[-1])
        except ValueError:
            if i == 0 and len(fields) == 3:
                continue  # the header
            raise FormatError(f"{path}: a judgement is an integer, got {fields[-1]!r}") from None
        qrels.setdefault(fields[0], {})[fields[-2]] = judgement
    return qrels


def read_run(path: str | os.PathLike[str]) -> dict[str, dict[str, float]]:
    """Reads a TREC run; ranks are those of the scores, as in trec_eval."""
    run: dict[str, dict[str, float]] = {}
    for query, _, doc, _, score, _ in _lines(Path(path), (6,), "query Q0 document rank score tag"):
        try:
            run.setdefault(query, {})[doc] = float(score)
        except ValueError:
            raise FormatError(f"{path}: a score is a number, got {score!r}") from None
    return run


def write_run(path: str | os.PathLike[str], run: Run, tag: str = "vecsql") -> None:
    """Writes a TREC run; documents given best first get descending scores."""
    with Path(path).open("w", encoding="utf-8") as out:
        for query in sorted(run):
            ranking = run[query]
            docs = ranked(ranking)
            for rank, doc in enumerate(docs, 1):
                score = ranking[doc] if isinstance(ranking, Mapping) else len(docs) - rank + 1
                out.write(f"{query} Q0 {doc} {rank} {score!r} {tag}\n")


def write_qrels(path: str | os.PathLike[str], qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Writes judgements in TREC's form."""
    with Path(path).open("w", encoding="utf-8") as out:
        for query in sorted(qrels):
            out.writelines(f"{query} 0 {doc} {rel}\n" for doc, rel in qrels[query].items())


def _lines(
    path: Path, expected: tuple[int, ...], form: str, separator: str | None = None
) -> Iterator[list[str]]:
    try:
        with path.open(encoding="utf-8-sig") as source:
            for number, line in enumerate(source, 1):
                if not line.strip():
                    continue
                fields = line.rstrip("\r\n").split(separator)
                if len(fields) not in expected:
                    raise FormatError(
                        f"{path}, line {number}: expected {form}, got {line.strip()!r}"
                    )
                yield fields
    except OSError as e:
        raise FormatError(f"cannot read {path}: {e.strerror}") from e


def _jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig") as source:
            for number, line in enumerate(source, 1):
                if line.strip():
                    try:
                        value = json.loads(line)
                    except ValueError as e:
                        raise FormatError(f"{path}, line {number}: {e}") from e
                    if not isinstance(value, dict):
                        raise FormatError(f"{path}, line {number}: expected an object")
                    yield number, value
    except OSError as e:
        raise FormatError(f"cannot read {path}: {e.strerror}") from e
