"""The report file as numbered lines: read by offset in chunks, whatever its size; a file that was rewritten starts anew.

Rewritten: another file under its name, one that is shorter than what was read, or other bytes in the last 4 KiB before the
reading position. A change in place further back is not noticed: the lines that were read stand as they were read.
What a line means is the intake's to say. Here it only has to be short enough and UTF-8.
"""

from __future__ import annotations

import os
import stat

from kubetune import wire

_CHUNK = 64 * 1024
_GUARD = 4 * 1024  # bytes before the reading position that must still be there
_MARKS = 512  # places remembered for a rewind


class Tail:
    """Reads a growing file line by line and knows where each line began."""

    def __init__(self, path: str) -> None:
        self.number = 0  # of the next line
        self.offset = 0  # where that line begins
        self.ended = False  # nobody writes any more: what has no newline is a line too
        self._path = path
        self._descriptor = -1
        self._inode = (0, 0)
        self._seen: tuple[int, ...] = ()
        self._forget()

    def take(self) -> str | dict[str, str] | None:
        """Give the next whole line, or what stands for one that cannot be sent; None where there is none yet."""
        while True:
            end = self._buffer.find(b"\n", self._at)
            if end >= 0:
                return self._taken(end, 1)
            if len(self._buffer) - self._at > wire.MAX_LINE:
                self._swallow()
            if not self._fill():
                break
        if self.ended and (self._at < len(self._buffer) or self._swallowed):
            return self._taken(len(self._buffer), 0)
        return None

    def refresh(self) -> bool:
        """Look at the file again and say whether it has changed; a rewritten one is read from its start."""
        try:
            return self._look()
        except OSError:  # gone, or no longer ours to read: whatever the program did to it, it may come back
            return False

    def end(self) -> None:
        """Take note that nobody writes any more."""
        self.ended = True
        self._seen = ()  # a last look, even if the clock of the file system has not ticked since the one before

    def rewind(self, number: int) -> None:
        """Go back (or forward, as far as there are lines) to the line of this number."""
        if number < self.number:
            self._restart(*max(mark for mark in self._marks if mark[0] <= number))
        while self.number < number and self.take() is not None:
            pass

    def _look(self) -> bool:
        found = os.lstat(self._path)
        seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
        if seen == self._seen or not stat.S_ISREG(found.st_mode):  # a link or a pipe is no report file
            return False
        self._seen = seen
        if seen[:2] != self._inode:
            self._open()
        elif found.st_size < self._position or not self._guard_stands():
            self._forget()
        return True

    def _open(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        opened = os.fstat(self._descriptor)
        self._inode = (opened.st_dev, opened.st_ino)  # kept open, so that no other file can get the same number
        self._forget()

    def _forget(self) -> None:
        self._stride = 1
        self._marks = [(0, 0)]
        self._restart(0, 0)

    def _restart(self, number: int, offset: int) -> None:
        self.number = number
        self.offset = self._position = offset
        self._buffer = b""
        self._at = 0  # where the next line begins in the buffer
        self._guard = b""
        self._swallowed = 0  # bytes of the next line that were read and not kept: it is too long

    def _guard_stands(self) -> bool:
        return self._read(0) is not None

    def _fill(self) -> bool:
        chunk = self._read(_CHUNK)
        if not chunk:
            return False
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        self._position += len(chunk)
        self._guard = (self._guard + chunk)[-_GUARD:]
        return True

    def _read(self, size: int) -> bytes | None:
        """Read on from the position; None where the bytes before it are no longer what they were."""
        if self._descriptor < 0:
            return b""
        length = len(self._guard)
        found = os.pread(self._descriptor, length + size, self._position - length)
        if found[:length] != self._guard:
            self._seen = ()  # so that the next look finds out, whatever the times of the file say
            return None
        return found[length:]

    def _swallow(self) -> None:
        self._swallowed += len(self._buffer) - self._at
        self._buffer = b""
        self._at = 0

    def _taken(self, end: int, newline: int) -> str | dict[str, str]:
        raw = self._buffer[self._at : end]
        began, length = self.offset, self._swallowed + len(raw)
        self._at = end + newline
        self.number += 1
        self.offset = began + length + newline
        self._swallowed = 0
        self._mark()
        if length > wire.MAX_LINE:
            return self._refused(f"line of {length} bytes is longer than {wire.MAX_LINE}", began, length)
        try:
            return raw.decode()
        except UnicodeDecodeError as error:
            return self._refused(f"line of {length} bytes is not UTF-8 at byte {error.start}", began, length)

    def _mark(self) -> None:
        if self.number % self._stride == 0 and self.number > self._marks[-1][0]:
            self._marks.append((self.number, self.offset))
            if len(self._marks) > _MARKS:
                self._marks = self._marks[::2]
                self._stride *= 2

    def _refused(self, why: str, began: int, length: int) -> dict[str, str]:
        """Give what stands for a line that cannot be sent; its bytes are read once more, a chunk at a time."""
        import hashlib  # noqa: PLC0415 - 4 MiB, and hardly any trial ever writes such a line

        digest = hashlib.sha256()
        position, end = began, began + length
        while chunk := os.pread(self._descriptor, min(_CHUNK, end - position), position):
            digest.update(chunk)
            position += len(chunk)
        return {"refused": why, "digest": digest.hexdigest()}
