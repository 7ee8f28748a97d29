"""How one random number becomes a value of a primitive: the arithmetic of `domains`, and nothing of its words or bounds.

Of the generator only `random()` is used, once a draw: it is the one method whose stream Python promises to keep.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random
from statistics import NormalDist
from typing import Any

BITS = 53  # of one random()


def between(rng: Random, low: float, high: float) -> float:
    """Draw from [low, high); from a range of one number, that number."""
    return min(low + (high - low) * rng.random(), math.nextafter(high, low))


def log_between(rng: Random, low: float, high: float) -> float:
    """Draw from [low, high), evenly in the logarithm; exp(log(x)) may miss x by a rounding, so clip."""
    value = math.exp(between(rng, math.log(low), math.log(high)))
    return min(max(value, float(low)), math.nextafter(high, low))


def normal(rng: Random, mean: float, sd: float) -> float:
    """Draw from the normal distribution; random() may give 0, whose inverse is minus infinity."""
    return NormalDist(mean, sd).inv_cdf(max(rng.random(), 2.0 ** -(BITS + 1)))


def below(rng: Random, count: int) -> int:
    """Draw from 0 … count - 1, in whole numbers, so that nothing is rounded into a neighbour."""
    return (int(rng.random() * 2**BITS) * count) >> BITS


def multiple(value: float, q: float) -> float:
    """Round half to even, to a multiple of q.

    Ray gives -0.0 for small negative values; here the steps are a Python int, which has no minus zero: `--x=-0.0` helps nobody.
    """
    return round(value / q) * float(q)


def counts(low: int, high: int, q: int) -> tuple[int, int]:
    """Give the range [first, end) of k with k * q in range; as in Ray, high is out of it only where q is 1."""
    return (low, high) if q == 1 else (-(-low // q), high // q + 1)


def is_multiple(value: float, q: float) -> bool:
    """Say whether value is k * q, as closely as Ray asks (a relative 1e-9); a k beyond the doubles is another rule's business."""
    steps = value / q
    return math.isinf(steps) or math.isclose(steps, round(steps))


def element(values: Sequence[Any], index: int) -> Any:
    """Give one value of a list; if any number of the list is not whole, all are floats (`[1.0, 0.5]` comes as `[1, 0.5]`)."""
    value = values[index]
    whole = isinstance(value, int) and not isinstance(value, bool)
    if whole and any(isinstance(other, float) and not other.is_integer() for other in values):
        return float(value)
    return value
