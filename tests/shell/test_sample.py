"""`kubetune sample`: what it prints is what a run gives its programs; what it says when there is little to print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubetune import cli
from tests.shell.conftest import Run, experiment

Kubetune = Callable[..., Run]
REPORT = "import json, kubetune\nkubetune.report(accuracy=1)\nprint(json.dumps(kubetune.params()))\n"
EVERY_KIND: list[dict[str, Any]] = [
    {"name": "kind", "choice": ["sgd", "adam"]},
    {"name": "a", "uniform": {"low": 0, "high": 1}},
    {"name": "b", "quniform": {"low": 0, "high": 1, "q": 0.25}},
    {"name": "c", "loguniform": {"low": 0.001, "high": 1}},
    {"name": "d", "qloguniform": {"low": 0.5, "high": 8, "q": 0.5}},
    {"name": "e", "randn": {}},
    {"name": "f", "qrandn": {"mean": 1, "sd": 2, "q": 0.5}},
    {"name": "g", "randint": {"low": 0, "high": 9}},
    {"name": "h", "qrandint": {"low": 0, "high": 9, "q": 3}},
    {"name": "i", "lograndint": {"low": 1, "high": 99}},
    {"name": "j", "qlograndint": {"low": 8, "high": 64, "q": 8}},
    {"name": "model.k", "gridSearch": [1, 2]},
    {"name": "model.l", "gridSearch": ["x", "y"], "when": "params.model.k == 2"},
    {"name": "m", "value": {"fixed": [1, None]}},
    {"name": "n", "choice": [{"inner": {"$param": {"uniform": {"low": 0, "high": 1}}}}, "none"]},
    {"name": "momentum", "uniform": {"low": 0.5, "high": 0.99}, "when": "params.kind == 'sgd'"},
    {"name": "width", "sampleFrom": "pow(2, randint(1, 6)) * params.model.k"},
]


def sample(capsys: pytest.CaptureFixture[str], file: Path, *words: str) -> tuple[int, str, str]:
    capsys.readouterr()
    code = cli.main(["sample", str(file), *words])
    said = capsys.readouterr()
    return code, said.out, said.err


def written(folder: Path, **spec: Any) -> Path:
    file = folder / "exp.yaml"
    file.write_text(json.dumps(experiment(["python", "program.py"], **spec)))
    return file


@pytest.mark.slow
def test_what_it_prints_is_what_the_trials_are_given(
    kubetune: Kubetune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    points = [{"kind": "sgd", "a": 0.5, "model.k": 1}]
    spec = {
        "parameters": EVERY_KIND,
        "constraints": ["params.g + params.h <= 12"],
        "search": {"seed": 7, "pointsToEvaluate": points},
        "numSamples": 4,
        "maxConcurrentTrials": 2,
    }
    run = kubetune(REPORT, **spec)
    assert run.code == 0, run.err
    code, out, _ = sample(capsys, written(tmp_path, **spec), "-n", "99", "--json")
    assert code == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["trial"] for line in lines] == list(range(10)), "a point that fixes the grid, then 3 samples of 3 cells"
    for line in lines:
        folder = run.trial(line["trial"])
        assert json.loads((folder / "params.json").read_text()) == line["params"]
        assert json.loads((folder / "stdout").read_text()) == line["params"]


def test_the_seed_is_the_files_or_the_one_that_is_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, search={"seed": 7}, numSamples=30)
    _, once, _ = sample(capsys, file)
    _, again, _ = sample(capsys, file, "--seed", "7")
    _, other, _ = sample(capsys, file, "--seed", "8")
    assert once == again != other
    assert once.splitlines()[-1] == "10 of 30 trials; seed 7"
    assert [line[:5] for line in once.splitlines()] == ["trial", *(f"{number:05d}" for number in range(10)), "10 of"]


def test_a_seed_that_was_drawn_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = sample(capsys, written(tmp_path, search={}), "-n", "1")
    assert "drawn now: set spec.search.seed to have these again" in out


def test_draws_that_give_no_trial_are_counted_and_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid = [{"name": "a", "gridSearch": [1, 2, 3]}, {"name": "b", "gridSearch": [1, 2, 3]}]
    code, out, err = sample(capsys, written(tmp_path, parameters=grid, constraints=["params.a + params.b != 4"], numSamples=1))
    assert code == 0
    assert out.splitlines()[1:-1] == ["00000  1  1", "00001  2  1", "00002  1  2", "00003  3  2", "00004  2  3", "00005  3  3"]
    assert err == (
        "kubetune: 3 draws gave no trial, each tried up to 100 times; the last: "
        "constraints[0] is not met: params.a + params.b != 4\n"
    )


def test_constraints_that_nothing_meets_give_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = [{"name": "x", "uniform": {"low": 0, "high": 1}}]
    code, out, err = sample(capsys, written(tmp_path, parameters=x, constraints=["params.x > 2.0"], numSamples=500))
    assert code == 1
    assert out.splitlines()[-1].startswith("0 of 500 trials")
    assert "100 draws gave no trial" in err


@pytest.mark.parametrize(
    "words", [["-n", "1", "--json"], ["-n", "5000", "--json"], ["-n", "1"]], ids=["little", "much", "a table"]
)
def test_a_reader_that_has_enough_is_no_error(tmp_path: Path, words: list[str]) -> None:
    """As with `| head -1`: nobody reads on."""
    reads, writes = os.pipe()
    os.close(reads)
    file = written(tmp_path, numSamples=5000)
    program = [sys.executable, "-m", "kubetune.cli", "sample", str(file), *words]
    done = subprocess.run(program, stdout=writes, stderr=subprocess.PIPE, text=True, check=False, timeout=100)
    os.close(writes)
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize("words", [["-n", "0"], ["-n", "many"], ["--seed", "-1"], ["--seed", "4294967296"]], ids=" ".join)
def test_a_number_out_of_range_is_refused(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        sample(capsys, written(tmp_path), *words)
    assert f"must be a whole number from {int(words[0] == '-n')} to " in capsys.readouterr().err


def test_a_wrong_experiment_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = sample(capsys, written(tmp_path, constraints=["params.zz > 2.0"]))
    assert code == 2
    assert "spec.constraints[0]: must not read params.zz, which is no parameter" in err
