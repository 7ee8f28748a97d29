"""The space: the order of the grid, what one trial's draw depends on, parameters inside values, names."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune_operator.core import space, space_checks
from kubetune_operator.core.domains import Choice, Domain, GridSearch, QUniform, RandInt, RandN, Uniform, Value
from kubetune_operator.core.space import Parameter, Space
from tests.contract.searchers import SEEDS, drawn_of, spaces, within

UNIFORM = Uniform(low=0, high=1)
TRIALS = st.integers(0, 10**6)


def of(**parameters: Domain) -> Space:
    """Make a space of names without dots."""
    return Space(tuple(itertools.starmap(Parameter, parameters.items())))


# --- the grid ---


@pytest.mark.parametrize(
    ("grid", "cells"),
    [
        pytest.param({}, [{}], id="none"),
        pytest.param({"x": (1, 2, 3)}, [{"x": 1}, {"x": 2}, {"x": 3}], id="one"),
        pytest.param({"x": (5, 5)}, [{"x": 5}, {"x": 5}], id="duplicates-are-kept"),
        pytest.param(
            {"b": (1, 2, 3), "a": ("x", "y")},  # the example of Ray's order
            [
                {"b": 1, "a": "x"},
                {"b": 1, "a": "y"},
                {"b": 2, "a": "x"},
                {"b": 2, "a": "y"},
                {"b": 3, "a": "x"},
                {"b": 3, "a": "y"},
            ],
            id="the-first-sorted-name-turns-fastest",
        ),
        pytest.param(
            {"a-b": (1, 2), "a.b": (3, 4)},  # as paths: ("a", "b") before ("a-b",), though "-" is before "."
            [{"a-b": 1, "a.b": 3}, {"a-b": 1, "a.b": 4}, {"a-b": 2, "a.b": 3}, {"a-b": 2, "a.b": 4}],
            id="sorted-by-path",
        ),
        pytest.param({"x": (1, 0.5)}, [{"x": 1.0}, {"x": 0.5}], id="all-are-floats-if-one-is-not-whole"),
    ],
)
def test_the_order_of_the_grid(grid: dict[str, tuple[Any, ...]], cells: list[dict[str, Any]]) -> None:
    """And it is walked again for each sample."""
    searched = Space(tuple(Parameter(name, GridSearch(values)) for name, values in grid.items()))
    assert searched.grid_size == len(cells)
    drawn = [drawn_of(searched, 7, trial) for trial in range(2 * len(cells))]
    assert repr(drawn) == repr(cells + cells)  # repr: 1 is not 1.0


@given(st.dictionaries(st.sampled_from(["a", "b.c", "b.d", "b-c", "Z", "z"]), st.lists(st.integers(), min_size=1, max_size=4)))
def test_the_grid_is_the_product_of_its_lists(grid: dict[str, list[int]]) -> None:
    """A second implementation: the product turns its last factor fastest, so it gets the names in reverse."""
    searched = Space(tuple(Parameter(name, GridSearch(tuple(values))) for name, values in grid.items()))
    names = sorted(grid, key=lambda name: tuple(name.split(".")), reverse=True)
    product = [dict(zip(names, cell, strict=True)) for cell in itertools.product(*(grid[name] for name in names))]
    assert [drawn_of(searched, 1, trial) for trial in range(searched.grid_size)] == product


def test_random_values_are_drawn_anew_for_every_cell() -> None:
    searched = of(lr=UNIFORM, batch=GridSearch((32, 64)))
    assert len({drawn_of(searched, 7, trial)["lr"] for trial in range(10)}) == 10


def test_a_grid_may_be_larger_than_any_number_of_trials() -> None:
    """The cell follows from the trial's number; nothing is laid out."""
    many = Space(tuple(Parameter(f"x{index:02}", GridSearch(tuple(range(1000)))) for index in range(100)))
    assert many.grid_size == 10**300
    assert list(drawn_of(many, 7, 123_456_789).values())[:4] == [789, 456, 123, 0]


# --- one trial's draw ---


@given(spaces(grids=True), SEEDS, TRIALS)
def test_a_draw_has_every_name_in_order_and_every_value_in_its_primitive(searched: Space, seed: int, trial: int) -> None:
    drawn = drawn_of(searched, seed, trial)
    assert list(drawn) == [each.name for each in searched.parameters]
    assert all(within(each.domain, drawn[each.name]) for each in searched.parameters)
    assert json.loads(json.dumps(drawn, allow_nan=False)) == drawn


@given(spaces(grids=False), SEEDS, TRIALS, st.data())
def test_a_parameter_more_or_less_moves_no_other(searched: Space, seed: int, trial: int, data: st.DataObject) -> None:
    """Nor does their order."""
    some = data.draw(st.permutations(searched.parameters))[: data.draw(st.integers(0, 5))]
    whole = drawn_of(searched, seed, trial)
    assert drawn_of(Space(tuple(some)), seed, trial) == {each.name: whole[each.name] for each in some}


def test_seed_trial_and_name_each_decide() -> None:
    """1,000 values of 2**53: none is drawn twice."""
    searched = of(**{f"x{index}": UNIFORM for index in range(10)})
    drawn = [value for seed in range(10) for trial in range(10) for value in drawn_of(searched, seed, trial).values()]
    assert len(set(drawn)) == 1000


def test_a_space_without_parameters_has_one_empty_point() -> None:
    assert Space().grid_size == 1
    assert drawn_of(Space(), 7, 3) == {}


# --- parameters inside values ---


def test_a_parameter_is_drawn_where_it_stands_once_its_value_is_picked() -> None:
    """A conditional space: momentum exists only beside sgd."""
    searched = of(
        optimizer=Choice(({"name": "sgd", "momentum": Uniform(low=0.5, high=0.99)}, {"name": "adam", "betas": [RandN(), 1]}))
    )
    drawn = [drawn_of(searched, 7, trial)["optimizer"] for trial in range(50)]
    sgd = [each["momentum"] for each in drawn if each["name"] == "sgd"]
    adam = [each["betas"] for each in drawn if each["name"] == "adam"]
    assert len(sgd) + len(adam) == 50
    assert len(set(sgd)) == len(sgd) > 0
    assert all(0.5 <= momentum < 0.99 for momentum in sgd)
    assert all(list(map(type, betas)) == [float, int] for betas in adam)
    assert adam


def test_a_parameter_inside_a_grid_value_is_drawn_anew_for_each_trial() -> None:
    searched = of(units=GridSearch((16, RandInt(low=100, high=10**9))))
    drawn = [drawn_of(searched, 7, trial)["units"] for trial in range(6)]
    assert drawn[::2] == [16, 16, 16]
    assert len(set(drawn[1::2])) == 3


def test_a_parameter_inside_a_parameter_is_drawn_in_a_further_pass() -> None:
    searched = of(a=Choice((Choice((Choice((QUniform(low=2, high=2, q=1),)),)),)))
    assert drawn_of(searched, 7, 0) == {"a": 2.0}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param([UNIFORM, UNIFORM], id="in-a-list"),
        pytest.param({"a/b": UNIFORM, "a": {"b": UNIFORM}, "a~1b": UNIFORM}, id="keys-with-slashes"),
        pytest.param({"0": [UNIFORM], "": {"": UNIFORM}, "~": UNIFORM}, id="odd-keys"),
        pytest.param([Choice((UNIFORM,)), [UNIFORM]], id="at-two-depths"),
    ],
)
def test_two_parameters_inside_a_value_are_independent(value: Any) -> None:
    """Each has a stream of its own place, whatever the keys on the way are called."""

    def numbers(drawn: Any) -> list[float]:
        if isinstance(drawn, float):
            return [drawn]
        return [number for inner in (drawn.values() if isinstance(drawn, dict) else drawn) for number in numbers(inner)]

    found = numbers(drawn_of(of(x=Value(value)), 7, 0)["x"])
    assert len(set(found)) == len(found) >= 2


def test_a_choice_inside_a_choice_is_not_picked_by_the_same_number() -> None:
    """Were it so, the first of two would always hold the first of two."""
    searched = of(x=Choice((["a", Choice((0, 1))], ["b", Choice((0, 1))])))
    assert {tuple(drawn_of(searched, 7, trial)["x"]) for trial in range(60)} == {("a", 0), ("a", 1), ("b", 0), ("b", 1)}


def test_what_is_drawn_may_be_changed_without_changing_the_space() -> None:
    searched = of(layers=Choice(([1, {"units": 2}],)), fixed=Value({"a": []}))
    drawn = drawn_of(searched, 7, 0)
    drawn["layers"][1]["units"] = 3
    drawn["fixed"]["a"].append(4)
    assert drawn_of(searched, 7, 0) == {"layers": [1, {"units": 2}], "fixed": {"a": []}}


# --- names and seeds ---


@pytest.mark.parametrize(
    ("params", "whole"),
    [
        pytest.param({}, {}, id="none"),
        pytest.param({"lr": 0.1}, {"lr": 0.1}, id="plain"),
        pytest.param(
            {"model.depth": 3, "lr": 0.1, "model.head.units": 5, "a.b": {"c": 1}},
            {"model": {"depth": 3, "head": {"units": 5}}, "lr": 0.1, "a": {"b": {"c": 1}}},
            id="dotted",
        ),
    ],
)
def test_dotted_names_are_objects(params: dict[str, Any], whole: dict[str, Any]) -> None:
    assert space.nested(params) == whole


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("lr", "LR"), ("a.b-c", "A_B_C"), ("_x9", "_X9"), ("Model.hiddenUnits", "MODEL_HIDDENUNITS"), ("a--b", "A__B")],
)
def test_the_variable_of_a_name(name: str, suffix: str) -> None:
    assert space.variable(name) == suffix


@pytest.mark.parametrize(
    ("names", "found"),
    [
        pytest.param([], [], id="none"),
        pytest.param(["lr", "model.depth", "model.width", "models", "_a-1.b_2", "x" * 128], [], id="fine"),
        pytest.param([f"x{index}" for index in range(100)], [], id="a-hundred"),
        pytest.param([f"x{index}" for index in range(101)], [(100, "at most 100 parameters, there are 101")], id="too-many"),
        pytest.param([""], [(0, "must be at most 128 of A-Z")], id="empty"),
        pytest.param(["ok", "1x"], [(1, "none starting with a digit")], id="digit-first"),
        pytest.param(["a..b"], [(0, "in parts joined by dots")], id="empty-part"),
        pytest.param(["a."], [(0, "in parts joined by dots")], id="dot-last"),
        pytest.param(["a.-b"], [(0, "none starting with a digit or '-'")], id="dash-first"),
        pytest.param(["a b"], [(0, "must be at most 128 of A-Z")], id="space"),
        pytest.param(["lr\n"], [(0, "must be at most 128 of A-Z")], id="newline"),
        pytest.param(["../x"], [(0, "must be at most 128 of A-Z")], id="path"),
        pytest.param(["größe"], [(0, "must be at most 128 of A-Z")], id="beyond-ascii"),
        pytest.param(["x" * 129], [(0, "must be at most 128")], id="long"),
        pytest.param(["a", "a"], [(1, "is there twice")], id="twice"),
        pytest.param(["a", "x", "a.b"], [(2, "must not lie inside 'a'")], id="value-then-object"),
        pytest.param(["a.b.c", "a.b"], [(1, "because 'a.b.c' lies inside it")], id="object-then-value"),
        pytest.param(["a", "a.b.c"], [(1, "must not lie inside 'a'")], id="two-deep"),
        pytest.param(["a.b", "a_b"], [(1, "KUBETUNE_PARAM_A_B is that of 'a.b'")], id="dot-and-underscore"),
        pytest.param(["lr", "LR"], [(1, "KUBETUNE_PARAM_LR is that of 'lr'")], id="case"),
        pytest.param(["a-b", "x", "A.b", "a_B"], [(2, "of 'a-b'"), (3, "of 'a-b'")], id="three-of-one-variable"),
        pytest.param(["A", "a", "a.b"], [(1, "of 'A'"), (2, "inside 'a'")], id="a-name-in-the-way-is-in-the-way-of-others"),
    ],
)
def test_names_that_are_refused(names: list[str], found: list[tuple[int, str]]) -> None:
    problems = list(space_checks.name_problems(names))
    assert [each.number for each in problems] == [number for number, _ in found]
    for problem, (number, rule) in zip(problems, found, strict=True):
        assert rule in problem.rule
        assert problem.value == names[number]
        assert problem.remedy


PARTS = st.sampled_from(["a", "A", "b", "_", "a-b", "a_b", "x1"])


@given(st.lists(st.lists(PARTS, min_size=1, max_size=3).map(".".join), max_size=6))
def test_names_that_are_accepted_keep_their_values(names: list[str]) -> None:
    """No value is lost on the way into objects or variables."""
    if not list(space_checks.name_problems(names)):
        params = {name: index for index, name in enumerate(names)}
        whole = space.nested(params)
        for name, index in params.items():
            value: Any = whole
            for key in name.split("."):
                value = value[key]
            assert value == index
        assert len({space.variable(name) for name in names}) == len(names)


def test_every_attempt_has_a_seed_of_its_own() -> None:
    """32 bits, evenly used: of 1,000 draws from 2**32 (nearly) all differ, and every bit is set in about half of them."""
    seeds = [space.seed_of(seed, trial, attempt) for seed in (1, 2) for trial in range(100) for attempt in range(5)]
    assert all(type(seed) is int and 0 <= seed < 2**32 for seed in seeds)
    assert len(set(seeds)) >= 999
    for bit in range(32):
        assert abs(sum(seed >> bit & 1 for seed in seeds) - 500) < 6 * math.sqrt(250)  # 6 standard deviations: 1 in 5e8


def test_draws_stay_what_they_are() -> None:
    """Only for stability across releases: these were drawn by version 0.1.0, and say nothing about being right.

    A journal records what was drawn, so a change would harm no running experiment; but who repeats one with its seed
    expects its parameters.
    """
    searched = of(
        lr=Uniform(low=0, high=1),
        depth=RandInt(low=0, high=1000),
        optimizer=Choice(("sgd", {"name": "adam", "beta": Uniform(low=0, high=1)})),
    )
    assert [drawn_of(searched, 7, trial) for trial in (0, 1)] == [
        {"lr": 0.48609157353141175, "depth": 765, "optimizer": {"name": "adam", "beta": 0.7068051113902024}},
        {"lr": 0.183054489347225, "depth": 894, "optimizer": "sgd"},
    ]
    assert [space.seed_of(7, 0, attempt) for attempt in (0, 1)] == [991658330, 746469687]
