"""What is made of a pod's status: `kubetune_operator.observed`, and the verdict that follows by the order of `core.plan`.

The statuses are as API server, kubelet, scheduler and controllers write them (1.35). The pod was created at 10:00:00, its
program began at 10:00:20.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from kubetune_operator import observed
from kubetune_operator.core.plan import IGNORED_SIGTERM, PodPhase, closing
from kubetune_operator.core.records import Close, End, Intent
from kubetune_operator.core.standing import Attempt

Json = dict[str, Any]
BY_HAND = "it was told to end by somebody else (SIGTERM)"
EPHEMERAL = "Pod ephemeral local storage usage exceeds the total limit of containers 1Gi. "
LOW_MEMORY = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 48Mi. "
NO_NODE = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available."
NO_FILE = 'failed to create containerd task: exec: "trian": executable file not found in $PATH: unknown'
TRACEBACK = "Traceback (most recent call last):\nValueError: nan"


def at(clock: str) -> str:
    return f"2026-11-24T{clock}Z"


def seconds(clock: str) -> float:
    hours, minutes, rest = clock.split(":")
    return 1795478400.0 + int(hours) * 3600 + int(minutes) * 60 + float(rest)  # 2026-11-24, in UTC


def waiting(reason: str, message: str | None = None) -> Json:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def running(since: str = "10:00:20") -> Json:
    return {"running": {"startedAt": at(since)}}


def ended(code: int, clock: str = "10:05:00", reason: str | None = None, message: str | None = None) -> Json:
    done = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error"), "finishedAt": at(clock)}
    return {
        "terminated": done
        | {"startedAt": at("10:00:20"), "containerID": "containerd://0c"}
        | ({"message": message} if message else {})
    }


def condition(kind: str, status: str, clock: str, reason: str = "", message: str = "") -> Json:
    return {
        "type": kind,
        "status": status,
        "lastTransitionTime": at(clock),
        "lastProbeTime": None,
        "reason": reason,
        "message": message,
    }


def target(reason: str, message: str, clock: str = "10:04:30", status: str = "True") -> Json:
    return condition("DisruptionTarget", status, clock, reason, message)


SCHEDULED = condition("PodScheduled", "True", "10:00:01")
INITIALIZED = condition("Initialized", "True", "10:00:19")
NOT_YET = waiting("PodInitializing")
KILLED = ended(137, "10:05:01")


@dataclass(frozen=True)
class Shown:
    """A pod as the API server shows it."""

    phase: str = "Running"
    trial: Json | None = field(default_factory=running)
    sidecar: Json | None = field(default_factory=lambda: running("10:00:05"))
    started: bool = True  # the sidecar's probe has passed
    crashed: Json | None = None  # the sidecar's last state
    inits: Sequence[tuple[str, Json]] = ()
    others: Sequence[tuple[str, Json]] = ()
    conditions: Sequence[Json] = (SCHEDULED, INITIALIZED)
    reason: str = ""
    message: str = ""
    deleted: str = ""  # when that was asked for
    grace: int = 30

    def pod(self) -> Json:
        status: Json = {
            "phase": self.phase,
            "conditions": [*self.conditions, condition("Ready", "False", "10:00:00")],
            "qosClass": "Burstable",
            "podIP": "10.0.0.9",
        }
        status |= {name: value for name, value in (("reason", self.reason), ("message", self.message)) if value}
        inits = [self._status("kubetune-sidecar", self.sidecar, self.crashed, started=self.started)] if self.sidecar else []
        status["initContainerStatuses"] = inits + [self._status(name, state, started=False) for name, state in self.inits]
        own = [self._status("trial", self.trial, started=True)] if self.trial else []
        status["containerStatuses"] = [self._status(name, state, started=True) for name, state in self.others] + own
        metadata: Json = {
            "name": "digits-00007-0",
            "namespace": "lab",
            "uid": "0b4c",
            "resourceVersion": "991",
            "creationTimestamp": at("10:00:00"),
            "labels": {"kubetune.dev/trial": "7", "kubetune.dev/attempt": "0", "team": "vision"},
            "annotations": {"kubectl.kubernetes.io/default-container": "trial", "kubetune.dev/parameters": "{}"},
            "ownerReferences": [
                {
                    "apiVersion": "kubetune.dev/v1alpha1",
                    "kind": "TuneExperiment",
                    "name": "digits",
                    "uid": "e1",
                    "controller": True,
                }
            ],
            "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
        }
        if self.deleted:
            minutes, rest = divmod(int(seconds(self.deleted) + self.grace) % 3600, 60)
            metadata |= {
                "deletionTimestamp": at(f"{self.deleted[:2]}:{minutes:02}:{rest:02}"),
                "deletionGracePeriodSeconds": self.grace,
            }
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": metadata,
            "spec": {"containers": [{"name": "trial"}]},
            "status": status,
        }

    @staticmethod
    def _status(name: str, state: Json, crashed: Json | None = None, *, started: bool) -> Json:
        return {
            "name": name,
            "image": "i",
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "started": started,
            "state": state,
            "lastState": crashed or {},
        }


def finished(trial: Json, phase: str = "Failed", **more: Any) -> Shown:
    """Give a pod that is terminal, its sidecar having gone as sidecars go: 143 and 137 are normal."""
    return Shown(phase, trial, **({"sidecar": ended(143, "10:05:03")} | more))


@dataclass(frozen=True)
class Verdict:
    """What is to come of a pod: whether its attempt is over, and if so, what for."""

    phase: PodPhase
    close: Close | None = None
    reason: str = ""
    message: str = ""


GOES_ON = Verdict(PodPhase.RUNNING)


def over(close: Close, reason: str, message: str = "") -> Verdict:
    return Verdict(PodPhase.ENDED, close, reason, message)


def taken(message: str) -> Verdict:
    return over(Close.DISRUPTED, "Disrupted", message)


CASES: dict[str, tuple[Shown, Verdict]] = {
    # it goes on
    "just created": (Shown("Pending", None, None, conditions=()), GOES_ON),
    "waits for a node": (Shown("Pending", None, None, conditions=[condition("PodScheduled", "False", "10:00:01", "Unschedulable", NO_NODE)]), GOES_ON),
    "its images come": (Shown("Pending", NOT_YET, NOT_YET, conditions=[SCHEDULED]), GOES_ON),
    "the sidecar says hello": (Shown("Pending", NOT_YET, started=False, conditions=[SCHEDULED]), GOES_ON),
    "runs": (Shown(), GOES_ON),
    "runs, its sidecar has crashed": (Shown(sidecar=waiting("CrashLoopBackOff", "back-off 10s")), GOES_ON),
    "runs, another container has failed": (Shown(others=[("proxy", ended(1))]), GOES_ON),
    "the program has ended, the sidecar drains": (Shown(trial=ended(0)), GOES_ON),
    "the node does not answer": (Shown("Unknown", conditions=[SCHEDULED, condition("Ready", "Unknown", "10:04:00")]), GOES_ON),
    "deleted, has its grace": (Shown(deleted="10:04:59"), GOES_ON),
    "to be evicted, not deleted yet": (Shown(conditions=[SCHEDULED, target("EvictionByEvictionAPI", "Eviction API: evicting")]), GOES_ON),
    # it ended by itself
    "exit 0": (finished(ended(0), "Succeeded"), over(Close.SUCCEEDED, "Completed")),
    "exit 0, the sidecar failed": (finished(ended(0), "Succeeded", sidecar=ended(1)), over(Close.SUCCEEDED, "Completed")),
    "exit 0, another container failed": (finished(ended(0), others=[("proxy", ended(2))]), over(Close.SUCCEEDED, "Completed")),
    "exit 0, a child was killed for memory": (finished(ended(0, reason="OOMKilled"), "Succeeded"), over(Close.SUCCEEDED, "Completed")),
    "exit 3": (finished(ended(3, message=TRACEBACK)), over(Close.FAILED, "ExitCode", "exit code 3")),
    "exit 128 is no signal": (finished(ended(128)), over(Close.FAILED, "ExitCode", "exit code 128")),
    "exit 255 is no signal": (finished(ended(255)), over(Close.FAILED, "ExitCode", "exit code 255")),
    "out of memory": (finished(ended(137, reason="OOMKilled")), over(Close.FAILED, "OOMKilled", "it used more memory than its limit (exit code 137)")),
    "out of memory in a child": (finished(ended(1, reason="OOMKilled")), over(Close.FAILED, "OOMKilled", "it used more memory than its limit (exit code 1)")),
    "killed, and no word of memory": (finished(ended(137)), over(Close.FAILED, "Killed", "ended by signal 9 (SIGKILL, perhaps for want of memory)")),
    "segmentation fault": (finished(ended(139)), over(Close.FAILED, "Killed", "ended by signal 11 (SIGSEGV)")),
    "no such command": (finished(ended(128, reason="StartError", message=NO_FILE)), over(Close.FAILED, "NotStarted", NO_FILE)),
    "an init container fails": (
        finished(NOT_YET, inits=[("fetch", ended(22, message="trying\ncurl: (22) 404"))]),
        over(Close.FAILED, "NotStarted", "init container fetch: Error, exit code 22: curl: (22) 404"),
    ),
    "deleted after its end": (finished(ended(3, "10:05:00"), deleted="10:05:01", grace=0), over(Close.FAILED, "ExitCode", "exit code 3")),
    "to be evicted after its end": (finished(ended(3, "10:04:29"), conditions=[SCHEDULED, target("EvictionByEvictionAPI", "evicting")]), over(Close.FAILED, "ExitCode", "exit code 3")),
    "was to be evicted, which came to nothing": (finished(ended(0), "Succeeded", conditions=[target("EvictionByEvictionAPI", "evicting")]), over(Close.SUCCEEDED, "Completed")),
    "was to be evicted, and no more": (finished(ended(3), conditions=[target("EvictionByEvictionAPI", "evicting", status="False")]), over(Close.FAILED, "ExitCode", "exit code 3")),
    # it was taken away
    "preempted": (
        finished(KILLED, deleted="10:04:30", conditions=[target("PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod")]),
        taken("PreemptionByScheduler: default-scheduler: preempting to accommodate a higher priority pod"),
    ),
    "evicted through the API, and exits with 0": (finished(ended(0, "10:04:31"), "Succeeded", deleted="10:04:30", conditions=[target("EvictionByEvictionAPI", "Eviction API: evicting")]), taken("EvictionByEvictionAPI: Eviction API: evicting")),
    "evicted, its memory being short as well": (finished(ended(137, reason="OOMKilled"), conditions=[target("TerminationByKubelet", LOW_MEMORY)], reason="Evicted", message=LOW_MEMORY), taken(f"TerminationByKubelet: {LOW_MEMORY.strip()}")),
    "its node was tainted": (finished(KILLED, deleted="10:04:30", conditions=[target("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint")]), taken("DeletionByTaintManager: Taint manager: deleting due to NoExecute taint")),
    "its node is no more": (Shown("Failed", conditions=[target("DeletionByPodGC", "PodGC: node no longer exists")]), taken("DeletionByPodGC: PodGC: node no longer exists")),
    "its node shuts down": (finished(KILLED, reason="Terminated", message="Pod was terminated in response to imminent node shutdown."), taken("Terminated: Pod was terminated in response to imminent node shutdown.")),
    "its node was lost": (Shown("Failed", reason="NodeLost", message="Node n1 which was running pod digits-00007-0 is unresponsive"), taken("NodeLost: Node n1 which was running pod digits-00007-0 is unresponsive")),
    "Kueue takes it back": (finished(ended(143), deleted="10:04:59", conditions=[condition("TerminationTarget", "True", "10:04:59", "Preempted", "to make room")]), taken("Preempted: to make room")),
    "the node has lost the container": (finished(ended(137, reason="ContainerStatusUnknown", message="The container could not be located when the pod was terminated")), taken("ContainerStatusUnknown: The container could not be located when the pod was terminated")),
    "the node has no room after all": (Shown("Failed", None, None, conditions=(), reason="OutOfcpu", message="Pod was rejected: Node didn't have enough resource: cpu"), taken("OutOfcpu: Pod was rejected: Node didn't have enough resource: cpu")),
    "the node takes nobody for want of memory": (Shown("Failed", None, None, conditions=(), reason="Evicted", message="Pod was rejected: The node had condition: [MemoryPressure]. "), taken("Evicted: Pod was rejected: The node had condition: [MemoryPressure].")),
    "failed, and nobody says why": (Shown("Failed", None, None, conditions=()), taken("the pod ended before its program began")),
    "deleted by hand, and exits with 0": (finished(ended(0, "10:05:02"), "Succeeded", deleted="10:05:00"), taken(BY_HAND)),
    "deleted by hand, and exits within the second": (finished(ended(143, "10:05:00"), deleted="10:05:00"), taken(BY_HAND)),
    "deleted by hand, the kubelet has let go": (finished(ended(143, "10:05:02"), deleted="10:05:04", grace=0), taken(BY_HAND)),
    "deleted when it had run out of memory": (finished(ended(137, reason="OOMKilled"), deleted="10:09:00", grace=0), over(Close.FAILED, "OOMKilled", "it used more memory than its limit (exit code 137)")),
    "deleted by hand, ignores SIGTERM": (finished(ended(137, "10:05:30"), deleted="10:05:00"), taken(BY_HAND)),
    "deleted before its program began": (Shown("Failed", waiting("ContainerCreating"), waiting("PodInitializing"), deleted="10:00:03"), taken("it was deleted before its program began")),
    "deleted while an init container ran": (finished(NOT_YET, inits=[("fetch", ended(143))], deleted="10:00:30"), taken("it was deleted before its program began")),
}  # fmt: skip


def attempt(**changes: Any) -> Attempt:
    return replace(Attempt(trial=7, number=0, started=0.0, uid="0b4c", accepted=1), **changes)


def verdict(pod: Json, **changes: Any) -> Verdict:
    seen = observed.see(pod)
    if seen.phase is PodPhase.RUNNING:
        return Verdict(seen.phase)
    closed = closing(attempt(**changes), seen, 0.0)
    return Verdict(seen.phase, closed.close, closed.reason, closed.message)


@pytest.mark.parametrize("kept", [lambda pod: pod, observed.trim], ids=["whole", "trimmed"])
@pytest.mark.parametrize(("shown", "expected"), CASES.values(), ids=CASES)
def test_the_verdict_on_a_pod(shown: Shown, expected: Verdict, kept: Callable[[Json], Json]) -> None:
    assert verdict(kept(shown.pod())) == expected


class TestTheEnd:
    """What of the container's state goes on."""

    def test_of_a_program_that_failed(self) -> None:
        assert observed.see(finished(ended(3, message=TRACEBACK)).pod()).end == End(3, tail=TRACEBACK)

    def test_a_signal_keeps_its_exit_code(self) -> None:
        assert observed.see(finished(ended(139)).pod()).end == End(139, signal=11)

    def test_out_of_memory_keeps_its_exit_code(self) -> None:
        assert observed.see(finished(ended(137, reason="OOMKilled")).pod()).end == End(137, signal=9, oom=True)

    def test_out_of_memory_on_the_way_out_is_not_ignoring_sigterm(self) -> None:
        shown = finished(ended(137, "10:05:02", reason="OOMKilled"), deleted="10:05:00")
        assert observed.see(shown.pod()).end == End(137, signal=9, terminated=True, oom=True)

    def test_of_a_container_that_the_node_has_lost_nobody_saw_it(self) -> None:
        assert observed.see(CASES["the node has lost the container"][0].pod()).end is None

    def test_it_is_there_while_the_sidecar_drains(self) -> None:
        assert observed.see(Shown(trial=ended(0)).pod()).end == End(0)

    def test_there_is_none_while_the_program_runs(self) -> None:
        assert observed.see(Shown(sidecar=ended(1)).pod()).end is None

    def test_it_is_the_trials_whatever_the_other_containers_are_called(self) -> None:
        assert observed.see(Shown(trial=running(), others=[("a-trial", ended(1))]).pod()).end is None

    def test_what_ignores_sigterm_and_is_ours_to_end_is_said(self) -> None:
        pod = finished(ended(137, "10:05:30"), deleted="10:05:00").pod()
        assert verdict(pod, intent=Intent.STOP) == over(Close.INTENDED, "", IGNORED_SIGTERM)

    def test_what_we_intended_comes_before_a_disruption(self) -> None:
        shown, _ = CASES["preempted"]
        assert verdict(shown.pod(), intent=Intent.STOP, reason="Asha") == over(Close.INTENDED, "Asha", IGNORED_SIGTERM)

    def test_exit_0_without_a_report_is_none(self) -> None:
        assert verdict(finished(ended(0), "Succeeded").pod(), accepted=0).reason == "NoReports"

    def test_a_pod_of_which_only_the_name_is_known_runs(self) -> None:
        assert observed.see({"metadata": {"uid": "0b4c"}}).phase is PodPhase.RUNNING


LIMITS: dict[str, tuple[Shown, tuple[str, str] | None]] = {
    "too much on disk": (finished(KILLED, reason="Evicted", message=EPHEMERAL), ("StorageLimit", EPHEMERAL.strip())),
    "too much on disk, and exits with 0": (finished(ended(0), reason="Evicted", message=EPHEMERAL), ("StorageLimit", EPHEMERAL.strip())),
    "too much on disk by an init container": (finished(NOT_YET, inits=[("fetch", KILLED)], reason="Evicted", message=EPHEMERAL), ("StorageLimit", EPHEMERAL.strip())),
    "longer than activeDeadlineSeconds": (finished(ended(143), reason="DeadlineExceeded", message="Pod was active on the node longer than the specified deadline"), ("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")),
    "evicted because the node is full": (finished(KILLED, reason="Evicted", message=LOW_MEMORY, conditions=[target("TerminationByKubelet", LOW_MEMORY)]), None),
    "evicted after its own end": (finished(ended(3, "10:04:00"), reason="Evicted", message=LOW_MEMORY, conditions=[target("TerminationByKubelet", LOW_MEMORY)]), None),
    "exit 3": (finished(ended(3)), None),
    "runs": (Shown(), None),
}  # fmt: skip


@pytest.mark.parametrize(("shown", "expected"), LIMITS.values(), ids=LIMITS)
def test_a_limit_of_the_pods_own_is_a_failure_and_no_disruption(shown: Shown, expected: tuple[str, str] | None) -> None:
    pod = observed.trim(shown.pod())
    assert observed.failure(pod) == expected
    if expected is not None:
        end = observed.see(pod).end
        assert end is not None
        assert (end.error, observed.see(pod).disrupted, verdict(pod).close) == (": ".join(expected), "", Close.FAILED)


CRASHED = {
    "terminated": {
        "exitCode": 1,
        "reason": "Error",
        "finishedAt": at("10:00:09"),
        "message": "loading\nno CA in KUBETUNE_CA_PEM\n",
    }
}
PULL = 'Back-off pulling image "nobody/nothing:1": ErrImagePull: not found'
PENDING = Shown("Pending", NOT_YET, conditions=[SCHEDULED])
TROUBLES: dict[str, tuple[Shown, observed.Trouble | None]] = {
    "no node fits": (CASES["waits for a node"][0], observed.Trouble("Unschedulable", NO_NODE, seconds("10:00:01"))),
    "held back by a gate": (
        Shown("Pending", None, None, conditions=[condition("PodScheduled", "False", "10:00:00", "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")]),
        observed.Trouble("SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates", seconds("10:00:00")),
    ),
    "the program's image is not to be had": (replace(PENDING, trial=waiting("ImagePullBackOff", PULL), conditions=[SCHEDULED, INITIALIZED]), observed.Trouble("ErrImagePull", f"container trial: {PULL}", seconds("10:00:19"))),
    "the first pull failed": (replace(PENDING, trial=waiting("ErrImagePull", "not found")), observed.Trouble("ErrImagePull", "container trial: not found", seconds("10:00:01"))),
    "the sidecar's image is not to be had": (replace(PENDING, sidecar=waiting("ImagePullBackOff", PULL)), observed.Trouble("ErrImagePull", f"container kubetune-sidecar: {PULL}", seconds("10:00:01"))),
    "no name for an image": (replace(PENDING, trial=waiting("InvalidImageName", "invalid reference format")), observed.Trouble("InvalidImageName", "container trial: invalid reference format", seconds("10:00:01"))),
    "no such Secret": (replace(PENDING, trial=waiting("CreateContainerConfigError", 'secret "db" not found')), observed.Trouble("CreateContainerConfigError", 'container trial: secret "db" not found', seconds("10:00:01"))),
    "an image that runs as root": (replace(PENDING, trial=waiting("CreateContainerConfigError", "container has runAsNonRoot and image will run as root")), observed.Trouble("CreateContainerConfigError", "container trial: container has runAsNonRoot and image will run as root", seconds("10:00:01"))),
    "an init container's image": (replace(PENDING, inits=[("fetch", waiting("ErrImagePull", "denied"))]), observed.Trouble("ErrImagePull", "container fetch: denied", seconds("10:00:01"))),
    "the sidecar crashes": (
        replace(PENDING, sidecar=waiting("CrashLoopBackOff", "back-off 10s restarting failed container"), crashed=CRASHED),
        observed.Trouble("CrashLoopBackOff", "container kubetune-sidecar: back-off 10s restarting failed container; exit code 1: no CA in KUBETUNE_CA_PEM", seconds("10:00:01")),
    ),
    "the sidecar has crashed and is tried again": (
        replace(PENDING, started=False, sidecar=running("10:01:04"), crashed=CRASHED),
        observed.Trouble("CrashLoopBackOff", "container kubetune-sidecar: exit code 1: no CA in KUBETUNE_CA_PEM", seconds("10:00:01")),
    ),
    "the sidecar has just crashed": (replace(PENDING, started=False, sidecar=CRASHED), observed.Trouble("CrashLoopBackOff", "container kubetune-sidecar: exit code 1: no CA in KUBETUNE_CA_PEM", seconds("10:00:01"))),
    "the sidecar was ended by its probe and is tried again": (replace(PENDING, started=False, sidecar=running("10:01:04"), crashed=ended(137)), None),
    "the sidecar crashes while the program runs": (Shown(sidecar=waiting("CrashLoopBackOff")), observed.Trouble("CrashLoopBackOff", "container kubetune-sidecar: CrashLoopBackOff", seconds("10:00:01"))),
    "a reason that nobody has heard of": (replace(PENDING, trial=waiting("VolumeOnFire")), observed.Trouble("VolumeOnFire", "container trial: VolumeOnFire", seconds("10:00:01"))),
    "no answer for a minute": (replace(PENDING, started=False), observed.Trouble("ReporterUnreachable", "kubetune-sidecar has had no answer from the operator for 60 s", seconds("10:00:05"))),
    "no answer for 59 s": (replace(PENDING, started=False, sidecar=running("10:00:06")), None),
    "not looked at yet": (CASES["just created"][0], None),
    "its images come": (CASES["its images come"][0], None),
    "another container crashes while the program runs": (Shown(inits=[("proxy", waiting("CrashLoopBackOff"))]), None),
    "runs": (Shown(), None),
    "the sidecar has crashed, but the program has ended": (Shown(trial=ended(0), sidecar=waiting("CrashLoopBackOff")), None),
    "on its way out": (replace(PENDING, trial=waiting("ImagePullBackOff", PULL), deleted="10:01:00"), None),
    "over": (finished(ended(3)), None),
}  # fmt: skip


BEGINNINGS: dict[str, tuple[Shown, float | None, str]] = {
    "no node fits": (CASES["waits for a node"][0], None, f"Unschedulable: {NO_NODE}"),
    "not looked at yet": (CASES["just created"][0], None, "no node has taken it yet"),
    "an image that is not to be had": (replace(PENDING, trial=waiting("ErrImagePull", "denied")), None, "ErrImagePull: container trial: denied"),
    "an image that comes": (replace(PENDING, trial=waiting("ContainerCreating")), None, "container trial: ContainerCreating"),
    "an init container's turn": (replace(PENDING, inits=[("fetch", running("10:00:09"))]), None, "container fetch is running"),
    "it runs": (Shown(), seconds("10:00:20"), ""),
    "it has ended": (finished(ended(3)), seconds("10:00:20"), ""),
}  # fmt: skip


@pytest.mark.parametrize(("shown", "begun", "waits_for"), BEGINNINGS.values(), ids=BEGINNINGS)
def test_whether_its_program_has_begun_and_what_it_waits_for(shown: Shown, begun: float | None, waits_for: str) -> None:
    pod = observed.trim(shown.pod())
    assert observed.see(pod).begun == begun
    if begun is None:
        assert observed.waits_for(pod, observed.trouble(pod, seconds("10:01:05"))) == waits_for


@pytest.mark.parametrize(("shown", "expected"), TROUBLES.values(), ids=TROUBLES)
def test_what_keeps_a_pod_from_beginning(shown: Shown, expected: observed.Trouble | None) -> None:
    assert observed.trouble(observed.trim(shown.pod()), seconds("10:01:05")) == expected


DUE: dict[str, tuple[Shown, str | None]] = {
    "runs": (Shown(), None),
    "over": (finished(ended(0), deleted="10:05:00"), None),
    "deleted: its grace, and a minute": (Shown(deleted="10:04:00", grace=30), "10:05:30"),
    "the program has ended: what a drain takes": (Shown(trial=ended(0, "10:05:00")), "10:05:15"),
    "both: the earlier": (Shown(trial=ended(0, "10:05:00"), deleted="10:04:59"), "10:05:15"),
}


@pytest.mark.parametrize(("shown", "clock"), DUE.values(), ids=DUE)
def test_a_pod_that_stays_running_holds_its_slot_no_longer_than(shown: Shown, clock: str | None) -> None:
    pod = observed.trim(shown.pod())
    until = None if clock is None else seconds(clock)
    assert observed.due(pod, 60.0) == until
    assert [observed.overdue(pod, (until or 0.0) + later, 60.0) for later in (-0.1, 0.0)] == [False, until is not None]


class TestTrim:
    """What is kept of a pod."""

    def test_all_of_it(self) -> None:
        pod = Shown(trial=waiting("ErrImagePull", "no"), deleted="10:00:30", crashed=CRASHED, conditions=[SCHEDULED]).pod()
        pod["metadata"]["annotations"]["kubetune.dev/parameters"] = "x" * 100_000
        assert observed.trim(pod) == {
            "metadata": {
                "name": "digits-00007-0",
                "namespace": "lab",
                "uid": "0b4c",
                "resourceVersion": "991",
                "creationTimestamp": at("10:00:00"),
                "deletionTimestamp": at("10:01:00"),
                "deletionGracePeriodSeconds": 30,
                "labels": {"kubetune.dev/trial": "7", "kubetune.dev/attempt": "0"},
                "annotations": {"kubectl.kubernetes.io/default-container": "trial"},
                "ownerReferences": [{"uid": "e1", "controller": True}],
            },
            "status": {
                "phase": "Running",
                "conditions": [
                    {"type": "PodScheduled", "status": "True", "lastTransitionTime": at("10:00:01"), "reason": "", "message": ""}
                ],
                "initContainerStatuses": [
                    {"name": "kubetune-sidecar", "started": True, "state": running("10:00:05"), "lastState": CRASHED}
                ],
                "containerStatuses": [{"name": "trial", "started": True, "state": waiting("ErrImagePull", "no")}],
            },
        }

    def test_when_its_deletion_was_asked_for_is_kept_though_the_kubelet_writes_over_it(self) -> None:
        """Three events of a real deletion: asked for, ended in time, let go."""
        asked = observed.trim(Shown(deleted="10:05:00").pod())
        last = finished(ended(0, "10:05:02"), "Succeeded", deleted="10:05:04", grace=0).pod()
        assert verdict(observed.trim(last)) == over(Close.SUCCEEDED, "Completed")
        kept = observed.trim(last, asked)
        assert verdict(kept) == taken(BY_HAND)
        assert verdict(observed.trim(last, kept)) == taken(BY_HAND)

    def test_nothing_is_kept_of_an_earlier_pod_of_the_name(self) -> None:
        earlier = Shown(deleted="10:05:00").pod()
        earlier["metadata"]["uid"] = "another"
        assert observed.trim(Shown().pod(), earlier) == observed.trim(Shown().pod())

    def test_a_long_last_word_keeps_its_end(self) -> None:
        end = observed.see(observed.trim(finished(ended(1, message="x" * 9000 + "the cause")).pod())).end
        assert end is not None
        assert (len(end.tail), end.tail[-9:]) == (4096, "the cause")

    def test_a_long_message_keeps_its_beginning(self) -> None:
        held = condition("PodScheduled", "False", "10:00:01", "Unschedulable", "0/5000 nodes" + "x" * 9000)
        trouble = observed.trouble(observed.trim(Shown("Pending", None, None, conditions=[held]).pod()), 0.0)
        assert trouble is not None
        assert (len(trouble.message), trouble.message[:12]) == (1024, "0/5000 nodes")

    @pytest.mark.parametrize("shown", [shown for shown, _ in CASES.values()], ids=CASES)
    def test_twice_is_once_and_nothing_is_changed(self, shown: Shown) -> None:
        pod = shown.pod()
        before = copy.deepcopy(pod)
        once = observed.trim(pod)
        assert (observed.trim(once), pod) == (once, before)
        assert len(json.dumps(once)) < 2048


@pytest.mark.parametrize(
    ("uid", "version", "older"),
    [
        pytest.param("a", "99", True, id="before"),
        pytest.param("a", "100", False, id="the same"),
        pytest.param("a", "101", False, id="after"),
        pytest.param("b", "99", False, id="another pod"),
        pytest.param("a", "", False, id="no version"),
        pytest.param("a", "x9", False, id="no number"),
    ],
)
def test_an_older_sight_of_a_pod_is_told_by_its_version(uid: str, version: str, *, older: bool) -> None:
    known = {"metadata": {"uid": "a", "resourceVersion": "100"}}
    assert observed.older({"metadata": {"uid": uid, "resourceVersion": version}}, known) is older
