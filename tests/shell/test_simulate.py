"""`kubetune simulate`: what it says of a table, and of an earlier experiment; what it refuses to say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubetune import cli
from kubetune_operator import earlier
from kubetune_operator.checked import spec_of
from kubetune_operator.curves import Curve
from kubetune_operator.experiment import load
from kubetune_operator.simulation import Setting, simulate
from tests.shell import simulated
from tests.shell.conftest import Run, experiment
from tests.shell.simulated import accuracies

Said = Callable[..., tuple[int, str, str]]
TABLE = "lr,seconds,1,2,3\n0.1,10,0.1,0.2,0.3\n0.2,20,0.2,0.5,0.4\n0.3,30,nan,nan,nan\n"


@pytest.fixture
def kubetune_simulate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    """Run the command on an experiment with this spec; give code, stdout and stderr."""

    def run(*words: str, **spec: Any) -> tuple[int, str, str]:
        file = tmp_path / "exp.yaml"
        file.write_text(json.dumps(experiment(["python"], **spec)))
        capsys.readouterr()
        try:
            code = cli.main(["simulate", str(file), *words])
        except SystemExit as wrong:
            assert isinstance(wrong.code, int)
            code = wrong.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def table(tmp_path: Path) -> str:
    path = tmp_path / "table.csv"
    path.write_text(TABLE)
    return str(path)


def test_a_table_without_a_scheduler(kubetune_simulate: Said, table: str) -> None:
    """Everything runs: 3 times 10, 20 and 30 seconds, one after the other, and the best is the best there is."""
    code, out, err = kubetune_simulate("--curves", table, numSamples=3, maxConcurrentTrials=1)
    assert (code, err) == (0, "")
    *_, best = [line for line in out.splitlines() if line.startswith("best trial")]
    assert out == (
        f"simulated: each trial is a row of {table}, at random by seed 3;\n"
        "its values are accuracy; the file's own search space is not drawn from\n"
        "exp: Completed\n"
        "trials      3 of 3 started: 3 had their whole budget\n"
        f"{best}\n"
        'parameters  {"lr": 0.2}\n'
        "its row     1 (the first is 0), at its end accuracy=0.4\n"
        "best row    1, at its end accuracy=0.4 of all 3\n"
        "time        3 min 0 s on 1 worker\n"
        "worker time 3 min 0 s, 100 % of the 3 min 0 s that running all of them to their ends would take\n"
    )
    assert best.endswith("accuracy=0.4 at training_iteration 3")


@pytest.mark.parametrize(
    ("words", "spec", "says"),
    [
        pytest.param([], {"objective": {"metric": "accuracy", "mode": "Maximize", "scope": "Best"}}, "its row     1 (the first is 0), at its end accuracy=0.5\n", id="by its best value, if that is what counts"),
        pytest.param([], {"objective": {"metric": "accuracy", "mode": "Minimize"}}, "best row    0, at its end accuracy=0.3 of all 3\n", id="the least, and never NaN"),
        pytest.param(["--start-seconds", "10"], {}, "worker time 3 min 30 s, 100 % of the 3 min 30 s that", id="what starting costs"),
        pytest.param(["--workers", "3"], {}, "time        1 min 30 s on 3 workers\nworker time 3 min 0 s, 100 %", id="workers"),
        pytest.param(["-n", "6"], {}, "time        6 min 0 s on 1 worker\n", id="each row twice"),
        pytest.param([], {"stop": {"metrics": {"training_iteration": 1}}}, "worker time 1 min 0 s, 33 % of the 3 min 0 s", id="a third of it"),
        pytest.param([], {"search": {}}, "at random by seed 0, since the file names none;\n", id="no seed"),
        pytest.param([], {"stop": {"metrics": {"loss": 1}}}, "notice      no trial has reported loss yet (stop.metrics)", id="a metric that is not there"),
    ],
)  # fmt: skip
def test_a_table(kubetune_simulate: Said, table: str, words: list[str], spec: dict[str, Any], says: str) -> None:
    code, out, _ = kubetune_simulate("--curves", table, *words, **{"numSamples": 3, "maxConcurrentTrials": 1} | spec)
    assert code == 0
    assert says in out


def test_the_best_of_what_there_was_is_said_beside_the_best_of_all(kubetune_simulate: Said, tmp_path: Path) -> None:
    """One trial takes one row; which one, the seed decides."""
    (tmp_path / "t.csv").write_text("seconds,1\n" + "".join(f"1,{row / 100}\n" for row in range(50)))
    _, out, _ = kubetune_simulate("--curves", str(tmp_path / "t.csv"), "-n", "1")
    row = int(out.partition("its row     ")[2].split()[0])
    assert f"its row     {row} (the first is 0), at its end accuracy={row / 100:.5g}\n" in out
    assert "best row    49, at its end accuracy=0.49 of all 50\n" in out
    assert f"            {row}, at its end accuracy={row / 100:.5g} of the 1 that there were for the trials\n" in out


# One worker and ASHA with factor 2: trial 2 is above the median of 0.1 and 0.5 after one report, and is the best at its end.
EARLIER = [(0.1, 0.2, 0.3, 0.4), (0.5, 0.6, 0.7, 0.8), (0.35, 0.5, 0.8, 0.9), (0.0, 0.1, 0.1, 0.1)]
ASHA = {"asha": {"maxT": 4, "gracePeriod": 1, "reductionFactor": 2}}
WITH = "with asha (timeAttr training_iteration, maxT 4, gracePeriod {grace}, reductionFactor 2, brackets 1) you would have"
ONE: dict[str, Any] = {"maxConcurrentTrials": 1}


def test_what_another_scheduler_would_have_made_of_an_earlier_experiment(kubetune_simulate: Said, tmp_path: Path) -> None:
    """13 of 16 reports: trial 3 alone is stopped, at its first."""
    folder = simulated.folder(tmp_path, accuracies(*EARLIER), **ONE)
    code, out, err = kubetune_simulate("--from", str(folder), scheduler=ASHA, **ONE)
    assert (code, err) == (0, "")
    assert out == (
        f"simulated: each trial goes as it went in {folder}; the file's own search space is not drawn from\n"
        "exp: Completed\n"
        "trials      4 of 4 started: 3 had their whole budget, 1 stopped early\n"
        "best trial  exp-00002  accuracy=0.9 at training_iteration 4\n"
        'parameters  {"x": 2}\n'
        "time        13 s on 1 worker\n"
        "worker time 13 s, 81 % of the 16 s that the earlier run took\n"
        f"answer      {WITH.format(grace=1)} kept your best trial, exp-00002, and spent 81 % of the time\n"
    )
    named = kubetune_simulate("--from", folder.name, "--results", str(tmp_path), scheduler=ASHA, **ONE)
    assert named[1].replace(str(folder.resolve()), str(folder)) == out


def test_that_the_best_trial_would_have_been_lost_is_said(kubetune_simulate: Said, tmp_path: Path) -> None:
    """Trial 2 begins badly: 0.2 is below the median of 0.1 and 0.5."""
    folder = simulated.folder(tmp_path, accuracies(*EARLIER[:2], (0.2, 0.5, 0.8, 0.9)), **ONE)
    _, out, _ = kubetune_simulate("--from", str(folder), scheduler=ASHA, **ONE)
    lost = (
        "stopped your best trial, exp-00002, at training_iteration 1, and had exp-00001 instead (accuracy=0.8 in place of 0.9), "
        "and spent 75 % of the time"
    )
    assert f"answer      {WITH.format(grace=1)} {lost}\n" in out
    later = {"asha": {**ASHA["asha"], "gracePeriod": 4}}
    _, out, _ = kubetune_simulate("--from", str(folder), scheduler=later, **ONE)
    assert f"answer      {WITH.format(grace=4)} kept your best trial, exp-00002, and spent 100 % of the time\n" in out


def test_that_a_goal_would_have_come_before_the_best_is_said(kubetune_simulate: Said, tmp_path: Path) -> None:
    """The experiment ends with trial 1; of two at once the other is cancelled."""
    folder = simulated.folder(tmp_path, accuracies((0.1, 0.2, 0.3, 0.9), (0.5, 0.8)), **ONE)
    _, out, _ = kubetune_simulate("--from", str(folder), "--workers", "2", stopExperiment={"goal": 0.8})
    told = "with no scheduler you would have ended with your best trial, exp-00000, cancelled, and had exp-00001 instead"
    assert f"answer      {told} (accuracy=0.8 in place of 0.9), and spent 67 % of the time\n" in out


def test_that_all_would_have_been_over_before_the_best_began_is_said(kubetune_simulate: Said, tmp_path: Path) -> None:
    folder = simulated.folder(tmp_path, accuracies((0.1, 0.5), (0.1, 0.2), (0.8, 0.9)), **ONE)
    code, out, _ = kubetune_simulate("--from", str(folder), stopExperiment={"goal": 0.4}, **ONE)
    told = "with no scheduler you would have ended before your best trial, exp-00002, began, and had exp-00000 instead"
    assert f"answer      {told} (accuracy=0.5 in place of 0.9), and spent 33 % of the time\n" in out
    assert code == 0


def test_that_the_best_trial_would_not_have_come_so_far_is_said(kubetune_simulate: Said, tmp_path: Path) -> None:
    """Every trial ends after two reports: the best is still the best, but not the model that it was."""
    folder = simulated.folder(tmp_path, accuracies(*EARLIER[:2]), **ONE)
    _, out, _ = kubetune_simulate("--from", str(folder), stop={"metrics": {"training_iteration": 2}}, **ONE)
    told = "with no scheduler you would have kept your best trial, exp-00001 (accuracy=0.6 in place of 0.8)"
    assert f"answer      {told}, and spent 50 % of the time\n" in out


def test_an_expression_sees_the_names_that_the_trials_have(kubetune_simulate: Said, tmp_path: Path, table: str) -> None:
    """With --from they are those of the earlier experiment, whatever the file is called."""
    stop = {"expression": "trial_id == 'exp-00001'"}
    folder = simulated.folder(tmp_path, accuracies(*EARLIER), **ONE)
    for words in (["--from", str(folder)], ["--curves", table]):
        _, out, _ = kubetune_simulate(*words, stop=stop, numSamples=3, **ONE)
        assert "1 met stop.expression" in out


def test_no_claim_is_made_on_curves_that_were_cut_short(kubetune_simulate: Said, tmp_path: Path) -> None:
    """ASHA stopped all but the last, which ended by itself; without a scheduler they would have gone on."""
    quick = [*EARLIER, (0.0, 0.0), (0.01,), (0.02, 0.9), (0.005,), (0.6,)]
    folder = simulated.folder(tmp_path, accuracies(*quick), scheduler=ASHA, **ONE)
    code, out, err = kubetune_simulate("--from", str(folder), **ONE)
    assert (code, err) == (1, "")
    assert out == (
        f"simulated: each trial goes as it went in {folder}; the file's own search space is not drawn from\n"
        "no claim    8 of 9 curves are cut short where this simulation goes on:\n"
        "            exp-00000 after 4 reports, exp-00001 after 4 reports, exp-00002 after 4 reports, exp-00003 after 1 report, "
        "exp-00004 after 1 report and 3 more\n"
        "            the earlier run ended those trials, so nobody knows how they would have gone; simulate what stops no later\n"
        "            than it did, or run the experiment once without a scheduler\n"
    )
    assert kubetune_simulate("--from", str(folder), scheduler=ASHA, **ONE)[0] == 0, "the same again stops no later"


def test_curves_of_trials_that_failed_and_of_an_experiment_that_was_left(tmp_path: Path) -> None:
    """Who failed fails again there; what was running is cut; what never started is no trial."""
    failing = replace(accuracies((1, 2))[0], end=replace(accuracies((1,))[0].end, exit_code=3), closing=2.0)
    given: list[Curve] = [failing, *accuracies((1, 2, 3), (4, 5, 6), (7,))]
    folder = simulated.folder(tmp_path, given, Setting(until=9), maxConcurrentTrials=1)
    read = earlier.read(folder).curves
    assert [(len(one.reports), one.duration, one.cut, one.end.exit_code) for one in read] == [
        (2, 4.0, False, 3),
        (3, 3.0, False, 0),
        (2, 2.0, True, 0),
    ]
    again = simulate(load(folder, spec_of).history.spec, read[:2])
    assert [trial.reason for trial in again.history.trials] == ["ExitCode", "Completed"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param([], "one of the arguments --curves --from is required", id="neither"),
        pytest.param(["--curves", "a", "--from", "b"], "argument --from: not allowed with argument --curves", id="both"),
        pytest.param(["--from", "a", "-n", "3"], "-n goes with --curves: with --from the trials are those of FOLDER", id="-n with --from"),
        pytest.param(["--curves", "a", "-n", "0"], "argument -n: must be a whole number from 1 to 1000000, got 0", id="-n 0"),
        pytest.param(["--curves", "a", "--workers", "x"], "argument --workers: must be a whole number from 1 to 1000000, got x", id="--workers x"),
        pytest.param(["--curves", "a", "--start-seconds", "-1"], "argument --start-seconds: must be seconds, 0 or more, got '-1'", id="--start-seconds -1"),
        pytest.param(["--curves", "a", "--start-seconds", "nan"], "argument --start-seconds: must be seconds, 0 or more, got 'nan'", id="--start-seconds nan"),
        pytest.param(["--curves", "/nothing/here.csv"], "kubetune: /nothing/here.csv: No such file or directory", id="no table"),
        pytest.param(["--from", "/nothing/here"], "/nothing/here: there is no journal in it", id="no folder"),
    ],
)  # fmt: skip
def test_what_cannot_be_simulated_is_2(kubetune_simulate: Said, words: list[str], says: str) -> None:
    code, out, err = kubetune_simulate(*words)
    assert (code, out) == (2, "")
    assert says in err


def test_a_refused_file_and_another_objective_are_2(kubetune_simulate: Said, tmp_path: Path, table: str) -> None:
    code, _, err = kubetune_simulate("--curves", table, numSamples=0)
    assert code == 2
    assert "exp.yaml: refused\n  spec.numSamples: must be at least 1, got 0" in err
    folder = simulated.folder(tmp_path, accuracies((1, 2)))
    code, _, err = kubetune_simulate("--from", str(folder), objective={"metric": "loss", "mode": "Minimize"})
    assert code == 2
    assert f"spec.objective: must be that of the experiment in {folder.resolve()} (metric accuracy, mode Maximize, " in err
    assert "got metric loss, mode Minimize, scope Last; write it so in the file" in err


@pytest.mark.slow
def test_a_real_run_decides_as_the_simulator_does_on_the_same_curves(
    kubetune: Callable[..., Run], kubetune_simulate: Said, tmp_path: Path
) -> None:
    """The curves come from a run that stops nobody, the decisions from one with ASHA; both try the same parameters."""
    source = (
        "import kubetune, math\n"
        "x = kubetune.params()['x']\n"
        "for i in range(9): kubetune.report(accuracy=math.sin(40 * x) + x * i, wait=True)\n"
    )
    spec: dict[str, Any] = {"numSamples": 12, "maxConcurrentTrials": 1, "scheduler": {"asha": {"maxT": 9, "reductionFactor": 3}}}
    whole = kubetune(source, **{**spec, "scheduler": {}}).folder.resolve()
    stopped = load(kubetune(source, **spec).folder, spec_of).history
    before = earlier.read(whole)
    assert [len(one.reports) for one in before.curves] == [9] * 12
    found = simulate(stopped.spec, before.curves).history
    real = [(trial.params, trial.outcome, trial.reason, trial.reports, trial.value) for trial in stopped.trials]
    assert [(trial.params, trial.outcome, trial.reason, trial.reports, trial.value) for trial in found.trials] == real
    assert len({reports for *_, reports, _ in real}) > 2, "stopped at different rungs"
    assert kubetune_simulate("--from", str(whole), **spec)[0] == 0
