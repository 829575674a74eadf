"""Reading vectors from arrays: npy, npz, fvecs, ivecs and bvecs (TEXMEX), HDF5.

A file may claim any shape. What it claims is compared with the bytes that it has before anything
is allocated, and nothing outside the file is read: HDF5 can link to other files, which is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vecsql._base.errors import FormatError
from vecsql._files.source import BLOCK, MAX_DIMS, Record, Source, extra

if TYPE_CHECKING:
    from numpy.typing import NDArray

_VECTORS = ("embeddings", "embedding", "vectors", "vector", "emb", "vec", "train")
_METRICS = {
    "euclidean": "l2",
    "l2": "l2",
    "angular": "cosine",
    "cosine": "cosine",
    "ip": "dot",
    "dot": "dot",
    "inner_product": "dot",
    "manhattan": "l1",
    "l1": "l1",
}
_CHUNK_LIMIT = 1 << 28  # bytes of a chunk of HDF5, which is unpacked as a whole
_VECS = {"fvecs": "<f4", "ivecs": "<i4", "bvecs": "u1"}


def open_arrays(
    path: Path, label: str, format: str, vector: str | None, dataset: str | None
) -> Source:
    """Opens a file of vectors; the column is called ``vector``, ``embedding`` by default."""
    name = vector or "embedding"
    if format == "npz":
        return _open_npz(path, label, name, dataset)
    if dataset is not None and format != "hdf5":
        raise FormatError(f"--dataset {dataset}: {label} holds one array, which has no name")
    if format == "hdf5":
        return _open_hdf5(path, label, name, dataset)
    array = _npy(path, label) if format == "npy" else _Vecs(path, label, format)
    return _of_array(label, array, name)


def _of_array(label: str, array: Any, name: str) -> Source:
    """A source of the rows of anything that slices like a two-dimensional array."""
    import numpy as np

    if len(array.shape) != 2 or array.dtype.kind not in "fiub":
        raise FormatError(
            f"{label}: expected a two-dimensional array of numbers, a vector a row, got "
            f"{array.dtype} of shape {tuple(array.shape)}"
        )
    rows, dim = map(int, array.shape)
    if not 1 <= dim <= MAX_DIMS:
        raise FormatError(f"{label}: a vector has 1 to {MAX_DIMS:,} elements, got {dim:,}")
    at = [0]

    def records(skip: int) -> Iterator[Record]:
        for begin in range(skip, rows, BLOCK):
            try:
                with np.errstate(over="ignore"):
                    block = np.array(array[begin : begin + BLOCK], np.float32)
            except FormatError:
                raise
            except Exception as e:  # h5py raises what its filters do
                raise FormatError(f"{label} cannot be read at vector {begin}: {e}") from e
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                row = begin + int(np.argmin(finite))
                raise FormatError(
                    f"{label}: vector {row} holds NaN, infinity, or what float32 cannot hold"
                )
            for at[0], row_vector in enumerate(block, begin):
                yield {name: row_vector}

    return Source(
        label, records, name, rows, dim=dim, place=lambda: f"vector {at[0]}"
    )  # fmt: skip


def _npy(path: Path, label: str) -> Any:
    import numpy as np

    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as e:  # its header is parsed as Python
        raise FormatError(f"{label} is no .npy file: {e}") from e


def _open_npz(path: Path, label: str, name: str, dataset: str | None) -> Source:
    """An array of vectors, with the arrays of as many elements as it has rows beside it."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            _check_members(file, label)
            arrays = {key: file[key] for key in file.files if dataset in (None, key)}
    except FormatError:
        raise
    except Exception as e:  # zip, its packing, and headers that are parsed as Python
        raise FormatError(f"{label} is no .npz file, or holds Python objects: {e}") from e
    if dataset is not None and dataset not in arrays:
        raise FormatError(f"--dataset {dataset}: {label} has no such array")
    vectors = [k for k, a in arrays.items() if a.ndim == 2 and a.dtype.kind in "fiub"]
    named = [k for k in _VECTORS if k in vectors]
    if len(vectors) != 1 and not named:
        have = ", ".join(f"{k} of shape {a.shape}" for k, a in arrays.items())
        raise FormatError(f"{label}: which array holds the vectors? --dataset, one of: {have}")
    chosen = dataset or (named or vectors)[0]
    source = _of_array(label, arrays[chosen], name)
    beside = {
        k: a for k, a in arrays.items() if k != chosen and a.shape == arrays[chosen].shape[:1]
    }
    left = [k for k, a in arrays.items() if k != chosen and k not in beside and a.ndim > 0]
    if left and chosen != "train":
        raise FormatError(
            f"{label}: {left[0]} has the shape {arrays[left[0]].shape} and does not go with the "
            f"{len(arrays[chosen]):,} vectors of {chosen}: --dataset {chosen} imports them alone"
        )
    if not beside:
        return source

    def records(skip: int) -> Iterator[Record]:
        for row, record in enumerate(whole(skip), skip):
            yield {**{k: _scalar(a[row]) for k, a in beside.items()}, **record}

    whole, source.records, source.dim = source.records, records, None
    return source


def _check_members(file: Any, label: str) -> None:
    """Refuses arrays that claim more bytes than are packed in the file."""
    import numpy as np

    for member in file.zip.infolist():
        with file.zip.open(member) as stream:
            try:
                version = np.lib.format.read_magic(stream)
                read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
                shape, _, dtype = read(stream)
            except Exception as e:
                raise FormatError(f"{label}: {member.filename} is no array: {e}") from e
        size = dtype.itemsize
        for n in shape:
            size *= n
        if size > member.file_size:
            raise FormatError(f"{label}: {member.filename} claims the shape {shape} and is shorter")


def _scalar(value: Any) -> Any:
    import numpy as np

    if isinstance(value, (np.datetime64, np.timedelta64)):
        return str(value)
    return value.item()


class _Vecs:
    """fvecs, ivecs and bvecs (TEXMEX): each vector preceded by its length as an int32."""

    def __init__(self, path: Path, label: str, format: str):
        import numpy as np

        self._path, self._label = path, label
        size = path.stat().st_size
        with path.open("rb") as f:
            head = f.read(4)
        self._dim = int.from_bytes(head, "little", signed=True)
        self.dtype = np.dtype(_VECS[format])
        row = 4 + max(self._dim, 0) * self.dtype.itemsize
        if len(head) < 4 or self._dim < 1 or size % row:
            raise FormatError(
                f"{label} is no {format} file: {size} bytes are no whole number of vectors of "
                f"{self._dim} elements"
            )
        self._row = np.dtype([("dim", "<i4"), ("vector", self.dtype, (self._dim,))])
        self.shape = (size // row, self._dim)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        import numpy as np

        with self._path.open("rb") as f:
            f.seek(rows.start * self._row.itemsize)
            block = np.fromfile(f, self._row, rows.stop - rows.start)
        wrong = block["dim"] != self._dim
        if wrong.any():
            row = int(np.argmax(wrong))
            raise FormatError(
                f"{self._label}: vector {rows.start + row} has {block['dim'][row]} elements, "
                f"expected {self._dim}"
            )
        out: NDArray[Any] = block["vector"]
        return out


# --- HDF5 ----------------------------------------------------------------------------------------


def _open_hdf5(path: Path, label: str, name: str, dataset: str | None) -> Source:
    h5py = extra("h5py")
    try:
        file = h5py.File(path, "r")
        found = _dataset(h5py, file, label, dataset or "train")
        _check_storage(found, label)
        source = _of_array(label, found, name)
        source.metric = _metric(file, label)
    except FormatError:
        raise
    except Exception as e:  # damage shows as whatever the library meets
        raise FormatError(f"{label} is no HDF5 file that can be read: {e}") from e
    return source


def _dataset(h5py: Any, file: Any, label: str, key: str) -> Any:
    """The dataset of a path, each step of which stays in the file."""
    group = file
    for part in key.strip("/").split("/"):
        link = group.get(part, getlink=True) if hasattr(group, "keys") else None
        if link is None:
            raise FormatError(
                f"{label} has no dataset {key!r}; it has {', '.join(sorted(file)) or 'none'}: "
                "--dataset"
            )
        if not isinstance(link, h5py.HardLink):
            raise FormatError(
                f"{label}: {part} is a link to another place or file, which is not followed"
            )
        group = group[part]
    if not isinstance(group, h5py.Dataset):
        raise FormatError(
            f"{label}: {key} is a group: --dataset, such as {key}/{next(iter(group), 'NAME')}"
        )
    if group.is_virtual or group.external:
        raise FormatError(f"{label}: the data of {key} is in other files, which are not read")
    return group


def _check_storage(dataset: Any, label: str) -> None:
    """Refuses a dataset that claims more elements than are stored."""
    shape, size = dataset.shape, dataset.dtype.itemsize
    if shape is None or len(shape) != 2:
        return
    elements = shape[0] * shape[1]
    if dataset.chunks is None:
        stored = dataset.id.get_storage_size() // size
    else:
        chunk = dataset.chunks[0] * dataset.chunks[1]
        if chunk * size > _CHUNK_LIMIT:
            raise FormatError(
                f"{label}: a chunk of {chunk * size:,} bytes, more than {_CHUNK_LIMIT:,}"
            )
        stored = dataset.id.get_num_chunks() * chunk
    if stored < elements:
        raise FormatError(
            f"{label}: {dataset.name} claims {shape[0]:,} vectors of {shape[1]:,} elements and "
            f"stores {stored:,} elements"
        )


def _metric(file: Any, label: str) -> str | None:
    """The metric that a file of ann-benchmarks names."""
    value = file.attrs.get("distance")
    if value is None:
        return None
    named = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return _METRICS.get(named.lower(), named)
