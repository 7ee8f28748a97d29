"""Ray Tune's side of `local`: trivial trials under ASHA. Run by Ray's own python, so it imports nothing of ours.

    python ray_local.py TRIALS CONCURRENT [reuse]    prints {"trials": ..., "stopped": ..., "seconds": ...} as its last line

The clock runs from `fit` to its end: starting Ray's cluster is not counted against it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

REPORTS = 10


def train(config: dict[str, float]) -> None:
    """Report values that derive from the parameter, as the other side's program does."""
    for step in range(1, REPORTS + 1):
        tune.report({"score": config["x"] * step / (step + 1)})


def main(arguments: list[str]) -> None:
    """Run the trials and print how long they took."""
    trials, concurrent, reuse = int(arguments[0]), int(arguments[1]), "reuse" in arguments[2:]
    ray.init(num_cpus=concurrent, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            train,
            param_space={"x": tune.uniform(0.0, 1.0)},
            tune_config=tune.TuneConfig(
                metric="score",
                mode="max",
                num_samples=trials,
                max_concurrent_trials=concurrent,
                reuse_actors=reuse,
                scheduler=ASHAScheduler(max_t=REPORTS, grace_period=1, reduction_factor=4),
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        started = time.monotonic()
        results = tuner.fit()
        seconds = time.monotonic() - started
    iterations = [result.metrics["training_iteration"] for result in results if result.metrics]
    stopped = sum(iteration < REPORTS for iteration in iterations)
    print(json.dumps({"trials": len(iterations), "stopped": stopped, "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1:])
