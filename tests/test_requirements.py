"""The lock files are whole: every pin has its hashes, no index is named, and what is tested is what is installed.

And the operator's distribution names what it imports: beside the rest what only the cluster needs, as an extra.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements"
PROJECT = tomllib.loads((ROOT / "operator/pyproject.toml").read_text())["project"]
# Distributions that are not called as their modules are, or bring them.
CALLED = {"yaml": "pyyaml", "pydantic_core": "pydantic", "cel_expr_python": "cel-expr-python"}
LOCKS = ["run.txt", "demo.txt", "dev.txt", "examples.txt", "launcher.txt", "operator.txt"]
PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^ \\]+)(.*)$")


def pins(lock: str) -> dict[tuple[str, str], list[str]]:
    """Give the hashes of each pin, by name and version."""
    found: dict[tuple[str, str], list[str]] = {}
    hashes: list[str] = []
    for line in (REQUIREMENTS / lock).read_text().splitlines():
        text = line.strip()
        if pin := PIN.match(text):
            hashes = found[pin[1], pin[2]] = []
        elif text.startswith("--hash=sha256:"):
            hashes.append(text.removesuffix(" \\"))
        else:
            assert text.startswith("#"), f"{lock}: neither a pin nor a hash nor a comment: {text}"
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_its_hashes(lock: str) -> None:
    found = pins(lock)
    assert found
    assert [pin for pin, hashes in found.items() if not hashes] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_no_index_is_named(lock: str) -> None:
    assert "://" not in (REQUIREMENTS / lock).read_text()


@pytest.mark.parametrize("lock", ["run.txt", "demo.txt", "examples.txt", "operator.txt"])
def test_what_is_installed_is_what_is_tested(lock: str) -> None:
    assert sorted(set(pins(lock)) - set(pins("dev.txt"))) == []


def names(requirements: list[str]) -> set[str]:
    """Give the distributions that are required, without their versions."""
    return {re.split(r"[^\w.-]", one)[0].lower() for one in requirements}


def imported(modules: set[str], graph: grimp.ImportGraph) -> set[str]:
    """Give the distributions, of others than the standard library, that these modules import."""
    found = {name for module in modules for name in graph.find_modules_directly_imported_by(module)}
    roots = {name.partition(".")[0] for name in found} - {"kubetune_operator"} - sys.stdlib_module_names
    return {CALLED.get(root, root) for root in roots}


def test_the_operators_distribution_requires_what_it_imports() -> None:
    graph = grimp.build_graph("kubetune_operator", include_external_packages=True, cache_dir=None)
    ours = {module for module in graph.modules if module.startswith("kubetune_operator")}
    here = {"kubetune_operator.commands", *graph.find_descendants("kubetune_operator.commands")}
    here |= {module for start in here for module in graph.find_upstream_modules(start)} & ours
    on_this_machine = imported(here, graph)
    assert on_this_machine == names(PROJECT["dependencies"])
    assert imported(ours, graph) - on_this_machine == names(PROJECT["optional-dependencies"]["cluster"])


def test_the_operators_image_has_the_versions_that_the_extra_asks_for() -> None:
    pinned = {name for name, _ in pins("operator.txt")}
    assert names(PROJECT["optional-dependencies"]["cluster"]) <= pinned
    assert [line for line in PROJECT["optional-dependencies"]["cluster"] if line.startswith(("kopf", "kubernetes"))] == [
        line.partition(" ")[0]
        for line in (REQUIREMENTS / "operator.in").read_text().splitlines()
        if line.startswith(("kopf", "kubernetes"))
    ]
