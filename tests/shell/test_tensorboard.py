"""Event files, read back by a second reader that shares nothing with the writer: bitwise checksums, fields by hand."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubetune_operator import tensorboard


def crc32c(data: bytes) -> int:
    """Divide bit by bit, as the definition says."""
    crc = 0xFFFFFFFF
    for byte in data:
        for bit in range(8):
            low = (crc ^ byte >> bit) & 1
            crc = crc >> 1 ^ (0x82F63B78 if low else 0)
    return crc ^ 0xFFFFFFFF


def records(data: bytes) -> Iterator[bytes]:
    """Take the TFRecord frames off; every checksum must be right."""
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        for checked, stored in ((data[:8], data[8:12]), (body, data[12 + length : 16 + length])):
            crc = crc32c(checked)
            assert struct.unpack("<I", stored) == ((((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32,)
        yield body
        data = data[16 + length :]


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Read a protobuf message: (field number, value)."""
    at = 0

    def varint() -> int:
        nonlocal at
        number = shift = 0
        while True:
            byte = message[at]
            at += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while at < len(message):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(kind) or varint()
        part = message[at : at + size]
        at += size
        yield key >> 3, struct.unpack({1: "<d", 5: "<f"}[kind], part)[0] if kind in (1, 5) else part


def events(data: bytes) -> Iterator[dict[str, Any]]:
    """Read a whole event file."""
    for record in records(data):
        event: dict[str, Any] = {}
        for number, value in fields(record):
            if number == 5:
                summary = [dict(fields(one)) for _, one in fields(value)]
                event["values"] = {one[1].decode(): one[2] for one in summary}
            else:
                event[{1: "wall_time", 2: "step", 3: "file_version"}[number]] = value
        yield event


@pytest.mark.parametrize(
    ("data", "crc"),
    [(b"123456789", 0xE3069283), (b"", 0), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)],
    ids=["the usual check value", "nothing", "RFC 3720 zeros", "RFC 3720 ones", "RFC 3720 incrementing"],
)
def test_checksum_has_the_published_values(data: bytes, crc: int) -> None:
    assert tensorboard.crc32c(data) == crc
    assert crc32c(data) == crc


def test_a_file_begins_with_its_format() -> None:
    assert list(events(tensorboard.begin(1764000000.0))) == [{"wall_time": 1764000000.0, "file_version": b"brain.Event:2"}]


def test_values_are_read_back_by_tag() -> None:
    data = tensorboard.scalars(1.5, 300, {"loss": 0.5, "a/é": -2, "stopped": True})
    assert list(events(data)) == [{"wall_time": 1.5, "step": 300, "values": {"loss": 0.5, "a/é": -2.0, "stopped": 1.0}}]


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), -float("inf"), 1e39, 10**400], ids=["NaN", "inf", "-inf", "1e39", "1e400"]
)
def test_what_a_float32_cannot_hold_is_left_out(value: float) -> None:
    (event,) = events(tensorboard.scalars(0.0, 1, {"x": value, "y": 3.0e38}))
    assert list(event["values"]) == ["y"]


@given(
    st.lists(
        st.tuples(
            st.floats(0, 1e10),
            st.integers(0, 2**63 - 1),
            st.dictionaries(
                st.text(st.characters(exclude_categories=["Cs"])), st.floats(width=32, allow_nan=False, allow_infinity=False)
            ),
        ),
        max_size=4,
    )
)
def test_whatever_is_written_is_read_back(rows: list[tuple[float, int, dict[str, float]]]) -> None:
    data = b"".join(tensorboard.scalars(*row) for row in rows)
    assert [(one["wall_time"], one["step"], one.get("values", {})) for one in events(data)] == rows
