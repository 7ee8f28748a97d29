"""What is wrong between the parameters of a space: names in each other's way, expressions that read what is not there (yet).

Where a problem stands is told by the parameter's number; the words of a field's path are added in `api`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kubetune_operator.core.domains import NO_NUL, NUL, PARAM, WITHOUT_NUL, GridSearch
from kubetune_operator.core.expressions import Expression, Path
from kubetune_operator.core.grid import MOST_CELLS
from kubetune_operator.core.space import Parameter, Space, variable

NAME = r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*"  # the whole name; a dot opens a nested object
MAX_NAME = 128  # characters, as a metric's name
MAX_PARAMETERS = 100
NAME_RULE = (
    f"must be at most {MAX_NAME} of A-Z, a-z, 0-9, '_' and '-', in parts joined by dots, none starting with a digit or '-'"
)


class NameProblem(NamedTuple):
    """One thing that is wrong with the names: which one, counted from 0, which rule, the name, what to do."""

    number: int
    rule: str
    value: str
    remedy: str


def name_problems(names: Sequence[str]) -> Iterator[NameProblem]:
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


class ReadProblem(NamedTuple):
    """One thing that an expression reads and should not: where ("parameters[2].when"), which rule, its text, what to do."""

    field: str
    rule: str
    value: Any
    remedy: str


def read_problems(space: Space) -> Iterator[ReadProblem]:
    """Find expressions that read what is no parameter, or comes later, or is drawn where a grid depends on it."""
    for number, parameter in enumerate(space.parameters):
        before = [one.name for one in space.parameters[:number]]
        if parameter.when is not None:
            place = f"parameters[{number}].when"
            yield from _reads(space, parameter.when, place, before, parameter.name)
            if isinstance(parameter.domain, GridSearch):
                yield from _unsettled(space, parameter, place)
        if isinstance(parameter.domain, Expression):
            yield from _reads(space, parameter.domain, f"parameters[{number}].sampleFrom", before, parameter.name)
    every = [one.name for one in space.parameters]
    for number, constraint in enumerate(space.constraints):
        yield from _reads(space, constraint, f"constraints[{number}]", every, "")


def point_problems(space: Space) -> Iterator[ReadProblem]:
    """Find points that give what is no parameter, or a parameter to be drawn instead of its value."""
    known = [one.name for one in space.parameters]
    for number, point in enumerate(space.points):
        for name in point:
            if name not in known:
                remedy = _meant(name, known) or _listed(known)
                yield ReadProblem(f"search.pointsToEvaluate[{number}].{name}", "must be the name of a parameter", name, remedy)
            if _holds_parameter(point[name]):
                rule = f"must be a value, without {PARAM} in it: a point is not drawn"
                remedy = "write the value, or leave the parameter out to have it drawn"
                yield ReadProblem(f"search.pointsToEvaluate[{number}].{name}", rule, point[name], remedy)
            elif _holds_nul(point[name]):
                yield ReadProblem(f"search.pointsToEvaluate[{number}].{name}", NO_NUL, point[name], WITHOUT_NUL)


def _holds_parameter(value: Any) -> bool:
    if isinstance(value, dict):
        return PARAM in value or any(map(_holds_parameter, value.values()))
    return isinstance(value, list) and any(map(_holds_parameter, value))


def _holds_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_nul, value.values()))
    return any(map(_holds_nul, value)) if isinstance(value, list) else isinstance(value, str) and NUL in value


def size_problems(space: Space) -> Iterator[ReadProblem]:
    """Find grids under a condition that are too many to be gone through cell by cell."""
    if (tried := space.cells_to_try) > MOST_CELLS:
        rule = f"must make at most {MOST_CELLS} cells where a gridSearch has a `when`, anew for each point that changes them"
        yield ReadProblem("parameters", rule, tried, "shorten a gridSearch, or use choice instead of one")


def _reads(space: Space, expression: Expression, place: str, known: Sequence[str], own: str) -> Iterator[ReadProblem]:
    for path in sorted(expression.reads):
        names = space.read(path)
        if len(path) == 1 or set(names) & set(known):
            continue
        spelt = ".".join(path)
        if own and own in names:
            yield ReadProblem(place, f"must not read {spelt}, which is the parameter itself", expression.text, "read another")
        elif names:
            remedy = f"move {names[0]} before {own}"
            yield ReadProblem(place, f"must not read {spelt}, which comes later", expression.text, remedy)
        else:
            name = ".".join(path[1:])
            yield ReadProblem(
                place, f"must not read {spelt}, which is no parameter", expression.text, _meant(name, known) or _listed(known)
            )


def _unsettled(space: Space, parameter: Parameter, place: str) -> Iterator[ReadProblem]:
    """How many trials there are must not hang on what is drawn."""
    reads: frozenset[Path] = parameter.when.reads if parameter.when else frozenset()
    for path in sorted(reads):
        drawn = [name for name in space.read(path) if name not in space.settled]
        if len(path) == 1 or drawn:
            what = "params as a whole" if len(path) == 1 else f"{drawn[0]}, which is drawn"
            rule = f"must not read {what}: how many trials a gridSearch makes would hang on it"
            yield ReadProblem(
                place, rule, parameter.when and parameter.when.text, "use choice instead of gridSearch in one of the two"
            )


def _meant(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else ""


def _listed(known: Sequence[str], most: int = 10) -> str:
    if not known:
        return "there is no parameter to read here"
    return f"there are {', '.join(known[:most])}" + (f" and {len(known) - most} more" if len(known) > most else "")
