"""What the administrator has decided, as the environment says it; the chart sets all of it. Nothing reads it elsewhere."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kubetune_operator.errors import KubetuneError

SIDECAR = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}
LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("json", "text")


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it, checked."""

    namespace: str  # the operator's own
    watched: tuple[str, ...]  # namespaces; none: all of them
    root: Path  # the volume
    runtime_image: str
    runtime_pull_policy: str
    service: str  # the name under which sidecars reach us
    service_port: int
    intake_port: int
    health_port: int
    tls: Path | None  # a mounted certificate; none: the operator is its own authority
    log_level: str
    log_format: str
    sidecar_resources: Mapping[str, Any]

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Self:
        """Read the environment. Raises KubetuneError with the variable, the rule and what was found."""
        namespace = _required(environ, "KUBETUNE_NAMESPACE", "the namespace that the operator runs in")
        return cls(
            namespace=namespace,
            watched=tuple(filter(None, (one.strip() for one in environ.get("KUBETUNE_WATCH_NAMESPACES", "").split(",")))),
            root=Path(environ.get("KUBETUNE_ROOT", "/var/lib/kubetune")),
            runtime_image=_required(environ, "KUBETUNE_RUNTIME_IMAGE", "the image of the sidecar"),
            runtime_pull_policy=_one_of(environ, "KUBETUNE_RUNTIME_PULL_POLICY", ("IfNotPresent", "Always", "Never")),
            service=environ.get("KUBETUNE_SERVICE", f"kubetune.{namespace}.svc"),
            service_port=_port(environ, "KUBETUNE_SERVICE_PORT", 8443),
            intake_port=_port(environ, "KUBETUNE_INTAKE_PORT", 8443),
            health_port=_port(environ, "KUBETUNE_HEALTH_PORT", 8081),
            tls=Path(folder) if (folder := environ.get("KUBETUNE_TLS_FOLDER")) else None,
            log_level=_one_of(environ, "KUBETUNE_LOG_LEVEL", ("info", *LEVELS)),
            log_format=_one_of(environ, "KUBETUNE_LOG_FORMAT", FORMATS),
            sidecar_resources=_resources(environ, "KUBETUNE_SIDECAR_RESOURCES"),
        )

    @property
    def endpoint(self) -> str:
        """Give the URL under which sidecars reach the intake."""
        return f"https://{self.service}:{self.service_port}"


def _required(environ: Mapping[str, str], name: str, what: str) -> str:
    value = environ.get(name, "")
    if not value:
        raise KubetuneError(f"{name}: must be set to {what}; the chart does so")
    return value


def _one_of(environ: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    """Read a word; the first of those allowed is the default."""
    value = environ.get(name) or allowed[0]
    if value not in allowed:
        raise KubetuneError(f"{name}: must be one of {', '.join(dict.fromkeys(allowed))}, got {value!r}")
    return value


def _port(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name) or str(default)
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 0 < int(text) < 65536):
        raise KubetuneError(f"{name}: must be a port, 1 to 65535, got {text!r}")
    return int(text)


def _resources(environ: Mapping[str, str], name: str) -> Mapping[str, Any]:
    text = environ.get(name, "")
    if not text:
        return SIDECAR
    try:
        found = json.loads(text)
    except ValueError as error:
        raise KubetuneError(f"{name}: must be a JSON object of requests and limits, got {text!r}: {error}") from error
    if not isinstance(found, dict):
        raise KubetuneError(f"{name}: must be a JSON object of requests and limits, got {text!r}")
    return found
