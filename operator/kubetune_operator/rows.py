"""What the per-trial files say, as bytes: rows of reports as JSON lines, CSV and TensorBoard events; failures; documents.

Everything here is a function of its arguments, so that files can be brought level byte for byte on another machine, by another
Python, in another time zone. Which file is written when, and how, is in `files`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kubetune.wire import spell
from kubetune_operator import tensorboard
from kubetune_operator.core.reports import flatten, spelled
from kubetune_operator.core.trials import COUNTED, FILLED, TRAINING_ITERATION, Flat, Metrics

EVENTS = "events.out.tfevents."

_QUOTED = re.compile(r'[,"\r\n]')

Row = Mapping[str, Any]  # one accepted report, as `row` makes it


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which report a row is."""

    time: float  # unix seconds, when it was taken
    attempt: int
    number: int  # of its line
    after_stop: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt of a trial."""

    number: int  # among the trial's failures, from 1
    time: float  # unix seconds
    text: str


def row(trial: str, config: Mapping[str, Any], metrics: Metrics, counted: Mapping[str, Any], stamp: Stamp) -> Row:
    """Make the row of one report: what the program said first, then what kubetune adds, always in this order.

    `config` is nested; `counted` is what the program did not say itself of training_iteration and the times.
    """
    own = {name: value for name, value in metrics.items() if name not in COUNTED and name not in FILLED}
    given = {**metrics, **counted}
    added = (int(stamp.time), date(stamp.time), trial, stamp.attempt, stamp.number, False, "", stamp.after_stop, config)
    return own | {name: given[name] for name in COUNTED if name in given} | dict(zip(FILLED, added, strict=True))


def done(last: Row, reason: str) -> Row:
    """Give the last row of a trial that has ended: it says so, and why."""
    return {**last, "done": True, "reason": reason}


def undone(last: Row) -> Row:
    """Give back the row that `done` was given."""
    return {**last, "done": False, "reason": ""}


def lines(rows: Iterable[Row]) -> bytes:
    """Write rows as result.json holds them: valid JSON on each line, words for what JSON has no number for."""
    return _encode("".join(_json(one) + "\n" for one in rows))


def flat(one: Row) -> Flat:
    """Give a row as progress.csv holds it: names joined with "/", without the config."""
    return flatten({name: value for name, value in one.items() if name != "config"})


def columns(flats: Iterable[Flat], known: Sequence[str] = ()) -> list[str]:
    """Give the columns that these rows need, those that are there already first."""
    return list(dict.fromkeys([*known, *(name for one in flats for name in one)]))


def table(flats: Iterable[Flat], names: Sequence[str], *, header: bool = False) -> bytes:
    """Write CSV. By hand, for the bytes must not depend on the Python: when the csv module quotes has changed."""
    cells = [[_cell(one.get(name)) for name in names] for one in flats]
    if header:
        cells.insert(0, [_cell(name) for name in names])
    return _encode("".join(",".join(one) + "\n" for one in cells))


def by_attempt(rows: Iterable[Row]) -> Iterable[Sequence[Row]]:
    """Group rows by their attempt: each has an event file of its own."""
    attempts: dict[int, list[Row]] = {}
    for one in rows:
        attempts.setdefault(one["attempt"], []).append(one)
    return attempts.values()


def events_name(first: Row) -> str:
    """Name the event file of an attempt after its first row: the same whoever writes it; later attempts sort behind."""
    return f"{EVENTS}{first['timestamp']}.{attempt_name(first)}"


def attempt_name(one: Row) -> str:
    """Name the attempt of a row as its pod is named."""
    return f"{one['trial_id']}-{one['attempt']}"


def events(rows: Sequence[Row], *, begin: bool) -> bytes:
    """Write rows as an event file holds them: numbers and booleans that the program reported, at its training_iteration."""
    data = [tensorboard.begin(rows[0]["timestamp"])] if begin else []
    for one in rows:
        metrics = flatten({name: value for name, value in one.items() if name not in COUNTED and name not in FILLED})
        numbers = {name: value for name, value in metrics.items() if isinstance(value, (int, float))}
        data.append(tensorboard.scalars(one["timestamp"], _step(one), numbers))
    return b"".join(data)


def failure(one: Failure) -> bytes:
    """Write a failure as error.txt holds it, in Ray's manner."""
    return _encode(f"Failure # {one.number} (occurred at {date(one.time)})\n{one.text.rstrip()}\n")


def document(value: Mapping[str, Any], *, sort: bool = False) -> bytes:
    """Write a JSON document to be read by people."""
    return _encode(_json(value, indent=2, sort_keys=sort) + "\n")


def date(time: float) -> str:
    """Spell a time as Ray does, but always in UTC."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d_%H-%M-%S")


def _step(one: Row) -> int:
    step = one.get(TRAINING_ITERATION)
    if isinstance(step, float) and math.isfinite(step):
        return int(step)
    return step if isinstance(step, int) else one["number"] + 1


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(spell(value))
    text = value if isinstance(value, str) else _json(value)
    return '"' + text.replace('"', '""') + '"' if _QUOTED.search(text) else text


def _json(value: Any, **more: Any) -> str:
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, **more)
    except ValueError:  # a number that JSON has no word for
        return json.dumps(spelled(value), allow_nan=False, ensure_ascii=False, **more)


def _encode(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")  # half a surrogate pair: in JSON, this is its escape
