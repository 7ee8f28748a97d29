"""What a YAML scalar is to kubectl: YAML 1.1 as go-yaml v2 has it, which is neither YAML 1.2 nor what PyYAML does.

`1e-4` is a number, `12:30:45` and `2026-01-31` are strings, `010` is eight, `1_000` a thousand, `y` is true. The expected
values in the tests come from the Go library itself.
"""

from __future__ import annotations

import math
import re
from typing import Any

_TAG = "tag:yaml.org,2002:"
_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_INT = re.compile(r"([-+]?)(?:0[bB]([01]+)|0[xX]([0-9a-fA-F]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_BASES = (2, 16, 8, 10)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DOTTED = re.compile(r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?")  # only here does it matter where underscores are
_LONGEST = 100  # characters; no whole number of 64 bits has more, not even in binary
_TYPES: dict[str, Any] = {"int": int, "float": (int, float), "bool": bool, "null": type(None)}


def resolve(text: str) -> Any:
    """Give the value of a scalar without quotes and without a tag."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == ".":
        number = _float(text.replace("_", "")) if _DOTTED.fullmatch(text) else None
        return text if number is None else number
    if text[0] not in "+-0123456789":
        return text
    digits = text.replace("_", "")
    whole = _whole(digits)
    number = _float(digits) if whole is None else whole
    return text if number is None else number


def tagged(text: str, tag: str) -> Any:
    """Give the value of a scalar with a tag. Raises ValueError for one of another type, or a tag that has no place here."""
    name = tag.removeprefix(_TAG)
    if tag == "!" or name == "str":
        return text
    if name not in _TYPES or tag == name:
        raise ValueError(f"must not have the tag {tag.replace(_TAG, '!!')}")
    value = resolve(text)
    if not isinstance(value, _TYPES[name]) or (isinstance(value, bool) and name != "bool"):
        raise ValueError(f"must be what its tag !!{name} says")
    return float(value) if name == "float" else value


def _whole(digits: str) -> int | None:
    match = _INT.fullmatch(digits) if len(digits) <= _LONGEST else None
    if match is None:
        return None
    sign, *groups = match.groups()
    number = next(int(group, base) for group, base in zip(groups, _BASES, strict=True) if group is not None)
    number = -number if sign == "-" else number
    # Beyond this go-yaml looks for another reading.
    return number if -(2**63) <= number < (2**63 if sign else 2**64) else None


def _float(digits: str) -> float | None:
    number = float(digits) if _FLOAT.fullmatch(digits) else math.inf
    return number if math.isfinite(number) else None
