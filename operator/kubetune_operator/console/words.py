"""The words for one trial: what it is worth, why it ended, its parameters. Where they stand on the screen is not known here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kubetune_operator.core.history import History
from kubetune_operator.core.plan import IGNORED_SIGTERM
from kubetune_operator.core.records import Outcome
from kubetune_operator.core.standing import Phase, Trial
from kubetune_operator.core.trials import TRAINING_ITERATION, Params

REASONS = {
    "Asha": "ASHA",
    "Completed": "ran to its end",
    "Done": "reported done",
    "GoalReached": "reached the goal",
    "MaxT": "full budget",
    "MedianStopping": "median stopping",
    "Plateau": "plateau",
    "StopExpression": "stop.expression",
    "StopMetrics": "stop.metrics",
    "TimeBudget": "time budget",
}  # whatever is not here is its own word


def worth(history: History, trial: Trial) -> str:
    """Say what a trial is worth and when: "accuracy=0.9712 at training_iteration 27"."""
    metric = history.spec.objective.metric
    return (
        f"no {metric}" if trial.loss is None else f"{metric}={number(trial.value)} at {TRAINING_ITERATION} {number(trial.step)}"
    )


def why(trial: Trial) -> str:
    """Say why a trial ended, in few words; of one that has not, how its latest attempt closed."""
    if trial.phase is not Phase.ENDED:
        return trial.account
    reason, account = REASONS.get(trial.reason, trial.reason), trial.account
    if trial.outcome is Outcome.CANCELLED:
        reason = f"the experiment ended ({reason})"
        account = account if trial.message == IGNORED_SIGTERM else ""  # else it is the experiment's message
    return f"{reason}: {account}" if account else reason


def spelled(params: Params) -> str:
    """Spell parameters on one line: "lr=0.001 units=64"."""
    return " ".join(f"{name}={number(value)}" for name, value in params.items())


def number(value: Any) -> str:
    """Spell a value for a table: five significant digits of a fraction, all of a whole number."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.5g}"
    return value if isinstance(value, str) else json.dumps(value)


def counted(count: int, word: str) -> str:
    """Spell a count: "1 trial", "2 trials"."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def scheduler(settings: Mapping[str, Mapping[str, Any]]) -> str:
    """Spell `spec.scheduler`: "asha (maxT 27, gracePeriod 4, ...)"."""
    for name, each in settings.items():
        given = ", ".join(f"{key} {number(value)}" for key, value in each.items())
        return f"{name} ({given})" if given else name
    return "no scheduler"


def duration(seconds: float) -> str:
    """Spell how long something takes, to two units: "3.2 s", "4 min 10 s", "3 h 12 min"."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 3600:
        whole = round(seconds)
        return f"{whole // 60} min {whole % 60} s"
    whole = round(seconds / 60)
    return f"{whole // 60} h {whole % 60} min"


def share(part: float, whole: float) -> str:
    """Spell a share: "31 %"; of nothing there is none."""
    return f"{part / whole:.0%}".replace("%", " %") if whole else "all"


def some(items: Sequence[str], most: int) -> str:
    """List the first so many: "a, b and 2 more"."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more
