"""Risk: a signature says nothing: `Any` in it turns off the type checks of whoever calls it."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
import typing

import pytest

import vecsql

SIGNED = ("__init__", "__call__", "__getitem__", "__iter__")


def public():
    """Every public function, method, property and field: its name, owner's module, annotations."""
    for name in vecsql.__all__:
        value = getattr(vecsql, name)
        if inspect.isfunction(value):
            yield from signatures(name, value)
        elif inspect.isclass(value) and value.__module__.startswith("vecsql."):
            yield name, value.__module__, vars(value).get("__annotations__", {})
            for member, method in vars(value).items():
                method = getattr(method, "fget", getattr(method, "__func__", method))
                if inspect.isfunction(method) and (member[0] != "_" or member in SIGNED):
                    yield from signatures(f"{name}.{member}", method)


def signatures(name, function):
    yield name, function.__module__, function.__annotations__
    for number, overload in enumerate(getattr(typing, "get_overloads", lambda f: [])(function)):
        yield f"{name}, overload {number}", overload.__module__, overload.__annotations__


def says_any(annotation, module, seen=()):
    """Whether an annotation is or has Any, in itself or in an alias of the package."""
    text = annotation if isinstance(annotation, str) else repr(annotation)
    for node in ast.walk(ast.parse(text, mode="eval")):
        name = getattr(node, "id", getattr(node, "attr", getattr(node, "value", None)))
        if name == "Any":
            return True
        if isinstance(name, str) and name not in seen:
            alias = vars(importlib.import_module(module)).get(name)
            if is_alias(alias) and says_any(alias, module, (*seen, name)):
                return True
    return False


def is_alias(value):
    return isinstance(value, str) or typing.get_origin(value) is not None


def test_no_public_signature_says_any():
    signed = list(public())
    assert len(signed) > 100
    found = [
        f"{name}: {parameter}: {annotation}"
        for name, module, annotations in signed
        for parameter, annotation in annotations.items()
        if says_any(annotation, module)
    ]
    assert not found


def test_every_public_parameter_has_a_type():
    for name in vecsql.__all__:
        function = getattr(vecsql, name)
        if inspect.isfunction(function):
            for parameter in inspect.signature(function).parameters.values():
                assert parameter.annotation is not inspect.Parameter.empty, (name, parameter)


Hidden = dict[str, typing.Any]


@pytest.mark.parametrize(
    "annotation", ["Any", "list[Any] | None", "typing.Any", "Hidden", "list[Hidden]", Hidden]
)
def test_any_is_found_where_it_hides(annotation):
    assert says_any(annotation, __name__)


@pytest.mark.slow
def test_a_type_checker_knows_what_the_functions_return(tmp_path):
    pytest.importorskip("mypy")
    program = tmp_path / "user.py"
    program.write_text(
        "import sqlite3\n"
        "import apsw\n"
        "import numpy as np\n"
        "import vecsql\n"
        "db = vecsql.connect('a.db')\n"
        "reveal_type(db)\n"
        "reveal_type(vecsql.connect('a.db', driver='apsw'))\n"
        "reveal_type(vecsql.insert(db, 't', {'body': 'x'}))\n"
        "reveal_type(vecsql.insert(db, 't', [{'body': 'x', 'e': np.zeros(3)}]))\n"
        "reveal_type(vecsql.upsert(apsw.Connection('a.db'), 't', {'body': 'x'}))\n"
        "vecsql.load(sqlite3.connect('a.db'))\n"
        "vecsql.search(db, 't', np.zeros(3), where={'year': {'$gt': 3}})\n"
        "vecsql.create_table(db, 't', {'body': str}, text='body', metrik='l2')\n"
        "vecsql.insert('a.db', 't', {})\n"
    )
    out = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(program)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    ).stdout
    revealed = [line.split('"')[1] for line in out.splitlines() if "Revealed type" in line]
    names = [r.replace("builtins.", "") for r in revealed]
    assert names == ["sqlite3.Connection", "apsw.Connection", "int", "list[int]", "int"], out
    errors = [line for line in out.splitlines() if "error:" in line]
    assert len(errors) == 2, out
    assert 'Unexpected keyword argument "metrik"' in errors[0]
    assert "user.py:14" in errors[1]
