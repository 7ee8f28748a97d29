"""From a model's JSON schema to the structural schema of a CRD: nothing by reference, nothing that the API server does not take.

What the resource is, besides its spec and status, is in `crd`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubetune_operator.api.base import MUTABLE, RULES, Model
from kubetune_operator.api.problems import number

Schema = dict[str, Any]
_DROPPED = ("title", "discriminator", MUTABLE, "$defs")
_ANYTHING = "x-kubernetes-preserve-unknown-fields"


def structural(model: type[Model], *, mutability: bool) -> Schema:
    """Give the structural schema of a model; `mutability` says in each description whether the field may be changed."""
    whole = model.model_json_schema(by_alias=True)
    made = _structural(whole, whole.get("$defs", {}))
    for name, field in made["properties"].items():
        mutable = _inlined(whole["properties"][name], whole.get("$defs", {})).get(MUTABLE, False)
        words = ("May be changed." if mutable else "Immutable.") if mutability else ""
        _describe(field, words, required=name in made.get("required", []))
    return made


def _structural(given: Mapping[str, Any], defs: Mapping[str, Any]) -> Schema:
    schema = {key: value for key, value in _inlined(given, defs).items() if key not in _DROPPED}
    default = _without_nulls(schema.pop("default", None))
    if default is not None:
        schema["default"] = default
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    for name, flag in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if flag in schema:
            schema |= {name: schema[flag], flag: True}
    if "properties" in schema:
        schema["properties"] = {name: _structural(field, defs) for name, field in schema["properties"].items()}
    if "items" in schema:
        schema["items"] = _structural(schema["items"], defs)
    _keep_fractions(schema)
    return {key: _whole(value) for key, value in _with_inside(schema, defs).items()}


def _keep_fractions(schema: Schema) -> None:
    """Say bounds that are not whole as rules too: beside a whole number the API server cuts them off, and 1 passes for 1.1."""
    for bound, sign, words in (("minimum", ">=", "at least"), ("maximum", "<=", "at most")):
        limit = schema.get(bound)
        if isinstance(limit, float) and not limit.is_integer():
            rule = {"rule": f"self {sign} {limit!r}", "message": f"must be {words} {limit!r}"}
            schema.setdefault(RULES, []).append(rule)


def _with_inside(schema: Schema, defs: Mapping[str, Any]) -> Schema:
    """Say what an object holds besides its properties: a CRD has no patterns for keys, and its own word for `anything`."""
    inside: Any = schema.pop("additionalProperties", None)
    for values in schema.pop("patternProperties", {}).values():
        inside = values
    schema.pop("propertyNames", None)
    if inside is True or not _has_type(schema):
        return schema | {_ANYTHING: True}
    return schema | ({"additionalProperties": _structural(inside, defs)} if inside else {})


def _inlined(given: Mapping[str, Any], defs: Mapping[str, Any]) -> Schema:
    """Put the definition in the place of a reference, and the type in the place of `type or null`; what stands beside it wins."""
    schema = dict(given)
    if "$ref" in schema:
        return _inlined(defs[schema.pop("$ref").removeprefix("#/$defs/")] | schema, defs)
    if "anyOf" in schema:
        (only,) = (each for each in schema.pop("anyOf") if each != {"type": "null"})
        return _inlined(only | schema, defs)
    return schema


def _without_nulls(default: Any) -> Any:
    """Leave out of a default what is absent; Python says None for it."""
    if isinstance(default, dict):
        return {name: _without_nulls(value) for name, value in default.items() if value is not None}
    return default


def _has_type(schema: Schema) -> bool:
    return "type" in schema or "x-kubernetes-int-or-string" in schema


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _describe(field: Schema, mutability: str, *, required: bool) -> None:
    """Complete the descriptions of a field and of everything in it: words, bounds, default, mutability."""
    parts = [_sentence(field.get("description", "")), *_bounds(field), _default(field, required=required), mutability]
    field["description"] = " ".join(part for part in parts if part)
    for name, inner in field.get("properties", {}).items():
        _describe(inner, mutability, required=name in field.get("required", []))
    items = field.get("items", {})
    if "properties" in items:
        for name, inner in items["properties"].items():
            _describe(inner, mutability, required=name in items.get("required", []))


def _sentence(words: str) -> str:
    words = " ".join(words.split())
    return words[:1].upper() + words[1:] + ("" if words.endswith(".") or not words else ".")


def _bounds(field: Schema) -> list[str]:
    low, high = field.get("minimum"), field.get("maximum")
    words = []
    if low is not None and high is not None:
        above = "Above" if field.get("exclusiveMinimum") else "From"
        words.append(f"{above} {number(low)} {'up ' if above == 'Above' else ''}to {number(high)}.")
    if "maxLength" in field and "enum" not in field and low is None:
        words.append(f"At most {field['maxLength']} characters.")
    if "maxItems" in field:
        words.append(f"{field.get('minItems', 0)} to {field['maxItems']} entries.")
    if "maxProperties" in field:
        words.append(f"At most {field['maxProperties']} entries.")
    if "enum" in field:
        words.append(f"One of {', '.join(map(str, field['enum']))}.")
    return words


def _default(field: Schema, *, required: bool) -> str:
    default = field.get("default")
    if required:
        return "Required."
    if default is None or isinstance(default, dict):
        return ""
    if isinstance(default, list):
        return f"Default [{', '.join(map(str, default))}]."
    return f"Default {str(default).lower() if isinstance(default, bool) else default}."


def immutable(spec: Schema, mutable: set[str]) -> None:
    """Add the rules that refuse a change of every field of the spec that is not in `mutable`."""
    message = "must not be changed after creation; start another experiment instead"
    rules = spec.setdefault(RULES, [])
    for name, field in spec["properties"].items():
        if name in mutable:
            continue
        if name in spec.get("required", []):
            field.setdefault(RULES, []).append({"rule": "self == oldSelf", "message": message})
        else:  # a rule on the field itself would be skipped when the field is added or removed
            same = f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})"
            rules.append({"rule": same, "message": message, "fieldPath": f".{name}"})
