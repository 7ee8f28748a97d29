"""One thread's wait: for a signal, for what a conversation waits for, or for a time. Sidecar and agent wait alike.

What a signal means is its handler's business, and what is due then the loop's around it.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import time

from kubetune.sidecar.waiting import Wait


class Waking:
    """Waits such that a signal that comes just before a wait ends it, too. One a process: it takes the wake-up descriptor."""

    def __init__(self) -> None:
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)

    def pause(self, until: float, wait: Wait | None) -> None:
        """Wait until this time of the monotonic clock (infinity: for ever), as `wait` says, or for any signal with a handler."""
        poll = select.poll()
        poll.register(self._woken, select.POLLIN)
        if wait is not None:
            until = min(until, wait.until)
            if wait.descriptor >= 0:
                poll.register(wait.descriptor, wait.events)
        poll.poll(None if until == math.inf else max(0, math.ceil((until - time.monotonic()) * 1000)))
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)
