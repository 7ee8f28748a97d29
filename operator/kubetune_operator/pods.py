"""From a pod template to the program of one trial: what is filled in, what it asks for.

Pure, and only what both clusters share: `program` gives what is to run, `resolve` does to it what the kubelet would.
What may be wrong with a template is in `templates`, whose `problems` must have found nothing in what is given here.

Filled in command, args and env values of the trial's container, and nowhere else:
    ${params.NAME}  a parameter; NAME may be dotted       ${trial.name} ${trial.number} ${trial.attempt}
    ${args}         a whole item of command or args: --NAME=VALUE for each parameter that the trial has
`$${params.lr}` is not filled in: `$$` is the kubelet's way to write `$`, so the program reads `${params.lr}`.
Any other `${...}` is a shell's and stays as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Any

from kubetune import wire
from kubetune_operator import quantities
from kubetune_operator.core import space
from kubetune_operator.core.trials import Params
from kubetune_operator.errors import ClusterError
from kubetune_operator.templates import ARGS, PARAMS, PLACEHOLDER, TRIAL_VALUES, inherits

GRACE = 30.0  # seconds; Kubernetes' own default
_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class TrialIdentity:
    """Which trial and attempt a program runs for."""

    experiment: str
    name: str  # "digits-00012"
    number: int
    attempt: int
    seed: int


@dataclass(frozen=True, slots=True)
class Program:
    """What runs in a trial, as a pod's container says it: the kubelet (or `resolve`) has yet to expand it."""

    argv: tuple[str, ...]
    env: dict[str, str]  # in order: a value may refer to those before it
    cwd: str | None
    grace: float  # seconds between SIGTERM and SIGKILL
    inherited: tuple[str, ...] = ()  # variables whose value is not in the template (valueFrom)


@dataclass(frozen=True, slots=True)
class Requests:
    """What one trial asks of the machine it runs on; None where the template does not say."""

    cpu: float | None  # cores
    memory: int | None  # bytes
    gpus: int


def program(template: Mapping[str, Any], container: str | None, trial: TrialIdentity, params: Params) -> Program:
    """Fill in the template. Raises ClusterError where a parameter that the trial does not have cannot be left out."""
    spec = template["spec"]
    chosen = next(one for one in spec["containers"] if container in (None, one["name"]))
    spelled = {name: spell(value).replace("$", "$$") for name, value in params.items()}  # the kubelet makes it one $ again
    known = {PARAMS + name: value for name, value in spelled.items()}
    known |= dict(zip(TRIAL_VALUES, (trial.name, str(trial.number), str(trial.attempt)), strict=True))
    entries = chosen.get("env") or []
    return Program(
        argv=tuple(_argv([*(chosen.get("command") or []), *(chosen.get("args") or [])], known, spelled)),
        env=_identity(trial, spelled) | _env(entries, known),
        cwd=chosen.get("workingDir") or None,
        grace=GRACE if spec.get("terminationGracePeriodSeconds") is None else float(spec["terminationGracePeriodSeconds"]),
        inherited=tuple(entry["name"] for entry in entries if inherits(entry)),
    )


def resolve(found: Program, environ: Mapping[str, str]) -> Program:
    """Do what the kubelet does on the way into a container: each variable in order, then command and args."""
    env = {name: environ[name] for name in found.inherited if name in environ}
    for name, value in found.env.items():
        env[name] = expand(value, env)
    return replace(found, argv=tuple(expand(item, env) for item in found.argv), env=env)


def expand(text: str, env: Mapping[str, str]) -> str:
    """Expand `$(NAME)` as the kubelet does: `$$` is a `$`, and what does not resolve stays as it is."""
    return _REFERENCE.sub(lambda match: "$" if match[1] is None else env.get(match[1], match[0]), text)


def spell(value: Any) -> str:
    """Spell a parameter as a program is given it: a string as it is, everything else as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def requests(template: Mapping[str, Any]) -> Requests:
    """Add up what the containers request or, where they do not say, are limited to (Kubernetes' own default)."""
    sums: dict[str, Fraction] = {}
    for container in template["spec"]["containers"]:
        resources = container.get("resources") or {}
        for name, value in ((resources.get("limits") or {}) | (resources.get("requests") or {})).items():
            kind = "gpu" if name.endswith("/gpu") else name
            sums[kind] = sums.get(kind, Fraction(0)) + quantities.parse(value)
    cpu, memory = sums.get("cpu"), sums.get("memory")
    return Requests(
        cpu=None if cpu is None else float(cpu),
        memory=None if memory is None else ceil(memory),
        gpus=ceil(sums.get("gpu", 0)),
    )


def _argv(items: Iterable[str], known: Mapping[str, str], spelled: Mapping[str, str]) -> Iterator[str]:
    for item in items:
        if item == ARGS:
            yield from (f"--{name}={value}" for name, value in spelled.items())
        elif (filled := _fill(item, known)) is not None:
            yield filled


def _env(entries: Sequence[Mapping[str, Any]], known: Mapping[str, str]) -> dict[str, str]:
    env: dict[str, str] = {}
    for entry in entries:
        if inherits(entry):
            continue
        text = entry.get("value") or ""
        filled = _fill(text, known)
        if filled is not None:
            env[entry["name"]] = filled
        elif not PLACEHOLDER.fullmatch(text):
            raise ClusterError(
                f"the value of {entry['name']} names a parameter that this trial does not have, got {text}; "
                "give the parameter a variable of its own, which is then left out"
            )
    return env


def _identity(trial: TrialIdentity, spelled: Mapping[str, str]) -> dict[str, str]:
    """Say who the program is. These come first, so that the template's own variables may refer to them."""
    return {
        wire.ENV_EXPERIMENT: trial.experiment,
        wire.ENV_TRIAL: trial.name,
        wire.ENV_TRIAL_NUMBER: str(trial.number),
        wire.ENV_ATTEMPT: str(trial.attempt),
        wire.ENV_SEED: str(trial.seed),
    } | {wire.ENV_PARAM_PREFIX + space.variable(name): value for name, value in spelled.items()}


def _fill(text: str, known: Mapping[str, str]) -> str | None:
    """Fill in what is known; None when the text names a parameter that the trial does not have."""
    names = (match["name"] or "" for match in PLACEHOLDER.finditer(text))
    if any(name.startswith(PARAMS) and name not in known for name in names):
        return None
    return PLACEHOLDER.sub(lambda match: known.get(match["name"], match[0]), text)
