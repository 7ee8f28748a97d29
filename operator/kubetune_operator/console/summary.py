"""How an experiment has ended, or stands, in a few lines: the state, the counts, the best trial. Plain text for any output."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from kubetune_operator import status
from kubetune_operator.console import words
from kubetune_operator.core.history import History
from kubetune_operator.core.records import Outcome
from kubetune_operator.core.standing import Phase, Trial

_SUCCEEDED = {
    "StopMetrics": "met stop.metrics",
    "StopExpression": "met stop.expression",
    "Plateau": "reached a plateau",
    "GoalReached": "reached the goal",
    "Done": "reported done",
}
_ENDS = {
    "stopped": "stopped early",
    "failed": "failed",
    "cancelled": "cancelled",
    "running": "running",
    "waiting": "waiting",
}


def summarise(history: History, name: str, say: Callable[[str], None], *, doubt: str = "") -> None:
    """Say how it all ended: the counts, the best trial, what it was given; `doubt` is what makes the state uncertain."""
    counts = status.counts(history)
    finished = history.finished
    message = f": {finished.message}" if finished and finished.message else ""
    say(f"{name}: {status.state(history)}{message}{doubt}")
    for notice in status.notices(history, name):
        say(f"notice      {notice}")
    say(f"trials      {counts['started']} of {counts['total']} started: {', '.join(_ends(history)) or 'none ended'}")
    refused = sum(trial.refused for trial in history.trials)
    if refused:
        say(f"refused     {words.counted(refused, 'report')} refused (column refused of trials.csv)")
    best = status.best(history)
    if best is None:
        say(f"best trial  none: no trial has reported a finite {history.spec.objective.metric}")
        return
    but = "" if best.complete else f"  ({_but(best)})"
    say(f"best trial  {status.trial_name(name, best.number)}  {words.worth(history, best)}{but}")
    say(f"parameters  {json.dumps(dict(best.params))}")


def show(folder: Path) -> str:
    """Give the command that shows all trials."""
    return f"kubetune show {shlex.quote(str(folder))}"


def _ends(history: History) -> Iterator[str]:
    """Count the trials by how they ended; what a criterion of the experiment ended had not its whole budget."""
    succeeded = (trial for trial in history.trials if trial.outcome is Outcome.SUCCEEDED)
    found = Counter(_SUCCEEDED.get(trial.reason, "had their whole budget") for trial in succeeded)
    yield from (f"{found[word]} {word}" for word in ("had their whole budget", *_SUCCEEDED.values()) if found[word])
    counts = status.counts(history)
    yield from (f"{counts[key]} {word}" for key, word in _ENDS.items() if counts[key])


def _but(best: Trial) -> str:
    """Say why the value of the best trial may not be its last."""
    if best.phase is Phase.RUNNING:
        return "still running"
    if best.phase is Phase.WAITING:
        return "to be started anew"
    if best.outcome is Outcome.FAILED:
        return "it failed: no other trial has a value"
    if best.outcome is Outcome.CANCELLED:
        return "it ended with the experiment, before its whole budget"
    return "it was stopped early: no trial that was not has a value"
