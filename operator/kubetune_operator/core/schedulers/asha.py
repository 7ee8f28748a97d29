"""ASHA, the stopping variant (Li et al. 2020, as Ray Tune has it): a trial that is not among the best 1/factor at a rung ends.

A rung is a time; the trials at it are those that reported there, stopped ones included, for ever. Nothing is
paused or promoted: who survives a rung runs on at once, and nobody is judged again when better ones arrive later.
Losses come in as `Objective.loss` makes them: less is better, whatever is not finite is +inf, the worst.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from heapq import heappop, heappush
from itertools import accumulate
from typing import Any, ClassVar

from kubetune_operator.core.bounds import LARGEST, Rule, setting
from kubetune_operator.core.trials import CONTINUE, TRAINING_ITERATION, Decision, Flat, Verdict, time_of


@dataclass(frozen=True, slots=True)
class Asha:
    """Ray's settings and Ray's defaults."""

    # Both bounds from below keep the rungs few (531 at most): 1e-6 is a microsecond of a time in seconds.
    time_attr: str = setting("the reported value that is the time", default=TRAINING_ITERATION, max_length=128)
    max_t: float = setting("the time at which a trial has had its whole budget", default=100, gt=0, le=LARGEST)
    grace_period: float = setting("the time of the first rung; no trial is stopped before", default=1, ge=1e-6, le=LARGEST)
    reduction_factor: float = setting("one in this many survives a rung; also from rung to rung", default=4, ge=1.1, le=LARGEST)
    brackets: int = setting("how many brackets; each one more begins a rung later", default=1, ge=1, le=32)

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="self.maxT >= self.gracePeriod",
            message="must be greater than or equal to gracePeriod",
            holds=lambda asha: asha.max_t >= asha.grace_period,
            field="maxT",
            remedy="raise maxT or lower gracePeriod",
        ),
    )

    @property
    def reads(self) -> Mapping[str, str]:
        """Look at the time, too."""
        return {self.time_attr: "scheduler.asha.timeAttr"}

    def begin(self, seed: int) -> AshaState:
        """Start with empty rungs."""
        return AshaState(self, partial(_draw, seed, accumulated_odds(self)))


class AshaState:
    """The rungs of one experiment, by bracket; `bracket_of` says in which bracket a trial is."""

    def __init__(self, settings: Asha, bracket_of: Callable[[int], int]) -> None:
        self._settings = settings
        self._bracket_of = bracket_of
        self._milestones = milestones(settings)
        kept = exact(settings.reduction_factor)
        self._brackets = [[Rung(time, kept) for time in self._milestones[skipped:]] for skipped in range(settings.brackets)]
        self._ended: set[int] = set()

    def judge(self, trial: int, flat: Flat, loss: float | None) -> Verdict:
        """Stop a trial that is through, or worse than the cutoff of a rung that it has just reached."""
        time = time_of(flat, self._settings.time_attr)
        if time is None or loss is None or trial in self._ended:
            return CONTINUE
        if time >= self._settings.max_t:
            facts = {"time": time, "max_t": self._settings.max_t, "loss": loss}
            return Verdict(Decision.STOP, "MaxT", facts, complete=True)
        bracket = self._bracket_of(trial)
        rung = self._reached(bracket, time)
        if rung is None or trial in rung.trials:
            return CONTINUE
        decision = Decision.STOP if rung.fails(loss) else Decision.CONTINUE
        return Verdict(decision, "Asha", {"bracket": bracket, "time": time, "loss": loss} | rung.facts())

    def observe(self, trial: int, flat: Flat, loss: float | None) -> None:
        """Record the report at the highest rung that it has reached, unless the trial is recorded there already.

        Lower rungs that it has skipped stay without the trial: its later values are of another time.
        """
        time = time_of(flat, self._settings.time_attr)
        if time is None or loss is None or trial in self._ended:
            return
        rung = self._reached(self._bracket_of(trial), time)
        if rung is not None and trial not in rung.trials:
            rung.add(trial, loss)

    def ended(self, trial: int) -> None:
        """Ignore what still arrives from this trial; its entries stay."""
        self._ended.add(trial)

    def compared_with(self, trial: int, flat: Flat) -> Mapping[int, float]:
        """Give the losses of the others at the rung that this report has reached."""
        time = time_of(flat, self._settings.time_attr)
        if time is None or time >= self._settings.max_t:
            return {}
        rung = self._reached(self._bracket_of(trial), time)
        return {other: loss for other, loss in rung.trials.items() if other != trial} if rung else {}

    def _reached(self, bracket: int, time: float) -> Rung | None:
        # Bracket s leaves the first s milestones out.
        place = bisect_right(self._milestones, time) - 1 - bracket
        return self._brackets[bracket][place] if place >= 0 else None


@dataclass(slots=True)
class Rung:
    """The losses of the trials at one time, split at the cutoff's place: an entry costs a logarithm, the cutoff nothing.

    With n entries in order, best first, the place is (n-1)/factor, as a fraction of whole numbers. Where it falls
    between two entries the cutoff lies between them in proportion; where it falls on one, the cutoff is that entry.
    """

    time: float
    factor: Fraction
    trials: dict[int, float] = field(default_factory=dict, init=False)  # with their losses: that is what `explain` is told
    # Two heaps: the losses up to the place, negated, so that [0] is the last of them; and those after it, [0] the first.
    _better: list[float] = field(default_factory=list, init=False)
    _worse: list[float] = field(default_factory=list, init=False)
    _best: float = field(default=math.inf, init=False)
    _rest: int = field(default=0, init=False)  # how far the place is past that last one, in parts of the factor's numerator

    def add(self, trial: int, loss: float) -> None:
        """Record a trial that is not here yet."""
        place, self._rest = divmod(len(self.trials) * self.factor.denominator, self.factor.numerator)
        self.trials[trial] = loss
        self._best = min(self._best, loss)
        if self._better and loss < -self._better[0]:
            heappush(self._better, -loss)
        else:
            heappush(self._worse, loss)
        if len(self._better) > place + 1:
            heappush(self._worse, -heappop(self._better))
        elif len(self._better) <= place:
            heappush(self._better, -heappop(self._worse))

    def fails(self, loss: float) -> bool:
        """Tell whether a loss is worse than the cutoff, without rounding; a tie with it does not fail."""
        if loss == math.inf:  # never finite: it fails as soon as anything finite is here
            return self._best < math.inf
        if not self.trials:
            return False
        low = -self._better[0]
        if loss <= low:
            return False
        if not self._rest or self._worse[0] <= loss:
            return True
        high = self._worse[0]
        if high == math.inf:
            return False
        kept = self.factor.numerator
        return (Fraction(loss) - Fraction(low)) * kept > (Fraction(high) - Fraction(low)) * self._rest

    def facts(self) -> dict[str, Any]:
        """Say what a loss is compared with here; the cutoff, rounded for the eye, is None as long as nobody is here."""
        return {"rung": self.time, "cutoff_loss": self._cutoff(), "peers": len(self.trials)}

    def _cutoff(self) -> float | None:
        if not self.trials:
            return None
        low = -self._better[0]
        if not self._rest or self._worse[0] == low:
            return low
        share = self._rest / self.factor.numerator
        return low * (1 - share) + self._worse[0] * share


def milestones(settings: Asha) -> list[float]:
    """Give the times of the rungs, by multiplication, so that the last one is not lost to a rounded logarithm."""
    last, time, factor = exact(settings.max_t), exact(settings.grace_period), exact(settings.reduction_factor)
    times: list[float] = []
    while time <= last:
        times.append(int(time) if time.denominator == 1 else float(time))
        time *= factor
    return times


def exact(number: float) -> Fraction:
    """Take a number as the decimal that the user wrote: 1.1 is 11/10."""
    return Fraction(repr(number))


def accumulated_odds(settings: Asha) -> list[float]:
    """Give Ray's odds of each bracket, added up: a softmax over how many rungs each has."""
    rungs = [max(len(milestones(settings)) - skipped, 0) for skipped in range(settings.brackets)]
    return list(accumulate(math.exp(count - rungs[0]) for count in rungs))


def _draw(seed: int, odds: Sequence[float], trial: int) -> int:
    if len(odds) == 1:
        return 0
    # A hash instead of a generator: the same after a restart, with nothing to keep.
    digest = hashlib.sha256(f"bracket {seed} {trial}".encode()).digest()
    point = int.from_bytes(digest[:6], "big") / 2**48  # in [0, 1)
    return bisect_right(odds, point * odds[-1])
