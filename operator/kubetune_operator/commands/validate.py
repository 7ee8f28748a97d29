"""`kubetune validate`: says whether an experiment would be accepted, and everything that stands against it."""

from __future__ import annotations

import argparse
from pathlib import Path

from kubetune_operator.api import reading
from kubetune_operator.commands import checked, say
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
    spec = experiment.spec
    grid = f" ({spec.num_samples} samples of a grid of {spec.space.grid_size})" if spec.space.grid_size > 1 else ""
    say.line(f"{options.file}: {experiment.name} is valid: {spec.total} trials{grid}, {spec.max_concurrent} at once")
    return 0
