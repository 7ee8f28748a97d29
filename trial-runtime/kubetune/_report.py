"""report(): one line at the end of a file, no network. The sidecar reads that file; how a line is made is in `_metrics`."""

from __future__ import annotations

import os
import sys
import time

from kubetune import _metrics, wire

TYPE_CHECKING = False
if TYPE_CHECKING:  # collections.abc loads collections
    from collections.abc import Mapping


class TrialStopped(SystemExit):
    """The experiment wants no more of this trial. Left alone it ends the program with exit code 0."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.code = 0  # being stopped is no failure; str() still gives the reason


class _File:
    """The report file of the running trial, open for appending."""

    __slots__ = ("_torn", "acknowledged", "descriptor", "known", "path", "pid", "stop")

    def __init__(self, path: str) -> None:
        folder = os.path.dirname(path)
        self.path = path
        self.pid = os.getpid()
        self.stop = os.path.join(folder, wire.STOP_FILE)
        self.acknowledged = os.path.join(folder, wire.ACKNOWLEDGED_FILE)
        self.known = _metrics.Known()
        self.descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._torn = False

    def append(self, line: bytes) -> None:
        """Write the line in one call, so that no other writer's bytes can come in between."""
        if self._torn:
            line = b"\n" + line
        written = os.write(self.descriptor, line)
        self._torn = written < len(line)
        if self._torn:
            raise OSError(f"{self.path}: only {written} of {len(line)} bytes of a report were written; is the disk full?")


_current: _File | None = None
_noted = False


def report(
    metrics: Mapping[str, object] | None = None,
    /,
    *,
    checkpoint: str | None = None,
    wait: bool = False,
    all_ranks: bool = False,
    **more: object,
) -> None:
    """Report metrics: `report(loss=0.3, epoch=4)` or `report({"val": {"loss": 0.3}})`; returns at once.

    Values are numbers (NaN and infinity too), strings, booleans and nested dicts of them; numpy and torch scalars are unwrapped.
    Raises TrialStopped, before anything is written, once the experiment has stopped this trial. With `wait`, returns after the
    decision on this report. Where RANK is set and not 0 it does nothing, unless `all_ranks`. Outside a trial the metrics are
    checked and go nowhere. In a thread, TrialStopped ends that thread alone.
    """
    if checkpoint is not None:
        raise NotImplementedError("checkpoints are not carried out yet; leave checkpoint= out")
    if not all_ranks and os.environ.get("RANK", "0") not in ("", "0"):
        return
    file = _open()
    if file is None:
        _metrics.line(_merged(metrics, more), _metrics.Known())
        _note()
        return
    _raise_if_stopped(file)
    file.append(_metrics.line(_merged(metrics, more), file.known))
    if wait:
        _await_decision(file, os.lseek(file.descriptor, 0, os.SEEK_CUR))


def _merged(metrics: Mapping[str, object] | None, more: Mapping[str, object]) -> Mapping[str, object]:
    if metrics is None:
        return more
    if not isinstance(metrics, dict):
        raise TypeError(
            f"report() takes a dict of metrics, got {type(metrics).__name__}; report(loss=0.3) or report({{'loss': 0.3}})"
        )
    if not more:
        return metrics
    twice = sorted(metrics.keys() & more.keys())
    if twice:
        raise ValueError(f"metric {twice[0]} is reported twice in one report; rename one of them")
    return {**metrics, **more}


def _open() -> _File | None:
    """Give the report file, opened anew in a forked process and when the environment names another; None outside a trial.

    Without a lock: threads that meet here each open the file, which costs a descriptor once and harms nothing.
    """
    global _current  # noqa: PLW0603 - the one piece of state, and it only mirrors the environment
    path = os.environ.get(wire.ENV_REPORTS)
    file = _current
    if file is not None and file.path == path and file.pid == os.getpid():
        return file
    if file is not None and file.pid == os.getpid():
        os.close(file.descriptor)
    _current = _File(path) if path else None
    return _current


def _raise_if_stopped(file: _File) -> None:
    if os.access(file.stop, os.F_OK):
        with open(file.stop, encoding="utf-8") as stop:
            raise TrialStopped(stop.read().strip())


def _await_decision(file: _File, end: int) -> None:
    """Return when the file is durable and decided on up to `end`; the stop file is there before that is said."""
    pause = 0.001
    while _acknowledged(file) < end:
        _raise_if_stopped(file)
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
    _raise_if_stopped(file)


def _acknowledged(file: _File) -> int:
    try:
        with open(file.acknowledged, encoding="ascii") as acknowledged:
            return int(acknowledged.read())
    except FileNotFoundError:  # no answer yet
        return 0


def _note() -> None:
    global _noted  # noqa: PLW0603 - said once in a process
    if not _noted:
        _noted = True
        sys.stderr.write(f"kubetune: {wire.ENV_REPORTS} is not set, so this is no trial; reports are checked and go nowhere\n")
