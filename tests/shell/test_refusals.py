"""Each wrong experiment is refused with its field, the rule, the value found and what to do; the good one is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kubetune_operator.commands import checked
from kubetune_operator.errors import InvalidSpec
from tests.crdcheck import checker
from tests.shell.conftest import command
from tests.shell.wrong_experiments import WRONG, Wrong, good


def test_the_good_one_is_accepted_by_us_and_by_the_api_servers_own_validation() -> None:
    assert checked.check(good(), seed=1, here=True).name == "exp"
    [answer] = checker.judge([good()])
    assert (answer.errors, answer.unknown) == ((), ())


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.name)
def test_a_wrong_experiment_is_refused_by_name(wrong: Wrong) -> None:
    body = good()
    wrong.spoil(body)
    with pytest.raises(InvalidSpec, match=r"\w") as refused:
        checked.check(body, seed=1, here=False)
    found = [str(problem) for problem in refused.value.problems if problem.field.startswith(wrong.field)]
    assert found, f"{wrong.field} is not named in: {refused.value}"
    assert any(all(piece in message for piece in wrong.says) for message in found), f"{wrong.says} in {found}"


def test_there_are_sixty_of_them_and_no_two_alike() -> None:
    assert len({wrong.name for wrong in WRONG}) == len(WRONG) >= 60


def test_validate_says_all_problems_at_once_and_run_says_the_same(tmp_path: Path) -> None:
    body = good()
    for wrong in (WRONG[14], WRONG[18], WRONG[43]):
        wrong.spoil(body)
    (tmp_path / "exp.yaml").write_text(json.dumps(body))
    validated = command(tmp_path, "validate", str(tmp_path / "exp.yaml"))
    ran = command(tmp_path, "run", str(tmp_path / "exp.yaml"), "--results", str(tmp_path / "results"))
    assert validated.code == ran.code == 2
    assert validated.err == ran.err
    for field in ("spec.numSamples", "spec.maxConcurrentTrials", "spec.scheduler.asha.reductionFactor"):
        assert field in validated.err
