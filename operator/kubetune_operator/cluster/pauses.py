"""When what has failed may be tried again. What is tried is not known here; a turn that comes earlier leaves it alone."""

from __future__ import annotations

import time
from collections.abc import Collection, Hashable

FIRST_PAUSE = 1.0  # seconds


class Pauses:
    """The pauses of many things: each has its own, twice as long each time, up to what the caller says."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[float, float]] = {}  # the last pause, and when it is over

    def left(self, what: Hashable) -> float:
        """Give the seconds until it may be tried again; 0 where it may be now."""
        _, until = self._known.get(what, (0.0, 0.0))
        return max(0.0, until - time.monotonic())

    def extend(self, what: Hashable, *, longest: float) -> float:
        """Take note that it has failed; give the seconds until it may be tried again."""
        last = self._known.get(what)
        pause = FIRST_PAUSE if last is None else min(last[0] * 2, longest)
        self._known[what] = (pause, time.monotonic() + pause)
        return pause

    def end(self, what: Hashable) -> None:
        """Take note that it has succeeded."""
        self._known.pop(what, None)

    def keep(self, these: Collection[Hashable]) -> None:
        """Let go of all but these."""
        self._known = {what: pause for what, pause in self._known.items() if what in these}
