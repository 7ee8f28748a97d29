"""`kubetune explain`: each decision on a trial in the objective's own terms, with who its peers were."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubetune import cli
from kubetune_operator import decisions
from kubetune_operator.console import explanation
from kubetune_operator.core.records import End, Reported
from kubetune_operator.core.standing import Judged
from kubetune_operator.core.trials import Decision, Verdict
from kubetune_operator.simulation import Setting
from tests.shell import simulated
from tests.shell.conftest import Run
from tests.shell.simulated import accuracies
from tests.sim.world import World, spec, steady

Explain = Callable[..., tuple[int, str, str]]
ASHA: dict[str, Any] = {"asha": {"maxT": 4, "gracePeriod": 1, "reductionFactor": 2}}
SCHEDULER = "scheduler   asha (timeAttr training_iteration, maxT 4, gracePeriod 1, reductionFactor 2, brackets 1)\n"
# One at a time, a report a second; the median of those who were there before is the cutoff.
CURVES = [(0.25, 0.25, 0.3, 0.4), (0.5, 0.6, 0.7, 0.8), (0.375, 0.4250001, 0.8, 0.9), (0.2, 0.9), (0.1,)]


@pytest.fixture
def explain(capsys: pytest.CaptureFixture[str]) -> Explain:
    """Run the command."""

    def run(folder: Path, trial: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main(["explain", str(folder), trial])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_each_rung_its_cutoff_and_its_peers(explain: Explain, tmp_path: Path) -> None:
    """A trial that is level with the cutoff, then just above it, then through."""
    folder = simulated.folder(tmp_path, accuracies(*CURVES), scheduler=ASHA, maxConcurrentTrials=1)
    assert explain(folder, "0")[1] == (
        "exp-00000: Succeeded, accuracy=0.4 at training_iteration 4\n"
        "parameters  x=0\n"
        f"{SCHEDULER}"
        "attempt 0\n"
        "  training_iteration 1 (1 s): rung 1: accuracy 0.25, the first there, so there was no cutoff: went on\n"
        "  training_iteration 2 (2 s): rung 2: accuracy 0.25, the first there, so there was no cutoff: went on\n"
        "  training_iteration 4 (4 s): its time 4 has reached maxT 4: stopped, with its whole budget\n"
        "1 other report met no rule: it went on\n"
        "ended       Succeeded: full budget\n"
    )
    assert explain(folder, "exp-00002")[1] == (
        "exp-00002: Succeeded, accuracy=0.9 at training_iteration 4\n"
        "parameters  x=2\n"
        f"{SCHEDULER}"
        "attempt 0\n"
        "  training_iteration 1 (1 s): rung 1: accuracy 0.375 is level with the cutoff 0.375 of 2 peers: went on\n"
        "      peers: 00001 0.5, 00000 0.25\n"
        "  training_iteration 2 (2 s): rung 2: accuracy 0.4250001 is better than the cutoff 0.425 of 2 peers: went on\n"
        "      peers: 00001 0.6, 00000 0.25\n"
        "  training_iteration 4 (4 s): its time 4 has reached maxT 4: stopped, with its whole budget\n"
        "1 other report met no rule: it went on\n"
        "ended       Succeeded: full budget\n"
    )
    assert explain(folder, "00003")[1] == (
        "exp-00003: Stopped, accuracy=0.2 at training_iteration 1\n"
        "parameters  x=3\n"
        f"{SCHEDULER}"
        "attempt 0\n"
        "  training_iteration 1 (1 s): rung 1: accuracy 0.2 is worse than the cutoff 0.375 of 3 peers: stopped\n"
        "      peers: 00001 0.5, 00002 0.375, 00000 0.25\n"
        "ended       Stopped: ASHA\n"
    )


def test_of_many_peers_the_best_are_named(explain: Explain, tmp_path: Path) -> None:
    """A loss is told as a loss, the least first; what is not finite is the last."""
    values = [3.0, math.nan, 1.0, 2.0, 5.0, 4.0, 6.0, 9.0]
    minimised = {"metric": "accuracy", "mode": "Minimize"}
    folder = simulated.folder(
        tmp_path, accuracies(*((value, value) for value in values)), objective=minimised, scheduler=ASHA, numSamples=8
    )
    _, out, _ = explain(folder, "7")
    assert "rung 1: accuracy 9 is worse than the cutoff 4 of 7 peers: stopped\n" in out
    assert "      peers: 00002 1, 00003 2, 00000 3, 00005 4, 00004 5 and 2 more\n" in out
    assert (
        "rung 1: accuracy is not finite, as something else there is; the cutoff, 3, of 1 peer: stopped\n"
        in explain(folder, "1")[1]
    )


def test_how_an_experiment_without_a_scheduler_went(explain: Explain, tmp_path: Path) -> None:
    """Programs that end by themselves, fail and are tried again, or are still running."""
    good, bad, left = accuracies((1, 2, 3), (1,), (4, 5))
    failing = replace(bad, end=End(exit_code=3))
    folder = simulated.folder(
        tmp_path, [good, failing, left, left], Setting(until=6), maxConcurrentTrials=1, failure={"maxFailures": 1}
    )
    assert explain(folder, "0")[1] == (
        "exp-00000: Succeeded, accuracy=3 at training_iteration 3\n"
        "parameters  x=0\n"
        "scheduler   no scheduler\n"
        "attempt 0\n"
        "  its program ended by itself (exit code 0)\n"
        "3 reports met no rule: it went on\n"
        "ended       Succeeded: ran to its end\n"
    )
    assert explain(folder, "1")[1].splitlines()[3:] == [
        "attempt 0",
        "  it failed (ExitCode): exit code 3",
        "attempt 1",
        "  it failed (ExitCode): exit code 3",
        "2 reports met no rule: it went on",
        "ended       Failed: ExitCode: exit code 3",
    ]
    assert explain(folder, "2")[1].splitlines()[3:] == [
        "attempt 0",
        "1 report met no rule: it went on",
        "it is running: this is all that was decided so far",
    ]


@pytest.mark.parametrize(
    ("spec", "trial", "says"),
    [
        ({"stop": {"metrics": {"accuracy": 0.6}}}, "1", "training_iteration 2 (2 s): accuracy 0.6 has reached 0.6 (stop.metrics): stopped, with its whole budget"),
        ({"stop": {"metrics": {"accuracy": 0.59999999}}}, "1", "training_iteration 2 (2 s): accuracy 0.6 has reached 0.59999999 (stop.metrics): stopped"),
        ({"stop": {"expression": "result.accuracy > 0.65"}}, "1", "training_iteration 3 (3 s): result.accuracy > 0.65 is true (stop.expression): stopped, with its whole budget"),
        ({"stop": {"plateau": {"metric": "accuracy", "std": 0.06, "numResults": 2, "gracePeriod": 3}}}, "1", "training_iteration 3 (3 s): the last 2 of accuracy differ by 0.05, less than 0.06 (stop.plateau): stopped, with its whole budget"),
        ({"stopExperiment": {"goal": 0.7}}, "1", "training_iteration 3 (3 s): accuracy has reached the goal 0.7 (stopExperiment.goal): stopped, with its whole budget"),
        ({"stopExperiment": {"goal": 0.7}, "maxConcurrentTrials": 2}, "0", "the experiment ended: it was told to end (GoalReached: trial exp-00001 reported 0.7, the goal is 0.7)"),
    ],
)  # fmt: skip
def test_what_is_not_the_schedulers(explain: Explain, tmp_path: Path, spec: dict[str, Any], trial: str, says: str) -> None:
    folder = simulated.folder(tmp_path, accuracies(*CURVES), **{"maxConcurrentTrials": 1} | spec)
    assert f"  {says}" in explain(folder, trial)[1]


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("exp-0003", "got exp-0003; it has 5 trials, exp-00000 to exp-00004; did you mean exp-00003 or"),
        ("5", "TRIAL: must be the number or the name of a trial, got 5; it has 5 trials, exp-00000 to exp-00004\n"),
        ("-1", "got -1; it has 5 trials"),
        ("9999999999", "got 9999999999; it has 5 trials"),
    ],
)
def test_a_trial_that_is_not_there_is_2_and_names_near_ones(tmp_path: Path, explain: Explain, word: str, says: str) -> None:
    folder = simulated.folder(tmp_path, accuracies(*CURVES))
    code, out, err = explain(folder, word)
    assert (code, out) == (2, "")
    assert says in err


def told(reason: str, facts: dict[str, Any], decision: Decision) -> str:
    """Give what is said of one verdict, where the objective is to be maximised."""
    world = World(spec(), steady())
    world.turn()
    report = Reported(0, 0, 0, "", {"accuracy": 0.5, "training_iteration": 1}, 1.0)
    judged = Judged(report, {}, Verdict(decision, reason, facts), after_stop=False)
    said: list[str] = []
    explanation.explain(world.history, 0, [decisions.Decision(judged, {})], said.append)
    return next(line for line in said if line.startswith("  "))


ASHA_FACTS = {"bracket": 0, "time": 1, "rung": 1, "peers": 2}
UNPAUSED = {"wanted": "Pause", "why_not": "there is no checkpoint to go on from"}  # `hardStop: false`
MEDIAN_FACTS = {"time": 61.5, "loss": -0.1, "peers": 7}


@pytest.mark.parametrize(
    ("reason", "facts", "decision", "says"),
    [
        pytest.param("Asha", ASHA_FACTS | {"bracket": 2, "loss": -0.5, "cutoff_loss": -0.25}, Decision.CONTINUE, "rung 1 of bracket 2: accuracy 0.5 is better than the cutoff 0.25 of 2 peers: went on", id="a bracket"),
        pytest.param("Asha", ASHA_FACTS | {"loss": math.inf, "cutoff_loss": math.inf}, Decision.CONTINUE, "rung 1: accuracy is not finite, but neither is the cutoff of 2 peers: went on", id="nothing is finite"),
        pytest.param("Asha", ASHA_FACTS | {"loss": -0.5, "cutoff_loss": math.inf}, Decision.CONTINUE, "rung 1: accuracy 0.5 is better than the cutoff, which is not finite, of 2 peers: went on", id="the cutoff is not finite"),
        pytest.param("Asha", ASHA_FACTS | {"loss": -0.5, "cutoff_loss": -0.5}, Decision.STOP, "rung 1: accuracy 0.5 is worse than the cutoff 0.5 of 2 peers: stopped", id="a cutoff that was rounded for the eye"),
        pytest.param("MedianStopping", MEDIAN_FACTS | {"best_loss": -0.2, "median_loss": -0.3}, Decision.STOP, "at best so far accuracy 0.2 is worse than the median average 0.3 of 7 others: stopped", id="median"),
        pytest.param("MedianStopping", MEDIAN_FACTS | {"best_loss": -0.2, "median_loss": None}, Decision.CONTINUE, "accuracy 0.2 at best so far, and 7 others at this time: too few to judge by: went on", id="too few for a median"),
        pytest.param("MedianStopping", MEDIAN_FACTS | UNPAUSED | {"best_loss": -0.2, "median_loss": -0.3}, Decision.CONTINUE, "at best so far accuracy 0.2 is worse than the median average 0.3 of 7 others: to be paused, but there is no checkpoint to go on from: went on", id="a pause that is not carried out"),
        pytest.param("MedianStopping", MEDIAN_FACTS | UNPAUSED | {"best_loss": math.inf, "median_loss": math.inf}, Decision.CONTINUE, "at best so far accuracy is not finite, as something else there is; the median average, though that is not, of 7 others: to be paused, but there is no checkpoint to go on from: went on", id="a pause of what is not finite"),
        pytest.param("Novelty", {"metric": "accuracy", "std": 0.001}, Decision.STOP, "Novelty metric accuracy, std 0.001: stopped", id="a reason without words of its own"),
        pytest.param("Done", {}, Decision.STOP, "it reported done: true: stopped", id="done"),
    ],
)  # fmt: skip
def test_the_words_for_a_verdict(reason: str, facts: dict[str, Any], decision: Decision, says: str) -> None:
    assert told(reason, facts, decision) == f"  training_iteration 1: {says}"


@pytest.mark.slow
def test_a_real_run(kubetune: Callable[..., Run], explain: Explain) -> None:
    """Reports that come after a stop are counted as such; a trial that was stopped has its reason."""
    source = "import kubetune\nfor i in range(3): kubetune.report(accuracy=i)\nimport time; time.sleep(60)\n"
    run = kubetune(source, stop={"metrics": {"accuracy": 1}})
    code, out, _ = explain(run.folder, "0")
    assert code == 0
    assert ": accuracy 1 has reached 1 (stop.metrics): stopped, with its whole budget\n" in out
    assert "1 other report met no rule: it went on\n1 report came after the stop: kept, but counting for nothing\n" in out
    assert out.endswith("ended       Succeeded: stop.metrics\n")
