"""Which metrics the programs report, beside those that the experiment reads: so a misspelt name is noticed early.

Fed by the fold with every report that counts. What follows from it is in `plan` (MetricMissing); who is told, in `status`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from kubetune.wire import MAX_METRICS
from kubetune_operator.core.trials import COUNTED, FILLED, TRAINING_ITERATION, Flat
from kubetune_operator.errors import shown

OBJECTIVE = "objective.metric"  # the fields that name metrics: this one,
STOP = "stop.metrics"  # … this one, and whatever the scheduler has
MOST_SEEN = 10  # metrics that a message names
_OWN = frozenset({*COUNTED, *FILLED})


class Sightings:
    """What was reported so far. Everybody may read it; the fold alone calls `reported` and `read`."""

    def __init__(self, reads: Mapping[str, str]) -> None:
        """Begin with nothing reported; `reads` are the metrics that decide something, each with the field that names it."""
        self.reads = reads
        self.unreported = dict(reads)  # those that no trial has reported as a number yet
        self.lacked: dict[str, str] = {}  # those that a report has lacked: what had been seen then
        self.not_numbers: dict[str, tuple[int, str]] = {}  # those reported as something else: by which trial first, as what
        self._seen: dict[str, None] = {}  # the programs' own metrics, the first so many

    def read(self, reads: Mapping[str, str]) -> None:
        """Take note of which metrics decide something from now on."""
        self.unreported = {
            name: field for name, field in reads.items() if name in self.unreported or name not in {*self.reads, *self._seen}
        }
        self.reads = reads

    def reported(self, trial: int, said: Flat, filled: Mapping[str, float]) -> None:
        """Take note of a report: what the program said, and what was filled in."""
        if len(self._seen) < MAX_METRICS:
            self._seen.update((name, None) for name in said if name.partition("/")[0] not in _OWN)
        for name, field in self.reads.items():
            value = said.get(name, filled.get(name))
            if _is_number(value, field):
                self.unreported.pop(name, None)
            elif value is not None:
                self.not_numbers.setdefault(name, (trial, shown(value)))
            elif name in self.unreported and name not in self.lacked:
                self.lacked[name] = self.hint(name)

    def hint(self, name: str) -> str:
        """Say what was seen instead of this metric, and what may have been meant."""
        # kubetune counts iterations and seconds itself: no objective, but as good a time or threshold as any other.
        counted = () if self.reads.get(name) == OBJECTIVE else COUNTED
        found = sorted({*self._seen, *(name for name in counted if name == TRAINING_ITERATION)})
        near = difflib.get_close_matches(name, [*found, *difflib.get_close_matches(name, counted)], n=1, cutoff=0.3)
        more = f" and {len(found) - MOST_SEEN} more" if len(found) > MOST_SEEN else ""
        listed = f"seen: {', '.join(found[:MOST_SEEN])}{more}" if found else "no other was seen"
        return listed + (f"; did you mean {near[0]}?" if near else "")


def _is_number(value: Any, field: str) -> bool:
    return isinstance(value, (int, float)) and (field == STOP or not isinstance(value, bool))
