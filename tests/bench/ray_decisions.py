"""Ray Tune's side of `decisions`: its own ASHA and median stopping. Run by Ray's own python, so it imports nothing of ours.

    python ray_decisions.py asha '{"100": [20, 20]}'    sizes, decisions in a repeat, repeats; the last line is {"100": microseconds}

No trial runs: the schedulers are called as Ray's controller calls them. Their state is filled directly, because filling it
report by report takes Ray minutes; that part is not timed.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from statistics import median

import ray
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule

Report = dict[str, float]


class Trial:
    """As much of a trial as a scheduler looks at."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id


def asha(size: int, decisions: int) -> float:
    """Time decisions on a rung with so many trials; give microseconds for one."""
    rng = random.Random(size)
    scheduler = AsyncHyperBandScheduler(metric="loss", mode="min")
    # There is no public way to fill it.
    milestone, recorded = scheduler._brackets[0]._rungs[-1]  # noqa: SLF001
    if milestone != 1:
        raise SystemExit(f"Ray's lowest rung is {milestone}, to be 1: its inside has changed")
    recorded.update({f"old{number}": -rng.random() for number in range(size)})
    taken = clock(scheduler, 1, decisions, rng)
    if len(recorded) != size + decisions:
        raise SystemExit(f"Ray recorded {len(recorded) - size} of {decisions} reports: its inside has changed")
    return taken


def stopping(size: int, decisions: int) -> float:
    """Time decisions at step 2, which so many trials have reached; give microseconds for one."""
    rng = random.Random(size)
    scheduler = MedianStoppingRule(metric="loss", mode="min", time_attr="training_iteration", grace_period=1)
    kept = scheduler._results  # noqa: SLF001  there is no public way to fill it
    for number in range(size):
        kept[Trial(f"old{number}")] = [report(step, rng) for step in (1, 2)]
    taken = clock(scheduler, 2, decisions, rng)
    if len(kept) != size + decisions:
        raise SystemExit(f"Ray kept {len(kept) - size} of {decisions} trials: its inside has changed")
    return taken


def clock(scheduler: AsyncHyperBandScheduler | MedianStoppingRule, step: int, decisions: int, rng: random.Random) -> float:
    """Time one report each of new trials; before it, untimed, they have reported at each step before."""
    trials = [Trial(f"new{number}") for number in range(decisions)]
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    if step > 1:
        for trial in trials:
            scheduler._results[trial].append(report(1, rng))  # noqa: SLF001
    results = [report(step, rng) for _ in trials]
    gc.collect()
    gc.disable()
    started = time.perf_counter_ns()
    for trial, result in zip(trials, results, strict=True):
        scheduler.on_trial_result(None, trial, result)
    taken = time.perf_counter_ns() - started
    gc.enable()
    return taken / 1000 / decisions


def report(step: int, rng: random.Random) -> Report:
    """Draw a report."""
    return {"training_iteration": step, "loss": rng.random()}


def main(rule: str, sizes: dict[str, list[int]]) -> None:
    """Measure each size and print the medians."""
    if ray.__version__ != "2.60.0":
        raise SystemExit(f"Ray is {ray.__version__}, to be 2.60.0")
    measure = {"asha": asha, "median": stopping}[rule]
    print(json.dumps({size: median(measure(int(size), many) for _ in range(repeats)) for size, (many, repeats) in sizes.items()}))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
