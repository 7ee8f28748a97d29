"""The exit codes of README's table, for each command: 0, 1, 2 and 3. 130 is in test_run, beside Ctrl-C."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kubetune import cli
from kubetune_operator.files import ExperimentFolder
from tests.shell.conftest import Run, experiment

pytestmark = pytest.mark.slow  # each runs the command

Kubetune = Callable[..., Run]
REPORTS = "import sys, kubetune\nkubetune.report(accuracy=1)\n"


@pytest.mark.parametrize(
    ("source", "spec", "code"),
    [
        pytest.param(REPORTS, {}, 0, id="0: every trial ended well"),
        pytest.param("import kubetune\nwhile True: kubetune.report(accuracy=1, wait=True)", {"stop": {"metrics": {"accuracy": 1}}}, 0, id="0: stopped early is well"),
        pytest.param("exit(4)", {"numSamples": 3}, 1, id="1: the first ones failed for one reason"),
        pytest.param(REPORTS + "sys.exit(kubetune.trial().number)", {"numSamples": 2}, 3, id="3: some trials failed"),
    ],
)  # fmt: skip
def test_run(kubetune: Kubetune, source: str, spec: dict[str, object], code: int) -> None:
    run = kubetune(source, **spec)
    assert run.code == code, run.out + run.err


def code(*words: str) -> int:
    """Give the exit code of a command that starts no trial: here, without a process of its own."""
    try:
        return cli.main(words)
    except SystemExit as wrong:
        assert isinstance(wrong.code, int)
        return wrong.code


def run(folder: Path, *options: str, **spec: Any) -> int:
    """Give the exit code of `kubetune run` where it starts nothing."""
    (folder / "exp.yaml").write_text(json.dumps(experiment(["python"], **spec)))
    return code("run", str(folder / "exp.yaml"), "--results", str(folder / "results"), *options)


@pytest.mark.parametrize(("mode", "told"), [("Minimize", 1), ("Maximize", 0)], ids=["less is better", "more is better"])
def test_validate_points_out_a_threshold_that_ends_bad_trials(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: str, told: int
) -> None:
    body = experiment(["python"], objective={"metric": "loss", "mode": mode}, stop={"metrics": {"loss": 0.3}})
    (tmp_path / "exp.yaml").write_text(json.dumps(body))
    assert code("validate", str(tmp_path / "exp.yaml")) == 0
    assert capsys.readouterr().out.count("note: stop.metrics ends a trial whose loss is >= 0.3, as in Ray, though") == told


@pytest.mark.parametrize("verb", ["run", "validate"])
@pytest.mark.parametrize("name", ["nothing-here.yaml", "a-folder", "bytes.yaml", "no/such/folder.yaml"])
def test_a_file_that_cannot_be_read_is_2_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str, name: str
) -> None:
    (tmp_path / "a-folder").mkdir()
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    assert code(verb, str(tmp_path / name)) == 2
    said = capsys.readouterr().err
    assert f"{name}: " in said
    assert "Errno" not in said


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["tune"],
        ["run"],
        ["run", "exp.yaml", "--faster"],
        ["validate"],
        ["validate", "a", "b"],
        ["run", "--resume"],
        ["show", "a", "b"],
        ["show", "a", "--all"],
    ],
    ids=" ".join,
)
def test_wrong_words_are_2(words: list[str]) -> None:
    assert code(*words) == 2


def test_validate_is_0_for_what_is_valid_and_2_for_what_is_not(tmp_path: Path) -> None:
    file = tmp_path / "exp.yaml"
    file.write_text(json.dumps(experiment(["python"])))
    assert code("validate", str(file)) == 0
    file.write_text(json.dumps(experiment(["python"], numSamples=-1)))
    assert code("validate", str(file)) == 2


@pytest.mark.parametrize("options", [[], ["--resume"]], ids=["anew", "resume"])
@pytest.mark.parametrize("spec", [{"numSamples": 0}, {"suspend": True}], ids=lambda spec: str(*spec))
def test_an_experiment_that_is_refused_is_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], spec: dict[str, object]
) -> None:
    assert run(tmp_path, *options, **spec) == 2
    assert f"  spec.{next(iter(spec))}: must be " in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


class TestWhatCannotBeGoneOnWith:
    """It is refused before anything starts: 2, for the experiment has not failed. A changed one is in test_run."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return ExperimentFolder.create(tmp_path / "results", "default", "exp", "01234567-89ab").path

    def test_no_run(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert run(tmp_path, "--resume") == 2
        assert "there is no run of exp" in capsys.readouterr().err

    def test_one_that_goes_on_already(self, tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with (folder / ".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert run(tmp_path, "--resume") == 2
        assert "going on already" in capsys.readouterr().err

    def test_one_whose_journal_is_damaged(self, tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (folder / "journal.1.jsonl").write_bytes(b"garbage\ngarbage\n")
        assert run(tmp_path, "--resume") == 2
        assert "damaged at byte 0" in capsys.readouterr().err
        assert code("show", str(folder)) == 2
        assert "damaged at byte 0" in capsys.readouterr().err


def test_results_that_cannot_be_written_are_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "results").write_text("a file where the folder should be")
    assert run(tmp_path) == 2
    assert os.fspath(tmp_path / "results") in capsys.readouterr().err


def test_show_is_0_whatever_became_of_the_experiment_and_2_without_one(
    kubetune: Kubetune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code("show", str(kubetune("exit(4)", numSamples=2).folder)) == 0
    for folder in (tmp_path, tmp_path / "exp.yaml", tmp_path / "nothing-here"):
        assert code("show", str(folder), "--results", str(tmp_path / "results")) == 2
        assert "there is no journal" in capsys.readouterr().err


def test_a_seed_that_was_drawn_is_not_a_change(kubetune: Kubetune) -> None:
    assert kubetune(REPORTS, search={}).code == 0
    assert kubetune(REPORTS, "--resume", search={}, numSamples=2).code == 0
