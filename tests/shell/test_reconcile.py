"""The loop of one experiment where it meets trouble: nothing can be recorded, results cannot be written. Real journal, no real pods."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path

import pytest
import pytest_asyncio

from kubetune_operator import reconcile
from kubetune_operator.cluster import Wanted
from kubetune_operator.core.plan import Pod, PodPhase
from kubetune_operator.core.records import Created, End, Record, Refused
from kubetune_operator.core.standing import Judged, Key
from kubetune_operator.experiment import Experiment, Past
from kubetune_operator.reconcile import Reconciler
from tests.sim.world import spec

WRITE = os.write


class Pods:
    """A cluster whose pods run until they are told to end, and for as long after that as `stubborn` says."""

    def __init__(self, *, stubborn: bool) -> None:
        self.woke = asyncio.Event()
        self.told: list[Key] = []
        self.killed: list[Key] = []
        self.meanwhile: Callable[[], None] | None = None  # what happens while the pods are looked at
        self._stubborn = stubborn
        self._pods: dict[Key, Pod] = {}

    def capacity(self) -> int | None:
        """Set no bound."""
        return None

    async def observe(self) -> Mapping[Key, Pod]:
        """Give every pod."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        return dict(self._pods)

    async def create(self, wanted: Wanted) -> None:
        """Start one."""
        key = (wanted.trial, wanted.attempt)
        self._pods.setdefault(key, Pod(f"uid-{key}", PodPhase.RUNNING))
        self.woke.set()

    async def delete(self, key: Key) -> None:
        """Tell one to end."""
        self.told.append(key)
        if not self._stubborn:
            self._end(key, End(signal=15, terminated=True))

    async def forget(self, key: Key) -> None:
        """Drop one."""
        self._pods.pop(key, None)

    def kill(self) -> None:
        """Kill them all."""
        for key in self.running:
            self.killed.append(key)
            self._end(key, End(signal=9))

    @property
    def running(self) -> list[Key]:
        """Say which run."""
        return [key for key, pod in self._pods.items() if pod.phase is PodPhase.RUNNING]

    def _end(self, key: Key, end: End) -> None:
        self._pods[key] = Pod(self._pods[key].uid, PodPhase.ENDED, deleting=True, end=end)
        self.woke.set()


class Audience:
    """Keeps nothing; `trouble` is raised by the next `write`."""

    def __init__(self) -> None:
        self.trouble: OSError | None = None
        self.levelled = asyncio.Event()

    def tell(self, records: Sequence[Record], refused: Sequence[Refused]) -> None:
        """Hear nothing."""

    def write(self, records: Sequence[Record], judged: Sequence[Judged]) -> None:
        """Fail once, if that is wanted."""
        trouble, self.trouble = self.trouble, None
        if trouble:
            raise trouble

    def level(self, past: Past) -> None:
        """Say that it was asked for."""
        self.levelled.set()


class Disk:
    """The disk under the journal, which may be full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.refused = 0  # writes
        monkeypatch.setattr(os, "write", self._write)

    def _write(self, descriptor: int, data: bytes) -> int:
        if self.full:
            self.refused += 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return WRITE(descriptor, data)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest_asyncio.fixture
async def experiment(tmp_path: Path) -> AsyncIterator[Experiment]:
    wanted = spec(num_samples=2)
    made = Experiment.create(tmp_path, Created("exp", "default", "uid", {}, 1.0), wanted, time.time)
    yield made
    await made.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait until this is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.01)


async def running(experiment: Experiment, pods: Pods, audience: Audience | None = None) -> tuple[Reconciler, asyncio.Task[None]]:
    """Start the loop and wait until two pods run."""
    reconciler = Reconciler(experiment, pods, audience or Audience())
    loop = asyncio.create_task(reconciler.run())
    await until(lambda: [attempt for attempt in experiment.history.open.values() if attempt.uid][1:])
    return reconciler, loop


class TestWhileNothingCanBeRecorded:
    """The journal's disk is full."""

    async def test_what_runs_is_told_to_end_at_once(self, experiment: Experiment, disk: Disk) -> None:
        pods = Pods(stubborn=True)
        reconciler, loop = await running(experiment, pods)
        disk.full = True
        reconciler.interrupt(pods.kill)
        async with asyncio.timeout(reconcile.NO_SPACE_PAUSE / 2):
            await until(lambda: sorted(set(pods.told)) == [(0, 0), (1, 0)])
        assert all(attempt.intent is None for attempt in experiment.history.open.values()), "nobody could write that down"
        reconciler.interrupt(pods.kill)
        with pytest.raises(OSError, match="No space left"):
            await asyncio.wait_for(loop, reconcile.NO_SPACE_PAUSE / 2)
        assert not pods.killed, "whoever finds one killed would take it for a failure of its own"

    async def test_the_second_signal_ends_it_also_where_only_the_end_of_what_runs_cannot_be_recorded(
        self, experiment: Experiment, disk: Disk
    ) -> None:
        pods = Pods(stubborn=True)
        reconciler, loop = await running(experiment, pods)
        reconciler.interrupt(pods.kill)
        await until(lambda: len(pods.told) == 2)
        disk.full = True
        with pytest.raises(OSError, match="No space left"):
            await experiment.record([Refused(0, 0, 0, "digest", "what a sidecar brings", 1.0)])
        reconciler.interrupt(lambda: None)
        with pytest.raises(OSError, match="No space left"):
            await asyncio.wait_for(loop, 1)

    @pytest.mark.slow
    async def test_once_there_is_space_it_is_an_interruption(self, experiment: Experiment, disk: Disk) -> None:
        pods = Pods(stubborn=False)
        reconciler, loop = await running(experiment, pods)
        disk.full = True
        reconciler.interrupt(pods.kill)
        await until(lambda: pods.told)
        disk.full = False
        await asyncio.wait_for(loop, 10)
        assert experiment.history.interrupted
        assert [(trial.failures, trial.outcome) for trial in experiment.history.trials] == [(0, None)] * 2

    @pytest.mark.slow
    async def test_that_is_said_once_each_time(
        self, experiment: Experiment, disk: Disk, caplog: pytest.LogCaptureFixture
    ) -> None:
        pods = Pods(stubborn=True)
        disk.full = True
        reconciler = Reconciler(experiment, pods, Audience())
        loop = asyncio.create_task(reconciler.run())
        await until(lambda: disk.refused >= 2)
        assert caplog.text.count("nothing can be recorded") == 1
        disk.full = False
        await until(lambda: len(pods.running) == 2)
        await asyncio.sleep(10 * reconcile.PAUSE)  # until the turn that made them is over
        disk.full = True
        reconciler.interrupt(pods.kill)
        await until(lambda: len(pods.told) >= 2)
        assert caplog.text.count("nothing can be recorded") == 2
        loop.cancel()


async def test_what_was_told_twice_is_killed_once_its_end_is_recorded(experiment: Experiment) -> None:
    """However fast the second signal follows the first, in the middle of a turn too: killed before, it would have failed by itself."""
    pods = Pods(stubborn=True)
    reconciler, loop = await running(experiment, pods)

    def twice() -> None:
        reconciler.interrupt(pods.kill)
        reconciler.interrupt(pods.kill)

    pods.meanwhile = twice
    experiment.woke.set()
    await asyncio.wait_for(loop, 10)
    assert sorted(pods.killed) == [(0, 0), (1, 0)]
    assert [(trial.failures, trial.reason) for trial in experiment.history.trials] == [(0, "Suspended")] * 2


@pytest.mark.slow
async def test_a_clock_that_is_put_back_does_not_hold_the_results_up(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    audience = Audience()
    audience.trouble = OSError(errno.ENOSPC, "No space left on device")
    _, loop = await running(experiment, Pods(stubborn=True), audience)
    experiment.now = lambda: time.time() - 3600
    monkeypatch.setattr(time, "time", lambda: 0.0)
    experiment.woke.set()
    await asyncio.wait_for(audience.levelled.wait(), reconcile.NO_SPACE_PAUSE + reconcile.RELIST / 2)
    loop.cancel()
