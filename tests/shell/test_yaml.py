"""A file is read as kubectl reads it: the expected values of the table are the Go library's own output."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune_operator.api import reading, scalars
from kubetune_operator.errors import InvalidSpec
from tests.crdcheck import checker

# What sigs.k8s.io/yaml makes of each text. To add one, add a line {"text": "..."} and run `python -m tests.shell.test_yaml`.
TABLE = Path(__file__).with_name("yaml_table.jsonl")


def whole(digits: str) -> int | float:
    """Read a whole number as the API server does: beyond 64 bits it is a float."""
    number = int(digits)
    return number if -(2**63) <= number < 2**63 else float(digits)


ROWS: list[dict[str, Any]] = [json.loads(line, parse_int=whole) for line in TABLE.read_text().splitlines()]
TEXTS = [row["text"] for row in ROWS]

# What kubectl takes and we refuse: it can only be a mistake, or nobody writes it.
STRICTER = {
    "1.5: x": "must be a string where a key is",
    "1e3: x": "must be a string where a key is",
    "- - 1\n  - 2": "must be an object",
    "x: !foo bar": "must not have the tag !foo",
    "x: !!binary aGk=": "must not have the tag !!binary",
    "x: !!timestamp 2026-01-31": "must not have the tag !!timestamp",
}


def exact(value: Any) -> Any:
    """Make values comparable with their types: 1, 1.0 and true are three."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return type(value), value


@pytest.mark.parametrize(
    "row", [row for row in ROWS if "json" in row and row["text"] not in STRICTER], ids=lambda row: ascii(row["text"])
)
def test_a_document_is_what_kubectl_makes_of_it(row: dict[str, Any]) -> None:
    assert exact(reading.load(row["text"], "f").body) == exact(row["json"])


@pytest.mark.parametrize("text", [row["text"] for row in ROWS if "error" in row], ids=ascii)
def test_what_kubectl_cannot_read_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(InvalidSpec, match=r"^f:\d+(:\d+)?: (must|is not YAML: )"):
        reading.load(text, "f")


@pytest.mark.parametrize(("text", "rule"), STRICTER.items(), ids=ascii)
def test_stricter_than_kubectl(text: str, rule: str) -> None:
    assert text in TEXTS
    with pytest.raises(InvalidSpec, match=rule):
        reading.load(text, "f")


@pytest.mark.timeout(900)  # the first call builds the Go program
def test_the_table_is_the_go_librarys_own() -> None:
    assert checker.readings(TEXTS) == TABLE.read_text()


# What the design and the experiments name, once more by hand, so that the table cannot be wrong in silence.
@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("1e-4", 0.0001),
        ("1e3", 1000),
        ("12:30:45", "12:30:45"),
        ("2026-11-24", "2026-11-24"),
        ("010", 8),
        ("0o17", 15),
        ("1_000", 1000),
        ("y", True),
        ("off", False),
        ("~", None),
        ("[1.0, 2.0]", [1, 2]),
        ("[1.0, 0.5]", [1, 0.5]),
    ],
)
def test_a_few_by_hand(written: str, value: Any) -> None:
    assert exact(reading.load(f"a: {written}", "f").body) == exact({"a": value})


@pytest.mark.parametrize(
    ("text", "place", "rule"),
    [
        pytest.param("a: 1\nb: [1, 2\nc: 3", "f:3:2", "is not YAML: did not find expected", id="a bracket left open"),
        pytest.param("a: 1\nb:\n  - x\n  - .nan", "f:4:5", "must be a number that JSON has", id="NaN"),
        pytest.param("a:\n  b: 1\n  b: 2", "f:3:3", "must not be there twice, got 'b'", id="a key twice"),
        pytest.param("1: a\n'1': b", "f:2:1", "must not be there twice", id="two keys that are one, where kubectl takes either"),
        pytest.param("a: *x", "f:1:4", "must name an anchor", id="no such anchor"),
        pytest.param("a: \x07", "f:1", "is not YAML: ", id="a control character"),
        pytest.param("a: 1\n--- b", "f:2:1", "must have nothing behind ---", id="text behind a separator"),
        pytest.param("- 1", "f:1", "must be an object", id="a list"),
    ],
)
def test_errors_say_line_and_column(text: str, place: str, rule: str) -> None:
    with pytest.raises(InvalidSpec, match=rule) as refusal:
        reading.load(text, "f")
    assert refusal.value.problems[0].field == place


def bomb(levels: int) -> str:
    """Write lists of ten aliases of lists of ten aliases, and so on."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param(bomb(9), "must not have more than 100000 values", id="a bomb of aliases"),
        pytest.param("a: " + "[" * 500 + "]" * 500, "must not be nested deeper than 64", id="brackets"),
        pytest.param('{"a": ' + "[" * 50_000 + "]" * 50_000 + "}", "must not be nested deeper|is not YAML", id="JSON brackets"),
        pytest.param("a:\n" + "".join(f"{' ' * n}- \n" for n in range(1, 100)), "must not be nested deeper", id="indentation"),
        pytest.param("a: [" + "1," * 100_001 + "]", "must not have more than 100000 values", id="a long list"),
        pytest.param("a: &x {b: *x}", "must name an anchor that ends before it", id="an alias of itself"),
        pytest.param("a: &x {b: &y {<<: *x}}", "must name an anchor that ends before it", id="a merge of itself"),
    ],
)
def test_bombs_are_refused(text: str, rule: str) -> None:
    with pytest.raises(InvalidSpec, match=rule):
        reading.load(text, "f")


def test_aliases_are_taken_in_reason() -> None:
    assert reading.load(bomb(3), "f").body["a2"][0][0] == [1] * 10


def test_a_long_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "long.yaml"
    file.write_text("a: 1\n" + "#" * 2**20)
    with pytest.raises(InvalidSpec, match="must not be longer than 1048576 bytes"):
        reading.read(file)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes("a: é".encode("latin-1"))
    with pytest.raises(InvalidSpec, match="must be UTF-8"):
        reading.read(file)


def test_a_byte_order_mark_is_no_part_of_it(tmp_path: Path) -> None:
    file = tmp_path / "marked.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: \xc3\xa9")
    assert reading.read(file).body == {"a": "é"}


OURS = "kind: TuneExperiment\nmetadata: {name: a}\n"
OTHER = "kind: ConfigMap\nmetadata: {name: settings}\n"


def test_what_else_is_in_the_file_is_named() -> None:
    """It is for a cluster; whoever runs the experiment here can say so."""
    read = reading.load(f"---\n# nothing\n---\n{OTHER}---\n{OURS}---\n", "f")
    assert read.body["kind"] == "TuneExperiment"
    assert read.others == ("ConfigMap settings",)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        pytest.param(f"{OURS}---\n{OURS}", r"must have one TuneExperiment, got '2, at lines 1, 4'", id="two"),
        pytest.param(
            f"{OTHER}---\nkind: X\n", "f: has no TuneExperiment, only ConfigMap settings, X None; add", id="none of two"
        ),
        pytest.param("# nothing\n---\n", "f: is empty; a TuneExperiment begins with", id="empty"),
    ],
)
def test_a_file_has_one_experiment(text: str, rule: str) -> None:
    with pytest.raises(InvalidSpec, match=rule):
        reading.load(text, "f")


def test_a_file_with_another_resource_alone_says_which(tmp_path: Path) -> None:
    file = tmp_path / "exp.yaml"
    file.write_text("apiVersion: v1\n" + OTHER)
    with pytest.raises(InvalidSpec, match="has no TuneExperiment, only ConfigMap settings; add a TuneExperiment"):
        reading.read(file)


@pytest.mark.parametrize("text", ["kind: TuneExperimnt", "apiVersion: kubetune.dev/v1alpha1\nkind: Experiment"])
def test_a_file_of_one_other_thing_is_read(tmp_path: Path, text: str) -> None:
    """So that a misspelt kind is told with everything else that is wrong."""
    file = tmp_path / "exp.yaml"
    file.write_text(text)
    assert reading.read(file).body["kind"] == text.rpartition(" ")[2]


@pytest.mark.parametrize(
    ("text", "body"),
    [
        pytest.param('{"a": 1e3, "b": "\\ud83d\\ude00", "c": [1.0, null]}', {"a": 1000, "b": "😀", "c": [1, None]}, id="JSON"),
        pytest.param('{"a": NaN}', {"a": "NaN"}, id="a word, as kubectl has it once it is no JSON"),
        pytest.param("{a: 1e3}", {"a": 1000}, id="YAML that begins like JSON"),
    ],
)
def test_json_is_read_as_kubectl_does(text: str, body: Any) -> None:
    assert exact(reading.load(text, "f").body) == exact(body)


def test_a_key_twice_in_json_is_refused_with_its_place() -> None:
    with pytest.raises(InvalidSpec, match=r"^f:2:2: must not be there twice"):
        reading.load('{"a": 1,\n "a": 2}', "f")


@given(st.text(max_size=40) | st.text("01279abefox.+-_: []{}&*!|>'\"\n\t#,<~yn", max_size=60))
def test_no_text_crashes_the_reader(text: str) -> None:
    """A body, or a refusal with a place."""
    try:
        body = reading.load(text, "f").body
    except InvalidSpec as refusal:
        assert refusal.problems[0].field.startswith("f")
    else:
        assert isinstance(body, dict)
        json.dumps(body, allow_nan=False)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63 - 1))
def test_numbers_come_back_as_they_were_written(number: float) -> None:
    assert scalars.resolve(repr(number)) == number
    assert math.copysign(1, scalars.resolve(f"{number!r}")) == math.copysign(1, number)


if __name__ == "__main__":
    TABLE.write_text(checker.readings(TEXTS))
