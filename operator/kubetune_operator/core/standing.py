"""How trials and attempts stand: what is known of each, as values. The fold (`history.py`) makes them; nobody changes one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from kubetune_operator.core.records import Close, End, Intent, Outcome, Reported
from kubetune_operator.core.trials import Flat, Params, Verdict

Key = tuple[int, int]  # trial, attempt


class Phase(Enum):
    """Where a trial is in its life."""

    WAITING = "Waiting"  # for an attempt to start
    RUNNING = "Running"  # an attempt is open
    ENDED = "Ended"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One open attempt."""

    trial: int
    number: int
    started: float
    uid: str = ""  # of its pod; "" until there is one
    bound: float = 0.0  # when it got its pod; its clock starts here
    next: int = 0  # the number of the line wanted next
    accepted: int = 0
    refused: int = 0
    intent: Intent | None = None  # why we end it, if we do
    reason: str = ""
    message: str = ""
    complete: bool = False
    end: End | None = None
    last_time: float = 0.0  # of its last report, or when it got its pod

    @property
    def key(self) -> Key:
        """Give what identifies it."""
        return self.trial, self.number


@dataclass(frozen=True, slots=True)
class Trial:
    """One trial, from suggestion to end."""

    number: int
    params: Params
    phase: Phase = Phase.WAITING
    attempts: int = 0
    failures: int = 0
    disruptions: int = 0
    close: Close | None = None  # how its latest attempt closed …
    intent: Intent | None = None  # … and what we had intended with it
    closed: float = 0.0  # when; the next attempt may have to wait from here
    reports: int = 0
    refused: int = 0  # lines that were not reports
    step: float = 0  # training_iteration of the report its value is from
    value: Any = None  # what it is worth, as the user reported it; None: nothing yet
    loss: float | None = None
    metrics: Flat | None = None  # of that report
    complete: bool = False
    outcome: Outcome | None = None
    reason: str = ""
    message: str = ""
    words: str = ""  # the last that its latest attempt said on stderr, if that failed
    started: float = 0.0
    ended: float = 0.0

    @property
    def account(self) -> str:
        """Say how its latest attempt closed, in the program's own words too."""
        return f"{self.message}: {self.words}" if self.words else self.message


@dataclass(frozen=True, slots=True)
class Judged:
    """What the fold made of one accepted report: all that its row in the files says."""

    report: Reported
    filled: Mapping[str, float]  # what the report itself did not say: training_iteration and times
    verdict: Verdict
    after_stop: bool
