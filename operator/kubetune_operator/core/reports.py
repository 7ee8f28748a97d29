"""Reading one report line: text in, metrics out, or the reason for which the line is refused.

What a line may hold is said in `kubetune.wire`. How many metrics a trial may have is not asked here, and whether a report
stops it is not decided.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from kubetune.wire import MAX_LINE, METRIC_NAME, spell, unspell
from kubetune_operator.core.trials import Flat, Metrics
from kubetune_operator.errors import LineRefused

_NAME = re.compile(METRIC_NAME)
_DEPTH = 16  # nested dicts; JSON bombs are deep


def parse(line: str) -> Metrics:
    """Read a line as the program wrote it; numbers JSON has no word for come back as floats.

    Raises LineRefused, whose text names the rule and what was found.
    """
    if len(line.encode("utf-8", "surrogatepass")) > MAX_LINE:
        _refuse(f"a line must not be longer than {MAX_LINE} bytes")
    try:
        value = json.loads(line)
    except RecursionError:
        _refuse(f"must not be nested deeper than {_DEPTH}")
    except ValueError as error:
        # Python's own limit on the digits of a whole number arrives as a plain ValueError.
        _refuse(f"not JSON: {error}, got {_start(line)}")
    if not isinstance(value, dict):
        _refuse(f'must be a JSON object such as {{"loss": 0.3}}, got {_start(line)}')
    if not value:
        _refuse("must report at least one metric, got {}")
    return _read(value, "", 1)


def flatten(metrics: Metrics) -> Flat:
    """Join nested names with "/": {"a": {"b": 1}} becomes {"a/b": 1}."""
    return dict(_walk(metrics, ""))


def spelled(value: Any) -> Any:
    """Give a value, however nested, as JSON can hold it: words for NaN and the infinities."""
    if isinstance(value, float):
        return spell(value)
    if isinstance(value, Mapping):
        return {name: spelled(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [spelled(inner) for inner in value]
    return value


def _walk(metrics: Metrics, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            yield from _walk(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value


def _read(metrics: Mapping[str, Any], prefix: str, depth: int) -> dict[str, Any]:
    if depth > _DEPTH:
        _refuse(f"must not be nested deeper than {_DEPTH}")
    read: dict[str, Any] = {}
    for name, value in metrics.items():
        if not _NAME.fullmatch(prefix + name):
            _refuse(f"a metric's name must match {METRIC_NAME}, got {_start(prefix + name)}")
        if isinstance(value, dict):
            read[name] = _read(value, f"{prefix}{name}/", depth + 1)
        elif isinstance(value, (bool, int, float)):
            read[name] = value
        elif isinstance(value, str):
            if not value.isascii():
                _refuse_lone_surrogates(prefix + name, value)
            read[name] = unspell(value)
        else:
            _refuse(f"{prefix}{name} must be a number, a string, true, false or an object of them, got {json.dumps(value)[:40]}")
    return read


def _refuse_lone_surrogates(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        _refuse(f"{name} must be text, got half of a surrogate pair")


def _refuse(why: str) -> NoReturn:
    raise LineRefused(why)


def _start(text: str) -> str:
    return ascii(text if len(text) <= 40 else text[:40] + "…")
