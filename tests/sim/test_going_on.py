"""An experiment that has ended goes on when what ended it does not hold any more, and only then."""

from __future__ import annotations

from typing import Any

import pytest

from kubetune_operator import status
from kubetune_operator.core.endings import goes_on
from kubetune_operator.core.records import End, Ending, Reopened
from kubetune_operator.core.spec import Failure, StopExperiment
from tests.sim.world import Script, World, kinds, spec, steady


def program(trial: int, attempt: int, params: object) -> Script:
    """Do better with each trial; every second one fails, for a reason of its own."""
    return Script([{"accuracy": trial / 10}, {"accuracy": trial / 10}], End(exit_code=trial % 2 * trial))


def ended(**changes: Any) -> World:
    """Give an experiment that has ended."""
    return World(spec(max_concurrent=1, **changes), program).run()


def reason(world: World) -> str:
    """Give why it has ended."""
    return world.history.finished.reason if world.history.finished else ""


ENDS: dict[str, dict[str, Any]] = {
    "Completed": {"num_samples": 2},
    "GoalReached": {"num_samples": 9, "stop_experiment": StopExperiment(goal=0.2)},
    "TooManyFailedTrials": {"num_samples": 9, "stop_experiment": StopExperiment(max_failed_trials=0)},
    "FailFast": {"num_samples": 9, "failure": Failure(fail_fast=True)},
}
WITHOUT_END = StopExperiment(max_failed_trials=9)


@pytest.mark.parametrize(
    ("end", "change", "then", "count"),
    [
        ("Completed", {"num_samples": 4}, "Completed", 4),
        ("GoalReached", {"stop_experiment": StopExperiment(goal=0.4)}, "GoalReached", 5),
        ("GoalReached", {"stop_experiment": WITHOUT_END}, "Completed", 9),
        ("GoalReached", {"stop_experiment": WITHOUT_END, "num_samples": 12}, "Completed", 12),
        ("TooManyFailedTrials", {"stop_experiment": StopExperiment(max_failed_trials=1)}, "TooManyFailedTrials", 4),
        ("TooManyFailedTrials", {"stop_experiment": WITHOUT_END}, "Completed", 9),
        ("FailFast", {"failure": Failure()}, "Completed", 9),
    ],
    ids=["more samples", "a higher goal", "no goal", "no goal and more", "one failure more", "many failures", "no failFast"],
)
def test_it_goes_on(end: str, change: dict[str, Any], then: str, count: int) -> None:
    world = ended(**ENDS[end])
    assert reason(world) == end
    before = [trial.outcome for trial in world.history.trials]
    world.edit(**change)
    assert goes_on(world.history)
    assert status.nothing_to_do(world.history) == ""
    world.restart()
    world.turn()
    assert status.state(world.history) == "Running"
    world.run()
    assert reason(world) == then
    assert len(world.history.trials) == count
    assert [trial.outcome for trial in world.history.trials][: len(before)] == before
    assert list(kinds(world.records)).count("Reopened") == 1
    trials = repr(world.history.trials)
    world.restart()
    assert repr(world.history.trials) == trials
    assert (world.turn(), reason(world)) == (0, then)


@pytest.mark.parametrize(
    ("end", "change", "says"),
    [
        ("Completed", {"max_concurrent": 9}, "nothing to do: all 2 trials have ended; raise numSamples to go on"),
        (
            "GoalReached",
            {"num_samples": 12},
            "nothing to do: trial sim-00002 reported 0.2, the goal is 0.2; change stopExperiment.goal to go on",
        ),
        (
            "GoalReached",
            {"stop_experiment": StopExperiment(goal=0.1)},
            "nothing to do: trial sim-00001 reported 0.1, the goal is 0.1; change stopExperiment.goal to go on",
        ),
        (
            "TooManyFailedTrials",
            {"num_samples": 12},
            (
                "nothing to do: 1 trial failed, 0 are allowed (stopExperiment.maxFailedTrials); "
                "raise stopExperiment.maxFailedTrials to go on"
            ),
        ),
        (
            "FailFast",
            {"num_samples": 12},
            (
                "nothing to do: trial sim-00001 failed (ExitCode: exit code 1) and failFast is set; "
                "set failure.failFast to false to go on"
            ),
        ),
    ],
    ids=["nothing that matters", "the goal stays reached", "a lower goal", "the failures stay too many", "failFast stays"],
)
def test_it_does_not_and_says_what_would_make_it(end: str, change: dict[str, Any], says: str) -> None:
    world = ended(**ENDS[end])
    world.edit(**change)
    assert (world.turn(), reason(world)) == (0, end)
    assert status.nothing_to_do(world.history) == says


def test_without_an_edit_nothing_goes_on_though_the_rules_have_changed() -> None:
    """An operator of another version may end an experiment for what ends nothing here; its past stays as it was."""
    world = World(spec(num_samples=9), steady(50))
    world.turn()
    world.record([Ending("TooManyFailedTrials", "as another version counted", world.now)])
    assert reason(world.run()) == "TooManyFailedTrials"
    assert (world.turn(), goes_on(world.history)) == (0, False)


def test_nothing_is_said_of_one_that_runs() -> None:
    assert status.nothing_to_do(World(spec(), steady()).history) == ""


def test_what_no_field_can_mend_stays_as_it_is() -> None:
    world = World(spec(num_samples=9), lambda trial, attempt, params: Script([], End(exit_code=3))).run()
    world.edit(num_samples=99, max_concurrent=9, failure=Failure(max_failures=9), stop_experiment=StopExperiment(goal=3))
    assert world.turn() == 0
    assert status.nothing_to_do(world.history) == (
        "nothing to do: the first 2 trials all failed alike: exit code 3; mend that, and start a new run"
    )


def test_a_goal_that_is_raised_while_the_rest_is_ended_is_not_reached() -> None:
    world = World(spec(num_samples=9, stop_experiment=StopExperiment(goal=0.2)), program)
    while not world.history.ending:
        world.turn()
        world.tick()
    world.edit(stop_experiment=WITHOUT_END)
    world.turn()
    assert any(isinstance(record, Reopened) for record in world.records)
    world.run()
    assert reason(world) == "Completed"
    assert len(world.history.trials) == 9


def test_a_goal_that_is_lowered_to_what_there_is_ends_it() -> None:
    world = World(spec(max_concurrent=1, num_samples=9), program)
    while len(world.history.trials) < 5:
        world.turn()
        world.tick()
    world.edit(stop_experiment=StopExperiment(goal=0.2))
    world.restart()
    world.run()
    assert reason(world) == "GoalReached"
    assert len(world.history.trials) == 5


def test_another_edit_does_not_forget_a_goal_that_was_reached_on_the_way() -> None:
    lines = [{"accuracy": 0.9}, {"accuracy": 0.1}, {"accuracy": 0.1}]
    world = World(spec(num_samples=1, stop_experiment=StopExperiment(goal=0.5)), lambda trial, attempt, params: Script(lines))
    world.turn()
    world.tick()
    world.step((0, 0), world.pods[(0, 0)])
    assert world.history.open[(0, 0)].accepted == 2
    world.edit(num_samples=5)
    assert reason(world.run()) == "GoalReached"


def test_an_end_that_was_not_ours_to_give_is_not_ours_to_undo() -> None:
    world = World(spec(), steady())
    world.record([Ending("TemplateRejected", "the API server refuses the pod", world.now)])
    world.edit(num_samples=99)
    assert reason(world.run()) == "TemplateRejected"
    assert (world.turn(), world.created) == (0, [])
