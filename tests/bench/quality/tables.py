"""The tables of learning curves, as every side of the comparison reads them. Needs numpy, and nothing of ours."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Table:
    """Curves as losses, less is better; NaN where a training had diverged. The unit of time is the table's mean epoch."""

    name: str
    losses: list[list[float]]  # of each configuration, one an epoch
    epochs: list[float]  # how long an epoch of each configuration takes, in mean epochs

    @property
    def length(self) -> int:
        """Count the epochs of a full training."""
        return len(self.losses[0])

    def order(self, seed: int) -> list[int]:
        """Give the configurations in the order in which everybody tries them under this seed."""
        rows = list(range(len(self.losses)))
        random.Random(f"{self.name}/{seed}").shuffle(rows)
        return rows

    def ranks(self) -> list[float]:
        """Give, for each configuration, the share of the others that are better with the full budget; diverged is worst."""
        full = [curve[-1] if math.isfinite(curve[-1]) else math.inf for curve in self.losses]
        ordered = sorted(full)
        place = {loss: number for number, loss in reversed(list(enumerate(ordered)))}
        return [place[loss] / (len(full) - 1) for loss in full]


def read(path: Path) -> Table:
    """Read a table: `value` is a loss in the project's own, and an accuracy in those of LCBench."""
    with np.load(path, allow_pickle=False) as kept:
        value, seconds = kept["value"].astype(float), kept["seconds"].astype(float)
    losses = -value if path.stem.startswith("lcbench") else value
    return Table(path.stem, losses.tolist(), (seconds / seconds.mean()).tolist())
