"""`spec.scheduler`: what stops a trial early.

Settings of schedulers that core does not have yet are declared here for now; each moves to core with its algorithm.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from kubetune_operator.api.base import Model, one_of, settings
from kubetune_operator.api.parameters import Mutations
from kubetune_operator.core.bounds import LARGEST, Rule
from kubetune_operator.core.schedulers.asha import Asha
from kubetune_operator.core.schedulers.median import MedianStopping
from kubetune_operator.core.trials import TIME_TOTAL, TRAINING_ITERATION

AshaSettings = settings(Asha)
MedianStoppingSettings = settings(MedianStopping)

TimeAttr = Annotated[str, Field(min_length=1, max_length=128, description="the reported value that is the time")]
Positive = Annotated[float, Field(gt=0, le=LARGEST)]
NotNegative = Annotated[float, Field(ge=0, le=LARGEST)]


class Hyperband(Model):
    """HyperBand: brackets of trials, each halved again and again when all of it have reached a milestone."""

    time_attr: TimeAttr = TRAINING_ITERATION
    max_t: Positive = Field(default=81, description="the time at which a trial has had its whole budget")
    reduction_factor: float = Field(default=3, ge=1.1, le=LARGEST, description="one in this many survives a halving")
    stop_last_trials: bool = Field(default=True, description="whether the last trials of a bracket end at maxT")


class Pbt(Model):
    """Population based training: bad trials go on from the checkpoint of good ones, with parameters a little changed."""

    time_attr: TimeAttr = TIME_TOTAL
    perturbation_interval: Positive = Field(default=60.0, description="the time from one perturbation to the next")
    burn_in_period: NotNegative = Field(default=0.0, description="no trial is perturbed before this time")
    hyperparam_mutations: Mutations = Field(
        min_length=1, description="the parameters that are changed, each with where a new value comes from"
    )
    quantile_fraction: float = Field(
        default=0.25, ge=0, le=0.5, description="the share of trials that copy, and of those that are copied"
    )
    resample_probability: float = Field(
        default=0.25, ge=0, le=1, description="how often a parameter is drawn anew instead of scaled"
    )
    perturbation_factors: list[Positive] = Field(
        default=[1.2, 0.8], min_length=1, max_length=16, description="by what a parameter is scaled"
    )
    synch: bool = Field(default=False, description="whether all trials wait for each other before a perturbation")


class Scheduler(Model):
    """At most one scheduler with its settings; none is first in, first out, and no trial is stopped early."""

    asha: AshaSettings | None = Field(default=None, description="asynchronous successive halving, the stopping variant")  # type: ignore[valid-type]
    median_stopping: MedianStoppingSettings | None = Field(default=None, description="the median stopping rule")  # type: ignore[valid-type]
    hyperband: Hyperband | None = Field(default=None, description="HyperBand")
    pbt: Pbt | None = Field(default=None, description="population based training")

    RULES: ClassVar[tuple[Rule, ...]] = (one_of("asha", "medianStopping", "hyperband", "pbt"),)
