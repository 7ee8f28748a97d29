"""The journal's bytes: append, group commit, segments, healing. What a record means is not known here.

A journal is a folder with segments `journal.<epoch>.jsonl`, one for each process that opened it. A line is a JSON object
whose last member is a checksum over the line and the checksum before it, so that a line that is cut, garbled, repeated or
out of place cannot pass for another. The first line of a segment names the segment before it, and the length and digest at
which that one is closed: bytes that a stale process still writes there count for nothing.

What a crash can leave is a torn last line, and that is cut off. Anything else is JournalDamaged, with the byte.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubetune_operator.errors import JournalDamaged, JournalError, JournalStale, JournalTooNew

FORMAT = 1
_NAME = re.compile(r"journal\.([1-9][0-9]{0,8})\.jsonl")
_SUM = re.compile(rb',"sum":"([0-9a-f]{8})"\}\n')
_SUM_LENGTH = len(b',"sum":"00000000"}\n')


@dataclass(frozen=True, slots=True)
class Segment:
    """The sound part of one segment: its records, and where and with which checksum it ends."""

    path: Path
    epoch: int
    header: Mapping[str, Any]
    records: tuple[Mapping[str, Any], ...]
    length: int
    total: int  # the checksum of its last line


class Journal:
    """An open journal: one writer, which stops for good once another process has opened it after us."""

    def __init__(self, folder: Path, epoch: int, descriptor: int, length: int, total: int) -> None:
        self.folder = folder
        self.epoch = epoch
        self._descriptor = descriptor
        self._length = length  # what is durable
        self._sum = total

    @classmethod
    def open(cls, folder: Path, first: Iterable[Mapping[str, Any]] = ()) -> tuple[Journal, list[Mapping[str, Any]]]:
        """Open a new segment, closing the one before; give the journal and all records so far.

        `first` are records that are to be durable with the opening itself.
        Raises JournalDamaged, JournalTooNew, JournalStale (another process did the same at the same moment) or OSError.
        """
        epoch = max(epochs(folder), default=0) + 1
        path = folder / f"journal.{epoch}.jsonl"
        try:
            # The empty file comes first: whoever still writes the segment before sees it and acknowledges nothing more,
            # so what is read below is all that was ever acknowledged.
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except FileExistsError as error:
            raise JournalStale(f"{path}: another process has just opened this experiment") from error
        try:
            for earlier in epochs(folder):
                if earlier < epoch:
                    _await_writer(folder / f"journal.{earlier}.jsonl")
            segments = chain(folder, before=epoch)
        except JournalError:
            os.close(descriptor)
            path.unlink()
            raise
        journal = cls(folder, epoch, descriptor, 0, 0)
        previous = None
        if segments:
            last = segments[-1]
            previous = {"epoch": last.epoch, "length": last.length, "digest": _digest(last.path, last.length)}
        try:
            journal.append([{"format": FORMAT, "epoch": epoch, "previous": previous}, *first])
        except OSError:
            journal.withdraw()
            raise
        _sync_folder(folder)
        return journal, [record for segment in segments for record in segment.records]

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Write the records and make them durable: all of them or, when this raises, none.

        Raises JournalStale when another process has opened the journal; OSError for no space, after which it may be called
        again. Any other failure to sync is final: what the disk holds is not known any more.
        """
        total = self._sum
        lines = []
        for record in records:
            line, total = _line(record, total)
            lines.append(line)
        data = b"".join(lines)
        try:
            _write(self._descriptor, data)
            os.fsync(self._descriptor)
        except OSError:
            self._take_back()
            raise
        if self.stale():
            raise JournalStale(f"{self.folder}: another process has opened this experiment; this one stops")
        self._length += len(data)
        self._sum = total

    def _take_back(self) -> None:
        """Cut off what was not made durable, unless a successor may have counted it already."""
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        try:
            if not self.stale():
                os.ftruncate(self._descriptor, self._length)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def stale(self) -> bool:
        """Say whether another process has opened the journal after us."""
        return (self.folder / f"journal.{self.epoch + 1}.jsonl").exists()

    def withdraw(self) -> None:
        """Take the opening back, nothing having been recorded since: a segment for each try would fill the folder."""
        self.close()
        (self.folder / f"journal.{self.epoch}.jsonl").unlink()

    def close(self) -> None:
        """Close the file; what was appended is durable already."""
        os.close(self._descriptor)


def read(folder: Path) -> list[Mapping[str, Any]]:
    """Give all records of a journal without opening it for writing."""
    return [record for segment in chain(folder) for record in segment.records]


def epochs(folder: Path) -> list[int]:
    """List the epochs that have a segment, oldest first."""
    found = (_NAME.fullmatch(path.name) for path in folder.iterdir())
    return sorted(int(match[1]) for match in found if match)


def chain(folder: Path, before: int | None = None) -> list[Segment]:
    """Follow the segments back from the newest that has a first line, and give the sound part of each, oldest first."""
    wanted = [epoch for epoch in epochs(folder) if before is None or epoch < before]
    segments: list[Segment] = []
    limit: Mapping[str, Any] | None = None
    while wanted:
        epoch = wanted.pop()
        if limit is not None and epoch != limit["epoch"]:
            continue  # nothing of it counts: its process never got to close the one before
        path = folder / f"journal.{epoch}.jsonl"
        segment = scan(path, epoch, limit)
        if segment is None:
            continue
        segments.insert(0, segment)
        limit = segment.header["previous"]
        if limit is None:
            return segments
    if limit is not None:
        raise JournalDamaged(
            str(folder / f"journal.{limit['epoch']}.jsonl"), 0, "the file is missing, but a later one goes on from it"
        )
    return segments


def scan(path: Path, epoch: int, limit: Mapping[str, Any] | None) -> Segment | None:
    """Read the sound part of one segment; None when it has no first line yet.

    `limit` is what the next segment says of where this one is closed.
    """
    data = path.read_bytes()
    if limit is not None:
        if len(data) < limit["length"]:
            raise JournalDamaged(str(path), len(data), f"it was {limit['length']} bytes long when it was closed")
        data = data[: limit["length"]]
        if hashlib.sha256(data).hexdigest() != limit["digest"]:
            _locate(path, data)
            raise JournalDamaged(str(path), 0, "its digest is not the one with which it was closed")
    total, offset = 0, 0
    records: list[Mapping[str, Any]] = []
    for line in _lines(data):
        record, total = _parse(path, offset, line, total)
        records.append(record)
        offset += len(line)
    torn = data[offset:]
    if len(torn) > _SUM_LENGTH and _SUM.fullmatch(torn[-_SUM_LENGTH:-1] + b"\n"):
        # All of a line but its newline: no crash leaves that, so it is not ours to cut off.
        raise JournalDamaged(str(path), offset + len(torn) - 1, "a whole line that does not end in a newline")
    if not records:
        return None
    header = records[0]
    if header.get("format") != FORMAT:
        raise JournalTooNew(f"{path}: format {header.get('format')!r} is not known to this version (it knows {FORMAT})")
    if header.get("epoch") != epoch:
        raise JournalDamaged(str(path), 0, f"its first line says epoch {header.get('epoch')!r}")
    return Segment(path, epoch, header, tuple(records[1:]), offset, total)


def _lines(data: bytes) -> Iterator[bytes]:
    """Give the lines that end; what follows the last newline is torn."""
    start = 0
    while (end := data.find(b"\n", start)) >= 0:
        yield data[start : end + 1]
        start = end + 1


def _line(record: Mapping[str, Any], total: int) -> tuple[bytes, int]:
    body = json.dumps(record, separators=(",", ":"), allow_nan=False).encode("ascii")[:-1]
    total = zlib.crc32(body, total)
    return b'%s,"sum":"%08x"}\n' % (body, total), total


def _parse(path: Path, offset: int, line: bytes, total: int) -> tuple[dict[str, Any], int]:
    match = _SUM.fullmatch(line[-_SUM_LENGTH:])
    if match is None:
        raise JournalDamaged(str(path), offset, "a line without a checksum")
    total = zlib.crc32(line[:-_SUM_LENGTH], total)
    if int(match[1], 16) != total:
        raise JournalDamaged(str(path), offset, "a line's checksum does not follow from the lines before it")
    try:
        record = json.loads(line)
    except ValueError as error:
        raise JournalDamaged(str(path), offset, f"a line that is not JSON: {error}") from error
    del record["sum"]
    return record, total


def _locate(path: Path, data: bytes) -> None:
    """Raise JournalDamaged at the first line that is wrong, if the lines themselves show it."""
    total, offset = 0, 0
    for line in _lines(data):
        _, total = _parse(path, offset, line, total)
        offset += len(line)


def _digest(path: Path, length: int) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(length)).hexdigest()


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _await_writer(path: Path) -> None:
    """Wait until whoever still writes this segment has done with taking back; from now on it sees that it is stale."""
    with path.open("rb") as segment:
        fcntl.flock(segment, fcntl.LOCK_EX)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
