"""Whether a settings object keeps what its class declares (`bounds`): types, bounds, then the rules between its fields.

The API server refuses the same by the CRD; this is for what never passed one. Nothing here knows any class of settings.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, NamedTuple, get_args, get_origin, get_type_hints

from kubetune_operator.core.bounds import KEY, Setting


class Violation(NamedTuple):
    """One thing that is wrong with a settings object: where (camelCase, "" is the object itself), which rule, what was found."""

    field: str
    rule: str
    value: Any
    remedy: str


KINDS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    bool: ("true or false", lambda value: isinstance(value, bool)),
    int: ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    float: ("a finite number", lambda value: type(value) is int or (isinstance(value, float) and math.isfinite(value))),
    str: ("a string", lambda value: isinstance(value, str)),
    tuple: ("a list", lambda value: isinstance(value, (tuple, list))),
    NoneType: ("null", lambda value: value is None),
}
BOUNDS: tuple[tuple[str, Callable[[Any, Any], bool], str, str], ...] = (
    ("ge", operator.ge, "must be at least {:.15g}", "use {:.15g} or more"),
    ("gt", operator.gt, "must be greater than {:.15g}", "use a number above {:.15g}"),
    ("le", operator.le, "must be at most {:.15g}", "use {:.15g} or less"),
    ("lt", operator.lt, "must be less than {:.15g}", "use a number below {:.15g}"),
    ("max_length", lambda text, most: len(text) <= most, "must have at most {} characters", "shorten it"),
    ("min_items", lambda items, least: len(items) >= least, "must have at least {} item(s)", "add to the list"),
    ("max_items", lambda items, most: len(items) <= most, "must have at most {} item(s)", "shorten the list"),
)


def violations(instance: Any) -> Iterator[Violation]:
    """Find what is wrong with the fields of an object, or, if nothing, between them (a rule relies on types and bounds)."""
    hints = get_type_hints(type(instance))
    values = {_camel(each.name): getattr(instance, each.name) for each in fields(instance)}
    sound = True
    for each in fields(instance):
        value = values[_camel(each.name)]
        for rule, remedy in _broken(value, hints[each.name], each.metadata[KEY]):
            sound = False
            yield Violation(_camel(each.name), rule, value, remedy)
    for rule in getattr(instance, "RULES", ()) if sound else ():
        if not rule.holds(instance):
            yield Violation(rule.field, rule.message, values.get(rule.field), rule.remedy)


def _broken(value: Any, hint: Any, limits: Setting) -> Iterator[tuple[str, str]]:
    """Give (rule, remedy) of a wrong type, else of each broken bound. A type that KINDS does not know is not looked at."""
    wanted = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    kinds = [KINDS.get(get_origin(each) or each) for each in wanted]
    known = [kind for kind in kinds if kind is not None]
    if len(known) == len(kinds) and not any(fits(value) for _, fits in known):
        words = " or ".join(words for words, _ in known)
        yield f"must be {words}", f"write {words}"
    elif value is not None:
        for name, holds, rule, remedy in BOUNDS:
            bound = getattr(limits, name)
            if bound is not None and not holds(value, bound):
                yield rule.format(bound), remedy.format(bound)


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
