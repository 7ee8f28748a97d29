"""Ray Tune's own schedulers, called as its controller calls them; runs in Ray's environment.

The best is named as `ResultGrid.get_best_result(scope="last", filter_nan_and_inf=True)` names it: by each trial's last value,
whether it was stopped or not; the first wins a tie.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import ray
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule

if ray.__version__ != "2.60.0":
    raise SystemExit(f"Ray is {ray.__version__}, to be 2.60.0")
STOP = "STOP"


@dataclass(frozen=True)
class Trial:
    """What Ray's schedulers look at of a trial."""

    trial_id: str
    status: str = "RUNNING"


class Scheduled:
    """A scheduler of Ray's, and the last value of each trial."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self._trials: dict[int, Any] = {}
        self._last: dict[int, dict[str, float]] = {}
        self._controller = SimpleNamespace(get_live_trials=set)  # nobody waits: no trial is paused to let another run

    def start(self, trial: int) -> None:
        """Add it."""
        self._trials[trial] = Trial(str(trial))
        self._scheduler.on_trial_add(self._controller, self._trials[trial])

    def report(self, trial: int, epoch: int, loss: float) -> bool:
        """Ask."""
        self._last[trial] = result = {"training_iteration": epoch, "loss": loss}
        decision = self._scheduler.on_trial_result(self._controller, self._trials[trial], result)
        if decision == STOP:
            self.end(trial)
        return bool(decision == STOP)

    def end(self, trial: int) -> None:
        """Tell, as Ray does for a stopped one, too."""
        self._scheduler.on_trial_complete(self._controller, self._trials[trial], self._last[trial])

    def best(self) -> int | None:
        """Compare the last values."""
        finite = [(result["loss"], trial) for trial, result in self._last.items() if math.isfinite(result["loss"])]
        return min(finite)[1] if finite else None


def _asha(length: int, seed: int) -> Scheduled:
    np.random.seed(seed)  # noqa: NPY002 - what Ray draws from
    return Scheduled(AsyncHyperBandScheduler(metric="loss", mode="min", max_t=length))


def _median(length: int, seed: int) -> Scheduled:
    return Scheduled(MedianStoppingRule(time_attr="training_iteration", metric="loss", mode="min", grace_period=1))


RULES = {"Ray ASHA": _asha, "Ray median": _median}
