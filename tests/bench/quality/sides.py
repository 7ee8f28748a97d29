"""All sides of the comparison, run side by side: ours in this process's own pool, each peer in its own environment.

What a peer's rule answers hangs on nothing of ours, and takes an hour and more: it is kept in the user's cache folder, under a
digest of everything that it does hang on. Ours is always run.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from tests.bench import peers
from tests.bench.quality import ours, tables
from tests.bench.quality.loop import worlds

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
RULES = {  # by the environment that they run in; the slowest first, so that none runs on alone at the end
    "ray": ("Ray median", "Ray ASHA"),
    "optuna": ("Optuna Wilcoxon", "Optuna median", "Optuna Hyperband", "Optuna SHA"),
    "synetune": ("Syne Tune ASHA",),
}
Task = Mapping[str, Any]  # seeds, workers, starts, budgets
Said = list[dict[str, Any]]  # rule, table, workers, start, and for each seed what it had found at each budget


def run(task: Task, paths: Sequence[Path], *, anew: bool) -> Iterator[Said]:
    """Run every rule on every table, as many at once as there are cores; give what each says. Raises PeerMissing."""
    pythons = {tool: peers.venv(tool) for tool in RULES}  # a peer that cannot be had fails the benchmark
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            (f"{path.stem}: {rule}", pool.submit(_peer, tool, rule, pythons[tool], path, task, anew=anew))
            for tool, rules in RULES.items()
            for rule in rules
            for path in paths
        ]
        jobs += [(f"{path.stem}: {rule}", pool.submit(_ours, rule, path, task)) for rule in ours.RULES for path in paths]
        try:
            for number, (name, job) in enumerate(jobs, 1):
                said, kept = job.result()
                print(
                    f"{number} of {len(jobs)}: {name}{' (kept from an earlier run)' if kept else ''}", file=sys.stderr, flush=True
                )
                yield said
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _peer(tool: str, rule: str, python: Path, path: Path, task: Task, *, anew: bool) -> tuple[Said, bool]:
    kept = peers.cache() / "bench-quality" / f"{path.stem}-{_digest(tool, rule, path, task)}.json"
    if kept.is_file() and not anew:
        return json.loads(kept.read_text()), True
    command = [str(python), "-m", "tests.bench.quality.side", tool, rule, str(path), json.dumps(dict(task))]
    quiet = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=os.environ | quiet, capture_output=True, text=True, check=False)
    if done.returncode:
        raise peers.PeerMissing(f"{rule}: exit code {done.returncode}: {done.stderr.strip()[-2000:]}")
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    kept.parent.mkdir(parents=True, exist_ok=True)
    half = kept.with_suffix(f".{os.getpid()}")
    half.write_text(json.dumps(said))
    half.replace(kept)
    return said, False


def _digest(tool: str, rule: str, path: Path, task: Task) -> str:
    """Name everything that a peer's answer hangs on: its versions, the code that asks it, the table and the task."""
    read = (peers.LOCKS / f"{tool}.txt", *(HERE / f"{name}.py" for name in ("side", "loop", "tables", f"{tool}_rules")), path)
    parts = [rule, json.dumps(dict(task), sort_keys=True), *(hashlib.sha256(each.read_bytes()).hexdigest() for each in read)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _ours(rule: str, path: Path, task: Task) -> tuple[Said, bool]:
    table = tables.read(path)
    curves = ours.curves_of(table)
    said = []
    for world in worlds(table, task):
        found = [ours.run(ours.RULES[rule](table.length), table, curves, seed, world) for seed in range(task["seeds"])]
        if rule == ours.NOBODY_STOPPED:
            for seed, one in enumerate(found):
                ours.check(table, one, seed, world)
        said.append({"rule": rule, "table": table.name, "workers": world.workers, "start": world.start, "found": found})
    return said, False
