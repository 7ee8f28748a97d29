"""ASHA and median stopping once more, slowly, from the text of the rules alone: the judges of every decision in which we are not Ray's equal.

They keep every report and work everything out anew for each question, in fractions. They share no code with the
schedulers that they judge, not even the turning of a value into a loss: here, as in Ray, a score is better when it is
greater. The rules stand at each class, numbered as its code cites them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from kubetune_operator.core.trials import Decision, Verdict

Score = tuple[int, Fraction]  # (1, score), or WORST, which is less than every one of those
WORST: Score = (0, Fraction(0))


@dataclass(frozen=True)
class Rules:
    """ASHA's settings, by the names that the traces use."""

    mode: str = "max"
    max_t: float = 100
    grace_period: float = 1
    reduction_factor: float = 4
    brackets: int = 1


@dataclass(frozen=True)
class MedianRules:
    """Median stopping's settings, by the names that the traces use."""

    mode: str = "max"
    grace_period: float = 60.0
    min_samples_required: int = 3
    min_time_slice: float = 0.0  # nothing follows from it
    hard_stop: bool = True


class Naive:
    """What both read alike: reports with a time `t` and a value `value`, and ends."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.reports: list[tuple[int, Fraction, Score]] = []
        self.gone: list[int] = []

    def observe(self, trial: int, flat: Mapping[str, Any], loss: float | None) -> None:
        """Keep a report with a time and a value, unless its trial is gone."""
        time, score = self.time(flat), self.score(flat)
        if time is not None and score is not None and trial not in self.gone:
            self.reports.append((trial, time, score))

    def ended(self, trial: int) -> None:
        """Keep that the trial has ended."""
        self.gone.append(trial)

    def time(self, flat: Mapping[str, Any]) -> Fraction | None:
        """Read the time; only a finite number is one."""
        value = flat.get("t")
        if type(value) is int or (type(value) is float and math.isfinite(value)):
            return Fraction(value)
        return None

    def score(self, flat: Mapping[str, Any]) -> Score | None:
        """Read the value as a score; what is not finite is the worst of all."""
        value = flat.get("value")
        if type(value) is int and abs(value) > sys.float_info.max:
            return WORST
        if type(value) is not int and type(value) is not float:
            return None
        if not math.isfinite(value):
            return WORST
        return (1, Fraction(float(value)) * (1 if self.mode == "max" else -1))


class NaiveAsha(Naive):
    """ASHA.

     1. A report without a time or without a value, or of a trial that has ended, changes nothing: CONTINUE.
     2. At max_t or later: STOP, whatever the value.
     3. The milestones are grace, grace*factor, grace*factor^2, ... up to and including max_t. Bracket s lacks the first s.
     4. A report counts at the highest milestone of its trial's bracket that it has reached, and nowhere else.
     5. The first report of a trial that counts at a milestone is the trial's entry there, for ever.
     6. A trial is judged at the milestone where its report counts, unless it has its entry there already.
     7. The cutoff is the quantile 1 - 1/factor of the entries of the bracket there, place (n-1) * (1 - 1/factor),
        interpolated in proportion; it is exact, and what lies between a score and the worst of all is the worst of all.
     8. STOP if the score is below the cutoff. No entries, no cutoff, no STOP.
     9. Not finite is the worst of all. It is STOPped as soon as the rung has a finite entry.
    10. A report that counts at a milestone is compared with the entries of the others there.
    """

    def __init__(self, rules: Rules, bracket_of: Callable[[int], int]) -> None:
        super().__init__(rules.mode)
        self.rules = rules
        self.bracket_of = bracket_of
        self.factor = Fraction(str(rules.reduction_factor))
        self.rungs = self.milestones()

    def judge(self, trial: int, flat: Mapping[str, Any], loss: float | None) -> Verdict:
        """Answer by rules 1, 2, 6, 8 and 9."""
        time, score = self.time(flat), self.score(flat)
        if time is None or score is None or trial in self.gone:
            return Verdict(Decision.CONTINUE)
        if time >= self.rules.max_t:
            return Verdict(Decision.STOP, complete=True)
        milestone = self.counts_at(trial, time)
        if milestone is None or trial in self.entries(self.bracket_of(trial), milestone):
            return Verdict(Decision.CONTINUE)
        others = list(self.entries(self.bracket_of(trial), milestone).values())
        return Verdict(Decision.STOP if self.fails(score, others) else Decision.CONTINUE)

    def compared_with(self, trial: int, flat: Mapping[str, Any]) -> dict[int, float]:
        """Give the others' entries as losses (rule 10)."""
        time = self.time(flat)
        milestone = None if time is None or time >= self.rules.max_t else self.counts_at(trial, time)
        if milestone is None:
            return {}
        return _losses(self.entries(self.bracket_of(trial), milestone), trial)

    def milestones(self) -> list[Fraction]:
        """List the times of the rungs (rule 3)."""
        times = [Fraction(str(self.rules.grace_period))]
        while times[-1] * self.factor <= Fraction(str(self.rules.max_t)):
            times.append(times[-1] * self.factor)
        # A report's time is a double, so what it has to reach is the double nearest to the milestone.
        return [Fraction(float(time)) for time in times]

    def counts_at(self, trial: int, time: Fraction) -> Fraction | None:
        """Find the one milestone where a report counts (rule 4)."""
        reached = [milestone for milestone in self.rungs[self.bracket_of(trial) :] if milestone <= time]
        return max(reached, default=None)

    def entries(self, bracket: int, milestone: Fraction) -> dict[int, Score]:
        """Collect the entries of a bracket at a milestone, by trial (rule 5)."""
        found: dict[int, Score] = {}
        for trial, time, score in self.reports:
            if self.bracket_of(trial) == bracket and self.counts_at(trial, time) == milestone and trial not in found:
                found[trial] = score
        return found

    def fails(self, score: Score, others: list[Score]) -> bool:
        """Compare a score with the entries of the others (rules 8 and 9)."""
        if not others:
            return False
        if score == WORST:
            return any(other != WORST for other in others)
        return score < self.cutoff(others)

    def cutoff(self, entries: list[Score]) -> Score:
        """Work out the quantile (rule 7)."""
        ordered = sorted(entries)
        place = (len(ordered) - 1) * (1 - 1 / self.factor)
        below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
        if place == math.floor(place):
            return below
        if WORST in (below, above):
            return WORST
        return (1, below[1] + (above[1] - below[1]) * (place - math.floor(place)))


class NaiveMedian(Naive):
    """Median stopping.

    1. A report without a time or without a value, or of a trial that has ended, changes nothing: CONTINUE.
    2. Before the grace period: CONTINUE.
    3. The peers at time t are the other trials whose latest report was at t or later and that have any report from the
       grace period to t, ends of both included; whatever has become of them.
    4. A peer stands for the mean of these reports, each counted once, of all its attempts: the double nearest to it. With
       one that is the worst of all among them it is the worst of all.
    5. Fewer peers than min_samples_required, or none at all: CONTINUE.
    6. The median is the middle one of these means; where there are two, the double nearest to half-way, and the worst of
       all if one of them is.
    7. A trial is worth its best score, of all its reports and this one. It fails if that is below the median. Where it is
       the worst of all it fails as soon as any peer's mean is not.
    8. A trial that fails is STOPped; without hard_stop it PAUSEs, and is from then on like one that has ended.
    """

    def __init__(self, rules: MedianRules) -> None:
        super().__init__(rules.mode)
        self.rules = rules

    def judge(self, trial: int, flat: Mapping[str, Any], loss: float | None) -> Verdict:
        """Answer by rules 1, 2, 5 and 8."""
        time, score = self.time(flat), self.score(flat)
        if time is None or score is None or trial in self.gone or time < self.rules.grace_period:
            return Verdict(Decision.CONTINUE)
        means = [mean for peer, mean in self.peers(time).items() if peer != trial]
        if len(means) < max(1, self.rules.min_samples_required) or not self.fails(self.best(trial, score), means):
            return Verdict(Decision.CONTINUE)
        return Verdict(Decision.STOP if self.rules.hard_stop else Decision.PAUSE)

    def observe(self, trial: int, flat: Mapping[str, Any], loss: float | None) -> None:
        """Keep the report, then what rule 8 says of its trial."""
        pauses = self.judge(trial, flat, loss).decision is Decision.PAUSE
        super().observe(trial, flat, loss)
        if pauses:
            self.ended(trial)

    def peers(self, time: Fraction) -> dict[int, Score]:
        """Collect what each trial stands for at a time (rules 3 and 4)."""
        latest = {trial: each for trial, each, _ in self.reports}
        found: dict[int, Score] = {}
        for trial, last in latest.items():
            scores = self.window(trial, time)
            if last >= time and scores:
                found[trial] = self.mean(scores)
        return found

    def compared_with(self, trial: int, flat: Mapping[str, Any]) -> dict[int, float]:
        """Give the peers' means as losses (rules 3 and 4)."""
        time = self.time(flat)
        return {} if time is None or time < self.rules.grace_period else _losses(self.peers(time), trial)

    def window(self, trial: int, time: Fraction) -> list[Score]:
        """Collect a trial's scores that count at a time (rule 3)."""
        return [score for one, each, score in self.reports if one == trial and self.rules.grace_period <= each <= time]

    def mean(self, scores: list[Score]) -> Score:
        """Work out a mean (rule 4)."""
        if WORST in scores:
            return WORST
        return (1, Fraction(float(sum(score for _, score in scores) / len(scores))))

    def median(self, means: list[Score]) -> Score:
        """Work out the median (rule 6)."""
        ordered = sorted(means)
        return self.mean([ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]])

    def best(self, trial: int, score: Score) -> Score:
        """Find what a trial is worth (rule 7)."""
        return max([score, *(each for one, _, each in self.reports if one == trial)])

    def fails(self, best: Score, means: list[Score]) -> bool:
        """Compare what a trial is worth with its peers (rule 7)."""
        if best == WORST:
            return any(mean != WORST for mean in means)
        return best < self.median(means)


def _losses(scores: Mapping[int, Score], trial: int) -> dict[int, float]:
    """Give the scores of all but one trial as losses."""
    return {other: math.inf if score == WORST else -float(score[1]) for other, score in scores.items() if other != trial}
