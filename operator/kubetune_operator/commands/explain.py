"""`kubetune explain`: what was decided about one trial of an experiment, and why, read from its folder; changes nothing there."""

from __future__ import annotations

import argparse
import difflib
import re
from collections.abc import Sequence

from kubetune_operator import decisions
from kubetune_operator.commands import folders, say
from kubetune_operator.console import explanation, words
from kubetune_operator.core.records import Created, Record, Suggested
from kubetune_operator.core.trials import trial_name
from kubetune_operator.errors import KubetuneError
from kubetune_operator.experiment import records_of

NEAR = 3  # names that a message offers


def main(options: argparse.Namespace) -> int:
    """Run the command."""
    try:
        records = records_of(folders.find(options.folder, folders.root(options)))
        number = _number(records, options.trial)
        history, events = decisions.of_trial(records, number)
    except (KubetuneError, OSError) as error:
        say.error(error)
        return 2
    explanation.explain(history, number, events, say.line)
    return 0


def _number(records: Sequence[Record], word: str) -> int:
    """Find a trial by its number or name. Raises KubetuneError."""
    experiment = next((record.name for record in records if isinstance(record, Created)), "")
    names = [trial_name(experiment, record.trial) for record in records if isinstance(record, Suggested)]
    if word in names:
        return names.index(word)
    if re.fullmatch("[0-9]{1,9}", word) and int(word) < len(names):
        return int(word)
    if not names:
        raise KubetuneError(f"TRIAL: must be a trial of the experiment, got {word}; it has none yet")
    near = difflib.get_close_matches(word, names, n=NEAR, cutoff=0.8)
    meant = f"; did you mean {' or '.join(near)}?" if near else ""
    have = f"it has {words.counted(len(names), 'trial')}, {names[0]} to {names[-1]}"
    raise KubetuneError(f"TRIAL: must be the number or the name of a trial, got {word}; {have}{meant}")
