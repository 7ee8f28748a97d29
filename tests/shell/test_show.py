"""`kubetune show`, and `run --resume` with a folder: which experiment is meant, and what is printed where nobody bounds the line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kubetune import cli
from tests.shell.conftest import Run, command, experiment

pytestmark = pytest.mark.slow  # each runs the command for seconds, and several times

Kubetune = Callable[..., Run]
GOOD = "import kubetune\nfor i in range(3): kubetune.report(accuracy=kubetune.params()['x'] + i)\n"
WAITS = "import time, kubetune\nkubetune.report(accuracy=1)\ntime.sleep(60)\n"


def show(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    capsys.readouterr()
    code = cli.main(["show", *words])
    said = capsys.readouterr()
    return code, said.out + said.err


def test_all_trials_and_all_parameters_are_printed_into_a_pipe(kubetune: Kubetune, tmp_path: Path) -> None:
    long = [{"name": f"a_parameter_with_a_long_name_{number}", "value": "x" * 30} for number in range(4)]
    x = {"name": "x", "uniform": {"low": 0, "high": 1}}
    run = kubetune(GOOD, numSamples=30, parameters=[x, *long])
    shown = command(tmp_path, "show", str(run.folder))
    assert shown.code == 0
    header, *rows = shown.out.splitlines()[:31]
    assert header.split() == ["trial", "state", "accuracy", "step", "x", *(one["name"] for one in long), "why"]
    assert [row[:5] for row in rows] == [f"{number:05d}" for number in range(30)]
    assert all(row.endswith("ran to its end") and row.count("x" * 30) == 4 for row in rows)
    assert "exp: Completed\n" in shown.out
    best = max(range(30), key=lambda number: json.loads((run.trial(number) / "params.json").read_text())["x"])
    assert f"its files   {run.folder.resolve() / f'exp-{best:05d}'}\n" in shown.out
    assert "--resume" not in shown.out


def test_it_is_found_by_folder_by_name_and_as_the_one_that_ran_last(
    kubetune: Kubetune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    older = kubetune(GOOD).folder.resolve()
    newer = kubetune(GOOD, numSamples=2).folder.resolve()
    there = ["--results", str(tmp_path / "results")]
    for word in ([], ["exp"], ["default/exp"], [newer.name], [str(newer)]):
        code, said = show(capsys, *word, *there)
        assert code == 0, said
        assert f"all files   {newer}\n" in said, word
    assert f"all files   {older}\n" in show(capsys, older.name, *there)[1]
    next(older.glob("journal.*")).touch()
    assert f"all files   {older}\n" in show(capsys, *there)[1]


def test_what_is_not_found_is_said_with_what_there_is(
    kubetune: Kubetune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there = ["--results", str(tmp_path / "results")]
    assert show(capsys, *there) == (
        2,
        f"kubetune: there is no experiment under {tmp_path / 'results'}; start one with kubetune run FILE, or name its folder\n",
    )
    folder = kubetune(GOOD).folder
    code, said = show(capsys, "digits", *there)
    assert code == 2
    assert (
        f"digits: there is no journal in it, and no experiment of that name under {tmp_path / 'results'}; there are exp" in said
    )
    (folder.parents[1] / "other").mkdir()
    (folder.parents[1] / "other" / "exp").mkdir()
    (folder.parents[1] / "other" / "exp" / "journal.1.jsonl").touch()
    code, said = show(capsys, "exp", *there)
    assert code == 2
    assert "exp: there is more than one: " in said


@pytest.fixture
def interrupted(kubetune: Kubetune, tmp_path: Path) -> tuple[Path, str]:
    """Give the folder of a run that was interrupted while a newer one of the same file had ended, and what it said."""
    file, results = tmp_path / "exp.yaml", tmp_path / "results"
    (tmp_path / "program.py").write_text(WAITS)
    file.write_text(json.dumps(experiment(["python", "program.py"])))
    words = [sys.executable, "-m", "kubetune.cli", "run", str(file), "--results", str(results)]
    running = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert running.stdout is not None
    for line in running.stdout:
        if "best" in line:
            break
    folder = (results / "default" / "exp").resolve()
    assert kubetune(GOOD).code == 0
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=30)
    assert running.returncode == 130, out
    return folder, out


def test_the_way_on_leads_to_the_run_that_was_interrupted_not_to_the_newest(
    interrupted: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = interrupted
    file = str(tmp_path / "exp.yaml")
    assert f"go on with: kubetune run {file} --resume {folder}\n" in out
    assert f"go on with  kubetune run FILE --resume {folder}\n" in show(capsys, str(folder))[1]
    newest = command(tmp_path, "run", "--resume", file, "--results", str(tmp_path / "results"))
    assert "nothing to do: " in newest.out
    went_on = command(tmp_path, "run", file, "--resume", str(folder))
    assert went_on.code == 0, went_on.out + went_on.err
    assert f"all files   {folder}\n" in went_on.out
    renamed = json.loads((tmp_path / "exp.yaml").read_text())
    renamed["metadata"]["name"] = "other"
    (tmp_path / "exp.yaml").write_text(json.dumps(renamed))
    refused = command(tmp_path, "run", file, "--resume", str(folder))
    assert refused.code == 2
    assert f"{folder}: is a run of exp, not of other" in refused.err


def test_what_a_run_says_has_no_detours_in_its_paths_and_its_output_is_at_once_in_the_log(
    kubetune: Kubetune, tmp_path: Path
) -> None:
    kubetune("import os, sys\nprint('said', os.environ['PYTHONUNBUFFERED'])\nos.abort()\n")
    (tmp_path / "w").mkdir()
    run = command(tmp_path, "run", f"{tmp_path}/w/../exp.yaml", "--results", f"{tmp_path}/w/../results")
    assert ".." not in run.out
    assert (run.trial(0) / "stdout").read_text() == "said 1\n"
    os.environ["PYTHONUNBUFFERED"] = ""
    try:
        run = command(tmp_path, "run", f"{tmp_path}/exp.yaml", "--results", f"{tmp_path}/results")
    finally:
        del os.environ["PYTHONUNBUFFERED"]
    assert (run.trial(0) / "stdout").read_text() == ""


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({}, "exp is valid: 1 trial (numSamples is 1)\n"),
        ({"numSamples": 2}, "exp is valid: 2 trials, 2 at once\n"),
        ({"numSamples": 20}, "exp is valid: 20 trials, 4 at once\n"),
        (
            {"parameters": [{"name": "x", "gridSearch": [1, 2, 3]}]},
            "exp is valid: 3 trials (1 sample of a grid of 3), 3 at once\n",
        ),
    ],
    ids=str,
)
def test_validate_counts_the_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spec: dict[str, object], says: str
) -> None:
    (tmp_path / "exp.yaml").write_text(json.dumps(experiment(["python"], **spec)))
    assert cli.main(["validate", str(tmp_path / "exp.yaml")]) == 0
    assert capsys.readouterr().out.endswith(says)


def test_the_version_is_there(tmp_path: Path) -> None:
    shown = command(tmp_path, "--version")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("kubetune 0.")
