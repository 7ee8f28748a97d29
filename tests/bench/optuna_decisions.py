"""Optuna's side of `decisions`: its own MedianPruner. Run by Optuna's own python, so it imports nothing of ours.

    python optuna_decisions.py median '{"100": [20, 20]}'    sizes, decisions in a repeat, repeats; the last line is {"100": microseconds}

A decision is `report` and `should_prune` of a trial of a study in memory, as a user's objective calls them; the trials that it
is compared with are complete, and have two reports each.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from statistics import median

import optuna


def stopping(size: int, decisions: int) -> float:
    """Time decisions at step 2, which so many trials have reached; give microseconds for one."""
    rng = random.Random(size)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1), pruner=optuna.pruners.MedianPruner())
    for _ in range(size):
        values = {1: rng.random(), 2: rng.random()}
        study.add_trial(optuna.trial.create_trial(value=values[2], intermediate_values=values))
    trials = [study.ask() for _ in range(decisions)]
    for trial in trials:
        trial.report(rng.random(), 1)
    fresh = [rng.random() for _ in trials]
    gc.collect()
    gc.disable()
    started = time.perf_counter_ns()
    pruned = 0
    for trial, loss in zip(trials, fresh, strict=True):
        trial.report(loss, 2)
        pruned += trial.should_prune()
    taken = time.perf_counter_ns() - started
    gc.enable()
    if decisions >= 10 and not 0 < pruned < decisions:
        raise SystemExit(f"Optuna pruned {pruned} of {decisions} trials, to be some of them")
    return taken / 1000 / decisions


def main(rule: str, sizes: dict[str, list[int]]) -> None:
    """Measure each size and print the medians."""
    if optuna.__version__ != "5.0.0":
        raise SystemExit(f"Optuna is {optuna.__version__}, to be 5.0.0")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    measure = {"median": stopping}[rule]
    print(json.dumps({size: median(measure(int(size), many) for _ in range(repeats)) for size, (many, repeats) in sizes.items()}))


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
