"""What the commands say to a wrong experiment: everything at once, the same words in `validate` and `run`, the template included."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.shell.conftest import command, experiment

CONTAINER = "spec.trial.template.spec.containers[0]"


@pytest.mark.slow
def test_validate_says_all_problems_at_once_and_run_says_the_same(tmp_path: Path) -> None:
    body = experiment(["python", "train.py", "--lr=${params.lr}"], numSamples=0, scheduler={"asha": {"reductionFactor": 1}})
    (tmp_path / "exp.yaml").write_text(json.dumps(body))
    validated = command(tmp_path, "validate", str(tmp_path / "exp.yaml"))
    ran = command(tmp_path, "run", str(tmp_path / "exp.yaml"), "--results", str(tmp_path / "results"))
    assert validated.code == ran.code == 2
    assert validated.err == ran.err
    for field in ("spec.numSamples", "spec.scheduler.asha.reductionFactor", f"{CONTAINER}.command[2]"):
        assert validated.err.count(f"  {field}: ") == 1
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("command_line", "place", "says"),
    [
        (["a", "--x=${params.y}"], "command[1]", ("params.y",)),
        (["a", "${trial.nam}"], "command[1]", ("trial.nam", "trial.name")),
        (["a", "x ${args}"], "command[1]", ("${args}",)),
    ],
    ids=["no such parameter", "no such value of the trial", "args within an item"],
)
def test_a_placeholder_that_names_nothing_is_refused(
    tmp_path: Path, command_line: list[str], place: str, says: tuple[str, ...]
) -> None:
    (tmp_path / "exp.yaml").write_text(json.dumps(experiment(command_line)))
    validated = command(tmp_path, "validate", str(tmp_path / "exp.yaml"))
    assert validated.code == 2
    assert f"  {CONTAINER}.{place}: " in validated.err
    assert all(piece in validated.err for piece in says)


def test_what_is_wrong_with_the_containers_is_told_once(tmp_path: Path) -> None:
    body = experiment(["a"])
    body["spec"]["trial"]["template"]["spec"]["containers"] = []
    (tmp_path / "exp.yaml").write_text(json.dumps(body))
    validated = command(tmp_path, "validate", str(tmp_path / "exp.yaml"))
    assert validated.err.count("spec.trial.template.spec.containers") == 1, validated.err
