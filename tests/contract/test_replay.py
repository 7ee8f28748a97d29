"""The recorded traces of Ray's schedulers: ours decide alike, or as documented; and the traces would show a faulty ASHA.

That they would show a faulty median stopping is in `test_median_traces`.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from kubetune_operator.core.trials import Decision, SchedulerState, Verdict
from tests.contract import replay
from tests.contract.naive import NaiveAsha, Rules, Score

PATHS = sorted(path for path in replay.TRACES.glob("*.json") if path.stem.startswith(("asha_", "median_")))
TRACES = [replay.load(path) for path in PATHS]
by_name = pytest.mark.parametrize("trace", TRACES, ids=lambda trace: trace.name)


def test_all_traces_are_there() -> None:
    """A trace that went missing is not one that passed."""
    assert Counter(trace.scheduler for trace in TRACES) == {"asha": 27, "median": 17}
    assert [path.stem for path in PATHS] == [trace.name for trace in TRACES]


@by_name
def test_trace_is_equal_or_documented(trace: replay.Trace) -> None:
    """Ray's decisions; where DIFFERENCES.md lists the trace, those of the naive implementation."""
    assert replay.compare(trace) == ("documented" if trace.name in replay.documented() else "equal")


@by_name
def test_naive_implementation_decides_as_ours(trace: replay.Trace) -> None:
    """The second implementation is right about Ray as well, so it is a judge where Ray is none."""
    assert replay.decisions(trace, replay.naive(trace)) == replay.decisions(trace, replay.ours(trace))


def test_listed_are_exactly_those_that_differ() -> None:
    """No difference without a line, no line without a difference."""
    differing = {trace.name for trace in TRACES if replay.decisions(trace, replay.ours(trace)) != list(trace.expected)}
    assert replay.documented() == differing


def test_each_difference_cites_the_fault() -> None:
    """Each line names section and item of the notes that call it a fault of Ray's."""
    rows = re.findall(r"^\| `(\w+)` \|(.*)\|(.*)\|$", replay.DIFFERENCES.read_text(), re.MULTILINE)
    assert len(rows) == len(replay.documented())
    for name, _, fault in rows:
        assert re.search(r"ray-semantics 5\.[12], .*11, item [2456]", fault), name


class TieStops(NaiveAsha):
    """A tie with the cutoff is a failure."""

    def fails(self, score: Score, others: list[Score]) -> bool:
        """Compare without strictness."""
        return bool(others) and score <= self.cutoff(others)


class OwnEntryCounts(NaiveAsha):
    """The report takes part in the cutoff that it is compared with."""

    def fails(self, score: Score, others: list[Score]) -> bool:
        """Count it in."""
        return super().fails(score, [*others, score])


class WrongQuantile(NaiveAsha):
    """All but one in `factor` survive."""

    def cutoff(self, entries: list[Score]) -> Score:
        """Take the other end."""
        ordered = sorted(entries)
        return ordered[math.floor((len(ordered) - 1) / self.factor)]


class NoInterpolation(NaiveAsha):
    """The cutoff is always an entry."""

    def cutoff(self, entries: list[Score]) -> Score:
        """Round the place down."""
        ordered = sorted(entries)
        return ordered[math.floor((len(ordered) - 1) * (1 - 1 / self.factor))]


class RoundedCutoff(NaiveAsha):
    """The cutoff as numpy works it out in doubles."""

    def cutoff(self, entries: list[Score]) -> Score:
        """Interpolate as Ray does."""
        ordered = [float(score) for _, score in sorted(entries)]
        place = (len(ordered) - 1) * ((1 - 1 / float(self.factor)) * 100 / 100)
        low, share = math.floor(place), place - math.floor(place)
        below, above = ordered[low], ordered[min(low + 1, len(ordered) - 1)]
        rounded = below + (above - below) * share if share < 0.5 else above - (above - below) * (1 - share)
        return (1, Fraction(rounded))


class NotANumberIsIgnored(NaiveAsha):
    """What is not finite neither counts nor stops."""

    def score(self, flat: Mapping[str, Any]) -> Score | None:
        """Take it for missing."""
        value = flat.get("value")
        return None if isinstance(value, float) and not math.isfinite(value) else super().score(flat)


class SkippedRungsAreFilled(NaiveAsha):
    """A report is an entry at every rung that it has reached."""

    def entries(self, bracket: int, milestone: Fraction) -> dict[int, Score]:
        """Count it at the lower ones too."""
        found: dict[int, Score] = {}
        for trial, time, score in self.reports:
            if self.bracket_of(trial) == bracket and time >= milestone and trial not in found:
                found[trial] = score
        return found


class StoppedOnesLeave(NaiveAsha):
    """A trial that ends takes its entries along."""

    def ended(self, trial: int) -> None:
        """Take them out."""
        super().ended(trial)
        self.reports = [report for report in self.reports if report[0] != trial]


class FailuresAreNotRecorded(NaiveAsha):
    """Only those who go on have an entry."""

    def observe(self, trial: int, flat: Mapping[str, Any], loss: float | None) -> None:
        """Leave out what stops."""
        if self.judge(trial, flat, loss).decision is Decision.CONTINUE:
            super().observe(trial, flat, loss)


class RetriesAreJudgedAnew(NaiveAsha):
    """A trial is judged at a rung although it has its entry there."""

    def judge(self, trial: int, flat: Mapping[str, Any], loss: float | None) -> Verdict:
        """Forget its own reports."""
        others = NaiveAsha(self.rules, self.bracket_of)
        others.reports = [report for report in self.reports if report[0] != trial]
        return others.judge(trial, flat, loss)


class OneBracket(NaiveAsha):
    """Every trial is in the first bracket."""

    def __init__(self, rules: Rules, bracket_of: Any) -> None:
        """Forget the brackets."""
        super().__init__(rules, lambda _: 0)


class BudgetIsExceeded(NaiveAsha):
    """A trial ends only past max_t."""

    def __init__(self, rules: Rules, bracket_of: Any) -> None:
        """Set the end further on, before any next milestone."""
        super().__init__(replace(rules, max_t=rules.max_t * 1.01), bracket_of)


@pytest.mark.parametrize(
    "fault",
    [
        TieStops,
        OwnEntryCounts,
        WrongQuantile,
        NoInterpolation,
        RoundedCutoff,
        NotANumberIsIgnored,
        SkippedRungsAreFilled,
        StoppedOnesLeave,
        FailuresAreNotRecorded,
        RetriesAreJudgedAnew,
        OneBracket,
        BudgetIsExceeded,
    ],
)
def test_the_traces_show_a_fault(fault: type[NaiveAsha]) -> None:
    """A scheduler with this fault does not pass: some trace has a difference."""

    def faulty(trace: replay.Trace) -> SchedulerState:
        reference = replay.naive(trace)
        assert isinstance(reference, NaiveAsha)
        return fault(reference.rules, trace.bracket)

    by_length = sorted((trace for trace in TRACES if trace.scheduler == "asha"), key=lambda trace: len(trace.events))
    assert any(replay.compare(trace, faulty) not in ("equal", "documented") for trace in by_length)


def test_the_command_passes_without_a_difference(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a trace, exit code 0."""
    names = ["asha_basic_min", "asha_nan_reports"]
    assert replay.main([str(replay.TRACES / f"{name}.json") for name in names]) == 0
    assert capsys.readouterr().out.splitlines() == ["asha_basic_min: equal", "asha_nan_reports: documented"]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        pytest.param(
            {"expected": ["CONTINUE"] * 14},
            'event 8 {"trial": "t0", "t": 9, "value": 0.09}: Ray says CONTINUE, we say STOP',
            id="another answer",
        ),
        pytest.param({"scheduler": "hyperband"}, "not carried out: scheduler hyperband", id="another scheduler"),
        pytest.param(
            {"settings": {"mode": "max", "stop_last_trials": False}},
            "not carried out: settings stop_last_trials",
            id="a setting that we do not have",
        ),
    ],
)
def test_the_command_fails_with_the_reason(
    change: dict[str, Any], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first difference, or what is missing; exit code 1, also where another trace is equal."""
    source = replay.TRACES / "asha_sequential_getting_worse.json"
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(json.loads(source.read_text()) | change))
    assert replay.main([str(source), str(changed)]) == 1
    assert capsys.readouterr().out.splitlines() == ["asha_sequential_getting_worse: equal", f"changed: {line}"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"name": "x"}'])
def test_what_is_no_trace_fails(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that cannot be read as a trace is not one that passed."""
    (tmp_path / "no.json").write_text(text)
    assert replay.main([str(tmp_path / "no.json"), str(tmp_path / "absent.json")]) == 1
    assert [line.split(":")[1] for line in capsys.readouterr().out.splitlines()] == [" not a trace", " not a trace"]


def test_a_listed_trace_is_held_to_the_naive_implementation() -> None:
    """Being listed excuses from Ray's answers, not from the rules."""
    trace = replay.load(replay.TRACES / "asha_ties_float_cutoff_rf3.json")
    answer = replay.compare(trace, lambda trace: TieStops(Rules(**trace.settings), trace.bracket))
    assert "the naive implementation says" in answer
