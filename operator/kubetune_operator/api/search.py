"""`spec.search`: where suggestions come from.

Settings of searchers that core does not have yet are declared here for now; each moves to core with its algorithm.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from kubetune_operator.api.base import Model, one_of, settings
from kubetune_operator.core.bounds import Rule
from kubetune_operator.core.searchers.random import Random

MAX_SEED = 2**32 - 1

RandomSettings = settings(Random)


class Tpe(Model):
    """Tree-structured Parzen estimator, as Optuna has it."""

    startup_trials: int = Field(
        default=10, ge=0, le=1_000_000, description="how many trials are drawn at random before the model is used"
    )
    ei_candidates: int = Field(default=24, ge=1, le=10_000, description="how many candidates are drawn for each suggestion")
    multivariate: bool = Field(default=False, description="whether parameters are modelled together")
    group: bool = Field(default=False, description="whether conditional parameters are modelled in groups; needs multivariate")
    constant_liar: bool = Field(default=False, description="whether running trials count as bad ones, so that not all are alike")

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.multivariate || !self.group",
            "must be false unless multivariate is true",
            lambda tpe: tpe.multivariate or not tpe.group,
            "group",
            "set multivariate to true",
        ),
    )


class Cmaes(Model):
    """CMA-ES, as Optuna has it; for numbers only."""

    startup_trials: int = Field(
        default=1, ge=0, le=1_000_000, description="how many trials are drawn at random before the model is used"
    )
    sigma0: float | None = Field(
        default=None, gt=0, le=9e15, description="the first standard deviation; default: a sixth of the smallest range"
    )
    population_size: int | None = Field(
        default=None, ge=2, le=10_000, description="trials in a generation; default: by the number of parameters"
    )
    with_margin: bool = Field(default=False, description="whether whole numbers keep a margin of probability")


class Gp(Model):
    """A Gaussian process, as Optuna has it."""

    startup_trials: int = Field(
        default=10, ge=0, le=1_000_000, description="how many trials are drawn at random before the model is used"
    )
    deterministic_objective: bool = Field(default=False, description="whether the same parameters always give the same value")


class Qmc(Model):
    """A quasi-Monte Carlo sequence: more even than random draws."""

    type: Literal["Sobol", "Halton"] = Field(default="Sobol", description="which sequence")
    scramble: bool = Field(default=True, description="whether the sequence is scrambled by the seed")


class Search(Model):
    """At most one searcher with its settings, and the seed of everything that is random."""

    random: RandomSettings | None = Field(default=None, description="draw each trial from the space alone; this is the default")  # type: ignore[valid-type]
    tpe: Tpe | None = Field(default=None, description="a tree-structured Parzen estimator")
    cmaes: Cmaes | None = Field(default=None, description="the covariance matrix adaptation evolution strategy")
    gp: Gp | None = Field(default=None, description="a Gaussian process")
    qmc: Qmc | None = Field(default=None, description="a quasi-Monte Carlo sequence")
    seed: int | None = Field(
        default=None,
        ge=0,
        le=MAX_SEED,
        description="all randomness follows from it and a trial's number. Default: drawn once and kept in the journal",
    )
    points_to_evaluate: list[Annotated[dict[str, Any], Field(min_length=1, max_length=100)]] = Field(
        default=[], max_length=1000, description="parameters of the first trials, by name; what a point leaves out is drawn"
    )

    RULES: ClassVar[tuple[Rule, ...]] = (one_of("random", "tpe", "cmaes", "gp", "qmc"),)
