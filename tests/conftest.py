"""What holds for every test: one way of drawing examples, and an environment without traces of the developer's own."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# The same examples on every run, and no deadline on a busy machine. HYPOTHESIS_PROFILE=explore draws new ones.
settings.register_profile("steady", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))


@pytest.fixture(autouse=True)
def _outside_any_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each test as outside a trial, even from a shell inside one."""
    for name in os.environ:
        if name.startswith("KUBETUNE_") or name == "RANK":
            monkeypatch.delenv(name)
