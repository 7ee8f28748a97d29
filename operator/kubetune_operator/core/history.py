"""The fold: what the recorded events add up to. State of an experiment is this and nothing else.

`History.apply` is the only thing that changes a History, once for each record, in the order of the journal.
A report is judged as it is folded, by the state that the records before it have made: so a replay judges as the first
run did. What was recorded as decided is handed in on a replay and counts as it stands.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from kubetune_operator.core.plateaus import BestValues
from kubetune_operator.core.records import (
    Bound,
    Charged,
    Close,
    Closed,
    Condemned,
    Created,
    Decided,
    Drained,
    Edited,
    Ended,
    Ending,
    Finished,
    Intent,
    Interrupted,
    Outcome,
    Record,
    Refused,
    Reopened,
    Reported,
    Skipped,
    Started,
    Suggested,
)
from kubetune_operator.core.sightings import Sightings
from kubetune_operator.core.spec import Spec
from kubetune_operator.core.standing import Attempt, Judged, Key, Phase, Trial
from kubetune_operator.core.stops import Stops
from kubetune_operator.core.trials import (
    CONTINUE,
    COUNTED,
    DONE,
    FILLED,
    TRAINING_ITERATION,
    Decision,
    Flat,
    Verdict,
    trial_name,
)

_NOTE = "note"  # among the facts of a decision: what went wrong with an expression
MOST_NOTES = 3
MAX_WORDS = 200  # characters of a failed program's last line that tables and messages show
_OF_AN_OPEN_ATTEMPT = (Bound, Reported, Refused, Condemned, Drained, Closed)


class History:
    """What is known of one experiment. Everybody may read it; only `apply` changes it."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.at_once_at_first = spec.max_concurrent  # as the experiment began
        self.stops = Stops(spec)
        self.scheduler = spec.scheduler.begin(spec.seed)
        self.searcher = spec.searcher.begin(spec.space, spec.seed)
        self.created: Created | None = None
        self.trials: list[Trial] = []
        self.open: dict[Key, Attempt] = {}
        self.waiting: dict[int, None] = {}  # trials to start, in the order in which they came to wait
        self.digests: dict[Key, list[str]] = {}  # of each line of an open attempt
        self.undecided: dict[tuple[int, int, int], Decided] = {}  # judged, but not yet recorded as decided
        self.skipped = 0  # draws that met no constraint
        self.skipped_in_a_row = 0  # since the last trial
        self.why_skipped = ""  # the last of them
        self.notes: list[str] = []  # what went wrong with expressions, the first few
        self.failed = 0
        self.ended = 0
        self.goal: int | None = None  # the trial that reached it
        self.best_values = _best_values(spec)
        self.charged = 0.0  # seconds of the time budget …
        self.uncharged_from: float | None = None  # … and what runs since then is to be charged; None: nothing has started
        self.names: dict[int, set[str]] = {}  # of the metrics that a trial has reported
        self.sightings = Sightings(spec.reads)
        self.without_metric: list[int] = []  # trials that had their whole budget and never reported the objective as a number
        self.overwritten: dict[str, int] = {}  # metrics with a name of kubetune's own: the first trial that reported it
        self.interrupted: Interrupted | None = None  # since the latest attempt was started
        self.ending: Ending | None = None
        self.edited = False  # since then
        self.finished: Finished | None = None
        self.reopened: list[tuple[str, float]] = []  # each time that it went on after an end: which end, and when
        self.suspended = 0.0  # when `suspend` last changed; 0: never
        self.last_report = 0.0

    @property
    def total(self) -> int:
        """Count the trials there are to be, as far as is known: draws that are yet to come may be skipped, too."""
        return max(len(self.trials), self.spec.total - self.skipped)

    @property
    def drawn(self) -> int:
        """Count the draws so far: the trials, and what became no trial."""
        return len(self.trials) + self.skipped

    def name(self, trial: int) -> str:
        """Give a trial's name."""
        return trial_name(self.created.name if self.created else "", trial)

    def apply(self, record: Record, recorded: Verdict | None = None, spec: Spec | None = None) -> Judged | None:
        """Fold one record in; for a report, return what became of it.

        `recorded` is what the journal says was decided on this report, where it says so; `spec` what the body of an
        Edited says, which only the shell can read.
        """
        key = (getattr(record, "trial", -1), getattr(record, "attempt", -1))
        if isinstance(record, _OF_AN_OPEN_ATTEMPT) and key not in self.open:
            return None  # it was closed while this was on its way to the journal: it counts for nothing
        match record:
            case Reported():
                return self._reported(record, recorded)
            case Refused():
                self._line(record, refused=self.open[key].refused + 1)
                trial = self.trials[record.trial]
                self.trials[record.trial] = replace(trial, refused=trial.refused + 1)
            case Decided():
                self.undecided.pop((record.trial, record.attempt, record.number), None)
            case Suggested() | Skipped():
                self._drawn(record)
            case Started() | Bound() | Condemned() | Drained():
                self._moved(record)
            case Closed():
                self._closed(record)
            case Ended():
                self._ended(record)
            case Created() | Edited() | Charged() | Interrupted() | Ending() | Finished() | Reopened():
                self._whole(record, spec or self.spec)
        return None

    def _line(self, record: Reported | Refused, **changes: Any) -> None:
        """Count a line of an open attempt, with what else it changes there."""
        key = (record.trial, record.attempt)
        self.digests[key].append(record.digest)
        attempt = self.open[key]
        self.open[key] = replace(attempt, next=attempt.next + 1, **changes)

    def _reported(self, record: Reported, recorded: Verdict | None) -> Judged:
        attempt = self.open[record.trial, record.attempt]  # as it was before this line
        self._line(record, accepted=attempt.accepted + 1, last_time=record.time)
        flat = record.flat
        self.names.setdefault(record.trial, set()).update(flat)
        self._overwritten(record)
        filled = _filled(record, attempt)
        self.last_report = record.time
        if attempt.intent is not None:
            return Judged(record, filled, CONTINUE, after_stop=True)
        flat = {**flat, **filled}
        loss = self.spec.objective.loss(flat.get(self.spec.objective.metric))
        self.stops.observe(record.trial, flat)
        verdict = recorded or self._judge(record, flat, loss)
        self._note(verdict.facts.get(_NOTE, ""))
        self.scheduler.observe(record.trial, flat, loss)
        if self.best_values is not None:
            self.best_values.observe(flat)
        self._value(record.trial, flat, loss)
        self.sightings.reported(record.trial, record.flat, filled)
        if verdict.decision is Decision.STOP:
            self.open[attempt.key] = replace(
                self.open[attempt.key], intent=Intent.STOP, reason=verdict.reason, complete=verdict.complete
            )
        line = (record.trial, record.attempt, record.number)
        self.undecided[line] = Decided(*line, verdict.decision, verdict.reason, verdict.facts, verdict.complete)
        return Judged(record, filled, verdict, after_stop=False)

    def _judge(self, record: Reported, flat: Flat, loss: float | None) -> Verdict:
        """Ask the criteria of `stop` first, as Ray does; the scheduler decides only where they are silent."""
        if flat.get(DONE) is True:
            return Verdict(Decision.STOP, "Done", {}, complete=True)
        if self._reaches_goal(loss):
            return Verdict(Decision.STOP, "GoalReached", {"goal": self.spec.stop_experiment.goal}, complete=True)
        verdict, failed = self.stops.judge(self.name(record.trial), record, flat)
        if verdict is None:
            # The one place where a pause is carried out or not. There are no checkpoints yet, and without one a trial that was
            # paused would begin again from its first step, as in Ray.
            verdict = self.scheduler.judge(record.trial, flat, loss).unless_paused("there is no checkpoint to go on from")
        if not self._is_news(failed):
            return verdict
        return replace(verdict, facts={**verdict.facts, _NOTE: failed})  # a replay, which asks nobody, finds it there

    def _value(self, number: int, flat: Flat, loss: float | None) -> None:
        trial = self.trials[number]
        best = self.spec.objective.scope.value == "Best"
        if loss is None or (best and trial.loss is not None and trial.loss <= loss):
            self.trials[number] = replace(trial, reports=trial.reports + 1)
            return
        step = flat.get(TRAINING_ITERATION, 0)
        value = flat[self.spec.objective.metric]
        self.trials[number] = replace(trial, reports=trial.reports + 1, value=value, loss=loss, step=step, metrics=flat)
        if self.goal is None and self._reaches_goal(loss):
            self.goal = number

    def _reaches_goal(self, loss: float | None) -> bool:
        wanted = self.spec.objective.loss(self.spec.stop_experiment.goal)
        return wanted is not None and loss is not None and math.isfinite(loss) and loss <= wanted

    def _overwritten(self, record: Reported) -> None:
        for name in FILLED:
            if name in record.metrics and not (name == DONE and isinstance(record.metrics[name], bool)):
                self.overwritten.setdefault(name, record.trial)

    def _drawn(self, record: Suggested | Skipped) -> None:
        if isinstance(record, Skipped):
            self.skipped += 1
            self.skipped_in_a_row += 1
            self.why_skipped = record.reason
            return
        self.trials.append(Trial(record.trial, record.params))
        self.waiting[record.trial] = None
        self.skipped_in_a_row = 0
        self._note(record.note)
        self.searcher.suggested(record.trial, record.params)

    def _note(self, text: str) -> None:
        """Keep what went wrong with an expression: the first few that differ, as a long run may go wrong at each report."""
        if self._is_news(text):
            self.notes.append(text)

    def _is_news(self, text: str) -> bool:
        return bool(text) and len(self.notes) < MOST_NOTES and text not in self.notes

    def _moved(self, record: Started | Bound | Condemned | Drained) -> None:
        key = (record.trial, record.attempt)
        match record:
            case Started():
                trial = self.trials[record.trial]
                started = trial.started or record.time
                self.trials[record.trial] = replace(trial, phase=Phase.RUNNING, attempts=record.attempt + 1, started=started)
                self.waiting.pop(record.trial, None)
                self.interrupted = None
                if self.uncharged_from is None:
                    self.uncharged_from = record.time
                self.open[key] = Attempt(record.trial, record.attempt, record.time)
                self.digests[key] = []
            case Bound():
                if self.open[key].uid:
                    return  # bound for ever
                self.open[key] = replace(self.open[key], uid=record.uid, bound=record.time, last_time=record.time)
            case Condemned():
                self.open[key] = replace(self.open[key], intent=record.intent, reason=record.reason, message=record.message)
            case Drained():
                self.open[key] = replace(self.open[key], end=record.end)

    def _closed(self, record: Closed) -> None:
        key = (record.trial, record.attempt)
        attempt = self.open.pop(key)
        del self.digests[key]
        self.stops.forget(record.trial)
        trial = self.trials[record.trial]
        self.trials[record.trial] = replace(
            trial,
            phase=Phase.WAITING,
            failures=trial.failures + (record.close is Close.FAILED),
            disruptions=trial.disruptions + (record.close is Close.DISRUPTED),
            close=record.close,
            intent=attempt.intent,
            closed=record.time,
            complete=attempt.complete or record.close is Close.SUCCEEDED,
            reason=record.reason,
            message=record.message,
            words=_last_line(record.tail),
        )
        self.waiting[record.trial] = None

    def _ended(self, record: Ended) -> None:
        trial = self.trials[record.trial]
        self.waiting.pop(record.trial, None)
        self.trials[record.trial] = replace(
            trial, phase=Phase.ENDED, outcome=record.outcome, reason=record.reason, message=record.message, ended=record.time
        )
        self.ended += 1
        self.failed += record.outcome is Outcome.FAILED
        if record.outcome is Outcome.SUCCEEDED and trial.loss is None:
            self.without_metric.append(record.trial)
        self.names.pop(record.trial, None)
        self.scheduler.ended(record.trial)
        self.searcher.told(record.trial, trial.loss, complete=trial.complete)

    def _edited(self, record: Edited, spec: Spec) -> None:
        before, self.spec, self.edited = self.spec, spec, True
        if spec.suspend != before.suspend:
            self.suspended = record.time
        if (before.suspend and not spec.suspend) or before.stop_experiment.time_budget is None:
            self._count_from(record.time)
        if spec.stop_experiment.plateau != before.stop_experiment.plateau:
            self.best_values = _best_values(spec)
        self.sightings.read(spec.reads)
        # A report that reaches the goal is the last that counts, so the trial is worth it for ever.
        self.goal = next((trial.number for trial in self.trials if self._reaches_goal(trial.loss)), None)

    def _whole(self, record: Created | Edited | Charged | Interrupted | Ending | Finished | Reopened, spec: Spec) -> None:
        match record:
            case Edited():
                self._edited(record, spec)
            case Created():
                self.created = record
            case Charged():
                self.charged, self.uncharged_from = record.seconds, record.time
            case Interrupted():
                self.interrupted = record
            case Ending():
                self.ending, self.edited = record, False
            case Finished():
                self.finished = record
            case Reopened():
                if self.finished:
                    self.reopened.append((self.finished.reason, record.time))
                self.ending = self.finished = None
                self._count_from(record.time)

    def _count_from(self, time: float) -> None:
        """Let the time budget run from here, once anything has started: what was before is charged, or not to be."""
        if self.uncharged_from is not None:
            self.uncharged_from = time


def _best_values(spec: Spec) -> BestValues | None:
    plateau = spec.stop_experiment.plateau
    return None if plateau is None else BestValues(plateau, spec.objective)


def _last_line(text: str) -> str:
    """Give the last line that says anything: of a traceback, the error."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")[:MAX_WORDS]


def _filled(record: Reported, attempt: Attempt) -> dict[str, float]:
    """Fill in what the program did not say itself; what it said stands (Ray's counter goes on beside it)."""
    values = (attempt.accepted + 1, max(0.0, record.time - attempt.last_time), max(0.0, record.time - attempt.bound))
    return {name: value for name, value in zip(COUNTED, values, strict=True) if name not in record.flat}
