"""A private Docker daemon in network, mount and process namespaces of its own: the host's network, mounts and /run stay as they are.

Two layers. The holder has the network and a /run of its own, and is what commands enter. Below it, in a process namespace,
tini and dockerd: whatever they start ends with them, and they end with the holder. So one pid to kill is enough.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster import machine, places, progress

NOTE = places.RUN / "sandbox.json"
CONFIG = places.RUN / "daemon.json"
DOCKER = {"DOCKER_HOST": "unix:///run/docker.sock"}  # inside
STARTING = 60  # seconds for dockerd to answer
STOPPING = 20

# "$1" is where to write the holder's pid, "$2" dockerd's configuration. The trailing exit keeps the shell as the holder.
HOLDER = """
set -eu
mount -t tmpfs -o mode=755 run /run
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
echo $$ > "$1"
setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --mount-proc tini -s -- dockerd --config-file "$2"
exit $?
"""


def start(runc: Path) -> None:
    """Start the daemon, with this front for runc, and wait until it answers."""
    with progress.step("starting a private Docker", "dockerd") as log:
        machine.note()
        CONFIG.parent.mkdir(parents=True, exist_ok=True)
        CONFIG.write_text(json.dumps(_configuration(runc)))
        pid = places.RUN / "holder.pid"
        pid.unlink(missing_ok=True)
        command = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", HOLDER, "sh", str(pid), str(CONFIG)]
        with log.open("a") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        NOTE.write_text(json.dumps({"pid": process.pid, "started": _started(process.pid)}))
        give_up = time.monotonic() + STARTING
        while not pid.exists() or progress.asked(enter(["docker", "info"]), env=DOCKER)[0] != 0:
            if process.poll() is not None or time.monotonic() > give_up:
                raise progress.Failed(f"the private Docker does not answer; {log} ends:\n{progress.tail(log, progress.TAIL)}")
            progress.heed()
            time.sleep(0.2)


def holder() -> int | None:
    """Give the pid of the holder, if it is alive."""
    if not NOTE.exists():
        return None
    noted = json.loads(NOTE.read_text())
    pid: int = noted["pid"]
    return pid if _started(pid) == noted["started"] else None


def enter(command: progress.Words) -> list[str]:
    """Give the command that runs another beside the daemon."""
    pid = holder()
    if pid is None:
        raise progress.Failed("the private Docker is not running any more: `make cluster-down`, then `make cluster`")
    return ["nsenter", "--target", str(pid), "--net", "--mount", f"--wd={Path.cwd()}", *map(str, command)]


def stop() -> list[str]:
    """End the daemon and all that it has started; give what is running in its namespaces none the less."""
    pid = holder()
    if pid is None:
        return []
    namespaces = _namespaces(pid)
    for daemon in _daemons(pid):
        os.kill(daemon, signal.SIGTERM)  # in good order first, for the sake of its images
    if not _gone(pid, STOPPING):
        os.kill(pid, signal.SIGKILL)
        _gone(pid, STOPPING)
    NOTE.unlink(missing_ok=True)
    return [f"process {each} is still running beside the cluster: end it" for each in _inhabitants(namespaces)]


def _gone(pid: int, seconds: float) -> bool:
    started = _started(pid)
    give_up = time.monotonic() + seconds
    while started is not None and _started(pid) == started:
        if time.monotonic() > give_up:
            return False
        time.sleep(0.1)
    return True


def _configuration(runc: Path) -> dict[str, object]:
    _, said = progress.asked(["dockerd", "--version"])
    version = re.search(r"version (\d+)", said)
    old = (
        version is not None and int(version[1]) < 24
    )  # it asks for a badness below zero by itself, which not every root may have
    return {
        "data-root": str(places.DATA),
        "exec-root": "/run/docker",
        "pidfile": "/run/docker.pid",
        "hosts": [DOCKER["DOCKER_HOST"]],
        "runtimes": {"front": {"path": str(runc)}},
        "default-runtime": "front",
        "cgroup-parent": f"/{machine.CGROUP}",
    } | ({"oom-score-adjust": 0} if old else {})


def _daemons(pid: int) -> Iterator[int]:
    """Give the first process of the inner namespace: the grandchild of the holder."""
    for child in _children(pid):
        yield from _children(child)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _started(pid: int) -> str | None:
    """Give when a process started, in the kernel's ticks: with its pid, that is one process for ever."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *others = stat.rpartition(")")[2].split()
    return None if state == "Z" else others[18]


def _namespaces(pid: int) -> set[str]:
    return {str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in ("net", "mnt")}


def _inhabitants(namespaces: set[str]) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if _namespaces(int(entry.name)) & namespaces:
                    yield int(entry.name)
            except OSError:
                continue  # it has ended meanwhile
