"""An experiment while it runs: a picture that draws itself on a terminal, a line an event elsewhere."""

from __future__ import annotations

import heapq
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.text import Text

from kubetune_operator import status
from kubetune_operator.console import summary, table, words
from kubetune_operator.core.history import History
from kubetune_operator.core.records import Ended, Outcome, Record, Refused, Started
from kubetune_operator.core.standing import Trial

BAR = 40
BEST = 5  # of them are in the picture before those that have just ended
FRAME = 6  # lines of the picture besides the trials and the hint: two headlines, the bar, an empty one, the titles, the cursor's


class Progress:
    """Shows an experiment while it runs. `quiet` shows nothing until the end."""

    def __init__(self, history: History, name: str, folder: Path, console: Console, *, quiet: bool = False) -> None:
        self._history = history
        self._name = name
        self._folder = folder
        self._console = console
        self._quiet = quiet
        self._began = time.monotonic()
        self._best: Any = None
        self._refused: set[tuple[int, str]] = set()  # trial and kind, of the lines that were told
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
                    self._line("started", trial, words.spelled(trial.params) + again)
                case Ended():
                    trial = self._history.trials[record.trial]
                    by = "by " if trial.outcome is Outcome.STOPPED else ""
                    self._line(
                        record.outcome.value.lower(), trial, f"{words.worth(self._history, trial)}  {by}{words.why(trial)}"
                    )
        self._say_best()

    def refused(self, lines: Sequence[Refused]) -> None:
        """Tell of reports that were refused: one of each kind for each trial, for a program that errs errs at every step."""
        for line in lines:
            kind = (line.trial, line.reason.split(", got ")[0].split(":")[0])
            if kind not in self._refused:
                self._refused.add(kind)
                self.note(f"{status.trial_name(self._name, line.trial)}: line {line.number + 1} refused: {line.reason}")

    def note(self, text: str) -> None:
        """Say something in between."""
        if not self._quiet:
            self._console.print(text, style="dim", highlight=False, markup=False, soft_wrap=not self._console.is_terminal)

    def _say_best(self) -> None:
        best = status.best(self._history)
        if best and (best.number, best.value) != self._best:
            self._best = (best.number, best.value)
            self._line("best", best, words.worth(self._history, best))

    def _line(self, event: str, trial: Trial, text: str) -> None:
        line = f"{self._clock()}  {event:<9}  {status.trial_name(self._name, trial.number)}  {text}"
        self._console.print(line.rstrip(), highlight=False, markup=False, soft_wrap=True)

    def _clock(self) -> str:
        seconds = int(time.monotonic() - self._began)
        return f"{seconds // 60:3d}:{seconds % 60:02d}"

    def _picture(self) -> Group:
        """Draw all of it, never more than the terminal holds: what is beyond would not be seen, and the rest would flicker."""
        history = self._history
        width, height = self._console.size
        everything = len(history.trials)
        longest = self._hint(everything, len(history.spec.space.parameters), width)
        shown = _chosen(history, max(1, height - FRAME - len(longest)))
        drawn = table.table(history, shown, width)
        bar = ProgressBar(total=max(1, history.total), completed=history.ended, width=min(BAR, width))
        lines: list[RenderableType] = [*self._headlines(width), Padding(bar, (0, 0, 1, 0)), *drawn.lines]
        return Group(*lines, *self._hint(everything - len(shown), drawn.hidden, width))

    def _headlines(self, width: int) -> list[Text]:
        history, counts = self._history, status.counts(self._history)
        best = status.best(history)
        first = f"best {words.worth(history, best)} · {best.number:05d}" if best else f"no {history.spec.objective.metric} yet"
        parts = [
            status.state(history),
            f"{history.ended}/{words.counted(counts['total'], 'trial')}",
            f"{counts['running']} running",
        ]
        parts += [f"{counts[key]} {word}" for key, word in (("stopped", "stopped early"), ("failed", "failed")) if counts[key]]
        lines = [Text(first, "bold"), Text(" · ".join([*parts, self._clock().strip(), self._name]))]
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return lines

    def _hint(self, trials: int, params: int, width: int) -> list[Text]:
        """Say what the table leaves out, and how to see it."""
        left_out = [f"{trials} more"] if trials else []
        left_out += [f"+{words.counted(params, 'parameter')}"] if params else []
        text = f"{', '.join(left_out)}: {summary.show(self._folder)}" if left_out else ""
        return [Text(text[at : at + width], "dim") for at in range(0, len(text), width)]


def _chosen(history: History, room: int) -> list[Trial]:
    """Choose the trials of the picture: the best one, what runs, more of the best, the latest to end; by number."""
    running = [history.trials[number] for number in dict.fromkeys(trial for trial, _ in history.open)]
    latest = heapq.nlargest(room, (trial for trial in history.trials if trial.ended), key=lambda trial: trial.ended)
    best = status.top(history, BEST)
    wanted = [*best[:1], *running, *best, *latest, *history.trials]
    return sorted({trial.number: trial for trial in _first(wanted, room)}.values(), key=lambda trial: trial.number)


def _first(trials: Sequence[Trial], count: int) -> list[Trial]:
    """Give the first so many different ones."""
    return list({trial.number: trial for trial in trials}.values())[:count]


def _closed(trial: Trial) -> str:
    return f"{trial.reason}: {trial.account}" if trial.account else trial.reason
