"""Plain values: what JSON holds and the API server keeps, so that an experiment from Python is the one that kubectl would send.

Whole numbers are ints of 64 bits (2.0 is 2, as YAML to JSON has it), all others finite floats; keys are strings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NoReturn

from kubetune_operator.errors import InvalidSpec, Problem

MAX_DEPTH = 64  # levels; the API server would take more, but nobody writes them
_LEAST, _MOST = -(2**63), 2**63 - 1


def plain(value: Any, field: str = "") -> Any:
    """Copy a value as plain JSON values. Raises InvalidSpec for what JSON cannot hold."""
    return _plain(value, field, 0)


def _plain(value: Any, field: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        _refuse(field, f"must not be nested deeper than {MAX_DEPTH} levels", None, "flatten it")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)):
        return number(value, field)
    if isinstance(value, str):
        return _text(value, field)
    if isinstance(value, Mapping):
        return {_key(key, field): _plain(item, f"{field}.{key}" if field else str(key), depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{field}[{index}]", depth + 1) for index, item in enumerate(value)]
    return _refuse(field, "must be a number, a string, true, false, null, a list or an object", value, "write it as one of these")


def number(value: float, field: str = "") -> int | float:
    """Give a number as the API server keeps it. Raises InvalidSpec for what is not finite."""
    try:
        real = float(value)
    except OverflowError:
        real = math.inf
    if not math.isfinite(real):
        _refuse(field, "must be a finite number", value, "write a number within ±1.7e308")
    if not real.is_integer():
        return real
    # By its shortest digits, since that is how it is written into JSON: beyond 2**53 those are not the digits of the double.
    whole = value if isinstance(value, int) else int(Decimal(repr(value)))
    return whole if _LEAST <= whole <= _MOST else real


def _text(value: str, field: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        _refuse(field, "must be text", ascii(value), "remove the half of a surrogate pair")
    return value


def _key(key: Any, field: str) -> str:
    if not isinstance(key, str):
        _refuse(field, "must have keys that are strings", key, "put the key in quotes")
    return _text(key, field)


def _refuse(field: str, rule: str, value: Any, remedy: str) -> NoReturn:
    raise InvalidSpec((Problem(field or "the experiment", rule, value, remedy),))
