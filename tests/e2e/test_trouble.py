"""What goes wrong in a cluster: each has a named reason in the status and an Event, and nothing hangs."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.e2e.experiments import PROGRAM, body, finished, pods, write
from tests.e2e.followed import watched
from tests.e2e.kubectl import Kubectl, Refused
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
    assert "ExperimentFinished" in kubectl("events", "--for", "tuneexperiment/hungry")
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
    kubectl("apply", "--filename", str(write(tmp_path, "before", PROGRAM)))
    finished(kubectl, "before", seconds=120)
    kubectl.apply(body("during", PROGRAM + "import time; time.sleep(300)\n", numSamples=2, scheduler={}))
    kubectl.until("tune", "during", lambda one: bool((one.get("status") or {}).get("bestTrial")), seconds=90)
    running = set(pods(kubectl, "during"))
    aside = "import pathlib,sys; r=pathlib.Path('/var/lib/kubetune'); [p.rename(p.with_name(p.name + '.aside')) for p in (r/'results', r/'volume-id')]"
    back = (
        "import pathlib,shutil; r=pathlib.Path('/var/lib/kubetune'); shutil.rmtree(r/'results'); (r/'volume-id').unlink(); "
        "[p.rename(p.with_name(p.name.removesuffix('.aside'))) for p in (r/'results.aside', r/'volume-id.aside')]"
    )
    operator.run(aside)
    operator.restart()
    try:
        found = kubectl.until("tune", "during", lambda one: condition(one, "Stalled") == "True", seconds=60)
        assert "JournalMissing" in json.dumps(found["status"]["conditions"])
        assert set(pods(kubectl, "during")) == running, "no pod was made or deleted"
    finally:
        operator.run(back)
        operator.restart()
    kubectl.until("tune", "during", lambda one: condition(one, "Stalled") == "False", seconds=60)
    kubectl("delete", "tune", "during", "--wait=false")
