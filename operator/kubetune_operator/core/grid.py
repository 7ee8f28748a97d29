"""The grid: which values the parameters with gridSearch take in which cell, where a `when` leaves some of them out.

Pure arithmetic where no grid has a condition; otherwise the cells are gone through once, and counted. What is drawn is not here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from kubetune_operator.core.domains import GridSearch

MOST_CELLS = 10_000  # that are gone through one by one, because some are left out: about a second, in which nobody else is served


class Grid:
    """The cells in Ray's order: grids sorted by path, the first of them turns fastest."""

    def __init__(self, grids: Mapping[str, GridSearch], absent: Callable[[Mapping[str, Any]], frozenset[str]] | None) -> None:
        """Take the grids by name; `absent` says which of them a cell does not have, and is None where each has all."""
        self._names = sorted(grids, key=lambda name: name.split("."))  # by path, as Ray: "a.b" before "a-b"
        self._grids = [grids[name] for name in self._names]
        self._listed = None if absent is None else list(self._kept(absent))
        self.size = math.prod(len(grid.values) for grid in self._grids) if self._listed is None else len(self._listed)

    def cell(self, number: int) -> Mapping[str, Any]:
        """Give the values in cell `number`, counted from 0, by name; a grid that is not there is left out."""
        return self._at(number) if self._listed is None else self._listed[number]

    def _at(self, number: int) -> dict[str, Any]:
        values = {}
        for name, grid in zip(self._names, self._grids, strict=True):
            number, index = divmod(number, len(grid.values))
            values[name] = grid.at(index)
        return values

    def _kept(self, absent: Callable[[Mapping[str, Any]], frozenset[str]]) -> Iterator[dict[str, Any]]:
        """Go through all cells: where a grid is absent, it multiplies nothing, so only its first value's cell is kept."""
        backwards = [range(len(grid.values)) for grid in reversed(self._grids)]
        for reverse in product(*backwards):
            indices: Sequence[int] = reverse[::-1]
            values = {name: grid.at(index) for name, grid, index in zip(self._names, self._grids, indices, strict=True)}
            away = absent(values)
            if all(index == 0 for name, index in zip(self._names, indices, strict=True) if name in away):
                yield {name: value for name, value in values.items() if name not in away}
