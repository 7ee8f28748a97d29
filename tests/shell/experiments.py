"""A valid experiment, and how tables of other ones are written: what is changed in it, what must be said about it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]
UNKNOWN = "(unknown field)"  # only kubectl's strict mode names it

VALID: Body = {
    "apiVersion": "kubetune.dev/v1alpha1",
    "kind": "TuneExperiment",
    "metadata": {"name": "digits", "namespace": "default"},
    "spec": {
        "objective": {"metric": "accuracy", "mode": "Maximize"},
        "parameters": [
            {"name": "lr", "loguniform": {"low": 0.0001, "high": 0.1}},
            {"name": "units", "qlograndint": {"low": 8, "high": 512, "q": 8}},
            {"name": "optimizer", "choice": ["sgd", "adam"]},
            {"name": "batch", "gridSearch": [32, 64]},
        ],
        "numSamples": 20,
        "scheduler": {"asha": {"maxT": 100}},
        "trial": {
            "template": {"spec": {"containers": [{"name": "trial", "image": "python", "command": ["python", "train.py"]}]}}
        },
    },
}


@dataclass(frozen=True, slots=True)
class Wrong:
    """One way to spoil VALID, and what must be said about it."""

    id: str
    spoil: Callable[[Body], None]
    field: str  # where the message must point; then a fragment each of what it must say
    rule: str
    value: str
    remedy: str
    server: str  # a fragment of the API server's own message; UNKNOWN; or "" where it takes the object

    def body(self) -> Body:
        """Give the spoilt experiment."""
        made = copy.deepcopy(VALID)
        self.spoil(made)
        return made


def _steps(path: str) -> list[Any]:
    """Split a.b[2].c into its steps."""
    return [int(index) if index else name for name, index in re.findall(r"([\w$-]+)|\[(\d+)\]", path)]


def put(path: str, value: Any) -> Callable[[Body], None]:
    """Set what stands at a path, making what is missing on the way; a number past the end of a list appends."""

    def change(body: Body) -> None:
        here: Any = body
        *way, last = _steps(path)
        for step in way:
            here = here[step] if isinstance(step, int) else here.setdefault(step, {})
        if isinstance(here, list) and last >= len(here):
            here.append(value)
        else:
            here[last] = value

    return change


def drop(path: str) -> Callable[[Body], None]:
    """Take away what stands at a path."""

    def change(body: Body) -> None:
        here: Any = body
        *way, last = _steps(path)
        for step in way:
            here = here[step]
        del here[last]

    return change


def both(*changes: Callable[[Body], None]) -> Callable[[Body], None]:
    """Do several changes."""

    def change(body: Body) -> None:
        for each in changes:
            each(body)

    return change


def parameter(**fields: Any) -> Callable[[Body], None]:
    """Add a fifth parameter."""
    return put("spec.parameters[4]", fields)


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Give the path of every value inside a value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here] * bool(here) + [place for step, item in inside for place in places(item, (*here, step))]


def mutate(body: Body, place: tuple[Any, ...], action: str, value: Any, key: str) -> None:
    """Delete what stands at a place, put something else there, or put something beside it."""
    here: Any = body
    for step in place[:-1]:
        here = here[step]
    if action == "delete":
        del here[place[-1]]
    elif action == "replace":
        here[place[-1]] = value
    elif isinstance(here, dict):
        here[key] = value
    else:
        here.insert(place[-1], value)
