"""How an algorithm declares its settings: once, here in core, for YAML, CRD and constructor alike.

A settings class is a frozen dataclass whose fields are made by `setting(...)` and whose RULES are what
crosses fields. `api` turns both into validation and into the CRD; nothing here knows of either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field
from typing import Any

from kubetune.wire import METRIC_NAME

LARGEST = 9e15  # a CRD's bounds beyond this overflow for whole numbers (and doubles lose whole numbers above 2**53)
KEY = "kubetune"
METRIC = f"^{METRIC_NAME}$"  # the name of a reported value, nested ones joined with "/"


@dataclass(frozen=True, slots=True)
class Setting:
    """Bounds and words of one field; None is no bound."""

    description: str
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    max_length: int | None = None
    min_items: int | None = None
    max_items: int | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold between fields of one object, said twice for two readers: CEL for the API server, Python for us."""

    cel: str  # over `self`, camelCase names, core CEL only
    message: str  # "must ...", as the user reads it
    holds: Callable[[Any], bool]
    field: str = ""  # the field to point at, camelCase; "" is the object itself
    remedy: str = ""


def setting(description: str, *, default: Any = MISSING, **bounds: Any) -> Any:
    """Declare one field of a settings class: its description, its default if it has one, its bounds by name."""
    return field(default=default, metadata={KEY: Setting(description, **bounds)})
