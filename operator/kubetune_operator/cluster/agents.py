"""Agents as this process starts them and sees them end, through the one process that forks them (`kubetune.sidecar.spawner`).

What an agent does, and how it is found by a process that did not start it, is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubetune.sidecar
from kubetune_operator.errors import ClusterError

SPAWNER = Path(kubetune.sidecar.__file__).with_name("spawner.py")
LOG = "spawner.log"  # in the folder


@dataclass(slots=True)
class Agent:
    """One agent that was asked for. It may run on when the spawner is lost: then nobody can say how it ends."""

    running: bool = True  # until its end was heard of, or the spawner's
    code: int | None = None  # its exit code, where that was heard


class Agents:
    """Starts agents in the trial folders of one folder."""

    def __init__(self, folder: Path, woke: asyncio.Event) -> None:
        """`woke` is set whenever an agent has ended."""
        self._folder = folder
        self._woke = woke
        self._agents: list[Agent] = []
        self._spawner: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None  # to the spawner
        self._heard = b""  # of a line that has not ended yet

    def start(self, trial: Path, *, drain: bool) -> Agent:
        """Start an agent on one trial's folder."""
        line = self._line or self._open()
        agent = Agent()
        self._agents.append(agent)
        request = {"id": len(self._agents) - 1, "folder": trial.name, "drain": drain}
        with contextlib.suppress(
            BrokenPipeError, ConnectionResetError
        ):  # the spawner's end is heard soon, and this agent's with it
            line.sendall(json.dumps(request).encode() + b"\n")
        return agent

    def close(self) -> None:
        """Let the spawner go; the agents live on."""
        spawner, line = self._spawner, self._line
        self._spawner = self._line = None
        if line is not None:
            asyncio.get_running_loop().remove_reader(line)
            line.close()
        if spawner is not None:
            spawner.wait()
        for agent in self._agents:
            agent.running = False
        self._agents, self._heard = [], b""

    def _open(self) -> socket.socket:
        command = [sys.executable, "-I", "-S", str(SPAWNER), str(self._folder)]
        ours, theirs = socket.socketpair()
        try:
            with theirs, (self._folder / LOG).open("ab") as log:
                self._spawner = subprocess.Popen(
                    command, stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=log, start_new_session=True, cwd="/"
                )
        except OSError as error:
            ours.close()
            raise ClusterError(f"no process could be started: {error}") from error
        self._line = ours
        asyncio.get_running_loop().add_reader(ours, self._hear, ours)
        return ours

    def _hear(self, line: socket.socket) -> None:
        try:
            said = line.recv(65536)
        except ConnectionResetError:
            said = b""
        if said:
            *whole, self._heard = (self._heard + said).split(b"\n")
            for text in whole:
                self.take(json.loads(text))
        else:
            self.close()
            self._woke.set()

    def take(self, said: Mapping[str, Any]) -> None:
        """Note what the spawner says of an agent."""
        if "code" in said:
            agent = self._agents[said["id"]]
            agent.running, agent.code = False, said["code"]
            self._woke.set()
