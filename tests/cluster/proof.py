"""Whether the cluster is one: on each node a pod finds a Service by its name, reaches it, and writes to a volume of its own.

A node that is Ready proves none of that. The names must come from the cluster's DNS: an answer from outside would not know
the API server's own Service address.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.cluster import progress, versions
from tests.cluster.kind import Docker

NAMESPACE = "kubetune-proof"
SECONDS = 120
CLIENT = """
import os, socket, time, urllib.request

def holds(what, check):
    for _ in range(60):
        try:
            assert check(), "it does not hold"
            return print(what, flush=True)
        except (AssertionError, OSError) as error:
            said = error
            time.sleep(1)
    raise SystemExit(f"{what}: {said!r}")

api = os.environ["KUBERNETES_SERVICE_HOST"]
holds("the API server's Service is found by name", lambda: socket.gethostbyname("kubernetes.default.svc.cluster.local") == api)
holds("a Service is reached by name", lambda: urllib.request.urlopen("http://server/", timeout=5).status == 200)
holds("the volume can be written to", lambda: open("/data/proof", "w").write("1") == 1)
"""


def prove(docker: Docker, kubectl: Sequence[str]) -> None:
    """Raise Failed, with what the cluster says, unless it is fit for tests."""
    with progress.step("proving DNS, Services and volumes", "proof") as log:
        code, said = docker.asked([*kubectl, "get", "nodes", "--output", "name"])
        nodes = [line.removeprefix("node/") for line in said.split()]
        if code != 0 or not nodes:
            raise progress.Failed(f"the cluster has no nodes: {said}")
        docker.run([*kubectl, "apply", "--filename", "-"], log, given=json.dumps(_manifest(nodes)))
        waiting = ["wait", "--namespace", NAMESPACE, "--for=jsonpath={.status.phase}=Succeeded", f"--timeout={SECONDS}s"]
        try:
            docker.run([*kubectl, *waiting, "pod", "--selector", "role=client"], log)
        except progress.Failed as error:
            raise progress.Failed(f"the cluster is not fit for tests: {error}\n{_seen(docker, kubectl)}") from None
        docker.run([*kubectl, "delete", "namespace", NAMESPACE, "--wait=false"], log)


def _seen(docker: Docker, kubectl: Sequence[str]) -> str:
    questions = (
        ["logs", "--namespace", NAMESPACE, "--selector", "role=client", "--tail=20"],
        ["get", "pods", "--all-namespaces", "--output", "wide"],
        ["get", "events", "--namespace", NAMESPACE, "--sort-by=.lastTimestamp"],
    )
    return "\n".join(f"$ kubectl {' '.join(words)}\n{docker.asked([*kubectl, *words])[1]}" for words in questions)


def _manifest(nodes: Sequence[str]) -> dict[str, Any]:
    server = _pod("server", ["python3", "-m", "http.server", "8000"])
    service = _object(
        "v1", "Service", "server", spec={"selector": {"role": "server"}, "ports": [{"port": 80, "targetPort": 8000}]}
    )
    clients = [part for number, node in enumerate(nodes) for part in _client(f"client-{number}", node)]
    return {"apiVersion": "v1", "kind": "List", "items": [_namespace(), server, service, *clients]}


def _client(name: str, node: str) -> list[dict[str, Any]]:
    request = {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "1Mi"}}}
    pod = _pod(name, ["python3", "-c", CLIENT], role="client")
    pod["spec"]["nodeSelector"] = {"kubernetes.io/hostname": node}
    pod["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    pod["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]
    return [_object("v1", "PersistentVolumeClaim", name, spec=request), pod]


def _pod(name: str, command: list[str], *, role: str = "") -> dict[str, Any]:
    container = {"name": "main", "image": versions.PYTHON_IMAGE, "command": command}
    spec = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 0,
        "tolerations": [{"operator": "Exists"}],
        "securityContext": {"runAsUser": 65534, "runAsNonRoot": True},
        "containers": [container],
    }
    pod = _object("v1", "Pod", name, spec=spec)
    pod["metadata"]["labels"] = {"role": role or name}
    return pod


def _namespace() -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


def _object(version: str, kind: str, name: str, *, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec}
