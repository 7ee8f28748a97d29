"""What error.txt says of a trial, written as it happens or brought level afterwards: the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from kubetune_operator.core.records import End, Record, Refused
from kubetune_operator.core.spec import Failure
from kubetune_operator.experiment import Past, fold
from kubetune_operator.files import ExperimentFolder, Files
from kubetune_operator.publish import Publisher
from tests.sim.world import Program, Script, World, spec

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
