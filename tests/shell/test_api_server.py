"""The API server's own code judges the CRD, changes of an experiment, and whatever `parse` takes."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from kubetune_operator import api
from kubetune_operator.api import crd
from kubetune_operator.errors import InvalidSpec
from tests.crdcheck import checker
from tests.shell.experiments import VALID, Body, drop, mutate, parameter, places, put
from tests.shell.right_experiments import BODIES, WORDS

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.timeout(900)  # the first call builds the Go program


def test_the_api_server_takes_it() -> None:
    """Structure, defaults, CEL compiled and within its cost budget."""
    assert checker.definition() == []


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.yaml")), ids=lambda file: file.name)
def test_an_example_is_right_for_both(file: Path) -> None:
    body = api.read(file).body
    assert api.parse(body).body
    body["metadata"].setdefault("namespace", "default")  # as kubectl does
    (answer,) = checker.judge([body])
    assert (answer.errors, answer.unknown) == ((), ())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        pytest.param(put("spec.objective.mode", "Minimize"), "spec.objective", id="objective"),
        pytest.param(put("spec.objective.scope", "Best"), "spec.objective", id="a default written otherwise"),
        pytest.param(put("spec.parameters[0].loguniform.high", 0.2), "spec.parameters", id="a bound"),
        pytest.param(put("spec.parameters[2].choice[1]", "lion"), "spec.parameters", id="a value of a choice"),
        pytest.param(parameter(name="x", value=1), "spec.parameters", id="one parameter more"),
        pytest.param(put("spec.constraints", ["true"]), "spec.constraints", id="constraints"),
        pytest.param(put("spec.search.seed", 1), "spec.search", id="search"),
        pytest.param(put("spec.scheduler", {}), "spec.scheduler", id="scheduler taken away"),
        pytest.param(put("spec.stop.metrics", {"loss": 1}), "spec.stop", id="stop"),
        pytest.param(put("spec.resumeFrom", {"experiment": "a"}), "spec.resumeFrom", id="resumeFrom"),
        pytest.param(put("spec.logs.files", []), "spec.logs", id="logs"),
        pytest.param(put("spec.results.tensorboard", value=False), "spec.results", id="results"),
        pytest.param(put("spec.checkpoints", {"keep": 2}), "spec.checkpoints", id="checkpoints"),
        pytest.param(put("spec.trial.retainPods", "All"), "spec.trial", id="trial"),
        pytest.param(put("spec.trial.template.spec.containers[0].image", "other"), "spec.trial", id="the image"),
        pytest.param(put("spec.trial.template.spec.nodeSelector", {"a": "b"}), "spec.trial", id="a field more of the pod"),
    ],
)
def test_what_is_immutable_stays(change: Any, field: str) -> None:
    made = copy.deepcopy(VALID)
    change(made)
    (answer,) = checker.judge([made], old=VALID)
    assert answer.errors == (f"{field}: Invalid value: must not be changed after creation; start another experiment instead",)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(put("spec.numSamples", 100), id="numSamples"),
        pytest.param(put("spec.maxConcurrentTrials", 1), id="maxConcurrentTrials"),
        pytest.param(put("spec.stopExperiment.goal", 0.9), id="stopExperiment"),
        pytest.param(put("spec.failure.maxFailures", 1), id="failure"),
        pytest.param(put("spec.suspend", value=True), id="suspend"),
        pytest.param(put("spec.ttlSecondsAfterFinished", 5), id="ttlSecondsAfterFinished"),
        pytest.param(put("metadata.labels", {"a": "b"}), id="labels"),
        pytest.param(put("status", {"progress": "1/2", "trials": {"started": 4, "running": 1}}), id="status"),
    ],
)
def test_what_may_be_changed_can_be(change: Any) -> None:
    """With nulls in a choice too, which a rule that compares old and new must bear."""
    before = copy.deepcopy(VALID)
    parameter(name="x", choice=[None, {"a": None}])(before)
    made = copy.deepcopy(before)
    change(made)
    (answer,) = checker.judge([made], old=before)
    assert answer.errors == ()


@pytest.mark.parametrize(
    ("samples", "refused"),
    [pytest.param(9, False, id="as many as were started"), pytest.param(8, True, id="fewer"), pytest.param(50, False, id="more")],
)
def test_num_samples_stays_above_what_was_started(samples: int, *, refused: bool) -> None:
    """18 trials of a grid of two are nine samples."""
    before = copy.deepcopy(VALID)
    before["status"] = {"gridSize": 2, "trials": {"started": 18}}
    after = copy.deepcopy(before)
    after["spec"]["numSamples"] = samples
    (answer,) = checker.judge([after], old=before)
    assert bool(answer.errors) == refused
    assert all("must not have fewer trials than have been started" in error for error in answer.errors)


def spoilt(source: random.Random) -> Body:
    """Give a right experiment with something deleted, replaced or added by chance."""
    body = copy.deepcopy(source.choice(BODIES))
    values = [None, True, 0, 1, -1, 2, 0.5, 1e17, "", "a", "Best", [], [1], {}, {"a": 1}, {"low": 2, "high": 1}, {"name": "x"}]
    for _ in range(source.randint(1, 2)):
        if found := places(body):
            action = source.choice(["delete", "replace", "insert"])
            mutate(body, source.choice(found), action, copy.deepcopy(source.choice(values)), source.choice(WORDS))
    return body


@pytest.mark.slow
def test_what_we_take_the_api_server_takes() -> None:
    """By chance spoilt experiments: none that parse accepts would be refused on a cluster."""
    source = random.Random(4)
    taken = []
    for body in (spoilt(source) for _ in range(600)):
        try:
            api.parse(body)
        except InvalidSpec:
            continue
        body["metadata"]["namespace"] = body["metadata"].get("namespace") or "default"  # as kubectl does
        taken.append(body)
    assert len(taken) > 50
    for body, answer in zip(taken, checker.judge(taken), strict=True):
        assert (answer.errors, answer.unknown) == ((), ()), json.dumps(body)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(drop("spec.versions[0].schema.openAPIV3Schema.type"), "must not be empty", id="not structural"),
        pytest.param(
            put("spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.numSamples.default", 0),
            "should be greater than or equal to 1",
            id="a default out of bounds",
        ),
        pytest.param(
            put("spec.versions[0].schema.openAPIV3Schema.x-kubernetes-validations", [{"rule": "self.spec.nothing == 1"}]),
            "undefined field 'nothing'",
            id="a rule that does not compile",
        ),
        pytest.param(
            drop("spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.parameters.maxItems"),
            "estimated rule cost exceeds budget",
            id="a rule that may cost too much",
        ),
    ],
)
def test_the_checker_refuses_a_bad_definition(change: Any, message: str, tmp_path: Path) -> None:
    """A checker that accepts everything proves nothing."""
    made = copy.deepcopy(crd.manifest())
    change(made)
    file = tmp_path / "crd.yaml"
    file.write_text(json.dumps(made))
    assert any(message in problem for problem in checker.definition(file))
