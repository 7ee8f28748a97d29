"""What a person sees while it works: each step with its time, a sign of life in a long one, and a failure with its log.

Nothing is run here without a log file and an end: when this process is interrupted, what it started is ended first.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from tests.cluster import places

Words = Sequence[str | Path]  # a command

HEARTBEAT = 15  # seconds between signs of life
GRACE = 10  # seconds for an interrupted command to end by itself
TAIL = 15  # lines of a log that are shown when its command failed


class Failed(Exception):
    """A step went wrong: says which, with what, and what to do."""


class CannotHave(Exception):
    """This machine cannot have such a cluster: says what it lacks."""


class Interrupted(BaseException):
    """Ctrl-C or a polite kill was heeded; what was begun is cleared away on its way up."""


_signalled = threading.Event()
_undisturbed = threading.Event()


def interrupt(sign: int, frame: FrameType | None) -> None:
    """Take a signal. It is heeded between two steps or in a command, never at just any point: nothing is half noted."""
    say("still clearing away ..." if _undisturbed.is_set() else "interrupted ...")
    _signalled.set()


def heed() -> None:
    """Raise Interrupted if there was a signal."""
    if _signalled.is_set() and not _undisturbed.is_set():
        _signalled.clear()
        raise Interrupted


@contextmanager
def undisturbed() -> Iterator[None]:
    """Heed no signal until this is done: clearing away goes on to its end."""
    _undisturbed.set()
    try:
        yield
    finally:
        _undisturbed.clear()


def say(words: str) -> None:
    """Tell the person."""
    sys.stderr.write(f"cluster: {words}\n")
    sys.stderr.flush()


@contextmanager
def step(title: str, log: str) -> Iterator[Path]:
    """Say what begins, that it goes on, and how long it took; give the file for its output."""
    heed()
    path = places.LOGS / f"{log}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    started = time.monotonic()
    done = threading.Event()
    say(f"{title} ...")
    alive = threading.Thread(target=_beat, args=(title, path, started, done), daemon=True)
    alive.start()
    try:
        yield path
    finally:
        done.set()
        alive.join()
    say(f"{title}: done in {time.monotonic() - started:.0f} s")


def _beat(title: str, log: Path, started: float, done: threading.Event) -> None:
    while not done.wait(HEARTBEAT):
        last = tail(log, 1)
        say(f"{title}: {time.monotonic() - started:.0f} s{': ' + last[:100] if last else ''}")


def tail(log: Path, lines: int) -> str:
    """Give the last lines of a log that are not blank."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 20_000))
        said = file.read().decode(errors="replace").replace("\r", "\n").splitlines()
    return "\n".join([line.strip() for line in said if line.strip()][-lines:])


def run(
    command: Words,
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    given: str = "",
    remedy: str = "",
) -> None:
    """Run a command into its step's log. Raises Failed, with the log's end and what to do about it."""
    words = [str(word) for word in command]
    with log.open("a") as output:
        output.write(f"+ {' '.join(words)[:500]}\n")
        output.flush()
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            text=True,
            start_new_session=True,  # a Ctrl-C comes here first, and what was started is ended in good order
        )
    _feed(process, given)
    try:
        while process.poll() is None:
            heed()
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
    except Interrupted:
        _end(process)
        raise
    if process.returncode:
        hint = f"\n{remedy}" if remedy else ""
        raise Failed(f"`{' '.join(words[:4])} ...` ended with {process.returncode}; {log} ends:\n{tail(log, TAIL)}{hint}")


def _feed(process: subprocess.Popen[str], given: str) -> None:
    with suppress(BrokenPipeError):
        if process.stdin:
            process.stdin.write(given)
            process.stdin.close()


def _end(process: subprocess.Popen[str]) -> None:
    """End a command and all of its process group."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, sign)
            process.wait(GRACE)


def asked(command: Words, *, env: Mapping[str, str] | None = None, timeout: float = 60) -> tuple[int, str]:
    """Ask a quick question of a program; give its exit code and what it said. A program that is not there says 127."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        return 127, str(error)
    except subprocess.TimeoutExpired:
        return 124, f"no answer in {timeout:.0f} s"
    return done.returncode, done.stdout
