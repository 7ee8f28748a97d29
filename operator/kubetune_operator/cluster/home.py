"""Whose pods they are, and which attempt's: by owner, labels and name. Nothing here asks the API server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubetune_operator.cluster.kubernetes import Object
from kubetune_operator.core.standing import Key
from kubetune_operator.reserved import ATTEMPT, TRIAL


@dataclass(frozen=True, slots=True)
class Home:
    """The experiment that owns them."""

    namespace: str
    experiment: str
    uid: str

    def name(self, key: Key) -> str:
        """Name the pod of an attempt."""
        return f"{self.experiment}-{key[0]:05d}-{key[1]}"

    def key(self, pod: Object) -> Key | None:
        """Say which attempt's pod it is; None for a stranger, whatever its labels say."""
        metadata: Mapping[str, Any] = pod["metadata"]
        if not any(owner.get("controller") and owner["uid"] == self.uid for owner in metadata.get("ownerReferences") or ()):
            return None
        labels = metadata.get("labels") or {}
        try:
            key = int(labels[TRIAL]), int(labels[ATTEMPT])
        except (KeyError, ValueError):
            return None
        return key if metadata["name"] == self.name(key) else None
