"""The spec of a TuneExperiment: every field, in the order in which the documentation has them.

A field is immutable unless it is marked `MUTABLE`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from kubetune_operator.api.base import MUTABLE, Expression, MetricName, Model
from kubetune_operator.api.ending import Failure, Stop, StopExperiment
from kubetune_operator.api.parameters import Parameters, cells, has_grid
from kubetune_operator.api.results import Checkpoints, Logs, Results, ResumeFrom
from kubetune_operator.api.scheduler import Scheduler
from kubetune_operator.api.search import Search
from kubetune_operator.api.trial import Trial
from kubetune_operator.core.bounds import Rule

MOST_TRIALS = 1_000_000
_MAY_CHANGE: dict[str, Any] = {MUTABLE: True}


class Objective(Model):
    """Which reported value is looked at, and which way it is better."""

    metric: MetricName = Field(description="the name of the reported value; a/b for a nested one")
    mode: Literal["Maximize", "Minimize"] = Field(description="which way it is better")
    scope: Literal["Last", "Best"] = Field(default="Last", description="what a trial is worth: its last value or its best")


_MODELS = ("tpe", "cmaes", "gp", "qmc")
_USES_A_MODEL = " || ".join(f"has(self.search.{name})" for name in _MODELS)


def _grid_is_drawn_at_random(spec: Spec) -> bool:
    return not spec.search.given().intersection(_MODELS) or not has_grid(spec.parameters)


class Spec(Model):
    """What is to be tuned, how, and for how long."""

    objective: Objective = Field(description="which reported value is looked at, and which way it is better")
    parameters: Parameters = Field(
        default=[], description="the search space, in order: a later parameter may read an earlier one"
    )
    constraints: list[Expression] = Field(
        default=[],
        max_length=20,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
        description="CEL expressions over `params` that must be true; a draw that breaks one is drawn again, up to 100 times",
    )
    search: Search = Field(
        default=Search(), description="where suggestions come from: at most one of random, tpe, cmaes, gp, qmc"
    )
    num_samples: int = Field(
        default=1,
        ge=1,
        le=MOST_TRIALS,
        json_schema_extra=_MAY_CHANGE,
        description="how often the whole grid is repeated; without a grid, how many trials there are. "
        "Must not go below what has been started; raising it on a finished experiment goes on",
    )
    max_concurrent_trials: int = Field(
        default=4,
        ge=1,
        le=10_000,
        json_schema_extra=_MAY_CHANGE,
        description="how many trials run at once; lowering it ends no trial",
    )
    scheduler: Scheduler = Field(
        default=Scheduler(),
        description="what stops a trial early: at most one of asha, medianStopping, hyperband, pbt; none: nothing does",
    )
    stop: Stop = Field(default=Stop(), description="what ends a trial, besides its program and the scheduler")
    stop_experiment: StopExperiment = Field(
        default=StopExperiment(),
        json_schema_extra=_MAY_CHANGE,
        description="what ends the whole experiment before all trials are done",
    )
    failure: Failure = Field(default=Failure(), json_schema_extra=_MAY_CHANGE, description="what happens when a trial fails")
    suspend: bool = Field(
        default=False,
        json_schema_extra=_MAY_CHANGE,
        description="true: running pods are deleted and trials wait; checkpoints stay",
    )
    resume_from: ResumeFrom | None = Field(default=None, description="the earlier experiment whose trials are taken over")
    logs: Logs = Field(default=Logs(), description="what is kept of a trial's standard output and standard error")
    results: Results = Field(default=Results(), description="which files are written besides those that always are")
    checkpoints: Checkpoints | None = Field(
        default=None, description="which checkpoints are kept. Default: the latest and the best"
    )
    trial: Trial = Field(description="the pod of a trial, and how it is dealt with")
    ttl_seconds_after_finished: int | None = Field(
        default=None,
        ge=0,
        le=315_360_000,
        json_schema_extra=_MAY_CHANGE,
        description="deletes the resource this many seconds after its end, never the results. Default: never",
    )

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"!({_USES_A_MODEL}) || !self.parameters.exists(p, has(dyn(p).gridSearch))",
            "must be random where a parameter has gridSearch",
            _grid_is_drawn_at_random,
            "search",
            "remove the searcher, or use choice instead of gridSearch",
        ),
        Rule(
            "",  # CEL has no products over a list
            f"must not make more than {MOST_TRIALS} trials with the grid",
            lambda spec: spec.grid_size * spec.num_samples <= MOST_TRIALS,
            "numSamples",
            "lower it, or shorten a gridSearch",
        ),
    )

    @property
    def grid_size(self) -> int:
        """Count the cells of the grid: 1 without one."""
        return cells(self.parameters)
