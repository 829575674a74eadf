"""`vecsql.Index`: an index in memory, without a database. May import _base to _rows."""
