"""The primitives of the search space, each to the letter of Ray Tune's: what it takes, what is refused, how it draws.

A class is the settings of one primitive; PRIMITIVES names them as the YAML does. The arithmetic of a draw is in `draws`, what
checks one object is in `checks`; how several make a space, and how a value inside a value is drawn, is in `space`.
Nothing here reads YAML.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from kubetune_operator.core import checks, draws
from kubetune_operator.core.bounds import LARGEST, Rule, setting
from kubetune_operator.core.checks import Violation

PARAM = "$param"  # {"$param": {"uniform": {...}}} inside a choice or grid value is a parameter of its own
NUL = "\0"
NO_NUL, WITHOUT_NUL = "must not have a NUL character", "leave it out: no program can be given one"
MAX_NESTED = 8  # parameters inside one another
MAX_LEVELS = 32  # lists, objects and parameters inside one another


def _number(description: str, **more: Any) -> Any:
    return setting(description, ge=-LARGEST, le=LARGEST, **more)


def _positive(description: str, **more: Any) -> Any:
    return setting(description, gt=0, le=LARGEST, **more)


def _whole(description: str, ge: float = -LARGEST, **more: Any) -> Any:
    return setting(description, ge=ge, le=LARGEST, **more)


def _base() -> Any:
    return _positive("accepted as in Ray Tune, where it changes nothing either", default=10.0)


IN_ORDER = Rule("self.low <= self.high", "must be at least low", lambda d: d.low <= d.high, "high", "swap low and high")
NOT_EMPTY = Rule(
    "self.low < self.high",
    "must be greater than low, because high itself is never drawn",
    lambda d: d.low < d.high,
    "high",
    "raise high (low + 1 leaves only low)",
)
HAS_MULTIPLE = Rule(
    "self.low > self.high || (self.q == 1 ? self.low < self.high"
    " : self.high - (self.high % self.q + self.q) % self.q >= self.low)",
    "must leave a multiple of q between low and high (high itself is not drawn when q is 1)",
    lambda d: d.low > d.high or operator.lt(*draws.counts(d.low, d.high, d.q)),
    remedy="widen the range or lower q",
)
LOW_IS_MULTIPLE = Rule(
    "", "must be a multiple of q", lambda d: draws.is_multiple(d.low, d.q), "low", "move low to a multiple of q, or change q"
)
HIGH_IS_MULTIPLE = Rule(
    "", "must be a multiple of q", lambda d: draws.is_multiple(d.high, d.q), "high", "move high to a multiple of q, or change q"
)
FEW_STEPS = Rule(
    "self.high <= 9e15 * self.q && -self.low <= 9e15 * self.q",
    "must not be so small that low or high is more than 9e15 steps of q",
    lambda d: d.high <= LARGEST * d.q and -d.low <= LARGEST * d.q,
    "q",
    "raise q",
)
FEW_STEPS_AROUND = Rule(
    "self.mean <= 9e15 * self.q && -self.mean <= 9e15 * self.q && self.sd <= 9e15 * self.q",
    "must not be so small that mean or sd is more than 9e15 steps of q",
    lambda d: max(abs(d.mean), d.sd) <= LARGEST * d.q,
    "q",
    "raise q",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """A number from [low, high), each equally likely."""

    low: float = _number("the least value")
    high: float = _number("the end, not drawn itself unless it equals low")
    RULES: ClassVar[tuple[Rule, ...]] = (IN_ORDER,)

    def draw(self, rng: Random) -> float:
        """Draw a value."""
        return draws.between(rng, self.low, self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class QUniform:
    """A uniform number rounded to a multiple of q: both ends are drawn, each half as often as its neighbours."""

    low: float = _number("the least value, a multiple of q")
    high: float = _number("the greatest value, a multiple of q")
    q: float = _positive("the step")
    RULES: ClassVar[tuple[Rule, ...]] = (IN_ORDER, FEW_STEPS, LOW_IS_MULTIPLE, HIGH_IS_MULTIPLE)

    def draw(self, rng: Random) -> float:
        """Draw a value; it is k * q in floating point, so 0.30000000000000004 for 3 steps of 0.1, as in Ray."""
        return draws.multiple(draws.between(rng, self.low, self.high), self.q)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogUniform:
    """A number from [low, high) whose logarithm is uniform."""

    low: float = _positive("the least value")
    high: float = _positive("the end, not drawn itself unless it equals low")
    base: float = _base()
    RULES: ClassVar[tuple[Rule, ...]] = (IN_ORDER,)

    def draw(self, rng: Random) -> float:
        """Draw a value."""
        return draws.log_between(rng, self.low, self.high)


@dataclass(frozen=True, slots=True, kw_only=True)
class QLogUniform:
    """A loguniform number rounded to a multiple of q; both ends are drawn."""

    low: float = _positive("the least value, a multiple of q")
    high: float = _positive("the greatest value, a multiple of q")
    q: float = _positive("the step")
    base: float = _base()
    RULES: ClassVar[tuple[Rule, ...]] = (IN_ORDER, FEW_STEPS, LOW_IS_MULTIPLE, HIGH_IS_MULTIPLE)

    def draw(self, rng: Random) -> float:
        """Draw a value."""
        return draws.multiple(draws.log_between(rng, self.low, self.high), self.q)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandN:
    """A normally distributed number."""

    mean: float = _number("the mean", default=0.0)
    sd: float = _positive("the standard deviation", default=1.0)
    RULES: ClassVar[tuple[Rule, ...]] = ()

    def draw(self, rng: Random) -> float:
        """Draw a value."""
        return draws.normal(rng, self.mean, self.sd)


@dataclass(frozen=True, slots=True, kw_only=True)
class QRandN:
    """A normally distributed number rounded to a multiple of q."""

    mean: float = _number("the mean", default=0.0)
    sd: float = _positive("the standard deviation", default=1.0)
    q: float = _positive("the step")
    RULES: ClassVar[tuple[Rule, ...]] = (FEW_STEPS_AROUND,)

    def draw(self, rng: Random) -> float:
        """Draw a value."""
        return draws.multiple(draws.normal(rng, self.mean, self.sd), self.q)


@dataclass(frozen=True, slots=True, kw_only=True)
class RandInt:
    """A whole number from [low, high), each equally likely."""

    low: int = _whole("the least value")
    high: int = _whole("the end, never drawn itself")
    RULES: ClassVar[tuple[Rule, ...]] = (NOT_EMPTY,)

    def draw(self, rng: Random) -> int:
        """Draw a value; a range of more than 2**53 numbers has some that one random() cannot reach."""
        return self.low + draws.below(rng, self.high - self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class QRandInt:
    """A multiple of q from [low, high], each equally likely; with q = 1 high is left out."""

    low: int = _whole("the lower end; need not be a multiple of q")
    high: int = _whole("the upper end; need not be a multiple of q, and is not drawn when q is 1")
    q: int = _whole("the step", ge=1, default=1)
    RULES: ClassVar[tuple[Rule, ...]] = (IN_ORDER, HAS_MULTIPLE)

    def draw(self, rng: Random) -> int:
        """Draw a value."""
        first, end = draws.counts(self.low, self.high, self.q)
        return self.q * (first + draws.below(rng, end - first))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRandInt:
    """A whole number from [low, high): a loguniform number rounded down."""

    low: int = _whole("the least value", ge=1)
    high: int = _whole("the end, never drawn itself", ge=1)
    base: float = _base()
    RULES: ClassVar[tuple[Rule, ...]] = (NOT_EMPTY,)

    def draw(self, rng: Random) -> int:
        """Draw a value."""
        return math.floor(draws.log_between(rng, self.low, self.high))


@dataclass(frozen=True, slots=True, kw_only=True)
class QLogRandInt:
    """A multiple of q from [low, high], the multiples being drawn as by lograndint; with q = 1 high is left out."""

    low: int = _whole("the lower end; need not be a multiple of q", ge=1)
    high: int = _whole("the upper end; need not be a multiple of q, and is not drawn when q is 1", ge=1)
    q: int = _whole("the step", ge=1)
    base: float = _base()
    RULES: ClassVar[tuple[Rule, ...]] = (IN_ORDER, HAS_MULTIPLE)

    def draw(self, rng: Random) -> int:
        """Draw a value."""
        first, end = draws.counts(self.low, self.high, self.q)
        return self.q * math.floor(draws.log_between(rng, first, end))


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the values, each equally likely; a value that is there twice counts twice."""

    values: tuple[Any, ...] = setting("the values", min_items=1, max_items=1000)
    BARE: ClassVar[str] = "values"  # the YAML gives this field itself, not an object that has it
    RULES: ClassVar[tuple[Rule, ...]] = ()

    def draw(self, rng: Random) -> Any:
        """Draw a value; parameters inside it are not yet drawn."""
        return draws.element(self.values, draws.below(rng, len(self.values)))


@dataclass(frozen=True, slots=True)
class GridSearch:
    """Every one of the values, in combination with every other grid; not drawn, but taken in turn."""

    values: tuple[Any, ...] = setting("the values", min_items=1, max_items=1000)
    BARE: ClassVar[str] = "values"
    RULES: ClassVar[tuple[Rule, ...]] = ()

    def at(self, index: int) -> Any:
        """Give the value of one grid cell; parameters inside it are not yet drawn."""
        return draws.element(self.values, index)


@dataclass(frozen=True, slots=True)
class Value:
    """The same value in every trial."""

    value: Any = setting("the value")  # noqa: RUF009 - a dataclass field, as everywhere else
    BARE: ClassVar[str] = "value"
    RULES: ClassVar[tuple[Rule, ...]] = ()

    def draw(self, rng: Random) -> Any:
        """Give the value; nothing is drawn."""
        return self.value


Numbers = Uniform | QUniform | LogUniform | QLogUniform | RandN | QRandN
Wholes = RandInt | QRandInt | LogRandInt | QLogRandInt
Drawn = Numbers | Wholes | Choice | Value
Domain = Drawn | GridSearch

PRIMITIVES: dict[str, type[Domain]] = {
    "uniform": Uniform,
    "quniform": QUniform,
    "loguniform": LogUniform,
    "qloguniform": QLogUniform,
    "randn": RandN,
    "qrandn": QRandN,
    "randint": RandInt,
    "qrandint": QRandInt,
    "lograndint": LogRandInt,
    "qlograndint": QLogRandInt,
    "choice": Choice,
    "gridSearch": GridSearch,
    "value": Value,
}


def violations(instance: Any) -> Iterator[Violation]:
    """Find what is wrong with an object of any settings class: its fields, its RULES, and parameters inside its values."""
    return _violations(instance, 0, 0)


def _violations(instance: Any, levels: int, nested: int) -> Iterator[Violation]:
    bare = getattr(instance, "BARE", None)
    sound = True
    for found in checks.violations(instance):
        sound = False
        yield found._replace(field="") if found.field == bare else found
    if sound and bare is not None:
        yield from _inside(getattr(instance, bare), "", levels, nested)


def _inside(value: Any, path: str, levels: int, nested: int) -> Iterator[Violation]:
    """Find what is wrong in a JSON value, which may hold parameters."""
    if levels > MAX_LEVELS or nested > MAX_NESTED:
        rule = f"must not be more than {MAX_LEVELS} levels deep, with at most {MAX_NESTED} parameters inside one another"
        yield Violation(path, rule, None, "flatten it")
    elif isinstance(value, Domain):
        yield from _parameter(value, path, levels, nested)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == PARAM:  # where a parameter may be, it has been made one
                rule = f"must not be here: {PARAM} is read in the values of choice and gridSearch alone"
                yield Violation(f"{path}.{key}", rule, item, "write the whole value as a choice of one")
            elif not isinstance(key, str):
                yield Violation(f"{path}.{key}", "must be a string key", key, "put it in quotes")
            yield from _inside(item, f"{path}.{key}", levels + 1, nested)
    elif isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from _inside(item, f"{path}[{index}]", levels + 1, nested)
    else:
        yield from _leaf(value, path)


def _leaf(value: Any, path: str) -> Iterator[Violation]:
    if not _is_plain(value):
        yield Violation(path, "must be a JSON value: numbers finite, whole ones of 64 bits", value, "write it as a string")
    elif isinstance(value, str) and NUL in value:
        yield Violation(path, NO_NUL, value, WITHOUT_NUL)


def _parameter(domain: Domain, path: str, levels: int, nested: int) -> Iterator[Violation]:
    name = next(key for key, cls in PRIMITIVES.items() if isinstance(domain, cls))
    place = f"{path}.{PARAM}.{name}"
    if isinstance(domain, GridSearch):  # how often it multiplies would hang on what is drawn
        yield Violation(place, "must not be inside another parameter", None, "use choice, or make it a parameter of its own")
    for found in _violations(domain, levels + 1, nested + 1):
        dot = "" if found.field[:1] in {"", "[", "."} else "."
        yield found._replace(field=f"{place}{dot}{found.field}")


def _is_plain(value: Any) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return value is None or isinstance(value, str) or (isinstance(value, float) and math.isfinite(value))
