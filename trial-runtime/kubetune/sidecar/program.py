"""A trial's program as a process of this machine: started, ended, its end noted. Nothing here knows of reports or of the intake.

It gets a session and process group of its own, default signals, no descriptor but 0, 1 and 2; argv and environment byte for byte.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import math
import os
import signal
import time
from collections.abc import Callable, Iterable

_DESCRIPTORS = 4096  # looked at where they cannot be listed
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126  # as a shell says it
_LAST_WORDS = 2048  # bytes of stderr
_DYING = 5.0  # seconds to wait for what is killed to be gone
_PR_SET_CHILD_SUBREAPER = 36
# Looked up once: the agents are forked from a process that has this module.
_PRCTL = ctypes.CDLL(None).prctl
_SIGNALS = signal.valid_signals()


class Pod:
    """What is to be run, as pod.json says. Text stands for bytes there: UTF-8, other bytes by surrogateescape."""

    def __init__(self, path: str) -> None:
        with open(path, encoding="utf-8") as file:
            said = json.load(file)
        self.argv = [_bytes(word) for word in said["argv"]]
        self.env = {_bytes(name): _bytes(value) for name, value in said["env"].items()}
        self.cwd = _bytes(said["cwd"])
        self.stdout, self.stderr = (_bytes(said[stream] or os.devnull) for stream in ("stdout", "stderr"))
        self.grace = float(said["grace"])  # seconds from SIGTERM to SIGKILL
        self.flush = float(said["flush"])  # seconds that the last reports have after the program's end
        self.endpoint = str(said["endpoint"])
        if not self.argv:
            raise ValueError("argv: must name a command, got []")
        self._said_before = self._said()  # by an attempt before this one: the file goes on

    def last_words(self) -> str:
        """Give the end of what the program has said on stderr, for error.txt."""
        size = self._said()
        try:
            with open(self.stderr, "rb") as file:
                file.seek(max(self._said_before, size - _LAST_WORDS))
                return file.read(_LAST_WORDS).decode("utf-8", "replace")
        except OSError:
            return ""

    def _said(self) -> int:
        try:
            return os.stat(self.stderr).st_size
        except OSError:
            return 0


class Program:
    """A program that was started; it may already have ended."""

    def __init__(self, pid: int, grace: float, problem: str) -> None:
        self.kill_at = math.inf  # when to call `terminate` again
        self._pid = pid
        self._grace = grace
        self._problem = problem
        self._terminated = False
        self._killed = False

    def terminate(self) -> None:
        """Ask it to end; asked again when the grace is over, make it end."""
        if not self._terminated:
            self._terminated = True
            self.kill_at = time.monotonic() + self._grace
            kill_group(self._pid, signal.SIGTERM)
        elif time.monotonic() >= self.kill_at:
            self._killed = True
            self.kill_at = math.inf
            kill_group(self._pid, signal.SIGKILL)

    def outcome(self) -> dict[str, object] | None:
        """Say how it ended, and end what it left running (as a container's end does); None while it runs."""
        if os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            _bury(other for other in _children() if other != self._pid)
            return None
        kill_group(self._pid, signal.SIGKILL)  # before the pid is given back
        _, status = os.waitpid(self._pid, 0)
        _end_orphans()
        self.kill_at = math.inf
        by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        return ended(
            self._problem or None,
            exit_code=os.WEXITSTATUS(status) if by is None else None,
            signal=by,
            terminated=self._terminated,
            killed=self._killed and by == signal.SIGKILL,
        )


def ended(error: str | None, **facts: object) -> dict[str, object]:
    """Give an outcome as status.json and eof have it."""
    return {"exit_code": None, "signal": None, "terminated": False, "killed": False, "error": error, **facts}


def adopt_orphans() -> None:
    """Become the parent of what the program's processes leave behind, in whichever session: as PID 1 of a container is."""
    _PRCTL(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(pod: Pod, announce: Callable[[int], None]) -> Program:
    """Start the program. `announce` is told its pid before it runs an instruction of its own, so that none can go unrecorded."""
    held, release = os.pipe()
    heard, tell = os.pipe()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    pid = os.fork()
    if pid == 0:
        os.close(release)  # or the end of the agent would go unnoticed
        _become(pod, held, tell)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    os.close(held)
    os.close(tell)
    problem = ""
    try:
        announce(pid)
        os.write(release, b"go")
    except OSError as error:
        problem = f"not started: {error}"
    os.close(release)
    with os.fdopen(heard, encoding="utf-8") as said:  # ends with the exec, or with the child
        problem = said.read() or problem
    return Program(pid, pod.grace, problem)


def kill_group(pid: int, number: int) -> None:
    """Send a signal to a process group, if there is one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says EPERM of a group of zombies
        os.killpg(pid, number)


def start_ticks(pid: int) -> int | None:
    """Say when a process started, in ticks since the boot: with the pid it names one. None: it is gone, or there is no /proc."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, *fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in (b"Z", b"X") else int(fields[18])


def _children() -> list[int]:
    try:
        with open("/proc/thread-self/children", encoding="utf-8") as found:
            return [int(pid) for pid in found.read().split()]
    except OSError:  # a kernel without this list
        return []


def _end_orphans() -> None:
    """Kill what the program has left until nothing is left: the children of what is killed come to us in their turn."""
    until = time.monotonic() + _DYING
    while (left := _children()) and time.monotonic() < until:
        for pid in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)
        _bury(left)


def _bury(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)


def _become(pod: Pod, held: int, tell: int) -> None:
    """Turn the forked child into the program. Never returns."""
    code = _NOT_EXECUTABLE
    try:
        _reset_signals()
        os.setsid()
        os.chdir(pod.cwd)
        _redirect(pod)
        if os.read(held, 1):  # nothing: the agent is gone, or could not record us
            _close_on_exec()
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            code, problem = _exec(pod)
            os.write(tell, problem.encode())
    except OSError as error:
        os.write(tell, f"not started: {error.strerror}: {_shown(error.filename)}".encode())
    finally:
        os._exit(code)


def _exec(pod: Pod) -> tuple[int, str]:
    """Become the program, or say what stands in the way and the exit code for it."""
    name = _shown(pod.argv[0])
    try:
        os.execvpe(pod.argv[0], pod.argv, pod.env)  # noqa: S606 - no shell is the point
    except (FileNotFoundError, NotADirectoryError):
        if b"/" in pod.argv[0] and os.path.exists(pod.argv[0]):
            return _NOT_EXECUTABLE, f"not executable: {name} (what its first line names does not exist)"
        return _NOT_FOUND, f"command not found: {name}"
    except PermissionError:
        return _NOT_EXECUTABLE, f"not executable: {name}; chmod +x {name}"
    except OSError as error:
        remedy = "; begin it with #!/bin/sh" if error.errno == errno.ENOEXEC else ""
        return _NOT_EXECUTABLE, f"not executable: {name} ({error.strerror}){remedy}"
    except ValueError as error:
        return _NOT_EXECUTABLE, f"not executable: {name} ({error})"


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)  # shared with the agent
    for number in _SIGNALS:
        with contextlib.suppress(OSError, ValueError):  # SIGKILL, SIGSTOP and the C library's own
            signal.signal(number, signal.SIG_DFL)


def _redirect(pod: Pod) -> None:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(pod.stdout, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), 1)
    os.dup2(os.open(pod.stderr, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644), 2)


def _close_on_exec() -> None:
    """Leave the program nothing but 0, 1 and 2, also of what the agent was given by whoever started it."""
    try:
        descriptors = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:  # no /proc
        descriptors = list(range(_DESCRIPTORS))
    for descriptor in descriptors:
        if descriptor > 2:
            with contextlib.suppress(OSError):  # the listing's own, or none
                os.set_inheritable(descriptor, False)  # noqa: FBT003 - takes no keyword


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _shown(name: object) -> str:
    return name.decode(errors="backslashreplace") if isinstance(name, bytes) else str(name)
