"""Images that strangers might bring, made here byte by byte. How they get into the cluster is `load_image`'s business."""

from __future__ import annotations

import io
import struct
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import archive as archives

ADDRESS = 0x400000
HEADERS = 64 + 56
APPEND = 0o1 | 0o100 | 0o2000  # O_WRONLY | O_CREAT | O_APPEND
RESULT = None  # an argument: what the call before has answered, as its first
MACHINES = {"amd64": 62, "arm64": 183}
CALLS = {"amd64": {"write": 1, "exit": 60, "openat": 257}, "arm64": {"write": 64, "exit": 93, "openat": 56}}

Call = tuple[str, int | None, *tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Program:
    """What a static program does: it says something, appends something to a file, and ends with a code."""

    code: int
    says: bytes = b""
    file: str = ""
    appends: bytes = b""
    user: str = ""  # as whom its image runs


def write(archive: Path, programs: Mapping[str, Program], *, architecture: str) -> None:
    """Write images by tag that hold these programs and nothing else; each is the entrypoint of its own, /0, /1, ..."""
    layer, made = archive.with_suffix(".layer"), []
    with tarfile.open(layer, "w") as tar:
        for number, (tag, program) in enumerate(programs.items()):
            content = _file(program, architecture)
            entry = tarfile.TarInfo(str(number))
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
            made.append(archives.Image([tag], {"Entrypoint": [f"/{number}"], "User": program.user}))
    archives.write(archive, layer, made, architecture=architecture)


def _file(program: Program, architecture: str) -> bytes:
    """Give an ELF file: no library, no shell, nothing to read."""
    texts = (program.says, program.appends, program.file.encode() + b"\0")
    length = len(_instructions(_calls(program, (0, 0, 0)), architecture))
    first = ADDRESS + HEADERS + length
    places = (first, first + len(texts[0]), first + len(texts[0]) + len(texts[1]))
    body = _instructions(_calls(program, places), architecture) + b"".join(texts)
    size = HEADERS + len(body)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = (2, MACHINES[architecture], 1, ADDRESS + HEADERS, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, ADDRESS, ADDRESS, size, size, 0x1000)
    return identity + struct.pack("<HHIQQQIHHHHHH", *header) + segment + body


def _calls(program: Program, places: tuple[int, int, int]) -> Sequence[Call]:
    said, appended, file = places
    append: list[Call] = [("openat", 0, file, APPEND, 0o644), ("write", RESULT, appended, len(program.appends))]
    return [("write", 1, said, len(program.says)), *(append if program.file else ()), ("exit", program.code)]


def _instructions(calls: Sequence[Call], architecture: str) -> bytes:
    numbers, one = CALLS[architecture], {"amd64": _amd64, "arm64": _arm64}[architecture]
    return b"".join(one(numbers[name], arguments) for name, *arguments in calls)


def _amd64(number: int, arguments: Sequence[int | None]) -> bytes:
    """Give `mov rdi, rax` or `mov rdi, N`; `mov rsi, N`; `mov rdx, N`; `mov r10, N`; `mov eax, number`; `syscall`."""
    moves = (b"\x48\xbf", b"\x48\xbe", b"\x48\xba", b"\x49\xba")
    given = b"".join(
        b"\x48\x89\xc7" if value is RESULT else move + struct.pack("<Q", value)
        for move, value in zip(moves, arguments, strict=False)
    )
    return given + b"\xb8" + struct.pack("<I", number) + b"\x0f\x05"


def _arm64(number: int, arguments: Sequence[int | None]) -> bytes:
    """Give `movz xN, low` and `movk xN, high, lsl 16` for each but the result, which is in x0; `movz x8, number`; `svc 0`."""
    words: list[int] = []
    for register, value in enumerate(arguments):
        if value is not RESULT:
            words += (0xD2800000 | (value & 0xFFFF) << 5 | register, 0xF2A00000 | (value >> 16) << 5 | register)
    return struct.pack(f"<{len(words) + 2}I", *words, 0xD2800008 | number << 5, 0xD4000001)
