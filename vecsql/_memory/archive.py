"""The file of a saved index: an archive of numpy (npz) that `numpy.load` opens without pickle.

    settings   JSON as bytes: space, dim, M, ef_construction, max_elements, seed, version
    vectors    float32, a row for each element
    labels     uint64, one for each row
    deleted    bool, one for each row
    graph      bytes: csrc/memory/image.h

The archive has a checksum of each member, and the graph has one of its own. The file is written
under another name and renamed, so that it is the old one or the new one, whatever happens.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from vecsql._memory.core import CORRUPT

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_VERSION = 1


@dataclass(frozen=True)
class Settings:
    """What an index was made with. M and max_elements are hnswlib's words."""

    space: str
    dim: int
    M: int
    ef_construction: int
    max_elements: int
    seed: int
    version: int = _VERSION


@dataclass(frozen=True)
class Contents:
    """All of an index."""

    settings: Settings
    vectors: NDArray[np.float32]
    labels: NDArray[np.uint64]
    deleted: NDArray[np.bool_]
    graph: NDArray[np.uint8]


def write(path: str | os.PathLike[str], contents: Contents) -> None:
    """Writes the file; there is the whole file or the old one. Raises OSError if it cannot."""
    import numpy as np

    settings = np.frombuffer(json.dumps(asdict(contents.settings)).encode(), np.uint8)
    target = Path(os.fsdecode(path))
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            np.savez(
                file,
                settings=settings,
                vectors=contents.vectors,
                labels=contents.labels,
                deleted=contents.deleted,
                graph=contents.graph,
            )
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def read(path: str | os.PathLike[str]) -> Contents:
    """Reads the file. Raises RuntimeError if there is none, or if it is damaged."""
    try:
        with Path(os.fsdecode(path)).open("rb") as file:
            return _contents_of(file, os.fsdecode(path))
    except OSError as e:
        raise RuntimeError(f"Cannot open file: {e}") from e


def _contents_of(file: BinaryIO, name: str) -> Contents:
    import numpy as np

    try:
        if file.read(4) != b"PK\x03\x04":
            raise ValueError("this is no archive")
        file.seek(0)
        with np.load(file, allow_pickle=False) as archive:
            parts = {name: archive[name] for name in archive.files}
        contents = Contents(Settings(**json.loads(parts.pop("settings").tobytes())), **parts)
        check(contents)
    except MemoryError:
        raise
    except Exception as e:  # what numpy, zipfile and json raise for damaged bytes
        raise RuntimeError(f"{CORRUPT}: {name}: {e}") from e
    return contents


def check(contents: Contents) -> None:
    """Raises ValueError unless the parts fit together. The graph is checked when it is restored."""
    import numpy as np

    s, rows = contents.settings, len(contents.labels)
    whole = (s.dim, s.M, s.ef_construction, s.max_elements, s.seed)
    if s.version != _VERSION or not all(type(x) is int and x >= 0 for x in whole):
        raise ValueError("these are no settings of this version")
    wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
        "vectors": (np.float32, (rows, s.dim)),
        "labels": (np.uint64, (rows,)),
        "deleted": (np.bool_, (rows,)),
        "graph": (np.uint8, (len(contents.graph),)),
    }
    for name, (dtype, shape) in wanted.items():
        array = getattr(contents, name)
        if array.dtype != dtype or array.shape != shape:
            raise ValueError(f"{name} has another type or shape")
    in_order = np.sort(contents.labels)  # np.unique hashes, which takes ten times as long
    if (in_order[1:] == in_order[:-1]).any() or rows > s.max_elements:
        raise ValueError("the labels are not unique, or too many")
    if not np.isfinite(contents.vectors).all():
        raise ValueError("a vector is not finite")
