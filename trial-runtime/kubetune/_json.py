"""JSON as reports and parameters need it, without the json module.

That one loads re and enum, which cost a short program nearly as much as the start of its interpreter. Only what has been
checked is written here; what may be in a report is said in `_metrics`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # collections.abc loads collections
    from collections.abc import Mapping

_ESCAPES = {code: f"\\u{code:04x}" for code in range(32)}
_ESCAPES.update(
    {ord(plain): escape for plain, escape in zip('\b\t\n\f\r"\\', ("\\b", "\\t", "\\n", "\\f", "\\r", '\\"', "\\\\"))}
)


def dumps(values: Mapping[str, object]) -> str:
    """Write a dict of finite numbers, strings, booleans and such dicts, as json.dumps(values, ensure_ascii=False) does.

    Its keys need no escape; the values are of the plain types themselves, not of a subclass.
    """
    return "{" + ", ".join([f'"{key}": {_value(value)}' for key, value in values.items()]) + "}"


def _value(value: object) -> str:
    kind = type(value)
    if kind is float or kind is int:
        return repr(value)
    if kind is str:
        return f'"{value.translate(_ESCAPES)}"'  # type: ignore[attr-defined]
    if kind is bool:
        return "true" if value else "false"
    return dumps(value)  # type: ignore[arg-type]


class _Rules:
    """How json.loads reads, as its scanner in C asks for it."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float, parse_int = float, int
    parse_constant = float


def loads(text: str) -> object:
    """Read JSON, as json.loads does, and with its errors."""
    try:
        from _json import make_scanner  # noqa: PLC0415 - where there is none, or it asks for more, there is the module itself

        stripped = text.strip(" \t\n\r")
        found, end = make_scanner(_Rules)(stripped, 0)  # type: ignore[arg-type]  # it takes any that has these names
        if end == len(stripped):
            return found
    except (ImportError, AttributeError, TypeError, ValueError, StopIteration):
        pass
    import json  # noqa: PLC0415 - see above

    return json.loads(text)
