"""Plateaus, the time budget and deadlines by `kubetune run`: what is said of them, and what is left in the files."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shell.conftest import Run, command

pytestmark = pytest.mark.slow  # each runs the command for seconds

Kubetune = Callable[..., Run]
FLAT = "import kubetune\nwhile True: kubetune.report(accuracy=0.5, wait=True)\n"
ENDLESS = "import time, kubetune\nwhile True:\n    kubetune.report(accuracy=kubetune.params()['x'])\n    time.sleep(0.1)\n"


def table(run: Run) -> list[dict[str, str]]:
    """Read trials.csv."""
    with (run.folder / "trials.csv").open() as lines:
        return list(csv.DictReader(lines))


def test_a_trial_ends_at_its_plateau_and_everybody_says_so(kubetune: Kubetune, tmp_path: Path) -> None:
    run = kubetune(FLAT, numSamples=3, stop={"plateau": {"metric": "accuracy", "numResults": 3, "gracePeriod": 5}})
    assert run.code == 0, run.out + run.err
    assert "3 of 3 started: 3 reached a plateau" in run.out
    assert [len([row for row in run.rows(number) if not row["after_stop"]]) for number in range(3)] == [5] * 3
    assert [row["reason"] for number in range(3) for row in run.rows(number)[-1:]] == ["Plateau"] * 3
    assert [(row["state"], row["reason"]) for row in table(run)] == [("Succeeded", "Plateau")] * 3
    assert "plateau" in command(tmp_path, "show", str(run.folder)).out


def test_the_experiment_ends_at_its_plateau_at_once(kubetune: Kubetune) -> None:
    """No turn but the one that the report asks for ends it: that of the clock would come after five seconds."""
    run = kubetune(FLAT, numSamples=30, maxConcurrentTrials=2, stopExperiment={"plateau": {"top": 4, "patience": 3}})
    assert run.code == 0, run.out + run.err
    assert "exp: Plateau: the 4 best values of accuracy have had a standard deviation of at most 0.001 for 3 reports" in run.out
    assert {(row["state"], row["reason"]) for row in table(run)} == {("Cancelled", "Plateau")}
    last = max(row["timestamp"] for number in range(2) for row in run.rows(number))
    first = min(row["timestamp"] for number in range(2) for row in run.rows(number))
    assert last - first < 4


def test_the_time_budget_ends_it_and_more_of_it_goes_on(kubetune: Kubetune) -> None:
    began = time.monotonic()
    run = kubetune(ENDLESS, numSamples=30, maxConcurrentTrials=2, stopExperiment={"timeBudgetSeconds": 2})
    assert run.code == 0, run.out + run.err
    assert "exp: TimeBudget: 2 s are spent of the 2 s that stopExperiment.timeBudgetSeconds allows" in run.out
    assert time.monotonic() - began >= 2
    assert [(row["state"], row["reason"]) for row in table(run)] == [("Cancelled", "TimeBudget")] * 2
    assert [run.rows(number)[-1]["reason"] for number in range(2)] == ["TimeBudget"] * 2
    same = kubetune(ENDLESS, "--resume", numSamples=30, maxConcurrentTrials=2, stopExperiment={"timeBudgetSeconds": 2})
    assert (same.code, len(table(same))) == (0, 2), same.out + same.err
    assert "raise stopExperiment.timeBudgetSeconds to go on" in same.out
    more = kubetune(ENDLESS, "--resume", numSamples=30, maxConcurrentTrials=2, stopExperiment={"timeBudgetSeconds": 4})
    assert more.code == 0, more.out + more.err
    assert "exp: TimeBudget: 4 s are spent of the 4 s" in more.out
    assert [(row["state"], row["reason"]) for row in table(more)] == [("Cancelled", "TimeBudget")] * 4


def test_time_in_which_nobody_runs_it_is_not_charged(kubetune: Kubetune, tmp_path: Path) -> None:
    """A runner that is killed, and another that comes later: its trials have gone on, but the budget has not."""
    budget = {"numSamples": 30, "maxConcurrentTrials": 2, "stopExperiment": {"timeBudgetSeconds": 2}}
    assert kubetune(ENDLESS, **budget).code == 0
    words = ["run", str(tmp_path / "exp.yaml"), "--results", str(tmp_path / "results")]
    running = subprocess.Popen([sys.executable, "-m", "kubetune.cli", *words], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    assert any("started" in line for line in running.stdout)
    running.kill()
    running.communicate()
    time.sleep(3)
    resumed = command(tmp_path, *words, "--resume")
    assert resumed.code == 0, resumed.out + resumed.err
    assert "exp: TimeBudget: 2 s are spent of the 2 s" in resumed.out


def test_a_program_that_hangs_fails_and_is_tried_again(kubetune: Kubetune) -> None:
    hangs = (
        "import time, kubetune\n"
        "if kubetune.trial().number == 1 and kubetune.trial().attempt == 0: time.sleep(60)\nkubetune.report(accuracy=2)\n"
    )
    began = time.monotonic()
    run = kubetune(hangs, numSamples=3, failure={"maxFailures": 1}, trial=_trial(progressDeadlineSeconds=2))
    assert run.code == 0, run.out + run.err
    assert time.monotonic() - began < 30
    assert [(row["state"], row["attempts"]) for row in table(run)] == [("Succeeded", number) for number in ("1", "2", "1")]
    error = (run.trial(1) / "error.txt").read_text()
    assert "ProgressDeadline: it has not reported for 2 s since it began (trial.progressDeadlineSeconds)" in error


def _trial(**more: object) -> dict[str, object]:
    container = {"name": "trial", "image": "python", "command": ["python", "program.py"]}
    return {"template": {"spec": {"containers": [container], "terminationGracePeriodSeconds": 1}}, **more}
