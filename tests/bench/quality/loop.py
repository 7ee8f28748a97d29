"""The world in which other tools' stopping rules are tried: workers, and trainings that go as a table says.

Pure, and nothing of ours in it: it runs in each tool's own environment. Ours runs in the product's own simulator; that both
worlds are one is checked with a rule that stops nobody.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple, Protocol

from tests.bench.quality.tables import Table

ROUNDING = 1e-9  # of an instant: as in the simulator


class Rule(Protocol):
    """One tool's stopping rule, and which trial it names best."""

    def start(self, trial: int) -> None:
        """Take note of a new trial."""
        ...

    def report(self, trial: int, epoch: int, loss: float) -> bool:
        """Say whether this report, of epoch 1 and on, stops the trial."""
        ...

    def end(self, trial: int) -> None:
        """Take note that a trial has had its whole budget."""
        ...

    def best(self) -> int | None:
        """Name the best trial so far; None where the tool names none."""
        ...


class World(NamedTuple):
    """Where trials run."""

    workers: int
    start: float  # mean epochs from a worker's being free to the start of the next training
    budgets: tuple[float, ...]  # mean epochs; at each of them the tool names its best; ascending


def worlds(table: Table, task: Mapping[str, Any]) -> Iterator[World]:
    """Give every world of a task: workers, start costs, and budgets in full trainings."""
    budgets = tuple(each * table.length for each in task["budgets"])
    for workers, start in product(task["workers"], task["starts"]):
        yield World(workers, start, budgets)


class Found(NamedTuple):
    """What a rule had at one budget."""

    best: int | None  # the row of the table
    trials: int  # started so far


def run(rule: Rule, table: Table, rows: Sequence[int], world: World) -> list[Found]:
    """Let the rule work on these rows in turn, for the longest budget."""
    due: list[tuple[float, int, int]] = []  # when, trial, which epoch is over
    found: list[Found] = []
    trials = 0

    def begin(now: float) -> None:
        nonlocal trials
        if trials < len(rows):
            rule.start(trials)
            heapq.heappush(due, (now + world.start + table.epochs[rows[trials]], trials, 1))
            trials += 1

    for _ in range(world.workers):
        begin(0.0)
    while len(found) < len(world.budgets):
        now, trial, epoch = due[0] if due else (math.inf, 0, 0)
        while len(found) < len(world.budgets) and now > world.budgets[len(found)] * (1 + ROUNDING):
            best = rule.best()
            found.append(Found(None if best is None else rows[best], trials))
        if not due:
            continue
        heapq.heappop(due)
        row = rows[trial]
        if rule.report(trial, epoch, table.losses[row][epoch - 1]):
            begin(now)
        elif epoch == table.length:
            rule.end(trial)
            begin(now)
        else:
            heapq.heappush(due, (now + table.epochs[row], trial, epoch + 1))
    return found
