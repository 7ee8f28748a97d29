"""Whether a parameter may be so, which points of a search are asked.

As in Ray (`is_valid` of its sample.py) both ends of a range count, and a step does not.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from kubetune_operator.core.domains import Choice, Domain, Drawn, GridSearch, Value, Wholes
from kubetune_operator.core.expressions import Expression

Member = Callable[[Any], bool]


def is_plain(value: Any) -> bool:
    """Tell whether a value has no parameter inside."""
    if isinstance(value, dict):
        return all(is_plain(item) for item in value.values())
    if isinstance(value, (tuple, list)):
        return all(is_plain(item) for item in value)
    return not isinstance(value, Drawn)


def member(domain: Domain | Expression) -> Member:
    """Give what says of a JSON value whether a parameter may be so; where nobody can know, each may be."""
    if isinstance(domain, Expression):
        return _any
    if isinstance(domain, Choice | GridSearch | Value):
        values = [domain.value] if isinstance(domain, Value) else domain.values
        if not all(map(is_plain, values)):
            return _any
        known = {_key(each) for each in values}
        return lambda value: _key(value) in known
    low, high = getattr(domain, "low", None), getattr(domain, "high", None)  # a normal distribution has no ends
    whole = isinstance(domain, Wholes)

    def within(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or (whole and value != int(value)):
            return False
        return (low is None or low <= value) and (high is None or value <= high)

    return within


def _any(_: Any) -> bool:
    return True


def _key(value: Any) -> Hashable:
    """Give what is equal for equal values: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return ("object", frozenset((name, _key(item)) for name, item in value.items()))
    if isinstance(value, (tuple, list)):
        return ("list", *map(_key, value))
    return ("bool", value) if isinstance(value, bool) else value
