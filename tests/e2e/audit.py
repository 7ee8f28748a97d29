"""The API server's audit log: who has asked it for what. Where it lies is the cluster's business and is known here alone."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any

from tests.e2e.kubectl import Kubectl, Manifest

LOG = "kubernetes/audit.log"  # below the control plane's /var/log

Right = tuple[str, str, str]  # group, resource (with its subresource), verb


def now() -> str:
    """Give the present as the log has it: what comes later is greater."""
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def entries(kubectl: Kubectl, nodes: Sequence[Manifest], user: str = "", *, since: str = "") -> list[dict[str, Any]]:
    """Give what was asked, by one user or by all, since then or ever."""
    (server,) = [
        node["metadata"]["name"] for node in nodes if "node-role.kubernetes.io/control-plane" in node["metadata"]["labels"]
    ]
    log = kubectl("get", "--raw", f"/api/v1/nodes/{server}/proxy/logs/{LOG}")
    found = [json.loads(line) for line in log.splitlines() if user in line]
    return [each for each in found if user in {"", each["user"]["username"]} and each["requestReceivedTimestamp"] >= since]


def right(entry: dict[str, Any]) -> Right:
    """Give the right that a request asks for; an empty resource for one of a path."""
    asked = entry.get("objectRef") or {}
    resource = "/".join(filter(None, (asked.get("resource"), asked.get("subresource"))))
    return asked.get("apiGroup", ""), resource, entry["verb"]


def is_refused(entry: dict[str, Any]) -> bool:
    """Tell whether who asked had no right to."""
    return bool(entry.get("annotations", {}).get("authorization.k8s.io/decision") == "forbid")
