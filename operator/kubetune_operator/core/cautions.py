"""What is right in a spec, but hardly what was meant: it is pointed out, and carried out all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kubetune_operator.core.space import Space
from kubetune_operator.core.spec import Spec
from kubetune_operator.core.trials import Mode

_SHOWN = 3  # values that one sentence names
_LONGEST = 40  # characters of one


def cautions(spec: Spec) -> list[str]:
    """Give them in a sentence each."""
    return [*_threshold(spec), *_plateau(spec), *_strangers(spec.space), *_idle_points(spec)]


def _threshold(spec: Spec) -> Iterator[str]:
    metric = spec.objective.metric
    if spec.objective.mode is Mode.MINIMIZE and metric in spec.stop:
        yield (
            f"stop.metrics ends a trial whose {metric} is >= {spec.stop[metric]:g}, as in Ray, though less is better "
            "(objective.mode): it ends bad trials; for good ones there are stopExperiment.goal, and stop.expression with <="
        )


def _plateau(spec: Spec) -> Iterator[str]:
    """Point out which way a threshold is meant that is not the objective's: Ray has it said, here the objective's mode counts."""
    plateau, objective = spec.stop_plateau, spec.objective
    if plateau is not None and plateau.threshold is not None and plateau.metric != objective.metric:
        sign = ">=" if objective.mode is Mode.MAXIMIZE else "<="
        yield (
            f"stop.plateau.threshold is met where {plateau.metric} is {sign} {plateau.threshold:g}: objective.mode, "
            f"{objective.mode.value}, counts for it too; if {plateau.metric} is better the other way, leave it out"
        )


def _strangers(space: Space) -> Iterator[str]:
    """Point out what points give and their parameters never do: Ray warns of it, too, and tries it."""
    if strangers := space.strangers:
        shown = ", ".join(f"[{number}].{name}: {_short(value)}" for number, name, value in strangers[:_SHOWN])
        more = f" and {len(strangers) - _SHOWN} more" if len(strangers) > _SHOWN else ""
        yield f"search.pointsToEvaluate has what its parameter never gives, and it is tried all the same: {shown}{more}"


def _idle_points(spec: Spec) -> Iterator[str]:
    if (idle := len(spec.space.points) - spec.num_samples) > 0:
        last = "point is" if idle == 1 else f"{idle} points are"
        yield f"a point of search.pointsToEvaluate takes one of numSamples, {spec.num_samples} here: the last {last} not tried"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
