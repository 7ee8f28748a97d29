"""What the environment may say, and what is said where it is wrong: variable, rule, value."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubetune_operator.errors import KubetuneError
from kubetune_operator.settings import SIDECAR, Settings

LEAST = {"KUBETUNE_NAMESPACE": "tuning", "KUBETUNE_RUNTIME_IMAGE": "registry.example/kubetune:1"}


def test_two_things_must_be_said_and_all_else_has_a_default() -> None:
    assert Settings.read(LEAST) == Settings(
        namespace="tuning",
        watched=(),
        root=Path("/var/lib/kubetune"),
        runtime_image="registry.example/kubetune:1",
        runtime_pull_policy="IfNotPresent",
        service="kubetune.tuning.svc",
        service_port=8443,
        intake_port=8443,
        health_port=8081,
        tls=None,
        log_level="info",
        log_format="json",
        sidecar_resources=SIDECAR,
    )


def test_all_of_it_can_be_said() -> None:
    found = Settings.read(
        LEAST
        | {
            "KUBETUNE_WATCH_NAMESPACES": "a, b,,",
            "KUBETUNE_ROOT": "/data",
            "KUBETUNE_RUNTIME_PULL_POLICY": "Never",
            "KUBETUNE_SERVICE": "intake.example",
            "KUBETUNE_SERVICE_PORT": "443",
            "KUBETUNE_INTAKE_PORT": "65535",
            "KUBETUNE_HEALTH_PORT": "1",
            "KUBETUNE_TLS_FOLDER": "/certificate",
            "KUBETUNE_LOG_LEVEL": "debug",
            "KUBETUNE_LOG_FORMAT": "text",
            "KUBETUNE_SIDECAR_RESOURCES": '{"limits": {"memory": "1Gi"}}',
        }
    )
    assert found == Settings(
        namespace="tuning",
        watched=("a", "b"),
        root=Path("/data"),
        runtime_image="registry.example/kubetune:1",
        runtime_pull_policy="Never",
        service="intake.example",
        service_port=443,
        intake_port=65535,
        health_port=1,
        tls=Path("/certificate"),
        log_level="debug",
        log_format="text",
        sidecar_resources={"limits": {"memory": "1Gi"}},
    )
    assert found.endpoint == "https://intake.example:443"


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("NAMESPACE", "", "must be set to the namespace that the operator runs in; the chart does so"),
        ("RUNTIME_IMAGE", "", "must be set to the image of the sidecar; the chart does so"),
        ("RUNTIME_PULL_POLICY", "Sometimes", "must be one of IfNotPresent, Always, Never, got 'Sometimes'"),
        ("LOG_LEVEL", "INFO", "must be one of info, debug, warning, error, got 'INFO'"),
        ("LOG_FORMAT", "xml", "must be one of json, text, got 'xml'"),
        ("SERVICE_PORT", "0", "must be a port, 1 to 65535, got '0'"),
        ("INTAKE_PORT", "65536", "must be a port, 1 to 65535, got '65536'"),
        ("HEALTH_PORT", "http", "must be a port, 1 to 65535, got 'http'"),
        ("HEALTH_PORT", "-1", "must be a port, 1 to 65535, got '-1'"),
        ("HEALTH_PORT", "²", "must be a port, 1 to 65535, got '²'"),
        ("HEALTH_PORT", "1" * 5000, "must be a port, 1 to 65535, got '111"),
        ("SIDECAR_RESOURCES", "cpu: 1", "must be a JSON object of requests and limits, got 'cpu: 1': Expecting value"),
        ("SIDECAR_RESOURCES", "[1]", "must be a JSON object of requests and limits, got '[1]'"),
    ],
    ids=lambda value: value[:20],
)
def test_what_is_wrong_is_named_with_its_rule_and_value(name: str, value: str, rule: str) -> None:
    with pytest.raises(KubetuneError, match=f"^KUBETUNE_{name}: ") as caught:
        Settings.read(LEAST | {f"KUBETUNE_{name}": value})
    assert str(caught.value).startswith(f"KUBETUNE_{name}: {rule}")


@pytest.mark.parametrize("name", sorted(LEAST))
def test_what_must_be_said_is_missed(name: str) -> None:
    with pytest.raises(KubetuneError, match=f"^{name}: must be set to"):
        Settings.read({other: value for other, value in LEAST.items() if other != name})
