"""kubectl, as the tests use it: a question, an answer, and the server's own words when it refuses."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Manifest = dict[str, Any]


class Refused(Exception):
    """The server, or kubectl itself, said no; the message is what it said."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl in one namespace."""

    namespace: str = "default"

    def __call__(self, *words: str, given: str | None = None, seconds: float = 60) -> str:
        """Run kubectl and give what it prints. Raises Refused."""
        command = ["kubectl", "--namespace", self.namespace, *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=seconds)
        if done.returncode:
            raise Refused(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Apply manifests, server-side."""
        self(
            "apply",
            "--server-side",
            "--filename",
            "-",
            given=json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}),
        )

    def get(self, kind: str, name: str = "", *options: str) -> Manifest:
        """Give an object, or the list of all of its kind."""
        found: Manifest = json.loads(self("get", kind, *([name] if name else []), *options, "--output", "json"))
        return found

    def until(self, kind: str, name: str, holds: Callable[[Manifest], bool], *, seconds: float = 60) -> Manifest:
        """Wait until something holds of an object, and give it as it was then."""
        give_up = time.monotonic() + seconds
        while not holds(found := self.get(kind, name)):
            if time.monotonic() > give_up:
                raise TimeoutError(
                    f"{kind} {name} after {seconds:.0f} s: {json.dumps(found.get('status'), indent=1)}\n{self.events()}"
                )
            time.sleep(0.3)
        return found

    def finished(self, pod: str, *, seconds: float = 90) -> Manifest:
        """Wait for a pod's end, and give it as it is then."""
        return self.until("pod", pod, lambda found: found["status"]["phase"] in {"Succeeded", "Failed"}, seconds=seconds)

    def said(self, pod: str, *, container: str = "main") -> list[str]:
        """Wait until a pod has succeeded, and give the lines of its log."""
        found = self.finished(pod)
        lines = self("logs", pod, "--container", container).splitlines()
        if found["status"]["phase"] != "Succeeded":
            raise AssertionError(f"pod {pod} failed: {found['status']}\n{lines}")
        return lines

    def events(self) -> str:
        """Give what has happened in the namespace."""
        return self("get", "events", "--sort-by=.lastTimestamp")
