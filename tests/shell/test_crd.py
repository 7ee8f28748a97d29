"""The CRD: committed as it is generated, and as Kubernetes' conventions want it. What the API server says is in `test_api_server`."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest

from kubetune_operator.api import crd, reading
from tests.crdcheck import checker
from tests.shell.experiments import places
from tests.shell.right_experiments import NOT_YET, RIGHT

MANIFEST = crd.manifest()
(VERSION,) = MANIFEST["spec"]["versions"]
ROOT = VERSION["schema"]["openAPIV3Schema"]
KEPT = "x-kubernetes-preserve-unknown-fields"
MUTABLE = {
    "numSamples",
    "maxConcurrentTrials",
    "stopExperiment",
    "failure",
    "suspend",
    "ttlSecondsAfterFinished",
}  # of design section 2


def walk(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give every schema beneath this one with its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if key in schema:
            yield from walk(schema[key], path + mark)


FIELDS = [each for part in ("spec", "status") for each in walk(ROOT["properties"][part], part)]


def test_the_committed_file_is_the_generated_one() -> None:
    """`make crds` writes it."""
    assert checker.CRD.read_text() == crd.text()


def test_the_file_reads_back_as_it_was_meant() -> None:
    """No word in it is a number or a truth value to kubectl."""
    assert reading.load(crd.text(), "crd").body == MANIFEST


def test_the_names() -> None:
    assert MANIFEST["metadata"]["name"] == "tuneexperiments.kubetune.dev"
    assert MANIFEST["spec"]["group"] == "kubetune.dev"
    assert MANIFEST["spec"]["scope"] == "Namespaced"
    assert MANIFEST["spec"]["names"] == {
        "kind": "TuneExperiment",
        "listKind": "TuneExperimentList",
        "plural": "tuneexperiments",
        "singular": "tuneexperiment",
        "shortNames": ["tune"],
        "categories": ["tuning"],
    }
    assert (VERSION["name"], VERSION["served"], VERSION["storage"]) == ("v1alpha1", True, True)


def test_it_is_small_enough_for_client_side_apply() -> None:
    """As kubectl keeps the whole of it in an annotation of at most 256 KiB."""
    assert len(json.dumps(MANIFEST)) < 200_000


def test_the_scale_subresource() -> None:
    assert VERSION["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.maxConcurrentTrials",
            "statusReplicasPath": ".status.trials.running",
            "labelSelectorPath": ".status.selector",
        },
    }


def test_the_columns() -> None:
    columns = VERSION["additionalPrinterColumns"]
    assert [each["name"] for each in columns if not each.get("priority")] == [
        "State",
        "Trials",
        "Running",
        "Failed",
        "Best",
        "Age",
    ]
    assert {each["name"] for each in columns if each.get("priority") == 1} == {
        "Algorithm",
        "Objective",
        "Best-Trial",
        "Parallel",
        "Finish-Time",
        "Message",
    }
    assert all(each["description"] for each in columns)
    assert not any("[-1" in each["jsonPath"] or "[0" in each["jsonPath"] for each in columns)


def field_at(path: str) -> dict[str, Any]:
    """Give the schema at a printer column's or selectable field's path."""
    here: dict[str, Any] = ROOT
    for step in path.removeprefix(".").split("."):
        name, _, condition = step.partition("[")
        here = here["properties"][name]
        here = here["items"] if condition else here
    return here


@pytest.mark.parametrize("column", VERSION["additionalPrinterColumns"], ids=lambda column: column["name"])
def test_a_column_shows_a_field_of_its_type(column: dict[str, Any]) -> None:
    if column["jsonPath"] == ".metadata.creationTimestamp":
        return
    field = field_at(re.sub(r"\[\?\([^)]*\)\]", "[]", column["jsonPath"]))
    assert {"date": "string"}.get(column["type"], column["type"]) == field["type"]
    assert (column["type"] == "date") == (field.get("format") == "date-time")


def test_fields_that_can_be_selected_by() -> None:
    paths = [each["jsonPath"] for each in VERSION["selectableFields"]]
    assert paths == [".spec.suspend", ".spec.objective.metric", ".status.state"]
    assert all(field_at(path)["type"] in {"string", "boolean", "integer"} for path in paths)


EMPTY = {"spec.search.random", "spec.trial.collector.sdk"}  # objects without a field: being there is all they say


def is_bounded(path: str, schema: dict[str, Any]) -> bool:
    """Tell whether a schema says how much there may be of it."""
    kind = schema.get("type")
    if kind == "string":
        return "maxLength" in schema or "enum" in schema
    if kind in {"integer", "number"} or "x-kubernetes-int-or-string" in schema:
        return bool(-9e15 <= schema.get("minimum", -math.inf) <= schema.get("maximum", math.inf) <= 9e15)
    if kind == "array":
        return "maxItems" in schema
    if "additionalProperties" in schema:
        return "maxProperties" in schema
    return kind == "boolean" or "properties" in schema or KEPT in schema or path in EMPTY


def test_every_field_is_bounded() -> None:
    """C9: without bounds the API server takes the worst case for the cost of a rule, and so may a user."""
    assert [path for path, schema in FIELDS if not is_bounded(path, schema)] == []


def test_every_field_is_named_as_is_the_custom() -> None:
    """C7: camelCase, seconds as whole numbers, CamelCase values."""
    named = [(path.rpartition(".")[2], schema) for path, schema in FIELDS if not path.endswith(("[]", "{}"))]
    assert [name for name, _ in named if not re.fullmatch(r"[a-z][A-Za-z0-9]*", name)] == []
    assert [name for name, schema in named if name.endswith("Seconds") and schema["type"] != "integer"] == []
    assert [value for _, schema in named for value in schema.get("enum", []) if not re.match("[A-Z]", value)] == []


def test_every_field_is_described() -> None:
    """C24: in a sentence, with its default, and in the spec whether it may be changed."""
    named = [(path, schema, schema.get("description", "")) for path, schema in FIELDS if not path.endswith(("[]", "{}"))]
    assert [path for path, _, words in named if not re.match(r"[A-Z$`].{10,}[.]$", words, re.DOTALL)] == []
    plain = [(schema.get("default"), path, words) for path, schema, words in named]
    assert [
        path for default, path, words in plain if isinstance(default, (str, int, float, list)) and "Default " not in words
    ] == []
    spec = [(path.split(".")[1], words) for path, _, words in named if path.startswith("spec.")]
    assert [name for name, words in spec if ("May be changed." in words) != (name in MUTABLE)] == []
    assert [name for name, words in spec if ("Immutable." in words) == (name in MUTABLE)] == []


def test_descriptions_say_what_is_needed_and_what_is_allowed() -> None:
    spec = ROOT["properties"]["spec"]["properties"]
    assert spec["objective"]["properties"]["metric"]["description"].endswith("At most 128 characters. Required. Immutable.")
    assert spec["numSamples"]["description"].endswith("From 1 to 1000000. Default 1. May be changed.")
    assert spec["trial"]["properties"]["retainPods"]["description"].endswith(
        "One of None, Failed, All. Default Failed. Immutable."
    )
    assert "Above 0 up to 9000000000000000." in spec["scheduler"]["properties"]["asha"]["properties"]["maxT"]["description"]


def test_lists_of_named_things_are_maps() -> None:
    """C10: so that names are unique and server-side apply merges."""
    keyed = {path: schema["x-kubernetes-list-map-keys"] for path, schema in FIELDS if "x-kubernetes-list-map-keys" in schema}
    assert keyed == {
        "spec.parameters": ["name"],
        "spec.scheduler.pbt.hyperparamMutations": ["name"],
        "spec.trial.template.spec.containers": ["name"],
        "status.conditions": ["type"],
        "status.lastTrials": ["name"],
        "status.topTrials": ["name"],
    }


def test_only_json_values_may_be_null() -> None:
    nullable = {path for path, schema in FIELDS if schema.get("nullable")}
    assert {path.rpartition(".")[2] for path in nullable} == {"choice[]", "gridSearch[]"}


def test_the_status_is_bounded() -> None:
    status = ROOT["properties"]["status"]["properties"]
    assert status["topTrials"]["maxItems"] == 10
    assert status["conditions"]["items"]["required"] == ["type", "status", "reason", "message", "lastTransitionTime"]
    assert ROOT["properties"]["status"]["default"] == {"observedGeneration": -1}


def test_every_field_of_the_spec_is_in_the_tables() -> None:
    """A field that no right experiment uses is a field that nobody has tried."""
    bodies = [row.body() for row in RIGHT] + [row.body() for _, row in NOT_YET]
    used = {tuple(step for step in place if isinstance(step, str)) for body in bodies for place in places(body)}
    wanted = {tuple(path.replace("[]", "").replace("{}", "").split(".")) for path, _ in FIELDS if path.startswith("spec")}
    mutation = ("spec", "scheduler", "pbt", "hyperparamMutations")  # the same primitives as in parameters
    assert sorted(path for path in wanted - used if path[:4] != mutation) == []
