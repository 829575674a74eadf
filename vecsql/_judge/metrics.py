"""Retrieval measures, as trec_eval defines them, and a paired test between two systems.

Names are those of ir-measures: ``P@10``, ``R@100``, ``nDCG@10``, ``RR`` (its mean is MRR), ``AP``
(its mean is MAP), ``Success@5``. A document is relevant if its judgement is above 0; nDCG takes
the judgement as the gain. A query without any result counts, with 0; one without judgements does
not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Qrels = Mapping[str, Mapping[str, int]]
Ranking = Mapping[str, float] | Sequence[str]
Run = Mapping[str, Ranking]

DEFAULT_MEASURES = ("nDCG@10", "R@10", "P@10", "RR@10", "AP@10", "Success@10")
_ALIASES = {"mrr": "RR", "map": "AP", "recall": "R", "precision": "P"}
_TRIALS = 10_000


class Scores(NamedTuple):
    """Measures of one run: for each measure its mean, and one value for each query."""

    mean: dict[str, float]
    per_query: dict[str, NDArray[np.float64]]
    queries: list[str]


class Comparison(NamedTuple):
    """How two settings differ on the same queries, and whether that can be chance."""

    first: float
    second: float
    difference: float  # second - first
    low: float  # 95 % confidence interval of the difference (bootstrap over queries)
    high: float
    p: float  # two-sided, paired randomisation test
    n: int


def score(qrels: Qrels, run: Run, measures: Sequence[str] = DEFAULT_MEASURES) -> Scores:
    """Scores a run against judgements.

    ``run`` gives for each query its documents: best first, or a mapping from document to score
    (ties are ordered as trec_eval does it, by descending id).

    >>> s = score({"q": {"a": 1, "b": 1}}, {"q": ["a", "x", "b"]}, ["P@2", "AP", "nDCG@3"])
    >>> {name: round(value, 4) for name, value in s.mean.items()}
    {'P@2': 0.5, 'AP': 0.8333, 'nDCG@3': 0.9197}
    """
    import numpy as np

    parsed = {name: parse_measure(name) for name in measures}
    queries = sorted(q for q in qrels if qrels[q])
    if not queries:
        raise ValueError("no judgements: qrels maps each query to its judged documents")
    per_query = {name: np.zeros(len(queries)) for name in parsed}
    for i, q in enumerate(queries):
        judged = qrels[q]
        gains = np.array([judged.get(d, 0) for d in ranked(run.get(q, ()))], np.float64)
        ideal = np.sort(np.array(list(judged.values()), np.float64))[::-1]
        gains, ideal = np.maximum(gains, 0), np.maximum(ideal, 0)
        for name, (function, k) in parsed.items():
            per_query[name][i] = function(gains, ideal, k)
    means = {name: float(values.mean()) for name, values in per_query.items()}
    return Scores(means, per_query, queries)


def ranked(ranking: Ranking) -> Sequence[str]:
    """The documents of a ranking, best first; a document given twice counts where it is first."""
    if isinstance(ranking, Mapping):
        items = sorted(ranking.items(), reverse=True)  # stable: ties stay in descending order
        return [d for d, _ in sorted(items, key=lambda item: -item[1])]
    return list(dict.fromkeys(ranking))


def parse_measure(name: str) -> tuple[Callable[..., float], int | None]:
    """The function and the cut-off of a measure's name; raises ValueError for an unknown one."""
    match = re.fullmatch(r"([A-Za-z]+)(?:@(\d+))?", name.strip())
    if match:
        plain = match[1].lower()
        key = _ALIASES.get(plain, plain).lower()
        k = int(match[2]) if match[2] else None
        if key in _FUNCTIONS and (k != 0) and (k is not None or key in ("rr", "ap", "ndcg")):
            return _FUNCTIONS[key], k
    raise ValueError(
        f"unknown measure {name!r}; known are P@k, R@k, Success@k, nDCG[@k], RR[@k] (MRR) and "
        "AP[@k] (MAP)"
    )


def _precision(gains: NDArray[Any], ideal: NDArray[Any], k: int) -> float:
    return float((gains[:k] > 0).sum()) / k


def _recall(gains: NDArray[Any], ideal: NDArray[Any], k: int) -> float:
    relevant = int((ideal > 0).sum())
    return float((gains[:k] > 0).sum()) / relevant if relevant else 0.0


def _success(gains: NDArray[Any], ideal: NDArray[Any], k: int) -> float:
    return float((gains[:k] > 0).any())


def _reciprocal_rank(gains: NDArray[Any], ideal: NDArray[Any], k: int | None) -> float:
    found = (gains[:k] > 0).nonzero()[0]
    return 1.0 / float(found[0] + 1) if len(found) else 0.0


def _average_precision(gains: NDArray[Any], ideal: NDArray[Any], k: int | None) -> float:
    import numpy as np

    relevant = int((ideal > 0).sum())
    found = (gains[:k] > 0).nonzero()[0]
    if not relevant or not len(found):
        return 0.0
    return float((np.arange(1, len(found) + 1) / (found + 1)).sum() / relevant)


def _ndcg(gains: NDArray[Any], ideal: NDArray[Any], k: int | None) -> float:
    best = _dcg(ideal[:k])
    return _dcg(gains[:k]) / best if best else 0.0


def _dcg(gains: NDArray[Any]) -> float:
    import numpy as np

    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())


_FUNCTIONS: dict[str, Callable[..., float]] = {
    "p": _precision,
    "r": _recall,
    "success": _success,
    "rr": _reciprocal_rank,
    "ap": _average_precision,
    "ndcg": _ndcg,
}


def compare(
    first: Sequence[float] | NDArray[np.float64],
    second: Sequence[float] | NDArray[np.float64],
    seed: int = 0,
) -> Comparison:
    """Compares two settings by their values for the same queries, in the same order.

    ``p`` is that of the two-sided paired randomisation test: how often a difference as large comes
    up when for each query the two settings are exchanged by a coin. All ways are counted for up to
    12 queries, 10,000 random ones otherwise. The same arguments give the same answer.

    >>> compare([0.1, 0.2, 0.3, 0.4, 0.5], [0.2, 0.4, 0.5, 0.6, 0.7]).p
    0.0625
    """
    import numpy as np

    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a):
        raise ValueError(f"expected two values for each query, got shapes {a.shape} and {b.shape}")
    d = b - a
    random = np.random.default_rng(seed)
    observed = abs(d.mean()) * (1 - 1e-12)  # the same sum in another order may differ
    if len(d) <= 12:
        signs = 1 - 2 * ((np.arange(2 ** len(d))[:, None] >> np.arange(len(d))) & 1)
        p = float((np.abs((signs * d).mean(axis=1)) >= observed).mean())
    else:
        extreme = 0
        for _ in range(0, _TRIALS, 250):
            signs = 1 - 2 * random.integers(0, 2, (250, len(d)), np.int8)
            extreme += int((np.abs((signs * d).mean(axis=1)) >= observed).sum())
        p = (extreme + 1) / (_TRIALS + 1)
    means = np.concatenate(
        [d[random.integers(0, len(d), (250, len(d)))].mean(axis=1) for _ in range(0, 2000, 250)]
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return Comparison(
        float(a.mean()), float(b.mean()), float(d.mean()), float(low), float(high), p, len(d)
    )
