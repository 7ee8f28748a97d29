"""What every searcher keeps; the test of a searcher inherits `SearcherContract` and says which one it is.

Beside it: random primitives and spaces to try it on, and `within`, which says from the table of Ray's primitives alone
(not from the code that draws) whether a value belongs to one.
"""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubetune_operator.core import domains
from kubetune_operator.core.domains import Domain, Drawn, GridSearch
from kubetune_operator.core.expressions import Expression
from kubetune_operator.core.space import Draw, Parameter, Space
from kubetune_operator.core.spec import Searcher, SearcherState
from kubetune_operator.core.trials import Params

LARGEST = 9 * 10**15
NAMES = ["lr", "model.depth", "model.width", "a-b", "a.b", "seed", "Batch", "_x"]


def within(domain: Domain | Expression, value: Any) -> bool:
    """Say whether the primitive can give this value, of this very type; what an expression gives is no table's business."""
    match domain:
        case Expression():
            return True
        case domains.Value(value=only):
            return _like(value, only)
        case domains.Choice(values=values) | GridSearch(values=values):
            broken = any(type(each) is float and each % 1 for each in values)
            return any(_like(value, float(each) if broken and type(each) is int else each) for each in values)
        case domains.RandInt() | domains.LogRandInt() | domains.QRandInt() | domains.QLogRandInt():
            return type(value) is int and _whole_within(domain, value)
        case _:
            return type(value) is float and _float_within(domain, value)


def _whole_within(domain: domains.Wholes, value: int) -> bool:
    match domain:
        case domains.RandInt(low=low, high=high) | domains.LogRandInt(low=low, high=high):
            return low <= value < high
        case domains.QRandInt(low=low, high=high, q=q) | domains.QLogRandInt(low=low, high=high, q=q):
            return value % q == 0 and low <= value <= high and not (q == 1 and value == high)


def _float_within(domain: domains.Numbers, value: float) -> bool:
    match domain:
        case domains.Uniform(low=low, high=high) | domains.LogUniform(low=low, high=high):
            return low <= value < high or low == value == high
        case domains.QUniform(low=low, high=high, q=q) | domains.QLogUniform(low=low, high=high, q=q):
            return _is_step(value, q) and round(low / q) <= round(value / q) <= round(high / q)
        case domains.QRandN(q=q):
            return _is_step(value, q)
        case domains.RandN():
            return math.isfinite(value)


def _is_step(value: float, q: float) -> bool:
    return round(value / q) * q == value and not (value == 0 and math.copysign(1, value) < 0)


def _like(value: Any, pattern: Any) -> bool:
    """Compare with a JSON value that may hold parameters; 1, 1.0 and true are three values."""
    if isinstance(pattern, Drawn):
        return within(pattern, value)
    if isinstance(pattern, dict):
        return type(value) is dict and list(value) == list(pattern) and all(_like(value[key], pattern[key]) for key in pattern)
    if isinstance(pattern, (list, tuple)):
        return type(value) is list and len(value) == len(pattern) and all(map(_like, value, pattern))
    return type(value) is type(pattern) and bool(value == pattern)


def _ordered(numbers: st.SearchStrategy[Any], *, distinct: bool = False) -> st.SearchStrategy[dict[str, Any]]:
    pairs = st.lists(numbers, min_size=2, max_size=2, unique=distinct)
    return pairs.map(lambda pair: dict(zip(["low", "high"], sorted(pair), strict=True)))


@st.composite
def _steps(draw: st.DrawFn, least: int) -> dict[str, Any]:
    """Draw float bounds that are multiples of q, from step number `least` on."""
    q = draw(st.floats(1e-6, 1e6))
    first, last = sorted(draw(st.lists(st.integers(least, 10**9), min_size=2, max_size=2)))
    return {"low": first * q, "high": last * q, "q": q}


@st.composite
def _counts(draw: st.DrawFn, least: int) -> dict[str, Any]:
    """Draw whole bounds with a multiple of q (2 or more) between them, from step number `least` on."""
    q = draw(st.integers(2, 10**6))
    first, last = sorted(draw(st.lists(st.integers(least, 10**9), min_size=2, max_size=2)))
    return {"low": first * q - draw(st.integers(0, q - 1)), "high": last * q + draw(st.integers(0, q - 1)), "q": q}


def _of(cls: Any, settings_of: st.SearchStrategy[dict[str, Any]], **more: Any) -> st.SearchStrategy[Any]:
    return settings_of.map(lambda given: cls(**(more | given)))


FLOATS = st.floats(-LARGEST, LARGEST)
POSITIVE = st.floats(0, LARGEST, exclude_min=True)
WHOLES = st.integers(-LARGEST, LARGEST)
COUNTED = st.integers(1, LARGEST)
NUMBERS = st.one_of(
    _of(domains.Uniform, _ordered(FLOATS)),
    _of(domains.QUniform, _steps(-(10**9))),
    _of(domains.LogUniform, _ordered(POSITIVE)),
    _of(domains.QLogUniform, _steps(1), base=2),
    st.builds(domains.RandN, mean=FLOATS, sd=POSITIVE),
    st.builds(domains.QRandN, mean=st.floats(-1e6, 1e6), sd=st.floats(1e-6, 1e6), q=st.floats(1e-3, 1e6)),
    _of(domains.RandInt, _ordered(WHOLES, distinct=True)),
    _of(domains.QRandInt, _ordered(WHOLES, distinct=True)),
    _of(domains.QRandInt, _counts(-(10**9))),
    _of(domains.LogRandInt, _ordered(COUNTED, distinct=True)),
    _of(domains.QLogRandInt, _ordered(COUNTED, distinct=True), q=1),
    _of(domains.QLogRandInt, _counts(1)),
)
LEAVES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
KEYS = st.text().filter(lambda key: key != "$param")
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=5)
# Values with parameters in them, and parameters in those.
WITH_PARAMETERS = st.recursive(
    LEAVES | NUMBERS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(KEYS, inner, max_size=3)
        | st.builds(domains.Choice, st.lists(inner, min_size=1, max_size=3).map(tuple))
    ),
    max_leaves=4,
)
LISTS = st.lists(JSON | WITH_PARAMETERS, min_size=1, max_size=5).map(tuple)
DRAWN = NUMBERS | st.builds(domains.Choice, LISTS) | st.builds(domains.Value, JSON)
GRIDS = st.builds(GridSearch, LISTS)


def drawn_of(space: Space, seed: int, number: int) -> Params:
    """Draw from a space whose constraints, if any, are met."""
    return params_of(space.draw(seed, number))


def params_of(draw: Draw | None) -> Params:
    """Give the parameters of a suggestion that has some."""
    assert draw is not None
    assert draw.params is not None, draw.note
    return draw.params


def spaces(*, grids: bool) -> st.SearchStrategy[Space]:
    """Draw a space of at most five parameters."""
    domain = DRAWN | GRIDS if grids else DRAWN
    parameter = st.builds(Parameter, st.sampled_from(NAMES), domain)
    return st.lists(parameter, max_size=5, unique_by=lambda each: each.name).map(lambda all_of: Space(tuple(all_of)))


ENDS = st.tuples(st.none() | st.floats(allow_nan=False), st.booleans())  # a loss and whether the trial had its whole budget
HISTORIES = st.lists(ENDS, max_size=6)
SEEDS = st.integers(0, 2**63 - 1)

# A suite that is inherited runs each of its tests on several classes, which is what the first check warns of.
inherited = settings(max_examples=40, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])


class SearcherContract:
    """The rules of the SearcherState protocol, as tests."""

    grids = False  # whether this searcher takes a grid

    def searcher(self) -> Searcher:
        """Give the searcher under test."""
        raise NotImplementedError

    def run(self, state: SearcherState, history: list[tuple[float | None, bool]]) -> list[Params | None]:
        """Let trials be suggested and end one after another."""
        suggestions = []
        for trial, (loss, complete) in enumerate(history):
            draw = state.suggest(trial)
            params = None if draw is None else params_of(draw)
            suggestions.append(params)
            if params is not None:
                state.suggested(trial, params)
                state.told(trial, loss, complete=complete)
        return suggestions

    @given(st.data(), HISTORIES, SEEDS)
    @inherited
    def test_a_suggestion_is_a_point_of_the_space(self, data: st.DataObject, history: list[Any], seed: int) -> None:
        """Every name in the order of the space, every value its primitive's, and all of it JSON."""
        space = data.draw(spaces(grids=self.grids))
        for params in self.run(self.searcher().begin(space, seed), history):
            if params is not None:
                assert list(params) == [each.name for each in space.parameters]
                assert all(within(each.domain, params[each.name]) for each in space.parameters)
                assert json.loads(json.dumps(dict(params), allow_nan=False)) == params

    @given(st.data(), HISTORIES, SEEDS)
    @inherited
    def test_asking_leaves_no_trace(self, data: st.DataObject, history: list[Any], seed: int) -> None:
        """A question asked twice has one answer, and a state that was asked more is like one that was asked once."""
        space = data.draw(spaces(grids=self.grids))
        asked, once = self.searcher().begin(space, seed), self.searcher().begin(space, seed)
        for trial, (loss, complete) in enumerate(history):
            answers = [asked.suggest(number) for number in (trial, trial + 3, trial)]
            draw = once.suggest(trial)
            assert answers[0] == answers[2] == draw
            for state in (asked, once) if draw is not None else ():
                state.suggested(trial, params_of(draw))
                state.told(trial, loss, complete=complete)

    @given(st.data(), HISTORIES, SEEDS)
    @inherited
    def test_a_replayed_history_leads_to_the_same_suggestion(self, data: st.DataObject, history: list[Any], seed: int) -> None:
        """A state is the fold of what it was told: the operator that comes back suggests what the old one would have."""
        space = data.draw(spaces(grids=self.grids))
        first = self.searcher().begin(space, seed)
        suggestions = self.run(first, history)
        second = self.searcher().begin(space, seed)
        for trial, ((loss, complete), params) in enumerate(zip(history, suggestions, strict=True)):
            if params is not None:
                second.suggested(trial, json.loads(json.dumps(params)))
                second.told(trial, loss, complete=complete)
        assert first.suggest(len(history)) == second.suggest(len(history))

    @given(st.data(), SEEDS)
    @inherited
    def test_what_was_given_may_be_changed_by_who_got_it(self, data: st.DataObject, seed: int) -> None:
        """A suggestion is a fresh value: nobody else sees what becomes of it."""
        space = data.draw(spaces(grids=self.grids))
        state = self.searcher().begin(space, seed)
        before = json.dumps(state.suggest(0))
        for value in params_of(state.suggest(0)).values() if state.suggest(0) else ():
            if isinstance(value, (list, dict)):
                value.clear()
        assert json.dumps(state.suggest(0)) == before

    def test_the_seed_and_the_trial_decide(self) -> None:
        """Two seeds, and two trials of one seed, are unlike each other (of 2**53 values each)."""
        space = Space((Parameter("x", domains.Uniform(low=0, high=1)),))
        states = [self.searcher().begin(space, seed) for seed in (1, 2)]
        drawn = [params_of(state.suggest(trial))["x"] for state in states for trial in (0, 1)]
        assert None not in drawn
        assert len(set(drawn)) == len(drawn)
