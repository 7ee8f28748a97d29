"""The programs that a benchmark measures itself against, each in a virtual environment of its own.

They are installed once, from a lock file with hashes beside this one, into the user's cache folder. What they
are asked to do is said in the benchmark that asks.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

LOCKS = Path(__file__).parent
STAMP = "installed-from"  # holds the digest of the lock file; written last, so that a half-made folder has none


class PeerMissing(Exception):
    """A peer could not be installed, so there is nothing to compare with."""


def venv(name: str) -> Path:
    """Give the python of the environment that `<name>.txt` describes; make it where it is missing or out of date."""
    lock = LOCKS / f"{name}.txt"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    folder = cache() / f"bench-{name}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as guard:  # two benchmarks may want it at once
        fcntl.flock(guard, fcntl.LOCK_EX)
        stamp = folder / STAMP
        if not stamp.is_file() or stamp.read_text() != digest:
            _install(folder, lock)
            stamp.write_text(digest)
    return folder / "bin" / "python"


def cache() -> Path:
    """Give kubetune's folder in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubetune"


def _install(folder: Path, lock: Path) -> None:
    print(f"installing {lock.stem} into {folder} (once) ...", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "bin" / "python"
    _run([sys.executable, "-m", "venv", str(folder)])
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(lock)])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerMissing(f"{' '.join(command)}: exit code {done.returncode}: {(done.stderr or done.stdout).strip()[-2000:]}")
