"""`kubetune validate`: says whether an experiment would be accepted, and everything that stands against it."""

from __future__ import annotations

import argparse

from kubetune_operator.commands import say, wanted
from kubetune_operator.console import words
from kubetune_operator.core.cautions import cautions
from kubetune_operator.core.spec import Spec


def main(options: argparse.Namespace) -> int:
    """Run the command."""
    experiment = wanted.read(options.file, seed=0)
    if experiment is None:
        return 2
    say.line(f"{options.file}: {experiment.name} is valid: {_trials(experiment.spec)}")
    for caution in cautions(experiment.spec):
        say.line(f"{options.file}: note: {caution}")
    return 0


def _trials(spec: Spec) -> str:
    """Say how many trials it would be; a single one is mostly a numSamples that was forgotten."""
    if spec.total == 1:
        return "1 trial (numSamples is 1)"
    samples = words.counted(spec.num_samples, "sample")
    grid = f" ({samples} of a grid of {spec.space.grid_size})" if spec.space.grid_size > 1 else ""
    return f"{spec.total} trials{grid}, {min(spec.max_concurrent, spec.total)} at once"
