"""Indexes over tables, and all that keeps them in step. May import _base to _model."""
