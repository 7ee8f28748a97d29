"""Experiments as the suite applies them, and what is asked of them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

from tests.e2e.kubectl import Kubectl, Manifest
from tests.e2e.product import condition

PROGRAM = "import kubetune\nfor i in range(3):\n    kubetune.report(accuracy=kubetune.params()['x'] * (i + 1))\n"


def body(name: str, program: str, **spec: Any) -> Manifest:
    """Give an experiment with one parameter x that runs this Python program in a stock image."""
    container = {"name": "trial", "image": "python:3.13-slim", "command": ["python", "-u", "-c", program]}
    security = {"runAsUser": 65534}
    return {
        "apiVersion": "kubetune.dev/v1alpha1",
        "kind": "TuneExperiment",
        "metadata": {"name": name},
        "spec": {
            "objective": {"metric": "accuracy", "mode": "Maximize"},
            "parameters": [{"name": "x", "uniform": {"low": 0, "high": 1}}],
            "search": {"seed": 3},
            "numSamples": 4,
            "trial": {"template": {"spec": {"containers": [container], "securityContext": security}}},
            **spec,
        },
    }


def write(folder: Path, name: str, program: str, **spec: Any) -> Path:
    """Write such an experiment into a file."""
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(body(name, program, **spec)))
    return path


def finished(kubectl: Kubectl, name: str, *, seconds: float) -> Manifest:
    """Wait for an experiment's end."""
    return kubectl.until("tuneexperiment", name, lambda found: condition(found, "Finished") == "True", seconds=seconds)


def steady(reports: int, pause: float) -> str:
    """Give a program that reports so often, with so many seconds after each."""
    return (
        "import time, kubetune\n"
        f"for i in range({reports}):\n    kubetune.report(accuracy=kubetune.params()['x'] * i, i=i)\n    time.sleep({pause})\n"
    )


def told(table: str) -> set[tuple[str, str]]:
    """Give type and reason of each Event in what `kubectl events` or `kubectl describe` has printed."""
    return set(re.findall(r"(?m)^.*?\b(Normal|Warning)\s+(\w+)\s", table))


def pods(kubectl: Kubectl, name: str) -> dict[str, Manifest]:
    """Give an experiment's pods by name."""
    items = kubectl.get("pods", "", "--selector", f"kubetune.dev/experiment={name}")["items"]
    return {one["metadata"]["name"]: one for one in items}


def gone(kubectl: Kubectl, name: str, *, seconds: float) -> float:
    """Wait until an experiment has no pod any more; give the seconds that took."""
    asked = time.monotonic()
    while left := pods(kubectl, name):
        assert time.monotonic() < asked + seconds, (
            f"pods of {name} after {seconds:.0f} s: {sorted(left)}\n{kubectl('get', 'pods')}"
        )
        time.sleep(0.3)
    return time.monotonic() - asked
