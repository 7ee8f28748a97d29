"""trial.progressDeadlineSeconds in a cluster: who hangs is deleted, and its trial says for what."""

from __future__ import annotations

from tests.e2e.experiments import body, finished, gone
from tests.e2e.kubectl import Kubectl
from tests.e2e.product import Operator

HANGS = (
    "import time, kubetune\nkubetune.report(accuracy=1)\n"
    "if kubetune.trial().number == 1 and kubetune.trial().attempt == 0: time.sleep(600)\nkubetune.report(accuracy=2)\n"
)


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
