"""The demo's own file in the cluster: what its pods have printed, held to what is on the volume."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.e2e.product import ROOT

FILE = ROOT / "examples/digits-asha.yaml"
TRIALS = 20
SAID = re.compile(r"epoch (\d+): accuracy ([\d.]+), loss ([\d.]+)")

Rows = Sequence[Mapping[str, Any]]


def told(rows: Rows) -> list[tuple[str, str, str]]:
    """Give what was reported as the program has printed it."""
    return [(str(row["training_iteration"]), f"{row['accuracy']:.4f}", f"{row['loss']:.4f}") for row in rows]


def each_report_once(said: Mapping[str, list[str]], reports: Mapping[str, Rows]) -> None:
    """Hold what is on the volume to what the pods have printed: a line before each report, so that a stopped one has one more."""
    assert len(said) >= TRIALS - 2, f"the logs of nearly all pods could be followed, got {sorted(said)}"
    for pod, lines in said.items():
        rows = reports[pod.removesuffix("-0")]
        printed = [match.groups() for line in lines if (match := SAID.fullmatch(line))]
        kept = told(rows)
        unsent = len(printed) - len(kept)
        assert kept == printed[: len(kept)], f"{pod} said {lines[:3]} ..."
        assert 0 <= unsent <= int(rows[-1]["reason"] == "Asha"), f"{pod}: {unsent} of {len(printed)} reports are not there"


def each_line_once(said: Sequence[str], out: Sequence[str], err: Sequence[str]) -> None:
    """Hold the two copies of a trial's output to the pod's log: together they are its lines, and each is in its order."""
    assert sorted([*out, *err]) == sorted(said)
    for copy in (out, err):
        log = iter(said)
        assert all(line in log for line in copy), f"not in the order of the log: {copy}"
