"""`kubetune sample`: what the first trials of an experiment would be given; nothing is run, and nothing is written."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from itertools import islice

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kubetune_operator import status
from kubetune_operator.commands import say, wanted
from kubetune_operator.console import words
from kubetune_operator.core.cautions import cautions
from kubetune_operator.core.endings import few_skips
from kubetune_operator.core.history import MOST_NOTES
from kubetune_operator.core.space import Draw, nested
from kubetune_operator.core.spec import Spec
from kubetune_operator.core.trials import Params


def main(options: argparse.Namespace) -> int:
    """Run the command."""
    drawn = random.SystemRandom().randrange(2**31) if options.seed is None else options.seed
    experiment = wanted.read(options.file, seed=drawn)
    if experiment is None:
        return 2
    spec = experiment.spec
    seed = spec.seed if options.seed is None else options.seed
    draws = list(_first(spec, seed, options.number))
    trials = [draw.params for draw in draws if draw.params is not None]
    if options.json:
        for number, params in enumerate(trials):
            say.line(json.dumps({"trial": number, "params": nested(params)}, ensure_ascii=False))
    else:
        named = options.seed is not None or not experiment.drawn
        _show(spec, trials, f"seed {seed}" + ("" if named else ", drawn now: set spec.search.seed to have these again"))
    for caution in cautions(spec):
        say.error(caution)
    _doubts(draws)
    return 0 if trials else 1


def _first(spec: Spec, seed: int, most: int) -> Iterator[Draw]:
    """Draw until there are so many trials, or no more, or a long row of draws that give none."""
    state = spec.searcher.begin(spec.space, seed)
    found = skipped = 0
    for number in range(spec.total):
        if found == most or skipped == few_skips(spec):
            return
        draw = state.suggest(number)
        if draw is None:
            return
        found, skipped = (found, skipped + 1) if draw.params is None else (found + 1, 0)
        yield draw


def _show(spec: Spec, trials: Sequence[Params], seed: str) -> None:
    names = [parameter.name for parameter in spec.space.parameters]
    out = Console(highlight=False)
    if not out.is_terminal:
        out = Console(highlight=False, width=1_000_000)  # nobody's window bounds the line
    drawn = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for name in ("trial", *names):
        drawn.add_column(Text(name), no_wrap=True, overflow="ellipsis", justify="left" if name == "trial" else "right")
    for number, params in enumerate(trials):
        cells = [words.number(params[name]) if name in params else "-" for name in names]
        drawn.add_row(f"{number:05d}", *(Text(cell) for cell in cells))
    out.print(drawn)
    out.print(Text(f"{len(trials)} of {words.counted(spec.total, 'trial')}; {seed}"))


def _doubts(draws: list[Draw]) -> None:
    skipped = [draw.note for draw in draws if draw.params is None]
    notes = dict.fromkeys(draw.note for draw in draws if draw.params is not None and draw.note)
    for note in islice(notes, MOST_NOTES):
        say.error(note)
    if skipped:
        say.error(status.skipped(len(skipped), skipped[-1]))
