"""One turn: what to record and what to do, as a pure function of what is known and seen.

Nothing here acts. A turn whose records are folded may lead to another; the caller turns until there is nothing to record.
Asked twice with the same arguments it answers the same, so a turn repeated after a crash does no harm.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from kubetune.wire import LOST
from kubetune_operator.core import budget, deadlines
from kubetune_operator.core.endings import causes, few_skips, goes_on, retried, suspects
from kubetune_operator.core.history import History
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
from kubetune_operator.core.standing import Attempt, Key, Trial
from kubetune_operator.core.trials import Params

SKIPS_A_TURN = 20  # as each may cost a hundred tries, and reports wait for a turn
BACKOFF_FIRST, BACKOFF_LAST = 10.0, 300.0  # seconds before an attempt after a disruption
SIGKILL, SIGTERM = 9, 15
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
    begun: float | None = None  # when its program began; None: it has not yet
    waits_for: str = ""  # what keeps it from that, as far as is known
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
    since: float = 0.0  # when this process took the experiment up; nothing was heard before that


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
    nothing_new = _nothing_new(history, room, now)
    if nothing_new is not None:
        return Plan(tuple(nothing_new), tuple(acts))
    started, wake = _starts(history, room, now)
    records += [record for record, _ in started]
    acts += [act for _, act in started if act is not None]
    wakes = [wake, budget.wake(history, room.since), *_deadlines(history, pods, room)]
    return Plan(tuple(records), tuple(acts), min((time for time in wakes if time is not None), default=None))


def _nothing_new(history: History, room: Room, now: float) -> Iterable[Record] | None:
    """Give what to record at a turn that starts nothing; None: it is to start what there is room for."""
    ending = _ending(history, now)
    if ending:
        return [*_rest(history, room, now), ending]
    if history.ending is not None:
        return _wind_up(history, history.ending, now)
    charged = budget.due(history, room.since, now)
    if charged is not None:
        return [charged]
    if not room.suspend:
        return None
    stopped = not (history.open or history.interrupted or history.spec.suspend)
    return [*_rest(history, room, now), Interrupted(now)] if stopped else []


def _rest(history: History, room: Room, now: float) -> list[Record]:
    """Charge what runs for the last time."""
    found = budget.rest(history, room.since, now)
    return [] if found is None else [found]


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
    if attempt.intent is None and (sentence := _sentence(history, attempt, pod, room, now)):
        yield Condemned(attempt.trial, attempt.number, *sentence, now)
        return
    if attempt.intent is not None and pod is None:  # never created, and not wanted any more
        yield closing(attempt, pod, now)
    elif attempt.intent is not None and pod is not None and not pod.deleting:
        yield Delete(attempt.trial, attempt.number)
    elif pod is None:
        yield Create(attempt.trial, attempt.number)


def _sentence(history: History, attempt: Attempt, pod: Pod | None, room: Room, now: float) -> tuple[Intent, str, str] | None:
    """Say what we end an attempt for, that no report of it has led to: with reason and message."""
    if history.ending:
        return Intent.CANCEL, history.ending.reason, history.ending.message
    if room.suspend:
        return Intent.SUSPEND, "Suspended", ""
    due = _deadline(history, attempt, pod, room)
    if due is None or now < due.time:
        return None
    waits_for = pod.waits_for if pod is not None and due.reason == deadlines.START else ""
    return Intent.FAIL, due.reason, f"{due.message}; {waits_for}" if waits_for else due.message


def _deadlines(history: History, pods: Mapping[Key, Pod], room: Room) -> Iterator[float]:
    """Give the times at which running attempts break a deadline, if nothing is heard of them."""
    for attempt in history.open.values():
        due = _deadline(history, attempt, pods.get(attempt.key), room)
        if due is not None:
            yield due.time


def _deadline(history: History, attempt: Attempt, pod: Pod | None, room: Room) -> deadlines.Due | None:
    """Give the deadline that an attempt is up against; none where its end is seen already, or asked for."""
    if attempt.intent or attempt.end or (pod is not None and (pod.deleting or pod.end)):
        return None
    return deadlines.due(history.spec.deadlines, attempt, pod.begun if pod else None, room.since)


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
    return next((Ending(reason, message, now) for reason, message in causes(history)), None)


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
    for trial in retried(history):
        pause = _backoff(trial)
        if 0 < trial.closed + pause - now <= pause:  # more than all of it to go: the clock has been put back
            wakes.append(trial.closed + pause)
        elif free > 0:
            steps.append((Started(trial.number, trial.attempts, now), Create(trial.number, trial.attempts)))
            free -= 1
    suspected = suspects(history)
    steps += _new(history, free if suspected is None else min(free, suspected), now)
    return steps, min(wakes, default=None)


def _new(history: History, free: int, now: float) -> Iterator[tuple[Record, Act | None]]:
    """Start so many trials for the first time: those that are suggested already, then others."""
    for number in [number for number in history.waiting if not history.trials[number].attempts][: max(0, free)]:
        yield Started(number, 0, now), Create(number, 0)
        free -= 1
    number = len(history.trials)
    last = min(history.spec.total, history.drawn + max(0, free) + SKIPS_A_TURN)
    skipped, enough = history.skipped_in_a_row, few_skips(history.spec)
    for drawn in range(history.drawn, last):
        draw = history.searcher.suggest(drawn) if free > 0 and skipped < enough else None
        if draw is None:
            break
        if draw.params is None:
            yield Skipped(drawn, draw.note, now), None
            skipped += 1
            continue
        skipped = 0
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
