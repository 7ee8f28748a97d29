"""Starts the agents of one runner by forking, so that each costs milliseconds and not the start of an interpreter.

Started by path: python -I -S .../spawner.py RUN, where RUN is the folder in which the trials' folders are. It lives as long
as its stdin is open; the agents live on. On stdin, a line a request:

    {"id": 3, "folder": "5-0", "drain": false}    start an agent on RUN/5-0 (`agent` says what draining is)

On stdout, a line as something happens:

    {"id": 3, "pid": 4711}                        it was started
    {"id": 3, "code": 0}                          it has ended; negative: by this signal; null: it could not be started
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import sys
import traceback

_HERE = os.path.abspath(__file__)
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(_HERE))))  # the last place: nothing hides the standard library

from kubetune.sidecar import agent, log  # noqa: E402 - found by the line above

_LOG = "agent.log"  # in the trial's folder: what its agent has to say


class Spawner:
    """Forks agents and tells of their ends."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._children: dict[int, int] = {}  # pid: request
        self._woken, wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(wake, False)
        self._own = (self._woken, wake)  # none of the agents' business
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Start what is asked for, until nobody can ask any more."""
        poll = select.poll()
        poll.register(0, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        asked = b""
        while True:
            ready = [descriptor for descriptor, _ in poll.poll()]
            if self._woken in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._woken, 4096)
                self._bury()
            if 0 in ready:
                more = os.read(0, 65536)
                if not more:
                    return
                *lines, asked = (asked + more).split(b"\n")
                for line in lines:
                    self._start(json.loads(line))

    def _start(self, request: dict[str, object]) -> None:
        number, drain = int(str(request["id"])), bool(request["drain"])
        folder = os.path.join(self._run, str(request["folder"]))
        try:
            pid = os.fork()
        except OSError as error:
            log.to(os.path.join(folder, _LOG))
            log.say(f"no process could be started: {error.strerror}")
            _say({"id": number, "code": None})
            return
        if pid == 0:
            self._become(folder, drain=drain)
        self._children[pid] = number
        _say({"id": number, "pid": pid})

    def _become(self, folder: str, *, drain: bool) -> None:
        """Turn the forked child into the agent. Never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in self._own:
                os.close(descriptor)
            os.setsid()
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(2, 1)  # the line to the runner is the spawner's
            log.to(os.path.join(folder, _LOG))
            code = agent.run(folder, drain=drain)
        except Exception:  # noqa: BLE001 - whatever it is, the log is told and the parent must not go on twice
            log.say(traceback.format_exc().rstrip())
        finally:
            os._exit(code)

    def _bury(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
            _say({"id": self._children.pop(pid), "code": code})


def _say(said: dict[str, object]) -> None:
    os.write(1, json.dumps(said).encode() + b"\n")


def main(arguments: list[str]) -> int:
    """Serve one runner."""
    if len(arguments) != 1:
        sys.stderr.write("usage: spawner.py RUN\n")
        return agent.UNUSABLE
    spawner = Spawner(arguments[0])
    gc.freeze()  # what is loaded stays shared between the agents
    try:
        spawner.serve()
    except ConnectionError:  # the runner went while it was told of an end, or had not read what it was told
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
