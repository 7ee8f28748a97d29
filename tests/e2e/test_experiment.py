"""TuneExperiments in a real Kubernetes, from `kubectl apply` to the best trial, as a user sees them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e import digits
from tests.e2e.experiments import PROGRAM, body, finished, gone, pods, write
from tests.e2e.followed import Followed
from tests.e2e.kubectl import Kubectl, Refused
from tests.e2e.product import Figures, Operator, condition


def test_the_digits_example_finds_a_good_classifier(operator: Operator, kubectl: Kubectl, figures: Figures) -> None:
    """The very file of the demo: 20 trials, 4 at once, the weak ones stopped by deleting their pods."""
    kubectl("apply", "--filename", str(digits.FILE))
    bests, running, followed = set(), set(), Followed(kubectl, "digits")
    until = time.monotonic() + 600
    while True:
        followed.look()
        found = kubectl.get("tuneexperiment", "digits")
        status = found.get("status") or {}
        bests.add((status.get("bestTrial") or {}).get("value"))
        running.add((status.get("trials") or {}).get("running"))
        if condition(found, "Finished") == "True":
            break
        assert time.monotonic() < until, f"{json.dumps(status, indent=1)}\n{operator.log()}"
        time.sleep(0.5)
    row = kubectl("get", "tuneexperiments", "digits").splitlines()[-1].split()
    assert row[1] == "Completed", row
    assert row[2] == "20/20", row
    assert len(bests) > 2, f"the best value moves while it runs, seen: {bests}"
    assert max(count for count in running if count is not None) > 1
    assert float(status["bestTrial"]["value"]) > 0.95
    assert status["trials"]["stopped"] > 5
    lines = followed.said()
    folder = f"{kubectl.namespace}/digits"
    reports = operator.reports(folder)
    digits.each_report_once(lines, reports)
    for pod, said in lines.items():
        copies = (operator.read(f"{folder}/{pod.removesuffix('-0')}/{stream}").decode() for stream in ("stdout", "stderr"))
        digits.each_line_once(said, *(copy.splitlines() for copy in copies))
    _stopped_pods_go(reports, followed.last_seen, figures)
    figures.say("peak memory of the operator after 20 trials, MiB", operator.memory()[1], 128)


def _stopped_pods_go(reports: Mapping[str, digits.Rows], last_seen: Mapping[str, float], figures: Figures) -> None:
    """Hold the pods that ASHA condemned to being gone soon after the report that condemned them."""
    late = []
    for pod, seen in last_seen.items():
        rows = reports[pod.removesuffix("-0")]
        if rows[-1]["reason"] == "Asha":
            condemned = max((row for row in rows if not row.get("after_stop")), key=lambda row: row["timestamp"])
            late.append(seen - condemned["timestamp"])
    figures.say("condemned report to pod gone, the longest, seconds", max(late), 5)
    assert max(late) < 10


def test_applying_again_changes_nothing(operator: Operator, kubectl: Kubectl, tmp_path: Path) -> None:
    quick = write(tmp_path, "again", PROGRAM)
    kubectl("apply", "--filename", str(quick))
    before = finished(kubectl, "again", seconds=120)
    assert "unchanged" in kubectl("apply", "--filename", str(quick))
    time.sleep(2)
    after = kubectl.get("tuneexperiment", "again")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_what_kubectl_users_expect_works(operator: Operator, kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl("apply", "--filename", str(write(tmp_path, "habits", PROGRAM, numSamples=3)))
    assert "condition met" in kubectl("wait", "--for=condition=Finished", "--timeout=120s", "tune/habits", seconds=130)
    assert "The metric" in kubectl("explain", "tune.spec.objective") or "metric" in kubectl("explain", "tune.spec.objective")
    described = kubectl("describe", "tune", "habits")
    assert "ExperimentFinished" in described
    assert "ExperimentStarted" in kubectl("events", "--for", "tuneexperiment/habits")
    kubectl("scale", "tune/habits", "--replicas=2")
    assert kubectl.get("tune", "habits")["spec"]["maxConcurrentTrials"] == 2
    with pytest.raises(Refused, match="numSamples"):
        kubectl("patch", "tune", "habits", "--type=merge", "--patch", '{"spec": {"numSamples": 1}}')
    kubectl("patch", "tune", "habits", "--type=merge", "--patch", '{"spec": {"numSamples": 5}}')
    found = kubectl.until(
        "tune", "habits", lambda one: one["status"]["progress"] == "5/5" and condition(one, "Finished") == "True", seconds=120
    )
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]


def test_a_deleted_experiment_loses_its_pods_and_keeps_its_results(
    operator: Operator, kubectl: Kubectl, figures: Figures, tmp_path: Path
) -> None:
    slow = write(tmp_path, "gone", PROGRAM + "import time; time.sleep(600)\n", numSamples=2)
    kubectl("apply", "--filename", str(slow))
    kubectl.until("tune", "gone", lambda one: bool((one.get("status") or {}).get("bestTrial")), seconds=90)
    first = kubectl.get("tune", "gone")["metadata"]["uid"][:8]
    kubectl("delete", "tune", "gone", "--wait=false")
    figures.say("deleted experiment to pods gone, seconds", gone(kubectl, "gone", seconds=20), 10)
    quick = write(tmp_path, "gone", PROGRAM, numSamples=3)
    kubectl("apply", "--filename", str(quick))
    second = finished(kubectl, "gone", seconds=120)["metadata"]["uid"][:8]
    assert first != second
    old = operator.rows(f"{kubectl.namespace}/gone.{first}/gone-00000/result.json")
    new = operator.rows(f"{kubectl.namespace}/gone/gone-00000/result.json")
    assert [row["accuracy"] for row in old] == [row["accuracy"] for row in new][: len(old)] != []
    assert len(new) == 3


def test_each_report_and_each_line_of_output_is_there_exactly_once(operator: Operator, kubectl: Kubectl, tmp_path: Path) -> None:
    chatty = "import sys, kubetune\nfor i in range(200):\n    print('out', i); print('err', i, file=sys.stderr)\n    kubetune.report(accuracy=i / 200, i=i)\n"
    kubectl("apply", "--filename", str(write(tmp_path, "chatty", chatty, numSamples=2, scheduler={})))
    finished(kubectl, "chatty", seconds=120)
    for number in range(2):
        folder = f"{kubectl.namespace}/chatty/chatty-{number:05d}"
        assert [row["i"] for row in operator.rows(f"{folder}/result.json")] == list(range(200))
        assert operator.read(f"{folder}/stdout").decode().split("\n")[:-1] == [f"out {i}" for i in range(200)]
        assert operator.read(f"{folder}/stderr").decode().split("\n")[:-1] == [f"err {i}" for i in range(200)]


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        pytest.param("import sys; print('why', file=sys.stderr); sys.exit(3)", "ExitCode", id="exits-3"),
        pytest.param("print('no reports')", "NoReports", id="reports-nothing"),
        pytest.param(None, "NotStarted", id="does-not-exist"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "Killed", id="is-killed"),
    ],
)
def test_a_bad_program_is_named(operator: Operator, kubectl: Kubectl, program: str | None, reason: str) -> None:
    wanted = body("bad", program or "", numSamples=2)
    if program is None:
        wanted["spec"]["trial"]["template"]["spec"]["containers"][0]["command"] = ["trian.py"]
    kubectl.apply(wanted)
    found = finished(kubectl, "bad", seconds=120)
    assert condition(found, "Succeeded") == "False"
    assert found["status"]["state"] == reason, operator.log()
    assert reason in operator.read(f"{kubectl.namespace}/bad/bad-00000/error.txt").decode()
    events = kubectl("events", "--for", "tuneexperiment/bad")
    assert f"trial 0: {reason}" in events
    assert f"{reason}: the first 2 trials all failed alike" in events


def test_a_template_that_the_api_server_refuses_ends_the_experiment_without_a_pod(
    operator: Operator, kubectl: Kubectl, tmp_path: Path
) -> None:
    path = write(tmp_path, "refused", PROGRAM)
    wanted = json.loads(path.read_text())
    wanted["spec"]["trial"]["template"]["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}
    path.write_text(json.dumps(wanted))
    kubectl("apply", "--filename", str(path))
    found = finished(kubectl, "refused", seconds=60)
    assert found["status"]["state"] == "TemplateRejected", found["status"]
    assert "TemplateRejected" in kubectl("events", "--for", "tuneexperiment/refused")
    assert not pods(kubectl, "refused")


def test_a_wrong_parameter_name_in_the_template_is_an_invalid_spec(operator: Operator, kubectl: Kubectl, tmp_path: Path) -> None:
    path = write(tmp_path, "invalid", PROGRAM)
    wanted = json.loads(path.read_text())
    wanted["spec"]["trial"]["template"]["spec"]["containers"][0]["args"] = ["${params.y}"]
    path.write_text(json.dumps(wanted))
    kubectl("apply", "--filename", str(path))
    found = finished(kubectl, "invalid", seconds=60)
    assert condition(found, "Stalled") == "True"
    assert found["status"]["state"] == "InvalidSpec"
    assert "${params.x}" in json.dumps(found["status"]["conditions"])
    assert "InvalidSpec" in kubectl("events", "--for", "tuneexperiment/invalid")
