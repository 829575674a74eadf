"""Texts into sentences, words and pieces. May import _base."""
