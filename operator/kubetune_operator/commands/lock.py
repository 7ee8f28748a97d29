"""The lock on an experiment's folder: who runs it has it, and the kernel lets go when that process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from kubetune_operator.errors import KubetuneError

NAME = ".lock"


def take(folder: Path) -> None:
    """Keep two of us off one folder, for as long as this process lives. Raises KubetuneError where somebody has it."""
    descriptor = os.open(folder / NAME, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.read(descriptor, 20).decode(errors="replace").strip()
        os.close(descriptor)
        raise KubetuneError(f"{folder}: this run is going on already, in process {holder or 'unknown'}") from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())


def taken(folder: Path) -> bool | None:
    """Say whether somebody runs it; None where that cannot be seen from here, as in a copy of the folder."""
    try:
        with (folder / NAME).open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False
    except OSError:
        return None
