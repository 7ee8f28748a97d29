"""What a simulation has shown, in a few lines: what it found and spent, beside all that its curves could have given.

Plain text for any output. A claim is made only where every curve is as long as the simulation has asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubetune_operator import status
from kubetune_operator.console import summary, words
from kubetune_operator.core.records import Outcome
from kubetune_operator.core.reports import flatten
from kubetune_operator.core.standing import Phase, Trial
from kubetune_operator.core.trials import TRAINING_ITERATION, Objective, Scope
from kubetune_operator.curves import Curve
from kubetune_operator.earlier import Earlier
from kubetune_operator.simulation import Simulated

Say = Callable[[str], None]
SOME = 5  # trials that a refusal names


@dataclass(frozen=True, slots=True)
class Rows:
    """A table, and which row each trial was."""

    table: Sequence[Curve]
    of_trials: Sequence[int]
    start_seconds: float  # that each start costs


def with_table(simulated: Simulated, rows: Rows, name: str, say: Say) -> None:
    """Say how trials went that took these rows of a table: by what a row is worth at its end, not by what was found."""
    summary.summarise(simulated.history, name, say)
    objective, best, table = simulated.history.spec.objective, simulated.best, rows.table
    if best is not None:
        row = rows.of_trials[best.number]
        say(f"its row     {row} (the first is 0), at its end {_worth(objective, table[row])}")
    every, tried = range(len(table)), set(rows.of_trials)
    say(f"best row    {_best_row(objective, table, every)} of all {len(every)}")
    if len(tried) < len(every):
        say(f"            {_best_row(objective, table, tried)} of the {len(tried)} that there were for the trials")
    whole = math.fsum(table[row].duration + rows.start_seconds for row in rows.of_trials)
    _time(simulated, whole, "running all of them to their ends would take", say)


def with_earlier(simulated: Simulated, earlier: Earlier, scheduler: Mapping[str, Any], say: Say) -> bool:
    """Say what another scheduler would have made of an earlier experiment; False where that cannot be known."""
    history = earlier.history
    name = history.created.name if history.created else ""
    if simulated.past_end:
        _refuse(simulated, earlier, name, say)
        return False
    summary.summarise(simulated.history, name, say)
    whole = math.fsum(curve.duration for curve in earlier.curves)
    _time(simulated, whole, "the earlier run took", say)
    best = status.best(history)
    if best is not None:
        fate, spent = _fate(simulated, best, name), words.share(simulated.worker_seconds, whole)
        say(f"answer      with {words.scheduler(scheduler)} you would have {fate}, and spent {spent} of the time")
    return True


def _refuse(simulated: Simulated, earlier: Earlier, name: str, say: Say) -> None:
    past = [
        f"{status.trial_name(name, number)} after {words.counted(len(earlier.curves[number].reports), 'report')}"
        for number in simulated.past_end
    ]
    say(f"no claim    {len(past)} of {words.counted(len(earlier.curves), 'curve')} are cut short where this simulation goes on:")
    say(f"            {words.some(past, SOME)}")
    say("            the earlier run ended those trials, so nobody knows how they would have gone; simulate what stops no later")
    say("            than it did, or run the experiment once without a scheduler")


def _fate(simulated: Simulated, best: Trial, name: str) -> str:
    """Say what would have become of the earlier best trial."""
    trials, found = simulated.history.trials, simulated.best
    its = status.trial_name(name, best.number)
    metric = simulated.history.spec.objective.metric
    at = f"{metric}={words.number(found.value)} in place of {words.number(best.value)}" if found else "no value"
    instead = "no trial instead" if found is None else f"{status.trial_name(name, found.number)} instead"
    if best.number >= len(trials):  # a goal, a time budget, failures: all was over before its turn came
        return f"ended before your best trial, {its}, began, and had {instead} ({at})"
    trial = trials[best.number]
    if found is not None and found.number == best.number and trial.outcome is not Outcome.STOPPED:
        # The same curve, but perhaps not as far: a model of fewer steps is not the one that there was.
        return f"kept your best trial, {its}" + (f" ({at})" if found.value != best.value else "")
    if trial.outcome is Outcome.STOPPED:
        return f"stopped your best trial, {its}, at {TRAINING_ITERATION} {trial.reports}, and had {instead} ({at})"
    ended = "ended" if trial.phase is Phase.ENDED else "been left"
    return f"{ended} with your best trial, {its}, {status.word(trial).lower()}, and had {instead} ({at})"


def _time(simulated: Simulated, whole: float, beside: str, say: Say) -> None:
    workers = words.counted(simulated.history.spec.max_concurrent, "worker")
    say(f"time        {words.duration(simulated.seconds)} on {workers}")
    spent = words.share(simulated.worker_seconds, whole)
    say(f"worker time {words.duration(simulated.worker_seconds)}, {spent} of the {words.duration(whole)} that {beside}")


def _best_row(objective: Objective, table: Sequence[Curve], rows: Iterable[int]) -> str:
    losses = {row: _loss(objective, table[row]) for row in rows}
    row = min(losses, key=lambda row: (losses[row], row))
    return f"{row}, at its end {_worth(objective, table[row])}"


def _worth(objective: Objective, curve: Curve) -> str:
    loss = _loss(objective, curve)
    return f"{objective.metric}={words.number(objective.value(loss))}" if math.isfinite(loss) else f"no finite {objective.metric}"


def _loss(objective: Objective, curve: Curve) -> float:
    """Give what a curve is worth when it has been gone to its end, as `objective.scope` has it; +inf: nothing."""
    found = [loss for report in curve.reports if (loss := objective.loss(flatten(report).get(objective.metric))) is not None]
    if not found:
        return math.inf
    return found[-1] if objective.scope is Scope.LAST else min(found)
