"""The CRD in the chart is the one in crds/, kept when the release goes."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from kubetune_operator.api import crd
from tests.chart.charts import CHART, CRD, Helm, of, the
from tests.crdcheck import checker


def test_the_chart_has_the_committed_definition() -> None:
    """`make crds` copies it."""
    assert (CHART / "files" / crd.FILE.name).read_text() == checker.CRD.read_text()


@pytest.mark.slow
def test_it_is_installed_whole(helm: Helm) -> None:
    committed: dict[str, Any] = yaml.load(checker.CRD.read_text(), yaml.CSafeLoader)
    rendered = the(helm.render(), CRD)
    assert rendered["spec"] == committed["spec"]
    assert rendered["metadata"]["name"] == committed["metadata"]["name"]
    assert rendered["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


@pytest.mark.slow
def test_it_may_go_with_the_release(helm: Helm) -> None:
    assert "annotations" not in the(helm.render({"crds": {"keep": False}}), CRD)["metadata"]


@pytest.mark.slow
def test_it_may_come_from_elsewhere(helm: Helm) -> None:
    assert of(helm.render({"crds": {"install": False}}), CRD) == []
