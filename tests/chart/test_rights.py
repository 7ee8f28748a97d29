"""RBAC: the operator has these rights and no other, where it watches and nowhere else."""

from __future__ import annotations

import pytest

from tests.chart.charts import NAMESPACE, Helm, Manifest, of, the

pytestmark = pytest.mark.slow

OPERATOR = {
    ("kubetune.dev", "tuneexperiments"): {"get", "list", "watch", "delete"},
    ("kubetune.dev", "tuneexperiments/status"): {"patch"},
    ("kubetune.dev", "tuneexperiments/finalizers"): {"update"},
    ("", "pods"): {"get", "list", "watch", "create", "delete"},
    ("", "pods/log"): {"get"},
    ("events.k8s.io", "events"): {"create"},
    ("", "namespaces"): {"get"},
}
EDITOR = {
    ("kubetune.dev", "tuneexperiments"): {"get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"},
    ("kubetune.dev", "tuneexperiments/scale"): {"get", "update", "patch"},
    ("kubetune.dev", "tuneexperiments/status"): {"get"},
}
VIEWER = {
    ("kubetune.dev", "tuneexperiments"): {"get", "list", "watch"},
    ("kubetune.dev", "tuneexperiments/scale"): {"get"},
    ("kubetune.dev", "tuneexperiments/status"): {"get"},
}


def rights(role: Manifest) -> dict[tuple[str, str], set[str]]:
    """Give the verbs of each resource. A rule of another form (names, URLs) fails."""
    found: dict[tuple[str, str], set[str]] = {}
    for rule in role["rules"]:
        assert set(rule) == {"apiGroups", "resources", "verbs"}
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                found.setdefault((group, resource), set()).update(rule["verbs"])
    return found


def roles(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {each["metadata"]["name"]: each for each in of(manifests, kind)}


def test_everywhere(helm: Helm) -> None:
    manifests = helm.render()
    found = roles(manifests, "ClusterRole")
    assert {name: rights(role) for name, role in found.items()} == {
        "kubetune": OPERATOR,
        "kubetune-editor": EDITOR,
        "kubetune-viewer": VIEWER,
    }
    binding = the(manifests, "ClusterRoleBinding")
    assert binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "kubetune"}
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "kubetune", "namespace": NAMESPACE}]
    assert of(manifests, "Role") + of(manifests, "RoleBinding") == []


def test_users_have_theirs_by_the_roles_that_they_have(helm: Helm) -> None:
    """Whoever may create an experiment makes pods run: that is for `edit`, never for `view`."""
    found = roles(helm.render(), "ClusterRole")
    aggregated = {
        name: {label.rpartition("-to-")[2] for label in role["metadata"]["labels"] if label.startswith("rbac.")}
        for name, role in found.items()
    }
    assert aggregated == {"kubetune": set(), "kubetune-editor": {"edit", "admin"}, "kubetune-viewer": {"view"}}
    alone = roles(helm.render({"rbac": {"aggregateToDefaultRoles": False}}), "ClusterRole")
    assert set(alone) == {"kubetune"}


@pytest.mark.parametrize("watched", [["team-a"], ["team-a", "team-b", "team-c"]], ids=["one", "three"])
def test_in_namespaces_without_any_cluster_role(helm: Helm, watched: list[str]) -> None:
    manifests = helm.render({"watchNamespaces": watched, "serviceAccount": {"name": "mine"}})
    assert of(manifests, "ClusterRole") + of(manifests, "ClusterRoleBinding") == []
    assert [(each["metadata"]["namespace"], rights(each)) for each in of(manifests, "Role")] == [
        (namespace, OPERATOR) for namespace in watched
    ]
    bindings = of(manifests, "RoleBinding")
    assert [each["metadata"]["namespace"] for each in bindings] == watched
    for each in bindings:
        assert each["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "kubetune"}
        assert each["subjects"] == [{"kind": "ServiceAccount", "name": "mine", "namespace": NAMESPACE}]


def test_from_elsewhere(helm: Helm) -> None:
    manifests = helm.render({"rbac": {"create": False}, "serviceAccount": {"create": False, "name": "given"}})
    assert {each["kind"] for each in manifests}.isdisjoint({"ClusterRole", "ClusterRoleBinding", "ServiceAccount"})
    assert the(manifests, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"] == "given"
