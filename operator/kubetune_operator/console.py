"""What `run` and `show` print: a live table on a terminal, plain lines elsewhere. Reads history, decides nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from kubetune_operator import status
from kubetune_operator.core.history import History, Phase, Trial
from kubetune_operator.core.records import Ended, Outcome, Record, Started
from kubetune_operator.core.trials import Params

ROWS = 16  # of the live table: what runs, then the best, then the latest to end
COLOURS = {"Running": "cyan", "Succeeded": "green", "Stopped": "yellow", "Failed": "red", "Cancelled": "dim", "Waiting": "dim"}


class Progress:
    """Shows an experiment while it runs. `quiet` shows nothing until the end."""

    def __init__(self, history: History, name: str, console: Console, *, quiet: bool = False) -> None:
        self._history = history
        self._name = name
        self._console = console
        self._quiet = quiet
        self._began = time.monotonic()
        self._best: Any = None
        self._live: Live | None = None

    def __enter__(self) -> Self:
        """Begin to show."""
        if self._console.is_terminal and not self._quiet:
            self._live = Live(self._picture(), console=self._console, refresh_per_second=4, get_renderable=self._picture)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the last picture standing."""
        if self._live:
            self._live.stop()

    def update(self, records: Sequence[Record]) -> None:
        """Show what has changed; on a terminal the picture draws itself."""
        if self._live or self._quiet:
            return
        for record in records:
            match record:
                case Started():
                    trial = self._history.trials[record.trial]
                    again = f" (attempt {record.attempt}, after {_closed(trial)})" if record.attempt else ""
                    self._line("started", trial, spelled(trial.params) + again)
                case Ended():
                    trial = self._history.trials[record.trial]
                    self._line(record.outcome.value.lower(), trial, f"{worth(self._history, trial)}  {why(trial)}")
        self._say_best()

    def note(self, text: str) -> None:
        """Say something in between."""
        if not self._quiet:
            self._console.print(text, style="dim", highlight=False, markup=False)

    def _say_best(self) -> None:
        best = status.best(self._history)
        if best and (best.number, best.value) != self._best:
            self._best = (best.number, best.value)
            self._line("best", best, worth(self._history, best))

    def _line(self, event: str, trial: Trial, text: str) -> None:
        line = f"{self._clock()}  {event:<9}  {status.trial_name(self._name, trial.number)}  {text}"
        self._console.print(line.rstrip(), highlight=False, markup=False, soft_wrap=True)

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self._began)
        return f"{seconds // 60:3d}:{seconds % 60:02d}"

    def _picture(self) -> Group:
        history = self._history
        bar = ProgressBar(total=max(1, history.spec.total), completed=history.ended, width=40)
        return Group(self._headline(), Padding(bar, (0, 0, 1, 0)), table(history, self._name, _shown(history)))

    def _headline(self) -> Text:
        counts = status.counts(self._history)
        best = status.best(self._history)
        parts = [
            self._name,
            status.state(self._history),
            f"{self._history.ended}/{counts['total']} trials",
            f"{counts['running']} running",
        ]
        parts += [f"{counts[name]} {word}" for name, word in (("stopped", "stopped early"), ("failed", "failed")) if counts[name]]
        if best:
            parts.append(f"best {worth(self._history, best)} ({status.trial_name(self._name, best.number)})")
        return Text(" · ".join([*parts, self._clock().strip()]), style="bold")


def _shown(history: History) -> list[Trial]:
    """Choose the rows of the live table."""
    running = [trial for trial in history.trials if trial.phase is Phase.RUNNING]
    chosen = {trial.number: trial for trial in [*running[:ROWS], *status.top(history, 5)]}
    latest = sorted((trial for trial in history.trials if trial.ended), key=lambda trial: -trial.ended)
    for trial in latest:
        if len(chosen) >= ROWS:
            break
        chosen[trial.number] = trial
    return sorted(chosen.values(), key=lambda trial: trial.number)


def table(history: History, name: str, trials: Sequence[Trial]) -> Table:
    """Draw a table of trials."""
    picture = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("trial", "state", history.spec.objective.metric, "step"):
        picture.add_column(title, justify="right" if title not in {"trial", "state"} else "left", no_wrap=True)
    names = list(trials[0].params) if trials else []
    for title in names:
        picture.add_column(title, justify="right", no_wrap=True)
    picture.add_column("why it ended", ratio=1)
    best = status.best(history)
    for trial in trials:
        word = status.word(trial)
        picture.add_row(
            status.trial_name(name, trial.number),
            Text(word, style=COLOURS.get(word, "")),
            number(trial.value),
            number(trial.step) if trial.loss is not None else "",
            *(number(trial.params.get(title)) for title in names),
            Text(why(trial)),
            style="bold" if best and best.number == trial.number else "",
        )
    return picture


def worth(history: History, trial: Trial) -> str:
    """Say what a trial is worth and when: "accuracy=0.9712 at 27"."""
    if trial.loss is None:
        return f"no {history.spec.objective.metric}"
    return f"{history.spec.objective.metric}={number(trial.value)} at {number(trial.step)}"


def why(trial: Trial) -> str:
    """Say why a trial ended; nothing while it runs."""
    if trial.phase is not Phase.ENDED:
        return trial.account
    words = {"Completed": "ran to its end", "MaxT": "had its whole budget", "StopMetrics": "met a criterion of stop"}
    reason = words.get(trial.reason, trial.reason)
    if trial.outcome is Outcome.STOPPED:
        reason = f"stopped early by {trial.reason}"
    return f"{reason}: {trial.account}" if trial.account else reason


def _closed(trial: Trial) -> str:
    return f"{trial.reason}: {trial.account}" if trial.account else trial.reason


def spelled(params: Params) -> str:
    """Spell parameters on one line: "lr=0.001 units=64"."""
    return " ".join(f"{name}={number(value)}" for name, value in params.items())


def number(value: Any) -> str:
    """Spell a value for a table: five significant digits of a fraction, all of a whole number."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.5g}"
    return value if isinstance(value, str) else json.dumps(value)


def summary(history: History, name: str, say: Callable[[str], None], *, doubt: str = "") -> None:
    """Say how it all ended: the counts, the best trial, what it was given; `doubt` is what makes the state uncertain."""
    counts = status.counts(history)
    ended = [f"{counts[key]} {word}" for key, word in _ENDS.items() if counts[key]]
    finished = history.finished
    message = f": {finished.message}" if finished and finished.message else ""
    say(f"{name}: {status.state(history)}{message}{doubt}")
    for notice in status.notices(history, name):
        say(f"notice      {notice}")
    say(f"trials      {counts['started']} of {counts['total']} started: {', '.join(ended) or 'none ended'}")
    best = status.best(history)
    if best is None:
        say(f"best trial  none: no trial has reported a finite {history.spec.objective.metric}")
        return
    cut = "" if best.complete else "  (it was cut short: no trial with its whole budget has a value)"
    say(f"best trial  {status.trial_name(name, best.number)}  {worth(history, best)}{cut}")
    say(f"parameters  {json.dumps(dict(best.params))}")


_ENDS = {
    "succeeded": "had their whole budget",
    "stopped": "stopped early",
    "failed": "failed",
    "cancelled": "cancelled",
    "running": "running",
    "waiting": "waiting",
}
