"""The primitives one by one: what is refused, and that the rest stays in its range. Their distributions are in contract/."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from random import Random
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubetune_operator.core.bounds import Rule, setting
from kubetune_operator.core.domains import (
    PRIMITIVES,
    Choice,
    Drawn,
    GridSearch,
    LogRandInt,
    LogUniform,
    QLogRandInt,
    QLogUniform,
    QRandInt,
    QRandN,
    QUniform,
    RandInt,
    RandN,
    Uniform,
    Value,
    violations,
)
from kubetune_operator.core.space import Parameter, Space
from tests.contract.searchers import DRAWN, GRIDS, NUMBERS, drawn_of, within

JUST_BELOW_1 = 1 - 2.0**-53  # the greatest value of random()


class Numbers(Random):
    """A generator that gives these numbers by random(), and nothing by any other method."""

    def __init__(self, *numbers: float) -> None:
        super().__init__(0)
        self.numbers = list(numbers)

    def random(self) -> float:
        return self.numbers.pop(0)

    def getrandbits(self, k: int) -> int:
        msg = f"{k} bits were drawn by another method than random()"
        raise AssertionError(msg)


# --- what is accepted stays in its range ---


@given(DRAWN, st.floats(0, JUST_BELOW_1))
@settings(max_examples=100)
def test_any_random_number_gives_a_value_of_the_primitive(domain: Drawn, number: float) -> None:
    """And no primitive of numbers takes more than one, or one of another method."""
    if isinstance(domain, Choice | Value):
        return  # their values may hold parameters, which the space draws
    rng = Numbers(number)
    assert within(domain, domain.draw(rng))
    assert rng.numbers == []


@pytest.mark.parametrize("number", [0.0, 2.0**-53, 0.5, JUST_BELOW_1], ids=["least", "least-above-0", "middle", "greatest"])
@given(domain=NUMBERS)
def test_the_ends_of_random_stay_in_range(domain: Any, number: float) -> None:
    assert within(domain, domain.draw(Numbers(number)))


@given(DRAWN | GRIDS)
def test_what_keeps_every_rule_is_accepted(domain: Any) -> None:
    assert list(violations(domain)) == []


@pytest.mark.parametrize(
    ("domain", "number", "value"),
    [
        pytest.param(Uniform(low=2, high=6), 0.25, 3.0, id="uniform"),
        pytest.param(Uniform(low=1, high=1), 0.9, 1.0, id="uniform-of-one-number"),
        pytest.param(Uniform(low=0, high=5e-324), JUST_BELOW_1, 0.0, id="uniform-rounded-to-its-end"),
        pytest.param(LogUniform(low=1, high=10_000), 0.75, 1000.0, id="loguniform"),
        pytest.param(QUniform(low=0, high=1, q=0.1), 0.26, 0.30000000000000004, id="quniform-is-k-times-q"),
        pytest.param(QUniform(low=0, high=4, q=1), 0.125, 0.0, id="quniform-a-half-rounds-to-even-below"),
        pytest.param(QUniform(low=0, high=4, q=1), 0.375, 2.0, id="quniform-a-half-rounds-to-even-above"),
        pytest.param(QUniform(low=0, high=1, q=0.25), JUST_BELOW_1, 1.0, id="quniform-gives-its-end"),
        pytest.param(QLogUniform(low=1, high=100, q=1), 0.5, 10.0, id="qloguniform"),
        pytest.param(RandN(), 0.5, 0.0, id="randn-median"),
        pytest.param(RandN(mean=10, sd=2), 0.8413447460685429, 12.0, id="randn-one-sd"),
        pytest.param(QRandN(mean=0, sd=1, q=0.5), 0.8413447460685429, 1.0, id="qrandn"),
        pytest.param(RandInt(low=-3, high=1), 0.5, -1, id="randint"),
        pytest.param(RandInt(low=-3, high=1), JUST_BELOW_1, 0, id="randint-not-its-end"),
        pytest.param(RandInt(low=0, high=9 * 10**15), JUST_BELOW_1, 9 * 10**15 - 1, id="randint-widest-from-0"),
        pytest.param(QRandInt(low=2, high=10, q=3), 0.0, 3, id="qrandint-shrinks-inwards-below"),
        pytest.param(QRandInt(low=2, high=10, q=3), JUST_BELOW_1, 9, id="qrandint-shrinks-inwards-above"),
        pytest.param(QRandInt(low=-7, high=-2, q=3), 0.0, -6, id="qrandint-shrinks-inwards-below-0"),
        pytest.param(QRandInt(low=0, high=10, q=5), JUST_BELOW_1, 10, id="qrandint-gives-its-end"),
        pytest.param(QRandInt(low=0, high=10), JUST_BELOW_1, 9, id="qrandint-not-its-end-when-q-is-1"),
        pytest.param(QRandInt(low=6, high=6, q=3), 0.7, 6, id="qrandint-of-one-multiple"),
        pytest.param(LogRandInt(low=1, high=10_000), 0.76, 1096, id="lograndint"),  # 10**3.04 = 1096.47...
        pytest.param(LogRandInt(low=10, high=11), JUST_BELOW_1, 10, id="lograndint-of-one-number"),
        pytest.param(QLogRandInt(low=8, high=64, q=8), JUST_BELOW_1, 64, id="qlograndint-gives-its-end"),
        pytest.param(QLogRandInt(low=1, high=10, q=1), JUST_BELOW_1, 9, id="qlograndint-not-its-end-when-q-is-1"),
        pytest.param(Choice(("a", "b", "c")), 0.34, "b", id="choice"),
        pytest.param(Choice((None, True, 1, "1")), 0.3, True, id="choice-keeps-types"),
        pytest.param(Choice((1, 0.5, True)), 0.0, 1.0, id="choice-of-numbers-that-are-not-all-whole"),
        pytest.param(Choice((1, 0.5, True)), 0.9, True, id="choice-a-bool-is-no-number"),
        pytest.param(Choice((1, 2.0)), 0.0, 1, id="choice-of-whole-numbers"),
        pytest.param(Choice((1, [0.5])), 0.0, 1, id="choice-a-number-further-inside-does-not-count"),
    ],
)
def test_a_draw_by_hand(domain: Drawn, number: float, value: Any) -> None:
    drawn = domain.draw(Numbers(number))
    assert type(drawn) is type(value)
    assert drawn == (pytest.approx(value, rel=1e-12, abs=1e-12) if type(domain) in {LogUniform, RandN} else value)


def test_a_value_takes_no_random_number() -> None:
    assert Value({"a": [1]}).draw(Numbers()) == {"a": [1]}


def test_a_grid_gives_its_cells_by_the_rule_of_a_choice() -> None:
    assert [type(GridSearch((1, 0.5, "x")).at(index)) for index in range(3)] == [float, float, str]


@pytest.mark.parametrize("number", [0.4999, 0.5, 0.4], ids=str)
def test_there_is_no_minus_zero(number: float) -> None:
    """Ray's qrandn(0, 1, 1) and quniform give -0.0, which a program's argument parser may not like."""
    for domain in (QRandN(mean=0, sd=1, q=1), QUniform(low=-5, high=5, q=5)):
        drawn = domain.draw(Numbers(number))
        assert drawn == 0
        assert math.copysign(1, drawn) == 1


@given(st.floats(0, JUST_BELOW_1), st.floats(1e-6, 1e6))
def test_base_changes_nothing(number: float, base: float) -> None:
    """It is Ray's, which takes it and does not use it."""
    for cls, more in ((LogUniform, {}), (QLogUniform, {"q": 2}), (LogRandInt, {}), (QLogRandInt, {"q": 2})):
        plain, based = cls(low=2, high=64, **more), cls(low=2, high=64, base=base, **more)
        assert plain.draw(Numbers(number)) == based.draw(Numbers(number))


# --- what is refused, and how it is said ---


@pytest.mark.parametrize(
    ("domain", "field", "rule", "value"),
    [
        pytest.param(Uniform(low=2, high=1), "high", "must be at least low", 1, id="uniform-reversed"),
        pytest.param(Uniform(low=-1e16, high=1), "low", "must be at least -9e+15", -1e16, id="uniform-far-below"),
        pytest.param(Uniform(low=0, high=math.inf), "high", "must be a finite number", math.inf, id="uniform-infinite"),
        pytest.param(Uniform(low=0, high=True), "high", "must be a finite number", True, id="uniform-bool"),
        pytest.param(Uniform(low="0", high=1), "low", "must be a finite number", "0", id="uniform-string"),  # type: ignore[arg-type]
        pytest.param(QUniform(low=0, high=1, q=0), "q", "must be greater than 0", 0, id="quniform-q-0"),
        pytest.param(QUniform(low=0, high=1, q=-0.5), "q", "must be greater than 0", -0.5, id="quniform-q-negative"),
        pytest.param(QUniform(low=0.1, high=0.9, q=0.3), "low", "must be a multiple of q", 0.1, id="quniform-low-off"),
        pytest.param(QUniform(low=0, high=1, q=0.3), "high", "must be a multiple of q", 1, id="quniform-high-off"),
        pytest.param(QUniform(low=0, high=1, q=5e-324), "q", "must not be so small", 5e-324, id="quniform-q-tiny"),
        pytest.param(QUniform(low=-1, high=0, q=1e-16), "q", "must not be so small", 1e-16, id="quniform-q-tiny-below-0"),
        pytest.param(LogUniform(low=0, high=1), "low", "must be greater than 0", 0, id="loguniform-0"),
        pytest.param(LogUniform(low=1, high=0.1), "high", "must be at least low", 0.1, id="loguniform-reversed"),
        pytest.param(LogUniform(low=1, high=2, base=0), "base", "must be greater than 0", 0, id="loguniform-base"),
        pytest.param(QLogUniform(low=0.5, high=2, q=1), "low", "must be a multiple of q", 0.5, id="qloguniform-low-off"),
        pytest.param(QLogUniform(low=-1, high=2, q=1), "low", "must be greater than 0", -1, id="qloguniform-negative"),
        pytest.param(RandN(sd=0), "sd", "must be greater than 0", 0, id="randn-sd"),
        pytest.param(RandN(mean=math.nan), "mean", "must be a finite number", math.nan, id="randn-nan"),
        pytest.param(QRandN(mean=1e15, q=1e-9), "q", "must not be so small", 1e-9, id="qrandn-q-tiny-for-mean"),
        pytest.param(QRandN(mean=0, sd=1e15, q=1e-9), "q", "must not be so small", 1e-9, id="qrandn-q-tiny-for-sd"),
        pytest.param(RandInt(low=1, high=1), "high", "must be greater than low", 1, id="randint-empty"),
        pytest.param(RandInt(low=0, high=2.5), "high", "must be a whole number", 2.5, id="randint-fraction"),  # type: ignore[arg-type]
        pytest.param(RandInt(low=0, high=10**16), "high", "must be at most 9e+15", 10**16, id="randint-far-above"),
        pytest.param(QRandInt(low=5, high=1, q=2), "high", "must be at least low", 1, id="qrandint-reversed"),
        pytest.param(QRandInt(low=4, high=5, q=3), "", "must leave a multiple of q", None, id="qrandint-no-multiple"),
        pytest.param(QRandInt(low=-5, high=-4, q=3), "", "must leave a multiple of q", None, id="qrandint-no-multiple-below-0"),
        pytest.param(QRandInt(low=4, high=4), "", "must leave a multiple of q", None, id="qrandint-empty-with-q-1"),
        pytest.param(QRandInt(low=0, high=4, q=0), "q", "must be at least 1", 0, id="qrandint-q-0"),
        pytest.param(LogRandInt(low=0, high=4), "low", "must be at least 1", 0, id="lograndint-0"),
        pytest.param(LogRandInt(low=4, high=4), "high", "must be greater than low", 4, id="lograndint-empty"),
        pytest.param(QLogRandInt(low=9, high=10, q=8), "", "must leave a multiple of q", None, id="qlograndint-no-multiple"),
        pytest.param(Choice(()), "", "must have at least 1 item", (), id="choice-empty"),
        pytest.param(Choice("ab"), "", "must be a list", "ab", id="choice-string"),  # type: ignore[arg-type]
        pytest.param(GridSearch((0,) * 1001), "", "must have at most 1000 item", (0,) * 1001, id="grid-too-long"),
        pytest.param(Choice((1, math.inf)), "[1]", "must be a JSON value", math.inf, id="choice-infinite"),
        pytest.param(Choice((1, [2**63])), "[1][0]", "must be a JSON value", 2**63, id="choice-beyond-64-bits"),
        pytest.param(Value({"a": {1, 2}}), ".a", "must be a JSON value", {1, 2}, id="value-no-json"),
        pytest.param(Value({1: 2}), ".1", "must be a string key", 1, id="value-key"),
        pytest.param(Choice(({"$param": 1},)), "[0].$param", "must not be here", 1, id="param-unread"),
        pytest.param(
            Choice((1, {"x": [Uniform(low=2, high=1)]})), "[1].x[0].$param.uniform.high", "must be at least low", 1, id="param"
        ),
        pytest.param(
            GridSearch((Choice((math.nan,)),)), "[0].$param.choice[0]", "must be a JSON value", math.nan, id="param-in-a-grid"
        ),
        pytest.param(Choice((Choice(()),)), "[0].$param.choice", "must have at least 1 item", (), id="param-empty"),
        pytest.param(
            Choice((GridSearch((1, 2)),)), "[0].$param.gridSearch", "must not be inside another parameter", None, id="param-grid"
        ),
    ],
)
def test_what_is_refused(domain: Any, field: str, rule: str, value: Any) -> None:
    """One thing is wrong, and it is said once: where, which rule, what was found, what to do."""
    (found,) = violations(domain)
    assert found.field == field
    assert rule in found.rule
    assert found.value == value or (found.value != found.value and value != value)  # noqa: PLR0124 - NaN
    assert found.remedy


@pytest.mark.parametrize(("key", "cls"), PRIMITIVES.items(), ids=PRIMITIVES)
@given(data=st.data())
def test_arguments_of_any_kind_are_refused_or_drawn_from(key: str, cls: type[Any], data: st.DataObject) -> None:
    """Nothing raises, and nothing in between: what is not refused gives a value of the primitive."""
    del key
    some = st.one_of(
        st.sampled_from([0, 1, -1, 2, 10, 0.1, 0.3, 1e-300, 5e-324, 9e15, -9e15, 10**400, math.nan, math.inf, True, None, "1"]),
        st.floats(),
        st.integers(),
        st.integers(-20, 20),
        st.lists(st.floats() | st.integers(), max_size=3).map(tuple),
    )
    domain = cls(**{each.name: data.draw(some, label=each.name) for each in fields(cls)})
    if not list(violations(domain)):
        assert within(domain, drawn_of(Space((Parameter("x", domain),)), 7, 0)["x"])


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def chain(parameters: int) -> Any:
    value: Any = 1
    for _ in range(parameters):
        value = Choice((value,))
    return value


@pytest.mark.parametrize(
    ("domain", "count"),
    [
        pytest.param(Value(deep(32)), 0, id="32-levels"),
        pytest.param(Value(deep(33)), 1, id="33-levels"),
        pytest.param(Value(deep(100_000)), 1, id="a-bomb"),
        pytest.param(chain(9), 0, id="8-parameters-in-one"),
        pytest.param(chain(10), 1, id="9-parameters-in-one"),
    ],
)
def test_nesting_is_bounded(domain: Any, count: int) -> None:
    found = list(violations(domain))
    assert len(found) == count
    assert all("must not be more than 32 levels deep, with at most 8 parameters" in each.rule for each in found)


@dataclass(frozen=True)
class Sample:
    """Settings of every kind that an algorithm may have."""

    time_attr: str = setting("a name", default="t", max_length=3)
    max_t: float | None = setting("an end", default=None, gt=0)
    quick: bool = setting("a switch", default=False)
    rungs: tuple[int, ...] = setting("a list", default=(), max_items=2)
    share: float = setting("a share", default=0.5, lt=1)
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("", "must not be quick without maxT", lambda s: not s.quick or s.max_t is not None, "maxT", "give maxT"),
    )


@pytest.mark.parametrize(
    ("settings_of", "found"),
    [
        pytest.param({}, [], id="defaults"),
        pytest.param({"max_t": 5, "quick": True}, [], id="fine"),
        pytest.param({"time_attr": "iteration"}, [("timeAttr", "must have at most 3 characters", "iteration")], id="long"),
        pytest.param({"time_attr": 3}, [("timeAttr", "must be a string", 3)], id="not-a-string"),
        pytest.param({"max_t": "5"}, [("maxT", "must be a finite number or null", "5")], id="not-a-number"),
        pytest.param({"quick": 1}, [("quick", "must be true or false", 1)], id="not-a-bool"),
        pytest.param({"rungs": (1, 2, 3)}, [("rungs", "must have at most 2 item(s)", (1, 2, 3))], id="many"),
        pytest.param({"share": 1.0}, [("share", "must be less than 1", 1.0)], id="not-below"),
        pytest.param({"quick": True}, [("maxT", "must not be quick without maxT", None)], id="rule"),
        pytest.param({"quick": True, "share": 2}, [("share", "must be less than 1", 2)], id="rules-wait-for-bounds"),
        pytest.param(
            {"max_t": 0, "share": 1}, [("maxT", "must be greater than 0", 0), ("share", "must be less than 1", 1)], id="all"
        ),
    ],
)
def test_any_settings_class_is_checked(settings_of: dict[str, Any], found: list[tuple[str, str, Any]]) -> None:
    assert [(each.field, each.rule, each.value) for each in violations(Sample(**settings_of))] == found
