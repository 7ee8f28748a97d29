"""Runs one experiment again and again, killing `kubetune run` with SIGKILL at chosen points, and resuming it.

    python -m tests.shell.crashing FILE RESULTS                          count the points at which it can be killed
    python -m tests.shell.crashing FILE RESULTS "start#3" "start#1,any#9"  kill at these points, one run each, and resume

Prints a JSON object a run: what the folder holds in the end. One process imports everything and forks for each run, so that
a run costs only itself. A point is where something is about to be left outside the process, half of it is, or all of it; it
is named after what that is, and numbered: the number of turns is not the same each time. "any" numbers all of them; a second
point is for the run that resumes. The points:

    journal KINDS before, half, after     a write of these records
    append FILE, replace FILE, … half     a file that users look at
    remove FILE, rename FILE              whatever is done in the attempts' folders
    start, ended                          an agent

Removing the folder of an attempt that the journal has not closed ends the run there and then, with code EARLY.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import sys
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kubetune_operator import checked, files, journal
from kubetune_operator.cluster.agents import Agent, Agents
from kubetune_operator.commands import run
from kubetune_operator.experiment import load
from kubetune_operator.journal import Journal
from kubetune_operator.rows import EVENTS

TIMED = ("timestamp", "date", "time_this_iter_s", "time_total_s", "started", "ended")  # columns that differ each time
EARLY = 70
LAST_BREATH = 0.02  # seconds in which the other threads do what they are at
ATTEMPT = re.compile(r"(.*)/\.run/(\d+)-(\d+)(?:/(.*))?")


class Points:
    """Counts the points and dies at one of them."""

    def __init__(self, fatal: str | None) -> None:
        self.counts: Counter[str] = Counter()
        self._fatal = fatal

    def __call__(self, what: str, half: Callable[[], object] = lambda: None) -> None:
        """Pass a point; `half` is what to do before dying here."""
        self.counts[what] += 1
        if self._fatal in {f"{what}#{self.counts[what]}", f"any#{self.counts.total()}"}:
            half()
            time.sleep(LAST_BREATH)
            os.kill(os.getpid(), signal.SIGKILL)


def watch(point: Points) -> None:
    """Make every step that leaves a trace outside this process a point."""
    _watch_journal(point)
    _watch_files(point)
    start, take = Agents.start, Agents.take

    def started(self: Agents, trial: Path, *, drain: bool) -> Agent:
        agent = start(self, trial, drain=drain)
        point("start")
        return agent

    def ended(self: Agents, said: Mapping[str, Any]) -> None:
        take(self, said)
        point("ended")

    Agents.start = started  # type: ignore[method-assign]
    Agents.take = ended  # type: ignore[method-assign]

    def happens(event: str, words: tuple[Any, ...]) -> None:
        if event in {"os.remove", "os.rmdir"}:
            _removed(point, _path(*words))
        elif event == "os.rename":
            found = ATTEMPT.fullmatch(_path(words[1], words[3]))
            if found:
                point(f"rename {found[4]}")

    sys.addaudithook(happens)


def _watch_journal(point: Points) -> None:
    append, write = Journal.append, journal._write  # noqa: SLF001 - where half of it can be left

    def appended(self: Journal, records: Any) -> None:
        given = list(records)
        append(self, given)
        point(f"journal {'+'.join(dict.fromkeys(one.get('kind', 'opened') for one in given))} after")

    def written(descriptor: int, data: bytes) -> None:
        kinds = "+".join(dict.fromkeys(re.findall(r'"(?:kind":"|(?=format"))([a-z]+)"', data.decode()))).replace(
            "format", "opened"
        )
        point(f"journal {kinds} before")
        point(f"journal {kinds} half", lambda: write(descriptor, data[: len(data) // 2]))
        write(descriptor, data)

    Journal.append = appended  # type: ignore[method-assign]
    journal._write = written  # noqa: SLF001 - the same


def _watch_files(point: Points) -> None:
    append, replace = files._append, files._replace  # noqa: SLF001 - the same

    def name(path: Path) -> str:
        return "events" if path.name.startswith(EVENTS) else path.name

    def appended(path: Path, data: bytes) -> None:
        point(f"append {name(path)}")
        point(f"append {name(path)} half", lambda: append(path, data[: len(data) // 2]))
        append(path, data)

    def replaced(path: Path, data: bytes) -> None:
        aside = path.with_name(path.name + files.TMP)
        point(f"replace {name(path)}")
        point(f"replace {name(path)} half", lambda: aside.write_bytes(data[: len(data) // 2]))
        replace(path, data)

    files._append = appended  # noqa: SLF001 - the same
    files._replace = replaced


def _path(name: str | bytes | os.PathLike[str], folder: int = -1) -> str:
    path = os.fsdecode(name)
    return path if folder < 0 or path.startswith("/") else f"{Path(f'/proc/self/fd/{folder}').readlink()}/{path}"


def _removed(point: Points, path: str) -> None:
    found = ATTEMPT.fullmatch(path)
    if found is None:
        return
    experiment, trial, attempt, name = found.groups()
    if (
        name == "pod.json"
        and Path(path).exists()
        and (int(trial), int(attempt)) in load(Path(experiment), checked.spec_of).history.open
    ):
        os._exit(EARLY)
    point(f"remove {re.sub(r'[0-9]+', 'N', name) if name else 'folder'}")


def forked(job: Callable[[], int]) -> int:
    """Run a job in a child; give its exit code, negative for a signal."""
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os._exit(job())
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def once(file: str, results: Path, fatal: str) -> dict[str, Any]:
    """Run it, killed at these points in turn, and resume until it is through; say what came of it."""
    counted = results.with_suffix(".points")

    def job(point: str | None, *, resume: bool) -> Callable[[], int]:
        def work() -> int:
            points = Points(point)
            watch(points)
            code = run.main(Namespace(file=file, results=str(results), resume=resume, quiet=True))
            counted.write_text(json.dumps(points.counts))
            return code

        return work

    codes: list[int] = []
    for point in [*fatal.split(","), None]:
        codes.append(forked(job(point, resume=bool(codes))))
        if codes[-1] == run.REFUSED:  # nothing was recorded yet: it is to be started anew
            codes.append(forked(job(None, resume=False)))
        if codes[-1] != -signal.SIGKILL:
            break
    points = json.loads(counted.read_text()) if counted.exists() else None
    return {"fatal": fatal, "points": points, "codes": codes, **state(results)}


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
    found = sorted([*folder.glob("*-0*/*"), folder / "trials.csv"])
    contents: dict[str, Any] = {
        str(path.relative_to(folder)): _timeless(path) for path in found if not path.name.startswith(EVENTS)
    }
    contents["events"] = sorted(re.sub(r"[0-9]{10}", "TIME", path.name) for path in found if path.name.startswith(EVENTS))
    finished = history.finished.reason if history.finished else None
    return {"finished": finished, "trials": trials, "files": contents, "left": left(folder)}


def _timeless(path: Path) -> Any:
    """Read a file of results without what differs each time."""
    text = path.read_text(errors="replace")
    rows: list[dict[str, Any]]
    if path.name == "result.json":
        rows = [json.loads(line) for line in text.splitlines()]
    elif path.suffix == ".csv":
        rows = list(csv.DictReader(io.StringIO(text)))
    else:
        return re.sub(r"occurred at [^)]*", "", text)
    return [{name: value for name, value in row.items() if name not in TIMED} for row in rows]


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
    for number, fatal in enumerate(points or ["none"]):
        sys.stdout.write(json.dumps(once(file, Path(results) / f"{number}", fatal)) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
