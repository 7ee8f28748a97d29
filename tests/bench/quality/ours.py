"""kubetune's side of the comparison: the real plan, history and schedulers, in the simulator that `kubetune simulate` uses.

The best is what `kubectl get` shows as best: by the last value, those that were stopped early after all others.
"""

from __future__ import annotations

import math
from typing import Any

from kubetune_operator.core.schedulers.asha import Asha
from kubetune_operator.core.schedulers.fifo import Fifo
from kubetune_operator.core.schedulers.median import MedianStopping
from kubetune_operator.core.searchers.random import Random
from kubetune_operator.core.space import Space
from kubetune_operator.core.spec import Spec
from kubetune_operator.core.trials import TRAINING_ITERATION, Mode, Objective, Scheduler
from kubetune_operator.curves import Curve, of_values
from kubetune_operator.simulation import Setting, simulate
from tests.bench.quality import loop
from tests.bench.quality.loop import Found, World
from tests.bench.quality.tables import Table

NOBODY_STOPPED = "kubetune, nobody stopped"
RULES: dict[str, Any] = {
    "kubetune ASHA": lambda length: Asha(max_t=length),
    "kubetune median": lambda length: MedianStopping(time_attr=TRAINING_ITERATION, grace_period=1),
    NOBODY_STOPPED: lambda length: Fifo(),
}


def run(scheduler: Scheduler, table: Table, curves: list[Curve], seed: int, world: World) -> list[Found]:
    """Run once for each budget: an experiment that is cut short is the beginning of a longer one."""
    rows = table.order(seed)
    spec = Spec(
        objective=Objective("loss", Mode.MINIMIZE),
        space=Space(),
        searcher=Random(),
        scheduler=scheduler,
        seed=seed,
        max_concurrent=world.workers,
    )
    ordered = [curves[row] for row in rows]
    found = []
    for budget in world.budgets:
        done = simulate(spec, ordered, Setting(start_seconds=world.start, until=budget))
        found.append(Found(rows[done.best.number] if done.best else None, len(done.history.trials)))
    return found


class Nobody:
    """The rule that stops nobody, in the other tools' world, naming the best as ours does: by it both worlds are compared."""

    def __init__(self) -> None:
        self._last: dict[int, float] = {}

    def start(self, trial: int) -> None:
        """Take no note."""

    def report(self, trial: int, epoch: int, loss: float) -> bool:
        """Let it go on."""
        self._last.pop(trial, None)
        if math.isfinite(loss):
            self._last[trial] = loss
        return False

    def end(self, trial: int) -> None:
        """Take no note."""

    def best(self) -> int | None:
        """Compare them by their last value; one that is not finite is never best."""
        return min(self._last, key=lambda trial: (self._last[trial], trial), default=None)


def check(table: Table, found: list[Found], seed: int, world: World) -> None:
    """Hold the simulator to the other tools' world. Raises SystemExit where they differ."""
    there = loop.run(Nobody(), table, table.order(seed), world)
    if there != found:
        raise SystemExit(f"the two worlds differ on {table.name}, seed {seed}, {world}: {found} in ours, {there} in the others'")


def curves_of(table: Table) -> list[Curve]:
    """Give the table's trainings, a mean epoch being a second."""
    return [of_values({}, "loss", losses, epoch) for losses, epoch in zip(table.losses, table.epochs, strict=True)]
