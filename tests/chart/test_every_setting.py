"""What holds whatever an administrator sets: valid to the API server, labelled, restricted, the same on every render."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.chart import charts
from tests.chart.charts import CHART, CRD, HELMS, NAMESPACE, Manifest, Values, pods, settings

pytestmark = pytest.mark.slow

VERSIONS = ("1.29", "1.37")  # the oldest that the chart admits, and the newest whose schema there is
CLUSTERWIDE = {CRD, "ClusterRole", "ClusterRoleBinding"}
STANDARD = {f"app.kubernetes.io/{each}" for each in ("name", "instance", "version", "component", "part-of", "managed-by")} | {
    "helm.sh/chart"
}
VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


@pytest.fixture(params=settings(), ids=lambda case: case[0].replace(" ", "-"))
def values(request: pytest.FixtureRequest) -> Values:
    """Give values that somebody may want."""
    found: Values = request.param[1]
    return found


def test_it_holds(values: Values) -> None:
    """All rules on one rendering, as that is what takes the time."""
    new, old = HELMS
    text = new.text(values)
    assert text == new.text(values), "rendered twice, it is not the same"
    manifests = charts.parsed(text)
    assert by_name(old.render(values)) == by_name(manifests), "Helm 3 makes something else of it"
    for each in manifests:
        for version in VERSIONS:
            if each["kind"] != CRD:  # crdcheck asks the API server's own code
                kubernetes_validate.validate(each, version, strict=True)
        assert set(each["metadata"]["labels"]) >= STANDARD
        assert (each["kind"] in CLUSTERWIDE) == ("namespace" not in each["metadata"])
        if each["kind"] not in {*CLUSTERWIDE, "Role", "RoleBinding"}:
            assert each["metadata"]["namespace"] == NAMESPACE
    for pod in pods(manifests):
        assert list(unrestricted(pod)) == []
        for container in pod["containers"]:
            assert re.search(r"(@sha256:[0-9a-f]{64}|:[\w.-]+)$", container["image"])
            assert not container["image"].endswith(":latest")
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}
            assert set(container["resources"]["limits"]) == {"memory"}
    check_service(manifests)


def by_name(manifests: list[Manifest]) -> dict[tuple[str, str, str], Manifest]:
    """Give them in no order."""
    return {(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each for each in manifests}


def check_service(manifests: list[Manifest]) -> None:
    """Look whether the Service finds the operator's pod and no other, as an upgrade leaves its selector alone."""
    (service,) = (each for each in manifests if each["kind"] == "Service")
    (deployment,) = (each for each in manifests if each["kind"] == "Deployment")
    (test,) = (each for each in manifests if each["kind"] == "Pod")
    selector, labels = service["spec"]["selector"], deployment["spec"]["template"]["metadata"]["labels"]
    assert selector == deployment["spec"]["selector"]["matchLabels"]
    assert set(selector) == {f"app.kubernetes.io/{each}" for each in ("name", "instance", "component")}
    assert selector.items() <= labels.items()
    assert not selector.items() <= test["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert port["targetPort"] in {each["name"] for each in container["ports"]}


def unrestricted(pod: Mapping[str, Any]) -> Iterator[str]:
    """Say what the restricted Pod Security Standard has against a pod."""
    yield from (field for field in ("hostNetwork", "hostPID", "hostIPC") if pod.get(field))
    yield from (f"volume {each['name']}" for each in pod.get("volumes", []) if not (each.keys() - {"name"}) <= VOLUMES)
    for container in [*pod["containers"], *pod.get("initContainers", [])]:
        own = container.get("securityContext") or {}
        both = {**(pod.get("securityContext") or {}), **own}
        handlers = [container.get(f"{each}Probe", {}).get("httpGet", {}) for each in ("startup", "liveness", "readiness")]
        rules = {
            "privileged": not own.get("privileged"),
            "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
            "capabilities": own.get("capabilities") == {"drop": ["ALL"]},
            "runAsNonRoot": both.get("runAsNonRoot") is True and both.get("runAsUser") != 0,
            "seccompProfile": both.get("seccompProfile", {}).get("type") in {"RuntimeDefault", "Localhost"},
            "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,  # not the standard's, but ours
            "hostPort": not any(port.get("hostPort") for port in container.get("ports", [])),
            "a probe's host": not any("host" in each for each in handlers),
        }
        yield from (f"{container['name']}: {rule}" for rule, kept in rules.items() if not kept)


@pytest.mark.parametrize(
    "breach",
    [
        {"hostNetwork": True},
        {"volumes": [{"name": "x", "hostPath": {"path": "/"}}]},
        {"securityContext": {"runAsNonRoot": False}},
        {"securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "Unconfined"}}},
        {"containers": [{"name": "x", "securityContext": {"allowPrivilegeEscalation": True}}]},
        {"containers": [{"name": "x", "securityContext": {"allowPrivilegeEscalation": False}}]},
    ],
    ids=["host network", "host path", "root", "unconfined", "escalation", "capabilities"],
)
def test_a_breach_of_the_standard_is_seen(breach: Mapping[str, Any]) -> None:
    pod = next(pods(HELMS[0].render()))
    assert list(unrestricted(pod)) == []
    assert list(unrestricted({**pod, **breach}))


def leaves(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Give the path of each value; what is empty or free inside counts as one."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value and name not in {"affinity", "annotations", "limits", "requests"}:
            yield from leaves(value, f"{path}{name}.")
        else:
            yield path + name


def test_between_them_they_set_every_value() -> None:
    """A value that no case sets is a value that nobody has tried."""
    defaults = yaml.safe_load((CHART / "values.yaml").read_text())
    tried = {path for _, case in settings() for path in leaves(case)}
    tried |= {each.rpartition(".")[0] for each in tried}
    free = re.compile(r"^(podSecurityContext|securityContext|nodeSelector|\w+Probe)\.")
    assert sorted(path for path in leaves(defaults) if not free.match(path) and path not in tried) == []


def test_every_value_is_described_and_in_the_schema() -> None:
    text = (CHART / "values.yaml").read_text()
    schema = json.loads((CHART / "values.schema.json").read_text())
    said = ""
    for line in text.splitlines():
        if found := re.match(r"( *)([A-Za-z]+):", line):
            indent, name = len(found[1]), found[2]
            if indent == 0:
                assert name in schema["properties"], f"{name} is not in the schema"
            opens = line.rstrip().endswith(":")
            inner = name in {"requests", "limits"} or re.match(r" +(run|fs|seccomp|allow|readOnly|capab)", line)
            assert opens or inner or "# -- " in said, f"{name} is not described"
            said = ""
        elif line.strip().startswith("#"):
            said += line
