"""What became of an attempt when it did not simply end: lost, taken away, never able to begin; and an experiment of nothing but failures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from kubetune.wire import LOST
from kubetune_operator.core.plan import PodPhase
from kubetune_operator.core.records import Close, Closed, Condemned, Drained, End, Intent, Started
from tests.sim.world import WELL, Script, World, kinds, spec, steady

KEY = (0, 0)
TOLD = End(exit_code=143, terminated=True)


def running() -> World:
    """Give an experiment of one trial whose program runs and has reported once."""
    world = World(spec(num_samples=1), steady())
    world.turn()
    world.turn()
    world.tick()
    assert world.history.open[KEY].accepted == 1
    return world


def closed(world: World) -> list[tuple[Close, str, str]]:
    """Give how each attempt closed."""
    return [(one.close, one.reason, one.message) for one in world.records if isinstance(one, Closed)]


def test_a_program_that_was_lost_with_its_agent_is_tried_again() -> None:
    world = World(spec(num_samples=1), lambda t, a, p: Script([{"accuracy": 1}], WELL if a else End(error=LOST))).run()
    assert [close for close, _, _ in closed(world)] == [Close.DISRUPTED, Close.SUCCEEDED]
    assert "nobody saw how it ended" in closed(world)[0][2]
    assert (world.history.trials[0].failures, world.history.trials[0].disruptions) == (0, 1)


class TestToldToEndBySomebodyElse:
    """Its last word says that a SIGTERM came; why, only its pod can say."""

    def test_it_waits_for_the_pod_to_end(self) -> None:
        world = running()
        world.record([Drained(*KEY, 1, TOLD, world.now)])
        assert world.turn() == 0
        assert KEY in world.history.open

    @pytest.mark.parametrize(
        ("seen", "close", "message"),
        [
            ({"disrupted": "node n1 was drained"}, Close.DISRUPTED, "node n1 was drained"),
            ({}, Close.DISRUPTED, "it was told to end by somebody else (SIGTERM)"),
            ({"failure": ("StorageLimit", "it wrote more than its limit")}, Close.FAILED, "it wrote more than its limit"),
        ],
        ids=["disrupted", "unknown", "a limit"],
    )
    def test_the_pod_says_why(self, seen: dict[str, object], close: Close, message: str) -> None:
        world = running()
        world.record([Drained(*KEY, 1, TOLD, world.now)])
        world.turn()
        world.pods[KEY] = replace(world.pods[KEY], phase=PodPhase.ENDED, **seen)  # type: ignore[arg-type]
        world.turn()
        assert [(how, why) for how, _, why in closed(world)] == [(close, message)]

    def test_it_does_not_wait_where_we_ended_it(self) -> None:
        world = running()
        world.suspend = True
        world.turn()
        world.record([Drained(*KEY, 1, TOLD, world.now)])
        world.turn()
        assert closed(world) == [(Close.INTENDED, "Suspended", "")]


def test_a_pod_that_can_never_begin_is_condemned_ended_and_has_failed() -> None:
    world = running()
    world.pods[KEY] = replace(world.pods[KEY], failure=("ImagePullBackOff", "no such image: x"))
    world.turn()
    condemned = [one for one in world.records if isinstance(one, Condemned)]
    assert [(one.intent, one.reason, one.message) for one in condemned] == [(Intent.FAIL, "ImagePullBackOff", "no such image: x")]
    assert world.pods[KEY].deleting
    assert closed(world) == [], "not before its pod has ended"
    world.tick()
    world.turn()
    assert closed(world) == [(Close.FAILED, "ImagePullBackOff", "no such image: x")]
    assert world.outcomes() == ["Failed/ImagePullBackOff"]
    assert list(kinds(world.records)).count("Condemned") == 1


class TestTheBackoffAfterADisruption:
    """Ten seconds by the clock, whatever happens to the clock."""

    @pytest.mark.parametrize(("passed", "starts"), [(0, False), (9.5, False), (10, True), (-0.5, True), (-3600, True)], ids=str)
    def test_a_clock_that_was_put_back_holds_nothing_up(self, passed: float, *, starts: bool) -> None:
        world = running()
        del world.pods[KEY]
        world.turn()
        assert closed(world)[0][0] is Close.DISRUPTED
        world.now += passed
        world.turn()
        assert [one.attempt for one in world.records if isinstance(one, Started)] == ([0, 1] if starts else [0])


class TestAnExperimentAllOfWhoseTrialsFailed:
    """Too few of them to be too many, and each for a reason of its own."""

    def test_has_failed(self) -> None:
        world = World(spec(num_samples=3), lambda t, a, p: Script([{"accuracy": 1}], End(exit_code=t + 1, tail="no data")))
        world.run()
        assert world.history.finished
        assert world.history.finished.reason == "AllTrialsFailed"
        assert world.history.finished.message.startswith("every trial failed; the last: ExitCode: exit code ")
        assert world.history.finished.message.endswith(": no data")

    def test_has_not_if_one_did_not(self) -> None:
        world = World(spec(num_samples=3), lambda t, a, p: Script([{"accuracy": 1}], End(exit_code=t))).run()
        assert world.history.finished
        assert world.history.finished.reason == "Completed"

    def test_goes_on_with_more_samples_and_may_be_completed_then(self) -> None:
        world = World(spec(num_samples=3), lambda t, a, p: Script([{"accuracy": 1}], End(exit_code=(t + 1) % 4)))
        world.run()
        world.edit(num_samples=4)
        world.run()
        assert world.history.finished
        assert world.history.finished.reason == "Completed"
        assert world.outcomes()[3] == "Succeeded/Completed"
