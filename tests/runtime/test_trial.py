"""params(), seed() and trial(): inside a trial what the environment says, outside it a default or a plain error."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kubetune
from kubetune import wire
from tests.runtime.conftest import PACKAGE


def test_parameters_come_nested_and_with_their_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {"lr": 1e-4, "model": {"units": 64, "name": "é"}, "on": True, "none": None}
    (tmp_path / "params.json").write_text(json.dumps(expected))
    monkeypatch.setenv(wire.ENV_PARAMS_FILE, str(tmp_path / "params.json"))
    assert kubetune.params() == expected
    assert kubetune.params(default={"lr": 1}) == expected, "a default is for outside"
    kubetune.params()["lr"] = 0
    assert kubetune.params() == expected, "each call gives a dict of its own"


def test_outside_a_trial_there_is_the_default_or_an_error_that_says_what_to_do() -> None:
    assert kubetune.params(default={"lr": 0.1}) == {"lr": 0.1}
    assert kubetune.params(default={}) == {}
    assert kubetune.seed(default=0) == 0
    assert kubetune.trial() is None
    with pytest.raises(RuntimeError, match=r"^KUBETUNE_PARAMS_FILE is not set.*kubetune run FILE.*kubetune\.params\(default="):
        kubetune.params()
    with pytest.raises(RuntimeError, match=r"^KUBETUNE_SEED is not set.*kubetune\.seed\(default=0\)$"):
        kubetune.seed()


def test_a_parameter_file_that_holds_something_else_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params.json").write_text("[1]")
    monkeypatch.setenv(wire.ENV_PARAMS_FILE, str(tmp_path / "params.json"))
    with pytest.raises(ValueError, match=r"params\.json: must hold a JSON object of parameters, got list"):
        kubetune.params()


def test_the_trial_knows_its_names_and_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(wire.ENV_TRIAL, "digits-00012")
    monkeypatch.setenv(wire.ENV_TRIAL_NUMBER, "12")
    monkeypatch.setenv(wire.ENV_ATTEMPT, "1")
    monkeypatch.setenv(wire.ENV_EXPERIMENT, "digits")
    monkeypatch.setenv(wire.ENV_SEED, "4294967295")
    trial = kubetune.trial()
    assert trial is not None
    assert (trial.name, trial.number, trial.attempt, trial.experiment) == ("digits-00012", 12, 1, "digits")
    assert repr(trial) == "Trial(name='digits-00012', number=12, attempt=1, experiment='digits')"
    assert kubetune.seed() == 4294967295


def interpreters() -> dict[str, str]:
    """Find every python from 3.8 on, by version: on PATH, among pyenv's, and the one that runs this."""
    candidates = [shutil.which(f"python3.{minor}") for minor in range(8, 16)]
    candidates += [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3"))]
    found = {}
    for python in [*filter(None, candidates), sys.executable]:
        asked = subprocess.run(
            [python, "-c", "import sys; print(*sys.version_info[:3])"], capture_output=True, text=True, check=False
        )
        version = tuple(int(part) for part in asked.stdout.split())  # empty: a name that stands for nothing
        if version >= (3, 8):
            found[version] = python
    return {".".join(map(str, version)): found[version] for version in sorted(found)}


PYTHONS = interpreters()


@pytest.mark.parametrize("python", PYTHONS.values(), ids=PYTHONS)
def test_the_sdk_runs_on_every_python_from_3_8_on(python: str, tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text('{"lr": 0.5, "model": {"units": 8}}')
    program = """
import kubetune
params = kubetune.params()
for epoch in range(3):
    kubetune.report({"loss": params["lr"] / (epoch + 1)}, epoch=epoch, nested={"units": params["model"]["units"]}, nan=float("nan"))
with open("stop", "w") as stop:
    stop.write("enough")
try:
    kubetune.report(loss=0)
except kubetune.TrialStopped as stopped:
    print(stopped, stopped.code, kubetune.seed(), kubetune.trial().number)
    raise
"""
    env = {
        "PYTHONPATH": str(PACKAGE),
        "PYTHONDONTWRITEBYTECODE": "1",
        wire.ENV_PARAMS_FILE: str(tmp_path / "params.json"),
        wire.ENV_REPORTS: str(tmp_path / "reports.jsonl"),
        wire.ENV_SEED: "7",
        wire.ENV_TRIAL: "digits-00012",
        wire.ENV_TRIAL_NUMBER: "12",
    }
    done = subprocess.run(
        [python, "-W", "error", "-c", program], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "enough 0 7 12\n", "")
    lines = [json.loads(line) for line in (tmp_path / "reports.jsonl").read_text().splitlines()]
    assert lines == [{"loss": 0.5 / (epoch + 1), "epoch": epoch, "nested": {"units": 8}, "nan": "NaN"} for epoch in range(3)]


HEAVY = {
    "typing",
    "dataclasses",
    "logging",
    "subprocess",
    "http",
    "http.client",
    "urllib",
    "pathlib",
    "threading",
    "asyncio",
    "inspect",
    "ssl",
    "hashlib",
}


@pytest.mark.parametrize("module", ["kubetune", "kubetune.sidecar.supervisor"])
def test_importing_is_light(module: str) -> None:
    """Every trial pays for the SDK's imports, and every agent for its own in memory."""
    code = f"import sys; sys.path.append({str(PACKAGE)!r}); import {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(loaded) & HEAVY == set()
