"""What an experiment becomes: defaults as the API server fills them in, core's own objects, and nothing that crashes it."""

from __future__ import annotations

import copy
import math
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kubetune_operator import api
from kubetune_operator.api import notyet, plain
from kubetune_operator.core.domains import Choice, GridSearch, LogUniform, QLogRandInt, RandInt
from kubetune_operator.core.plateaus import ExperimentPlateau, TrialPlateau
from kubetune_operator.core.schedulers.asha import Asha
from kubetune_operator.core.schedulers.fifo import Fifo
from kubetune_operator.core.schedulers.median import MedianStopping
from kubetune_operator.core.searchers.random import Random
from kubetune_operator.core.spec import Deadlines, Failure, StopExperiment
from kubetune_operator.core.trials import Mode, Objective, Scope
from kubetune_operator.errors import InvalidSpec
from tests.crdcheck import checker
from tests.shell.experiments import VALID, Body, mutate, parameter, places, put
from tests.shell.right_experiments import BODIES, NOT_YET, RIGHT, WORDS, Right

needs_the_api_server = pytest.mark.timeout(900)  # the first call builds the Go program


def changed(change: Any) -> Body:
    """Give VALID with one change."""
    made = copy.deepcopy(VALID)
    change(made)
    return made


@pytest.mark.parametrize("row", RIGHT, ids=lambda row: row.id)
def test_what_is_right_is_taken(row: Right) -> None:
    assert api.parse(row.body()).name == "digits"


@needs_the_api_server
def test_defaults_are_those_of_the_api_server() -> None:
    """The body that the journal keeps is what the server would store, but for the seed, which only the operator draws."""
    answers = checker.judge([row.body() for row in RIGHT])
    for row, answer in zip(RIGHT, answers, strict=True):
        assert answer.errors == (), row.id
        assert answer.unknown == (), row.id
        ours = api.parse(row.body()).body["spec"]
        theirs = plain.plain(answer.stored["spec"])
        theirs["search"].setdefault("seed", 0)
        assert ours == theirs, row.id


@pytest.mark.parametrize("row", RIGHT, ids=lambda row: row.id)
def test_the_kept_body_says_all(row: Right) -> None:
    """Parsed again it gives the same experiment, whatever seed is offered then."""
    once = api.parse(row.body(), seed=5)
    assert api.parse(once.body, seed=6) == once


def test_the_seed_is_drawn_by_the_caller_and_kept() -> None:
    drawn = api.parse(VALID, seed=99)
    assert drawn.spec.seed == drawn.body["spec"]["search"]["seed"] == 99
    named = api.parse(changed(put("spec.search.seed", 7)), seed=99)
    assert named.spec.seed == named.body["spec"]["search"]["seed"] == 7


def test_core_gets_what_was_written() -> None:
    spec = api.parse(VALID).spec
    assert spec.objective == Objective("accuracy", Mode.MAXIMIZE, Scope.LAST)
    assert [(each.name, each.domain) for each in spec.space.parameters] == [
        ("lr", LogUniform(low=0.0001, high=0.1)),
        ("units", QLogRandInt(low=8, high=512, q=8)),
        ("optimizer", Choice(("sgd", "adam"))),
        ("batch", GridSearch((32, 64))),
    ]
    assert spec.scheduler == Asha(max_t=100)
    assert spec.searcher == Random()
    assert (spec.num_samples, spec.total, spec.max_concurrent, spec.suspend) == (20, 40, 4, False)
    assert (spec.stop, spec.stop_experiment, spec.failure) == ({}, StopExperiment(), Failure())


def test_core_gets_the_scheduler_with_what_was_written_and_its_own_defaults() -> None:
    median = {"timeAttr": "epoch", "gracePeriod": 2, "minSamplesRequired": 5, "minTimeSlice": 1.5, "hardStop": False}
    made = api.parse(changed(put("spec.scheduler", {"medianStopping": median}))).spec
    assert made.scheduler == MedianStopping("epoch", 2, 5, 1.5, hard_stop=False)
    assert made.reads == {"accuracy": "objective.metric", "epoch": "scheduler.medianStopping.timeAttr"}
    assert api.parse(changed(put("spec.scheduler", {"medianStopping": {}}))).spec.scheduler == MedianStopping()


def test_core_gets_the_limits() -> None:
    made = changed(put("spec.stop.metrics", {"training_iteration": 100}))
    put("spec.stopExperiment", {"goal": 0.98, "maxFailedTrials": 3})(made)
    put("spec.failure", {"maxFailures": 2, "maxDisruptions": 7})(made)
    put("spec.suspend", value=True)(made)
    put("spec.scheduler", {})(made)
    spec = api.parse(made).spec
    assert spec.stop == {"training_iteration": 100}
    assert spec.stop_experiment == StopExperiment(0.98, 3)
    assert (spec.stop_plateau, spec.deadlines) == (None, Deadlines())
    assert spec.failure == Failure(2, fail_fast=False, max_disruptions=7)
    assert spec.suspend
    assert spec.scheduler == Fifo()


def test_core_gets_plateaus_budget_and_deadlines() -> None:
    made = changed(put("spec.stop.plateau", {"metric": "eval/loss", "threshold": 0, "numResults": 7}))
    put("spec.stopExperiment", {"plateau": {"mode": "Minimize", "top": 3, "patience": 2}, "timeBudgetSeconds": 60})(made)
    put("spec.trial.startDeadlineSeconds", 5)(made)
    put("spec.trial.progressDeadlineSeconds", 6)(made)
    spec = api.parse(made).spec
    assert spec.stop_plateau == TrialPlateau("eval/loss", std=0.01, num_results=7, grace_period=4, threshold=0)
    assert spec.stop_experiment.plateau == ExperimentPlateau(None, "Minimize", std=0.001, top=3, patience=2)
    assert spec.stop_experiment.time_budget == 60
    assert spec.deadlines == Deadlines(start=5, progress=6)


def test_parameters_inside_values_become_primitives() -> None:
    inner = {"$param": {"randint": {"low": 0, "high": 3}}}
    made = changed(parameter(name="x", choice=[{"a": [inner, 1]}, {"$param": {"choice": [inner]}}]))
    primitive = RandInt(low=0, high=3)
    assert api.parse(made).spec.space.parameters[4].domain == Choice(({"a": [primitive, 1]}, Choice((primitive,))))


def test_the_shell_gets_its_settings() -> None:
    made = changed(put("spec.logs", {"files": ["out"], "spoolBytes": 1024, "maxBytesPerTrial": "2Mi"}))
    put("spec.trial.retainPods", "All")(made)
    put("spec.trial.flushTimeoutSeconds", 5)(made)
    put("spec.results.tensorboard", value=False)(made)
    put("spec.ttlSecondsAfterFinished", 60)(made)
    experiment = api.parse(made)
    assert experiment.logs == api.Logs(files=("out",), spool_bytes=1024, max_bytes_per_trial=2 * 2**20)
    assert experiment.trial == api.Trial(container="trial", retain_pods="All", flush_timeout=5)
    assert (experiment.tensorboard, experiment.ttl_seconds) == (False, 60)
    assert experiment.template == VALID["spec"]["trial"]["template"]


def test_the_namespace_may_be_left_out() -> None:
    assert api.parse(changed(lambda body: body["metadata"].pop("namespace"))).namespace == "default"


def test_only_name_and_namespace_of_the_metadata_are_kept() -> None:
    made = changed(put("metadata.managedFields", [{"manager": "kubectl"}]))
    assert api.parse(made).body["metadata"] == {"name": "digits", "namespace": "default"}


def test_the_callers_body_is_left_alone() -> None:
    body = copy.deepcopy(VALID)
    kept = api.parse(body).body
    kept["spec"]["parameters"].clear()
    assert body == VALID


@pytest.mark.parametrize(("path", "row"), NOT_YET, ids=[row.id for _, row in NOT_YET])
def test_what_is_not_carried_out_is_refused_by_name(path: str, row: Right) -> None:
    """It is well formed: that is all that stands against it."""
    with pytest.raises(InvalidSpec, match="is not carried out yet in this version") as refusal:
        api.parse(row.body())
    (problem,) = refusal.value.problems
    assert re.sub(r"\[\d+\]", "[]", problem.field) == f"spec.{path}"
    assert problem.remedy.startswith("remove it")


def test_every_entry_of_the_list_is_tried() -> None:
    assert [path for path, _ in NOT_YET] == [path for path, _ in notyet.NOT_YET]


@needs_the_api_server
def test_the_api_server_takes_what_is_not_carried_out_yet() -> None:
    """The CRD is whole from the beginning: what is missing is told by the operator."""
    for (_, row), answer in zip(NOT_YET, checker.judge([row.body() for _, row in NOT_YET]), strict=True):
        assert (answer.errors, answer.unknown) == ((), ()), row.id


def test_all_problems_are_told_at_once() -> None:
    made = changed(put("spec.numSamples", 0))
    put("spec.logs.files", ["a", "a"])(made)
    put("spec.parameters[0].loguniform.low", -1)(made)
    put("metadata.name", "A")(made)
    put("spec.parameters[2].name", "lr.x")(made)
    put("spec.checkpoints", {"keep": 2})(made)
    with pytest.raises(InvalidSpec, match=r"metadata\.name: ") as refusal:
        api.parse(made)
    assert sorted(problem.field for problem in refusal.value.problems) == [
        "metadata.name",
        "spec.checkpoints",
        "spec.logs.files",
        "spec.numSamples",
        "spec.parameters[0].loguniform.low",
        "spec.parameters[2].name",
    ]


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        pytest.param(math.nan, "must be a finite number", id="NaN"),
        pytest.param(-math.inf, "must be a finite number", id="infinity"),
        pytest.param(10**400, "must be a finite number", id="beyond the doubles"),
        pytest.param(b"x", "must be a number, a string", id="bytes"),
        pytest.param({1, 2}, "must be a number, a string", id="a set"),
        pytest.param({1: 2}, "must have keys that are strings", id="a key that is a number"),
        pytest.param("\ud800", "must be text", id="half of a surrogate pair"),
    ],
)
def test_what_json_cannot_hold_is_refused(value: Any, rule: str) -> None:
    with pytest.raises(InvalidSpec, match=rule) as refusal:
        api.parse(changed(parameter(name="x", value=[value])))
    assert refusal.value.problems[0].field == "spec.parameters[4].value[0]"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        pytest.param(1.0, 1, id="a whole float is an int"),
        pytest.param(-0.0, 0, id="there is no negative zero"),
        pytest.param(2**53 + 1, 2**53 + 1, id="an int keeps its digits"),
        pytest.param(2**63, float(2**63), id="an int of more than 64 bits is a float"),
        pytest.param(1e18, 10**18, id="a large whole float is an int"),
        pytest.param(1234567890123456789.0, 1234567890123456800, id="by its shortest digits"),
        pytest.param(1e300, 1e300, id="a huge one stays a float"),
    ],
)
def test_numbers_are_kept_as_the_api_server_keeps_them(given: float, kept: float) -> None:
    made = plain.number(given)
    assert (made, type(made)) == (kept, type(kept))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.just("$param"), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200)
@given(st.data())
def test_no_body_crashes(data: st.DataObject) -> None:
    """Whatever is deleted, replaced or added: an experiment, or a refusal that says something."""
    body = copy.deepcopy(data.draw(st.sampled_from(BODIES)))
    for _ in range(data.draw(st.integers(1, 3))):
        if not (found := places(body)):
            break
        action = data.draw(st.sampled_from(["delete", "replace", "insert"]))
        key = data.draw(st.sampled_from(WORDS) | st.text(max_size=8))
        mutate(body, data.draw(st.sampled_from(found)), action, data.draw(JSON), key)
    try:
        experiment = api.parse(body)
    except InvalidSpec as refusal:
        assert refusal.problems
        assert all(problem.field and problem.rule for problem in refusal.problems)
    else:
        assert api.parse(experiment.body) == experiment


@given(JSON)
@example({})
@example({"spec": {"parameters": [None, 1, {"name": None}, {"name": {}}]}})
@example({"spec": {"parameters": {"name": 1}, "search": [], "trial": 1}, "metadata": []})
def test_no_value_crashes(value: Any) -> None:
    """Even what is no experiment at all is refused, and nothing else happens."""
    with pytest.raises(InvalidSpec, match=r"."):
        api.parse(value)
