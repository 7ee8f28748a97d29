"""A YAML (or JSON) file as kubectl reads it: one TuneExperiment, as plain JSON values. What is in it is not judged here.

Stricter than kubectl where a file can only be a mistake or an attack: keys that are there twice, floats as keys, unusual tags,
bombs of aliases, more than 1 MiB. Errors say line and column.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from kubetune_operator.api import scalars
from kubetune_operator.api.identity import GROUP, KIND
from kubetune_operator.api.plain import MAX_DEPTH, plain
from kubetune_operator.errors import InvalidSpec, Problem

MAX_BYTES = 2**20
MAX_VALUES = 100_000  # in one file, those that aliases repeat included
_MERGE = "tag:yaml.org,2002:merge"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SEPARATOR = re.compile(r"^---[ \t]*[^#\s]", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Document:
    """The TuneExperiment of a file, and what else is in the file, which only a cluster can make use of."""

    body: dict[str, Any]
    others: tuple[str, ...]  # "ConfigMap settings"


def read(file: Path) -> Document:
    """Read a file. Raises InvalidSpec, and OSError as it comes."""
    with file.open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        _refuse(
            str(file), f"must not be longer than {MAX_BYTES} bytes", None, "an experiment is a few kilobytes; keep data elsewhere"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse(str(file), "must be UTF-8", f"byte {error.start}", "save it as UTF-8")
    document = load(text, str(file))
    if _is_of_others(document.body):
        _refuse(str(file), f"has no {KIND}, only {_called(document.body)}", None, f"add a {KIND}")
    return document


def load(text: str, name: str) -> Document:
    """Read the text of a file; `name` is what errors call it. Raises InvalidSpec."""
    documents = [(line, each) for line, each in _documents(text, name) if each is not None]
    for line, each in documents:
        if not isinstance(each, dict):
            _refuse(f"{name}:{line}", "must be an object", each, f"a {KIND} begins with apiVersion, kind, metadata and spec")
    ours = [(line, each) for line, each in documents if each.get("kind") == KIND]
    if len(ours) > 1:
        lines = ", ".join(str(line) for line, _ in ours)
        _refuse(name, f"must have one {KIND}", f"{len(ours)}, at lines {lines}", "put each into a file of its own")
    if not documents:
        _refuse(name, "is empty", None, f"a {KIND} begins with apiVersion, kind, metadata and spec")
    if not ours and len(documents) > 1:
        _refuse(name, f"has no {KIND}, only {', '.join(_called(each) for _, each in documents)}", None, f"add a {KIND}")
    _, body = (ours or documents)[0]
    return Document(plain(body), tuple(_called(each) for _, each in documents if each is not body))


def _is_of_others(body: dict[str, Any]) -> bool:
    """Say whether it is another resource, and not a TuneExperiment with a mistake in its kind."""
    group, kind = body.get("apiVersion"), body.get("kind")
    return isinstance(group, str) and isinstance(kind, str) and not group.startswith(GROUP)


def _called(body: dict[str, Any]) -> str:
    metadata = body.get("metadata")
    return f"{body.get('kind')} {metadata.get('name') if isinstance(metadata, dict) else None}"


def _documents(text: str, name: str) -> Iterator[tuple[int, Any]]:
    """Give each document with its line."""
    if text.lstrip().startswith("{"):
        try:
            yield 1, json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
        except (ValueError, RecursionError):
            pass  # as YAML it may be right, and if not, the error has a line
        else:
            return
    if odd := _SEPARATOR.search(text):
        line = text.count("\n", 0, odd.start()) + 1
        _refuse(f"{name}:{line}:1", "must have nothing behind --- but a comment", odd.group(), "put it on the next line")
    yield from _Reader(text, name).documents()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key is there twice")
    return made


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"JSON has no {word}")


class _Reader:
    """Turns the parser's events into values, counting them as it goes, so that nothing grows beyond its bounds."""

    def __init__(self, text: str, name: str) -> None:
        self._text = text
        self._name = name
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)
        self._anchors: dict[str, tuple[Any, int]] = {}  # value, and how many values are in it
        self._count = 0

    def documents(self) -> Iterator[tuple[int, Any]]:
        """Give each document with its line."""
        while not isinstance(event := self._next(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                first = self._next()
                yield (first.start_mark.line + 1 if first.start_mark else 1), self._value(first, 0)

    def _next(self) -> yaml.Event:
        try:
            return next(self._events)
        except yaml.reader.ReaderError as error:
            line = self._text.count("\n", 0, error.position) + 1
            _refuse(f"{self._name}:{line}", f"is not YAML: {error.reason}", None, "remove the character")
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            rule = f"is not YAML: {error.problem}"
            _refuse(self._at(mark), rule, None, "look at the indentation, the quotes and the brackets before it")

    def _value(self, event: yaml.Event, depth: int) -> Any:
        if depth > MAX_DEPTH:
            self._refuse(event, f"must not be nested deeper than {MAX_DEPTH} levels", None, "flatten it")
        before = self._count
        self._add(1, event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = []
            while not isinstance(item := self._next(), yaml.SequenceEndEvent):
                value.append(self._value(item, depth + 1))
        else:
            value = self._mapping(depth)
        if isinstance(event, yaml.NodeEvent) and event.anchor:
            self._anchors[event.anchor] = (value, self._count - before)
        return value

    def _add(self, count: int, event: yaml.Event) -> None:
        self._count += count
        if self._count > MAX_VALUES:
            self._refuse(event, f"must not have more than {MAX_VALUES} values, aliases written out", None, "use fewer aliases")

    def _alias(self, event: yaml.AliasEvent) -> Any:
        if event.anchor not in self._anchors:
            self._refuse(
                event, "must name an anchor that ends before it", f"*{event.anchor}", "add the anchor, or write the value out"
            )
        value, count = self._anchors[event.anchor]
        self._add(count, event)
        return value

    def _scalar(self, event: yaml.ScalarEvent) -> Any:
        try:
            if event.tag is not None:
                value = scalars.tagged(event.value, event.tag)
            else:
                value = scalars.resolve(event.value) if event.implicit[0] else event.value
        except ValueError as error:
            self._refuse(event, str(error), event.value, "remove the tag")
        if isinstance(value, float) and value - value != 0:
            self._refuse(event, "must be a number that JSON has", event.value, "write a finite number, or put it in quotes")
        return value

    def _mapping(self, depth: int) -> dict[str, Any]:
        made: dict[str, Any] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            if isinstance(event, yaml.ScalarEvent) and event.value == "<<" and (event.implicit[0] or event.tag == _MERGE):
                for key, value in self._merged(event, depth):
                    self._put(made, key, value, event)
            else:
                key = self._key(event, depth)
                self._put(made, key, self._value(self._next(), depth + 1), event)
        return made

    def _put(self, made: dict[str, Any], key: str, value: Any, event: yaml.Event) -> None:
        if key in made:
            self._refuse(event, "must not be there twice", key, "remove one of the two")
        made[key] = value

    def _merged(self, event: yaml.Event, depth: int) -> list[tuple[str, Any]]:
        value = self._value(self._next(), depth + 1)
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(each, dict) for each in sources):
            self._refuse(event, "must merge objects", value, "write << with an alias of an object")
        return [pair for each in reversed(sources) for pair in each.items()]

    def _key(self, event: yaml.Event, depth: int) -> str:
        key = self._value(event, depth + 1)
        if isinstance(key, bool):
            return "true" if key else "false"
        if isinstance(key, int) and -(2**63) <= key < 2**63:
            return str(key)
        if not isinstance(key, str):
            self._refuse(event, "must be a string where a key is", key, "put it in quotes")
        return key

    def _at(self, mark: Any) -> str:
        return f"{self._name}:{mark.line + 1}:{mark.column + 1}" if mark else self._name

    def _refuse(self, event: yaml.Event, rule: str, value: Any, remedy: str) -> NoReturn:
        _refuse(self._at(event.start_mark), rule, value, remedy)


def _refuse(place: str, rule: str, value: Any, remedy: str) -> NoReturn:
    raise InvalidSpec((Problem(place, rule, value, remedy),))
