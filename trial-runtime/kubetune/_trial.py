"""What a program can ask about its trial: parameters, seed, names. Reports are in `_report`."""

from __future__ import annotations

import os

from kubetune import _json, wire


class Trial:
    """The trial that this program runs for."""

    __slots__ = ("attempt", "experiment", "name", "number")

    def __init__(self, name: str, number: int, attempt: int, experiment: str) -> None:
        self.name = name  # "digits-00012"
        self.number = number  # 12
        self.attempt = attempt  # 0 is the first
        self.experiment = experiment  # "digits"

    def __repr__(self) -> str:
        return f"Trial(name={self.name!r}, number={self.number}, attempt={self.attempt}, experiment={self.experiment!r})"


# A bare dict is a dict of anything, which is what parameters are; to say it in words, every import would have to load typing.
def params(default: dict | None = None) -> dict:  # type: ignore[type-arg]
    """Give this trial's parameters, nested and with their types; outside a trial, `default`.

    So that one script runs in both places: `config = kubetune.params(default={"lr": 0.01})`.
    """
    path = os.environ.get(wire.ENV_PARAMS_FILE)
    if path is None:
        if default is None:
            raise _outside(wire.ENV_PARAMS_FILE, 'params(default={"lr": 0.01})')
        return default
    with open(path, encoding="utf-8") as file:
        found = _json.loads(file.read())
    if not isinstance(found, dict):
        raise ValueError(f"{path}: must hold a JSON object of parameters, got {type(found).__name__}")  # noqa: TRY004 - the file's content
    return found


def seed(default: int | None = None) -> int:
    """Give the number to seed random generators with, one per trial and attempt; outside a trial, `default`."""
    value = os.environ.get(wire.ENV_SEED)
    if value is None:
        if default is None:
            raise _outside(wire.ENV_SEED, "seed(default=0)")
        return default
    return int(value)


def trial() -> Trial | None:
    """Give the trial that this program runs for; None outside a trial."""
    name = os.environ.get(wire.ENV_TRIAL)
    if name is None:
        return None
    number, attempt = (int(os.environ.get(variable, "0")) for variable in (wire.ENV_TRIAL_NUMBER, wire.ENV_ATTEMPT))
    return Trial(name, number, attempt, os.environ.get(wire.ENV_EXPERIMENT, ""))


def _outside(variable: str, remedy: str) -> RuntimeError:
    return RuntimeError(
        f"{variable} is not set, so this is no trial; start the program through an experiment "
        f"(kubetune run FILE), or say what to use without one: kubetune.{remedy}"
    )
