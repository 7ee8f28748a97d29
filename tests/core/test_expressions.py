"""Expressions: what they give, how kinds mix, what is drawn, what is refused, and that none can run long."""

from __future__ import annotations

import math
import statistics
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune_operator.core.expressions import (
    PARAMS,
    RESULT,
    TRIAL_ID,
    Expression,
    ExpressionFailed,
    ExpressionRefused,
    Language,
)

LANGUAGE = Language(PARAMS)
STOPS = Language(TRIAL_ID, RESULT)
GIVEN = {
    "n": 3,
    "x": 0.5,
    "kind": "sgd",
    "yes": True,
    "none": None,
    "list": [1, 2.5],
    "model": {"depth": 2},
    "lr-decay": 4,
    "nan": math.nan,
    "huge": 2**62,
}


def sampled(text: str) -> Expression:
    return LANGUAGE.compile(text, condition=False, draws=True)


def condition(text: str) -> Expression:
    return LANGUAGE.compile(text, condition=True)


def value(text: str, seed: int = 7) -> Any:
    return sampled(text).evaluate({PARAMS: GIVEN}, Random(seed))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # whole numbers and fractions
        pytest.param("params.n + 1", 4, id="whole-and-whole"),
        pytest.param("params.n * 0.5", 1.5, id="whole-times-fraction"),
        pytest.param("0.5 * params.n", 1.5, id="fraction-times-whole"),
        pytest.param("2 * 0.5", 1.0, id="two-literals"),
        pytest.param("params.n - params.x", 2.5, id="difference"),
        pytest.param("params.n / 2", 1, id="whole-division-as-in-CEL"),
        pytest.param("params.n / 2.0", 1.5, id="division"),
        pytest.param("params.n % 2", 1, id="remainder"),
        pytest.param("params.x % 2", 0.5, id="remainder-of-a-fraction"),
        pytest.param("-7 % 2.0", -1.0, id="remainder-has-the-sign-of-the-first"),
        pytest.param("7.5 % 2.5", 0.0, id="remainder-of-fractions"),
        pytest.param("double(params.n) / 2", 1.5, id="turned-into-a-fraction"),
        pytest.param("1 / 0.0", math.inf, id="by-zero"),
        pytest.param("-1 / 0.0", -math.inf, id="minus-by-zero"),
        pytest.param("params.x > 0 ? 1 : 2", 1, id="if"),
        pytest.param("params.x > 0 ? 1 : 2.5", 1, id="if-mixed"),
        pytest.param("params.x < 0 ? 1 : 2.5", 2.5, id="if-mixed-the-other-way"),
        pytest.param("(params.x > 0 ? 2.5 : 1) * 2", 5.0, id="of-an-if-mixed"),
        pytest.param("2 in [1.5, 2.0]", True, id="in"),
        pytest.param("params.n != 2.5", True, id="unequal"),
        # functions
        pytest.param("pow(2, params.n)", 8, id="pow-whole"),
        pytest.param("pow(2, -1)", 0.5, id="pow-negative"),
        pytest.param("pow(2.0, 3)", 8.0, id="pow-fraction"),
        pytest.param("pow(2, 62)", 2**62, id="pow-largest"),
        pytest.param("pow(-1, 1000)", 1, id="pow-of-minus-one"),
        pytest.param("exp(0)", 1.0, id="exp"),
        pytest.param("log(exp(2))", 2.0, id="log"),
        pytest.param("sqrt(16)", 4.0, id="sqrt"),
        pytest.param("floor(-2.5)", -3, id="floor"),
        pytest.param("round(2.5)", 2, id="round-half-to-even"),
        pytest.param("round(3.5)", 4, id="round-half-to-even-up"),
        pytest.param("min(3, 1, 2)", 1, id="min"),
        pytest.param("max(1, 2.5)", 2.5, id="max-mixed"),
        pytest.param("min(1, 2.5)", 1.0, id="min-mixed-is-a-fraction"),
        # other kinds
        pytest.param("params.model", {"depth": 2}, id="object"),
        pytest.param("params.model.depth", 2, id="nested"),
        pytest.param("params['lr-decay']", 4, id="quoted"),
        pytest.param("params.`lr-decay`", 4, id="backquoted"),
        pytest.param("[params.n, 'a', null]", [3, "a", None], id="list"),
        pytest.param("{'a': params.list}", {"a": [1, 2.5]}, id="object-made"),
        pytest.param("string(params.n) + 'x'", "3x", id="text"),
        pytest.param("params.none == null", True, id="null"),
        pytest.param("size(params.list)", 2, id="size"),
        pytest.param("'map(x)' == params.kind // all(x, true)", False, id="a-macro's-name-in-text-and-comment"),
    ],
)
def test_a_value(text: str, expected: Any) -> None:
    found = value(text)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("params.zz", "Key not found", id="absent"),
        pytest.param("params.model.zz", "Key not found", id="absent-inside"),
        pytest.param("params.kind * 2", r"^\* does not take a string and a whole number$", id="text-times-whole"),
        pytest.param("-params.kind", "^- does not take a string$", id="minus-text"),
        pytest.param("params.kind ? 1 : 2", "before \\? is neither true nor false", id="text-as-condition"),
        pytest.param("params.n && true", "^&& takes true or false", id="number-as-condition"),
        pytest.param("params.n in params.kind", "^in takes a list or an object", id="in-text"),
        pytest.param("params.n.x", "before a dot is no object", id="field-of-a-number"),
        pytest.param("pow(params.kind, 2)", r"^pow\(\) does not take a string and a whole number$", id="pow-of-text"),
        pytest.param("params.huge * 4", "overflow", id="beyond-the-whole-numbers"),
        pytest.param("pow(10, 300)", "beyond the whole numbers; write 10.0", id="pow-beyond"),
        pytest.param("pow(3, 63)", "beyond the whole numbers; write 3.0", id="pow-just-beyond"),
        pytest.param("pow(0, -1)", "divides by zero", id="pow-by-zero"),
        pytest.param("1 % 0.0", "modulus by zero", id="remainder-by-zero"),
        pytest.param("1 / 0", "divide by zero", id="whole-by-zero"),
        pytest.param("log(0)", r"log\(0\) is not a number", id="log-of-zero"),
        pytest.param("sqrt(-1)", r"sqrt\(-1\) is not a number", id="sqrt-of-minus-one"),
        pytest.param("exp(1000)", "range", id="exp-beyond"),
        pytest.param("floor(1e300)", "beyond the whole numbers", id="floor-beyond"),
        pytest.param("choice([])", "nothing to choose from", id="choice-of-nothing"),
        pytest.param("choice(params.n)", r"^choice\(\) does not take a whole number$", id="choice-of-a-number"),
        pytest.param("randint(3, 3)", "low must be less than high", id="randint-empty"),
        pytest.param("uniform(2, 1)", "low must be at most high", id="uniform-swapped"),
        pytest.param("loguniform(0, 1)", "low must be above 0", id="loguniform-from-zero"),
        pytest.param("normal(0, 0)", "sd must be above 0", id="normal-without-sd"),
        pytest.param("{1: 2}", "strings for keys", id="object-of-numbers"),
        pytest.param("dyn(b'x')", "must give a number, a string", id="bytes-found-late"),
    ],
)
def test_what_cannot_be_had_says_why(text: str, why: str) -> None:
    with pytest.raises(ExpressionFailed, match=why):
        value(text)


@pytest.mark.parametrize(
    "text", ["uniform(1, 2)", "loguniform(0.1, 10)", "randint(0, 1000000)", "normal(0, 1)", "choice([1, 2, 3])"]
)
def test_a_draw_follows_from_the_generator_alone(text: str) -> None:
    drawn = sampled(text)
    assert drawn.draws
    assert [drawn.evaluate({}, Random(seed)) for seed in range(20)] == [drawn.evaluate({}, Random(seed)) for seed in range(20)]
    assert len({drawn.evaluate({}, Random(seed)) for seed in range(50)}) > 2


def test_draws_of_one_expression_follow_one_another() -> None:
    first, second = value("[uniform(0, 1), uniform(0, 1)]")
    rng = Random(7)
    assert [first, second] == [rng.random(), rng.random()]


def test_the_bounds_are_those_of_the_primitives() -> None:
    """As randint of the search space: low is drawn, high is not. 2 to the power of 1 to 5: the example of the README."""
    drawn = {value("pow(2, randint(1, 6))", seed) for seed in range(300)}
    assert drawn == {2, 4, 8, 16, 32}


def test_a_normal_draw_has_its_mean_and_sd() -> None:
    drawn = [value("normal(5, 2)", seed) for seed in range(2000)]
    assert abs(statistics.fmean(drawn) - 5) < 4 * 2 / math.sqrt(2000)
    assert abs(statistics.stdev(drawn) / 2 - 1) < 0.1


def test_nothing_is_drawn_without_a_generator() -> None:
    with pytest.raises(ExpressionFailed, match="nothing may be drawn here"):
        sampled("uniform(0, 1)").evaluate({})


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        pytest.param("params.kind == 'sgd' && params.n > 2.5", True, id="true"),
        pytest.param("params.n > 3", False, id="false"),
        pytest.param("has(params.zz) && params.zz > 1", False, id="guarded"),
        pytest.param("params.zz > 1 || params.n == 3", True, id="decided-by-the-other-half"),
    ],
)
def test_a_condition(text: str, *, holds: bool) -> None:
    assert condition(text).holds({PARAMS: GIVEN}) is holds


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("params.zz > 1", "Key not found", id="absent"),
        pytest.param("params.nan > 1.0", r"params\.nan is NaN", id="NaN"),
        pytest.param("!(params.nan < 1.0)", r"params\.nan is NaN", id="NaN-the-other-way-round"),
        pytest.param("params.n", "must be true or false, is a whole number", id="a-number"),
        pytest.param("params.kind > 3", "^> does not take a string and a whole number$", id="text-and-number"),
    ],
)
def test_a_condition_that_cannot_be_asked_says_why(text: str, why: str) -> None:
    with pytest.raises(ExpressionFailed, match=why):
        condition(text).holds({PARAMS: GIVEN})


@pytest.mark.parametrize(
    ("text", "reads"),
    [
        pytest.param("params.a + params.b.c", {("params", "a"), ("params", "b", "c")}, id="paths"),
        pytest.param("params['a'].b", {("params", "a", "b")}, id="quoted"),
        pytest.param("params.a[0]", {("params", "a")}, id="index"),
        pytest.param("params[params.a]", {("params",), ("params", "a")}, id="computed"),
        pytest.param("size(params)", {("params",)}, id="whole"),
        pytest.param("params.a.startsWith('params.b')", {("params", "a")}, id="method-and-text"),
        pytest.param("{'x': 1}.params", set(), id="a-field-of-that-name"),
        pytest.param("1 + 1", set(), id="none"),
    ],
)
def test_what_it_reads_is_known(text: str, reads: set[tuple[str, ...]]) -> None:
    assert sampled(text).reads == reads


def test_what_is_absent_is_named() -> None:
    assert condition("params.a.b > 1 && params.n > 1").lacks({PARAMS: GIVEN}) == ["params.a.b"]


def test_a_stop_sees_the_trial_and_its_result() -> None:
    stop = STOPS.compile("trial_id.endsWith('3') && result.eval.loss > 10", condition=True)
    assert stop.holds({TRIAL_ID: "digits-00003", RESULT: {"eval": {"loss": 10.5}}})
    assert not stop.holds({TRIAL_ID: "digits-00004", RESULT: {"eval": {"loss": 10.5}}})


@pytest.mark.parametrize("big", [2**63, 2**64, -(2**64), 10**400, -(10**400)], ids=["2^63", "2^64", "-2^64", "huge", "-huge"])
def test_a_whole_number_that_the_language_has_no_room_for_counts_as_a_fraction(big: int) -> None:
    """A checksum that is reported beside the loss must not keep a trial from being stopped."""
    seen = {TRIAL_ID: "", RESULT: {"loss": 0.5, "big": big, "deep": {"er": [big]}}}
    assert STOPS.compile("result.loss < 0.6", condition=True).holds(seen)
    assert STOPS.compile("result.big > 1", condition=True).holds(seen) == (big > 1)
    assert STOPS.compile("result.big / 2.0 > 1.0", condition=True).holds(seen) == (big > 1)


# The most that 512 characters can ask for: each is refused, or done at once.
WORST = {
    "brackets": "(" * 255 + "1" + ")" * 255,
    "lists": "[" * 255 + "]" * 255,
    "objects": "{1:" * 120 + "1" + "}" * 120,
    "minus": "-" * 511 + "1",
    "not": "!" * 507 + "true",
    "sum": "1" + "+1" * 255,
    "lists added": "params.long" + "+params.long" * 31,
    "text added": "params.text" + "+params.text" * 31,
    "compared": "[params.long, params.long] == [params.long, params.long]",
    "in": "params.long in [params.long]",
    "regular expression": "params.text.matches('" + "(a*)*" * 90 + "b')",
    "large expression": "params.text.matches('" + "a{1000}" * 60 + "')",
    "powers": "pow(9, 9)" + "*pow(9, 9)" * 20,
    "nested powers": "pow(2, pow(2, pow(2, pow(2, pow(2, 2)))))",
    "choice": "choice(params.long)",
    "if": "true ? " * 70 + "1",
    "text": "'" + "a" * 510 + "'",
    "garbage": "\x00\x01" * 256,
    "not ASCII": "é" * 512,
}
LARGE = {"long": list(range(1000)), "text": "a" * 1000}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("text", WORST.values(), ids=WORST)
def test_no_expression_runs_long(text: str) -> None:
    """Bounded by its length and by what it is given: measured, the slowest of these takes a few milliseconds."""
    assert len(text) <= 512
    try:
        LANGUAGE.compile(text, condition=False, draws=True).evaluate({PARAMS: LARGE}, Random(7))
    except (ExpressionRefused, ExpressionFailed) as refused:
        assert str(refused)


@given(st.text(alphabet="params.x()[]{}'\"\\+-*/%<>=!&|?:,0123456789 uniformchoicepow`e\n", max_size=60))
def test_whatever_is_written_is_compiled_or_refused(text: str) -> None:
    for compiled_as in (True, False):
        try:
            found = LANGUAGE.compile(text, condition=compiled_as, draws=not compiled_as)
        except ExpressionRefused as refused:
            assert refused.wrong.rule.startswith("must ")
            assert refused.wrong.remedy
        else:
            try:
                found.evaluate({PARAMS: GIVEN}, Random(7))
            except ExpressionFailed as failed:
                assert str(failed)
