"""stopExperiment.timeBudgetSeconds: what is charged and what is not, with crashes wherever they may come."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubetune_operator import status
from kubetune_operator.core.budget import EVERY
from kubetune_operator.core.endings import goes_on
from kubetune_operator.core.records import Charged, Ending, Finished, Started
from kubetune_operator.core.spec import StopExperiment
from tests.sim.world import Script, World, kinds, spec, steady

BUDGET = 25.0
DOWN = 1000.0


def budgeted(budget: float | None = BUDGET, **changes: Any) -> World:
    """Give an experiment that would run for much longer than its budget."""
    return World(spec(num_samples=50, stop_experiment=StopExperiment(time_budget=budget), **changes), steady(100))


def ended(world: World) -> tuple[str, float]:
    """Run to the end; give its reason, and when it was decided."""
    world.run()
    ending = next(record for record in world.records if isinstance(record, Ending))
    return ending.reason, ending.time


def test_it_ends_when_the_time_is_spent_and_its_trials_say_so() -> None:
    world = budgeted()
    assert ended(world) == ("TimeBudget", 1000 + BUDGET)
    finished = world.history.finished
    assert finished is not None
    assert finished.message == "25 s are spent of the 25 s that stopExperiment.timeBudgetSeconds allows"
    assert world.outcomes() == ["Cancelled/TimeBudget"] * 2
    assert status.succeeded(world.history)
    assert [record.seconds for record in world.records if isinstance(record, Charged)] == [10, 20, 25]


def test_the_clock_alone_asks_for_the_turns_that_end_it() -> None:
    world = World(
        spec(stop_experiment=StopExperiment(time_budget=BUDGET)), lambda trial, attempt, params: Script([], begins_after=9e9)
    )
    world.turn()
    times = []
    while not world.history.ending:
        assert world.wake is not None
        world.now = world.wake
        times.append(world.now - 1000)
        world.turn()
    assert times == [10, 20, 25]


def test_without_a_budget_nothing_is_charged() -> None:
    world = budgeted(None, max_concurrent=9)
    for _ in range(40):
        world.turn()
        world.tick()
    assert "Charged" not in kinds(world.records)


def test_it_begins_with_the_first_attempt() -> None:
    world = World(spec(num_samples=50, stop_experiment=StopExperiment(time_budget=BUDGET), suspend=True), steady(100))
    for _ in range(60):
        world.turn()
        world.tick()
    world.edit(suspend=False)
    assert ended(world) == ("TimeBudget", 1060 + BUDGET)


def test_all_done_in_time_is_completed() -> None:
    world = World(spec(num_samples=2, stop_experiment=StopExperiment(time_budget=5)), steady(3))
    assert ended(world) == ("Completed", 1004)
    assert world.history.charged == 4


@pytest.mark.parametrize("crash", range(27))
def test_a_crash_costs_the_user_nothing_and_spares_at_most_what_was_not_recorded(crash: int) -> None:
    world = budgeted()
    for _ in range(crash):
        world.turn()
        world.tick()
    world.now += DOWN
    world.restart()
    reason, time = ended(world)
    up = time - 1000 - (DOWN if world.since > 1000 and time > DOWN + 1000 else 0)
    assert reason == "TimeBudget"
    assert BUDGET <= up <= BUDGET + EVERY


class Crashed(Exception):
    """The process died."""


class Mortal(World):
    """Dies right after one of its records became durable."""

    last = math.inf  # the number of that record
    died = False

    def record(self, records: Any) -> None:
        """Record one by one."""
        for one in records:
            super().record([one])
            if not self.died and len(self.records) >= self.last:
                self.died = True
                raise Crashed


@pytest.mark.parametrize("last", range(2, 70))
def test_it_may_die_after_any_record(last: int) -> None:
    """An hour later another goes on: the end is the same, with the whole budget and no more than EVERY seconds beyond it."""
    world = Mortal(spec(num_samples=50, stop_experiment=StopExperiment(time_budget=BUDGET)), steady(6))
    world.last = last
    down = 0.0
    while world.history.finished is None:
        try:
            world.turn()
            if world.history.finished is None:
                world.tick()
        except Crashed:
            down = DOWN
            world.now += DOWN
            world.restart()
    assert down == DOWN
    finished = world.history.finished
    assert finished.reason == "TimeBudget"
    ending = next(record for record in world.records if isinstance(record, Ending))
    died_before = next(number for number, record in enumerate(world.records, 1) if record is ending) > last
    assert BUDGET <= ending.time - 1000 - (down if died_before else 0) <= BUDGET + EVERY


def work(world: World, seconds: float = 9e9) -> float:
    """Work for so long, or to the end; give the seconds."""
    began = world.now
    while True:
        world.turn()
        if world.history.ending or world.now >= began + seconds:
            return world.now - began
        world.tick()


def stop(world: World) -> float:
    """Stop as Ctrl-C does, wait for what runs to end, and begin again later; give the seconds that the first took."""
    world.suspend = True
    began = world.now
    world.turn()
    while world.history.open:
        world.tick()
        world.turn()
    took = world.now - began
    world.suspend = False
    begin_again(world)
    return took


def begin_again(world: World) -> None:
    """Let another process take it up, much later."""
    world.now += DOWN
    world.restart()


def suspend(world: World, seconds: float) -> None:
    """Suspend it for so long."""
    world.edit(suspend=True)
    work(world, seconds)
    world.edit(suspend=False)


STEPS = st.lists(st.tuples(st.sampled_from(["work", "suspend", "crash", "stop"]), st.integers(1, 15)), max_size=12)


@settings(max_examples=40)
@given(STEPS)
def test_only_time_at_work_is_charged(steps: list[tuple[str, int]]) -> None:
    """A second count, made outside: seconds in which it ran and was not suspended."""
    world, worked = budgeted(), 0.0
    for kind, length in steps:
        world.turn()
        if world.history.ending:
            break
        match kind:
            case "work":
                worked += work(world, length)
            case "stop":
                worked += stop(world)
            case "suspend":
                suspend(world, length)
            case "crash":
                begin_again(world)
    worked += work(world)
    assert world.history.ending is not None
    assert world.history.ending.reason == "TimeBudget"
    assert BUDGET <= worked <= BUDGET + EVERY * sum(kind == "crash" for kind, _ in steps)
    assert world.history.charged == BUDGET


def test_while_it_is_suspended_nothing_is_charged_and_nothing_recorded() -> None:
    world = budgeted()
    for _ in range(7):
        world.turn()
        world.tick()
    world.edit(suspend=True)
    world.now += 3  # the next turn comes late
    for _ in range(40):
        world.turn()
        world.tick()
    assert [(record.seconds, record.time) for record in world.records if isinstance(record, Charged)] == [(7, 1007)]
    world.edit(suspend=False)
    assert ended(world) == ("TimeBudget", 1050 + BUDGET - 7)


@pytest.mark.parametrize("restarts", [False, True], ids=["the same process", "another process"])
@pytest.mark.parametrize("budget", [40.0, None], ids=["raised", "taken away"])
def test_more_time_goes_on(budget: float | None, *, restarts: bool) -> None:
    world = budgeted().run()
    world.now += 500
    world.edit(stop_experiment=StopExperiment(time_budget=budget), num_samples=4)
    assert goes_on(world.history)
    if restarts:
        world.restart()
    world.run(ticks=500)
    assert world.history.finished is not None
    assert world.history.finished.reason == ("TimeBudget" if budget else "Completed")
    endings = [record.time for record in world.records if isinstance(record, Ending)]
    if budget:
        assert endings[1] == 1000 + BUDGET + 1 + 500 + 15
        assert status.nothing_to_do(world.history).endswith("; raise stopExperiment.timeBudgetSeconds to go on")


@pytest.mark.parametrize("budget", [25.0, 24.0], ids=["the same", "less"])
def test_what_is_not_more_time_does_not(budget: float) -> None:
    world = budgeted().run()
    world.edit(stop_experiment=StopExperiment(time_budget=budget, goal=7))
    assert (world.turn(), goes_on(world.history)) == (0, False)


def test_a_budget_that_is_set_while_it_runs_begins_then() -> None:
    world = budgeted(None)
    for _ in range(50):
        world.turn()
        world.tick()
    world.edit(stop_experiment=StopExperiment(time_budget=BUDGET))
    assert ended(world) == ("TimeBudget", 1050 + BUDGET)


def test_a_budget_that_is_lowered_below_what_is_spent_ends_it_at_once() -> None:
    world = budgeted()
    for _ in range(22):
        world.turn()
        world.tick()
    world.edit(stop_experiment=StopExperiment(time_budget=15))
    assert ended(world) == ("TimeBudget", 1022)


def test_a_clock_that_is_put_back_costs_at_most_what_was_not_recorded() -> None:
    world = budgeted()
    for _ in range(12):
        world.turn()
        world.tick()
    world.turn()
    world.now -= 600
    world.since = min(world.since, world.now)  # as whoever runs it does
    assert ended(world) == ("TimeBudget", 1012 - 600 + 15)


def test_after_the_end_of_a_stop_what_was_spent_is_known() -> None:
    """Ctrl-C after seven seconds: no second of them is lost, as with a crash."""
    world = budgeted()
    for _ in range(7):
        world.turn()
        world.tick()
    world.suspend = True
    world.run()
    spent = world.now - 1000
    assert world.history.charged == spent
    world.suspend = False
    world.now += DOWN
    world.restart()
    assert ended(world) == ("TimeBudget", 1000 + DOWN + BUDGET)


def test_every_reason_survives_a_replay() -> None:
    world = budgeted().run()
    trials, finished = repr(world.history.trials), world.history.finished
    world.restart()
    assert (repr(world.history.trials), world.history.finished) == (trials, finished)
    assert isinstance(finished, Finished)
    assert sum(isinstance(record, Started) for record in world.records) == 2
    assert world.history.trials[0].message == "25 s are spent of the 25 s that stopExperiment.timeBudgetSeconds allows"
