"""Where things are: what was built (kept), and what belongs to the cluster that runs (gone after `down`)."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench import peers

REPOSITORY = Path(__file__).parents[2]
HERE = Path(__file__).parent
HOME = peers.cache() / "cluster"
RUN = HOME / "run"  # of the cluster that runs: kubeconfig, audit log, notes
LOGS = HOME / "logs"  # of each step, the last time it was done
DATA = HOME / "docker"  # the private Docker's images
KUBECONFIG = RUN / "kubeconfig"
AUDIT = RUN / "audit"  # the API server's audit log: audit.log


def key(*making: str | bytes | Path) -> str:
    """Give a short digest of all that makes a thing, so that the thing is made anew when any of it changes."""
    digest = hashlib.sha256()
    for each in making:
        content = each.read_bytes() if isinstance(each, Path) else each.encode() if isinstance(each, str) else each
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:16]


def forget(pattern: str) -> None:
    """Remove what an earlier making left in the cache under `pattern`."""
    for older in HOME.glob(pattern):
        if older.is_dir():
            shutil.rmtree(older)
        else:
            older.unlink()


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder in the cache for the time of a making: on the same file system as what comes of it."""
    HOME.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="work-", dir=HOME) as folder:
        yield Path(folder)
