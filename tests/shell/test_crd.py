"""The CRD is what the models say, and what the API server's own validation accepts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from kubetune_operator.api import crd
from tests.crdcheck import checker
from tests.shell.wrong_experiments import good


def test_the_committed_crd_is_what_the_models_say() -> None:
    assert checker.CRD.read_text() == crd.text(), "run `make crds`"


def test_the_api_server_accepts_the_definition() -> None:
    assert checker.definition() == []


def test_it_is_small_enough_to_be_applied_by_any_client() -> None:
    assert len(json.dumps(yaml.safe_load(checker.CRD.read_text()))) < 200_000


def leaves(schema: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Walk a schema, template and metadata left out."""
    yield path, schema
    if path.endswith(".template"):
        return
    for name, inner in schema.get("properties", {}).items():
        yield from leaves(inner, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            yield from leaves(schema[key], f"{path}[]")


def test_every_field_has_a_description_and_every_string_and_list_a_bound() -> None:
    root = crd.manifest()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    missing = []
    for path, schema in leaves(root["properties"]["spec"], "spec"):
        if "description" not in schema and not path.endswith("[]"):
            missing.append(f"{path}: description")
        if schema.get("type") == "string" and "enum" not in schema and "maxLength" not in schema:
            missing.append(f"{path}: maxLength")
        if schema.get("type") == "array" and "maxItems" not in schema:
            missing.append(f"{path}: maxItems")
        if schema.get("type") in {"integer", "number"} and not {"minimum", "maximum"} <= schema.keys():
            missing.append(f"{path}: minimum and maximum")
    assert missing == []


@pytest.mark.parametrize(
    ("field", "value", "refused"),
    [
        ("numSamples", 9, False),
        ("maxConcurrentTrials", 9, False),
        ("objective", {"metric": "loss", "mode": "Minimize"}, True),
        ("parameters", [], True),
        ("scheduler", {}, True),
        ("stop", {"metrics": {"accuracy": 0.5}}, True),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_only_what_is_marked_mutable_can_be_changed(field: str, value: Any, *, refused: bool) -> None:
    changed = good()
    changed["spec"][field] = value
    [answer] = checker.judge([changed], old=good())
    assert bool(answer.errors) == refused, answer.errors


def test_defaults_are_visible_in_the_stored_object() -> None:
    [answer] = checker.judge([good()])
    spec = answer.stored["spec"]
    assert (spec["numSamples"], spec["maxConcurrentTrials"], spec["suspend"]) == (1, 4, False)
    assert spec["logs"]["files"] == ["stdout", "stderr"]
