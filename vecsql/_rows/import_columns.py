"""Which columns of a file are the identifier, the text and the vector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vecsql._base.errors import FormatError, SchemaError
from vecsql._connection.driver import Db
from vecsql._files.survey import Survey, lists_of_numbers, shown
from vecsql._files.values import to_vector
from vecsql._model.embed import Embedder, as_embedder
from vecsql._rows.rows import embedded_text
from vecsql._tables.catalog import IndexInfo
from vecsql._tables.registry import default_embedder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TEXT_NAMES = ("text", "body", "content", "document", "description", "title")
_SAMPLE = 8  # vectors of a file that are compared with the model's
_SAME = 0.99  # cosine of two vectors of one model for one text


@dataclass(frozen=True)
class Settings:
    """What the caller says about an import; the fields are those of `import_records`."""

    text: Sequence[str] = ()
    id: str | None = None
    no_id: bool = False
    dim: int | None = None
    vectors: bool = True
    embedder: Embedder | None = None
    metric: str | None = None
    fts: bool = False
    options: str = ""


def identifier(found: Survey, settings: Settings) -> str | None:
    """The column that identifies records: told, or ``id``; refuses one that does not."""
    if settings.no_id or (settings.id is None and "id" not in map(str.lower, found.columns)):
        return None
    if not found.records:
        return None
    name = found.find(settings.id or "id", "--id")
    label = found.source.label
    if found.without_id is not None:
        raise FormatError(
            f"{label}, {found.without_id}: a record has no {name}: --no-id makes every record a "
            "new row, --id names another column"
        )
    if found.repeated and settings.id is None:
        raise FormatError(
            f"{label}: {name} repeats: {len(found.repeated):,} values come more than once "
            f"({shown(list(found.repeated))}), in {sum(found.repeated.values()):,} records; "
            f"--no-id makes every record a new row, --id {name} keeps the last record of each"
        )
    return name


def model_of(db: Db, settings: Settings) -> Embedder:
    return default_embedder(db) if settings.embedder is None else as_embedder(settings.embedder)


def embedded(
    db: Db, found: Survey, settings: Settings, key: str | None, vector: str, dim: int
) -> list[str]:
    """The text that a file's vectors are made of by the model here: an export that comes back."""
    try:
        texts, _ = obvious(found, key, frozenset([vector]))
    except SchemaError:
        return []
    embedder = model_of(db, settings)
    same = embedder.dim == dim and texts and _made_by(found, embedder, texts, vector)
    return texts if same else []


def check_model(found: Survey, embedder: Embedder, texts: list[str], vector: str) -> None:
    """Refuses vectors that the model did not make of the text beside them."""
    if not _made_by(found, embedder, texts, vector):
        raise SchemaError(
            f"{found.source.label} brings vectors in {vector} that {embedder.model_id} did not "
            f"make of {', '.join(texts)}: --no-vectors leaves them out and embeds the text; "
            "without --text a new table takes them as they are"
        )


def _made_by(found: Survey, embedder: Embedder, texts: list[str], vector: str) -> bool:
    """Whether the model makes the first vectors of a file of the text beside them."""
    import numpy as np

    source = found.source
    info = IndexInfo(
        "", "", "", "", "", tuple(texts), None, 0, "", None, None, "none"
    )  # fmt: skip
    given: list[NDArray[np.float32]] = []
    sample: list[str] = []
    for record in source.records(0):
        text = embedded_text(info, {t: record.get(t) for t in texts})
        value = to_vector(record.get(vector), source.label)
        if text and value is not None:
            given.append(value)
            sample.append(text)
        if len(sample) == _SAMPLE:
            break
    if not sample or len(given[0]) != embedder.dim:
        return False
    made = np.asarray(embedder.encode(sample), np.float32)
    return all(_cosine(a, b) > _SAME for a, b in zip(made, given, strict=True))


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    import numpy as np

    return float(a @ b / max(float(np.linalg.norm(a) * np.linalg.norm(b)), 1e-30))


def obvious(found: Survey, key: str | None, left: frozenset[str]) -> tuple[list[str], str | None]:
    """The column to embed, or else the only one of numbers, where there is no doubt."""
    columns = [c for c in found.columns.values() if c.name != key and c.name not in left]
    lists = [c.name for c in lists_of_numbers(found) if c in columns]
    texts = [c.name for c in columns if c.text]
    for name in _TEXT_NAMES:
        for text in texts:
            if text.lower() == name:
                return [text], None
    if len(texts) == 1 and not lists:
        return texts, None
    if len(lists) == 1 and not texts:
        return [], lists[0]
    numbers = f", or --vector for the numbers in {' or '.join(lists)}" if lists else ""
    raise SchemaError(
        f"{found.source.label}: which column is to be embedded? --text COLUMN, one of "
        f"{', '.join(texts or [c.name for c in columns] or ['none'])}{numbers}"
    )


def free_name(wanted: Sequence[str], taken: Sequence[str]) -> str:
    """The first name that no column has."""
    lower = set(map(str.lower, taken))
    for name in wanted:
        if name not in lower:
            return name
    n = 2
    while f"{wanted[0]}_{n}" in lower:
        n += 1
    return f"{wanted[0]}_{n}"
