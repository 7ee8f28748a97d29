"""`kubetune show`: the table of trials and the summary of an experiment, read from its folder; changes nothing there."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from kubetune_operator import console
from kubetune_operator.commands import checked, lock, say
from kubetune_operator.core.history import History
from kubetune_operator.errors import KubetuneError
from kubetune_operator.experiment import load


def main(options: argparse.Namespace) -> int:
    """Run the command."""
    folder = Path(options.folder)
    out = Console(highlight=False, soft_wrap=True)
    if not any(folder.glob("journal.*.jsonl")):
        say.error(f"{folder}: there is no journal, so no experiment; name a folder such as ~/kubetune_results/default/digits")
        return 2
    try:
        history = load(folder, checked.spec_of).history
    except (KubetuneError, OSError) as error:
        say.error(error)
        return 2
    name = history.created.name if history.created else folder.name
    out.print(console.table(history, name, history.trials))
    out.print()
    console.summary(history, name, lambda text: out.print(text, markup=False), doubt=_doubt(history, folder))
    return 0


def _doubt(history: History, folder: Path) -> str:
    """Say that the journal may not be the last word: trials outlive a runner that was killed."""
    if history.finished or history.interrupted or (running := lock.taken(folder)):
        return ""
    gone = "; no `kubetune run` is at work on it now, so its trials may have ended since: go on with kubetune run FILE --resume"
    return " when this was recorded" + (gone if running is False else "")
