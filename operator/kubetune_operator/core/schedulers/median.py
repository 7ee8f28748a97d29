"""Median stopping (Golovin et al. 2017, 3.2, as Ray Tune has it): a trial ends that was never as good as others on average.

A report at time t is compared with the other trials that have reached t, stopped ones included: each stands for the
average of its losses from the grace period to t, and a trial whose best loss so far, of all its reports, is worse than the
median of these averages fails. A tie goes on. Each report counts once, and a trial that never reported is nobody.
Losses come in as `Objective.loss` makes them: less is better, whatever is not finite is +inf, the worst.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from kubetune_operator.core.bounds import LARGEST, Rule, setting
from kubetune_operator.core.trials import CONTINUE, TIME_TOTAL, Decision, Flat, Verdict, time_of


@dataclass(frozen=True, slots=True)
class MedianStopping:
    """Ray's settings and Ray's defaults."""

    time_attr: str = setting("the reported value that is the time", default=TIME_TOTAL, max_length=128)
    grace_period: float = setting(
        "no trial is stopped before this time, and no value before it counts in an average", default=60.0, ge=0, le=LARGEST
    )
    min_samples_required: int = setting("how many other trials there must be at that time", default=3, ge=1, le=1_000_000)
    min_time_slice: float = setting(
        "a trial runs at least this long before it is paused for another; as long as there are no checkpoints, none is",
        default=0.0,
        ge=0,
        le=LARGEST,
    )
    hard_stop: bool = setting(
        "whether a bad trial is stopped; otherwise it is paused, which without a checkpoint it is not: it goes on", default=True
    )

    RULES: ClassVar[tuple[Rule, ...]] = ()

    @property
    def reads(self) -> Mapping[str, str]:
        """Look at the time, too."""
        return {self.time_attr: "scheduler.medianStopping.timeAttr"}

    def begin(self, seed: int) -> MedianStoppingState:
        """Start without a report; nothing is drawn."""
        return MedianStoppingState(self)


class MedianStoppingState:
    """What the trials of one experiment have reported, and at times that repeat what they stand for there, in order."""

    def __init__(self, settings: MedianStopping) -> None:
        self.settings = settings
        self._curves: dict[int, Curve] = {}
        self._standings: dict[float, array[float]] = {}  # by time: the averages of all trials that have reached it, best first
        self._times: list[float] = []  # of `_standings`, in order
        self._done: set[int] = set()  # trials that have ended, or failed where that does not end them

    def judge(self, trial: int, flat: Flat, loss: float | None) -> Verdict:
        """Stop (or, without `hard_stop`, pause) a trial whose best is worse than the median of the others' averages."""
        time = time_of(flat, self.settings.time_attr)
        if time is None or loss is None or trial in self._done or time < self.settings.grace_period:
            return CONTINUE
        averages, own, best = self._standing(time), None, loss
        if curve := self._curves.get(trial):
            own, best = curve.standing(time), min(curve.best, loss)
        left_out = len(averages) if own is None else bisect_left(averages, own)
        peers = len(averages) - (own is not None)
        median, fails = None, False
        if peers and peers >= self.settings.min_samples_required:
            median = self.median(averages, left_out)
            # Never finite, nor is its average: it fails as soon as anybody's is, also where the median is not.
            fails = averages[0] < math.inf if best == math.inf else best > median
        facts = {"time": time, "loss": loss, "best_loss": best, "median_loss": median, "peers": peers}
        decision = Decision.CONTINUE if not fails else Decision.STOP if self.settings.hard_stop else Decision.PAUSE
        return Verdict(decision, "MedianStopping", facts)

    def observe(self, trial: int, flat: Flat, loss: float | None) -> None:
        """Keep the report, unless its trial has failed before: whoever was to be paused is left alone from then on, as in Ray."""
        time = time_of(flat, self.settings.time_attr)
        if time is None or loss is None or trial in self._done:
            return
        if not self.settings.hard_stop and self.judge(trial, flat, loss).decision is Decision.PAUSE:
            self._done.add(trial)
        curve = self._curves.get(trial)
        if curve is None:
            curve = self._curves[trial] = Curve()
        if time > curve.last:
            touched = self._times[bisect_right(self._times, curve.last) : bisect_right(self._times, time)]
        else:  # back in time, or there once more: it leaves the times where it stood
            touched = self._times[bisect_left(self._times, time) : bisect_right(self._times, curve.last)]
            for each in touched:
                if (average := curve.standing(each)) is not None:
                    self._standings[each].pop(bisect_left(self._standings[each], average))
        curve.add(time, loss, counts=time >= self.settings.grace_period)
        for each in touched:
            if (average := curve.standing(each)) is not None:
                insort(self._standings[each], average)

    def ended(self, trial: int) -> None:
        """Ignore what still arrives from this trial; what it has reported stays."""
        self._done.add(trial)

    def compared_with(self, trial: int, flat: Flat) -> Mapping[int, float]:
        """Give what the others stand for at the time of this report."""
        time = time_of(flat, self.settings.time_attr)
        if time is None or time < self.settings.grace_period:
            return {}
        standings = ((other, curve.standing(time)) for other, curve in self._curves.items() if other != trial)
        return {other: average for other, average in standings if average is not None}

    def median(self, averages: Sequence[float], left_out: int) -> float:
        """Give the median of averages in order, without the one at the place `left_out` (past the end: of all)."""
        last = len(averages) - 1 - (left_out < len(averages))
        below, above = last // 2, (last + 1) // 2
        low, high = averages[below + (below >= left_out)], averages[above + (above >= left_out)]
        both = low + high
        return both / 2 if math.isfinite(both) else low / 2 + high / 2

    def _standing(self, time: float) -> array[float]:
        """Give the averages at a time. They are kept once somebody has been there: a time that does not repeat costs no memory.

        What is kept follows from the reports, so whether anybody has asked changes no answer.
        """
        kept = self._standings.get(time)
        if kept is not None:
            return kept
        found = (curve.standing(time) for curve in self._curves.values())
        averages = array("d", sorted(average for average in found if average is not None))
        if any(curve.was_at(time) for curve in self._curves.values()):
            self._standings[time] = averages
            insort(self._times, time)
        return averages


@dataclass(slots=True)
class Curve:
    """What one trial has reported, in all its attempts; those from the grace period on in order of time."""

    last: float = -math.inf  # the time of its latest report; after a retry there may be later times than this
    best: float = math.inf
    _times: list[float] = field(default_factory=list, init=False)
    _losses: array[float] = field(default_factory=lambda: array("d"), init=False)
    _averages: array[float] = field(default_factory=lambda: array("d"), init=False)  # up to each, as far as `last`
    # The sum of the finite losses is _sum / _scale, exactly: the scale is a power of two, as every double's.
    _sum: int = field(default=0, init=False)
    _scale: int = field(default=1, init=False)

    def add(self, time: float, loss: float, *, counts: bool) -> None:
        """Take a report; before the grace period it counts in no average."""
        self.last = time
        self.best = min(self.best, loss)
        if not counts:
            return
        place = bisect_right(self._times, time)
        self._times.insert(place, time)
        self._losses.insert(place, loss)
        if place < len(self._averages):  # back in time, as after a retry: it is added up anew, as far as it has come again
            del self._averages[:]
            self._sum, self._scale = 0, 1
        for each in self._losses[len(self._averages) : place + 1]:
            self._averages.append(self._average_with(each))

    def standing(self, time: float) -> float | None:
        """Give the average at a time, None before the trial has reached it or where nothing of it counts there."""
        if self.last < time:
            return None
        place = bisect_right(self._times, time)
        return self._averages[place - 1] if place else None

    def was_at(self, time: float) -> bool:
        """Tell whether it has reported at exactly this time."""
        place = bisect_left(self._times, time)
        return place < len(self._times) and self._times[place] == time

    def _average_with(self, loss: float) -> float:
        """Add the next loss; give the double nearest to the exact average, so that of equal losses it is that loss."""
        if loss == math.inf or (self._averages and self._averages[-1] == math.inf):
            return math.inf
        numerator, denominator = loss.as_integer_ratio()
        if denominator > self._scale:
            self._sum *= denominator // self._scale
            self._scale = denominator
        self._sum += numerator * (self._scale // denominator)
        return self._sum / (self._scale * (len(self._averages) + 1))
