"""Files of short texts, the same at every call."""

from __future__ import annotations

import csv
import random

WORDS = ["train", "bread", "apple", "river", "night", "stone", "music", "paper", "storm", "light"]


def texts(n, seed=1):
    r = random.Random(seed)
    return [" ".join(r.choices(WORDS, k=5)) + f" {i}" for i in range(n)]


def write_csv(path, n, **columns):
    with path.open("w", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(["body", *columns])
        for i, text in enumerate(texts(n)):
            writer.writerow([text, *(c(i) for c in columns.values())])
    return path
