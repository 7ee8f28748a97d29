"""Trials' output on the volume: each byte once and in order, against a model that keeps every byte apart; and the route to it."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from kubetune_operator.core.records import Close, Closed, Created, Started, Suggested
from kubetune_operator.core.standing import Key
from kubetune_operator.errors import AttemptClosed
from kubetune_operator.experiment import Experiment
from kubetune_operator.files import ExperimentFolder
from kubetune_operator.intake import Intake
from kubetune_operator.logs import MARKER, PLACES, Logs, Taken
from tests.sim.world import spec

TRIAL = "exp-00000"
PLENTY = 10**9
BOTH = ("out", "err")
UID = "0123abcd-0000-4000-8000-000000000000"


def folder(root: Path) -> ExperimentFolder:
    return ExperimentFolder.create(root, "default", "exp", UID)


@pytest.fixture
def kept(tmp_path: Path) -> ExperimentFolder:
    return folder(tmp_path)


def content(kept: ExperimentFolder, name: str) -> bytes:
    path = kept.log(TRIAL, name)
    return path.read_bytes() if path.exists() else b""


# --- exactly once ---


@dataclass
class Model:
    """What a trial's files are to hold: for each file the streams' bytes, attempt after attempt."""

    names: tuple[str, ...]
    limit: int
    files: dict[str, bytes] = field(default_factory=dict)
    taken: dict[tuple[int, str], int] = field(default_factory=dict)  # attempt, stream -> bytes
    full: bool = False

    def append(self, attempt: int, stream: str, offset: int, data: bytes) -> Taken:
        name = self.names[0] if stream == "stdout" else self.names[-1]
        here = self.taken.setdefault((attempt, stream), 0)
        if offset > here:
            return Taken(here, full=False)
        file = self.files.setdefault(name, b"")
        for byte in data[here - offset :]:
            if not self.full and sum(map(len, self.files.values())) == self.limit:
                file += (b"" if not file or file.endswith(b"\n") else b"\n") + MARKER.format(limit=self.limit).encode()
                self.full = True
            if self.full:
                break
            file += bytes([byte])
            here += 1
            self.files[name] = file
        self.files[name] = file
        self.taken[attempt, stream] = here
        return Taken(here, full=self.full)


class Sender:
    """A sidecar that forgets, repeats and leaps: what it sends is always what its program wrote at that place."""

    def __init__(self, attempt: int, stream: str) -> None:
        self.attempt = attempt
        self.stream = stream
        self.written = b"".join(b"%s %d %d\n" % (stream.encode(), attempt, number) for number in range(20))

    def piece(self, offset: int, length: int) -> bytes:
        return self.written[offset : offset + length]


STEPS = st.lists(
    st.tuples(st.sampled_from(["stdout", "stderr"]), st.integers(-30, 10), st.integers(1, 90), st.booleans()), max_size=30
)


@settings(max_examples=60)
@given(first=STEPS, second=STEPS, limit=st.sampled_from([0, 1, 17, 100, 250, PLENTY]), names=st.sampled_from([BOTH, ("log",)]))
def test_each_byte_once_whatever_is_sent(
    first: list[tuple[str, int, int, bool]], second: list[tuple[str, int, int, bool]], limit: int, names: tuple[str, ...]
) -> None:
    """Pieces that overlap, come again, leave gaps; an operator that starts anew in between; two attempts; a limit."""
    with tempfile.TemporaryDirectory() as root:
        kept = folder(Path(root))
        logs, model = Logs(kept, names, limit), Model(names, limit)
        for attempt, steps in enumerate([first, second]):
            where = {"stdout": 0, "stderr": 0}
            for stream, leap, length, anew in steps:
                sender = Sender(attempt, stream if len(names) > 1 else "stdout")  # one file: the launcher has one pipe
                offset = max(0, where[sender.stream] + leap)
                data = sender.piece(offset, length)
                if not data:
                    continue
                logs = Logs(kept, names, limit) if anew else logs
                answer = logs.append(TRIAL, attempt, sender.stream, offset, data)
                expected = model.append(attempt, sender.stream, offset, data)
                if not model.full:
                    assert answer == expected
                where[sender.stream] = answer.next
                assert {name: content(kept, name) for name in model.files} == model.files


def test_who_obeys_gets_all_of_it_there(kept: ExperimentFolder) -> None:
    logs, sender = Logs(kept, BOTH, PLENTY), Sender(0, "stdout")
    offset = 5  # a gap to begin with
    while offset < len(sender.written):
        offset = logs.append(TRIAL, 0, "stdout", offset, sender.piece(offset, 7)).next
    assert content(kept, "out") == sender.written


def test_attempts_follow_one_another_in_one_file(kept: ExperimentFolder) -> None:
    logs = Logs(kept, ("log",), PLENTY)
    assert logs.append(TRIAL, 0, "stdout", 0, b"first\n") == Taken(6, full=False)
    assert logs.append(TRIAL, 1, "stdout", 0, b"second\n") == Taken(7, full=False)
    assert logs.append(TRIAL, 1, "stdout", 3, b"ond\n!") == Taken(8, full=False)
    assert content(kept, "log") == b"first\nsecond\n!"


def test_a_late_piece_of_an_earlier_attempt_changes_nothing(kept: ExperimentFolder) -> None:
    logs = Logs(kept, BOTH, PLENTY)
    logs.append(TRIAL, 0, "stdout", 0, b"first\n")
    logs.append(TRIAL, 1, "stdout", 0, b"second\n")
    assert logs.append(TRIAL, 0, "stdout", 6, b"late\n") == Taken(11, full=True)
    assert logs.append(TRIAL, 1, "stdout", 7, b"third\n") == Taken(13, full=False)
    assert content(kept, "out") == b"first\nsecond\nthird\n"


def test_a_stream_that_nobody_wants_is_let_go(kept: ExperimentFolder) -> None:
    assert Logs(kept, (), PLENTY).append(TRIAL, 0, "stdout", 3, b"abc") == Taken(6, full=True)
    assert not kept.trial(TRIAL).exists()


def test_a_file_that_was_cut_is_written_anew(kept: ExperimentFolder) -> None:
    """Else its sidecar would be asked for bytes before the first, and never come to its end."""
    logs = Logs(kept, BOTH, PLENTY)
    logs.append(TRIAL, 0, "stdout", 0, b"first\n")
    logs.append(TRIAL, 1, "stdout", 0, b"second\n")
    kept.log(TRIAL, "out").unlink()
    assert logs.append(TRIAL, 1, "stdout", 7, b"third\n") == Taken(0, full=False)
    assert logs.append(TRIAL, 1, "stdout", 0, b"second\nthird\n") == Taken(13, full=False)
    assert content(kept, "out") == b"second\nthird\n"


# --- the limit ---


@pytest.mark.parametrize(
    ("pieces", "begins"),
    [
        pytest.param([b"123\n567\n9"], b"123\n567\n", id="within a piece"),
        pytest.param([b"123\n567\n", b"9"], b"123\n567\n", id="between two pieces"),
        pytest.param([b"12345678", b"9"], b"12345678\n", id="between two pieces, within a line"),
        pytest.param([b"1234567890"], b"12345678\n", id="within a line"),
    ],
)
def test_beyond_the_limit_there_is_one_marker_on_a_line_of_its_own(
    kept: ExperimentFolder, pieces: list[bytes], begins: bytes
) -> None:
    logs = Logs(kept, BOTH, 8)
    answer = Taken(0, full=False)
    for piece in pieces:
        answer = logs.append(TRIAL, 0, "stdout", answer.next, piece)
    assert answer == Taken(8, full=True)
    for attempt in (0, 1):
        assert logs.append(TRIAL, attempt, "stdout", 0, b"more\n" * 99).full
        assert logs.append(TRIAL, attempt, "stderr", 0, b"more\n").full
    assert content(kept, "out") == begins + MARKER.format(limit=8).encode()
    assert content(kept, "err") == b""


def test_what_fits_exactly_has_no_marker(kept: ExperimentFolder) -> None:
    assert Logs(kept, BOTH, 8).append(TRIAL, 0, "stdout", 0, b"12345678") == Taken(8, full=False)
    assert content(kept, "out") == b"12345678"


# --- crashes and a full disk ---


class Disk:
    """os.write as a disk has it that takes so many bytes more and then, what happens: an error, or a crash."""

    def __init__(self, room: int, end: BaseException) -> None:
        self._room = room
        self._end = end
        self._write = os.write

    def __call__(self, descriptor: int, data: bytes | memoryview) -> int:
        if self._room <= 0:
            raise self._end
        written = self._write(descriptor, bytes(data)[: self._room])
        self._room -= written
        return written


class Crash(BaseException):
    """The process is no more."""


FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("room", [0, 1, 5])
def test_on_a_full_disk_all_or_nothing_is_taken(kept: ExperimentFolder, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    logs = Logs(kept, BOTH, PLENTY)
    logs.append(TRIAL, 0, "stdout", 0, b"before\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Disk(room, FULL))
        with pytest.raises(OSError, match="No space left"):
            logs.append(TRIAL, 0, "stdout", 7, b"after\n")
    assert content(kept, "out") == b"before\n"
    assert logs.append(TRIAL, 0, "stdout", 7, b"after\n") == Taken(13, full=False)
    assert content(kept, "out") == b"before\nafter\n"


def test_a_marker_that_finds_no_space_is_written_when_there_is(kept: ExperimentFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = Logs(kept, BOTH, 4)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Disk(10, FULL))
        with pytest.raises(OSError, match="No space left"):
            logs.append(TRIAL, 0, "stdout", 0, b"12345678")
    assert content(kept, "out") == b""
    assert logs.append(TRIAL, 0, "stdout", 0, b"12345678") == Taken(4, full=True)
    assert content(kept, "out") == b"1234\n" + MARKER.format(limit=4).encode()


@pytest.mark.parametrize("room", range(8))
def test_a_crash_between_place_and_bytes_loses_and_doubles_nothing(
    kept: ExperimentFolder, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """The second attempt's place is durable, of its bytes some are; whoever comes after has only the files."""
    Logs(kept, BOTH, PLENTY).append(TRIAL, 0, "stdout", 0, b"first\n")
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Disk(room, Crash()))
        with contextlib.suppress(Crash):
            Logs(kept, BOTH, PLENTY).append(TRIAL, 1, "stdout", 0, b"second\n")
    assert content(kept, "out") == b"first\n" + b"second\n"[:room]
    answer = Logs(kept, BOTH, PLENTY).append(TRIAL, 1, "stdout", 0, b"second\nthird\n")
    assert answer == Taken(13, full=False)
    assert content(kept, "out") == b"first\nsecond\nthird\n"


def test_a_place_that_was_torn_is_no_place(kept: ExperimentFolder) -> None:
    kept.make(TRIAL)
    (kept.trial(TRIAL) / f"{PLACES}.tmp").write_text('{"stdout": [')
    assert Logs(kept, BOTH, PLENTY).append(TRIAL, 0, "stdout", 0, b"a\n") == Taken(2, full=False)


def test_a_link_in_place_of_a_file_is_not_followed(kept: ExperimentFolder, tmp_path: Path) -> None:
    kept.make(TRIAL)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"")
    kept.log(TRIAL, "out").symlink_to(elsewhere)
    with pytest.raises(OSError, match="symbolic links"):
        Logs(kept, BOTH, PLENTY).append(TRIAL, 0, "stdout", 0, b"a\n")
    assert elsewhere.read_bytes() == b""


# --- the route ---


@dataclass
class Wire:
    """An open intake with two attempts: pod-1 is bound to the first, pod-2 has not said hello for the second."""

    experiment: Experiment
    client: aiohttp.ClientSession
    kept: ExperimentFolder

    async def send(self, query: str, data: bytes, token: str = "good") -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {token}"}
        async with self.client.post(f"/v1/logs?{query}", data=io.BytesIO(data), headers=headers) as answer:
            return answer.status, await answer.json(content_type=None) if answer.content_type == "application/json" else {}


@pytest_asyncio.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    kept = folder(tmp_path)
    experiment = Experiment.create(kept.path, Created("exp", "default", UID, {}, 1.0), spec(), lambda: 5.0)
    await experiment.record(
        [Suggested(0, {"x": 0.5}, 2.0), Started(0, 0, 3.0), Suggested(1, {"x": 0.5}, 2.0), Started(1, 0, 3.0)]
    )
    await experiment.hello((0, 0), "pod-1")
    tokens = {"good": ((0, 0), "pod-1"), "silent": ((1, 0), "pod-2"), "another": ((0, 0), "pod-3")}
    logs = Logs(kept, BOTH, 100)

    async def identity(token: str) -> tuple[Experiment, Key, str]:
        if token not in tokens:
            raise AttemptClosed("not one that is waited for")
        return experiment, *tokens[token]

    async def keep(_: Experiment, key: Key, stream: str, offset: int, data: bytes) -> tuple[int, bool]:
        taken = logs.append(f"exp-{key[0]:05d}", key[1], stream, offset, data)
        return taken.next, taken.full

    intake = Intake(identity, keep=keep)
    async with aiohttp.ClientSession(await intake.open()) as client:
        yield Wire(experiment, client, kept)
    await intake.close()
    await experiment.close()


async def test_bytes_travel_as_they_are_and_the_answer_says_what_is_wanted(wire: Wire) -> None:
    assert await wire.send("stream=stdout&offset=0", b"\xff\0\r\n") == (200, {"next": 4, "closed": False})
    assert await wire.send("stream=stderr&offset=0", b"e") == (200, {"next": 1, "closed": False})
    assert await wire.send("stream=stdout&offset=9", b"gap") == (200, {"next": 4, "closed": False})
    assert await wire.send("stream=stdout&offset=4", b"x" * 200) == (200, {"next": 99, "closed": True})
    assert content(wire.kept, "out").startswith(b"\xff\0\r\n" + b"x" * 95 + b"\n[kubetune: ")
    assert content(wire.kept, "err") == b"e"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "stream=stdout",
        "offset=0",
        "stream=stdin&offset=0",
        "stream=../x&offset=0",
        "stream=stdout&offset=-1",
        "stream=stdout&offset=1.5",
        "stream=stdout&offset=²",
        f"stream=stdout&offset={'9' * 5000}",
    ],
    ids=lambda query: query[:30],
)
async def test_a_query_that_is_not_the_wires_is_refused_with_the_rule(wire: Wire, query: str) -> None:
    status, answer = await wire.send(query, b"a")
    assert status == 400
    assert "stream=stdout or stderr&offset=N" in answer["error"]
    assert not wire.kept.trial(TRIAL).exists()


async def test_what_is_too_large_is_refused(wire: Wire) -> None:
    assert (await wire.send("stream=stdout&offset=0", b"x" * 2_000_000))[0] == 413


async def test_who_has_not_said_hello_is_told_to(wire: Wire) -> None:
    assert (await wire.send("stream=stdout&offset=0", b"a", token="silent"))[0] == 409


async def test_a_closed_attempt_is_gone_and_so_is_another_pods(wire: Wire) -> None:
    assert (await wire.send("stream=stdout&offset=0", b"a", token="another"))[0] == 410
    assert (await wire.send("stream=stdout&offset=0", b"a", token="stranger"))[0] == 410
    await wire.experiment.record([Closed(0, 0, Close.SUCCEEDED, "Completed", "", 6.0)])
    assert (await wire.send("stream=stdout&offset=0", b"a"))[0] == 410
    assert not wire.kept.trial(TRIAL).exists()


async def test_without_space_the_sender_comes_again(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", Disk(0, FULL))
        assert (await wire.send("stream=stdout&offset=0", b"a"))[0] == 507
    assert await wire.send("stream=stdout&offset=0", b"a") == (200, {"next": 1, "closed": False})
