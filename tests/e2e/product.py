"""kubetune as it is installed for the tests: its images, its chart, the files on its volume, a trial table made of them."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e import manifests
from tests.e2e.kubectl import Kubectl, Manifest

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/kubetune"
NAMESPACE = "kubetune"
RESULTS = "/var/lib/kubetune/results"
IMAGES = os.environ.get("KUBETUNE_IMAGES", "")  # docker-archives, as `make e2e` has built them
SELECTOR = "app.kubernetes.io/name=kubetune"
MEMORY = "text = open('/proc/1/status').read(); print(*[text.split(each)[1].split()[0] for each in ('VmRSS:', 'VmHWM:')])"
KILLER = """
    import os, pathlib, signal
    killed = 0
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            program, status = (process / "cmdline").read_bytes(), (process / "status").read_text()
        except OSError:
            continue  # it has ended meanwhile
        (pids,) = (line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:"))
        if b"kubetune_operator" in program and pids[1:] and pids[-1] == "1":
            os.kill(int(process.name), signal.SIGKILL)
            killed += 1
    print("killed", killed)
"""


def helm(*words: str, seconds: float = 240) -> str:
    """Run helm in kubetune's own namespace."""
    command = ["helm", "--namespace", NAMESPACE, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stderr}\n{Kubectl(NAMESPACE)('get', 'pods,events')}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Operator:
    """The operator's pod, and through it the volume. It may end only when a test has asked for that: see `is_steady`."""

    kubectl: Kubectl
    _asked: dict[str, int] = field(default_factory=dict)  # how often its container was to be started again, by the pod's uid

    def run(self, program: str, *words: str) -> str:
        """Run a Python program in the operator's container."""
        return self.kubectl("exec", "deploy/kubetune", "--", "python", "-c", program, *words, seconds=120)

    def read(self, path: str) -> bytes:
        """Read a file below the results; an absent one is empty."""
        program = "import pathlib,sys; p=pathlib.Path(sys.argv[1]); sys.stdout.write(p.read_bytes().hex() if p.exists() else '')"
        return bytes.fromhex(self.run(program, f"{RESULTS}/{path}"))

    def rows(self, path: str) -> list[dict[str, Any]]:
        """Read a result.json."""
        return [json.loads(line) for line in self.read(path).decode().splitlines()]

    def table(self, experiment: str) -> dict[str, dict[str, str]]:
        """Read the rows of trials.csv in an experiment's folder, by trial."""
        return {row["trial"]: row for row in csv.DictReader(io.StringIO(self.read(f"{experiment}/trials.csv").decode()))}

    def reports(self, experiment: str) -> dict[str, list[dict[str, Any]]]:
        """Read the result.json of every trial in an experiment's folder."""
        program = """
            import json, pathlib, sys
            files = pathlib.Path(sys.argv[1]).glob("*/result.json")
            print(json.dumps({file.parent.name: [json.loads(line) for line in file.read_text().splitlines()] for file in files}))
        """
        found: dict[str, list[dict[str, Any]]] = json.loads(self.run(textwrap.dedent(program), f"{RESULTS}/{experiment}"))
        return found

    def pod(self) -> Manifest:
        """Give the operator's pod."""
        items = self.kubectl.get("pods", "", "--selector", SELECTOR)["items"]
        return next(one for one in items if "deletionTimestamp" not in one["metadata"])

    def user(self) -> str:
        """Say as whom it speaks to the API server."""
        return f"system:serviceaccount:{self.kubectl.namespace}:{self.pod()['spec']['serviceAccountName']}"

    def kill(self, privileged: Kubectl) -> None:
        """End the operator's process with SIGKILL, and wait for the next in the same pod.

        A container's first process is out of reach of its own namespace, but not of the node's: there a pod kills it.
        """
        before = self.pod()
        node, name = before["spec"]["nodeName"], f"killer-{_killed(before)}"
        killer = manifests.container(command=["python", "-c", textwrap.dedent(KILLER)], securityContext={"runAsUser": 0})
        host = {"hostPID": True, "nodeName": node, "securityContext": {}}
        privileged.apply(manifests.pod(name, killer, **host))
        assert privileged.said(name) == ["killed 1"]

        self._asked[before["metadata"]["uid"]] += 1

        def next_one_serves(pod: Manifest) -> bool:
            return _killed(pod) == _killed(before) + 1 and condition(pod, "Ready") == "True"

        self.kubectl.until("pod", before["metadata"]["name"], next_one_serves)
        privileged("delete", "pod", name, "--wait=false")

    def memory(self) -> tuple[float, float]:
        """Give the MiB that the operator's process holds, and has held at its peak."""
        held, peak = map(int, self.run(MEMORY).split())
        return held / 1024, peak / 1024

    def restart(self) -> None:
        """End the operator's pod, and wait for the next one."""
        self.is_steady()
        self.kubectl("delete", "pod", "--selector", SELECTOR)
        self.kubectl("rollout", "status", "deploy/kubetune", "--timeout=90s", seconds=100)
        self.meet()

    def meet(self) -> None:
        """Take the operator's pod as it is now for one that is as it should be."""
        pod = self.pod()
        self._asked[pod["metadata"]["uid"]] = _killed(pod)

    def is_steady(self) -> None:
        """Hold the operator to never having ended but when a test had it killed or started again."""
        pod = self.pod()
        asked = self._asked.get(pod["metadata"]["uid"])
        assert asked is not None, f"the operator has another pod, which no test has asked for: {self.kubectl('get', 'events')}"
        if (restarts := _killed(pod)) != asked:
            why = pod["status"]["containerStatuses"][0].get("lastState")
            last_words = self.kubectl("logs", pod["metadata"]["name"], "--previous", "--tail", "50")
            raise AssertionError(f"the operator has ended {restarts - asked} times by itself: {why}\n{last_words}")

    def log(self) -> str:
        """Give what the operator has said."""
        return self.kubectl("logs", "deploy/kubetune", "--tail", "400")


class Figures:
    """What the suite has measured, each beside its goal; printed at the end of the run, and no assertion."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, what: str, value: float, goal: float) -> None:
        """Take note of a figure; less is better."""
        self.lines.append(f"{what}: {value:.1f} (goal {goal:g}{'' if value <= goal else ', missed'})")


def _killed(pod: Manifest) -> int:
    (container,) = pod["status"]["containerStatuses"]
    restarts: int = container["restartCount"]
    return restarts


def condition(found: Mapping[str, Any], kind: str) -> str:
    """Give a condition's status, or nothing."""
    conditions = (found.get("status") or {}).get("conditions") or ()
    return next((str(one["status"]) for one in conditions if one["type"] == kind), "")
