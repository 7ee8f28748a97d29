"""What the user asked for, in core's own types. `api.parse` makes it; nothing here reads YAML or Kubernetes objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from kubetune_operator.core.expressions import Expression
from kubetune_operator.core.plateaus import ExperimentPlateau, TrialPlateau
from kubetune_operator.core.sightings import OBJECTIVE, STOP
from kubetune_operator.core.space import Draw, Space
from kubetune_operator.core.trials import Objective, Params, Scheduler


class SearcherState(Protocol):
    """What one searcher knows of one experiment. Built by folding the journal, never saved."""

    def suggest(self, number: int) -> Draw | None:
        """Give draw number `number`, its parameters in the space's order; None when there are none to give now.

        The number is the trial's, plus the draws before it that met no constraint and became no trial.
        Changes nothing: asked twice with nothing told in between, it answers the same.
        """
        ...

    def suggested(self, trial: int, params: Params) -> None:
        """Take note that this trial exists with these parameters."""
        ...

    def told(self, trial: int, loss: float | None, *, complete: bool) -> None:
        """Take note of how a trial ended: its loss (None: no value), and whether it had its whole budget."""
        ...


class Searcher(Protocol):
    """The settings of one searcher; `begin` gives the state that knows nothing yet."""

    def begin(self, space: Space, seed: int) -> SearcherState:
        """Start with nothing known. All randomness derives from `seed` and the trial's number."""
        ...


@dataclass(frozen=True, slots=True)
class Failure:
    """How often a trial is tried again, and when one failure ends everything."""

    max_failures: int = 0
    fail_fast: bool = False
    max_disruptions: int = 20


@dataclass(frozen=True, slots=True)
class StopExperiment:
    """What ends the whole experiment; None is never."""

    goal: float | None = None
    max_failed_trials: int | None = None  # None: the larger of 5 and 10 % of the trials started
    plateau: ExperimentPlateau | None = None
    time_budget: float | None = None  # seconds that it may run, restarts and suspensions not counted


@dataclass(frozen=True, slots=True)
class Deadlines:
    """What fails an attempt, in seconds; None is never."""

    start: float | None = None  # from when it has its pod until the program begins
    progress: float | None = None  # from one report to the next


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One experiment, whole and valid."""

    objective: Objective
    space: Space
    searcher: Searcher
    scheduler: Scheduler
    seed: int
    num_samples: int = 1
    max_concurrent: int = 4
    stop: Mapping[str, float] = field(default_factory=dict)  # "a/b" name -> threshold, Ray's >=
    stop_expression: Expression | None = None  # over the trial's name and the report
    stop_plateau: TrialPlateau | None = None
    stop_experiment: StopExperiment = StopExperiment()
    failure: Failure = Failure()
    deadlines: Deadlines = Deadlines()
    suspend: bool = False

    @property
    def total(self) -> int:
        """Count the draws there are to be: the whole grid, `num_samples` times; each is a trial that meets the constraints."""
        return self.space.total(self.num_samples)

    @property
    def reads(self) -> dict[str, str]:
        """Name the metrics that decide something, each with the field that names it, or the first that does."""
        found = {self.objective.metric: OBJECTIVE}
        others = [*self.scheduler.reads.items(), *((name, STOP) for name in self.stop)]
        if self.stop_plateau is not None:
            others.append((self.stop_plateau.metric, "stop.plateau.metric"))
        plateau = self.stop_experiment.plateau
        if plateau is not None and plateau.metric is not None:
            others.append((plateau.metric, "stopExperiment.plateau.metric"))
        for name, field_ in others:
            found.setdefault(name, field_)
        return found
