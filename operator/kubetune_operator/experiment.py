"""One experiment: its journal and the fold over it. Everything that is to be remembered passes through `record`.

Called by the intake (reports) and by reconcile (turns); knows neither sockets nor pods. Facts are durable before they count:
records are folded after their fsync, in the order of the file, and fsyncs are shared by all who wait at that moment.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kubetune.wire import LOST, MAX_METRICS
from kubetune_operator.core.endings import goes_on
from kubetune_operator.core.history import History
from kubetune_operator.core.records import (
    Bound,
    Closed,
    Condemned,
    Created,
    Decided,
    Drained,
    Edited,
    End,
    Intent,
    Record,
    Refused,
    Reopened,
    Reported,
    decode,
    encode,
)
from kubetune_operator.core.reports import parse
from kubetune_operator.core.spec import Spec
from kubetune_operator.core.standing import Attempt, Judged, Key
from kubetune_operator.core.trials import Verdict
from kubetune_operator.errors import (
    AttemptClosed,
    AttemptUnbound,
    InvalidSpec,
    JournalEmpty,
    JournalError,
    KubetuneError,
    LineRefused,
    Problem,
    Unavailable,
)
from kubetune_operator.journal import Journal, read

Line = str | Mapping[str, str]  # as it came over the wire
Read = Callable[[Mapping[str, Any]], Spec]  # the resource's body -> what core understands
DIGEST_BYTES = 8
NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sidecar is told of its lines."""

    next: int
    stop: bool
    reason: str
    refused: tuple[tuple[int, str], ...] = ()


@dataclass(slots=True)
class Past:
    """A journal, folded: the state, the resource as it is now, and what the files say of it."""

    history: History
    body: Mapping[str, Any]
    judged: list[Judged]
    closed: list[Closed]


class Experiment:
    """The state of one experiment, and the only way to change it."""

    def __init__(self, journal: Journal, history: History, body: Mapping[str, Any], now: Callable[[], float]) -> None:
        self.history = history
        self.body = body  # the resource as it is now
        self.woke = asyncio.Event()  # set when a turn would find something to do
        self.hurry = asyncio.Event()  # set when that should not wait: an attempt has ended, and its slot is free
        self.news: list[Judged] = []  # reports folded since they were last taken
        self.refused: list[Refused] = []  # likewise
        self.broken: Exception | None = None  # why nothing can be recorded any more
        self.full: OSError | None = None  # why the latest records could not be made durable, if they could not
        self.now = now
        self._journal = journal
        self._writing = asyncio.Lock()  # while it is held, what is in the journal is what is folded
        self._queue: list[tuple[list[Record], asyncio.Future[None]]] = []
        self._committing: asyncio.Task[None] | None = None
        self._locks: dict[Key, asyncio.Lock] = {}
        self._specs: dict[int, Spec] = {}  # of the Edited on their way to the journal, by id

    @classmethod
    def create(cls, folder: Path, created: Created, spec: Spec, now: Callable[[], float]) -> Self:
        """Start a journal in an empty folder."""
        journal, before = Journal.open(folder, [encode(created)])
        if before:
            raise JournalError(f"{folder}: there is an experiment in this folder already")
        history = History(spec)
        history.apply(created)
        return cls(journal, history, created.body, now)

    @classmethod
    def resume(cls, folder: Path, spec_of: Read, now: Callable[[], float]) -> tuple[Self, Past]:
        """Open a journal and fold all of it; the past is for the files to be brought level with.

        Raises JournalError, or InvalidSpec where this version cannot carry out what the journal says; nothing is changed then.
        """
        journal, encoded = Journal.open(folder)
        try:
            past = fold(_decoded(encoded), spec_of)
        except KubetuneError:
            journal.withdraw()
            raise
        return cls(journal, past.history, past.body, now), past

    async def record(self, records: Iterable[Record]) -> None:
        """Make the records durable and fold them, decisions on reports among them included.

        Raises OSError for want of space (try again later), or what broke the journal for good.
        """
        if self.broken:
            raise self.broken
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((list(records), done))
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit())
        await done

    def require(self, key: Key, uid: str) -> None:
        """Raise AttemptClosed or AttemptUnbound unless this is the pod of an open attempt."""
        self._bound(key, uid)

    async def hello(self, key: Key, uid: str) -> int:
        """Answer a sidecar's first word with the number of the line wanted; from now on the attempt is this pod's alone.

        Raises AttemptClosed, also for another pod of an attempt that has one.
        """
        async with self._locks.setdefault(key, asyncio.Lock()):
            if not self._attempt(key).uid:
                await self.record([Bound(*key, uid, self.now())])
            wanted = self._bound(key, uid).next
            self.woke.set()
            return wanted

    async def report(self, key: Key, uid: str, first: int, lines: Sequence[Line]) -> Answer:
        """Take the lines numbered from `first`: durable, decided, and only then answered.

        Raises AttemptClosed or AttemptUnbound. A gap, or a known number with another content, is answered with the number wanted.
        """
        async with self._locks.setdefault(key, asyncio.Lock()):
            wanted = self._bound(key, uid).next
            known = self.history.digests[key]
            names = set(self.history.names.get(key[0], ()))
            records: list[Record] = []
            for number, line in enumerate(lines, first):
                if number > wanted:
                    break
                if number < wanted and known[number] != _digest(line):
                    records.append(self._rewritten(key, number))
                    break
                if number == wanted:
                    records.append(self._read(key, number, line, names))
                    wanted += 1
            if records or self.history.undecided:
                await self.record(records)
            return self._answer(key, records)

    async def drained(self, key: Key, uid: str, wanted: int, end: End) -> tuple[int, bool]:
        """Take the sidecar's last word; (the number wanted, whether that was all). Raises as `report` does."""
        async with self._locks.setdefault(key, asyncio.Lock()):
            known = self._bound(key, uid).next
            if wanted > known:
                return known, False
            records: list[Record] = (
                [self._rewritten(key, wanted)] if wanted < known and end.error != LOST else []
            )  # lines that were there are not
            if self.history.open[key].end is None:
                await self.record([*records, Drained(*key, wanted, end, self.now())])
            self.woke.set()
            self.hurry.set()
            return wanted, True

    async def edit(self, body: Mapping[str, Any], spec: Spec) -> None:
        """Take over the mutable fields of a changed resource; what it ended for may not hold any more, then it goes on.

        Raises InvalidSpec for what the API server refuses by looking at the status, and as `record` does.
        """
        started = sum(trial.attempts > 0 for trial in self.history.trials)
        if spec.num_samples < self.history.spec.num_samples and spec.total < started + self.history.skipped:
            rule = f"must not have fewer trials than have been started ({started})"
            remedy = f"use {spec.space.samples_for(started + self.history.skipped)} or more"
            raise InvalidSpec((Problem("spec.numSamples", rule, spec.num_samples, remedy),))
        edited = Edited(body, self.now())
        self._specs[id(edited)] = spec
        try:
            await self.record([edited])
        finally:
            del self._specs[id(edited)]
        if goes_on(self.history):
            await self.record([Reopened(self.now())])
        self.body = body  # only now: where either could not be recorded, all of it is to be tried again

    async def past(self) -> Past:
        """Read anew all that is recorded so far, the reports among the news included: they are no news any more."""
        async with self._writing:
            self.news = []
            return await asyncio.to_thread(load, self._journal.folder, lambda _body: self.history.spec)

    def take_news(self) -> tuple[list[Judged], list[Refused]]:
        """Give the reports and refusals since the last call."""
        news, refused = self.news, self.refused
        self.news, self.refused = [], []
        return news, refused

    async def close(self) -> None:
        """Wait for what is being written and close the file. Whoever comes later, or waits for that, is to come again.

        A request may have found us while we were open. The file's descriptor is soon another file's.
        """
        self.broken = self.broken or Unavailable("the experiment is not open")
        if self._committing:
            await self._committing
        self._journal.close()

    def _attempt(self, key: Key) -> Attempt:
        attempt = self.history.open.get(key)
        if attempt is None:
            self._locks.pop(key, None)
            raise AttemptClosed(f"attempt {key[1]} of trial {key[0]} is closed")
        return attempt

    def _bound(self, key: Key, uid: str) -> Attempt:
        """Give the attempt, if it is this pod's."""
        attempt = self._attempt(key)
        if not attempt.uid:
            raise AttemptUnbound(f"attempt {key[1]} of trial {key[0]} has no pod yet: say hello first")
        if attempt.uid != uid:
            raise AttemptClosed(f"attempt {key[1]} of trial {key[0]} belongs to another pod")
        return attempt

    def _read(self, key: Key, number: int, line: Line, names: set[str]) -> Record:
        """Make the record of one line; `names` are the metrics of the trial so far, those of this line are added."""
        digest = _digest(line)
        if not isinstance(line, str):
            return Refused(*key, number, digest, line["refused"], self.now())
        try:
            reported = Reported(*key, number, digest, parse(line), self.now())
        except LineRefused as refusal:
            return Refused(*key, number, digest, str(refusal), self.now())
        if len(names.union(reported.flat)) > MAX_METRICS:
            reason = f"must not report more than {MAX_METRICS} different metrics in one trial"
            return Refused(*key, number, digest, reason, self.now())
        names.update(reported.flat)
        return reported

    def _rewritten(self, key: Key, number: int) -> Record:
        message = f"line {number} of the report file has changed after it was taken; only ever append to $KUBETUNE_REPORTS"
        return Condemned(*key, Intent.FAIL, "ReportsRewritten", message, self.now())

    def _answer(self, key: Key, records: Sequence[Record]) -> Answer:
        attempt = self.history.open.get(key)
        if attempt is None:
            raise AttemptClosed(f"attempt {key[1]} of trial {key[0]} was closed meanwhile")
        best = self.history.best_values
        if attempt.intent is not None or (best is not None and best.reached):
            self.woke.set()
        refused = tuple((record.number, record.reason) for record in records if isinstance(record, Refused))
        return Answer(attempt.next, attempt.intent is not None, attempt.reason, refused)

    async def _commit(self) -> None:
        """Write and fold until nobody waits; what came in the meantime shares the next fsync."""
        while self._queue:
            batch, self._queue = self._queue, []
            if self.broken:
                self._fail(batch, self.broken)
                continue
            try:
                await self._append([record for records, _ in batch for record in records])
                if self.history.undecided:
                    await self._append(list(self.history.undecided.values()))
            except Exception as error:  # noqa: BLE001 -- whoever waits is told, whatever it was
                self._fail(batch, error)
                continue
            self.full = None
            for _, done in batch:
                if not done.done():
                    done.set_result(None)
        self._committing = None

    async def _append(self, records: list[Record]) -> None:
        encoded = [encode(record) for record in records]
        async with self._writing:
            await asyncio.get_running_loop().run_in_executor(None, self._journal.append, encoded)
            for record in records:
                judged = self.history.apply(record, spec=self._specs.get(id(record)))
                if judged is not None:
                    self.news.append(judged)
                elif isinstance(record, Refused):
                    self.refused.append(record)

    def _fail(self, batch: list[tuple[list[Record], asyncio.Future[None]]], error: Exception) -> None:
        if isinstance(error, OSError) and error.errno in NO_SPACE:
            self.full = error
        else:
            self.broken = error  # what the disk holds is not known any more, or the journal is somebody else's
        for _, done in batch:
            if not done.done():
                done.set_exception(error)
        self.woke.set()


def fold(records: Sequence[Record], spec_of: Read) -> Past:
    """Fold a whole journal. What was decided counts as recorded; what was not is judged now (and left in `undecided`)."""
    history = begin(records, spec_of)
    past = Past(history, {}, [], [])
    for record, judged in folding(history, records, spec_of):
        if isinstance(record, Created | Edited):
            past.body = record.body
        elif judged is not None:
            past.judged.append(judged)
        elif isinstance(record, Closed):
            past.closed.append(record)
    return past


def begin(records: Sequence[Record], spec_of: Read) -> History:
    """Give the state before a journal's first record. Raises JournalEmpty."""
    if not records or not isinstance(records[0], Created):
        raise JournalEmpty(
            "this experiment was interrupted before its first record was safe: there is nothing to go on with; start it anew"
        )
    return History(spec_of(records[0].body))


def folding(history: History, records: Sequence[Record], spec_of: Read) -> Iterator[tuple[Record, Judged | None]]:
    """Fold a journal a record at a time: give each once it is in `history`, with what became of it if it is a report."""
    decided = {(one.trial, one.attempt, one.number): one for one in records if isinstance(one, Decided)}
    for record in records:
        if isinstance(record, Edited):
            history.apply(record, spec=spec_of(record.body))
            yield record, None
        else:
            yield record, history.apply(record, _verdict(decided, record) if isinstance(record, Reported) else None)


def load(folder: Path, spec_of: Read) -> Past:
    """Read an experiment without opening it for writing, as `kubetune show` does."""
    return fold(records_of(folder), spec_of)


def records_of(folder: Path) -> list[Record]:
    """Read the records of a journal without opening it for writing."""
    return _decoded(read(folder))


def _decoded(encoded: list[Mapping[str, Any]]) -> list[Record]:
    """Decode records, emptying the list: a long journal is not held twice."""
    encoded.reverse()
    return [decode(encoded.pop()) for _ in range(len(encoded))]


def _verdict(decided: Mapping[tuple[int, int, int], Decided], record: Reported) -> Verdict | None:
    one = decided.get((record.trial, record.attempt, record.number))
    return Verdict(one.decision, one.reason, one.facts, one.complete) if one else None


def _digest(line: Line) -> str:
    if isinstance(line, str):
        return hashlib.blake2b(line.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()
    return line["digest"]
