"""The conversation with the intake, from hello to eof, a step at a time: its owner waits as `wait` says, then calls `step`.

It never gives up by itself: what fails is asked again until it is answered, or by 410, the one final refusal. An intake that
does not know our pod any more is told hello again, and the lines that it then wants.
"""

from __future__ import annotations

import functools
import json
import math
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence

from kubetune import wire
from kubetune.sidecar import log
from kubetune.sidecar.folder import Folder
from kubetune.sidecar.intake import Intake, Refused
from kubetune.sidecar.spool import Spool
from kubetune.sidecar.tail import Tail
from kubetune.sidecar.waiting import Wait

_BATCH = 256 * 1024  # a batch ends with the line that takes it beyond this; the longest line, escaped, leaves it below MAX_BODY
_LINES = 1000  # in one batch, at most
_QUICK, _SLOW = 0.02, 0.1  # seconds between two looks at the report file, while it changes and when it is quiet
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0  # seconds before asking again


class Shipper:
    """Sends the lines of one trial's report file, its output, and then what became of its program."""

    def __init__(self, folder: Folder, tail: Tail, intake: Intake, spools: Sequence[Spool] = ()) -> None:
        """Without `spools` the output is kept by somebody else."""
        self.greeted = False  # hello was answered: the program may begin
        self.finished = False  # eof was acknowledged, or the intake wants nothing more of this attempt
        self.alone_since = math.inf  # since when nobody listens; somebody who answers, whatever it is, does
        self.wait = Wait(0.0)
        self._folder = folder
        self._tail = tail
        self._intake = intake
        self._spools = spools
        self._ended = False
        self._outcome: Mapping[str, object] | None = None
        self._pause = _FIRST_PAUSE
        self._problem = ""
        self._conversation = self._converse()

    def step(self) -> None:
        """Go on as far as that is possible without waiting."""
        if not self.finished:
            self.wait = next(self._conversation, self.wait)

    def end(self, outcome: Mapping[str, object] | None) -> None:
        """Take note that the program has ended: what is left is sent, then eof with this outcome.

        Without one no eof is said: somebody else knows how it ended.
        """
        self._tail.end()
        self._ended = True
        self._outcome = outcome

    def _converse(self) -> Generator[Wait, None, None]:
        try:
            yield from self._greet()
            interval = _QUICK
            while not self.finished:
                interval = _QUICK if self._tail.refresh() else min(interval * 1.25, _SLOW)
                first, lines = self._batch()
                try:
                    if lines:
                        yield from self._ship(first, lines)
                    if (yield from self._ship_output()) or lines:
                        continue
                    if self._outcome is not None:
                        yield from self._say_eof(self._outcome)
                    elif self._ended:
                        self.finished = True
                    else:
                        yield Wait(time.monotonic() + interval)
                except Refused as error:
                    if error.status == wire.GONE:
                        raise
                    yield from self._back_off(str(error))
                    yield from self._greet()
        except Refused:  # 410: this attempt is closed
            yield from self._write(lambda: self._folder.stop("this attempt is closed"))
            self.finished = True

    def _greet(self) -> Generator[Wait, None, None]:
        number, _ = yield from self._ask(wire.HELLO, json.dumps({"wire": wire.VERSION}).encode())
        self._tail.refresh()
        self._tail.rewind(number)  # lines that an earlier agent has sent
        yield from self._acknowledge()
        self._pause = _FIRST_PAUSE
        self.greeted = True

    def _batch(self) -> tuple[int, list[bytes]]:
        """Take the next lines, each as JSON, and the number of the first."""
        first = self._tail.number
        lines: list[bytes] = []
        size = 0
        while size < _BATCH and len(lines) < _LINES:
            line = self._tail.take()
            if line is None:
                break
            lines.append(json.dumps(line, ensure_ascii=False).encode())
            size += len(lines[-1])
        return first, lines

    def _ship(self, first: int, lines: list[bytes]) -> Generator[Wait, None, None]:
        number, _ = yield from self._ask(wire.REPORTS, b'{"first":%d,"lines":[%s]}' % (first, b",".join(lines)))
        if number < self._tail.number:
            self._tail.rewind(number)
        yield from self._acknowledge()
        if number > first:
            self._pause = _FIRST_PAUSE
        else:  # nothing of it was taken
            yield from self._back_off()

    def _ship_output(self) -> Generator[Wait, None, bool]:
        """Send the next bytes of each stream; say whether there were any."""
        sent = False
        for spool in self._spools:
            data = spool.take()
            if data:
                sent = True
                path = f"{wire.LOGS}?stream={spool.name}&offset={spool.offset}"
                number, full = yield from self._ask(path, data)
                spool.go_to(number, full=full)
        return sent

    def _say_eof(self, outcome: Mapping[str, object]) -> Generator[Wait, None, None]:
        body = json.dumps({"next": self._tail.number, **outcome}).encode()
        number, closed = yield from self._ask(wire.EOF, body)
        self.finished = closed
        if number < self._tail.number:
            self._tail.rewind(number)
        elif not closed:
            yield from self._back_off()

    def _ask(self, path: str, body: bytes) -> Generator[Wait, None, tuple[int, bool]]:
        """Ask until there is an answer; give the number of the line wanted next, and whether the attempt is closed.

        Raises Refused where asking the same again is of no use.
        """
        final = (wire.GONE,) if path == wire.HELLO else (wire.GONE, wire.HELLO_FIRST)
        while True:
            try:
                answer = yield from self._intake.ask(path, body)
                number = _wanted(answer)
            except (OSError, ValueError, Refused) as error:
                if isinstance(error, Refused) and error.status in final:
                    raise
                nobody = isinstance(error, (ConnectionRefusedError, FileNotFoundError))
                self.alone_since = min(self.alone_since, time.monotonic()) if nobody else math.inf
                yield from self._back_off(str(error))
            else:
                self._problem = ""
                self.alone_since = math.inf
                if answer.get("stop"):
                    reason = str(answer.get("reason") or "the experiment has stopped this trial")
                    yield from self._write(functools.partial(self._folder.stop, reason))
                return number, bool(answer.get("closed"))

    def _acknowledge(self) -> Generator[Wait, None, None]:
        yield from self._write(lambda: self._folder.acknowledge(self._tail.offset))

    def _write(self, write: Callable[[], None]) -> Generator[Wait, None, None]:
        """Write one of the SDK's files, however long the disk is full; a program that has ended reads none."""
        while not self._ended:
            try:
                return write()
            except OSError as error:
                yield from self._back_off(str(error))
        return None

    def _back_off(self, problem: str = "") -> Generator[Wait, None, None]:
        """Wait before asking again, longer each time, and not all trials at once; say a new problem once."""
        if problem != self._problem:
            self._problem = problem
            log.say(f"kubetune: {problem}; trying again")
        until = time.monotonic() + self._pause * (0.5 + os.urandom(1)[0] / 512)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)
        while time.monotonic() < until:
            yield Wait(until)


def _wanted(answer: Mapping[str, object]) -> int:
    number = answer.get("next")
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ValueError(f"the intake's answer must name the next line wanted, got next: {number!r}")
    if answer.get("wire", wire.VERSION) != wire.VERSION:
        raise ValueError(f"the intake speaks version {answer['wire']!r} of the wire, this sidecar {wire.VERSION}")
    return number
