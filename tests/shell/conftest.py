"""What the tests of the `kubetune` command share: an experiment written to a folder, and the command run on it for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Change = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """What a run of `kubetune run` said and left."""

    code: int
    out: str
    err: str
    folder: Path  # the experiment's

    def rows(self, trial: int) -> list[dict[str, Any]]:
        """Read a trial's result.json."""
        path = self.trial(trial) / "result.json"
        return [json.loads(line, parse_constant=pytest.fail) for line in path.read_text().splitlines()]

    def trial(self, number: int) -> Path:
        """Give a trial's folder."""
        return self.folder / f"exp-{number:05d}"


def experiment(command: list[str], **spec: Any) -> dict[str, Any]:
    """Give a resource with one parameter x that runs this command."""
    container = {"name": "trial", "image": "python:3.13-slim", "command": command}
    return {
        "apiVersion": "kubetune.dev/v1alpha1",
        "kind": "TuneExperiment",
        "metadata": {"name": "exp", "namespace": "default"},
        "spec": {
            "objective": {"metric": "accuracy", "mode": "Maximize"},
            "parameters": [{"name": "x", "uniform": {"low": 0, "high": 1}}],
            "search": {"seed": 3},
            "trial": {"template": {"spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}},
            **spec,
        },
    }


@pytest.fixture
def kubetune(tmp_path: Path) -> Callable[..., Run]:
    """Run `kubetune run` on an experiment whose program is given as Python or shell source."""

    def run(source: str, *options: str, interpreter: str = "python", **spec: Any) -> Run:
        program = tmp_path / "program.py"
        program.write_text(source)
        body = experiment([interpreter, program.name], **spec)
        (tmp_path / "exp.yaml").write_text(json.dumps(body))
        return command(tmp_path, "run", str(tmp_path / "exp.yaml"), "--results", str(tmp_path / "results"), *options)

    return run


def command(folder: Path, *words: str) -> Run:
    """Run the command line for real."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("KUBETUNE_")}
    done = subprocess.run(
        [sys.executable, "-m", "kubetune.cli", *words], capture_output=True, text=True, check=False, env=env, timeout=100
    )
    return Run(done.returncode, done.stdout, done.stderr, folder / "results" / "default" / "exp")
