"""The table of wrong experiments: what spoils a valid one, and what a user must be told.

A row: its id; what is done to `VALID`; where the message must point; a fragment each of its rule, of the value found and of
the remedy; and what the API server says by itself (a fragment; UNKNOWN; or "" where only kubetune can refuse it).
"""

from __future__ import annotations

from typing import Any

from tests.shell.experiments import UNKNOWN, Wrong, both, drop, parameter, put

P4 = "spec.parameters[4]"
M0 = "spec.scheduler.pbt.hyperparamMutations[0]"
UNIFORM = {"uniform": {"low": 0, "high": 1}}
SWAPPED = "high", "must be at least low", "swap low and high"  # what crosses the fields of a primitive: field, rule, remedy
EMPTY = "high", "must be greater than low, because high itself is never drawn", "raise high"
FINE = "q", "must not be so small that", "raise q"
BETWEEN = "", "must leave a multiple of q", "widen the range or lower q"


def nested(levels: int) -> Any:
    """Give lists inside one another."""
    return [nested(levels - 1)] if levels else 1


def pbt(**fields: Any) -> Any:
    """Schedule by PBT, with one mutation."""
    return put("spec.scheduler", {"pbt": {"hyperparamMutations": [fields]}})


def breaches(primitive: str, problem: tuple[str, str, str], value: str, **fields: Any) -> list[Wrong]:
    """Break a rule of a primitive, in each of the two places where one may stand."""
    field, rule, remedy = problem
    inside = f".{primitive}.{field}".rstrip(".")
    where = ((P4, parameter, "x", ""), (M0, pbt, "lr", " in a mutation"))
    return [
        Wrong(
            f"{primitive}: {rule}{suffix}", spoil(**{"name": name, primitive: fields}), place + inside, rule, value, remedy, rule
        )
        for place, spoil, name, suffix in where
    ]


# fmt: off
IDENTITY = [
    Wrong("version", put("apiVersion", "kubetune.dev/v1"),
          "apiVersion", "must be kubetune.dev/v1alpha1", "'kubetune.dev/v1'", "write `apiVersion:", "must be kubetune.dev/v1alpha1"),
    Wrong("kind", put("kind", "Experiment"),
          "kind", "must be TuneExperiment", "'Experiment'", "write `kind: TuneExperiment`", "must be TuneExperiment"),
    Wrong("no metadata", drop("metadata"),
          "metadata", "must be an object with a name", "", "add `metadata: {name: NAME}`", "metadata.name: Required"),
    Wrong("no name", drop("metadata.name"), "metadata.name", "is required", "", "add it", "metadata.name: Required"),
    Wrong("name in capitals", put("metadata.name", "Digits"),
          "metadata.name", "must be lower-case letters", "'Digits'", "rename it", "lowercase RFC 1123"),
    Wrong("name with dots", put("metadata.name", "digits.v2"),
          "metadata.name", "must be lower-case letters", "'digits.v2'", "rename it", "must have at most 52 lower-case letters, digits and -, as pods are named after it, got digits.v2"),
    Wrong("name too long", put("metadata.name", "d" * 53),
          "metadata.name", "must have at most 52 characters", "'ddd", "shorten it by 1", "must have at most 52 lower-case letters"),
    Wrong("namespace no string", put("metadata.namespace", 7),
          "metadata.namespace", "must be lower-case letters", "7", "rename it", "metadata.namespace"),
    Wrong("misspelt label", put("metadata.label", {"a": "b"}),
          "metadata.label", "is not a field here", "'a'", "did you mean labels?", ""),
    Wrong("misspelt spec", put("specs", {}), "specs", "is not a field here", "{}", "did you mean spec?", UNKNOWN),
    Wrong("no spec", drop("spec"), "spec", "must be an object with objective and trial", "", "add it", "spec: Required"),
    Wrong("spec a list", put("spec", ["objective"]), "spec", "must be an object", "['objective']", "add it", "must be of type object"),
    Wrong("misspelt field", put("spec.numSample", 3), "spec.numSample", "is not a field here", "3", "did you mean numSamples?", UNKNOWN),
    Wrong("Ray's spelling", put("spec.scheduler.asha.max_t", 3),
          "spec.scheduler.asha.max_t", "is not a field here", "3", "did you mean maxT?", UNKNOWN),
    Wrong("unheard-of field", put("spec.gpu", 1), "spec.gpu", "is not a field here", "1", "leave it out; known are checkpoints", UNKNOWN),
]

OBJECTIVE = [
    Wrong("no objective", drop("spec.objective"), "spec.objective", "is required", "", "add objective", "spec.objective: Required"),
    Wrong("no metric", drop("spec.objective.metric"),
          "spec.objective.metric", "is required", "", "add metric", "spec.objective.metric: Required"),
    Wrong("metric with a space", put("spec.objective.metric", "val acc"),
          "spec.objective.metric", "must be letters, digits and any of _ . / -", "'val acc'", "change it", "should match"),
    Wrong("metric too long", put("spec.objective.metric", "a" * 130),
          "spec.objective.metric", "must have at most 128 characters", "'aaa", "shorten it by 2", "may not be more than 128"),
    Wrong("metric null", put("spec.objective.metric", None), "spec.objective.metric", "is required", "", "add metric", "Required value"),
    Wrong("Ray's mode", put("spec.objective.mode", "max"),
          "spec.objective.mode", "must be Maximize or Minimize", "'max'", "write Maximize", 'supported values: "Maximize", "Minimize"'),
    Wrong("scope in small letters", put("spec.objective.scope", "best"),
          "spec.objective.scope", "must be Last or Best", "'best'", "write Best", 'supported values: "Last", "Best"'),
]

SPACE = [
    Wrong("a parameter in a value", parameter(name="x", value={"of": [{"$param": {"uniform": {"low": 0, "high": 1}}}]}),
          f"{P4}.value.of[0].$param", "must not be here: $param is read in the values of choice and gridSearch alone", "uniform", "as a choice of one", ""),
    Wrong("parameters an object", put("spec.parameters", {"lr": UNIFORM}),
          "spec.parameters", "must be a list", "'lr'", "write it as a list", "must be of type array"),
    Wrong("101 parameters", put("spec.parameters", [{"name": f"p{n}"} | UNIFORM for n in range(101)]),
          "spec.parameters", "must have at most 100 entries", "101", "leave out 1", "must have at most 100 items"),
    Wrong("no name of a parameter", parameter(**UNIFORM), f"{P4}.name", "is required", "", "add name", f"{P4}.name: Required"),
    Wrong("name beginning with a digit", parameter(name="2lr", **UNIFORM),
          f"{P4}.name", "none starting with a digit", "'2lr'", "rename it", f"{P4}.name"),
    Wrong("one name twice", parameter(name="lr", **UNIFORM),
          f"{P4}.name", "must be unlike every other name", "'lr'", "rename one of the two", "Duplicate value"),
    Wrong("one variable twice", parameter(name="LR", **UNIFORM),
          f"{P4}.name", "must have a variable of its own, but KUBETUNE_PARAM_LR", "'LR'", "rename one of the two",
          "same environment variable"),
    Wrong("value and object", parameter(name="lr.start", **UNIFORM),
          f"{P4}.name", "must not lie inside 'lr'", "'lr.start'", "rename one of the two", "both a value and an object"),
    Wrong("no primitive", parameter(name="x"), P4, "must have exactly one of uniform, quniform", "name", "write one of them",
          "must have exactly one of uniform"),
    Wrong("two primitives", parameter(name="x", choice=[1], **UNIFORM),
          P4, "must have exactly one of uniform, quniform", "choice and name and uniform", "write one of them", "must have exactly one of"),
    Wrong("value null", parameter(name="x", value=None),
          P4, "must have exactly one of", "name", "write one of them", "must have exactly one of"),
    Wrong("misspelt primitive", parameter(name="x", logUniform={"low": 1, "high": 2}),
          f"{P4}.logUniform", "is not a field here", "'low'", "did you mean loguniform?", UNKNOWN),
    Wrong("no high", parameter(name="x", uniform={"low": 1}),
          f"{P4}.uniform.high", "is required", "", "add high: the end", f"{P4}.uniform.high: Required"),
    Wrong("log from zero", parameter(name="x", loguniform={"low": 0, "high": 1}),
          f"{P4}.loguniform.low", "must be greater than 0", "0", "use a number above 0", "should be greater than 0"),
    Wrong("no step", parameter(name="x", quniform={"low": 0, "high": 1}),
          f"{P4}.quniform.q", "is required", "", "add q: the step", f"{P4}.quniform.q: Required"),
    Wrong("low between steps", parameter(name="x", quniform={"low": 0.1, "high": 0.9, "q": 0.3}),
          f"{P4}.quniform.low", "must be a multiple of q", "0.1", "move low to a multiple of q", ""),
    Wrong("negative step", parameter(name="x", qrandn={"q": -1}),
          f"{P4}.qrandn.q", "must be greater than 0", "-1", "use a number above 0", "should be greater than 0"),
    Wrong("half a bound", parameter(name="x", randint={"low": 1, "high": 2.5}),
          f"{P4}.randint.high", "must be a whole number", "2.5", "write a whole number", "must be of type integer"),
    Wrong("quoted bound", parameter(name="x", randint={"low": "1", "high": 2}),
          f"{P4}.randint.low", "must be a whole number", "'1'", "without quotes", "must be of type integer"),
    Wrong("true as a bound", parameter(name="x", uniform={"low": True, "high": 2}),
          f"{P4}.uniform.low", "must be a number", "true", "write a number", "must be of type number"),
    Wrong("bound too large", parameter(name="x", uniform={"low": 0, "high": 1e16}),
          f"{P4}.uniform.high", "must be at most 9000000000000000", "10000000000000000", "use 9000000000000000 or less", "should be less than"),
    Wrong("empty choice", parameter(name="x", choice=[]), f"{P4}.choice", "must have at least 1 entry", "0", "add to it",
          "should have at least 1 items"),
    Wrong("choice of one word", parameter(name="x", choice="adam"),
          f"{P4}.choice", "must be a list", "'adam'", "write it as a list", "must be of type array"),
    Wrong("a value that no program can be given", parameter(name="x", choice=["fine", {"a": "b\0c"}]),
          f"{P4}.choice[1].a", "must not have a NUL character", "", "leave it out: no program can be given one", ""),
    Wrong("grid too long", parameter(name="x", gridSearch=list(range(1001))),
          f"{P4}.gridSearch", "must have at most 1000 entries", "1001", "leave out 1", "must have at most 1000 items"),
    Wrong("grid inside a choice", parameter(name="x", choice=[{"$param": {"gridSearch": [1]}}]),
          f"{P4}.choice[0].$param.gridSearch", "is not a field here", "[1]", "leave it out; known are choice", ""),
    Wrong("nested ends swapped", parameter(name="x", choice=[1, {"a": [{"$param": {"uniform": {"low": 2, "high": 1}}}]}]),
          f"{P4}.choice[1].a[0].$param.uniform.high", "must be at least low", "1", "swap low and high", ""),
    Wrong("nested with company", parameter(name="x", choice=[{"$param": UNIFORM, "y": 1}]),
          f"{P4}.choice[0]", "must have nothing beside $param", "y", "move it out", ""),
    Wrong("nested is no object", parameter(name="x", choice=[{"$param": 5}]),
          f"{P4}.choice[0].$param", "must be an object", "5", "write its fields beneath it", ""),
    Wrong("value too deep", parameter(name="x", choice=[nested(40)]), f"{P4}.choice" + "[0]" * 33, "levels deep", "", "flatten it", ""),
    Wrong("far too deep", parameter(name="x", choice=[nested(80)]), f"{P4}.choice" + "[0]" * 61, "must not be nested deeper", "", "flatten it", ""),
]

PRIMITIVES = [
    *breaches("uniform", SWAPPED, "0.5", low=2, high=0.5),
    *breaches("quniform", SWAPPED, "2", low=4, high=2, q=2),
    *breaches("loguniform", SWAPPED, "2", low=4, high=2),
    *breaches("qloguniform", SWAPPED, "2", low=4, high=2, q=2),
    *breaches("qrandint", SWAPPED, "2", low=4, high=2, q=2),
    *breaches("qlograndint", SWAPPED, "2", low=4, high=2, q=2),
    *breaches("randint", EMPTY, "4", low=4, high=4),
    *breaches("lograndint", EMPTY, "4", low=4, high=4),
    *breaches("quniform", FINE, "1e-16", low=0, high=2, q=1e-16),
    *breaches("qloguniform", FINE, "1e-16", low=1, high=2, q=1e-16),
    *breaches("qrandn", FINE, "1e-16", q=1e-16),
    *breaches("qrandint", BETWEEN, "", low=11, high=19, q=10),
    *breaches("qlograndint", BETWEEN, "", low=11, high=19, q=10),
]

BUDGET = [
    Wrong("no samples", put("spec.numSamples", 0), "spec.numSamples", "must be at least 1", "0", "use 1 or more", "greater than or equal to 1"),
    Wrong("quoted samples", put("spec.numSamples", "50"),
          "spec.numSamples", "must be a whole number", "'50'", "without quotes", "must be of type integer"),
    Wrong("half a sample", put("spec.numSamples", 1.5),
          "spec.numSamples", "must be a whole number", "1.5", "write a whole number", "must be of type integer"),
    Wrong("too many trials by the grid", put("spec.numSamples", 600_000),
          "spec.numSamples", "must not make more than 1000000 trials", "600000", "lower it, or shorten a gridSearch", ""),
    Wrong("nothing at once", put("spec.maxConcurrentTrials", 0),
          "spec.maxConcurrentTrials", "must be at least 1", "0", "use 1 or more", "greater than or equal to 1"),
    Wrong("too many at once", put("spec.maxConcurrentTrials", 10_001),
          "spec.maxConcurrentTrials", "must be at most 10000", "10001", "use 10000 or less", "less than or equal to 10000"),
    Wrong("two searchers", both(put("spec.search.random", {}), put("spec.search.tpe", {})),
          "spec.search", "must have at most one of random, tpe", "random and tpe", "keep one of them", "must have at most one of random, tpe"),
    Wrong("negative seed", put("spec.search.seed", -1),
          "spec.search.seed", "must be at least 0", "-1", "use 0 or more", "greater than or equal to 0"),
    Wrong("seed of 33 bits", put("spec.search.seed", 2**32),
          "spec.search.seed", "must be at most 4294967295", "4294967296", "use 4294967295 or less", "less than or equal to 4294967295"),
    Wrong("grid by a model", put("spec.search.tpe", {}),
          "spec.search", "must be random where a parameter has gridSearch", "tpe", "use choice instead of gridSearch",
          "must be random where a parameter has gridSearch"),
    Wrong("group of one variable", both(drop("spec.parameters[3]"), put("spec.search.tpe.group", True)),
          "spec.search.tpe.group", "must be false unless multivariate is true", "true", "set multivariate to true",
          "must be false unless multivariate is true"),
    Wrong("a point of nothing", put("spec.search.pointsToEvaluate", [{}]),
          "spec.search.pointsToEvaluate[0]", "must have at least 1 entry", "0", "add to it", "should have at least 1 properties"),
]

ENDING = [
    Wrong("maxT before gracePeriod", put("spec.scheduler.asha.gracePeriod", 200),
          "spec.scheduler.asha.maxT", "must be greater than or equal to gracePeriod", "100", "raise maxT or lower gracePeriod",
          "must be greater than or equal to gracePeriod, got 100"),
    Wrong("reductionFactor 1", put("spec.scheduler.asha.reductionFactor", 1),
          "spec.scheduler.asha.reductionFactor", "must be at least 1.1", "1", "use 1.1 or more", "must be at least 1.1"),
    Wrong("gracePeriod 0", put("spec.scheduler.asha.gracePeriod", 0),
          "spec.scheduler.asha.gracePeriod", "must be at least 1e-06", "0", "use 1e-06 or more", "must be at least 1e-06"),
    Wrong("reductionFactor 1 of hyperband", put("spec.scheduler", {"hyperband": {"reductionFactor": 1}}),
          "spec.scheduler.hyperband.reductionFactor", "must be at least 1.1", "1", "use 1.1 or more", "must be at least 1.1"),
    Wrong("all are the best", both(pbt(name="lr", value=1), put("spec.scheduler.pbt.quantileFraction", 1)),
          "spec.scheduler.pbt.quantileFraction", "must be at most 0.5", "1", "use 0.5 or less", "must be at most 0.5"),
    Wrong("mutation to nothing", pbt(name="lr"), M0, "must have exactly one of uniform", "name", "write one of them", "must have exactly one of"),
    Wrong("33 brackets", put("spec.scheduler.asha.brackets", 33),
          "spec.scheduler.asha.brackets", "must be at most 32", "33", "use 32 or less", "less than or equal to 32"),
    Wrong("a median of nobody", put("spec.scheduler", {"medianStopping": {"minSamplesRequired": 0}}),
          "spec.scheduler.medianStopping.minSamplesRequired", "must be at least 1", "0", "use 1 or more", "greater than or equal to 1"),
    Wrong("hardStop a word", put("spec.scheduler", {"medianStopping": {"hardStop": "no"}}),
          "spec.scheduler.medianStopping.hardStop", "must be true or false", "'no'", "without quotes", "must be of type boolean"),
    Wrong("timeAttr a number", put("spec.scheduler.asha.timeAttr", 5),
          "spec.scheduler.asha.timeAttr", "must be a string", "5", "put it in quotes", "must be of type string"),
    Wrong("asha only named", put("spec.scheduler", "asha"),
          "spec.scheduler", "must be an object", "'asha'", "write its fields beneath it", "must be of type object"),
    Wrong("two schedulers", put("spec.scheduler.hyperband", {}),
          "spec.scheduler", "must have at most one of asha", "asha and hyperband", "keep one of them", "must have at most one of asha"),
    Wrong("stop at a word", put("spec.stop.metrics", {"loss": "0.1"}),
          "spec.stop.metrics.loss", "must be a number", "'0.1'", "without quotes", "must be of type number"),
    Wrong("stop at no metric", put("spec.stop.metrics", {"val loss": 1}),
          "spec.stop.metrics['val loss']", "must be letters, digits and any of _ . / -", "'val loss'", "change it", ""),
    Wrong("metric of 129 letters", put("spec.stop.metrics", {"m" * 129: 1}),
          f"spec.stop.metrics.{'m' * 129}", "must have at most 128 characters", "'mmm", "shorten it by 1",
          "must have names of at most 128 characters"),
    Wrong("empty expression", put("spec.stop.expression", ""),
          "spec.stop.expression", "must not be empty", "''", "write it or leave the field out", "should be at least 1 chars long"),
    Wrong("65 thresholds", put("spec.stop.metrics", {f"m{n}": 1 for n in range(65)}),
          "spec.stop.metrics", "must have at most 64 entries", "65", "leave out 1", "Too many: 65"),
    Wrong("Ray's stop", put("spec.stop", {"training_iteration": 5}),
          "spec.stop.training_iteration", "is not a field here", "5", "leave it out; known are expression, metrics, plateau", UNKNOWN),
    Wrong("quoted goal", put("spec.stopExperiment.goal", "0.97"),
          "spec.stopExperiment.goal", "must be a number", "'0.97'", "without quotes", "must be of type number"),
    Wrong("fewer than no failures", put("spec.stopExperiment.maxFailedTrials", -1),
          "spec.stopExperiment.maxFailedTrials", "must be at least 0", "-1", "use 0 or more", "greater than or equal to 0"),
    Wrong("retries without end", put("spec.failure.maxFailures", -1),
          "spec.failure.maxFailures", "must be at least 0", "-1", "use 0 or more", "greater than or equal to 0"),
    Wrong("failFast with retries", put("spec.failure", {"failFast": True, "maxFailures": 2}),
          "spec.failure.maxFailures", "must be 0 when failFast is true", "2", "set maxFailures to 0 or failFast to false",
          "must be 0 when failFast is true, got 2"),
    Wrong("suspend 1", put("spec.suspend", 1),
          "spec.suspend", "must be true or false", "1", "write true or false", "must be of type boolean"),
    Wrong("negative ttl", put("spec.ttlSecondsAfterFinished", -1),
          "spec.ttlSecondsAfterFinished", "must be at least 0", "-1", "use 0 or more", "greater than or equal to 0"),
]

RESULTS = [
    Wrong("three log files", put("spec.logs.files", ["a", "b", "c"]),
          "spec.logs.files", "must have at most 2 entries", "3", "leave out 1", "must have at most 2 items"),
    Wrong("one log file twice", put("spec.logs.files", ["out", "out"]),
          "spec.logs.files", "must not name one file twice", "['out', 'out']", "write its name once",
          'must not name one file twice, got ["out", "out"]'),
    Wrong("log over the results", put("spec.logs.files", ["out", "result.json"]),
          "spec.logs.files[1]", "must not be the name of another file", "'result.json'", "rename it",
          'must not be the name of another file of the trial, got ["out", "result.json"]'),
    Wrong("log in another folder", put("spec.logs.files", ["../out"]),
          "spec.logs.files[0]", "must be a plain file name", "'../out'", "change it", "should match"),
    Wrong("size with a strange unit", put("spec.logs.spoolBytes", "64MB"),
          "spec.logs.spoolBytes", "must be a number of bytes", "'64MB'", "write a whole number, with Ki, Mi or Gi", "should match"),
    Wrong("half a size", put("spec.logs.spoolBytes", "0.5Gi"),
          "spec.logs.spoolBytes", "must be a number of bytes", "'0.5Gi'", "write a whole number", "should match"),
    Wrong("more than a terabyte", put("spec.logs.spoolBytes", "2000Gi"),
          "spec.logs.spoolBytes", "must be a number of bytes from 1 to 1024Gi", "'2000Gi'", "write a whole number", ""),
    Wrong("true as a size", put("spec.logs.spoolBytes", True),
          "spec.logs.spoolBytes", "must be a number of bytes", "true", "write a whole number", "must be of type integer,string"),
    Wrong("no size", put("spec.logs.maxBytesPerTrial", 0),
          "spec.logs.maxBytesPerTrial", "must be a number of bytes", "0", "write a whole number", "greater than or equal to 1"),
    Wrong("quoted true", put("spec.results.tensorboard", "true"),
          "spec.results.tensorboard", "must be true or false", "'true'", "without quotes", "must be of type boolean"),
]

TRIAL = [
    Wrong("no trial", drop("spec.trial"), "spec.trial", "is required", "", "add trial", "spec.trial: Required"),
    Wrong("no template", drop("spec.trial.template"), "spec.trial.template", "is required", "", "add template", "template: Required"),
    Wrong("no pod spec", drop("spec.trial.template.spec"),
          "spec.trial.template.spec", "is required", "", "add spec", "template.spec: Required"),
    Wrong("no containers", put("spec.trial.template.spec.containers", []),
          "spec.trial.template.spec.containers", "must have at least 1 entry", "0", "add to it", "should have at least 1 items"),
    Wrong("container without a name", drop("spec.trial.template.spec.containers[0].name"),
          "spec.trial.template.spec.containers[0].name", "is required", "", "add name", "containers[0].name: Required"),
    Wrong("no such container", put("spec.trial.container", "train"),
          "spec.trial.container", "must be the name of a container", "'train'", "write the name of one", "must be the name of a container of the template, got train"),
    Wrong("which container", put("spec.trial.template.spec.containers[1]", {"name": "proxy"}),
          "spec.trial", "must say in `container` which", "", "add `container: NAME`", "must say in `container` which"),
    Wrong("restarts", put("spec.trial.template.spec.restartPolicy", "OnFailure"),
          "spec.trial.template.spec.restartPolicy", "must be Never", "'OnFailure'", "write one of them", 'supported values: "Never"'),
    Wrong("label a number", put("spec.trial.template.metadata.labels", {"team": 7}),
          "spec.trial.template.metadata.labels.team", "must be a string", "7", "put it in quotes", "must be of type string"),
    Wrong("two collectors", put("spec.trial.collector", {"sdk": {}, "stdout": {"pattern": "x"}}),
          "spec.trial.collector", "must have at most one of sdk, stdout", "sdk and stdout", "keep one of them", "must have at most one of sdk"),
    Wrong("retainPods in small letters", put("spec.trial.retainPods", "failed"),
          "spec.trial.retainPods", "must be None, Failed or All", "'failed'", "write Failed", 'supported values: "None", "Failed"'),
    Wrong("flush for hours", put("spec.trial.flushTimeoutSeconds", 3601),
          "spec.trial.flushTimeoutSeconds", "must be at most 3600", "3601", "use 3600 or less", "less than or equal to 3600"),
]
# fmt: on

WRONG = [*IDENTITY, *OBJECTIVE, *SPACE, *PRIMITIVES, *BUDGET, *ENDING, *RESULTS, *TRIAL]
