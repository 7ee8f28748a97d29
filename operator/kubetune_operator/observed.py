"""From a pod as the API server shows it to what a turn needs to know of it. Pure.

`trim` is what is worth keeping of a pod; everything else here takes it, trimmed or whole. The sidecar keeps a pod Running when
its program has ended, and ends as it likes: only the trial's own container says how the program ended. What follows from it
all is `core.plan`'s to say.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubetune_operator.core.plan import SIGKILL, SIGTERM, Pod, PodPhase
from kubetune_operator.core.records import End
from kubetune_operator.reserved import KEY, SIDECAR, TRIAL_CONTAINER
from kubetune_operator.status import UNREACHABLE

HELLO = 60.0  # seconds that a sidecar may run without having reached the operator
DRAIN = 15.0  # seconds after its program's end in which a pod ends: the sidecar takes 5, and clocks differ
TAIL, MESSAGE = 4096, 1024  # characters

_DELETION = ("deletionTimestamp", "deletionGracePeriodSeconds")
_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", *_DELETION)
_STATUS = ("phase", "reason", "message")
_CONDITIONS = ("PodScheduled", "Initialized", "DisruptionTarget", "TerminationTarget")
_TAKEN_AWAY = ("DisruptionTarget", "TerminationTarget")  # the second is Kueue's
_NODE_GONE = frozenset({"NodeLost", "NodeShutdown", "Preempting", "Shutdown", "Terminated"})  # a pod's own reasons
_NOT_STARTED = frozenset({"ContainerCannotRun", "StartError"})  # a container's: the command could not be run
_LOST = "ContainerStatusUnknown"  # a container's: the node has lost it
_ORDINARY = frozenset({"", "ContainerCreating", "PodInitializing"})  # what a container waits for that goes well
_SAME = {"ImagePullBackOff": "ErrImagePull"}  # a container's reason alternates between them, and both say one thing
_NO_COMMAND = 127  # what a shell answers for a command that it cannot run; `plan` reads it so

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Trouble:
    """What keeps a pod from running its program, in Kubernetes' own word."""

    reason: str  # "Unschedulable", "ErrImagePull", "CreateContainerConfigError", …; or ours, where there is no pod yet
    message: str
    since: float  # not exact for a container: from when it could have started


def trim(pod: Object, before: Object | None = None) -> dict[str, Any]:
    """Keep of a pod what is looked at: a cache of thousands must be small.

    `before` is what was kept of it last: with its last word the kubelet writes over when the deletion was asked for.
    """
    metadata, status = pod["metadata"], pod.get("status") or {}
    known = before["metadata"] if before else {}
    asked = known if known.get("uid") == metadata["uid"] and known.get("deletionGracePeriodSeconds") else {}
    return {
        "metadata": _kept(metadata, _METADATA)
        | _kept(asked, _DELETION)
        | {
            "labels": {key: value for key, value in (metadata.get("labels") or {}).items() if key.startswith(KEY)},
            "annotations": _kept(metadata.get("annotations") or {}, (TRIAL_CONTAINER,)),
            "ownerReferences": [
                _kept(owner, ("uid", "controller")) for owner in metadata.get("ownerReferences") or () if owner.get("controller")
            ],
        },
        "status": {
            **_kept(status, _STATUS),
            "conditions": [
                _kept(one, ("type", "status", "reason", "message", "lastTransitionTime"))
                for one in status.get("conditions") or ()
                if one["type"] in _CONDITIONS
            ],
            **{
                kind: [
                    _kept(one, ("name", "started"))
                    | {state: _state(one[state]) for state in ("state", "lastState") if one.get(state)}
                    for one in status.get(kind) or ()
                ]
                for kind in ("initContainerStatuses", "containerStatuses")
            },
        },
    }


def older(pod: Object, known: Object) -> bool:
    """Say whether this is a pod as it was before what is known of it: versions of one object are numbers that grow."""
    uids, versions = ([one["metadata"].get(name) for one in (pod, known)] for name in ("uid", "resourceVersion"))
    if uids[0] != uids[1] or not all(version and version.isdigit() for version in versions):
        return False
    return int(versions[0]) < int(versions[1])


def see(pod: Object) -> Pod:
    """Give the pod as a turn sees it."""
    return Pod(
        uid=pod["metadata"]["uid"],
        phase=PodPhase.ENDED if _terminal(pod) else PodPhase.RUNNING,
        deleting=_deleting(pod),
        end=_end(pod),
        disrupted=_disrupted(pod),
        begun=_begun_at(pod),
        failure=failure(pod),
    )


def due(pod: Object, limit: float) -> float | None:
    """Say from when on a pod that Kubernetes still shows as running holds no slot any more; None: nothing says so yet.

    That is when it is still there `limit` seconds after it should have been gone, as where its node is dead; or when its
    program has ended long enough ago, whatever else runs in it.
    """
    if _terminal(pod):
        return None
    done = _terminated(pod)
    times = [_time(pod["metadata"]["deletionTimestamp"]) + limit] if _deleting(pod) else []
    times += [_time(done["finishedAt"]) + DRAIN] if done and done.get("finishedAt") else []
    return min(times, default=None)


def overdue(pod: Object, now: float, limit: float) -> bool:
    """Say whether that time has come."""
    until = due(pod, limit)
    return until is not None and now >= until


def begun(pod: Object) -> str:
    """Give the name of the trial's container once it has begun, so that it has a log; before that nothing."""
    trial = _trial(pod)
    return str(trial["name"]) if _state_of(trial).keys() & {"running", "terminated"} else ""


def failure(pod: Object) -> tuple[str, str] | None:
    """Give reason and message where the kubelet ended a pod for breaking a limit of its own: a failure, however it ended."""
    status = pod.get("status") or {}
    reason, message = status.get("reason"), str(status.get("message") or "").strip()
    if status.get("phase") != "Failed":
        return None
    if reason == "DeadlineExceeded":
        return "DeadlineExceeded", message
    # An eviction for want of memory or disk on the node has a condition; a pod that a node does not take has not begun.
    if reason == "Evicted" and _condition(pod, "DisruptionTarget", "True") is None and _begun(pod):
        return "StorageLimit", message
    return None


def waits_for(pod: Object, found: Trouble | None) -> str:
    """Say what a pod waits for before its program can begin: its trouble, or the step that it is at."""
    if found is not None:
        return f"{found.reason}: {found.message}"
    for kind in ("initContainerStatuses", "containerStatuses"):
        for one in _statuses(pod, kind):
            state = _state_of(one)
            if "waiting" in state:
                return f"container {one['name']}: {state['waiting'].get('reason') or 'waiting'}"
            if "running" in state and one["name"] != SIDECAR:
                return f"container {one['name']} is running"
    return "no node has taken it yet"


def trouble(pod: Object, now: float) -> Trouble | None:
    """Say what keeps it from running its program; None: nothing, or it has ended."""
    if _terminal(pod) or _deleting(pod) or _terminated(pod):
        return None
    scheduled = _condition(pod, "PodScheduled", "False")
    if scheduled is not None:
        return Trouble(str(scheduled.get("reason") or ""), str(scheduled.get("message") or ""), _transition(scheduled))
    running = "running" in _state_of(_trial(pod))
    for kind, before in (("initContainerStatuses", "PodScheduled"), ("containerStatuses", "Initialized")):
        for one in _statuses(pod, kind):
            waiting = _state_of(one).get("waiting") or {}
            ours = one["name"] == SIDECAR
            reason = str(waiting.get("reason") or "")
            if reason not in _ORDINARY and (ours or not running):
                return Trouble(_SAME.get(reason, reason), f"container {one['name']}: {_words(one, waiting)}", _since(pod, before))
    return _sidecar_trouble(pod, now)


# --- how it ended ---


def _end(pod: Object) -> End | None:
    """Say how the program ended; None while it runs, and where nobody saw it."""
    done = _terminated(pod)
    limit = failure(pod)
    if limit is not None:
        return End(done["exitCode"] if done else None, error=": ".join(limit), tail=_tail(done or {}))
    if done is None:
        word = _before_it(pod) if _terminal(pod) else ""
        return End(_NO_COMMAND, error=word) if word else None
    reason = done.get("reason")
    if reason == _LOST:
        return None
    if reason in _NOT_STARTED:
        return End(_NO_COMMAND, error=_tail(done) or reason)
    code: int = done["exitCode"]
    terminated = _told_to_end(pod, done)
    oom = reason == "OOMKilled" and code != 0  # a child of the program may have been killed, and the program gone on well
    return End(
        exit_code=code,
        signal=done.get("signal") or (code - 128 if 128 < code <= 128 + 64 else None),
        terminated=terminated,
        killed=terminated and code == 128 + SIGKILL and not oom,
        oom=oom,
        tail=_tail(done),
    )


def _before_it(pod: Object) -> str:
    """Say which of the template's init containers failed; an empty text: none."""
    for one in _statuses(pod, "initContainerStatuses"):
        done = _state_of(one).get("terminated")
        if one["name"] != SIDECAR and done and done["exitCode"] != 0:
            return f"init container {one['name']}: {done.get('reason') or 'Error'}, {_ending(done)}"
    return ""


def _disrupted(pod: Object) -> str:
    """Say who took the pod from us; an empty text: nobody. That it was deleted under its program is for `_end` to say."""
    status = pod.get("status") or {}
    taken = _taken_away(pod)
    if taken is not None:
        return _told(taken)
    if status.get("reason") in _NODE_GONE:
        return _told(status)
    if failure(pod) is not None or not _terminal(pod):
        return ""
    done = _terminated(pod)
    if done is not None:
        return f"{_LOST}: {_tail(done)}" if done.get("reason") == _LOST else ""
    if _deleting(pod):
        return "it was deleted before its program began"
    return "" if _before_it(pod) else _told(status) or "the pod ended before its program began"


def _told(by: Object) -> str:
    """Give the reason and the message of a condition or a status."""
    return ": ".join(filter(None, (str(by.get(name) or "").strip() for name in ("reason", "message"))))


def _taken_away(pod: Object) -> Object | None:
    """Give the condition that says so, unless the program had ended before, or it came to nothing after all."""
    done = _terminated(pod)
    for kind in _TAKEN_AWAY:
        condition = _condition(pod, kind, "True")
        if condition is None or (done and not _ended_after(done, _transition(condition))):
            continue
        if (pod.get("status") or {}).get("phase") == "Succeeded" and not _deleting(pod):
            continue
        return condition
    return None


def _told_to_end(pod: Object, done: Object) -> bool:
    """Say whether the pod's deletion was asked for before the program's own end."""
    if not _deleting(pod):
        return False
    metadata = pod["metadata"]
    grace = metadata.get("deletionGracePeriodSeconds")
    if grace:  # what the API server keeps is when it should be over
        return _ended_after(done, _time(metadata["deletionTimestamp"]) - grace)
    # An ended pod was deleted; or the kubelet has had its last word, and when it was asked to end is not to be known any more.
    return done["exitCode"] in {128 + SIGKILL, 128 + SIGTERM} and done.get("reason") != "OOMKilled"


def _ended_after(done: Object, time: float) -> bool:
    """Say whether a container ended after that; times have whole seconds, and within one it was the cause."""
    return _time(done.get("finishedAt")) >= time


# --- why it does not begin ---


def _sidecar_trouble(pod: Object, now: float) -> Trouble | None:
    """Say that the sidecar has crashed, whatever it does just now, or has had no answer: nothing begins before it has."""
    sidecar = next((one for one in _statuses(pod, "initContainerStatuses") if one["name"] == SIDECAR), None)
    if sidecar is None or sidecar.get("started"):
        return None
    last = _state_of(sidecar).get("terminated") or (sidecar.get("lastState") or {}).get("terminated")
    if last and last["exitCode"] not in {0, 128 + SIGKILL, 128 + SIGTERM}:  # those: by its startup probe
        return Trouble("CrashLoopBackOff", f"container {SIDECAR}: {_ending(last)}", _since(pod, "PodScheduled"))
    running = _state_of(sidecar).get("running")
    since = _time(running["startedAt"]) if running else now
    if now - since < HELLO:
        return None
    return Trouble(UNREACHABLE, f"{SIDECAR} has had no answer from the operator for {HELLO:.0f} s", since)


def _words(container: Object, waiting: Object) -> str:
    last = (container.get("lastState") or {}).get("terminated")
    word = str(waiting.get("message") or waiting["reason"])
    return f"{word}; {_ending(last)}" if last else word


def _ending(terminated: Object) -> str:
    """Say how a container ended, with the last line that it said."""
    return ": ".join(filter(None, (f"exit code {terminated['exitCode']}", _last_line(_tail(terminated)))))


def _since(pod: Object, condition: str) -> float:
    for kind in (condition, "PodScheduled"):
        found = _condition(pod, kind, "True")
        if found is not None:
            return _transition(found)
    return _time(pod["metadata"].get("creationTimestamp"))


# --- reading it ---


def _terminal(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def _deleting(pod: Object) -> bool:
    return pod["metadata"].get("deletionTimestamp") is not None


def _begun(pod: Object) -> bool:
    """Say whether any container of it has run."""
    every = [*_statuses(pod, "initContainerStatuses"), *_statuses(pod, "containerStatuses")]
    return any(_state_of(one).keys() & {"running", "terminated"} for one in every)


def _begun_at(pod: Object) -> float | None:
    """Give when the trial's container began; None before it has."""
    state = _state_of(_trial(pod))
    ran = state.get("running") or state.get("terminated") or {}
    return _time(ran["startedAt"]) if ran.get("startedAt") else None


def _trial(pod: Object) -> Object:
    """Give the status of the trial's container; an empty one where there is none yet."""
    name = (pod["metadata"].get("annotations") or {}).get(TRIAL_CONTAINER)
    return next((one for one in _statuses(pod, "containerStatuses") if one["name"] == name), {})


def _terminated(pod: Object) -> Object | None:
    return _state_of(_trial(pod)).get("terminated")


def _statuses(pod: Object, kind: str) -> Iterator[Object]:
    yield from (pod.get("status") or {}).get(kind) or ()


def _state_of(container: Object) -> Object:
    return container.get("state") or {}


def _condition(pod: Object, kind: str, status: str) -> Object | None:
    every: Iterable[Object] = (pod.get("status") or {}).get("conditions") or ()
    return next((one for one in every if one["type"] == kind and one["status"] == status), None)


def _transition(condition: Object) -> float:
    return _time(condition.get("lastTransitionTime"))


def _time(stamp: str | None) -> float:
    return dt.datetime.fromisoformat(stamp).timestamp() if stamp else 0.0


def _tail(terminated: Object) -> str:
    return str(terminated.get("message") or "").strip()


def _last_line(text: str) -> str:
    return next(reversed(text.splitlines()), "")


def _kept(found: Object, names: Iterable[str]) -> dict[str, Any]:
    kept = {name: found[name] for name in names if found.get(name) is not None}
    return kept | {"message": kept["message"][:MESSAGE]} if "message" in kept else kept


def _state(state: Object) -> dict[str, Any]:
    """Keep a container's state; of a last word, its end."""
    kept: dict[str, Any] = {
        kind: _kept(one, ("reason", "startedAt", "finishedAt", "exitCode", "signal")) for kind, one in state.items() if one
    }
    for kind, one in kept.items():
        if message := state[kind].get("message"):
            one["message"] = message[-TAIL:]
    return kept
