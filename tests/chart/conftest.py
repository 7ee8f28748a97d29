"""Both Helms for every test that asks for one."""

from __future__ import annotations

import pytest

from tests.chart import charts


@pytest.fixture(params=charts.HELMS, ids=lambda helm: helm.program)
def helm(request: pytest.FixtureRequest) -> charts.Helm:
    """Give Helm 4, then Helm 3."""
    found: charts.Helm = request.param
    return found
