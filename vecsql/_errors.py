"""The exceptions of the package. What SQLite itself reports stays the driver's own exception.

Error
├── LoadError         the extension cannot be loaded into this connection
├── ConversionError   a value is no vector (also a ValueError)
├── EmbedderError     an embedder or its output is not usable
└── DataError         a file to read or write is not what it should be
"""

from __future__ import annotations


class Error(Exception):
    """The base of every exception that vecsql raises itself."""


class LoadError(Error):
    """The extension cannot be loaded into this connection; the message names a remedy."""


class ConversionError(Error, ValueError):
    """A value cannot be taken as a vector; the message says why and how to fix it."""


class EmbedderError(Error):
    """An embedder is unknown or unusable, or returned something that is no batch of vectors."""


class DataError(Error, ValueError):
    """A file to read or write is not what it should be; the message says where."""
