"""The pod of an attempt: `kubetune_operator.manifests`, and what of a template is refused for it: `kubetune_operator.reserved`."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kubernetes_validate.utils import all_versions

from kubetune_operator import api, manifests, pods, quantities, reserved, templates
from kubetune_operator.api.identity import GROUP
from kubetune_operator.cluster import Wanted
from kubetune_operator.errors import InvalidSpec
from tests.shell import podsecurity
from tests.shell.experiments import VALID
from tests.shell.manifests import Template, template

Json = dict[str, Any]
HERE = Path(__file__).parent
UID = "0b4c7a52-91d3-4d6e-8c1f-2f6f0a9be0d1"
PARAMS = {"lr": 0.003, "units": 64, "batch": 32, "alpha": 1e-05}
RESOURCES = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}
RUNTIME = manifests.Runtime(
    image="registry.example/kubetune/runtime:0.1.0",
    pull_policy="IfNotPresent",
    endpoint="https://kubetune.kubetune.svc:8443",
    ca_pem="-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    resources=RESOURCES,
)
VERSIONS = [version for version in all_versions() if tuple(map(int, version.split(".")))[:2] >= (1, 29)]


def experiment(pod_template: Template | None = None, **spec: Any) -> api.Experiment:
    """Give an experiment that has this template, whose container needs no image to be said."""
    body = copy.deepcopy(VALID)
    body["spec"] |= spec
    if pod_template is not None:
        filled = copy.deepcopy(pod_template)
        for container in filled["spec"]["containers"]:
            container.setdefault("image", "python")
        body["spec"]["trial"] = {"template": filled, **({"container": "trial"} if len(filled["spec"]["containers"]) > 1 else {})}
    return api.parse(body)


def made(
    pod_template: Template | None = None, params: Mapping[str, Any] = PARAMS, *, restricted: bool = True, **spec: Any
) -> Json:
    return manifests.pod(experiment(pod_template, **spec), UID, Wanted(7, 0, params), RUNTIME, restricted=restricted)


def trial(pod: Json) -> Json:
    found: Json = next(one for one in pod["spec"]["containers"] if one["name"] == "trial")
    return found


def sidecar(pod: Json) -> Json:
    found: Json = pod["spec"]["initContainers"][0]
    return found


def argv(pod: Json) -> list[str]:
    """Give what stands behind the launcher's options."""
    command: list[str] = trial(pod)["command"]
    return command[command.index("--") + 1 :]


def env(container: Json) -> dict[str, Any]:
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}


def with_spec(**fields: Any) -> Template:
    """Give a template of which the pod's own fields are these."""
    return {"spec": {**template()["spec"], **fields}}


@functools.cache
def digits() -> api.Experiment:
    return api.parse(api.read(HERE.parents[1] / "examples" / "digits-asha.yaml").body)


GOLDEN: Json = yaml.safe_load((HERE / "golden" / "digits-00007-0.yaml").read_text())
SECRET = {"secretKeyRef": {"name": "db", "key": "password"}}
MUCH: Template = {
    "metadata": {
        "labels": {"team": "vision", "app.kubernetes.io/name": "theirs", "kueue.x-k8s.io/queue-name": "gpus"},
        "annotations": {"sidecar.istio.io/inject": "false", "kubectl.kubernetes.io/default-container": "proxy"},
    },
    "spec": {
        "serviceAccountName": "trainer",
        "terminationGracePeriodSeconds": 5,
        "nodeSelector": {"gpu": "yes"},
        "initContainers": [{"name": "fetch", "image": "curl", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        "containers": [
            {"name": "proxy", "image": "proxy", "env": [{"name": "A", "value": "${params.lr}"}]},
            {
                **template("${args}")["spec"]["containers"][0],
                "image": "trainer",
                "workingDir": "/work",
                "env": [
                    {"name": "PASSWORD", "valueFrom": SECRET},
                    {"name": "URL", "value": "db://$(PASSWORD)@db/${trial.name}?cost=$$5"},
                    {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                ],
                "envFrom": [{"configMapRef": {"name": "more"}}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                "terminationMessagePolicy": "File",
            },
        ],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    },
}
UNWRAPPED: Template = {"spec": {"containers": [{"name": "trial", "image": "own-entrypoint", "args": ["--lr=${params.lr}"]}]}}


class TestWhole:
    """The pod as one."""

    def test_of_the_example(self) -> None:
        assert manifests.pod(digits(), UID, Wanted(7, 0, PARAMS), RUNTIME) == GOLDEN

    @pytest.mark.parametrize("version", VERSIONS)
    @pytest.mark.parametrize(
        "pod",
        [GOLDEN, made(MUCH), made(UNWRAPPED), made(template(), restricted=False)],
        ids=["example", "much", "unwrapped", "plain"],
    )
    def test_is_what_each_kubernetes_knows(self, pod: Json, version: str) -> None:
        kubernetes_validate.validate(pod, version, strict=True)

    def test_that_check_finds_what_is_misspelt(self) -> None:
        wrong = copy.deepcopy(GOLDEN)
        sidecar(wrong)["startupProbe"]["periodSecond"] = 1
        with pytest.raises(kubernetes_validate.ValidationError, match="periodSecond"):
            kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)

    def test_the_same_in_the_same_bytes_out_and_the_template_stays_as_it_was(self) -> None:
        asked = experiment(MUCH)
        before = copy.deepcopy(asked.template)
        first, second = (json.dumps(manifests.pod(asked, UID, Wanted(7, 0, PARAMS), RUNTIME)) for _ in range(2))
        assert (first, asked.template) == (second, before)

    def test_changing_one_pod_changes_no_other(self) -> None:
        one = manifests.pod(digits(), UID, Wanted(7, 0, PARAMS), RUNTIME)
        for spoilt in (
            sidecar(one)["resources"]["limits"],
            sidecar(one)["securityContext"]["seccompProfile"],
            trial(one)["resources"],
        ):
            spoilt.clear()
        assert manifests.pod(digits(), UID, Wanted(7, 0, PARAMS), RUNTIME) == GOLDEN
        assert RUNTIME.resources == {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}

    def test_a_second_attempt_has_a_name_and_a_seed_of_its_own(self) -> None:
        first, second = (manifests.pod(digits(), UID, Wanted(7, attempt, PARAMS), RUNTIME) for attempt in (0, 1))
        assert second["metadata"]["name"] == "digits-00007-1"
        assert second["metadata"]["labels"]["kubetune.dev/attempt"] == "1"
        assert env(trial(first))["KUBETUNE_SEED"] != env(trial(second))["KUBETUNE_SEED"]

    def test_our_keys_are_those_of_the_resource(self) -> None:
        assert f"{GROUP}/" == reserved.KEY


class TestTemplate:
    """What becomes of what the template says."""

    def test_labels_and_annotations_stay_but_ours_win(self) -> None:
        metadata = made(MUCH)["metadata"]
        assert (
            metadata["labels"].items()
            >= {"team": "vision", "kueue.x-k8s.io/queue-name": "gpus", "app.kubernetes.io/name": "kubetune-trial"}.items()
        )
        assert (
            metadata["annotations"].items()
            >= {"sidecar.istio.io/inject": "false", "kubectl.kubernetes.io/default-container": "trial"}.items()
        )

    def test_fields_stay(self) -> None:
        spec = made(MUCH)["spec"]
        assert (spec["nodeSelector"], spec["terminationGracePeriodSeconds"]) == ({"gpu": "yes"}, 5)
        kept = ("image", "workingDir", "envFrom", "terminationMessagePolicy")
        assert [trial(made(MUCH))[name] for name in kept] == ["trainer", "/work", [{"configMapRef": {"name": "more"}}], "File"]

    def test_the_sidecar_comes_before_the_templates_init_containers(self) -> None:
        assert [one["name"] for one in made(MUCH)["spec"]["initContainers"]] == ["kubetune-sidecar", "fetch"]

    def test_volumes_and_mounts_are_added(self) -> None:
        pod = made(MUCH)
        ours = ["kubetune-bin", "kubetune-io", "kubetune-checkpoints", "kubetune-params"]
        assert [one["name"] for one in pod["spec"]["volumes"]] == ["data", *ours, "kubetune-token"]
        assert [one["name"] for one in trial(pod)["volumeMounts"]] == ["data", *ours]

    def test_other_containers_are_left_alone(self) -> None:
        proxy = made(MUCH, restricted=False)["spec"]["containers"][0]
        assert proxy == {"name": "proxy", "image": "proxy", "env": [{"name": "A", "value": "${params.lr}"}]}

    def test_the_token_is_nobodys_but_the_sidecars(self) -> None:
        spec = made(MUCH)["spec"]
        every = {
            one["name"]: [mount["name"] for mount in one.get("volumeMounts", ())] for kind in reserved.KINDS for one in spec[kind]
        }
        assert [name for name, mounts in every.items() if "kubetune-token" in mounts] == ["kubetune-sidecar"]

    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            pytest.param({}, [False], id="silent"),
            pytest.param({"serviceAccountName": "trainer"}, [], id="an account of its own"),
            pytest.param({"serviceAccount": "trainer"}, [], id="by the field's old name"),
            pytest.param({"automountServiceAccountToken": True}, [True], id="asked for"),
            pytest.param({"serviceAccountName": "trainer", "automountServiceAccountToken": False}, [False], id="refused"),
        ],
    )
    def test_a_token_of_the_cluster_is_mounted_only_where_asked_for(self, fields: Json, said: list[bool]) -> None:
        spec = made(with_spec(**fields))["spec"]
        assert [value for name, value in spec.items() if name == "automountServiceAccountToken"] == said

    def test_service_links_only_where_asked_for(self) -> None:
        assert [made(with_spec(**fields))["spec"]["enableServiceLinks"] for fields in ({}, {"enableServiceLinks": True})] == [
            False,
            True,
        ]

    def test_a_null_is_left_out(self) -> None:
        nulls = with_spec(
            enableServiceLinks=None, securityContext=None, initContainers=None, volumes=None, automountServiceAccountToken=None
        )
        assert made(nulls) == made(template())


class TestProgram:
    """What the trial's container runs."""

    def test_command_and_args_stand_behind_the_launcher(self) -> None:
        pod = made(template("--lr=${params.lr}", "a b", 'say "no"', "$HOME", "x\ny", command=["python", "train.py"]))
        assert argv(pod) == ["python", "train.py", "--lr=0.003", "a b", 'say "no"', "$HOME", "x\ny"]
        assert "args" not in trial(pod)

    @pytest.mark.parametrize(("files", "logs"), [([], "none"), (["log"], "one"), (["out", "err"], "both")])
    def test_the_launcher_is_told_what_to_keep_and_how_long_to_wait(self, files: list[str], logs: str) -> None:
        asked = experiment(template(), logs={"files": files, "spoolBytes": "1Ki", "maxBytesPerTrial": "2Ki"})
        pod = manifests.pod(asked, UID, Wanted(7, 0, PARAMS), RUNTIME)
        options = trial(pod)["command"][1 : -len(argv(pod)) - 1]
        assert dict(zip(options[::2], options[1::2], strict=True)) == {
            "--io": "/kubetune/io",
            "--sdk": "/kubetune/bin/sdk",
            "--flush": "60",
            "--spool-bytes": "1024",
            "--logs": logs,
        }
        assert json.loads(env(sidecar(pod))["KUBETUNE_LOG_FILES"]) == files
        assert env(sidecar(pod))["KUBETUNE_LOG_MAX_BYTES"] == "2048"

    def test_without_a_command_the_images_own_entrypoint_runs(self) -> None:
        pod = made(UNWRAPPED)
        assert "command" not in trial(pod)
        assert trial(pod)["args"] == ["--lr=0.003"]
        assert pod["spec"]["terminationGracePeriodSeconds"] == 10
        assert env(sidecar(pod))["KUBETUNE_LOG_FILES"] == "[]"
        assert env(trial(pod)).items() >= {"KUBETUNE_REPORTS": "/kubetune/io/reports.jsonl", "KUBETUNE_PARAM_LR": "0.003"}.items()

    def test_without_a_command_the_templates_own_grace_stands(self) -> None:
        asked = copy.deepcopy(UNWRAPPED)
        asked["spec"]["terminationGracePeriodSeconds"] = 60
        assert made(asked)["spec"]["terminationGracePeriodSeconds"] == 60

    def test_with_a_command_the_grace_is_the_clusters(self) -> None:
        assert "terminationGracePeriodSeconds" not in made(template())["spec"]

    def test_ours_come_first_and_the_templates_keep_their_order(self) -> None:
        entries = trial(made(MUCH))["env"]
        assert [one["name"] for one in entries[-3:]] == ["PASSWORD", "URL", "POD"]
        assert entries[-3] == {"name": "PASSWORD", "valueFrom": SECRET}
        assert entries[-2] == {"name": "URL", "value": "db://$(PASSWORD)@db/digits-00007?cost=$$5"}
        assert all(one["name"].startswith("KUBETUNE_") for one in entries[:-3])

    def test_a_variable_of_a_parameter_that_the_trial_lacks_is_left_out(self) -> None:
        entries = [{"name": "A", "value": "${params.units}"}, {"name": "B", "value": "b"}, {"name": "C"}]
        assert list(env(trial(made(template(env=entries), {"lr": 1}))))[-2:] == ["B", "C"]

    def test_dotted_parameters_are_nested_in_the_file_and_keep_their_types(self) -> None:
        params = {"model.lr": 0.1, "model.units": 2, "tags": ["é", None, True]}
        assert (
            made(template(), params)["metadata"]["annotations"]["kubetune.dev/parameters"]
            == '{"model":{"lr":0.1,"units":2},"tags":["é",null,true]}'
        )

    @given(st.text(max_size=20) | st.text("$(){}\"'\\ \n;A", max_size=20))
    def test_a_hostile_value_arrives_verbatim(self, value: str) -> None:
        """Through JSON to the API server, and there by the annotation, and past the kubelet by argv and environment."""
        asked = template(
            "${params.v}", "--v=${params.v}", env=[{"name": "A", "value": "x"}, {"name": "V", "value": "<${params.v}>"}]
        )
        asked["spec"]["containers"][0]["image"] = "python"
        pod = json.loads(json.dumps(manifests.pod(_hostile(json.dumps(asked)), UID, Wanted(7, 0, {"v": value}), RUNTIME)))
        assert json.loads(pod["metadata"]["annotations"]["kubetune.dev/parameters"]) == {"v": value}
        seen = _kubelet(trial(pod))
        assert (seen.env["V"], seen.env["KUBETUNE_PARAM_V"]) == (f"<{value}>", value)
        assert seen.argv[-2:] == (value, f"--v={value}")
        assert set(pod["spec"]) == set(GOLDEN["spec"])


@functools.cache
def _hostile(pod_template: str) -> api.Experiment:
    return experiment(json.loads(pod_template), parameters=[{"name": "v", "choice": ["x"]}])


def _kubelet(container: Json) -> pods.Program:
    """Expand variables and command as `pods.resolve` does, which is held to Kubernetes' own table."""
    return pods.resolve(pods.Program(tuple(container["command"]), env(container), cwd=None, grace=0.0), {})


def _quality(spec: Json) -> str:
    """Give a pod's QoS class by the words of Kubernetes' documentation."""
    every = [one.get("resources") or {} for one in [*(spec.get("initContainers") or ()), *spec["containers"]]]
    asked = [(one.get(kind) or {}).get(name) for one in every for kind in ("requests", "limits") for name in ("cpu", "memory")]
    if not any(quantities.parse(amount) for amount in asked if amount is not None):
        return "BestEffort"
    for one in every:
        limits = one.get("limits") or {}
        requests = limits | (one.get("requests") or {})
        for name in ("cpu", "memory"):
            if not limits.get(name) or quantities.parse(limits[name]) != quantities.parse(requests[name]):
                return "Burstable"
    return "Guaranteed"


WHOLE = {"cpu": "2", "memory": "1Gi"}
SAME = {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}


class TestResources:
    """The sidecar never changes the pod's QoS class."""

    @pytest.mark.parametrize(
        ("resources", "quality", "expected"),
        [
            pytest.param(None, "BestEffort", {}, id="nothing"),
            pytest.param({"limits": {"nvidia.com/gpu": 1}}, "BestEffort", {}, id="neither cpu nor memory"),
            pytest.param({"requests": {"cpu": "0"}}, "BestEffort", {}, id="nothing of something"),
            pytest.param({"requests": {"cpu": "500m"}}, "Burstable", RESOURCES, id="requests"),
            pytest.param({"limits": {"memory": "1Gi"}}, "Burstable", RESOURCES, id="one limit"),
            pytest.param({"requests": {"cpu": 1}, "limits": WHOLE}, "Burstable", RESOURCES, id="less than the limit"),
            pytest.param({"limits": WHOLE}, "Guaranteed", SAME, id="limits alone"),
            pytest.param(
                {"requests": {"cpu": 2, "memory": "1024Mi"}, "limits": WHOLE}, "Guaranteed", SAME, id="the same in other words"
            ),
            pytest.param(
                {"requests": {"cpu": "0", "memory": "1Gi"}, "limits": WHOLE}, "Burstable", RESOURCES, id="a request of nothing"
            ),
        ],
    )
    def test_of_a_template(self, resources: Json | None, quality: str, expected: Json) -> None:
        asked = template(**({"resources": resources} if resources else {}))
        assert _quality(asked["spec"]) == quality
        assert sidecar(made(asked))["resources"] == expected
        assert _quality(made(asked)["spec"]) == quality

    def test_every_container_counts(self) -> None:
        one = template(resources={"limits": WHOLE})
        one["spec"]["initContainers"] = [{"name": "fetch", "image": "curl"}]
        assert (_quality(one["spec"]), _quality(made(one)["spec"])) == ("Burstable", "Burstable")

    @pytest.mark.parametrize(
        ("configured", "expected"),
        [
            pytest.param({"requests": {"cpu": "1", "memory": "128Mi"}}, {"cpu": "1", "memory": "128Mi"}, id="larger requests"),
            pytest.param({"limits": {"cpu": "50m", "memory": "1Gi"}}, {"cpu": "50m", "memory": "1Gi"}, id="limits as they are"),
            pytest.param({}, {"cpu": "100m", "memory": "64Mi"}, id="nothing"),
        ],
    )
    def test_what_the_administrator_gives_a_sidecar_counts_in_a_guaranteed_pod(self, configured: Json, expected: Json) -> None:
        runtime = manifests.Runtime(image="i", pull_policy="Always", endpoint="https://k:1", ca_pem="", resources=configured)
        pod = manifests.pod(experiment(template(resources={"limits": WHOLE})), UID, Wanted(7, 0, PARAMS), runtime)
        assert sidecar(pod)["resources"] == {"requests": expected, "limits": expected}


class TestSecurity:
    """Restricted, as far as the template is silent."""

    @pytest.mark.parametrize("pod_template", [template(), MUCH, UNWRAPPED], ids=["plain", "much", "unwrapped"])
    def test_a_silent_template_makes_a_restricted_pod(self, pod_template: Template) -> None:
        assert podsecurity.breaches(made(pod_template)["spec"]) == []

    def test_as_written_only_the_sidecar_is(self) -> None:
        found = podsecurity.breaches(made(template(), restricted=False)["spec"])
        assert found
        assert all(breach.startswith("trial.") for breach in found)

    @pytest.mark.parametrize(
        ("whole", "own", "breaches"),
        [
            pytest.param({"runAsUser": 1000}, {}, [], id="a user"),
            pytest.param({"runAsUser": 0}, {}, ["runAsNonRoot", "runAsUser"], id="root, for the pod"),
            pytest.param({}, {"runAsUser": 0}, ["runAsNonRoot", "runAsUser"], id="root, for the container"),
            pytest.param({"runAsNonRoot": False}, {}, ["runAsNonRoot"], id="any user"),
            pytest.param({"seccompProfile": {"type": "Unconfined"}}, {}, ["seccompProfile"], id="no seccomp"),
            pytest.param(
                {}, {"capabilities": {"add": ["NET_ADMIN"]}}, ["capabilities.drop", "capabilities.add"], id="capabilities"
            ),
            pytest.param({}, {"allowPrivilegeEscalation": True}, ["allowPrivilegeEscalation"], id="escalation"),
            pytest.param(
                {},
                {"privileged": True},
                ["privileged", "allowPrivilegeEscalation", "capabilities.drop", "runAsNonRoot"],
                id="privileged",
            ),
            pytest.param(
                {},
                {"capabilities": {"add": ["SYS_ADMIN"], "drop": ["ALL"]}},
                ["allowPrivilegeEscalation", "capabilities.add"],
                id="SYS_ADMIN",
            ),
            pytest.param(
                {},
                {"capabilities": {"add": ["CAP_SYS_ADMIN"], "drop": ["ALL"]}},
                ["allowPrivilegeEscalation", "capabilities.add"],
                id="SYS_ADMIN by its other name",
            ),
        ],
    )
    def test_what_the_template_says_stands(self, whole: Json, own: Json, breaches: list[str]) -> None:
        pod = made({"spec": {**template(securityContext=own)["spec"], "securityContext": whole}})
        assert podsecurity.breaches(pod["spec"]) in (
            [f"trial.{field}" for field in breaches],
            [
                "kubetune-sidecar.runAsUser",
                *(f"trial.{field}" for field in breaches),
            ],  # of the pod's user, which it does not run as
        )
        assert pod["spec"]["securityContext"].items() >= whole.items()
        assert trial(pod)["securityContext"].items() >= own.items()

    def test_a_pod_that_may_not_be_root_does_not_become_one(self) -> None:
        pod = made({"spec": {**template(securityContext={"runAsUser": 0})["spec"], "securityContext": {"runAsNonRoot": True}}})
        assert "runAsNonRoot" not in trial(pod)["securityContext"]

    @pytest.mark.parametrize(
        ("spoilt", "breach"),
        [
            ({"hostPID": True}, "hostPID"),
            ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "volumes.v"),
            ({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}, "sysctls.kernel.msgmax"),
            ({"containers": [{"name": "c", "ports": [{"hostPort": 1}]}]}, "c.ports"),
            ({"containers": [{"name": "c", "securityContext": {"procMount": "Unmasked"}}]}, "c.procMount"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_that_check_finds(self, spoilt: Json, breach: str) -> None:
        assert breach in podsecurity.breaches({"containers": [], **spoilt})


SPEC = "spec.trial.template.spec"
TOKEN = {
    "name": "t",
    "projected": {
        "sources": [{"configMap": {"name": "c"}}, {"serviceAccountToken": {"path": "t", "audience": "kubetune.dev/reporter"}}]
    },
}
MOUNTED_BY = "must not begin with kubetune-: kubetune's own volumes are mounted by itself alone, got 'kubetune-token'; mount a volume of your own"


def container(**fields: Any) -> Template:
    return template(**fields)


def mount(name: str, path: str) -> Template:
    return template(volumeMounts=[{"name": name, "mountPath": path}])


def in_folder(path: str) -> tuple[Template, str]:
    return (
        mount("v", path),
        f"{SPEC}.containers[0].volumeMounts[0].mountPath: must not lie in /kubetune, which is kubetune's own, got '{path}'; mount it elsewhere",
    )


def metadata(**fields: Any) -> Template:
    return {"metadata": fields, **template()}


REFUSED: dict[str, tuple[Template, str]] = {
    "shared processes": (with_spec(shareProcessNamespace=True), f"{SPEC}.shareProcessNamespace: must be false or left out, as the sidecar's token could be read through its process, got true; remove it"),
    "our volume's name": (with_spec(volumes=[{"name": "v"}, {"name": "kubetune-io"}]), f"{SPEC}.volumes[1].name: must not begin with kubetune-, as kubetune's own volumes do, got 'kubetune-io'; rename the volume"),
    "our container's name": ({"spec": {"containers": [{"name": "kubetune-sidecar"}]}}, f"{SPEC}.containers[0].name: must not begin with kubetune-, as kubetune's own containers do, got 'kubetune-sidecar'; rename the container"),
    "our init container's name": (with_spec(initContainers=[{"name": "kubetune-x"}]), f"{SPEC}.initContainers[0].name: must not begin with kubetune-, as kubetune's own containers do, got 'kubetune-x'; rename the container"),
    "our token mounted": (mount("kubetune-token", "/t"), f"{SPEC}.containers[0].volumeMounts[0].name: {MOUNTED_BY}"),
    "our token mounted by an init container": (with_spec(initContainers=[{"name": "i", "volumeMounts": [{"name": "kubetune-token"}]}]), f"{SPEC}.initContainers[0].volumeMounts[0].name: {MOUNTED_BY}"),
    "a token like ours": (with_spec(volumes=[TOKEN]), f"{SPEC}.volumes[0].projected.sources[1].serviceAccountToken.audience: must not be the sidecar's own, got 'kubetune.dev/reporter'; reports need no token: remove it"),
    "our folder": in_folder("/kubetune"),
    "in our folder": in_folder("/kubetune/bin/sdk"),
    "our folder with a slash": in_folder("/kubetune/"),
    "our folder by a detour": in_folder("//data/../kubetune/./io"),
    "our folder without a slash": in_folder("kubetune/io"),
    "our label": (metadata(labels={"kubetune.dev/trial": "8"}), "spec.trial.template.metadata.labels.kubetune.dev/trial: must not begin with kubetune.dev/, which is kubetune's own, got '8'; give it a prefix of your own"),
    "our annotation": (metadata(annotations={"kubetune.dev/parameters": "{}"}), "spec.trial.template.metadata.annotations.kubetune.dev/parameters: must not begin with kubetune.dev/, which is kubetune's own, got '{}'; give it a prefix of your own"),
    "a finalizer": (metadata(finalizers=["a/b"]), "spec.trial.template.metadata.finalizers: must be left out: it would keep an ended pod, got ['a/b']; remove it"),
    "an owner": (metadata(ownerReferences=[{"kind": "Job"}]), "spec.trial.template.metadata.ownerReferences: must be left out: it is the experiment, and only that, got [{'kind': 'Job'}]; remove it"),
    "our variable": (template(env=[{"name": "KUBETUNE_TRIAL", "value": "x"}]), f"{SPEC}.containers[0].env[0].name: must not begin with KUBETUNE_, which kubetune sets itself, got 'KUBETUNE_TRIAL'"),
    "a variable twice": (template(env=[{"name": "A"}, {"name": "A", "valueFrom": SECRET}]), f"{SPEC}.containers[0].env[1].name: must not be there twice, got 'A'; kubectl apply may drop either: remove one"),
    "a container that starts again": (template(restartPolicy="Always"), f"{SPEC}.containers[0].restartPolicy: must be left out: a trial runs once in its pod, got 'Always'; set spec.failure.maxFailures: each attempt has a pod of its own"),
    "malformed volumes": (with_spec(volumes={"name": "v"}), f"{SPEC}.volumes: must be a list of objects, got {{'name': 'v'}}"),
    "malformed init containers": (with_spec(initContainers=["a"]), f"{SPEC}.initContainers: must be a list of objects, got ['a']"),
    "malformed mounts": (template(volumeMounts="v"), f"{SPEC}.containers[0].volumeMounts: must be a list of objects, got 'v'"),
    "malformed security": (with_spec(securityContext=[]), f"{SPEC}.securityContext: must be an object, got []"),
    "malformed security of a container": (template(securityContext=1), f"{SPEC}.containers[0].securityContext: must be an object, got 1"),
    "malformed capabilities": (template(securityContext={"capabilities": {"add": "ALL"}}), f"{SPEC}.containers[0].securityContext.capabilities.add: must be a list of names, got 'ALL'; write [NET_BIND_SERVICE]"),
    "an init container's resources": (with_spec(initContainers=[{"name": "i", "resources": {"limits": {"cpu": "x"}}}]), f"{SPEC}.initContainers[0].resources.limits.cpu: must be a Kubernetes quantity, got 'x'; write it as \"500m\", \"2\" or \"1.5Gi\""),
    "malformed labels": ({"metadata": {"labels": ["a"]}, **template()}, "spec.trial.template.metadata.labels: must be an object, got ['a']"),
}  # fmt: skip


def problems(asked: Template) -> list[str]:
    return [str(problem) for problem in templates.problems(asked, None, list(PARAMS))]


@pytest.mark.parametrize(("asked", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_kubetunes_own_is_refused(asked: Template, message: str) -> None:
    assert problems(asked) == [message]


@pytest.mark.parametrize(
    "fine",
    [
        with_spec(shareProcessNamespace=False, volumes=[{"name": "my-kubetune-io", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}}]),
        mount("v", "/kubetunes"),
        mount("v", "/data/kubetune"),
        metadata(labels={"team.kubetune.dev/x": "1"}, annotations=None, creationTimestamp=None, name="mine"),
        template(restartPolicy=None),
    ],
    ids=["names", "a longer folder", "a deeper folder", "metadata", "null"],
)  # fmt: skip
def test_nothing_is_found_in(fine: Template) -> None:
    assert problems(fine) == []


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-1, 2)
    | st.sampled_from(["", "x", "500m", "kubetune-io", "/kubetune", "ALL", "${params.lr}", "python"])
)
FIELDS = [
    "name",
    "image",
    "command",
    "args",
    "env",
    "value",
    "valueFrom",
    "securityContext",
    "capabilities",
    "add",
    "drop",
    "resources",
    "limits",
]
FIELDS += [
    "requests",
    "cpu",
    "memory",
    "volumeMounts",
    "mountPath",
    "volumes",
    "initContainers",
    "runAsUser",
    "privileged",
    "labels",
    "annotations",
]
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4), max_leaves=8
)


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Give each place inside a value: what it stands in, and where in that."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield value, key
        yield from _places(inner)


@given(st.data())
def test_whatever_a_template_holds_either_a_problem_is_found_or_it_makes_a_pod(data: st.DataObject) -> None:
    asked = copy.deepcopy(MUCH)
    for _ in range(2):
        holder, key = data.draw(st.sampled_from(list(_places(asked))))
        holder[key] = data.draw(ANYTHING)
    body = copy.deepcopy(VALID)
    body["spec"]["trial"] = {"template": asked, "container": "trial"}
    try:
        parsed = api.parse(body)
    except InvalidSpec:
        return
    names = [one.name for one in parsed.spec.space.parameters]
    if not templates.problems(parsed.template, "trial", names):
        json.dumps(manifests.pod(parsed, UID, Wanted(7, 0, PARAMS), RUNTIME))
