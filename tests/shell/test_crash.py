"""`kubetune run` is killed with SIGKILL wherever it leaves a trace, one run each, and resumed: nothing is lost, doubled or left.

Where: `crashing` names the points. After each single write of the journal and each start or end of an agent it is killed once;
of every other kind of point the first, the last and one in between are taken (what the journal gets is named by the kinds of
its records, so that each of them is met before and half way, too). Every TWICE-th run is killed once more while it resumes.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.shell.conftest import experiment

# One trial at a time, and each report waits for its decision: so that what an undisturbed run does is one thing only.
PROGRAM = """
import sys, kubetune
trial = kubetune.trial()
print("attempt", trial.attempt, "of", trial.name, flush=True)
for i in range(4):
    if trial.number == 2 and trial.attempt == 0 and i == 1:
        sys.exit(3)
    kubetune.report(accuracy=kubetune.params()["x"] * (1 - 0.5 ** (i + 1)), wait=True)
"""
SHARES = 8  # of the points, so that the tests can run side by side
TWICE = 4
SECOND = 60  # a run that resumes has about as many points


def crashing(folder: Path, *points: str) -> list[dict[str, Any]]:
    """Run the experiment, killed at each of these points; without any, undisturbed."""
    (folder / "crash.py").write_text(PROGRAM)
    body = experiment(
        ["python", "crash.py"],
        numSamples=4,
        maxConcurrentTrials=1,
        failure={"maxFailures": 1},
        scheduler={"asha": {"maxT": 4, "reductionFactor": 2}},
    )
    (folder / "crash.yaml").write_text(json.dumps(body))
    words = [sys.executable, "-m", "tests.shell.crashing", str(folder / "crash.yaml"), str(folder / "results"), *points]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=280)
    return [json.loads(line) for line in done.stdout.splitlines()]


def chosen(points: dict[str, int]) -> list[str]:
    """Choose where to kill: the same each time, for the same counts."""
    once = [f"{what}#{at}" for what, count in sorted(points.items()) for at in _taken(what, count)]
    return [f"{one},any#{1 + 7 * at % SECOND}" if at % TWICE == 0 else one for at, one in enumerate(once)]


def _taken(what: str, count: int) -> list[int]:
    whole = what.endswith(" after") or what in {"start", "ended"}
    return list(range(1, count + 1)) if whole else sorted({1, (count + 1) // 2, count})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return crashing(tmp_path_factory.mktemp("undisturbed"))[0]


def test_the_undisturbed_run_has_early_stops_a_retry_and_whole_runs(undisturbed: dict[str, Any]) -> None:
    assert undisturbed["codes"] == [0]
    assert [(trial[2], trial[3]) for trial in undisturbed["trials"]] == [
        ("Succeeded", "MaxT"),
        ("Stopped", "Asha"),
        ("Succeeded", "MaxT"),
        ("Stopped", "Asha"),
    ]
    assert undisturbed["trials"][2][7:9] == [2, 1], "two attempts, one failure"
    for what in ("journal closed after", "journal reported half", "remove claim", "remove folder", "append result.json half"):
        assert undisturbed["points"].get(what), f"{what} is a point"
    assert "Failure # 1" in undisturbed["files"]["exp-00002/error.txt"]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("share", range(SHARES))
def test_killed_at_any_point_and_resumed_it_ends_as_if_undisturbed(
    undisturbed: dict[str, Any], share: int, tmp_path: Path
) -> None:
    points = chosen(undisturbed["points"])[share::SHARES]
    killed = 0
    for run in crashing(tmp_path, *points):
        killed += run["codes"][0] == -signal.SIGKILL
        assert run["codes"][-1] == 0, run
        assert 2 not in run["codes"] or run["fatal"].startswith("journal opened"), (
            "only before its first record is it started anew"
        )
        for what in ("finished", "trials", "files", "left"):
            assert run[what] == undisturbed[what], f"{what} after a SIGKILL at {run['fatal']}"
    assert killed >= 0.9 * len(points), "a point may be missed where turns came together in another way"
