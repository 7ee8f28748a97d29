"""What the resource has, but this version does not carry out: refused by name, never ignored in silence.

Whoever makes one of these work removes its line here; nothing else has to change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubetune_operator.errors import Problem

# Where (beneath `spec`; [] is each entry of a list), and what to do instead of just removing it.
NOT_YET: tuple[tuple[str, str], ...] = (
    ("search.tpe", "or use random"),
    ("search.cmaes", "or use random"),
    ("search.gp", "or use random"),
    ("search.qmc", "or use random"),
    ("scheduler.hyperband", "or use asha"),
    ("scheduler.pbt", "or use asha"),
    ("resumeFrom", ""),
    ("checkpoints", ""),
    ("trial.collector.stdout", "or report with kubetune.report()"),
)


def problems(spec: Any) -> Iterator[Problem]:
    """Find what was asked for and is not carried out, in a spec as it was written: defaults ask for nothing."""
    for path, instead in NOT_YET:
        for place, value in _found(spec, path.split("."), "spec"):
            remedy = f"remove it {instead}".strip()
            yield Problem(place, "is not carried out yet in this version", value, remedy)


def _found(here: Any, path: list[str], place: str) -> Iterator[tuple[str, Any]]:
    if not path:
        if here is not None and here != []:  # an empty list is no list, an empty object chooses with all defaults
            yield place, here
        return
    name = path[0].removesuffix("[]")
    if not isinstance(here, dict) or name not in here:
        return
    if name == path[0]:
        yield from _found(here[name], path[1:], f"{place}.{name}")
    elif isinstance(here[name], list):
        for index, item in enumerate(here[name]):
            yield from _found(item, path[1:], f"{place}.{name}[{index}]")
