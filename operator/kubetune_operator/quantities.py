"""Kubernetes quantities: "500m", "1.5Gi", "2e3", read exactly.

What they are quantities of, and what follows from them, is said where they are used.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil
from typing import Any

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_LARGEST = 2**63 - 1  # what a binary quantity is cut off at
_NANO = 10**9  # nothing finer is kept
# Digits are bounded because an exponent of a few characters would make a number that fills the memory.
_QUANTITY = re.compile(r"([+-]?)([0-9]{1,32}\.?[0-9]{0,32}|\.[0-9]{1,32})(?:[eE]([+-]?[0-9]{1,2})|([numkMGTPE]|[KMGTPE]i)?)")


def parse(value: Any) -> Fraction:
    """Read a quantity, which YAML may also have read as a number. Raises ValueError when it is none."""
    text = repr(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    match = _QUANTITY.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"not a quantity: {value!r}")
    sign, digits, exponent, suffix = match.groups()
    size = Fraction(digits)
    if suffix in _BINARY:
        size = min(size * 2 ** _BINARY[suffix], Fraction(_LARGEST))
    else:
        size *= Fraction(10) ** (int(exponent) if exponent else _DECIMAL[suffix or ""])
    size = Fraction(ceil(size * _NANO), _NANO)  # away from zero, as the API server rounds
    return -size if sign == "-" else size
