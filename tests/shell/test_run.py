"""`kubetune run` for real: processes, agents, intake, journal and files, as a user has them."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.shell.conftest import Run, command

Kubetune = Callable[..., Run]
GOOD = "import kubetune\nfor i in range(3): kubetune.report(accuracy=kubetune.params()['x'] + i)\n"


def program_of(case: str) -> str:
    """Give a program that does well in all trials but number 1, where it does this."""
    return f"import os, sys, time, signal, kubetune\nif kubetune.trial().number == 1:\n    {case}\n" + GOOD


def test_a_good_run_ends_with_0_and_names_the_best_and_its_files(kubetune: Kubetune) -> None:
    run = kubetune(GOOD, numSamples=4)
    assert run.code == 0, run.err
    best = max(range(4), key=lambda number: json.loads((run.trial(number) / "params.json").read_text())["x"])
    assert f"best trial  exp-{best:05d}" in run.out
    assert str(run.trial(best).resolve()) in run.out
    with (run.folder / "trials.csv").open() as lines:
        table = list(csv.DictReader(lines))
    assert [row["state"] for row in table] == ["Succeeded"] * 4
    with (run.trial(0) / "progress.csv").open() as lines:
        assert [row["training_iteration"] for row in csv.DictReader(lines)] == ["1", "2", "3"]
    assert [row["done"] for row in run.rows(0)] == [False, False, True]
    assert json.loads((run.folder / "experiment.json").read_text())["status"]["state"] == "Completed"
    assert not list((run.folder / ".run").glob("*-*"))


@pytest.mark.slow
def test_the_best_trial_can_be_run_again_as_it_was(kubetune: Kubetune) -> None:
    tells = (
        "import os, json, sys, kubetune\nkubetune.report(accuracy=1)\n"
        "names = ('KUBETUNE_TRIAL', 'KUBETUNE_PARAM_X', 'ADDRESS')\n"
        "print(json.dumps([kubetune.params(), kubetune.seed(), sys.argv, sys.executable, *map(os.environ.get, names)]))\n"
    )
    container = {
        "name": "trial",
        "image": "python",
        "command": ["python", "program.py", "--x=${params.x}", "it's $HOME"],
        "env": [
            {"name": "ADDRESS", "value": "a b"},
            {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ],
    }
    os.environ["KEY"] = "not for the eye"
    try:
        run = kubetune(tells, trial={"template": {"spec": {"containers": [container]}}})
    finally:
        del os.environ["KEY"]
    assert "not for the eye" not in run.out
    (again,) = (line.removeprefix("run again") for line in run.out.splitlines() if line.startswith("run again"))
    plain = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere"}
    said = subprocess.run(["sh", "-c", again], capture_output=True, text=True, check=True, env=plain).stdout
    assert said == (run.trial(0) / "stdout").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "reason", "says"),
    [
        ("sys.exit(3)", "ExitCode", "exit code 3"),
        ("raise ValueError('no such layer')", "ExitCode", "no such layer"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "Killed", "signal 9"),
        ("sys.exit(0)", "NoReports", "never reported"),
        ("os.execvp('no-such-program', ['no-such-program'])", "ExitCode", "exit code 1"),
    ],
    ids=["exits-3", "raises", "is-killed", "no-report", "cannot-exec"],
)
def test_a_trial_that_fails_is_named_everywhere_and_the_others_go_on(
    kubetune: Kubetune, case: str, reason: str, says: str
) -> None:
    run = kubetune(program_of(case), numSamples=4)
    assert run.code == 3, run.out + run.err
    assert "3 had their whole budget, 1 failed" in run.out
    assert f"trouble     exp-00001: {reason}" in run.out
    error = (run.trial(1) / "error.txt").read_text()
    assert error.startswith("Failure # 1 (occurred at ")
    assert reason in error
    assert says in error
    with (run.folder / "trials.csv").open() as lines:
        assert [row["reason"] for row in csv.DictReader(lines)] == ["Completed", reason, "Completed", "Completed"]


def test_a_command_that_does_not_exist_ends_the_experiment_with_its_name(kubetune: Kubetune, tmp_path: Path) -> None:
    run = kubetune(GOOD, numSamples=30, trial={"template": {"spec": {"containers": [{"name": "t", "command": ["trian"]}]}}})
    assert run.code == 1
    assert "NotStarted" in run.out
    assert "command not found: trian" in run.out
    assert "command not found: trian" in (run.trial(0) / "error.txt").read_text()


@pytest.mark.slow
def test_a_stopped_trial_that_ignores_sigterm_is_killed_after_its_grace_and_named(kubetune: Kubetune) -> None:
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1); open(os.environ['KUBETUNE_REPORTS'], 'a').write('{\"accuracy\": 9}\\n'); time.sleep(60)"
    run = kubetune(program_of(deaf), numSamples=3, stop={"metrics": {"accuracy": 8}})
    assert run.code == 3, run.out + run.err
    assert "exp-00001: stop.metrics: ignored SIGTERM" in run.out
    assert "ignored SIGTERM" in (run.trial(1) / "error.txt").read_text()
    assert (run.trial(1) / "stdout").read_text() in {"", "1\n"}


@pytest.mark.slow
def test_a_thousand_reports_from_a_shell_loop_are_there_in_order(kubetune: Kubetune) -> None:
    loop = 'i=0; while [ $i -lt 1000 ]; do echo "{\\"accuracy\\": $i}" >> "$KUBETUNE_REPORTS"; i=$((i+1)); done'
    run = kubetune(loop, interpreter="sh")
    assert run.code == 0, run.out + run.err
    assert [row["accuracy"] for row in run.rows(0)] == list(range(1000))
    assert [row["training_iteration"] for row in run.rows(0)] == list(range(1, 1001))


@pytest.mark.slow
def test_whatever_a_program_writes_result_json_is_valid_on_each_line(kubetune: Kubetune) -> None:
    lines = [
        '{"accuracy": NaN, "up": Infinity, "down": -Infinity}',
        '{"accuracy": 1, "big": 9223372036854775807, "small": -9223372036854775808}',
        '{"accuracy": 0.5, "val": {"loss": {"mean": 0.25}}, "name": "Grüße 🎉", "flag": true}',
        "not JSON",
        "",
        '{"accuracy": [1, 2]}',
        '{"accuracy": 3}',
    ]
    source = (
        "import os\n"
        "out = open(os.environ['KUBETUNE_REPORTS'], 'a', encoding='utf-8')\n"
        f"out.write({chr(10).join(lines)!r} + chr(10))\n"
        "out.write('x' * 10_000_000 + chr(10))\n"
        "out.write('{\"accuracy\": 4}' + chr(10) + '{\"accuracy\": 5')\n"
    )
    run = kubetune(source)
    rows = run.rows(0)
    assert [row["accuracy"] for row in rows] == ["NaN", 1, 0.5, 3, 4]
    assert (rows[0]["up"], rows[0]["down"]) == ("Infinity", "-Infinity")
    assert (rows[1]["big"], rows[1]["small"]) == (9223372036854775807, -9223372036854775808)
    assert rows[2]["val"] == {"loss": {"mean": 0.25}}
    assert rows[2]["name"] == "Grüße 🎉"
    assert [row["number"] for row in rows] == [0, 1, 2, 6, 8]
    for number, why in [(4, "not JSON"), (6, "must be a number"), (8, "longer than 65536")]:
        assert f"exp-00000: line {number} refused: " in run.out
        assert why in run.out
    assert run.out.count("refused: not JSON") == 1, "later ones are only counted"
    assert "5 reports refused (column refused of trials.csv)" in run.out
    assert run.code == 0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["truncate", "replace"])
def test_a_report_file_that_was_rewritten_fails_the_attempt(kubetune: Kubetune, how: str) -> None:
    opened = "open(path, 'w')" if how == "truncate" else "open(path + '.new', 'w')"
    rename = "" if how == "truncate" else "os.replace(path + '.new', path)\n"
    source = (
        "import os, time, kubetune\nkubetune.report(accuracy=1, wait=True)\n"
        f"path = os.environ['KUBETUNE_REPORTS']\nout = {opened}\nout.write('{{\"accuracy\": 2}}\\n')\nout.close()\n{rename}time.sleep(20)\n"
    )
    run = kubetune(source)
    assert "ReportsRewritten" in run.out, run.out
    assert [row["accuracy"] for row in run.rows(0)] == [1]


@pytest.mark.slow
def test_retries_start_anew_in_the_same_files(kubetune: Kubetune) -> None:
    source = (
        GOOD
        + "import sys\nprint('attempt', kubetune.trial().attempt)\nsys.exit('no luck' if kubetune.trial().attempt < 2 else 0)\n"
    )
    run = kubetune(source, failure={"maxFailures": 2})
    assert run.code == 0, run.out
    assert [(row["attempt"], row["training_iteration"]) for row in run.rows(0)] == [(a, i) for a in range(3) for i in (1, 2, 3)]
    assert (run.trial(0) / "stdout").read_text() == "attempt 0\nattempt 1\nattempt 2\n"
    assert (run.trial(0) / "error.txt").read_text().count("Failure #") == 2
    assert "(attempt 1, after ExitCode: exit code 1: no luck)" in run.out


@pytest.mark.slow
def test_when_what_starts_the_agents_is_killed_the_trials_that_run_go_on_and_others_are_started(kubetune: Kubetune) -> None:
    kill = (
        "import os, signal, time\n"
        "def parent(pid):\n    return int(open(f'/proc/{pid}/stat').read().rpartition(')')[2].split()[1])\n"
        "if kubetune.trial().number == 1:\n    os.kill(parent(os.getppid()), signal.SIGKILL)\n    time.sleep(0.3)\n"
    )
    run = kubetune("import kubetune\n" + kill + GOOD, numSamples=6, maxConcurrentTrials=2)
    assert run.code == 0, run.out + run.err
    assert [len(run.rows(number)) for number in range(6)] == [3] * 6
    assert {row["attempt"] for number in range(6) for row in run.rows(number)} == {0}
    assert not list((run.folder / ".run").glob("*-*"))


@pytest.mark.slow
def test_median_stopping_stops_what_learns_too_slowly_or_diverges_and_says_why(kubetune: Kubetune, tmp_path: Path) -> None:
    """A line fitted by gradient descent: three good learning rates, one so small that nothing moves, one that overflows.

    All begin with the same loss: at step 1 each ties with the median, and nobody is stopped.
    """
    fit = (
        "import math, kubetune\n"
        "points, slope, start = [(x / 10, x / 5 + 1) for x in range(10)], 0.0, 0.0\n"
        "for epoch in range(40):\n"
        "    errors = [(slope * x + start - y, x) for x, y in points]\n"
        "    slope -= kubetune.params()['lr'] * sum(error * x for error, x in errors)\n"
        "    start -= kubetune.params()['lr'] * sum(error for error, _ in errors)\n"
        "    loss = sum(error * error for error, _ in errors)\n"
        "    kubetune.report(loss=loss if loss < 1e9 else math.nan, wait=True)\n"
    )
    run = kubetune(
        fit,
        objective={"metric": "loss", "mode": "Minimize"},
        parameters=[{"name": "lr", "gridSearch": [0.1, 0.05, 0.02, 1e-6, 1e6]}],
        maxConcurrentTrials=1,
        scheduler={"medianStopping": {"timeAttr": "training_iteration", "gracePeriod": 1, "minSamplesRequired": 3}},
    )
    assert run.code == 0, run.out + run.err
    assert [len(run.rows(number)) for number in range(5)] == [40, 40, 40, 2, 2]
    assert [run.rows(number)[-1]["reason"] for number in range(5)] == ["Completed"] * 3 + ["MedianStopping"] * 2
    assert run.rows(4)[-1]["loss"] == "NaN"
    shown = command(tmp_path, "show", str(run.folder)).out
    assert shown.count("median stopping") == 2
    journal = [json.loads(line) for line in next(run.folder.glob("journal.*.jsonl")).read_text().splitlines()]
    last = [record["facts"] for record in journal if record.get("kind") == "decided" and record["trial"] == 3][-1]
    averages = sorted(sum(row["loss"] for row in run.rows(number)[:2]) / 2 for number in range(3))
    assert last["median_loss"] == pytest.approx(averages[1])
    assert (last["time"], last["peers"], last["best_loss"]) == (2, 3, min(row["loss"] for row in run.rows(3)))


@pytest.mark.slow
def test_ctrl_c_stops_cleanly_and_resume_goes_on_with_the_same_trials(kubetune: Kubetune, tmp_path: Path) -> None:
    slow = (
        "import time, kubetune\nfor i in range(3):\n    kubetune.report(accuracy=kubetune.params()['x'])\n    time.sleep(0.3)\n"
    )
    (tmp_path / "program.py").write_text(slow)
    kubetune_run = [
        sys.executable,
        "-m",
        "kubetune.cli",
        "run",
        str(tmp_path / "exp.yaml"),
        "--results",
        str(tmp_path / "results"),
    ]
    whole = kubetune(slow, numSamples=5, maxConcurrentTrials=2)
    params = [json.loads((whole.trial(number) / "params.json").read_text()) for number in range(5)]
    running = subprocess.Popen(kubetune_run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert running.stdout is not None
    for line in running.stdout:
        if "started" in line:
            break
    time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=30)
    assert running.returncode == 130, out
    assert "exp: Interrupted" in out
    assert "--resume" in out
    assert json.loads((whole.folder / "experiment.json").read_text())["status"]["state"] == "Interrupted"
    assert command(tmp_path, "show", str(whole.folder)).out.count("exp: Interrupted\n") == 1
    assert not list((whole.folder / ".run").glob("*-*"))
    resumed = command(tmp_path, *kubetune_run[3:], "--resume")
    assert resumed.code == 0, resumed.out + resumed.err
    assert [json.loads((resumed.trial(number) / "params.json").read_text()) for number in range(5)] == params
    assert "5 of 5 started: 5 had their whole budget" in resumed.out


@pytest.mark.slow
def test_resume_refuses_what_cannot_change_and_takes_what_can(kubetune: Kubetune) -> None:
    assert kubetune(GOOD, numSamples=2).code == 0
    refused = kubetune(GOOD, "--resume", numSamples=2, objective={"metric": "loss", "mode": "Minimize"})
    assert refused.code == 2
    assert "spec.objective is not what this run was started with" in refused.err
    more = kubetune(GOOD, "--resume", numSamples=4)
    assert more.code == 0, more.err
    assert "4 of 4 started" in more.out
    again = kubetune(GOOD, "--resume", numSamples=4)
    assert again.code == 0
    assert "nothing to do: all 4 trials have ended; raise numSamples" in again.out
    assert "4 of 4 started" in again.out


@pytest.mark.slow
def test_show_claims_no_more_than_is_known_of_a_runner_that_was_killed(kubetune: Kubetune, tmp_path: Path) -> None:
    (tmp_path / "go-on").touch()
    waits = "import os, time, kubetune\nkubetune.report(accuracy=1)\nwhile not os.path.exists('go-on'): time.sleep(0.05)\n"
    kubetune_run = [
        sys.executable,
        "-m",
        "kubetune.cli",
        "run",
        str(tmp_path / "exp.yaml"),
        "--results",
        str(tmp_path / "results"),
    ]
    whole = kubetune(waits)
    (tmp_path / "go-on").unlink()
    running = subprocess.Popen(kubetune_run, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    for line in running.stdout:
        if "best" in line:
            break
    shown = command(tmp_path, "show", str(whole.folder))
    assert "exp: Running\n" in shown.out, "its runner is there"
    running.kill()
    running.communicate(timeout=30)
    assert json.loads((whole.folder / "experiment.json").read_text())["status"]["state"] == "Running"
    shown = command(tmp_path, "show", str(whole.folder))
    assert shown.code == 0
    assert "exp: Running when this was recorded; no `kubetune run` is at work on it now" in shown.out
    (whole.folder / ".lock").rename(tmp_path / "lock")
    assert "exp: Running when this was recorded\n" in command(tmp_path, "show", str(whole.folder)).out, "a copy, perhaps"
    (tmp_path / "lock").rename(whole.folder / ".lock")
    (tmp_path / "go-on").touch()
    assert command(tmp_path, *kubetune_run[3:], "--resume").code == 0
    assert "exp: Completed\n" in command(tmp_path, "show", str(whole.folder)).out


@pytest.mark.slow
def test_a_metric_with_a_name_of_kubetunes_own_is_never_overwritten_in_silence(kubetune: Kubetune, tmp_path: Path) -> None:
    named = "import kubetune\nfor i in range(3): kubetune.report(accuracy=1, number=7)\n"
    run = kubetune(named, numSamples=2, maxConcurrentTrials=1)
    assert [row["number"] for row in run.rows(0)] == [0, 1, 2]
    says = "metric number (first reported by exp-00000) has a name of kubetune's own"
    assert run.out.count(says) == 2, "once while it runs, and once in the summary"
    assert kubetune(named, "--resume", "--quiet", numSamples=3, maxConcurrentTrials=1).out.count(says) == 1
    assert command(tmp_path, "show", str(run.folder)).out.count(says) == 1
    status = json.loads((run.folder / "experiment.json").read_text())["status"]
    assert says in status["conditions"][0]["message"]


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["validate", "--help"], ["show", "--help"]], ids=" ".join)
def test_help_is_there(tmp_path: Path, words: list[str]) -> None:
    shown = command(tmp_path, *words)
    assert shown.code == 0
    assert "usage: " in shown.out


def test_an_experiment_that_is_refused_starts_nothing(kubetune: Kubetune, tmp_path: Path) -> None:
    run = kubetune(GOOD, numSamples=0)
    assert run.code == 2
    assert "spec.numSamples: must be at least 1, got 0" in run.err
    assert not (tmp_path / "results").exists()
