"""The life of trials and experiments, each rule as a run to the end on virtual time."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubetune_operator import status
from kubetune_operator.core.plan import PodPhase
from kubetune_operator.core.records import Closed, Decided, End, Ended, Intent, Outcome, Started
from kubetune_operator.core.schedulers.asha import Asha
from kubetune_operator.core.schedulers.median import MedianStopping
from kubetune_operator.core.spec import Failure, StopExperiment
from kubetune_operator.core.trials import Decision, Mode, Objective, Scope
from tests.sim.world import Script, World, kinds, refold, spec, steady


def test_every_trial_runs_to_its_end_and_the_best_is_named() -> None:
    world = World(spec(), steady()).run()
    assert world.outcomes() == ["Succeeded/Completed"] * 6
    best = status.best(world.history)
    assert best is not None
    assert best.params["x"] == max(trial.params["x"] for trial in world.history.trials)
    assert world.history.finished is not None
    assert world.history.finished.reason == "Completed"


def test_never_more_at_once_than_allowed() -> None:
    world = World(spec(num_samples=9, max_concurrent=3), steady())
    most = 0
    while not world.history.finished:
        world.turn()
        most = max(most, len(world.history.open))
        world.tick()
    assert most == 3


@pytest.mark.parametrize(
    ("end", "reason", "says"),
    [
        (End(exit_code=3), "ExitCode", "exit code 3"),
        (End(exit_code=127, error="command not found: trian"), "NotStarted", "command not found: trian"),
        (End(signal=9), "Killed", "signal 9"),
        (End(exit_code=137, oom=True), "OOMKilled", "more memory"),
        (End(error="AgentFailed: no memory"), "Lost", "AgentFailed"),
    ],
    ids=["exit-3", "not-found", "killed", "oom", "lost"],
)
def test_a_program_that_fails_is_named_and_the_others_go_on(end: End, reason: str, says: str) -> None:
    def program(trial: int, attempt: int, params: object) -> Script:
        return Script([{"accuracy": 0.5}], end if trial == 1 else End(exit_code=0))

    world = World(spec(), program).run()
    expected = ["Succeeded/Completed"] * 6
    expected[1] = f"Failed/{reason}"
    assert world.outcomes() == expected
    assert says in world.history.trials[1].message
    assert world.history.finished
    assert world.history.finished.reason == "Completed"


def test_exit_0_without_a_report_is_a_failure() -> None:
    world = World(spec(), lambda trial, attempt, params: Script([{"accuracy": 1}] if trial else [])).run()
    assert world.outcomes()[0] == "Failed/NoReports"


def test_a_failure_is_tried_again_as_a_new_attempt_with_the_same_parameters() -> None:
    def program(trial: int, attempt: int, params: object) -> Script:
        return Script([{"accuracy": 0.1 * attempt}], End(exit_code=int(trial == 2 and attempt < 2)))

    world = World(spec(failure=Failure(max_failures=2)), program).run()
    assert world.outcomes() == ["Succeeded/Completed"] * 6
    assert [key for key in world.created if key[0] == 2] == [(2, 0), (2, 1), (2, 2)]
    assert world.history.trials[2].value == pytest.approx(0.2)


def test_failures_beyond_max_failures_end_the_trial() -> None:
    world = World(
        spec(failure=Failure(max_failures=1)),
        lambda t, a, p: Script([], End(exit_code=int(t == 3) * 4) if t else End(exit_code=4)),
    )
    world.program = lambda t, a, p: Script([{"accuracy": 1}], End(exit_code=4 * (t == 3)))
    world.run()
    assert world.outcomes()[3] == "Failed/ExitCode"
    assert world.history.trials[3].attempts == 2


def test_a_disruption_is_no_failure_and_waits_ten_seconds_then_twenty() -> None:
    def program(trial: int, attempt: int, params: object) -> Script:
        return Script([{"accuracy": 1}], disrupted="node lost" if attempt < 2 else "")

    world = World(spec(num_samples=1), program).run()
    assert world.outcomes() == ["Succeeded/Completed"]
    closed = [one.time for one in world.records if isinstance(one, Closed)]
    started = [one.time for one in world.records if isinstance(one, Started)]
    assert [start - close for start, close in zip(started[1:], closed, strict=False)] == [10.0, 20.0]
    assert world.history.trials[0].failures == 0


def test_disruptions_have_a_cap_of_their_own() -> None:
    world = World(spec(num_samples=1, failure=Failure(max_disruptions=2)), lambda t, a, p: Script([], disrupted="evicted"))
    world.run()
    assert world.outcomes() == ["Failed/Disrupted"]
    assert world.history.trials[0].attempts == 3


def test_a_pod_that_vanished_unseen_is_a_disruption() -> None:
    world = World(spec(num_samples=1), steady())
    world.turn()
    world.turn()
    del world.pods[(0, 0)]
    world.turn()
    assert [one.reason for one in world.records if isinstance(one, Closed)] == ["Disrupted"]
    world.run()
    assert world.outcomes() == ["Succeeded/Completed"]


def test_asha_stops_the_weak_early_and_says_so() -> None:
    world = World(spec(num_samples=12, max_concurrent=4, scheduler=Asha(max_t=9, reduction_factor=3)), steady(20)).run()
    tally = Counter(world.outcomes())
    assert tally["Stopped/Asha"] >= 4
    assert tally["Succeeded/MaxT"] >= 1
    assert tally["Stopped/Asha"] + tally["Succeeded/MaxT"] == 12


MEDIAN = MedianStopping("training_iteration", grace_period=1, min_samples_required=2)


def test_median_stopping_stops_whoever_was_never_as_good_as_the_others_on_average_and_says_so() -> None:
    """One after the other: trial 1 is better than trial 0, trial 2 better than neither, and so on by hand."""
    levels = [0.4, 0.6, 0.3, 0.7, 0.45]
    world = World(spec(num_samples=5, max_concurrent=1, scheduler=MEDIAN), lambda t, a, p: Script([{"accuracy": levels[t]}] * 4))
    world.run()
    ran = "Succeeded/Completed"
    # The medians that they meet at step 1: of trials 2, 3 and 4 they are 0.5, 0.4 and 0.5, half-way between the middle two.
    assert world.outcomes() == [ran, ran, "Stopped/MedianStopping", ran, "Stopped/MedianStopping"]
    assert [trial.reports for trial in world.history.trials] == [4, 4, 1, 4, 1]
    assert refold(world.spec, world.records).trials == world.history.trials


def test_nobody_is_paused_without_a_checkpoint_and_the_decision_says_so() -> None:
    """`hardStop: false` asks for a pause; nothing could bring the trial back to where it was, so it runs to its end."""
    soft = replace(MEDIAN, hard_stop=False)
    world = World(
        spec(num_samples=3, max_concurrent=1, scheduler=soft), lambda t, a, p: Script([{"accuracy": (0.5, 0.6, 0.1)[t]}] * 3)
    ).run()
    assert world.outcomes() == ["Succeeded/Completed"] * 3
    assert [trial.attempts for trial in world.history.trials] == [1, 1, 1]
    decided = [one for one in world.records if isinstance(one, Decided)]
    assert {one.decision for one in decided} == {Decision.CONTINUE}
    (paused,) = [one for one in decided if "wanted" in one.facts]
    assert (paused.trial, paused.number, paused.reason) == (2, 0, "MedianStopping")
    assert paused.facts["wanted"] == "Pause"
    assert paused.facts["why_not"] == "there is no checkpoint to go on from"
    assert paused.facts["median_loss"] == -0.55


def test_lines_after_a_stop_are_kept_but_never_judged_nor_best() -> None:
    world = World(spec(num_samples=1, stop={"accuracy": 0.5}), lambda t, a, p: Script([{"accuracy": 0.6}, {"accuracy": 0.9}]))
    world.turn()
    world.turn()
    world.tick()
    world.step((0, 0), world.pods[(0, 0)])
    assert world.history.open[(0, 0)].accepted == 2
    world.run()
    assert world.outcomes() == ["Succeeded/StopMetrics"]
    assert world.history.trials[0].value == 0.6


@pytest.mark.parametrize(
    ("stop", "line", "stops"),
    [
        ({"training_iteration": 2}, {"accuracy": 0.1}, 2),
        ({"loss": 0.3}, {"accuracy": 0.1, "loss": 0.4}, 1),
        ({"val/loss": 0.3}, {"accuracy": 0.1, "val": {"loss": 0.3}}, 1),
        ({"absent": 0.0}, {"accuracy": 0.1}, 5),
        ({"accuracy": 0.2}, {"accuracy": float("nan")}, 5),
        ({}, {"accuracy": 0.1, "done": True}, 1),
    ],
    ids=["iterations", "a-loss-too", "nested", "absent-never", "nan-never", "done"],
)
def test_stop_metrics_is_rays_rule(stop: dict[str, float], line: dict[str, object], stops: int) -> None:
    world = World(spec(num_samples=1, stop=stop), lambda t, a, p: Script([line] * 5)).run()
    assert world.history.trials[0].reports == stops


def test_the_goal_ends_everything_and_its_trial_counts_as_complete() -> None:
    program = lambda t, a, p: Script([{"accuracy": 0.95 if t == 2 else 0.5}] * 4)  # noqa: E731
    world = World(spec(num_samples=20, stop_experiment=StopExperiment(goal=0.9)), program).run()
    assert world.history.finished
    assert world.history.finished.reason == "GoalReached"
    best = status.best(world.history)
    assert best is not None
    assert best.number == 2
    assert best.complete
    assert len(world.history.trials) < 20
    assert all(trial.outcome for trial in world.history.trials)


def test_a_goal_on_a_loss_is_reached_from_above() -> None:
    objective = Objective("loss", Mode.MINIMIZE)
    world = World(
        spec(objective=objective, stop_experiment=StopExperiment(goal=0.1)),
        lambda t, a, p: Script([{"loss": 0.5}, {"loss": 0.05}]),
    )
    world.run()
    assert world.history.finished
    assert world.history.finished.reason == "GoalReached"


@pytest.mark.parametrize(("allowed", "failed"), [(0, 1), (2, 3), (None, 6)], ids=["none", "two", "default-is-five"])
def test_too_many_failed_trials_end_the_experiment(allowed: int | None, failed: int) -> None:
    program = lambda t, a, p: Script([{"accuracy": 1}], End(exit_code=t % 2 * (t + 1)))  # noqa: E731
    wanted = spec(num_samples=40, max_concurrent=1, stop_experiment=StopExperiment(max_failed_trials=allowed))
    world = World(wanted, program).run()
    assert world.history.finished
    assert world.history.finished.reason == "TooManyFailedTrials"
    assert world.history.failed == failed


def test_the_default_allows_a_tenth_of_the_trials_started() -> None:
    """Of 100 trials every eleventh fails: 9 are more than 5, but never more than a tenth once there are many."""
    program = lambda t, a, p: Script([{"accuracy": 1}], End(exit_code=int(t % 11 == 10)))  # noqa: E731
    world = World(spec(num_samples=100, max_concurrent=4), program).run()
    assert world.history.finished
    assert world.history.finished.reason == "Completed"
    assert world.history.failed == 9


@pytest.mark.parametrize(("at_once", "most"), [(1, 2), (3, 6)], ids=["one at a time, two show it", "three at once"])
def test_when_the_first_trials_all_fail_alike_the_experiment_ends_with_that_reason(at_once: int, most: int) -> None:
    wanted = spec(num_samples=50, max_concurrent=at_once)
    world = World(wanted, lambda t, a, p: Script([], End(exit_code=127, error="command not found: x"))).run()
    assert world.history.finished
    assert world.history.finished.reason == "NotStarted"
    assert len(world.history.trials) <= most


def test_lowering_max_concurrent_ends_nothing_for_the_first_having_failed_alike() -> None:
    bad = Script([], End(exit_code=3))
    world = World(spec(num_samples=9, max_concurrent=4), lambda t, a, p: bad if t < 2 else Script([{"accuracy": t}] * 5))
    for _ in range(4):
        world.turn()
        world.tick()
    assert world.history.failed == 2
    world.edit(max_concurrent=2)
    world.run()
    assert world.history.finished
    assert world.history.finished.reason == "Completed"
    assert world.history.ended - world.history.failed == 7


def test_the_first_having_failed_alike_ends_nothing_where_others_did_well() -> None:
    late = Script([{"loss": 1}] * 9, End(exit_code=3))
    world = World(
        spec(num_samples=9, max_concurrent=2),
        lambda t, a, p: late if t == 1 else Script([{"accuracy": t}], End(exit_code=3 * (t == 0))),
    ).run()
    assert world.history.finished
    assert world.history.finished.reason == "Completed"


def test_pods_that_never_begin_fail_alike_whatever_each_is_said_to_lack() -> None:
    world = World(spec(num_samples=50, max_concurrent=3), steady(90))
    while not world.history.finished:
        world.turn()
        for key, pod in world.pods.items():
            if pod.phase is PodPhase.RUNNING:
                world.pods[key] = replace(pod, failure=("ErrImagePull", f"said at {world.now}, of {key}"))
        world.tick()
    assert world.history.finished.reason == "ErrImagePull"
    assert len(world.history.trials) <= 6


def test_fail_fast_ends_at_the_first_failure() -> None:
    program = lambda t, a, p: Script([{"accuracy": 1}], End(exit_code=int(t == 1)))  # noqa: E731
    world = World(spec(num_samples=50, failure=Failure(fail_fast=True)), program).run()
    assert world.history.finished
    assert world.history.finished.reason == "FailFast"


def test_suspended_trials_are_started_anew_when_it_goes_on() -> None:
    world = World(spec(num_samples=3), steady(5))
    world.turn()
    world.turn()
    world.tick()
    world.suspend = True
    world.run()
    assert not world.history.open
    world.suspend = False
    world.run()
    assert world.outcomes() == ["Succeeded/Completed"] * 3
    assert [key for key in world.created if key[1]] == [(0, 1), (1, 1)]
    assert world.history.trials[0].failures == world.history.trials[0].disruptions == 0


def test_a_stopped_trial_that_ignores_sigterm_says_so() -> None:
    program = lambda t, a, p: Script([{"accuracy": 0.6}], ignores_sigterm=True)  # noqa: E731
    world = World(spec(num_samples=1, stop={"accuracy": 0.5}), program).run()
    assert "ignored SIGTERM" in world.history.trials[0].message


@pytest.mark.parametrize(("scope", "value"), [(Scope.LAST, 0.2), (Scope.BEST, 0.9)])
def test_scope_says_what_a_trial_is_worth(scope: Scope, value: float) -> None:
    lines = [{"accuracy": 0.1}, {"accuracy": 0.9}, {"accuracy": 0.2}]
    wanted = spec(num_samples=1, objective=Objective("accuracy", Mode.MAXIMIZE, scope))
    assert World(wanted, lambda t, a, p: Script(lines)).run().history.trials[0].value == value


def test_what_is_not_finite_is_recorded_and_never_best() -> None:
    lines = {0: [{"accuracy": float("inf")}], 1: [{"accuracy": float("nan")}], 2: [{"accuracy": -5.0}]}
    world = World(spec(num_samples=3), lambda t, a, p: Script(lines[t])).run()
    assert world.outcomes() == ["Succeeded/Completed"] * 3
    assert [trial.number for trial in status.top(world.history)] == [2]


STANDING: dict[str, dict[str, Any]] = {
    "had its whole budget": {"outcome": Outcome.SUCCEEDED, "complete": True},
    "ended with its experiment": {"outcome": Outcome.CANCELLED, "complete": False},
    "still running": {"outcome": None, "complete": False},
    "stopped early": {"outcome": Outcome.STOPPED, "complete": False},
    "failed": {"outcome": Outcome.FAILED, "complete": False},
}


@pytest.mark.parametrize(("better", "worse"), list(itertools.pairwise(["still running", "stopped early", "failed"])))
def test_who_was_stopped_early_ranks_after_all_others_and_who_failed_last(better: str, worse: str) -> None:
    history = World(spec(num_samples=2), steady()).run().history
    history.trials[:] = [
        replace(history.trials[0], loss=-0.9, **STANDING[worse]),
        replace(history.trials[1], loss=-0.1, **STANDING[better]),
    ]
    assert [trial.number for trial in status.top(history)] == [1, 0]


@pytest.mark.parametrize("one", ["had its whole budget", "ended with its experiment", "still running"])
@pytest.mark.parametrize("other", ["had its whole budget", "ended with its experiment", "still running"])
def test_among_those_that_lost_to_nobody_the_value_counts_alone(one: str, other: str) -> None:
    history = World(spec(num_samples=2), steady()).run().history
    history.trials[:] = [
        replace(history.trials[0], loss=-0.1, **STANDING[one]),
        replace(history.trials[1], loss=-0.9, **STANDING[other]),
    ]
    assert [trial.number for trial in status.top(history)] == [1, 0]


def test_who_is_being_stopped_has_lost_already() -> None:
    wanted = spec(num_samples=9, max_concurrent=3, scheduler=Asha(max_t=3, reduction_factor=3))
    world = World(wanted, lambda t, a, p: Script([{"accuracy": 0.9 - t / 100 - step * 0.3} for step in range(5)]))
    seen = 0
    while not world.history.finished:
        world.turn()
        being_stopped = [a.trial for a in world.history.open.values() if a.intent is Intent.STOP and not a.complete]
        ranked = [trial.number for trial in status.top(world.history, 9)]
        lost = {*being_stopped, *(trial.number for trial in world.history.trials if trial.outcome is Outcome.STOPPED)}
        assert [number in lost for number in ranked] == sorted(number in lost for number in ranked)
        seen += len(being_stopped)
        world.tick()
    assert seen


@st.composite
def programs(draw: st.DrawFn) -> dict[tuple[int, int], Script]:
    """Scripts for some attempts; the others report once and end well."""
    value = st.one_of(st.floats(-2, 2), st.sampled_from([float("nan"), float("inf")]))
    line = st.fixed_dictionaries({"accuracy": value}, optional={"training_iteration": st.integers(-1, 12)}) | st.just(
        {"other": 1}
    )
    end = st.sampled_from([End(exit_code=0), End(exit_code=3), End(signal=9), End(exit_code=0, error=None)])
    script = st.builds(Script, st.lists(line, max_size=6), end, st.sampled_from(["", "", "", "evicted"]))
    return draw(st.dictionaries(st.tuples(st.integers(0, 7), st.integers(0, 2)), script, max_size=12))


@given(scripts=programs(), limit=st.integers(1, 4), max_failures=st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_whatever_programs_do_it_ends_and_a_restart_after_any_record_changes_nothing(
    scripts: dict[tuple[int, int], Script], limit: int, max_failures: int
) -> None:
    def program(trial: int, attempt: int, params: object) -> Script:
        return scripts.get((trial, attempt), Script([{"accuracy": 0.5}]))

    wanted = spec(
        num_samples=8,
        max_concurrent=limit,
        scheduler=Asha(max_t=4, reduction_factor=2),
        failure=Failure(max_failures=max_failures),
    )
    undisturbed = World(wanted, program).run(900)
    assert all(trial.outcome for trial in undisturbed.history.trials)
    ended = [one.trial for one in undisturbed.records if isinstance(one, Ended)]
    assert sorted(ended) == list(range(len(undisturbed.history.trials))), "each ends once"
    assert len(undisturbed.created) == len(set(undisturbed.created)), "no attempt is created twice"
    again = refold(wanted, undisturbed.records)
    assert again.trials == undisturbed.history.trials
    restless = World(wanted, program)
    for _ in range(900):
        restless.restart()
        restless.turn()
        if restless.history.finished:
            break
        restless.restart()
        restless.tick()
    assert list(kinds(restless.records)) == list(kinds(undisturbed.records))
    assert repr(restless.history.trials) == repr(undisturbed.history.trials)
