"""Finding an experiment's folder: by its path, by the experiment's name, or the one that ran last. Opens nothing."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

from kubetune_operator.errors import KubetuneError

JOURNALS = "journal.*.jsonl"
SOME = 8  # names that a message lists


def root(options: argparse.Namespace) -> Path:
    """Say where results go."""
    return Path(options.results or os.environ.get("KUBETUNE_RESULTS") or Path.home() / "kubetune_results").resolve()


def find(word: str, under: Path) -> Path:
    """Find the folder of an experiment by its path or, under the results, by its name. Raises KubetuneError."""
    if _has_journal(Path(word)):
        return Path(word).resolve()
    named = {place.resolve() for place in (under / word, *(space / word for space in _folders(under))) if _has_journal(place)}
    if len(named) == 1:
        return named.pop()
    if named:
        raise KubetuneError(f"{word}: there is more than one: {', '.join(map(str, sorted(named)))}; name the folder")
    names = sorted({path.name.partition(".")[0] for path in _experiments(under)})
    there = f"; there are {', '.join(names[:SOME])}{' …' if len(names) > SOME else ''}" if names else ""
    raise KubetuneError(f"{word}: there is no journal in it, and no experiment of that name under {under}{there}")


def latest(under: Path) -> Path:
    """Find the folder of the experiment that ran last. Raises KubetuneError."""
    found = max(_experiments(under), key=_written, default=None)
    if found is None:
        raise KubetuneError(f"there is no experiment under {under}; start one with kubetune run FILE, or name its folder")
    return found


def _experiments(under: Path) -> Iterator[Path]:
    return (path for space in _folders(under) for path in _folders(space) if not path.is_symlink() and _has_journal(path))


def _folders(path: Path) -> list[Path]:
    return sorted(each for each in path.iterdir() if each.is_dir()) if path.is_dir() else []


def _has_journal(folder: Path) -> bool:
    return any(folder.glob(JOURNALS))


def _written(folder: Path) -> float:
    return max(journal.stat().st_mtime for journal in folder.glob(JOURNALS))
