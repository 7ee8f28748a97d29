"""What the files say of why a trial ended, error.txt to the byte: written as it happens or brought level afterwards."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kubetune_operator.core.domains import GridSearch
from kubetune_operator.core.expressions import PARAMS, Language
from kubetune_operator.core.plateaus import ExperimentPlateau, TrialPlateau
from kubetune_operator.core.records import End, Record, Refused
from kubetune_operator.core.space import Parameter, Space
from kubetune_operator.core.spec import Deadlines, Failure, StopExperiment
from kubetune_operator.core.trials import Mode, Objective
from kubetune_operator.experiment import Past, fold
from kubetune_operator.files import ExperimentFolder, Files
from kubetune_operator.publish import Publisher
from tests.sim.world import Program, Script, World, spec, steady

UID = "0a1b2c3d-1111-2222-3333-444455556666"


class Nobody:
    """Nobody looks on."""

    def update(self, records: Sequence[Record]) -> None:
        """See nothing."""

    def refused(self, lines: Sequence[Refused]) -> None:
        """See nothing."""

    def note(self, text: str) -> None:
        """Hear nothing."""


def errors(folder: Path, program: Program, failure: Failure) -> str:
    """Run one trial to its end; give its error.txt, or nothing where there is none, and see that `level` makes the same."""
    world = World(spec(num_samples=1, failure=failure), program).run()
    past: Past = fold(world.records, lambda _body: world.spec)
    said = []
    for name in ("written", "levelled"):
        files = Files(ExperimentFolder.create(folder / name, "team", "sim", UID))
        publisher = Publisher(past.history, "sim", files, Nobody())
        if name == "written":
            publisher.write(world.records, past.judged)
        else:
            publisher.level(past)
        path = files.folder.trial("sim-00000") / "error.txt"
        said.append(path.read_text() if path.exists() else "")
    assert said[0] == said[1]
    return said[0]


def test_a_trial_that_was_taken_away_too_often_says_so(tmp_path: Path) -> None:
    """The summary names this file for every trial that failed."""
    text = errors(tmp_path, lambda t, a, p: Script([], disrupted="node n1 is gone"), Failure(max_disruptions=1))
    assert text.startswith("Failure # 1 (occurred at ")
    assert text.endswith(
        "Disrupted: node n1 is gone (attempt 1); it was taken away 2 times, more than failure.maxDisruptions allows\n"
    )
    assert text.count("Failure") == 1


def test_it_comes_after_the_failures_of_its_own(tmp_path: Path) -> None:
    def program(trial: int, attempt: int, params: object) -> Script:
        return Script([], disrupted="evicted") if attempt else Script([{"accuracy": 1}], End(exit_code=3, tail="no data"))

    text = errors(tmp_path, program, Failure(max_failures=1, max_disruptions=0))
    assert [line.partition(" (")[0] for line in text.splitlines() if line.startswith("Failure")] == ["Failure # 1", "Failure # 2"]
    assert "ExitCode: exit code 3 (attempt 0)\nno data\n" in text
    assert text.endswith("evicted (attempt 1); it was taken away once, more than failure.maxDisruptions allows\n")


@pytest.mark.parametrize("ends", [False, True], ids=["it ends well", "it fails by itself"])
def test_a_disruption_after_which_it_goes_on_is_no_failure(tmp_path: Path, *, ends: bool) -> None:
    def program(trial: int, attempt: int, params: object) -> Script:
        return Script([{"accuracy": 1}], End(exit_code=int(ends))) if attempt else Script([], disrupted="evicted")

    assert errors(tmp_path, program, Failure()).count("Failure") == int(ends)


class Listener(Nobody):
    """Somebody who remembers what was said."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def note(self, text: str) -> None:
        """Remember it."""
        self.heard.append(text)


def test_a_doubtful_threshold_is_said_once_whatever_restarts(tmp_path: Path) -> None:
    """As a line of `kubetune run`, or as an Event."""
    wanted = spec(objective=Objective("loss", Mode.MINIMIZE), stop={"loss": 0.3}, num_samples=2)
    world, listener = World(wanted, lambda t, a, p: Script([{"loss": 0.1}] * 3)), Listener()
    while not world.history.finished:
        files = Files(ExperimentFolder(tmp_path))
        publisher = Publisher(world.history, "sim", files, listener)
        world.turn()
        publisher.tell([], [])
        publisher.tell([], [])
        world.tick()
        world.restart()
    assert [text.partition(",")[0] for text in listener.heard] == ["stop.metrics ends a trial whose loss is >= 0.3"]


@pytest.mark.parametrize("restarts", [False, True], ids=["the same process", "restarted"])
def test_draws_that_give_no_trial_are_said_once_however_many_they_become(tmp_path: Path, *, restarts: bool) -> None:
    """Half of a large grid breaks a constraint: that is one line, or one Event, and not one for each turn that draws."""
    language = Language(PARAMS)
    half = Space((Parameter("x", GridSearch(tuple(range(20)))),), (language.compile("params.x % 2 == 0", condition=True),))
    world, listener = World(spec(space=half, num_samples=1, max_concurrent=1), steady()), Listener()
    files = Files(ExperimentFolder(tmp_path))
    publisher = Publisher(world.history, "sim", files, listener)
    while not world.history.finished:
        world.turn()
        publisher.tell([], [])
        world.tick()
        if restarts:
            world.restart()
            publisher = Publisher(world.history, "sim", files, listener)
    assert world.history.skipped == 10
    assert [text.partition(",")[0] for text in listener.heard] == ["1 draw gave no trial"]


REASONS: dict[str, tuple[Program, dict[str, Any], str, str]] = {
    "the plateau of a trial": (
        steady(9),
        {"stop_plateau": TrialPlateau("accuracy", std=1)},
        "Plateau",
        "",
    ),
    "the plateau of the experiment": (
        steady(9),
        {"stop_experiment": StopExperiment(plateau=ExperimentPlateau(top=2, std=1))},
        "Plateau",
        "",
    ),
    "the time budget": (steady(9), {"stop_experiment": StopExperiment(time_budget=3)}, "TimeBudget", ""),
    "never begun": (
        lambda t, a, p: Script([], begins_after=9e9, waits_for="Unschedulable: no node"),
        {"deadlines": Deadlines(start=5)},
        "StartDeadline",
        "its program has not begun for 5 s (trial.startDeadlineSeconds); Unschedulable: no node",
    ),
    "hung": (
        lambda t, a, p: Script([{"accuracy": 1}, *[None] * 99]),
        {"deadlines": Deadlines(progress=5)},
        "ProgressDeadline",
        "it has not reported for 5 s since its last report (trial.progressDeadlineSeconds)",
    ),
}


@pytest.mark.parametrize(("program", "changes", "reason", "failure"), REASONS.values(), ids=REASONS)
def test_why_a_trial_ended_is_in_every_file(
    tmp_path: Path, program: Program, changes: dict[str, Any], reason: str, failure: str
) -> None:
    world = World(spec(num_samples=1, **changes), program).run()
    past = fold(world.records, lambda _body: world.spec)
    files = Files(ExperimentFolder.create(tmp_path, "team", "sim", UID))
    publisher = Publisher(past.history, "sim", files, Nobody())
    publisher.write(world.records, past.judged)
    publisher.tables()
    folder = files.folder.trial("sim-00000")
    assert (folder / "result.json").exists() == bool(world.history.trials[0].reports)
    if world.history.trials[0].reports:
        last = json.loads((folder / "result.json").read_text().splitlines()[-1])
        assert (last["done"], last["reason"]) == (True, reason)
    with (files.folder.path / "trials.csv").open() as lines:
        (row,) = csv.DictReader(lines)
    assert row["reason"] == reason
    assert row["message"] == (failure or world.history.trials[0].message)
    assert (folder / "error.txt").exists() == bool(failure)
    if failure:
        assert f"{reason}: {failure} (attempt 0)" in (folder / "error.txt").read_text()
    found = json.loads((files.folder.path / "experiment.json").read_text())["status"]
    assert found["trials"]["waiting"] + found["trials"]["running"] == 0
