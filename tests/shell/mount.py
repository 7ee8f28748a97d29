"""A disk that tests may fill."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Self


class Mount:
    """A tmpfs of 1 MiB in a mount namespace of its own, for as long as this is open."""

    def __init__(self, path: Path) -> None:
        path.mkdir()
        root = os.geteuid() == 0
        script = f"mount -t tmpfs -o size=1m tmpfs {path} && echo mounted && exec sleep 1000"
        words = ["unshare", "-m" if root else "-rm", "sh", "-c", script]
        self._holder = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "mounted\n"
        more = [] if root else ["-U", "--preserve-credentials"]
        self.enter = ["nsenter", "-t", str(self._holder.pid), "-m", *more, "--"]
        self.root = Path(f"/proc/{self._holder.pid}/root{path}")  # as it is seen from here

    def fill(self, *, but: int = 0) -> None:
        """Leave no room but this many bytes (of whole pages)."""
        assert os.statvfs(self.root).f_blocks * os.statvfs(self.root).f_frsize == 1 << 20, "it is the tmpfs that is filled"
        with (self.root / "filler").open("wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass
            filler.truncate(filler.tell() - but)

    def free(self) -> None:
        """Make room again."""
        (self.root / "filler").unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.kill()
        self._holder.communicate()
