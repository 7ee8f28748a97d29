"""What ends a whole experiment: each reason with its message, from what is known alone. `plan` asks and records.

What ends a single trial is in `stops` and in the schedulers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from kubetune_operator.core.history import History
from kubetune_operator.core.plateaus import PLATEAU
from kubetune_operator.core.records import Intent, Outcome
from kubetune_operator.core.space import TRIES
from kubetune_operator.core.spec import Spec
from kubetune_operator.core.standing import Trial

FEW_FAILURES = 5  # maxFailedTrials' default is the larger of this …
FAILED_SHARE = 0.1  # … and this share of the trials started
FEW_SKIPS = 100  # draws in a row that give no trial say that none will
TIME_BUDGET = "TimeBudget"
# Ends that a change of the spec can undo: each holds only as long as it is among the `causes`.
UNDOABLE = frozenset({"AllTrialsFailed", "Completed", "GoalReached", PLATEAU, TIME_BUDGET, "FailFast", "TooManyFailedTrials"})


def goes_on(history: History) -> bool:
    """Say whether an experiment that has ended, or is about to, goes on: an edit has taken away what ended it."""
    ending = history.ending
    if ending is None or not history.edited or ending.reason not in UNDOABLE:
        return False
    return all(reason != ending.reason for reason, _ in causes(history))


def causes(history: History) -> Iterator[tuple[str, str]]:
    """Give each reason for which the whole experiment is to end, with its message, the weightiest first."""
    if history.goal is not None:
        value, goal = history.trials[history.goal].value, history.spec.stop_experiment.goal
        yield "GoalReached", f"trial {history.name(history.goal)} reported {value}, the goal is {goal}"
    if history.best_values is not None and history.best_values.reached:
        yield PLATEAU, history.best_values.reached
    budget = history.spec.stop_experiment.time_budget
    if budget is not None and history.charged >= budget:
        yield TIME_BUDGET, f"{history.charged:.0f} s are spent of the {budget:g} s that stopExperiment.timeBudgetSeconds allows"
    if history.failed:
        yield from _failures(history)
    if not history.open and not any(retried(history)) and (missing := metric_missing(history)):
        yield "MetricMissing", missing
    idle = not history.open and not history.waiting
    if idle and (ran_dry(history) or (history.skipped and not history.trials and _all_drawn(history))):
        draws = "1 draw" if history.skipped_in_a_row == 1 else f"{history.skipped_in_a_row} draws"
        yield "ConstraintsNotMet", f"the last {draws} gave no trial, each tried up to {TRIES} times; {history.why_skipped}"
    if idle and _all_drawn(history):
        if 0 < len(history.trials) == history.failed:
            last = history.trials[-1]
            yield "AllTrialsFailed", f"every trial failed; the last: {last.reason}: {last.account}"
        yield "Completed", ""


def _all_drawn(history: History) -> bool:
    return history.drawn >= history.spec.total


def few_skips(spec: Spec) -> int:
    """Give how many draws in a row that give no trial say that none will: a whole grid, where that is more."""
    return max(FEW_SKIPS, spec.space.grid_size)


def ran_dry(history: History) -> bool:
    """Say that nothing more is drawn: so many draws in a row have given no trial. What runs is not to blame, and goes on."""
    return history.skipped_in_a_row >= few_skips(history.spec)


def _failures(history: History) -> Iterator[tuple[str, str]]:
    spec = history.spec
    if spec.failure.fail_fast:
        first = next(trial for trial in history.trials if trial.outcome is Outcome.FAILED)
        yield "FailFast", f"trial {history.name(first.number)} failed ({first.reason}: {first.account}) and failFast is set"
    # With one trial at a time a single failure would be "all of the first": two are the least that say it is not the parameters.
    # They are those of the start: lowering maxConcurrentTrials ends nothing, and where others do well they were unlucky.
    first_ones = history.trials[: max(2, min(history.at_once_at_first, history.total))] if history.failed == history.ended else []
    # What a cluster says of a pod that never began differs from one to the next; what a program says is the program's.
    causes = {(trial.reason, "" if trial.intent is Intent.FAIL else trial.message) for trial in first_ones}
    if len(first_ones) > 1 and all(trial.outcome is Outcome.FAILED for trial in first_ones) and len(causes) == 1:
        yield first_ones[0].reason, f"the first {len(first_ones)} trials all failed alike: {first_ones[0].account}"
    allowed = spec.stop_experiment.max_failed_trials
    if allowed is None:
        allowed = max(FEW_FAILURES, math.floor(FAILED_SHARE * len(history.trials)))
    if history.failed > allowed:
        failed = "1 trial" if history.failed == 1 else f"{history.failed} trials"
        yield "TooManyFailedTrials", f"{failed} failed, {allowed} are allowed (stopExperiment.maxFailedTrials)"


def metric_missing(history: History) -> str:
    """Say that nobody reports the objective, once enough trials had their whole budget without it; an empty text before that.

    What failed, was interrupted or was taken away shows nothing: a program may well report its objective last.
    """
    metric = history.spec.objective.metric
    count = len(history.without_metric)
    enough = 1 if history.ended >= history.total else _enough_without(history)
    if count < enough or metric not in history.sightings.unreported:
        return ""
    which = "1 trial had its whole budget" if count == 1 else f"{count} trials had their whole budget"
    instead = not_a_number(history, metric) or history.sightings.hint(metric)
    return f"{which} without reporting the objective's metric {metric}; {instead}"


def _enough_without(history: History) -> int:
    """Give how many trials without the objective show that nobody reports it: lowering maxConcurrentTrials ends nothing."""
    return min(3, history.at_once_at_first)


def suspects(history: History) -> int | None:
    """Give how many more attempts would settle a suspicion that nobody reports the objective; None: there is none.

    What runs, or is to run again, may settle it without a further one: a misspelt metric must not burn a budget.
    """
    if not history.without_metric or history.spec.objective.metric not in history.sightings.unreported:
        return None
    waited_for = len(history.open) + sum(1 for _ in retried(history))
    return max(0, _enough_without(history) - len(history.without_metric) - waited_for)


def retried(history: History) -> Iterator[Trial]:
    """Give the trials that wait for another attempt: what ended the last one does not count against them."""
    return (trial for number in history.waiting if (trial := history.trials[number]).attempts)


def not_a_number(history: History, metric: str) -> str:
    """Say what else was reported as a metric that must be a number, if anything was."""
    if metric not in history.sightings.not_numbers:
        return ""
    trial, value = history.sightings.not_numbers[metric]
    return f"{metric} must be a number, got {value} in trial {history.name(trial)}"
