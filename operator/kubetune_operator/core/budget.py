"""The time budget of an experiment: what of it is spent, and when that is to be recorded. `plan` asks at each turn.

Time is charged while a process has the experiment at work. What was not recorded when that process died is nobody's: at most
EVERY seconds, in the user's favour.
"""

from __future__ import annotations

from kubetune_operator.core.history import History
from kubetune_operator.core.records import Charged

EVERY = 10.0  # seconds after which what was spent is recorded


def due(history: History, since: float, now: float) -> Charged | None:
    """Give what is to be recorded now; `since` is when this process took the experiment up."""
    budget = history.spec.stop_experiment.time_budget
    if budget is None or history.uncharged_from is None:
        return None
    if now < history.uncharged_from:  # the clock was put back
        return Charged(history.charged, now)
    found = rest(history, since, now)
    if found is None:
        return None
    spent = found.seconds - history.charged
    return found if history.spec.suspend or spent >= EVERY or found.seconds >= budget else None


def rest(history: History, since: float, now: float) -> Charged | None:
    """Give all that is still to be charged, for when it is the last chance to do so."""
    if history.spec.stop_experiment.time_budget is None or history.uncharged_from is None:
        return None
    until = min(now, history.suspended) if history.spec.suspend else now
    spent = until - max(history.uncharged_from, since)
    return Charged(history.charged + spent, until) if spent > 0 else None


def wake(history: History, since: float) -> float | None:
    """Say when something is to be recorded, if time alone goes on."""
    budget = history.spec.stop_experiment.time_budget
    if budget is None or history.uncharged_from is None:
        return None
    return max(history.uncharged_from, since) + min(EVERY, budget - history.charged)
