"""The words of an experiment: objective, report, decision, attempt, trial. Frozen values, no behaviour beyond their own.

What happens to them is in `history` (the fold) and `plan`; how a report line is read is in `reports`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Protocol

Metrics = Mapping[str, Any]  # nested as reported
Flat = Mapping[str, Any]  # nested keys joined with "/"
Params = Mapping[str, Any]  # by (dotted) name, in the order of the YAML

TRAINING_ITERATION = "training_iteration"
TIME_TOTAL = "time_total_s"
DONE = "done"  # a program that reports it as true is through

# The columns of a report's row that are not the program's, in their order. Where it reports one of these names itself …
COUNTED = (TRAINING_ITERATION, "time_this_iter_s", TIME_TOTAL)  # … what it said stands
FILLED = ("timestamp", "date", "trial_id", "attempt", "number", DONE, "reason", "after_stop", "config")  # … it is overwritten


def trial_name(experiment: str, number: int) -> str:
    """Give a trial's name: digits-00012."""
    return f"{experiment}-{number:05d}"


def time_of(flat: Flat, name: str) -> float | None:
    """Give a report's time, by the name of the value that is it; None where that is missing or not a finite number."""
    value = flat.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    # A whole number beyond the doubles is a time like any other, but isfinite() cannot take it.
    return value if isinstance(value, int) or math.isfinite(value) else None


class Mode(Enum):
    """Which way the objective is better."""

    MAXIMIZE = "Maximize"
    MINIMIZE = "Minimize"


class Scope(Enum):
    """What a trial is worth: its last value or its best."""

    LAST = "Last"
    BEST = "Best"


@dataclass(frozen=True, slots=True)
class Objective:
    """Which reported value is looked at, and which way it is better."""

    metric: str
    mode: Mode
    scope: Scope = Scope.LAST

    def loss(self, value: Any) -> float | None:
        """Turn a reported value into what every algorithm compares: less is better, not finite is worst (+inf).

        None when the value is missing or not a number (a bool is not one).
        """
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return None
        try:
            number = float(value)
        except OverflowError:  # a whole number beyond the doubles
            return math.inf
        if not math.isfinite(number):
            return math.inf
        return number if self.mode is Mode.MINIMIZE else -number

    def value(self, loss: float) -> float:
        """Turn a loss back into the value that was reported; of one that was not finite nobody knows which: NaN."""
        if not math.isfinite(loss):
            return math.nan
        return loss if self.mode is Mode.MINIMIZE else -loss


class Decision(Enum):
    """What a report leads to."""

    CONTINUE = "Continue"
    STOP = "Stop"
    PAUSE = "Pause"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision with its reason and the facts behind it (rung, cutoff, score …), as `explain` will show them.

    `complete` is true where the trial has had its whole budget (a scheduler's maxT), so that being stopped is no blemish.
    """

    decision: Decision
    reason: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    complete: bool = False

    def unless_paused(self, why_not: str) -> Verdict:
        """Let the trial go on where it would be paused; the facts then say so, and why not."""
        if self.decision is not Decision.PAUSE:
            return self
        facts = {**self.facts, "wanted": Decision.PAUSE.value, "why_not": why_not}
        return replace(self, decision=Decision.CONTINUE, facts=facts)


CONTINUE = Verdict(Decision.CONTINUE)


class SchedulerState(Protocol):
    """What one scheduler remembers of one experiment. Built by folding the journal, never saved.

    `trial` is the trial's number; `flat` has every reported value by its "a/b" name; `loss` is the objective's (less is
    better, never NaN, +inf for what is not finite, None where the metric is missing).
    """

    def judge(self, trial: int, flat: Flat, loss: float | None) -> Verdict:
        """Say what this report leads to. Changes nothing: asked twice, it answers the same."""
        ...

    def observe(self, trial: int, flat: Flat, loss: float | None) -> None:
        """Remember this report (called once for each, after `judge`, whatever was decided, by whomever)."""
        ...

    def ended(self, trial: int) -> None:
        """Take note that this trial will report no more."""
        ...

    def compared_with(self, trial: int, flat: Flat) -> Mapping[int, float]:
        """Give, by trial, the losses of the others that this report is compared with; none where it is not compared.

        What `explain` names. Changes nothing; before `observe` of this report and right after it the answer is the same.
        """
        ...


class Scheduler(Protocol):
    """The settings of one scheduler; `begin` gives the empty state for an experiment."""

    @property
    def reads(self) -> Mapping[str, str]:
        """Name the metrics that it looks at besides the objective, each with the field of the spec that says so."""
        ...

    def begin(self, seed: int) -> SchedulerState:
        """Start with nothing known. All randomness derives from `seed` and the trial's number."""
        ...


@dataclass(frozen=True, slots=True)
class Report:
    """One accepted line."""

    trial: int
    attempt: int
    number: int  # of the line, from 0
    time: float  # unix seconds, when the intake took it
    metrics: Metrics
