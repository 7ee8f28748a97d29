"""Replay recorded traces of Ray's schedulers with ours: `python -m tests.contract.replay TRACE.json ...`.

One line a trace: `equal`; `documented` (DIFFERENCES.md lists the trace, and our decisions are those of the second,
naive implementation); or the first difference. The exit code is 0 only without a difference.
The life of a trial around its scheduler (criteria of `stop`, ends, what comes after an end) is played here.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubetune_operator.core.schedulers.asha import Asha, AshaState
from kubetune_operator.core.schedulers.median import MedianStopping
from kubetune_operator.core.trials import Decision, Mode, Objective, SchedulerState
from tests.contract.naive import MedianRules, NaiveAsha, NaiveMedian, Rules

TRACES = Path(__file__).parent / "traces"
DIFFERENCES = Path(__file__).parent / "DIFFERENCES.md"
WORDS = {Decision.CONTINUE: "CONTINUE", Decision.STOP: "STOP", Decision.PAUSE: "PAUSE"}
ENDS = {"complete", "error"}
SETTINGS = {
    "asha": {"mode", "max_t", "grace_period", "reduction_factor", "brackets"},
    "median": {"mode", "grace_period", "min_samples_required", "min_time_slice", "hard_stop"},
}


class NotCarriedOut(Exception):
    """A trace asks for what kubetune does not have (yet)."""


@dataclass(frozen=True)
class Trace:
    """One recorded experiment: what happened, and what Ray answered to each event."""

    name: str
    scheduler: str
    settings: Mapping[str, Any]
    trials: Mapping[str, int]  # numbered in the order of their first event
    bracket_of: Mapping[int, int]
    stop: Mapping[str, float]
    events: Sequence[Mapping[str, Any]]
    expected: Sequence[str]

    @property
    def mode(self) -> Mode:
        """Say which way the value is better."""
        return Mode.MINIMIZE if self.settings.get("mode") == "min" else Mode.MAXIMIZE

    def bracket(self, trial: int) -> int:
        """Say in which bracket Ray had a trial."""
        return self.bracket_of.get(trial, 0)


def load(path: Path) -> Trace:
    """Read one trace."""
    raw = json.loads(path.read_text())
    names = dict.fromkeys(event["trial"] for event in raw["events"])
    trials = {name: number for number, name in enumerate(names)}
    return Trace(
        name=raw["name"],
        scheduler=raw["scheduler"],
        settings=raw["settings"],
        trials=trials,
        bracket_of={trials[name]: bracket for name, bracket in raw.get("bracket_of", {}).items()},
        stop=raw.get("stop", {}),
        events=raw["events"],
        expected=raw["expected"],
    )


def ours(trace: Trace) -> SchedulerState:
    """Build the scheduler under test."""
    settings = _settings(trace)
    if trace.scheduler == "median":
        return MedianStopping(time_attr="t", **settings).begin(0)
    return AshaState(Asha(time_attr="t", **settings), trace.bracket)


def naive(trace: Trace) -> SchedulerState:
    """Build the second implementation of our rules."""
    settings = {"mode": trace.settings.get("mode", "max"), **_settings(trace)}
    if trace.scheduler == "median":
        return NaiveMedian(MedianRules(**settings))
    return NaiveAsha(Rules(**settings), trace.bracket)


def decisions(trace: Trace, state: SchedulerState) -> list[str]:
    """Play a trace; give one word for each event, as Ray's answers are spelled."""
    ended: set[int] = set()
    words: list[str] = []
    for event in trace.events:
        trial, op = trace.trials[event["trial"]], event.get("op")
        if op:
            word = "-"
        elif trial in ended:
            word = "IGNORED"
        else:
            word = WORDS[_report(trace, state, trial, event)]
        words.append(word)
        if trial not in ended and (word == "STOP" or op in ENDS):
            ended.add(trial)
            state.ended(trial)
    return words


def documented() -> set[str]:
    """Name the traces that DIFFERENCES.md lists."""
    return set(re.findall(r"^\| `(\w+)` \|", DIFFERENCES.read_text(), re.MULTILINE))


def compare(trace: Trace, build: Callable[[Trace], SchedulerState] = ours) -> str:
    """Give `equal`, `documented` or the first difference."""
    got = decisions(trace, build(trace))
    if got == list(trace.expected):
        return "equal"
    if trace.name not in documented():
        return _difference(trace, got, trace.expected, "Ray")
    reference = decisions(trace, naive(trace))
    return "documented" if got == reference else _difference(trace, got, reference, "the naive implementation")


def main(paths: Sequence[str]) -> int:
    """Replay the files named; give the exit code."""
    if not paths:
        print("usage: python -m tests.contract.replay TRACE.json ...", file=sys.stderr)
        return 2
    lines = [(path, _line(Path(path))) for path in paths]
    for path, line in lines:
        print(f"{Path(path).stem}: {line}")
    return 0 if all(line in ("equal", "documented") for _, line in lines) else 1


def _line(path: Path) -> str:
    try:
        return compare(load(path))
    except NotCarriedOut as missing:
        return f"not carried out: {missing}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"not a trace: {error!r}"


def _settings(trace: Trace) -> dict[str, Any]:
    if trace.scheduler not in SETTINGS:
        raise NotCarriedOut(f"scheduler {trace.scheduler}")
    if unknown := set(trace.settings) - SETTINGS[trace.scheduler]:
        raise NotCarriedOut(f"settings {', '.join(sorted(unknown))}")
    return {key: value for key, value in trace.settings.items() if key != "mode"}


def _report(trace: Trace, state: SchedulerState, trial: int, event: Mapping[str, Any]) -> Decision:
    flat = {key: _number(event[key]) for key in ("t", "value") if event.get(key) is not None}
    loss = Objective("value", trace.mode).loss(flat.get("value"))
    # A criterion that is met comes first, and the scheduler is not asked; it takes note of the report all the same.
    met = any(key in flat and flat[key] >= bound for key, bound in trace.stop.items())
    decision = Decision.STOP if met else state.judge(trial, flat, loss).decision
    state.observe(trial, flat, loss)
    return decision


def _difference(trace: Trace, got: Sequence[str], expected: Sequence[str], whose: str) -> str:
    place = next(number for number, pair in enumerate(zip(got, expected, strict=True)) if pair[0] != pair[1])
    event = json.dumps(trace.events[place])
    return f"event {place} {event}: {whose} says {expected[place]}, we say {got[place]}"


def _number(value: Any) -> Any:
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
