"""`kubetune simulate`: an experiment on a virtual clock, with a table's or an earlier run's learning curves for programs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from kubetune_operator import api, curves, earlier
from kubetune_operator.commands import folders, say, wanted
from kubetune_operator.console import comparison
from kubetune_operator.core.history import History
from kubetune_operator.core.trials import Objective
from kubetune_operator.curves import Curve
from kubetune_operator.errors import KubetuneError
from kubetune_operator.simulation import UNNAMED, Setting, Simulated, simulate

OK, NO_CLAIM, REFUSED = 0, 1, 2


def main(options: argparse.Namespace) -> int:
    """Run the command."""
    experiment = wanted.read(options.file, seed=0)
    if experiment is None:
        return REFUSED
    try:
        return _with_earlier(experiment, options) if options.earlier else _with_table(experiment, options)
    except (KubetuneError, OSError) as error:
        say.error(error)
        return REFUSED


def _with_table(experiment: api.Experiment, options: argparse.Namespace) -> int:
    spec, path = experiment.spec, Path(options.curves)
    table = curves.read(path, spec.objective.metric)
    rows = curves.rows(len(table), options.trials or spec.total, spec.seed)
    seed = f"{spec.seed}{', since the file names none' * experiment.drawn}"
    say.line(f"simulated: each trial is a row of {path}, at random by seed {seed};")
    say.line(f"its values are {spec.objective.metric}; the file's own search space is not drawn from")
    simulated = _simulate(experiment, [table[row] for row in rows], options, experiment.name)
    comparison.with_table(simulated, comparison.Rows(table, rows, options.start_seconds), experiment.name, say.line)
    return OK


def _with_earlier(experiment: api.Experiment, options: argparse.Namespace) -> int:
    folder = folders.find(options.earlier, folders.root(options))
    before = earlier.read(folder)
    _require(experiment.spec.objective, before.history, folder)
    say.line(f"simulated: each trial goes as it went in {folder}; the file's own search space is not drawn from")
    created = before.history.created
    simulated = _simulate(experiment, before.curves, options, created.name if created else experiment.name)
    known = comparison.with_earlier(simulated, before, experiment.body["spec"]["scheduler"], say.line)
    return OK if known else NO_CLAIM


def _require(objective: Objective, before: History, folder: Path) -> None:
    """Raise KubetuneError unless the earlier experiment had the same objective: its best trial is the best by that alone."""
    then = before.spec.objective
    if objective != then:
        rule = f"must be that of the experiment in {folder} ({_spelled(then)})"
        raise KubetuneError(f"spec.objective: {rule}, got {_spelled(objective)}; write it so in the file")


def _spelled(objective: Objective) -> str:
    return f"metric {objective.metric}, mode {objective.mode.value}, scope {objective.scope.value}"


def _simulate(experiment: api.Experiment, given: Sequence[Curve], options: argparse.Namespace, name: str) -> Simulated:
    """Simulate, with a bar on stderr where that is a terminal; trials are named after `name`, for `stop.expression` too."""
    setting = Setting(start_seconds=options.start_seconds, created=replace(UNNAMED, name=name))
    spec = replace(experiment.spec, max_concurrent=options.workers or experiment.spec.max_concurrent)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("trials", total=len(given))

        def watch(history: History) -> None:
            progress.update(task, completed=history.ended)

        return simulate(spec, given, setting, watch=watch)
