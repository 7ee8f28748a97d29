"""Taking turns at replaying journals: each holds a whole past in memory for seconds. What is done in a turn is not known here."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Replaying:
    """One of these for all experiments of a process."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Have the turn for as long as this is open.

        The garbage collector rests: it would look through all of the past again and again, each time with every thread held
        up for most of a second, and finds nothing, as nothing of it refers to itself.
        """
        async with self._lock:
            gc.disable()
            try:
                yield
            finally:
                gc.enable()
