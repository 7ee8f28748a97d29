"""The lock files are whole: every pin has its hashes, no index is named, and what is tested is what is installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[1] / "requirements"
LOCKS = ["run.txt", "demo.txt", "dev.txt", "examples.txt", "launcher.txt", "operator.txt"]
PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^ \\]+)(.*)$")


def pins(lock: str) -> dict[tuple[str, str], list[str]]:
    """Give the hashes of each pin, by name and version."""
    found: dict[tuple[str, str], list[str]] = {}
    hashes: list[str] = []
    for line in (REQUIREMENTS / lock).read_text().splitlines():
        text = line.strip()
        if pin := PIN.match(text):
            hashes = found[pin[1], pin[2]] = []
        elif text.startswith("--hash=sha256:"):
            hashes.append(text.removesuffix(" \\"))
        else:
            assert text.startswith("#"), f"{lock}: neither a pin nor a hash nor a comment: {text}"
    return found


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_its_hashes(lock: str) -> None:
    found = pins(lock)
    assert found
    assert [pin for pin, hashes in found.items() if not hashes] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_no_index_is_named(lock: str) -> None:
    assert "://" not in (REQUIREMENTS / lock).read_text()


@pytest.mark.parametrize("lock", ["run.txt", "demo.txt", "examples.txt", "operator.txt"])
def test_what_is_installed_is_what_is_tested(lock: str) -> None:
    assert sorted(set(pins(lock)) - set(pins("dev.txt"))) == []
