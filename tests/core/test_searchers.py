"""The searchers, each against the contract of all, and what only one of them promises."""

from __future__ import annotations

import pytest

from kubetune_operator.core.domains import GridSearch, Uniform
from kubetune_operator.core.searchers.random import Random
from kubetune_operator.core.space import Parameter, Space
from tests.contract.searchers import SearcherContract, params_of

SPACE = Space((Parameter("x", Uniform(low=0, high=1)), Parameter("batch", GridSearch((32, 64, 128)))))


class TestRandom(SearcherContract):
    grids = True

    def searcher(self) -> Random:
        return Random()

    def test_a_grid_is_walked_once_a_sample(self) -> None:
        state = Random().begin(SPACE, 7)
        assert [params_of(state.suggest(trial))["batch"] for trial in range(7)] == [32, 64, 128, 32, 64, 128, 32]

    @pytest.mark.parametrize("loss", [None, 0.0, float("inf")], ids=str)
    def test_nothing_is_learnt(self, loss: float | None) -> None:
        """A trial is drawn alone: whatever came before it, in whatever order."""
        told, fresh = Random().begin(SPACE, 7), Random().begin(SPACE, 7)
        for trial in (3, 0, 12):
            told.suggested(trial, params_of(told.suggest(trial)))
            told.told(trial, loss, complete=True)
        assert told.suggest(5) == fresh.suggest(5)
        assert told.suggest(5) is not None
