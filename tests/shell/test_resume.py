"""`kubetune run --resume` after an end or an interruption: what goes on, what is refused, what a late objective does to it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shell.conftest import Run, command

pytestmark = pytest.mark.slow  # each runs the command for seconds, and several times

Kubetune = Callable[..., Run]
RISING = "import kubetune, sys\nn = kubetune.trial().number\nkubetune.report(accuracy=n)\n"
FAILING = RISING + "sys.exit(n % 2 * n)\n"
NEVER = {"maxFailedTrials": 9}


@pytest.mark.slow
def test_a_program_that_reports_its_objective_last_is_interrupted_and_goes_on(kubetune: Kubetune, tmp_path: Path) -> None:
    late = (
        "import kubetune, os, time\nkubetune.report(loss=1)\n"
        "while not os.path.exists('go-on'): time.sleep(0.05)\n"
        "kubetune.report(accuracy=1)\n"
    )
    (tmp_path / "go-on").touch()
    kubetune(late, numSamples=3, maxConcurrentTrials=2)
    (tmp_path / "go-on").unlink()
    words = ["run", str(tmp_path / "exp.yaml"), "--results", str(tmp_path / "results")]
    running = subprocess.Popen([sys.executable, "-m", "kubetune.cli", *words], stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    for line in running.stdout:
        if "no trial has reported accuracy yet (objective.metric); seen: loss" in line:
            break
    time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=30)
    assert running.returncode == 130, said
    (tmp_path / "go-on").touch()
    resumed = command(tmp_path, *words, "--resume")
    assert resumed.code == 0, resumed.out + resumed.err
    assert "3 of 3 started: 3 had their whole budget" in resumed.out
    assert "no trial has reported" not in resumed.out.partition("exp: Completed")[2], "it is not true any more"


def test_a_failure_before_the_first_objective_is_tried_again(kubetune: Kubetune) -> None:
    raises = "import kubetune\nkubetune.report(loss=1)\nif kubetune.trial().attempt == 0: raise SystemExit(1)\n"
    run = kubetune(raises + "kubetune.report(accuracy=1)\n", numSamples=2, maxConcurrentTrials=1, failure={"maxFailures": 2})
    assert run.code == 0, run.out
    assert "2 of 2 started: 2 had their whole budget" in run.out


def test_an_objective_that_is_text_is_named_with_its_trial(kubetune: Kubetune) -> None:
    run = kubetune("import kubetune\nkubetune.report(accuracy='abc')\n", numSamples=9, maxConcurrentTrials=3)
    assert run.code == 1
    assert "accuracy must be a number, got 'abc' in trial exp-0000" in run.out


def test_a_time_that_is_never_reported_is_said_while_it_runs_in_the_summary_and_by_show(
    kubetune: Kubetune, tmp_path: Path
) -> None:
    run = kubetune("import kubetune\nkubetune.report(accuracy=1, epochs=1)\n", scheduler={"asha": {"timeAttr": "epoch"}})
    says = "no trial has reported epoch yet (scheduler.asha.timeAttr); seen: accuracy, epochs, training_iteration; did you mean epochs?"
    assert run.out.count(says) == 2, run.out
    assert command(tmp_path, "show", str(run.folder)).out.count(says) == 1


@pytest.mark.parametrize(
    ("first", "then", "started"),
    [
        ({"stopExperiment": {"goal": 2}}, {"stopExperiment": {"goal": 4}}, "5 of 8 started"),
        ({"stopExperiment": {"goal": 2}}, {"stopExperiment": {}, "numSamples": 10}, "10 of 10 started"),
        ({"stopExperiment": {"maxFailedTrials": 0}}, {"stopExperiment": NEVER}, "8 of 8 started"),
    ],
    ids=["a higher goal", "no goal and more samples", "more failures allowed"],
)
def test_what_ended_it_and_holds_no_more_lets_it_go_on(
    kubetune: Kubetune, first: dict[str, object], then: dict[str, object], started: str
) -> None:
    source = FAILING if "maxFailedTrials" in str(first) else RISING
    ended = kubetune(source, **({"numSamples": 8, "maxConcurrentTrials": 1} | first))
    assert started not in ended.out
    resumed = kubetune(source, "--resume", **({"numSamples": 8, "maxConcurrentTrials": 1} | then))
    assert resumed.code == (3 if source == FAILING else 0), resumed.out + resumed.err
    assert started in resumed.out
    assert "nothing to do" not in resumed.out
    again = kubetune(source, "--resume", **({"numSamples": 8, "maxConcurrentTrials": 1} | then))
    assert started in again.out
    assert again.out.count("nothing to do: ") == 1


def test_samples_are_not_taken_back_below_what_was_started(kubetune: Kubetune) -> None:
    assert kubetune(RISING, numSamples=4).code == 0
    refused = kubetune(RISING, "--resume", numSamples=3)
    assert refused.code == 2
    assert refused.err == (
        "kubetune: spec.numSamples: must not have fewer trials than have been started (4), got 3; use 4 or more\n"
    )
    assert "4 of 4 started" in kubetune(RISING, "--resume", numSamples=4).out
