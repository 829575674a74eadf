"""Kills a process (SIGKILL) at a moment that is counted, not timed: its n-th change of a file.

What a killed process leaves depends on nothing but which of its writes, truncations and deletions
were done, so every state that a kill can leave is one of these moments, on a fast machine and on a
slow one. As a program (the child): `killed.py MOMENT CODE ARG...` runs CODE, which must open its
database by apsw, and dies before, half-way through or after the change MOMENT, or says how many
changes there were.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows ends a process by any number


def run(code: str, *args: Any, moment: int = 0) -> int | None:
    """The number of changes that the code made, or None if it was killed before it was done."""
    program = [__file__, str(moment), textwrap.dedent(code), *args]
    done = subprocess.run(
        [sys.executable, *map(str, program)],
        cwd=sys.prefix,
        capture_output=True,
        text=True,
        check=False,
    )
    if moment and done.returncode in (-KILL, KILL):
        return None
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout.rsplit("changes", 1)[1])


def moments(changes: int | None, kills: int) -> Iterator[int]:
    """When to kill work of so many changes, so many times: first in the middle, then at random,
    each after at most its share, so that at least half of them come before it is done."""
    seed = int(os.environ.get("VECSQL_SEED", random.SystemRandom().randrange(10**6)))
    print(f"VECSQL_SEED={seed}")
    assert changes
    rng = random.Random(seed)
    yield rng.randint(changes // 3, changes // 2)
    for _ in range(kills - 1):
        yield rng.randint(1, max(changes // kills, 2))


def _arm(moment: int) -> list[int]:
    """From now on the process dies at that change; returns the counter."""
    import apsw

    base = apsw.vfs_names()[0]
    count = [0]

    def change(do: Any, half: Any) -> None:
        count[0] += 1
        if count[0] == moment:
            (lambda: None, half, do)[moment % 3]()
            os.kill(os.getpid(), KILL)
        do()

    class File(apsw.VFSFile):
        def __init__(self, name: Any, flags: Any) -> None:
            super().__init__(base, name, flags)

        def xWrite(self, data: bytes, offset: int) -> None:
            write = super().xWrite
            half = data[: len(data) // 2]
            change(lambda: write(data, offset), lambda: write(half, offset))

        def xTruncate(self, size: int) -> None:
            truncate = super().xTruncate
            change(lambda: truncate(size), lambda: None)

    class Files(apsw.VFS):
        def __init__(self) -> None:
            super().__init__("counted", base, makedefault=True)

        def xOpen(self, name: Any, flags: Any) -> Any:
            return File(name, flags)

        def xDelete(self, name: str, sync: bool) -> None:
            delete = super().xDelete
            change(lambda: delete(name, sync), lambda: None)

    global files
    files = Files()  # lives as long as the process
    return count


if __name__ == "__main__":
    counter = _arm(int(sys.argv[1]))
    source = sys.argv[2]
    del sys.argv[:2]
    exec(compile(source, "<child>", "exec"), {"__name__": "__main__"})
    print("changes", counter[0])
