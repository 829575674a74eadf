"""Wrote interrupted_0_1_0.db, with version 0.1.0 at commit dbe7b27: python make_interrupted.py OUT.

An import of 14 records and a bulk_insert of 12 rows were cut off after 8, an import of 6 ended.
Later versions have other modules; the file stays as it is.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from vecsql._import import import_records  # type: ignore[import-not-found]
from vecsql._read import open_source  # type: ignore[import-not-found]

import vecsql


class Killed(Exception):
    pass


def after(n):
    done = []

    def progress(rows, at):
        done.append(rows)
        if sum(done) >= n:
            raise Killed

    return progress


def write_csv(path, n):
    lines = [f'note {i},"[{i}.0, 1.0]"\n' for i in range(n)]
    Path(path).write_text("title,embedding\n" + "".join(lines))


def rows():
    for i in range(9):
        yield {"title": f"row {i}", "embedding": [float(i), 1.0]}
    raise Killed


def main(out):
    os.chdir(out.parent)
    write_csv("interrupted_0_1_0.csv", 14)
    write_csv("finished_0_1_0.csv", 6)
    db = vecsql.connect(str(out), driver="apsw")
    source = open_source("interrupted_0_1_0.csv")
    with contextlib.suppress(Killed):
        import_records(db, "notes", source, no_id=True, batch=4, progress=after(8))
    import_records(db, "done", open_source("finished_0_1_0.csv"), no_id=True, batch=4)
    vecsql.create_table(db, "bulk", {"title": str}, dim=2)
    with contextlib.suppress(Killed):
        vecsql.bulk_insert(db, "bulk", rows(), batch=4, job="nightly")
    db.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
