"""Checks that includes and imports go down only: python scripts/check_arrows.py.

The tables of HACKING.md list the folders of the C sources from the lowest to the highest. A folder
may include itself and those above it in its table; `ext` may include all of `csrc`. No two files
need each other, but for those in NATURAL.

FLOORS lists the rooms of the Python package from the lowest to the highest. A room is a folder,
or a file at the package's root. A room may import itself and the rooms below it. Files of one
room may import each other, but not in a circle: a circle is one file that was cut in two.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

FLOORS = (
    "_base",
    "_connection",
    "_text",
    "_files",
    "_model",
    "_tables",
    "_rows",
    "_memory",
    "_search",
    "_judge",
    "_table",
    "__init__",
    "_cli",
    "__main__",
)
BUILD_ONLY = {"_core_build"}  # runs while the package is built


def python_arrows(package: Path) -> Iterator[tuple[str, str, int]]:
    """Every import between two files of the package: from, to, line."""
    files = {module_of(package, p): p for p in sorted(package.rglob("*.py"))}
    for module, path in files.items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [(a.name,) for a in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [(f"{node.module}.{a.name}", str(node.module)) for a in node.names]
            else:
                continue
            for choices in names:
                target = next((c for c in choices if c in files), None)
                if target is not None and target != module:
                    yield module, target, node.lineno


def module_of(package: Path, path: Path) -> str:
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The folder of a module, or the module itself at the package's root."""
    return [*module.split("."), "__init__"][1]


def circles(arrows: list[tuple[str, str]]) -> list[list[str]]:
    """One circle for each way back that a walk along the arrows finds."""
    to: dict[str, list[str]] = {}
    for a, b in arrows:
        to.setdefault(a, []).append(b)
    found: list[list[str]] = []
    done: set[str] = set()

    def walk(at: str, way: list[str]) -> None:
        if at in way:
            found.append([*way[way.index(at) :], at])
        elif at not in done:
            for further in to.get(at, ()):
                walk(further, [*way, at])
            done.add(at)

    for start in sorted(to):
        walk(start, [])
    return found


def check_python(package: Path) -> list[str]:
    """What is wrong with the imports of the package, a sentence each."""
    floor = {room: n for n, room in enumerate(FLOORS)}
    arrows = [a for a in python_arrows(package) if room_of(a[0]) not in BUILD_ONLY]
    wrong = [
        f"{room}: no floor is given in scripts/check_arrows.py"
        for room in sorted({room_of(m) for a in arrows for m in a[:2]} - set(floor))
    ]
    for source, target, line in arrows:
        here, there = floor.get(room_of(source), 0), floor.get(room_of(target), 0)
        if there > here:
            wrong.append(f"{source}, line {line}: imports {target}, which lies above it")
    wrong += [" -> ".join(c) + ": a circle" for c in circles([a[:2] for a in arrows])]
    return wrong


NATURAL = {
    # a registry names its members
    ("csrc/codec/codec", "csrc/codec/pq"),
    # a page that is listed is given back through the list
    ("csrc/store/pages", "csrc/store/page_cache"),
    # what two files of a folder share of the inside
    ("csrc/store/pages", "csrc/store/page_head"),
}


def c_rooms(hacking: str) -> list[str]:
    """The folders of the C sources, as the tables of HACKING.md have them."""
    return re.findall(r"^\| `((?:csrc|ext)/\w+)/` \|", hacking, re.MULTILINE)


def check_c(root: Path, hacking: str) -> list[str]:
    """What is wrong with the includes of csrc and ext, a sentence each."""
    rooms = c_rooms(hacking)
    floor = {room: n for n, room in enumerate(rooms)} | {"ext": len(rooms)}
    wrong, units = [], set()
    for path in sorted(p for top in ("csrc", "ext") for p in (root / top).rglob("*.[ch]")):
        file = path.relative_to(root).as_posix()
        for line, text in enumerate(path.read_text("utf-8").splitlines(), 1):
            included = re.match(r'#include "(.+)"', text)
            if included is None:
                continue
            to = included[1]
            here, there = (floor.get(f.rpartition("/")[0]) for f in (file, to))
            if here is None or there is None:
                wrong.append(f"{file}, line {line}: HACKING.md has no folder of {file} or {to}")
            elif there > here:
                wrong.append(f"{file}, line {line}: includes {to}, which lies above it")
            units.add((file[:-2], to[:-2]))
    arrows = {(a, b) for a, b in units if a != b} - NATURAL
    return wrong + [" -> ".join(c) + ": a circle" for c in circles(sorted(arrows))]


def main() -> int:
    hacking = (ROOT / "HACKING.md").read_text("utf-8")
    wrong = check_c(ROOT, hacking) + check_python(ROOT / "vecsql")
    for sentence in wrong:
        print(sentence)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
