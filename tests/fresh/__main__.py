"""`make demo` on a bare Debian, as a visitor without root or compiler and with an empty home: what the README promises.

    python -m tests.fresh             the promise, checked; exits 0 when it holds
    python -m tests.fresh COMMAND     a shell command there instead, to look around; exits with its code

Where the host cannot make such a machine this says so and exits 0, but in CI (the variable CI is set) it exits 1.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.fresh import machine

REPOSITORY = Path(__file__).parents[2]
INSTALLED = "kubetune: running "  # the line of the Makefile after which nothing is installed any more
SECONDS = 60
ACCURACY = 0.95
FILES = ("params.json", "result.json", "progress.csv", "stdout", "stderr")  # of the best trial


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command ended: its exit code, what it printed, and how long it took before and after it had installed."""

    code: int
    output: str
    installing: float
    running: float


def main(arguments: list[str]) -> int:
    """Make a machine, clone what is committed into it, run the command there."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the machine is removed then, too
    try:
        with machine.machine() as root:
            commit = machine.clone(root, REPOSITORY)
            print(f"fresh: {commit[:12]} on a bare Debian {machine.SUITE}, as {machine.USER}", flush=True)
            outcome = run(root, " ".join(arguments) or "make demo")
            return outcome.code if arguments else verdict(outcome, list(broken(outcome, root)))
    except machine.CannotMake as error:
        print(f"fresh: {'failed' if os.environ.get('CI') else 'SKIPPED'}: {error}", file=sys.stderr)
        return 1 if os.environ.get("CI") else 0


def run(root: Path, script: str) -> Outcome:
    """Run a command in the clone, showing its output as it comes."""
    started = installed = time.monotonic()
    lines = []
    command = machine.command(root, f"cd {machine.HOME}/kubetune && {script}", user=machine.USER)
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
            if line.startswith(INSTALLED):
                installed = time.monotonic()
    ended = time.monotonic()
    return Outcome(process.returncode, "".join(lines), installed - started, ended - installed)


def broken(outcome: Outcome, root: Path) -> Iterator[str]:
    """Give every part of the promise that did not come true."""
    if outcome.code:
        yield f"`make demo` ended with exit code {outcome.code}"
    if outcome.running > SECONDS:
        yield f"after installing it took {outcome.running:.0f} s, more than {SECONDS}"
    stopped = re.search(r"^trials .* (\d+) stopped early", outcome.output, re.MULTILINE)
    if not stopped or int(stopped[1]) == 0:
        yield "no trial is said to have been stopped early"
    best = re.search(r"^best trial .* accuracy=(\d\.\d+)", outcome.output, re.MULTILINE)
    if not best or float(best[1]) <= ACCURACY:
        yield f"the best accuracy is {best[1] if best else 'not said'}, to be above {ACCURACY}"
    folder = re.search(rf"^its files +({machine.HOME}/\S+)", outcome.output, re.MULTILINE)
    if not folder:
        yield "it is not said where the best trial's files are"
    elif missing := [name for name in FILES if not (root / folder[1].lstrip("/") / name).is_file()]:
        yield f"the best trial's folder {folder[1]} has no {', '.join(missing)}"


def verdict(outcome: Outcome, faults: list[str]) -> int:
    """Print what came of the promise; give the exit code."""
    print(f"fresh: installed in {outcome.installing:.0f} s, ran in {outcome.running:.0f} s (at most {SECONDS})")
    for fault in faults:
        print(f"fresh: NOT SO: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
