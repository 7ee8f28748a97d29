"""What pods without a launcher print: their log, followed through the API, from its beginning, and handed on by its offset.

Whoever keeps it knows how much is there, so that a stream that broke off, or an operator that was started again, doubles
nothing. Standard output and standard error are one in it. One task and one piece of memory for each pod that runs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing
from functools import partial
from typing import Protocol

from kubetune_operator.cluster import Wanted
from kubetune_operator.cluster.kubernetes import Api, ApiAway, ApiRefused
from kubetune_operator.cluster.pods import Pods, Program
from kubetune_operator.core.plan import Pod
from kubetune_operator.core.standing import Key

logger = logging.getLogger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a log is followed again
NEWS = 15.0  # seconds in which the kubelet says that a program has ended whose log has
LOOK = 0.2  # seconds between two looks at it
REST = 5.0  # seconds for the rest of a closed attempt's log
ROTATED = b"[kubetune: the log was rotated before all of it was read: what is missing here is lost]\n"
STREAM = "stdout"
NOT_FOUND = 404
BEYOND = 1 << 60  # an offset that nothing has reached


class Keeper(Protocol):
    """Whoever keeps the output."""

    async def keep(self, key: Key, stream: str, offset: int, data: bytes) -> tuple[int, bool]:
        """Keep what is new of these bytes; give the offset wanted next, and whether no more is. Raises OSError."""
        ...

    async def known(self, key: Key, stream: str, offset: int, data: bytes) -> bool:
        """Say whether these bytes are those that are kept already, as far as they are."""
        ...


class _Rotated(Exception):
    """What is to be had of the log does not begin where the log did."""


class Output:
    """Follows the logs of one experiment's pods."""

    def __init__(self, api: Api, namespace: str, keeper: Keeper) -> None:
        self._api = api
        self._namespace = namespace
        self._keeper = keeper
        self._tasks: dict[Key, asyncio.Task[None]] = {}  # of the attempts that are open

    def follow(self, key: Key, program: Program, ended: Callable[[], bool]) -> None:
        """Follow a program's log, unless that was begun before; `ended` says whether the program is known to have ended."""
        if key not in self._tasks:
            self._tasks[key] = asyncio.create_task(self._follow(key, program, ended), name=f"log of {program.pod}")

    async def finish(self, key: Key) -> None:
        """Wait until a log is read to its end, but not for long; it is not followed any more then."""
        task = self._tasks.pop(key, None)
        if task is not None:
            await asyncio.wait({task}, timeout=REST)
            task.cancel()

    def leave(self, key: Key) -> None:
        """Read on for as long, but let nobody wait for it."""
        task = self._tasks.pop(key, None)
        if task is not None:
            asyncio.get_running_loop().call_later(REST, task.cancel)

    async def close(self) -> None:
        """Follow nothing any more."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _follow(self, key: Key, program: Program, ended: Callable[[], bool]) -> None:
        pause = FIRST_PAUSE
        rotated = False
        while True:
            try:
                if await self._read(key, program, new=rotated) or await _comes_true(ended):
                    return
                pause, rotated = FIRST_PAUSE, False
            except _Rotated:
                rotated = True
                continue
            except ApiRefused as refused:
                if refused.status == NOT_FOUND:
                    return
                logger.warning("the log of pod %s cannot be followed: %s", program.pod, refused)
            except (ApiAway, OSError) as error:
                rotated = False
                logger.warning("the log of pod %s is not followed now, and will be from its beginning: %s", program.pod, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _read(self, key: Key, program: Program, *, new: bool) -> bool:
        """Keep what a stream brings until it ends; say whether no more is wanted."""
        offset = 0
        if new:
            offset, _ = await self._keeper.keep(key, STREAM, BEYOND, b"")
            offset, full = await self._keeper.keep(key, STREAM, offset, ROTATED)
            if full:
                return True
        async with aclosing(self._api.log(self._namespace, program.pod, program.container, new=new)) as pieces:
            async for data in pieces:
                if not await self._keeper.known(key, STREAM, offset, data):
                    raise _Rotated
                wanted, full = await self._keeper.keep(key, STREAM, offset, data)
                if full:
                    return True
                offset += len(data)
                if wanted < offset:
                    raise OSError(f"{wanted} bytes of it are left where {offset} were")
        return False


class Followed:
    """The cluster of an experiment whose pods have no launcher: `Pods`, and their output."""

    def __init__(self, pods: Pods, output: Output) -> None:
        self.woke = pods.woke
        self._pods = pods
        self._output = output

    def capacity(self) -> int | None:
        """Set no bound of its own."""
        return self._pods.capacity()

    async def observe(self) -> Mapping[Key, Pod]:
        """Give the pods of all open attempts, and follow the logs of those whose program has begun."""
        found = await self._pods.observe()
        for key in found:
            program = self._pods.program(key)
            if program is not None:
                self._output.follow(key, program, partial(self._ended, key))
        return found

    async def create(self, wanted: Wanted) -> None:
        """Create this pod."""
        await self._pods.create(wanted)

    async def delete(self, key: Key) -> None:
        """Delete this pod; what its program prints in its grace period is followed all the same."""
        await self._pods.delete(key)

    async def forget(self, key: Key) -> None:
        """Take note that the attempt is closed: its pod may be deleted, so the rest of its log comes first."""
        program = self._pods.program(key)
        if program is None or program.deleting:
            self._output.leave(key)
        else:
            await self._output.finish(key)
        await self._pods.forget(key)

    def _ended(self, key: Key) -> bool:
        program = self._pods.program(key)
        return program is None or program.ended


async def _comes_true(condition: Callable[[], bool]) -> bool:
    """Wait for something, but not for long."""
    until = time.monotonic() + NEWS
    while not condition():
        if time.monotonic() > until:
            return False
        await asyncio.sleep(LOOK)
    return True
