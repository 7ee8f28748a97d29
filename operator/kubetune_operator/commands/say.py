"""What commands say on stderr and stdout besides tables: plain lines."""

from __future__ import annotations

import sys

from kubetune_operator.errors import InvalidSpec


def line(text: str) -> None:
    """Say a line of the answer."""
    sys.stdout.write(text + "\n")


def error(what: Exception | str) -> None:
    """Say why a command did not work."""
    if isinstance(what, OSError) and what.filename and what.strerror:
        what = f"{what.filename}: {what.strerror}"
    sys.stderr.write(f"kubetune: {what}\n")


def refusal(file: str, refused: InvalidSpec) -> None:
    """Say everything that stands against an experiment."""
    sys.stderr.write("\n".join([f"{file}: refused", *(f"  {problem}" for problem in refused.problems)]) + "\n")
