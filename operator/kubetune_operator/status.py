"""What an experiment looks like from outside: state, counts, the best trials, a row for each trial. Pure; writes nothing."""

from __future__ import annotations

import datetime as dt
import heapq
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from kubetune_operator.core import plan
from kubetune_operator.core.history import History, Phase, Trial
from kubetune_operator.core.records import Outcome
from kubetune_operator.core.trials import FILLED

TOP = 10
FAILURES = frozenset(
    {"TooManyFailedTrials", "FailFast", "MetricMissing", "ExitCode", "NotStarted", "NoReports", "Killed", "OOMKilled", "Lost"}
)  # of the experiment; every other reason to end is a success


def trial_name(experiment: str, number: int) -> str:
    """Give a trial's name: digits-00012."""
    return f"{experiment}-{number:05d}"


def attempt_name(experiment: str, number: int, attempt: int) -> str:
    """Give an attempt's name, which is its pod's: digits-00012-1."""
    return f"{trial_name(experiment, number)}-{attempt}"


def state(history: History) -> str:
    """Give the experiment's state in one word."""
    if history.finished:
        return history.finished.reason
    if history.ending:
        return "Ending"
    if history.spec.suspend:
        return "Suspended"
    if history.interrupted:
        return "Interrupted"
    return "Running" if history.trials else "Pending"


def succeeded(history: History) -> bool | None:
    """Say whether the experiment succeeded; None while it runs."""
    return None if history.finished is None else history.finished.reason not in FAILURES


def top(history: History, count: int = TOP) -> list[Trial]:
    """Give the best trials, best first: those with a whole budget before those that were cut short, failed ones last."""
    worth = (trial for trial in history.trials if trial.loss is not None and math.isfinite(trial.loss))
    return heapq.nsmallest(count, worth, key=_rank)


def best(history: History) -> Trial | None:
    """Give the best trial, if any has reported a finite objective."""
    return next(iter(top(history, 1)), None)


def _rank(trial: Trial) -> tuple[int, float, int]:
    standing = 2 if trial.outcome is Outcome.FAILED else 0 if trial.complete else 1
    return standing, trial.loss if trial.loss is not None else math.inf, trial.number


def counts(history: History) -> dict[str, int]:
    """Count the trials by what they are doing or how they ended, under the status's own names."""
    found = Counter(word(trial) for trial in history.trials)
    return {
        "total": history.spec.total,
        "started": sum(trial.attempts > 0 for trial in history.trials),
        **{name: found[name.capitalize()] for name in ("waiting", "running", "succeeded", "stopped", "failed", "cancelled")},
    }


def word(trial: Trial) -> str:
    """Say in one word how a trial is or ended."""
    return trial.outcome.value if trial.outcome else trial.phase.value


def notices(history: History, experiment: str) -> list[str]:
    """Give what the user should know, whatever comes of the experiment, in a sentence each."""
    found = [
        f"metric {name} (first reported by {trial_name(experiment, history.overwritten[name])}) has a name of kubetune's own: "
        f"the files hold kubetune's value under it; report it under another name, such as my_{name}"
        for name in FILLED
        if name in history.overwritten
    ]
    if history.without_metric and not plan.metric_missing(history):  # else the experiment ends with that
        (trial, _), flat = next(iter(history.without_metric.items()))
        metric = history.spec.objective.metric
        lacks = f"the first report of {trial_name(experiment, trial)} has no {metric} (the objective)"
        found.append(f"{lacks}; {plan.seen(flat, metric)}")
    return found


def render(history: History, experiment: str) -> dict[str, Any]:
    """Give the resource's status, bounded whatever the number of trials."""
    tally = counts(history)
    finished = history.finished
    success = succeeded(history)
    words = [finished.message] if finished and finished.message else []
    return {
        "state": state(history),
        "progress": f"{history.ended}/{history.spec.total}",
        "gridSize": history.spec.space.grid_size,
        "trials": tally,
        "bestTrial": _best(best(history), experiment),
        "topTrials": [_best(trial, experiment) for trial in top(history)],
        "startTime": stamp(history.created.time) if history.created else None,
        "finishTime": stamp(finished.time) if finished else None,
        "conditions": [
            _condition(
                "Finished", state(history), ". ".join([*words, *notices(history, experiment)]), holds=finished is not None
            ),
            _condition("Succeeded", state(history), "", holds=success),
        ],
    }


def row(history: History, experiment: str, trial: Trial) -> dict[str, Any]:
    """Give one trial's row of trials.csv; the objective has a longer name where its own is a column's."""
    before = {
        "trial": trial_name(experiment, trial.number),
        "state": word(trial),
        "reason": trial.reason if trial.phase is Phase.ENDED else "",
        "message": trial.account,
    }
    after = {
        "step": trial.step,
        "complete": trial.complete,
        "reports": trial.reports,
        "refused": trial.refused,
        "attempts": trial.attempts,
        "started": stamp(trial.started) if trial.started else "",
        "ended": stamp(trial.ended) if trial.ended else "",
        **{f"params/{name}": value for name, value in trial.params.items()},
    }
    metric = history.spec.objective.metric
    return before | {f"objective/{metric}" if metric in before or metric in after else metric: trial.value} | after


def stamp(time: float) -> str:
    """Spell a time as Kubernetes does, in UTC to the second."""
    return dt.datetime.fromtimestamp(time, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _best(trial: Trial | None, experiment: str) -> Mapping[str, Any] | None:
    if trial is None:
        return None
    return {
        "name": trial_name(experiment, trial.number),
        "value": f"{trial.value}",
        "step": trial.step,
        "complete": trial.complete,
        "params": dict(trial.params),
    }


def _condition(kind: str, reason: str, message: str, *, holds: bool | None) -> dict[str, str]:
    return {"type": kind, "status": {True: "True", False: "False", None: "Unknown"}[holds], "reason": reason, "message": message}
