"""Errors, values, the terminal: what every folder uses. Imports no other folder."""
