"""Search under a filter: the k nearest of the rows that pass.

The filter is a Python function, and calling it costs more than a distance. So it is asked about the
rows that searches find, once for each row in a call, and not about all rows. A search finds more
and more rows until as many pass as its beam is long. If that would take a good part of the index,
every row is judged, and those that pass are compared exactly. So a query gets k rows
whenever k pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CELLS = 1 << 20  # rows that one search may return, over all its queries
_SHARE = 8  # a search that would return this part of the index is none


class Search(Protocol):
    """A search for the k nearest rows, of all or of some."""

    def __call__(
        self, queries: NDArray[np.float32], k: int, rows: NDArray[np.int64] | None = None, /
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]: ...


class Judge:
    """Asks a filter about rows, each at most once."""

    def __init__(self, passes: Callable[[int], bool], labels: NDArray[np.uint64]) -> None:
        import numpy as np

        self._passes, self._labels = passes, labels
        self._known = np.zeros(len(labels), np.bool_)
        self._good = np.zeros(len(labels), np.bool_)

    def verdicts(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether each row passes; -1 does not."""
        import numpy as np

        real = rows >= 0
        new = np.unique(rows[real & ~self._known[rows]])
        for row, label in zip(new.tolist(), self._labels[new].tolist(), strict=True):
            self._good[row] = bool(self._passes(label))
            self._known[row] = True
        return real & self._good[rows]


def nearest_that_pass(
    search: Search,
    queries: NDArray[np.float32],
    k: int,
    ef: int,
    judge: Judge,
    live: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The k nearest rows that pass for each query, and their distances; -1 where there are fewer.

    ``live`` are the rows that the graph has.
    """
    import numpy as np

    found = np.full((len(queries), k), -1, np.int64)
    distances = np.full((len(queries), k), np.inf, np.float32)
    need = max(k, ef, 1)
    open_queries = np.arange(len(queries))
    width = 2 * need
    while len(open_queries) and width * _SHARE <= len(live):
        block = max(_CELLS // width, 1)
        left, passed = [], 0
        for first in range(0, len(open_queries), block):
            some = open_queries[first : first + block]
            rows, far = search(queries[some], width)
            good = judge.verdicts(rows)
            done = good.sum(axis=1) >= need
            first_k = np.argsort(~good, axis=1, kind="stable")[:, :k]
            found[some[done]] = np.take_along_axis(rows, first_k, 1)[done]
            distances[some[done]] = np.take_along_axis(far, first_k, 1)[done]
            left.append(some[~done])
            passed += int(good[~done].sum())
        asked = sum(map(len, left)) * width
        open_queries = np.concatenate(left)
        width = max(4 * width, int(1.5 * need * asked / max(passed, 1)))
    if len(open_queries):
        rows = live[judge.verdicts(live)]
        found[open_queries], distances[open_queries] = search(queries[open_queries], k, rows)
    return found, distances
