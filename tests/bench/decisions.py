"""What one ASHA decision costs with 100 to 100,000 trials at the rung, beside a bare bisect and beside Ray's: `make bench-decisions`.

A decision is `judge` and `observe` of one report of a trial that is new at the rung. All three meet the same losses in
the same run; each figure is the median of repeats, each on a rung filled anew. Exits 1 when a goal is missed or a
side cannot be measured.
"""

from __future__ import annotations

import gc
import json
import random
import subprocess
import sys
import time
from bisect import insort
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from kubetune_operator.core.schedulers.asha import Asha
from tests.bench import peers

# Trials at the rung -> decisions in one repeat (few, so that the rung stays about as full), repeats.
OURS = {100: (20, 200), 1_000: (100, 60), 10_000: (500, 15), 100_000: (1_000, 7)}
RAYS = {100: (20, 20), 1_000: (20, 20), 10_000: (10, 9), 100_000: (5, 7)}  # it works its cutoff out anew each time
LIMIT = 300  # seconds for Ray
TIMES_FLOOR = 10  # ours to the floor's, at each size
TIMES_GROWTH = 10  # ours at the largest size to ours at the smallest


class SideFailed(Exception):
    """One side did not do what is measured."""


class Floor:
    """The least that finds a cutoff and keeps a loss: a sorted list for each rung, doubles, no brackets, no words."""

    def __init__(self, losses: Sequence[float]) -> None:
        self.rungs: list[tuple[int, list[float]]] = [(64, []), (16, []), (4, []), (1, sorted(losses))]

    def stops(self, time: int, loss: float) -> bool:
        """Compare a loss with the cutoff and keep it."""
        for milestone, losses in self.rungs:
            if time >= milestone:
                place = (len(losses) - 1) / 4
                low = int(place)
                cutoff = losses[low] + (losses[low + 1] - losses[low]) * (place - low)
                insort(losses, loss)
                return loss > cutoff
        return False


@dataclass(frozen=True, slots=True)
class Row:
    """Microseconds for one decision at one size."""

    trials: int
    ours: float
    floor: float
    ray: float


def main() -> int:
    """Measure all sides, print the table, check the goals."""
    try:
        rays = ray(peers.venv("ray"))
    except (SideFailed, peers.PeerMissing) as error:
        print(f"bench-decisions: {error}", file=sys.stderr)
        return 1
    rows = [Row(trials, *measure(trials, *sizes), rays[trials]) for trials, sizes in OURS.items()]
    print("microseconds for one ASHA decision, by the number of trials at the rung (medians)")
    print(f"{'trials':>8}{'kubetune':>12}{'bisect floor':>14}{'Ray 2.60':>12}{'to floor':>10}{'Ray to ours':>13}")
    for row in rows:
        print(
            f"{row.trials:8}{row.ours:12.2f}{row.floor:14.2f}{row.ray:12.1f}{row.ours / row.floor:10.1f}{row.ray / row.ours:13.0f}"
        )
    missed = list(goals(rows))
    return 1 if missed else 0


def goals(rows: Sequence[Row]) -> Iterator[str]:
    """Print each goal with what was reached; give those that were missed."""
    ratios = [(row.ours / row.floor, TIMES_FLOOR, f"times the floor with {row.trials} trials at the rung") for row in rows]
    first, last = rows[0], rows[-1]
    growth = f"times our own cost with {first.trials} trials, with {last.trials}"
    for ratio, wanted, words in [*ratios, (last.ours / first.ours, TIMES_GROWTH, growth)]:
        print(f"{'reached' if ratio <= wanted else 'MISSED '}  {ratio:.1f} {words} (goal: at most {wanted})")
        if ratio > wanted:
            yield words


def measure(trials: int, decisions: int, repeats: int) -> tuple[float, float]:
    """Give the medians of ours and of the floor; they take turns, so that a busy machine troubles both."""
    ours, floors = [], []
    for repeat in range(repeats):
        rng = random.Random(repeat)
        filled = [rng.random() for _ in range(trials)]
        fresh = [rng.random() for _ in range(decisions)]
        ours.append(kubetune(filled, fresh))
        floors.append(floor(filled, fresh))
    return median(ours), median(floors)


def kubetune(filled: Sequence[float], fresh: Sequence[float]) -> float:
    """Time our scheduler by its protocol, with the settings that Ray and we have by default."""
    state = Asha().begin(7)
    for trial, loss in enumerate(filled):
        state.observe(trial, {"training_iteration": 1, "loss": loss}, loss)
    reports = [(trial, {"training_iteration": 1, "loss": loss}, loss) for trial, loss in enumerate(fresh, len(filled))]

    def decide() -> None:
        for trial, flat, loss in reports:
            state.judge(trial, flat, loss)
            state.observe(trial, flat, loss)

    return clock(decide) / len(fresh)


def floor(filled: Sequence[float], fresh: Sequence[float]) -> float:
    """Time the floor."""
    bare = Floor(filled)

    def decide() -> None:
        for loss in fresh:
            bare.stops(1, loss)

    return clock(decide) / len(fresh)


def clock(work: Callable[[], None]) -> float:
    """Time one call, in microseconds, without the garbage collector (as timeit does)."""
    gc.collect()
    gc.disable()
    try:
        started = time.perf_counter_ns()
        work()
        return (time.perf_counter_ns() - started) / 1000
    finally:
        gc.enable()


def ray(python: Path) -> dict[int, float]:
    """Have Ray's own scheduler timed by its own python; give the medians by size."""
    command = [str(python), str(Path(__file__).with_name("ray_decisions.py")), json.dumps(RAYS)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise SideFailed(f"{' '.join(command)}: not done after {LIMIT} s") from None
    if done.returncode:
        raise SideFailed(f"{' '.join(command)}: exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
    times: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {int(size): microseconds for size, microseconds in times.items()}


if __name__ == "__main__":
    sys.exit(main())
