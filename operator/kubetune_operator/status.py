"""What an experiment looks like from outside: state, counts, the best trials, a row for each trial. Pure; writes nothing."""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from kubetune_operator.api.base import dump
from kubetune_operator.api.status import MAX_ACCOUNT, MAX_MESSAGE, MAX_METRICS, MAX_VALUE, Condition, Status
from kubetune_operator.core import endings, trials
from kubetune_operator.core.cautions import cautions
from kubetune_operator.core.history import History
from kubetune_operator.core.plateaus import PLATEAU
from kubetune_operator.core.records import Intent, Outcome
from kubetune_operator.core.reports import spelled
from kubetune_operator.core.schedulers.fifo import Fifo
from kubetune_operator.core.sightings import OBJECTIVE
from kubetune_operator.core.space import TRIES
from kubetune_operator.core.standing import Phase, Trial
from kubetune_operator.core.trials import FILLED

TOP = 10
UNREACHABLE = "ReporterUnreachable"
QUOTA_EXCEEDED, POD_REFUSED, NAME_TAKEN = WITHOUT_POD = ("QuotaExceeded", "PodRefused", "PodNameTaken")
# Troubles of pods that hold everything up until a human acts, and for how many seconds each may yet pass by itself.
STALLING = {UNREACHABLE: 0.0, POD_REFUSED: 60.0, NAME_TAKEN: 60.0}
# How an experiment ends that has done what was asked; every other reason is a failure.
SUCCESSES = frozenset({"Completed", "GoalReached", PLATEAU, endings.TIME_BUDGET})
# What has none of a field (any more) names it all the same: the API server keeps what is not named.
NOTHING: Mapping[str, None] = dict.fromkeys(str(field.alias) for field in Status.model_fields.values())
_WAYS_ON = {  # what to change in the spec of an experiment that has ended, by the reason
    "AllTrialsFailed": "raise numSamples to go on",
    "Completed": "raise numSamples to go on",
    "GoalReached": "change stopExperiment.goal to go on",
    PLATEAU: "change stopExperiment.plateau to go on",
    endings.TIME_BUDGET: "raise stopExperiment.timeBudgetSeconds to go on",
    "FailFast": "set failure.failFast to false to go on",
    "TooManyFailedTrials": "raise stopExperiment.maxFailedTrials to go on",
}

trial_name = trials.trial_name  # where all who show one look for it


def attempt_name(experiment: str, number: int, attempt: int) -> str:
    """Give an attempt's name, which is its pod's: digits-00012-1."""
    return f"{trial_name(experiment, number)}-{attempt}"


def state(history: History) -> str:
    """Give the experiment's state in one word."""
    if history.finished:
        return history.finished.reason
    if history.ending:
        return "Ending"
    if history.spec.suspend:
        return "Suspended"
    if history.interrupted:
        return "Interrupted"
    return "Running" if history.trials else "Pending"


def succeeded(history: History) -> bool | None:
    """Say whether the experiment succeeded; None while it runs."""
    return None if history.finished is None else history.finished.reason in SUCCESSES


def top(history: History, count: int = TOP) -> list[Trial]:
    """Give the best trials, best first, by what they are worth; those that were stopped early after all others, failed ones last.

    Who was stopped early had lost to another of the same age, whatever became of that one since. Who is still running, or
    ended with the experiment, has lost to nobody (docs/decisions/0014).
    """
    stopping = {attempt.trial for attempt in history.open.values() if attempt.intent is Intent.STOP and not attempt.complete}

    def rank(trial: Trial) -> tuple[int, float, int]:
        weak = trial.outcome is Outcome.STOPPED or trial.number in stopping
        standing = 2 if trial.outcome is Outcome.FAILED else int(weak)
        return standing, trial.loss if trial.loss is not None else math.inf, trial.number

    worth = (trial for trial in history.trials if trial.loss is not None and math.isfinite(trial.loss))
    return heapq.nsmallest(count, worth, key=rank)


def last(history: History, count: int = TOP) -> list[Trial]:
    """Give the trials that ended last, the latest first."""
    ended = (trial for trial in history.trials if trial.outcome is not None)
    return heapq.nlargest(count, ended, key=lambda trial: (trial.ended, trial.number))


def best(history: History) -> Trial | None:
    """Give the best trial, if any has reported a finite objective."""
    return next(iter(top(history, 1)), None)


def counts(history: History) -> dict[str, int]:
    """Count the trials by what they do or how they ended, as the resource's status does."""
    found = Counter(word(trial) for trial in history.trials)
    return {
        "total": history.total,
        "started": sum(trial.attempts > 0 for trial in history.trials),
        **{name: found[name.capitalize()] for name in ("waiting", "running", "succeeded", "stopped", "failed", "cancelled")},
        "skipped": history.skipped,
    }


def word(trial: Trial) -> str:
    """Say in one word how a trial is or ended."""
    return trial.outcome.value if trial.outcome else trial.phase.value


def notices(history: History, experiment: str) -> list[str]:
    """Give what the user should know, whatever comes of the experiment, in a sentence each."""
    found = [
        f"metric {name} (first reported by {trial_name(experiment, history.overwritten[name])}) has a name of kubetune's own: "
        f"the files hold kubetune's value under it; report it under another name, such as my_{name}"
        for name in FILLED
        if name in history.overwritten
    ]
    if history.trials:  # once it runs: whoever says each notice once must see this one come
        found += cautions(history.spec)
    found += history.notes
    if history.skipped:
        found.append(skipped(history.skipped, history.why_skipped))
    sightings, objective = history.sightings, history.spec.objective.metric
    missing = endings.metric_missing(history)  # then the experiment ends with that, and says so
    for name, field in sightings.reads.items():
        if missing and name == objective:
            continue
        if instead := endings.not_a_number(history, name):
            found.append(f"{instead} ({field})")
        elif name in sightings.unreported and name in sightings.lacked:
            found.append(f"no trial has reported {name} yet ({field}); {sightings.lacked[name]}")
    if history.without_metric and objective not in sightings.unreported:
        first = trial_name(experiment, history.without_metric[0])
        found.append(f"trial {first} had its whole budget and never reported {objective} ({OBJECTIVE}), as others have")
    return found


def skipped(count: int, why: str) -> str:
    """Say that so many draws gave no trial, and why the last of them gave none."""
    draws = "1 draw" if count == 1 else f"{count} draws"
    return f"{draws} gave no trial, each tried up to {TRIES} times; the last: {why}"


def nothing_to_do(history: History) -> str:
    """Say why an experiment that has ended does not go on, and what would make it; an empty text where it does."""
    if history.finished is None or endings.goes_on(history):
        return ""
    # What still ends it, by the spec as it is now: the words in the journal may tell of a bound that has been changed since.
    said = dict(endings.causes(history)).get(history.finished.reason) if history.edited else None
    why = (
        said
        or history.finished.message
        or ("the 1 trial has ended" if len(history.trials) == 1 else f"all {len(history.trials)} trials have ended")
    )
    return f"nothing to do: {why}; {_WAYS_ON.get(history.finished.reason, 'mend that, and start a new run')}"


def resource_status(history: History, experiment: str, *, generation: int | None = None) -> Status:
    """Fill in the resource's status as far as the history has it: all but where the journal is and the selector of pods.

    `generation` is that of the spec which the history has taken over.
    """
    finished, found = history.finished, best(history)
    return Status.model_validate(
        {
            "observedGeneration": generation,
            "conditions": _conditions(history, experiment, generation),
            "state": state(history),
            "progress": f"{history.ended}/{history.total}",
            "algorithm": _algorithm(history),
            "gridSize": history.spec.space.grid_size,
            "trials": counts(history),
            "bestTrial": _summary(found, experiment) | {"metrics": _metrics(history, found)} if found else None,
            "topTrials": [_summary(trial, experiment) for trial in top(history)],
            "lastTrials": [_ended(trial, experiment) for trial in last(history)],
            "startTime": stamp(history.created.time) if history.created else None,
            "lastReportTime": stamp(history.last_report) if history.last_report else None,
            "finishTime": stamp(finished.time) if finished else None,
        }
    )


def render(history: History, experiment: str, *, generation: int | None = None) -> dict[str, Any]:
    """Give the resource's status as plain values, bounded whatever the number of trials."""
    return dump(resource_status(history, experiment, generation=generation))


def stalled(before: Mapping[str, Any], reason: str, message: str, *, final: bool, generation: int, time: float) -> dict[str, Any]:
    """Give what changes in the status of an experiment whose history cannot be had, or that never got one.

    Nothing where it says so already. One that has a history and has finished stays so, whether or not that can be had now.
    """
    known = {one["type"]: one for one in before.get("conditions") or ()}
    over = _holds(known.get("Finished")) and "journal" in before and not final
    holds = {"Stalled": True} if over else {"Finished": final, "Succeeded": False if final else None, "Stalled": True}
    made = {}
    for kind, held in holds.items():
        found = _condition(kind, reason, message, since=time, holds=held)
        if kind in known and known[kind]["status"] == found["status"]:
            found["lastTransitionTime"] = known[kind]["lastTransitionTime"]
        made[kind] = dump(Condition.model_validate(found | {"observedGeneration": generation}))
    changed: dict[str, Any] = {"conditions": list((known | made).values())}
    if not over:
        ended = (before.get("finishTime") or stamp(time)) if final else None
        changed |= {"state": reason, "observedGeneration": generation, "finishTime": ended}
    return {} if all(before.get(name) == value for name, value in changed.items()) else changed


def troubled(found: Mapping[str, Any], troubles: Sequence[tuple[str, str, float]], now: float) -> dict[str, Any]:
    """Add to a status what keeps pods from beginning: (reason, message, since) of each. Only a human can mend a STALLING one.

    A trial whose pod is not to be had does not run, but waits; where none runs, the state says why.
    """
    if not troubles:
        return dict(found)
    trials = dict(found["trials"])
    without_pod = sum(reason in WITHOUT_POD for reason, *_ in troubles)
    waiting = min(without_pod, trials["running"])
    trials |= {"running": trials["running"] - waiting, "waiting": trials["waiting"] + waiting}
    idle = without_pod > 0 and not trials["running"]

    def stalls(reason: str, since: float) -> bool:
        holds_up = idle or reason not in WITHOUT_POD
        return holds_up and reason in STALLING and now >= since + STALLING[reason]

    reason, message, since = min(troubles, key=lambda one: (not stalls(one[0], one[2]), one[2]))
    words = f"{len(troubles)} pod{'s' if len(troubles) > 1 else ''} cannot begin: {reason}: {message}"
    stalled_already = any(one["type"] == "Stalled" and one["status"] == "True" for one in found["conditions"])
    stall = (reason, message, since + STALLING[reason]) if stalls(reason, since) and not stalled_already else None
    told = _told({**found, "trials": trials}, words, stall)
    if not idle:
        return told
    conditions = [{**one, "reason": reason} if one["reason"] == found["state"] else one for one in told["conditions"]]
    return {**told, "conditions": conditions, "state": reason}


def halted(found: Mapping[str, Any], reason: str, message: str, since: float) -> dict[str, Any]:
    """Add to a status why nothing can be recorded, so that nothing can be started either."""
    return _told(found, message, (reason, message, since))


def _told(found: Mapping[str, Any], words: str, stall: tuple[str, str, float] | None) -> dict[str, Any]:
    """Put words before what is said of its not being finished; say that it is stalled, and since when, if that is given."""
    conditions = []
    for one in found["conditions"]:
        added = dict(one)
        if one["type"] == "Finished" and one["status"] == "False":
            added["message"] = _cut(". ".join(filter(None, (words, one["message"]))), MAX_MESSAGE)
        if one["type"] == "Stalled" and stall is not None:
            reason, message, since = stall
            added |= {"status": "True", "reason": reason, "message": _cut(message, MAX_MESSAGE)}
            if one["status"] == "False":
                added["lastTransitionTime"] = stamp(since)
        conditions.append(added)
    return {**found, "conditions": conditions}


def row(history: History, experiment: str, trial: Trial) -> dict[str, Any]:
    """Give one trial's row of trials.csv; the objective has a longer name where its own is a column's."""
    before = {
        "trial": trial_name(experiment, trial.number),
        "state": word(trial),
        "reason": trial.reason if trial.phase is Phase.ENDED else "",
        "message": trial.account,
    }
    after = {
        "step": trial.step,
        "complete": trial.complete,
        "reports": trial.reports,
        "refused": trial.refused,
        "attempts": trial.attempts,
        "started": stamp(trial.started) if trial.started else "",
        "ended": stamp(trial.ended) if trial.ended else "",
        **{f"params/{name}": value for name, value in trial.params.items()},
    }
    metric = history.spec.objective.metric
    return before | {f"objective/{metric}" if metric in before or metric in after else metric: trial.value} | after


def seconds(text: str) -> float:
    """Read a time as `stamp` spells it."""
    return dt.datetime.fromisoformat(text).timestamp()


def stamp(time: float) -> str:
    """Spell a time as Kubernetes does, in UTC to the second."""
    return dt.datetime.fromtimestamp(time, dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _conditions(history: History, experiment: str, generation: int | None) -> list[dict[str, Any]]:
    """Give the four conditions. When each came to hold or not is read from the records, so that a replay says the same."""
    finished, created = history.finished, history.created.time if history.created else 0.0
    why, success = state(history), succeeded(history)
    message = finished.message if finished else ""
    told = ". ".join([*filter(None, [message]), *notices(history, experiment)])
    since = finished.time if finished else max([created, *(time for _, time in history.reopened)])
    mended = max([created, *(time for reason, time in history.reopened if reason not in SUCCESSES)])
    suspended = "Suspended" if history.spec.suspend else "NotSuspended"
    # Whatever failed needs somebody to mend it: Stalled makes it a failure to all who know resources by kstatus.
    made = (
        _condition("Finished", why, told, since=since, holds=finished is not None),
        _condition("Succeeded", why, message, since=since, holds=success),
        _condition("Suspended", suspended, "", since=history.suspended or created, holds=history.spec.suspend),
        _condition("Stalled", why, message, since=since if success is False else mended, holds=success is False),
    )
    return [one if generation is None else one | {"observedGeneration": generation} for one in made]


def _holds(condition: Mapping[str, Any] | None) -> bool:
    return condition is not None and condition["status"] == "True"


def _condition(kind: str, reason: str, message: str, *, since: float, holds: bool | None) -> dict[str, Any]:
    return {
        "type": kind,
        "status": {True: "True", False: "False", None: "Unknown"}[holds],
        "reason": reason,
        "message": _cut(message, MAX_MESSAGE),
        "lastTransitionTime": stamp(since),
    }


def _summary(trial: Trial, experiment: str) -> dict[str, Any]:
    return {
        "name": trial_name(experiment, trial.number),
        "state": word(trial),
        "value": _spelled(trial.value),
        "step": _spelled(trial.step),
        "complete": trial.complete,
        "params": dict(trial.params),
    }


def _ended(trial: Trial, experiment: str) -> dict[str, Any]:
    return {
        "name": trial_name(experiment, trial.number),
        "state": word(trial),
        "reason": trial.reason[:64],
        "message": _cut(trial.account, MAX_ACCOUNT),
    }


def _metrics(history: History, trial: Trial) -> dict[str, str]:
    """Give what else was reported with a trial's value, as much as the status has room for."""
    objective = history.spec.objective.metric
    others = ((name, value) for name, value in (trial.metrics or {}).items() if name != objective)
    return {name: _spelled(value) for name, value in itertools.islice(others, MAX_METRICS)}


def _spelled(value: Any) -> str:
    """Spell a value as the files do; a whole number of hundreds of digits is rounded."""
    if isinstance(value, int) and abs(value) >= 10 ** (MAX_VALUE - 1):
        return f"{Decimal(value):.15e}"
    found = spelled(value)
    return _cut(found if isinstance(found, str) else json.dumps(found), MAX_VALUE)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _algorithm(history: History) -> str:
    """Name searcher and scheduler as the spec does: "random + asha"."""
    used = [type(history.spec.searcher).__name__, type(history.spec.scheduler).__name__]
    return " + ".join(name[0].lower() + name[1:] for name in used if name != Fifo.__name__)
