"""TensorBoard's event files: records framed as TFRecord, each an Event protobuf, made by hand. Bytes only, no files.

Which numbers go in, and into which file, is decided in `files`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping

_MASK = 0xFFFFFFFF
_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected
_LARGEST_FLOAT32 = 3.4028234663852886e38


def _row(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(_row(byte) for byte in range(256))


def begin(wall_time: float) -> bytes:
    """Give the record that every event file begins with: its format."""
    return _record(_event(wall_time, b"\x1a" + _sized(b"brain.Event:2")))  # 3: file_version


def scalars(wall_time: float, step: int, values: Mapping[str, float]) -> bytes:
    """Give one record with these values, by tag, at this step; what a float32 cannot hold as a finite number is left out."""
    summary = b"".join(
        b"\x0a"
        + _sized(b"\x0a" + _sized(tag.encode("utf-8", "replace")) + b"\x15" + struct.pack("<f", value))  # 1: tag, 2: simple_value
        for tag, value in values.items()
        if plottable(value)
    )
    return _record(_event(wall_time, b"\x10" + _varint(step) + b"\x2a" + _sized(summary)))  # 2: step, 5: summary


def plottable(value: float) -> bool:
    """Say whether a float32 holds this as a finite number."""
    return abs(value) <= _LARGEST_FLOAT32 and math.isfinite(value)


def crc32c(data: bytes) -> int:
    """Compute the checksum of RFC 3720."""
    crc = _MASK
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ _MASK


def _event(wall_time: float, rest: bytes) -> bytes:
    return b"\x09" + struct.pack("<d", wall_time) + rest  # 1: wall_time


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + _masked(length) + data + _masked(data)


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & _MASK)


def _sized(data: bytes) -> bytes:
    return _varint(len(data)) + data


def _varint(number: int) -> bytes:
    number &= 0xFFFFFFFFFFFFFFFF  # a negative one as its 64 bits
    parts = bytearray()
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
