"""The table of trials as lines, none longer than the terminal. Which trials are in it is the caller's choice.

The number, the state, the value, the step and the reason are always there; parameters are as far as there is room.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from kubetune_operator import status
from kubetune_operator.console import words
from kubetune_operator.core.history import History
from kubetune_operator.core.standing import Trial

COLOURS = {"Running": "cyan", "Succeeded": "green", "Stopped": "yellow", "Failed": "red", "Cancelled": "dim", "Waiting": "dim"}
BEST = "*"  # behind the number of the best trial
GAP = "  "
MOST = 16  # characters of a column on a terminal, other than the reason
REASON = (12, 24)  # what the reason keeps free for itself, if that is what it needs


@dataclass(frozen=True, slots=True)
class Picture:
    """A table: its lines, the header first, and how many parameters there was no room for."""

    lines: list[Text]
    hidden: int


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    cells: list[str]
    right: bool = True
    least: int = 0

    @property
    def needs(self) -> int:
        return max(self.least, *(cell_len(text) for text in (self.title, *self.cells)))

    def line(self, place: int, width: int) -> str:
        """Give one cell; place -1 is the title's."""
        text = _cut(self.title if place < 0 else self.cells[place], width)
        blank = " " * (width - cell_len(text))
        return blank + text if self.right else text + blank


def table(history: History, trials: Sequence[Trial], width: int | None) -> Picture:
    """Draw a table of trials, as wide as it needs where `width` is None."""
    best = status.best(history)
    first, reasons = _columns(history, trials, best)
    params = [_Column(name, [words.number(one.params.get(name)) for one in trials]) for name in _names(history)]
    if width is None:
        columns = [(column, column.needs) for column in (*first, *params, reasons)]
        return Picture(list(_lines(trials, columns, best)), 0)
    columns = [(column, min(column.needs, MOST)) for column in first]
    room = width - sum(wide + len(GAP) for _, wide in columns)
    least, enough = REASON
    reserve = max(least, min(reasons.needs, enough))
    for column in params:
        wide = min(column.needs, MOST)
        if room - wide - len(GAP) < reserve:
            break
        columns.append((column, wide))
        room -= wide + len(GAP)
    shown = len(columns) - len(first)
    columns.append((reasons, max(1, min(room, reasons.needs))))
    return Picture([_fitted(line, width) for line in _lines(trials, columns, best)], len(params) - shown)


def _names(history: History) -> list[str]:
    return [parameter.name for parameter in history.spec.space.parameters]


def _columns(history: History, trials: Sequence[Trial], best: Trial | None) -> tuple[list[_Column], _Column]:
    first = [
        _Column("trial", [f"{one.number:05d}{BEST if one is best else ' '}" for one in trials], right=False),
        _Column("state", [status.word(one) for one in trials], right=False, least=max(map(len, COLOURS))),
        _Column(history.spec.objective.metric, [words.number(one.value) for one in trials]),
        _Column("step", [words.number(one.step) if one.loss is not None else "" for one in trials]),
    ]
    return first, _Column("why", [" ".join(words.why(one).split()) for one in trials], right=False)


def _lines(trials: Sequence[Trial], columns: Sequence[tuple[_Column, int]], best: Trial | None) -> Iterator[Text]:
    yield _line(columns, -1, "bold")
    for place, trial in enumerate(trials):
        line = _line(columns, place, "bold" if trial is best else "")
        at = columns[0][1] + len(GAP)
        line.stylize(COLOURS.get(status.word(trial), ""), at, at + columns[1][1])
        yield line


def _line(columns: Sequence[tuple[_Column, int]], place: int, style: str) -> Text:
    return Text(GAP.join(column.line(place, wide) for column, wide in columns).rstrip(), style)


def _cut(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, max(0, width - 1)).rstrip() + "…"


def _fitted(line: Text, width: int) -> Text:
    line.truncate(width, overflow="ellipsis")
    return line
