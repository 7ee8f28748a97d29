"""Folders of experiments that ran on a virtual clock: the real journal, in no time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kubetune_operator import api
from kubetune_operator.core.records import Created
from kubetune_operator.curves import Curve, of_values
from kubetune_operator.journal import Journal
from kubetune_operator.simulation import Setting, simulate
from tests.shell.conftest import experiment

UID = "a1b2c3d4"


def accuracies(*curves: Sequence[float]) -> list[Curve]:
    """Give curves of one report a second, with a parameter x that is the trial's number."""
    return [of_values({"x": number}, "accuracy", values, 1.0) for number, values in enumerate(curves)]


def folder(results: Path, curves: Sequence[Curve], setting: Setting | None = None, **spec: Any) -> Path:
    """Run `experiment` with this spec on these curves; give its folder under the results."""
    wanted = api.parse(experiment(["python"], **spec))
    path = results / wanted.namespace / f"{wanted.name}.{UID}"
    path.mkdir(parents=True)
    created = Created(wanted.name, wanted.namespace, UID, wanted.body, 0.0)
    given = setting or Setting()
    journal, _ = Journal.open(path)
    simulate(wanted.spec, curves, Setting(until=given.until, budget=given.budget, created=created), journal=journal)
    journal.close()
    return path
