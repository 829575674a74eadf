"""Embedders: text to vectors. May import _base, _connection and _text."""
