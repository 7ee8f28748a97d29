"""Arrays of numbers or words out of a .npz file, as numpy.savez writes them, without numpy: a zip of headers and plain bytes.

Nothing is unpickled: an array of Python objects is refused. What the arrays mean is not known here.
"""

from __future__ import annotations

import ast
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubetune_operator.errors import KubetuneError

_MAGIC = b"\x93NUMPY"
_CODES = {"f8": "d", "f4": "f", "f2": "e", "i8": "q", "i4": "i", "i2": "h", "i1": "b", "u8": "Q", "u4": "I", "u2": "H", "u1": "B"}
_UTF32 = 4  # bytes of a character


@dataclass(frozen=True, slots=True)
class Array:
    """An array of one or two dimensions as rows; one of a single dimension is a single row."""

    shape: tuple[int, ...]
    rows: Sequence[Sequence[Any]]
    text: bool  # they are str; else float or int


def read(path: Path) -> dict[str, Array]:
    """Read all arrays of a file, by name. Raises KubetuneError, and OSError as it comes."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy"): _array(archive.read(name)) for name in archive.namelist()}
    except (zipfile.BadZipFile, zlib.error, ValueError, struct.error) as error:
        raise KubetuneError(f"{path}: is not a .npz file as numpy.savez writes it: {error}") from error


def _array(data: bytes) -> Array:
    """Read one .npy: magic, version, length of the header, the header (a dict as Python writes it), the values."""
    if not data.startswith(_MAGIC):
        raise ValueError("a member that is not an array")
    (major,) = struct.unpack_from("<B", data, len(_MAGIC))
    size = "<I" if major > 1 else "<H"  # of the header's length: since version 2 it may be long
    begin = len(_MAGIC) + 2 + struct.calcsize(size)
    (length,) = struct.unpack_from(size, data, begin - struct.calcsize(size))
    try:
        header = ast.literal_eval(data[begin : begin + length].decode("latin-1"))
        kind, by_column, shape = str(header["descr"]), bool(header["fortran_order"]), tuple(map(int, header["shape"]))
    except (SyntaxError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError("an array without a header") from error
    if len(shape) > 2 or min(shape, default=0) < 0:
        raise ValueError(f"an array of {len(shape)} dimensions")
    values = _values(kind, data[begin + length :], math.prod(shape))
    return Array(shape, list(_rows(values, shape, by_column=by_column)), text=kind[1:2] == "U")


def _values(kind: str, data: bytes, count: int) -> Sequence[Any]:
    order, code = (">" if kind[:1] == ">" else "<"), kind[1:]
    text = re.fullmatch("U([0-9]{1,9})", code)
    if not text and code not in _CODES:
        raise ValueError(f"an array of type {kind}, which is neither numbers nor text")
    size = int(text[1]) * _UTF32 if text else struct.calcsize(_CODES[code])
    if len(data) != count * size:
        raise ValueError(f"an array of {len(data)} bytes, where there should be {count * size}")
    if not text:
        return struct.unpack(f"{order}{count}{_CODES[code]}", data)
    texts = (data[at * size : (at + 1) * size] for at in range(count))
    return [each.decode("utf-32-be" if order == ">" else "utf-32-le").rstrip("\0") for each in texts]


def _rows(values: Sequence[Any], shape: tuple[int, ...], *, by_column: bool) -> Iterator[Sequence[Any]]:
    height, width = shape if len(shape) == 2 else (1, math.prod(shape))
    for row in range(height):
        yield values[row::height] if by_column else values[row * width : (row + 1) * width]
