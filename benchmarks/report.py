"""Writes the page of benchmarks: python benchmarks/report.py [--check | --commands].

Every JSON file in benchmarks/results/ is one run of one program. The page has a section for each
question, whose prose is in questions.md, and a part for each command, with its commit. Runs of
one command and commit share their tables: a cell that differs between them shows the values of
all, in the order of the files' names. README.md has the speed table of the first run, between two
comments.

``--check`` writes nothing and fails if a page is not what would be written. ``--commands`` prints
the commands that make all files anew.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from tables import Table

REPO = Path(__file__).resolve().parent.parent
RESULTS = REPO / "benchmarks" / "results"
PAGE = REPO / "docs" / "reference" / "benchmarks.md"
README = REPO / "README.md"
QUESTIONS = REPO / "benchmarks" / "questions.md"  # the prose of the page
BEGIN = "<!-- Written by benchmarks/report.py. -->"
END = "<!-- Until here. -->"

OTHER_MODES = re.compile(r"vecsql(_search)?, (?!defaults$)")  # README shows the defaults


def questions() -> tuple[str, dict[str, str]]:
    """The head of the page, and for each program the head of its section, in their order."""
    head, *sections = QUESTIONS.read_text(encoding="utf-8").split("\n## ")
    found = {}
    for section in sections:
        program, _, text = section.partition(": ")
        found[program] = f"## {text.rstrip()}\n"
    return head, found


# --- results -------------------------------------------------------------------------------------


def load(folder: Path) -> list[dict[str, Any]]:
    """All runs, by question and by name of the file; each with its "file"."""
    runs = []
    for path in sorted(folder.glob("*.json")):
        runs.append({"file": path.name, **json.loads(path.read_text(encoding="utf-8"))})
    order = list(questions()[1])
    return sorted(runs, key=lambda run: order.index(run["benchmark"]))


def merged(runs: list[dict[str, Any]]) -> list[Table]:
    """The tables of runs of one command, a differing cell with the values of all."""
    tables = [[Table(**t) for t in run["tables"]] for run in runs]
    first, *others = tables
    shapes = [[(t.head, [r[0] for r in t.rows]) for t in one] for one in tables]
    if any(shape != shapes[0] for shape in shapes):
        raise ValueError(f"{', '.join(r['file'] for r in runs)}: their tables differ in shape")
    for n, table in enumerate(first):
        for i, row in enumerate(table.rows):
            for j in range(len(row)):
                cells = [row[j], *(one[n].rows[i][j] for one in others)]
                row[j] = cells[0] if len(set(cells)) == 1 else "; ".join(cells)
    return first


def parts(runs: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Runs of one command at one commit, together."""
    found: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for run in runs:
        key = (run["benchmark"], run["command"], run["machine"]["commit"])
        found.setdefault(key, []).append(run)
    return list(found.values())


# --- pages ---------------------------------------------------------------------------------------


def machines(runs: list[dict[str, Any]]) -> str:
    """The table of the machine, and of the peers' versions."""
    seen: dict[str, dict[str, None]] = {"machine": {}, "system": {}, "Python": {}, "commit": {}}
    peers: dict[str, str] = {}
    for run in runs:
        about = run["machine"]
        for name, value in (
            ("machine", f"{about['cpu']}, {about['cpus']} cores"),
            ("system", about["system"]),
            ("Python", about["python"]),
            ("commit", about["commit"]),
        ):
            seen[name][value] = None
        peers |= {n: v for n, v in run["versions"].items() if not n.startswith(("vecsql", "core"))}
    rows = [f"| {name} | {', '.join(values)} |" for name, values in seen.items()]
    versions = ", ".join(f"{n} {v}" for n, v in sorted(peers.items()) if v != "?")
    return "\n".join(["| | |", "|---|---|", *rows, f"| peers | {versions} |", ""])


def page(runs: list[dict[str, Any]]) -> str:
    head, sections = questions()
    text = [head, machines(runs)]
    last = ""
    for part in parts(runs):
        run = part[0]
        if run["benchmark"] != last:
            last = run["benchmark"]
            text.append(sections[last])
        text.append(f"### {run['title']}\n")
        times = "" if len(part) == 1 else f", {len(part)} runs"
        text.append(f"Commit {run['machine']['commit']}{times}:\n\n    {run['command']}\n")
        text += [str(table) for table in merged(part)]
    return "\n".join(text).rstrip() + "\n"


def readme_block(runs: list[dict[str, Any]]) -> str:
    """Speed at recall 0.95 in the first part of the first question."""
    part = next((p for p in parts(runs) if p[0]["benchmark"] == "run"), None)
    if part is None:
        return ""
    speed = merged(part)[0]
    at = speed.head.index("QPS at 0.95")
    rows = [
        [row[0], row[at], row[at + 1]]
        for row in speed.rows
        if row[at] != "-" and not OTHER_MODES.match(row[0])
    ]
    title = (
        f"{part[0]['title']}, one thread: queries per second at recall 0.95, and their ratio to"
        " hnswlib."
    )
    return str(Table(title, ["engine", "QPS", "ratio"], rows))


def readme(text: str, runs: list[dict[str, Any]]) -> str:
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{readme_block(runs)}\n{END}{after}"


def written(runs: list[dict[str, Any]]) -> dict[Path, str]:
    """The pages as they should be."""
    return {PAGE: page(runs), README: readme(README.read_text(encoding="utf-8"), runs)}


def commands(runs: list[dict[str, Any]]) -> list[str]:
    return [f"{r['command']} --json {shlex.quote('benchmarks/results/' + r['file'])}" for r in runs]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if a page has to be written")
    parser.add_argument("--commands", action="store_true", help="print the commands of all runs")
    args = parser.parse_args()
    runs = load(RESULTS)
    if args.commands:
        print("\n".join(commands(runs)))
        return 0
    stale = []
    for path, text in written(runs).items():
        if path.read_text(encoding="utf-8") != text:
            stale.append(str(path.relative_to(REPO)))
            if not args.check:
                path.write_text(text, encoding="utf-8")
    verdict = "has to be written again" if args.check else "written"
    for name in stale:
        print(f"{name}: {verdict}", file=sys.stderr)
    return int(args.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
