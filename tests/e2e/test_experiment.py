"""TuneExperiments in a real Kubernetes, from `kubectl apply` to the best trial, as a user sees them."""

from __future__ import annotations

import csv
import io
import json
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.e2e import digits
from tests.e2e.experiments import PROGRAM, body, finished, gone, pods, steady, told, write
from tests.e2e.followed import Followed, watched
from tests.e2e.kubectl import Kubectl, Manifest, Refused
from tests.e2e.product import Figures, Operator, condition


def test_the_digits_example_finds_a_good_classifier(operator: Operator, kubectl: Kubectl, figures: Figures) -> None:
    """The very file of the demo: 20 trials, 4 at once, the weak ones stopped by deleting their pods."""
    bests, running, followed, applied = set(), set(), Followed(kubectl, "digits"), False
    until = time.monotonic() + 600
    with watched(kubectl, "digits") as made:
        kubectl("apply", "--filename", str(digits.FILE))
        while True:
            followed.look()
            found = kubectl.get("tuneexperiment", "digits")
            status = found.get("status") or {}
            bests.add((status.get("bestTrial") or {}).get("value"))
            running.add((status.get("trials") or {}).get("running"))
            if condition(found, "Finished") == "True":
                break
            if not applied and len(followed.last_seen) >= digits.TRIALS // 2:
                _applied_again(kubectl, found)
                applied = True
            assert time.monotonic() < until, f"{json.dumps(status, indent=1)}\n{operator.log()}"
            time.sleep(0.5)
    assert applied, "it was to be applied again while it runs"
    assert {pod: len(uids) for pod, uids in made.uids.items()} == {f"digits-{n:05d}-0": 1 for n in range(digits.TRIALS)}
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


def _applied_again(kubectl: Kubectl, before: Manifest) -> None:
    """Apply the very same file while it runs, which changes nothing of what the user has asked for.

    kubectl says "configured": it compares lists as a whole, and in them the API server has filled in defaults.
    """
    kubectl("apply", "--filename", str(digits.FILE))
    after = kubectl.get("tuneexperiment", "digits")
    for part in ("uid", "generation", "annotations"):
        assert after["metadata"][part] == before["metadata"][part]
    assert after["spec"] == before["spec"]


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


GROWING = """
import time, kubetune
if kubetune.params()["layers"] == 1:
    kubetune.report(accuracy=0.5, loss=1.5)
else:
    kubetune.report(accuracy=0.75)
time.sleep(3)
"""


def test_of_the_best_trial_nothing_is_an_earlier_ones(operator: Operator, kubectl: Kubectl) -> None:
    """The API server merges what it is sent: what only the first one had must go."""
    grid = [
        {"name": "layers", "gridSearch": [1, 2]},
        {"name": "dropout", "uniform": {"low": 0.1, "high": 0.5}, "when": "params.layers == 1"},
    ]
    kubectl.apply(body("growing", GROWING, parameters=grid, numSamples=1, maxConcurrentTrials=1, scheduler={}))
    kubectl.until("tune", "growing", lambda one: "loss" in str((one.get("status") or {}).get("bestTrial")), seconds=90)
    best = finished(kubectl, "growing", seconds=90)["status"]["bestTrial"]
    assert (best["name"], best["value"], best["params"]) == ("growing-00001", "0.75", {"layers": 2})
    assert "loss" not in best["metrics"]
    kubectl("patch", "tune", "growing", "--type=merge", "--patch", '{"spec": {"numSamples": 2}}')
    found = kubectl.until("tune", "growing", lambda one: condition(one, "Finished") == "False")
    assert "finishTime" not in found["status"], "it goes on"
    finished(kubectl, "growing", seconds=90)


def test_what_kubectl_users_expect_works(operator: Operator, kubectl: Kubectl) -> None:
    kubectl.apply(body("habits", steady(4, 1), numSamples=4, maxConcurrentTrials=1, scheduler={}))
    kubectl.until("tune", "habits", lambda one: _running(one) == 1)
    kubectl("scale", "tune/habits", "--replicas=3")
    at_work = kubectl.until("tune", "habits", lambda one: _running(one) == 3)
    assert at_work["spec"]["maxConcurrentTrials"] == 3
    kubectl("scale", "tune/habits", "--replicas=2", "--current-replicas=3")
    assert "condition met" in kubectl("wait", "--for=condition=Finished", "--timeout=120s", "tune/habits", seconds=130)
    found = kubectl.get("tune", "habits")
    assert (found["status"]["trials"]["succeeded"], found["status"]["trials"]["failed"]) == (4, 0), "no trial was ended by it"
    explained = " ".join(kubectl("explain", "tune.spec.objective").split())
    assert "which way it is better" in explained
    assert "enum: Maximize, Minimize" in explained
    expected = {("Normal", "ExperimentStarted"), ("Normal", "ExperimentFinished")}
    assert told(kubectl("events", "--for", "tuneexperiment/habits")) == expected
    status, _, events = kubectl("describe", "tune", "habits").partition("\nEvents:")
    assert f"Value: {found['status']['bestTrial']['value']}" in " ".join(status.split())
    assert told(events) == expected
    with pytest.raises(Refused, match="numSamples"):
        kubectl("patch", "tune", "habits", "--type=merge", "--patch", '{"spec": {"numSamples": 1}}')
    kubectl("patch", "tune", "habits", "--type=merge", "--patch", '{"spec": {"numSamples": 5}}')
    found = kubectl.until(
        "tune", "habits", lambda one: one["status"]["progress"] == "5/5" and condition(one, "Finished") == "True", seconds=120
    )
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]


def _running(found: Manifest) -> int:
    running: int = ((found.get("status") or {}).get("trials") or {}).get("running", 0)
    return running


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_a_deleted_experiment_loses_its_pods_and_keeps_its_results(
    operator: Operator, kubectl: Kubectl, figures: Figures, tmp_path: Path, cascade: str
) -> None:
    slow = write(tmp_path, "gone", PROGRAM + "import time; time.sleep(600)\n", numSamples=2)
    kubectl("apply", "--filename", str(slow))
    found = kubectl.until("tune", "gone", lambda one: bool((one.get("status") or {}).get("bestTrial")), seconds=90)
    folder = f"{kubectl.namespace}/gone.{found['metadata']['uid'][:8]}"
    before = operator.reports(folder)
    kubectl("delete", "tune", "gone", "--wait=false", f"--cascade={cascade}")
    figures.say(f"experiment deleted in the {cascade} to pods gone, seconds", gone(kubectl, "gone", seconds=10), 10)
    after = operator.reports(folder)
    assert before
    assert {trial: after[trial][: len(rows)] for trial, rows in before.items()} == before
    assert operator.read(f"{folder}/trials.csv")


LINGERING = """
import signal, time, kubetune
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for i in range(1000):
    print("first", i)
    try:
        kubetune.report(accuracy=1.0, who="first", i=i)
    except SystemExit:
        pass
    time.sleep(0.2)
"""
SECOND = """
import time, kubetune
for i in range(5):
    print("second", i)
    kubetune.report(accuracy=0.1 * i, who="second", i=i)
    time.sleep(0.3)
"""


def test_applied_again_at_once_under_the_same_name_it_is_another_one(operator: Operator, kubectl: Kubectl) -> None:
    """The pods of the first are still there, report and print, and have the names that the second needs."""
    first = body("again", LINGERING, numSamples=2, scheduler={})
    first["spec"]["trial"]["template"]["spec"]["terminationGracePeriodSeconds"] = 12
    with watched(kubectl, "again") as made:
        kubectl.apply(first)
        found = kubectl.until("tune", "again", lambda one: bool((one.get("status") or {}).get("bestTrial")), seconds=90)
        old = f"{kubectl.namespace}/again.{found['metadata']['uid'][:8]}"
        before = operator.reports(old)
        kubectl("delete", "tune", "again")
        kubectl.apply(body("again", SECOND, numSamples=3, scheduler={}))
        new = kubectl.get("tune", "again")["metadata"]["uid"]
        owners = {one["metadata"]["ownerReferences"][0]["uid"] for one in pods(kubectl, "again").values()}
        assert found["metadata"]["uid"] in owners, "it was not applied at once: the first one's pods are gone"
        second = finished(kubectl, "again", seconds=150)
    assert second["metadata"]["uid"] == new
    assert second["status"]["state"] == "Completed"
    trials = second["status"]["trials"]
    assert (trials["succeeded"], trials["failed"], trials["total"]) == (3, 0, 3)
    assert float(second["status"]["bestTrial"]["value"]) == pytest.approx(0.4)
    assert {pod: len(uids) for pod, uids in made.uids.items()} == {"again-00000-0": 2, "again-00001-0": 2, "again-00002-0": 1}
    assert ("Warning", "PodNameTaken") in told(kubectl("events", "--for", "tuneexperiment/again"))
    after = operator.reports(f"{kubectl.namespace}/again")
    assert {trial: [(row["who"], row["i"], row["attempt"]) for row in rows] for trial, rows in after.items()} == {
        f"again-{number:05d}": [("second", i, 0) for i in range(5)] for number in range(3)
    }
    for trial in after:
        said = operator.read(f"{kubectl.namespace}/again/{trial}/stdout").decode().splitlines()
        assert said == [f"second {i}" for i in range(5)]
    kept = operator.reports(old)
    assert before
    for trial, rows in kept.items():
        assert [(row["who"], row["i"]) for row in rows] == [("first", i) for i in range(len(rows))]
        assert len(rows) >= len(before.get(trial, ()))


CHATTY = """
import sys, time, kubetune
for i in range(200):
    print("out", i)
    print("err", i, file=sys.stderr)
    kubetune.report(accuracy=i / 200, i=i)
time.sleep(3)
"""


def test_each_report_and_each_line_of_output_is_there_exactly_once(operator: Operator, kubectl: Kubectl) -> None:
    kubectl.apply(body("chatty", CHATTY, numSamples=2, scheduler={}))
    followed = Followed(kubectl, "chatty")
    until = time.monotonic() + 120
    while condition(kubectl.get("tune", "chatty"), "Finished") != "True":
        followed.look()
        assert time.monotonic() < until, operator.log()
        time.sleep(0.3)
    logs = followed.said()
    for trial in ("chatty-00000", "chatty-00001"):
        folder = f"{kubectl.namespace}/chatty/{trial}"
        assert [row["i"] for row in operator.rows(f"{folder}/result.json")] == list(range(200))
        out, err = (operator.read(f"{folder}/{stream}").decode().splitlines() for stream in ("stdout", "stderr"))
        assert out == [f"out {i}" for i in range(200)]
        assert err == [f"err {i}" for i in range(200)]
        digits.each_line_once(logs[f"{trial}-0"], out, err)


@pytest.mark.parametrize(
    ("program", "reason", "words"),
    [
        pytest.param("import sys; print('why', file=sys.stderr); sys.exit(3)", "ExitCode", "exit code 3", id="exits-3"),
        pytest.param("print('no reports')", "NoReports", "exit code 0, but it never reported", id="reports-nothing"),
        pytest.param(None, "NotStarted", "trian.py", id="does-not-exist"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "Killed", "ended by signal 9 (SIGKILL", id="is-killed"),
    ],
)
def test_a_bad_program_is_named(operator: Operator, kubectl: Kubectl, program: str | None, reason: str, words: str) -> None:
    wanted = body("bad", program or "", numSamples=2)
    if program is None:
        wanted["spec"]["trial"]["template"]["spec"]["containers"][0]["command"] = ["trian.py"]
    kubectl.apply(wanted)
    found = finished(kubectl, "bad", seconds=120)
    assert condition(found, "Succeeded") == "False"
    assert found["status"]["state"] == reason, operator.log()
    (stalled,) = (one for one in found["status"]["conditions"] if one["type"] == "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", reason)
    assert words in stalled["message"]
    folder = f"{kubectl.namespace}/bad"
    rows = list(csv.DictReader(io.StringIO(operator.read(f"{folder}/trials.csv").decode())))
    assert [(row["state"], row["reason"], words in row["message"]) for row in rows] == [("Failed", reason, True)] * 2
    for row in rows:
        error = operator.read(f"{folder}/{row['trial']}/error.txt").decode()
        assert f"{reason}: " in error
        assert words in error
    events = kubectl("events", "--for", "tuneexperiment/bad")
    assert f"trial 0: {reason}: " in events
    assert f"{reason}: the first 2 trials all failed alike: " in events
    assert events.count(words) == 3, "each trial's own Event says why, and that of the end"


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
