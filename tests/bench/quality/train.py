"""Makes the tables of learning curves in `tables/`: small networks, trained for real on the data that scikit-learn ships.

python -m tests.bench.quality.train [NAME]     about half an hour on one core for all; the tables are committed

A table is what `kubetune simulate --curves` reads: `names`, `config` [1000, 7], `value` [1000, 81], `seconds` [1000] an epoch.
The value is the loss on rows that were not trained on, less is better. The ranges are wide on purpose, so that some trainings
diverge: from then on their loss is NaN, as it is to whoever trains them.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy: so that a second is a second of one core

import numpy as np
from sklearn import datasets
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler

CONFIGS, EPOCHS, SEED = 1000, 81, 20_261_201
MOST_ROWS = 400  # to train on: an epoch in milliseconds
TABLES = Path(__file__).parent / "tables"
NAMES = ("learning_rate", "momentum", "batch_size", "units", "layers", "alpha", "tanh")
LOADERS = {"digits": datasets.load_digits, "cancer": datasets.load_breast_cancer, "diabetes": datasets.load_diabetes}
Array = Any  # of numbers


class Split(NamedTuple):
    """Rows to train on and rows to judge by, each column of mean 0 and variance 1."""

    train: Array
    judge: Array
    train_of: Array
    judge_of: Array


def main(names: list[str]) -> int:
    """Make the tables that are named, or all."""
    warnings.simplefilter("ignore", ConvergenceWarning)  # an epoch at a time never converges
    warnings.simplefilter("ignore", RuntimeWarning)  # overflow: that is what diverging is
    for name in names or list(LOADERS):
        split, configs = _split(name), _configs()
        value, seconds = np.full((CONFIGS, EPOCHS), np.nan, np.float32), np.zeros(CONFIGS, np.float32)
        for number, config in enumerate(configs):
            begun = time.process_time()
            epochs = 0
            for loss in _losses(name, split, config, number):
                value[number, epochs] = loss
                epochs += 1
            # The epoch in which it diverged took its time, too; a training that does not look goes on at that pace.
            seconds[number] = (time.process_time() - begun) / min(epochs + 1, EPOCHS)
            if number % 50 == 49:
                print(f"{name}: {number + 1} of {CONFIGS}, {np.isnan(value[: number + 1, -1]).mean():.0%} diverged", flush=True)
        TABLES.mkdir(exist_ok=True)
        np.savez_compressed(TABLES / f"{name}.npz", names=np.array(NAMES), config=configs, value=value, seconds=seconds)
    return 0


def _split(name: str) -> Split:
    rows, of = LOADERS[name](return_X_y=True)
    train, judge, train_of, judge_of = train_test_split(
        rows, of, train_size=min(MOST_ROWS, len(rows) * 2 // 3), random_state=SEED
    )
    scale = StandardScaler().fit(train)
    if name == "diabetes":  # a regression: its target, too
        mean, sd = train_of.mean(), train_of.std()
        train_of, judge_of = (train_of - mean) / sd, (judge_of - mean) / sd
    return Split(scale.transform(train), scale.transform(judge), train_of, judge_of)


def _configs() -> Array:
    """Draw the configurations, the same for each table."""
    rng = np.random.default_rng(SEED)

    def log_uniform(low: float, high: float) -> Array:
        return np.exp(rng.uniform(np.log(low), np.log(high), CONFIGS))

    columns = (
        log_uniform(1e-4, 10),
        rng.uniform(0, 0.99, CONFIGS),
        np.floor(log_uniform(16, 257)),
        np.floor(log_uniform(4, 65)),
        rng.integers(1, 4, CONFIGS),
        log_uniform(1e-6, 1),
        rng.integers(0, 2, CONFIGS),
    )
    return np.stack(columns, axis=1).astype(np.float32)


def _losses(name: str, split: Split, config: Array, seed: int) -> Iterator[float]:
    """Train a configuration, and give its loss after each epoch until it is not a number any more."""
    rate, momentum, batch, units, layers, alpha, tanh = (float(each) for each in config)
    kind = MLPRegressor if name == "diabetes" else MLPClassifier
    model = kind(
        hidden_layer_sizes=(int(units),) * int(layers),
        activation="tanh" if tanh else "relu",
        solver="sgd",
        alpha=alpha,
        batch_size=int(batch),
        learning_rate_init=rate,
        momentum=momentum,
        nesterovs_momentum=False,
        random_state=seed,
    )
    more = {} if name == "diabetes" else {"classes": np.unique(split.train_of)}
    for epoch in range(EPOCHS):
        try:
            model.partial_fit(split.train, split.train_of, **(more if epoch == 0 else {}))
            loss = _loss(name, model, split)
        except (ValueError, OverflowError):  # weights that are not finite
            return
        if not np.isfinite(loss):
            return
        yield min(loss, 1e30)


def _loss(name: str, model: Any, split: Split) -> float:
    if name == "diabetes":
        return float(np.sqrt(mean_squared_error(split.judge_of, model.predict(split.judge))))
    said = model.predict_proba(split.judge)
    return float(log_loss(split.judge_of, said, labels=model.classes_)) if np.isfinite(said).all() else float("nan")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
