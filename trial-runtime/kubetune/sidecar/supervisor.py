"""One trial on this machine from hello to eof: starts its program, ends it when told to, and lets the shipper work meanwhile.

In a cluster kubelet and launcher do the program's half; here both halves share one loop over poll.
"""

from __future__ import annotations

import math
import signal
import time

from kubetune import wire
from kubetune.sidecar import log, program
from kubetune.sidecar.folder import Folder
from kubetune.sidecar.shipper import Shipper
from kubetune.sidecar.waking import Waking

DONE, GAVE_UP = 0, 4
_NOT_STARTED, _CLOSED = "NotStarted", "AttemptClosed"  # errors without a program's own end
_DYING = 5.0  # seconds to wait for a killed program to be gone


class Supervisor:
    """Runs one trial; `run` and `drain` give the agent's exit code."""

    def __init__(self, folder: Folder, pod: program.Pod, shipper: Shipper) -> None:
        self._folder = folder
        self._pod = pod
        self._shipper = shipper
        self._status: dict[str, object] = {"pid": None, "started": None, "start_ticks": None}
        self._program: program.Program | None = None
        self._give_up_at = math.inf  # until the program has ended
        self._told_to_end = False
        self._waking = Waking()
        self._hear_signals()

    def run(self) -> int:
        """Run the trial to its end."""
        while True:
            self._shipper.step()
            if self._mind_program():
                continue
            if self._give_up_at < math.inf and self._shipper.finished:
                return DONE
            if time.monotonic() >= self._give_up_at:
                return GAVE_UP
            if self._program is None and time.monotonic() >= self._shipper.alone_since + self._pod.flush:
                self._folder.leave()  # nothing has begun: a runner that comes back starts another agent here
                return GAVE_UP
            self._pause()

    def drain(self) -> int:
        """End what an agent that died has left running, and send what it had not."""
        status = self._folder.status()
        self._status.update(status)
        if status.get("state") == "ended":
            self._flush({name: status.get(name) for name in (*program.ended(None), "tail")})
        else:
            pid = status.get("pid")
            if isinstance(pid, int):
                _put_an_end_to(pid, status.get("start_ticks"))
            self._end(program.ended(wire.LOST))
        return self.run()

    def _mind_program(self) -> bool:
        """Start it, end it, note its end, whichever it is time for; say whether there is news for the shipper."""
        if self._give_up_at < math.inf:
            return False
        if self._program is not None:
            outcome = self._program.outcome()
            if outcome is None and self._told_to_end:
                self._program.terminate()
        elif self._told_to_end:
            outcome = program.ended(_NOT_STARTED, terminated=True)
        elif self._shipper.finished:
            outcome = program.ended(_CLOSED)
        else:
            outcome = None
            if self._shipper.greeted:
                program.adopt_orphans()
                self._program = program.start(self._pod, self._announce)
        if outcome is not None:
            self._end(outcome)
        return outcome is not None

    def _announce(self, pid: int) -> None:
        self._status = {"state": "running", "pid": pid, "started": time.time(), "start_ticks": program.start_ticks(pid)}
        self._folder.record(self._status)

    def _end(self, outcome: dict[str, object]) -> None:
        if outcome["exit_code"] != 0:
            outcome = {**outcome, "tail": self._pod.last_words()}
        try:
            self._folder.record({**self._status, "state": "ended", **outcome, "ended": time.time()})
        except OSError as error:  # eof says the same
            log.say(f"kubetune: {error}")
        self._flush(outcome)

    def _flush(self, outcome: dict[str, object]) -> None:
        self._give_up_at = time.monotonic() + self._pod.flush
        self._shipper.end(outcome)

    def _pause(self) -> None:
        until = self._give_up_at if self._program is None else min(self._give_up_at, self._program.kill_at)
        self._waking.pause(until, None if self._shipper.finished else self._shipper.wait)

    def _hear_signals(self) -> None:
        signal.signal(signal.SIGCHLD, lambda *_: None)  # without a handler it would end no wait
        signal.signal(signal.SIGTERM, self._tell_to_end)
        for number in (signal.SIGINT, signal.SIGHUP):  # the terminal's: whoever started the agent decides what they mean
            signal.signal(number, signal.SIG_IGN)

    def _tell_to_end(self, *_: object) -> None:
        self._told_to_end = True


def _put_an_end_to(pid: int, ticks: object) -> None:
    """Kill the program that a dead agent has left, if this pid still is that program, and wait until it is gone."""
    if ticks is not None and program.start_ticks(pid) != ticks:
        return
    program.kill_group(pid, signal.SIGKILL)
    until = time.monotonic() + _DYING
    while ticks is not None and program.start_ticks(pid) == ticks and time.monotonic() < until:
        time.sleep(0.01)
