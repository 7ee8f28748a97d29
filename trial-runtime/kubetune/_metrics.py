"""How reported values become one line of JSON, or a refusal that names the key. No file is touched here."""

from __future__ import annotations

from kubetune import _json, wire

TYPE_CHECKING = False
if TYPE_CHECKING:  # collections.abc loads collections
    from collections.abc import Mapping

_AS_THEY_ARE = (int, str, bool)


class Known:
    """The metrics that one trial has reported so far, so that a name is checked once only."""

    __slots__ = ("names", "shape")

    def __init__(self) -> None:
        self.names: set[str] = set()  # as "a/b"
        self.shape: dict[str, object] = {}  # nested as reported, None for a value; a key that is itself an "a/b" is not in it

    def add(self, names: set[str], shape: dict[str, object]) -> None:
        """Take note of one checked report, or refuse it for having too many names or none."""
        if not names:
            raise ValueError("a report needs at least one metric, got none; report(loss=0.3)")
        count = len(self.names | names)
        if count > wire.MAX_METRICS:
            raise ValueError(f"a trial may report {wire.MAX_METRICS} different metrics, got {count}; use fewer names")
        self.names |= names
        _graft(shape, self.shape)


def line(values: Mapping[str, object], known: Known) -> bytes:
    """Write one report as a line, its newline included."""
    if not values or not _is_plain(values, known.shape):
        names: set[str] = set()
        checked = _cleaned(values, "", names)
        known.add(names, checked)
        values = checked
    try:
        text = _json.dumps(values).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a reported string cannot be written as UTF-8 ({error.reason}); leave it out or replace it") from None
    if len(text) > wire.MAX_LINE:
        raise ValueError(f"a report must fit into {wire.MAX_LINE} bytes, got {len(text)}; report fewer or shorter values")
    return text + b"\n"


def _is_plain(values: Mapping[str, object], shape: Mapping[str, object]) -> bool:
    """Say whether nothing needs checking or changing: known names, plain finite values (the usual report)."""
    for key, value in values.items():
        kind = type(value)
        if key not in shape:
            return False
        if kind is float:
            if value - value != 0.0:  # type: ignore[operator]  # NaN or infinite
                return False
        elif kind is dict:
            below = shape[key]
            if below is None or not _is_plain(value, below):  # type: ignore[arg-type]
                return False
        elif shape[key] is not None or kind not in _AS_THEY_ARE:
            return False
    return True


def _cleaned(values: Mapping[str, object], above: str, names: set[str]) -> dict[str, object]:
    """Give the values as JSON can hold them, nested as they are; collect their "a/b" names."""
    cleaned: dict[str, object] = {}
    for key, value in values.items():
        name = _name(key, above)
        if isinstance(value, dict):
            cleaned[key] = _cleaned(value, name, names)
        elif name in names:
            raise ValueError(f"metric {name} is reported twice in one report; rename one of them")
        else:
            names.add(name)
            cleaned[key] = _scalar(name, value)
    return cleaned


def _name(key: object, above: str) -> str:
    """Give the "a/b" name of a key, if it is one."""
    if not isinstance(key, str):
        raise ValueError(f"metric names must be strings, got {key!r}{f' in {above}' if above else ''}; write {str(key)!r}")  # noqa: TRY004
    name = f"{above}/{key}" if above else key
    if not wire.is_metric_name(name):
        rule = "must start with a letter or _ and hold at most 128 letters, digits, _ . / -"
        raise ValueError(f"metric name {name[:200]!r}: {rule}; rename it")
    return name


def _scalar(name: str, value: object) -> object:
    """Give a number, string or boolean as JSON can hold it; unwrap what numpy, torch and their like put around one."""
    if isinstance(value, float):
        return wire.spell(float(value))
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str.__str__(value)  # the string itself, also of a member of an Enum
    item = getattr(value, "item", None)
    if callable(item) and getattr(value, "ndim", 0) == 0:
        inner = item()
        if isinstance(inner, (int, float, str)):  # a bool is an int
            return _scalar(name, inner)
    raise TypeError(_refusal(name, value, has_item=callable(item)))


def _refusal(name: str, value: object, *, has_item: bool) -> str:
    last = name.rpartition("/")[2]
    if value is None:
        remedy = "leave the key out"
    elif isinstance(value, (list, tuple)):
        remedy = f"report one value of it, or {last}_0=…, {last}_1=…"
    elif has_item:
        remedy = f"report a number: {last}.mean().item()"
    else:
        remedy = f"report a number: float({last})"
    return f"metric {name}: must be a number, a string, a boolean or a dict of them, got {type(value).__name__}; {remedy}"


def _graft(shape: Mapping[str, object], onto: dict[str, object]) -> None:
    for key, below in shape.items():
        if "/" in key:  # {"a/b": 1} and {"a": {"b": 1}} are one name: only the full check sees the two together
            continue
        if isinstance(below, dict):
            inner = onto.setdefault(key, {})
            if isinstance(inner, dict):
                _graft(below, inner)
        else:
            onto.setdefault(key, None)
