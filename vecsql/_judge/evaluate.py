"""How good search is: measures against judgements, recall against the exact scan, tuned weights."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from vecsql._base.convert import whole
from vecsql._base.errors import SchemaError
from vecsql._base.types import Connection, Parameters, Query
from vecsql._judge.metrics import Comparison, Qrels, Scores, compare, score
from vecsql._model.embed import AnyEmbedder, as_embedder, encode_checked
from vecsql._search.filters import Where
from vecsql._search.fusion import fuse
from vecsql._search.search import Fusion, Searcher, SearchSettings, Settings, query_vector
from vecsql._tables.registry import embedder_for

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from typing_extensions import Unpack

_RECALL_SAMPLE = 100
_BATCH = 256


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    ``scores`` has each measure's mean and its value for each query, ``run`` the documents found.
    ``ann_recall`` is the share of the exact nearest k that the index found, without regard to the
    judgements; None where no vector was searched. ``milliseconds`` is the median time of a query,
    embedding not counted.
    """

    k: int
    scores: Scores
    run: dict[str, list[str]] = field(repr=False)
    ann_recall: float | None
    milliseconds: float

    def __getitem__(self, measure: str) -> float:
        """The mean of a measure: ``evaluation["nDCG@10"]``."""
        return self.scores.mean[measure]

    def compare(self, other: Evaluation, measure: str | None = None) -> Comparison:
        """Compares this setting with another one on the same queries, by a paired test.

        ``measure`` is the first one by default.
        """
        name = measure or next(iter(self.scores.mean))
        if self.scores.queries != other.scores.queries:
            raise ValueError("the two evaluations are of different queries")
        return compare(self.scores.per_query[name], other.scores.per_query[name])


class EvaluateOptions(SearchSettings, total=False):
    """All keyword arguments of `evaluate`."""

    measures: Sequence[str] | None
    id_column: str | None
    column: str | None
    where: Where | None
    params: Parameters
    embedder: AnyEmbedder | None
    recall: bool


class Trial(NamedTuple):
    """One setting that `tune` tried, with its mean on the tuning queries."""

    fusion: Fusion
    weights: tuple[float, float]
    score: float


@dataclass(frozen=True)
class Tuning:
    """What `tune` found: the settings for `search`, and how they do on queries not tuned on."""

    measure: str
    weights: tuple[float, float]  # vector, text
    fusion: Fusion
    held_out: dict[str, float]  # vector, text, hybrid
    trials: list[Trial] = field(repr=False)

    @property
    def settings(self) -> SearchSettings:
        """Keyword arguments for `search` and `evaluate`."""
        return {"mode": "hybrid", "weights": self.weights, "fusion": self.fusion}


def default_measures(k: int) -> list[str]:
    """The measures at k."""
    return [f"{name}@{k}" for name in ("nDCG", "R", "P", "RR", "AP", "Success")]


def evaluate(
    conn: Connection,
    table: str,
    queries: Mapping[str, Query],
    qrels: Qrels,
    k: int = 10,
    *,
    measures: Sequence[str] | None = None,
    id_column: str | None = None,
    column: str | None = None,
    where: Where | None = None,
    params: Parameters = (),
    embedder: AnyEmbedder | None = None,
    recall: bool = True,
    **settings: Unpack[SearchSettings],
) -> Evaluation:
    """Measures search in a table against judgements, and the index against an exact scan.

    ``queries`` maps ids to texts (or vectors), ``qrels`` the same ids to judged documents. A
    document is named by the table's key, as text, or by ``id_column``; where a document has several
    rows (chunks), its best row counts. ``settings`` are those of `search`: mode, weights, fusion,
    ef_search and so on. ``measures`` are names as ir-measures has them. ``recall=False`` leaves out
    the exact scans, of which at most 100 queries are a sample.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"body": str}, text="body")
    >>> db.execute("INSERT INTO notes(body) VALUES ('the night train'), ('rye bread')").close()
    >>> e = evaluate(db, "notes", {"q1": "railway"}, {"q1": {"1": 1}}, k=1)
    >>> e["nDCG@1"], e.ann_recall
    (1.0, 1.0)
    """
    k = whole(k, "k is a number of rows")
    if id_column is not None and settings.get("group_by") is None:
        settings["group_by"] = id_column
    chosen = Settings(**settings)
    searcher = Searcher(conn, table, column, where, params, chosen)
    wanted = [id_column] if id_column else []
    run: dict[str, list[str]] = {}
    times: list[float] = []
    asked = {q: queries[q] for q in _judged(queries, qrels)}
    for q, query, vector in _with_vectors(conn, searcher, asked, embedder):
        started = time.perf_counter()
        hits = searcher.hits(vector, query if isinstance(query, str) else None, k, wanted)
        times.append(time.perf_counter() - started)
        run[q] = [str(h.row[id_column] if id_column else h.id) for h in hits]
    found = score({q: qrels[q] for q in asked}, run, measures or default_measures(k))
    ann = None
    if recall and "vector" in chosen.arms:
        ann = _ann_recall(conn, searcher, asked, embedder, k)
    times.sort()
    return Evaluation(k, found, run, ann, 1000 * times[len(times) // 2])


def _judged(queries: Mapping[str, Query], qrels: Qrels) -> list[str]:
    judged = [q for q in queries if qrels.get(q)]
    if not judged:
        raise ValueError(
            "no query has judgements: the ids of the queries and of the judgements (qrels) differ"
        )
    return judged


def _with_vectors(
    conn: Connection, searcher: Searcher, queries: Mapping[str, Query], embedder: AnyEmbedder | None
) -> Iterator[tuple[str, Any, NDArray[np.float32] | None]]:
    """Yields (id, query, vector); texts are embedded in batches."""
    names = list(queries)
    if "vector" not in searcher.settings.arms:
        yield from ((q, queries[q], None) for q in names)
        return
    texts = [q for q in names if isinstance(queries[q], str)]
    model = None
    if texts:
        query_vector(conn, searcher.info, queries[texts[0]], embedder)  # refuses what does not fit
        known = searcher.info.model_id is not None
        model = embedder_for(conn, searcher.info) if known else as_embedder(embedder)
    for begin in range(0, len(names), _BATCH):
        part = names[begin : begin + _BATCH]
        to_embed = {q: text for q in part if isinstance(text := queries[q], str)}
        vectors: dict[str, Any] = {}
        if to_embed and model is not None:
            rows = encode_checked(model, list(to_embed.values()), query=True)
            vectors = dict(zip(to_embed, rows, strict=True))
        for q in part:
            vector = vectors.get(q)
            if vector is None:
                vector = query_vector(conn, searcher.info, queries[q], embedder)
            yield q, queries[q], vector


def _ann_recall(
    conn: Connection,
    searcher: Searcher,
    queries: Mapping[str, Query],
    embedder: AnyEmbedder | None,
    k: int,
) -> float:
    """Recall@k of the vector arm by distance: a row as near as the exact k-th is a right one."""
    step = -(-len(queries) // _RECALL_SAMPLE)
    sample = {q: queries[q] for q in list(queries)[::step]}
    plain = searcher.settings
    found = total = 0
    for _, _, vector in _with_vectors(conn, searcher, sample, embedder):
        assert vector is not None
        with searcher.db.lock:  # the same rows for both
            searcher.settings = replace(plain, exact=True)
            exact = [distance for _, _, distance in searcher.by_vector(vector, k)]
            searcher.settings = plain
            walked = [distance for _, _, distance in searcher.by_vector(vector, k)]
        if exact:
            limit = exact[-1] + 1e-6 * abs(exact[-1])
            near = [d for d in walked if d <= limit]
            found, total = found + min(len(near), len(exact)), total + len(exact)
    return found / total if total else 1.0


def tune(
    conn: Connection,
    table: str,
    queries: Mapping[str, str],
    qrels: Qrels,
    k: int = 10,
    *,
    measure: str | None = None,
    id_column: str | None = None,
    column: str | None = None,
    steps: int = 20,
    candidates: int = 100,
    embedder: AnyEmbedder | None = None,
) -> Tuning:
    """Finds the weights of a hybrid search: the best on half of the queries, tried on the rest.

    Tries ``steps`` + 1 weights from text alone to vector alone, fused by rank and by score; so on
    the queries tuned on the result is never below the better arm. ``held_out`` says what it gives
    on every second query, which were not looked at.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"body": str}, text="body", fts=True)
    >>> db.execute("INSERT INTO notes(body) VALUES ('the night train'), ('rye bread')").close()
    >>> queries, qrels = {"a": "train", "b": "a loaf"}, {"a": {"1": 1}, "b": {"2": 1}}
    >>> tune(db, "notes", queries, qrels).held_out["hybrid"]
    1.0
    """
    k = whole(k, "k is a number of rows")
    measure = measure or f"nDCG@{k}"
    settings = Settings(mode="hybrid", candidates=max(candidates, k))
    searcher = Searcher(conn, table, column, None, (), settings)
    names = _judged(queries, qrels)
    if len(names) < 2:
        raise ValueError("tuning needs at least two queries with judgements")
    asked = {q: queries[q] for q in names}
    lists = {
        q: _rankings(searcher, query, vector, id_column)
        for q, query, vector in _with_vectors(conn, searcher, asked, embedder)
    }
    tuned_on, held_out = names[::2], names[1::2]

    def mean(fusion: Fusion, weights: tuple[float, float], part: list[str]) -> float:
        pair = dict(zip(("vector", "text"), weights, strict=True))
        run = {q: _distinct([f.id for f in fuse(lists[q], pair, fusion)], k) for q in part}
        return score({q: qrels[q] for q in part}, run, [measure]).mean[measure]

    trials = []
    fusions: tuple[Fusion, ...] = ("rrf", "scores")
    for fusion in fusions:
        for step in range(steps + 1):
            weights = (round(step / steps, 3), round(1 - step / steps, 3))
            trials.append(Trial(fusion, weights, mean(fusion, weights, tuned_on)))
    top = max(t.score for t in trials)
    best_fusion = next(t.fusion for t in trials if t.score == top)
    equal = [t for t in trials if t.score == top and t.fusion == best_fusion]
    best = equal[len(equal) // 2]  # in the middle of a plateau rather than at its edge
    found = {
        "vector": mean("rrf", (1.0, 0.0), held_out),
        "text": mean("rrf", (0.0, 1.0), held_out),
        "hybrid": mean(best.fusion, best.weights, held_out),
    }
    return Tuning(measure, best.weights, best.fusion, found, trials)


def _rankings(
    searcher: Searcher, query: Any, vector: NDArray[np.float32] | None, id_column: str | None
) -> dict[str, list[tuple[Any, float]]]:
    """Both arms' candidates as (document, score), a document where its best row is."""
    if not isinstance(query, str):
        raise SchemaError("tuning a hybrid search takes texts as queries, got a vector")
    assert vector is not None
    with searcher.db.lock:  # between the arms and the rows nothing changes
        return _rankings_now(searcher, query, vector, id_column)


def _rankings_now(
    searcher: Searcher, query: str, vector: NDArray[np.float32], id_column: str | None
) -> dict[str, list[tuple[Any, float]]]:
    n = searcher.settings.candidates or 100
    lists = {
        "vector": [(key, s) for key, s, _ in searcher.by_vector(vector, n)],
        "text": searcher.by_text(query, n),
    }
    if id_column is None:
        return {arm: [(str(key), s) for key, s in found] for arm, found in lists.items()}
    keys = list(dict.fromkeys(key for found in lists.values() for key, _ in found))
    document = {key: str(row[id_column]) for key, row in searcher.rows(keys, [id_column]).items()}
    out = {}
    for arm, found in lists.items():
        first: dict[Any, float] = {}
        for key, s in found:
            first.setdefault(document[key], s)
        out[arm] = list(first.items())
    return out


def _distinct(documents: list[Any], k: int) -> list[Any]:
    return list(dict.fromkeys(documents))[:k]
