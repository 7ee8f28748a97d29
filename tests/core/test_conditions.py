"""The space where parameters depend on one another: sampleFrom, when, constraints, points, and the grid among them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune_operator.core.domains import Choice, Domain, GridSearch, RandInt, Uniform, Value
from kubetune_operator.core.expressions import PARAMS, Expression, Language
from kubetune_operator.core.space import TRIES, Parameter, Space
from kubetune_operator.core.space_checks import point_problems, read_problems
from tests.contract.searchers import drawn_of

LANGUAGE = Language(PARAMS)
UNIT = Uniform(low=0, high=1)
KINDS = Choice(("sgd", "adam"))


def when(text: str) -> Expression:
    return LANGUAGE.compile(text, condition=True)


def sample(text: str) -> Expression:
    return LANGUAGE.compile(text, condition=False, draws=True)


def one(name: str, domain: Domain | str, condition: str = "") -> Parameter:
    return Parameter(name, sample(domain) if isinstance(domain, str) else domain, when(condition) if condition else None)


def grid(*values: Any) -> GridSearch:
    return GridSearch(values)


def space(*parameters: Parameter, constraints: tuple[str, ...] = (), points: tuple[Mapping[str, Any], ...] = ()) -> Space:
    made = Space(parameters, tuple(map(when, constraints)), points)
    assert not [*read_problems(made), *point_problems(made)]
    return made


def cells(of: Space, samples: int = 1) -> list[Mapping[str, Any]]:
    """Give all draws of a space without constraints."""
    return [drawn_of(of, 7, number) for number in range(of.total(samples))]


# --- sampleFrom and when ---


def test_a_later_parameter_reads_an_earlier_one() -> None:
    searched = space(
        one("lr", UNIT), one("model.depth", RandInt(low=1, high=9)), one("width", "params.model.depth * 2 + params.lr")
    )
    for number in range(20):
        drawn = drawn_of(searched, 7, number)
        assert list(drawn) == ["lr", "model.depth", "width"]
        assert drawn["width"] == drawn["model.depth"] * 2 + drawn["lr"]


def test_what_is_drawn_in_an_expression_follows_from_seed_number_and_name() -> None:
    """Another parameter beside it moves nothing, and any draw can be had alone."""
    alone = space(one("x", "uniform(0, 1)"))
    beside = space(one("a", UNIT), one("x", "uniform(0, 1)"), one("y", "uniform(0, 1)"))
    for number in (0, 3, 10**6):
        drawn = drawn_of(beside, 7, number)
        assert drawn["x"] == drawn_of(alone, 7, number)["x"] == Random(f"7/{number}/x").random()
        assert drawn["x"] != drawn["y"]


def test_a_parameter_is_there_only_where_its_condition_is_true() -> None:
    searched = space(one("kind", KINDS), one("momentum", UNIT, "params.kind == 'sgd'"))
    drawn = [drawn_of(searched, 7, number) for number in range(40)]
    assert {(each["kind"], "momentum" in each) for each in drawn} == {("sgd", True), ("adam", False)}


def test_an_absent_parameter_counts_as_false_and_is_told() -> None:
    searched = space(one("kind", KINDS), one("a", UNIT, "params.kind == 'sgd'"), one("b", UNIT, "params.a >= 0.0"))
    for number in range(20):
        params, note = searched.draw(7, number)
        assert params is not None
        assert ("b" in params) == ("a" in params)
        assert note == ("" if "a" in params else '`when` of b: Key not found in map : "a", in params.a >= 0.0')


def test_a_value_that_cannot_be_had_is_drawn_again_and_told() -> None:
    """No trial gets a half-drawn point: here only the draws of sgd have what `double` needs."""
    searched = space(one("kind", KINDS), one("a", UNIT, "params.kind == 'sgd'"), one("double", "params.a * 2"))
    draws = [searched.draw(7, number) for number in range(20)]
    assert all(draw.params and draw.params["double"] == draw.params["a"] * 2 for draw in draws)
    told = [draw.note for draw in draws if draw.note]
    assert told
    assert all(note.startswith("sampleFrom of double: Key not found") for note in told)


@pytest.mark.timeout(10)
def test_parameters_that_double_one_another_come_to_an_end() -> None:
    """A hundred of them would be more than there is memory in the world: one that grows too long spoils the draw."""
    doubled = [one(f"p{number}", f"params.p{number - 1} + params.p{number - 1}") for number in range(1, 100)]
    draw = space(one("p0", Value("x" * 400)), *doubled).draw(7, 0)
    assert draw.params is None
    assert draw.note.startswith("sampleFrom of p4: must be at most 4096 characters long, has 6402")


def test_an_object_is_the_same_text_each_time() -> None:
    """What the library gives has another order in each evaluation; programs are given this as a text."""
    searched = space(one("x", "{'b': 1, 'a': {'d': 2, 'c': 3}, 'f': [{'h': 4, 'g': 5}], 'e': 6}"))
    assert {json.dumps(searched.draw(7, number).params) for number in range(20)} == {
        '{"x": {"a": {"c": 3, "d": 2}, "b": 1, "e": 6, "f": [{"g": 5, "h": 4}]}}'
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("1 / (params.n - 1)", "divide by zero", id="division"),
        pytest.param("1.0 / (params.n - 1)", "must be finite, is inf", id="infinity"),
        pytest.param("log(params.n - 1)", "is not a number", id="logarithm"),
        pytest.param("[1, {'k': 1.0 / (params.n - 1)}]", "must be finite, is inf", id="infinity inside"),
        pytest.param("'[' + params.text + params.text + ']'", "must be at most 4096 characters long, has 6004", id="too long"),
        pytest.param("[params.text, params.text]", "must be at most 4096 characters long, has 6008", id="too long a list"),
        pytest.param("{'k': ['a\\x00b']}", "must not have a NUL character", id="NUL inside"),
        pytest.param("[[[[params.deep]]]]", "must not be more than 32 levels deep", id="too deep"),
    ],
)
def test_what_never_gives_a_value_gives_no_trial(text: str, why: str) -> None:
    deep: Any = 1
    for _ in range(30):
        deep = [deep]
    draw = space(one("n", Value(1)), one("text", Value("x" * 3000)), one("deep", Value(deep)), one("x", text)).draw(7, 0)
    assert draw.params is None
    assert draw.note.startswith("sampleFrom of x: ")
    assert why in draw.note


# --- constraints ---


def test_a_draw_that_breaks_a_constraint_is_drawn_again() -> None:
    searched = space(one("a", UNIT), one("b", UNIT), constraints=("params.a < params.b",))
    free = space(one("a", UNIT), one("b", UNIT))
    for number in range(50):
        drawn = drawn_of(searched, 7, number)
        assert drawn["a"] < drawn["b"]
        first = drawn_of(free, 7, number)
        assert first["a"] >= first["b"] or drawn == first, "the first try counts where it fits"


def test_a_constraint_that_is_hardly_ever_met_gives_no_trial_after_so_many_tries() -> None:
    draw = space(one("a", UNIT), constraints=("params.a > 1.5",)).draw(7, 0)
    assert draw.params is None
    assert draw.note == "constraints[0] is not met: params.a > 1.5"
    rare = space(one("a", UNIT), constraints=("params.a > 0.99",))
    met = sum(rare.draw(7, number).params is not None for number in range(300))
    assert abs(met / 300 - (1 - 0.99**TRIES)) < 0.12  # 0.634: four standard deviations


def test_a_constraint_over_what_a_trial_does_not_have_does_not_concern_it() -> None:
    searched = space(one("kind", KINDS), one("momentum", UNIT, "params.kind == 'sgd'"), constraints=("params.momentum > 0.5",))
    drawn = [drawn_of(searched, 7, number) for number in range(60)]
    assert {each["kind"] for each in drawn} == {"sgd", "adam"}
    assert all(each["momentum"] > 0.5 for each in drawn if "momentum" in each)


def test_a_constraint_that_cannot_be_evaluated_is_not_met_and_says_why() -> None:
    """A division by zero is no leave to try what nobody could check; that a parameter is absent is another matter."""
    searched = space(one("a", grid(0, 1)), constraints=("1 / params.a >= 1",))
    draws = [searched.draw(7, number) for number in range(searched.total(1))]
    assert [draw.params for draw in draws] == [None, {"a": 1}]
    assert draws[0].note == "constraints[0] is not met (divide by zero): 1 / params.a >= 1"


def test_a_cell_that_breaks_a_constraint_gives_no_trial() -> None:
    """The others keep their order."""
    searched = space(one("a", grid(1, 2, 3)), one("b", grid(1, 2, 3)), constraints=("params.a * params.b <= 3",))
    draws = [searched.draw(7, number).params for number in range(searched.total(1))]
    assert [tuple(params.values()) for params in draws if params] == [(1, 1), (2, 1), (3, 1), (1, 2), (1, 3)]
    assert draws.count(None) == 4


# --- the grid ---


def test_a_condition_on_a_grid_multiplies_only_where_it_is_true() -> None:
    searched = space(
        one("kind", grid("sgd", "adam")),
        one("momentum", grid(0.5, 0.9), "params.kind == 'sgd'"),
    )
    assert [dict(cell) for cell in cells(searched, 2)] == 2 * [
        {"kind": "sgd", "momentum": 0.5},
        {"kind": "adam"},
        {"kind": "sgd", "momentum": 0.9},
    ]


def test_conditions_on_grids_may_hang_on_one_another() -> None:
    searched = space(
        one("a", grid(1, 2)),
        one("b", grid(1, 2), "params.a == 2"),
        one("c", grid(1, 2), "params.b == 2"),
        one("d", grid(1, 2), "params.c == 2"),
    )
    assert sorted(tuple(cell.items()) for cell in cells(searched)) == sorted(
        [
            (("a", 1),),
            (("a", 2), ("b", 1)),
            (("a", 2), ("b", 2), ("c", 1)),
            (("a", 2), ("b", 2), ("c", 2), ("d", 1)),
            (("a", 2), ("b", 2), ("c", 2), ("d", 2)),
        ]
    )


GRIDS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True), min_size=1, max_size=4)


@given(GRIDS, st.data())
def test_the_cells_are_those_of_a_naive_tree(values: list[list[int]], data: st.DataObject) -> None:
    """Walk the parameters one by one: a grid branches only where its condition, on an earlier one, is true."""
    conditions = [
        data.draw(st.none() | st.tuples(st.integers(0, index - 1), st.integers(0, 3))) if index else None
        for index in range(len(values))
    ]
    searched = space(
        *(
            one(f"p{index}", grid(*each), f"params.p{condition[0]} == {condition[1]}" if condition else "")
            for index, (each, condition) in enumerate(zip(values, conditions, strict=True))
        )
    )
    leaves: list[dict[str, int]] = [{}]
    for index, (each, condition) in enumerate(zip(values, conditions, strict=True)):
        leaves = [
            leaf | extra
            for leaf in leaves
            for extra in (
                [{f"p{index}": value} for value in each]
                if condition is None or leaf.get(f"p{condition[0]}") == condition[1]
                else [{}]
            )
        ]
    found = [tuple(cell.items()) for cell in cells(searched)]
    assert sorted(found) == sorted(tuple(leaf.items()) for leaf in leaves)


# --- points ---


def test_points_are_counted_as_ray_counts_them() -> None:
    """Ray's example: grid a of 2, 4 samples, points {a, b}, {a}, {b} make 1 + 1 + 2 + 2 trials."""
    searched = space(one("a", grid(1, 2)), one("b", UNIT), points=({"a": 1, "b": 0.5}, {"a": 2}, {"b": 0.25}))
    assert [searched.total(samples) for samples in range(6)] == [0, 1, 2, 4, 6, 8]
    drawn = cells(searched, 4)
    assert [each["a"] for each in drawn] == [1, 2, 1, 2, 1, 2]
    assert [each["b"] for each in drawn if each["b"] in {0.5, 0.25}] == [0.5, 0.25, 0.25]
    assert [each["b"] for each in (drawn[0], drawn[2], drawn[3])] == [0.5, 0.25, 0.25]


def test_points_beyond_the_samples_are_not_used() -> None:
    searched = space(one("b", UNIT), points=({"b": 2.0}, {"b": 3.0}))
    assert [each["b"] for each in cells(searched, 1)] == [2.0]


def test_a_point_fixes_what_others_read() -> None:
    searched = space(
        one("kind", KINDS),
        one("momentum", UNIT, "params.kind == 'sgd'"),
        one("x", "params.momentum * 2"),
        points=({"kind": "sgd", "momentum": 0.25}, {"x": 9, "kind": "adam"}, {"kind": "adam", "momentum": 0.5, "x": 1}),
    )
    assert [dict(each) for each in cells(searched, 3)] == [
        {"kind": "sgd", "momentum": 0.25, "x": 0.5},
        {"kind": "adam", "x": 9},
        {"kind": "adam", "x": 1},
    ]
    assert [searched.draw(7, number).note for number in range(3)] == [
        "",
        "",
        "search.pointsToEvaluate gives momentum, which that trial does not have: its `when` is false",
    ]


def test_a_point_on_a_grid_decides_about_the_grids_that_hang_on_it() -> None:
    searched = space(
        one("kind", grid("sgd", "adam")),
        one("momentum", grid(0.5, 0.9), "params.kind == 'sgd'"),
        points=({"kind": "adam"}, {"kind": "sgd"}, {"momentum": 0.7}),
    )
    assert [dict(each) for each in cells(searched, 3)] == [
        {"kind": "adam"},
        {"kind": "sgd", "momentum": 0.5},
        {"kind": "sgd", "momentum": 0.9},
        {"kind": "sgd", "momentum": 0.7},
        {"kind": "adam"},
    ]


def test_what_was_given_as_a_point_may_be_changed_by_who_got_it() -> None:
    searched = space(one("a", UNIT), points=({"a": [1]},))
    drawn_of(searched, 7, 0)["a"].append(2)
    assert drawn_of(searched, 7, 0) == {"a": [1]}


@given(st.lists(st.sets(st.sampled_from(["a", "b", "c"]), min_size=1), max_size=4), st.integers(1, 9))
def test_the_least_samples_for_so_many_draws(fixed: list[set[str]], draws: int) -> None:
    searched = space(
        one("a", grid(1, 2)), one("b", grid(1, 2, 3)), one("c", UNIT), points=tuple(dict.fromkeys(each, 1) for each in fixed)
    )
    samples = searched.samples_for(draws)
    assert searched.total(samples) >= draws
    assert searched.total(samples - 1) < draws
    sizes = [2 ** ("a" not in each) * 3 ** ("b" not in each) for each in fixed] + [6] * 9
    assert [searched.total(count) for count in range(10)] == list(itertools.accumulate(sizes, initial=0))[:10]
