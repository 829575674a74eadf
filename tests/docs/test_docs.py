"""Risk: an example in the documentation does not run; an option is documented and not there."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import types
from contextlib import redirect_stdout

import click
import numpy as np
import pytest

from tests.support.command_line import run
from tests.support.paths import ROOT
from vecsql._cli import main

DOCS = ROOT / "docs"
CLI = (DOCS / "reference" / "cli.md").read_text("utf-8")


def sections(text):
    """The second-level sections of a page: title -> body."""
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def recipes():
    """(page, section) -> its Python blocks; the tutorial is one recipe."""
    found = {("tutorial.md", ""): blocks((DOCS / "tutorial.md").read_text("utf-8"), "python")}
    for page in sorted((DOCS / "howto").glob("*.md")):
        if page.name == "sqlite-vec.md":  # test_docs_blocks.py runs it
            continue
        text = page.read_text("utf-8")
        found[page.name, ""] = blocks(text.partition("\n## ")[0], "python")
        for title, body in sections(text).items():
            found[page.name, title] = blocks(body, "python")
    return {recipe: code for recipe, code in found.items() if code}


RECIPES = recipes()


@pytest.fixture
def libraries(tmp_path, monkeypatch):
    """What two recipes read from: stand-ins with the calls that the recipes make."""

    class Collection:
        rows = (
            ("a1", "first", [1.0, 0, 0], {"lang": "en"}),
            ("a2", "zweiter", [0, 1.0, 0], {"lang": "de"}),
        )

        def count(self):
            return len(self.rows)

        def get(self, limit, offset, include):
            ids, documents, embeddings, metadatas = zip(
                *self.rows[offset : offset + limit], strict=True
            )
            columns = {
                "documents": documents,
                "embeddings": np.array(embeddings),
                "metadatas": metadatas,
            }
            return {"ids": list(ids), **{name: columns[name] for name in include}}

    chroma = types.ModuleType("chromadb")
    chroma.PersistentClient = lambda path: types.SimpleNamespace(
        get_collection=lambda name: Collection()
    )
    monkeypatch.setitem(sys.modules, "chromadb", chroma)
    (tmp_path / "titles.json").write_text('["east", "north", "west"]')
    vectors = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
    try:
        import faiss
    except ImportError:
        faiss = types.ModuleType("faiss")
        index = types.SimpleNamespace(d=2, ntotal=3, reconstruct_n=lambda i, n: vectors[i : i + n])
        faiss.read_index = lambda path: index
        monkeypatch.setitem(sys.modules, "faiss", faiss)
    else:
        real = faiss.IndexFlatL2(2)
        real.add(vectors)
        faiss.write_index(real, str(tmp_path / "items.faiss"))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: " ".join(r).strip())
def test_recipes_run_and_print_what_they_say(recipe, tmp_path, monkeypatch, libraries):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(RECIPES[recipe])
    expected = re.findall(r"^#> ?(.*)$", code, re.MULTILINE)
    assert expected, "a recipe shows what it gives"
    out = io.StringIO()
    with redirect_stdout(out):
        exec(compile(code, recipe[0], "exec"), {"__name__": "recipe"})
    assert out.getvalue().splitlines() == expected


def test_the_rag_recipe_has_at_most_40_lines():
    (code,) = RECIPES["rag.md", ""]
    assert len([line for line in code.splitlines() if line and not line.startswith("#>")]) <= 40


def anchors(text):
    """The anchors of a page, as the site and code hosts make them of its headings."""
    return {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }


PAGES = [p for p in (*DOCS.parent.glob("*.md"), *DOCS.rglob("*.md")) if p.name != "CHANGELOG.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(DOCS.parent)))
def test_every_link_between_pages_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#:\s]*)(#[^)\s]+)?\)", page.read_text("utf-8"))
    for target, anchor in links:
        other = (page.parent / target) if target else page
        assert other.exists(), target
        if anchor:
            assert anchor[1:] in anchors(other.read_text("utf-8")), (target, anchor)


def test_every_page_is_in_the_contents_of_the_site():
    contents = (DOCS.parent / "mkdocs.yml").read_text("utf-8")
    pages = {str(p.relative_to(DOCS)) for p in DOCS.rglob("*.md")}
    assert set(re.findall(r"[\w/-]+\.md", contents)) == pages


# --- the command line ----------------------------------------------------------------------------


def run_shell(line, cwd):
    """Runs a line of a console block, with vecsql being the one that is tested."""
    if line.startswith("vecsql ") and not re.search(r"[|<>;&$*`~\\]", line):
        status, out, err = run(*shlex.split(line, comments=True)[1:], cwd=cwd, columns="120")
        assert status == 0, (line, out, err)
        return out.splitlines(), err.splitlines()
    script = f'vecsql() {{ {shlex.quote(sys.executable)} -m vecsql "$@"; }}\n{line}'
    env = {**os.environ, "COLUMNS": "120", "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        ["sh", "-c", script], cwd=cwd, capture_output=True, text=True, env=env, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, (line, done.stdout, done.stderr)
    return done.stdout.splitlines(), done.stderr.splitlines()


SHOWN = ("Importing", "Exporting", "Ingesting", "Syncing")  # how far a command is


def test_the_console_examples_run_and_print_what_they_show(tmp_path):
    (csv,) = blocks(CLI, "csv")
    (tmp_path / "notes.csv").write_text(csv)
    shown = 0
    for block in blocks(CLI, "console"):
        for example in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            line, *expected = example.splitlines()
            out, err = run_shell(line, tmp_path)
            printed = [x for x in err + out if not x.startswith(SHOWN)]
            if "..." in expected:  # the rest is not shown
                expected = expected[: expected.index("...")]
                printed = printed[: len(expected)]
            assert len(printed) == len(expected), (line, printed)
            for got, want in zip(printed, expected, strict=True):
                pattern = re.escape(want).replace(re.escape("..."), ".*")
                assert re.fullmatch(re.sub(r"0\\\.\d{4}", r"\\d.\\d{4}", pattern), got), (
                    line,
                    got,
                    want,
                )
            shown += 1
    assert shown > 10


def documented(command):
    body = sections(CLI)[f"vecsql {command}"]
    return set(re.findall(r"`(-{1,2}[a-z][a-z0-9-]*)`", body.partition("| option |")[2]))


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_option_is_documented_and_every_documented_one_exists(name):
    params = [p for p in main.commands[name].params if isinstance(p, click.Option)]
    options = {o for p in params for o in (*p.opts, *p.secondary_opts)}
    assert documented(name) == options


def test_every_command_is_documented_and_every_documented_one_exists():
    titles = {t.removeprefix("vecsql ") for t in sections(CLI) if t.startswith("vecsql ")}
    assert titles == set(main.commands)


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_and_option_has_a_help_text(name):
    command = main.commands[name]
    assert command.help
    assert all(p.help for p in command.params if isinstance(p, click.Option))


# --- HACKING.md ----------------------------------------------------------------------------------

PLACE = re.compile(
    r"(?<![\w/.-])((?:benchmarks|csrc|docs|ext|scripts|tests|third_party|vecsql)/[\w./-]*[\w/])"
)
MAPS = ("HACKING.md", "docs/explain/how-it-works.md")


@pytest.mark.parametrize("page", MAPS)
def test_every_file_and_folder_that_is_named_exists(page):
    root = DOCS.parent
    named = PLACE.findall((root / page).read_text("utf-8"))
    assert len(named) > 3
    assert [place for place in named if not (root / place).exists()] == []


FOREIGN = {"where.c", "sqlite3.c"}  # SQLite's own


def test_comments_name_files_that_exist():
    root = DOCS.parent
    files = [p for room in ("csrc", "ext", "tests") for p in (root / room).rglob("*.[ch]")]
    known = {p.name for p in files} | FOREIGN
    lost = []
    for path in files:
        for comment in re.findall(r"/\*.*?\*/", path.read_text("utf-8"), re.DOTALL):
            named = set(re.findall(r"\b[a-z_0-9]+\.[ch]\b", comment))
            lost += [f"{path.relative_to(root)}: {name}" for name in sorted(named - known)]
    assert lost == []


def test_the_map_names_every_folder_of_the_code():
    root = DOCS.parent
    named = set(PLACE.findall((root / "HACKING.md").read_text("utf-8")))
    folders = {
        f"{p.relative_to(root).as_posix()}/"
        for room in ("csrc", "ext", "vecsql")
        for p in (root / room).iterdir()
        if p.is_dir() and p.name not in ("__pycache__", "data")
    }
    assert folders <= named
