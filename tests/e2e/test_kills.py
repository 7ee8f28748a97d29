"""The operator dies in the middle of a run, and nobody can tell from the results."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.e2e.experiments import pods
from tests.e2e.followed import Followed, watched
from tests.e2e.kubectl import Kubectl
from tests.e2e.product import ROOT, Operator, condition

DIGITS = ROOT / "examples/digits-asha.yaml"
TRIALS = 20
SAID = re.compile(r"epoch (\d+): accuracy ([\d.]+), loss ([\d.]+)")

Rows = Sequence[Mapping[str, Any]]


def test_an_operator_that_is_killed_again_and_again_changes_nothing(
    operator: Operator, kubectl: Kubectl, privileged: Kubectl, tmp_path: Path
) -> None:
    """Twice its process, once its pod, in the middle of the demo's own file."""
    folder = f"{kubectl.namespace}/digits"
    kill = functools.partial(operator.kill, privileged)
    blows: list[tuple[int, Callable[[], None]]] = [(4, kill), (9, kill), (14, operator.restart)]  # when so many trials have begun
    followed, acknowledged = Followed(kubectl, "digits"), []
    until = time.monotonic() + 800
    with watched(kubectl, "digits") as made, ThreadPoolExecutor() as pool:
        kubectl("apply", "--filename", str(DIGITS))
        struck: Future[None] | None = None  # meanwhile trials go on, and their logs are to be followed
        while condition(found := kubectl.get("tuneexperiment", "digits"), "Finished") != "True":
            followed.look()
            if struck and struck.done():
                struck = struck.result()
            if blows and not struck and len(followed.last_seen) >= blows[0][0]:
                reports = operator.reports(folder)
                if any(not rows[-1]["done"] for rows in reports.values()):
                    acknowledged.append(reports)
                    struck = pool.submit(blows.pop(0)[1])
            assert time.monotonic() < until, f"{found['status']}\n{kubectl('get', 'pods')}\n{operator.log()}"
            time.sleep(0.5)
        assert not blows, "the experiment has ended too early to have the operator killed"
        if struck:
            struck.result()
        _orphaned_none(kubectl)
    status = found["status"]
    assert (status["state"], status["progress"], status["trials"]["failed"]) == ("Completed", f"{TRIALS}/{TRIALS}", 0)
    assert float(status["bestTrial"]["value"]) > 0.95
    assert {pod: len(uids) for pod, uids in made.uids.items()} == {f"digits-{n:05d}-0": 1 for n in range(TRIALS)}
    reports = operator.reports(folder)
    for before in acknowledged:
        for trial, rows in before.items():
            assert _told(rows) == _told(reports[trial])[: len(rows)], f"{trial}: what was acknowledged stays"
    _each_report_once(followed.said(), reports)
    _same_parameters(operator, folder, tmp_path)


def _orphaned_none(kubectl: Kubectl) -> None:
    ended = time.monotonic()
    while left := pods(kubectl, "digits"):
        assert time.monotonic() < ended + 30, f"pods without an experiment that runs: {sorted(left)}"
        time.sleep(0.5)


def _told(rows: Rows) -> list[tuple[str, str, str]]:
    """Give what was reported as the program has printed it."""
    return [(str(row["training_iteration"]), f"{row['accuracy']:.4f}", f"{row['loss']:.4f}") for row in rows]


def _each_report_once(said: Mapping[str, list[str]], reports: Mapping[str, Rows]) -> None:
    """Hold what is on the volume to what the pods have printed: a line before each report, so that a stopped one has one more."""
    assert len(said) >= TRIALS - 2, f"the logs of nearly all pods could be followed, got {sorted(said)}"
    for pod, lines in said.items():
        rows = reports[pod.removesuffix("-0")]
        printed = [match.groups() for line in lines if (match := SAID.fullmatch(line))]
        kept = _told(rows)
        unsent = len(printed) - len(kept)
        assert kept == printed[: len(kept)], f"{pod} said {lines[:3]} ..."
        assert 0 <= unsent <= int(rows[-1]["reason"] == "Asha"), f"{pod}: {unsent} of {len(printed)} reports are not there"


def _same_parameters(operator: Operator, folder: str, tmp_path: Path) -> None:
    """Hold each trial's parameters to those of a run of the same file that nobody disturbs: on this machine."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("KUBETUNE_")}
    command = [sys.executable, "-m", "kubetune.cli", "run", str(DIGITS), "--results", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=600)
    assert done.returncode == 0, done.stderr
    for number in range(TRIALS):
        trial = f"digits-{number:05d}"
        undisturbed = json.loads((tmp_path / "default" / "digits" / trial / "params.json").read_text())
        assert json.loads(operator.read(f"{folder}/{trial}/params.json")) == undisturbed
