"""Learning curves: what a trial would report, and how long that would take. And tables of them, CSV or .npz.

A table has a row for each configuration: its parameters, the seconds that a report takes, and the objective after each report.
What a simulation makes of curves is in `simulation`; those of an earlier experiment are read in `earlier`.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NoReturn, overload

from kubetune_operator import npz
from kubetune_operator.core.records import End
from kubetune_operator.core.trials import Metrics, Params
from kubetune_operator.errors import KubetuneError, shown

SECONDS = "seconds"
WELL = End(exit_code=0)
_ARRAYS = ("names", "config", "value", SECONDS)


@dataclass(frozen=True, slots=True)
class Curve:
    """One trial as it would go if nobody stopped it."""

    params: Params
    reports: Sequence[Metrics]
    seconds: Sequence[float]  # before each report, from the one before it or the program's start
    closing: float = 0.0  # seconds from the last report to the end
    end: End = WELL
    cut: bool = False  # the program would have gone on after the last report, but nobody knows how

    @property
    def duration(self) -> float:
        """Give the seconds from the program's start to its end."""
        return math.fsum(self.seconds) + self.closing


@dataclass(frozen=True, slots=True)
class Values(Sequence[Metrics]):
    """Reports of one metric. Each is made when it is asked for: a table has a million."""

    metric: str
    values: Sequence[float]

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, place: int) -> Metrics: ...

    @overload
    def __getitem__(self, place: slice) -> Values: ...

    def __getitem__(self, place: int | slice) -> Metrics | Values:
        if isinstance(place, slice):
            return Values(self.metric, self.values[place])
        return {self.metric: self.values[place]}


def of_values(params: Params, metric: str, values: Sequence[float], seconds: float | Sequence[float]) -> Curve:
    """Make the curve of a program that reports one metric; `seconds` of each report, or one figure for all."""
    each = [seconds] * len(values) if isinstance(seconds, (int, float)) else seconds
    return Curve(params, Values(metric, tuple(values)), tuple(each))


def read(path: Path, metric: str) -> list[Curve]:
    """Read a table, whose values are those of this metric: a curve for each row. Raises KubetuneError, OSError as it comes."""
    curves = list(_npz(path, metric) if path.suffix == ".npz" else _csv(path, metric))
    if not curves:
        _refuse(path, "must have a row for each configuration", "none", "add some")
    return curves


def rows(count: int, trials: int, seed: int) -> list[int]:
    """Say which of `count` rows each trial takes: at random, none twice before all were taken."""
    rng = Random(f"{seed}/curves")
    taken: list[int] = []
    while len(taken) < trials:
        taken += rng.sample(range(count), count)
    return taken[:trials]


def _npz(path: Path, metric: str) -> Iterator[Curve]:
    arrays = npz.read(path)
    if missing := [name for name in _ARRAYS if name not in arrays]:
        _refuse(path, f"must have the arrays {', '.join(_ARRAYS)}", f"none named {' or '.join(missing)}", "add them")
    names, config, value, seconds = (arrays[name] for name in _ARRAYS)
    for name in _ARRAYS:
        if arrays[name].text != (name == "names"):
            got, wanted = ("text", "numbers") if arrays[name].text else ("numbers", "text")
            _refuse(path, f"{name} must be {wanted}", got, "save it as such")
    count = len(value.rows)
    if 0 in value.shape[1:] or len(value.shape) != 2 or config.shape != (count, len(names.rows[0])):
        got = f"shapes {value.shape} and {config.shape}"
        _refuse(path, "value must be [rows, reports] and config [rows, names]", got, "transpose or trim them")
    if seconds.shape not in {(count,), value.shape}:
        _refuse(path, "seconds must be [rows], or [rows, reports]", f"shape {seconds.shape}", "give one figure for each row")
    wholes = [all(float(cell).is_integer() for cell in column) for column in zip(*config.rows, strict=True)]
    for row in range(count):
        each = seconds.rows[row] if len(seconds.shape) == 2 else [seconds.rows[0][row]] * value.shape[1]
        for one in each:
            _duration(path, f"row {row}", one)
        cells = zip(names.rows[0], config.rows[row], wholes, strict=True)
        params = {name: int(cell) if whole else cell for name, cell, whole in cells}
        yield of_values(params, metric, value.rows[row], each)


def _csv(path: Path, metric: str) -> Iterator[Curve]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        try:
            reader = csv.reader(file)
            header = next(reader, [])
            reports = _header(path, header)
            for cells in filter(None, reader):
                if len(cells) != len(header):
                    rule = f"line {reader.line_num} must have {len(header)} cells, as many as there are columns"
                    _refuse(path, rule, str(len(cells)), "fill it up, or put what has a comma in it in quotes")
                yield _line(path, reader.line_num, dict(zip(header, cells, strict=True)), reports, metric)
        except (csv.Error, UnicodeDecodeError) as error:
            _refuse(path, "must be CSV in UTF-8", str(error), "save it as such")


def _header(path: Path, header: Sequence[str]) -> int:
    """Check the columns; give how many reports there are."""
    if twice := [name for name in dict.fromkeys(header) if header.count(name) > 1]:
        _refuse(path, "must not have two columns of one name", twice[0], "rename one")
    if SECONDS not in header:
        _refuse(path, f"must have a column {SECONDS}: how long a report takes", "a header without it", "add it")
    reports = sum(name.isdecimal() for name in header)
    if missing := [str(number) for number in range(1, max(reports, 1) + 1) if str(number) not in header]:
        rule = "must have the objective after each report in columns 1, 2, 3 and so on"
        _refuse(path, rule, f"no column {missing[0]}", "name them so, without a gap")
    return reports


def _line(path: Path, line: int, row: Mapping[str, str], reports: int, metric: str) -> Curve:
    values = [row[str(number)].strip() for number in range(1, reports + 1)]
    while values and not values[-1]:
        values.pop()  # this curve is shorter than others
    if not values:
        _refuse(path, f"line {line} must have at least one report", "none", "fill in column 1, or leave the line out")
    numbers = [_number(path, f"line {line}, column {place}", value) for place, value in enumerate(values, 1)]
    seconds = _number(path, f"line {line}, column {SECONDS}", row[SECONDS])
    _duration(path, f"line {line}", seconds)
    params = {name: _guess(cell) for name, cell in row.items() if name != SECONDS and not name.isdecimal()}
    return of_values(params, metric, numbers, seconds)


def _number(path: Path, place: str, cell: str) -> float:
    try:
        return float(cell)  # nan and inf are what a program that diverges reports
    except ValueError:
        _refuse(path, f"{place} must be a number", shown(cell), "write nan where it diverged; only the last cells may be empty")


def _duration(path: Path, place: str, seconds: float) -> None:
    if not (math.isfinite(seconds) and seconds > 0):
        _refuse(path, f"{place}: seconds must be greater than 0", str(seconds), "measure it, or write 1")


def _guess(cell: str) -> Any:
    """Take a parameter for a whole number, a fraction or a word, whichever it looks like."""
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell


def _refuse(path: Path, rule: str, got: str, remedy: str) -> NoReturn:
    raise KubetuneError(f"{path}: {rule}, got {got}; {remedy}")
