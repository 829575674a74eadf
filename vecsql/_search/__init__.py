"""Questions and their answers. May import _base to _tables."""
