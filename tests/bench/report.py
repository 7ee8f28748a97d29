"""What report() costs a trial, beside the cheapest way there is: python -m tests.bench.report.

The floor is one `os.write` of `json.dumps(d)` and a newline on an open descriptor, in the same process, on the same file system.
Exit code 1 when report() takes more than GOAL times as long.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import kubetune
from kubetune import wire

GOAL = 3.0
ROUNDS, CALLS = 300, 50  # the median of so many rounds of so many calls, floor and report() in turn

FLAT = {"loss": 0.34567891, "accuracy": 0.9123456, "lr": 3.3e-4, "grad_norm": 1.2345678, "epoch": 12}
NESTED = {"train": {"loss": 0.34567891, "accuracy": 0.9123456}, "val": {"loss": 0.4123, "accuracy": 0.87654}, "epoch": 12}


def main() -> int:
    """Measure, print, and say by the exit code whether the goal is met."""
    met = True
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder:  # not /tmp, which may be memory
        os.environ[wire.ENV_REPORTS] = str(Path(folder) / "reports.jsonl")
        os.environ.pop("RANK", None)
        for name, metrics in (("4 floats and an int", FLAT), ("the same, nested", NESTED)):
            floor, cost = measure(metrics, Path(folder) / "floor.jsonl")
            ratio = cost / floor
            met = met and ratio <= GOAL
            print(
                f"{name:20}  os.write {floor * 1e6:5.1f} µs  report() {cost * 1e6:5.1f} µs  "
                f"ratio {ratio:.2f} (goal: at most {GOAL:.0f}) {'met' if ratio <= GOAL else 'MISSED'}"
            )
    return 0 if met else 1


def measure(metrics: Mapping[str, object], path: Path) -> tuple[float, float]:
    """Give the median seconds of one bare write and of one report()."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write() -> None:
        os.write(descriptor, (json.dumps(metrics) + "\n").encode())

    def report() -> None:
        kubetune.report(metrics)

    floors, costs = [], []
    for _ in range(ROUNDS):
        floors.append(seconds(write))
        costs.append(seconds(report))
    os.close(descriptor)
    return statistics.median(floors), statistics.median(costs)


def seconds(call: Callable[[], None]) -> float:
    """Time a round of calls; give the time of one."""
    began = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - began) / CALLS


if __name__ == "__main__":
    sys.exit(main())
