"""Vectors in clusters, and the part of the true neighbours that an index found."""

from __future__ import annotations

import numpy as np


def clusters(n: int, dim: int, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(30, dim))
    return (centres[rng.integers(0, 30, n)] + 0.5 * rng.normal(size=(n, dim))).astype("f4")


def recall(labels: np.ndarray, expected: np.ndarray) -> float:
    """The mean over queries of the part of ``expected`` that is in ``labels``."""
    pairs = zip(labels, expected, strict=True)
    return float(np.mean([len(set(a) & set(b)) / len(b) for a, b in pairs]))
