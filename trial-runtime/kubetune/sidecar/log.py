"""What an agent has to say of itself, for agent.log. A disk that is full makes it silent; it never ends it."""

from __future__ import annotations

import contextlib
import os


def say(text: str) -> None:
    """Write a line to stderr, if that is possible."""
    with contextlib.suppress(OSError):
        os.write(2, text.encode("utf-8", "backslashreplace") + b"\n")
