"""Images that strangers might bring, made here byte by byte. How they get into the cluster is `load_image`'s business."""

from __future__ import annotations

import io
import struct
import tarfile
from pathlib import Path

from tests.cluster import archive as archives

ADDRESS = 0x400000


def exits(archive: Path, tag: str, *, code: int, architecture: str) -> None:
    """Write an image of one static program that ends with this exit code."""
    layer = archive.with_suffix(".layer")
    with tarfile.open(layer, "w") as tar:
        program = _program(code, architecture)
        entry = tarfile.TarInfo("exits")
        entry.size, entry.mode = len(program), 0o755
        tar.addfile(entry, io.BytesIO(program))
    archives.write(archive, layer, [archives.Image([tag], {"Entrypoint": ["/exits"]})], architecture=architecture)


def _program(code: int, architecture: str) -> bytes:
    """Give an ELF file that calls exit(code) and does nothing else: no library, no shell, nothing to read."""
    if architecture == "amd64":  # mov edi, code; mov eax, 60; syscall
        machine, instructions = 62, b"\xbf" + struct.pack("<I", code) + b"\xb8\x3c\0\0\0\x0f\x05"
    else:  # mov x0, code; mov x8, 93; svc 0
        machine, instructions = 183, struct.pack("<III", 0xD2800000 | code << 5, 0xD2800BA8, 0xD4000001)
    headers = 64 + 56
    size = headers + len(instructions)
    identity = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    file = struct.pack("<HHIQQQIHHHHHH", 2, machine, 1, ADDRESS + headers, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, ADDRESS, ADDRESS, size, size, 0x1000)
    return identity + file + segment + instructions
