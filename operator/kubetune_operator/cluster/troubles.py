"""What is in the way of one experiment's pods, and what of that was told. Who asks for pods, and when again, is `pods`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping

from kubetune_operator import status
from kubetune_operator.core.standing import Key
from kubetune_operator.observed import Trouble

QUIET = 60.0  # seconds without a kind of trouble after which it is told of again: pods that come and go may have it one by one


class Troubles:
    """The troubles by attempt; a kind of trouble is told of once, until it has been over for a while."""

    def __init__(self, name: Callable[[Key], str], tell: Callable[[str, str], None]) -> None:
        """`name` names an attempt's pod; `tell` takes a reason and a message."""
        self.full: Trouble | None = None  # that of a quota, which all pods share
        self._name = name
        self._tell = tell
        self._observed: dict[Key, Trouble] = {}  # what keeps pods from beginning
        self._refused: dict[Key, Trouble] = {}  # what keeps them from being
        self._told: dict[str, float] = {}  # reasons, and when there was such trouble last

    def known(self) -> Mapping[Key, Trouble]:
        """Give all of it, as last seen."""
        return {**self._observed, **self._refused}

    def observe(self, found: dict[Key, Trouble], *, wanted: Collection[Key]) -> None:
        """Take note of what keeps pods from beginning, and of which attempts still have none."""
        self._observed = found
        self._refused = {key: trouble for key, trouble in self._refused.items() if key in wanted}
        self._say()

    def refuse(self, key: Key, reason: str, message: str) -> None:
        """Take note that a pod is not to be had for now."""
        known = self._refused.get(key)
        since = known.since if known is not None and known.reason == reason else time.time()
        self._refused[key] = Trouble(reason, f"{message}; it will be tried again", since)
        if reason == status.QUOTA_EXCEEDED:
            self.full = self._refused[key]
        self._say()

    def share(self, key: Key, trouble: Trouble) -> None:
        """Take note that a pod is not asked for, since another was refused for what all of them share."""
        self._refused[key] = trouble

    def have(self, key: Key) -> None:
        """Take note that a pod is there."""
        self.full = None
        self._refused.pop(key, None)

    def none_refused(self) -> None:
        """Take note that nothing keeps pods from being."""
        self._refused.clear()

    def _say(self) -> None:
        now = time.monotonic()
        found = {trouble.reason: (key, trouble) for key, trouble in self.known().items()}
        for reason, (key, trouble) in found.items():
            if now - self._told.get(reason, -math.inf) > QUIET:
                self._tell(reason, f"pod {self._name(key)}: {trouble.message}")
        self._told |= dict.fromkeys(found, now)
