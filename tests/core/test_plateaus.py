"""Both plateaus, case by case and against a second, naive implementation that keeps everything and computes it anew."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from statistics import pvariance
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune_operator.core.plateaus import BestValues, ExperimentPlateau, Spread, TrialPlateau, TrialPlateaus
from kubetune_operator.core.trials import Decision, Mode, Objective

NAN, INF = math.nan, math.inf
HUGE = 10**400  # a whole number beyond the doubles
LOSS = Objective("loss", Mode.MINIMIZE)


def ends(settings: TrialPlateau, values: Sequence[Any], mode: Mode = Mode.MINIMIZE) -> list[int]:
    """Report these values of loss (None: without it); give the numbers, from 1, of the reports that end the trial."""
    plateaus = TrialPlateaus(settings, mode)
    found = []
    for number, value in enumerate(values, 1):
        plateaus.observe(7, {} if value is None else {"loss": value})
        if plateaus.judge(7) is not None:
            found.append(number)
    return found


def reached(settings: ExperimentPlateau, values: Iterable[Any], objective: Objective = LOSS) -> int | None:
    """Report these values of loss; give the number of the report at which the experiment has reached its plateau."""
    best = BestValues(settings, objective)
    for number, value in enumerate(values, 1):
        best.observe({} if value is None else {"loss": value})
        if best.reached:
            return number
    return None


@pytest.mark.parametrize(
    ("settings", "values", "expected"),
    [
        pytest.param({}, [1, 1, 1, 1, 1], [4, 5], id="Ray's defaults: four reports"),
        pytest.param({}, [1, 1, 1], [], id="one report too few"),
        pytest.param({"grace_period": 6}, [1] * 7, [6, 7], id="a grace period beyond the window"),
        pytest.param({"num_results": 6}, [1] * 7, [6, 7], id="a window beyond the grace period"),
        pytest.param({"grace_period": 0, "num_results": 1}, [3], [1], id="one value does not differ from itself"),
        pytest.param({}, [9, 1, 1, 1, 1], [5], id="what is older than the window is forgotten"),
        pytest.param({"num_results": 2, "std": 1}, [0, 2, 4, 6, 7, 9], [5], id="a deviation that is the limit is none"),
        pytest.param({"std": 0}, [1] * 9, [], id="nothing is below zero"),
        pytest.param({}, [1, 1, 1, NAN, 1, 1, 1, 1], [8], id="NaN is no plateau as long as it is in the window"),
        pytest.param({}, [INF] * 5, [], id="equal infinities are none"),
        pytest.param({}, [-INF] * 5, [], id="nor are equal negative ones"),
        pytest.param({}, [HUGE] * 5, [], id="nor whole numbers beyond the doubles"),
        pytest.param({}, [1, None, 1, None, 1, None, 1, None], [7], id="a report without it counts for the grace period only"),
        pytest.param({"grace_period": 5}, [1, 1, 1, 1, None, 1], [6], id="nothing is ended by a report without it"),
        pytest.param({}, [True, "1", 1, 1, 1, 1], [6], id="neither true nor text is a number"),
        pytest.param({"threshold": 0}, [1, 1, 1, 1, 0, 0, 0, 0], [8], id="threshold 0 counts: at least that good"),
        pytest.param({"threshold": 0.5}, [0.5] * 4, [4], id="the threshold itself is good enough"),
        pytest.param({"threshold": 0.5}, [0.501] * 5, [], id="worse than the threshold"),
        pytest.param({}, [1e300, 1e300, 1e300, 1e300], [4], id="squares beyond the doubles"),
        pytest.param({"std": 1e-9}, [1e15, 1e15 + 1, 1e15, 1e15], [], id="a difference that doubles lose in squares"),
    ],
)
def test_a_trial_ends_at_its_plateau(settings: dict[str, Any], values: list[Any], expected: list[int]) -> None:
    assert ends(TrialPlateau("loss", **settings), values) == expected


@pytest.mark.parametrize(
    ("mode", "value", "expected"),
    [
        pytest.param(Mode.MAXIMIZE, 0.4, [], id="too low"),
        pytest.param(Mode.MAXIMIZE, 0.6, [4], id="high enough"),
        pytest.param(Mode.MINIMIZE, 0.6, [], id="too high"),
        pytest.param(Mode.MINIMIZE, 0.4, [4], id="low enough"),
    ],
)
def test_the_threshold_is_meant_as_the_objective_is(mode: Mode, value: float, expected: list[int]) -> None:
    assert ends(TrialPlateau("loss", threshold=0.5), [value] * 4, mode) == expected


def test_nested_names_are_found_and_the_verdict_says_what_was_seen() -> None:
    plateaus = TrialPlateaus(TrialPlateau("eval/loss", std=2, num_results=2, grace_period=0), Mode.MINIMIZE)
    for value in (1, 3):
        plateaus.observe(0, {"eval/loss": value})
    verdict = plateaus.judge(0)
    assert verdict is not None
    assert (verdict.decision, verdict.reason, verdict.complete) == (Decision.STOP, "Plateau", True)
    assert verdict.facts == {"metric": "eval/loss", "std": 1.0, "limit": 2, "window": 2}


def test_trials_know_nothing_of_each_other_and_an_attempt_nothing_of_the_one_before() -> None:
    plateaus = TrialPlateaus(TrialPlateau("loss", num_results=2, grace_period=2), Mode.MINIMIZE)
    for trial in (0, 1):
        plateaus.observe(trial, {"loss": 1})
        assert plateaus.judge(trial) is None
    plateaus.forget(0)
    plateaus.observe(0, {"loss": 1})
    assert plateaus.judge(0) is None
    plateaus.observe(0, {"loss": 1})
    assert plateaus.judge(0) is not None


@pytest.mark.parametrize(
    ("settings", "values", "expected"),
    [
        pytest.param({"top": 3}, [1, 1, 1], 3, id="as soon as there are enough"),
        pytest.param({"top": 3}, [1, 1], None, id="one too few"),
        pytest.param({"top": 2, "std": 0.5}, [5, 4, 9, 3], 2, id="a deviation that is the limit is a plateau"),
        pytest.param({"top": 2, "std": 0.4}, [5, 4, 9, 3, 3.5], 5, id="the best are looked at, not the last"),
        pytest.param({"top": 2, "std": 0}, [0.1, 0.1], 2, id="equal values, and no deviation allowed"),
        pytest.param({"top": 2, "patience": 1}, [1, 1, 1], 2, id="a patience of one is none"),
        pytest.param({"top": 2, "patience": 3}, [1, 1, 9, 9], 4, id="worse reports count as well"),
        pytest.param({"top": 2, "patience": 3}, [5, 5, 5, 5, 1], 4, id="three reports in a row"),
        pytest.param({"top": 2, "patience": 3}, [5, 5, 1, 1, 1, 1], 6, id="a better value begins the count anew"),
        pytest.param(
            {"top": 2, "patience": 2},
            [1, 1, NAN, INF, -INF, None, "x", True, HUGE, 1],
            10,
            id="what is no number neither counts nor resets",
        ),
        pytest.param({"top": 2, "metric": "other"}, [1, 1, 1], None, id="another metric, which nobody reports"),
        pytest.param({"top": 2, "mode": "Maximize", "std": 0.5}, [5, 1, 1, 6], 4, id="another mode than the objective's"),
    ],
)
def test_an_experiment_reaches_its_plateau(settings: dict[str, Any], values: list[Any], expected: int | None) -> None:
    assert reached(ExperimentPlateau(**settings), values) == expected


def test_the_message_names_the_numbers() -> None:
    best = BestValues(ExperimentPlateau(top=2, std=1.5, patience=2), LOSS)
    for value in (1, 3, 7):
        best.observe({"loss": value})
    assert best.reached == ("the 2 best values of loss have had a standard deviation of at most 1.5 for 2 reports (it is 1 now)")


# --- a second, naive implementation ---


def number(value: Any) -> float | None:
    """Read a value as Ray would, but for its faults: None is no number, NaN is not finite."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < 1e308 else NAN


def variance(values: Iterable[float]) -> Fraction:
    """Give the population's variance without rounding."""
    return pvariance([Fraction(value) for value in values])


def naive_ends(settings: TrialPlateau, values: Sequence[Any], mode: Mode) -> list[int]:
    """Ray's TrialPlateauStopper, written down from its documentation."""
    found, kept = [], []
    for count in range(1, len(values) + 1):
        value = number(values[count - 1])
        if value is None:
            continue
        kept.append(value)
        last = kept[-settings.num_results :]
        if count < settings.grace_period or len(last) < settings.num_results or not all(map(math.isfinite, last)):
            continue
        limit = settings.threshold
        if limit is not None and (value < limit if mode is Mode.MAXIMIZE else value > limit):
            continue
        if variance(last) < Fraction(settings.std) ** 2:
            found.append(count)
    return found


def naive_reached(settings: ExperimentPlateau, values: Sequence[Any], objective: Objective) -> int | None:
    """Ray's ExperimentPlateauStopper, written down from its documentation."""
    maximize = (settings.mode or objective.mode.value) == "Maximize"
    kept: list[float] = []
    lasting = 0
    for count, given_value in enumerate(values, 1):
        value = number(given_value)
        if value is None or not math.isfinite(value):
            continue
        kept = sorted([*kept, value], reverse=maximize)
        best = kept[: settings.top]
        plateau = len(best) == settings.top and variance(best) <= Fraction(settings.std) ** 2
        lasting = lasting + 1 if plateau else 0
        if plateau and lasting >= settings.patience:
            return count
    return None


VALUES = st.lists(
    st.one_of(
        st.sampled_from([0, 0.1, 0.2, 0.25, 0.3, 1, 1.5, 2]),
        st.floats(),
        st.sampled_from([None, True, "0.1", HUGE, -HUGE, NAN, INF, -INF]),
    ),
    max_size=40,
)
STDS = st.sampled_from([0, 1e-300, 0.01, 0.05, 0.1, 0.5, 1, 9e15])
MODES = st.sampled_from(list(Mode))


@given(
    st.builds(
        TrialPlateau,
        metric=st.just("loss"),
        std=STDS,
        num_results=st.integers(1, 6),
        grace_period=st.integers(0, 9),
        threshold=st.sampled_from([None, 0, 0.2, 1]),
    ),
    VALUES,
    MODES,
)
def test_trials_end_as_the_naive_implementation_says(settings: TrialPlateau, values: list[Any], mode: Mode) -> None:
    assert ends(settings, values, mode) == naive_ends(settings, values, mode)


@given(
    st.builds(
        ExperimentPlateau,
        mode=st.sampled_from([None, "Maximize", "Minimize"]),
        std=STDS,
        top=st.integers(2, 6),
        patience=st.integers(0, 5),
    ),
    VALUES,
    MODES,
)
def test_experiments_end_as_the_naive_implementation_says(settings: ExperimentPlateau, values: list[Any], mode: Mode) -> None:
    objective = Objective("loss", mode)
    assert reached(settings, values, objective) == naive_reached(settings, values, objective)


@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=20),
    st.integers(1, 19),
    st.floats(0, 9e15),
)
def test_numbers_that_come_and_go_leave_no_rounding(numbers: list[float], gone: int, limit: float) -> None:
    spread, left = Spread(), numbers[min(gone, len(numbers) - 1) :]
    for one in numbers:
        spread.add(one)
    for one in numbers[: len(numbers) - len(left)]:
        spread.remove(one)
    exact, square = variance(left), Fraction(limit) ** 2
    assert spread.against(limit) == (exact > square) - (exact < square)
    if all(abs(one) < 1e150 for one in left):  # statistics' own rounding needs the variance to be a double
        assert spread.std() == pytest.approx(math.sqrt(exact), rel=1e-12, abs=1e-150)


@pytest.mark.parametrize("number", [0.1, 5e-324, 1.7e308, -3.5, 0.0, 7, 2**60], ids=repr)
def test_one_number_has_no_deviation_of_its_own(number: float) -> None:
    spread = Spread()
    for _ in range(3):
        spread.add(number)
    assert (spread.against(0), spread.against(5e-324), spread.std()) == (0, -1, 0.0)
