"""Images that strangers might bring, made here byte by byte. How they get into the cluster is `load_image`'s business."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path

from tests.cluster import archive as archives

ADDRESS = 0x400000


def exits(archive: Path, tag: str, *, code: int, architecture: str, says: bytes = b"") -> None:
    """Write an image of one static program that says something and ends with this exit code."""
    layer = archive.with_suffix(".layer")
    with tarfile.open(layer, "w") as tar:
        program = _program(code, says, architecture)
        entry = tarfile.TarInfo("exits")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
    archives.write(archive, layer, [archives.Image([tag], {"Entrypoint": ["/exits"]})], architecture=architecture)


def _program(code: int, says: bytes, architecture: str) -> bytes:
    """Give an ELF file that calls write(1, …) and exit(code) and does nothing else: no library, no shell, nothing to read."""
    headers = 64 + 56
    if architecture == "amd64":
        machine = 62
        text = ADDRESS + headers + 39  # behind the instructions
        instructions = b"\xb8" + struct.pack("<I", 1) + b"\xbf" + struct.pack("<I", 1)  # mov eax, 1; mov edi, 1
        instructions += b"\x48\xbe" + struct.pack("<Q", text)  # mov rsi, text
        instructions += b"\xba" + struct.pack("<I", len(says)) + b"\x0f\x05"  # mov edx, length; syscall
        instructions += b"\xbf" + struct.pack("<I", code) + b"\xb8\x3c\0\0\0\x0f\x05"  # mov edi, code; mov eax, 60; syscall
    else:
        machine = 183
        write = (0xD2800020, 0x100000E1, 0xD2800002 | len(says) << 5, 0xD2800808, 0xD4000001)  # mov x0, 1; adr x1, text; …
        leave = (0xD2800000 | code << 5, 0xD2800BA8, 0xD4000001)  # mov x0, code; mov x8, 93; svc 0
        instructions = struct.pack("<8I", *write, *leave)
    body = instructions + says
    size = headers + len(body)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    file = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, ADDRESS + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, ADDRESS, ADDRESS, size, size, 0x1000)
    return identity + file + segment + body
