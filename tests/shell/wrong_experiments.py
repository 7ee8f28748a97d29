"""Wrong experiments, one rule each: how a good one is spoilt, and what the refusal must name (field, rule, value, remedy)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tests.shell.conftest import experiment

Body = dict[str, Any]


class Wrong(NamedTuple):
    """One case; `says` are pieces of the message in which a user finds field, rule, value and remedy."""

    name: str
    spoil: Callable[[Body], object]
    field: str
    says: tuple[str, ...]


def good() -> Body:
    """Give a good experiment with something of everything in it."""
    body = experiment(["python", "train.py", "--lr=${params.lr}"])
    body["spec"] |= {
        "parameters": [
            {"name": "lr", "loguniform": {"low": 0.001, "high": 0.1}},
            {"name": "units", "qrandint": {"low": 8, "high": 64, "q": 8}},
            {"name": "kind", "choice": ["a", "b"]},
        ],
        "scheduler": {"asha": {"maxT": 10}},
        "stop": {"metrics": {"accuracy": 0.9}},
    }
    return copy.deepcopy(body)


def spec(**changes: Any) -> Callable[[Body], object]:
    """Change fields of the spec."""
    return lambda body: body["spec"].update(changes)


def parameter(**primitive: Any) -> Callable[[Body], object]:
    """Add a parameter named p."""
    return lambda body: body["spec"]["parameters"].append({"name": "p", **primitive})


def container(**changes: Any) -> Callable[[Body], object]:
    """Change fields of the trial's container."""
    return lambda body: body["spec"]["trial"]["template"]["spec"]["containers"][0].update(changes)


def without(name: str) -> Callable[[Body], object]:
    """Leave a field of the spec out."""
    return lambda body: body["spec"].pop(name)


def metadata(**changes: Any) -> Callable[[Body], object]:
    """Change the metadata."""
    return lambda body: body["metadata"].update(changes)


P = "spec.parameters[3]"
C = "spec.trial.template.spec.containers[0]"
NOT_YET = "is not carried out yet in this version"
BOUNDS: Mapping[str, Any] = {"low": 1, "high": 0.5}

WRONG: list[Wrong] = [
    Wrong(
        "api version",
        lambda body: body.update(apiVersion="kubetune.dev/v1"),
        "apiVersion",
        ("must be", "'kubetune.dev/v1'", "write"),
    ),
    Wrong("kind", lambda body: body.update(kind="Experiment"), "kind", ("must be TuneExperiment", "'Experiment'", "write")),
    Wrong("no name", lambda body: body["metadata"].pop("name"), "metadata.name", ("is required", "add it")),
    Wrong("name not a label", metadata(name="My_Exp"), "metadata.name", ("must be", "'My_Exp'", "rename it")),
    Wrong("name too long", metadata(name="a" * 53), "metadata.name", ("at most 52", "aaa", "shorten")),
    Wrong("no spec", lambda body: body.pop("spec"), "spec", ("must be an object", "add it")),
    Wrong("unknown top field", lambda body: body.update(specs={}), "specs", ("not a field", "did you mean spec")),
    Wrong("unknown field of the spec", spec(numSample=3), "spec.numSample", ("3", "numSamples")),
    Wrong("no objective", without("objective"), "spec.objective", ("required",)),
    Wrong("no metric", spec(objective={"mode": "Maximize"}), "spec.objective.metric", ("required",)),
    Wrong("mode", spec(objective={"metric": "a", "mode": "max"}), "spec.objective.mode", ("Maximize", "'max'")),
    Wrong(
        "scope", spec(objective={"metric": "a", "mode": "Maximize", "scope": "all"}), "spec.objective.scope", ("Last", "'all'")
    ),
    Wrong("metric too long", spec(objective={"metric": "a" * 129, "mode": "Maximize"}), "spec.objective.metric", ("128", "aaa")),
    Wrong("no trial", without("trial"), "spec.trial", ("required",)),
    Wrong("numSamples 0", spec(numSamples=0), "spec.numSamples", ("at least 1", "0", "use 1")),
    Wrong("numSamples too many", spec(numSamples=10**7), "spec.numSamples", ("1000000", "10000000")),
    Wrong("numSamples a text", spec(numSamples="five"), "spec.numSamples", ("whole number", "'five'")),
    Wrong("numSamples a fraction", spec(numSamples=1.5), "spec.numSamples", ("whole number", "1.5")),
    Wrong("maxConcurrentTrials 0", spec(maxConcurrentTrials=0), "spec.maxConcurrentTrials", ("at least 1", "0")),
    Wrong("low above high", parameter(uniform=BOUNDS), P, ("high", "0.5", "low")),
    Wrong("no high", parameter(uniform={"low": 1}), f"{P}.uniform.high", ("required",)),
    Wrong("low a text", parameter(uniform={"low": "1", "high": 2}), f"{P}.uniform.low", ("number", "'1'")),
    Wrong("low out of range", parameter(uniform={"low": -1e300, "high": 2}), f"{P}.uniform.low", ("at least", "-1e+300")),
    Wrong("log of 0", parameter(loguniform={"low": 0, "high": 1}), f"{P}.loguniform.low", ("greater than 0", "0")),
    Wrong("empty randint", parameter(randint={"low": 3, "high": 3}), P, ("high", "3")),
    Wrong("randint of a fraction", parameter(randint={"low": 0.5, "high": 3}), f"{P}.randint.low", ("whole number", "0.5")),
    Wrong("q 0", parameter(quniform={"low": 0, "high": 1, "q": 0}), f"{P}.quniform.q", ("greater than 0", "0")),
    Wrong("low no multiple of q", parameter(quniform={"low": 0.1, "high": 0.9, "q": 0.3}), P, ("multiple", "0.1")),
    Wrong("no multiple of q", parameter(qrandint={"low": 9, "high": 15, "q": 8}), P, ("multiple",)),
    Wrong("sd 0", parameter(randn={"mean": 0, "sd": 0}), f"{P}.randn.sd", ("greater than 0", "0")),
    Wrong("empty choice", parameter(choice=[]), f"{P}.choice", ("at least 1",)),
    Wrong("choice a text", parameter(choice="abc"), f"{P}.choice", ("list", "'abc'")),
    Wrong("no primitive", parameter(), P, ("exactly one",)),
    Wrong("two primitives", parameter(choice=[1], value=2), P, ("exactly one",)),
    Wrong("misspelt primitive", parameter(unifrom={"low": 0, "high": 1}), f"{P}.unifrom", ("uniform",)),
    Wrong(
        "same name twice",
        lambda body: body["spec"]["parameters"].append({"name": "lr", "value": 1}),
        f"{P}.name",
        ("'lr'", "rename"),
    ),
    Wrong(
        "name within a name",
        lambda body: body["spec"]["parameters"].append({"name": "lr.x", "value": 1}),
        f"{P}.name",
        ("'lr.x'", "rename"),
    ),
    Wrong(
        "same variable",
        lambda body: body["spec"]["parameters"].append({"name": "LR", "value": 1}),
        f"{P}.name",
        ("KUBETUNE_PARAM_LR", "'LR'", "rename"),
    ),
    Wrong(
        "name with a space",
        lambda body: body["spec"]["parameters"].append({"name": "l r", "value": 1}),
        f"{P}.name",
        ("'l r'", "rename"),
    ),
    Wrong("grid in $param", parameter(choice=[{"$param": {"gridSearch": [1]}}]), P, ("gridSearch",)),
    Wrong("two schedulers", spec(scheduler={"asha": {}, "hyperband": {}}), "spec.scheduler", ("at most one",)),
    Wrong("misspelt scheduler", spec(scheduler={"ahsa": {}}), "spec.scheduler.ahsa", ("asha",)),
    Wrong(
        "grace above maxT", spec(scheduler={"asha": {"maxT": 3, "gracePeriod": 5}}), "spec.scheduler.asha", ("gracePeriod", "3")
    ),
    Wrong(
        "factor 1", spec(scheduler={"asha": {"reductionFactor": 1}}), "spec.scheduler.asha.reductionFactor", ("at least 1.1", "1")
    ),
    Wrong("brackets 0", spec(scheduler={"asha": {"brackets": 0}}), "spec.scheduler.asha.brackets", ("at least 1", "0")),
    Wrong("threshold a text", spec(stop={"metrics": {"accuracy": "high"}}), "spec.stop.metrics.accuracy", ("number", "'high'")),
    Wrong("goal a text", spec(stopExperiment={"goal": "best"}), "spec.stopExperiment.goal", ("number", "'best'")),
    Wrong("maxFailures below 0", spec(failure={"maxFailures": -1}), "spec.failure.maxFailures", ("at least 0", "-1")),
    Wrong("failFast a text", spec(failure={"failFast": "yes"}), "spec.failure.failFast", ("true or false", "'yes'")),
    Wrong("three logs", spec(logs={"files": ["a", "b", "c"]}), "spec.logs.files", ("at most 2",)),
    Wrong("log with a path", spec(logs={"files": ["../a"]}), "spec.logs.files[0]", ("'../a'",)),
    Wrong(
        "not yet: medianStopping", spec(scheduler={"medianStopping": {}}), "spec.scheduler.medianStopping", (NOT_YET, "remove it")
    ),
    Wrong("not yet: tpe", spec(search={"tpe": {}}), "spec.search.tpe", (NOT_YET, "random")),
    Wrong("not yet: sampleFrom", parameter(sampleFrom="1"), f"{P}.sampleFrom", (NOT_YET, "'1'", "remove it")),
    Wrong(
        "not yet: when",
        lambda body: body["spec"]["parameters"][0].update(when="true"),
        "spec.parameters[0].when",
        (NOT_YET, "remove it"),
    ),
    Wrong("not yet: constraints", spec(constraints=["params.lr > 0.1"]), "spec.constraints", (NOT_YET, "remove it")),
    Wrong("not yet: stop.expression", spec(stop={"expression": "true"}), "spec.stop.expression", (NOT_YET, "stop.metrics")),
    Wrong("not yet: resumeFrom", spec(resumeFrom={"experiment": "old"}), "spec.resumeFrom", (NOT_YET, "remove it")),
    Wrong("not yet: checkpoints", spec(checkpoints={"keep": 2}), "spec.checkpoints", (NOT_YET, "remove it")),
    Wrong(
        "no container",
        lambda body: body["spec"]["trial"]["template"]["spec"].update(containers=[]),
        "spec.trial.template.spec.containers",
        ("at least",),
    ),
    Wrong("unknown parameter", container(command=["a", "--lr=${params.lrr}"]), f"{C}.command[1]", ("params.lrr", "params.lr")),
    Wrong("unknown trial value", container(command=["a", "${trial.nam}"]), f"{C}.command[1]", ("trial.nam", "trial.name")),
    Wrong("args within an item", container(command=["a", "x ${args}"]), f"{C}.command[1]", ("${args}",)),
    Wrong("wrong quantity", container(resources={"requests": {"cpu": "lots"}}), f"{C}.resources.requests.cpu", ("'lots'",)),
    Wrong("no such container", lambda body: body["spec"]["trial"].update(container="main"), "spec.trial.container", ("'main'",)),
]
