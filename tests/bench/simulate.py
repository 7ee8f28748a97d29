"""How long a whole ASHA experiment of 10,000 trials takes on the simulator's virtual clock, journal on: `make bench-simulate`.

One process on one core. The curves are made up and the settings are the defaults, so that trials report 1 to 100 times. Each row is
one experiment; the one with the goal is the first. Exits 1 when the goal is missed.
"""

from __future__ import annotations

import math
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from kubetune_operator.core.schedulers.asha import Asha
from kubetune_operator.core.searchers.random import Random
from kubetune_operator.core.space import Space
from kubetune_operator.core.spec import Spec
from kubetune_operator.core.trials import Mode, Objective
from kubetune_operator.curves import Curve, of_values
from kubetune_operator.journal import Journal
from kubetune_operator.simulation import simulate

GOAL = 20.0  # seconds, of the first row
TRIALS, EPOCHS = 10_000, 100
WORKERS = 8


@dataclass(frozen=True, slots=True)
class Row:
    """One experiment."""

    trials: int
    workers: int
    journal: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """What one experiment took, and what was in it."""

    seconds: float
    cpu: float  # of these; the rest is waiting, for the disk and for a core that others have
    reports: int
    records: int  # in its journal


ROWS = (Row(TRIALS, WORKERS, True), Row(TRIALS, WORKERS, False), Row(TRIALS, 100, True), Row(1_000, WORKERS, True))


def main() -> int:
    """Measure, print, and say by the exit code whether the goal is met."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    given = curves(random.Random(7), max(row.trials for row in ROWS))
    print("seconds for a whole simulated ASHA experiment, on one core")
    print(f"{'trials':>8}{'workers':>9}{'journal':>9}{'reports':>9}{'records':>9}{'seconds':>9}{'cpu':>8}{'a report':>11}")
    found = [measure(row, given[: row.trials]) for row in ROWS]
    for row, one in zip(ROWS, found, strict=True):
        journal = f"{'on':>9}{one.reports:9}{one.records:9}" if row.journal else f"{'off':>9}{one.reports:9}{'':9}"
        each = one.seconds / one.reports * 1e6
        print(f"{row.trials:8}{row.workers:9}{journal}{one.seconds:9.2f}{one.cpu:8.2f}{each:8.0f} µs")
    first = found[0].seconds
    met = first <= GOAL
    print(f"{'reached' if met else 'MISSED '}  {first:.1f} s for the first (goal: at most {GOAL:.0f} s)")
    return 0 if met else 1


def curves(rng: random.Random, count: int) -> list[Curve]:
    """Make up learning curves: each goes to a value of its own, at a pace of its own."""
    made = []
    for _ in range(count):
        end, pace, seconds = rng.random(), rng.uniform(1, 50), rng.uniform(1, 2)
        values = [end * (1 - math.exp(-epoch / pace)) for epoch in range(1, EPOCHS + 1)]
        made.append(of_values({"end": end, "pace": pace}, "accuracy", values, seconds))
    return made


def measure(row: Row, given: list[Curve]) -> Figures:
    """Run one experiment."""
    spec = Spec(
        objective=Objective("accuracy", Mode.MAXIMIZE),
        space=Space(),
        searcher=Random(),
        scheduler=Asha(),
        seed=7,
        max_concurrent=row.workers,
    )
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:  # not /tmp, which may be memory
        journal = Journal.open(Path(folder))[0] if row.journal else None
        began, used = time.perf_counter(), time.process_time()
        found = simulate(spec, given, journal=journal)
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
        lines = 0
        if journal:
            journal.close()
            lines = (Path(folder) / "journal.1.jsonl").read_bytes().count(b"\n")
    return Figures(seconds, cpu, sum(trial.reports for trial in found.history.trials), lines)


if __name__ == "__main__":
    sys.exit(main())
