"""What every model of the resource has in common: strictness, camelCase, rules that cross fields, settings that core declares.

The fields themselves are in the modules named after what they describe; how an error is worded is in `problems`, how the
models become the CRD in `schema`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Self, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from kubetune_operator.core import bounds
from kubetune_operator.core.bounds import KEY, LARGEST, Rule, Setting
from kubetune_operator.errors import Problem

PROBLEMS = "kubetune_problems"  # the type of a validation error that carries finished problems, their paths relative to its own
MUTABLE = "x-mutable"  # in a field's JSON schema: may be changed after creation
RULES = "x-kubernetes-validations"

WORDS: dict[str, str] = {}  # what is said instead of a pattern, which few people read


def _pattern(pattern: str, words: str) -> str:
    WORDS[pattern] = words
    return pattern


METRIC = _pattern(bounds.METRIC, "letters, digits and any of _ . / -, beginning with a letter or _")
LABEL = _pattern(
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "lower-case letters, digits and -, beginning and ending with a letter or digit"
)
FILE = _pattern(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", "a plain file name: letters, digits, _ . -, and no folder")
UID = _pattern(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", "a uid as kubectl prints it")
QUANTITY = _pattern(r"^[1-9][0-9]{0,14}(k|M|G|Ki|Mi|Gi)?$", "a whole number of bytes, or one with k, M, G, Ki, Mi or Gi")

MetricName = Annotated[str, Field(max_length=128, pattern=METRIC)]
ExperimentName = Annotated[str, Field(max_length=52, pattern=LABEL)]
Expression = Annotated[str, Field(min_length=1, max_length=512)]
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]


def camel(name: str) -> str:
    """Spell a Python name as the YAML does."""
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def refuse(problems: Iterable[Problem]) -> None:
    """Hand problems found by a check of ours to pydantic, which collects them with its own; none are no error."""
    found = tuple(problems)
    if found:
        raise PydanticCustomError(PROBLEMS, "{count} problems", {"count": len(found), "problems": found})


def _with_rules(schema: dict[str, Any], model: type[Model]) -> None:
    """Add to an object's JSON schema the rules that the API server can check."""
    rules = [validation(rule, model) for rule in model.RULES if rule.cel]
    if rules:
        schema[RULES] = rules


def validation(rule: Rule, model: type[Model] | None = None) -> dict[str, Any]:
    """Write a rule as the CRD has it; a plain value that it points at is named in the message, since the server leaves it out."""
    written: dict[str, Any] = {"rule": rule.cel, "message": rule.message}
    if rule.field:
        written |= {"fieldPath": f".{rule.field}", "reason": "FieldValueInvalid"}
    fields = model.model_fields.values() if model else ()
    if any(field.alias == rule.field and _is_plain(field) for field in fields):
        quoted = rule.message.replace("\\", "\\\\").replace("'", "\\'").replace("%", "%%")
        written["messageExpression"] = f"'{quoted}, got %s'.format([self.{rule.field}])"
    return written


def _is_plain(field: FieldInfo) -> bool:
    kinds = get_args(field.annotation) if get_origin(field.annotation) in {Union, UnionType} else (field.annotation,)
    return all(getattr(kind, "__origin__", kind) in {bool, int, float, str, NoneType} for kind in kinds)


class Names:
    """Field names, as a message quotes them; the repr is for `errors.shown`."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = sorted(names)

    def __repr__(self) -> str:
        return " and ".join(self._names) or "none"


class Model(BaseModel):
    """An object of the resource: no field but those declared, no value converted."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, alias_generator=camel, json_schema_extra=_with_rules, defer_build=True
    )

    RULES: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        """Take null for absence, as the API server does (it drops the field, or puts the default there)."""
        if not isinstance(given, dict):
            return given
        known = {field.alias for field in cls.model_fields.values()}
        return {key: value for key, value in given.items() if value is not None or key not in known}

    @model_validator(mode="after")
    def _keep_rules(self) -> Self:
        refuse(
            Problem(f".{rule.field}" if rule.field else "", rule.message, self._shown(rule.field), rule.remedy)
            for rule in self.RULES
            if not rule.holds(self)
        )
        return self

    def _shown(self, alias: str) -> Any:
        """Give what a message quotes: the field that a rule points at, or the names of what the object has."""
        return self.value_at(alias) if alias else Names(name for name in self.given() if self.value_at(name) is not None)

    def value_at(self, alias: str) -> Any:
        """Give the value of a field by its YAML name; None for no field."""
        return next((getattr(self, name) for name, field in type(self).model_fields.items() if field.alias == alias), None)

    def given(self) -> set[str]:
        """Give the YAML names of the fields that were written, defaults not counted."""
        return {
            cast("str", type(self).model_fields[name].alias) for name in self.model_fields_set if name in type(self).model_fields
        }


def extra(field: FieldInfo) -> Mapping[str, Any]:
    """Give what a field adds to its JSON schema."""
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def dump(model: Model) -> dict[str, Any]:
    """Give a model as plain values with every default in it; what is absent stays absent."""
    written: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if value is not None:
            written[cast("str", field.alias)] = _dumped(value)
    return written | (model.model_extra or {})


def _dumped(value: Any) -> Any:
    if isinstance(value, Model):
        return dump(value)
    return [_dumped(item) for item in value] if isinstance(value, list) else value


def one_of(*names: str, exactly: bool = False) -> Rule:
    """Make the rule that at most (or exactly) one of these fields is there."""
    # dyn(): CEL does not know the type of a field that may hold anything, but it is there all the same.
    count = " + ".join(f"(has(dyn(self).{name}) ? 1 : 0)" for name in names)
    words = f"must have {'exactly' if exactly else 'at most'} one of {', '.join(names)}"

    def holds(model: Model) -> bool:
        present = len(model.given().intersection(names))
        return present == 1 if exactly else present <= 1

    return Rule(f"{count} {'==' if exactly else '<='} 1", words, holds, remedy=f"{'write' if exactly else 'keep'} one of them")


def settings(cls: type[Any]) -> type[Model]:
    """Make the model of a settings class of core: the same names, bounds, defaults, words and rules."""
    hints = get_type_hints(cls)
    fields: dict[str, Any] = {each.name: (hints[each.name], _field(each)) for each in dataclasses.fields(cls)}
    made = create_model(cls.__name__, __base__=Model, __doc__=cls.__doc__, **fields)
    made.RULES = cls.RULES
    return made


def _field(declared: dataclasses.Field[Any]) -> Any:
    return Field(... if declared.default is dataclasses.MISSING else declared.default, **constraints(declared.metadata[KEY]))


def constraints(declared: Setting) -> dict[str, Any]:
    """Give the bounds and words of a setting as pydantic's Field takes them."""
    limits = {name: getattr(declared, name) for name in ("ge", "gt", "le", "lt", "max_length", "pattern")}
    if declared.max_items is not None:
        limits |= {"min_length": declared.min_items, "max_length": declared.max_items}
    return {"description": declared.description} | {name: limit for name, limit in limits.items() if limit is not None}


def core_settings(model: Model, cls: type[Any]) -> Any:
    """Make core's object of a settings class from its model."""
    return cls(**{each.name: getattr(model, each.name) for each in dataclasses.fields(cls)})
