"""`kubetune validate`: says whether an experiment would be accepted, and everything that stands against it."""

from __future__ import annotations

import argparse
from pathlib import Path

from kubetune_operator import checked, status
from kubetune_operator.api import reading
from kubetune_operator.commands import say
from kubetune_operator.console import words
from kubetune_operator.core.spec import Spec
from kubetune_operator.errors import InvalidSpec, KubetuneError


def main(options: argparse.Namespace) -> int:
    """Run the command."""
    try:
        experiment = checked.check(reading.read(Path(options.file)).body, seed=0, here=False)
    except InvalidSpec as refusal:
        say.refusal(options.file, refusal)
        return 2
    except (KubetuneError, OSError) as error:
        say.error(error)
        return 2
    say.line(f"{options.file}: {experiment.name} is valid: {_trials(experiment.spec)}")
    for caution in status.cautions(experiment.spec):
        say.line(f"{options.file}: note: {caution}")
    return 0


def _trials(spec: Spec) -> str:
    """Say how many trials it would be; a single one is mostly a numSamples that was forgotten."""
    if spec.total == 1:
        return "1 trial (numSamples is 1)"
    samples = words.counted(spec.num_samples, "sample")
    grid = f" ({samples} of a grid of {spec.space.grid_size})" if spec.space.grid_size > 1 else ""
    return f"{spec.total} trials{grid}, {min(spec.max_concurrent, spec.total)} at once"
