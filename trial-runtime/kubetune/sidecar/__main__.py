"""The sidecar of a trial's pod, started by path: python -I -S .../__main__.py [ROOT]. What it is told is in its environment.

    ROOT                where all its paths begin; / unless it is told otherwise, so that it runs outside a pod as it does in one
    KUBETUNE_ENDPOINT   https://HOST:PORT of the intake
    KUBETUNE_CA_PEM     the certificate that signs for it
    KUBETUNE_LOG_FILES  JSON, the names of the files that output is kept in; none: output is not sent
    KUBETUNE_FLUSH_SECONDS is the launcher's; nothing here gives up

It puts launcher and SDK in place, says hello, and only then lets the program begin (`ready`). It sends reports and output
until `exit` says that nothing more comes, then eof, then writes `drained`: the launcher's README has the files. A SIGTERM is
no reason to stop sending: it means that the trial's container has ended, so what is there is all there will be.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import stat
import sys
import time

_HERE = os.path.abspath(__file__)
sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(_HERE))))  # the last place: nothing hides the standard library

from kubetune.sidecar import log, setup  # noqa: E402 - found by the line above
from kubetune.sidecar.connection import Endpoint  # noqa: E402
from kubetune.sidecar.folder import Folder  # noqa: E402
from kubetune.sidecar.intake import Intake  # noqa: E402
from kubetune.sidecar.shipper import Shipper  # noqa: E402
from kubetune.sidecar.spool import Spool  # noqa: E402
from kubetune.sidecar.tail import Tail  # noqa: E402
from kubetune.sidecar.waking import Waking  # noqa: E402

BIN, IO = "kubetune/bin", "kubetune/io"
LAUNCHER = "opt/kubetune/launcher/kubetune-launch"
TOKEN = "var/run/kubetune/token/token"  # noqa: S105 - a path
READY, EXIT, DRAINED = "ready", "exit", "drained"
_EVERY = 0.05  # seconds between two looks for `exit`
_MAX_EXIT = 4096  # bytes
_NUMBERS, _FLAGS = ("exit_code", "signal"), ("terminated", "oom")


class Sidecar:
    """One pod's sidecar."""

    def __init__(self, io: str, shipper: Shipper) -> None:
        self._io = io
        self._shipper = shipper
        self._ready = False
        self._drained = False
        self._over = False  # nothing more comes
        self._told_to_end = False
        self._waking = Waking()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._tell_to_end)

    def run(self) -> int:
        """Carry the trial to its end; the exit code is read by nobody."""
        while True:
            self._shipper.step()
            if self._shipper.greeted and not self._ready:
                self._leave(READY)
                self._ready = True
            if self._told_to_end and not self._shipper.greeted:
                return 0  # the program was never let begin, so there is nothing to send
            if not self._over:
                self._mind_the_end()
            if self._shipper.finished and not self._drained:
                self._leave(DRAINED)
                self._drained = True
            if self._drained and self._told_to_end:
                return 0
            self._pause()

    def _mind_the_end(self) -> None:
        """See whether the program has ended: by the launcher's word, or because we are told to end ourselves."""
        outcome = _exit(os.path.join(self._io, EXIT))
        if outcome is not None:
            self._over = True
            self._shipper.end(outcome)
        elif self._told_to_end:  # the launcher was killed, or there was none: the kubelet says how it ended
            self._over = True
            self._shipper.end(None)

    def _leave(self, name: str) -> None:
        """Make a file that stands for itself; a FIFO that the program has put there is not waited for."""
        path = os.path.join(self._io, name)
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644))
        except OSError as error:
            log.say(f"kubetune: {path}: {error.strerror}")

    def _pause(self) -> None:
        until = math.inf if self._over else time.monotonic() + _EVERY
        self._waking.pause(until, None if self._shipper.finished else self._shipper.wait)

    def _tell_to_end(self, *_: object) -> None:
        self._told_to_end = True


def _exit(path: str) -> dict[str, object] | None:
    """Read the launcher's last word, if it is there; the program could have put anything there, so nothing of it is trusted."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        said = json.loads(os.read(descriptor, _MAX_EXIT).decode("utf-8", "replace")) if regular else None
    except (OSError, ValueError, RecursionError):
        said = None
    finally:
        os.close(descriptor)
    if not isinstance(said, dict) or not _is_outcome(said):
        return {"error": "the trial has tampered with /kubetune/io/exit"}
    return {name: said.get(name) for name in (*_NUMBERS, *_FLAGS, "error")}


def _is_outcome(said: dict[str, object]) -> bool:
    """Say whether the intake would take it: what it refuses would be sent again for ever."""
    numbers, flags = ([said[name] for name in names if said.get(name) is not None] for names in (_NUMBERS, _FLAGS))
    return (
        all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one <= 255 for one in numbers)
        and all(isinstance(one, bool) for one in flags)
        and isinstance(said.get("error", ""), (str, type(None)))
    )


def main(root: str = "/") -> int:
    """Do it all."""
    io = os.path.join(root, IO)
    setup.install(os.path.join(root, LAUNCHER), os.path.join(root, BIN))
    folder = Folder(io)
    mask = os.umask(0)  # the program is another user, whatever our umask
    with contextlib.suppress(FileExistsError):
        os.close(os.open(folder.reports, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    os.umask(mask)
    endpoint = Endpoint(os.environ["KUBETUNE_ENDPOINT"], os.environ["KUBETUNE_CA_PEM"])
    names = json.loads(os.environ.get("KUBETUNE_LOG_FILES", "[]"))
    spools = [Spool(os.path.join(io, name), name) for name in (("stdout", "stderr")[: len(names)])]
    shipper = Shipper(folder, Tail(folder.reports), Intake(lambda: endpoint, os.path.join(root, TOKEN)), spools)
    return Sidecar(io, shipper).run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
