"""Why a trial was stopped, or went on, in the objective's own terms: a line or two for each decision. Plain text for any output.

The words for the facts of each reason are here; a reason that has none of its own is told by its facts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kubetune_operator import status
from kubetune_operator.console import words
from kubetune_operator.core import trials
from kubetune_operator.core.history import History
from kubetune_operator.core.plan import IGNORED_SIGTERM
from kubetune_operator.core.records import Close, Closed, Condemned, Intent, Started
from kubetune_operator.core.standing import Phase, Trial
from kubetune_operator.core.trials import TIME_TOTAL, TRAINING_ITERATION, Objective, Verdict
from kubetune_operator.decisions import Decision, Event

SOME = 5  # peers that are named
_MOST_DIGITS = 17  # all that a double has
_ENDS = {
    trials.Decision.CONTINUE: "went on",
    trials.Decision.STOP: "stopped",
    trials.Decision.PAUSE: "to be paused",
}
_INTENTS = {
    Intent.CANCEL: "the experiment ended: it was told to end",
    Intent.SUSPEND: "the experiment was suspended: it was told to end, and will be started anew",
    Intent.FAIL: "it broke a rule, and was told to end",
}


def explain(history: History, number: int, events: Sequence[Event], say: Callable[[str], None]) -> None:
    """Say all that was decided about a trial."""
    trial = history.trials[number]
    name = history.name(number)
    say(f"{name}: {status.word(trial)}, {words.worth(history, trial)}")
    if trial.params:
        say(f"parameters  {words.spelled(trial.params)}")
    if history.created and (written := history.created.body.get("spec")):
        say(f"scheduler   {words.scheduler(written['scheduler'])}")
    for event in events:
        match event:
            case Started():
                say(f"attempt {event.attempt}")
            case Condemned():
                say(f"  {_INTENTS[event.intent]} ({event.reason}{f': {event.message}' if event.message else ''})")
            case Closed():
                _closed(event, say)
            case Decision():
                for line in _decision(history, event):
                    say(f"  {line}")
    _end(trial, events, say)


def _end(trial: Trial, events: Sequence[Event], say: Callable[[str], None]) -> None:
    reports = [event.judged for event in events if isinstance(event, Decision)]
    late = sum(judged.after_stop for judged in reports)
    quiet = sum(not judged.after_stop and not judged.verdict.reason for judged in reports)
    if quiet:
        other = "" if quiet + late == len(reports) else "other "
        say(f"{words.counted(quiet, f'{other}report')} met no rule: it went on")
    if late:
        say(f"{words.counted(late, 'report')} came after the stop: kept, but counting for nothing")
    match trial.phase:
        case Phase.ENDED:
            say(f"ended       {status.word(trial)}: {words.why(trial)}")
        case Phase.RUNNING:
            say("it is running: this is all that was decided so far")
        case Phase.WAITING:
            say("it waits for an attempt to start")


def _closed(closed: Closed, say: Callable[[str], None]) -> None:
    match closed.close:
        case Close.SUCCEEDED:
            say("  its program ended by itself (exit code 0)")
        case Close.FAILED:
            say(f"  it failed ({closed.reason}): {closed.message}")
        case Close.DISRUPTED:
            say(f"  it was taken away: {closed.message}")
        case Close.INTENDED if closed.message == IGNORED_SIGTERM:
            say(f"  its program {closed.message}")


def _decision(history: History, decision: Decision) -> Iterator[str]:
    """Tell of one report; nothing of one that no rule has looked at."""
    judged, objective = decision.judged, history.spec.objective
    verdict = judged.verdict
    if judged.after_stop or not verdict.reason:
        return
    flat = {**judged.report.flat, **judged.filled}
    step = f"{TRAINING_ITERATION} {words.number(flat.get(TRAINING_ITERATION))}"
    seconds = flat.get(TIME_TOTAL)
    after = f" ({words.duration(seconds)})" if isinstance(seconds, (int, float)) and math.isfinite(seconds) else ""
    whole = ", with its whole budget" if verdict.complete else ""
    yield f"{step}{after}: {_told(verdict, objective)}: {_what_followed(verdict)}{whole}"
    if decision.peers:
        yield f"    peers: {_peers(objective, decision.peers)}"


def _what_followed(verdict: Verdict) -> str:
    wanted = verdict.facts.get("wanted")  # what the rule asked for, where that was not done
    if wanted is None:
        return _ENDS[verdict.decision]
    return f"{_ENDS[trials.Decision(wanted)]}, but {verdict.facts['why_not']}: {_ENDS[verdict.decision]}"


def _peers(objective: Objective, peers: Mapping[int, float]) -> str:
    best = sorted(peers, key=lambda number: (peers[number], number))
    named = [f"{number:05d} {_value(objective, peers[number])}" for number in best[:SOME]]
    return words.some([*named, *[""] * (len(best) - len(named))], SOME)


def _told(verdict: Verdict, objective: Objective) -> str:
    """Say what a report met, by the reason and the facts that are written down with the decision."""
    facts = verdict.facts
    match verdict.reason:
        case "Asha":
            told = _asha(verdict, objective)
        case "MedianStopping":
            told = _median(verdict, objective)
        case "MaxT":
            told = f"its time {words.number(facts['time'])} has reached maxT {words.number(facts['max_t'])}"
        case "StopMetrics":
            value, threshold = _apart(facts["value"], facts["threshold"])
            told = f"{facts['metric']} {value} has reached {threshold} (stop.metrics)"
        case "StopExpression":
            told = f"{facts['expression']} is true (stop.expression)"
        case "Plateau":
            std, limit = _apart(facts["std"], facts["limit"])
            told = f"the last {facts['window']} of {facts['metric']} differ by {std}, less than {limit} (stop.plateau)"
        case "GoalReached":
            told = f"{objective.metric} has reached the goal {words.number(facts['goal'])} (stopExperiment.goal)"
        case "Done":
            told = "it reported done: true"
        case other:
            told = f"{other} {', '.join(f'{name} {words.number(value)}' for name, value in facts.items())}".rstrip()
    return told


def _asha(verdict: Verdict, objective: Objective) -> str:
    facts = verdict.facts
    bracket = f" of bracket {facts['bracket']}" if facts["bracket"] else ""
    place = f"rung {words.number(facts['rung'])}{bracket}"
    if not facts["peers"]:
        return f"{place}: {objective.metric} {_value(objective, facts['loss'])}, the first there, so there was no cutoff"
    peers = words.counted(facts["peers"], "peer")
    return f"{place}: {_against(objective, verdict, facts['loss'], ('the cutoff', facts['cutoff_loss']))} of {peers}"


def _median(verdict: Verdict, objective: Objective) -> str:
    facts = verdict.facts
    best, others = facts["best_loss"], words.counted(facts["peers"], "other")
    if facts["median_loss"] is None:
        return f"{objective.metric} {_value(objective, best)} at best so far, and {others} at this time: too few to judge by"
    limit = ("the median average", facts["median_loss"])
    return f"at best so far {_against(objective, verdict, best, limit)} of {others}"


def _against(objective: Objective, verdict: Verdict, loss: float, limit: tuple[str, float]) -> str:
    """Compare a trial's value with a limit: "accuracy 0.8931 is worse than the cutoff 0.9123"."""
    (name, other), fails = limit, verdict.decision is not trials.Decision.CONTINUE or "wanted" in verdict.facts
    if loss == math.inf and not fails:
        return f"{objective.metric} is not finite, but neither is {name}"
    if loss == math.inf:
        its = "though that is not" if other == math.inf else words.number(objective.value(other))
        return f"{objective.metric} is not finite, as something else there is; {name}, {its},"
    if other == math.inf:
        return f"{objective.metric} {_value(objective, loss)} is better than {name}, which is not finite,"
    its, limits = _apart(objective.value(loss), objective.value(other))
    # The limit was rounded when it was written down; which side of it the trial was on is what was decided.
    how = "worse than" if fails else "better than" if loss < other else "level with"
    return f"{objective.metric} {its} is {how} {name} {limits}"


def _value(objective: Objective, loss: float) -> str:
    return words.number(objective.value(loss)) if math.isfinite(loss) else "not finite"


def _apart(one: Any, other: Any) -> tuple[str, str]:
    """Spell two numbers with as many digits as it takes to see which is larger."""
    spelled = words.number(one), words.number(other)
    for digits in range(6, _MOST_DIGITS + 1):
        if spelled[0] != spelled[1] or one == other:
            break
        spelled = f"{one:.{digits}g}", f"{other:.{digits}g}"
    return spelled
