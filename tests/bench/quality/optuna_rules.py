"""Optuna's own pruners, called as a training calls them; runs in Optuna's environment.

The best is `study.best_trial`, which knows completed trials alone; where none has completed yet, the best last value of all.
"""

from __future__ import annotations

import math
from typing import Any

import optuna
from optuna import pruners

if not optuna.__version__.startswith("5."):
    raise SystemExit(f"Optuna is {optuna.__version__}, to be 5")
optuna.logging.set_verbosity(optuna.logging.ERROR)


class Pruned:
    """A study with one of Optuna's pruners."""

    def __init__(self, pruner: Any) -> None:
        self._study = optuna.create_study(direction="minimize", pruner=pruner, study_name="quality")
        self._trials: dict[int, Any] = {}
        self._last: dict[int, float] = {}

    def start(self, trial: int) -> None:
        """Ask for it; which configuration it has is said by its number."""
        self._trials[trial] = self._study.ask()

    def report(self, trial: int, epoch: int, loss: float) -> bool:
        """Report, and ask whether to prune."""
        self._last[trial] = loss
        self._trials[trial].report(loss, epoch)
        if not self._trials[trial].should_prune():
            return False
        self._study.tell(self._trials[trial], state=optuna.trial.TrialState.PRUNED)
        return True

    def end(self, trial: int) -> None:
        """Tell its last value; one that is not a number is a failure."""
        loss = self._last[trial]
        if math.isnan(loss):
            self._study.tell(self._trials[trial], state=optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(self._trials[trial], loss)

    def best(self) -> int | None:
        """Ask the study."""
        try:
            return int(self._study.best_trial.number)
        except ValueError:  # none has completed
            finite = [(loss, trial) for trial, loss in self._last.items() if math.isfinite(loss)]
            return min(finite)[1] if finite else None


RULES = {
    "Optuna SHA": lambda length, seed: Pruned(pruners.SuccessiveHalvingPruner()),
    "Optuna Hyperband": lambda length, seed: Pruned(pruners.HyperbandPruner(max_resource=length)),
    "Optuna median": lambda length, seed: Pruned(pruners.MedianPruner()),
    "Optuna Wilcoxon": lambda length, seed: Pruned(pruners.WilcoxonPruner()),
}
