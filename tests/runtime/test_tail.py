"""The report file as lines: whatever is in it, and however it grows, each line is given once, with its number and place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kubetune import wire
from kubetune.sidecar.tail import Tail

PIECES = st.lists(st.one_of(st.binary(max_size=12), st.just(b"\n"), st.just("é\n".encode()), st.just(b"x" * 40_000)), max_size=12)


def taken(tail: Tail) -> list[tuple[int, object]]:
    """Take what there is, each with its number; what stands for a line that cannot be sent is given as its reason."""
    tail.refresh()
    found: list[tuple[int, object]] = []
    while (line := tail.take()) is not None:
        found.append((tail.number - 1, line if isinstance(line, str) else line["refused"]))
    return found


def expected(content: bytes, *, ended: bool) -> list[tuple[int, object]]:
    """Give the lines as they must be found: split the plain way, all in memory."""
    lines = content.split(b"\n")
    last = lines.pop()
    if ended and last:
        lines.append(last)
    found: list[tuple[int, object]] = []
    for number, line in enumerate(lines):
        if len(line) > wire.MAX_LINE:
            found.append((number, f"line of {len(line)} bytes is longer than 65536"))
            continue
        try:
            found.append((number, line.decode()))
        except UnicodeDecodeError as error:
            found.append((number, f"line of {len(line)} bytes is not UTF-8 at byte {error.start}"))
    return found


@given(pieces=PIECES)
@example(pieces=[b"x" * wire.MAX_LINE, b"\n", b"x" * (wire.MAX_LINE + 1), b"\n"])
@example(pieces=[b"x" * 40_000, b"x" * 40_000, b"x" * 40_000])
def test_a_growing_file_gives_the_lines_of_the_whole(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("tail") / "reports.jsonl"
    path.touch()
    tail = Tail(str(path))
    found: list[tuple[int, object]] = []
    content = b""
    for piece in pieces:
        content += piece
        with path.open("ab") as file:
            file.write(piece)
        found += taken(tail)
        assert found == expected(content, ended=False)
        assert tail.offset == content.rfind(b"\n") + 1
    tail.end()
    found += taken(tail)
    assert found == expected(content, ended=True)
    assert tail.offset == len(content)


@given(count=st.integers(0, 3000), goals=st.lists(st.integers(0, 3500), max_size=6))
def test_a_rewind_leads_to_any_line(tmp_path_factory: pytest.TempPathFactory, count: int, goals: list[int]) -> None:
    path = tmp_path_factory.mktemp("tail") / "reports.jsonl"
    path.write_text("".join(f"{number}\n" for number in range(count)))
    tail = Tail(str(path))
    tail.refresh()
    for goal in goals:
        tail.rewind(goal)
        assert tail.number == min(goal, count)
        assert tail.offset == len("".join(f"{number}\n" for number in range(tail.number)))
        assert tail.take() == (str(goal) if goal < count else None)


def test_the_places_remembered_for_a_rewind_are_bounded(tmp_path: Path) -> None:
    """A hundred thousand lines, and back to one of them: few places are known, and all lines are within reach."""
    path = tmp_path / "reports.jsonl"
    path.write_text("".join(f"{number}\n" for number in range(100_000)))
    tail = Tail(str(path))
    assert len(taken(tail)) == 100_000
    for goal in (99_999, 77_777, 1, 0):
        tail.rewind(goal)
        assert tail.take() == str(goal)
    assert len(vars(tail)["_marks"]) <= 1024


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    tail = Tail(str(tmp_path / "reports.jsonl"))
    assert taken(tail) == []
    (tmp_path / "reports.jsonl").write_text("a\n")
    assert taken(tail) == [(0, "a")]
    (tmp_path / "reports.jsonl").unlink()
    assert taken(tail) == []
    (tmp_path / "reports.jsonl").write_text("b\n")
    assert taken(tail) == [(0, "b")]


def test_only_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "reports.jsonl"
    path.write_text("a\n")
    tail = Tail(str(path))
    assert [tail.refresh(), tail.refresh()] == [True, False]
    with path.open("a") as file:
        file.write("b\n")
    assert [tail.refresh(), tail.refresh()] == [True, False]


def test_a_last_look_does_not_trust_the_times_of_the_file(tmp_path: Path) -> None:
    """A file rewritten within one tick of its file system's clock looks as it did; at the end its bytes are compared."""
    path = tmp_path / "reports.jsonl"
    path.write_text("a\n")
    tail = Tail(str(path))
    assert taken(tail) == [(0, "a")]
    before = path.stat()
    path.write_text("b\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not tail.refresh()
    tail.end()
    assert taken(tail) == [(0, "b")]
