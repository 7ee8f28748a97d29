"""A search space with everything in it, every way to stop a trial, and median stopping: in the cluster as on this machine."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.e2e.experiments import body, finished
from tests.e2e.kubectl import Kubectl
from tests.e2e.product import Operator
from tests.shell.test_sample import EVERY_KIND

EPOCHS = 8
# Four sorts of trials, by what the space has given them: one that levels off, one that blows up, and others good or bad.
PROGRAM = f"""
import json, time, kubetune
params = kubetune.params()
print(json.dumps(params), flush=True)
for epoch in range(1, {EPOCHS} + 1):
    loss = 1.0 / epoch + params["a"]
    if params["model"]["k"] == 1 and params["kind"] == "adam":
        loss = 0.05
    if params["width"] >= 32:
        loss = 100.0 * epoch
    kubetune.report(loss=loss, epoch=epoch, wait=True)
    time.sleep(0.1)
"""
SPEC: dict[str, Any] = {
    "objective": {"metric": "loss", "mode": "Minimize"},
    "parameters": EVERY_KIND,
    "constraints": ["params.g + params.h <= 12"],
    "search": {"seed": 11, "pointsToEvaluate": [{"kind": "sgd", "a": 0.01, "width": 2}]},
    "numSamples": 5,
    "maxConcurrentTrials": 3,
    "scheduler": {"medianStopping": {"timeAttr": "training_iteration", "gracePeriod": 2, "minSamplesRequired": 3}},
    "stop": {
        "expression": "result.loss > 50.0 && trial_id != ''",
        "plateau": {"metric": "loss", "std": 0.001, "numResults": 4, "gracePeriod": 4},
        "metrics": {"epoch": EPOCHS},
    },
}


def test_a_space_with_everything_in_it(operator: Operator, kubectl: Kubectl, tmp_path: Path) -> None:
    """The trials are those that `kubetune sample` prints, and a run on this machine has the same."""
    resource = body("everything", PROGRAM, **SPEC)
    file = tmp_path / "everything.yaml"
    file.write_text(json.dumps(resource))
    kubectl("apply", "-f", str(file))
    expected = [json.loads(line)["params"] for line in _kubetune("sample", str(file), "-n", "99", "--json").splitlines()]
    assert len(expected) == 15, "5 samples of a grid of 3: the point fixes none of it"
    found = finished(kubectl, "everything", seconds=300)
    assert found["status"]["state"] == "Completed", found["status"]
    folder = f"{kubectl.namespace}/everything"
    ended = operator.table(folder)
    for number, params in enumerate(expected):
        name = f"everything-{number:05d}"
        assert json.loads(operator.read(f"{folder}/{name}/params.json")) == params
        assert json.loads(operator.read(f"{folder}/{name}/stdout").splitlines()[0]) == params
        assert ended[name]["reason"] in {"StopExpression", "Plateau", "StopMetrics", "MedianStopping"}
    reasons = {row["reason"] for row in ended.values()}
    assert {"StopExpression", "Plateau", "StopMetrics"} <= reasons, reasons
    for number, params in enumerate(expected):
        if params["width"] >= 32:
            assert ended[f"everything-{number:05d}"]["reason"] == "StopExpression"
    described = kubectl("describe", "tune", "everything")
    assert len(found["status"]["lastTrials"]) == 10
    for trial in found["status"]["lastTrials"]:
        assert (trial["state"], trial["reason"]) == (ended[trial["name"]]["state"], ended[trial["name"]]["reason"])
        assert re.search(rf"Name:\s+{trial['name']}\s+Reason:\s+{trial['reason']}\s", described), described
    here = tmp_path / "results"
    _kubetune("run", str(file), "--quiet", "--results", str(here))
    for number, params in enumerate(expected):
        assert json.loads((here / "default/everything" / f"everything-{number:05d}/params.json").read_text()) == params


def _kubetune(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "kubetune.cli", *words], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
