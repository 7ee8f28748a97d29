"""Syne Tune's own ASHA, called as its tuner calls it; runs in Syne Tune's environment.

The best is named as its tuner names it: by the best value that any report ever had.
"""

from __future__ import annotations

import datetime
import logging
import math

import syne_tune
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import uniform
from syne_tune.optimizer.baselines import ASHA
from syne_tune.optimizer.scheduler import SchedulerDecision

if syne_tune.__version__ != "0.16.0":
    raise SystemExit(f"Syne Tune is {syne_tune.__version__}, to be 0.16.0")
logging.disable(logging.WARNING)
EPOCH = datetime.datetime(2026, 1, 1)  # noqa: DTZ001 - Syne Tune's are without a zone


class Scheduled:
    """Syne Tune's scheduler; that its searcher draws something of its own changes nothing of what it stops."""

    def __init__(self, scheduler: ASHA) -> None:
        self._scheduler = scheduler
        self._trials: dict[int, Trial] = {}
        self._best: tuple[float, int] | None = None

    def start(self, trial: int) -> None:
        """Let it suggest, and add."""
        suggestion = self._scheduler.suggest()
        self._trials[trial] = Trial(trial_id=trial, config=suggestion.config, creation_time=EPOCH)
        self._scheduler.on_trial_add(self._trials[trial])

    def report(self, trial: int, epoch: int, loss: float) -> bool:
        """Ask."""
        if math.isfinite(loss) and (self._best is None or loss < self._best[0]):
            self._best = loss, trial
        decision = self._scheduler.on_trial_result(self._trials[trial], {"epoch": epoch, "loss": loss})
        self._last = {"epoch": epoch, "loss": loss}
        return bool(decision == SchedulerDecision.STOP)

    def end(self, trial: int) -> None:
        """Tell."""
        self._scheduler.on_trial_complete(self._trials[trial], self._last)

    def best(self) -> int | None:
        """Name it."""
        return None if self._best is None else self._best[1]


def _asha(length: int, seed: int) -> Scheduled:
    space = {"x": uniform(0, 1)}
    return Scheduled(ASHA(space, metric="loss", time_attr="epoch", max_t=length, do_minimize=True, random_seed=seed))


RULES = {"Syne Tune ASHA": _asha}
