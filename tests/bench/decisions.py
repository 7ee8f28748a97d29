"""What one decision costs among 100 to 100,000 trials, beside a bare bisect and beside other tuners' own: `make bench-decisions`.

A decision is `judge` and `observe` of one report of a trial that is new at the rung (ASHA) or at the step (median stopping).
All sides meet as many trials in the same run; each figure is the median of repeats, each on a state filled anew. Exits 1
when a goal is missed or a side cannot be measured.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from tests.bench import deciders, peers

Sizes = Mapping[int, tuple[int, int]]  # trials -> decisions in one repeat (few, so that it stays about as full), repeats

OURS: Sizes = {100: (20, 200), 1_000: (100, 60), 10_000: (500, 15), 100_000: (1_000, 7)}
ANEW: Sizes = {100: (20, 20), 1_000: (20, 10), 10_000: (5, 7), 100_000: (2, 3)}  # at times that do not repeat: no goal
LIMIT = 300  # seconds for a peer
TIMES_FLOOR = 10  # ours to the floor's, at each size
TIMES_GROWTH = 10  # ours at the largest size to ours at the smallest, of ASHA


class SideFailed(Exception):
    """One side did not do what is measured."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another tuner's scheduler: in whose environment it is, the script that times it, and how often (it may be slow)."""

    title: str
    venv: str
    rule: str
    sizes: Sizes


@dataclass(frozen=True, slots=True)
class Contest:
    """One rule, with all who carry it out."""

    title: str
    where: str
    ours: deciders.Decider
    floor: deciders.Decider
    peers: Sequence[Peer]


@dataclass(frozen=True, slots=True)
class Row:
    """Microseconds for one decision at one size."""

    trials: int
    ours: float
    floor: float
    peers: Sequence[float]


RAY_ASHA = Peer("Ray 2.60", "ray", "asha", {100: (20, 20), 1_000: (20, 20), 10_000: (10, 9), 100_000: (5, 7)})
RAY_MEDIAN = Peer("Ray 2.60", "ray", "median", {100: (20, 10), 1_000: (10, 5), 10_000: (3, 5), 100_000: (1, 3)})
OPTUNA_MEDIAN = Peer("Optuna 5", "optuna", "median", {100: (20, 10), 1_000: (10, 5), 10_000: (5, 5), 100_000: (3, 3)})
ASHA = Contest("ASHA", "at the rung", deciders.asha, deciders.asha_floor, [RAY_ASHA])
MEDIAN = Contest("median stopping", "at the step", deciders.median, deciders.median_floor, [RAY_MEDIAN, OPTUNA_MEDIAN])


def main() -> int:
    """Measure all sides of each rule, print the tables, check the goals."""
    try:
        pythons = {venv: peers.venv(venv) for venv in ("ray", "optuna")}
        asha, stopping = (rows(contest, pythons) for contest in (ASHA, MEDIAN))
    except (SideFailed, peers.PeerMissing) as error:
        print(f"bench-decisions: {error}", file=sys.stderr)
        return 1
    table(ASHA, asha)
    table(MEDIAN, stopping)
    anew = ", ".join(f"{measure(deciders.median_anew, size, *often):.0f} among {size}" for size, often in ANEW.items())
    print(f"at a time that does not repeat, as seconds do not: {anew}\n")
    missed = [*to_floor(ASHA, asha), *growth(ASHA, asha), *to_floor(MEDIAN, stopping)]
    return 1 if missed else 0


def rows(contest: Contest, pythons: Mapping[str, Path]) -> list[Row]:
    """Measure all sides of a rule at each size; ours and the floor take turns, so that a busy machine troubles both."""
    others = [timed(peer, pythons[peer.venv]) for peer in contest.peers]
    found = []
    for trials, (decisions, repeats) in OURS.items():
        turns = [
            [decider(*losses(trials, decisions, seed)) for decider in (contest.ours, contest.floor)] for seed in range(repeats)
        ]
        ours, floor = (median(side) for side in zip(*turns, strict=True))
        found.append(Row(trials, ours, floor, [times[trials] for times in others]))
    return found


def measure(decider: deciders.Decider, trials: int, decisions: int, repeats: int) -> float:
    """Give the median of one side at one size."""
    return median(decider(*losses(trials, decisions, seed)) for seed in range(repeats))


def losses(trials: int, decisions: int, seed: int) -> tuple[list[float], list[float]]:
    """Draw the losses of those who are there, and of those whose decisions are timed."""
    rng = random.Random(seed)
    return [rng.random() for _ in range(trials)], [rng.random() for _ in range(decisions)]


def table(contest: Contest, found: Sequence[Row]) -> None:
    """Print what was measured."""
    print(f"microseconds for one decision of {contest.title}, by the number of trials {contest.where} (medians)")
    titles = "".join(f"{peer.title:>12}{'to ours':>9}" for peer in contest.peers)
    print(f"{'trials':>8}{'kubetune':>12}{'bisect floor':>14}{'to floor':>10}{titles}")
    for row in found:
        others = "".join(f"{peer:12.1f}{peer / row.ours:9.0f}" for peer in row.peers)
        print(f"{row.trials:8}{row.ours:12.2f}{row.floor:14.2f}{row.ours / row.floor:10.1f}{others}")


def to_floor(contest: Contest, found: Sequence[Row]) -> Iterator[str]:
    """Give the sizes at which ours costs too much beside the floor."""
    for row in found:
        words = f"times the floor of {contest.title} with {row.trials} trials {contest.where}"
        yield from goal(row.ours / row.floor, TIMES_FLOOR, words)


def growth(contest: Contest, found: Sequence[Row]) -> Iterator[str]:
    """Give the largest size, if ours costs too much there beside our own at the smallest."""
    first, last = found[0], found[-1]
    words = f"times our own cost of {contest.title} with {first.trials} trials, with {last.trials}"
    yield from goal(last.ours / first.ours, TIMES_GROWTH, words)


def goal(ratio: float, wanted: float, words: str) -> Iterator[str]:
    """Print a goal with what was reached; give it if it was missed."""
    print(f"{'reached' if ratio <= wanted else 'MISSED '}  {ratio:.1f} {words} (goal: at most {wanted})")
    if ratio > wanted:
        yield words


def timed(peer: Peer, python: Path) -> dict[int, float]:
    """Have another tuner's own scheduler timed by its own python; give the medians by size."""
    command = [str(python), str(Path(__file__).with_name(f"{peer.venv}_decisions.py")), peer.rule, json.dumps(peer.sizes)]
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
