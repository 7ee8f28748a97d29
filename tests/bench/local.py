"""Trials per second of `kubetune run`, beside Ray Tune's, on this machine in one run: `make bench-local`.

Both tune the same trivial program of ten reports by ASHA, as many at once as there are cores, and write their files. Ours is
timed from the start of the command to its end; Ray only from `fit` on, its cluster being up, which favours Ray. The two quick
sides take turns, three times, and the median counts.
Exits 1 when a goal is missed or a side cannot be had.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench import peers

TRIALS = 100
RAY_TRIALS = 20  # with a process per trial Ray needs seconds for each; its rate does not depend on how many there are
REPORTS = 10
TURNS = 3  # of the two quick sides, one after the other; the median counts
CORES = os.cpu_count() or 1
LIMIT = 600  # seconds for one side
TIMES_PROCESS = 10  # our rate to Ray's, both with a process per trial
TIMES_REUSE = 1  # our rate to that of Ray's processes that are used again

PROGRAM = f"""
import kubetune

x = kubetune.params()["x"]
for step in range(1, {REPORTS} + 1):
    kubetune.report(score=x * step / (step + 1))
"""

EXPERIMENT = f"""
apiVersion: kubetune.dev/v1alpha1
kind: TuneExperiment
metadata: {{name: bench}}
spec:
  objective: {{metric: score, mode: Maximize}}
  parameters:
    - {{name: x, uniform: {{low: 0.0, high: 1.0}}}}
  search: {{seed: 1}}
  numSamples: {TRIALS}
  maxConcurrentTrials: {CORES}
  scheduler: {{asha: {{maxT: {REPORTS}, gracePeriod: 1, reductionFactor: 4}}}}
  trial:
    template: {{spec: {{containers: [{{name: trial, image: unused, command: [python, trial.py]}}]}}}}
"""


class SideFailed(Exception):
    """One side did not do what is measured."""


@dataclass(frozen=True, slots=True)
class Side:
    """What one side did, and in which time."""

    name: str
    trials: int
    stopped: int
    seconds: float

    @property
    def rate(self) -> float:
        """Give its trials per second."""
        return self.trials / self.seconds


def main() -> int:
    """Measure all sides, print the table, check the goals."""
    try:
        ours, process, reuse = measure()
    except (SideFailed, peers.PeerMissing) as error:
        print(f"bench-local: {error}", file=sys.stderr)
        return 1
    print(
        f"trivial ASHA trials of {REPORTS} reports, {CORES} at once on {CORES} cores; Ray's processes: {RAY_TRIALS} trials only"
    )
    print(f"{'':32}{'trials':>8}{'stopped':>9}{'seconds':>9}{'trials/s':>10}")
    for side in (ours, process, reuse):
        print(f"{side.name:32}{side.trials:8}{side.stopped:9}{side.seconds:9.1f}{side.rate:10.2f}")
    return 1 if list(goals(ours, process, reuse)) else 0


def measure() -> tuple[Side, Side, Side]:
    """Measure ours, Ray with a process per trial, and Ray with processes that are used again."""
    python = peers.venv("ray")
    turns = [(kubetune(), ray(python, "Ray Tune, reuse_actors=True", TRIALS, "reuse")) for _ in range(TURNS)]
    ours, reuse = (sorted(sides, key=lambda side: side.seconds)[TURNS // 2] for sides in zip(*turns, strict=True))
    return ours, ray(python, "Ray Tune, a process per trial", RAY_TRIALS), reuse


def goals(ours: Side, process: Side, reuse: Side) -> Iterator[str]:
    """Print both goals with what was reached; give those that were missed."""
    for other, wanted in ((process, TIMES_PROCESS), (reuse, TIMES_REUSE)):
        ratio = ours.rate / other.rate
        words = f"{ratio:.1f} times the rate of {other.name} (goal: at least {wanted})"
        print(f"{'reached' if ratio >= wanted else 'MISSED '}  {words}")
        if ratio < wanted:
            yield words


def kubetune() -> Side:
    """Run the experiment with the command beside this python, and see from its files that it was all there."""
    with tempfile.TemporaryDirectory(prefix="bench-local-") as folder:
        Path(folder, "trial.py").write_text(PROGRAM)
        Path(folder, "bench.yaml").write_text(EXPERIMENT)
        command = [str(Path(sys.executable).with_name("kubetune")), "run", "bench.yaml", "--quiet", "--results", "results"]
        started = time.monotonic()
        _run(command, folder)
        seconds = time.monotonic() - started
        table = next(Path(folder, "results").rglob("trials.csv"), None)
        rows = list(csv.DictReader(table.read_text().splitlines())) if table else []
    if len(rows) != TRIALS:
        raise SideFailed(f"kubetune run left {len(rows)} trials in trials.csv, to be {TRIALS}")
    return Side("kubetune run", len(rows), sum(row["state"] == "Stopped" for row in rows), seconds)


def ray(python: Path, name: str, trials: int, *options: str) -> Side:
    """Run as many trials with Ray."""
    script = str(Path(__file__).with_name("ray_local.py"))
    last = _run([str(python), script, str(trials), str(CORES), *options], None).splitlines()[-1]
    return Side(name, **json.loads(last))


def _run(command: list[str], folder: str | None) -> str:
    print(f"running {' '.join(Path(word).name for word in command)} ...", file=sys.stderr, flush=True)
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # or our modules, used where they lie, are compiled anew for each trial
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired:
        raise SideFailed(f"{' '.join(command)}: not done after {LIMIT} s") from None
    if done.returncode:
        raise SideFailed(f"{' '.join(command)}: exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
