"""Median stopping against the contract of every scheduler and the naive implementation of its rules."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubetune_operator.core.schedulers.median import MedianStopping
from kubetune_operator.core.trials import Scheduler, SchedulerState
from tests.contract.histories import END, Event, histories, peers, verdicts
from tests.contract.naive import MedianRules, NaiveMedian, Score
from tests.contract.schedulers import SchedulerContract


class TestMedianStoppingContract(SchedulerContract):
    """Median stopping as it is by default."""

    time_attr = "time_total_s"

    def scheduler(self) -> Scheduler:
        """Give the scheduler under test."""
        return MedianStopping()


class TestMedianStoppingWithOnePeerContract(SchedulerContract):
    """Median stopping that judges early and with little to go by, so that it judges often."""

    def scheduler(self) -> Scheduler:
        """Give the scheduler under test."""
        return MedianStopping(time_attr=self.time_attr, grace_period=0, min_samples_required=1)


class TestMedianPausingContract(SchedulerContract):
    """Median stopping that answers PAUSE."""

    def scheduler(self) -> Scheduler:
        """Give the scheduler under test."""
        return MedianStopping(time_attr=self.time_attr, grace_period=1.5, min_samples_required=2, hard_stop=False)


def median(rules: MedianRules) -> SchedulerState:
    """Build the scheduler under test."""
    return MedianStopping("t", rules.grace_period, rules.min_samples_required, rules.min_time_slice, rules.hard_stop).begin(0)


def answers(state: SchedulerState, rules: MedianRules, events: Sequence[Event]) -> list[str]:
    """Say what each report leads to."""
    return [verdict.decision.value for verdict in verdicts(state, rules.mode, events)]


@st.composite
def experiments(draw: st.DrawFn) -> tuple[MedianRules, list[Event]]:
    """Draw settings and a history: trials that go on by steps and leaps, begin anew, repeat a time, tie, diverge, end."""
    rules = MedianRules(
        mode=draw(st.sampled_from(["min", "max"])),
        grace_period=draw(st.sampled_from([0, 1, 2, 3.5])),
        min_samples_required=draw(st.integers(1, 4)),
        min_time_slice=draw(st.sampled_from([0, 2])),
        hard_stop=draw(st.booleans()),
    )
    tenths = st.integers(0, 9).map(lambda number: number / 10)
    scores = st.integers(0, 4) | tenths | st.floats(-1, 1) | st.sampled_from([math.nan, math.inf, -math.inf, 1.7e308, -1.7e308])
    leaps = st.sampled_from([0, 0.5, 1, 1, 1, 1, 1, 1, 2, 3, 8])
    return rules, histories(draw, trials=8, leaps=leaps, scores=scores)


@given(experiments())
@settings(max_examples=60, deadline=None)
def test_median_stopping_decides_as_the_naive_implementation(experiment: tuple[MedianRules, list[Event]]) -> None:
    """Two implementations that share nothing but the rules agree on every report."""
    rules, events = experiment
    assert answers(median(rules), rules, events) == answers(NaiveMedian(rules), rules, events)


@given(experiments())
@settings(max_examples=60, deadline=None)
def test_median_stopping_names_the_peers_that_the_naive_implementation_finds(experiment: tuple[MedianRules, list[Event]]) -> None:
    """Who is compared with whom, and what each stands for, is what the rules say."""
    rules, events = experiment
    assert list(peers(median(rules), rules.mode, events)) == list(peers(NaiveMedian(rules), rules.mode, events))


class FurthestInPlaceOfTheLatest(NaiveMedian):
    """A trial that began anew still counts where it had been before."""

    def peers(self, time: Fraction) -> dict[int, Score]:
        """Ask how far it ever was."""
        windows = {trial: self.window(trial, time) for trial, each, _ in self.reports if each >= time}
        return {trial: self.mean(scores) for trial, scores in windows.items() if scores}


class DecidesWithoutEnds(NaiveMedian):
    """Reports of an ended trial still count."""

    def ended(self, trial: int) -> None:
        """Forget it."""


class RoundedSums(NaiveMedian):
    """Averages as doubles are added up."""

    def mean(self, scores: list[Score]) -> Score:
        """Round at each step."""
        return (1, Fraction(sum(float(score) for _, score in scores) / len(scores)))


class HalfOfTheSum(NaiveMedian):
    """Half-way between two doubles by their sum, which may be beyond the doubles."""

    def median(self, means: list[Score]) -> Score:
        """Take what overflows for the worst of all."""
        ordered = [float(score) for _, score in sorted(means)]
        both = ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]
        return (1, Fraction(both / 2)) if math.isfinite(both) else (0, Fraction(0))


class WorstOnlyWithTheMedian(NaiveMedian):
    """A trial that was never finite is stopped only where the median is finite."""

    def fails(self, best: Score, means: list[Score]) -> bool:
        """Make no exception."""
        return best < self.median(means)


GO_ON, STOP, PAUSE = "Continue", "Stop", "Pause"
ONE = MedianRules("min", grace_period=0, min_samples_required=1)
TWO = MedianRules("min", grace_period=0, min_samples_required=2)
SOFT = MedianRules("min", grace_period=0, min_samples_required=1, hard_stop=False)
DIVERGED = [(trial, 1, math.inf) for trial in (1, 2, 3)]


@pytest.mark.parametrize(
    ("rules", "events", "last", "fault"),
    [
        pytest.param(ONE, [(0, END, None), (0, 1, 0.1), (1, 1, 0.9)], GO_ON, DecidesWithoutEnds, id="reports after the end"),
        pytest.param(ONE, [(0, 5, 0.1), (0, 1, 0.1), (1, 3, 0.9)], GO_ON, FurthestInPlaceOfTheLatest, id="begun anew"),
        # 0.1 added ten times to 0 is 0.9999999999999999, so a tenth of that is less than the 0.1 of whoever ties.
        pytest.param(ONE, [*((0, step, 0.1) for step in range(10)), (1, 9, 0.1)], GO_ON, RoundedSums, id="ten times a tenth"),
        pytest.param(TWO, [(0, 1, 1.6e308), (1, 1, 1.6e308), (2, 1, 1.7e308)], STOP, HalfOfTheSum, id="beyond the doubles"),
        pytest.param(TWO, [(0, 1, 0.1), *DIVERGED, (4, 1, math.nan)], STOP, WorstOnlyWithTheMedian, id="never finite"),
        # Its second report is worse than its first, and than what the other one stands for; it has been told already.
        pytest.param(
            SOFT, [(0, 1, 0.1), (1, 1, 0.9), (1, 2, 0.9), (0, 2, 0.1), (1, 2, 0.9)], GO_ON, DecidesWithoutEnds, id="paused once"
        ),
    ],
)
def test_faults_that_no_trace_shows(rules: MedianRules, events: list[Event], last: str, fault: type[NaiveMedian]) -> None:
    """Ours and the naive implementation give the answer worked out by hand; the fault in question would be seen."""
    assert answers(median(rules), rules, events)[-1] == last
    assert answers(NaiveMedian(rules), rules, events)[-1] == last
    assert answers(fault(rules), rules, events)[-1] != last


def test_a_pause_is_answered_once() -> None:
    """Whoever is to be paused is never asked for again, and what it reports from then on counts for nobody."""
    events = [(0, 1, 0.1), (1, 1, 0.9), (1, 2, 0.0), (2, 2, 0.9)]
    assert answers(median(SOFT), SOFT, events) == [GO_ON, PAUSE, GO_ON, GO_ON]
