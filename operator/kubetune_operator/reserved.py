"""What of a pod is kubetune's own, whatever its template says: names, a folder, keys, the audience of a token. Pure.

`problems` finds a template that lays claim to them, or to a way into the sidecar, whose token speaks for the trial.
It passes over what has not even the right shape: that is found in `templates`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from kubetune_operator.errors import Problem

NAME = "kubetune-"  # begins the names of our container and our volumes
FOLDER = "/kubetune"  # in the trial's container; all that we mount there is in it
KEY = "kubetune.dev/"  # begins our labels and annotations
AUDIENCE = "kubetune.dev/reporter"  # of the token that the sidecar, and nobody else in the pod, is given

SIDECAR = f"{NAME}sidecar"
EXPERIMENT, EXPERIMENT_UID, TRIAL, ATTEMPT = (f"{KEY}{name}" for name in ("experiment", "experiment-uid", "trial", "attempt"))
PARAMETERS = f"{KEY}parameters"
TRIAL_CONTAINER = "kubectl.kubernetes.io/default-container"  # kubectl's own, so that `kubectl logs` shows the program's

TEMPLATE = "spec.trial.template"
KINDS = ("containers", "initContainers")


def problems(template: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what a template takes that is not its own."""
    yield from _metadata(template.get("metadata"))
    spec, path = template["spec"], f"{TEMPLATE}.spec"
    if spec.get("shareProcessNamespace"):
        rule = "must be false or left out, as the sidecar's token could be read through its process"
        yield Problem(f"{path}.shareProcessNamespace", rule, spec["shareProcessNamespace"], "remove it")
    for place, volume in objects(spec.get("volumes"), f"{path}.volumes"):
        yield from _name(volume, place, "volume")
        for source, projected in objects((_object(volume.get("projected"))).get("sources"), f"{place}.projected.sources"):
            audience = _object(projected.get("serviceAccountToken")).get("audience")
            if audience == AUDIENCE:
                field = f"{source}.serviceAccountToken.audience"
                yield Problem(field, "must not be the sidecar's own", audience, "reports need no token: remove it")
    for kind in KINDS:
        for place, container in objects(spec.get(kind), f"{path}.{kind}"):
            yield from _name(container, place, "container")
            for mounted, mount in objects(container.get("volumeMounts"), f"{place}.volumeMounts"):
                yield from _mount(mount, mounted)


def objects(value: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Give the objects of a list, each with its path."""
    for index, one in enumerate(value if isinstance(value, list) else ()):
        if isinstance(one, Mapping):
            yield f"{path}[{index}]", one


def _metadata(metadata: Any) -> Iterator[Problem]:
    given = _object(metadata)
    for kind in ("labels", "annotations"):
        for key, value in _object(given.get(kind)).items():
            if key.startswith(KEY):
                rule = f"must not begin with {KEY}, which is kubetune's own"
                yield Problem(f"{TEMPLATE}.metadata.{kind}.{key}", rule, value, "give it a prefix of your own")
    for field, rule in (("finalizers", "would keep an ended pod"), ("ownerReferences", "is the experiment, and only that")):
        if given.get(field):
            yield Problem(f"{TEMPLATE}.metadata.{field}", f"must be left out: it {rule}", given[field], "remove it")


def _name(named: Mapping[str, Any], path: str, what: str) -> Iterator[Problem]:
    name = named.get("name")
    if isinstance(name, str) and name.startswith(NAME):
        rule = f"must not begin with {NAME}, as kubetune's own {what}s do"
        yield Problem(f"{path}.name", rule, name, f"rename the {what}")


def _mount(mount: Mapping[str, Any], path: str) -> Iterator[Problem]:
    name, place = mount.get("name"), mount.get("mountPath")
    if isinstance(name, str) and name.startswith(NAME):
        rule = f"must not begin with {NAME}: kubetune's own volumes are mounted by itself alone"
        yield Problem(f"{path}.name", rule, name, "mount a volume of your own")
    if isinstance(place, str) and f"{_plain(place)}/".startswith(f"{FOLDER}/"):
        yield Problem(f"{path}.mountPath", f"must not lie in {FOLDER}, which is kubetune's own", place, "mount it elsewhere")


def _plain(path: str) -> str:
    """Give the folder that a path means, from the root: `//kubetune/` and `data/../kubetune` are /kubetune."""
    return posixpath.normpath(f"/{path.lstrip('/')}")


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
