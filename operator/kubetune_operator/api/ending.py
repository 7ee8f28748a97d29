"""What ends a trial (`spec.stop`) or the whole experiment (`spec.stopExperiment`), and what a failure does (`spec.failure`)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from kubetune_operator.api.base import RULES, Expression, MetricName, Model, Number, settings
from kubetune_operator.core.bounds import Rule
from kubetune_operator.core.plateaus import ExperimentPlateau, TrialPlateau

TrialPlateauSettings = settings(TrialPlateau)
ExperimentPlateauSettings = settings(ExperimentPlateau)


class Stop(Model):
    """What ends a trial, besides its program and the scheduler."""

    metrics: dict[MetricName, Number] = Field(
        default={},
        max_length=64,
        json_schema_extra={
            RULES: [{"rule": "self.all(name, size(name) <= 128)", "message": "must have names of at most 128 characters"}]
        },
        description="a trial ends when a reported value is >= the number at its name, also where less is better, as in Ray",
    )
    expression: Expression | None = Field(
        default=None, description="a CEL expression over `trial_id` and `result`; a trial ends where it is true"
    )
    plateau: TrialPlateauSettings | None = Field(  # type: ignore[valid-type]
        default=None, description="a trial ends when its values hardly differ any more"
    )


class StopExperiment(Model):
    """What ends the whole experiment before all trials are done."""

    goal: Number | None = Field(default=None, description="end when a trial's objective is at least this good. Default: none")
    plateau: ExperimentPlateauSettings | None = Field(  # type: ignore[valid-type]
        default=None, description="end when the best values hardly differ any more"
    )
    time_budget_seconds: int | None = Field(
        default=None,
        ge=1,
        le=315_360_000,
        description="end after this many seconds from the first trial's start, but for those in which it is suspended or nobody "
        "runs it. Default: none",
    )
    max_failed_trials: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000,
        description="end when more trials than this have failed. Default: the larger of 5 and 10 % of the trials started",
    )


class Failure(Model):
    """What happens when a trial fails."""

    max_failures: int = Field(default=0, ge=0, le=1000, description="how often a failed trial is tried again, as a new attempt")
    fail_fast: bool = Field(
        default=False, description="whether the first failed trial ends the experiment; needs maxFailures 0, as in Ray"
    )
    max_disruptions: int = Field(
        default=20,
        ge=0,
        le=1000,
        description="how often a disrupted trial (eviction, preemption, loss of its node, deletion by hand) is tried again; "
        "these do not count as failures",
    )

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!self.failFast || self.maxFailures == 0",
            "must be 0 when failFast is true",
            lambda failure: not failure.fail_fast or failure.max_failures == 0,
            "maxFailures",
            "set maxFailures to 0 or failFast to false",
        ),
    )
