"""The files around one trial on this machine: what the agent is told, what it says, and who may run it.

pod.json       argv, env, cwd, stdout, stderr, grace, flush, endpoint (given)
token          for the intake (given)
claim          locked by the one agent that runs this trial, and holds its pid
status.json    what has become of the program
reports.jsonl  written by the program; beside it `stop` and `acknowledged` for the SDK
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Mapping

from kubetune import wire

_TRIES, _BETWEEN = 20, 0.01  # seconds; to tell who holds a claim from who looks at it


class Folder:
    """One trial's folder."""

    def __init__(self, path: str) -> None:
        self.reports = os.path.join(path, "reports.jsonl")
        self.token = os.path.join(path, "token")
        self.pod = os.path.join(path, "pod.json")
        self._path = path
        self._lock = -1

    def claim(self, *, again: bool) -> bool:
        """Take this folder for this process, for as long as it lives; say whether that was possible.

        The claim appears with its lock on it, by a link. With `again`, one whose holder has died is taken over;
        without, a trial that was ever claimed is not: starting twice never runs the program twice.
        """
        aside = self._file(f"claim.{os.getpid()}")
        self._lock = os.open(aside, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._sign()
            os.link(aside, self._file("claim"))
        except FileExistsError:
            os.close(self._lock)
            return again and self._take_over()
        finally:
            os.unlink(aside)
        return True

    def leave(self) -> None:
        """Let another agent have this folder as if it had never been claimed. Only for who holds it, and has started nothing."""
        os.unlink(self._file("claim"))

    def status(self) -> dict[str, object]:
        """Read what has become of the program; empty where it was never started, or a power cut took the words."""
        try:
            with open(self._file("status.json"), encoding="utf-8") as file:
                found = json.load(file)
        except (FileNotFoundError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def record(self, status: Mapping[str, object]) -> None:
        """Say what has become of the program."""
        self._replace("status.json", json.dumps(status) + "\n")

    def stop(self, reason: str) -> None:
        """Let the program's next report end it."""
        self._replace(wire.STOP_FILE, reason + "\n")

    def acknowledge(self, length: int) -> None:
        """Say how many bytes of the report file are durable and decided on."""
        if length or os.path.exists(self._file(wire.ACKNOWLEDGED_FILE)):  # nothing yet is what no file says
            self._replace(wire.ACKNOWLEDGED_FILE, f"{length}\n")

    def _take_over(self) -> bool:
        self._lock = os.open(self._file("claim"), os.O_RDWR)
        for _ in range(_TRIES):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # a living agent's; or somebody only looks whether there is one
                time.sleep(_BETWEEN)
            else:
                self._sign()
                return True
        return False

    def _sign(self) -> None:
        os.pwrite(self._lock, b"%-10d\n" % os.getpid(), 0)  # always as long, so that no reader finds half of it

    def _file(self, name: str) -> str:
        return os.path.join(self._path, name)

    def _replace(self, name: str, text: str) -> None:
        aside = self._file(f".{name}")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(aside)
        with open(aside, "x", encoding="utf-8") as file:  # a new file: what the program may have put there is not followed
            file.write(text)
        os.replace(aside, self._file(name))
