"""Plateaus: the last values of one trial, or the best of all trials, hardly differ any more (Ray's two plateau stoppers).

Fed by the fold with every report that counts. What follows from a plateau is not said here: `stops` ends the trial, `endings`
the experiment. Standard deviations are those of a whole population, and are compared without rounding.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from heapq import heappush, heapreplace
from typing import ClassVar, Literal

from kubetune_operator.core.bounds import LARGEST, METRIC, Rule, setting
from kubetune_operator.core.trials import Decision, Flat, Mode, Objective, Verdict

PLATEAU = "Plateau"  # the reason of either
_SMALLEST = 1074  # 2**-1074 is the smallest double


@dataclass(frozen=True, slots=True)
class TrialPlateau:
    """Ray's TrialPlateauStopper: a trial ends when its last values hardly differ."""

    metric: str = setting("the reported value that is looked at", max_length=128, pattern=METRIC)
    std: float = setting("a standard deviation below this is a plateau", default=0.01, ge=0, le=LARGEST)
    num_results: int = setting("over how many last reports", default=4, ge=1, le=10_000)
    grace_period: int = setting("not before this many reports", default=4, ge=0, le=1_000_000)
    threshold: float | None = setting(
        "only where the value is at least this good, by objective.mode. Default: always", default=None, ge=-LARGEST, le=LARGEST
    )

    RULES: ClassVar[tuple[Rule, ...]] = ()


@dataclass(frozen=True, slots=True)
class ExperimentPlateau:
    """Ray's ExperimentPlateauStopper: the experiment ends when its best values hardly differ."""

    metric: str | None = setting(
        "the reported value that is looked at. Default: the objective's", default=None, max_length=128, pattern=METRIC
    )
    mode: Literal["Maximize", "Minimize"] | None = setting("which way it is better. Default: the objective's", default=None)
    std: float = setting("a standard deviation of the best values up to this is a plateau", default=0.001, ge=0, le=LARGEST)
    top: int = setting("over how many best values", default=10, ge=2, le=10_000)
    patience: int = setting("for how many reports it must last", default=0, ge=0, le=1_000_000)

    RULES: ClassVar[tuple[Rule, ...]] = ()


class Spread:
    """How much numbers differ, kept exactly: one more or one less costs the same however many there are.

    Each double is a whole number of the smallest double, 2**-1074; sums of whole numbers lose nothing, and need no gcd.
    """

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0  # in smallest doubles
        self._squares = 0

    def add(self, number: float) -> None:
        """Count a finite number in."""
        whole = _whole(number)
        self.count += 1
        self._sum += whole
        self._squares += whole * whole

    def remove(self, number: float) -> None:
        """Count a number out that was counted in."""
        whole = _whole(number)
        self.count -= 1
        self._sum -= whole
        self._squares -= whole * whole

    def against(self, std: float) -> int:
        """Compare the standard deviation: negative if it is below `std`, 0 if it is `std`. There must be a number."""
        limit = _whole(std) * self.count
        variance = self._squares * self.count - self._sum * self._sum  # times count**2, as the limit is
        return (variance > limit * limit) - (variance < limit * limit)

    def std(self) -> float:
        """Give the standard deviation, rounded for the eye."""
        variance = self._squares * self.count - self._sum * self._sum
        return float(Fraction(math.isqrt(variance), self.count << _SMALLEST))


def _whole(number: float) -> int:
    """Count the smallest doubles in a finite number."""
    numerator, denominator = float(number).as_integer_ratio()
    return numerator << (_SMALLEST + 1 - denominator.bit_length())


@dataclass(slots=True)
class _Window:
    """What is kept of one attempt: its last values as losses, +inf for those that are not finite."""

    reports: int = 0
    latest: float | None = None  # None: the latest report lacks the metric
    losses: deque[float] = field(default_factory=deque)
    spread: Spread = field(default_factory=Spread)  # of the finite ones

    def take(self, loss: float, most: int) -> None:
        """Add a value; what is too old goes."""
        self.losses.append(loss)
        if loss < math.inf:
            self.spread.add(loss)
        if len(self.losses) > most and (gone := self.losses.popleft()) < math.inf:
            self.spread.remove(gone)


class TrialPlateaus:
    """The last values of each trial that runs.

    A report without the metric counts for the grace period and no more. Each attempt begins anew: values from before a
    crash say nothing of a program that starts again from its first step.
    """

    def __init__(self, settings: TrialPlateau, mode: Mode) -> None:
        """Begin with nothing reported; `mode` says which way the threshold is meant."""
        self._settings = settings
        self._objective = Objective(settings.metric, mode)
        self._most_loss = self._objective.loss(settings.threshold)
        self._windows: dict[int, _Window] = {}

    def observe(self, trial: int, flat: Flat) -> None:
        """Remember a report."""
        window = self._windows.setdefault(trial, _Window())
        window.reports += 1
        window.latest = self._objective.loss(flat.get(self._settings.metric))
        if window.latest is not None:
            window.take(window.latest, self._settings.num_results)

    def judge(self, trial: int) -> Verdict | None:
        """Say whether the latest report of a trial ends it."""
        window, settings = self._windows[trial], self._settings
        if window.latest is None or window.reports < settings.grace_period or window.spread.count < settings.num_results:
            return None
        if self._most_loss is not None and window.latest > self._most_loss:
            return None
        if window.spread.against(settings.std) >= 0:
            return None
        facts = {"metric": settings.metric, "std": window.spread.std(), "limit": settings.std, "window": settings.num_results}
        return Verdict(Decision.STOP, PLATEAU, facts, complete=True)

    def forget(self, trial: int) -> None:
        """Take note that an attempt of this trial is over."""
        self._windows.pop(trial, None)


class BestValues:
    """The best values among all reports of all trials; where they are a plateau for long enough, that is so for ever.

    A report costs the logarithm of `top` if it is among the best, and nothing to speak of if not.
    """

    def __init__(self, settings: ExperimentPlateau, objective: Objective) -> None:
        """Begin with nothing reported."""
        self.settings = settings
        self.reached = ""  # the plateau, in words, once it has lasted long enough
        mode = objective.mode if settings.mode is None else Mode(settings.mode)
        self._objective = Objective(settings.metric or objective.metric, mode)
        self._best: list[float] = []  # a heap of negated losses: [0] is that of the worst
        self._spread = Spread()
        self._flat = False  # whether they are a plateau
        self._lasts = 0  # reports in a row at which they were

    def observe(self, flat: Flat) -> None:
        """Remember a report; one without a finite value of the metric does not count."""
        loss = self._objective.loss(flat.get(self._objective.metric))
        if self.reached or loss is None or loss == math.inf:
            return
        if self._takes(loss):
            self._flat = len(self._best) == self.settings.top and self._spread.against(self.settings.std) <= 0
        self._lasts = self._lasts + 1 if self._flat else 0
        if self._flat and self._lasts >= self.settings.patience:
            self.reached = self._words()

    def _takes(self, loss: float) -> bool:
        """Keep a loss if it is among the best; say whether it is."""
        if len(self._best) < self.settings.top:
            heappush(self._best, -loss)
        elif loss < -self._best[0]:
            self._spread.remove(-heapreplace(self._best, -loss))
        else:
            return False
        self._spread.add(loss)
        return True

    def _words(self) -> str:
        lasts = "1 report" if self._lasts == 1 else f"{self._lasts} reports"
        return (
            f"the {self.settings.top} best values of {self._objective.metric} have had a standard deviation of at most "
            f"{self.settings.std:g} for {lasts} (it is {self._spread.std():.3g} now)"
        )
