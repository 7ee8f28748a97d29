"""kubetune as it is installed for the tests: its images, its chart, the files on its volume, a trial table made of them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.kubectl import Kubectl

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/kubetune"
NAMESPACE = "kubetune"
RESULTS = "/var/lib/kubetune/results"
IMAGES = os.environ.get("KUBETUNE_IMAGES", "")  # docker-archives, as `make e2e` has built them


def helm(*words: str, seconds: float = 240) -> str:
    """Run helm in kubetune's own namespace."""
    command = ["helm", "--namespace", NAMESPACE, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stderr}\n{Kubectl(NAMESPACE)('get', 'pods,events')}")
    return done.stdout


@dataclass(frozen=True, slots=True)
class Operator:
    """The operator's pod, and through it the volume."""

    kubectl: Kubectl

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

    def restart(self) -> None:
        """End the operator's pod, and wait for the next one."""
        self.kubectl("delete", "pod", "--selector", "app.kubernetes.io/name=kubetune")
        self.kubectl("rollout", "status", "deploy/kubetune", "--timeout=90s", seconds=100)

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


def condition(found: Mapping[str, Any], kind: str) -> str:
    """Give a condition's status, or nothing."""
    conditions = (found.get("status") or {}).get("conditions") or ()
    return next((str(one["status"]) for one in conditions if one["type"] == kind), "")
