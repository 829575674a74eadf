"""Search by vector, by full text, or by both: the rows as small typed objects.

The vector arm is the SQL that a user would write, ``column MATCH ? AND k = ?`` on the index; the
text arm is ``MATCH`` and ``bm25`` of FTS5. A condition becomes ``rowid IN (SELECT ...)`` in both,
so that it is counted before k. docs/howto/hybrid-search.md has the search as one SQL statement.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from vecsql._base.bind import without_numpy
from vecsql._base.convert import as_float32, whole
from vecsql._base.errors import ConversionError, ModelMismatchError, SchemaError
from vecsql._base.types import Connection, Key, Parameters, Query, Value
from vecsql._connection.driver import Db, driver_of, quote
from vecsql._model.embed import AnyEmbedder, as_embedder, encode_checked
from vecsql._search.filters import Where, condition
from vecsql._search.fusion import RRF_K, Arm, Fused, fuse, mmr
from vecsql._search.lookup import rows_of, visible_columns
from vecsql._tables.catalog import IndexInfo, index_of
from vecsql._tables.elements import as_query, decoded
from vecsql._tables.followed import require_followed
from vecsql._tables.full_text import fts_query
from vecsql._tables.registry import embedder_for, recognised

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Mode = Literal["vector", "text", "hybrid"]
Fusion = Literal["rrf", "scores"]


_brief = reprlib.Repr()
_brief.maxdict, _brief.maxstring, _brief.maxother = 12, 80, 80


@dataclass(frozen=True, repr=False)
class Hit(Mapping[str, "Value"]):
    """A row that was found: a mapping from its columns to their values.

    ``id`` is its key, ``score`` what it is ranked by (higher is better), ``distance`` that of the
    vector arm or None, ``row`` its columns without vectors. ``arms`` explains the score: what each
    arm gave, as rank, score and what it added. The score of the vector arm is 1 - distance for
    cosine and -distance otherwise, that of the text arm is BM25.
    """

    id: Key
    score: float
    distance: float | None
    row: dict[str, Value]
    arms: dict[str, Arm]

    def __getitem__(self, column: str) -> Value:
        """The value of a column of the row."""
        return self.row[column]

    def __iter__(self) -> Iterator[str]:
        return iter(self.row)

    def __len__(self) -> int:
        return len(self.row)

    def __repr__(self) -> str:
        distance = None if self.distance is None else float(f"{self.distance:.6g}")
        return (
            f"Hit(id={self.id!r}, score={self.score:.6g}, distance={distance}, "
            f"row={_brief.repr(self.row)})"
        )


# Scores of hits for a question, one each, higher is better.
Rerank = Callable[["str | NDArray[np.float32]", "list[Hit]"], "Sequence[float] | ArrayLike"]


class RankingOptions(TypedDict, total=False):
    """The keyword arguments of `search` that say how rows are ranked, but for the mode."""

    weights: tuple[float, float]
    fusion: Fusion
    rrf_k: float
    candidates: int | None
    match: Literal["any", "all"]
    diversity: float
    group_by: str | None
    exact: bool
    ef_search: int | None
    max_distance: float | None
    rerank: Rerank | None


class SearchSettings(RankingOptions, total=False):
    """The keyword arguments of `search` that `evaluate` takes, too."""

    mode: Mode


class PassageOptions(RankingOptions, total=False):
    """The keyword arguments of `search` that `vecsql.context` passes on."""

    column: str | None
    columns: Sequence[str] | None
    text: str | None
    embedder: AnyEmbedder | None


class SearchOptions(PassageOptions, total=False):
    """All keyword arguments of `search`."""

    mode: Mode
    where: Where | None
    params: Parameters


@dataclass(frozen=True)
class Settings:
    """How to search; what the keyword arguments of `search` say."""

    mode: Mode = "vector"
    weights: tuple[float, float] = (1.0, 1.0)  # vector, text
    fusion: Fusion = "rrf"
    rrf_k: float = RRF_K
    candidates: int | None = None
    match: Literal["any", "all"] = "any"
    diversity: float = 0.0
    group_by: str | None = None
    exact: bool = False
    ef_search: int | None = None
    max_distance: float | None = None
    rerank: Rerank | None = None

    def __post_init__(self) -> None:
        for name, what in (("candidates", "rows"), ("ef_search", "nodes")):
            value = getattr(self, name)
            if value is not None:
                number = whole(value, f"{name} is a number of {what}")
                object.__setattr__(self, name, number)
        limit = without_numpy(self.max_distance)
        if limit is not None and (not isinstance(limit, (int, float)) or limit != limit):
            raise ValueError(f"max_distance is a number, got {self.max_distance!r}")
        object.__setattr__(self, "max_distance", limit)
        if self.mode not in ("vector", "text", "hybrid"):
            raise ValueError(f"mode is 'vector', 'text' or 'hybrid', got {self.mode!r}")
        if self.fusion not in ("rrf", "scores"):
            raise ValueError(f"fusion is 'rrf' or 'scores', got {self.fusion!r}")
        usable = all(0 <= w < float("inf") for w in self.weights)  # NaN is in no order
        if len(self.weights) != 2 or not usable or not sum(self.weights):
            raise ValueError(
                "weights are two finite numbers >= 0, of vector and text, not both 0; got "
                f"{self.weights}"
            )
        if not 0 <= self.diversity <= 1:
            raise ValueError(f"diversity is a number from 0 to 1, got {self.diversity}")
        if self.max_distance is not None and "vector" not in self.arms:
            raise ValueError("max_distance limits the vector arm, which is not asked")

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that are asked; one of weight 0 is not."""
        if self.mode != "hybrid":
            return (self.mode,)
        named = zip(("vector", "text"), self.weights, strict=True)
        return tuple(name for name, weight in named if weight > 0)


class Searcher:
    """One index and one condition, ready to be asked."""

    def __init__(
        self,
        conn: Connection,
        table: str,
        column: str | None,
        where: Where | None,
        params: Parameters,
        settings: Settings,
    ):
        self.db: Db = driver_of(conn)
        self.info: IndexInfo = index_of(self.db, table, column)
        require_followed(self.db, self.info)
        self.settings = settings
        self._where = condition(self.db, self.info, where, params)
        self._params = () if self._where is None else self._where.params
        if "text" in settings.arms and self.info.fts is None:
            raise SchemaError(
                f"{self.info.label} has no full text, which mode={settings.mode!r} needs: "
                f"vecsql.add_full_text(db, {self.info.table!r}, {self.info.column!r}) adds it"
            )

    # --- arms ---

    def by_vector(self, vector: NDArray[np.float32], n: int) -> list[tuple[Any, float, float]]:
        """The n nearest rows as (id, score, distance), nearest first."""
        i, s = self.info, self.settings
        if len(vector) != i.dim:
            raise ConversionError(f"{i.label} has {i.dim} dimensions, the query has {len(vector)}")
        expression, parameter = as_query(i, vector)
        query, limit = self._marks()
        beside = f" AND v.ef_search = {s.ef_search}" if s.ef_search else ""
        beside += " AND v.exact = 1" if s.exact else ""
        if s.max_distance is not None:
            beside += f" AND v.distance <= {str(s.max_distance).replace('inf', '9e999')}"
        sql = (
            f"SELECT v.{quote(self._id)}, v.distance FROM {quote(i.index)} v WHERE "
            f"{self._condition('v.rowid')}v.{quote(i.column)} MATCH "
            f"{expression.replace('?', query)} AND v.k = {limit}{beside} ORDER BY v.distance"
        )
        rows = self._ask(sql, parameter, n)
        base = 1.0 if i.metric == "cosine" else 0.0
        return [(key, base - distance, distance) for key, distance in rows]

    def by_text(self, text: str, n: int) -> list[tuple[Any, float]]:
        """The n best rows as (id, BM25), best first."""
        assert self.info.fts is not None
        fts = quote(self.info.fts)
        query, limit = self._marks()
        sql = (
            f"SELECT rowid, -bm25({fts}) FROM {fts} WHERE {self._condition(f'{fts}.rowid')}"
            f"{fts} MATCH {query} ORDER BY bm25({fts}), rowid LIMIT {limit}"
        )
        rows = self._ask(sql, fts_query(text, self.settings.match), n)
        return [(key, score) for key, score in rows]

    @property
    def _id(self) -> str:
        return self.info.key

    def _condition(self, rowid: str) -> str:
        if self._where is None:
            return ""
        return f"{rowid} IN (SELECT rowid FROM {self._where.source} WHERE {self._where.sql}) AND "

    def _marks(self) -> tuple[str, str]:
        """The placeholders of the query and of k, of the same style as the condition's."""
        return (":vecsql_query", ":vecsql_k") if isinstance(self._params, Mapping) else ("?", "?")

    def _ask(self, sql: str, query: Any, n: int) -> list[tuple[Any, ...]]:
        """The condition's parameters come first, so that plain ? count on from them."""
        if isinstance(self._params, Mapping):
            return self.db.rows(sql, {**self._params, "vecsql_query": query, "vecsql_k": n})
        return self.db.rows(sql, (*self._params, query, n))

    # --- ranking ---

    def ranked(
        self, vector: NDArray[np.float32] | None, text: str | None, n: int
    ) -> tuple[list[Fused], dict[Any, float], bool]:
        """Asks the arms for n rows each: (fused, distances, whether an arm may have more)."""
        s = self.settings
        rankings: dict[str, list[tuple[Any, float]]] = {}
        distances: dict[Any, float] = {}
        if "vector" in s.arms:
            assert vector is not None
            found = self.by_vector(vector, n)
            rankings["vector"] = [(key, score) for key, score, _ in found]
            distances = {key: distance for key, _, distance in found}
        if "text" in s.arms:
            assert text is not None
            rankings["text"] = self.by_text(text, n)
        more = any(len(r) == n for r in rankings.values())
        if len(rankings) == 1:
            ((name, ranking),) = rankings.items()
            alone = [
                Fused(key, score, {name: Arm(rank, score, score)})
                for rank, (key, score) in enumerate(ranking, 1)
            ]
            return alone, distances, more
        weights = dict(zip(("vector", "text"), s.weights, strict=True))
        return fuse(rankings, weights, s.fusion, s.rrf_k), distances, more

    def hits(
        self,
        vector: NDArray[np.float32] | None,
        text: str | None,
        k: int,
        wanted: Sequence[str] | None = None,
    ) -> list[Hit]:
        """The k best rows, with the wanted columns, or with all but vectors."""
        s = self.settings
        if s.rerank is None:
            with self.db.lock:  # between the arms and the rows nothing changes
                fused, distances = self._candidates(vector, text, k)
                fused = fused[:k] if s.diversity == 0 else self._diverse(fused, k)
                return self._as_hits(fused, distances, wanted)
        with self.db.lock:
            fused, distances = self._candidates(vector, text, k)
            found = self._as_hits(fused, distances, None)
        asked = vector if text is None else text
        assert asked is not None
        scores = _scores(s.rerank, asked, found)  # a model: others may use the connection meanwhile
        order = sorted(range(len(found)), key=lambda i: -scores[i])
        with self.db.lock:
            fused = [fused[i]._replace(score=scores[i]) for i in order]
            fused = fused[:k] if s.diversity == 0 else self._diverse(fused, k)
            return self._as_hits(fused, distances, wanted)

    def _candidates(
        self, vector: NDArray[np.float32] | None, text: str | None, k: int
    ) -> tuple[list[Fused], dict[Any, float]]:
        """At least k rows if there are so many, best first, and their distances."""
        s = self.settings
        pool = s.mode == "hybrid" or s.diversity > 0 or s.group_by is not None
        pool = pool or s.rerank is not None
        n = max(k, s.candidates or (max(100, 4 * k) if pool else k))
        while True:
            fused, distances, more = self.ranked(vector, text, n)
            if s.group_by is not None:
                fused = self._best_of_groups(fused, s.group_by)
            if len(fused) >= k or not more or s.group_by is None:
                return fused, distances
            n *= 4

    def _diverse(self, fused: list[Fused], k: int) -> list[Fused]:
        vectors = self._vectors([f.id for f in fused])
        order = mmr([f.score for f in fused], vectors, k, self.settings.diversity)
        return [fused[i] for i in order]

    def _as_hits(
        self, fused: list[Fused], distances: dict[Any, float], wanted: Sequence[str] | None
    ) -> list[Hit]:
        rows = self.rows(
            [f.id for f in fused], visible_columns(self.db, self.info) if wanted is None else wanted
        )
        return [Hit(f.id, f.score, distances.get(f.id), rows.get(f.id, {}), f.arms) for f in fused]

    def _best_of_groups(self, fused: list[Fused], column: str) -> list[Fused]:
        """The first of each value; a row without a value is a group of its own."""
        rows = self.rows([f.id for f in fused], [column])
        seen = set()
        out = []
        for f in fused:
            value = rows.get(f.id, {}).get(column)
            if value is None or value not in seen:
                seen.add(value)
                out.append(f)
        return out

    # --- rows ---

    def rows(self, keys: Sequence[Any], wanted: Sequence[str]) -> dict[Any, dict[str, Any]]:
        """The wanted columns of rows, by key."""
        return rows_of(self.db, self.info, keys, wanted)

    def _vectors(self, keys: Sequence[Any]) -> NDArray[np.float32]:
        import numpy as np

        rows = self.rows(keys, [self.info.source])
        out = np.full((len(keys), self.info.dim), np.nan, np.float32)
        for i, key in enumerate(keys):
            vector = decoded(self.info, rows.get(key, {}).get(self.info.source))
            if vector is not None:
                out[i] = vector
        return out


def _scores(rerank: Rerank, asked: str | NDArray[np.float32], found: list[Hit]) -> list[float]:
    """What the reranker says. Raises ValueError unless it is a number for each hit."""
    import numpy as np

    if not found:
        return []
    scores = np.asarray(rerank(asked, found), np.float64)
    if scores.shape != (len(found),) or not np.isfinite(scores).all():
        raise ValueError(
            f"rerank= returns a finite number for each of {len(found)} hits, got an array of "
            f"shape {scores.shape}"
        )
    return [float(score) for score in scores]


def query_vector(
    conn: Connection, info: IndexInfo, query: Query, embedder: AnyEmbedder | None = None
) -> NDArray[np.float32]:
    """The vector of a query: a text by the model of the index, anything else as it is.

    ``embedder`` is for an index whose model is not known.
    """
    if not isinstance(query, str):
        given: Any = query
        if str(getattr(given, "dtype", "")) == "bool":  # of a bit vector
            given = given.astype("u1")
        return as_float32(given)
    if embedder is not None:
        embedder = recognised(driver_of(conn), as_embedder(embedder))
    if embedder is not None and info.model_id not in (None, embedder.model_id):
        raise ModelMismatchError(
            f"{info.label} holds vectors of the model {info.model_id!r}, the query is to be "
            f"embedded by {embedder.model_id!r}: leave embedder= out, or move the index with "
            "vecsql.reembed"
        )
    if info.model_id is not None or embedder is None:
        embedder = embedder_for(conn, info)
    elif embedder.dim != info.dim:
        raise SchemaError(
            f"{info.label} has {info.dim} dimensions, {embedder.model_id} makes {embedder.dim}"
        )
    vector: NDArray[np.float32] = encode_checked(embedder, [query], query=True)[0]
    return vector


def search(
    conn: Connection,
    table: str,
    query: Query,
    k: int = 10,
    *,
    where: Where | None = None,
    params: Parameters = (),
    mode: Mode = "vector",
    column: str | None = None,
    columns: Sequence[str] | None = None,
    text: str | None = None,
    embedder: AnyEmbedder | None = None,
    weights: tuple[float, float] = (1.0, 1.0),
    fusion: Fusion = "rrf",
    rrf_k: float = RRF_K,
    candidates: int | None = None,
    match: Literal["any", "all"] = "any",
    diversity: float = 0.0,
    group_by: str | None = None,
    exact: bool = False,
    ef_search: int | None = None,
    max_distance: float | None = None,
    rerank: Rerank | None = None,
) -> list[Hit]:
    """Finds the ``k`` rows of a table that fit a query best, as a list of `Hit`, best first.

    ``query`` is a text, or a vector in any form that `f32` takes. ``where`` is any SQL condition on
    the table's columns, with its ``params``, or a dict: ``{"author": "ann", "year": {"$gte":
    2020}}``. k rows come back if that many satisfy it. ``max_distance`` leaves out rows that are
    farther from the query; in a hybrid search the text arm may still find them.

    ``mode`` is ``"vector"``, ``"text"`` (FTS5, which the index must have) or ``"hybrid"``. Where
    the query is a vector, ``text`` is what the text arm looks for. A hybrid search takes
    ``candidates`` rows of each arm (100 or 4 k by default) and fuses them: ``fusion="rrf"`` by
    rank, ``"scores"`` by scaled scores, the arms counting by ``weights`` (vector, text); `tune`
    finds good ones. ``match="all"`` wants every word of the text instead of any.

    ``diversity`` above 0 takes results that differ from each other (MMR; 0.3 is mild).
    ``group_by`` names a column of which each value comes once, with its best row: the best chunk
    of each document. ``columns`` are those of `Hit.row` (all but vectors by default). ``column``
    names the vector column where a table has several. ``exact`` gives what a brute-force scan
    gives, ``ef_search`` is the width of the walk for this query. ``embedder`` embeds the text for
    an index whose model is not known.

    ``rerank`` is any function that takes the question and the hits, and returns a score for each
    hit, higher is better: ``lambda question, hits: model.predict([(question, hit["body"]) for hit
    in hits])`` for a cross-encoder. It gets ``candidates`` rows (100 or 4 k by default) with all
    columns but vectors; its score becomes that of the hit. The question is the text, or the vector
    where there is no text.

    Raises `SchemaError`, `FilterError`, `ConversionError` or `ModelMismatchError`; an error in the
    SQL of ``where`` is the driver's own.

    >>> import vecsql
    >>> db = vecsql.connect(":memory:")
    >>> _ = vecsql.create_table(db, "notes", {"body": str, "year": int}, text="body", fts=True)
    >>> db.execute("INSERT INTO notes(body, year) VALUES ('the night train', 2020), "
    ...            "('rye bread', 2021), ('train a dog', 2022)").close()
    >>> [hit["body"] for hit in search(db, "notes", "railway", k=1)]
    ['the night train']
    >>> [hit["body"] for hit in search(db, "notes", "train", 1, mode="hybrid", where="year>2020")]
    ['train a dog']
    >>> [hit["year"] for hit in search(db, "notes", "bread", where={"year": {"$lt": 2022}}, k=1)]
    [2021]
    """
    k = whole(k, "k is a number of rows")
    settings = Settings(
        mode,
        weights,
        fusion,
        rrf_k,
        candidates,
        match,
        diversity,
        group_by,
        exact,
        ef_search,
        max_distance,
        rerank,
    )
    searcher = Searcher(conn, table, column, where, params, settings)
    vector = None
    if "vector" in settings.arms:
        vector = query_vector(conn, searcher.info, query, embedder)
    if text is None and isinstance(query, str):
        text = query
    if "text" in settings.arms and text is None:
        raise ValueError(
            f"mode={mode!r} looks for words too, and the query is a vector: text= gives the words"
        )
    return searcher.hits(vector, text, k, columns)
