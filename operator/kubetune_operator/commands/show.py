"""`kubetune show`: the table of trials and the summary of an experiment, read from its folder; changes nothing there."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console

from kubetune_operator import console
from kubetune_operator.commands import checked, say
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
    console.summary(history, name, lambda text: out.print(text, markup=False))
    return 0
