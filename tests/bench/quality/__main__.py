"""What each stopping rule finds for the same time, beside other tools' own: `make bench-quality`.

    python -m tests.bench.quality                      everything: an hour or two on two cores
    python -m tests.bench.quality --seeds 5 digits     fewer seeds (the comparison then proves little), tables by name

Everybody tries the same random configurations in the same order, on 1 and on 8 workers, where a training takes 0, 1 or 5 epochs
to start; at 1, 2, 4 and 8 full trainings a worker each tool names its best. That one is scored by what it is worth with the full
budget, which the tool may never have seen: the share of the table's configurations that are better (0 is the best). Differences
are paired by seed. Exits 1 where kubetune's ASHA is worse than Ray's by more than two standard errors on any table.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from tests.bench import peers
from tests.bench.quality import ours, tables
from tests.bench.quality.loop import Found, worlds

ROOT = Path(__file__).parents[3]
OWN = Path(__file__).parent / "tables"
SHARED = ROOT.parent / "shared" / "curves"  # LCBench, where it lies beside the repository
WORKERS, STARTS, BUDGETS = (1, 8), (0.0, 1.0, 5.0), (1, 2, 4, 8)
TOOLS = ("ray", "optuna", "synetune")
REFERENCE = "Ray ASHA"
NOBODY = 1.0  # the score of a tool that names nobody


class Place(NamedTuple):
    """Where a rule was tried."""

    table: str
    workers: int
    start: float


Scores = dict[str, dict[Place, list[list[float]]]]  # by rule, place, seed, budget
Counts = dict[str, dict[Place, list[list[int]]]]


class Row(NamedTuple):
    """How a rule does beside the reference on one table, or on all."""

    rule: str
    score: float
    difference: float
    error: float
    wins: int
    ties: int
    losses: int
    trials: float


def main() -> int:
    """Run all sides, print the comparison, and say by the exit code whether ours holds."""
    options = _options()
    paths = sorted(
        path for path in (*OWN.glob("*.npz"), *SHARED.glob("*.npz")) if not options.tables or path.stem in options.tables
    )
    if not paths:
        print(f"no such table; there are {', '.join(path.stem for path in (*OWN.glob('*.npz'), *SHARED.glob('*.npz')))}")
        return 2
    task = {
        "tables": [str(path) for path in paths],
        "seeds": options.seeds,
        "workers": WORKERS,
        "starts": STARTS,
        "budgets": BUDGETS,
    }
    scores: Scores = defaultdict(dict)
    counts: Counts = defaultdict(dict)
    ranks = {path.stem: tables.read(path).ranks() for path in paths}
    for said in _sides(task, paths):
        place = Place(said["table"], said["workers"], said["start"])
        found = [[Found(*each) for each in seed] for seed in said["found"]]
        rank = ranks[place.table]
        scores[said["rule"]][place] = [[NOBODY if one.best is None else rank[one.best] for one in seed] for seed in found]
        counts[said["rule"]][place] = [[one.trials for one in seed] for seed in found]
    return _report(scores, counts, [path.stem for path in paths])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.quality", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="which tables (default: all)")
    parser.add_argument("--seeds", type=int, default=30, help="how many orders of the configurations (default: 30)")
    return parser.parse_args()


def _sides(task: dict[str, Any], paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    """Run ours and the peers', table by table, as many at once as there are cores; give what each says."""
    pythons = {tool: peers.venv(tool) for tool in TOOLS}  # a peer that cannot be had fails the benchmark
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = []
        for path in paths:
            alone = task | {"tables": [str(path)]}
            jobs += [(f"{path.stem}: {tool}", pool.submit(_peer, tool, python, alone)) for tool, python in pythons.items()]
            jobs.append((f"{path.stem}: kubetune", pool.submit(_ours, path, task)))
        for number, (name, job) in enumerate(jobs, 1):
            said = job.result()
            print(f"{number} of {len(jobs)}: {name}", file=sys.stderr, flush=True)
            yield from said


def _peer(tool: str, python: Path, task: dict[str, Any]) -> list[dict[str, Any]]:
    command = [str(python), "-m", "tests.bench.quality.side", tool, json.dumps(task)]
    quiet = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=os.environ | quiet, capture_output=True, text=True, check=False)
    if done.returncode:
        raise peers.PeerMissing(f"{tool}: exit code {done.returncode}: {done.stderr.strip()[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _ours(path: Path, task: dict[str, Any]) -> list[dict[str, Any]]:
    table = tables.read(path)
    curves = ours.curves_of(table)
    said = []
    for world in worlds(table, task):
        for name, make in ours.RULES.items():
            found = [ours.run(make(table.length), table, curves, seed, world) for seed in range(task["seeds"])]
            if name == ours.NOBODY_STOPPED:
                for seed, one in enumerate(found):
                    ours.check(table, one, seed, world)
            said.append({"rule": name, "table": table.name, "workers": world.workers, "start": world.start, "found": found})
    return said


def _report(scores: Scores, counts: Counts, names: Sequence[str]) -> int:
    print(
        "\nscore: the share of configurations that are better than the one named best (0 is the best), mean of all seeds, workers,"
    )
    print(f"start costs and budgets; difference to {REFERENCE}, paired by seed, ± its standard error; less is better")
    worse = []
    for name in (*names, "all tables"):
        rows = list(_rows(scores, counts, None if name == "all tables" else name))
        print(f"\n{name}\n{'':26}{'score':>8}{'difference':>12}{'± error':>10}{'wins':>7}{'ties':>6}{'losses':>8}{'trials':>8}")
        for row in sorted(rows, key=lambda one: one.score):
            print(
                f"  {row.rule:24}{row.score:8.4f}{row.difference:+12.4f}{row.error:10.4f}"
                f"{row.wins:7}{row.ties:6}{row.losses:8}{row.trials:8.1f}"
            )
        worse += [
            f"{name} ({row.difference:+.4f} ± {row.error:.4f})" for row in rows if row.rule == "kubetune ASHA" and _lost(row)
        ]
    _by_budget(scores)
    ahead = "never worse than Ray ASHA beyond two standard errors" if not worse else f"worse than Ray ASHA on {', '.join(worse)}"
    print(f"\n{'reached' if not worse else 'MISSED '}  kubetune ASHA: {ahead}")
    return 1 if worse else 0


def _lost(row: Row) -> bool:
    return row.difference > 2 * row.error


def _rows(scores: Scores, counts: Counts, table: str | None) -> Iterator[Row]:
    for rule, places in scores.items():
        here = [place for place in places if table in (None, place.table)]
        mine = _by_seed(places, here)
        theirs = _by_seed(scores[REFERENCE], here)
        apart = [one - other for one, other in zip(mine, theirs, strict=True)]
        trials = fmean(count for place in here for seed in counts[rule][place] for count in seed)
        error = stdev(apart) / len(apart) ** 0.5 if len(apart) > 1 else 0.0
        wins, losses = sum(one < 0 for one in apart), sum(one > 0 for one in apart)
        yield Row(rule, fmean(mine), fmean(apart), error, wins, len(apart) - wins - losses, losses, trials)


def _by_seed(places: dict[Place, list[list[float]]], here: Sequence[Place]) -> list[float]:
    """Give one figure a seed and table: a seed's orders of two tables have nothing to do with each other."""
    by_table: dict[str, list[list[list[float]]]] = defaultdict(list)
    for place in here:
        by_table[place.table].append(places[place])
    return [fmean(value for of in all_of for value in of[seed]) for all_of in by_table.values() for seed in range(len(all_of[0]))]


def _by_budget(scores: Scores) -> None:
    """Print the mean score by workers, start cost and budget."""
    print(f"\nmean score of all tables, by workers, epochs to start, and full trainings a worker\n{'':26}", end="")
    columns = [(workers, start, place) for workers in WORKERS for start in STARTS for place in range(len(BUDGETS))]
    print("".join(f"{f'{workers}w{start:.0f}s{BUDGETS[place]}':>8}" for workers, start, place in columns))
    for rule, places in scores.items():
        cells = [
            fmean(seed[place] for at, seeds in places.items() if (at.workers, at.start) == (workers, start) for seed in seeds)
            for workers, start, place in columns
        ]
        print(f"  {rule:24}" + "".join(f"{cell:8.3f}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
