"""One malformed experiment per rule is refused by the API server, in words that name field, rule and (where it does) value.

The malformed ones are those of `tests/shell/wrong_experiments.py`, and for what must not be changed the changes below; that none
of the CRD's rules and kinds of bounds is without one is a test of its own. Everything is a dry run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml

from tests.crdcheck.checker import CRD
from tests.e2e.experiments import PROGRAM, body
from tests.e2e.kubectl import Kubectl, Refused
from tests.e2e.product import Operator
from tests.shell.experiments import UNKNOWN, Wrong
from tests.shell.wrong_experiments import WRONG

DRY = ("--dry-run=server", "--filename", "-")
CASES = [row for row in WRONG if row.server]
BEFORE = {  # what is said where an object does not come as far as validation: by kubectl, and by the decoder
    "version": 'no matches for kind "TuneExperiment" in version "kubetune.dev/v1"',
    "kind": 'no matches for kind "Experiment" in version "kubetune.dev/v1alpha1"',
    "namespace no string": "metadata.namespace of type string",
    "parameters an object": 'unknown field "spec.parameters.lr"',
}
OF_THE_WHOLE = {  # where the API server points at what the field is in
    "no metadata": "metadata.name",
    "one name twice": "spec.parameters[4]",
    "one variable twice": "spec.parameters",
    "value and object": "spec.parameters",
    "metric of 129 letters": "spec.stop.metrics",
    "log over the results": "spec.logs.files",
}

CHANGES = {  # of each field that is immutable, and whole: what was not there may not come either
    "objective": {"metric": "loss", "mode": "Maximize"},
    "parameters": [],
    "constraints": ["params.x > 0.5"],
    "search": {"seed": 4},
    "scheduler": {"asha": {}},
    "stop": {"metrics": {"training_iteration": 3}},
    "resumeFrom": {"experiment": "another"},
    "logs": {"files": []},
    "results": {"tensorboard": False},
    "checkpoints": {"keep": 2},
    "trial": {"retainPods": "All"},
}
BOUNDS = {  # each kind of bound in a schema: what is said of a breach
    "type": r"must be of type \w+: ",
    "x-kubernetes-int-or-string": r"must be of type integer,string: ",
    "required": r": Required value",
    "enum": r"Unsupported value: .*: supported values: ",
    "minimum": r"should be greater than or equal to ",
    "maximum": r"should be less than or equal to ",
    "exclusiveMinimum": r"should be greater than \d",
    "pattern": r"should match '",
    "minLength": r"should be at least 1 chars long",
    "maxLength": r"Too long: may not be more than \d+ bytes",
    "minItems": r"should have at least 1 items",
    "maxItems": r"Too many: \d+: must have at most \d+ items",
    "minProperties": r"should have at least 1 properties",
    "maxProperties": r"stop\.metrics: Too many: \d+: must have at most \d+ items",
    "x-kubernetes-list-map-keys": r"Duplicate value: ",
}

Schema = Mapping[str, Any]
Rule = tuple[str, Schema]  # where it stands ([] is any index), and what it is


def walk(schema: Schema, path: str) -> Iterator[tuple[str, Schema]]:
    """Give every schema beneath this one with its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        if path or name != "status":  # which no user writes
            yield from walk(inner, f"{path}.{name}".lstrip("."))
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            yield from walk(schema[key], path + mark)


FIELDS = list(walk(yaml.safe_load(CRD.read_text())["spec"]["versions"][0]["schema"]["openAPIV3Schema"], ""))
RULES: list[Rule] = [
    ((path + rule.get("fieldPath", "")).lstrip("."), rule)
    for path, schema in FIELDS
    for rule in schema.get("x-kubernetes-validations", ())
]


def refusal(rule: Rule) -> str:
    """Give what is said when a rule is broken, as a pattern."""
    path, words = rule
    value = ", got .+" if "messageExpression" in words else ""
    place = r"\[\d+\]".join(map(re.escape, path.split("[]")))
    return rf"(?:^|[\s\[]){place}: [^\n]*?{re.escape(words['message'])}{value}"


@pytest.fixture(scope="module")
def refusals(operator: Operator) -> dict[str, str]:
    """Give what kubectl says to each malformed experiment."""
    kubectl = Kubectl()

    def ask(row: Wrong) -> tuple[str, str]:
        try:
            return row.id, kubectl("create", *DRY, given=json.dumps(row.body()))
        except Refused as refused:
            return row.id, str(refused)

    with ThreadPoolExecutor(4) as pool:
        return dict(pool.map(ask, CASES))


@pytest.fixture(scope="module")
def started(operator: Operator) -> Iterator[Kubectl]:
    """Give a namespace with the experiment `given`, of whose four trials two have been started."""
    namespace = "e2e-rules"
    Kubectl().apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    kubectl = Kubectl(namespace)
    kubectl.apply(body("given", PROGRAM + "import time; time.sleep(300)\n", maxConcurrentTrials=2))
    kubectl.until("tune", "given", lambda one: ((one.get("status") or {}).get("trials") or {}).get("started") == 2)
    yield kubectl
    Kubectl()("delete", "namespace", namespace, "--wait=false")


def change(kubectl: Kubectl, field: str, value: Any) -> str:
    """Give what kubectl says to a change of `given`."""
    patch = json.dumps({"spec": {field: value}})
    try:
        return kubectl("patch", "tune", "given", "--type=merge", "--dry-run=server", "--patch", patch)
    except Refused as refused:
        return str(refused)


@pytest.mark.parametrize("row", CASES, ids=lambda row: row.id)
def test_a_malformed_experiment_is_refused(refusals: Mapping[str, str], row: Wrong) -> None:
    said = refusals[row.id]
    if row.id in BEFORE:
        assert BEFORE[row.id] in said
    elif row.server == UNKNOWN:
        assert f'unknown field "{row.field}"' in said
    else:
        assert row.server in said
        assert f"{OF_THE_WHOLE.get(row.id, row.field)}: " in said


def is_said(row: Wrong) -> bool:
    """Tell whether the API server says the value: a bound's it does, a rule's where there is an expression for it."""
    silent = [rule["message"] for _, rule in RULES if "messageExpression" not in rule and not is_of_one_value(rule)]
    never = row.id in BEFORE or row.server == UNKNOWN or re.search("Required|must be of type|may not be more than", row.server)
    return bool(row.value and not never and not any(row.server in message for message in silent))


def is_of_one_value(rule: Schema) -> bool:
    """Tell whether a rule is on a number, which the API server then says by itself."""
    return str(rule["rule"]).startswith(("self >= ", "self <= "))


@pytest.mark.parametrize("row", [row for row in CASES if is_said(row)], ids=lambda row: row.id)
def test_a_refusal_says_the_value(refusals: Mapping[str, str], row: Wrong) -> None:
    value = re.escape(row.value.strip("'").replace("'", '"'))
    assert re.search(rf'(?:value: |many: |got )(?:{{"name":|\["out", )?"?{value}', refusals[row.id])


@pytest.mark.parametrize("field", CHANGES)
def test_what_is_immutable_stays(started: Kubectl, field: str) -> None:
    said = change(started, field, CHANGES[field])
    assert re.search(rf"spec\.{field}: .*must not be changed after creation; start another experiment instead", said), said


def test_no_trial_that_was_started_can_be_taken_back(started: Kubectl) -> None:
    assert "spec.numSamples: Invalid value: " in (said := change(started, "numSamples", 1))
    assert "must not have fewer trials than have been started" in said
    assert "patched" in change(started, "numSamples", 2)


@pytest.mark.parametrize(
    ("field", "value"), [("maxConcurrentTrials", 3), ("suspend", True), ("failure", {"maxFailures": 1}), ("numSamples", 5)]
)
def test_what_is_mutable_may_be_changed(started: Kubectl, field: str, value: Any) -> None:
    assert "patched" in change(started, field, value)


def test_no_rule_is_without_its_case(refusals: Mapping[str, str], started: Kubectl) -> None:
    said = [*refusals.values(), *(change(started, *each) for each in CHANGES.items()), change(started, "numSamples", 1)]
    assert len(RULES) > 50
    assert [
        (path, rule["message"]) for path, rule in RULES if not any(re.search(refusal((path, rule)), each) for each in said)
    ] == []


def test_no_kind_of_bound_is_without_its_case(refusals: Mapping[str, str]) -> None:
    ordinary = {"properties", "items", "additionalProperties", "description", "default", "nullable", "x-kubernetes-validations"}
    ordinary |= {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type"}
    kinds = {kind for _, schema in FIELDS for kind in schema} - ordinary
    assert kinds == set(BOUNDS)
    assert [kind for kind, words in BOUNDS.items() if not any(re.search(words, said) for said in refusals.values())] == []
