"""The search space: named parameters, which grid cell a trial is in, and what a trial draws.

A draw depends on the seed, the trial's number and the parameter's own name, and on nothing else: any trial can be drawn again
alone, and a parameter more or less moves no other. How one primitive draws is in `domains`; how a program gets it is not here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from kubetune_operator.core.domains import PARAM, Domain, Drawn, GridSearch

NAME = r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*"  # the whole name; a dot opens a nested object
MAX_NAME = 128  # characters, as a metric's name
MAX_PARAMETERS = 100
NAME_RULE = (
    f"must be at most {MAX_NAME} of A-Z, a-z, 0-9, '_' and '-', in parts joined by dots, none starting with a digit or '-'"
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One entry of `spec.parameters`."""

    name: str
    domain: Domain


@dataclass(frozen=True, slots=True)
class Space:
    """The parameters in the order of the YAML; none at all is a space too, of one empty point."""

    parameters: tuple[Parameter, ...] = ()

    @property
    def grid_size(self) -> int:
        """Count the cells of the grid: 1 without one."""
        return math.prod(len(grid.values) for _, grid in self._grids())

    def draw(self, seed: int, trial: int) -> dict[str, Any]:
        """Give the parameters of one trial by (dotted) name: its cell of the grid, the rest drawn anew for it alone."""
        cell = self._cell(trial % self.grid_size)
        drawn: dict[str, Any] = {}
        for parameter in self.parameters:
            name, domain = parameter.name, parameter.domain
            value = cell[name] if isinstance(domain, GridSearch) else domain.draw(_stream(seed, trial, name))
            drawn[name] = _resolved(value, seed, trial, name)
        return drawn

    def _grids(self) -> list[tuple[str, GridSearch]]:
        grids = [(each.name, each.domain) for each in self.parameters if isinstance(each.domain, GridSearch)]
        return sorted(grids, key=lambda grid: grid[0].split("."))  # by path, as Ray: "a.b" before "a-b"

    def _cell(self, number: int) -> dict[str, Any]:
        """Give the grid's values in cell `number`; as in Ray the first grid, sorted by path, turns fastest."""
        cell = {}
        for name, grid in self._grids():
            number, index = divmod(number, len(grid.values))
            cell[name] = grid.at(index)
        return cell


def nested(params: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted names into objects inside objects: `{"model.lr": 1}` gives `{"model": {"lr": 1}}`."""
    whole: dict[str, Any] = {}
    for name, value in params.items():
        *path, last = name.split(".")
        inner = whole
        for key in path:
            inner = inner.setdefault(key, {})
        inner[last] = value
    return whole


def variable(name: str) -> str:
    """Give what follows KUBETUNE_PARAM_ in the environment: "a.b-c" is "A_B_C"."""
    return re.sub(r"[.-]", "_", name).upper()


def seed_of(seed: int, trial: int, attempt: int) -> int:
    """Give KUBETUNE_SEED, 32 bits, one per trial and attempt."""
    return int(_stream(seed, trial, str(attempt)).random() * 2**32)  # no parameter's name starts with a digit


class NameProblem(NamedTuple):
    """One thing that is wrong with the names: which one, counted from 0, which rule, the name, what to do."""

    number: int
    rule: str
    value: str
    remedy: str


def problems(names: Sequence[str]) -> Iterator[NameProblem]:
    """Find names that are malformed, too many, or in the way of one before them."""
    if len(names) > MAX_PARAMETERS:
        rule = f"must be one of at most {MAX_PARAMETERS} parameters, there are {len(names)}"
        yield NameProblem(MAX_PARAMETERS, rule, names[MAX_PARAMETERS], "give fewer parameters")
    sound: list[str] = []
    for number, name in enumerate(names[:MAX_PARAMETERS]):
        if len(name) > MAX_NAME or not re.fullmatch(NAME, name):
            yield NameProblem(number, NAME_RULE, name, "rename it")
            continue
        clash = next(filter(None, (_clash(name, other) for other in sound)), None)
        if clash is not None:
            yield NameProblem(number, clash, name, "rename one of the two")
        sound.append(name)


def _clash(name: str, other: str) -> str | None:
    """Give the rule that two names break together."""
    if name == other:
        return "must be unlike every other name, but is there twice"
    if name.startswith(f"{other}."):
        return f"must not lie inside {other!r}, which is a parameter itself"
    if other.startswith(f"{name}."):
        return f"must not be a parameter itself, because {other!r} lies inside it"
    if variable(name) == variable(other):
        return f"must have a variable of its own, but KUBETUNE_PARAM_{variable(name)} is that of {other!r} too"
    return None


def _stream(seed: int, trial: int, place: str) -> Random:
    return Random(f"{seed}/{trial}/{place}")


def _resolved(value: Any, seed: int, trial: int, place: str) -> Any:
    """Draw the parameters inside a value, each from the stream of its own place (a name, then a JSON pointer); copy the rest."""
    if isinstance(value, Drawn):
        inner = f"{place}/{PARAM}"
        return _resolved(value.draw(_stream(seed, trial, inner)), seed, trial, inner)
    if isinstance(value, dict):
        escaped = {key: key.replace("~", "~0").replace("/", "~1") for key in value}
        return {key: _resolved(item, seed, trial, f"{place}/{escaped[key]}") for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_resolved(item, seed, trial, f"{place}/{index}") for index, item in enumerate(value)]
    return value
