"""The objects that the tests of the cluster make: a pod that Pod Security's strictest level admits, and what goes with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tests.e2e.kubectl import Manifest

PYTHON = "python:3.13-slim"


def python(program: str, **more: Any) -> Manifest:
    """Give a container that runs a Python program."""
    return container(command=["python", "-u", "-c", program], **more)


def container(**more: Any) -> Manifest:
    """Give a container that may do nothing that it need not."""
    security = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    return {"name": "main", "image": PYTHON, "securityContext": security} | more


def pod(name: str, *containers: Manifest, labels: Mapping[str, str] | None = None, **more: Any) -> Manifest:
    """Give a pod of these containers that runs as nobody and is not started again."""
    security = {"runAsNonRoot": True, "runAsUser": 65534, "fsGroup": 65534, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "securityContext": security,
        "containers": list(containers),
    }
    metadata = {"name": name, "labels": dict(labels or {})}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec | more}


def service(name: str, selector: Mapping[str, str], port: int, target: int) -> Manifest:
    """Give a Service."""
    spec = {"selector": dict(selector), "ports": [{"port": port, "targetPort": target}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def claim(name: str, modes: Sequence[str]) -> Manifest:
    """Give a claim to a volume of the default storage class."""
    spec = {"accessModes": list(modes), "resources": {"requests": {"storage": "1Mi"}}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}
