"""From an experiment to the pod of one attempt, as the API server is sent it. Pure: the same in, the same bytes out.

The template stays what it is: ours is put around it (`reserved` names what that is), defaults only where it is silent. What
the program is given is said in `pods`, what may be wrong with a template in `templates`, which must have found nothing.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kubetune import wire
from kubetune_operator import pods, quantities, reserved, status
from kubetune_operator.api import Experiment
from kubetune_operator.api.identity import API_VERSION, KIND
from kubetune_operator.core.space import nested, seed_of
from kubetune_operator.core.trials import Params
from kubetune_operator.reserved import FOLDER, NAME

GRACE_UNWRAPPED = 10  # seconds for a program that no launcher ends; the sidecar has what is left of them
START = 600  # seconds that a sidecar has before it is started anew

_BIN, _IO, _CHECKPOINTS, _PARAMS, _TOKEN = (f"{NAME}{name}" for name in ("bin", "io", "checkpoints", "params", "token"))
_AT = {name: f"{FOLDER}/{name.removeprefix(NAME)}" for name in (_BIN, _IO, _CHECKPOINTS, _PARAMS)}
_AT[_TOKEN] = "/var/run/kubetune/token"
_PARAMS_FILE = "params.json"
_LAUNCHER = "/opt/kubetune/launcher/kubetune-launch"  # in the sidecar's image
_SIDECAR_COMMAND = ("/usr/local/bin/python", "-I", "-S", "/opt/kubetune/kubetune/sidecar/__main__.py")
_USER = 65533  # the sidecar's: nobody's whom a trial is likely to run as
_STREAMS = ("none", "one", "both")  # of the program's output: how many files there are for them
_RUNTIME_DEFAULT = {"type": "RuntimeDefault"}
_COMPUTED = ("cpu", "memory")  # what a pod's QoS class is made of
# Of a sidecar whose requests must be its limits: what it needs to be ready within two seconds, and not to be killed.
_GUARANTEED = {"cpu": "100m", "memory": "64Mi"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What the operator gives each pod: the sidecar, and where that reports to."""

    image: str
    pull_policy: str
    endpoint: str  # https://kubetune.kubetune.svc:8443
    ca_pem: str
    resources: Mapping[str, Any]  # the sidecar's, as a container has them


class Wanted(Protocol):
    """The attempt that the pod is for."""

    @property
    def trial(self) -> int:
        """Give the trial's number."""
        ...

    @property
    def attempt(self) -> int:
        """Give the attempt's number."""
        ...

    @property
    def params(self) -> Params:
        """Give the trial's parameters."""
        ...


def pod(experiment: Experiment, uid: str, wanted: Wanted, runtime: Runtime, *, restricted: bool = True) -> dict[str, Any]:
    """Give the pod of an attempt; `uid` is the TuneExperiment's.

    `restricted` fills in what the Pod Security Standard of that name asks for, where the template is silent. Without it the
    template's own containers are as they were written; the sidecar is restricted either way.
    Raises ClusterError where a parameter that the trial does not have cannot be left out.
    """
    spec = copy.deepcopy(experiment.template["spec"])
    trial = _trial(experiment, spec)
    wrapped = wraps(experiment)
    _default(spec, "automountServiceAccountToken", None if _account(spec) else False)
    _default(spec, "enableServiceLinks", value=False)
    if not wrapped:
        _default(spec, "terminationGracePeriodSeconds", GRACE_UNWRAPPED)
    if restricted:
        _restrict(spec)
    sidecar = _sidecar(experiment, runtime, _sidecar_resources(spec, runtime.resources), wrapped=wrapped)
    _dress(trial, experiment, _program(experiment, wanted))
    spec |= {
        "restartPolicy": "Never",
        "shareProcessNamespace": False,
        "initContainers": [sidecar, *(spec.get("initContainers") or [])],
        "volumes": [*(spec.get("volumes") or []), *_volumes()],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(experiment, uid, wanted), "spec": spec}


def wraps(experiment: Experiment) -> bool:
    """Say whether the launcher runs the program: an image's own entrypoint it does not know."""
    return bool(_trial(experiment, experiment.template["spec"]).get("command"))


def _trial(experiment: Experiment, spec: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in spec["containers"] if one["name"] == experiment.trial.container)
    return found


def _metadata(experiment: Experiment, uid: str, wanted: Wanted) -> dict[str, Any]:
    given = experiment.template.get("metadata") or {}
    app = {"name": "kubetune-trial", "instance": experiment.name, "component": "trial", "part-of": "kubetune"}
    labels = {f"app.kubernetes.io/{name}": value for name, value in (app | {"managed-by": "kubetune-operator"}).items()} | {
        reserved.EXPERIMENT: experiment.name,
        reserved.EXPERIMENT_UID: uid,
        reserved.TRIAL: str(wanted.trial),
        reserved.ATTEMPT: str(wanted.attempt),
    }
    annotations = {reserved.TRIAL_CONTAINER: experiment.trial.container, reserved.PARAMETERS: _json(nested(wanted.params))}
    owner = {"apiVersion": API_VERSION, "kind": KIND, "name": experiment.name, "uid": uid}
    return {
        "name": status.attempt_name(experiment.name, wanted.trial, wanted.attempt),
        "namespace": experiment.namespace,
        "labels": {**(given.get("labels") or {}), **labels},
        "annotations": {**(given.get("annotations") or {}), **annotations},
        "ownerReferences": [owner | {"controller": True, "blockOwnerDeletion": True}],
    }


def _program(experiment: Experiment, wanted: Wanted) -> pods.Program:
    name = status.trial_name(experiment.name, wanted.trial)
    seed = seed_of(experiment.spec.seed, wanted.trial, wanted.attempt)
    identity = pods.TrialIdentity(experiment.name, name, wanted.trial, wanted.attempt, seed)
    return pods.program(experiment.template, experiment.trial.container, identity, wanted.params)


def _dress(trial: dict[str, Any], experiment: Experiment, program: pods.Program) -> None:
    """Put the program behind the launcher, if it has a command, and give the container what it reports through."""
    if trial.get("command"):
        trial["command"] = [*_launch(experiment), *program.argv]
        trial.pop("args", None)
    elif trial.get("args"):
        trial["args"] = list(program.argv)
    trial["env"] = list(_env(trial.get("env") or [], program))
    trial["volumeMounts"] = [
        *(trial.get("volumeMounts") or []),
        *(_mount(_BIN, read_only=True), _mount(_IO), _mount(_CHECKPOINTS), _mount(_PARAMS, read_only=True)),
    ]
    _default(trial, "terminationMessagePolicy", "FallbackToLogsOnError")


def _launch(experiment: Experiment) -> Iterator[str]:
    logs = experiment.logs
    yield from (f"{_AT[_BIN]}/kubetune-launch", "--io", _AT[_IO], "--sdk", f"{_AT[_BIN]}/sdk")
    yield from ("--flush", str(experiment.trial.flush_timeout), "--spool-bytes", str(logs.spool_bytes))
    yield from ("--logs", _STREAMS[len(logs.files)], "--")


def _env(entries: Sequence[Mapping[str, Any]], program: pods.Program) -> Iterator[Mapping[str, Any]]:
    """Give ours first, so that the template's variables may refer to them; then the template's, each in its place."""
    theirs = {entry["name"] for entry in entries}
    ours = {
        **{name: value for name, value in program.env.items() if name not in theirs},
        wire.ENV_REPORTS: f"{_AT[_IO]}/reports.jsonl",
        wire.ENV_PARAMS_FILE: f"{_AT[_PARAMS]}/{_PARAMS_FILE}",
        "KUBETUNE_CHECKPOINTS": _AT[_CHECKPOINTS],
    }
    yield from _variables(ours)
    for entry in entries:
        name = entry["name"]
        if name in program.inherited:
            yield entry
        elif name in program.env:  # else it names a parameter that this trial does not have
            yield from _variables({name: program.env[name]})


def _sidecar(experiment: Experiment, runtime: Runtime, resources: Mapping[str, Any], *, wrapped: bool) -> dict[str, Any]:
    logs = experiment.logs
    settings = {
        "KUBETUNE_ENDPOINT": runtime.endpoint,
        "KUBETUNE_CA_PEM": runtime.ca_pem,
        "KUBETUNE_FLUSH_SECONDS": str(experiment.trial.flush_timeout),
        "KUBETUNE_LOG_FILES": _json(list(logs.files) if wrapped else []),  # without a launcher nothing is spooled
        "KUBETUNE_LOG_MAX_BYTES": str(logs.max_bytes_per_trial),
    }
    ready = [_LAUNCHER, "--ready", f"{_AT[_IO]}/ready"]
    return {
        "name": reserved.SIDECAR,
        "image": runtime.image,
        "imagePullPolicy": runtime.pull_policy,
        "command": list(_SIDECAR_COMMAND),
        "env": list(_variables(settings)),
        "resources": copy.deepcopy(dict(resources)),
        "restartPolicy": "Always",
        "securityContext": {
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": dict(_RUNTIME_DEFAULT),
        },
        "startupProbe": {"exec": {"command": ready}, "periodSeconds": 1, "failureThreshold": START},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [_mount(_BIN), _mount(_IO), _mount(_CHECKPOINTS), _mount(_TOKEN, read_only=True)],
    }


def _volumes() -> Iterator[dict[str, Any]]:
    for name in (_BIN, _IO, _CHECKPOINTS):
        yield {"name": name, "emptyDir": {}}
    annotation = {"path": _PARAMS_FILE, "fieldRef": {"fieldPath": f"metadata.annotations['{reserved.PARAMETERS}']"}}
    yield {"name": _PARAMS, "downwardAPI": {"items": [annotation]}}
    token = {"serviceAccountToken": {"path": "token", "audience": reserved.AUDIENCE, "expirationSeconds": 3600}}
    yield {"name": _TOKEN, "projected": {"sources": [token]}}


def _sidecar_resources(spec: Mapping[str, Any], wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave the pod in the QoS class that its template gives it: the kubelet looks at every container, ours too."""
    asked = [_asked(one) for one in [*spec["containers"], *(spec.get("initContainers") or [])]]
    if not any(requests or limits for requests, limits in asked):
        return {}  # best effort, or limited as a whole
    if not all(requests == limits and len(limits) == len(_COMPUTED) for requests, limits in asked):
        return wanted
    requests, limits = wanted.get("requests") or {}, wanted.get("limits") or {}
    same = {
        name: limits.get(name) or max(least, requests.get(name, least), key=quantities.parse)
        for name, least in _GUARANTEED.items()
    }
    return {"requests": same, "limits": same}


def _asked(container: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give a container's requests, which are its limits where it does not say, and limits, of what counts for the class."""
    resources = container.get("resources") or {}
    limits = resources.get("limits") or {}
    kinds = (limits | (resources.get("requests") or {}), limits)
    requested, limited = (
        {name: amount for name in _COMPUTED if (amount := quantities.parse(kind.get(name, 0)))} for kind in kinds
    )
    return requested, limited


def _restrict(spec: dict[str, Any]) -> None:
    """Fill in what the restricted Pod Security Standard asks for, beside what the template says and never against it."""
    whole = _inner(spec, "securityContext")
    silent = whole.get("runAsNonRoot") is None
    if whole.get("runAsUser") != 0:
        _default(whole, "runAsNonRoot", value=True)
    _default(whole, "seccompProfile", dict(_RUNTIME_DEFAULT))
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        own = _inner(container, "securityContext")
        privileged = bool(own.get("privileged"))
        if silent and (privileged or own.get("runAsUser") == 0):
            _default(own, "runAsNonRoot", value=False)
        added = (own.get("capabilities") or {}).get("add") or []
        if not privileged and "CAP_SYS_ADMIN" not in added and "SYS_ADMIN" not in added:
            _default(own, "allowPrivilegeEscalation", value=False)  # beside either of the two the API server refuses it
        if not privileged:
            _default(own, "capabilities", {"drop": ["ALL"]})


def _account(spec: Mapping[str, Any]) -> bool:
    """Say whether the template asks for a service account of its own."""
    return bool(spec.get("serviceAccountName") or spec.get("serviceAccount"))


def _inner(holder: dict[str, Any], name: str) -> dict[str, Any]:
    inner: dict[str, Any] = dict(holder.get(name) or {})
    holder[name] = inner
    return inner


def _default(holder: dict[str, Any], name: str, value: Any) -> None:
    """Set a field that the template leaves out; null is left out, and a default of None is none."""
    if holder.get(name) is None and value is not None:
        holder[name] = value


def _variables(values: Mapping[str, str]) -> Iterable[dict[str, str]]:
    return ({"name": name, "value": value} for name, value in values.items())


def _mount(name: str, *, read_only: bool = False) -> dict[str, Any]:
    return {"name": name, "mountPath": _AT[name]} | ({"readOnly": True} if read_only else {})


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
