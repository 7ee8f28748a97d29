#!/usr/bin/env python3
"""Builds kubetune-launch: build.py [FOLDER], for each architecture, into FOLDER/amd64 and FOLDER/arm64 (else build/launcher).

The compiler is Zig's, pinned with its hashes in requirements/launcher.txt; pip installs it into the user's cache folder. What was
built stays there too, so that only the first build of each version of the sources takes its minute. Needs nothing but Python.
With --arch NAME: for that one alone, amd64 or arm64 or as `uname -m` calls them.
With --sanitized: one for this machine that stops at its first fault of memory or arithmetic, into FOLDER/sanitized.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LOCK = ROOT / "requirements" / "launcher.txt"
NAME = "kubetune-launch"
TARGETS = {"amd64": "x86_64-linux-musl", "arm64": "aarch64-linux-musl"}  # by the names that image builders have for them
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}  # as `uname -m` names them
COMMON = ["-std=c11", "-Wall", "-Wextra", "-Werror"]
RELEASE = ["-Os", "-s", "-static"]
SANITIZED = ["-g", "-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all"]


def main() -> int:
    """Build and copy what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "build" / "launcher")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--arch", choices=[*TARGETS, *MACHINES])
    which.add_argument("--sanitized", action="store_true")
    given = parser.parse_args()
    architectures = [MACHINES.get(given.arch, given.arch)] if given.arch else list(TARGETS)
    with _locked(_cache() / "launcher") as cache:
        built = _sanitized(cache) if given.sanitized else [_release(cache, name) for name in architectures]
    for program in built:
        into = given.folder / program.parent.name
        into.mkdir(parents=True, exist_ok=True)
        aside = into / f"{NAME}.new"  # the old one may be running
        shutil.copy2(program, aside)
        aside.replace(into / NAME)
    return 0


def _release(cache: Path, architecture: str) -> Path:
    program = cache / _key() / architecture / NAME
    return _once(program, lambda made: _zig("-target", TARGETS[architecture], *COMMON, *RELEASE, "-o", str(made)))


def _sanitized(cache: Path) -> list[Path]:
    """Build with the machine's own compiler where it can watch the memory too: Zig brings no AddressSanitizer."""
    own = shutil.which("cc") or ""
    said = subprocess.run([own, "--version"], capture_output=True, check=True).stdout if own else b""
    program = cache / _key(said) / "sanitized" / NAME
    watching = [own, *COMMON, *SANITIZED, "-fsanitize=address"]
    if own and _watches(watching, cache / "probe"):
        return [_once(program, lambda made: _do([*watching, *_sources(), "-o", str(made)], os.environ))]
    return [_once(program, lambda made: _zig(*COMMON, *SANITIZED, "-o", str(made)))]


def _watches(compiler: list[str], probe: Path) -> bool:
    """Tell whether this compiler makes programs that run: its sanitizers are packages of their own."""
    commands = [[*compiler, "-x", "c", "-", "-o", str(probe)], [str(probe)]]
    given = b"int main(void) { return 0; }"
    return all(subprocess.run(each, input=given, capture_output=True, check=False).returncode == 0 for each in commands)


def _once(program: Path, build: Callable[[Path], None]) -> Path:
    if not program.exists():
        started = time.monotonic()
        _say(f"building {program} (once; a minute or two) ...")
        program.parent.mkdir(parents=True, exist_ok=True)
        made = program.with_suffix(".new")
        build(made)
        made.replace(program)
        _say(f"built in {time.monotonic() - started:.0f} s")
    return program


def _zig(*arguments: str) -> None:
    python = _compiler() / "bin" / "python"
    own = {"ZIG_GLOBAL_CACHE_DIR": str(_cache() / "zig"), "ZIG_LOCAL_CACHE_DIR": str(_cache() / "zig")}
    _do([str(python), "-m", "ziglang", "cc", *arguments, *_sources()], os.environ | own)


def _compiler() -> Path:
    folder = _cache() / f"ziglang-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]}"
    whole = folder / "whole"
    if not whole.exists():
        _say(f"installing the compiler into {folder} ...")
        venv.create(folder, with_pip=True, clear=True)
        _do([str(folder / "bin" / "pip"), "install", "--quiet", "--require-hashes", "-r", str(LOCK)], os.environ)
        whole.touch()
    return folder


def _sources() -> list[str]:
    """Give the files by their bare names: no path of this machine gets into the program."""
    return sorted(source.name for source in HERE.glob("*.c"))


def _key(more: bytes = b"") -> str:
    inputs = [*sorted(HERE.glob("*.[ch]")), HERE / "build.py", LOCK]
    return hashlib.sha256(b"\0".join([*(each.read_bytes() for each in inputs), more])).hexdigest()[:16]


def _do(command: list[str], env: Mapping[str, str]) -> None:
    done = subprocess.run(command, cwd=HERE, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"launcher: {' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubetune"


@contextmanager
def _locked(folder: Path) -> Iterator[Path]:
    """Let one process build at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder


def _say(words: str) -> None:
    sys.stderr.write(f"launcher: {words}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
