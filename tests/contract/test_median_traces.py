"""The recorded traces of Ray's median stopping would show a faulty one: each fault here, the mean in the median's place first.

That ours decides alike, or as documented, is in `test_replay`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from statistics import fmean
from typing import Any

import pytest

from kubetune_operator.core.schedulers.median import MedianStoppingState
from kubetune_operator.core.trials import Decision, SchedulerState, Verdict
from tests.contract import replay
from tests.contract.naive import MedianRules, NaiveMedian, Score

TRACES = [replay.load(path) for path in replay.TRACES.glob("median_*.json")]
SHORTEST_FIRST = sorted(TRACES, key=lambda trace: len(trace.events))


def shows(trace: replay.Trace, build: Callable[[replay.Trace], SchedulerState]) -> bool:
    """Say whether a trace is decided otherwise than it must be: as Ray did, or, where that is a fault, as documented."""
    return replay.compare(trace, build) != ("documented" if trace.name in replay.documented() else "equal")


class MeanInPlaceOfTheMedian(MedianStoppingState):
    """Our own scheduler, but for the one thing that it is named after."""

    def median(self, averages: Sequence[float], left_out: int) -> float:
        """Give the mean."""
        return fmean([*averages[:left_out], *averages[left_out + 1 :]])


def test_the_traces_show_the_mean_in_place_of_the_median() -> None:
    """The mutant that other tuners have shipped: its decisions pass neither for Ray's nor for the documented ones."""

    def mutant(trace: replay.Trace) -> SchedulerState:
        state = replay.ours(trace)
        assert isinstance(state, MedianStoppingState)
        return MeanInPlaceOfTheMedian(state.settings)

    seen = {trace.name for trace in TRACES if shows(trace, mutant)}
    assert {"median_noisy_30_async", "median_noisy_30_async_min"} <= seen


class TieStops(NaiveMedian):
    """A tie with the median is a failure."""

    def fails(self, best: Score, means: list[Score]) -> bool:
        """Compare without strictness."""
        return best <= self.median(means)


class LowerMiddle(NaiveMedian):
    """Of two in the middle the worse is the median."""

    def median(self, means: list[Score]) -> Score:
        """Take an entry."""
        return sorted(means)[(len(means) - 1) // 2]


class UpperMiddle(NaiveMedian):
    """Of two in the middle the better is the median."""

    def median(self, means: list[Score]) -> Score:
        """Take an entry."""
        return sorted(means)[len(means) // 2]


class LastIsCompared(NaiveMedian):
    """A trial is worth its last score."""

    def best(self, trial: int, score: Score) -> Score:
        """Forget the others."""
        return score


class ItsAverageIsCompared(NaiveMedian):
    """A trial is worth its average."""

    def best(self, trial: int, score: Score) -> Score:
        """Take the mean."""
        return self.mean([score, *(each for one, _, each in self.reports if one == trial)])


class BestSinceTheGracePeriod(NaiveMedian):
    """What a trial reported before the grace period does not help it."""

    def best(self, trial: int, score: Score) -> Score:
        """Leave out what came before."""
        return max([score, *(each for one, time, each in self.reports if one == trial and time >= self.rules.grace_period)])


class AveragesFromTheStart(NaiveMedian):
    """Averages include what came before the grace period."""

    def window(self, trial: int, time: Fraction) -> list[Score]:
        """Begin at the start."""
        return [score for one, each, score in self.reports if one == trial and each <= time]


class AveragesToTheEnd(NaiveMedian):
    """Averages include what came after the time of the report."""

    def window(self, trial: int, time: Fraction) -> list[Score]:
        """End at the end."""
        return [score for one, each, score in self.reports if one == trial and self.rules.grace_period <= each]


class LastInPlaceOfTheAverage(NaiveMedian):
    """A peer stands for the last of its scores."""

    def mean(self, scores: list[Score]) -> Score:
        """Take the last, but for the middle of two."""
        return scores[-1]

    def median(self, means: list[Score]) -> Score:
        """Take the true one."""
        return NaiveMedian(self.rules).median(means)


class BestInPlaceOfTheAverage(LastInPlaceOfTheAverage):
    """A peer stands for the best of its scores."""

    def mean(self, scores: list[Score]) -> Score:
        """Take the best."""
        return max(scores)


class LastReportCountsTwice(NaiveMedian):
    """The end of a trial appends its last report once more, as Ray has it."""

    def ended(self, trial: int) -> None:
        """Append it."""
        self.reports += [report for report in self.reports if report[0] == trial][-1:]
        super().ended(trial)


class OnlyTheEndedCount(NaiveMedian):
    """Golovin's rule to the letter: those that still run are no peers."""

    def peers(self, time: Fraction) -> dict[int, Score]:
        """Leave them out."""
        return {trial: mean for trial, mean in super().peers(time).items() if trial in self.gone}


class StoppedOnesLeave(NaiveMedian):
    """A trial that ends takes its reports along."""

    def ended(self, trial: int) -> None:
        """Take them out."""
        super().ended(trial)
        self.reports = [report for report in self.reports if report[0] != trial]


class WhoeverIsBehindCounts(NaiveMedian):
    """A trial that has not come so far is a peer, too."""

    def peers(self, time: Fraction) -> dict[int, Score]:
        """Take all that have any report by then."""
        windows = {trial: self.window(trial, time) for trial, _, _ in self.reports}
        return {trial: self.mean(scores) for trial, scores in windows.items() if scores}


class OwnAverageCounts(NaiveMedian):
    """A trial is among its own peers."""

    def judge(self, trial: int, flat: Mapping[str, Any], loss: float | None) -> Verdict:
        """Have somebody else report the same."""
        with_twin = NaiveMedian(self.rules)
        with_twin.reports = [*self.reports, *((-1, time, score) for one, time, score in self.reports if one == trial)]
        with_twin.gone = [*self.gone]
        with_twin.observe(-1, flat, loss)
        return with_twin.judge(trial, flat, loss)


class NotANumberIsIgnored(NaiveMedian):
    """What is not finite neither counts nor stops."""

    def score(self, flat: Mapping[str, Any]) -> Score | None:
        """Take it for missing."""
        value = flat.get("value")
        return None if isinstance(value, float) and not math.isfinite(value) else super().score(flat)


class OnePeerIsEnough(NaiveMedian):
    """How many samples are wanted is not asked."""

    def __init__(self, rules: MedianRules) -> None:
        """Want one."""
        super().__init__(MedianRules(rules.mode, rules.grace_period, 1, rules.min_time_slice, rules.hard_stop))


class NoGracePeriod(NaiveMedian):
    """A trial is judged from its first report on."""

    def __init__(self, rules: MedianRules) -> None:
        """Begin at once."""
        super().__init__(MedianRules(rules.mode, 0, rules.min_samples_required, rules.min_time_slice, rules.hard_stop))


class RetriesBeginAnew(NaiveMedian):
    """Going back in time throws away what was reported before."""

    def observe(self, trial: int, flat: Mapping[str, Any], loss: float | None) -> None:
        """Throw it away."""
        time = self.time(flat)
        self.reports = [report for report in self.reports if report[0] != trial or time is None or report[1] < time]
        super().observe(trial, flat, loss)


class JudgedOnce(NaiveMedian):
    """A trial that has passed once is not judged again."""

    def judge(self, trial: int, flat: Mapping[str, Any], loss: float | None) -> Verdict:
        """Ask only about the first report after the grace period."""
        before = any(one == trial and time >= self.rules.grace_period for one, time, _ in self.reports)
        return Verdict(Decision.CONTINUE) if before else super().judge(trial, flat, loss)


@pytest.mark.parametrize(
    "fault",
    [
        TieStops,
        LowerMiddle,
        UpperMiddle,
        LastIsCompared,
        ItsAverageIsCompared,
        BestSinceTheGracePeriod,
        AveragesFromTheStart,
        AveragesToTheEnd,
        LastInPlaceOfTheAverage,
        BestInPlaceOfTheAverage,
        LastReportCountsTwice,
        OnlyTheEndedCount,
        StoppedOnesLeave,
        WhoeverIsBehindCounts,
        OwnAverageCounts,
        NotANumberIsIgnored,
        OnePeerIsEnough,
        NoGracePeriod,
        RetriesBeginAnew,
        JudgedOnce,
    ],
)
def test_the_traces_show_a_fault(fault: type[NaiveMedian]) -> None:
    """A scheduler with this fault does not pass: some trace has a difference."""

    def faulty(trace: replay.Trace) -> SchedulerState:
        reference = replay.naive(trace)
        assert isinstance(reference, NaiveMedian)
        return fault(reference.rules)

    assert any(shows(trace, faulty) for trace in SHORTEST_FIRST)
