"""trial.startDeadlineSeconds and .progressDeadlineSeconds: whom they fail, when, and what the failure says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from kubetune_operator.core.plan import Create, Room, plan
from kubetune_operator.core.records import Condemned, Drained, End, Refused
from kubetune_operator.core.spec import Deadlines, Failure
from tests.sim.world import Line, Script, World, spec

SAYS: Line = {"accuracy": 0.5}
UNSCHEDULABLE = "Unschedulable: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


def condemned(world: World) -> list[tuple[str, str, float]]:
    """Give reason, message and time (since the beginning) of each attempt that we have ended."""
    found = [record for record in world.records if isinstance(record, Condemned)]
    return [(record.reason, record.message, record.time - 1000) for record in found]


def pending(seconds: float, start: float, **changes: object) -> World:
    """Give one trial whose pod is Pending for so long."""
    script = Script([SAYS, SAYS], begins_after=seconds, waits_for=UNSCHEDULABLE)
    return World(spec(num_samples=1, deadlines=Deadlines(start=start), **changes), lambda trial, attempt, params: script)


def saying(lines: Sequence[Line], progress: float, **changes: object) -> World:
    """Give one trial that says these lines, one a second."""
    script = Script(lines)
    return World(spec(num_samples=1, deadlines=Deadlines(progress=progress), **changes), lambda trial, attempt, params: script)


def test_a_pod_that_is_pending_for_too_long_fails_its_trial_and_names_what_it_waits_for() -> None:
    world = pending(9e9, 10).run()
    message = f"its program has not begun for 10 s (trial.startDeadlineSeconds); {UNSCHEDULABLE}"
    assert condemned(world) == [("StartDeadline", message, 10)]
    assert world.outcomes() == ["Failed/StartDeadline"]
    assert world.history.trials[0].message == message


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(9, "Succeeded/Completed"), (11, "Failed/StartDeadline")],
    ids=["in time", "too late"],
)
def test_a_program_that_begins_in_time_is_left_alone(seconds: float, expected: str) -> None:
    assert pending(seconds, 10).run().outcomes() == [expected]


def test_an_attempt_without_a_pod_is_not_pending() -> None:
    """It waits for a quota, say: that may take as long as it takes."""
    world = pending(0, 10)
    step = plan(world.history, {}, Room(), world.now)
    world.record(step.records)
    later = plan(world.history, {}, Room(), world.now + 1000)
    assert (later.records, later.acts, later.wake) == ((), (Create(0, 0),), None)


def test_a_slow_program_has_met_its_start_deadline() -> None:
    world = World(
        spec(num_samples=1, deadlines=Deadlines(start=3)), lambda trial, attempt, params: Script([*[None] * 20, SAYS])
    ).run()
    assert world.outcomes() == ["Succeeded/Completed"]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([*[None] * 30], [("since it began", 5)], id="never a report"),
        pytest.param([SAYS, SAYS, *[None] * 30], [("since its last report", 7)], id="silent after two"),
        pytest.param([SAYS, *[None] * 3, SAYS, *[None] * 3, SAYS], [], id="slow, but in time"),
    ],
)
def test_a_program_that_says_nothing_for_too_long_fails(lines: list[Line], expected: list[tuple[str, float]]) -> None:
    world = saying(lines, 5).run()
    found = [
        ("ProgressDeadline", f"it has not reported for 5 s {since} (trial.progressDeadlineSeconds)", time)
        for since, time in expected
    ]
    assert condemned(world) == found
    assert world.outcomes() == (["Failed/ProgressDeadline"] if found else ["Succeeded/Completed"])


def test_pending_is_no_lack_of_progress() -> None:
    script = Script([SAYS], begins_after=60)
    world = World(spec(num_samples=1, deadlines=Deadlines(progress=5)), lambda trial, attempt, params: script).run()
    assert world.outcomes() == ["Succeeded/Completed"]


def test_a_refused_line_of_a_program_that_is_not_seen_to_have_begun_yet_fails_nobody() -> None:
    """The line comes from the pod itself, that it has begun from the API server: a moment later."""
    world = saying([SAYS], 60)
    world.now += 100  # since when this process listens
    world.turn()
    world.pods[0, 0] = replace(world.pods[0, 0], begun=None)
    world.now += 1
    world.record([Refused(0, 0, 0, f"{0:016x}", "not JSON", world.now)])
    world.turn()
    assert (condemned(world), world.wake) == ([], 1160)


@pytest.mark.parametrize("program", [Script([], begins_after=9e9), Script([None] * 99)], ids=["pending", "hung"])
def test_they_are_failures_that_are_tried_again(program: Script) -> None:
    def first_is_bad(trial: int, attempt: int, params: object) -> Script:
        return program if attempt < 2 else Script([SAYS])

    limits = Deadlines(start=4, progress=4)
    world = World(spec(num_samples=1, deadlines=limits, failure=Failure(max_failures=2)), first_is_bad).run()
    assert world.outcomes() == ["Succeeded/Completed"]
    assert world.history.trials[0].failures == 2


def test_trials_that_all_fail_so_end_the_experiment() -> None:
    world = World(spec(num_samples=50, deadlines=Deadlines(start=4)), lambda t, a, p: Script([], begins_after=9e9)).run()
    assert world.history.finished is not None
    assert world.history.finished.reason == "StartDeadline"
    assert len(world.history.trials) == 2


def test_the_clock_alone_asks_for_the_turn_that_fails_them() -> None:
    world = World(
        spec(num_samples=2, deadlines=Deadlines(start=40, progress=30)),
        lambda trial, attempt, params: Script([], begins_after=0 if trial else 9e9),
    )
    world.turn()
    assert world.wake == 1030
    world.now = 1030
    world.turn()
    assert [reason for reason, *_ in condemned(world)] == ["ProgressDeadline"]
    assert world.wake == 1040


@pytest.mark.parametrize(
    "world", [pending(14, 10), saying([SAYS, *[None] * 8, SAYS], 5)], ids=["startDeadlineSeconds", "progressDeadlineSeconds"]
)
def test_time_in_which_nobody_listened_does_not_count(world: World) -> None:
    """The operator is down for long, after four seconds and after eight: what counts begins when it is back."""
    for _ in range(2):
        for _ in range(4):
            world.turn()
            world.tick()
        world.now += 1000
        for key in world.begins:
            world.begins[key] += 1000
        world.restart()
    world.run()
    assert condemned(world) == []
    assert world.outcomes() == ["Succeeded/Completed"]


def test_suspending_comes_first_and_fails_nothing() -> None:
    world = pending(9e9, 10)
    world.turn()
    world.now += 50
    world.edit(suspend=True)
    world.turn()
    assert [reason for reason, *_ in condemned(world)] == ["Suspended"]


@pytest.mark.parametrize(
    "seen",
    [{"deleting": True}, {"end": End(exit_code=0)}],
    ids=["somebody deletes it", "its program has ended, and its sidecar sends the rest"],
)
def test_who_is_on_the_way_out_is_not_silent(seen: dict[str, Any]) -> None:
    """What becomes of it is seen when it has gone."""
    world = saying([SAYS], 5)
    world.turn()
    world.tick()
    world.pods[0, 0] = replace(world.pods[0, 0], **seen)
    world.now += 100
    assert (world.turn(), world.wake) == (0, None)


def test_who_has_sent_its_last_word_is_not_silent() -> None:
    """Told to end by somebody else: its pod will say who that was."""
    world = saying([SAYS], 5)
    world.turn()
    world.tick()
    world.record([Drained(0, 0, 1, End(signal=15, terminated=True), world.now)])
    world.now += 100
    assert (world.turn(), world.wake) == (0, None)


def test_without_them_nobody_is_failed() -> None:
    world = World(spec(num_samples=1), lambda t, a, p: Script([SAYS, *[None] * 900, SAYS], begins_after=500)).run()
    assert world.outcomes() == ["Succeeded/Completed"]
