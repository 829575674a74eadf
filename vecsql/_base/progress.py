"""How the long calls report: not at all, by a bar on stderr, or to the caller's function."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

Progress = bool | Callable[[int], None]


def reporter(
    progress: Progress, label: str, total: int | None, before: int | None = None
) -> AbstractContextManager[Callable[[int], None]]:
    """A context that gives a function which takes how many more are done.

    ``before`` is how many an earlier run did; the function takes them first.
    """
    if callable(progress):
        if before is not None:
            progress(before)
        return nullcontext(progress)
    if not progress:
        return nullcontext(lambda n: None)
    from vecsql._base import render

    return render.progress(label, total, before or 0)
