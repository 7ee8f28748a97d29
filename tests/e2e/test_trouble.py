"""What goes wrong in a cluster: each has a named reason in the status and an Event, and nothing hangs."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.experiments import PROGRAM, body, finished, gone, pods, steady, told, write
from tests.e2e.followed import watched
from tests.e2e.kubectl import Kubectl, Manifest, Refused
from tests.e2e.product import Figures, Operator, condition

QUOTA_LOOKED_ON = 20  # seconds for which an experiment that waits for a quota is looked on

LOOKED_ON = 5  # seconds for which no pod may be made


def test_what_is_not_mutable_stays(operator: Operator, kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("apply", "--filename", str(write(tmp_path, "fixed", PROGRAM)))
    with pytest.raises(Refused, match=r"(?i)immutable|changed"):
        kubectl("patch", "tune", "fixed", "--type=merge", "--patch", '{"spec": {"objective": {"metric": "loss"}}}')


def test_a_program_that_takes_more_memory_than_its_limit(operator: Operator, kubectl: Kubectl) -> None:
    wanted = body("hungry", PROGRAM + "x = [bytearray(2**20) for _ in range(2000)]\n", numSamples=2)
    container = wanted["spec"]["trial"]["template"]["spec"]["containers"][0]
    container["resources"] = {"limits": {"memory": "96Mi"}}
    wanted["spec"]["trial"]["retainPods"] = "Failed"
    kubectl.apply(wanted)
    found = finished(kubectl, "hungry", seconds=120)
    assert found["status"]["state"] == "OOMKilled", found["status"]
    events = kubectl("events", "--for", "tuneexperiment/hungry")
    assert "trial 0: OOMKilled: " in events
    assert "OOMKilled: the first 2 trials all failed alike: " in events
    said = operator.read(f"{kubectl.namespace}/hungry/hungry-00000/error.txt").decode()
    assert "OOMKilled" in said
    assert "exit code 137" in said
    (status,) = kubectl.get("pod", "hungry-00000-0")["status"]["containerStatuses"]
    assert status["state"]["terminated"]["exitCode"] == 137


def test_an_image_that_does_not_exist(operator: Operator, kubectl: Kubectl) -> None:
    wanted = body("nothing", PROGRAM, numSamples=20, maxConcurrentTrials=2)
    wanted["spec"]["trial"]["template"]["spec"]["containers"][0]["image"] = "kubetune.invalid/nobody/nothing:1"
    kubectl.apply(wanted)
    found = finished(kubectl, "nothing", seconds=180)
    assert found["status"]["state"] == "ErrImagePull", found["status"]
    assert condition(found, "Succeeded") == "False"
    assert "ErrImagePull" in kubectl("events", "--for", "tuneexperiment/nothing")
    assert "kubetune.invalid" in operator.read(f"{kubectl.namespace}/nothing/nothing-00000/error.txt").decode()
    assert len(operator.rows(f"{kubectl.namespace}/nothing/nothing-00000/result.json")) == 0
    assert found["status"]["trials"]["failed"] <= 3, "the first two fail alike, and what was begun meanwhile"


def test_a_misspelt_metric_costs_three_attempts(operator: Operator, kubectl: Kubectl) -> None:
    program = "import random, time, kubetune\nfor i in range(3):\n    kubetune.report(acc=i)\n    time.sleep(random.random())\n"
    with watched(kubectl, "misspelt") as made:
        kubectl.apply(body("misspelt", program, numSamples=20, maxConcurrentTrials=3))
        found = finished(kubectl, "misspelt", seconds=120)
        time.sleep(LOOKED_ON)
    assert {pod: len(uids) for pod, uids in made.uids.items()} == {f"misspelt-{number:05d}-0": 1 for number in range(3)}
    assert condition(found, "Stalled") == "True"
    assert found["status"]["state"] == "MetricMissing"
    (stalled,) = (one for one in found["status"]["conditions"] if one["type"] == "Stalled")
    assert stalled["reason"] == "MetricMissing"
    assert "did you mean acc?" in stalled["message"]
    assert "did you mean acc?" in kubectl("events", "--for", "tuneexperiment/misspelt")
    assert sum(found["status"]["trials"].get(kind, 0) for kind in ("succeeded", "stopped", "failed", "cancelled")) == 3


def test_a_full_quota_is_waited_for_and_said_once(operator: Operator, kubectl: Kubectl, figures: Figures) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    kubectl.apply(quota)
    kubectl.until("resourcequota", "none", lambda one: "hard" in (one.get("status") or {}))
    kubectl.apply(body("patient", PROGRAM, numSamples=2))
    found = kubectl.until("tune", "patient", lambda one: (one.get("status") or {}).get("state") == "QuotaExceeded")
    time.sleep(QUOTA_LOOKED_ON)
    found = kubectl.get("tune", "patient")
    (finished_not,) = (one for one in found["status"]["conditions"] if one["type"] == "Finished")
    assert (finished_not["status"], finished_not["reason"]) == ("False", "QuotaExceeded")
    assert "2 pods cannot begin: QuotaExceeded: " in finished_not["message"]
    assert "exceeded quota: none, requested: pods=1" in finished_not["message"]
    assert condition(found, "Stalled") == "False"
    trials = found["status"]["trials"]
    assert (trials["started"], trials["running"], trials["waiting"]) == (2, 0, 2)
    assert not pods(kubectl, "patient")
    events = kubectl.get("events.events.k8s.io")["items"]
    told = [one["reason"] for one in events if one["regarding"]["name"] == "patient" and one["type"] == "Warning"]
    assert told == ["QuotaExceeded"], "once, however often it is tried"
    kubectl("delete", "resourcequota", "none")
    freed = time.monotonic()
    kubectl.until("tune", "patient", lambda one: one["status"]["state"] != "QuotaExceeded", seconds=15)
    figures.say("quota freed to its pods created, seconds", time.monotonic() - freed, 10)
    assert finished(kubectl, "patient", seconds=120)["status"]["state"] == "Completed"


def test_an_operator_with_an_empty_volume_touches_nothing(operator: Operator, kubectl: Kubectl, tmp_path: Path) -> None:
    """What has finished stays as it was; what runs waits, and goes on with all its reports when the volume is back."""
    kubectl("apply", "--filename", str(write(tmp_path, "before", PROGRAM)))
    before = finished(kubectl, "before", seconds=120)
    gone(kubectl, "before", seconds=30)
    with watched(kubectl, "during") as made, watched(kubectl, "before") as others:
        kubectl.apply(body("during", steady(60, 1), numSamples=2, scheduler={}))
        kubectl.until("tune", "during", lambda one: bool((one.get("status") or {}).get("bestTrial")), seconds=90)
        running = pods(kubectl, "during")
        with _empty_volume(operator):
            found = kubectl.until("tune", "during", lambda one: condition(one, "Stalled") == "True", seconds=60)
            (stalled,) = (one for one in found["status"]["conditions"] if one["type"] == "Stalled")
            assert stalled["reason"] == "JournalMissing"
            assert condition(found, "Finished") == "False"
            _are_told_to_wait(operator)
            assert {name: pod["metadata"]["uid"] for name, pod in pods(kubectl, "during").items()} == {
                name: pod["metadata"]["uid"] for name, pod in running.items()
            }, "no pod was made or deleted"
            found = kubectl.until("tune", "before", lambda one: condition(one, "Stalled") == "True", seconds=10)
            assert _end(found) == _end(before), "it has ended, and what it found is known"
        found = finished(kubectl, "during", seconds=240)
    assert ("Warning", "JournalMissing") in told(kubectl("events", "--for", "tuneexperiment/during"))
    assert found["status"]["state"] == "Completed"
    assert (found["status"]["trials"]["succeeded"], found["status"]["trials"]["failed"]) == (2, 0)
    assert {name: len(uids) for name, uids in made.uids.items()} == {f"during-{number:05d}-0": 1 for number in range(2)}
    reports = operator.reports(f"{kubectl.namespace}/during")
    assert {trial: [(row["i"], row["attempt"]) for row in rows] for trial, rows in reports.items()} == {
        f"during-{number:05d}": [(i, 0) for i in range(60)] for number in range(2)
    }, "what was reported meanwhile was kept for the volume that has come back"
    assert _end(kubectl.get("tune", "before")) == _end(before)
    kubectl.until("tune", "before", lambda one: condition(one, "Stalled") == "False", seconds=40)
    assert not others.uids, "a finished experiment needs no pod"


def _end(experiment: Manifest) -> dict[str, Any]:
    """Give what a status says of how an experiment has ended: all but whether its journal is there."""
    status: dict[str, Any] = experiment["status"]
    return status | {"conditions": [one for one in status["conditions"] if one["type"] != "Stalled"]}


def _are_told_to_wait(operator: Operator) -> None:
    """Wait until those whose reports cannot be kept have come and were answered 503: anything else would be final."""
    until = time.monotonic() + 45
    while "answered 503" not in operator.log():
        assert time.monotonic() < until, operator.log()
        time.sleep(1)
    time.sleep(LOOKED_ON)  # in which they come again


@contextmanager
def _empty_volume(operator: Operator) -> Iterator[None]:
    """Start the operator with a volume that has nothing on it; bring its own one back at the end."""
    aside = """
        import pathlib
        root = pathlib.Path("/var/lib/kubetune")
        for path in (root / "results", root / "volume-id"):
            path.rename(path.with_name(path.name + ".aside"))
    """
    back = """
        import pathlib, shutil
        root = pathlib.Path("/var/lib/kubetune")
        shutil.rmtree(root / "results")
        (root / "volume-id").unlink()
        for path in (root / "results.aside", root / "volume-id.aside"):
            path.rename(path.with_name(path.name.removesuffix(".aside")))
    """
    operator.run(textwrap.dedent(aside))
    operator.restart()
    try:
        yield
    finally:
        operator.run(textwrap.dedent(back))
        operator.restart()
