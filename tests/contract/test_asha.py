"""FIFO and ASHA against the contract of every scheduler, and ASHA against the naive implementation of its rules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubetune_operator.core.schedulers.asha import Asha, AshaState
from kubetune_operator.core.schedulers.fifo import Fifo
from kubetune_operator.core.trials import Scheduler, SchedulerState
from tests.contract.histories import END, Event, histories, peers, verdicts
from tests.contract.naive import NaiveAsha, Rules
from tests.contract.schedulers import SchedulerContract


class TestFifoContract(SchedulerContract):
    """FIFO."""

    def scheduler(self) -> Scheduler:
        """Give the scheduler under test."""
        return Fifo()


class TestAshaContract(SchedulerContract):
    """ASHA as it is by default."""

    def scheduler(self) -> Scheduler:
        """Give the scheduler under test."""
        return Asha()


class TestAshaBracketsContract(SchedulerContract):
    """ASHA with brackets, and with another value as the time."""

    time_attr = "time/total_s"

    def scheduler(self) -> Scheduler:
        """Give the scheduler under test."""
        return Asha(time_attr=self.time_attr, max_t=64, grace_period=1.5, reduction_factor=2.5, brackets=3)


def asha(rules: Rules) -> SchedulerState:
    """Build the scheduler under test."""
    return AshaState(
        Asha("t", rules.max_t, rules.grace_period, rules.reduction_factor, rules.brackets),
        lambda trial: trial % rules.brackets,
    )


def answers(state: SchedulerState, rules: Rules, events: list[Event]) -> list[tuple[str, bool]]:
    """Say what each report leads to."""
    return [(verdict.decision.value, verdict.complete) for verdict in verdicts(state, rules.mode, events)]


@st.composite
def experiments(draw: st.DrawFn) -> tuple[Rules, list[Event]]:
    """Draw settings and a history: trials that go on by steps and leaps, begin anew, tie, diverge, end."""
    rules = Rules(
        mode=draw(st.sampled_from(["min", "max"])),
        max_t=draw(st.sampled_from([8, 27, 40.5, 64, 81, 100])),
        grace_period=draw(st.sampled_from([1, 2, 1.5, 0.5])),
        reduction_factor=draw(st.sampled_from([2, 3, 4, 1.5, 2.5, 1.1])),
        brackets=draw(st.integers(1, 4)),
    )
    scores = st.integers(0, 6) | st.integers(0, 6) | st.floats(-1, 1, width=16) | st.sampled_from([math.nan, math.inf, -math.inf])
    leaps = st.sampled_from([0.5, 1, 1, 1, 1, 2, 3, 8, 40])
    return rules, histories(draw, trials=10, leaps=leaps, scores=scores)


@given(experiments())
@settings(max_examples=80, deadline=None)
def test_asha_decides_as_the_naive_implementation(experiment: tuple[Rules, list[Event]]) -> None:
    """Two implementations that share nothing but the rules agree on every report."""
    rules, events = experiment
    naive = NaiveAsha(rules, lambda trial: trial % rules.brackets)
    assert answers(asha(rules), rules, events) == answers(naive, rules, events)


@given(experiments())
@settings(max_examples=50, deadline=None)
def test_asha_names_the_peers_that_the_naive_implementation_finds(experiment: tuple[Rules, list[Event]]) -> None:
    """Who is compared with whom, at every report, is what the rules say."""
    rules, events = experiment
    naive = NaiveAsha(rules, lambda trial: trial % rules.brackets)
    assert list(peers(asha(rules), rules.mode, events)) == list(peers(naive, rules.mode, events))


@dataclass(frozen=True)
class Case:
    """A history on which a fault shows: the faulty implementation answers the last event differently."""

    rules: Rules
    events: list[Event]
    last: tuple[str, bool]


class RungsByLogarithm(NaiveAsha):
    """Ray's count of rungs, which loses the top one."""

    def milestones(self) -> list[Fraction]:
        """Count by int(log)."""
        grace, factor = self.rules.grace_period, self.rules.reduction_factor
        count = int(math.log(self.rules.max_t / grace) / math.log(factor) + 1)
        return [Fraction(grace * factor**rung) for rung in range(count)]


class BinaryFactor(NaiveAsha):
    """A factor taken as the double nearest to what the user wrote."""

    def __init__(self, rules: Rules, bracket_of: Any) -> None:
        """Take the double as it is."""
        super().__init__(rules, bracket_of)
        self.factor = Fraction(rules.reduction_factor)


class DecidesWithoutEnds(NaiveAsha):
    """Reports of an ended trial still count."""

    def ended(self, trial: int) -> None:
        """Forget it."""


STOP, GO_ON = ("Stop", False), ("Continue", False)
# The first report of trial 0 is at max_t, so its entry is at rung 243 (1000): nobody is at 81 (100) before trial 1.
AT_243 = Case(Rules("min", 243, 1, 3), [(0, 243, 0.1), (1, 81, 0.9)], GO_ON)
AT_1000 = Case(Rules("min", 1000, 1, 10), [(0, 1000, 0.1), (1, 100, 0.9)], GO_ON)
# With factor 11/10 the cutoff of twelve entries is the tenth from the best: (12-1)*10/11. A tie with it continues.
TENTH = Case(Rules("min", 100, 1, 1.1), [*((trial, 1, trial) for trial in range(12)), (12, 1, 10)], GO_ON)
AFTER_END = Case(Rules("min"), [(0, END, None), (0, 1, 0.1), (1, 1, 0.9)], GO_ON)


@pytest.mark.parametrize(
    ("case", "fault"),
    [
        pytest.param(AT_243, RungsByLogarithm, id="top rung 243 of factor 3"),
        pytest.param(AT_1000, RungsByLogarithm, id="top rung 1000 of factor 10"),
        pytest.param(TENTH, BinaryFactor, id="factor 1.1 is eleven tenths"),
        pytest.param(AFTER_END, DecidesWithoutEnds, id="reports after the end"),
    ],
)
def test_faults_that_no_trace_shows(case: Case, fault: type[NaiveAsha]) -> None:
    """Asha and the naive implementation give the answer worked out by hand; the fault in question would be seen."""

    def bracket_of(_: int) -> int:
        return 0

    assert answers(asha(case.rules), case.rules, case.events)[-1] == case.last
    assert answers(NaiveAsha(case.rules, bracket_of), case.rules, case.events)[-1] == case.last
    assert answers(fault(case.rules, bracket_of), case.rules, case.events)[-1] != case.last
