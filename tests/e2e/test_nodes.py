"""A node dies with trials on it: nobody's failure, and the slots are free before long."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e import manifests
from tests.e2e.experiments import body, gone, pods, steady
from tests.e2e.followed import watched
from tests.e2e.kubectl import Kubectl, Manifest
from tests.e2e.product import Figures, Operator, condition

REPORTS = 25
FREE = 90  # seconds from a pod's deletion by Kubernetes until its slot is free


def test_a_dead_node_holds_no_slot_and_is_nobodys_failure(
    operator: Operator, kubectl: Kubectl, power: Callable[[str, str], None], figures: Figures
) -> None:
    victim = _victim(kubectl, operator)
    with watched(kubectl, "moving") as made:
        kubectl.apply(_spread("moving"))
        running = _running_everywhere(operator, kubectl, "moving")
        lost = {name for name, pod in running.items() if pod["spec"]["nodeName"] == victim}
        assert lost, f"no trial runs on {victim}: {running.keys()}"
        assert lost != running.keys(), f"every trial runs on {victim}"
        with _without(victim, kubectl, power):
            deleted, begun, found = _until_finished(operator, kubectl, "moving")
        gone(kubectl, "moving", seconds=60)  # the node that has returned lets go of those that were on it
    again = {f"{name.removesuffix('-0')}-1" for name in lost}
    for name in sorted(lost):
        next_one = begun[f"{name.removesuffix('-0')}-1"]
        seconds = _time(next_one["metadata"]["creationTimestamp"]) - _asked(deleted[name])
        figures.say(f"{name}: pod deleted on a dead node to next attempt, seconds", seconds, FREE)
        assert seconds <= FREE
        assert next_one["spec"]["nodeName"] != victim
    assert {name: len(uids) for name, uids in made.uids.items()} == dict.fromkeys({*running, *again}, 1)
    assert found["status"]["state"] == "Completed"
    trials = found["status"]["trials"]
    assert (trials["succeeded"], trials["failed"]) == (4, 0)
    assert "TrialFailed" not in kubectl("events", "--for", "tuneexperiment/moving")
    folder = f"{kubectl.namespace}/moving"
    assert {trial: row["attempts"] for trial, row in operator.table(folder).items()} == {
        name.removesuffix("-0"): "2" if name in lost else "1" for name in running
    }
    for trial, rows in operator.reports(folder).items():
        last = int(f"{trial}-0" in lost)
        assert [row["i"] for row in rows if row["attempt"] == last] == list(range(REPORTS))
        before = [row["i"] for row in rows if row["attempt"] < last]
        assert before == list(range(len(before)))
        assert bool(before) == bool(last), f"{trial}: what it had reported before its node died is kept"
        assert not operator.read(f"{folder}/{trial}/error.txt")


def _spread(name: str) -> Manifest:
    """Give an experiment of four trials at once, as evenly upon the nodes as can be, that does not wait long for a dead one."""
    made = body(name, steady(REPORTS, 1), numSamples=4, maxConcurrentTrials=4, scheduler={}, failure={"maxFailures": 0})
    made["spec"]["trial"]["template"]["spec"] |= {
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"kubetune.dev/experiment": name}},
            }
        ],
        "tolerations": [
            {"key": f"node.kubernetes.io/{key}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 10}
            for key in ("unreachable", "not-ready")
        ],
        "terminationGracePeriodSeconds": 10,
    }
    return made


def _victim(kubectl: Kubectl, operator: Operator) -> str:
    """Choose the worker that is to die: not the operator's own, to which its volume is bound."""
    workers = {
        node["metadata"]["name"]
        for node in kubectl.get("nodes")["items"]
        if not any(taint["effect"] in {"NoSchedule", "NoExecute"} for taint in node["spec"].get("taints") or ())
    }
    others: list[str] = sorted(workers - {operator.pod()["spec"]["nodeName"]})
    if not others:
        pytest.fail(
            "one node is to die with trials on it and another to go on with the operator: this needs two nodes that take pods, "
            f"and the cluster has {len(workers)}; bring up one of three with `make e2e NODES=3`"
        )
    return others[0]


def _running_everywhere(operator: Operator, kubectl: Kubectl, name: str) -> dict[str, Manifest]:
    """Wait until each of the four trials has reported, and give their pods."""
    until = time.monotonic() + 90
    while len(operator.reports(f"{kubectl.namespace}/{name}")) < 4:
        assert time.monotonic() < until, f"{kubectl.events()}\n{operator.log()}"
        time.sleep(0.5)
    return pods(kubectl, name)


def _until_finished(operator: Operator, kubectl: Kubectl, name: str) -> tuple[dict[str, Manifest], dict[str, Manifest], Manifest]:
    """Look on to the end; give the pods that were deleted, as first seen so, all pods, as last seen, and the experiment."""
    deleted: dict[str, Manifest] = {}
    seen: dict[str, Manifest] = {}
    until = time.monotonic() + 400
    while condition(found := kubectl.get("tuneexperiment", name), "Finished") != "True":
        for each, pod in pods(kubectl, name).items():
            seen[each] = pod
            if "deletionTimestamp" in pod["metadata"]:
                deleted.setdefault(each, pod)
        assert time.monotonic() < until, f"{found['status']}\n{kubectl('get', 'pods')}\n{operator.log()}"
        time.sleep(1)
    return deleted, seen, found


@contextmanager
def _without(node: str, kubectl: Kubectl, power: Callable[[str, str], None]) -> Iterator[None]:
    """Cut a node's power; give it back at the end, and wait until pods run there again: other tests follow."""
    power(node, "off")
    try:
        yield
    finally:
        power(node, "on")
        kubectl.until("node", node, lambda found: condition(found, "Ready") == "True", seconds=120)
        pinned: dict[str, Any] = {"nodeSelector": {"kubernetes.io/hostname": node}}
        kubectl.apply(manifests.pod("returned", manifests.python("print('here')"), **pinned))
        assert kubectl.said("returned") == ["here"]


def _asked(pod: Manifest) -> float:
    """Say when a pod's deletion was asked for: what the API server keeps is when it should be over."""
    metadata = pod["metadata"]
    return _time(metadata["deletionTimestamp"]) - float(metadata["deletionGracePeriodSeconds"])


def _time(stamp: str) -> float:
    return dt.datetime.fromisoformat(stamp).timestamp()
