"""The operator dies in the middle of a run, and nobody can tell from the results."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.e2e import digits
from tests.e2e.experiments import gone
from tests.e2e.followed import Followed, watched
from tests.e2e.kubectl import Kubectl
from tests.e2e.product import Operator, condition


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
        kubectl("apply", "--filename", str(digits.FILE))
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
        gone(kubectl, "digits", seconds=30)
    status = found["status"]
    assert (status["state"], status["progress"], status["trials"]["failed"]) == (
        "Completed",
        f"{digits.TRIALS}/{digits.TRIALS}",
        0,
    )
    assert float(status["bestTrial"]["value"]) > 0.95
    assert {pod: len(uids) for pod, uids in made.uids.items()} == {f"digits-{n:05d}-0": 1 for n in range(digits.TRIALS)}
    reports = operator.reports(folder)
    for before in acknowledged:
        for trial, rows in before.items():
            assert digits.told(rows) == digits.told(reports[trial])[: len(rows)], f"{trial}: what was acknowledged stays"
    digits.each_report_once(followed.said(), reports)
    _same_parameters(operator, folder, tmp_path)


def _same_parameters(operator: Operator, folder: str, tmp_path: Path) -> None:
    """Hold each trial's parameters to those of a run of the same file that nobody disturbs: on this machine."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("KUBETUNE_")}
    command = [sys.executable, "-m", "kubetune.cli", "run", str(digits.FILE), "--results", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env, timeout=600)
    assert done.returncode == 0, done.stderr
    for number in range(digits.TRIALS):
        trial = f"digits-{number:05d}"
        undisturbed = json.loads((tmp_path / "default" / "digits" / trial / "params.json").read_text())
        assert json.loads(operator.read(f"{folder}/{trial}/params.json")) == undisturbed
