"""The search space: named parameters, which grid cell a trial is in, and what a trial draws.

A draw depends on the seed, its own number and the parameter's name, and on nothing else: any can be drawn again alone, and a
parameter more or less moves no other. The number of a draw is the trial's, plus the draws before it that met no constraint and
became no trial. How one primitive draws is in `domains`, what an expression may say in `expressions`, the cells are in `grid`.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate
from random import Random
from typing import Any, NamedTuple

from kubetune_operator.core.domains import MAX_LEVELS, NO_NUL, NUL, PARAM, Domain, Drawn, GridSearch, Value
from kubetune_operator.core.expressions import PARAMS, Expression, ExpressionFailed, Path
from kubetune_operator.core.grid import Grid
from kubetune_operator.core.membership import is_plain, member

TRIES = 100  # draws for one trial, until one meets the constraints
MAX_SAMPLED = 4096  # characters of JSON that a sampleFrom may give: each of a hundred may double the one before


@dataclass(frozen=True, slots=True)
class Parameter:
    """One entry of `spec.parameters`; where `when` is false, a trial does not have it."""

    name: str
    domain: Domain | Expression
    when: Expression | None = None


class Draw(NamedTuple):
    """What one draw gave: the parameters by (dotted) name, or None where no try met the constraints; and what went wrong."""

    params: dict[str, Any] | None
    note: str = ""  # an expression that could not be evaluated; why there are no parameters


class _Unusable(Exception):
    """This try gives no parameters; says why, and whether an expression failed, which is a fault of the spec and not bad luck."""

    def __init__(self, why: str, *, failed: bool) -> None:
        super().__init__(why)
        self.failed = failed


@dataclass(frozen=True)
class Space:
    """The parameters in the order of the YAML; none at all is a space too, of one empty point.

    `points` are parameters of the first samples, by name: what a point gives is not drawn, and leaves the grid.
    """

    parameters: tuple[Parameter, ...] = ()
    constraints: tuple[Expression, ...] = ()
    points: tuple[Mapping[str, Any], ...] = ()

    @cached_property
    def grid_size(self) -> int:
        """Count the cells of the grid: 1 without one."""
        return self._grid.size

    def total(self, samples: int) -> int:
        """Count the draws of so many samples, as Ray does: a point is a sample, and the grids that it fixes are not repeated."""
        points = self._ends[:samples]
        return (points[-1] if points else 0) + max(0, samples - len(self.points)) * self.grid_size

    def samples_for(self, draws: int) -> int:
        """Give the least samples that make so many draws."""
        ends = self._ends
        if ends and draws <= ends[-1]:
            return bisect_right(ends, draws - 1) + 1
        return len(ends) + math.ceil((draws - (ends[-1] if ends else 0)) / self.grid_size)

    def draw(self, seed: int, number: int) -> Draw:
        """Draw number `number`: its cell of the grid, the rest anew for it alone, again until the constraints are met."""
        point, cell = self._place(number)
        failed = unmet = ""
        for again in range(TRIES if self._may_change(point) else 1):
            try:
                drawn, note = self._once(f"{seed}/{number}.{again}" if again else f"{seed}/{number}", point, cell)
            except _Unusable as unusable:
                failed = failed or (str(unusable) if unusable.failed else "")
                unmet = unmet or str(unusable)
            else:
                return Draw(drawn, failed or note)
        return Draw(None, failed or unmet)

    def _once(self, stream: str, point: Mapping[str, Any], cell: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Draw once. Raises _Unusable where a value cannot be had, or a constraint is broken."""
        drawn: dict[str, Any] = {}
        given: dict[str, Any] = {}  # the same, as expressions see it
        note = ""
        for parameter in self.parameters:
            name, domain = parameter.name, parameter.domain
            if parameter.when is not None:
                there, failed = _holds(parameter.when, given)
                note = note or (failed and f"`when` of {name}: {failed}")
                if not there:
                    if name in point:
                        note = (
                            note or f"search.pointsToEvaluate gives {name}, which that trial does not have: its `when` is false"
                        )
                    continue
            if name in point:
                drawn[name] = _resolved(point[name], stream, name)
            elif isinstance(domain, GridSearch):
                if name not in cell:
                    continue
                drawn[name] = _resolved(cell[name], stream, name)
            elif isinstance(domain, Expression):
                drawn[name] = _evaluated(domain, given, stream, name)
            else:
                drawn[name] = _resolved(domain.draw(Random(f"{stream}/{name}")), stream, name)
            put(given, name, drawn[name])
        self._check(given)
        return drawn, note

    def _check(self, given: Mapping[str, Any]) -> None:
        """Ask each constraint; one over a parameter that this trial does not have does not concern it. Raises _Unusable."""
        for index, constraint in enumerate(self.constraints):
            failed = ""
            try:
                met = constraint.holds({PARAMS: given})
            except ExpressionFailed as why:
                met, failed = bool(constraint.lacks({PARAMS: given})), f" ({why})"
            if not met:
                raise _Unusable(f"constraints[{index}] is not met{failed}: {constraint.text}", failed=bool(failed))

    def _place(self, number: int) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Give the point and the cell of one draw."""
        ends = self._ends
        which = bisect_right(ends, number)
        if which < len(ends):
            return self.points[which], self._point_grids[which].cell(number - (ends[which - 1] if which else 0))
        return {}, self._grid.cell((number - (ends[-1] if ends else 0)) % self.grid_size)

    @cached_property
    def _ends(self) -> list[int]:
        """Give, for each point, the number of the first draw after it."""
        return list(accumulate(grid.size for grid in self._point_grids))

    @cached_property
    def _grid(self) -> Grid:
        return self._made({})

    @cached_property
    def _point_grids(self) -> list[Grid]:
        made: dict[str, Grid] = {}  # points that fix the same have the same grid
        grids = []
        for point in self.points:
            key = self._grid_key(point)
            grids.append(made.setdefault(key, made.get(key) or self._made(point)))
        return grids

    def _grid_key(self, point: Mapping[str, Any]) -> str:
        fixed = {name: point[name] for name in sorted(point.keys() & self.settled)}
        left = sorted(one.name for one in self.parameters if isinstance(one.domain, GridSearch) and one.name in point)
        return repr((fixed, left))

    @property
    def cells_to_try(self) -> int:
        """Count the cells that are gone through one by one, in all grids that there are: for each, its conditions are asked."""
        points: dict[str, Mapping[str, Any]] = {self._grid_key(point): point for point in self.points}
        tried = 0
        for point in ({}, *points.values()):
            grids = [(one, one.domain) for one in self.parameters if isinstance(one.domain, GridSearch) and one.name not in point]
            if any(one.when is not None for one, _ in grids):
                tried += math.prod(len(grid.values) for _, grid in grids)
        return tried

    def _made(self, point: Mapping[str, Any]) -> Grid:
        grids = {one.name: one.domain for one in self.parameters if isinstance(one.domain, GridSearch) and one.name not in point}
        conditional = any(one.when is not None for one in self.parameters if one.name in grids)
        return Grid(grids, partial(self._absent, point) if conditional else None)

    def _absent(self, point: Mapping[str, Any], cell: Mapping[str, Any]) -> frozenset[str]:
        """Name the grids that a cell does not have; their conditions read only what is settled (`space_checks`)."""
        given: dict[str, Any] = {}
        away = set()
        for one in self.parameters:
            if one.name not in self.settled:
                continue
            if one.when is not None and not _holds(one.when, given)[0]:
                away.add(one.name)
                continue
            value = point.get(one.name, cell[one.name] if one.name in cell else getattr(one.domain, "value", None))
            put(given, one.name, value)
        return frozenset(away & cell.keys())

    @cached_property
    def settled(self) -> frozenset[str]:
        """Name the parameters of which the grid's cell alone says what they are, and whether they are there at all."""
        found: set[str] = set()
        for one in self.parameters:
            reads = set() if one.when is None else {name for path in one.when.reads for name in self.read(path)}
            if is_fixed(one.domain) and reads <= found:
                found.add(one.name)
        return frozenset(found)

    @cached_property
    def strangers(self) -> list[tuple[int, str, Any]]:
        """Find what points give and their parameters never do: the point's number, the name, the value."""
        members = {one.name: member(one.domain) for one in self.parameters} if self.points else {}
        given = ((number, name, value) for number, point in enumerate(self.points) for name, value in point.items())
        return [(number, name, value) for number, name, value in given if name in members and not members[name](value)]

    def read(self, path: Path) -> list[str]:
        """Name the parameters that an expression reads by a path such as ("params", "model"): those in it, or that it is in."""
        wanted = path[1:]
        parts = {one.name: tuple(one.name.split(".")) for one in self.parameters}
        return [name for name, own in parts.items() if own[: len(wanted)] == wanted or wanted[: len(own)] == own]

    def _may_change(self, point: Mapping[str, Any]) -> bool:
        """Tell whether another try can give something else."""
        return any(not is_fixed(one.domain) for one in self.parameters if one.name not in point)


def is_fixed(domain: Domain | Expression) -> bool:
    """Tell whether the cell alone says what a parameter is: a value, or a grid, with no parameter inside."""
    if isinstance(domain, Expression):
        return False
    if isinstance(domain, Value):
        return is_plain(domain.value)
    return isinstance(domain, GridSearch) and all(is_plain(value) for value in domain.values)


def _holds(condition: Expression, given: Mapping[str, Any]) -> tuple[bool, str]:
    """Say whether a `when` is true; what cannot be evaluated is false, with the reason."""
    try:
        return condition.holds({PARAMS: given}), ""
    except ExpressionFailed as failed:
        return False, f"{failed}, in {condition.text}"


def _evaluated(expression: Expression, given: Mapping[str, Any], stream: str, name: str) -> Any:
    try:
        value = expression.evaluate({PARAMS: given}, Random(f"{stream}/{name}"))
    except ExpressionFailed as failed:
        raise _Unusable(f"sampleFrom of {name}: {failed}, in {expression.text}", failed=True) from failed
    if flaw := _flaw(value):
        raise _Unusable(f"sampleFrom of {name}: {flaw}, in {expression.text}", failed=True)
    return value


def _flaw(value: Any) -> str:
    """Say what keeps a value from being a parameter; an empty text where nothing does."""
    if found := _inner_flaw(value, MAX_LEVELS):
        return found
    length = len(json.dumps(value, ensure_ascii=False)) if isinstance(value, str | list | dict) else 0
    return f"must be at most {MAX_SAMPLED} characters long, has {length}" if length > MAX_SAMPLED else ""


def _inner_flaw(value: Any, levels: int) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return f"must be finite, is {value}"
    if isinstance(value, str) and NUL in value:
        return NO_NUL
    if not isinstance(value, list | dict):
        return ""
    if not levels:
        return f"must not be more than {MAX_LEVELS} levels deep"
    inner = value.values() if isinstance(value, dict) else value
    return next(filter(None, (_inner_flaw(each, levels - 1) for each in inner)), "")


def nested(params: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted names into objects inside objects: `{"model.lr": 1}` gives `{"model": {"lr": 1}}`."""
    whole: dict[str, Any] = {}
    for name, value in params.items():
        put(whole, name, value)
    return whole


def put(whole: dict[str, Any], name: str, value: Any) -> None:
    """Add one value under its dotted name to objects inside objects."""
    *path, last = name.split(".")
    for key in path:
        whole = whole.setdefault(key, {})
    whole[last] = value


def variable(name: str) -> str:
    """Give what follows KUBETUNE_PARAM_ in the environment: "a.b-c" is "A_B_C"."""
    return re.sub(r"[.-]", "_", name).upper()


def seed_of(seed: int, trial: int, attempt: int) -> int:
    """Give KUBETUNE_SEED, 32 bits, one per trial and attempt."""
    return int(Random(f"{seed}/{trial}/{attempt}").random() * 2**32)  # no parameter's name starts with a digit


def _resolved(value: Any, stream: str, place: str) -> Any:
    """Draw the parameters inside a value, each from the stream of its own place (a name, then a JSON pointer); copy the rest."""
    if isinstance(value, Drawn):
        inner = f"{place}/{PARAM}"
        return _resolved(value.draw(Random(f"{stream}/{inner}")), stream, inner)
    if isinstance(value, dict):
        escaped = {key: key.replace("~", "~0").replace("/", "~1") for key in value}
        return {key: _resolved(item, stream, f"{place}/{escaped[key]}") for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [_resolved(item, stream, f"{place}/{index}") for index, item in enumerate(value)]
    return value
