"""Ray Tune's side of `decisions`: its own ASHA. Run by Ray's own python, so it imports nothing of ours.

    python ray_decisions.py '{"100": [20, 20]}'    sizes, decisions in a repeat, repeats; the last line is {"100": microseconds}

No trial runs: the scheduler is called as Ray's controller calls it. The rung is filled directly, because filling it
report by report takes Ray minutes; that part is not timed.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from statistics import median
from types import SimpleNamespace

import ray
from ray.tune.schedulers import AsyncHyperBandScheduler


def measure(size: int, decisions: int) -> float:
    """Time decisions on a rung with so many trials; give microseconds for one."""
    rng = random.Random(size)
    scheduler = AsyncHyperBandScheduler(metric="loss", mode="min")
    # There is no public way to fill it.
    milestone, recorded = scheduler._brackets[0]._rungs[-1]  # noqa: SLF001
    if milestone != 1:
        raise SystemExit(f"Ray's lowest rung is {milestone}, to be 1: its inside has changed")
    recorded.update({f"old{number}": -rng.random() for number in range(size)})
    trials = [SimpleNamespace(trial_id=f"new{number}") for number in range(decisions)]
    results = [{"training_iteration": 1, "loss": rng.random()} for _ in trials]
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    gc.collect()
    gc.disable()
    started = time.perf_counter_ns()
    for trial, result in zip(trials, results, strict=True):
        scheduler.on_trial_result(None, trial, result)
    taken = time.perf_counter_ns() - started
    gc.enable()
    if len(recorded) != size + decisions:
        raise SystemExit(f"Ray recorded {len(recorded) - size} of {decisions} reports: its inside has changed")
    return taken / 1000 / decisions


def main(sizes: dict[str, list[int]]) -> None:
    """Measure each size and print the medians."""
    if ray.__version__ != "2.60.0":
        raise SystemExit(f"Ray is {ray.__version__}, to be 2.60.0")
    print(json.dumps({size: median(measure(int(size), many) for _ in range(repeats)) for size, (many, repeats) in sizes.items()}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
