"""What ends a trial or the experiment before its program does: asked at every report, and its reason kept, whatever crashes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from kubetune_operator import status
from kubetune_operator.core.cautions import cautions
from kubetune_operator.core.domains import GridSearch, Uniform
from kubetune_operator.core.endings import goes_on
from kubetune_operator.core.expressions import PARAMS, RESULT, TRIAL_ID, Language
from kubetune_operator.core.plateaus import ExperimentPlateau, TrialPlateau
from kubetune_operator.core.records import End, Outcome, Reported
from kubetune_operator.core.space import Parameter, Space
from kubetune_operator.core.spec import Failure, StopExperiment
from kubetune_operator.core.stops import Stops
from kubetune_operator.core.trials import Flat, Mode, Objective, Verdict
from tests.sim.world import Script, World, kinds, spec, steady


@dataclass(frozen=True)
class Case:
    """A criterion of `stop`, values of the objective, and the number of the report that ends the trial."""

    criterion: dict[str, Any]
    values: Sequence[float]
    ends: int
    reason: str


CASES = {
    "metrics": Case({"stop": {"accuracy": 0.5}}, [0.1, 0.2, 0.5, 0.6], 3, "StopMetrics"),
    "expression": Case(
        {"stop_expression": Language(TRIAL_ID, RESULT).compile("result.accuracy > 0.4", condition=True)},
        [0.1, 0.2, 0.5, 0.6],
        3,
        "StopExpression",
    ),
    "expression over what kubetune counts": Case(
        {
            "stop_expression": Language(TRIAL_ID, RESULT).compile(
                "result.training_iteration >= 3 && result.time_this_iter_s > 0.0 && result.time_total_s > result.time_this_iter_s",
                condition=True,
            )
        },
        [0.1, 0.2, 0.3, 0.4],
        3,
        "StopExpression",
    ),
    "plateau": Case(
        {"stop_plateau": TrialPlateau("accuracy", num_results=2, grace_period=1)}, [0.1, 0.2, 0.2, 0.3], 3, "Plateau"
    ),
}


def asked_at_every_report(case: Case) -> None:
    """Check that a trial ends at the report that says so, though it is not its first."""
    lines = [{"accuracy": value} for value in case.values]
    world = World(spec(num_samples=2, **case.criterion), lambda trial, attempt, params: Script(lines)).run()
    assert world.outcomes() == [f"Succeeded/{case.reason}"] * 2
    assert [trial.reports for trial in world.history.trials] == [case.ends] * 2
    assert all(trial.complete for trial in world.history.trials)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_criterion_is_asked_at_every_report(case: Case) -> None:
    asked_at_every_report(case)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_criterion_that_is_asked_once_a_trial_would_be_seen(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test of the one above: with Stops.judge answering only a trial's first report, it must fail."""
    rightly: Callable[..., tuple[Verdict | None, str]] = Stops.judge

    def once(stops: Stops, name: str, report: Reported, flat: Flat) -> tuple[Verdict | None, str]:
        return rightly(stops, name, report, flat) if report.number == 0 else (None, "")

    monkeypatch.setattr(Stops, "judge", once)
    with pytest.raises(AssertionError, match="Succeeded/Completed"):
        asked_at_every_report(case)


def test_a_flag_counts_as_0_or_1_as_in_ray() -> None:
    lines = [{"accuracy": 0.5, "found": found} for found in (False, True, False)]
    world = World(spec(num_samples=1, stop={"found": 1}), lambda trial, attempt, params: Script(lines)).run()
    assert (world.outcomes(), world.history.trials[0].reports) == (["Succeeded/StopMetrics"], 2)


def test_of_several_that_are_met_at_once_the_first_is_named() -> None:
    everything = CASES["metrics"].criterion | CASES["expression"].criterion
    everything |= {"stop_plateau": TrialPlateau("accuracy", num_results=1, grace_period=0)}
    world = World(spec(num_samples=1, **everything), lambda trial, attempt, params: Script([{"accuracy": 0.5}] * 3)).run()
    assert world.outcomes() == ["Succeeded/StopMetrics"]


def test_a_new_attempt_begins_its_plateau_anew() -> None:
    """Two attempts report 0.5 once and fail, the third goes on: values from before a crash make no plateau."""
    ends = [End(exit_code=1), End(exit_code=1), End(exit_code=0)]

    def program(trial: int, attempt: int, params: object) -> Script:
        return Script([{"accuracy": 0.5}] * (1 if attempt < 2 else 3), ends[attempt])

    plateau = TrialPlateau("accuracy", num_results=3, grace_period=3)
    world = World(spec(num_samples=1, failure=Failure(max_failures=2), stop_plateau=plateau), program).run()
    assert world.outcomes() == ["Succeeded/Plateau"]
    assert world.history.trials[0].reports == 5


def test_its_facts_are_recorded_and_a_replay_says_the_same() -> None:
    case = CASES["plateau"]
    lines = [{"accuracy": value} for value in case.values]
    world = World(spec(num_samples=1, **case.criterion), lambda trial, attempt, params: Script(lines)).run()
    (facts,) = [
        record.facts for record in world.records if getattr(record, "reason", "") == "Plateau" and hasattr(record, "facts")
    ]
    assert facts == {"metric": "accuracy", "std": 0.0, "limit": 0.01, "window": 2}
    trials = repr(world.history.trials)
    world.restart()
    assert repr(world.history.trials) == trials


# --- the plateau of the experiment ---


def flat(lines: int = 50) -> World:
    """Give an experiment whose trials all report 0.5 again and again; it is at its end with the second report."""
    wanted = spec(num_samples=9, stop_experiment=StopExperiment(plateau=ExperimentPlateau(top=3)))
    return World(wanted, lambda trial, attempt, params: Script([{"accuracy": 0.5}] * lines))


def test_the_experiment_ends_at_its_plateau_and_says_so() -> None:
    world = flat().run()
    assert world.history.finished is not None
    assert (world.history.finished.reason, world.history.finished.message) == (
        "Plateau",
        "the 3 best values of accuracy have had a standard deviation of at most 0.001 for 1 report (it is 0 now)",
    )
    assert world.outcomes() == ["Cancelled/Plateau"] * 2
    assert [trial.reports for trial in world.history.trials] == [2, 2]
    assert status.succeeded(world.history)
    assert status.nothing_to_do(world.history).endswith("; change stopExperiment.plateau to go on")
    world.restart()
    assert world.turn() == 0


@pytest.mark.parametrize(
    ("plateau", "then"),
    [
        pytest.param(None, "Completed", id="none"),
        pytest.param(ExperimentPlateau(top=3, patience=9), "Plateau", id="more patience"),
        pytest.param(ExperimentPlateau(top=3, metric="other"), "Completed", id="another metric"),
    ],
)
def test_an_edit_of_the_plateau_begins_it_anew(plateau: ExperimentPlateau | None, then: str) -> None:
    world = flat(lines=3).run()
    before = len(world.history.trials)
    world.edit(stop_experiment=StopExperiment(plateau=plateau))
    assert goes_on(world.history)
    world.restart()
    world.run()
    assert world.history.finished is not None
    assert world.history.finished.reason == then
    assert len(world.history.trials) > before


def test_another_edit_does_not_undo_it() -> None:
    world = flat().run()
    world.edit(num_samples=99, stop_experiment=replace(world.spec.stop_experiment, max_failed_trials=7))
    assert (world.turn(), goes_on(world.history)) == (0, False)


def test_values_after_the_plateau_was_reached_do_not_take_it_back() -> None:
    """Reports may come in before the next turn: what has been reached is reached, on a replay too."""
    world = flat()
    world.turn()
    for number, value in enumerate((0.5, 0.5, 0.5, 0.9)):
        world.turn()
        world.record([Reported(0, 0, number, f"{number:016x}", {"accuracy": value}, world.now)])
    world.restart()
    assert world.history.best_values is not None
    assert world.history.best_values.reached
    assert world.run().history.finished is not None
    assert world.outcomes() == ["Cancelled/Plateau"] * 2


# --- a threshold on a loss ---


@pytest.mark.parametrize(
    ("mode", "stop", "expected"),
    [
        pytest.param(Mode.MINIMIZE, {"loss": 0.3}, 1, id="a loss"),
        pytest.param(Mode.MINIMIZE, {"other": 0.3}, 0, id="another metric"),
        pytest.param(Mode.MAXIMIZE, {"loss": 0.3}, 0, id="more is better"),
    ],
)
def test_a_threshold_on_a_minimised_objective_is_kept_and_pointed_out(mode: Mode, stop: dict[str, float], expected: int) -> None:
    wanted = spec(num_samples=1, objective=Objective("loss", mode), stop=stop)
    world = World(wanted, lambda trial, attempt, params: Script([{"loss": 0.4}, {"loss": 0.2, "other": 0.0}]))
    assert status.notices(world.history, "sim") == []
    world.turn()
    told = [one for one in status.notices(world.history, "sim") if "as in Ray, though less is better" in one]
    assert len(told) == expected == len(cautions(wanted))
    world.run()
    assert world.history.trials[0].outcome is Outcome.SUCCEEDED
    assert (world.history.trials[0].reports == 1) == ("loss" in stop)


# --- metrics that only a plateau reads ---


def test_a_misspelt_plateau_metric_is_noticed() -> None:
    plateau = TrialPlateau("acuracy")
    world = World(
        spec(num_samples=1, stop_plateau=plateau, stop_experiment=StopExperiment(plateau=ExperimentPlateau("val"))),
        lambda trial, attempt, params: Script([{"accuracy": 1}] * 2),
    ).run()
    assert status.notices(world.history, "sim") == [
        "no trial has reported acuracy yet (stop.plateau.metric); seen: accuracy, training_iteration; did you mean accuracy?",
        "no trial has reported val yet (stopExperiment.plateau.metric); seen: accuracy, training_iteration",
    ]
    world.edit(stop_experiment=StopExperiment())
    assert [one for one in status.notices(world.history, "sim") if "val" in one] == []
    assert "Edited" in kinds(world.records)


# --- what cannot be evaluated ---


def test_an_expression_that_cannot_be_evaluated_is_told_once_and_after_a_restart_too() -> None:
    """Three trials and twelve reports lack what it reads: one notice, which is in the journal as all else is."""
    asks = Language(TRIAL_ID, RESULT).compile("result.typo > 0.4", condition=True)
    world = World(spec(stop_expression=asks, num_samples=3), steady(lines=4)).run()
    told = ['stop.expression counts as false where it cannot be evaluated: Key not found in map : "typo"']
    assert world.outcomes() == ["Succeeded/Completed"] * 3
    assert world.history.notes == told
    world.restart()
    assert world.history.notes == told


# --- draws that give no trial ---

PARAMS_LANGUAGE = Language(PARAMS)


def constrained(*parameters: Parameter, constraint: str, points: Sequence[Mapping[str, Any]] = ()) -> Space:
    return Space(parameters, (PARAMS_LANGUAGE.compile(constraint, condition=True),), tuple(points))


def test_where_no_draw_gives_a_trial_the_experiment_fails_after_a_hundred() -> None:
    """Neither more nor fewer, however many slots are free: where it ends must not hang on how trials happened to end."""
    never = constrained(Parameter("x", Uniform(low=0, high=1)), constraint="params.x > 2.0")
    for slots in (1, 7, 64):
        world = World(spec(space=never, num_samples=1000, max_concurrent=slots), steady()).run()
        assert world.history.finished is not None
        assert world.history.finished.reason == "ConstraintsNotMet"
        assert "the last 100 draws gave no trial, each tried up to 100 times; constraints[0] is not met" in (
            world.history.finished.message
        )
        assert world.history.skipped == 100


def test_with_fewer_draws_than_that_they_are_enough() -> None:
    never = constrained(Parameter("x", Uniform(low=0, high=1)), constraint="params.x > 2.0")
    world = World(spec(space=never, num_samples=3), steady()).run()
    assert world.history.finished is not None
    assert world.history.finished.reason == "ConstraintsNotMet"
    assert "the last 3 draws gave no trial" in world.history.finished.message


def test_a_whole_grid_is_gone_through_before_it_is_given_up() -> None:
    """Only the last 10 of 150 cells meet the constraint."""
    cells = constrained(Parameter("x", GridSearch(tuple(range(150)))), constraint="params.x >= 140")
    world = World(spec(space=cells, num_samples=1), steady()).run()
    assert world.outcomes() == ["Succeeded/Completed"] * 10
    assert [trial.params["x"] for trial in world.history.trials] == list(range(140, 150))


def test_what_runs_goes_on_when_there_is_nothing_more_to_draw() -> None:
    """Two points run for long; a hundred draws give nothing meanwhile, which is not the fault of these two."""
    points = [{"x": 3.0}, {"x": 4.0}]
    rare = constrained(Parameter("x", Uniform(low=0, high=1)), constraint="params.x > 2.0", points=points)
    world = World(spec(space=rare, num_samples=1000, max_concurrent=4), steady(lines=20)).run()
    assert world.outcomes() == ["Succeeded/Completed"] * 2
    assert world.history.finished is not None
    assert world.history.finished.reason == "ConstraintsNotMet"
