"""One turn: what to record and what to do, as a pure function of what is known and seen.

Nothing here acts. A turn whose records are folded may lead to another; the caller turns until there is nothing to record.
Asked twice with the same arguments it answers the same, so a turn repeated after a crash does no harm.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

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
    Started,
    Suggested,
)

FEW_FAILURES = 5  # maxFailedTrials' default is the larger of this …
FAILED_SHARE = 0.1  # … and this share of the trials started
BACKOFF_FIRST, BACKOFF_LAST = 10.0, 300.0  # seconds before an attempt after a disruption
SIGKILL, SIGTERM = 9, 15
MOST_SEEN = 10  # metrics that a message names
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
    if history.finished is not None:
        return Plan()
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
    if attempt.end is not None or ended or (pod is None and attempt.uid):
        yield closing(attempt, pod, now)
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
    if pod is not None and pod.disrupted:
        return Close.DISRUPTED, "Disrupted", pod.disrupted
    if end is None:
        return Close.DISRUPTED, "Disrupted", "its pod is gone and nobody saw how it ended"
    if end.terminated:
        return Close.DISRUPTED, "Disrupted", "it was told to end by somebody else (SIGTERM)"
    return _program(attempt, end)


def _program(attempt: Attempt, end: End) -> tuple[Close, str, str]:
    if end.oom:
        return Close.FAILED, "OOMKilled", "it used more memory than its limit"
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
    spec = history.spec
    if history.goal is not None:
        trial = history.trials[history.goal]
        return Ending("GoalReached", f"trial {history.goal} reported {trial.value}, the goal is {spec.stop_experiment.goal}", now)
    failed = _failed_too_often(history)
    if failed:
        return Ending(*failed, now)
    if not history.open and (missing := metric_missing(history)):
        return Ending("MetricMissing", missing, now)
    if not history.open and not history.waiting and len(history.trials) >= spec.total:
        return Ending("Completed", "", now)
    return None


def _failed_too_often(history: History) -> tuple[str, str] | None:
    spec = history.spec
    if not history.failed:
        return None
    if spec.failure.fail_fast:
        first = next(trial for trial in history.trials if trial.outcome is Outcome.FAILED)
        return "FailFast", f"trial {first.number} failed ({first.reason}: {first.account}) and failFast is set"
    # With one trial at a time a single failure would be "all of the first": two are the least that say it is not the parameters.
    first_ones = history.trials[: max(2, min(spec.max_concurrent, spec.total))]
    causes = {(trial.reason, trial.message) for trial in first_ones}
    if len(first_ones) > 1 and all(trial.outcome is Outcome.FAILED for trial in first_ones) and len(causes) == 1:
        return first_ones[0].reason, f"the first {len(first_ones)} trials all failed alike: {first_ones[0].account}"
    allowed = spec.stop_experiment.max_failed_trials
    if allowed is None:
        allowed = max(FEW_FAILURES, math.floor(FAILED_SHARE * len(history.trials)))
    if history.failed > allowed:
        return "TooManyFailedTrials", f"{history.failed} trials failed, {allowed} are allowed (stopExperiment.maxFailedTrials)"
    return None


def metric_missing(history: History) -> str:
    """Say that nobody reports the objective, once enough attempts have shown it; an empty text before that."""
    enough = min(3, history.spec.max_concurrent, history.spec.total)
    if history.with_metric or len(history.without_metric) < enough:
        return ""
    metric = history.spec.objective.metric
    names = {name for flat in history.without_metric.values() for name in flat}
    return f"{enough} trials reported, and none of them the objective's metric {metric}; {seen(names, metric)}"


def seen(names: Iterable[str], metric: str) -> str:
    """Say which metrics were reported, and which of them may have been meant."""
    found = sorted(names)
    near = difflib.get_close_matches(metric, found, n=1, cutoff=0.3)
    more = f" and {len(found) - MOST_SEEN} more" if len(found) > MOST_SEEN else ""
    return f"seen: {', '.join(found[:MOST_SEEN])}{more}" + (f"; did you mean {near[0]}?" if near else "")


def _wind_up(history: History, ending: Ending, now: float) -> Iterator[Record]:
    """End what waits, and finish when nothing is open; what runs is condemned one by one in `_attempt`."""
    for number in history.waiting:
        yield Ended(number, Outcome.CANCELLED, ending.reason, "the experiment ended before it", now)
    if not history.open and not history.waiting:
        yield Finished(ending.reason, ending.message, now)


def _starts(history: History, room: Room, now: float) -> tuple[list[tuple[Record, Act | None]], float | None]:
    """Fill free slots: with trials that wait for another attempt, then with new ones."""
    if metric_missing(history):
        return [], None
    limit = history.spec.max_concurrent if room.capacity is None else min(history.spec.max_concurrent, max(1, room.capacity))
    free = limit - len(history.open)
    steps: list[tuple[Record, Act | None]] = []
    wakes: list[float] = []
    for number in history.waiting:
        trial = history.trials[number]
        ready = trial.closed + _backoff(trial)
        if ready > now:
            wakes.append(ready)
        elif free > 0:
            steps.append((Started(number, trial.attempts, now), Create(number, trial.attempts)))
            free -= 1
    number = len(history.trials)
    while free > 0 and number < history.spec.total:
        params = history.searcher.suggest(number)
        if params is None:
            break
        steps.append((Suggested(number, params, now), None))
        steps.append((Started(number, 0, now), Create(number, 0)))
        number, free = number + 1, free - 1
    return steps, min(wakes, default=None)


def _backoff(trial: Trial) -> float:
    """Give the seconds to wait after a disruption; a failure, or our own suspending, is tried again at once."""
    if trial.close is not Close.DISRUPTED:
        return 0.0
    return min(BACKOFF_FIRST * 2.0 ** (trial.disruptions - 1), BACKOFF_LAST)
