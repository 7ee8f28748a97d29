"""Every wrong experiment of the table is refused, here and (where it can see the fault) by the API server's own code, in words."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from kubetune import cli
from kubetune_operator import api
from kubetune_operator.errors import InvalidSpec, shown
from tests.crdcheck import checker
from tests.shell import wrong_expressions
from tests.shell.experiments import UNKNOWN, VALID, Wrong
from tests.shell.wrong_experiments import PRIMITIVES, SPACE
from tests.shell.wrong_experiments import WRONG as WRONG_FIELDS

WRONG = [*WRONG_FIELDS, *wrong_expressions.WRONG]

pytestmark = pytest.mark.timeout(900)  # the first call builds the Go program


def test_the_table_spoils_something_valid() -> None:
    assert api.parse(VALID).name == "digits"
    assert len({row.id for row in WRONG}) == len(WRONG) >= 60
    assert len([*SPACE, *PRIMITIVES, *wrong_expressions.WRONG]) >= 60, "spaces and expressions"


@pytest.mark.parametrize("row", WRONG, ids=lambda row: row.id)
def test_a_refusal_names_field_rule_value_and_remedy(row: Wrong) -> None:
    with pytest.raises(InvalidSpec, match=re.escape(row.field)) as refusal:
        api.parse(row.body())
    told = [
        problem
        for problem in refusal.value.problems
        if problem.field == row.field
        and row.rule in problem.rule
        and row.remedy in problem.remedy
        and (row.value in shown(problem.value) if row.value else True)
    ]
    assert told, f"nothing fits among:\n{refusal.value}"
    assert str(told[0]).startswith(f"{row.field}: ")
    assert f", got {shown(told[0].value)}" in str(told[0]) or told[0].value is None


@pytest.mark.parametrize("row", WRONG, ids=lambda row: row.id)
def test_a_refusal_says_nothing_more_than_what_is_wrong(row: Wrong) -> None:
    """One mistake gives one message, but where it breaks two rules or asks for what is not carried out yet."""
    with pytest.raises(InvalidSpec, match=re.escape(row.field)) as refusal:
        api.parse(row.body())
    others = [one for one in refusal.value.problems if row.rule not in one.rule and "not carried out yet" not in one.rule]
    assert [str(one) for one in others if not one.field.startswith(row.field)] == []


@pytest.mark.parametrize("row", WRONG, ids=lambda row: row.id)
def test_validate_says_the_same_words(row: Wrong, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each problem that the operator would name in the status, and the exit code of a refusal."""
    with pytest.raises(InvalidSpec, match=re.escape(row.field)) as refusal:
        api.parse(row.body())
    file = tmp_path / "wrong.yaml"
    file.write_text(json.dumps(row.body()))
    assert cli.main(["validate", str(file)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"{file}: refused\n")
    assert [str(problem) for problem in refusal.value.problems if f"\n  {problem}\n" not in said] == []


def test_the_api_server_refuses_what_it_can_see() -> None:
    """The last column is exact: what it says is said, and where it says nothing the object is taken."""
    answers = checker.judge([row.body() for row in WRONG])
    wrong = []
    for row, answer in zip(WRONG, answers, strict=True):
        said = "\n".join(answer.errors)
        named = row.server == UNKNOWN and row.field in answer.unknown
        if not named and (row.server not in said or bool(row.server) != bool(said)):
            wrong.append(f"{row.id}: {said or answer.unknown}")
    assert wrong == []
