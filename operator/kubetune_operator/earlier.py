"""The learning curves of an experiment that has run: how each of its trials went, as its journal has it. Changes nothing there.

A curve goes as far as its trial did. Where that trial was stopped, cancelled or taken away, and so might have gone on, it is cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from pathlib import Path

from kubetune_operator.checked import spec_of
from kubetune_operator.core.history import History
from kubetune_operator.core.records import Close, Closed, Drained, End, Reported, Started
from kubetune_operator.core.trials import Params
from kubetune_operator.curves import WELL, Curve
from kubetune_operator.experiment import begin, folding, records_of

_FAILED = End(exit_code=1)  # of an attempt of which only the verdict is known


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier experiment; trial number i went as `curves[i]`."""

    history: History
    curves: Sequence[Curve]


@dataclass(slots=True)
class _Attempt:
    """What the journal says of one attempt."""

    started: float
    reports: list[Reported] = field(default_factory=list)  # those after a STOP too: they count for nothing, but they are true
    end: End | None = None
    closed: Closed | None = None


def read(folder: Path) -> Earlier:
    """Read the curves of the experiment in this folder. Raises JournalError, InvalidSpec or OSError."""
    records = records_of(folder)
    history = begin(records, spec_of)
    attempts: dict[int, list[_Attempt]] = {}
    for record, judged in folding(history, records, spec_of):
        match record:
            case Started():
                attempts.setdefault(record.trial, []).append(_Attempt(record.time))
            case Reported() if judged is not None:
                attempts[record.trial][record.attempt].reports.append(record)
            case Drained():
                attempts[record.trial][record.attempt].end = record.end
            case Closed():
                attempts[record.trial][record.attempt].closed = record
    started = takewhile(lambda trial: trial.attempts, history.trials)  # trials are started in the order of their numbers
    return Earlier(history, [_curve(trial.params, attempts[trial.number]) for trial in started])


def _curve(params: Params, attempts: Sequence[_Attempt]) -> Curve:
    """Make the curve of the attempt that got furthest, the last of those that did."""
    chosen = max(reversed(attempts), key=lambda attempt: len(attempt.reports))
    times = [chosen.started, *(report.time for report in chosen.reports)]
    seconds = [max(0.0, after - before) for before, after in pairwise(times)]  # clocks may be put back
    metrics = [report.metrics for report in chosen.reports]
    closed = chosen.closed
    if closed is None or closed.close in {Close.INTENDED, Close.DISRUPTED}:
        return Curve(params, metrics, seconds, cut=True)
    closing = max(0.0, closed.time - times[-1])
    if closed.close is Close.SUCCEEDED:
        return Curve(params, metrics, seconds, closing, WELL)
    end = chosen.end if chosen.end and not chosen.end.terminated else _FAILED
    return Curve(params, metrics, seconds, closing, end)
