"""What the import contracts cannot see in core: I/O by a builtin, and the random numbers that nobody seeded."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

CORE = Path(__file__).parents[1] / "operator/kubetune_operator/core"
IMPURE_BUILTINS = {"__import__", "breakpoint", "compile", "eval", "exec", "hash", "id", "input", "open", "print"}


def impurities(source: str) -> Iterator[str]:
    """Give each thing in `source` that depends on more than its arguments (`hash` of a string is another in each process)."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in IMPURE_BUILTINS:
                yield f"line {node.lineno}: {name}()"
            case ast.Attribute(value=ast.Name(id="random"), attr=name) if name != "Random":
                yield f"line {node.lineno}: random.{name}"
            case ast.ImportFrom(module="random", names=names) if any(alias.name != "Random" for alias in names):
                yield f"line {node.lineno}: from random import {', '.join(alias.name for alias in names)}"
            case ast.Global(names=names):
                yield f"line {node.lineno}: global {', '.join(names)}"


@pytest.mark.parametrize("module", sorted(CORE.rglob("*.py")), ids=lambda path: str(path.relative_to(CORE)))
def test_core_depends_on_its_arguments_alone(module: Path) -> None:
    assert list(impurities(module.read_text())) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        pytest.param("open('x')", ["line 1: open()"], id="a-file"),
        pytest.param("print(1)", ["line 1: print()"], id="output"),
        pytest.param("import random\nrandom.random()", ["line 2: random.random"], id="unseeded"),
        pytest.param("import random\nrandom.seed(1)", ["line 2: random.seed"], id="seeding-what-all-share"),
        pytest.param("from random import choice", ["line 1: from random import choice"], id="unseeded-by-name"),
        pytest.param("hash('a')", ["line 1: hash()"], id="another-value-in-each-process"),
        pytest.param("def f():\n    global x\n    x = 1", ["line 2: global x"], id="a-global"),
        pytest.param("import random\nrandom.Random(7).random()", [], id="seeded-is-fine"),
    ],
)
def test_a_breach_is_found(source: str, found: list[str]) -> None:
    assert list(impurities(source)) == found
