"""Connections of every driver, and their locks. May import _base."""
