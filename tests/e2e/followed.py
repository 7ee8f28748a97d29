"""An experiment's pods, watched while it runs: each that was ever made, and all that each has said."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.e2e.experiments import pods
from tests.e2e.kubectl import Kubectl, Manifest


class Followed:
    """The logs of an experiment's pods, followed from their start, and when each pod was seen for the last time."""

    def __init__(self, kubectl: Kubectl, name: str) -> None:
        self._kubectl = kubectl
        self._name = name
        self._followers: dict[str, subprocess.Popen[str]] = {}
        self.last_seen: dict[str, float] = {}

    def look(self) -> dict[str, Manifest]:
        """Look at the pods once; begin to follow those whose program has begun."""
        found = pods(self._kubectl, self._name)
        for name, pod in found.items():
            self.last_seen[name] = time.time()
            states = [one["state"] for one in pod["status"].get("containerStatuses", ())]
            if name not in self._followers and any("running" in one or "terminated" in one for one in states):
                command = ["kubectl", "--namespace", self._kubectl.namespace, "logs", "--follow", name, "--container", "trial"]
                self._followers[name] = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        return found

    def said(self) -> dict[str, list[str]]:
        """Wait for the ends, and give each pod's lines."""
        return {name: follower.communicate(timeout=60)[0].splitlines() for name, follower in self._followers.items()}


@dataclass(slots=True)
class Made:
    """The pods that were made since a watch began, by name and however short they lived: uids, and exit codes of the program."""

    uids: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    codes: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))


@contextmanager
def watched(kubectl: Kubectl, name: str) -> Iterator[Made]:
    """Watch an experiment's pods; at the end there is each that was made meanwhile. Polling would miss the short-lived."""
    made = Made()
    ended = ".status.containerStatuses[0].state.terminated.exitCode"
    columns = f"custom-columns=NAME:.metadata.name,UID:.metadata.uid,CODE:{ended}"
    command = ["kubectl", "--namespace", kubectl.namespace, "get", "pods", "--selector", f"kubetune.dev/experiment={name}"]
    with tempfile.TemporaryFile("w+") as output:
        watch = subprocess.Popen([*command, "--watch", "--no-headers", "--output", columns], stdout=output)
        try:
            yield made
            assert watch.poll() is None, "the watch was cut off, and what was made since is not known"
        finally:
            watch.terminate()
            watch.wait()
            output.seek(0)
            for line in output:
                pod, uid, code = line.split()
                made.uids[pod].add(uid)
                made.codes[pod] |= {int(code)} if code.isdigit() else set()
