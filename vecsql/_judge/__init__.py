"""How good answers are. May import _base to _tables, and _search."""
