"""Deadlines of an attempt: for its pod's program to begin, and from one report to the next. What follows is `plan`'s to say."""

from __future__ import annotations

from dataclasses import dataclass

from kubetune_operator.core.spec import Deadlines
from kubetune_operator.core.standing import Attempt

START, PROGRESS = "StartDeadline", "ProgressDeadline"  # the reasons


@dataclass(frozen=True, slots=True)
class Due:
    """The deadline that an attempt is up against."""

    time: float
    reason: str
    message: str


def due(limits: Deadlines, attempt: Attempt, begun: float | None, since: float) -> Due | None:
    """Give the deadline that runs, if one does.

    `begun` is when the program began, None before it has; `since` is when this process took the experiment up: nothing was
    heard before that, so no time before it counts against the trial.
    """
    if begun is None and attempt.next == 0:
        if limits.start is None or not attempt.uid:  # an attempt without a pod waits for a quota: that is not Pending
            return None
        message = f"its program has not begun for {limits.start:g} s (trial.startDeadlineSeconds)"
        return Due(max(attempt.bound, since) + limits.start, START, message)
    if limits.progress is None:
        return None
    # A line that was refused may come before its pod is seen to have begun: it has had its pod since then, no longer.
    last = attempt.last_time if attempt.accepted or begun is None else begun
    after = "since its last report" if attempt.accepted else "since it began"
    message = f"it has not reported for {limits.progress:g} s {after} (trial.progressDeadlineSeconds)"
    return Due(max(last, since) + limits.progress, PROGRESS, message)
