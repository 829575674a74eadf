"""vecsql makes SQLite a vector database: nearest neighbours in SQL, in the same file.

>>> import vecsql
>>> db = vecsql.connect(":memory:")
>>> db.execute("CREATE VIRTUAL TABLE v USING vecsql(embedding FLOAT[2])").close()
>>> db.execute("INSERT INTO v(rowid, embedding) VALUES (1, '[0, 1]'), (2, '[3, 4]')").close()
>>> db.execute("SELECT rowid, distance FROM v WHERE embedding MATCH '[0, 0]' AND k = 2").fetchall()
[(1, 1.0), (2, 5.0)]
"""

from vecsql._convert import f32
from vecsql._embed import Embedder, StaticEmbedder, register_embedder
from vecsql._errors import ConversionError, EmbedderError, Error, LoadError
from vecsql._load import connect, load, loadable_path

__version__ = "0.1.0"

__all__ = [
    "ConversionError",
    "Embedder",
    "EmbedderError",
    "Error",
    "LoadError",
    "StaticEmbedder",
    "__version__",
    "connect",
    "f32",
    "load",
    "loadable_path",
    "register_embedder",
]
