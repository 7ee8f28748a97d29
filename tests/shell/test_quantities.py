"""Quantities. The table restates what Kubernetes' own test expects (apimachinery, pkg/api/resource)."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from kubetune_operator import quantities


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("0Ki", 0),
        ("1Ki", 1024),
        ("7Mi", 7 * 1024**2),
        ("6Gi", 6 * 1024**3),
        ("5Ti", 5 * 1024**4),
        ("4Pi", 4 * 1024**5),
        ("3Ei", 3 * 1024**6),
        ("5n", Fraction(5, 10**9)),
        ("4u", Fraction(4, 10**6)),
        ("3m", Fraction(3, 1000)),
        ("9", 9),
        ("8k", 8000),
        ("50k", 50_000),
        ("7M", 7 * 10**6),
        ("6G", 6 * 10**9),
        ("300T", 3 * 10**14),
        ("2P", 2 * 10**15),
        ("1E", 10**18),
        ("1E-3", Fraction(1, 1000)),
        ("1e3", 1000),
        ("1.3E+6", 1_300_000),
        ("1.53E12", 153 * 10**10),
        ("100.035k", 100_035),
        ("0.0005k", Fraction(1, 2)),
        ("0.5e-2", Fraction(5, 1000)),
        ("6.987654321G", 6_987_654_321),
        ("1.01E", 101 * 10**16),
        ("100.035Ki", Fraction(10_243_584, 100)),
        ("0.5Mi", 512 * 1024),
        ("0.025Ti", Fraction(274_877_906_944, 10)),
        ("3.001n", Fraction(4, 10**9)),
        ("1.1E-9", Fraction(2, 10**9)),
        ("0.9n", Fraction(1, 10**9)),
        ("0.00000012345", Fraction(124, 10**9)),
        ("9Ei", 2**63 - 1),
        ("12E", 12 * 10**18),
        ("0.000000000001Ki", Fraction(2, 10**9)),
        (".001", Fraction(1, 1000)),
        ("1.", 1),
        ("1.G", 10**9),
        ("-1.5", Fraction(-3, 2)),
        ("+2", 2),
    ],
)
def test_as_kubernetes_own_table(text: str, value: Fraction) -> None:
    assert quantities.parse(text) == value


@pytest.mark.parametrize(("value", "exact"), [(2, 2), (0.5, Fraction(1, 2)), (1e-05, Fraction(1, 10**5))])
def test_a_number_of_the_yaml_is_its_own_text(value: float, exact: Fraction) -> None:
    assert quantities.parse(value) == exact


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "1K",
        "1mi",
        "1 Gi",
        "Gi",
        "1e",
        "1e3k",
        "0x1",
        "1_000",
        "\u0661",
        "half",
        "1e999999999",
        None,
        True,
        float("nan"),
        [1],
    ],
)
def test_anything_else_is_refused(text: Any) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        quantities.parse(text)
