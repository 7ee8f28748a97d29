"""The loop of one experiment: observe, plan, record, act, publish.

`turn` is the whole of it; `run` turns whenever something has changed, until the experiment is finished. Which cluster it is,
and who looks at what is published, is not known here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from kubetune_operator.cluster import Cluster, Wanted
from kubetune_operator.core import plan as planning
from kubetune_operator.core.plan import Create, Delete, Room
from kubetune_operator.core.records import Record, Refused
from kubetune_operator.core.standing import Judged
from kubetune_operator.errors import KubetuneError
from kubetune_operator.experiment import Experiment, Past
from kubetune_operator.replaying import Replaying

logger = logging.getLogger(__name__)
RELIST = 5.0  # seconds after which a turn is made though nothing was heard: what was missed is seen then
PAUSE = 0.02  # seconds between two turns, unless a trial has ended: reports come in bursts, and one turn serves them all
NO_SPACE_PAUSE = 2.0


class Audience(Protocol):
    """Whoever is to see what happened: files, terminal, status. What it is given is durable already."""

    def tell(self, records: Sequence[Record], refused: Sequence[Refused]) -> None:
        """Say what was recorded since the last call."""
        ...

    def write(self, records: Sequence[Record], judged: Sequence[Judged]) -> None:
        """Write down what was recorded since the last call. After an OSError only `level` can go on."""
        ...

    def level(self, past: Past) -> None:
        """Write down all that was ever recorded, whatever is written already. It may take seconds: called in a thread."""
        ...


class Reconciler:
    """Runs one experiment on one cluster."""

    def __init__(self, experiment: Experiment, cluster: Cluster, audience: Audience, replaying: Replaying | None = None) -> None:
        """Whoever runs many experiments has one `replaying` for all of them."""
        self.suspended = False  # what runs is ended, and nothing started
        self._since = math.inf  # when we took it up
        self._kill: Callable[[], None] | None = None  # ends at once what is ending
        self._told = asyncio.Event()  # to suspend, or to kill
        self._trouble = ""  # why nothing could be recorded or started at the last turn
        self._experiment = experiment
        self._cluster = cluster
        self._audience = audience
        self._replaying = replaying or Replaying()
        self._known = set(experiment.history.open)  # attempts that were open when we last looked
        self._untold: list[Record] = []  # recorded, but not yet published
        self._level_at: float | None = None  # when to try again to write files that lack something; None: they lack nothing

    def interrupt(self, kill: Callable[[], None]) -> None:
        """End what runs and start nothing; told again, `kill` it as soon as its end is recorded."""
        if self.suspended:
            self._kill = kill
        self.suspended = True
        self._told.set()
        self._experiment.woke.set()

    async def run(self) -> None:
        """Turn until the experiment is finished, or suspended with nothing left running.

        Raises OSError when it was told twice to end what runs, and that cannot be recorded.
        """
        while True:
            self._experiment.woke.clear()
            self._experiment.hurry.clear()
            self._cluster.woke.clear()
            kill = self._kill  # before the turn that sees to it that whatever is open is ending
            try:
                wake = await self.turn()
            except OSError as error:
                if self.suspended:
                    await self._tell_to_end()
                if self._experiment.broken or kill:
                    raise
                await self._hold(error)
                continue
            self._trouble = ""
            if kill:
                kill()
                if self._experiment.full:  # how it ends could not be recorded either
                    raise self._experiment.full
            history = self._experiment.history
            if (history.finished and self._level_at is None) or (self.suspended and not history.open):
                return
            await self._wait(wake)

    async def level(self, past: Past) -> None:
        """Bring what is shown up to a journal that was opened again; what cannot be written now will be, while it runs."""
        try:
            await asyncio.to_thread(self._audience.level, past)
        except OSError as error:
            self._lag(error)

    async def turn(self) -> float | None:
        """Make one turn, and as many more as what it recorded leads to; say when time alone asks for the next."""
        while True:
            if self._experiment.broken:
                raise self._experiment.broken
            history = self._experiment.history
            pods = await self._cluster.observe()
            now = self._experiment.now()
            self._since = min(self._since, now)  # a clock that is put back must not make that the future
            room = Room(self._cluster.capacity(), self.suspended or history.spec.suspend, self._since)
            plan = planning.plan(history, pods, room, now)
            if plan.records or history.undecided:  # a decision whose own fsync has failed is not acted on before it is durable
                await self._experiment.record(plan.records)
                self._untold += plan.records
            for act in plan.acts:
                await self._act(act)
            for key in self._known.difference(history.open):
                await self._cluster.forget(key)
            self._known = set(history.open)
            await self._publish()
            if not plan.records:
                levelling = None if self._level_at is None else self._experiment.now() + self._level_at - time.monotonic()
                return min(filter(None, (plan.wake, levelling)), default=None)

    async def _publish(self) -> None:
        """Show what was recorded. Files that cannot be written hold nothing up: they are brought level once that is possible."""
        records, self._untold = self._untold, []
        judged, refused = self._experiment.take_news()
        with contextlib.suppress(OSError):  # a terminal that is gone, a log on a full disk: there is nobody to tell it to
            self._audience.tell(records, refused)
        now = time.monotonic()  # a clock that is put back must not hold the results up
        try:
            if self._level_at is None:
                self._audience.write(records, judged)
            elif self._level_at <= now:  # before that there is no need to write: it is all in the journal
                async with self._replaying.turn():
                    await asyncio.to_thread(self._audience.level, await self._experiment.past())
                self._level_at = None
        except OSError as error:
            self._lag(error)

    def _lag(self, error: OSError) -> None:
        """Try again later to write files that lack something."""
        if self._level_at is None:
            logger.warning("the results cannot be written now (%s); they will be, from the journal, once they can", error)
        self._level_at = time.monotonic() + NO_SPACE_PAUSE

    def part(self) -> None:
        """Write down what was recorded since the last turn: no other comes. Files that lack more than that stay as they are."""
        judged, _ = self._experiment.take_news()
        if self._level_at is None:
            with contextlib.suppress(OSError, KubetuneError):
                self._audience.write(self._untold, judged)
        self._untold = []

    async def _act(self, act: planning.Act) -> None:
        match act:
            case Create(trial, attempt):
                params = self._experiment.history.trials[trial].params
                await self._cluster.create(Wanted(trial, attempt, params))
            case Delete(trial, attempt):
                await self._cluster.delete((trial, attempt))

    async def _tell_to_end(self) -> None:
        """End what runs though that cannot be recorded: should it never be, each is an attempt that was taken from us."""
        for key in list(self._experiment.history.open):
            await self._cluster.delete(key)

    async def _hold(self, error: OSError) -> None:
        """Wait before the next try, but let nobody wait who wants it ended."""
        trouble = error.strerror or str(error)
        if trouble != self._trouble:
            self._trouble = trouble
            logger.warning("nothing can be recorded or started now (%s); trying again every %.0f s", error, NO_SPACE_PAUSE)
            with contextlib.suppress(OSError):
                self._audience.tell((), ())  # whoever shows how the experiment is finds it in `Experiment.full`
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(NO_SPACE_PAUSE):
                await self._told.wait()
        self._told.clear()

    async def _wait(self, wake: float | None) -> None:
        """Sleep until a report, a pod or the clock asks for a turn."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PAUSE):
                await self._experiment.hurry.wait()
        timeout = RELIST if wake is None else min(RELIST, max(0.0, wake - self._experiment.now()))
        bells = [asyncio.ensure_future(event.wait()) for event in (self._experiment.woke, self._cluster.woke)]
        try:
            await asyncio.wait(bells, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for bell in bells:
                bell.cancel()
            await asyncio.wait(bells)  # to await one would take its cancellation and ours for the same
