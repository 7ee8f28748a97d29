"""Showing what was recorded: the volume's files and the terminal. Everything here can be made again from the journal.

Called at the end of each turn. What it is given is durable already; if this process dies here, or the disk is full, `level`
brings the files up.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol

from kubetune_operator import rows, status
from kubetune_operator.core.history import History
from kubetune_operator.core.plan import IGNORED_SIGTERM
from kubetune_operator.core.records import Close, Closed, Ended, Outcome, Record, Refused, Suggested
from kubetune_operator.core.space import nested
from kubetune_operator.core.standing import Judged, Phase, Trial
from kubetune_operator.experiment import Past
from kubetune_operator.files import Files

EVERY = 1.0  # seconds between two writings of the tables, which are written whole
_SKIPS = "skips"  # stands for the notice of draws that gave no trial


class Progress(Protocol):
    """Where somebody looks on: a terminal, or the Events of a cluster."""

    def update(self, records: Sequence[Record]) -> None:
        """Take note of what was recorded."""
        ...

    def refused(self, lines: Sequence[Refused]) -> None:
        """Say which report lines were refused."""
        ...

    def note(self, text: str) -> None:
        """Say what the user should know."""
        ...


class Publisher:
    """Keeps the files of one experiment up to date, and whoever looks on."""

    def __init__(self, history: History, name: str, files: Files, progress: Progress) -> None:
        self._history = history
        self._name = name
        self._files = files
        self._progress = progress
        self._tables_at = 0.0
        self._noticed = set(self._notices())  # before an interruption

    def tell(self, records: Sequence[Record], refused: Sequence[Refused]) -> None:
        """Say what was recorded since the last call."""
        self._note(refused)
        self._progress.update(records)

    def write(self, records: Sequence[Record], judged: Sequence[Judged]) -> None:
        """Bring the files up to what was recorded since the last call. After an OSError only `level` can do that."""
        for record in records:
            if isinstance(record, Suggested):
                self._files.begin(self._trial(record.trial), nested(record.params))
        by_trial: dict[int, list[Judged]] = defaultdict(list)
        for one in judged:
            by_trial[one.report.trial].append(one)
        for trial, its in by_trial.items():
            self._files.append(self._trial(trial), [self._row(one) for one in its])
        for record in records:
            if isinstance(record, Closed) and (failure := self._failure(record, self._history.trials[record.trial].failures)):
                self._files.fail(self._trial(record.trial), failure)
            if isinstance(record, Ended):
                if failure := _given_up(self._history.trials[record.trial]):
                    self._files.fail(self._trial(record.trial), failure)
                self._files.finish(self._trial(record.trial), record.reason)
        if time.monotonic() >= self._tables_at:
            self.tables()

    def level(self, past: Past) -> None:
        """Bring all files up to what the journal says, whatever a crash has left of them.

        Takes the past's reports out of it, trial by trial: a hundred thousand that are let go at once hold up every thread.
        """
        by_trial: dict[int, list[Judged]] = defaultdict(list)
        for one in past.judged:
            by_trial[one.report.trial].append(one)
        past.judged.clear()
        failures: dict[int, list[rows.Failure]] = defaultdict(list)
        count: dict[int, int] = defaultdict(int)
        for closed in past.closed:
            count[closed.trial] += closed.close is Close.FAILED
            if failure := self._failure(closed, count[closed.trial]):
                failures[closed.trial].append(failure)
        for trial in past.history.trials:
            if failure := _given_up(trial):
                failures[trial.number].append(failure)
            reason = trial.reason if trial.phase is Phase.ENDED else None
            its = [self._row(one) for one in by_trial.pop(trial.number, ())]
            self._files.level(self._trial(trial.number), nested(trial.params), its, reason, failures[trial.number])
        self._tables_at = 0.0  # by the next `write`: they are of today's state, which must not change while they are made

    def tables(self) -> None:
        """Write the tables of the whole experiment now; `write` does so from time to time."""
        began = time.monotonic()
        self._files.trials_csv([status.row(self._history, self._name, trial) for trial in self._history.trials])
        created = self._history.created
        body = dict(created.body) if created else {}
        self._files.experiment_json({**body, "status": status.render(self._history, self._name)})
        now = time.monotonic()
        self._tables_at = now + max(EVERY, 20 * (now - began))  # at most a twentieth of the time, however many trials

    def _note(self, refused: Sequence[Refused]) -> None:
        self._progress.refused(refused)
        for key, notice in self._notices().items():
            if key not in self._noticed:
                self._noticed.add(key)
                self._progress.note(notice)

    def _notices(self) -> dict[str, str]:
        """Give the notices, each by what tells it from those that were said: how many draws gave no trial grows at every turn."""
        history = self._history
        growing = status.skipped(history.skipped, history.why_skipped)
        return {_SKIPS if one == growing else one: one for one in status.notices(history, self._name)}

    def _row(self, one: Judged) -> rows.Row:
        report = one.report
        trial: Trial = self._history.trials[report.trial]
        stamp = rows.Stamp(report.time, report.attempt, report.number, one.after_stop)
        return rows.row(self._trial(report.trial), nested(trial.params), report.metrics, one.filled, stamp)

    def _failure(self, closed: Closed, number: int) -> rows.Failure | None:
        if closed.close is not Close.FAILED and closed.message != IGNORED_SIGTERM:
            return None
        text = f"{closed.reason}: {closed.message} (attempt {closed.attempt})"
        return rows.Failure(max(1, number), closed.time, f"{text}\n{closed.tail}".rstrip())

    def _trial(self, number: int) -> str:
        return status.trial_name(self._name, number)


def _given_up(trial: Trial) -> rows.Failure | None:
    """Give the failure of a trial that failed though no attempt of it did: it was taken away too often."""
    if trial.outcome is not Outcome.FAILED or trial.close is not Close.DISRUPTED:
        return None
    often = "it was taken away once" if trial.disruptions == 1 else f"it was taken away {trial.disruptions} times"
    why = f"{trial.reason}: {trial.message} (attempt {trial.attempts - 1})"
    return rows.Failure(trial.failures + 1, trial.ended, f"{why}; {often}, more than failure.maxDisruptions allows")
