"""What an agent has to say of itself, for agent.log. A disk that is full makes it silent; it never ends it."""

from __future__ import annotations

import contextlib
import os

_path: str | None = None


def to(path: str) -> None:
    """Have all that is said from now on at the end of this file; it appears with the first word, as most agents have none."""
    global _path  # noqa: PLW0603 - one process says things in one place
    _path = path


def say(text: str) -> None:
    """Write a line there, or to stderr where nobody has said where, if that is possible."""
    line = text.encode("utf-8", "backslashreplace") + b"\n"
    with contextlib.suppress(OSError):
        if _path is None:
            os.write(2, line)
            return
        descriptor = os.open(_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)
