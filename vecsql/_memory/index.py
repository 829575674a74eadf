"""vecsql.Index: nearest neighbours in memory, with the calls of hnswlib.

What is held. A row is a place in the matrix of vectors. It has a label, a vector, and a mark if it
is deleted. The graph (csrc/memory/memory_index.h) holds the rows that are not deleted. To delete a
row takes it out of the graph, and the vector stays for `unmark_deleted`.

Invariants. Rows 0 .. count - 1 are in use. ``_row_of`` maps each label to its row, and
``_labels[row]`` is the way back. A row is in the graph exactly if it is not marked.

Memory of a row of n dimensions: the vector takes 4 n bytes. The code in the graph takes n, below
17 dimensions 4 n. A node takes 24 + 8 M bytes and its row 4. Label and mark take 9, and the map
of labels about 100.

Threads. A lock lets one call at a time work on an index. A call with many rows shares its work
among threads of its own, and no call holds the GIL while it computes.
"""

from __future__ import annotations

import operator
import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, overload

from vecsql._memory import archive
from vecsql._memory.arrays import label_array, labels_of, vectors_of
from vecsql._memory.core import CORRUPT, METRICS, Graph
from vecsql._memory.filtered import Judge, nearest_that_pass
from vecsql._memory.tables import Copied, Space, read_table, write_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

_DEFAULT_EF = 10
_TOO_FEW = "Cannot return the results in a contiguous 2D array"
_M_RANGE, _EF_RANGE = (2, 128), (1, 100_000)


class Index:
    """An index in memory, without a database, with the calls of hnswlib.

    ``space`` is "l2" (squared Euclidean distance), "ip" (1 - inner product) or "cosine"
    (1 - cosine); ``dim`` is the number of dimensions. As in hnswlib, `init_index` or `load_index`
    comes first, and vectors of the space "cosine" are kept at length 1. Mistakes raise
    RuntimeError. Data that numpy cannot read as numbers raise ValueError, and an argument of
    another type TypeError. It differs from hnswlib where that is safer: NaN and infinity are
    refused, a call that would exceed ``max_elements`` adds nothing, and a filter gets k rows
    whenever k pass.

    >>> import numpy as np, vecsql
    >>> index = vecsql.Index(space="l2", dim=2)
    >>> index.init_index(max_elements=100)
    >>> index.add_items(np.array([[0, 0], [3, 4], [1, 0]]), ids=[7, 8, 9])
    >>> labels, distances = index.knn_query([0, 0], k=3)
    >>> labels.tolist(), distances.tolist()
    ([[7, 9, 8]], [[0.0, 1.0, 25.0]])
    """

    def __init__(self, space: Literal["l2", "ip", "cosine"], dim: int) -> None:
        if space not in METRICS:
            raise RuntimeError("Space name must be one of l2, ip, or cosine.")
        dim = _whole("dim", dim)
        if dim < 1:
            raise RuntimeError(f"An index has at least one dimension, got {dim}")
        self._lock = threading.RLock()
        self._space: Space = space
        self._dim = dim
        self._ef = _DEFAULT_EF
        self._num_threads = os.cpu_count() or 1
        self._graph: Graph | None = None
        self._m = self._ef_construction = self._max_elements = 0
        self._count = self._next_label = self._n_deleted = 0
        self._allow_replace = False

    # --- making it ---------------------------------------------------------------------------

    def init_index(
        self,
        max_elements: int,
        M: int = 16,
        ef_construction: int = 200,
        random_seed: int = 100,
        allow_replace_deleted: bool = False,
    ) -> None:
        """Makes the index, empty, with room for ``max_elements``.

        ``M`` is the number of links that an element chooses, from 2 to 128, and
        ``ef_construction`` the number of candidates that it chooses from. With
        ``allow_replace_deleted`` `add_items` may take the places of deleted elements.
        ``random_seed`` changes nothing: levels come from the places of elements.
        """
        with self._lock:
            if self._graph is not None:
                raise RuntimeError("The index is already initiated.")
            if random_seed < 0:
                raise RuntimeError(f"random_seed is not negative, got {random_seed}")
            ef_construction = max(ef_construction, M)
            _check_ranges(M, ef_construction)
            graph = Graph(self._space, self._dim, int(M), int(ef_construction))
            self._allocate(max_elements)
            self._m, self._ef_construction = int(M), int(ef_construction)
            self._seed, self._allow_replace = int(random_seed), bool(allow_replace_deleted)
            self._graph = graph

    def _allocate(self, max_elements: int) -> None:
        """Empty arrays for so many elements."""
        import numpy as np

        if max_elements < 0:
            raise RuntimeError(f"max_elements is not negative, got {max_elements}")
        self._vectors = np.empty((max_elements, self._dim), np.float32)
        self._labels = np.empty(max_elements, np.uint64)
        self._deleted = np.empty(max_elements, np.bool_)
        self._row_of: dict[int, int] = {}
        self._max_elements = int(max_elements)
        self._count = self._next_label = self._n_deleted = 0

    def _made(self) -> Graph:
        if self._graph is None:
            raise RuntimeError("The index is not initiated: call init_index or load_index first")
        return self._graph

    def resize_index(self, new_size: int) -> None:
        """Changes ``max_elements``, which may not be below the number of elements."""
        import numpy as np

        with self._lock:
            self._made()
            if new_size < self._count:
                raise RuntimeError(
                    "Cannot resize, max element is less than the current number of elements"
                )
            rows = self._count
            for name in ("_vectors", "_labels", "_deleted"):
                old = getattr(self, name)
                new = np.empty((new_size, *old.shape[1:]), old.dtype)
                new[:rows] = old[:rows]
                setattr(self, name, new)
            self._max_elements = int(new_size)

    # --- elements ----------------------------------------------------------------------------

    def add_items(
        self,
        data: ArrayLike,
        ids: ArrayLike | None = None,
        num_threads: int = -1,
        replace_deleted: bool = False,
    ) -> None:
        """Adds vectors, one a row, with the labels ``ids``.

        A label that is there gets the new vector.

        Without ``ids`` labels go on from the number of vectors added so far. Of equal labels in
        one call the last one counts. ``replace_deleted`` takes the places of deleted elements,
        whose labels are then gone. Raises RuntimeError, and adds nothing, if the vectors have
        another dimension or a NaN, or if there is no room.
        """
        with self._lock:
            graph = self._made()
            vectors = vectors_of(data, self._dim, unit=self._space == "cosine")
            n = len(vectors)
            first = self._next_label
            labels = list(range(first, first + n)) if ids is None else labels_of(ids, n)
            if replace_deleted and not self._allow_replace:
                raise RuntimeError("Replacement of deleted elements is disabled in constructor")
            last = {label: i for i, label in enumerate(labels)}
            if len(last) < n:
                vectors, labels = vectors[list(last.values())], list(last)
            rows = self._places(labels, replace_deleted)
            self._write(graph, rows, labels, vectors, self._threads(num_threads, n))
            self._next_label += n

    def _places(self, labels: list[int], replace_deleted: bool) -> list[int]:
        """The row for each label. Changes nothing."""
        import numpy as np

        known = [self._row_of.get(label) for label in labels]
        taken = {row for row in known if row is not None}
        marked_again = not replace_deleted and any(self._deleted[row] for row in taken)
        if self._allow_replace and marked_again:
            raise RuntimeError(
                "Can't use addPoint to update deleted elements if replacement of deleted "
                "elements is enabled."
            )
        vacant: list[int] = []
        if replace_deleted and self._n_deleted:
            marked = np.flatnonzero(self._deleted[: self._count]).tolist()
            vacant = [row for row in marked if row not in taken][::-1]
        rows, count = [], self._count
        for row in known:
            if row is None and vacant:
                row = vacant.pop()
            elif row is None:
                row, count = count, count + 1
            rows.append(row)
        if count > self._max_elements:
            raise RuntimeError(
                "The number of elements exceeds the specified limit: there would be "
                f"{count}, max_elements is {self._max_elements}"
            )
        return rows

    def _write(
        self,
        graph: Graph,
        rows: list[int],
        labels: list[int],
        vectors: NDArray[np.float32],
        threads: int,
    ) -> None:
        """Puts vectors into rows, old or new, and the rows into the graph."""
        import numpy as np

        at = np.array(rows, np.int64)
        old = at[at < self._count]
        were_deleted = int(self._deleted[old].sum())
        try:
            for row in old[~self._deleted[old]].tolist():
                graph.remove(self._vectors, row)
            for label in self._labels[old].tolist():
                del self._row_of[label]
            self._vectors[at] = vectors
            self._labels[at] = np.array(labels, np.uint64)
            self._row_of.update(zip(labels, rows, strict=True))
            self._count = max(self._count, max(rows, default=-1) + 1)
            graph.add(self._vectors, at, threads)
        finally:
            # Where memory was short, some rows are not in the graph.
            self._deleted[at] = [not graph.has(row) for row in rows]
            there = at[at < self._count]
            self._n_deleted += int(self._deleted[there].sum()) - were_deleted

    def mark_deleted(self, label: int) -> None:
        """Deletes an element: no search finds it until `unmark_deleted`.

        Unlike hnswlib's, the call takes the element out of the graph and links its neighbours
        anew. That takes about as long as adding one.
        """
        with self._lock:
            graph, row = self._made(), self._row(label)
            if self._deleted[row]:
                raise RuntimeError("The requested to delete element is already deleted")
            graph.remove(self._vectors, row)
            self._deleted[row] = True
            self._n_deleted += 1

    def unmark_deleted(self, label: int) -> None:
        """Puts a deleted element back. It is linked anew, as `add_items` links."""
        import numpy as np

        with self._lock:
            graph, row = self._made(), self._row(label)
            if not self._deleted[row]:
                raise RuntimeError("The requested to undelete element is not deleted")
            graph.add(self._vectors, np.array([row], np.int64), 1)
            self._deleted[row] = False
            self._n_deleted -= 1

    def _row(self, label: Any) -> int:
        try:
            row = self._row_of.get(operator.index(label))
        except TypeError:
            raise RuntimeError(f"A label is a whole number, got {label!r}") from None
        if row is None:
            raise RuntimeError(f"Label not found: {label}")
        return row

    @overload
    def get_items(
        self, ids: ArrayLike | None = None, return_type: Literal["numpy"] = "numpy"
    ) -> NDArray[np.float32]: ...
    @overload
    def get_items(
        self, ids: ArrayLike | None = None, *, return_type: Literal["list"]
    ) -> list[list[float]]: ...
    @overload
    def get_items(
        self, ids: ArrayLike | None, return_type: Literal["list"]
    ) -> list[list[float]]: ...
    def get_items(
        self, ids: ArrayLike | None = None, return_type: Literal["numpy", "list"] = "numpy"
    ) -> NDArray[np.float32] | list[list[float]]:
        """The vectors of labels, a row each, or a list of lists.

        Raises RuntimeError for a label that is not there or deleted.
        """
        import numpy as np

        if return_type not in ("numpy", "list"):
            raise ValueError('return_type should be "numpy" or "list"')
        labels = label_array([] if ids is None else ids)
        if labels.ndim == 0:
            raise ValueError("get_items accepts a list of indices and returns a list of vectors")
        with self._lock:
            if labels.size == 0:
                found = np.empty((0, self._dim), np.float32)
            else:
                self._made()
                rows = [self._row(label) for label in labels.reshape(-1).tolist()]
                gone = [row for row in rows if self._deleted[row]]
                if gone:
                    raise RuntimeError(f"Label not found: {self._labels[gone[0]]} is deleted")
                found = self._vectors[rows]
        return found if return_type == "numpy" else found.tolist()

    def get_ids_list(self) -> list[int]:
        """All labels, those of deleted elements too."""
        with self._lock:
            return list(self._row_of) if self._graph is not None else []

    # --- searching ---------------------------------------------------------------------------

    def knn_query(
        self,
        data: ArrayLike,
        k: int = 1,
        num_threads: int = -1,
        filter: Callable[[int], bool] | None = None,
    ) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
        """Finds the ``k`` nearest elements of each vector: labels and distances, nearest first.

        ``filter`` takes a label and says whether the element may be found. It is called for the
        elements that the search meets, once for each in a call. Raises RuntimeError if
        there are fewer than ``k`` elements, or fewer that pass.
        """

        with self._lock:
            graph, k = self._made(), _whole("k", k)
            if k < 0:
                raise RuntimeError(f"k is not negative, got {k}")
            queries = vectors_of(data, self._dim, unit=self._space == "cosine")
            threads = self._threads(num_threads, len(queries))
            live = self._count - self._n_deleted
            if k > live and len(queries):
                raise RuntimeError(f"{_TOO_FEW}: k is {k}, the index has {live} elements")

            def search(
                some: NDArray[np.float32], n: int, rows: NDArray[np.int64] | None = None
            ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
                return graph.search(self._vectors, some, n, self._ef, threads, rows)

            if filter is None:
                found, distances = search(queries, k)
            else:
                judge = Judge(filter, self._labels[: self._count])
                found, distances = nearest_that_pass(
                    search, queries, k, self._ef, judge, self._live_rows()
                )
                if (found < 0).any():
                    raise RuntimeError(f"{_TOO_FEW}: fewer than {k} elements pass the filter")
            return self._labels[found], distances

    def _live_rows(self) -> NDArray[np.int64]:
        import numpy as np

        return np.flatnonzero(~self._deleted[: self._count])

    def _threads(self, asked: int, rows: int) -> int:
        """As hnswlib has it: few rows are not worth threads."""
        threads = asked if asked > 0 else self._num_threads
        threads = threads if threads > 0 else os.cpu_count() or 1
        return threads if rows > threads * 4 else 1

    # --- saving and copying ------------------------------------------------------------------

    def save_index(self, path_to_index: str | os.PathLike[str]) -> None:
        """Writes the index to a file, an archive of numpy with the vectors and the graph.

        The file is replaced in one step: it is the old one or the new one. Raises OSError if it
        cannot be written; hnswlib is silent there. To have the elements in a database call
        `to_table`.
        """
        with self._lock:
            self._made()
            archive.write(path_to_index, self._contents())

    def load_index(
        self,
        path_to_index: str | os.PathLike[str],
        max_elements: int = 0,
        allow_replace_deleted: bool = False,
    ) -> None:
        """Reads a file of `save_index`, in the place of what the index has.

        ``max_elements`` below the number of elements means that of the file. Raises RuntimeError
        if the file cannot be read, is damaged, or has another space or dimension; the index is
        then what it was.
        """
        contents = archive.read(path_to_index)
        with self._lock:
            self._take(contents, max_elements)
            self._allow_replace = bool(allow_replace_deleted)
            self._ef = _DEFAULT_EF

    def _contents(self) -> archive.Contents:
        n = self._count
        return archive.Contents(
            archive.Settings(
                self._space,
                self._dim,
                self._m,
                self._ef_construction,
                self._max_elements,
                self._seed,
            ),
            self._vectors[:n],
            self._labels[:n],
            self._deleted[:n],
            self._made().image(),
        )

    def _take(self, contents: archive.Contents, max_elements: int) -> None:
        """Makes this index what the contents say; changes nothing if they are damaged."""
        import numpy as np

        s, n = contents.settings, len(contents.labels)
        if s.dim != self._dim:
            raise RuntimeError(
                f"{CORRUPT}: the file has {s.dim} dimensions, the index has {self._dim}"
            )
        if s.space != self._space:
            raise RuntimeError(f"The file is of the space {s.space}, the index of {self._space}")
        _check_ranges(s.M, s.ef_construction)
        graph = Graph(self._space, self._dim, s.M, s.ef_construction)
        live = np.flatnonzero(~contents.deleted)
        graph.restore(contents.graph, live)
        room = max_elements if max_elements >= n else s.max_elements
        self._allocate(room)
        self._vectors[:n], self._labels[:n] = contents.vectors, contents.labels
        self._deleted[:n] = contents.deleted
        self._row_of = dict(zip(contents.labels.tolist(), range(n), strict=True))
        self._count = self._next_label = n
        self._n_deleted = n - len(live)
        self._m, self._ef_construction, self._seed = s.M, s.ef_construction, s.seed
        self._graph = graph

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            contents = None if self._graph is None else vars(self._contents()).copy()
            if contents is not None:
                contents["settings"] = vars(contents["settings"]).copy()
            return {
                "space": self._space,
                "dim": self._dim,
                "ef": self._ef,
                "num_threads": self._num_threads,
                "allow_replace_deleted": self._allow_replace,
                "contents": contents,
            }

    def __setstate__(self, state: dict[str, Any]) -> None:
        Index.__init__(self, state["space"], state["dim"])
        self._ef, self._num_threads = state["ef"], state["num_threads"]
        self._allow_replace = state["allow_replace_deleted"]
        if state["contents"] is not None:
            parts = dict(state["contents"])
            settings = archive.Settings(**parts.pop("settings"))
            contents = archive.Contents(settings, **parts)
            try:
                archive.check(contents)
            except ValueError as e:
                raise RuntimeError(f"Unpickle Error: {e}") from e
            self._take(contents, settings.max_elements)

    def to_table(self, db: Any, name: str) -> None:
        """Writes the elements that are not deleted to a new table of a database.

        It is ``name(id INTEGER PRIMARY KEY, embedding FLOAT[dim])`` with an index of the same
        metric, M and ef_construction; ``id`` is the label. Distances in SQL are those of SQL: l2
        is not squared there, and dot is minus the inner product.

        >>> import vecsql
        >>> index = vecsql.Index("ip", 2)
        >>> index.init_index(10)
        >>> index.add_items([[1, 2], [3, 4]])
        >>> db = vecsql.connect(":memory:")
        >>> index.to_table(db, "points")
        >>> db.execute("SELECT id, vec_to_json(embedding) FROM points").fetchall()
        [(0, '[1,2]'), (1, '[3,4]')]
        """
        with self._lock:
            self._made()
            rows = self._live_rows()
            write_table(
                db,
                name,
                Copied(
                    self._space,
                    self._dim,
                    self._m,
                    self._ef_construction,
                    self._labels[rows],
                    self._vectors[rows],
                ),
            )

    @classmethod
    def from_table(
        cls, db: Any, name: str, column: str | None = None, max_elements: int = 0
    ) -> Index:
        """Makes an index of the vectors of a table, with their keys as labels.

        ``column`` tells which, if the table has several vector columns. The metric, M and
        ef_construction are those of the table. ``max_elements`` below the number of vectors means
        that number. Raises `SchemaError` for metrics that hnswlib has not, and for negative keys.
        """
        copied = read_table(db, name, column)
        index = cls(copied.space, copied.dim)
        index.init_index(max(max_elements, len(copied.ids)), copied.m, copied.ef_construction)
        index.add_items(copied.vectors, copied.ids)
        return index

    # --- settings ----------------------------------------------------------------------------

    def set_ef(self, ef: int) -> None:
        """Sets the length of the beam of a search: longer finds more and takes longer."""
        self.ef = ef

    def set_num_threads(self, num_threads: int) -> None:
        """Sets the number of threads for calls that do not say; 0: all processors."""
        self.num_threads = num_threads

    def get_max_elements(self) -> int:
        """How many elements there is room for."""
        return self._max_elements

    def get_current_count(self) -> int:
        """How many elements there are, deleted ones included."""
        return self._count

    @property
    def space(self) -> str:
        """ "l2", "ip" or "cosine"."""
        return self._space

    @property
    def dim(self) -> int:
        """The number of dimensions."""
        return self._dim

    @property
    def M(self) -> int:
        """The number of links that an element chooses; 0 before `init_index`."""
        return self._m

    @property
    def ef_construction(self) -> int:
        """The number of candidates that an element chooses from; 0 before `init_index`."""
        return self._ef_construction

    @property
    def ef(self) -> int:
        """The length of the beam of a search."""
        return self._ef

    @ef.setter
    def ef(self, ef: int) -> None:
        ef = _whole("ef", ef)
        if ef < 0:
            raise RuntimeError(f"ef is not negative, got {ef}")
        self._ef = ef

    @property
    def num_threads(self) -> int:
        """The number of threads for calls that do not say."""
        return self._num_threads

    @num_threads.setter
    def num_threads(self, num_threads: int) -> None:
        self._num_threads = _whole("num_threads", num_threads)

    @property
    def max_elements(self) -> int:
        """How many elements there is room for; 0 before `init_index`."""
        return self._max_elements

    @property
    def element_count(self) -> int:
        """How many elements there are, deleted ones included."""
        return self._count

    def __repr__(self) -> str:
        return f"<vecsql.Index(space={self._space!r}, dim={self._dim})>"


def _whole(name: str, value: Any) -> int:
    """A whole number of any type. Raises TypeError for others, as hnswlib does."""
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} is a whole number, got {value!r}") from None


def _check_ranges(m: int, ef_construction: int) -> None:
    for name, value, (least, most) in (
        ("M", m, _M_RANGE),
        ("ef_construction", ef_construction, _EF_RANGE),
    ):
        if not least <= value <= most:
            raise RuntimeError(f"{name} is from {least} to {most}, got {value}")


Index.__module__ = "vecsql"  # where users, and pickles, find it
