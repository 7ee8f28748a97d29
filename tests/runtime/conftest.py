"""What the tests of the sidecar share: an intake, and a folder with a trial to run against it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

import kubetune.sidecar
from kubetune import wire
from tests.runtime.intake import TOKEN, Attempt, Server

AGENT = Path(kubetune.sidecar.__file__).with_name("agent.py")
PACKAGE = AGENT.parents[2]


class Trial:
    """One trial's folder and the agents that were started on it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.reports = folder / "reports.jsonl"
        self.out = folder / "stdout"
        self.err = folder / "stderr"
        self._endpoint = folder / "endpoint.json"
        self._agents: list[subprocess.Popen[str]] = []
        folder.chmod(0o700)
        (folder / "token").write_text(TOKEN)
        self.point_to(url)

    def point_to(self, url: str, ca: Path | None = None) -> None:
        aside = self.folder / "endpoint.new"
        aside.write_text(json.dumps({"url": url, "ca": None if ca is None else str(ca)}))
        aside.replace(self._endpoint)

    def pod(self, *argv: str, **changes: Any) -> None:
        """Write down what is to be run."""
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(PACKAGE),
            wire.ENV_REPORTS: str(self.reports),
        }
        pod: dict[str, object] = {
            "argv": argv,
            "env": env,
            "cwd": str(self.folder),
            "stdout": str(self.out),
            "stderr": str(self.err),
        }
        pod |= {"grace": 5, "flush": 20, "endpoint": str(self._endpoint)} | changes
        (self.folder / "pod.json").write_text(json.dumps(pod))

    def start(self, *options: str, stderr: IO[str] | int = subprocess.PIPE) -> subprocess.Popen[str]:
        command = [sys.executable, "-I", "-S", str(AGENT), str(self.folder), *options]
        self._agents.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr, text=True))
        return self._agents[-1]

    def run(self, *argv: str, **changes: Any) -> int:
        """Run a program to its end; give the agent's exit code."""
        self.pod(*argv, **changes)
        return self.start().wait(timeout=60)

    @property
    def status(self) -> dict[str, Any]:
        try:
            found: dict[str, Any] = json.loads((self.folder / "status.json").read_text())
        except FileNotFoundError:
            return {}
        return found

    def clean_up(self) -> None:
        for agent in self._agents:
            if agent.poll() is None:
                agent.kill()
            agent.communicate(timeout=10)


@pytest.fixture
def attempt() -> Attempt:
    return Attempt()


@pytest.fixture
def intake(attempt: Attempt) -> Iterator[Server]:
    server = Server(attempt)
    yield server
    server.stop()


@pytest.fixture
def trial(tmp_path: Path, intake: Server) -> Iterator[Trial]:
    made = Trial(tmp_path, intake.url)
    yield made
    made.clean_up()
