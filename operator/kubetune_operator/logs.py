"""The copies of trials' output on the volume: each byte once and in order, whoever dies in between.

An attempt's output begins where the file ended when its first bytes came; that place is durable before they are, so how much
of it is here follows from the file's size. stdout and stderr may be one file. Written by one process; no file is kept open.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kubetune_operator import status
from kubetune_operator.core.standing import Key
from kubetune_operator.files import ExperimentFolder

STREAMS = ("stdout", "stderr")
PLACES = ".logs.json"  # in a trial's folder: stream -> its latest attempt, and where that begins
MARKER = "[kubetune: not kept beyond this line: spec.logs.maxBytesPerTrial is {limit} bytes]\n"


@dataclass(frozen=True, slots=True)
class Taken:
    """What a sidecar is told: how many bytes of this attempt's stream are durable, and whether that was all it may send."""

    next: int
    full: bool


class Logs:
    """The copies of one experiment."""

    def __init__(self, folder: ExperimentFolder, names: tuple[str, ...], limit: int) -> None:
        """`names` are the files: none, one for both streams, or one each; `limit` is bytes for all of a trial's."""
        self._folder = folder
        self._names = dict(zip(STREAMS, (names[0], names[-1]), strict=True)) if names else {}
        self._limit = limit

    def append(self, trial: str, attempt: int, stream: str, offset: int, data: bytes) -> Taken:
        """Add what is new of these bytes, which begin at `offset` of the attempt's stream. Raises OSError."""
        if stream not in self._names:
            return Taken(offset + len(data), full=True)  # nobody wants it
        folder = self._folder.make(trial)
        path = self._folder.log(trial, self._names[stream])
        places = _read(folder / PLACES)
        size = _size(path)
        latest, base = places.get(stream, (-1, 0))
        if attempt < latest:
            return Taken(offset + len(data), full=True)  # it came late: the next one has begun to write
        if attempt > latest or size < base:  # the second: somebody has cut the file, and the attempt's output comes anew
            base = size
            _replace(folder / PLACES, {**places, stream: [attempt, base]})
        here = size - base
        if offset > here:
            return Taken(here, full=False)
        fresh = data[here - offset :]
        room = self._limit - sum(_size(self._folder.log(trial, name)) for name in set(self._names.values()))
        if room < 0:
            return Taken(here, full=True)
        if len(fresh) > room:
            kept = fresh[:room]
            newline = b"" if (kept or _last(path)).endswith(b"\n") else b"\n"
            _append(path, kept + newline + MARKER.format(limit=self._limit).encode())
            return Taken(here + room, full=True)
        if fresh:
            _append(path, fresh)
        return Taken(here + len(fresh), full=False)

    def known(self, trial: str, attempt: int, stream: str, offset: int, data: bytes) -> bool:
        """Say whether these bytes are what is here already, as far as it is; a log that was rotated begins otherwise."""
        path = self._folder.log(trial, self._names[stream])
        latest, base = _read(self._folder.trial(trial) / PLACES).get(stream, (-1, 0))
        if attempt != latest or _size(path) <= base + offset:
            return True
        with path.open("rb") as file:
            file.seek(base + offset)
            here = file.read(len(data))
        return data[: len(here)] == here


class Copies:
    """The copies of one experiment, as its attempts' output comes in: off the event loop, each trial's one after another."""

    def __init__(self, logs: Logs, experiment: str) -> None:
        self._logs = logs
        self._experiment = experiment
        self._writing: dict[int, asyncio.Lock] = {}

    async def keep(self, key: Key, stream: str, offset: int, data: bytes) -> tuple[int, bool]:
        """Keep what is new of these bytes; give the offset wanted next, and whether no more is. Raises OSError."""
        async with self._writing.setdefault(key[0], asyncio.Lock()):
            taken = await asyncio.to_thread(self._logs.append, self._name(key), key[1], stream, offset, data)
        return taken.next, taken.full

    async def known(self, key: Key, stream: str, offset: int, data: bytes) -> bool:
        """Say whether these bytes are those that are kept already, as far as they are. Raises OSError."""
        return await asyncio.to_thread(self._logs.known, self._name(key), key[1], stream, offset, data)

    def _name(self, key: Key) -> str:
        return status.trial_name(self._experiment, key[0])


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _last(path: Path) -> bytes:
    """Give the last byte of a file; a newline where there is none, as a line may begin there."""
    if not _size(path):
        return b"\n"
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read()


def _read(path: Path) -> dict[str, list[int]]:
    try:
        found: dict[str, list[int]] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return found


def _append(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        before = os.fstat(descriptor).st_size
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, before)  # all of it or nothing: the sidecar will come again
            raise
    finally:
        os.close(descriptor)


def _replace(path: Path, places: Mapping[str, list[int]]) -> None:
    beside = path.with_name(f"{path.name}.tmp")
    with beside.open("w") as file:
        json.dump(places, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
