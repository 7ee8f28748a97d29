"""The distribution of each primitive against the figures of 200,000 draws of Ray's own (traces/samplers.json).

Every case is drawn 20,000 times, as an experiment draws: from the space, a trial at a time. The thresholds follow from the
number of draws and from ALPHA, the probability that one of these checks fails though the distribution is right; there
are some 150 checks, and the seed is fixed, so this happens once (1 in 6,000) or never.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import fields
from pathlib import Path
from random import Random
from statistics import NormalDist
from typing import Any

import pytest

from kubetune_operator.core.domains import PRIMITIVES, Choice, Domain, GridSearch, Uniform
from kubetune_operator.core.space import Parameter, Space
from tests.contract.searchers import drawn_of, within

FIGURES = json.loads((Path(__file__).parent / "traces/samplers.json").read_text())
CASES = FIGURES["cases"]
LEVELS = FIGURES["quantile_levels"]
DRAWS = 20_000
ALPHA = 1e-6
SIGMAS = NormalDist().inv_cdf(1 - ALPHA / 2)  # a normal variable is further from its mean with probability ALPHA


def named(case: dict[str, Any]) -> str:
    """Give the id of a case: "quniform[0.0,1.0,0.25]"."""
    return f"{case['primitive']}{case['args']}".replace(" ", "")


def domain_of(case: dict[str, Any]) -> Domain:
    """Make the primitive of a case; Ray's arguments are in the order of our fields."""
    cls: Any = PRIMITIVES[case["primitive"]]
    if cls is Choice:
        return Choice(tuple(case["args"][0]))
    return cls(**{each.name: value for each, value in zip(fields(cls), case["args"], strict=False)})  # type: ignore[no-any-return]


def drawn(domain: Domain) -> list[Any]:
    """Draw as an experiment does."""
    space = Space((Parameter("x", domain),))
    return [drawn_of(space, 20_250_101, trial)["x"] for trial in range(DRAWS)]


def chi_square_tail(statistic: float, freedom: int) -> float:
    """Give the probability that a chi-square variable of so many degrees of freedom is greater (its series, for whole ones)."""
    half = statistic / 2
    if freedom % 2 == 0:
        return math.exp(-half) * math.fsum(half**index / math.factorial(index) for index in range(freedom // 2))
    series = math.fsum(math.pow(half, index - 0.5) / math.gamma(index + 0.5) for index in range(1, (freedom + 1) // 2))
    return math.erfc(math.sqrt(half)) + math.exp(-half) * series


def goodness(values: list[Any], exact: list[tuple[Any, float]]) -> float:
    """Give the p-value of Pearson's test; cells that expect fewer than 5 draws, and values of no cell, are one cell."""
    counts = Counter(values)
    cells = [(counts.pop(value, 0), len(values) * share) for value, share in exact if len(values) * share >= 5]
    rest = len(values) - sum(expected for _, expected in cells)
    if rest >= 5:
        cells.append((counts.total(), rest))
    statistic = sum((count - expected) ** 2 / expected for count, expected in cells)
    return chi_square_tail(statistic, len(cells) - 1)


def band(draws: int) -> float:
    """Give how far an empirical distribution may be from the true one, anywhere (Dvoretzky, Kiefer, Wolfowitz; Massart)."""
    return math.sqrt(math.log(2 / (ALPHA / 2)) / (2 * draws))  # half of ALPHA each for Ray's draws and ours


def check_moments(values: list[float], case: dict[str, Any]) -> None:
    """Compare mean and standard deviation within the error of both samples, by the central limit theorem."""
    both = 1 / DRAWS + 1 / FIGURES["draws"]
    mean = math.fsum(values) / DRAWS
    squares = [(value - mean) ** 2 for value in values]
    variance = math.fsum(squares) / DRAWS
    spread = math.fsum((square - variance) ** 2 for square in squares) / DRAWS  # the variance of a square
    assert mean == pytest.approx(case["mean"], abs=SIGMAS * math.sqrt(variance * both))
    assert variance == pytest.approx(case["std"] ** 2, abs=SIGMAS * math.sqrt(spread * both))


def check_quantiles(values: list[float], case: dict[str, Any]) -> None:
    """Compare with Ray's quantiles, within the bands of both samples; then the ends, where the bands are wide."""
    width = band(DRAWS) + band(FIGURES["draws"])
    quantiles = dict(zip(LEVELS, case["quantiles"], strict=True))
    for level, quantile in quantiles.items():
        assert sum(value <= quantile for value in values) / DRAWS >= level - width
        assert sum(value < quantile for value in values) / DRAWS <= level + width
    # That no draw of 20,000 is in an outer thousandth has probability 2e-9.
    assert min(values) <= quantiles[0.001]
    assert max(values) >= quantiles[0.999]


def check_frequencies(values: list[Any], case: dict[str, Any]) -> None:
    """Compare with the exact frequencies; what is likely enough to occur does, at both ends too."""
    assert goodness(values, case["exact"]) >= ALPHA
    likely = {value for value, share in case["exact"] if (1 - share) ** DRAWS < ALPHA}
    assert likely <= set(values)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=named)
def test_the_distribution_is_rays(case: dict[str, Any]) -> None:
    domain = domain_of(case)
    values = drawn(domain)
    assert {type(value).__name__ for value in values} == {case["python_type"]}
    assert all(within(domain, value) for value in values)
    if "mean" in case:
        check_moments(values, case)
        check_quantiles(values, case)
    if "exact" in case:
        check_frequencies(values, case)


class Numbers(Random):
    """A generator that gives these numbers."""

    def __init__(self, numbers: list[float]) -> None:
        super().__init__(0)
        self.numbers = iter(numbers)

    def random(self) -> float:
        return next(self.numbers)


BY_ONE_NUMBER = {"uniform", "quniform", "loguniform", "qloguniform", "lograndint", "qlograndint"}


@pytest.mark.parametrize("case", [case for case in CASES if case["primitive"] in BY_ONE_NUMBER], ids=named)
def test_given_rays_random_numbers_it_draws_rays_values(case: dict[str, Any]) -> None:
    """For these Ray takes one uniform number a draw, as we do; which ones it took is seen in its draws from uniform(-5, 10)."""
    (seen,) = (each["first_10_seed_42"] for each in CASES if each["args"] == [-5.0, 10.0])
    rng, domain = Numbers([(value + 5) / 15 for value in seen]), domain_of(case)
    assert not isinstance(domain, GridSearch)
    assert [domain.draw(rng) for _ in seen] == pytest.approx(case["first_10_seed_42"], rel=1e-12)


def test_every_primitive_that_is_drawn_has_figures() -> None:
    assert {case["primitive"] for case in CASES} == set(PRIMITIVES) - {"gridSearch", "value"}


@pytest.mark.slow
def test_two_parameters_and_two_trials_are_independent() -> None:
    """Every parameter of every trial has a generator of its own, so their independence is not given: 100 cells, chi-square."""
    space = Space((Parameter("a", Uniform(low=0, high=10)), Parameter("b", Uniform(low=0, high=10))))
    trials = [drawn_of(space, 7, trial) for trial in range(DRAWS)]
    cells = [((row, column), 0.01) for row in range(10) for column in range(10)]
    parameters = [(int(trial["a"]), int(trial["b"])) for trial in trials]
    neighbours = [(int(one["a"]), int(two["a"])) for one, two in zip(trials[::2], trials[1::2], strict=True)]
    seeds = [(int(trial["a"]), int(drawn_of(space, 8, number)["a"])) for number, trial in enumerate(trials)]
    for pairs in (parameters, neighbours, seeds):
        assert goodness(pairs, cells) >= ALPHA


# --- the checks themselves ---


@pytest.mark.parametrize(
    ("freedom", "statistic"), [(1, 3.841459), (2, 5.991465), (9, 16.918978), (10, 18.307038), (48, 65.170769), (63, 82.528727)]
)
def test_the_tail_is_that_of_the_tables(freedom: int, statistic: float) -> None:
    """The 95 % points as printed in tables of the chi-square distribution."""
    assert chi_square_tail(statistic, freedom) == pytest.approx(0.05, rel=1e-5)


@pytest.mark.parametrize(
    ("primitive", "args", "wrong"),
    [
        pytest.param("quniform", [3.2, 5.0, 0.2], lambda u: round(16 + int(u * 10)) * 0.2, id="quniform-with-whole-ends"),
        pytest.param("qrandint", [0, 10, 2], lambda u: round(u * 5) * 2, id="qrandint-by-rounding"),
        pytest.param("qrandint", [0, 10, 1], lambda u: int(u * 11), id="qrandint-with-its-end"),
        pytest.param("lograndint", [16, 64], lambda u: round(16 * 4**u), id="lograndint-by-rounding"),
        pytest.param("qlograndint", [8, 64, 8], lambda u: round(8 ** (1 + u) / 8) * 8, id="qlograndint-by-rounding"),
        pytest.param("qlograndint", [8, 64, 8], lambda u: 8 + 8 * int(u * 8), id="qlograndint-not-log"),
        pytest.param("choice", [[1, 1, 2, 4]], lambda u: [1, 2, 4][int(u * 3)], id="choice-of-distinct-values"),
    ],
)
def test_a_wrong_distribution_is_noticed(primitive: str, args: list[Any], wrong: Any) -> None:
    """Among them how older versions of Ray drew."""
    (case,) = (each for each in CASES if (each["primitive"], each["args"]) == (primitive, args))
    rng = Random(7)
    with pytest.raises(AssertionError, match="assert"):
        check_frequencies([wrong(rng.random()) for _ in range(DRAWS)], case)
