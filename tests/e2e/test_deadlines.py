"""trial.startDeadlineSeconds and .progressDeadlineSeconds in a cluster: who hangs is deleted, and its trial says for what."""

from __future__ import annotations

import time

from tests.e2e.experiments import PROGRAM, body, finished, gone, told
from tests.e2e.kubectl import Kubectl
from tests.e2e.product import Operator, condition

LATE = 15  # seconds after its deadline in which an attempt is ended, on a cluster that has much to do
HANGS = (
    "import time, kubetune\nkubetune.report(accuracy=1)\n"
    "if kubetune.trial().number == 1 and kubetune.trial().attempt == 0: time.sleep(600)\nkubetune.report(accuracy=2)\n"
)


def test_a_pod_that_no_node_takes_fails_its_trial_in_time(operator: Operator, kubectl: Kubectl) -> None:
    wanted = body("pending", PROGRAM, numSamples=20, maxConcurrentTrials=2)
    wanted["spec"]["trial"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/hostname": "nowhere"}
    wanted["spec"]["trial"]["startDeadlineSeconds"] = 20
    kubectl.apply(wanted)
    asked = time.monotonic()
    found = finished(kubectl, "pending", seconds=20 + LATE)
    assert time.monotonic() - asked >= 20
    assert found["status"]["state"] == "StartDeadline", found["status"]
    assert condition(found, "Succeeded") == "False"
    said = operator.read(f"{kubectl.namespace}/pending/pending-00000/error.txt").decode()
    assert "StartDeadline: its program has not begun for 20 s (trial.startDeadlineSeconds); Unschedulable: " in said
    assert ("Warning", "TrialFailed") in told(kubectl("events", "--for", "tuneexperiment/pending"))
    gone(kubectl, "pending", seconds=30)


def test_a_program_that_hangs_fails_and_is_tried_again(operator: Operator, kubectl: Kubectl) -> None:
    wanted = body("hung", HANGS, numSamples=3, failure={"maxFailures": 1})
    wanted["spec"]["trial"]["progressDeadlineSeconds"] = 10
    wanted["spec"]["trial"]["retainPods"] = "None"
    kubectl.apply(wanted)
    found = finished(kubectl, "hung", seconds=150)
    assert found["status"]["state"] == "Completed", found["status"]
    assert found["status"]["trials"]["succeeded"] == 3
    said = operator.read(f"{kubectl.namespace}/hung/hung-00001/error.txt").decode()
    assert "ProgressDeadline: it has not reported for 10 s since its last report (trial.progressDeadlineSeconds)" in said
    rows = operator.rows(f"{kubectl.namespace}/hung/hung-00001/result.json")
    assert [(row["attempt"], row["accuracy"]) for row in rows] == [(0, 1), (1, 1), (1, 2)]
    gone(kubectl, "hung", seconds=30)
