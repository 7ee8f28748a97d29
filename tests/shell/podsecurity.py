"""Kubernetes' Pod Security Standard "restricted", as its documentation states it: what in a pod's spec breaks it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
)

Spec = Mapping[str, Any]


def breaches(spec: Spec) -> list[str]:
    """Give the fields that break the standard."""
    whole = spec.get("securityContext") or {}
    found = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    found += [f"volumes.{one['name']}" for one in spec.get("volumes") or () if not one.keys() - {"name"} <= VOLUMES]
    found += [f"sysctls.{one['name']}" for one in whole.get("sysctls") or () if one["name"] not in SYSCTLS]
    for container in [*(spec.get("initContainers") or ()), *spec["containers"]]:
        found += [f"{container['name']}.{field}" for field in _container(container, whole)]
    return found


def _container(container: Spec, whole: Spec) -> Iterator[str]:
    own = container.get("securityContext") or {}
    capabilities = own.get("capabilities") or {}
    seccomp = own.get("seccompProfile") or whole.get("seccompProfile") or {}
    rules = {
        "ports": not any(port.get("hostPort") for port in container.get("ports") or ()),
        "privileged": not own.get("privileged"),
        "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
        "capabilities.drop": "ALL" in (capabilities.get("drop") or ()),
        "capabilities.add": set(capabilities.get("add") or ()) <= {"NET_BIND_SERVICE"},
        "runAsNonRoot": own.get("runAsNonRoot", whole.get("runAsNonRoot")) is True,
        "runAsUser": own.get("runAsUser") != 0 and whole.get("runAsUser") != 0,
        "seccompProfile": seccomp.get("type") in {"RuntimeDefault", "Localhost"},
        "procMount": own.get("procMount", "Default") == "Default",
    }
    yield from (field for field, kept in rules.items() if not kept)
