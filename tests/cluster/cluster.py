"""The one cluster: brought up, found again, and taken down with nothing left behind.

What has been brought up is noted in a file before it is: so a second `up` finds it, and `down` clears away whatever an
interrupted one has left. One process at a time does either.
"""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from tests.cluster import debian, golang, kind, machine, node, places, progress, proof, sandbox, stock, tools, versions

NOTE = places.RUN / "cluster.json"
LOCK = places.HOME / "lock"
MAKING = ("kind.py", "node.py", "control_plane.py", "kindnet.yaml", "versions.py", "go/kind/go.mod", "go/kubernetes/go.mod")


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster that is being brought up, or is up."""

    private: bool
    nodes: int
    image: str
    making: str  # a digest of what made it
    ready: bool = False

    @property
    def docker(self) -> kind.Docker:
        return kind.Docker(self.private)

    def how(self) -> str:
        """Say in a few words how it was made."""
        return f"kind {versions.KIND}, " + (f"private Docker, {self.image}" if self.private else self.image.partition("@")[0])

    def environment(self) -> dict[str, str]:
        """Give the variables of a command that is run beside it: the last three are all that tests/e2e knows of this package."""
        own = [sys.executable, "-m", "tests.cluster"]
        return {
            **tools.environment(),
            **self.docker.environment,
            "KUBECONFIG": str(places.KUBECONFIG),
            "KUBETUNE_CLUSTER": self.how(),
            "KUBETUNE_CLUSTER_LOAD": shlex.join([*own, "load"]),
            "KUBETUNE_CLUSTER_NODE": shlex.join([*own, "node"]),
        }


def up(nodes: int | None) -> Cluster:
    """Bring up a cluster of this many nodes, or find the one that is up. Raises CannotHave or Failed, having cleared away."""
    with _locked():
        found = current()
        if found and stands() and found.making == _making() and nodes in (None, found.nodes) and _answers(found):
            progress.say(f"already up: {found.nodes} node(s), {found.how()}")
            return found
        if _begun():
            progress.say("clearing away what an earlier cluster has left ...")
            _down()
        try:
            return _up(nodes or 1)
        except BaseException:
            if _begun():
                progress.say("clearing away ...")
                _down()
            raise


def down() -> None:
    """Take the cluster down, or whatever there is of one. Raises Failed when something is left behind."""
    with _locked():
        _down()


def current() -> Cluster | None:
    """Give the cluster that is noted; whether it answers is another question."""
    return Cluster(**json.loads(NOTE.read_text())) if NOTE.exists() else None


def stands() -> bool:
    """Tell whether there is one that was ready, and whose Docker has not been killed since."""
    found = current()
    return found is not None and found.ready and (not found.private or sandbox.holder() is not None)


def _begun() -> bool:
    return places.RUN.exists() or machine.NOTE.exists()


def _up(nodes: int) -> Cluster:
    kind.prepare()
    docker = kind.Docker(private=not official())
    image = versions.OFFICIAL_IMAGE if not docker.private else _private_image(docker)
    tools.folder()
    if kind.names(docker):
        raise progress.Failed(f"there is a kind cluster {kind.NAME} here that `make cluster` has not made: delete it with kind")
    cluster = Cluster(docker.private, nodes, image, _making())
    _write(cluster)
    machine.note()
    kind.create(docker, image, nodes)
    kubectl = [str(tools.folder() / "kubectl"), "--kubeconfig", str(places.KUBECONFIG)]
    proof.prove(docker, kubectl)
    cluster = dataclasses.replace(cluster, ready=True)
    _write(cluster)
    return cluster


def official() -> bool:
    """Tell whether the Docker that runs here can be had, with kind's own image: asked by trying, not by `docker info`."""
    if progress.asked(["docker", "version", "--format", "{{.Server.Version}}"])[0] != 0:
        return False
    image = versions.OFFICIAL_IMAGE
    if progress.asked(["docker", "image", "inspect", image])[0] != 0:
        try:
            with progress.step(f"pulling {image.partition('@')[0]}", "pull") as log:
                progress.run(["docker", "pull", image], log)
        except progress.Failed as error:
            progress.say(f"the node image cannot be pulled, so one is built: {error}")
            return False
    code, said = progress.asked(["docker", "run", "--rm", "--privileged", "--entrypoint", "true", image], timeout=120)
    if code != 0:
        progress.say(f"the Docker that runs here does not run privileged containers, so a private one is started: {said.strip()}")
    return code == 0


def _private_image(docker: kind.Docker) -> str:
    debian.check()
    debian.install()
    python = stock.python()
    for name in golang.PROGRAMS:
        golang.program(name)
    sandbox.start(golang.program("runc"))
    if kind.names(docker):  # left by a private Docker that was killed
        kind.delete(docker)
    docker.asked(["docker", "volume", "prune", "--force"])
    return node.image(python, docker)


def _answers(cluster: Cluster) -> bool:
    kubectl = [str(tools.folder() / "kubectl"), "--kubeconfig", str(places.KUBECONFIG)]
    code, said = cluster.docker.asked([*kubectl, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=10s"], timeout=30)
    if code != 0:
        progress.say(f"the cluster that was up does not answer: {said.strip()[-300:]}")
    return code == 0


def _down() -> None:
    """Clear away all there is, whatever of it fails; say at the end what is left."""
    left: list[str] = []
    with progress.undisturbed():
        cluster = current()
        private = sandbox.holder() is not None
        if private or (cluster and not cluster.private):
            left += _deleted(kind.Docker(private))
        if private:
            with progress.step("stopping the private Docker", "stop"):
                left += sandbox.stop()
        left += machine.remove_cgroups()
        unset = machine.put_back()
        shutil.rmtree(places.RUN, ignore_errors=True)
    if os.geteuid() == 0:
        left += unset  # who is not root cannot put back what root's Docker has set
    if left:
        raise progress.Failed("\n  ".join(["left behind:", *left]))


def _deleted(docker: kind.Docker) -> list[str]:
    try:
        if kind.names(docker):
            kind.delete(docker)
    except progress.Failed as error:
        # In a private Docker it ends with that, and the next `up` deletes what its images' folder still knows of it.
        return [] if docker.private else [str(error)]
    return []


def _making() -> str:
    return places.key(*(places.HERE / name for name in MAKING))


def _write(cluster: Cluster) -> None:
    NOTE.parent.mkdir(parents=True, exist_ok=True)
    new = NOTE.with_suffix(".new")
    new.write_text(json.dumps(dataclasses.asdict(cluster)))
    new.replace(NOTE)


@contextmanager
def _locked() -> Iterator[None]:
    """Let one process bring up or take down at a time; say so when that means to wait."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a+") as lock:
        waiting = False
        while not _taken(lock):
            if not waiting:
                lock.seek(0)
                progress.say(f"waiting for process {lock.read().strip()}, which is at it already ...")
            waiting = True
            progress.heed()
            time.sleep(0.5)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _taken(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
