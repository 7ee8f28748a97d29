"""report(): which values become which line, what is refused and how, and when nothing is written."""

from __future__ import annotations

import enum
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kubetune
from kubetune import wire
from tests.runtime.conftest import PACKAGE


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(wire.ENV_REPORTS, str(tmp_path / "reports.jsonl"))
    return tmp_path / "reports.jsonl"


def lines(reports: Path) -> list[Any]:
    return [json.loads(line) for line in reports.read_bytes().split(b"\n")[:-1]]


class Level(enum.IntEnum):
    """A whole number with a name."""

    HIGH = 3


class Phase(str, enum.Enum):  # noqa: UP042 - the old way, whose str() is not its value
    """A string with a name."""

    WARM = "warm"


class Zero:
    """What torch, jax and others make of one number: no dimension, and item()."""

    ndim = 0

    def __init__(self, inner: object) -> None:
        self.inner = inner

    def item(self) -> object:
        return self.inner


VALUES: dict[str, tuple[object, object]] = {
    "float": (0.1 + 0.2, 0.30000000000000004),
    "int": (12, 12),
    "64 bits": (2**63 - 1, 9223372036854775807),
    "beyond 64 bits": (10**30, 1000000000000000000000000000000),
    "bool": (True, True),
    "string": ("é\n😀", "é\n😀"),
    "NaN": (math.nan, "NaN"),
    "infinity": (math.inf, "Infinity"),
    "minus infinity": (-math.inf, "-Infinity"),
    "minus zero": (-0.0, -0.0),
    "IntEnum": (Level.HIGH, 3),
    "string Enum": (Phase.WARM, "warm"),
    "numpy float64": (np.float64(0.25), 0.25),
    "numpy float32": (np.float32(0.5), 0.5),
    "numpy NaN": (np.float32("nan"), "NaN"),
    "numpy int64": (np.int64(-3), -3),
    "numpy bool": (np.bool_(True), True),
    "numpy string": (np.str_("x"), "x"),
    "numpy array of no dimension": (np.array(7), 7),
    "tensor of no dimension": (Zero(1.5), 1.5),
    "tensor of no dimension, infinite": (Zero(math.inf), "Infinity"),
    "nested": ({"a": {"b": 1, "c": math.nan}}, {"a": {"b": 1, "c": "NaN"}}),
}


@pytest.mark.parametrize(("value", "written"), VALUES.values(), ids=VALUES)
def test_values_are_written_as_json_can_hold_them(reports: Path, value: object, written: object) -> None:
    for _ in range(2):  # a name that is known takes a shorter way
        kubetune.report(x=1)
        kubetune.report(x=value)
    assert lines(reports) == [{"x": 1}, {"x": written}] * 2
    assert type(lines(reports)[-1]["x"]) is type(written)


REFUSED: dict[str, tuple[object, type[Exception], str]] = {
    "a list": ({"loss": [1]}, TypeError, r"^metric loss: .*got list; report one value of it, or loss_0=…, loss_1=…$"),
    "a tuple, nested": ({"a": {"loss": (1, 2)}}, TypeError, r"^metric a/loss: .*got tuple; .* or loss_0=…, loss_1=…$"),
    "an object": ({"loss": object()}, TypeError, r"^metric loss: must be a number.*got object; report a number: float\(loss\)$"),
    "None": ({"loss": None}, TypeError, r"^metric loss: .*got NoneType; leave the key out$"),
    "an array": ({"loss": np.ones(3)}, TypeError, r"^metric loss: .*got ndarray; report a number: loss\.mean\(\)\.item\(\)$"),
    "an array of one": ({"loss": np.ones(1)}, TypeError, r"^metric loss: .*got ndarray; "),
    "nested": ({"a": {"loss": {1}}}, TypeError, r"^metric a/loss: .*got set; report a number: float\(loss\)$"),
    "a complex number": ({"loss": 1j}, TypeError, r"^metric loss: .*got complex"),
    "numpy, complex": ({"loss": np.complex64(1)}, TypeError, r"^metric loss: .*got complex64"),
    "bytes": ({"loss": b"1"}, TypeError, r"^metric loss: .*got bytes"),
    "a name that is no string": ({1: 2}, ValueError, r"^metric names must be strings, got 1; write '1'$"),
    "a nested one": ({"a": {2: 2}}, ValueError, r"^metric names must be strings, got 2 in a; write '2'$"),
    "an empty name": ({"": 1}, ValueError, r"^metric name '': must start with a letter or _"),
    "a space in it": ({"val loss": 1}, ValueError, r"^metric name 'val loss': must start.*; rename it$"),
    "a newline at its end": ({"loss\n": 1}, ValueError, r"^metric name 'loss\\n': must"),
    "a digit first": ({"1st": 1}, ValueError, r"^metric name '1st': must"),
    "too long a name": ({"a" * 129: 1}, ValueError, r"^metric name 'a{129}': must"),
    "too long when nested": ({"a" * 100: {"b" * 28: 1}}, ValueError, r"^metric name 'a{100}/b{28}': must"),
    "not ASCII": ({"größe": 1}, ValueError, r"^metric name 'größe': must"),
    "nothing": ({}, ValueError, r"^a report needs at least one metric, got none; report\(loss=0\.3\)$"),
    "nothing, nested": ({"a": {"b": {}}}, ValueError, r"^a report needs at least one metric"),
    "one name twice": (
        {"a/b": 1, "a": {"b": 2}},
        ValueError,
        r"^metric a/b is reported twice in one report; rename one of them$",
    ),
    "too long": ({"x": "y" * wire.MAX_LINE}, ValueError, r"^a report must fit into 65536 bytes, got 65545; report fewer"),
    "half a character": (
        {"x": "\ud800"},
        ValueError,
        r"^a reported string cannot be written as UTF-8 \(surrogates not allowed\)",
    ),
    "too many": (
        {f"m{i}": i for i in range(257)},
        ValueError,
        r"^a trial may report 256 different metrics, got 257; use fewer names$",
    ),
    "no dict": ([("loss", 1)], TypeError, r"^report\(\) takes a dict of metrics, got list; "),
}


@pytest.mark.parametrize("inside", [True, False], ids=["in a trial", "outside"])
@pytest.mark.parametrize(("metrics", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_metric_is_refused_and_nothing_written(
    reports: Path, monkeypatch: pytest.MonkeyPatch, metrics: Any, error: type[Exception], message: str, *, inside: bool
) -> None:
    if not inside:
        monkeypatch.delenv(wire.ENV_REPORTS)
    with pytest.raises(error, match=message):
        kubetune.report(metrics)
    assert not reports.exists() or reports.read_bytes() == b""


def test_a_name_that_is_known_excuses_no_bad_value(reports: Path) -> None:
    kubetune.report({"a": {"b": 1}, "c": 1})
    bad: Any
    for bad in ({"a": {"b": [1]}}, {"a": 1, "c": None}, {"a": {"b": {"d": []}}}, {"a/b": 1, "a": {"b": 1}}):
        with pytest.raises((TypeError, ValueError), match="metric "):
            kubetune.report(bad)
    kubetune.report({"a": {"b": math.nan}})
    assert lines(reports) == [{"a": {"b": 1}, "c": 1}, {"a": {"b": "NaN"}}]


def test_different_names_are_counted_over_the_whole_trial(reports: Path) -> None:
    kubetune.report({f"m{i}": i for i in range(200)})
    kubetune.report({"n": {f"m{i}": i for i in range(56)}})
    kubetune.report(m3=1)
    with pytest.raises(ValueError, match="256 different metrics, got 257"):
        kubetune.report(one_more=1)
    assert len(lines(reports)) == 3


def test_a_dict_and_keywords_make_one_report(reports: Path) -> None:
    kubetune.report({"loss": 1, "wait": 2}, metrics=3, epoch=4)
    assert lines(reports) == [{"loss": 1, "wait": 2, "metrics": 3, "epoch": 4}]
    with pytest.raises(ValueError, match="metric loss is reported twice"):
        kubetune.report({"loss": 1}, loss=2)


NAMES = st.from_regex(r"[a-z_][a-z0-9_.-]{0,8}", fullmatch=True)
NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.text(st.characters(codec="utf-8")),
)
NESTED = st.dictionaries(
    NAMES,
    st.recursive(NUMBERS, lambda below: st.dictionaries(NAMES, below, min_size=1, max_size=3), max_leaves=8),
    min_size=1,
    max_size=5,
)


@settings(max_examples=50)
@given(first=NESTED, second=NESTED)
def test_what_json_can_hold_arrives_unchanged(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, Any], second: dict[str, Any]
) -> None:
    reports = tmp_path_factory.mktemp("trial") / "reports.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(wire.ENV_REPORTS, str(reports))
        for metrics in (first, second, first):
            kubetune.report(metrics)
    assert lines(reports) == [first, second, first]


@pytest.mark.parametrize(
    ("rank", "all_ranks", "written"),
    [("", False, 1), ("0", False, 1), ("1", False, 0), ("7", True, 1), ("0", True, 1)],
)
def test_of_a_distributed_program_rank_0_reports(
    reports: Path, monkeypatch: pytest.MonkeyPatch, rank: str, *, all_ranks: bool, written: int
) -> None:
    monkeypatch.setenv("RANK", rank)
    kubetune.report(loss=1, all_ranks=all_ranks)
    assert (len(lines(reports)) if reports.exists() else 0) == written


def test_checkpoints_are_refused_aloud_until_they_are_carried_out(reports: Path) -> None:
    with pytest.raises(NotImplementedError, match="checkpoints are not carried out yet; leave checkpoint= out"):
        kubetune.report(loss=1, checkpoint="model")
    assert not reports.exists()


def test_after_a_stop_every_report_raises_and_writes_nothing(reports: Path) -> None:
    kubetune.report(loss=1)
    (reports.parent / wire.STOP_FILE).write_text("the rung was not reached\n")
    for _ in range(2):
        with pytest.raises(kubetune.TrialStopped, match=r"^the rung was not reached$") as stopped:
            kubetune.report(loss=2)
        assert stopped.value.code == 0
    assert lines(reports) == [{"loss": 1}]


def test_another_trial_in_the_same_process_has_its_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b", "a"):
        monkeypatch.setenv(wire.ENV_REPORTS, str(tmp_path / name))
        kubetune.report(loss=1)
    assert [len(lines(tmp_path / name)) for name in ("a", "b")] == [2, 1]


def test_threads_and_forked_processes_write_whole_lines(reports: Path) -> None:
    code = """
import kubetune, os, threading
def work(who):
    for i in range(200): kubetune.report(who=who, i=i, padding="x" * 300)
kubetune.report(start=1)
children = []
for who in (4, 5):
    children.append(os.fork())
    if children[-1] == 0:
        work(who)
        os._exit(0)
threads = [threading.Thread(target=work, args=(who,)) for who in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
for child in children: os.waitpid(child, 0)
"""
    env = {"PYTHONPATH": str(PACKAGE), wire.ENV_REPORTS: str(reports)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    found = [(line["who"], line["i"]) for line in lines(reports)[1:]]
    assert sorted(found) == [(who, i) for who in range(6) for i in range(200)]


def test_after_a_write_that_was_cut_short_the_next_report_is_whole(reports: Path) -> None:
    """A full disk takes part of a line: that one is an error and a torn line, and what follows is not part of it."""
    code = """
import kubetune, resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
kubetune.report(a=1)
resource.setrlimit(resource.RLIMIT_FSIZE, (30, resource.RLIM_INFINITY))
try: kubetune.report(b="x" * 100)
except OSError as error: print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
kubetune.report(c=1)
"""
    env = {"PYTHONPATH": str(PACKAGE), wire.ENV_REPORTS: str(reports)}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True)
    assert done.stdout.endswith("only 21 of 110 bytes of a report were written; is the disk full?\n"), done.stdout + done.stderr
    assert reports.read_text().split("\n") == ['{"a": 1}', '{"b": "' + "x" * 14, '{"c": 1}', ""]


def test_outside_a_trial_it_is_said_once() -> None:
    code = "import kubetune\nfor i in range(3): kubetune.report(loss=i, wait=True)\nprint(kubetune.trial())"
    env = {"PYTHONPATH": str(PACKAGE)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"
    assert done.stderr == "kubetune: KUBETUNE_REPORTS is not set, so this is no trial; reports are checked and go nowhere\n"
