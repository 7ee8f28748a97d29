"""What a program has written to stdout or stderr, as the launcher keeps it: bytes at offsets, to be sent once and in order.

The program can write into the folder too, so nothing but a regular file is opened, and no link is followed. What the file
turns into when it is tampered with is the trial's own loss.
"""

from __future__ import annotations

import os
import stat

_CHUNK = 128 * 1024


class Spool:
    """One stream."""

    def __init__(self, path: str, name: str) -> None:
        self.name = name  # "stdout" or "stderr"
        self.offset = 0  # of the next byte to be sent
        self.full = False  # the other side takes no more of it
        self._path = path
        self._descriptor = -1

    def take(self) -> bytes:
        """Give the next bytes, as many as go into one request; nothing where there are none."""
        if self.full or (self._descriptor < 0 and not self._open()):
            return b""
        try:
            return os.pread(self._descriptor, _CHUNK, self.offset)
        except OSError:
            return b""

    def go_to(self, offset: int, *, full: bool) -> None:
        """Go on from where the other side has everything up to."""
        self.offset = offset
        self.full = full

    def _open(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return False
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True
