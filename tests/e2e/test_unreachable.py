"""A namespace whose pods cannot reach the operator: a NetworkPolicy does that to them, here a name that leads nowhere."""

from __future__ import annotations

import time

from tests.e2e.experiments import PROGRAM, body, finished, gone, pods
from tests.e2e.followed import watched
from tests.e2e.kubectl import Kubectl, Manifest
from tests.e2e.product import NAMESPACE, Figures, Operator, condition

NOWHERE = "192.0.2.1"  # an address for documentation: nobody has it
LOOKED_ON = 20  # seconds for which the stalled experiment is looked on


def test_trials_that_reach_nobody_stall_their_experiment_and_burn_nothing(
    operator: Operator, kubectl: Kubectl, figures: Figures
) -> None:
    alone = body("alone", PROGRAM, numSamples=6, maxConcurrentTrials=2, failure={"maxFailures": 0})
    astray = {"ip": NOWHERE, "hostnames": [f"kubetune.{NAMESPACE}.svc"]}
    alone["spec"]["trial"]["template"]["spec"]["hostAliases"] = [astray]
    restarts = operator.pod()["status"]["containerStatuses"][0]["restartCount"]
    with watched(kubectl, "alone") as made:
        kubectl.apply(alone)
        found = kubectl.until("tune", "alone", lambda one: condition(one, "Stalled") == "True", seconds=150)
        _is_stalled(found)
        kubectl.apply(body("meanwhile", PROGRAM, numSamples=2))
        assert finished(kubectl, "meanwhile", seconds=120)["status"]["state"] == "Completed"
        time.sleep(LOOKED_ON)
        _is_stalled(kubectl.get("tune", "alone"))
        for pod in pods(kubectl, "alone").values():
            (trial,) = pod["status"]["containerStatuses"]
            assert "waiting" in trial["state"], "the program must not begin before anybody hears it"
        assert "ReporterUnreachable" in kubectl("events", "--for", "tuneexperiment/alone")
    assert {name: len(uids) for name, uids in made.uids.items()} == {"alone-00000-0": 1, "alone-00001-0": 1}
    assert operator.pod()["status"]["containerStatuses"][0]["restartCount"] == restarts
    kubectl("delete", "tune", "alone", "--wait=false")
    figures.say("deleted experiment that had never begun to pods gone, seconds", gone(kubectl, "alone", seconds=45), 10)


def _is_stalled(found: Manifest) -> None:
    status = found["status"]
    (stalled,) = (one for one in status["conditions"] if one["type"] == "Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "ReporterUnreachable")
    assert f"https://kubetune.{NAMESPACE}.svc:" in stalled["message"]
    assert condition(found, "Finished") == "False"
    trials = status["trials"]
    assert (trials["started"], trials["running"], trials["failed"]) == (2, 2, 0)
