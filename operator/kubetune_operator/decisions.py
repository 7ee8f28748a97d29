"""What was decided about one trial, report by report, and with whom it was compared: found again by folding the journal.

The journal's `decided` records hold the facts of a decision, but of the peers only the number; who they were is what had been
folded by then. How it is told is in `console.explanation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kubetune_operator.checked import spec_of
from kubetune_operator.core.history import History
from kubetune_operator.core.records import Closed, Condemned, Record, Started
from kubetune_operator.core.standing import Judged
from kubetune_operator.experiment import begin, folding


@dataclass(frozen=True, slots=True)
class Decision:
    """One report of the trial, what it led to, and the losses that it was compared with, by trial."""

    judged: Judged
    peers: Mapping[int, float]


Event = Started | Decision | Condemned | Closed


def of_trial(records: Sequence[Record], number: int) -> tuple[History, list[Event]]:
    """Fold a journal; give the state at its end and what happened to one trial. Raises JournalEmpty or InvalidSpec."""
    history = begin(records, spec_of)
    events: list[Event] = []
    for record, judged in folding(history, records, spec_of):
        if judged is not None:
            if judged.report.trial == number:
                events.append(_decision(history, judged))
        elif isinstance(record, Started | Condemned | Closed) and record.trial == number:
            events.append(record)
    return history, events


def _decision(history: History, judged: Judged) -> Decision:
    if judged.after_stop or not judged.verdict.facts:
        return Decision(judged, {})
    flat = {**judged.report.flat, **judged.filled}
    return Decision(judged, history.scheduler.compared_with(judged.report.trial, flat))
