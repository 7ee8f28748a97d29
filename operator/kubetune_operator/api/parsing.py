"""From a TuneExperiment as it was written to an Experiment: everything checked, every problem told, every default filled in.

What a field may hold is said by the models, how YAML is read in `reading`; what only the template's reader can see
(a `${params.x}` that names no parameter) is not checked here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from kubetune_operator.api import notyet
from kubetune_operator.api.base import LABEL, WORDS, Model, core_settings, dump
from kubetune_operator.api.identity import API_VERSION, KIND, MAX_NAME
from kubetune_operator.api.parameters import domain_problems, name_problems
from kubetune_operator.api.plain import plain
from kubetune_operator.api.problems import closest, path, translate
from kubetune_operator.api.results import size
from kubetune_operator.api.scheduler import Scheduler as SchedulerModel
from kubetune_operator.api.searching import Compiler
from kubetune_operator.api.spec import Spec as SpecModel
from kubetune_operator.core.expressions import Expression
from kubetune_operator.core.plateaus import ExperimentPlateau, TrialPlateau
from kubetune_operator.core.schedulers.asha import Asha
from kubetune_operator.core.schedulers.fifo import Fifo
from kubetune_operator.core.schedulers.median import MedianStopping
from kubetune_operator.core.searchers.random import Random
from kubetune_operator.core.space import Space
from kubetune_operator.core.spec import Deadlines, Failure, Spec, StopExperiment
from kubetune_operator.core.trials import Mode, Objective, Scheduler, Scope
from kubetune_operator.errors import InvalidSpec, Problem

_TOP = ("apiVersion", "kind", "metadata", "spec", "status")
_WRITTEN = ("name", "namespace", "labels", "annotations", "generateName", "finalizers", "ownerReferences")
_FILLED_IN = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
)
_METADATA = (*_WRITTEN, *_FILLED_IN, "selfLink", "uid")
_NAME = re.compile(LABEL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How a trial's pod is dealt with; None is no limit."""

    container: str  # the one that runs the trial
    retain_pods: str  # None, Failed or All
    flush_timeout: int  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """What is kept of a trial's output."""

    files: tuple[str, ...]  # none, one for both streams, or one each
    spool_bytes: int
    max_bytes_per_trial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """An experiment that is valid as far as the resource alone can tell."""

    name: str
    namespace: str
    spec: Spec
    template: Mapping[str, Any]  # of the pod: a PodTemplateSpec
    trial: Trial
    logs: Logs
    tensorboard: bool
    ttl_seconds: int | None  # after the end; None keeps the resource
    body: dict[str, Any]  # the resource with every default in it, as the journal keeps it
    drawn: bool = field(compare=False)  # the seed: the resource names none

    def seeded(self, seed: int) -> Experiment:
        """Give the same experiment with this seed, where the resource names none."""
        if not self.drawn:
            return self
        written = self.body["spec"]
        body = self.body | {"spec": written | {"search": written["search"] | {"seed": seed}}}
        return replace(self, spec=replace(self.spec, seed=seed), body=body)


def parse(body: Mapping[str, Any], *, seed: int = 0) -> Experiment:
    """Check a resource and fill in its defaults; `seed` is taken where it names none. Raises InvalidSpec with every problem."""
    given = plain(body)
    if not isinstance(given, dict):
        raise InvalidSpec(
            (Problem("the experiment", "must be an object", given, "begin with apiVersion, kind, metadata and spec"),)
        )
    problems = [*_identity_problems(given), *notyet.problems(given.get("spec"))]
    model = _spec(given.get("spec"), problems)
    compiled = None if model is None else _compiled(model, problems)
    if model is None or compiled is None or problems:
        raise InvalidSpec(tuple(problems))
    return _experiment(given["metadata"], model, compiled, seed)


def _identity_problems(given: Mapping[str, Any]) -> Iterator[Problem]:
    yield from _unknown(given, _TOP, "")
    for name, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        if given.get(name) != expected:
            yield Problem(name, f"must be {expected}", given.get(name), f"write `{name}: {expected}`")
    metadata = given.get("metadata")
    if not isinstance(metadata, dict):
        yield Problem("metadata", "must be an object with a name", metadata, "add `metadata: {name: NAME}`")
        return
    yield from _unknown(metadata, _METADATA, "metadata")
    yield from _name_problems("metadata.name", metadata.get("name"), MAX_NAME)
    if metadata.get("namespace") is not None:
        yield from _name_problems("metadata.namespace", metadata["namespace"], 63)


def _unknown(given: Mapping[str, Any], known: tuple[str, ...], place: str) -> Iterator[Problem]:
    for name, value in given.items():
        if name not in known:
            near = closest(name, known)
            yield Problem(path(place, [name]), "is not a field here", value, f"did you mean {near}?" if near else "leave it out")


def _name_problems(field: str, name: Any, longest: int) -> Iterator[Problem]:
    if name is None:
        yield Problem(field, "is required", None, "add it: results and pods are named after it")
    elif not isinstance(name, str) or not _NAME.fullmatch(name):
        yield Problem(field, f"must be {WORDS[LABEL]}", name, "rename it, to my-experiment for example")
    elif len(name) > longest:
        yield Problem(field, f"must have at most {longest} characters", name, f"shorten it by {len(name) - longest}")


def _spec(given: Any, problems: list[Problem]) -> SpecModel | None:
    """Check the spec, adding to `problems`; None if it has not even the right shape."""
    if not isinstance(given, dict):
        problems.append(Problem("spec", "must be an object with objective and trial", given, "add it"))
        return None
    problems += [
        Problem(f"spec.parameters{one.field}", one.rule, one.value, one.remedy) for one in name_problems(given.get("parameters"))
    ]
    try:
        model = SpecModel.model_validate(given)
    except ValidationError as error:
        problems += translate(error, SpecModel, "spec")
        return None
    for index, parameter in enumerate(model.parameters):
        problems += domain_problems(parameter, f"spec.parameters[{index}]")
    return model


@dataclass(frozen=True, slots=True)
class _Compiled:
    """What is made of expressions."""

    space: Space
    stop: Expression | None


def _compiled(model: SpecModel, problems: list[Problem]) -> _Compiled | None:
    """Make the search space and compile what stops a trial, adding to `problems`."""
    compiler = Compiler()
    space, stop = compiler.space(model), compiler.stop(model)
    problems += compiler.problems
    return None if space is None else _Compiled(space, stop)


def _experiment(metadata: Mapping[str, Any], model: SpecModel, compiled: _Compiled, seed: int) -> Experiment:
    written = plain(dump(model))
    drawn = "seed" not in written["search"]
    written["search"].setdefault("seed", seed)
    name, namespace = metadata["name"], metadata.get("namespace") or "default"
    identity = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name, "namespace": namespace}}
    trial, logs = model.trial, model.logs
    return Experiment(
        name=name,
        namespace=namespace,
        spec=_core_spec(model, compiled, written["search"]["seed"]),
        template=written["trial"]["template"],
        trial=Trial(
            container=trial.container or trial.template.spec.containers[0].name,
            retain_pods=trial.retain_pods,
            flush_timeout=trial.flush_timeout_seconds,
        ),
        logs=Logs(
            files=tuple(logs.files), spool_bytes=size(logs.spool_bytes), max_bytes_per_trial=size(logs.max_bytes_per_trial)
        ),
        tensorboard=model.results.tensorboard,
        ttl_seconds=model.ttl_seconds_after_finished,
        body=identity | {"spec": written},
        drawn=drawn,
    )


def _core_spec(model: SpecModel, compiled: _Compiled, seed: int) -> Spec:
    objective, ending, failure = model.objective, model.stop_experiment, model.failure
    return Spec(
        objective=Objective(objective.metric, Mode(objective.mode), Scope(objective.scope)),
        space=compiled.space,
        searcher=Random(),  # the only one that `notyet` lets through
        scheduler=_scheduler(model.scheduler),
        seed=seed,
        num_samples=model.num_samples,
        max_concurrent=model.max_concurrent_trials,
        stop=dict(model.stop.metrics),
        stop_expression=compiled.stop,
        stop_plateau=_made(model.stop.plateau, TrialPlateau),
        stop_experiment=StopExperiment(
            goal=ending.goal,
            max_failed_trials=ending.max_failed_trials,
            plateau=_made(ending.plateau, ExperimentPlateau),
            time_budget=ending.time_budget_seconds,
        ),
        failure=Failure(failure.max_failures, failure.fail_fast, failure.max_disruptions),
        deadlines=Deadlines(model.trial.start_deadline_seconds, model.trial.progress_deadline_seconds),
        suspend=model.suspend,
    )


def _made(model: Model | None, cls: type[Any]) -> Any:
    return None if model is None else core_settings(model, cls)


def _scheduler(model: SchedulerModel) -> Scheduler:
    known: tuple[tuple[Model | None, type], ...] = ((model.asha, Asha), (model.median_stopping, MedianStopping))
    return next((core_settings(chosen, cls) for chosen, cls in known if chosen), Fifo())
