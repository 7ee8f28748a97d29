"""One turn: what to record and what to do, as a pure function of what is known and seen.

Nothing here acts. A turn whose records are folded may lead to another; the caller turns until there is nothing to record.
Asked twice with the same arguments it answers the same, so a turn repeated after a crash does no harm.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from kubetune.wire import LOST
from kubetune_operator.core.history import Attempt, History, Key, Trial
from kubetune_operator.core.records import (
    Bound,
    Close,
    Closed,
    Condemned,
    End,
    Ended,
    Ending,
    Finished,
    Intent,
    Interrupted,
    Outcome,
    Record,
    Reopened,
    Skipped,
    Started,
    Suggested,
)
from kubetune_operator.core.space import TRIES
from kubetune_operator.core.trials import Params

FEW_FAILURES = 5  # maxFailedTrials' default is the larger of this …
FEW_SKIPS = 100  # draws in a row that give no trial say that none will
SKIPS_A_TURN = 20  # as each may cost a hundred tries, and reports wait for a turn
FAILED_SHARE = 0.1  # … and this share of the trials started
BACKOFF_FIRST, BACKOFF_LAST = 10.0, 300.0  # seconds before an attempt after a disruption
SIGKILL, SIGTERM = 9, 15
# Ends that a change of the spec can undo: each holds only as long as it is among `_causes`.
UNDOABLE = frozenset({"AllTrialsFailed", "Completed", "GoalReached", "FailFast", "TooManyFailedTrials"})
IGNORED_SIGTERM = "ignored SIGTERM and was killed after its grace period"


class PodPhase(Enum):
    """What a cluster sees of an attempt's pod."""

    RUNNING = "Running"  # it exists and has not ended (it may not have started yet)
    ENDED = "Ended"
    GONE = "Gone"  # it was there, and is not any more


@dataclass(frozen=True, slots=True)
class Pod:
    """One attempt's pod, as seen."""

    uid: str
    phase: PodPhase
    deleting: bool = False
    end: End | None = None
    disrupted: str = ""  # why it was taken from us, if it was
    failure: tuple[str, str] | None = None  # reason and message, where it was ended for breaking a limit, or can never begin


@dataclass(frozen=True, slots=True)
class Create:
    """Create the pod of this attempt, if there is none."""

    trial: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the pod of this attempt."""

    trial: int
    attempt: int


Act = Create | Delete


@dataclass(frozen=True, slots=True)
class Plan:
    """What one turn records, then does; `wake` is when time alone will make another turn useful."""

    records: tuple[Record, ...] = ()
    acts: tuple[Act, ...] = ()
    wake: float | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """What the cluster and the user allow now."""

    capacity: int | None = None  # attempts that fit; None: no bound of the cluster's own
    suspend: bool = False


def plan(history: History, pods: Mapping[Key, Pod], room: Room, now: float) -> Plan:
    """Plan one turn."""
    reopened = (Reopened(now),) if goes_on(history) else ()
    if reopened or history.finished is not None:
        return Plan(reopened)
    records: list[Record] = []
    acts: list[Act] = []
    for attempt in history.open.values():
        for step in _attempt(history, attempt, pods.get(attempt.key), room, now):
            (acts if isinstance(step, Create | Delete) else records).append(step)  # type: ignore[arg-type]
    records += _settled(history, now)
    if records:  # what they lead to is seen once they are folded
        return Plan(tuple(records), tuple(acts))
    ending = _ending(history, now)
    if ending:
        return Plan((ending,), tuple(acts))
    if history.ending is not None:
        return Plan(tuple(_wind_up(history, history.ending, now)), tuple(acts))
    if room.suspend:
        stopped = not (history.open or history.interrupted or history.spec.suspend)
        return Plan((Interrupted(now),) if stopped else (), tuple(acts))
    started, wake = _starts(history, room, now)
    records += [record for record, _ in started]
    acts += [act for _, act in started if act is not None]
    return Plan(tuple(records), tuple(acts), wake)


def _attempt(history: History, attempt: Attempt, pod: Pod | None, room: Room, now: float) -> Iterator[Record | Act]:
    """Take one open attempt a step on."""
    if pod is not None and not attempt.uid:
        yield Bound(attempt.trial, attempt.number, pod.uid, now)
        return
    ended = pod is not None and pod.phase is not PodPhase.RUNNING
    if _said_enough(attempt) or ended or (pod is None and attempt.uid):
        yield closing(attempt, pod, now)
        return
    if attempt.intent is None and pod is not None and pod.failure:  # it runs nothing, and never will
        yield Condemned(attempt.trial, attempt.number, Intent.FAIL, *pod.failure, now)
        return
    if attempt.intent is None:
        intent = Intent.CANCEL if history.ending else Intent.SUSPEND if room.suspend else None
        if intent is not None:
            reason, message = (history.ending.reason, history.ending.message) if history.ending else ("Suspended", "")
            yield Condemned(attempt.trial, attempt.number, intent, reason, message, now)
            return
    if attempt.intent is not None and pod is None:  # never created, and not wanted any more
        yield closing(attempt, pod, now)
    elif attempt.intent is not None and pod is not None and not pod.deleting:
        yield Delete(attempt.trial, attempt.number)
    elif pod is None:
        yield Create(attempt.trial, attempt.number)


def _said_enough(attempt: Attempt) -> bool:
    """Say whether its eof is all there is to know; why somebody else ended it, only its pod says, once that has ended."""
    return attempt.end is not None and (attempt.intent is not None or not attempt.end.terminated)


def closing(attempt: Attempt, pod: Pod | None, now: float) -> Closed:
    """Give the verdict on an attempt: what we intended > a disruption > out of memory > the exit code."""
    end = attempt.end or (pod.end if pod else None)
    close, reason, message = _verdict(attempt, pod, end)
    tail = end.tail if end and close is Close.FAILED else ""
    return Closed(attempt.trial, attempt.number, close, reason, message, now, tail)


def _verdict(attempt: Attempt, pod: Pod | None, end: End | None) -> tuple[Close, str, str]:
    if attempt.intent is Intent.FAIL:
        return Close.FAILED, attempt.reason, attempt.message
    if attempt.intent is not None:
        return Close.INTENDED, attempt.reason, IGNORED_SIGTERM if end and end.killed else attempt.message
    if pod is not None and pod.failure:
        return Close.FAILED, *pod.failure
    disruption = pod.disrupted if pod and pod.disrupted else _disruption(end)
    if end is None or disruption:
        return Close.DISRUPTED, "Disrupted", disruption
    return _program(attempt, end)


def _disruption(end: End | None) -> str:
    """Say what has taken an attempt from us, as far as its end tells; nothing: its program ended by itself."""
    if end is None:
        return "its pod is gone and nobody saw how it ended"
    if end.error == LOST:
        return "its agent was killed, or the machine stopped, and nobody saw how it ended"
    return "it was told to end by somebody else (SIGTERM)" if end.terminated else ""


def _program(attempt: Attempt, end: End) -> tuple[Close, str, str]:
    if end.oom:
        code = end.exit_code if end.signal is None else 128 + end.signal
        return Close.FAILED, "OOMKilled", f"it used more memory than its limit (exit code {code})"
    if end.error:
        return Close.FAILED, "NotStarted" if end.exit_code in {126, 127} else "Lost", end.error
    if end.signal is not None:
        return Close.FAILED, "Killed", f"ended by signal {end.signal} ({_signal_name(end.signal)})"
    if end.exit_code != 0:
        return Close.FAILED, "ExitCode", f"exit code {end.exit_code}"
    if attempt.accepted == 0:
        refused = f"; {attempt.refused} lines were refused" if attempt.refused else ""
        return Close.FAILED, "NoReports", f"exit code 0, but it never reported{refused}; call kubetune.report(...)"
    return Close.SUCCEEDED, "Completed", ""


def _signal_name(number: int) -> str:
    names = {SIGKILL: "SIGKILL, perhaps for want of memory", SIGTERM: "SIGTERM", 6: "SIGABRT", 11: "SIGSEGV", 2: "SIGINT"}
    return names.get(number, "a signal")


def _settled(history: History, now: float) -> Iterator[Record]:
    """Say what closed attempts mean for their trials: most end, some wait for another attempt."""
    for number in history.waiting:
        trial = history.trials[number]
        if trial.attempts == 0 or (outcome := _outcome(history, trial)) is None:
            continue
        yield Ended(number, outcome, trial.reason, trial.message, now)


def _outcome(history: History, trial: Trial) -> Outcome | None:
    """Give how a trial whose latest attempt is closed has ended; None where it is to be tried again."""
    limits = history.spec.failure
    match trial.close:
        case Close.SUCCEEDED:
            return Outcome.SUCCEEDED
        case Close.INTENDED if trial.intent is Intent.STOP:
            return Outcome.SUCCEEDED if trial.complete else Outcome.STOPPED
        case Close.INTENDED if trial.intent is Intent.CANCEL:
            return Outcome.CANCELLED
        case Close.FAILED if trial.failures > limits.max_failures:
            return Outcome.FAILED
        case Close.DISRUPTED if trial.disruptions > limits.max_disruptions:
            return Outcome.FAILED
    return None


def _ending(history: History, now: float) -> Ending | None:
    """Say whether the whole experiment is to end now, and why."""
    if history.ending is not None:
        return None
    return next((Ending(reason, message, now) for reason, message in _causes(history)), None)


def goes_on(history: History) -> bool:
    """Say whether an experiment that has ended, or is about to, goes on: an edit has taken away what ended it."""
    ending = history.ending
    if ending is None or not history.edited or ending.reason not in UNDOABLE:
        return False
    return all(reason != ending.reason for reason, _ in _causes(history))


def _causes(history: History) -> Iterator[tuple[str, str]]:
    """Give each reason for which the whole experiment is to end, with its message, the weightiest first."""
    if history.goal is not None:
        value, goal = history.trials[history.goal].value, history.spec.stop_experiment.goal
        yield "GoalReached", f"trial {history.name(history.goal)} reported {value}, the goal is {goal}"
    if history.failed:
        yield from _failures(history)
    if not history.open and not any(_again(history)) and (missing := metric_missing(history)):
        yield "MetricMissing", missing
    if history.skipped_in_a_row >= _few_skips(history) or (history.skipped and not history.trials and _all_drawn(history)):
        draws = "1 draw" if history.skipped_in_a_row == 1 else f"{history.skipped_in_a_row} draws"
        yield "ConstraintsNotMet", f"the last {draws} gave no trial, each tried up to {TRIES} times; {history.why_skipped}"
    if not history.open and not history.waiting and _all_drawn(history):
        if 0 < len(history.trials) == history.failed:
            last = history.trials[-1]
            yield "AllTrialsFailed", f"every trial failed; the last: {last.reason}: {last.account}"
        yield "Completed", ""


def _all_drawn(history: History) -> bool:
    return history.drawn >= history.spec.total


def _few_skips(history: History) -> int:
    """Give how many draws in a row that give no trial say that none will: a whole grid, where that is more."""
    return max(FEW_SKIPS, history.spec.space.grid_size)


def _failures(history: History) -> Iterator[tuple[str, str]]:
    spec = history.spec
    if spec.failure.fail_fast:
        first = next(trial for trial in history.trials if trial.outcome is Outcome.FAILED)
        yield "FailFast", f"trial {history.name(first.number)} failed ({first.reason}: {first.account}) and failFast is set"
    # With one trial at a time a single failure would be "all of the first": two are the least that say it is not the parameters.
    # They are those of the start: lowering maxConcurrentTrials ends nothing, and where others do well they were unlucky.
    first_ones = history.trials[: max(2, min(history.at_once_at_first, history.total))] if history.failed == history.ended else []
    # What a cluster says of a pod that never began differs from one to the next; what a program says is the program's.
    causes = {(trial.reason, "" if trial.intent is Intent.FAIL else trial.message) for trial in first_ones}
    if len(first_ones) > 1 and all(trial.outcome is Outcome.FAILED for trial in first_ones) and len(causes) == 1:
        yield first_ones[0].reason, f"the first {len(first_ones)} trials all failed alike: {first_ones[0].account}"
    allowed = spec.stop_experiment.max_failed_trials
    if allowed is None:
        allowed = max(FEW_FAILURES, math.floor(FAILED_SHARE * len(history.trials)))
    if history.failed > allowed:
        failed = "1 trial" if history.failed == 1 else f"{history.failed} trials"
        yield "TooManyFailedTrials", f"{failed} failed, {allowed} are allowed (stopExperiment.maxFailedTrials)"


def metric_missing(history: History) -> str:
    """Say that nobody reports the objective, once enough trials had their whole budget without it; an empty text before that.

    What failed, was interrupted or was taken away shows nothing: a program may well report its objective last.
    """
    metric = history.spec.objective.metric
    count = len(history.without_metric)
    enough = 1 if history.ended >= history.total else _enough_without(history)
    if count < enough or metric not in history.sightings.unreported:
        return ""
    which = "1 trial had its whole budget" if count == 1 else f"{count} trials had their whole budget"
    instead = not_a_number(history, metric) or history.sightings.hint(metric)
    return f"{which} without reporting the objective's metric {metric}; {instead}"


def _enough_without(history: History) -> int:
    """Give how many trials without the objective show that nobody reports it: lowering maxConcurrentTrials ends nothing."""
    return min(3, history.at_once_at_first)


def _suspects(history: History) -> int | None:
    """Give how many more attempts would settle a suspicion that nobody reports the objective; None: there is none.

    What runs, or is to run again, may settle it without a further one: a misspelt metric must not burn a budget.
    """
    if not history.without_metric or history.spec.objective.metric not in history.sightings.unreported:
        return None
    waited_for = len(history.open) + sum(1 for _ in _again(history))
    return max(0, _enough_without(history) - len(history.without_metric) - waited_for)


def _again(history: History) -> Iterator[Trial]:
    """Give the trials that wait for another attempt: what ended the last one does not count against them."""
    return (trial for number in history.waiting if (trial := history.trials[number]).attempts)


def not_a_number(history: History, metric: str) -> str:
    """Say what else was reported as a metric that must be a number, if anything was."""
    if metric not in history.sightings.not_numbers:
        return ""
    trial, value = history.sightings.not_numbers[metric]
    return f"{metric} must be a number, got {value} in trial {history.name(trial)}"


def _wind_up(history: History, ending: Ending, now: float) -> Iterator[Record]:
    """End what waits, and finish when nothing is open; what runs is condemned one by one in `_attempt`."""
    for number in history.waiting:
        yield Ended(number, Outcome.CANCELLED, ending.reason, "the experiment ended before it", now)
    if not history.open and not history.waiting:
        yield Finished(ending.reason, ending.message, now)


def _starts(history: History, room: Room, now: float) -> tuple[list[tuple[Record, Act | None]], float | None]:
    """Fill free slots: with trials that wait for another attempt, then with new ones."""
    limit = history.spec.max_concurrent if room.capacity is None else min(history.spec.max_concurrent, max(1, room.capacity))
    free = limit - len(history.open)
    steps: list[tuple[Record, Act | None]] = []
    wakes: list[float] = []
    for trial in _again(history):
        pause = _backoff(trial)
        if 0 < trial.closed + pause - now <= pause:  # more than all of it to go: the clock has been put back
            wakes.append(trial.closed + pause)
        elif free > 0:
            steps.append((Started(trial.number, trial.attempts, now), Create(trial.number, trial.attempts)))
            free -= 1
    suspects = _suspects(history)
    steps += _new(history, free if suspects is None else min(free, suspects), now)
    return steps, min(wakes, default=None)


def _new(history: History, free: int, now: float) -> Iterator[tuple[Record, Act | None]]:
    """Start so many trials for the first time: those that are suggested already, then others."""
    for number in [number for number in history.waiting if not history.trials[number].attempts][: max(0, free)]:
        yield Started(number, 0, now), Create(number, 0)
        free -= 1
    number = len(history.trials)
    last = min(history.spec.total, history.drawn + max(0, free) + SKIPS_A_TURN)
    for drawn in range(history.drawn, last):
        draw = history.searcher.suggest(drawn) if free > 0 else None
        if draw is None:
            break
        if draw.params is None:
            yield Skipped(drawn, draw.note, now), None
            continue
        yield Suggested(number, draw.params, now, draw.note), None
        yield Started(number, 0, now), Create(number, 0)
        number, free = number + 1, free - 1


def likely_params(history: History) -> Params:
    """Give what the first trial will be drawn, to have its pod looked at; none where the first draws meet no constraint."""
    draws = (history.searcher.suggest(number) for number in range(min(SKIPS_A_TURN, history.spec.total)))
    return next((draw.params for draw in draws if draw is not None and draw.params is not None), {})


def _backoff(trial: Trial) -> float:
    """Give the seconds to wait after a disruption; a failure, or our own suspending, is tried again at once."""
    if trial.close is not Close.DISRUPTED:
        return 0.0
    return min(BACKOFF_FIRST * 2.0 ** (trial.disruptions - 1), BACKOFF_LAST)
