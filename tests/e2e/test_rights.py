"""The operator's rights are those that it uses: what its role grants, held to what the audit log has seen it ask for."""

from __future__ import annotations

import time

from tests.e2e import audit, manifests
from tests.e2e.experiments import PROGRAM, body
from tests.e2e.kubectl import Kubectl, Manifest
from tests.e2e.product import Operator

# An admission plugin asks for it on behalf of whoever makes a pod that blocks its owner's deletion: no request does.
NEVER_SEEN = {("kubetune.dev", "tuneexperiments/finalizers", "update")}


def test_the_operator_uses_each_of_its_rights_and_no_other(operator: Operator, kubectl: Kubectl, nodes: list[Manifest]) -> None:
    """From its start to the deletion of an experiment: its pod's name is taken at first, and its image has no `command`."""
    began = audit.now()
    operator.restart()
    wanted = body("fleeting", "", numSamples=1, ttlSecondsAfterFinished=1)
    env = [{"name": "PYTHONPATH", "value": "/kubetune/bin/sdk"}]  # a launcher would have said so
    container = {"name": "trial", "image": "python:3.13-slim", "args": ["python", "-c", PROGRAM], "env": env}
    wanted["spec"]["trial"]["template"]["spec"]["containers"] = [container]
    kubectl.apply(manifests.pod("fleeting-00000-0", manifests.python("pass")))
    kubectl.apply(wanted)
    until = time.monotonic() + 60
    while "PodNameTaken" not in kubectl("events", "--for", "tuneexperiment/fleeting"):
        assert time.monotonic() < until, operator.log()
        time.sleep(0.5)
    kubectl("delete", "pod", "fleeting-00000-0")
    kubectl("wait", "--for=delete", "tune/fleeting", "--timeout=120s", seconds=130)
    asked = {audit.right(entry) for entry in audit.entries(kubectl, nodes, operator.user(), since=began)}
    rules = kubectl.get("clusterrole", "kubetune")["rules"]
    granted = {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert {right for right in asked if right[1]} == granted - NEVER_SEEN
