"""Rows into tables: one, many, from files, from folders. May import _base to _tables."""
