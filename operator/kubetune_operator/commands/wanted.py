"""The experiment in a file that a command is given; what stands against it is said here, where nothing is run on this machine."""

from __future__ import annotations

from pathlib import Path

from kubetune_operator import api, checked
from kubetune_operator.api import reading
from kubetune_operator.commands import say
from kubetune_operator.errors import InvalidSpec, KubetuneError


def read(file: str, *, seed: int) -> api.Experiment | None:
    """Read and check an experiment; `seed` is for one that names none. None: it is refused, and that has been said."""
    try:
        return checked.check(reading.read(Path(file)).body, seed=seed, here=False)
    except InvalidSpec as refusal:
        say.refusal(file, refusal)
    except (KubetuneError, OSError) as error:
        say.error(error)
    return None
