"""Files of records and documents, read and written. May import _base and _text."""
