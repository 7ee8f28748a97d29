"""The per-trial files of the volume, as Ray Tune lays them out: what a user looks at, opens in pandas or in TensorBoard.

They are projections: the journal is the truth, and `Files.level` makes a trial's files what an undisturbed run would have
written, whatever a crash left of them. So they are not fsynced, and after an OSError of any method `level` is the remedy.
No file is kept open. stdout, stderr and checkpoints are written by others; here is only where they go. What the files say
is in `rows`.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from kubetune_operator import rows
from kubetune_operator.core.reports import flatten
from kubetune_operator.errors import KubetuneError
from kubetune_operator.rows import EVENTS, Failure, Row

PARAMS, RESULT, PROGRESS, ERROR = "params.json", "result.json", "progress.csv", "error.txt"
CHECKPOINTS = "checkpoints"
TRIALS, EXPERIMENT = "trials.csv", "experiment.json"
TMP = ".tmp"

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_UID = re.compile(r"([0-9a-f]{8})[0-9a-f-]{0,28}")
_LOG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class ExperimentFolder:
    """`<root>/<namespace>/<experiment>.<uid8>`; no name that a user gives leads out of it."""

    path: Path

    @classmethod
    def create(cls, root: Path, namespace: str, name: str, uid: str) -> Self:
        """Make the folder, durably, and point the link `<experiment>` at it; where that is done already, it does no harm."""
        path = cls.of(root, namespace, name, uid).path
        parent = path.parent
        path.mkdir(parents=True, exist_ok=True)
        link = path.with_name(path.name + TMP)
        link.unlink(missing_ok=True)
        link.symlink_to(path.name)
        try:
            link.replace(parent / name)
        except IsADirectoryError as error:
            link.unlink()
            raise KubetuneError(f"{parent / name}: must be a link to the newest experiment; move that folder away") from error
        for folder in (path, parent, root):
            _sync(folder)
        return cls(path)

    @classmethod
    def of(cls, root: Path, namespace: str, name: str, uid: str) -> Self:
        """Say where the folder of the experiment with this uid is, or would be."""
        match = _UID.fullmatch(uid)
        if match is None:
            raise KubetuneError(f"an experiment's uid must begin with 8 hexadecimal digits, got {uid!r}")
        return cls(_beneath(root / _label(namespace) / f"{_label(name)}.{match[1]}", root))

    @classmethod
    def newest(cls, root: Path, namespace: str, name: str) -> Self | None:
        """Find the folder of the newest experiment of that name."""
        link = root / _label(namespace) / _label(name)
        if not link.is_symlink():
            return None
        path = link.with_name(link.readlink().name)
        ours = re.fullmatch(re.escape(name) + r"\.[0-9a-f]{8}", path.name) and path.is_dir()
        return cls(_beneath(path, root)) if ours else None

    def trial(self, trial: str) -> Path:
        """Say where a trial's files are."""
        return self.path / _label(trial)

    def make(self, trial: str) -> Path:
        """Make the folder of a trial's files."""
        folder = _beneath(self.trial(trial), self.path)
        folder.mkdir(exist_ok=True)
        return folder

    def log(self, trial: str, name: str) -> Path:
        """Say where a trial's output goes: "stdout", "stderr", or what the user named."""
        taken = name in {PARAMS, RESULT, PROGRESS, ERROR, CHECKPOINTS} or name.startswith(EVENTS) or name.endswith(TMP)
        if taken or not _LOG.fullmatch(name):
            raise KubetuneError(f"a log file must have a plain name that no other file of a trial has, got {name!r}")
        return self.trial(trial) / name


class Files:
    """The one writer of an experiment's files."""

    def __init__(self, folder: ExperimentFolder, *, events: bool = True) -> None:
        self.folder = folder
        self._events = events  # whether TensorBoard's files are wanted

    def begin(self, trial: str, params: Mapping[str, Any]) -> None:
        """Make a trial's folder, with its (nested) parameters in it."""
        _replace(self.folder.make(trial) / PARAMS, rows.document(params, sort=True))

    def append(self, trial: str, reports: Sequence[Row]) -> None:
        """Add rows at the end of each file that has them."""
        if not reports:
            return
        folder = self.folder.trial(trial)
        _append(folder / RESULT, rows.lines(reports))
        if self._events:
            for its in rows.by_attempt(reports):
                begun = next(folder.glob(f"{EVENTS}*.{rows.attempt_name(its[0])}"), None)
                _append(begun or folder / rows.events_name(its[0]), rows.events(its, begin=begun is None))
        progress, flat = folder / PROGRESS, [rows.flat(one) for one in reports]
        known = _header(progress)
        columns = rows.columns(flat, known)
        if known and columns != known:
            _replace(progress, _widened(progress, columns) + rows.table(flat, columns))
        else:
            _append(progress, rows.table(flat, columns, header=not known))

    def finish(self, trial: str, reason: str) -> None:
        """Say in a trial's last row that it is done, and why; a trial that never reported has none."""
        folder = self.folder.trial(trial)
        result, progress = folder / RESULT, folder / PROGRESS
        if not result.exists():
            return
        lines, table, columns = result.read_bytes(), progress.read_bytes(), _header(progress)
        at = lines.rfind(b"\n", 0, -1) + 1
        last = json.loads(lines[at:])
        done = rows.done(last, reason)
        before = rows.table([rows.flat(rows.undone(last))], columns)
        _replace(result, lines[:at] + rows.lines([done]))
        if table.endswith(before):  # else this has been done before
            _replace(progress, table.removesuffix(before) + rows.table([rows.flat(done)], columns))

    def fail(self, trial: str, failure: Failure) -> None:
        """Add a failure to error.txt, unless it is there already."""
        path, text = self.folder.trial(trial) / ERROR, rows.failure(failure)
        if not _read(path).endswith(text):
            _append(path, text)

    def level(
        self, trial: str, params: Mapping[str, Any], reports: Sequence[Row], reason: str | None, failures: Sequence[Failure]
    ) -> None:
        """Make a trial's files what they should be; `reason` is None while the trial has not ended."""
        wanted = {PARAMS: rows.document(params, sort=True)}
        if reports:
            ended = reports if reason is None else [*reports[:-1], rows.done(reports[-1], reason)]
            flat = [rows.flat(one) for one in ended]
            wanted |= {RESULT: rows.lines(ended), PROGRESS: rows.table(flat, rows.columns(flat), header=True)}
            if self._events:
                wanted |= {rows.events_name(its[0]): rows.events(its, begin=True) for its in rows.by_attempt(reports)}
        if failures:
            wanted[ERROR] = b"".join(map(rows.failure, failures))
        folder = self.folder.make(trial)
        ours = {folder / RESULT, folder / PROGRESS, folder / ERROR, *folder.glob(EVENTS + "*"), *folder.glob("*" + TMP)}
        for stray in ours - {folder / name for name in wanted}:
            stray.unlink(missing_ok=True)
        for name, data in wanted.items():
            _bring(folder / name, data)

    def trials_csv(self, trials: Sequence[Mapping[str, Any]]) -> None:
        """Write trials.csv, a row a trial."""
        flat = [flatten(one) for one in trials]
        _replace(self.folder.path / TRIALS, rows.table(flat, rows.columns(flat), header=True))

    def experiment_json(self, document: Mapping[str, Any]) -> None:
        """Write experiment.json."""
        _replace(self.folder.path / EXPERIMENT, rows.document(document))


def _header(progress: Path) -> list[str]:
    if not progress.exists():
        return []
    with progress.open(encoding="utf-8", newline="") as lines:
        return next(csv.reader(lines), [])


def _widened(progress: Path, columns: Sequence[str]) -> bytes:
    with progress.open(encoding="utf-8", newline="") as lines:
        return rows.table(csv.DictReader(lines), columns, header=True)


def _label(name: str) -> str:
    if not _LABEL.fullmatch(name):
        raise KubetuneError(f"the name of a folder must be a DNS label (at most 63 of a-z, 0-9 and '-'), got {name!r}")
    return name


def _beneath(path: Path, root: Path) -> Path:
    try:
        inside = path.resolve().is_relative_to(root.resolve())
    except RuntimeError as error:  # before Python 3.13
        raise KubetuneError(f"{path}: must lie in {root}, but is a link that leads to itself; remove that link") from error
    if not inside:
        raise KubetuneError(f"{path}: must lie in {root}, but a link leads to {path.resolve()}; remove that link")
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole: whoever reads it sees the old one or the new one."""
    aside = path.with_name(path.name + TMP)
    aside.write_bytes(data)
    aside.replace(path)


def _bring(path: Path, wanted: bytes) -> None:
    found = _read(path)
    if found and wanted.startswith(found):
        _append(path, wanted[len(found) :])  # it stays the same file for whoever follows it with tail -f
    else:
        _replace(path, wanted)


def _sync(folder: Path) -> None:
    """Make the names in a folder durable: a journal whose folder a power cut can lose is none."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
