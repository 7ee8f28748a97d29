"""Histories of reports, drawn and told to a scheduler or to its naive double. What is to come of them is not known here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from hypothesis import strategies as st

from kubetune_operator.core.trials import Flat, Mode, Objective, Verdict

Event = tuple[int, Any, Any]  # trial, time, value; a time of END ends the trial
END = "end"


class Judge(Protocol):
    """A scheduler's state, or its naive double."""

    def judge(self, trial: int, flat: Flat, loss: float | None) -> Verdict:
        """Say what a report leads to."""
        ...

    def observe(self, trial: int, flat: Flat, loss: float | None) -> None:
        """Remember a report."""
        ...

    def ended(self, trial: int) -> None:
        """Take note that a trial has ended."""
        ...

    def compared_with(self, trial: int, flat: Flat) -> Mapping[int, float]:
        """Give the losses that a report is compared with, by trial."""
        ...


def verdicts(state: Judge, mode: str, events: Sequence[Event]) -> Iterator[Verdict]:
    """Ask about each report, then let it be remembered; nobody is taken out when stopped."""
    for trial, flat, loss in _reports(state, mode, events):
        yield state.judge(trial, flat, loss)
        state.observe(trial, flat, loss)


def peers(state: Judge, mode: str, events: Sequence[Event]) -> Iterator[Mapping[int, float]]:
    """Ask with whom each report is compared, then let it be remembered."""
    for trial, flat, loss in _reports(state, mode, events):
        yield state.compared_with(trial, flat)
        state.observe(trial, flat, loss)


def histories(draw: st.DrawFn, *, trials: int, leaps: st.SearchStrategy[float], scores: st.SearchStrategy[float]) -> list[Event]:
    """Draw what so many trials report: they go on by leaps, begin anew, end."""
    times: dict[int, float] = {}
    events: list[Event] = []
    for _ in range(draw(st.integers(0, 60))):
        trial = draw(st.integers(0, trials - 1))
        kind = draw(st.sampled_from(["report"] * 12 + ["retry", "end"]))
        if kind == "end":
            events.append((trial, END, None))
            continue
        times[trial] = (0 if kind == "retry" else times.get(trial, 0)) + draw(leaps)
        events.append((trial, times[trial], draw(scores)))
    return events


def _reports(state: Judge, mode: str, events: Sequence[Event]) -> Iterator[tuple[int, Flat, float | None]]:
    """Give each report with its loss; ends are told on the way."""
    loss = Objective("value", Mode.MINIMIZE if mode == "min" else Mode.MAXIMIZE).loss
    for trial, time, value in events:
        if time is END:
            state.ended(trial)
        else:
            yield trial, {"t": time, "value": value}, loss(value)
