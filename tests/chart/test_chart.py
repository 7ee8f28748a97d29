"""What single values do, what is refused, and where the chart may be installed."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml

from kubetune_operator.settings import Settings
from tests.chart.charts import CHART, CRD, HELMS, NAMESPACE, Helm, Refused, environment, of, operator, the
from tests.cluster import places

pytestmark = pytest.mark.slow

DIGEST = "sha256:" + "1" * 64
SOURCE = places.REPOSITORY / "operator" / "kubetune_operator" / "settings.py"


def test_it_has_the_version_of_what_it_installs() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    ours = [tomllib.loads((places.REPOSITORY / each / "pyproject.toml").read_text()) for each in ("operator", "trial-runtime")]
    assert {each["project"]["version"] for each in ours} == {chart["appVersion"]} == {chart["version"]}


def test_helm_has_nothing_against_it(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


@pytest.mark.parametrize("version", ["1.29.0", "1.33.2-gke.100", "1.37.1-eks-1a2b3c4"])
def test_it_goes_where_native_sidecars_are(helm: Helm, version: str) -> None:
    assert helm.render(None, "--kube-version", version)


def test_it_goes_nowhere_else(helm: Helm) -> None:
    with pytest.raises(Refused, match=r"kubeVersion: >=1\.29\.0-0 which is incompatible with Kubernetes v1\.28\.9"):
        helm.render(None, "--kube-version", "1.28.9")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"replicaCount": 2}, "replicaCount"),
        ({"replicas": 2}, "replicas"),
        ({"resource": {}}, "resource"),
        ({"image": {"name": "x"}}, "name"),
        ({"image": {"tag": "latest"}}, "image/tag|image.tag"),
        ({"image": {"tag": 1}}, "image/tag|image.tag"),
        ({"image": {"digest": "sha256:12"}}, "image/digest|image.digest"),
        ({"image": {"registry": "https://registry.example/"}}, "image/registry|image.registry"),
        ({"image": {"pullPolicy": "Sometimes"}}, "image/pullPolicy|image.pullPolicy"),
        ({"runtime": {"image": {"tag": "latest"}}}, "runtime/image/tag|runtime.image.tag"),
        ({"runtime": {"resources": {"claims": []}}}, "claims"),
        ({"watchNamespaces": "team-a"}, "watchNamespaces"),
        ({"watchNamespaces": ["Team"]}, "watchNamespaces"),
        ({"watchNamespaces": ["a", "a"]}, "watchNamespaces"),
        ({"logLevel": "loud"}, "logLevel"),
        ({"logFormat": "xml"}, "logFormat"),
        ({"crds": {"install": "yes"}}, "crds/install|crds.install"),
        ({"persistence": {"accessModes": ["ReadOnlyMany"]}}, "persistence/accessModes/0|persistence.accessModes.0"),
        ({"persistence": {"size": "10 GB"}}, "persistence/size|persistence.size"),
        ({"service": {"port": 0}}, "service/port|service.port"),
        ({"resources": {"limits": {"memory": "much"}}}, "resources/limits/memory|resources.limits.memory"),
        ({"livenessProbe": {"exec": {}}}, "exec"),
        ({"extraEnv": [{"name": "KUBETUNE_ROOT", "value": "/"}]}, "extraEnv/0/name|extraEnv.0.name"),
    ],
    ids=str,
)
def test_a_value_that_is_wrong_or_misspelt_is_refused_by_name(helm: Helm, values: dict[str, Any], message: str) -> None:
    with pytest.raises(Refused, match=message):
        helm.render(values)


@pytest.mark.parametrize(
    ("values", "images"),
    [
        ({}, ("kubetune/operator:0.1.0", "kubetune/runtime:0.1.0")),
        (
            {"image": {"registry": "r.example:5000/x"}},
            ("r.example:5000/x/kubetune/operator:0.1.0", "r.example:5000/x/kubetune/runtime:0.1.0"),
        ),
        ({"image": {"tag": "2"}}, ("kubetune/operator:2", "kubetune/runtime:0.1.0")),
        (
            {"image": {"registry": "a.example"}, "runtime": {"image": {"registry": "b.example", "tag": "3"}}},
            ("a.example/kubetune/operator:0.1.0", "b.example/kubetune/runtime:3"),
        ),
        ({"image": {"digest": DIGEST, "tag": "2"}}, (f"kubetune/operator@{DIGEST}", "kubetune/runtime:0.1.0")),
        ({"runtime": {"image": {"digest": DIGEST}}}, ("kubetune/operator:0.1.0", f"kubetune/runtime@{DIGEST}")),
    ],
    ids=["defaults", "one registry", "tag", "two registries", "digest", "digest of the runtime"],
)
def test_images(helm: Helm, values: dict[str, Any], images: tuple[str, str]) -> None:
    manifests = helm.render(values)
    assert (operator(manifests)["image"], environment(manifests)["KUBETUNE_RUNTIME_IMAGE"]) == images
    assert the(manifests, "Pod")["spec"]["containers"][0]["image"] == images[0]


def test_the_chart_sets_every_setting_and_the_operator_takes_them(helm: Helm) -> None:
    manifests = helm.render(
        {
            "watchNamespaces": ["team-a", "team-b"],
            "service": {"port": 443},
            "logFormat": "text",
            "runtime": {"image": {"pullPolicy": "Never"}, "resources": {"requests": {"cpu": 1}, "limits": {"memory": "64Mi"}}},
        },
        release="other",
    )
    found = environment(manifests)
    assert set(found) == set(re.findall(r'"(KUBETUNE_[A-Z_]+)"', SOURCE.read_text()))
    settings = Settings.read(found)
    assert settings.namespace == NAMESPACE
    assert settings.watched == ("team-a", "team-b")
    assert settings.endpoint == f"https://other-kubetune.{NAMESPACE}.svc:443"
    assert settings.endpoint.split("//")[1].split(".")[0] == the(manifests, "Service")["metadata"]["name"]
    assert (settings.log_level, settings.log_format, settings.runtime_pull_policy) == ("info", "text", "Never")
    assert settings.sidecar_resources["requests"]["cpu"] == 1
    container = operator(manifests)
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert ports == {"reports": settings.intake_port, "health": settings.health_port}
    assert {each["name"]: each["mountPath"] for each in container["volumeMounts"]}["results"] == str(settings.root)


def test_a_certificate_from_elsewhere_is_mounted_where_the_operator_looks_for_it(helm: Helm) -> None:
    manifests = helm.render({"tls": {"existingSecret": "brought"}})
    mounts = {each["name"]: each for each in operator(manifests)["volumeMounts"]}
    volumes = {each["name"]: each for each in the(manifests, "Deployment")["spec"]["template"]["spec"]["volumes"]}
    assert volumes["tls"] == {"name": "tls", "secret": {"secretName": "brought"}}
    assert mounts["tls"] == {"name": "tls", "mountPath": str(Settings.read(environment(manifests)).tls), "readOnly": True}
    own = helm.render()
    assert Settings.read(environment(own)).tls is None
    assert "tls" not in {each["name"] for each in operator(own)["volumeMounts"]}


def test_one_operator_that_the_next_one_waits_for(helm: Helm) -> None:
    spec = the(helm.render(), "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_probes(helm: Helm) -> None:
    container = operator(helm.render({"livenessProbe": {"timeoutSeconds": 9}}))
    asked = {each: container[f"{each}Probe"]["httpGet"] for each in ("startup", "liveness", "readiness")}
    assert asked == {
        "startup": {"path": "/healthz", "port": "health"},
        "liveness": {"path": "/healthz", "port": "health"},
        "readiness": {"path": "/readyz", "port": "health"},
    }
    assert (container["livenessProbe"]["timeoutSeconds"], container["livenessProbe"]["periodSeconds"]) == (9, 10)


@pytest.mark.parametrize(
    ("values", "spec"),
    [
        ({}, {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "10Gi"}}}),
        (
            {"storageClass": "fast", "accessModes": ["ReadWriteOnce"], "size": "1Ti"},
            {"accessModes": ["ReadWriteOnce"], "storageClassName": "fast", "resources": {"requests": {"storage": "1Ti"}}},
        ),
        (
            {"storageClass": "-"},
            {"accessModes": ["ReadWriteOncePod"], "storageClassName": "", "resources": {"requests": {"storage": "10Gi"}}},
        ),
    ],
    ids=["defaults", "class", "no class"],
)
def test_the_claim(helm: Helm, values: dict[str, Any], spec: dict[str, Any]) -> None:
    manifests = helm.render({"persistence": values})
    claim = the(manifests, "PersistentVolumeClaim")
    assert claim["spec"] == spec
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert mounted(manifests) == {"persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}


@pytest.mark.parametrize(
    ("values", "volume"),
    [
        ({"existingClaim": "mine"}, {"persistentVolumeClaim": {"claimName": "mine"}}),
        ({"enabled": False}, {"emptyDir": {}}),
    ],
    ids=["existing", "none"],
)
def test_no_claim_is_made(helm: Helm, values: dict[str, Any], volume: dict[str, Any]) -> None:
    manifests = helm.render({"persistence": values})
    assert of(manifests, "PersistentVolumeClaim") == []
    assert mounted(manifests) == volume


def test_the_claim_may_go_with_the_release(helm: Helm) -> None:
    claim = the(helm.render({"persistence": {"retain": False}}), "PersistentVolumeClaim")
    assert "annotations" not in claim["metadata"]


def mounted(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """Give what the results are on."""
    volumes = the(manifests, "Deployment")["spec"]["template"]["spec"]["volumes"]
    (found,) = (each for each in volumes if each["name"] == "results")
    return {name: value for name, value in found.items() if name != "name"}


@pytest.mark.parametrize("release", ["r" * 53, "v1.kubetune", "other"], ids=["long", "dotted", "other"])
def test_names_are_names_whatever_the_release_is_called(helm: Helm, release: str) -> None:
    manifests = helm.render(release=release)
    names = {each["metadata"]["name"] for each in manifests if each["kind"] != CRD}
    assert [name for name in names if not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name)] == []


def test_what_is_said_after_installing() -> None:
    helm = HELMS[0]
    said = helm.notes()
    assert "every namespace" in said
    assert "kubectl wait --for=condition=Finished tuneexperiment/quickstart" in said
    assert "kubetune-results" in said
    assert "WARNING" not in said
    loud = helm.notes(
        {
            "persistence": {"enabled": False},
            "crds": {"install": False},
            "rbac": {"create": False},
            "watchNamespaces": ["team-a", "team-b"],
        }
    )
    assert "after TuneExperiments in team-a, team-b." in loud
    assert "kubectl -n team-a apply" in loud
    assert [each.split(" ")[1] for each in loud.splitlines() if each.startswith("WARNING")] == [
        "persistence.enabled",
        "crds.install",
        "rbac.create",
    ]
    assert "WARNING: crds.keep is false" in helm.notes({"crds": {"keep": False}})
