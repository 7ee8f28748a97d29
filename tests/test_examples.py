"""The examples: they are valid, what they say of their data is so, and the quickstart runs here as it does in a cluster."""

from __future__ import annotations

import ast
import csv
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubetune import cli
from tests.shell.conftest import command

EXAMPLES = Path(__file__).parents[1] / "examples"
QUICKSTART = EXAMPLES / "quickstart.yaml"


def program() -> str:
    """Give the program inside the quickstart."""
    body: dict[str, Any] = yaml.safe_load(QUICKSTART.read_text())
    (container,) = body["spec"]["trial"]["template"]["spec"]["containers"]
    interpreter, flag, source = container["command"]
    assert (interpreter, flag) == ("python", "-c")
    return str(source)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.name)
def test_it_is_valid(file: Path) -> None:
    assert cli.main(["validate", str(file)]) == 0


def test_the_quickstart_needs_no_more_than_a_stock_python() -> None:
    imported = [each for each in ast.walk(ast.parse(program())) if isinstance(each, ast.Import | ast.ImportFrom)]
    names = {alias.name for each in imported if isinstance(each, ast.Import) for alias in each.names}
    assert len(names) == len(imported)
    assert names - sys.stdlib_module_names == {"kubetune"}


@pytest.mark.slow
def test_its_flowers_are_fishers() -> None:
    """As scikit-learn has them."""
    from sklearn.datasets import load_iris  # noqa: PLC0415 - slow to import, and only here

    written = re.search(r'IRISES = """(.*?)"""', program(), re.DOTALL)
    assert written
    flowers = [[int(row[i : i + 2]) / 10 for i in (0, 2, 4, 6)] for row in written[1].split()]
    iris = load_iris()
    assert flowers == iris.data.tolist()
    assert [number // 50 for number in range(150)] == iris.target.tolist()


@pytest.mark.slow
def test_the_quickstart_finds_a_good_classifier(tmp_path: Path) -> None:
    run = command(tmp_path, "run", str(QUICKSTART), "--results", str(tmp_path))
    assert run.code == 0, run.err
    folder = tmp_path / "default" / "quickstart"
    with (folder / "trials.csv").open() as lines:
        trials = list(csv.DictReader(lines))
    assert len(trials) == 12
    assert {each["state"] for each in trials} == {"Succeeded", "Stopped"}  # ASHA has stopped the poor ones
    best = min((each for each in trials if each["complete"] == "true"), key=lambda each: float(each["loss"]))
    assert float(best["loss"]) < 0.15
    last = (folder / best["trial"] / "stdout").read_text().splitlines()[-1]
    assert float(last.split()[3].rstrip(",")) > 0.95, last
