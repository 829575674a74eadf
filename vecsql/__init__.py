"""vecsql makes SQLite a vector database: nearest neighbours in SQL, in the same file.

>>> import vecsql
>>> db = vecsql.connect(":memory:")
>>> db.execute("CREATE VIRTUAL TABLE v USING vecsql(embedding FLOAT[2])").close()
>>> db.execute("INSERT INTO v(rowid, embedding) VALUES (1, '[0, 1]'), (2, '[3, 4]')").close()
>>> db.execute("SELECT rowid, distance FROM v WHERE embedding MATCH '[0, 0]' AND k = 2").fetchall()
[(1, 1.0), (2, 5.0)]
"""

from sqlite3 import Warning

from vecsql._base.bind import vector
from vecsql._base.convert import bit, f16, f32, int8
from vecsql._base.errors import (
    ConversionError,
    DatabaseError,
    DataError,
    EmbedderError,
    Error,
    FilterError,
    FormatError,
    IntegrityError,
    InterfaceError,
    InternalError,
    LoadError,
    ModelMismatchError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    SchemaError,
)
from vecsql._connection.dbapi import (
    Binary,
    Date,
    DateFromTicks,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
    apilevel,
    paramstyle,
    sqlite_version_info,
    threadsafety,
)
from vecsql._connection.load import autoload, connect, load, loadable_path
from vecsql._files.sources import Skipped
from vecsql._judge.collections import Collection, read_beir, read_qrels, read_run, write_run
from vecsql._judge.evaluate import Evaluation, Tuning, evaluate, tune
from vecsql._judge.metrics import Comparison, Scores, compare, score
from vecsql._memory.index import Index
from vecsql._model.embed import Embedder, StaticEmbedder
from vecsql._model.http import HTTPEmbedder
from vecsql._model.minilm import MiniLM
from vecsql._rows.bulk import bulk_insert
from vecsql._rows.ingest import Ingested, forget, ingest
from vecsql._rows.rows import delete, insert, update, upsert
from vecsql._rows.sqlite_vec import import_sqlite_vec
from vecsql._search.context import Citation, Context, context
from vecsql._search.fusion import Arm, mmr
from vecsql._search.search import Hit, search
from vecsql._table import Table, table
from vecsql._tables.catalog import IndexInfo, indexes
from vecsql._tables.drift import Drift, drift
from vecsql._tables.full_text import add_full_text, fts_query
from vecsql._tables.rebuild import rebuild
from vecsql._tables.reembed import reembed, reembed_discard
from vecsql._tables.registry import register_embedder
from vecsql._tables.schema import add_metadata_index, create_index, create_table, drop_index
from vecsql._tables.sync import sync
from vecsql._text.chunk import Chunk, chunk

__version__ = "0.1.0"

__all__ = [
    "Arm",
    "Binary",
    "Chunk",
    "Citation",
    "Collection",
    "Comparison",
    "Context",
    "ConversionError",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Drift",
    "Embedder",
    "EmbedderError",
    "Error",
    "Evaluation",
    "FilterError",
    "FormatError",
    "HTTPEmbedder",
    "Hit",
    "Index",
    "IndexInfo",
    "Ingested",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "LoadError",
    "MiniLM",
    "ModelMismatchError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "SchemaError",
    "Scores",
    "Skipped",
    "StaticEmbedder",
    "Table",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Tuning",
    "Warning",
    "__version__",
    "add_full_text",
    "add_metadata_index",
    "apilevel",
    "autoload",
    "bit",
    "bulk_insert",
    "chunk",
    "compare",
    "connect",
    "context",
    "create_index",
    "create_table",
    "delete",
    "drift",
    "drop_index",
    "evaluate",
    "f16",
    "f32",
    "forget",
    "fts_query",
    "import_sqlite_vec",
    "indexes",
    "ingest",
    "insert",
    "int8",
    "load",
    "loadable_path",
    "mmr",
    "paramstyle",
    "read_beir",
    "read_qrels",
    "read_run",
    "rebuild",
    "reembed",
    "reembed_discard",
    "register_embedder",
    "score",
    "search",
    "sqlite_version_info",
    "sync",
    "table",
    "threadsafety",
    "tune",
    "update",
    "upsert",
    "vector",
    "write_run",
]
