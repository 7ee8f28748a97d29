"""`spec.parameters`: the search space.

What each primitive takes is declared in core; here they are joined to one object a parameter.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, create_model

from kubetune_operator.api.base import (
    RULES,
    Expression,
    Model,
    constraints,
    core_settings,
    one_of,
    refuse,
    settings,
    validation,
)
from kubetune_operator.api.problems import path, translate
from kubetune_operator.core import space_checks
from kubetune_operator.core.bounds import KEY, Rule
from kubetune_operator.core.domains import PARAM, PRIMITIVES, Domain, GridSearch, violations
from kubetune_operator.errors import Problem


def _check_inside(value: Any) -> Any:
    """Check the parameters that stand inside a choice or grid value."""
    refuse(_problems_inside(value, []))
    return value


def _problems_inside(value: Any, place: list[str | int]) -> Iterator[Problem]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _problems_inside(item, [*place, index])
    elif isinstance(value, dict) and PARAM in value:
        yield from _problems_of_nested(value, place)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _problems_inside(item, [*place, key])


def _problems_of_nested(value: dict[str, Any], place: list[str | int]) -> Iterator[Problem]:
    here = _below(place)
    if len(value) > 1:
        others = ", ".join(sorted(key for key in value if key != PARAM))
        yield Problem(here, f"must have nothing beside {PARAM}", others, f"move it out of the object that has {PARAM}")
    try:
        Nested.model_validate(value[PARAM])
    except ValidationError as error:
        yield from translate(error, Nested, _below([*place, PARAM]))


def _below(place: list[str | int]) -> str:
    spelt = path("", place)
    return spelt if not spelt or spelt.startswith("[") else f".{spelt}"


def _primitive(cls: type[Any], *, required: bool = False) -> tuple[Any, Any]:
    """Give type and field of one primitive: an object of its settings, or its one setting itself where core says BARE."""
    words = f"{cls.__doc__}"
    default: Any = ... if required else None
    bare = getattr(cls, "BARE", None)
    if bare is None:
        return settings(cls) | None, Field(default, description=words)
    declared = constraints(next(each for each in dataclasses.fields(cls) if each.name == bare).metadata[KEY]) | {
        "description": words
    }
    if bare == "values":
        return list[Annotated[Any, AfterValidator(_check_inside), Field(json_schema_extra={"nullable": True})]] | None, Field(
            default, **declared
        )
    return Any, Field(default, **declared)


_INNER = {key: cls for key, cls in PRIMITIVES.items() if cls is not GridSearch}


Nested = create_model(
    "Nested",
    __base__=Model,
    __doc__=f"A parameter inside a choice or grid value, under {PARAM}.",
    **{key: _primitive(cls) for key, cls in _INNER.items()},  # type: ignore[call-overload]
)
Nested.RULES = (one_of(*_INNER, exactly=True),)


class _Named(Model):
    """One dimension of the search space: a name, and exactly one way to get its value."""

    name: str = Field(
        json_schema_extra={
            "pattern": f"^{space_checks.NAME}$",
            "minLength": 1,
            "maxLength": space_checks.MAX_NAME,
        },  # told by `name_problems`
        description="the parameter's name; dots nest it: `model.width` is `{model: {width: ...}}` in the trial. "
        "Must differ from all others in more than case, dots, dashes and underscores: else KUBETUNE_PARAM_... would be the same",
    )
    sample_from: Expression | None = Field(
        default=None, description="a CEL expression over `params` that gives the value, such as pow(2, randint(1, 6))"
    )
    when: Expression | None = Field(
        default=None, description="a CEL expression over `params`; the parameter is there only where it is true"
    )


Parameter = create_model(
    "Parameter",
    __base__=_Named,
    __doc__=_Named.__doc__,
    **{key: _primitive(cls) for key, cls in PRIMITIVES.items()},  # type: ignore[call-overload]
)
Parameter.RULES = (one_of(*PRIMITIVES, "sampleFrom", exactly=True),)


class _Mutation(Model):
    """A parameter that population based training changes, and where a new value comes from."""

    name: str = Field(
        min_length=1, max_length=space_checks.MAX_NAME, pattern=f"^{space_checks.NAME}$", description="the name of a parameter"
    )


Mutation = create_model(
    "Mutation",
    __base__=_Mutation,
    __doc__=_Mutation.__doc__,
    **{key: _primitive(cls) for key, cls in _INNER.items()},  # type: ignore[call-overload]
)
Mutation.RULES = (one_of(*_INNER, exactly=True),)


def name_problems(parameters: Any) -> Iterator[Problem]:
    """Find names that are malformed or in each other's way in a list as it was given, however wrong the rest of it is."""
    given = parameters if isinstance(parameters, list) else []
    names = {
        number: each["name"] for number, each in enumerate(given) if isinstance(each, dict) and isinstance(each.get("name"), str)
    }
    places = list(names)
    for one in space_checks.name_problems(list(names.values())):
        yield Problem(f"[{places[one.number]}].name", one.rule, one.value, one.remedy)


_NO_PREFIX = Rule(
    "self.all(p, !self.exists(q, q.name.startsWith(p.name + '.')))",
    "must not have a name that is both a value and an object (a beside a.b)",
    lambda _: True,
)
_ONE_VARIABLE = Rule(
    "self.all(p, self.exists_one(q, q.name.replace('.', '_').replace('-', '_').upperAscii()"
    " == p.name.replace('.', '_').replace('-', '_').upperAscii()))",
    "must not have two names that give the same environment variable (a.b, a_b, A_B)",
    lambda _: True,
)

_BY_NAME: dict[str, Any] = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
_NAMES: dict[str, Any] = {RULES: [validation(_NO_PREFIX), validation(_ONE_VARIABLE)]}
Parameters = Annotated[
    list[Parameter],  # type: ignore[valid-type]
    Field(max_length=space_checks.MAX_PARAMETERS, json_schema_extra=_BY_NAME | _NAMES),
]
Mutations = Annotated[
    list[Mutation],  # type: ignore[valid-type]
    Field(max_length=space_checks.MAX_PARAMETERS, json_schema_extra=_BY_NAME),
]


def cells(parameters: Iterable[Model]) -> int:
    """Count the cells of the grid: 1 without one."""
    return math.prod(len(values) for parameter in parameters if (values := parameter.value_at("gridSearch")) is not None)


def has_grid(parameters: Iterable[Model]) -> bool:
    """Tell whether any parameter is to take every one of its values."""
    return any("gridSearch" in parameter.given() for parameter in parameters)


def domain(parameter: Model) -> Domain:
    """Make core's primitive of a parameter that is valid and has no sampleFrom."""
    key = _key(parameter)
    cls: Any = PRIMITIVES[key]
    value = parameter.value_at(key)
    bare = getattr(cls, "BARE", None)
    if bare is None:
        made: Domain = core_settings(value, cls)
    else:
        made = cls(tuple(_inside(item) for item in value) if bare == "values" else value)
    return made


def domain_problems(parameter: Model, place: str) -> Iterator[Problem]:
    """Find what only core sees in a parameter of the right shape: how deep its values are, where a parameter may not be."""
    if _key(parameter) in PRIMITIVES:
        for found in violations(domain(parameter)):
            dot = "" if found.field[:1] in {"", "[", "."} else "."
            yield Problem(f"{place}.{_key(parameter)}{dot}{found.field}", found.rule, found.value, found.remedy)


def _key(parameter: Model) -> str:
    return next(key for key in (*PRIMITIVES, "sampleFrom") if key in parameter.given())


def _inside(value: Any) -> Any:
    if isinstance(value, list):
        return [_inside(item) for item in value]
    if isinstance(value, dict):
        return (
            domain(Nested.model_validate(value[PARAM])) if PARAM in value else {key: _inside(item) for key, item in value.items()}
        )
    return value
