"""The cluster as kind makes it: its configuration, and kind's commands by the Docker that is used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import golang, places, progress, sandbox

NAME = "kubetune-tests"
READY = 180  # seconds for the nodes to be ready
POLICY = places.RUN / "audit-policy.yaml"
AUDIT_LOG = "/var/log/kubernetes/audit.log"  # in the node, and in the API server's pod
AUDIT_POLICY = "/etc/kubernetes/audit-policy.yaml"


@dataclass(frozen=True, slots=True)
class Docker:
    """The Docker that kind works with: the one that runs here, or a private one."""

    private: bool

    @property
    def environment(self) -> dict[str, str]:
        """Give the variables that lead to it."""
        return sandbox.DOCKER if self.private else {}

    def command(self, words: progress.Words) -> list[str]:
        """Give the command that runs another where that Docker and the cluster are reached."""
        return sandbox.enter(words) if self.private else [str(word) for word in words]

    def run(self, words: progress.Words, log: Path, *, env: Mapping[str, str] | None = None, given: str = "") -> None:
        """Run a command there, into the log of its step."""
        progress.run(self.command(words), log, env=self.environment | dict(env or {}), given=given)

    def asked(self, words: progress.Words, *, timeout: float = 60) -> tuple[int, str]:
        """Ask a quick question there; give the exit code and what was said."""
        return progress.asked(self.command(words), env=self.environment, timeout=timeout)


def prepare() -> None:
    """Make what nodes mount, before Docker starts: it makes a folder of whatever a node of a killed Docker misses."""
    places.AUDIT.mkdir(parents=True, exist_ok=True)
    POLICY.write_text(json.dumps(_audit_policy()))


def create(docker: Docker, image: str, nodes: int) -> None:
    """Create the cluster of this many nodes and wait until they are ready."""
    many = f"{nodes} node{'s' if nodes > 1 else ''}"
    with progress.step(f"creating a cluster of {many}", "kind-create") as log:
        configuration = json.dumps(_configuration(nodes))
        options: progress.Words = [
            "--name",
            NAME,
            "--image",
            image,
            "--kubeconfig",
            places.KUBECONFIG,
            "--wait",
            f"{READY}s",
            "--config",
            "-",
        ]
        try:
            docker.run([golang.program("kind"), "create", "cluster", *options, "--retain"], log, given=configuration)
        except progress.Failed as error:
            raise progress.Failed(f"{error}\nthe nodes' own logs are in {_exported(docker)}") from None


def delete(docker: Docker) -> None:
    """Delete the cluster, or half of one, and kind's network unless another cluster is in it."""
    with progress.step("deleting the cluster", "kind-delete") as log:
        docker.run([golang.program("kind"), "delete", "cluster", "--name", NAME, "--kubeconfig", places.KUBECONFIG], log)
        docker.asked(["docker", "network", "rm", "kind"])


def load(docker: Docker, archive: Path) -> None:
    """Load the images of a docker-archive into every node."""
    with progress.step(f"loading {archive.name} into the cluster", "kind-load") as log:
        docker.run([golang.program("kind"), "load", "image-archive", archive.resolve(), "--name", NAME], log)


def switch(docker: Docker, node: str, *, on: bool) -> None:
    """Cut a node's power, or give it back."""
    with progress.step(f"{'starting' if on else 'killing'} {node}", "kind-node") as log:
        docker.run(["docker", "start" if on else "kill", node], log)


def names(docker: Docker) -> list[str]:
    """Give the names of the node containers that exist, running or not."""
    label = f"label=io.x-k8s.kind.cluster={NAME}"
    code, said = docker.asked(["docker", "ps", "--all", "--filter", label, "--format", "{{.Names}}"])
    return said.split() if code == 0 else []


def _exported(docker: Docker) -> Path:
    """Keep the logs of nodes that are about to be deleted."""
    folder = places.LOGS / "nodes"
    shutil.rmtree(folder, ignore_errors=True)
    docker.asked([golang.program("kind"), "export", "logs", "--name", NAME, folder], timeout=120)
    return folder


def _configuration(nodes: int) -> dict[str, Any]:
    mounts = [
        {"hostPath": str(places.AUDIT), "containerPath": str(Path(AUDIT_LOG).parent)},
        {"hostPath": str(POLICY), "containerPath": AUDIT_POLICY, "readOnly": True},
    ]
    return {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "nodes": [{"role": "control-plane", "extraMounts": mounts}] + [{"role": "worker"}] * (nodes - 1),
        "kubeadmConfigPatches": [json.dumps(_api_server()), json.dumps(_kubelet())],
    }


def _api_server() -> dict[str, Any]:
    """Give kubeadm's patch that switches the audit log on. kind writes v1beta3 up to Kubernetes 1.35."""
    volumes = [
        {"name": "audit-policy", "hostPath": AUDIT_POLICY, "mountPath": AUDIT_POLICY, "readOnly": True, "pathType": "File"},
        {
            "name": "audit-log",
            "hostPath": str(Path(AUDIT_LOG).parent),
            "mountPath": str(Path(AUDIT_LOG).parent),
            "pathType": "DirectoryOrCreate",
        },
    ]
    arguments = {"audit-policy-file": AUDIT_POLICY, "audit-log-path": AUDIT_LOG, "audit-log-maxsize": "200"}
    return {
        "kind": "ClusterConfiguration",
        "apiVersion": "kubeadm.k8s.io/v1beta3",
        "apiServer": {"extraArgs": arguments, "extraVolumes": volumes},
    }


def _kubelet() -> dict[str, Any]:
    return {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},  # else ten restarts take half an hour
        "failCgroupV1": False,  # the host may be an old one
    }


def _audit_policy() -> dict[str, Any]:
    """Give what the audit log holds: who asked what, and the bodies of what changes trials and experiments."""
    leases = {"group": "coordination.k8s.io", "resources": ["leases"]}
    changed = [{"group": "kubetune.dev"}, {"group": "", "resources": ["pods"]}]
    return {
        "kind": "Policy",
        "apiVersion": "audit.k8s.io/v1",
        "omitStages": ["RequestReceived"],
        "rules": [
            {"level": "None", "resources": [leases]},
            {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*", "/version"]},
            {"level": "Request", "verbs": ["create", "update", "patch", "delete"], "resources": changed},
            {"level": "Metadata"},
        ],
    }
