"""How a conversation waits without blocking: a generator yields a `Wait` and goes on when resumed, in time or too early.

Who resumes it (a loop over poll) is not said here.
"""

from __future__ import annotations

import socket
import time


class Wait:
    """What to wait for: a descriptor to become ready (-1: none) or a time of the monotonic clock, whichever comes first."""

    __slots__ = ("descriptor", "events", "until")

    def __init__(self, until: float, descriptor: int = -1, events: int = 0) -> None:
        self.until = until
        self.descriptor = descriptor
        self.events = events


class Patience:
    """How long a connection waits for one request, and which errors only mean "not yet".

    TLS may have to write in order to read: `wants` says what its errors ask for.
    """

    __slots__ = ("_seconds", "until", "wants")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.wants: dict[type[OSError], int] = {}
        self.renew()

    def renew(self) -> None:
        """Begin a new request."""
        self.until = time.monotonic() + self._seconds

    def after(self, error: OSError, waiting: socket.socket, events: int) -> Wait:
        """Say what to wait for before the operation is tried again; raise where it failed, or has taken too long."""
        needed = events if isinstance(error, BlockingIOError) else self.wants.get(type(error), 0)
        if not needed:
            raise error
        if time.monotonic() >= self.until:
            raise TimeoutError("the intake did not answer in time")
        return Wait(self.until, waiting.fileno(), needed)
