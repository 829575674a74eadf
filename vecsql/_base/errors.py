"""The exceptions of the package. What SQLite itself reports stays the driver's own exception.

The classes of PEP 249 are those of the standard library's sqlite3, so that one ``except
vecsql.Error`` covers both what the default driver raises and what vecsql does. (pysqlite3 and apsw
have classes of their own.)

Warning                         sqlite3.Warning; the rest is under Error
Error                           sqlite3.Error
├── InterfaceError
│   └── LoadError               the extension cannot be loaded into this connection
└── DatabaseError
    ├── DataError
    │   ├── ConversionError     a value is no vector (also a ValueError)
    │   └── FormatError         a file to read or write is not what it should be (also a ValueError)
    ├── OperationalError
    │   └── EmbedderError       an embedder or its output is not usable
    │       └── ModelMismatchError  an index was made by another model
    ├── ProgrammingError
    │   ├── FilterError         a condition (where=) cannot be understood (also a ValueError)
    │   └── SchemaError         a table, a column or an index is not there, or not fit for this
    └── IntegrityError, InternalError, NotSupportedError
"""

from __future__ import annotations

from sqlite3 import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)

__all__ = [
    "ConversionError",
    "DataError",
    "DatabaseError",
    "EmbedderError",
    "Error",
    "FilterError",
    "FormatError",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "LoadError",
    "ModelMismatchError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "SchemaError",
]


class LoadError(InterfaceError):
    """The extension cannot be loaded into this connection; the message names a remedy."""


class ConversionError(DataError, ValueError):
    """A value cannot be taken as a vector; the message says why and how to fix it."""


class FormatError(DataError, ValueError):
    """A file to read or write is not what it should be; the message says where."""


class EmbedderError(OperationalError):
    """An embedder is unknown or unusable, or returned something that is no batch of vectors."""


class ModelMismatchError(EmbedderError):
    """An index holds vectors of one model, and another one was given; names both."""


class FilterError(ProgrammingError, ValueError):
    """A condition on rows cannot be understood; names the column or the operator."""


class SchemaError(ProgrammingError):
    """A table, column or index is missing, ambiguous, there already, or not fit for the call."""
