"""JSON without the json module: it says what the json module says, and neither importing nor using the SDK loads that."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kubetune import _json, wire
from tests.runtime.conftest import PACKAGE

NAMES = st.from_regex(wire.METRIC_NAME, fullmatch=True)
VALUES = st.recursive(
    st.floats(allow_nan=False, allow_infinity=False) | st.integers() | st.booleans() | st.text(),
    lambda inner: st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(NAMES, VALUES, min_size=1, max_size=6))
@example({"a": "".join(map(chr, range(256))), "b": {}, "c": -0.0, "d": 10**30, "e": 1e300})
def test_what_is_written_is_what_the_json_module_writes(values: dict[str, object]) -> None:
    assert _json.dumps(values) == json.dumps(values, ensure_ascii=False)


@given(JSON, st.sampled_from(["", " ", "\n", "\t\r\n "]))
def test_what_is_read_is_what_the_json_module_reads(value: object, space: str) -> None:
    text = space + json.dumps(value) + space
    assert repr(_json.loads(text)) == repr(json.loads(text))


@pytest.mark.parametrize("text", ["", "{", '{"a": 1} x', "nan", '{"a": "\x01"}', '{"a": 01}', "[1,]", "'a'", "\u00a0{}"])
def test_what_is_no_json_is_refused_in_its_words(text: str) -> None:
    said = []
    for loads in (json.loads, _json.loads):
        with pytest.raises(json.JSONDecodeError, match="char") as refusal:
            loads(text)
        said.append(str(refusal.value))
    assert said[0] == said[1]


def test_a_python_without_the_scanner_reads_with_the_json_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "_json", None)
    assert _json.loads(' {"a": [1, 2.5, null]} ') == {"a": [1, 2.5, None]}


@given(NAMES | st.text(max_size=4) | st.from_regex(r"[A-Za-z_./-]{120,140}", fullmatch=True))
@example("a" * 128)
@example("a" * 129)
@example("a\n")
@example("é")
def test_a_metric_name_is_what_the_pattern_matches(name: str) -> None:
    assert wire.is_metric_name(name) == (re.fullmatch(wire.METRIC_NAME, name) is not None)


def test_a_short_program_loads_next_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text('{"lr": 0.1}')
    code = (
        "import sys; before = set(sys.modules); import kubetune; lr = kubetune.params()['lr'];"
        " kubetune.report(loss=lr); kubetune.seed(); kubetune.trial(); print(*sorted(set(sys.modules) - before))"
    )
    env = {
        "PYTHONPATH": str(PACKAGE),
        wire.ENV_PARAMS_FILE: str(tmp_path / "params.json"),
        wire.ENV_REPORTS: str(tmp_path / "reports.jsonl"),
        wire.ENV_SEED: "1",
    }
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    loaded = [name for name in done.stdout.split() if not name.startswith("kubetune")]
    assert set(loaded) <= {"_json", "__future__"}
    assert (tmp_path / "reports.jsonl").read_text() == '{"loss": 0.1}\n'
