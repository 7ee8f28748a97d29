"""What each stopping rule finds for the same time, beside other tools' own: `make bench-quality`.

    python -m tests.bench.quality                      everything: some three hours on two cores; again: less than one
    python -m tests.bench.quality --seeds 5 digits     fewer seeds (the comparison then proves little), tables by name

Everybody tries the same random configurations in the same order, on 1 and on 8 workers, where a training takes 0, 1 or 5 epochs
to start; at 1, 2, 4 and 8 full trainings a worker each tool names its best. That one is scored by what it is worth with the full
budget, which the tool may never have seen: the share of the table's configurations that are better (0 is the best). Differences
are paired by seed. Exits 1 where kubetune's ASHA is worse than Ray's by more than two standard errors on any table, or where it
is not better by as much on those tables together whose runs diverge.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from tests.bench.quality import sides, tables
from tests.bench.quality.loop import Found

OWN = Path(__file__).parent / "tables"
SHARED = sides.ROOT.parent / "shared" / "curves"  # LCBench, where it lies beside the repository
WORKERS, STARTS, BUDGETS = (1, 8), (0.0, 1.0, 5.0), (1, 2, 4, 8)
REFERENCE = "Ray ASHA"
WHERE_RUNS_DIVERGE = "the tables where runs diverge"
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
    task = {"seeds": options.seeds, "workers": WORKERS, "starts": STARTS, "budgets": BUDGETS}
    scores: Scores = defaultdict(dict)
    counts: Counts = defaultdict(dict)
    read = {path.stem: tables.read(path) for path in paths}
    ranks = {name: table.ranks() for name, table in read.items()}
    for said in chain.from_iterable(sides.run(task, paths, anew=options.anew)):
        place = Place(said["table"], said["workers"], said["start"])
        found = [[Found(*each) for each in seed] for seed in said["found"]]
        rank = ranks[place.table]
        scores[said["rule"]][place] = [[NOBODY if one.best is None else rank[one.best] for one in seed] for seed in found]
        counts[said["rule"]][place] = [[one.trials for one in seed] for seed in found]
    return _report(scores, counts, list(read), [name for name, table in read.items() if _diverges(table)])


def _diverges(table: tables.Table) -> bool:
    return not all(math.isfinite(loss) for curve in table.losses for loss in curve)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.quality", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tables", nargs="*", metavar="TABLE", help="which tables (default: all)")
    parser.add_argument("--seeds", type=int, default=30, help="how many orders of the configurations (default: 30)")
    parser.add_argument("--anew", action="store_true", help="run the other tools again, though their answers are kept")
    return parser.parse_args()


def _report(scores: Scores, counts: Counts, names: Sequence[str], diverging: Sequence[str]) -> int:
    print(
        "\nscore: the share of configurations that are better than the one named best (0 is the best), mean of all seeds, workers,"
    )
    print(f"start costs and budgets; difference to {REFERENCE}, paired by seed, ± its standard error; less is better")
    groups = {name: [name] for name in names} | {WHERE_RUNS_DIVERGE: diverging, "all tables": names}
    held = {}  # by group, how ours does
    for title, members in groups.items():
        if not members:
            continue
        rows = list(_rows(scores, counts, members))
        print(f"\n{title}\n{'':26}{'score':>8}{'difference':>12}{'± error':>10}{'wins':>7}{'ties':>6}{'losses':>8}{'trials':>8}")
        for row in sorted(rows, key=lambda one: one.score):
            print(
                f"  {row.rule:24}{row.score:8.4f}{row.difference:+12.4f}{row.error:10.4f}"
                f"{row.wins:7}{row.ties:6}{row.losses:8}{row.trials:8.1f}"
            )
        held[title] = next(row for row in rows if row.rule == "kubetune ASHA")
    _by_budget(scores)
    worse = [f"{title} ({_apart(row)})" for title, row in held.items() if row.difference > 2 * row.error]
    print(
        f"\n{_goal(reached=not worse)}  on no table worse than Ray's ASHA beyond two standard errors{': ' * bool(worse)}{', '.join(worse)}"
    )
    reached = not worse
    if WHERE_RUNS_DIVERGE in held:
        row = held[WHERE_RUNS_DIVERGE]
        better = row.difference < -2 * row.error
        print(f"{_goal(reached=better)}  better than it where runs diverge, beyond two standard errors: {_apart(row)}")
        reached = reached and better
    return 0 if reached else 1


def _apart(row: Row) -> str:
    return f"{row.difference:+.4f} ± {row.error:.4f}"


def _goal(*, reached: bool) -> str:
    return "reached" if reached else "MISSED "


def _rows(scores: Scores, counts: Counts, names: Sequence[str]) -> Iterator[Row]:
    for rule, places in scores.items():
        here = [place for place in places if place.table in names]
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
