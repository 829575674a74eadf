"""Mutants: small mistakes put into the code, each of which its own test must notice.

    python tests/mutants/run.py [NAME...]     all of them: some ten minutes

A mutant is one replacement in one file and the C test that must fail on it, or not end: a name of
ctest, or a fault harness and its arguments ("fault_damage:full:t_log0"). Prints the survivors; the
exit status is their number. Where the code has moved, the mutant is reported as stale and counts as
a survivor: adapt it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
COPIED = ("csrc", "ext", "tests", "CMakeLists.txt", "vecsql/__init__.py")


class Mutant(NamedTuple):
    name: str
    file: str
    old: str
    new: str
    killer: str


MUTANTS = [
    # --- what is on disk is checked
    Mutant(
        "a page's checksum is not looked at",
        "csrc/pages.c",
        " || vs_get_u32(blob + 12) != page_crc(blob, len)",
        "",
        "fault_damage",
    ),
    Mutant(
        "a page's number is not looked at",
        "csrc/pages.c",
        "vs_get_u32(blob + 4) != page || ",
        "",
        "fault_damage",
    ),
    Mutant(
        "counters of a state are believed",
        "csrc/log.c",
        "    if (!state_sane(&row.state)) {\n        return VS_CORRUPT;\n    }\n",
        "",
        "fault_damage",
    ),
    Mutant(
        "links of a page that comes from disk are believed",
        "csrc/graph.c",
        "        if (!ok) {\n            return VS_CORRUPT;\n        }\n",
        "",
        "fault_damage",
    ),
    Mutant(
        "an edit may reach beyond its slot",
        "csrc/edit.c",
        "(uint64_t)e.offset + e.len > geo[e.kind].slot_size || ",
        "",
        "fault_damage",
    ),
    # --- undo
    Mutant(
        "undo leaves the counters",
        "csrc/graph.c",
        "    g->state = g->undo_state;\n",
        "",
        "test_graph",
    ),
    Mutant(
        "undo leaves the edits for the log",
        "csrc/graph.c",
        "        g->redo.len = g->undo_redo_len;\n",
        "",
        "fault_oom",
    ),
    Mutant(
        "a row that could not be written stays in the graph",
        "ext/update.c",
        "            vs_undo(index->vector[i].graph);\n",
        "            vs_done(index->vector[i].graph);\n",
        "fault_ioerr",
    ),
    Mutant(
        "a writer does not copy a shared page",
        "csrc/pages.c",
        "if (head_of(*at)->refs > 1) {",
        "if (head_of(*at)->refs > 1000) {",
        "fault_oom",
    ),
    # --- coherence
    Mutant(
        "rolled back edits stay in memory",
        "ext/txn.c",
        "            v->stale = 1;\n            vs_forget(v->graph);\n",
        "",
        "fault_ioerr",
    ),
    Mutant(
        "a failed flush does not poison",
        "ext/txn.c",
        "        index->poison = rc;\n        index->poison_level = level;\n",
        "        (void)level;\n",
        "fault_oom",
    ),
    Mutant(
        "the map is not written",
        "ext/txn.c",
        "        rc = vsx_stmt(v, put ? VSX_SQL_MAP_PUT : VSX_SQL_MAP_DELETE, &stmt);\n",
        "        continue;\n",
        "fault_kill",
    ),
    Mutant(
        "the overlay forgets its first row",
        "csrc/overlay.c",
        "if (o->rows[i].ver > after && o->rows[i].ver <= upto) {",
        "if (i > 0 && o->rows[i].ver > after && o->rows[i].ver <= upto) {",
        "fault_threads",
    ),
    # --- the extension
    Mutant(
        "read errors of the content table's key are swallowed",
        "ext/content.c",
        "    int final = sqlite3_finalize(stmt);\n"
        "    return rc == SQLITE_OK ? final : rc;\n}\n\nint vsx_content_columns",
        "    sqlite3_finalize(stmt);\n    return SQLITE_OK;\n}\n\nint vsx_content_columns",
        "fault_oom",
    ),
    Mutant(
        "last_insert_rowid is lost, and nothing else: must survive",
        "ext/txn.c",
        "    sqlite3_set_last_insert_rowid(db, last);\n",
        "    (void)last;\n",
        "survives",
    ),
]


def build(tree: Path, target: str) -> bool:
    command = ["cmake", "--build", str(tree / "build"), "--target", target]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def passes(tree: Path, test: str) -> bool:
    target, *arguments = test.split(":")
    if not build(tree, target):
        sys.exit(f"{target} cannot be built")
    command = ["ctest", "--test-dir", str(tree / "build"), "-R", f"^{test}$", "--timeout", "300"]
    if arguments:
        command = [str(tree / "build" / "tests" / "faults" / target), *arguments]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def survives(tree: Path, mutant: Mutant) -> str:
    """Why the mutant lives; "" if it is dead."""
    file = tree / mutant.file
    source = file.read_text(encoding="utf-8")
    if source.count(mutant.old) != 1:
        return "stale: the code has moved"
    file.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        if mutant.killer == "survives":  # the control: a mutant that no C test knows of
            return "" if passes(tree, "fault_kill") else "died, though it must not"
        return f"{mutant.killer} passes" if passes(tree, mutant.killer) else ""
    finally:
        file.write_text(source, encoding="utf-8")


def main() -> int:
    chosen = [m for m in MUTANTS if not sys.argv[1:] or m.name in sys.argv[1:]]
    alive = 0
    with tempfile.TemporaryDirectory(prefix="vecsql-mutants-") as name:
        tree = Path(name)
        for part in COPIED:
            (tree / part).parent.mkdir(exist_ok=True)
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, tree / part)
        options = ["-G", "Ninja", "-DVECSQL_TESTS=ON", "-DVECSQL_PYTHON=OFF"]
        subprocess.run(["cmake", "-S", tree, "-B", tree / "build", *options], check=True)
        for killer in sorted({m.killer for m in chosen} - {"survives"}):
            if not passes(tree, killer):
                sys.exit(f"{killer} fails without a mutant")
        for mutant in chosen:
            why = survives(tree, mutant)
            alive += why != ""
            print(f"{'ALIVE' if why else 'dead '}  {mutant.name}  {why}", flush=True)
    print(f"{len(chosen)} mutants, {alive} alive")
    return alive


if __name__ == "__main__":
    sys.exit(main())
