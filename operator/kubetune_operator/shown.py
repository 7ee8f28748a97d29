"""What the resource of one experiment shows while its journal is open: its status, and in words what stands in the way.

When it is written, and what is written while the journal cannot be had, is not said here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kubetune_operator import status
from kubetune_operator.core.history import History
from kubetune_operator.observed import Trouble
from kubetune_operator.reserved import EXPERIMENT_UID
from kubetune_operator.volume import Volume


class Shown:
    """The status of one experiment, by the uid of its resource."""

    def __init__(self, volume: Volume, endpoint: str, place: tuple[str, str], uid: str) -> None:
        """`place` is namespace and name, `endpoint` what its pods must reach."""
        self._volume = volume
        self._endpoint = endpoint
        self._place = place
        self._uid = uid

    def status(
        self, history: History, troubles: Iterable[Trouble], full: tuple[OSError, float] | None, *, generation: int, now: float
    ) -> Mapping[str, Any]:
        """Give all of it; `full` is why and since when nothing can be recorded, `generation` that of the spec taken over."""
        found = status.render(history, self._place[1], generation=generation)
        if full is not None:
            error, since = full
            found = status.halted(found, "VolumeFull", self.full(error), since)
        return {
            **status.NOTHING,
            **status.troubled(found, [self._told(one) for one in troubles], now),
            "journal": self.journal(),
            "selector": f"{EXPERIMENT_UID}={self._uid}",
        }

    def journal(self) -> Mapping[str, str]:
        """Say where its journal is."""
        return {"uid": self._uid, "volumeID": self._volume.identity}

    def full(self, error: OSError) -> str:
        """Say that its volume has no room."""
        return (
            f"{error.strerror}: {self._volume.folder(*self._place, self._uid).path} on volume {self._volume.identity}; "
            "make room there, or enlarge the operator's PersistentVolumeClaim: it goes on by itself"
        )

    def _told(self, trouble: Trouble) -> tuple[str, str, float]:
        message = trouble.message
        if trouble.reason == status.UNREACHABLE:
            message += f"; it must reach {self._endpoint}: does a NetworkPolicy of namespace {self._place[0]} forbid that?"
        return trouble.reason, message, trouble.since
