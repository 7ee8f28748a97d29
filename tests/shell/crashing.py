"""Runs one experiment again and again, killing `kubetune run` with SIGKILL after each durable step, and resuming it.

    python -m tests.shell.crashing FILE RESULTS            count the points at which it can be killed
    python -m tests.shell.crashing FILE RESULTS 3 17 …     kill at these points, one run each, and resume

Prints a JSON object a run: what the folder holds in the end. One process imports everything and forks for each run, so that
a run costs only itself. The points: after each write of the journal, after each start of an agent, after each end of one
was heard of.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kubetune_operator.cluster.agents import Agent, Agents
from kubetune_operator.commands import checked, run
from kubetune_operator.experiment import load
from kubetune_operator.journal import Journal

TIMED = ("timestamp", "date", "time_this_iter_s", "time_total_s")


class Points:
    """Counts the points and dies at one of them."""

    def __init__(self, fatal: int | None) -> None:
        self.count = 0
        self._fatal = fatal

    def __call__(self) -> None:
        self.count += 1
        if self.count == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)


def watch(point: Callable[[], None]) -> None:
    """Call `point` after each step that leaves a trace outside this process."""
    append, start, take = Journal.append, Agents.start, Agents.take

    def appended(self: Journal, records: Any) -> None:
        append(self, records)
        point()

    def started(self: Agents, trial: Path, *, drain: bool) -> Agent:
        agent = start(self, trial, drain=drain)
        point()
        return agent

    def ended(self: Agents, said: Mapping[str, Any]) -> None:
        take(self, said)
        point()

    Journal.append = appended  # type: ignore[method-assign]
    Agents.start = started  # type: ignore[method-assign]
    Agents.take = ended  # type: ignore[method-assign]


def forked(job: Callable[[], int]) -> int:
    """Run a job in a child; give its exit code, negative for a signal."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os._exit(job())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def once(file: str, results: Path, fatal: int | None) -> dict[str, Any]:
    """Run it, killed at point `fatal`, and resume until it is through; say what came of it."""
    reader, writer = os.pipe()

    def first() -> int:
        point = Points(fatal)
        watch(point)
        code = run.main(Namespace(file=file, results=str(results), resume=False, quiet=True))
        os.write(writer, b"%d" % point.count)
        return code

    codes = [forked(first)]
    os.close(writer)
    count = int(os.read(reader, 20) or 0)
    os.close(reader)
    if codes[0] == -signal.SIGKILL:
        journaled = any(results.glob("*/*/journal.*.jsonl"))
        codes.append(forked(lambda: run.main(Namespace(file=file, results=str(results), resume=journaled, quiet=True))))
    return {"fatal": fatal, "points": count, "codes": codes, **state(results)}


def state(results: Path) -> dict[str, Any]:
    """Read what a run has left: the trials by the journal, and every file of theirs without its times."""
    folders = [path for path in results.glob("*/*") if path.is_dir() and not path.is_symlink()]
    folder = max(folders, key=lambda path: path.stat().st_mtime)
    history = load(folder, checked.spec_of).history
    trials = [
        [
            *(trial.number, dict(trial.params), trial.outcome and trial.outcome.value, trial.reason, trial.message),
            *(trial.value, trial.reports, trial.attempts, trial.failures, trial.disruptions),
        ]
        for trial in history.trials
    ]
    files: dict[str, Any] = {}
    for path in sorted(folder.glob("*-0*/*")):
        text = path.read_text(errors="replace")
        if path.name == "result.json":
            rows = [json.loads(line) for line in text.splitlines()]
            files[f"{path.parent.name}/{path.name}"] = [{k: v for k, v in row.items() if k not in TIMED} for row in rows]
        elif path.name in {"params.json", "stdout", "stderr"}:
            files[f"{path.parent.name}/{path.name}"] = text
        elif path.name == "progress.csv":
            files[f"{path.parent.name}/{path.name}"] = len(text.splitlines())
    finished = history.finished.reason if history.finished else None
    return {"finished": finished, "trials": trials, "files": files, "left": left(folder)}


def left(folder: Path) -> list[str]:
    """Name what should not be there any more: folders of attempts, and processes that know this folder."""
    deadline = time.monotonic() + 2
    while True:
        found = [path.name for path in (folder / ".run").iterdir() if path.is_dir()]
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    if str(folder).encode() in (entry / "cmdline").read_bytes():
                        found.append(entry.name)
                except OSError:
                    continue
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def main(arguments: list[str]) -> None:
    """Run the command line."""
    file, results, *points = arguments
    fatal_ones: list[int | None] = [int(point) for point in points] or [None]
    for fatal in fatal_ones:
        sys.stdout.write(json.dumps(once(file, Path(results) / f"{fatal}", fatal)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
