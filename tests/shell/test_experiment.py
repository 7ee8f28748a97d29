"""Facts are durable before they count: what is written, synced, folded and answered, in which order, and what a bad disk changes."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubetune_operator.core.records import Created, Decided, Record, Reported, Started, Suggested, encode
from kubetune_operator.core.trials import Decision
from kubetune_operator.errors import AttemptClosed, AttemptUnbound, Unavailable
from kubetune_operator.experiment import Answer, Experiment, load
from kubetune_operator.journal import Journal
from tests.sim.world import spec

KEY, POD = (0, 0), "pod-1"
WANTED = spec(stop={"accuracy": 0.9})
LINE, BEST = '{"accuracy": 0.1}', '{"accuracy": 0.95}'


class Disk:
    """What is asked of the disk, noted; `before` is called first, with "write" or "fsync", and may fail it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, str]] = []
        self.before: Callable[[str], None] = lambda _what: None
        write, fsync = os.write, os.fsync

        def noted(what: str, descriptor: int) -> None:
            path = Path(f"/proc/self/fd/{descriptor}").readlink()
            if "/journal" in str(path):
                self.asked.append((what, path.name))
                self.before(what)

        def writes(descriptor: int, data: Any) -> int:
            noted("write", descriptor)
            return write(descriptor, data)

        def syncs(descriptor: int) -> None:
            noted("fsync", descriptor)
            fsync(descriptor)

        monkeypatch.setattr(os, "write", writes)
        monkeypatch.setattr(os, "fsync", syncs)

    def fails(self, what: str, number: int, code: int) -> None:
        """Let the next such call but `number` fail, and only that."""
        left = [number]

        def before(asked: str) -> None:
            if asked == what:
                left[0] -= 1
                if left[0] == -1:
                    raise OSError(code, os.strerror(code))

        self.before = before

    def holds(self, what: str) -> tuple[threading.Event, threading.Event]:
        """Let the next such call wait; (it has come there, it may go on)."""
        there, on = threading.Event(), threading.Event()

        def before(asked: str) -> None:
            if asked == what and not there.is_set():
                there.set()
                assert on.wait(20)

        self.before = before
        return there, on


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "journal"
    made.mkdir()
    return made


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    yield Disk(monkeypatch)
    monkeypatch.undo()


async def begun(folder: Path, *trials: int, now: Callable[[], float] = lambda: 5.0) -> Experiment:
    """Give an experiment whose trials have each an attempt with its pod."""
    experiment = Experiment.create(folder, Created("exp", "default", "uid", {}, 1.0), WANTED, now)
    for trial in trials:
        await experiment.record([Suggested(trial, {"x": 0.5}, 2.0), Started(trial, 0, 3.0)])
        await experiment.hello((trial, 0), POD)
    return experiment


def test_a_new_journal_is_durable_with_its_name_before_it_counts(folder: Path, disk: Disk) -> None:
    Journal.open(folder)
    assert disk.asked == [("write", "journal.1.jsonl"), ("fsync", "journal.1.jsonl"), ("fsync", "journal")]


async def test_a_report_is_written_synced_folded_decided_and_only_then_answered(folder: Path, disk: Disk) -> None:
    experiment = await begun(folder, 0)
    disk.asked.clear()
    seen: list[tuple[str, int, int, bool]] = []
    answering: list[asyncio.Task[Any]] = []

    def before(what: str) -> None:
        history = experiment.history
        seen.append((what, history.trials[0].reports, len(history.undecided), answering[0].done()))

    disk.before = before
    answering.append(asyncio.create_task(experiment.report(KEY, POD, 0, [BEST])))
    answer = await answering[0]
    assert (answer.next, answer.stop) == (1, True)
    assert seen == [("write", 0, 0, False), ("fsync", 0, 0, False), ("write", 1, 1, False), ("fsync", 1, 1, False)]
    await experiment.close()


async def test_whoever_waits_at_the_same_moment_shares_an_fsync(folder: Path, disk: Disk) -> None:
    trials = range(20)
    experiment = await begun(folder, *trials)
    disk.asked.clear()
    there, on = disk.holds("fsync")
    reports = [asyncio.create_task(experiment.report((0, 0), POD, 0, [LINE]))]
    assert await asyncio.to_thread(there.wait, 20)
    reports += [asyncio.create_task(experiment.report((trial, 0), POD, 0, [LINE])) for trial in trials[1:]]
    await asyncio.sleep(0.05)
    on.set()
    answers = await asyncio.gather(*reports)
    assert [answer.next for answer in answers] == [1] * 20
    synced = [what for what, _ in disk.asked if what == "fsync"]
    assert len(synced) == 4, "the first report's, its decision's, the others' together, their decisions'"
    await experiment.close()


async def one_behind_the_other(
    experiment: Experiment, there: threading.Event
) -> tuple[asyncio.Task[Answer], asyncio.Task[Answer]]:
    """Report of two trials: the first is held at its fsync, which sets `there`, and the second waits behind it."""
    first = asyncio.create_task(experiment.report((0, 0), POD, 0, [LINE]))
    assert await asyncio.to_thread(there.wait, 20)
    second = asyncio.create_task(experiment.report((1, 0), POD, 0, [LINE]))
    await asyncio.sleep(0.05)
    return first, second


async def test_after_an_fsync_that_failed_nothing_is_acknowledged_any_more(folder: Path, disk: Disk) -> None:
    """Not for those that waited behind it either: what the disk holds is not known."""
    experiment = await begun(folder, 0, 1)
    there, on = disk.holds("fsync")
    first, second = await one_behind_the_other(experiment, there)
    disk.fails("fsync", 0, errno.EIO)  # the one that is held goes through; its decision's is the one that fails
    on.set()
    for waiting in (first, second):
        with pytest.raises(OSError, match="Input/output error"):
            await waiting
    with pytest.raises(OSError, match="Input/output error"):
        await experiment.report((1, 0), POD, 0, [LINE])
    assert experiment.history.trials[1].reports == 0
    assert isinstance(experiment.broken, OSError)
    assert experiment.woke.is_set(), "or the turn would not hear of it"
    await experiment.close()


async def test_once_it_is_closed_nothing_is_written_into_whatever_file_has_its_descriptor_now(
    folder: Path, tmp_path: Path
) -> None:
    """A request may have begun before, and its body come after: that of the next journal opened is the likeliest to have it."""
    experiment = await begun(folder, 0)
    await experiment.close()
    before = (folder / "journal.1.jsonl").read_bytes()
    with (tmp_path / "another").open("ab") as another:
        with pytest.raises(Unavailable, match="not open"):
            await experiment.report(KEY, POD, 0, [LINE])
        assert another.tell() == 0
    assert (folder / "journal.1.jsonl").read_bytes() == before
    assert (tmp_path / "another").read_bytes() == b""


async def test_what_waits_for_its_fsync_when_it_is_closed_is_refused_and_what_is_being_written_is_not(
    folder: Path, disk: Disk
) -> None:
    experiment = await begun(folder, 0, 1)
    there, on = disk.holds("fsync")
    first, second = await one_behind_the_other(experiment, there)
    closing = asyncio.create_task(experiment.close())
    await asyncio.sleep(0.05)
    on.set()
    assert (await first).next == 1
    with pytest.raises(Unavailable, match="not open"):
        await second
    await closing
    assert [one.report.trial for one in load(folder, lambda _: WANTED).judged] == [0]


async def test_a_disk_that_is_full_for_the_decisions_alone_loses_neither_report_nor_decision(folder: Path, disk: Disk) -> None:
    experiment = await begun(folder, 0)
    disk.fails("write", 1, errno.ENOSPC)
    with pytest.raises(OSError, match="No space left"):
        await experiment.report(KEY, POD, 0, [BEST])
    assert len(load(folder, lambda _: WANTED).judged) == 1, "the report is durable"
    again = await experiment.report(KEY, POD, 0, [BEST])
    assert (again.next, again.stop, again.reason) == (1, True, "StopMetrics")
    await experiment.close()
    past = load(folder, lambda _: WANTED)
    assert [one.verdict.decision for one in past.judged] == [Decision.STOP]
    assert not past.history.undecided


async def test_what_was_recorded_as_decided_counts_whatever_would_be_decided_now(folder: Path) -> None:
    journal, _ = Journal.open(folder)
    line = {"accuracy": 0.1}
    records: list[Record] = [
        *(Created("exp", "default", "uid", {}, 1.0), Suggested(0, {"x": 0.5}, 2.0), Started(0, 0, 3.0)),
        *(Reported(0, 0, 0, "a", line, 4.0), Decided(0, 0, 0, Decision.STOP, "AsItWas", {}, True)),
        *(Suggested(1, {"x": 0.5}, 2.0), Started(1, 0, 3.0)),
        *(Reported(1, 0, 0, "b", {"accuracy": 0.99}, 4.0), Decided(1, 0, 0, Decision.CONTINUE)),
    ]
    journal.append([encode(one) for one in records])
    journal.close()
    experiment, past = Experiment.resume(folder, lambda _: WANTED, lambda: 5.0)
    assert [(one.verdict.decision, one.verdict.reason) for one in past.judged] == [
        (Decision.STOP, "AsItWas"),
        (Decision.CONTINUE, ""),
    ]
    stopped, running = (experiment.history.open[key] for key in ((0, 0), (1, 0)))
    assert (stopped.reason, stopped.complete, running.intent) == ("AsItWas", True, None)
    assert not experiment.history.undecided
    await experiment.close()


async def test_time_total_counts_from_the_pods_first_word_and_time_this_iter_from_the_report_before(folder: Path) -> None:
    clock = [5.0]
    experiment = await begun(folder, now=lambda: clock[0])
    await experiment.record([Suggested(0, {"x": 0.5}, 2.0), Started(0, 0, 3.0)])
    clock[0] = 100.0
    await experiment.hello(KEY, POD)
    for time in (101.5, 104.0):
        clock[0] = time
        await experiment.report(KEY, POD, len(experiment.news), [LINE])
    times = [(one.filled["time_this_iter_s"], one.filled["time_total_s"]) for one in experiment.news]
    assert times == [(1.5, 1.5), (2.5, 4.0)]
    await experiment.close()


async def test_an_attempt_without_a_pod_takes_nothing_and_one_with_a_pod_nothing_of_anothers(folder: Path) -> None:
    experiment = await begun(folder)
    await experiment.record([Suggested(0, {"x": 0.5}, 2.0), Started(0, 0, 3.0)])
    with pytest.raises(AttemptUnbound, match="hello"):
        await experiment.report(KEY, POD, 0, [LINE])
    await experiment.hello(KEY, POD)
    with pytest.raises(AttemptClosed, match="another pod"):
        await experiment.report(KEY, "pod-2", 0, [LINE])
    assert experiment.history.trials[0].reports == 0
    await experiment.close()
