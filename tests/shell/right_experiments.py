"""The table of right experiments: each field of the resource once, and what is right but not carried out yet."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

from tests.shell.experiments import VALID, Body, both, drop, parameter, places, put


@dataclass(frozen=True, slots=True)
class Right:
    """One way to change VALID that leaves it valid."""

    id: str
    change: Callable[[Body], None]

    def body(self) -> Body:
        """Give the changed experiment."""
        made = copy.deepcopy(VALID)
        self.change(made)
        return made


_UID = "0f8fad5b-d9cb-469f-a165-70867728950e"
_NO_GRID = drop("spec.parameters[3]")

RIGHT = [
    Right("as it stands", lambda _: None),
    Right("the least there can be", both(drop("spec.parameters"), drop("spec.scheduler"), drop("spec.numSamples"))),
    Right("scope", put("spec.objective.scope", "Best")),
    Right("nested metric", put("spec.objective.metric", "eval/accuracy")),
    Right("uniform", parameter(name="x", uniform={"low": -1, "high": 1})),
    Right("uniform of one number", parameter(name="x", uniform={"low": 1, "high": 1})),
    Right("quniform", parameter(name="x", quniform={"low": 0.3, "high": 0.9, "q": 0.3})),
    Right("loguniform with Ray's base", parameter(name="x", loguniform={"low": 1, "high": 2, "base": 2})),
    Right("qloguniform", parameter(name="x", qloguniform={"low": 2, "high": 8, "q": 2, "base": 10})),
    Right("randn", parameter(name="x", randn={"mean": 1, "sd": 0.5})),
    Right("randn with its defaults", parameter(name="x", randn={})),
    Right("qrandn", parameter(name="x", qrandn={"mean": 1, "sd": 0.5, "q": 0.1})),
    Right("randint", parameter(name="x", randint={"low": 0, "high": 1})),
    Right("qrandint", parameter(name="x", qrandint={"low": 11, "high": 20, "q": 10})),
    Right("lograndint", parameter(name="x", lograndint={"low": 1, "high": 9, "base": 10})),
    Right("qlograndint", parameter(name="x", qlograndint={"low": 1, "high": 9, "q": 3, "base": 10})),
    Right("choice of anything", parameter(name="x", choice=[None, True, 1, 0.5, "a", [1, [None]], {"a": {"b": None}}])),
    Right("choice of parameters", parameter(name="x", choice=[{"a": [{"$param": {"randint": {"low": 0, "high": 3}}}]}])),
    Right("grid of objects", parameter(name="x", gridSearch=[{"a": 1}, {"a": 2, "b": {"$param": {"choice": [1, 2]}}}])),
    Right("value", parameter(name="x", value={"a": [1, None]})),
    Right("dotted and dashed names", parameter(name="model.hidden-units", value=1)),
    Right("a hundred parameters", put("spec.parameters", [{"name": f"p{n}", "value": n} for n in range(100)])),
    Right("random", both(put("spec.search.random", {}), put("spec.search.seed", 7))),
    Right("the largest seed", put("spec.search.seed", 2**32 - 1)),
    Right("whole floats", both(put("spec.numSamples", 50.0), put("spec.maxConcurrentTrials", 8.0))),
    Right("nulls are absent", both(put("spec.numSamples", None), put("spec.search", None), put("spec.trial.container", None))),
    Right(
        "asha",
        put(
            "spec.scheduler.asha",
            {"timeAttr": "epoch", "maxT": 81, "gracePeriod": 1.5, "reductionFactor": 3, "brackets": 2},
        ),
    ),
    Right("medianStopping with its defaults", put("spec.scheduler", {"medianStopping": {}})),
    Right(
        "medianStopping",
        put(
            "spec.scheduler",
            {
                "medianStopping": {
                    "timeAttr": "epoch",
                    "gracePeriod": 0,
                    "minSamplesRequired": 4,
                    "minTimeSlice": 1,
                    "hardStop": False,
                }
            },
        ),
    ),
    Right("stop.metrics", put("spec.stop.metrics", {"training_iteration": 100, "eval/loss": -0.5})),
    Right("stopExperiment", put("spec.stopExperiment", {"goal": 0.98, "maxFailedTrials": 3})),
    Right("failure", put("spec.failure", {"maxFailures": 3, "failFast": False, "maxDisruptions": 5})),
    Right("failFast", put("spec.failure.failFast", True)),
    Right("suspend", put("spec.suspend", True)),
    Right("no logs", put("spec.logs.files", [])),
    Right("one log", put("spec.logs", {"files": ["out.log"], "spoolBytes": 1048576, "maxBytesPerTrial": "1Gi"})),
    Right("tensorboard", put("spec.results.tensorboard", False)),
    Right("sdk", put("spec.trial.collector.sdk", {})),
    Right("retainPods", put("spec.trial.retainPods", "None")),
    Right("flushTimeoutSeconds", put("spec.trial.flushTimeoutSeconds", 0)),
    Right("ttlSecondsAfterFinished", put("spec.ttlSecondsAfterFinished", 0)),
    Right("container", put("spec.trial.container", "trial")),
    Right(
        "two containers",
        both(put("spec.trial.container", "trial"), put("spec.trial.template.spec.containers[1]", {"name": "proxy"})),
    ),
    Right(
        "a whole pod",
        both(
            put("spec.trial.template.metadata", {"labels": {"a": "b"}, "annotations": {"c": "d"}, "name": "kept"}),
            put("spec.trial.template.spec.restartPolicy", "Never"),
            put("spec.trial.template.spec.volumes", [{"name": "data", "emptyDir": {"sizeLimit": None}}]),
        ),
    ),
    Right("sampleFrom", parameter(name="x", sampleFrom="pow(2, randint(1, 6))")),
    Right("when", parameter(name="x", value=1, when="params.optimizer == 'sgd'")),
    Right("constraints", put("spec.constraints", ["params.lr < 0.05"])),
    Right("pointsToEvaluate", put("spec.search.pointsToEvaluate", [{"lr": 0.01, "optimizer": "adam"}])),
    Right("stop.expression", put("spec.stop.expression", "result.loss > 10.0")),
    Right("stop.plateau", put("spec.stop.plateau", {"metric": "loss"})),
    Right(
        "stop.plateau with all it has",
        put("spec.stop.plateau", {"metric": "eval/loss", "std": 0.1, "numResults": 5, "gracePeriod": 6, "threshold": 0.0}),
    ),
    Right("stopExperiment.plateau", put("spec.stopExperiment.plateau", {})),
    Right(
        "stopExperiment.plateau with all it has",
        put("spec.stopExperiment.plateau", {"metric": "loss", "mode": "Minimize", "std": 0.1, "top": 5, "patience": 3}),
    ),
    Right("timeBudgetSeconds", put("spec.stopExperiment.timeBudgetSeconds", 3600)),
    Right("startDeadlineSeconds", put("spec.trial.startDeadlineSeconds", 600)),
    Right("progressDeadlineSeconds", put("spec.trial.progressDeadlineSeconds", 600)),
]

# Path in api.notyet, and an experiment that asks for it; the API server takes it.
NOT_YET = [
    (
        "search.tpe",
        Right(
            "tpe",
            both(
                _NO_GRID,
                put(
                    "spec.search.tpe",
                    {"startupTrials": 5, "eiCandidates": 12, "multivariate": True, "group": True, "constantLiar": True},
                ),
            ),
        ),
    ),
    (
        "search.cmaes",
        Right(
            "cmaes",
            both(
                _NO_GRID, put("spec.search.cmaes", {"startupTrials": 0, "sigma0": 0.3, "populationSize": 8, "withMargin": True})
            ),
        ),
    ),
    ("search.gp", Right("gp", both(_NO_GRID, put("spec.search.gp", {"startupTrials": 3, "deterministicObjective": True})))),
    ("search.qmc", Right("qmc", both(_NO_GRID, put("spec.search.qmc", {"type": "Halton", "scramble": False})))),
    (
        "scheduler.hyperband",
        Right(
            "hyperband",
            put(
                "spec.scheduler",
                {"hyperband": {"timeAttr": "epoch", "maxT": 27, "reductionFactor": 3, "stopLastTrials": False}},
            ),
        ),
    ),
    (
        "scheduler.pbt",
        Right(
            "pbt",
            put(
                "spec.scheduler",
                {
                    "pbt": {
                        "timeAttr": "epoch",
                        "perturbationInterval": 5,
                        "burnInPeriod": 1,
                        "hyperparamMutations": [
                            {"name": "lr", "uniform": {"low": 0, "high": 1}},
                            {"name": "optimizer", "choice": ["sgd"]},
                        ],
                        "quantileFraction": 0.5,
                        "resampleProbability": 0.5,
                        "perturbationFactors": [2, 0.5],
                        "synch": True,
                    }
                },
            ),
        ),
    ),
    ("resumeFrom", Right("resumeFrom", put("spec.resumeFrom", {"experiment": "digits-0", "uid": _UID}))),
    (
        "checkpoints",
        Right("checkpoints", put("spec.checkpoints", {"keep": 3, "metric": "loss", "mode": "Minimize", "store": "s3"})),
    ),
    (
        "trial.collector.stdout",
        Right("stdout", put("spec.trial.collector", {"stdout": {"pattern": "(?P<name>.*)=(?P<value>.*)"}})),
    ),
]

BODIES = [row.body() for row in RIGHT] + [row.body() for _, row in NOT_YET]
WORDS = sorted({step for body in BODIES for place in places(body) for step in place if isinstance(step, str)})
