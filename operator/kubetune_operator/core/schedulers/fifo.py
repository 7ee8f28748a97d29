"""First in, first out: no trial is stopped early. What an experiment has that names no scheduler."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kubetune_operator.core.trials import CONTINUE, Flat, Verdict


@dataclass(frozen=True, slots=True)
class Fifo:
    """The scheduler without settings."""

    @property
    def reads(self) -> Mapping[str, str]:
        """Look at nothing."""
        return {}

    def begin(self, seed: int) -> FifoState:
        """Start with nothing known, which is all that will ever be known."""
        return FifoState()


class FifoState:
    """Remembers nothing."""

    def judge(self, trial: int, flat: Flat, loss: float | None) -> Verdict:
        """Let every trial go on."""
        return CONTINUE

    def observe(self, trial: int, flat: Flat, loss: float | None) -> None:
        """Take no note: no later verdict depends on a report."""

    def ended(self, trial: int) -> None:
        """Take no note: no later verdict depends on an end."""

    def compared_with(self, trial: int, flat: Flat) -> Mapping[int, float]:
        """Compare nobody with anybody."""
        return {}
