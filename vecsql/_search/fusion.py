"""One ranking out of several, and a ranking that does not say the same thing twice.

Reciprocal rank fusion (Cormack et al., 2009) looks at ranks alone: an arm adds its weight divided
by 60 + rank. Weighted scores look at how far apart the results of an arm are: an arm adds its
weight times its score, scaled to 0..1 over its candidates. Equal weights hurt when one arm is much
weaker than the other; `vecsql.tune` finds the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

RRF_K = 60


class Arm(NamedTuple):
    """What one arm said of a result: its rank (from 1), its score, what it added to the sum."""

    rank: int
    score: float
    added: float


class Fused(NamedTuple):
    """A result of the fusion."""

    id: Any
    score: float
    arms: dict[str, Arm]


def fuse(
    rankings: Mapping[str, Sequence[tuple[Any, float]]],
    weights: Mapping[str, float],
    method: str = "rrf",
    rrf_k: float = RRF_K,
) -> list[Fused]:
    """Fuses rankings, each a list of (id, score) with the best first; higher scores are better.

    An arm of weight 0 is left out. Equal sums are ordered by the best rank, then by id.

    >>> arms = {"vector": [(1, 0.9), (2, 0.8)], "text": [(2, 7.0), (3, 1.0)]}
    >>> [f.id for f in fuse(arms, {"vector": 1, "text": 1})]
    [2, 1, 3]
    """
    sums: dict[Any, float] = {}
    arms: dict[Any, dict[str, Arm]] = {}
    for name, ranking in rankings.items():
        weight = weights[name]
        if weight == 0:
            continue
        shares = _shares(ranking, method, rrf_k)
        for rank, ((key, score), share) in enumerate(zip(ranking, shares, strict=True), 1):
            added = weight * share
            sums[key] = sums.get(key, 0.0) + added
            arms.setdefault(key, {})[name] = Arm(rank, score, added)
    found = [Fused(key, total, arms[key]) for key, total in sums.items()]
    return sorted(found, key=lambda f: (-f.score, min(a.rank for a in f.arms.values()), _key(f.id)))


def _shares(ranking: Sequence[tuple[Any, float]], method: str, rrf_k: float) -> list[float]:
    if method == "rrf":
        return [1 / (rrf_k + rank) for rank in range(1, len(ranking) + 1)]
    if method == "scores":
        return scaled([score for _, score in ranking])
    raise ValueError(f"fusion is 'rrf' or 'scores', got {method!r}")


def scaled(scores: Sequence[float]) -> list[float]:
    """Scores scaled so that the best is 1 and the worst 0; equal ones are all 1.

    >>> scaled([5.0, 4.0, 1.0])
    [1.0, 0.75, 0.0]
    """
    if not scores:
        return []
    low, high = min(scores), max(scores)
    return [(s - low) / (high - low) if high > low else 1.0 for s in scores]


def _key(id: Any) -> tuple[bool, Any]:
    return isinstance(id, str), id


def mmr(
    relevance: Sequence[float], vectors: ArrayLike, k: int, diversity: float = 0.3
) -> list[int]:
    """Takes k candidates that are relevant and differ; returns their places, in order.

    This is maximal marginal relevance (Carbonell and Goldstein, 1998), which `search` does with
    ``diversity=``; here it is for candidates that come from elsewhere. Each step takes the
    candidate with the largest ``(1 - diversity) x relevance - diversity x`` cosine similarity to
    the most similar one taken before. Relevance is scaled to 0..1. With diversity 0 the order
    stays. ``vectors`` has a row for each candidate; NaN rows are similar to
    nothing. Raises ValueError unless there is a vector for each relevance.

    >>> mmr([0.9, 0.8, 0.1], [[1, 0], [1, 0], [0, 1]], k=2, diversity=0.6)
    [0, 2]
    """
    import numpy as np

    rows = np.asarray(vectors, np.float64)
    if rows.ndim != 2 or len(rows) != len(relevance):
        raise ValueError(f"expected {len(relevance)} vectors, got an array of shape {rows.shape}")
    if not 0 <= diversity <= 1:
        raise ValueError(f"diversity is a number from 0 to 1, got {diversity}")
    wanted = min(k, len(relevance))
    gain = np.array(scaled(list(relevance)))
    unit = np.nan_to_num(rows)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    nearest = np.full(len(gain), -1.0)
    left = np.ones(len(gain), bool)
    taken: list[int] = []
    while len(taken) < wanted:
        penalty = np.maximum(nearest, 0) if taken else np.zeros(len(gain))
        value = np.where(left, (1 - diversity) * gain - diversity * penalty, -np.inf)
        best = int(np.argmax(value))
        taken.append(best)
        left[best] = False
        nearest = np.maximum(nearest, unit @ unit[best])
    return taken
