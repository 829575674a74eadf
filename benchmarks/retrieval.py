"""Retrieval quality of the bundled model: by vector, by full text, and hybrid, with tuned weights.

    python benchmarks/retrieval.py                       both collections
    python benchmarks/retrieval.py --only wordnet --json FILE

Two test collections are built from Debian packages, so that anybody can repeat the figures:

    wordnet   8,000 glosses of WordNet; a query is the first word of one, right are the glosses of
              all its senses among them
    debian    3,000 package descriptions; a query is a synopsis, right is its description

Figures are means over samples drawn by the seeds 1, 2, 3. In each, half of the queries tune the
weights of hybrid, and the other half say what they are worth.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import results
from tables import Table

import vecsql

WORDNET = Path("/usr/share/wordnet")
LISTS = Path("/var/lib/apt/lists")
APT_HELPER = "/usr/lib/apt/apt-helper"
# nDCG@10 of an exact scan that a prototype of the model reached on such collections.
EXPECTED = {"wordnet": 0.285, "debian": 0.782}

Collection = tuple[list[dict[str, Any]], dict[str, str], dict[str, dict[str, int]]]


def wordnet(folder: Path, seed: int) -> Collection:
    """Glosses without their examples, and words with at least one sense among them."""
    if not (folder / "data.noun").exists():
        sys.exit(
            f"{folder} has no WordNet. Install it with\n    apt-get install wordnet-base\n"
            "or unpack it anywhere and name the folder:\n"
            "    apt-get download wordnet-base && dpkg -x wordnet-base*.deb wn\n"
            "    python benchmarks/retrieval.py --wordnet wn/usr/share/wordnet"
        )
    synsets = []
    for part in ("noun", "verb", "adj", "adv"):
        for line in (folder / f"data.{part}").read_text("utf-8").splitlines():
            if line.startswith(" "):
                continue  # the licence
            head, _, gloss = line.partition(" | ")
            fields = head.split()
            words = [fields[4 + 2 * i] for i in range(int(fields[3], 16))]
            words = [re.sub(r"\(.*\)$", "", w).replace("_", " ").lower() for w in words]
            synsets.append((words, gloss.split('; "')[0].strip()))
    r = random.Random(seed)
    chosen = r.sample(synsets, 8000)
    docs = [{"name": str(i), "body": gloss} for i, (_, gloss) in enumerate(chosen)]
    senses: dict[str, set[str]] = {}
    for i, (words, _) in enumerate(chosen):
        for word in words:
            senses.setdefault(word, set()).add(str(i))
    asked = r.sample(sorted({words[0] for words, _ in chosen}), 500)
    return docs, {w: w for w in asked}, {w: dict.fromkeys(senses[w], 1) for w in asked}


def debian(lists: Path, seed: int) -> Collection:
    """Long descriptions of packages, and their synopses as queries."""
    files = sorted(lists.glob("*_main_i18n_Translation-en*"))
    if not files:
        sys.exit(
            f"{lists} has no package descriptions. Fetch them with\n"
            "    mkdir -p lists/partial\n"
            "    apt-get update -o Acquire::Languages=en -o Dir::State::lists=$PWD/lists\n"
            "    python benchmarks/retrieval.py --lists lists"
        )
    found: dict[str, str] = {}
    for file in files:
        text = subprocess.run([APT_HELPER, "cat-file", file], capture_output=True, check=True)
        for block in text.stdout.decode("utf-8").split("\n\n"):
            match = re.search(r"^Description-en: (.*)\n((?: .*\n?)+)", block, re.MULTILINE)
            if match:
                body = match[2].replace("\n .\n", "\n")
                found.setdefault(" ".join(body.split()), match[1])
    by_synopsis: dict[str, str] = {}
    for body, synopsis in found.items():  # a synopsis that is shared asks for nothing in particular
        by_synopsis[synopsis] = "" if synopsis in by_synopsis else body
    pairs = sorted((s, b) for s, b in by_synopsis.items() if b)
    r = random.Random(seed)
    chosen = r.sample(pairs, 3000)
    docs = [{"name": str(i), "body": body} for i, (_, body) in enumerate(chosen)]
    asked = r.sample(range(len(chosen)), 1000)
    return docs, {str(i): chosen[i][0] for i in asked}, {str(i): {str(i): 1} for i in asked}


WAYS = ("vector", "vector, exact", "text", "hybrid", "hybrid, tuned")
MEASURES = ("nDCG@10", "R@10", "RR@10")


def run(collection: Collection) -> dict[str, Any]:
    """Indexes a collection and scores every way to search it."""
    docs, queries, qrels = collection
    db = vecsql.connect(":memory:", driver="apsw")
    vecsql.create_table(db, "docs", {"name": "TEXT UNIQUE", "body": str}, text="body", fts=True)
    vecsql.bulk_insert(db, "docs", docs)
    tuning = vecsql.tune(db, "docs", queries, qrels, id_column="name")
    settings: list[dict[str, Any]] = [
        {},
        {"exact": True},
        {"mode": "text"},
        {"mode": "hybrid"},
        tuning.settings,
    ]
    out: dict[str, Any] = {"weights": [*tuning.weights, tuning.fusion]}
    for way, arguments in zip(WAYS, settings, strict=True):
        e = vecsql.evaluate(
            db, "docs", queries, qrels, 10, measures=MEASURES, id_column="name", **arguments
        )
        out[way] = {**e.scores.mean, "ANN recall": e.ann_recall}
    for arm, value in tuning.held_out.items():
        out[f"held out, {arm}"] = {"nDCG@10": value}
    return out


def averaged(name: str, collections: list[Collection]) -> dict[str, Any]:
    """The means over the samples, and whether they are what they should be."""
    runs = [run(c) for c in collections]
    rows = {}
    for way in runs[0]:
        if way != "weights":
            keys = [k for k, v in runs[0][way].items() if v is not None]
            rows[way] = {k: sum(r[way][k] for r in runs) / len(runs) for k in keys}
    held = {arm: rows[f"held out, {arm}"]["nDCG@10"] for arm in ("vector", "text", "hybrid")}
    return {
        "collection": name,
        "documents": len(collections[0][0]),
        "queries": len(collections[0][1]),
        "samples": len(runs),
        "rows": rows,
        "weights": [r["weights"] for r in runs],
        "expected": EXPECTED[name],
        "reached": rows["vector, exact"]["nDCG@10"] >= EXPECTED[name],
        "hybrid_not_below": held["hybrid"] >= max(held["vector"], held["text"]),
    }


def quality_table(result: dict[str, Any]) -> Table:
    """One collection."""
    reached = "reached" if result["reached"] else "NOT reached"
    verdict = "is not" if result["hybrid_not_below"] else "IS"
    columns = [*MEASURES, "ANN recall"]
    out = Table(
        f"{result['collection']}: {result['documents']:,} documents, {result['queries']:,}"
        f" queries, mean of {result['samples']} samples. The exact scan has to reach nDCG@10"
        f" {result['expected']}: {reached}. Tuned hybrid {verdict} below the better arm on queries"
        " that it was not tuned on.",
        ["", *columns],
    )
    for way, row in result["rows"].items():
        out.rows.append([way, *(f"{row[c]:.4f}" if c in row else "" for c in columns)])
    return out


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["wordnet", "debian"], help="one collection")
    parser.add_argument("--wordnet", type=Path, default=WORDNET, metavar="DIR")
    parser.add_argument("--lists", type=Path, default=LISTS, metavar="DIR")
    parser.add_argument("--seeds", type=int, default=3, help="samples to average over")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    args = parser.parse_args()
    found = []
    seeds = range(1, args.seeds + 1)
    if args.only != "debian":
        found.append(averaged("wordnet", [wordnet(args.wordnet, s) for s in seeds]))
    if args.only != "wordnet":
        found.append(averaged("debian", [debian(args.lists, s) for s in seeds]))
    head = results.about("the bundled model")
    tables = [quality_table(f) for f in found]
    results.show(head["title"], tables)
    results.save(args.json, head, tables, {"collections": found})


if __name__ == "__main__":
    main()
