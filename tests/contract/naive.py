"""ASHA once more, slowly, from the text of the rules alone: the judge of every decision in which we are not Ray's equal.

It keeps every report and works everything out anew for each question, in fractions. It shares no code with the
scheduler that it judges, not even the turning of a value into a loss: here, as in Ray, a score is better when it is
greater. The rules, numbered as the code cites them:

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
10. The peers of a report that counts at a milestone are the entries of the others there.
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
    """The settings, by the names that the traces use."""

    mode: str = "max"
    max_t: float = 100
    grace_period: float = 1
    reduction_factor: float = 4
    brackets: int = 1


class NaiveAsha:
    """The rules above over reports with a time `t` and a value `value`."""

    def __init__(self, rules: Rules, bracket_of: Callable[[int], int]) -> None:
        self.rules = rules
        self.bracket_of = bracket_of
        self.factor = Fraction(str(rules.reduction_factor))
        self.rungs = self.milestones()
        self.reports: list[tuple[int, Fraction, Score]] = []
        self.gone: list[int] = []

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

    def observe(self, trial: int, flat: Mapping[str, Any], loss: float | None) -> None:
        """Keep the report (rules 1 and 5)."""
        time, score = self.time(flat), self.score(flat)
        if time is not None and score is not None and trial not in self.gone:
            self.reports.append((trial, time, score))

    def ended(self, trial: int) -> None:
        """Keep that the trial has ended (rule 1)."""
        self.gone.append(trial)

    def compared_with(self, trial: int, flat: Mapping[str, Any]) -> dict[int, float]:
        """Give the others' entries as losses (rule 10)."""
        time = self.time(flat)
        milestone = None if time is None or time >= self.rules.max_t else self.counts_at(trial, time)
        if milestone is None:
            return {}
        entries = self.entries(self.bracket_of(trial), milestone)
        return {other: math.inf if entry == WORST else -float(entry[1]) for other, entry in entries.items() if other != trial}

    def time(self, flat: Mapping[str, Any]) -> Fraction | None:
        """Read the time; only a finite number is one."""
        value = flat.get("t")
        if type(value) is int or (type(value) is float and math.isfinite(value)):
            return Fraction(value)
        return None

    def score(self, flat: Mapping[str, Any]) -> Score | None:
        """Read the value as a score (rule 9)."""
        value = flat.get("value")
        if type(value) is int and abs(value) > sys.float_info.max:
            return WORST
        if type(value) is not int and type(value) is not float:
            return None
        if not math.isfinite(value):
            return WORST
        return (1, Fraction(float(value)) * (1 if self.rules.mode == "max" else -1))

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
