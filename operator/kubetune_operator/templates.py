"""What is wrong with an experiment's pod template, as far as kubetune itself reads it. Pure.

`problems` answers whatever the template holds; where it finds nothing, everything in `pods` and `manifests` works on it.
What a template may not take is in `reserved`; the rest of a PodTemplateSpec is the API server's to check.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubetune_operator import quantities, reserved
from kubetune_operator.errors import Problem

SPEC = f"{reserved.TEMPLATE}.spec"
PARAMS = "params."
TRIAL_VALUES = ("trial.name", "trial.number", "trial.attempt")
ARGS = "${args}"
PLACEHOLDER = re.compile(r"\$\$|\$\{(?P<name>[^{}$]*)\}")  # `$$` is the kubelet's, and protects what follows it

_OPENED = re.compile(PLACEHOLDER.pattern + r"|\$\{")
_LIKE_OURS = re.compile(r"\s*[\w-]+(\.[\w-]*)+\s*")  # no shell has names with dots
_OUR_VARIABLES = "KUBETUNE_"
_VARIABLE = re.compile(r"[^=\0]+")


def problems(
    template: Mapping[str, Any],
    container: str | None,
    names: Collection[str],
    *,
    optional: Collection[str] = (),
    needs_command: bool = False,
    local_env: Mapping[str, str] | None = None,
) -> list[Problem]:
    """Find what is wrong. `container` is spec.trial.container, `names` are the parameters', `optional` those with a `when`.

    On this machine there is no image, so `needs_command`, and no Secret, only `local_env`, the caller's environment.
    """
    spec = template.get("spec")
    containers = spec.get("containers") if isinstance(spec, Mapping) else None
    if not isinstance(spec, Mapping) or not isinstance(containers, list) or not containers:
        remedy = "add one with a name, an image and a command"
        return [Problem(f"{SPEC}.containers", "must have at least one container", containers, remedy)]
    found = [
        Problem(f"{SPEC}.containers[{index}]", "must be an object with a name", one)
        for index, one in enumerate(containers)
        if not (isinstance(one, Mapping) and isinstance(one.get("name"), str))
    ]
    if found:
        return found
    found = [*_grace(spec), *_pod(template), *reserved.problems(template)]
    for kind in reserved.KINDS:
        for path, one in reserved.objects(spec.get(kind), f"{SPEC}.{kind}"):
            found += [*_resources(one.get("resources"), f"{path}.resources"), *_surroundings(one, path)]
    chosen = [index for index, one in enumerate(containers) if container in (None, one["name"])]
    if len(chosen) != 1:
        return [*found, _choice(container, [one["name"] for one in containers])]
    check = _Check(f"{SPEC}.containers[{chosen[0]}]", names, optional, needs_command, local_env)
    return [*found, *check.container(containers[chosen[0]])]


def inherits(entry: Mapping[str, Any]) -> bool:
    """Say whether a variable's value comes from elsewhere (valueFrom) and not from the template."""
    return entry.get("valueFrom") is not None


def _choice(container: str | None, names: list[str]) -> Problem:
    field, they = "spec.trial.container", f"they are: {', '.join(names)}"
    if container is None:
        return Problem(field, "must say which of several containers is the trial's", None, they)
    return Problem(field, "must name one container of the template", container, they)


def _grace(spec: Mapping[str, Any]) -> Iterator[Problem]:
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is not None and (isinstance(grace, bool) or not isinstance(grace, int) or grace < 0):
        yield Problem(f"{SPEC}.terminationGracePeriodSeconds", "must be a whole number, 0 or more", grace)


def _pod(template: Mapping[str, Any]) -> Iterator[Problem]:
    """Find what a pod cannot be built around, for want of its right shape."""
    metadata, spec = template.get("metadata"), template["spec"]
    yield from _object(metadata, f"{reserved.TEMPLATE}.metadata")
    for field in ("labels", "annotations"):
        if isinstance(metadata, Mapping):
            yield from _object(metadata.get(field), f"{reserved.TEMPLATE}.metadata.{field}")
    yield from _object(spec.get("securityContext"), f"{SPEC}.securityContext")
    for field in ("initContainers", "volumes"):
        yield from _objects(spec.get(field), f"{SPEC}.{field}")


def _surroundings(container: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """Find the same in one of its containers."""
    yield from _objects(container.get("volumeMounts"), f"{path}.volumeMounts")
    security = container.get("securityContext")
    yield from _object(security, f"{path}.securityContext")
    capabilities = security.get("capabilities") if isinstance(security, Mapping) else None
    yield from _object(capabilities, f"{path}.securityContext.capabilities")
    added = capabilities.get("add") if isinstance(capabilities, Mapping) else None
    if not (added is None or (isinstance(added, list) and all(isinstance(one, str) for one in added))):
        yield Problem(f"{path}.securityContext.capabilities.add", "must be a list of names", added, "write [NET_BIND_SERVICE]")


def _object(value: Any, path: str) -> Iterator[Problem]:
    if not isinstance(value, Mapping | None):
        yield Problem(path, "must be an object", value)


def _objects(value: Any, path: str) -> Iterator[Problem]:
    if not (value is None or (isinstance(value, list) and all(isinstance(one, Mapping) for one in value))):
        yield Problem(path, "must be a list of objects", value)


def _resources(resources: Any, path: str) -> Iterator[Problem]:
    for kind in ("requests", "limits"):
        amounts = resources.get(kind) if isinstance(resources, Mapping) else resources
        if amounts is not None and not isinstance(amounts, Mapping):
            yield Problem(path, "must be an object with requests and limits, themselves objects", resources)
            return
        for name, amount in (amounts or {}).items():
            rule = _quantity_rule(amount)
            if rule:
                yield Problem(f"{path}.{kind}.{name}", rule, amount, 'write it as "500m", "2" or "1.5Gi"')


def _quantity_rule(amount: Any) -> str:
    try:
        return "must not be negative" if quantities.parse(amount) < 0 else ""
    except ValueError:
        return "must be a Kubernetes quantity"


@dataclass(frozen=True, slots=True)
class _Check:
    """The checks of the trial's own container, which is at `path`."""

    path: str
    names: Collection[str]
    optional: Collection[str]
    needs_command: bool
    local_env: Mapping[str, str] | None

    def container(self, container: Mapping[str, Any]) -> Iterator[Problem]:
        if self.needs_command and not container.get("command"):
            rule = "is required on this machine, where no image says what to run"
            yield Problem(f"{self.path}.command", rule, container.get("command"), "for example [python, train.py]")
        for field in ("command", "args"):
            items = container.get(field)
            if items is not None and not isinstance(items, list):
                yield Problem(f"{self.path}.{field}", "must be a list of strings", items)
                continue
            for index, item in enumerate(items or []):
                if item != ARGS:
                    yield from self._text(item, f"{self.path}.{field}[{index}]")
                    if isinstance(item, str) and len(item.split()) > 1:
                        yield from self._absent(item, f"{self.path}.{field}[{index}]", "make it an item of its own")
        if not isinstance(container.get("workingDir"), str | None):
            yield Problem(f"{self.path}.workingDir", "must be a string", container["workingDir"])
        for field, never in (("restartPolicy", "Never"), ("restartPolicyRules", [])):
            if container.get(field) not in (None, never):
                remedy = "set spec.failure.maxFailures: each attempt has a pod of its own"
                yield Problem(f"{self.path}.{field}", "must be left out: a trial runs once in its pod", container[field], remedy)
        yield from self._env(container)

    def _env(self, container: Mapping[str, Any]) -> Iterator[Problem]:
        entries = container.get("env")
        if entries is not None and not isinstance(entries, list):
            yield Problem(f"{self.path}.env", "must be a list of variables", entries, 'write [{name: A, value: "1"}]')
            return
        names: set[str] = set()
        for index, entry in enumerate(entries or []):
            path = f"{self.path}.env[{index}]"
            yield from self._variable(entry, path)
            name = entry.get("name") if isinstance(entry, Mapping) else None
            if isinstance(name, str):
                if name in names:
                    yield Problem(f"{path}.name", "must not be there twice", name, "kubectl apply may drop either: remove one")
                names.add(name)
        if self.local_env is not None and container.get("envFrom"):
            remedy = "name the variables one by one in env with valueFrom, and set them in your own environment"
            yield Problem(f"{self.path}.envFrom", "cannot be read on this machine", container["envFrom"], remedy)

    def _variable(self, entry: Any, path: str) -> Iterator[Problem]:
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
            yield Problem(path, "must be an object with a name, which holds no =", entry, 'write {name: A, value: "1"}')
        elif name.startswith(_OUR_VARIABLES):
            yield Problem(f"{path}.name", f"must not begin with {_OUR_VARIABLES}, which kubetune sets itself", name)
        elif not inherits(entry):
            value = entry.get("value")
            yield from self._text("" if value is None else value, f"{path}.value")
            if isinstance(value, str) and not PLACEHOLDER.fullmatch(value):
                yield from self._absent(value, f"{path}.value", "give it a variable of its own, which is then left out")
        elif self.local_env is not None and name not in self.local_env:
            remedy = f"set {name} in your own environment"
            yield Problem(f"{path}.valueFrom", "cannot be read on this machine", entry["valueFrom"], remedy)

    def _text(self, text: Any, path: str) -> Iterator[Problem]:
        if not isinstance(text, str):
            yield Problem(path, "must be a string", text, "write it in quotes")
            return
        for match in _OPENED.finditer(text):
            name = match.groupdict()["name"]
            if match[0] == "${":
                rest = text[match.end() :]
                if "}" not in rest or rest.startswith((PARAMS, "trial.")):
                    yield Problem(path, "must close every ${ with a }", text, "write $${ where it is not kubetune's")
            elif name == "args":
                yield Problem(path, f"must be nothing but {ARGS}, and in command or args", text, "make it an item of its own")
            elif name is not None:
                yield from self._placeholder(name, path)

    def _absent(self, text: str, path: str, remedy: str) -> Iterator[Problem]:
        """Find what cannot be left out where a trial does not have the parameter: a part of a longer text."""
        for match in PLACEHOLDER.finditer(text):
            name = match["name"] or ""
            if name.startswith(PARAMS) and name.removeprefix(PARAMS) in self.optional:
                rule = f"must not hold ${{{name}}} in a longer text, as a trial has it only where its `when` is true"
                yield Problem(path, rule, text, remedy)

    def _placeholder(self, name: str, path: str) -> Iterator[Problem]:
        known = [*(PARAMS + one for one in self.names), *TRIAL_VALUES]
        if name in known or not (_LIKE_OURS.fullmatch(name) or name in self.names):
            return
        wanted = name.strip()
        near = difflib.get_close_matches(PARAMS + wanted if wanted in self.names else wanted, known, n=1)
        remedy = f"did you mean ${{{near[0]}}}?" if near else f"there are: {_listed(known)}"
        yield Problem(path, "must name a parameter or a value of the trial", f"${{{name}}}", f"{remedy} ($${{ is a literal ${{)")


def _listed(known: Iterable[str], limit: int = 10) -> str:
    every = list(known)
    return ", ".join(f"${{{one}}}" for one in every[:limit]) + (", …" if len(every) > limit else "")
