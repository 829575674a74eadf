"""Risk: the demo's corpus is small, unstable, leaks the machine, or has side effects."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

import vecsql
from vecsql._cli import pydoc_corpus as corpus


@pytest.fixture(scope="module")
def objects():
    return list(corpus.walk())


def test_standard_library_has_more_than_5000_texts(objects):
    assert len(objects) > 5000
    assert all(o.doc for o in objects)


def test_every_object_has_one_name(objects):
    assert len({(o.name, o.kind) for o in objects}) == len(objects)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("module", "re"),
        ("function", "re.split"),
        ("function", "os.path.join"),
        ("function", "math.gcd"),  # from C
        ("function", "len"),
        ("class", "collections.OrderedDict"),
        ("class", "json.JSONDecoder"),  # defined in json.decoder
        ("class", "concurrent.futures.ThreadPoolExecutor"),
        ("method", "str.split"),
        ("method", "pathlib.Path.exists"),
    ],
)
def test_well_known_objects_are_there_under_their_public_names(objects, kind, name):
    assert (kind, name) in {(o.kind, o.name) for o in objects}


def test_signature_is_kept(objects):
    (split,) = (o for o in objects if o.name == "re.split")
    assert split.signature.startswith("(pattern, string")
    assert split.module == "re"


def test_skipped_and_private_modules_are_not_there(objects):
    for module in {o.module for o in objects}:
        assert not corpus._skipped(module)
        assert not any(module == s or module.startswith(s + ".") for s in corpus.SKIPPED)
        assert "._" not in "." + module
        assert "__main__" not in module


def test_inherited_docstrings_do_not_repeat(objects):
    pairs = [(o.name.rpartition(".")[2], o.doc) for o in objects if o.kind != "module"]
    assert len(set(pairs)) == len(pairs)
    assert not [o for o in objects if o.name.endswith(".__init__")]


def test_no_address_and_no_environment_is_in_a_text(objects):
    for o in objects:
        assert not re.search(r" at 0x[0-9a-f]{6,}", o.signature + o.doc), o.name
        assert "environ({" not in o.signature, o.name


def digest(seed: str) -> str:
    code = (
        "import hashlib, vecsql._cli.pydoc_corpus as c; "
        "print(hashlib.sha256(repr(list(c.walk())).encode()).hexdigest())"
    )
    env = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=env,
        cwd=sys.prefix,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == "", "the walk prints and warns of nothing"
    return done.stdout


@pytest.mark.slow
def test_two_runs_give_the_same_texts_in_the_same_order():
    assert digest("1") == digest("2")


def test_split_by_a_regular_expression_finds_re_split(objects):
    summaries = {o.module: corpus.summary(o.doc) for o in objects if o.kind == "module"}
    embedder = vecsql.StaticEmbedder()
    vectors = embedder.encode(
        [corpus.embedded_text(o, summaries.get(o.module, "")) for o in objects]
    )
    query = embedder.encode(["split a string by a regular expression"])[0]
    best = (vectors @ query).argsort()[::-1][:3]
    assert "re.split" in [objects[i].name for i in best]
