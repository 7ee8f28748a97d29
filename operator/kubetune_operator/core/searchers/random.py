"""Random and grid search: every trial is drawn from the space alone, so there is nothing to learn and nothing to remember."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kubetune_operator.core.bounds import Rule
from kubetune_operator.core.space import Draw, Space
from kubetune_operator.core.trials import Params


@dataclass(frozen=True, slots=True)
class Random:
    """No settings: the seed is the experiment's, and whether there is a grid is the space's."""

    RULES: ClassVar[tuple[Rule, ...]] = ()

    def begin(self, space: Space, seed: int) -> RandomState:
        """Start; this is all there will ever be to know."""
        return RandomState(space, seed)


@dataclass(frozen=True, slots=True)
class RandomState:
    """A space and a seed."""

    space: Space
    seed: int

    def suggest(self, number: int) -> Draw | None:
        """Give draw number `number`."""
        return self.space.draw(self.seed, number)

    def suggested(self, trial: int, params: Params) -> None:
        """Remember nothing: no draw depends on another."""

    def told(self, trial: int, loss: float | None, *, complete: bool) -> None:
        """Learn nothing."""
