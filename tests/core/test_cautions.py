"""What is pointed out of a spec that is right: points that their parameters never give, or that are never tried, a threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from kubetune_operator.core.cautions import cautions
from kubetune_operator.core.domains import (
    Choice,
    Domain,
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
)
from kubetune_operator.core.expressions import PARAMS, Expression, Language
from kubetune_operator.core.plateaus import TrialPlateau
from kubetune_operator.core.space import Parameter, Space
from kubetune_operator.core.trials import Mode, Objective
from tests.sim.world import spec

INNER = {"kind": "a", "depth": RandInt(low=1, high=3)}
SAMPLED = Language(PARAMS).compile("1", condition=False)

# Each primitive: what it may give (Ray counts both ends as within, and looks at no step), and what it never does.
MEMBERS: dict[str, tuple[Domain | Expression, Sequence[Any], Sequence[Any]]] = {
    "uniform": (Uniform(low=0, high=1), [0, 0.5, 1], [-0.1, 1.01, "0.5", True, None, [0.5]]),
    "quniform": (QUniform(low=0, high=1, q=0.5), [0, 0.25, 1], [2]),
    "loguniform": (LogUniform(low=0.1, high=1), [0.1, 1], [0, -1]),
    "qloguniform": (QLogUniform(low=1, high=8, q=1), [1, 2.5], [9]),
    "randn": (RandN(), [-100, 0, 1e9], ["0", False]),
    "qrandn": (QRandN(q=2), [-3, 0.5], [{}]),
    "randint": (RandInt(low=1, high=5), [1, 4, 4.0, 5], [0, 6, 2.5]),
    "qrandint": (QRandInt(low=2, high=8, q=2), [2, 3, 8], [1, 9, 2.5]),
    "lograndint": (LogRandInt(low=1, high=10), [1, 10], [0, 1.5]),
    "qlograndint": (QLogRandInt(low=2, high=8, q=2), [8], [10, "8"]),
    "choice": (Choice(("sgd", 1, None, [1, {"a": 2}])), ["sgd", 1, 1.0, None, [1, {"a": 2.0}]], ["adam", True, [1], {"a": 2}]),
    "choice with a parameter inside": (Choice(("a", INNER)), ["a", "b", {"kind": "a", "depth": 9}], []),
    "gridSearch": (GridSearch((True, 32)), [True, 32], [1, False, 64]),
    "value": (Value({"a": [1]}), [{"a": [1]}], [{"a": 1}, None]),
    "value with a parameter inside": (Value([RandN()]), [[1], 2], []),
    "sampleFrom": (SAMPLED, [1, "x"], []),
}


def told(domain: Domain | Expression, points: Sequence[Mapping[str, Any]], samples: int = 10) -> list[str]:
    """Give the cautions of a spec of one parameter, x, with these points."""
    return cautions(spec(space=Space((Parameter("x", domain),), points=tuple(points)), num_samples=samples))


@pytest.mark.parametrize("primitive", MEMBERS)
def test_a_point_that_its_parameter_never_gives_is_pointed_out(primitive: str) -> None:
    domain, given, never = MEMBERS[primitive]
    assert [value for value in given if told(domain, [{"x": value}])] == []
    assert [value for value in never if not told(domain, [{"x": value}])] == []


def test_the_first_strange_values_are_named_and_the_rest_counted() -> None:
    points = [{"x": value} for value in (0.5, 7, "y" * 100, True, 8, 9)]
    (one,) = told(Uniform(low=0, high=1), points)
    said, _, values = one.partition(": ")
    assert said == "search.pointsToEvaluate has what its parameter never gives, and it is tried all the same"
    assert values == f'[1].x: 7, [2].x: "{"y" * 39}…, [3].x: true and 2 more'


@pytest.mark.parametrize(
    ("samples", "expected"),
    [(3, None), (2, "the last point is not tried"), (1, "numSamples, 1 here: the last 2 points are not tried")],
    ids=["enough samples", "one short", "two short"],
)
def test_points_beyond_the_samples_are_pointed_out(samples: int, expected: str | None) -> None:
    found = told(Uniform(low=0, high=1), [{"x": 0.1}, {"x": 0.2}, {"x": 0.3}], samples)
    assert [expected in one for one in found if expected] == ([True] if expected else [])
    assert len(found) == (expected is not None)


@pytest.mark.parametrize(
    ("metric", "threshold", "mode", "expected"),
    [
        pytest.param("loss", 0.3, Mode.MAXIMIZE, ["stop.plateau.threshold is met where loss is >= 0.3"], id="more is better"),
        pytest.param("loss", 0, Mode.MINIMIZE, ["stop.plateau.threshold is met where loss is <= 0"], id="less is better"),
        pytest.param("accuracy", 0.3, Mode.MAXIMIZE, [], id="the objective's own"),
        pytest.param("loss", None, Mode.MAXIMIZE, [], id="no threshold"),
    ],
)
def test_a_threshold_of_another_metric_is_said_which_way_it_is_meant(
    metric: str, threshold: float | None, mode: Mode, expected: list[str]
) -> None:
    plateau = TrialPlateau(metric, threshold=threshold)
    found = cautions(spec(objective=Objective("accuracy", mode), stop_plateau=plateau))
    assert [one.partition(":")[0] for one in found] == expected
