"""Checking an experiment, for commands and operator: what the API server checks and what it cannot see, all problems at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from kubetune_operator import api, templates
from kubetune_operator.core.spec import Spec
from kubetune_operator.errors import InvalidSpec, Problem

MUTABLE = ("numSamples", "maxConcurrentTrials", "stopExperiment", "failure", "suspend", "ttlSecondsAfterFinished")


def check(body: Mapping[str, Any], *, seed: int, here: bool) -> api.Experiment:
    """Check a resource's body; `seed` is for one that names none, `here` adds what only this machine asks for.

    Raises InvalidSpec.
    """
    try:
        experiment = api.parse(body, seed=seed)
    except InvalidSpec as refusal:
        told = {problem.field for problem in refusal.problems}
        more = [problem for problem in _of_template(body, here=here) if problem.field not in told]
        raise InvalidSpec((*refusal.problems, *more)) from refusal
    problems = _template_problems(
        experiment.template, experiment.trial.container, experiment.body["spec"]["parameters"], here=here
    )
    if here and experiment.spec.suspend:
        problems.append(Problem("spec.suspend", "must be false, or nothing would start", value=True, remedy="set it to false"))
    if problems:
        raise InvalidSpec(tuple(problems))
    return experiment


def _of_template(body: Any, *, here: bool) -> list[Problem]:
    """Find what is wrong with the template of a body that is refused anyway, so that a user mends all at one go."""
    try:
        spec = body["spec"]
        template, container = spec["trial"]["template"], spec["trial"].get("container")
        return _template_problems(template, container, spec.get("parameters", []), here=here)
    except (KeyError, TypeError, AttributeError):
        return []  # what is missing has been said


def _template_problems(
    template: Mapping[str, Any], container: str | None, parameters: list[dict[str, Any]], *, here: bool
) -> list[Problem]:
    names = [one["name"] for one in parameters]
    optional = [one["name"] for one in parameters if one.get("when") is not None]
    env = os.environ if here else None
    return templates.problems(template, container, names, optional=optional, needs_command=here, local_env=env)


def spec_of(body: Mapping[str, Any]) -> Spec:
    """Read the resource that a journal holds, which was checked before it came there."""
    return api.parse(body).spec
