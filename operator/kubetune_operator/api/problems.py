"""From pydantic's errors to ours: field path, rule, value got, what to do. No rule of the resource is here, only its words."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from kubetune_operator.api.base import PROBLEMS, WORDS
from kubetune_operator.errors import Problem

Location = Sequence[str | int]
_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")


def path(prefix: str, location: Location) -> str:
    """Spell where something is: `spec.parameters[2].uniform.high`."""
    for step in location:
        if isinstance(step, int):
            prefix += f"[{step}]"
        elif _PLAIN.fullmatch(step):
            prefix += f".{step}" if prefix else step
        else:
            prefix += f"[{step!r}]"
    return prefix


def translate(error: ValidationError, model: type[BaseModel], prefix: str) -> list[Problem]:
    """Put each of pydantic's errors about `model`, which stands at `prefix`, into our words."""
    found: list[Problem] = []
    for each in error.errors(include_url=False):
        place = path(prefix, [step for step in each["loc"] if step != "[key]"])
        context: Mapping[str, Any] = each.get("ctx", {})
        if each["type"] == PROBLEMS:
            found += [Problem(place + one.field, one.rule, one.value, one.remedy) for one in context["problems"]]
        elif each["type"] == "extra_forbidden":
            found.append(_unknown(place, each["loc"], model, each["input"]))
        elif each["type"] == "missing":
            found.append(Problem(place, "is required", None, _add(each["loc"], model)))
        else:
            found.append(_plain(place, each["type"], each["input"], context) or Problem(place, each["msg"], each["input"]))
    return found


def closest(word: str, known: Iterable[str]) -> str | None:
    """Give the known word that this one is most likely meant to be, if any is near."""
    by_lower = {each.lower().replace("_", ""): each for each in known}
    meant = word.lower().replace("_", "")
    begun = [each for each in by_lower if len(meant) > 1 and each.startswith(meant)]
    near = begun or difflib.get_close_matches(meant, by_lower, n=1)
    return by_lower[near[0]] if near else None


def _unknown(place: str, location: Location, model: type[BaseModel], value: Any) -> Problem:
    known = [str(field.alias) for field in _fields(model, location[:-1]).values()]
    near = closest(str(location[-1]), known)
    remedy = (
        f"did you mean {near}?" if near else f"leave it out; known are {', '.join(sorted(known))}" if known else "leave it out"
    )
    return Problem(place, "is not a field here", value, remedy)


def _add(location: Location, model: type[BaseModel]) -> str:
    field = next((each for each in _fields(model, location[:-1]).values() if each.alias == location[-1]), None)
    words = f": {field.description}" if field and field.description else ""
    return f"add {location[-1]}{words}"


def _fields(model: type[BaseModel], location: Location) -> Mapping[str, Any]:
    """Give the fields of the object at `location` beneath `model`; none where no model is."""
    here: type[BaseModel] | None = model
    for step in location:
        if here is not None and isinstance(step, str):
            field = next((each for each in here.model_fields.values() if each.alias == step), None)
            here = _model_of(field.annotation) if field else None
    return here.model_fields if here else {}


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_of(each))), None)


def _plain(place: str, kind: str, value: Any, context: Mapping[str, Any]) -> Problem | None:
    """Word an error about one value by its type; None for a type that no field of ours can give."""
    if kind in _TYPES:
        rule, remedy = _TYPES[kind]
        if isinstance(value, str) and kind in _UNQUOTED:
            remedy = f"{remedy}, without quotes"
        if kind == "string_type" and isinstance(value, bool):  # whoever wrote `n` sees "got false"
            remedy = f"{remedy}: YAML reads y, n, yes, no, on and off as true or false"
        return Problem(place, f"must be {rule}", value, remedy)
    if kind in _BOUNDS:
        return Problem(place, *_BOUNDS[kind](value, context))
    return None


_TYPES = {
    "int_type": ("a whole number", "write a whole number"),
    "int_from_float": ("a whole number", "write a whole number"),
    "float_type": ("a number", "write a number"),
    "bool_type": ("true or false", "write true or false"),
    "string_type": ("a string", "put it in quotes"),
    "list_type": ("a list", "write it as a list, one entry a line after `- `"),
    "dict_type": ("an object", "write its fields beneath it, one a line"),
    "model_type": ("an object", "write its fields beneath it, one a line"),
}
_UNQUOTED = ("int_type", "float_type", "bool_type")

_Words = tuple[str, Any, str]  # rule, value, remedy


def number(bound: float) -> str:
    """Spell a bound as YAML would: 9e15 is 9000000000000000."""
    return str(int(bound)) if bound == int(bound) else str(bound)


def _entries(count: int) -> str:
    return f"{count} entry" if count == 1 else f"{count} entries"


def _literal(value: Any, context: Mapping[str, Any]) -> _Words:
    expected = str(context["expected"]).replace("'", "")
    near = closest(str(value), re.split(r", | or ", expected))
    return f"must be {expected}", value, f"write {near}" if near else "write one of them as it stands here"


def _pattern(value: Any, context: Mapping[str, Any]) -> _Words:
    words = WORDS.get(context["pattern"], f"text that matches {context['pattern']}")
    return f"must be {words}", value, "change it so that it is"


def _too_long(value: Any, context: Mapping[str, Any]) -> _Words:
    most, length = context["max_length"], len(value)
    return f"must have at most {_entries(most)}", length, f"leave out {length - most} of them"


_BOUNDS: dict[str, Callable[[Any, Mapping[str, Any]], _Words]] = {
    "greater_than_equal": lambda value, ctx: (f"must be at least {number(ctx['ge'])}", value, f"use {number(ctx['ge'])} or more"),
    "greater_than": lambda value, ctx: (
        f"must be greater than {number(ctx['gt'])}",
        value,
        f"use a number above {number(ctx['gt'])}",
    ),
    "less_than_equal": lambda value, ctx: (f"must be at most {number(ctx['le'])}", value, f"use {number(ctx['le'])} or less"),
    "less_than": lambda value, ctx: (f"must be less than {number(ctx['lt'])}", value, f"use a number below {number(ctx['lt'])}"),
    "string_too_long": lambda value, ctx: (
        f"must have at most {ctx['max_length']} characters",
        value,
        f"shorten it by {len(value) - ctx['max_length']}",
    ),
    "string_too_short": lambda value, _: ("must not be empty", value, "write it or leave the field out"),
    "too_long": _too_long,
    "too_short": lambda value, ctx: (
        f"must have at least {_entries(ctx['min_length'])}",
        len(value),
        "add to it or leave the field out",
    ),
    "literal_error": _literal,
    "string_pattern_mismatch": _pattern,
}
