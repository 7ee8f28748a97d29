"""`kubetune show`: the table of trials and the summary of an experiment, read from its folder; changes nothing there."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from rich.console import Console

from kubetune_operator import checked, status
from kubetune_operator.commands import folders, lock, say
from kubetune_operator.console import summary, table, words
from kubetune_operator.core.history import History
from kubetune_operator.errors import KubetuneError
from kubetune_operator.experiment import load


def main(options: argparse.Namespace) -> int:
    """Run the command."""
    try:
        root = folders.root(options)
        folder = folders.find(options.folder, root) if options.folder else folders.latest(root)
        history = load(folder, checked.spec_of).history
    except (KubetuneError, OSError) as error:
        say.error(error)
        return 2
    _show(history, folder, Console(highlight=False, soft_wrap=True))
    return 0


def _show(history: History, folder: Path, out: Console) -> None:
    """Print all trials, in full where nobody's terminal bounds the line."""
    name = history.created.name if history.created else folder.name
    drawn = table.table(history, history.trials, out.width if out.is_terminal else None)
    for line in drawn.lines:
        out.print(line)
    if drawn.hidden:
        out.print(f"+{words.counted(drawn.hidden, 'parameter')}: {summary.show(folder)} | less -S", style="dim", markup=False)
    out.print()

    def tell(text: str) -> None:
        out.print(text, markup=False)

    running = lock.taken(folder)
    summary.summarise(history, name, tell, doubt=_doubt(history, running=running))
    best = status.best(history)
    if best is not None:
        tell(f"its files   {folder / status.trial_name(name, best.number)}")
    tell(f"all files   {folder}")
    if not history.finished and running is False:
        tell(f"go on with  kubetune run FILE --resume {shlex.quote(str(folder))}")


def _doubt(history: History, *, running: bool | None) -> str:
    """Say that the journal may not be the last word: trials outlive a runner that was killed."""
    if history.finished or history.interrupted or running:
        return ""
    gone = "; no `kubetune run` is at work on it now, so its trials may have ended since"
    return " when this was recorded" + (gone if running is False else "")
