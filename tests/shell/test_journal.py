"""The journal's bytes: what is appended comes back, what a crash leaves is healed, anything else is refused with its place."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Mapping
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubetune_operator import journal
from kubetune_operator.errors import JournalDamaged, JournalStale, JournalTooNew

RECORDS: list[Mapping[str, Any]] = [{"kind": "k", "n": n, "text": "ü\n" * (n % 3), "deep": {"x": [n]}} for n in range(12)]


def written(folder: Path, records: list[Mapping[str, Any]], *, opens: int = 1) -> Path:
    """Write the records in `opens` segments and give the newest."""
    share = -(-len(records) // opens)
    epoch = 0
    for start in range(0, opens * share, share):
        opened, _ = journal.Journal.open(folder)
        for record in records[start : start + share]:
            opened.append([record])
        opened.close()
        epoch = opened.epoch
    return folder / f"journal.{epoch}.jsonl"


@pytest.mark.parametrize("opens", [1, 2, 5])
def test_records_come_back_in_order_across_segments(tmp_path: Path, opens: int) -> None:
    written(tmp_path, RECORDS, opens=opens)
    assert journal.read(tmp_path) == RECORDS
    _, found = journal.Journal.open(tmp_path)
    assert found == RECORDS


def test_every_line_is_json(tmp_path: Path) -> None:
    path = written(tmp_path, RECORDS)
    assert [json.loads(line)["n"] for line in path.read_bytes().splitlines()[1:]] == list(range(12))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_spoilt_tail_is_healed_or_refused_with_its_byte_and_never_a_wrong_state(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    path = written(folder, RECORDS, opens=data.draw(st.sampled_from([1, 3])))
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole)), label="at")
    how = data.draw(st.sampled_from(["cut", "repeat", "flip", "insert", "zeros"]), label="how")
    spoilt = {
        "cut": lambda: whole[:at],
        "repeat": lambda: whole + whole[at:],
        "flip": lambda: (
            whole[:at] + bytes(byte ^ data.draw(st.integers(1, 255)) for byte in whole[at : at + 1]) + whole[at + 1 :]
        ),
        "insert": lambda: whole[:at] + data.draw(st.binary(min_size=1, max_size=40)) + whole[at:],
        "zeros": lambda: whole[:at] + bytes(len(whole) - at),
    }[how]()
    path.write_bytes(spoilt)
    try:
        found = journal.read(folder)
    except JournalDamaged as error:
        assert 0 <= error.offset <= len(spoilt)
        assert f"byte {error.offset}" in str(error)
        assert path.read_bytes() == spoilt, "a refusal changes nothing"
        return
    except JournalTooNew:
        pytest.fail("damage must not pass for a newer format")
    assert found == RECORDS[: len(found)], "what is read is a beginning of what was written"
    whole_lines = spoilt.count(b"\n") if how == "cut" else 0
    earlier = len(RECORDS) - whole.count(b"\n") + 1
    if how == "cut":
        assert len(found) == max(earlier, earlier + whole_lines - 1), "every whole line is kept"


@given(at=st.integers(0, 10_000), epoch=st.sampled_from([1, 2]))
@settings(max_examples=40, deadline=None)
def test_a_closed_segment_that_lost_bytes_is_refused(at: int, epoch: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("journal")
    written(folder, RECORDS, opens=3)
    path = folder / f"journal.{epoch}.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: at % len(whole)])
    with pytest.raises(JournalDamaged, match=r"damaged at byte \d+"):
        journal.read(folder)


def test_a_torn_tail_is_left_behind_and_the_next_segment_goes_on_from_the_sound_part(tmp_path: Path) -> None:
    path = written(tmp_path, RECORDS[:3])
    with path.open("ab") as file:
        file.write(b'{"kind":"torn')
    opened, found = journal.Journal.open(tmp_path)
    opened.append([RECORDS[3]])
    assert found == RECORDS[:3]
    assert journal.read(tmp_path) == RECORDS[:4]


def test_what_a_stale_process_writes_counts_for_nothing_and_is_not_acknowledged(tmp_path: Path) -> None:
    old, _ = journal.Journal.open(tmp_path)
    old.append([RECORDS[0]])
    new, _ = journal.Journal.open(tmp_path)
    with pytest.raises(JournalStale, match="another process"):
        old.append([RECORDS[1]])
    new.append([RECORDS[2]])
    assert journal.read(tmp_path) == [RECORDS[0], RECORDS[2]]


def test_a_segment_without_a_first_line_is_passed_over(tmp_path: Path) -> None:
    """A process that died between creating its file and writing to it has closed nothing."""
    written(tmp_path, RECORDS[:4])
    (tmp_path / "journal.2.jsonl").touch()
    (tmp_path / "journal.3.jsonl").write_bytes(b'{"format":1,"epo')
    opened, found = journal.Journal.open(tmp_path)
    assert opened.epoch == 4
    assert found == RECORDS[:4]
    assert journal.read(tmp_path) == RECORDS[:4]


def test_a_process_that_wakes_late_between_creating_and_writing_is_passed_over(tmp_path: Path) -> None:
    """Its first line names the same segment as ours does, but ours is newer."""
    first, _ = journal.Journal.open(tmp_path)
    first.append([RECORDS[0]])
    late = (tmp_path / "journal.2.jsonl").open("ab")
    third, _ = journal.Journal.open(tmp_path)
    third.append([RECORDS[1]])
    late.write((tmp_path / "journal.1.jsonl").read_bytes())
    late.close()
    assert journal.read(tmp_path) == RECORDS[:2]


def test_a_missing_segment_is_refused(tmp_path: Path) -> None:
    written(tmp_path, RECORDS, opens=3)
    (tmp_path / "journal.2.jsonl").unlink()
    with pytest.raises(JournalDamaged, match=r"journal\.2\.jsonl.*the file is missing"):
        journal.read(tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "FORMAT", 2)
    written(tmp_path, RECORDS[:1])
    monkeypatch.undo()
    with pytest.raises(JournalTooNew, match="format 2 is not known"):
        journal.read(tmp_path)


@pytest.mark.parametrize("short", [0, 1, 17], ids=["nothing", "one-byte", "some"])
def test_a_write_that_fails_for_want_of_space_leaves_nothing_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: int
) -> None:
    opened, _ = journal.Journal.open(tmp_path)
    opened.append([RECORDS[0]])
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        if short:
            real(descriptor, bytes(data)[:short])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        opened.append([RECORDS[1]])
    monkeypatch.undo()
    assert journal.read(tmp_path) == [RECORDS[0]]
    opened.append([RECORDS[2]])
    assert journal.read(tmp_path) == [RECORDS[0], RECORDS[2]]


@pytest.mark.parametrize("written", [0, 10_000], ids=["nothing-written", "all-written"])
def test_a_stale_writer_whose_append_fails_leaves_what_its_successor_has_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """The successor has opened while the write was under way, and closed the segment at the length that it found."""
    old, _ = journal.Journal.open(tmp_path)
    old.append([RECORDS[0]])
    real = os.write
    opened: list[journal.Journal] = []

    def overtaken(descriptor: int, data: bytes) -> int:
        monkeypatch.undo()
        real(descriptor, bytes(data)[:written])
        opened.append(journal.Journal.open(tmp_path)[0])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", overtaken)
    with pytest.raises(OSError, match="No space left"):
        old.append([RECORDS[1]])
    opened[0].append([RECORDS[2]])
    assert journal.read(tmp_path) == [RECORDS[0], *([RECORDS[1]] if written else []), RECORDS[2]]


def test_a_successor_reads_only_once_a_failed_append_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it could count bytes that vanish a moment later."""
    old, _ = journal.Journal.open(tmp_path)
    truncate, opening = os.ftruncate, []

    def unsynced(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def slow(descriptor: int, length: int) -> None:
        monkeypatch.undo()
        opening.append(pool.submit(journal.Journal.open, tmp_path))
        while not (tmp_path / "journal.2.jsonl").exists():
            time.sleep(0.001)
        time.sleep(0.1)  # it would have read by now
        truncate(descriptor, length)

    monkeypatch.setattr(os, "fsync", unsynced)
    monkeypatch.setattr(os, "ftruncate", slow)
    with futures.ThreadPoolExecutor() as pool:
        with pytest.raises(OSError, match="No space left"):
            old.append([RECORDS[0]])
        opened, found = opening[0].result(timeout=20)
    opened.append([RECORDS[1]])
    assert found == []
    assert journal.read(tmp_path) == [RECORDS[1]]


def test_two_that_open_at_once_do_not_share_a_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal.Journal.open(tmp_path)[0].close()
    journal.Journal.open(tmp_path)[0].close()
    monkeypatch.setattr(journal, "epochs", lambda _folder: [1])  # as the slower of the two had seen it
    with pytest.raises(JournalStale, match="has just opened"):
        journal.Journal.open(tmp_path)


def test_a_damaged_journal_is_not_changed_by_opening_it(tmp_path: Path) -> None:
    path = written(tmp_path, RECORDS)
    spoilt = path.read_bytes().replace(b'"n":5', b'"n":6')
    path.write_bytes(spoilt)
    with pytest.raises(JournalDamaged, match="checksum"):
        journal.Journal.open(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == spoilt
