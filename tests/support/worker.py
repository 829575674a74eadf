"""A second process for tests: runs each line from stdin as Python, with `conn` and the oracle."""

import sys
import traceback

import oracle

names = {"conn": oracle.connect(sys.argv[1], busy=30000), **vars(oracle)}
for line in sys.stdin:
    try:
        exec(line.encode().decode("unicode_escape"), names)
        print("done", flush=True)
    except Exception:
        print(ascii(traceback.format_exc()), flush=True)
